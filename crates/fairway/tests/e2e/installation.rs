//! Installing on a real kube-apiserver: once, twice, beside Flux, with the controller's own few rights, and away again.

use fairway_testkit::GitServer;
use fairway_testkit::real::{Assets, ControlPlane};
use serde_json::{Value, json};

use crate::binary::{Home, until};
use crate::cluster::{Cluster, SYSTEM, documents};

struct Real {
    _plane: ControlPlane,
    cluster: Cluster,
    home: Home,
    kubeconfig: String,
}

impl Real {
    async fn start() -> Option<Self> {
        let Some(assets) = Assets::find() else {
            eprintln!("skipped: no etcd and kube-apiserver; `cargo xtask envtest` builds them");
            return None;
        };
        let plane = ControlPlane::start(&assets).await.unwrap();
        let cluster = Cluster::of(plane.kubeconfig(), "real").await;
        let home = Home::new();
        let kubeconfig = home.write("kubeconfig", plane.kubeconfig());
        Some(Self {
            cluster,
            kubeconfig: kubeconfig.to_str().unwrap().to_owned(),
            home,
            _plane: plane,
        })
    }

    async fn fairway(&self, arguments: &[&str]) -> fairway_testkit::Output {
        let mut all = vec!["--kubeconfig", &self.kubeconfig];
        all.extend(arguments);
        self.home.run(&all).await
    }

    /// A kubeconfig for the account that `install` made for the controller.
    async fn as_the_controller(&self) -> String {
        let token = self.cluster.token(SYSTEM, "fairway").await;
        let text = std::fs::read_to_string(&self.kubeconfig).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["users"][0]["user"] = json!({ "token": token });
        let path = self
            .home
            .write("controller.kubeconfig", &config.to_string());
        path.to_str().unwrap().to_owned()
    }
}

fn map(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\ndata: {{a: b}}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_cluster_is_installed_used_with_few_rights_and_left_as_it_was() {
    let Some(real) = Real::start().await else {
        return;
    };
    let pre = real.fairway(&["check", "--pre"]).await;
    assert_eq!(pre.code, 0, "{pre:?}");
    let exported = real.home.run(&["install", "--export"]).await;
    let wanted = documents(&exported.stdout);
    let first = real.fairway(&["install", "--wait=false"]).await;
    assert_eq!(first.code, 0, "{first:?}");
    assert_eq!(
        first.stdout.matches(" created\n").count(),
        wanted.len(),
        "{first:?}"
    );
    let versions = real.cluster.everything().await;
    let second = real.fairway(&["install", "--wait=false"]).await;
    assert_eq!(
        second.stdout.matches(" unchanged\n").count(),
        wanted.len(),
        "{second:?}"
    );
    let after = real.cluster.everything().await;
    for (id, object) in &versions {
        assert_eq!(
            after[id]["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"],
            "{id:?}"
        );
    }
    // There is no node, then one without a kubelet: a bounded wait says what is missing.
    let nowhere = real.fairway(&["install"]).await;
    assert_eq!(nowhere.code, 0, "{nowhere:?}");
    assert!(
        nowhere.stdout.contains("the cluster has no node"),
        "{nowhere:?}"
    );
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"}});
    real.cluster.apply(&node).await;
    let waiting = real.fairway(&["install", "--timeout=1s"]).await;
    assert_eq!(waiting.code, 3, "{waiting:?}");
    assert!(
        waiting.stderr.contains("did not roll out") && waiting.stderr.contains("hint:"),
        "{waiting:?}"
    );
    let version = real
        .cluster
        .get(
            "CustomResourceDefinition",
            "",
            "kustomizations.kustomize.toolkit.fluxcd.io",
        )
        .await;
    assert_eq!(
        version.unwrap()["spec"]["versions"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    // The controller's account can do all that a hub with a fleet needs, and nothing is forbidden to it.
    let git = GitServer::start("fleet").await.unwrap();
    let commit = git
        .commit(
            "First",
            &[
                ("app/one.yaml", Some(&map("one"))),
                ("spread/one.yaml", Some(&map("one"))),
            ],
        )
        .await
        .unwrap();
    for object in documents(&fleet(&git.url())) {
        real.cluster.apply(&object).await;
    }
    let storage = real.home.path().join("data");
    let own = real.as_the_controller().await;
    let controller = real.home.spawn(&[
        "controller",
        "--kubeconfig",
        &own,
        "--profile=locked",
        "--enable-leader-election",
        "--health-addr=127.0.0.1:0",
        "--metrics-addr=127.0.0.1:0",
        "--storage-path",
        storage.to_str().unwrap(),
    ]);
    let revision = format!("main@sha1:{commit}");
    real.cluster.until_applied("app", &revision).await;
    real.cluster.until_applied("spread-here", &revision).await;
    for map in ["one", "spread-one"] {
        assert!(
            real.cluster
                .get("ConfigMap", "default", map)
                .await
                .is_some(),
            "{map}"
        );
    }
    let check = real.fairway(&["check"]).await;
    assert!(check.stdout.contains(" leads"), "{check:?}");
    let said = controller.stderr();
    assert!(
        !said.contains("forbidden") && !said.contains("Forbidden"),
        "{said}"
    );
    // It may not do by itself what only the applier may.
    let by_itself = real
        .home
        .run(&["--kubeconfig", &own, "install", "--wait=false"])
        .await;
    assert_eq!(by_itself.code, 3, "{by_itself:?}");

    // A controller that works elsewhere holds uninstall up; once it stopped, all goes and what it applied stays.
    let mut controller = controller;
    controller.terminate().unwrap();
    controller.wait(crate::binary::PATIENCE).await.unwrap();
    let uid = async |name: &str| {
        real.cluster
            .get("ConfigMap", "default", name)
            .await
            .unwrap()["metadata"]["uid"]
            .clone()
    };
    let before = (uid("one").await, uid("spread-one").await);
    let gone = real.fairway(&["uninstall", "--yes"]).await;
    // `lost` names a server that is not there.
    assert_eq!(gone.code, 1, "{gone:?}");
    assert!(
        gone.stdout.contains("Cluster lost could not be reached"),
        "{gone:?}"
    );
    until("the definitions are gone", async || {
        let left = real.cluster.list("CustomResourceDefinition", "").await;
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{} left", left.len()))
        }
    })
    .await;
    assert_eq!((uid("one").await, uid("spread-one").await), before);
    assert!(
        real.cluster
            .get("ClusterRole", "", "fairway")
            .await
            .is_none()
    );
}

/// A source, a Kustomization, and a fan-out to the hub itself; and a cluster that is not there.
fn fleet(url: &str) -> String {
    format!(
        "apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: fleet, namespace: {SYSTEM}}}
spec: {{interval: 1s, url: {url}, ref: {{branch: main}}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: app, namespace: {SYSTEM}}}
spec: {{interval: 10m, retryInterval: 1s, path: ./app, prune: true, wait: true, sourceRef: {{kind: GitRepository, name: fleet}}}}
---
apiVersion: fleet.fairway.dev/v1alpha1
kind: Cluster
metadata: {{name: here, namespace: {SYSTEM}, labels: {{environment: dev}}}}
spec: {{}}
---
apiVersion: v1
kind: Secret
metadata: {{name: lost, namespace: {SYSTEM}}}
stringData:
  value: '{{\"apiVersion\":\"v1\",\"kind\":\"Config\",\"current-context\":\"a\",\"contexts\":[{{\"name\":\"a\",\"context\":{{\"cluster\":\"a\",\"user\":\"a\"}}}}],\"clusters\":[{{\"name\":\"a\",\"cluster\":{{\"server\":\"https://127.0.0.1:9\"}}}}],\"users\":[{{\"name\":\"a\",\"user\":{{\"token\":\"x\"}}}}]}}'
---
apiVersion: fleet.fairway.dev/v1alpha1
kind: Cluster
metadata: {{name: lost, namespace: {SYSTEM}, labels: {{environment: none}}}}
spec: {{kubeConfig: {{secretRef: {{name: lost}}}}, sync: {{path: ./x, sourceRef: {{kind: GitRepository, name: fleet}}}}}}
---
apiVersion: fleet.fairway.dev/v1alpha1
kind: FleetKustomization
metadata: {{name: spread, namespace: {SYSTEM}}}
spec:
  clusterSelector: {{matchLabels: {{environment: dev}}}}
  template:
    spec: {{interval: 10m, retryInterval: 1s, path: ./spread, namePrefix: spread-, prune: true, sourceRef: {{kind: GitRepository, name: fleet}}}}
"
    )
}

fn controller_of_flux(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": SYSTEM, "labels": {"app.kubernetes.io/part-of": "flux", "app.kubernetes.io/component": name}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "manager", "image": "example.com/manager:v1"}]},
            },
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_flux_is_named_and_its_objects_are_left_to_it() {
    let Some(real) = Real::start().await else {
        return;
    };
    real.cluster
        .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM, "labels": {"app.kubernetes.io/part-of": "flux"}}}))
        .await;
    for name in ["source-controller", "kustomize-controller"] {
        real.cluster.apply(&controller_of_flux(name)).await;
    }
    let pre = real.fairway(&["check", "--pre"]).await;
    assert_eq!(pre.code, 1, "{pre:?}");
    let refused = real.fairway(&["install", "--wait=false"]).await;
    assert_eq!(refused.code, 3, "{refused:?}");
    let scale = "kubectl -n flux-system scale deployment source-controller kustomize-controller --replicas=0";
    assert!(refused.stderr.contains(scale), "{refused:?}");
    assert!(
        real.cluster
            .list("CustomResourceDefinition", "")
            .await
            .is_empty()
    );

    // Only the fan-out collides with nothing; and whoever says so may install all of it.
    let beside = real
        .fairway(&["install", "--wait=false", "--components=fleet"])
        .await;
    assert_eq!(beside.code, 0, "{beside:?}");
    let told = real
        .fairway(&["install", "--wait=false", "--beside-flux"])
        .await;
    assert_eq!(told.code, 0, "{told:?}");
    assert!(
        told.stdout.contains("Namespace/flux-system kept as it is"),
        "{told:?}"
    );

    let sync = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": "theirs", "namespace": SYSTEM, "finalizers": ["finalizers.fluxcd.io"]},
        "spec": {"interval": "10m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "x"}},
    });
    real.cluster.apply(&sync).await;
    let gone = real.fairway(&["uninstall", "--yes"]).await;
    assert_eq!(gone.code, 0, "{gone:?}");
    let theirs = real
        .cluster
        .get("Kustomization", SYSTEM, "theirs")
        .await
        .unwrap();
    assert_eq!(
        theirs["metadata"]["finalizers"],
        json!(["finalizers.fluxcd.io"])
    );
    assert!(theirs["metadata"]["deletionTimestamp"].is_null());
    let flux = real
        .cluster
        .get("Deployment", SYSTEM, "kustomize-controller")
        .await;
    assert!(flux.is_some());
    assert!(
        real.cluster
            .get("Deployment", SYSTEM, "fairway")
            .await
            .is_none()
    );
}
