//! A hub and two workload clusters, all real, with a fleet of Kustomizations; and the two engines that may run it.

use std::path::Path;
use std::time::Duration;

use fairway_testkit::real::{
    Assets, Clusters, FluxCommand, Kubelet, KustomizeController, Settings, SourceStandIn,
    install_flux_kinds,
};
use fairway_testkit::{GitServer, Kubectl, Process};
use serde_json::Value;

use crate::binary::{Home, until};
use crate::cluster::{Cluster, SYSTEM};
use crate::snapshot::{Managed, Statuses};

pub(crate) const WORKLOADS: [&str; 2] = ["dev", "prod"];

/// The machine room.
pub(crate) struct World {
    pub(crate) assets: Assets,
    pub(crate) clusters: Clusters,
    pub(crate) git: GitServer,
    pub(crate) kubectl: Kubectl,
    pub(crate) hub: Cluster,
    pub(crate) home: Home,
    _kubelets: Vec<Kubelet>,
}

/// Flux at work: its kustomize-controller, and who serves it artifacts.
pub(crate) struct Flux {
    pub(crate) controller: KustomizeController,
    pub(crate) source: SourceStandIn,
}

impl Flux {
    pub(crate) async fn stop(self) {
        self.controller.stop().await.unwrap();
        self.source.stop().await.unwrap();
    }
}

impl World {
    /// Real clusters, Flux's kinds on the hub, the fleet's files in Git; nobody runs yet.
    pub(crate) async fn start() -> Self {
        let assets = Assets::find().expect("`cargo xtask e2e` has looked");
        let mut settings = vec![Settings::new("hub")];
        settings.extend(WORKLOADS.map(|name| Settings::new(name).with_controller_manager()));
        let clusters = Clusters::start(&assets, settings).await.unwrap();
        let mut kubelets = Vec::new();
        for name in WORKLOADS {
            let plane = clusters.get(name).unwrap();
            kubelets.push(Kubelet::start(plane).await.unwrap());
        }
        let hub = clusters.get("hub").unwrap();
        install_flux_kinds(&assets, hub).await.unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/fleet");
        let git = GitServer::start_with("fleet", &folder).await.unwrap();
        Self {
            hub: Cluster::of(hub.kubeconfig(), "hub").await,
            kubectl: clusters.kubectl().unwrap(),
            assets,
            clusters,
            git,
            home: Home::new(),
            _kubelets: kubelets,
        }
    }

    /// The kubeconfigs of the workload clusters as Secrets of the hub, and the two objects that start the fleet.
    pub(crate) async fn bootstrap(&self) {
        let hub = self.kubectl.in_context("hub");
        for name in WORKLOADS {
            let kubeconfig = self.clusters.get(name).unwrap().kubeconfig();
            let file = hub.home().join(format!("{name}.json"));
            std::fs::write(&file, kubeconfig).unwrap();
            let literal = format!("--from-file=value={}", file.display());
            let secret = format!("{name}-kubeconfig");
            hub.ok(&[
                "create", "secret", "generic", "-n", SYSTEM, &secret, &literal,
            ])
            .await
            .unwrap();
        }
        self.start_fleet().await;
    }

    /// The two objects that start the fleet.
    pub(crate) async fn start_fleet(&self) {
        let hub = self.kubectl.in_context("hub");
        hub.apply(&format!(
            "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {{name: fleet, namespace: {SYSTEM}}}\n\
             spec: {{interval: 1s, url: {url}, ref: {{branch: main}}}}\n---\n\
             apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {{name: fleet, namespace: {SYSTEM}}}\n\
             spec: {{interval: 1h, retryInterval: 2s, path: ./hub, prune: true, wait: false, sourceRef: {{kind: GitRepository, name: fleet}}}}\n",
            url = self.git.url(),
        ))
        .await
        .unwrap();
    }

    /// The real `flux` command on the hub.
    pub(crate) fn flux_command(&self) -> FluxCommand {
        FluxCommand::new(&self.assets, self.clusters.get("hub").unwrap().kubeconfig()).unwrap()
    }

    /// Flux's controllers on the hub, with leader election.
    pub(crate) async fn start_flux(&self) -> Flux {
        let kubeconfig = self.clusters.get("hub").unwrap().kubeconfig();
        let arguments = ["--enable-leader-election", "--requeue-dependency=1s"];
        Flux {
            source: SourceStandIn::start(kubeconfig, true).await.unwrap(),
            controller: KustomizeController::start(&self.assets, kubeconfig, &arguments)
                .await
                .unwrap(),
        }
    }

    /// `fairway controller`, as somebody who comes from Flux runs it, by these credentials.
    pub(crate) fn start_fairway_as(&self, kubeconfig: &str, arguments: &[&str]) -> Process {
        let file = self.home.write("hub.kubeconfig", kubeconfig);
        let storage = self.home.path().join("storage");
        let mut all = vec![
            "controller",
            "--kubeconfig",
            file.to_str().unwrap(),
            "--enable-leader-election",
        ];
        all.extend(["--storage-path", storage.to_str().unwrap()]);
        all.extend(arguments);
        self.home.spawn(&all)
    }

    /// `fairway controller`, by the admin's credentials, with Flux's own rules.
    pub(crate) fn start_fairway(&self) -> Process {
        let kubeconfig = self.clusters.get("hub").unwrap().kubeconfig().to_owned();
        self.start_fairway_as(&kubeconfig, &["--profile", "flux"])
    }

    /// Deletes a Kustomization of the hub, so that the fleet's own one does not bring it back, and waits for its end.
    pub(crate) async fn delete_kustomization(&self, name: &str) {
        let hub = self.kubectl.in_context("hub");
        let patch = r#"{"spec":{"suspend":true}}"#;
        let suspend = [
            "patch",
            "kustomization",
            "fleet",
            "-n",
            SYSTEM,
            "--type=merge",
            "-p",
            patch,
        ];
        hub.ok(&suspend).await.unwrap();
        let delete = [
            "delete",
            "kustomization",
            name,
            "-n",
            SYSTEM,
            "--timeout=2m",
        ];
        hub.ok(&delete).await.unwrap();
    }

    /// The revision of `main`, as Flux writes it.
    pub(crate) fn revision(&self) -> String {
        format!("main@sha1:{}", self.git.head().unwrap())
    }

    /// Waits until all these Kustomizations are ready at the head of `main`.
    pub(crate) async fn until_converged(&self, count: usize) {
        let revision = self.revision();
        until(
            &format!("{count} Kustomizations are at {revision}"),
            async || {
                let list = self.hub.list("Kustomization", SYSTEM).await;
                let lag: Vec<String> = list
                    .iter()
                    .filter(|object| !is_at(object, &revision))
                    .map(|object| {
                        format!(
                            "{}: {}",
                            object["metadata"]["name"], object["status"]["conditions"]
                        )
                    })
                    .collect();
                if list.len() == count && lag.is_empty() {
                    return Ok(());
                }
                Err(format!(
                    "{} of them, and not yet: {}",
                    list.len(),
                    lag.join("\n")
                ))
            },
        )
        .await;
    }

    /// Who holds the Leases of both of Flux's controllers.
    pub(crate) async fn leader(&self) -> Engine {
        let mut engines = Vec::new();
        for name in ["kustomize-controller", "source-controller"] {
            let lease = format!("{name}-leader-election");
            let lease = self.hub.get("Lease", SYSTEM, &lease).await;
            let holder = lease.map(|lease| lease["spec"]["holderIdentity"].clone());
            let holder = holder.unwrap_or_default();
            engines.push(match holder.as_str().unwrap_or_default() {
                "" => Engine::Nobody,
                holder if holder.contains("fairway") => Engine::Fairway,
                _ => Engine::Flux,
            });
        }
        if engines[0] == engines[1] {
            engines[0]
        } else {
            Engine::Nobody
        }
    }

    /// Waits until this engine holds the Leases of both of Flux's controllers.
    pub(crate) async fn until_leads(&self, engine: Engine) {
        until(&format!("{engine:?} leads"), async || {
            let leader = self.leader().await;
            if leader == engine {
                return Ok(());
            }
            Err(format!("{leader:?}"))
        })
        .await;
    }

    /// What must not change; taken when two looks, some time apart, see the same.
    pub(crate) async fn settled(&self) -> Picture {
        let mut last = self.picture().await;
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let next = self.picture().await;
            if next == last {
                return next;
            }
            last = next;
        }
    }

    pub(crate) async fn picture(&self) -> Picture {
        let mut managed = Vec::new();
        for plane in self.clusters.iter() {
            let cluster = Cluster::of(plane.kubeconfig(), plane.name()).await;
            managed.push((plane.name().to_owned(), Managed::of(&cluster).await));
        }
        Picture {
            managed,
            kustomizations: Statuses::of_kustomizations(&self.hub).await,
            sources: Statuses::of_sources(&self.hub).await,
        }
    }
}

/// Who is in charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Fairway,
    Flux,
    Nobody,
}

/// Everything that a handover must leave as it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Picture {
    pub(crate) managed: Vec<(String, Managed)>,
    pub(crate) kustomizations: Statuses,
    pub(crate) sources: Statuses,
}

fn is_at(object: &Value, revision: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    object["status"]["lastAppliedRevision"] == revision
        && object["status"]["observedGeneration"] == object["metadata"]["generation"]
        && conditions.any(|c| c["type"] == "Ready" && c["status"] == "True")
}
