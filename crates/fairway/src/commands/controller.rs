//! `fairway controller`.

use std::path::PathBuf;

use anyhow::Context as _;
use fairway_apply::{Connection, Strictness};
use fairway_controller::lease::Timing;
use fairway_controller::options::{Selection, listen_address};
use fairway_controller::{Engine, Options};
use kube::Client;

use crate::args::{ControllerArgs, Global, Profile};
use crate::exit::{Misuse, Outcome};
use crate::{hub, setup};

/// Runs the reconcilers until the process is told to stop.
pub(crate) async fn run(global: &Global, mut args: ControllerArgs) -> anyhow::Result<Outcome> {
    let kubeconfig = hub::read(global.kubeconfig.as_deref())?;
    if kubeconfig.is_none() && args.storage_addr.is_none() {
        args.storage_addr = Some(":9090".to_owned());
    }
    let connection = match kubeconfig {
        Some(kubeconfig) => {
            Connection::from_kubeconfig(
                kubeconfig,
                global.context.as_deref(),
                Strictness::trusted(),
            )
            .await?
        }
        None => Connection::in_cluster()?,
    };
    let version = connection
        .version()
        .await
        .with_context(|| format!("failed to reach {}", connection.server()))?;
    let temporary = args
        .storage_path
        .is_none()
        .then(tempfile::tempdir)
        .transpose()?;
    let storage = match (&args.storage_path, &temporary) {
        (Some(path), _) => path.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => unreachable!("a temporary folder is made where none is named"),
    };
    if args.profile.is_none() {
        let profile = profile(&connection.client()).await;
        tracing::info!(?profile, "no --profile named");
        args.profile = Some(profile);
    }
    let options = options(global, &args, storage)?;
    tracing::info!(server = connection.server(), version, "reconciling");
    let engine = Engine::start(connection, options).await?;
    if let Some(holder) = engine.waits_for() {
        tracing::warn!(holder, "another controller leads; waiting for its Lease");
    }
    crate::start::interrupted().await?;
    tracing::info!("stopping");
    engine.shutdown().await;
    Ok(Outcome::Done)
}

/// Flux's rules where Flux's objects are that somebody else made, else the safe ones.
async fn profile(client: &Client) -> Profile {
    match setup::has_flux_objects(client).await {
        Ok(true) => Profile::Flux,
        Ok(false) | Err(_) => Profile::Locked,
    }
}

/// What the flags ask for.
pub(crate) fn options(
    global: &Global,
    args: &ControllerArgs,
    storage: PathBuf,
) -> anyhow::Result<Options> {
    let profile = match args.profile {
        Some(Profile::Flux) => fairway_controller::Profile::Flux,
        Some(Profile::Locked) | None => fairway_controller::Profile::Locked,
    };
    let mut options = Options::new(storage, profile);
    options.namespace.clone_from(&global.namespace);
    options.controllers = args.controllers.iter().copied().collect();
    if let Some(concurrent) = args.concurrent {
        options.concurrent = concurrent.max(1);
    }
    if let Some(refuse) = args.no_cross_namespace_refs {
        options.no_cross_namespace_refs = refuse;
    }
    if let Some(account) = &args.default_service_account {
        options.default_service_account = (!account.is_empty()).then(|| account.clone());
    }
    if let Some(address) = &args.storage_addr {
        options.artifacts.address = (address != "0").then(|| address.clone());
    }
    options
        .artifacts
        .advertised
        .clone_from(&args.storage_adv_addr);
    options.artifacts.retention_ttl = args.artifact_retention_ttl;
    options.artifacts.retention_records = args.artifact_retention_records;
    options.leader_election = args.enable_leader_election;
    options.requeue_dependency = args.requeue_dependency;
    options.interval_jitter = args.interval_jitter_percentage.min(100);
    options.insecure_kubeconfig_tls = args.insecure_kubeconfig_tls;
    options.allow_link_local_urls = args.allow_link_local_urls;
    options.events_addr = (!args.events_addr.is_empty()).then(|| args.events_addr.clone());
    options.lease_timing = Timing {
        duration: args.leader_election_lease_duration,
        deadline: args.leader_election_renew_deadline,
        retry: args.leader_election_retry_period,
        release: args.leader_election_release_on_cancel,
    };
    options.watch_all_namespaces = args.watch_all_namespaces;
    options.watch_label_selector = selection(
        "--watch-label-selector",
        args.watch_label_selector.as_deref(),
    )?;
    if let Some(selector) = &args.watch_configs_label_selector {
        options.watch_configs_label_selector =
            selection("--watch-configs-label-selector", Some(selector))?;
    }
    options.health_addr = listen_address(&args.health_addr)
        .map_err(|error| Misuse(format!("--health-addr: {error}")))?;
    options.metrics_addr = listen_address(&args.metrics_addr)
        .map_err(|error| Misuse(format!("--metrics-addr: {error}")))?;
    options.shutdown_grace = args.graceful_shutdown_timeout;
    options
        .default_kubeconfig_service_account
        .clone_from(&args.default_kubeconfig_service_account);
    for gate in &args.feature_gates {
        set_gate(&mut options, gate)?;
    }
    Ok(options)
}

/// No text, and an empty one, select everything.
fn selection(flag: &str, text: Option<&str>) -> anyhow::Result<Option<Selection>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let selection = text
        .parse()
        .map_err(|error| Misuse(format!("{flag} {text}: {error}")))?;
    Ok(Some(selection))
}

/// `NAME=true|false`, with Flux's names. Gates of Flux that change nothing here are known, and let be.
fn set_gate(options: &mut Options, gate: &str) -> anyhow::Result<()> {
    let (name, value) = gate
        .split_once('=')
        .and_then(|(name, value)| Some((name, value.parse::<bool>().ok()?)))
        .ok_or_else(|| {
            Misuse(format!(
                "--feature-gates {gate}: write NAME=true or NAME=false"
            ))
        })?;
    match name {
        "StrictPostBuildSubstitutions" => options.strict_substitutions = value,
        "AdditiveCELDependencyCheck" => options.additive_cel_dependency_check = value,
        _ => tracing::warn!(gate = name, "unknown feature gate; it changes nothing"),
    }
    Ok(())
}
