//! Whose word an Approval is: every way to forge one, with kubectl, against the embedded API server and a real one.
#![allow(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::path::Path;
use std::time::{Duration, Instant};

use fairway_apiserver::{Config, Server};
use fairway_testkit::Kubectl;
use fairway_testkit::real::{Assets, ControlPlane};
use serde_json::{Value, json};

/// What `fairway install` applies of it.
fn shipped() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    [
        "config/crd/fleet.fairway.dev_pipelines.yaml",
        "config/crd/fleet.fairway.dev_promotions.yaml",
        "config/crd/fleet.fairway.dev_approvals.yaml",
        "deploy/roles.yaml",
        "deploy/approvals.yaml",
    ]
    .map(|file| std::fs::read_to_string(root.join(file)).unwrap())
    .join("\n---\n")
}

/// Ann and Bob may approve in `team`, Bob only one Pipeline; Eve may edit there, and approve in `other`.
const PEOPLE: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: team}
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: approvers, namespace: team}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: fairway-approver}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: ann}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: editors, namespace: team}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: fairway-edit}
subjects:
- {kind: User, apiGroup: rbac.authorization.k8s.io, name: eve}
- {kind: ServiceAccount, name: robot, namespace: team}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: viewers, namespace: team}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: fairway-view}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: eve}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: one-pipeline, namespace: team}
rules:
- {apiGroups: [fleet.fairway.dev], resources: [pipelines], resourceNames: [shop], verbs: [approve]}
- {apiGroups: [fleet.fairway.dev], resources: [approvals], verbs: [create, update, patch, get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: one-pipeline, namespace: team}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: one-pipeline}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: bob}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: approvals, namespace: team}
rules:
- {apiGroups: [fleet.fairway.dev], resources: [approvals], verbs: ['*']}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: approvals, namespace: team}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: approvals}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: eve}, {kind: ServiceAccount, name: robot, namespace: team}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: approvers, namespace: other}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: fairway-approver}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: eve}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot, namespace: team}
";

fn approval(
    name: &str,
    namespace: &str,
    approver: &str,
    groups: &[&str],
    pipeline: &str,
) -> String {
    json!({
        "apiVersion": "fleet.fairway.dev/v1alpha1",
        "kind": "Approval",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "promotionRef": {"name": format!("{pipeline}-prod-1")},
            "pipelineRef": {"name": pipeline},
            "decision": "approve",
            "approver": approver,
            "groups": groups,
        },
    })
    .to_string()
}

fn promotion(name: &str, by: Option<&str>) -> String {
    let mut object = json!({
        "apiVersion": "fleet.fairway.dev/v1alpha1",
        "kind": "Promotion",
        "metadata": {"name": name, "namespace": "team"},
        "spec": {"pipelineRef": {"name": "shop"}, "stage": "prod", "version": "1.2.3"},
    });
    if let Some(by) = by {
        object["spec"]["requestedBy"] = by.into();
    }
    object.to_string()
}

/// Somebody with kubectl.
struct Person<'a> {
    kubectl: &'a Kubectl,
    identity: Vec<String>,
}

impl Person<'_> {
    async fn run(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut all: Vec<&str> = self.identity.iter().map(String::as_str).collect();
        all.extend(arguments);
        let output = self.kubectl.run_with(&all, &[], input).await.unwrap();
        if output.code == 0 {
            Ok(output.stdout)
        } else {
            Err(output.stderr)
        }
    }

    async fn create(&self, object: &str) -> Result<String, String> {
        self.run(&["create", "-f", "-"], object).await
    }
}

fn refused(answer: Result<String, String>, why: &str) {
    let told = answer.expect_err(why);
    assert!(told.contains(why), "{why:?} is not what it says: {told}");
}

/// Tries everything; `kubectl` is an administrator's.
async fn forge(kubectl: &Kubectl) {
    kubectl.apply(&shipped()).await.unwrap();
    kubectl.apply(PEOPLE).await.unwrap();
    let who = |name: &str, groups: &[&str]| {
        let mut identity = vec![format!("--as={name}")];
        identity.extend(groups.iter().map(|group| format!("--as-group={group}")));
        Person { kubectl, identity }
    };
    let (ann, bob, eve) = (
        who("ann", &["leads", "staff"]),
        who("bob", &[]),
        who("eve", &[]),
    );
    let robot = "system:serviceaccount:team:robot";
    // A policy is in force a moment after it is there, and so are resources.
    let started = Instant::now();
    loop {
        let probe = approval("probe", "team", "nobody", &[], "shop");
        let answer = ann
            .run(&["create", "--dry-run=server", "-f", "-"], &probe)
            .await;
        if answer.is_err_and(|told| told.contains("fairway-approvals")) {
            break;
        }
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "no policy is in force"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    // Names and groups of others.
    let as_bob = approval("a", "team", "bob", &[], "shop");
    refused(
        ann.create(&as_bob).await,
        "spec.approver must be who sends it: ann",
    );
    let not_hers = approval("a", "team", "ann", &["leads", "admins"], "shop");
    refused(
        ann.create(&not_hers).await,
        "spec.groups must be groups of ann",
    );
    let in_group = approval("bare", "team", "bob", &["leads"], "shop");
    refused(
        bob.create(&in_group).await,
        "spec.groups must be groups of bob",
    );
    let dry = ["create", "--dry-run=server", "-f", "-"];
    refused(
        ann.run(&dry, &as_bob).await,
        "spec.approver must be who sends it: ann",
    );
    ann.run(&dry, &approval("a", "team", "ann", &["leads"], "shop"))
        .await
        .unwrap();
    ann.create(&approval("a", "team", "ann", &["leads"], "shop"))
        .await
        .unwrap();
    bob.create(&approval("b", "team", "bob", &[], "shop"))
        .await
        .unwrap();

    // By other ways in: server-side apply, apply, replace.
    let apply = ["apply", "--server-side", "-f", "-"];
    refused(
        bob.run(&apply, &approval("c", "team", "ann", &[], "shop"))
            .await,
        "must be who sends it: bob",
    );
    refused(
        eve.run(
            &["apply", "-f", "-"],
            &approval("c", "team", "ann", &[], "shop"),
        )
        .await,
        "must be who sends it: eve",
    );
    let forced = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    refused(
        eve.run(&forced, &approval("a", "team", "eve", &[], "shop"))
            .await,
        "cannot be changed",
    );
    refused(
        bob.run(
            &["replace", "-f", "-"],
            &approval("a", "team", "bob", &[], "shop"),
        )
        .await,
        "cannot be changed",
    );

    // Edited after they were made, by whoever it is.
    for patch in [
        r#"{"spec":{"approver":"eve"}}"#,
        r#"{"spec":{"decision":"reject"}}"#,
        r#"{"spec":{"groups":["leads","admins"]}}"#,
        r#"{"spec":{"promotionRef":{"name":"shop-prod-2"}}}"#,
        r#"{"spec":{"pipelineRef":{"name":"billing"}}}"#,
    ] {
        let arguments = [
            "-n",
            "team",
            "patch",
            "approval",
            "a",
            "--type=merge",
            "-p",
            patch,
        ];
        refused(eve.run(&arguments, "").await, "cannot be changed");
        refused(
            kubectl_result(kubectl, &arguments).await,
            "cannot be changed",
        );
    }
    let operation = r#"[{"op":"replace","path":"/spec/approver","value":"eve"}]"#;
    let arguments = [
        "-n",
        "team",
        "patch",
        "approval",
        "a",
        "--type=json",
        "-p",
        operation,
    ];
    refused(eve.run(&arguments, "").await, "cannot be changed");
    // Its labels are nobody's word.
    eve.run(&["-n", "team", "label", "approval", "a", "seen=yes"], "")
        .await
        .unwrap();

    // Without the verb, or with it elsewhere.
    refused(
        eve.create(&approval("e", "team", "eve", &[], "shop")).await,
        "eve needs the verb approve on Pipeline team/shop",
    );
    refused(
        bob.create(&approval("e", "team", "bob", &[], "billing"))
            .await,
        "bob needs the verb approve on Pipeline team/billing",
    );
    eve.create(&approval("e", "other", "eve", &[], "shop"))
        .await
        .unwrap();
    refused(
        ann.create(&approval("e", "other", "ann", &[], "shop"))
            .await,
        "forbidden",
    );
    refused(
        who("mallory", &[])
            .create(&approval("m", "team", "mallory", &[], "shop"))
            .await,
        "cannot create resource \"approvals\"",
    );

    // There is nothing but the spec: a status is not kept, and nobody may write one.
    let mut with_status: Value =
        serde_json::from_str(&approval("s", "team", "bob", &[], "shop")).unwrap();
    with_status["status"] = json!({"counted": true});
    let loose = ["create", "--validate=ignore", "-o", "json", "-f", "-"];
    let made = bob.run(&loose, &with_status.to_string()).await.unwrap();
    assert!(!made.contains("counted"), "{made}");
    let status = [
        "-n",
        "team",
        "patch",
        "approval",
        "a",
        "--subresource=status",
        "--type=merge",
        "-p",
        r#"{"status":{"counted":true}}"#,
    ];
    refused(
        eve.run(&status, "").await,
        "cannot get resource \"approvals/status\"",
    );

    // Deleted and made again it is the word of who makes it.
    eve.run(&["-n", "team", "delete", "approval", "a"], "")
        .await
        .unwrap();
    refused(
        eve.create(&approval("a", "team", "ann", &[], "shop")).await,
        "must be who sends it: eve",
    );
    refused(
        eve.create(&approval("a", "team", "eve", &[], "shop")).await,
        "needs the verb approve",
    );

    promotions(&ann, &eve).await;
    impersonation(kubectl, robot).await;
}

async fn kubectl_result(kubectl: &Kubectl, arguments: &[&str]) -> Result<String, String> {
    let person = Person {
        kubectl,
        identity: Vec::new(),
    };
    person.run(arguments, "").await
}

/// Who asks for a Promotion, and what nobody changes of it.
async fn promotions(ann: &Person<'_>, eve: &Person<'_>) {
    refused(
        eve.create(&promotion("shop-prod-1", Some("ann"))).await,
        "spec.requestedBy must be who sends it: eve",
    );
    refused(
        eve.create(&promotion("shop-prod-1", None)).await,
        "spec.requestedBy must be who sends it: eve",
    );
    let apply = ["apply", "--server-side", "-f", "-"];
    refused(
        eve.run(&apply, &promotion("shop-prod-1", Some("ann")))
            .await,
        "must be who sends it: eve",
    );
    eve.create(&promotion("shop-prod-1", Some("eve")))
        .await
        .unwrap();
    refused(
        ann.create(&promotion("shop-prod-2", Some("ann"))).await,
        "cannot create resource \"promotions\"",
    );
    for patch in [
        r#"{"spec":{"requestedBy":"ann"}}"#,
        r#"{"spec":{"requestedBy":null}}"#,
        r#"{"spec":{"version":"6.6.6"}}"#,
    ] {
        let arguments = [
            "-n",
            "team",
            "patch",
            "promotion",
            "shop-prod-1",
            "--type=merge",
            "-p",
            patch,
        ];
        refused(eve.run(&arguments, "").await, "cannot be changed");
    }
    // What is judged is the controller's to write.
    let status = [
        "-n",
        "team",
        "patch",
        "promotion",
        "shop-prod-1",
        "--subresource=status",
        "--type=merge",
        "-p",
        r#"{"status":{"phase":"Succeeded"}}"#,
    ];
    refused(
        eve.run(&status, "").await,
        "cannot get resource \"promotions/status\"",
    );
    eve.run(
        &[
            "-n",
            "team",
            "patch",
            "promotion",
            "shop-prod-1",
            "--type=merge",
            "-p",
            r#"{"metadata":{"labels":{"a":"b"}},"status":{"phase":"Succeeded"}}"#,
        ],
        "",
    )
    .await
    .unwrap();
    let seen = eve
        .run(
            &[
                "-n",
                "team",
                "get",
                "promotion",
                "shop-prod-1",
                "-o",
                "json",
            ],
            "",
        )
        .await
        .unwrap();
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_ne!(seen["status"]["phase"], "Succeeded");
}

/// A token is nobody but its account, and who may not act as others does not.
async fn impersonation(kubectl: &Kubectl, robot: &str) {
    let token = kubectl
        .ok(&["-n", "team", "create", "token", "robot"])
        .await
        .unwrap();
    let text = std::fs::read_to_string(kubectl.kubeconfig()).unwrap();
    let mut config = fairway_yaml::parse(&text).unwrap()[0].to_json().unwrap();
    for user in config["users"].as_array_mut().unwrap() {
        user["user"] = json!({"token": token.trim()});
    }
    let own = Kubectl::new(&config.to_string()).unwrap();
    let of_robot = |extra: &[&str]| Person {
        kubectl: &own,
        identity: extra.iter().map(|one| (*one).to_owned()).collect(),
    };
    // kubectl would not get the schemas to check with either.
    let unchecked = ["create", "--validate=false", "-f", "-"];
    let word = approval("r", "team", "ann", &[], "shop");
    refused(
        of_robot(&[]).create(&word).await,
        &format!("must be who sends it: {robot}"),
    );
    refused(
        of_robot(&["--as=ann"]).run(&unchecked, &word).await,
        "cannot impersonate",
    );
    refused(
        of_robot(&["--as=ann", "--as-group=system:masters"])
            .run(&unchecked, &word)
            .await,
        "cannot impersonate",
    );
    refused(
        of_robot(&[])
            .create(&approval("r", "team", robot, &[], "shop"))
            .await,
        "needs the verb approve",
    );
    let groups = ["system:serviceaccounts:team"];
    refused(
        of_robot(&[])
            .create(&approval("r", "team", robot, &groups, "shop"))
            .await,
        "needs the verb approve",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_forges_an_approval_on_the_embedded_server() {
    if !Kubectl::available() {
        eprintln!("skipped: no kubectl");
        return;
    }
    let config = Config {
        clusters: vec!["hub".to_owned()],
        ..Config::default()
    };
    let server = Server::start(config).await.unwrap();
    let kubectl = Kubectl::new(&server.kubeconfig_for("hub").unwrap()).unwrap();
    forge(&kubectl).await;
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_forges_an_approval_on_a_real_server() {
    let Some(assets) = Assets::find().filter(|_| Kubectl::available()) else {
        eprintln!("skipped: no kube-apiserver or no kubectl; see `cargo xtask envtest`");
        return;
    };
    let mut plane = ControlPlane::start(&assets).await.unwrap();
    forge(&plane.kubectl().unwrap()).await;
    plane.stop().await.unwrap();
}
