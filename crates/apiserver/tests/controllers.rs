//! The simulated controllers as kubectl sees them. Skipped, with a word, where there is no kubectl.

use std::process::{Command, Stdio};
use std::time::Duration;

use fairway_apiserver::{Config, Server};

struct Cluster {
    _server: Server,
    folder: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Option<Self> {
        if Command::new("kubectl")
            .arg("version")
            .arg("--client")
            .output()
            .is_err()
        {
            eprintln!("skipped: there is no kubectl on this machine");
            return None;
        }
        let config = Config {
            clusters: vec!["dev".to_owned()],
            rollout_delay: Duration::from_millis(20),
            ..Config::default()
        };
        let server = Server::start(config).await.expect("a server starts");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("kubeconfig"), server.kubeconfig())
            .expect("a kubeconfig");
        std::fs::write(folder.path().join("workloads.yaml"), WORKLOADS).expect("manifests");
        Some(Self {
            _server: server,
            folder,
        })
    }

    /// Runs kubectl in the folder of the manifests and returns whether it succeeded and what it printed.
    fn run(&self, line: &str) -> (bool, String) {
        let output = Command::new("kubectl")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .args(line.split(' '))
            .output()
            .expect("kubectl runs");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).trim().to_owned(),
        )
    }

    fn ok(&self, line: &str) -> String {
        let (success, text) = self.run(line);
        assert!(success, "kubectl {line}\n{text}");
        text
    }

    fn fails(&self, line: &str) -> String {
        let (success, text) = self.run(line);
        assert!(!success, "kubectl {line} succeeded\n{text}");
        text
    }
}

const WORKLOADS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  progressDeadlineSeconds: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: 'web:1', ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: c, image: 'db:1'}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: c, image: 'agent:1'}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  template: {spec: {restartPolicy: Never, containers: [{name: c, image: 'm:1'}]}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: http}]}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workloads_roll_out_and_go_back() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    cluster.ok("apply -f workloads.yaml");
    for workload in ["deployment/web", "statefulset/db", "daemonset/agent"] {
        cluster.ok(&format!("rollout status {workload} --timeout=60s"));
        cluster.ok(&format!("set image {workload} c=app:2"));
        cluster.ok(&format!("rollout status {workload} --timeout=60s"));
        cluster.ok(&format!("rollout undo {workload}"));
        cluster.ok(&format!("rollout status {workload} --timeout=60s"));
        let image = cluster.ok(&format!(
            "get {workload} -o jsonpath={{.spec.template.spec.containers[0].image}}"
        ));
        assert!(image.ends_with(":1"), "{workload}: {image}");
        cluster.ok(&format!("rollout restart {workload}"));
        cluster.ok(&format!("rollout status {workload} --timeout=60s"));
    }
    cluster.ok("wait --for=condition=complete job/migrate --timeout=60s");
    cluster.ok("scale deployment/web --replicas=5");
    cluster.ok("rollout status deployment/web --timeout=60s");
    cluster.ok("wait --for=condition=Available deployment/web --timeout=60s");
    let pods = cluster.ok("get pods -l app=web -o name");
    assert_eq!(pods.lines().count(), 5, "{pods}");
    assert_eq!(
        cluster.ok("get pvc -o jsonpath={.items[*].status.phase}"),
        "Bound Bound"
    );
    let address = cluster.ok("get service web -o jsonpath={.status.loadBalancer.ingress[0].ip}");
    assert!(address.starts_with("203.0.113."), "{address}");
    let ready = cluster.ok("get endpointslices -l kubernetes.io/service-name=web -o jsonpath={.items[0].endpoints[*].conditions.ready}");
    assert_eq!(ready, "true true true true true");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_image_is_explained() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    cluster.ok("apply -f workloads.yaml");
    cluster.ok("rollout status deployment/web --timeout=60s");
    cluster.ok("set image deployment/web c=web:broken");
    let text = cluster.fails("rollout status deployment/web --timeout=60s");
    assert!(
        text.contains("deployment \"web\" exceeded its progress deadline"),
        "{text}"
    );
    let pods = cluster.ok("get pods -l app=web");
    assert!(
        pods.contains("ImagePullBackOff") && pods.contains("Running"),
        "{pods}"
    );
    let text = cluster.ok("describe pods -l app=web");
    assert!(
        text.contains("Failed to pull image \"web:broken\""),
        "{text}"
    );
    cluster.ok("rollout undo deployment/web");
    cluster.ok("rollout status deployment/web --timeout=60s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletion_cascades_as_asked() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    cluster.ok("apply -f workloads.yaml");
    cluster.ok("rollout status deployment/web --timeout=60s");
    let pods = cluster.ok("get pods -l app=web -o name");
    cluster.ok("delete deployment web --cascade=orphan");
    cluster.ok("apply -f workloads.yaml");
    cluster.ok("rollout status deployment/web --timeout=60s");
    assert_eq!(
        cluster.ok("get pods -l app=web -o name"),
        pods,
        "the Pods were taken over"
    );
    cluster.ok("delete deployment web --cascade=foreground --timeout=60s");
    assert_eq!(cluster.ok("get replicasets,pods -l app=web -o name"), "");

    cluster.ok("create namespace doomed");
    cluster.ok("create configmap held --namespace doomed --from-literal=a=b");
    cluster.ok("patch configmap held --namespace doomed --type=merge -p {\"metadata\":{\"finalizers\":[\"example.com/f\"]}}");
    cluster.ok("delete namespace doomed --wait=false");
    cluster.ok("wait --for=condition=NamespaceFinalizersRemaining namespace/doomed --timeout=60s");
    let text = cluster.fails("create configmap late --namespace doomed");
    assert!(text.contains("because it is being terminated"), "{text}");
    cluster.ok("patch configmap held --namespace doomed --type=merge -p {\"metadata\":{\"finalizers\":null}}");
    cluster.ok("wait --for=delete namespace/doomed --timeout=60s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_may_do_what_they_are_bound_to() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    cluster.ok("create serviceaccount bot");
    cluster.ok("create rolebinding bot --clusterrole=view --serviceaccount=default:bot");
    let bot = "--as system:serviceaccount:default:bot";
    assert_eq!(cluster.ok(&format!("auth can-i list pods {bot}")), "yes");
    assert_eq!(
        cluster.fails(&format!("auth can-i delete pods {bot}")),
        "no"
    );
    assert_eq!(
        cluster.fails(&format!("get secrets {bot}")),
        "Error from server (Forbidden): secrets is forbidden: User \"system:serviceaccount:default:bot\" cannot list \
         resource \"secrets\" in API group \"\" in the namespace \"default\""
    );
    cluster.ok("create rolebinding bot-admin --clusterrole=admin --serviceaccount=default:bot");
    cluster.ok(&format!(
        "create role reader --verb=get --resource=secrets {bot}"
    ));
    let text = cluster.fails(&format!(
        "create rolebinding grab --clusterrole=cluster-admin --user=eve {bot}"
    ));
    assert!(
        text.contains("is attempting to grant RBAC permissions not currently held"),
        "{text}"
    );
    assert!(
        cluster
            .ok(&format!("auth whoami {bot}"))
            .contains("system:serviceaccounts:default")
    );
    let text = cluster.ok("auth can-i --list --as eve");
    assert!(
        text.contains("selfsubjectaccessreviews.authorization.k8s.io"),
        "{text}"
    );
}
