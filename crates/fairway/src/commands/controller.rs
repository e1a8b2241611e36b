//! `fairway controller`.

use anyhow::Context as _;
use fairway_apply::{Connection, Strictness};
use fairway_controller::{Engine, Options, Profile};

use crate::args::{self, ControllerArgs, Global};
use crate::exit::Outcome;
use crate::hub;

/// Runs the reconcilers until the process is told to stop.
pub(crate) async fn run(global: &Global, args: ControllerArgs) -> anyhow::Result<Outcome> {
    let kubeconfig = hub::read(global.kubeconfig.as_deref())?;
    let in_cluster = kubeconfig.is_none();
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
    let profile = match args.profile {
        args::Profile::Locked => Profile::Locked,
        args::Profile::Flux => Profile::Flux,
    };
    let mut options = Options::new(storage, profile);
    options.namespace.clone_from(&global.namespace);
    if let Some(concurrent) = args.concurrent {
        options.concurrent = concurrent.max(1);
    }
    if let Some(refuse) = args.no_cross_namespace_refs {
        options.no_cross_namespace_refs = refuse;
    }
    if let Some(account) = args.default_service_account {
        options.default_service_account = (!account.is_empty()).then_some(account);
    }
    options.artifacts.address = match args.storage_addr {
        Some(address) => (address != "0").then_some(address),
        None if in_cluster => Some(":9090".to_owned()),
        None => options.artifacts.address,
    };
    options.artifacts.advertised = args.storage_adv_addr;
    options.artifacts.retention_ttl = args.artifact_retention_ttl;
    options.artifacts.retention_records = args.artifact_retention_records;
    options.leader_election = args.enable_leader_election;
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
