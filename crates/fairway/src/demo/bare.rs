//! `fairway demo --bare`: empty clusters and a Git server, for a person to bootstrap.
//!
//! Simulated clusters run no images, so this process stands in for the kubelet of one Deployment: where `fairway` is installed
//! on the management cluster, it runs the reconcilers with that Deployment's arguments and account.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use fairway_controller::{Handle, Options, Profile};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::Api;

use super::fleet::Fleet;
use super::origin::Origin;
use super::place::{Place, Running};
use super::steps::quoted;
use crate::args::{Cli, Command};
use crate::commands::controller;
use crate::setup;

/// How often the Deployment is looked at.
const PERIOD: Duration = Duration::from_millis(200);
/// The steps, as the documentation has them.
pub(super) const QUICK_START: &str = include_str!("quick_start.sh");

/// The steps with what they need of this demo.
pub(super) fn steps(running: &Running, binary: &Path) -> String {
    let mut text = String::from("The quick start, in another terminal:\n\n");
    let mut exports = vec![
        format!("export KUBECONFIG={}", quoted(&running.kubeconfig)),
        format!("export FLEET_URL={}", running.url),
    ];
    if let Some(folder) = binary.parent() {
        exports.push(format!("export PATH={}:$PATH", quoted(folder)));
    }
    for line in exports
        .iter()
        .map(String::as_str)
        .chain(QUICK_START.lines())
    {
        if line.is_empty() {
            text.push('\n');
        } else {
            let _ = writeln!(text, "    {line}");
        }
    }
    text.push_str(
        "\n  → `fairway get clusters` and `fairway get kustomizations` show nine green clusters within some seconds\n",
    );
    text
}

/// Runs the reconcilers while the Deployment wants them, for ever.
pub(super) async fn stand_in(
    fleet: &mut Fleet,
    place: &Place,
    origin: &Origin,
) -> anyhow::Result<()> {
    let handle: Arc<Mutex<Option<Handle>>> = Arc::default();
    let poked = Arc::clone(&handle);
    origin.tell_pushes_to(move || {
        if let Some(handle) = &*poked.lock().unwrap_or_else(PoisonError::into_inner) {
            handle.poke_all();
        }
    });
    let api: Api<Deployment> =
        Api::namespaced(fleet.hub().clone(), fairway_types::names::SYSTEM_NAMESPACE);
    let mut runs: Option<Vec<String>> = None;
    loop {
        let wanted = api
            .get_opt(setup::CONTROLLER)
            .await
            .ok()
            .flatten()
            .and_then(arguments);
        if wanted != runs {
            fleet.stop_engine().await;
            let started = match &wanted {
                Some(arguments) => start(fleet, place, arguments).await,
                None => Ok(None),
            };
            let new = match started {
                Ok(new) => new,
                Err(error) => {
                    println!("the controller does not start: {error:#}");
                    None
                }
            };
            if new.is_some() {
                println!(
                    "Deployment flux-system/fairway is installed: this process runs its reconcilers, since simulated clusters run no images"
                );
            } else if runs.is_some() {
                println!(
                    "Deployment flux-system/fairway is gone or scaled to 0: the reconcilers stopped"
                );
            }
            *handle.lock().unwrap_or_else(PoisonError::into_inner) = new;
            runs = wanted;
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// The arguments of a Deployment that is to run.
fn arguments(deployment: Deployment) -> Option<Vec<String>> {
    if deployment.spec.replicas == Some(0) {
        return None;
    }
    let container = deployment
        .spec
        .template
        .spec?
        .containers
        .into_iter()
        .next()?;
    let namespace = deployment.metadata.namespace.unwrap_or_default();
    let arguments = container.args.unwrap_or_default();
    Some(
        arguments
            .into_iter()
            .map(|argument| argument.replace("$(RUNTIME_NAMESPACE)", &namespace))
            .collect(),
    )
}

async fn start(
    fleet: &mut Fleet,
    place: &Place,
    arguments: &[String],
) -> anyhow::Result<Option<Handle>> {
    let words = std::iter::once("fairway").chain(arguments.iter().map(String::as_str));
    let cli = Cli::try_parse_from(words)
        .ok()
        .context("this version of fairway does not know the Deployment's arguments")?;
    let Command::Controller(args) = cli.command else {
        anyhow::bail!("the Deployment does not run `fairway controller`");
    };
    let mut options = controller::options(&cli.global, &args, place.dir().join("mirrors"))?;
    // The ports of a pod of its own.
    options.health_addr = None;
    options.metrics_addr = None;
    options.artifacts = Options::new(place.dir().join("mirrors"), Profile::Locked).artifacts;
    fleet.run_engine(options).await.map(Some)
}
