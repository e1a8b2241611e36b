//! Promotion from the command line: scenarios of the demo, people who agree or not, freezes, and death in between.

use std::time::Duration;

use fairway_testkit::{Output, WorkClone};
use serde_json::{Value, json};

use crate::binary::{Home, until};
use crate::cluster::{Cluster, SYSTEM, documents};
use crate::demo::{Demo, push};

const PIPELINE: &str = "promotion-rollback/myapp-pipeline.yaml";
const STAGING: &str = "apps/myapp/overlays/staging/kustomization.yaml";

fn contains(output: &Output, code: i32, parts: &[&str]) {
    assert_eq!(output.code, code, "{output:?}");
    let mut rest = output.stdout.as_str();
    for part in parts {
        let at = rest.find(part);
        let at = at.unwrap_or_else(|| panic!("{part:?} is missing, or too early: {output:?}"));
        rest = &rest[at + part.len()..];
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_version_goes_through_all_stages_in_waves() {
    let arguments = [
        "demo",
        "--scenario",
        "promote",
        "--once",
        "--timeout",
        "150s",
    ];
    let output = Home::new().run(&arguments).await;
    contains(
        &output,
        0,
        &[
            "scenario promote:",
            "fairway promote myapp --stage dev --version 1.5.1 --wait",
            "wave canary of apps (1 cluster)",
            "✔ 1.5.1 is verified",
            "staging takes 1.5.1 by itself",
            "✔ gate no-downgrade: Passed",
            "✔ 1.5.1 is verified",
            "prod takes 1.5.1 by itself",
            "✔ 1.5.1 is verified",
            "✔ dev-us-west-2 runs myapp 1.5.1",
            "✔ prod-eu-west-1 runs myapp 1.5.1",
            "Pipeline flux-system/myapp   image ghcr.io/example/myapp",
            "✔ every Kustomization of the fleet is Ready",
        ],
    );
    assert!(!output.stdout.contains('✗'), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_version_is_caught_in_the_first_region_and_taken_back() {
    let arguments = [
        "demo",
        "--scenario",
        "rollback",
        "--once",
        "--timeout",
        "150s",
    ];
    let output = Home::new().run(&arguments).await;
    contains(
        &output,
        0,
        &[
            "scenario rollback:",
            "✗ failed: ",
            "1.5.1-broken failed, and 1.5.0 is back",
            "✔ the commit that takes it back is on the branch",
            "✔ dev-us-west-2 runs myapp 1.5.0 again",
            "✔ dev-us-east-1 has never seen 1.5.1-broken",
            "✔ dev-eu-west-1 has never seen 1.5.1-broken",
            "✔ 1.5.1-broken is blocked from promotion",
            "✔ recovered ",
            "fairway unblock myapp 1.5.1-broken",
            "✔ every Kustomization of the fleet is Ready",
        ],
    );
}

/// People with the rights of these groups, as the API server knows them.
struct People<'d> {
    demo: &'d Demo,
}

impl People<'_> {
    async fn run(&self, name: &str, arguments: &[&str]) -> Output {
        let text = std::fs::read_to_string(&self.demo.kubeconfig).unwrap();
        let mut config = documents(&text).remove(0);
        for user in config["users"].as_array_mut().unwrap() {
            user["user"]["as"] = json!(name);
            user["user"]["as-groups"] =
                json!(["system:authenticated", "platform-team", "release-managers"]);
        }
        let path = self
            .demo
            .home
            .write(&format!("{name}.kubeconfig"), &config.to_string());
        let mut all = vec![
            "--kubeconfig",
            path.to_str().unwrap(),
            "--context",
            "management",
        ];
        all.extend(arguments);
        self.demo.home.run(&all).await
    }
}

/// Staging is asked for, and takes two people.
async fn ask_people(clone: &WorkClone, hub: &Cluster) {
    let text = clone.read(PIPELINE).unwrap();
    let (dev, rest) = text.split_once("    - name: staging\n").unwrap();
    let (staging, prod) = rest.split_once("    - name: prod\n").unwrap();
    let staging = staging.replace("      auto: true\n", "").replace(
        "      gates:\n",
        "      gates:\n        - name: sign-off\n          approval:\n            groups: [release-managers]\n            count: 2\n",
    );
    let prod = prod.replace("      auto: true\n", "");
    let text = format!("{dev}    - name: staging\n{staging}    - name: prod\n{prod}");
    clone.write(PIPELINE, &text).unwrap();
    push(clone, "Staging takes two people").await;
    until("the Pipeline asks people", async || {
        let pipeline = hub.get("Pipeline", SYSTEM, "myapp").await;
        let text = pipeline
            .map(|found| found["spec"].to_string())
            .unwrap_or_default();
        text.contains("sign-off").then_some(()).ok_or(text)
    })
    .await;
}

/// The newest Promotion of a stage.
async fn newest(people: &People<'_>, stage: &str) -> Value {
    let arguments = [
        "promotions",
        "--pipeline",
        "myapp",
        "--stage",
        stage,
        "-o",
        "json",
    ];
    let output = people.run("ann", &arguments).await;
    let list: Value = serde_json::from_str(&output.stdout).unwrap();
    list["items"][0].clone()
}

async fn until_phase(people: &People<'_>, stage: &str, version: &str, phase: &str) -> Value {
    until(&format!("{version} is {phase} in {stage}"), async || {
        let found = newest(people, stage).await;
        let is = found["spec"]["version"] == version && found["status"]["phase"] == phase;
        is.then(|| found.clone())
            .ok_or_else(|| found["status"].to_string())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_decide() {
    let demo = Demo::converged().await;
    let hub = demo.hub().await;
    let clone = demo.clone().await;
    ask_people(&clone, &hub).await;
    let people = People { demo: &demo };
    let wait = ["--wait", "--timeout", "150s"];

    let mut arguments = vec!["promote", "myapp", "--stage", "dev", "--version", "1.5.1"];
    arguments.extend(wait);
    let output = people.run("ann", &arguments).await;
    contains(&output, 0, &["requested by ann", "✔ 1.5.1 is verified"]);

    // Frozen, nothing goes on, and everybody sees why.
    let freeze = [
        "freeze",
        "myapp",
        "--stage",
        "staging",
        "--for",
        "2h",
        "--reason",
        "trade fair",
    ];
    contains(
        &people.run("bob", &freeze).await,
        0,
        &["frozen by bob until ", ": trade fair"],
    );
    let output = people
        .run("ann", &["promote", "myapp", "--stage", "staging"])
        .await;
    contains(
        &output,
        0,
        &[
            "myapp: staging 1.5.0 → 1.5.1   (Promotion myapp-staging-",
            "requested by ann)",
        ],
    );
    let promotion = until_phase(&people, "staging", "1.5.1", "Gating").await;
    let name = promotion["metadata"]["name"].as_str().unwrap().to_owned();
    until("the freeze is shown", async || {
        let output = people.run("ann", &["pipeline", "status", "myapp"]).await;
        let is = output.stdout.contains("frozen") && output.stdout.contains("trade fair");
        is.then_some(()).ok_or(output.stdout)
    })
    .await;

    // What would be committed.
    let output = people.run("ann", &["diff", "promotion", &name]).await;
    contains(
        &output,
        1,
        &[
            "images[name=ghcr.io/example/myapp].newTag   1.5.0 → 1.5.1",
            "staging-eu-west-1, staging-us-east-1, staging-us-west-2:",
            "► Deployment/myapp/myapp changed",
            "- ghcr.io/example/myapp:1.5.0",
            "+ ghcr.io/example/myapp:1.5.1",
        ],
    );
    assert_eq!(output.stdout.matches("► ").count(), 1, "{output:?}");

    // Who asked can't agree; one is not enough.
    let output = people.run("ann", &["approve", &name]).await;
    assert_ne!(output.code, 0, "{output:?}");
    contains(
        &people.run("bob", &["approve", &name]).await,
        0,
        &["approve by bob"],
    );
    let output = people
        .run("carl", &["approve", &name, "--comment", "fine"])
        .await;
    contains(&output, 0, &["approve by carl"]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let head = clone
        .git(&["ls-remote", "origin", "refs/heads/main"])
        .await
        .unwrap();
    contains(
        &people
            .run("bob", &["unfreeze", "myapp", "--stage", "staging"])
            .await,
        0,
        &["not frozen any more"],
    );
    until_phase(&people, "staging", "1.5.1", "Succeeded").await;
    let later = clone
        .git(&["ls-remote", "origin", "refs/heads/main"])
        .await
        .unwrap();
    assert_ne!(head, later, "it was committed when the freeze was over");
    clone.pull().await.unwrap();
    let message = clone
        .git(&["log", "-1", "--format=%B", "--", STAGING])
        .await
        .unwrap();
    for trailer in [
        "Fairway-Pipeline: flux-system/myapp",
        "Fairway-Stage: staging",
        "Fairway-From: 1.5.0",
        "Fairway-To: 1.5.1",
        "Fairway-Requested-By: ann",
        "Fairway-Approved-By: bob",
        "Fairway-Approved-By: carl",
    ] {
        assert!(message.contains(trailer), "{trailer}: {message}");
    }

    // No is no.
    let mut arguments = vec!["promote", "myapp", "--stage", "dev", "--version", "1.5.2"];
    arguments.extend(wait);
    contains(
        &people.run("ann", &arguments).await,
        0,
        &["✔ 1.5.2 is verified"],
    );
    let output = people
        .run("ann", &["promote", "myapp", "--stage", "staging"])
        .await;
    assert_eq!(output.code, 0, "{output:?}");
    let promotion = until_phase(&people, "staging", "1.5.2", "Gating").await;
    let name = promotion["metadata"]["name"].as_str().unwrap();
    contains(
        &people.run("bob", &["reject", name]).await,
        0,
        &["reject by bob"],
    );
    until_phase(&people, "staging", "1.5.2", "Rejected").await;
    let output = people.run("bob", &["approve", name]).await;
    assert_eq!(output.code, 3, "{output:?}");
    assert!(output.stderr.contains("has ended: Rejected"), "{output:?}");
    clone.pull().await.unwrap();
    assert!(clone.read(STAGING).unwrap().contains("newTag: 1.5.1"));

    // Back, by request, and all of it is in the log.
    let mut arguments = vec!["rollback", "myapp", "--stage", "dev", "--reason", "slow"];
    arguments.extend(wait);
    contains(
        &people.run("bob", &arguments).await,
        0,
        &["back from 1.5.2 to 1.5.1"],
    );
    until("the log is whole", async || {
        let output = people.run("ann", &["audit", "--verify"]).await;
        (output.code == 0)
            .then_some(())
            .ok_or_else(|| format!("{output:?}"))
    })
    .await;
    let output = people.run("ann", &["audit", "-o", "jsonl"]).await;
    let entries: Vec<Value> = output
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let said = |outcome: &str, who: &str| {
        entries
            .iter()
            .any(|entry| entry["outcome"] == outcome && entry["requestedBy"] == who)
    };
    assert!(
        said("Succeeded", "ann") && said("Rejected", "ann") && said("Succeeded", "bob"),
        "{output:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_survives_the_death_of_everything() {
    let home = Home::new();
    let folder = home.tmp().join("kept");
    let arguments = ["demo", "--data-dir", folder.to_str().unwrap()];
    let mut demo = Demo::start(home, &arguments, "The demo runs until Ctrl-C").await;
    // What is down makes no progress: that is not what fails here.
    let clone = demo.clone().await;
    let fleet = "flux-manifests/apps-kustomization.yaml";
    clone
        .replace(fleet, "progressDeadline: 15s", "progressDeadline: 5m0s")
        .unwrap();
    clone
        .replace(PIPELINE, "timeout: 1m0s", "timeout: 5m0s")
        .unwrap();
    push(&clone, "Patience").await;
    let hub = demo.hub().await;
    until("the Pipeline is patient", async || {
        let pipeline = hub
            .get("Pipeline", SYSTEM, "myapp")
            .await
            .unwrap_or_default();
        let text = pipeline["spec"].to_string();
        let is = text.contains("5m0s") && !text.contains("\"1m0s\"");
        is.then_some(()).ok_or(text)
    })
    .await;
    let promote = ["promote", "myapp", "--stage", "dev", "--version", "1.5.1"];
    let output = demo.fairway(&promote).await;
    assert_eq!(output.code, 0, "{output:?}");
    // In the middle of its first stage, whatever it does there.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    demo.process.kill().await.unwrap();
    let Demo { home, .. } = demo;
    let demo = Demo::start(home, &arguments, "The demo runs until Ctrl-C").await;
    let hub = demo.hub().await;
    until("1.5.1 is everywhere", async || {
        let pipeline = hub
            .get("Pipeline", SYSTEM, "myapp")
            .await
            .unwrap_or_default();
        let summary = pipeline["status"]["summary"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let healthy = pipeline["status"]["stages"]
            .as_array()
            .is_some_and(|stages| stages.iter().all(|stage| stage["healthy"] == true));
        (summary == "dev 1.5.1, staging 1.5.1, prod 1.5.1" && healthy)
            .then_some(())
            .ok_or_else(|| pipeline["status"].to_string())
    })
    .await;
    let clone = demo.clone().await;
    let log = clone
        .git(&["log", "--format=%B", "--", "apps/myapp/overlays"])
        .await
        .unwrap();
    assert_eq!(
        log.matches("Fairway-Intent: promote").count(),
        3,
        "each commit once: {log}"
    );
    assert_eq!(log.matches("Fairway-Intent: rollback").count(), 0, "{log}");
}
