//! What can be wrong around a repository: each ends in a condition, an event and one clear line, and the others go on.

use fairway_testkit::{Fleet, GitServer};
use serde_json::{Value, json};

use crate::binary::{Home, until};
use crate::cluster::{Cluster, Ready, SYSTEM};

const SOURCE: &str = "source.toolkit.fluxcd.io/v1";
const KUSTOMIZE: &str = "kustomize.toolkit.fluxcd.io/v1";

fn source(name: &str, url: &str, branch: &str) -> Value {
    json!({
        "apiVersion": SOURCE, "kind": "GitRepository",
        "metadata": {"name": name, "namespace": SYSTEM},
        "spec": {"interval": "1s", "timeout": "10s", "url": url, "ref": {"branch": branch}},
    })
}

fn kustomization(name: &str, source: &str, more: Value) -> Value {
    let mut object = json!({
        "apiVersion": KUSTOMIZE, "kind": "Kustomization",
        "metadata": {"name": name, "namespace": SYSTEM},
        "spec": {
            "interval": "10m", "retryInterval": "1s", "path": "./app", "prune": true,
            "sourceRef": {"kind": "GitRepository", "name": source},
        },
    });
    for (key, value) in more.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

/// A kubeconfig of a cluster where nobody listens.
fn dead_cluster() -> Vec<Value> {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "dead",
        "contexts": [{"name": "dead", "context": {"cluster": "dead", "user": "dead"}}],
        "clusters": [{"name": "dead", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "dead", "user": {"token": "t"}}],
    });
    vec![
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "dead-kubeconfig", "namespace": SYSTEM},
            "stringData": {"value": kubeconfig.to_string()},
        }),
        json!({
            "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "dead", "namespace": SYSTEM},
            "spec": {"kubeConfig": {"secretRef": {"name": "dead-kubeconfig"}}},
        }),
        kustomization(
            "on-dead",
            "good",
            json!({"kubeConfig": {"secretRef": {"name": "dead-kubeconfig"}}}),
        ),
    ]
}

struct Case {
    kind: &'static str,
    name: &'static str,
    reason: &'static str,
    /// What the message names.
    names: &'static [&'static str],
    /// The words of `fairway reconcile`.
    command: &'static [&'static str],
}

const CASES: [Case; 5] = [
    Case {
        kind: "GitRepository",
        name: "unreachable",
        reason: "GitOperationFailed",
        names: &["127.0.0.1:1"],
        command: &["source", "git"],
    },
    Case {
        kind: "GitRepository",
        name: "branchless",
        reason: "GitOperationFailed",
        names: &["nope"],
        command: &["source", "git"],
    },
    Case {
        kind: "GitRepository",
        name: "locked",
        reason: "GitOperationFailed",
        names: &["locked"],
        command: &["source", "git"],
    },
    Case {
        kind: "Cluster",
        name: "dead",
        reason: "ClusterUnreachable",
        names: &["127.0.0.1:1"],
        command: &["cluster"],
    },
    Case {
        kind: "Kustomization",
        name: "hen",
        reason: "DependencyNotReady",
        names: &["hen", "egg", "cycle"],
        command: &["kustomization"],
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_told_and_the_others_go_on() {
    let fleet = Fleet::start(&["management"]).await.unwrap();
    let kubeconfig = fleet.kubeconfig_for("management").unwrap();
    let hub = Cluster::of(&fleet.server().kubeconfig(), "management").await;
    let home = Home::new();
    let file = home.write("kubeconfig", &kubeconfig);
    let file = file.to_str().unwrap();
    let fairway = async |arguments: &[&str]| {
        let mut all = vec!["--kubeconfig", file];
        all.extend(arguments);
        home.run(&all).await
    };
    let output = fairway(&["install", "--replicas=0"]).await;
    assert_eq!(output.code, 0, "{output:?}");

    let map = |value: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: good, namespace: default}}\ndata: {{value: {value}}}\n"
        )
    };
    let git = GitServer::start("good").await.unwrap();
    git.commit("First", &[("app/map.yaml", Some(&map("a")))])
        .await
        .unwrap();
    let locked = GitServer::start("locked").await.unwrap();
    locked
        .commit("First", &[("app/map.yaml", Some(&map("x")))])
        .await
        .unwrap();
    locked.server().require_password(Some(("pat", "secret")));
    let mut objects = vec![
        source("good", &git.url(), "main"),
        kustomization("good", "good", json!({})),
        source("unreachable", "http://127.0.0.1:1/x.git", "main"),
        source("branchless", &git.url(), "nope"),
        source("locked", &locked.url(), "main"),
        kustomization("hen", "good", json!({"dependsOn": [{"name": "egg"}]})),
        kustomization("egg", "good", json!({"dependsOn": [{"name": "hen"}]})),
    ];
    objects.extend(dead_cluster());
    for object in &objects {
        hub.apply(object).await;
    }
    let controller = home.spawn(&["--kubeconfig", file, "controller", "--profile=locked"]);

    for case in &CASES {
        let failed = hub
            .until_ready(case.kind, case.name, |_, ready| {
                ready.status == "False" && ready.reason == case.reason
            })
            .await;
        let message = Ready::of(&failed).message;
        for part in case.names {
            assert!(message.contains(part), "{}: {message}", case.name);
        }
        until("an event tells it", async || {
            let events = hub.events(case.kind, case.name).await;
            let told = events
                .iter()
                .any(|(_, reason, text)| reason == case.reason && text.contains(case.names[0]));
            told.then_some(()).ok_or_else(|| format!("{events:?}"))
        })
        .await;
        let output = fairway(&[&["reconcile"], case.command, &[case.name]].concat()).await;
        assert_eq!(output.code, 1, "{}: {output:?}", case.name);
        let line = output.stdout.lines().nth(1).unwrap_or_default();
        let start = format!("✗ {}: {}: ", case.kind, case.reason);
        assert!(line.starts_with(&start), "{}: {output:?}", case.name);
        assert!(!format!("{output:?}").contains("secret"), "{output:?}");
    }
    hub.until_ready("Kustomization", "on-dead", |_, ready| {
        ready.status == "False" && ready.message.contains("unreachable")
    })
    .await;

    // With all that, the good one follows the next commit; what is repaired heals without being asked.
    let second = git
        .commit("Second", &[("app/map.yaml", Some(&map("b")))])
        .await
        .unwrap();
    hub.until_applied("good", &format!("main@sha1:{second}"))
        .await;
    let live = hub.get("ConfigMap", "default", "good").await.unwrap();
    assert_eq!(live["data"], json!({"value": "b"}));
    locked.server().require_password(None);
    hub.until_ready("GitRepository", "locked", |_, ready| ready.status == "True")
        .await;
    hub.apply(&kustomization("egg", "good", json!({"dependsOn": []})))
        .await;
    hub.until_applied("hen", &format!("main@sha1:{second}"))
        .await;
    drop(controller);
}
