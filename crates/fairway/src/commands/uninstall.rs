//! `fairway uninstall`: takes Fairway away and leaves every workload where it is.
//!
//! ```text
//!   controller stops ─▶ finalizers and owner references go, on the hub and each reachable cluster ─▶ Deployment, accounts
//!                       ─▶ resource definitions, and with them their objects ─▶ namespace
//! ```

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use fairway_types::{Cluster, names};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::kinds::Kind;
use crate::args::{Global, UninstallArgs};
use crate::exit::{Hinted, Misuse, Outcome};
use crate::hub;
use crate::setup::{self, Installation, RunningFlux};

/// How long the controller may take to let go.
const STOP_LIMIT: Duration = Duration::from_mins(1);
/// How long a cluster may take to answer.
const REACH_LIMIT: Duration = Duration::from_secs(15);

/// What is done, or would be.
struct Removal {
    client: Client,
    namespace: String,
    dry_run: bool,
    /// Flux's controllers are installed too: its objects are theirs from now on.
    is_handed_back: bool,
}

/// Removes Fairway.
pub(crate) async fn run(global: &Global, args: UninstallArgs) -> anyhow::Result<Outcome> {
    let client = hub::client(global).await?;
    let flux = RunningFlux::find(&client, &global.namespace).await?;
    let removal = Removal {
        client,
        namespace: global.namespace.clone(),
        dry_run: args.dry_run,
        is_handed_back: !flux.installed.is_empty(),
    };
    if !args.dry_run && !args.yes {
        confirm(&global.namespace)?;
    }
    if removal.is_handed_back {
        println!(
            "► Flux's controllers are installed here: their objects, finalizers and definitions are left to them"
        );
    }
    removal.stop_controller().await?;
    let unreachable = removal.release_clusters().await?;
    removal.release(&removal.client, "").await?;
    let installation = Installation {
        namespace: global.namespace.clone(),
        image: String::new(),
        profile: "flux",
        controllers: Vec::new(),
        replicas: 1,
        network_policy: true,
        watch_label_selector: None,
        cluster_domain: String::new(),
    };
    let objects = installation.objects()?;
    let is = |object: &Value, kind: &str| object["kind"] == kind;
    for object in objects.iter().rev() {
        if !is(object, "Namespace") && !is(object, "CustomResourceDefinition") {
            removal.delete(object).await?;
        }
    }
    for object in objects
        .iter()
        .filter(|object| is(object, "CustomResourceDefinition"))
    {
        removal.delete(object).await?;
    }
    for object in objects.iter().filter(|object| is(object, "Namespace")) {
        match removal
            .reason_to_keep_namespace(args.keep_namespace)
            .await?
        {
            Some(reason) => println!("► Namespace/{} kept: {reason}", global.namespace),
            None => removal.delete(object).await?,
        }
    }
    report(&unreachable, args.dry_run);
    Ok(if unreachable.is_empty() {
        Outcome::Done
    } else {
        Outcome::NotSo
    })
}

fn confirm(namespace: &str) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(Misuse(
            "uninstall asks before it removes something; say --yes, or look with --dry-run".into(),
        )
        .into());
    }
    print!(
        "Remove Fairway, its resource definitions and their objects, and namespace {namespace}? Workloads stay. [y/N] "
    );
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim().eq_ignore_ascii_case("y") {
        return Ok(());
    }
    Err(Misuse("nothing was removed".into()).into())
}

fn report(unreachable: &[String], dry_run: bool) {
    for line in unreachable {
        println!("✗ {line}");
    }
    if !unreachable.is_empty() {
        println!(
            "  what lives in these clusters keeps its finalizers; when one is back: kubectl -n NAMESPACE patch kustomization NAME --type=merge -p '{{\"metadata\":{{\"finalizers\":null}}}}'"
        );
    }
    println!(
        "  registered clusters keep Fairway's accounts until you remove them there: kubectl delete clusterrolebinding fairway fairway-applier && kubectl delete clusterrole fairway && kubectl -n flux-system delete serviceaccount fairway fairway-applier"
    );
    println!(
        "{}",
        if dry_run {
            "✔ nothing was changed (--dry-run)"
        } else {
            "✔ uninstalled; no workload was deleted"
        }
    );
}

impl Removal {
    fn say(&self, what: &str, done: &str) {
        let would = if self.dry_run { "would be " } else { "" };
        println!("► {what} {would}{done}");
    }

    /// Nobody may put a finalizer back once it is gone.
    async fn stop_controller(&self) -> anyhow::Result<()> {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let name = setup::CONTROLLER;
        if let Some(deployment) = api.get_opt(name).await? {
            self.say(
                &format!("Deployment/{}/{name}", self.namespace),
                "scaled to 0",
            );
            if !self.dry_run && deployment.spec.replicas != Some(0) {
                // A Deployment that is in Git would be put back by the very controller that is to stop.
                let patch = json!({
                    "metadata": {"annotations": {names::RECONCILE: "disabled"}},
                    "spec": {"replicas": 0},
                });
                api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
                    .await
                    .context("failed to scale the controller to 0")?;
            }
        }
        if self.dry_run {
            return Ok(());
        }
        let started = Instant::now();
        loop {
            let pods = match api.get_opt(name).await? {
                Some(deployment) => deployment
                    .status
                    .and_then(|status| status.replicas)
                    .unwrap_or(0),
                None => 0,
            };
            let holder = self.leader().await?;
            if pods == 0 && holder.is_none() {
                return Ok(());
            }
            if started.elapsed() > STOP_LIMIT {
                let who = holder.unwrap_or_else(|| format!("Deployment {}/{name}", self.namespace));
                return Err(Hinted::new(
                    format!("a controller of Fairway still works: {who}"),
                    "stop it (`fairway controller` in a terminal or a pod of your own?), then run this again",
                )
                .into());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// A Fairway that holds a Lease and renews it.
    async fn leader(&self) -> anyhow::Result<Option<String>> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let leases = match api.list(&ListParams::default()).await {
            Ok(list) => list.items,
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => {
                return Err(anyhow::Error::new(error).context("failed to look at the Leases"));
            }
        };
        let now = jiff::Timestamp::now().as_second();
        Ok(leases.into_iter().find_map(|lease| {
            let spec = lease.spec?;
            let holder = spec
                .holder_identity
                .filter(|holder| fairway_controller::lease::is_fairway(holder))?;
            let until = spec.renew_time?.0.as_second() + i64::from(spec.lease_duration_seconds?);
            (until > now).then_some(holder)
        }))
    }

    /// Finalizers and owner references of what lives in the clusters that are run by `spec.sync`. Answers who could not be reached.
    async fn release_clusters(&self) -> anyhow::Result<Vec<String>> {
        let mut unreachable = Vec::new();
        let api: Api<Cluster> = Api::all(self.client.clone());
        let clusters = match api.list(&ListParams::default()).await {
            Ok(list) => list.items,
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => {
                return Err(anyhow::Error::new(error).context("failed to list the clusters"));
            }
        };
        for cluster in clusters {
            if cluster.spec.kube_config.is_none() {
                continue;
            }
            let name = cluster.name_any();
            let work = async {
                let connection = hub::registered(&self.client, &cluster).await?;
                connection.version().await?;
                let client = connection.client();
                if cluster.spec.sync.is_some()
                    && RunningFlux::find(&client, &self.namespace)
                        .await?
                        .deployments
                        .is_empty()
                {
                    self.release(&client, &name).await?;
                }
                anyhow::Ok(())
            };
            let outcome = match tokio::time::timeout(REACH_LIMIT, work).await {
                Ok(outcome) => outcome,
                Err(_) => Err(anyhow::anyhow!(
                    "no answer within {} s",
                    REACH_LIMIT.as_secs()
                )),
            };
            if let Err(error) = outcome {
                unreachable.push(format!("Cluster {name} could not be reached: {error:#}"));
            }
        }
        Ok(unreachable)
    }

    /// Removes what would delete or block something when the objects go.
    async fn release(&self, client: &Client, cluster: &str) -> anyhow::Result<()> {
        for kind in [
            Kind::Promotion,
            Kind::Pipeline,
            Kind::FleetKustomization,
            Kind::Cluster,
            Kind::Kustomization,
            Kind::GitRepository,
        ] {
            let api = kind.api(client, None);
            let objects = match api.list(&ListParams::default()).await {
                Ok(list) => list.items,
                Err(kube::Error::Api(status)) if status.code == 404 => continue,
                Err(error) => return Err(super::kinds::explain(error, kind, "", "")),
            };
            for object in objects {
                self.release_object(client, kind, &object, cluster).await?;
            }
        }
        Ok(())
    }

    async fn release_object(
        &self,
        client: &Client,
        kind: Kind,
        object: &DynamicObject,
        cluster: &str,
    ) -> anyhow::Result<()> {
        let is_flux = matches!(kind, Kind::Kustomization | Kind::GitRepository);
        let kept: Vec<&String> = object
            .finalizers()
            .iter()
            .filter(|name| {
                *name != names::FLEET_FINALIZER
                    && (*name != names::FINALIZER
                        || (is_flux && self.is_handed_back && cluster.is_empty()))
            })
            .collect();
        let owners: Vec<_> = object
            .owner_references()
            .iter()
            .filter(|owner| !owner.api_version.starts_with(names::FLEET_GROUP))
            .collect();
        let mut change = json!({});
        let mut removed = Vec::new();
        if kept.len() != object.finalizers().len() {
            change["finalizers"] = json!(kept);
            removed.push("finalizer");
        }
        if owners.len() != object.owner_references().len() {
            change["ownerReferences"] = json!(owners);
            removed.push("owner reference");
        }
        if removed.is_empty() {
            return Ok(());
        }
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let place = if cluster.is_empty() {
            String::new()
        } else {
            format!("{cluster}: ")
        };
        self.say(
            &format!(
                "{place}{}/{namespace}/{name}: {}",
                kind.name(),
                removed.join(" and ")
            ),
            "removed",
        );
        if self.dry_run {
            return Ok(());
        }
        kind.api(client, Some(&namespace))
            .patch(
                &name,
                &PatchParams::default(),
                &Patch::Merge(json!({ "metadata": change })),
            )
            .await
            .with_context(|| format!("failed to release {}/{namespace}/{name}", kind.name()))?;
        Ok(())
    }

    /// Deletes what `install` made; what it found and kept stays.
    async fn delete(&self, object: &Value) -> anyhow::Result<()> {
        let subject = setup::subject(object);
        let live = match setup::live(&self.client, object).await {
            Ok(Some(live)) => live,
            Ok(None) => return Ok(()),
            Err(error) => return Err(error),
        };
        if !setup::is_ours(&live) {
            println!("► {subject} kept: it was not made by `fairway install`");
            return Ok(());
        }
        if self.is_handed_back && setup::is_of_flux(object) {
            println!("► {subject} kept: Flux needs it");
            return Ok(());
        }
        self.say(&subject, "deleted");
        if self.dry_run {
            return Ok(());
        }
        let api = setup::api_for(&self.client, object).await?;
        match api
            .delete(&live.name_any(), &DeleteParams::background())
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => {
                Err(anyhow::Error::new(error).context(format!("failed to delete {subject}")))
            }
        }
    }

    /// A namespace takes everything in it along, so it must hold nothing that runs.
    async fn reason_to_keep_namespace(&self, asked: bool) -> anyhow::Result<Option<String>> {
        if asked {
            return Ok(Some("--keep-namespace".into()));
        }
        let mut found = self.workloads::<Deployment>("Deployment").await?;
        found.extend(self.workloads::<StatefulSet>("StatefulSet").await?);
        found.extend(self.workloads::<DaemonSet>("DaemonSet").await?);
        found.extend(self.workloads::<CronJob>("CronJob").await?);
        found.extend(self.workloads::<Job>("Job").await?);
        Ok((!found.is_empty()).then(|| format!("it runs {}", found.join(", "))))
    }

    async fn workloads<K>(&self, kind: &str) -> anyhow::Result<Vec<String>>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        let list = api
            .list(&ListParams::default())
            .await
            .with_context(|| format!("failed to list what runs in {}", self.namespace))?;
        Ok(list
            .items
            .iter()
            .filter(|object| {
                object
                    .labels()
                    .get(setup::PART_OF)
                    .is_none_or(|of| of != setup::FAIRWAY)
            })
            .map(|object| format!("{kind}/{}", object.name_any()))
            .collect())
    }
}
