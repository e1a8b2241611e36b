//! Everyday kubectl against a simulated cluster. Skipped, with a word, where there is no kubectl.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use fairway_apiserver::{Config, Server};

/// A running server, a kubeconfig and a home of its own: nothing of the user's is read or written.
struct Bench {
    _server: Server,
    folder: tempfile::TempDir,
}

async fn bench(clusters: &[&str]) -> Option<Bench> {
    if Command::new("kubectl")
        .arg("version")
        .arg("--client")
        .output()
        .is_err()
    {
        eprintln!("skipped: there is no kubectl on this machine");
        return None;
    }
    let server = Server::start(Config {
        clusters: clusters.iter().map(|name| (*name).to_owned()).collect(),
        rollout_delay: Duration::from_millis(50),
        ..Config::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("kubeconfig"), server.kubeconfig()).unwrap();
    Some(Bench {
        _server: server,
        folder,
    })
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("kubectl");
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", self.path("kubeconfig"))
            .stdin(Stdio::null())
            .args(words(line));
        command
    }

    /// Runs kubectl; the words of the line may be quoted with single quotes.
    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// What it prints, which must succeed.
    fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "kubectl {line}\n{out}{err}");
        out.into_owned()
    }

    /// What it complains about, which must fail.
    fn fails(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(!output.status.success(), "kubectl {line} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words
}

const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: example.org/web:1
        ports: [{containerPort: 80}]
        resources: {limits: {cpu: 100m, memory: 64Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Secret
metadata: {name: password, namespace: shop}
stringData: {password: hunter2}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {color: blue}
";

const VERSIONS: &str =
    "get deploy,svc,secret,cm -n shop -o jsonpath='{.items[*].metadata.resourceVersion}'";

#[tokio::test(flavor = "multi_thread")]
async fn applying_twice_changes_nothing_the_second_time() {
    let Some(bench) = bench(&["dev"]).await else {
        return;
    };
    let file = bench.write("shop.yaml", SHOP);
    for apply in ["apply --server-side", "apply"] {
        // A client-side apply after a server-side one first records what it applied.
        bench.run(&format!("{apply} -f {file}"));
        bench.ok("rollout status deploy/web -n shop --timeout=20s");
        let before = bench.ok(VERSIONS);
        let said = bench.ok(&format!("{apply} -f {file}"));
        assert_eq!(bench.ok(VERSIONS), before, "{said}");
    }
    assert_eq!(
        bench.ok("get secret password -n shop -o jsonpath='{.data.password}'"),
        "aHVudGVyMg=="
    );
    assert!(bench.run(&format!("diff -f {file}")).status.success());
    let changed = bench.write("changed.yaml", &SHOP.replace("web:1", "web:2"));
    let diff = bench.run(&format!("diff -f {changed}"));
    let text = String::from_utf8_lossy(&diff.stdout);
    assert_eq!(diff.status.code(), Some(1));
    assert!(text.contains("+      - image: example.org/web:2"), "{text}");
    // A List takes another way through kubectl's validation.
    let list = bench.ok("get cm settings -n shop -o json");
    let list = bench.write(
        "list.json",
        &format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{list}]}}"#),
    );
    bench.ok(&format!("apply -f {list}"));
    bench.ok(&format!("apply -f {changed}"));
    bench.ok("rollout status deploy/web -n shop --timeout=20s");
    assert_eq!(
        bench.ok("get deploy web -n shop -o jsonpath='{.metadata.generation}'"),
        "3",
        "the annotation of client-side apply counts, as it does in Kubernetes, and so does the image"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_created_watched_changed_and_deleted() {
    let Some(bench) = bench(&["dev"]).await else {
        return;
    };
    let mut watch = bench
        .command("get deploy --watch -o jsonpath='{.metadata.name}={.status.readyReplicas} '")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    bench.ok("create deployment web --image=example.org/web:1 --replicas=2");
    bench.ok("wait --for=condition=Available deploy/web --timeout=20s");
    bench.ok("rollout status deploy/web --timeout=20s");
    let table = bench.ok("get deploy web --no-headers");
    let cells: Vec<&str> = table.split_whitespace().collect();
    assert_eq!(cells[..4], ["web", "2/2", "2", "2"]);
    let wide = bench.ok("get deploy,rs,pods -o wide");
    assert!(
        wide.contains("CONTAINERS") && wide.contains("NOMINATED NODE"),
        "{wide}"
    );
    assert!(wide.contains("Running"), "{wide}");
    assert!(
        bench
            .ok("get deploy web -o yaml")
            .contains("strategy:\n    rollingUpdate:\n      maxSurge: 25%")
    );

    bench.ok("scale deploy/web --replicas=3");
    bench.ok("label deploy/web tier=front");
    bench.ok("annotate deploy/web note=hello");
    bench.ok("set image deploy/web web=example.org/web:2");
    bench.ok(r#"patch deploy web -p '{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"A","value":"b"}]}]}}}}'"#);
    bench.ok(r#"patch deploy web --type=merge -p '{"metadata":{"labels":{"merged":"yes"}}}'"#);
    bench.ok(r#"patch deploy web --type=json -p '[{"op":"replace","path":"/spec/progressDeadlineSeconds","value":60}]'"#);
    assert_eq!(
        bench.ok("get deploy -l tier=front,merged=yes -o jsonpath='{.items[0].spec.template.spec.containers[0].image} {.items[0].spec.template.spec.containers[0].env[0].name}'"),
        "example.org/web:2 A"
    );
    let editor = bench.write(
        "editor.sh",
        "sed 's/replicas: 3/replicas: 1/' \"$1\" > \"$1.new\" && mv \"$1.new\" \"$1\"",
    );
    let edit = bench
        .command("edit deploy web")
        .env("EDITOR", format!("sh {editor}"))
        .output()
        .unwrap();
    assert!(
        edit.status.success(),
        "{}",
        String::from_utf8_lossy(&edit.stderr)
    );
    bench.ok("rollout restart deploy/web");
    bench.ok("rollout status deploy/web --timeout=20s");
    let described = bench.ok("describe deploy web");
    assert!(described.contains("1 desired | 1 updated"), "{described}");
    assert!(described.contains("ScalingReplicaSet"), "{described}");
    assert!(bench.ok("logs deploy/web").contains("simulated"));

    bench.ok("delete deploy web --timeout=20s");
    let until = Instant::now() + Duration::from_secs(20);
    while !bench.ok("get rs,pods -o name").is_empty() {
        assert!(
            Instant::now() < until,
            "what the Deployment owned is still there"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    watch.kill().unwrap();
    let seen = watch.wait_with_output().unwrap();
    let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
    assert!(seen.contains("web=2"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kubectl_creates_by_itself_is_understood() {
    let Some(bench) = bench(&["dev"]).await else {
        return;
    };
    // Most of these are sent as protobuf.
    for line in [
        "create namespace team",
        "create configmap settings --from-literal=color=blue",
        "create secret generic password --from-literal=password=hunter2",
        "create serviceaccount robot",
        "create service clusterip web --tcp=80:8080",
        "create role reader --verb=get,list --resource=pods,deployments.apps",
        "create rolebinding readers --role=reader --serviceaccount=default:robot",
        "create clusterrole wide --verb=get --resource=nodes",
        "create clusterrolebinding wide --clusterrole=wide --user=jane",
        "create job once --image=example.org/job:1",
        "create cronjob nightly --image=example.org/job:1 '--schedule=0 1 * * *'",
        "create ingress web '--rule=example.org/*=web:80'",
        "create quota small --hard=pods=10",
        "create poddisruptionbudget web --selector=app=web --min-available=1",
        "run shell --image=example.org/shell:1",
    ] {
        bench.ok(line);
    }
    assert_eq!(
        bench.ok("get svc web -o jsonpath='{.spec.ports[0].targetPort} {.spec.type}'"),
        "8080 ClusterIP"
    );
    assert_eq!(
        bench.ok("get cronjob nightly -o jsonpath='{.spec.schedule}'"),
        "0 1 * * *"
    );
    assert_eq!(
        bench
            .ok("get ingress web --no-headers")
            .split_whitespace()
            .nth(2),
        Some("example.org")
    );
    assert_eq!(bench.ok("auth can-i delete nodes").trim(), "yes");
    let robot = "--as=system:serviceaccount:default:robot";
    assert_eq!(
        bench
            .ok(&format!("auth can-i list deployments.apps {robot}"))
            .trim(),
        "yes"
    );
    assert!(
        !bench
            .run(&format!("auth can-i delete pods {robot}"))
            .status
            .success()
    );
    assert!(
        bench
            .ok(&format!("auth can-i --list {robot}"))
            .contains("deployments.apps")
    );
    assert!(bench.ok("auth whoami").contains("kubernetes-admin"));
    let refused = bench.fails(&format!("get secrets {robot}"));
    assert!(
        refused.contains("secrets is forbidden: User \"system:serviceaccount:default:robot\" cannot list resource \"secrets\" in API group \"\" in the namespace \"default\""),
        "{refused}"
    );
    let token = bench.ok("create token robot");
    let token = token.trim();
    assert!(
        bench
            .ok(&format!("--token={token} auth whoami"))
            .contains("system:serviceaccount:default:robot")
    );
    bench.ok("wait --for=condition=Complete job/once --timeout=20s");
}

const CRD: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  scope: Namespaced
  names: {kind: Widget, plural: widgets, shortNames: [wd], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    - {name: Color, type: string, jsonPath: .spec.color, priority: 1}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1}
              color: {type: string, default: red, enum: [red, blue]}
          status:
            type: object
            x-kubernetes-preserve-unknown-fields: true
"#;

const WIDGET: &str = "
apiVersion: example.org/v1
kind: Widget
metadata: {name: one, namespace: default}
spec: {size: 3}
";

#[tokio::test(flavor = "multi_thread")]
async fn custom_resources_behave_like_built_in_ones() {
    let Some(bench) = bench(&["dev"]).await else {
        return;
    };
    let crd = bench.write("crd.yaml", CRD);
    let widget = bench.write("widget.yaml", WIDGET);
    bench.ok(&format!("apply --server-side -f {crd}"));
    bench.ok("wait --for=condition=Established crd/widgets.example.org --timeout=10s");
    assert!(
        bench
            .ok("api-resources --api-group=example.org")
            .contains("wd")
    );
    bench.ok(&format!("apply -f {widget}"));
    assert_eq!(
        bench.ok("get wd one -o jsonpath='{.spec.color} {.metadata.generation}'"),
        "red 1"
    );
    bench.ok(r#"patch wd one --subresource=status --type=merge -p '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}'"#);
    bench.ok("wait --for=condition=Ready wd/one --timeout=10s");
    let table = bench.ok("get wd");
    let cells: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells[..3], ["one", "3", "True"]);
    assert!(bench.ok("get wd -o wide").contains("COLOR"));
    bench.ok("scale wd/one --replicas=5");
    assert_eq!(
        bench.ok("get wd one -o jsonpath='{.spec.size} {.metadata.generation}'"),
        "5 2"
    );
    let invalid = bench.write("invalid.yaml", &WIDGET.replace("size: 3", "size: 0"));
    let refused = bench.fails(&format!("apply -f {invalid}"));
    assert!(
        refused.contains(
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"
        ),
        "{refused}"
    );
    let unknown = bench.write(
        "unknown.yaml",
        &WIDGET.replace("size: 3", "size: 3, weight: 2"),
    );
    let refused = bench.fails(&format!("apply -f {unknown}"));
    assert!(
        refused.contains("unknown field \"spec.weight\""),
        "{refused}"
    );
    assert!(bench.ok("explain wd.spec").contains("color"));
    bench.ok("delete crd widgets.example.org --timeout=20s");
    // kubectl may still know the kind from its cache; the server doesn't.
    let gone = bench.fails("get --raw /apis/example.org/v1/widgets");
    assert!(
        gone.contains("the server could not find the requested resource"),
        "{gone}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_explained_as_kubernetes_explains_them() {
    let Some(bench) = bench(&["dev"]).await else {
        return;
    };
    let file = bench.write("shop.yaml", SHOP);
    bench.ok(&format!("apply --server-side -f {file}"));
    let cases = [
        (
            "get deploy missing -n shop",
            "Error from server (NotFound): deployments.apps \"missing\" not found",
        ),
        (
            "create cm settings -n shop",
            "configmaps \"settings\" already exists",
        ),
        ("create cm x -n nowhere", "namespaces \"nowhere\" not found"),
        (
            "create cm Upper -n shop",
            "metadata.name: Invalid value: \"Upper\": a lowercase RFC 1123 subdomain",
        ),
        (
            r#"patch deploy web -n shop --type=merge -p '{"spec":{"selector":{"matchLabels":{"app":"other"}}}}'"#,
            "field is immutable",
        ),
        (
            r#"patch deploy web -n shop --type=merge -p '{"spec":{"replicas":"many"}}'"#,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "get nonsense",
            "the server doesn't have a resource type \"nonsense\"",
        ),
        (
            "get pods --field-selector=spec.nothing=x",
            "field label not supported: spec.nothing",
        ),
    ];
    for (line, expected) in cases {
        let said = bench.fails(line);
        assert!(said.contains(expected), "kubectl {line}\n{said}");
    }
    let other = bench.write("other.yaml", &SHOP.replace("replicas: 2", "replicas: 5"));
    let conflict = bench.fails(&format!(
        "apply --server-side --field-manager=somebody -f {other}"
    ));
    assert!(
        conflict
            .contains("Apply failed with 1 conflict: conflict with \"kubectl\": .spec.replicas"),
        "{conflict}"
    );
    bench.ok(&format!(
        "apply --server-side --field-manager=somebody --force-conflicts -f {other}"
    ));
    bench.ok("delete ns shop --timeout=20s");
    assert!(
        bench
            .ok("get ns -o name")
            .lines()
            .all(|line| line != "namespace/shop")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_cluster_has_a_context() {
    let Some(bench) = bench(&["management", "dev", "prod"]).await else {
        return;
    };
    let shown = bench.ok("config view -o jsonpath='{.current-context} {.contexts[*].name}'");
    assert_eq!(shown, "management dev management prod");
    bench.ok("--context dev create ns only-here");
    assert!(!bench.ok("--context prod get ns").contains("only-here"));
    bench.ok("config use-context prod");
    assert_eq!(bench.ok("config current-context").trim(), "prod");
    assert!(bench.ok("get --raw /readyz").contains("ok"));
    assert!(Path::new(&bench.path("kubeconfig")).exists());
}
