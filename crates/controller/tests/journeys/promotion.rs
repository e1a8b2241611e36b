//! A version on its way through the stages: promoted by commits, verified on the clusters, taken back.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{HUB, NS, World, condition};

const IMAGE: &str = "ghcr.io/acme/myapp";

/// The clusters: name, environment, region.
const CLUSTERS: [(&str, &str, &str); 4] = [
    ("dev-eu", "dev", "eu"),
    ("staging-eu", "staging", "eu"),
    ("prod-eu", "prod", "eu"),
    ("prod-us", "prod", "us"),
];

fn overlay(environment: &str, runs: bool) -> String {
    let resources = if runs { "../../base" } else { "settings.yaml" };
    format!(
        "# the {environment} of myapp\nresources:\n  - {resources}\nimages:\n  - name: {IMAGE}\n    newTag: \"1.0.0\"  # moved by promotions\n"
    )
}

/// The repository of an app with an overlay for each environment. Where `dev` runs nothing, every version is good there.
async fn repository(world: &World, dev_runs: bool) {
    let deployment = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: myapp\n  namespace: default\nspec:\n  replicas: 1\n  selector:\n    matchLabels: {{app: myapp}}\n  template:\n    metadata:\n      labels: {{app: myapp}}\n    spec:\n      containers:\n        - name: app\n          image: {IMAGE}\n"
    );
    let settings = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\n  namespace: default\ndata: {a: b}\n";
    let mut files = vec![
        ("apps/myapp/base/deployment.yaml".to_owned(), deployment),
        (
            "apps/myapp/base/kustomization.yaml".to_owned(),
            "resources: [deployment.yaml]\n".to_owned(),
        ),
        (
            "apps/myapp/overlays/dev/settings.yaml".to_owned(),
            settings.to_owned(),
        ),
    ];
    for environment in ["dev", "staging", "prod"] {
        files.push((
            format!("apps/myapp/overlays/{environment}/kustomization.yaml"),
            overlay(environment, environment != "dev" || dev_runs),
        ));
    }
    for (_, environment, region) in CLUSTERS {
        files.push((
            format!("clusters/{environment}/{region}/apps/kustomization.yaml"),
            format!("resources:\n  - ../../../../apps/myapp/overlays/{environment}\n"),
        ));
    }
    let files: Vec<(&str, Option<&str>)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), Some(text.as_str())))
        .collect();
    world.push(&files).await;
}

fn stage(name: &str, more: Value) -> Value {
    let mut stage = json!({
        "name": name,
        "clusterSelector": {"matchLabels": {"environment": name}},
        "path": format!("apps/myapp/overlays/{name}"),
        "fleetRefs": [{"name": "apps"}],
        "auto": true,
        "health": {"soak": "1s", "timeout": "30s"},
    });
    for (key, value) in more.as_object().unwrap() {
        stage[key] = value.clone();
    }
    stage
}

fn pipeline(stages: &[Value], more: Value) -> Value {
    let mut spec = json!({
        "sourceRef": {"kind": "GitRepository", "name": "fleet"},
        "move": {"image": {"name": IMAGE}},
        "stages": stages,
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({
        "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "Pipeline",
        "metadata": {"name": "myapp", "namespace": NS}, "spec": spec,
    })
}

/// Everything but the Pipeline; the engine does not run yet.
async fn prepared(dev_runs: bool) -> World {
    prepared_with(dev_runs, Value::Null).await
}

/// The same with a rollout of the fleet.
async fn prepared_with(dev_runs: bool, rollout: Value) -> World {
    let names = CLUSTERS.map(|(name, ..)| name);
    let world = World::new(&names).await;
    repository(&world, dev_runs).await;
    world.source().await;
    for (name, environment, region) in CLUSTERS {
        let labels = json!({"environment": environment, "region": region});
        world.cluster(name, labels, json!({})).await;
    }
    let mut fleet = json!({
        "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "FleetKustomization",
        "metadata": {"name": "apps", "namespace": NS},
        "spec": {
            "clusterSelector": {},
            "template": {"spec": {
                "interval": "10m", "retryInterval": "1s", "timeout": "5s", "prune": true, "wait": true,
                "path": "clusters/{{ cluster.labels.environment }}/{{ cluster.labels.region }}/apps",
                "sourceRef": {"kind": "GitRepository", "name": "fleet"},
            }},
        },
    });
    if !rollout.is_null() {
        fleet["spec"]["rollout"] = rollout;
    }
    world.apply(HUB, &fleet).await;
    world
}

/// The Promotions of a stage for a version, or (without one) all of the stage.
async fn promotions(world: &World, stage: &str, version: Option<&str>) -> Vec<Value> {
    world
        .list(HUB, "Promotion", NS)
        .await
        .into_iter()
        .filter(|promotion| promotion["spec"]["stage"] == stage)
        .filter(|promotion| version.is_none_or(|version| promotion["spec"]["version"] == version))
        .collect()
}

/// Waits until a Promotion of a version to a stage is in a phase.
async fn in_phase(world: &World, stage: &str, version: &str, phase: &str) -> Value {
    world
        .until(async || {
            let found = promotions(world, stage, Some(version)).await;
            match found.iter().find(|one| one["status"]["phase"] == phase) {
                Some(found) => Ok(found.clone()),
                None => {
                    let seen: Vec<String> = world
                        .list(HUB, "Promotion", NS)
                        .await
                        .iter()
                        .map(|one| format!("{}: {}", one["metadata"]["name"], one["status"]))
                        .collect();
                    let pipeline = world.get(HUB, "Pipeline", NS, "myapp").await;
                    let pipeline = pipeline.map(|pipeline| pipeline["status"].clone());
                    Err(format!(
                        "no {version} in {stage} that is {phase}: {seen:#?} {pipeline:?}"
                    ))
                }
            }
        })
        .await
}

async fn named_in_phase(world: &World, name: &str, phase: &str) -> Value {
    world
        .until(async || {
            let found = world.get(HUB, "Promotion", NS, name).await;
            let found = found.ok_or("it is not there")?;
            if found["status"]["phase"] == phase {
                return Ok(found);
            }
            Err(format!("{name} is not {phase}: {}", found["status"]))
        })
        .await
}

/// The overlay's text on the remote.
async fn text(world: &World, path: &str) -> String {
    let clone = world.git.clone_to_work().await.unwrap();
    clone.read(path).unwrap()
}

async fn overlay_text(world: &World, stage: &str) -> String {
    text(
        world,
        &format!("apps/myapp/overlays/{stage}/kustomization.yaml"),
    )
    .await
}

/// The subjects of all commits on the remote, the newest first.
async fn log(world: &World) -> Vec<String> {
    let clone = world.git.clone_to_work().await.unwrap();
    let log = clone.git(&["log", "--format=%s"]).await.unwrap();
    log.lines().map(str::to_owned).collect()
}

async fn image(world: &World, cluster: &str) -> String {
    let deployment = world.get(cluster, "Deployment", "default", "myapp").await;
    deployment
        .and_then(|object| {
            let image = object.pointer("/spec/template/spec/containers/0/image")?;
            image.as_str().map(str::to_owned)
        })
        .unwrap_or_default()
}

/// A person moves dev by an ordinary commit.
async fn set_dev(world: &World, from: &str, to: &str) {
    let path = "apps/myapp/overlays/dev/kustomization.yaml";
    // The engine pushes too: who is late does it again.
    let mut pushed = world.git.replace(path, from, to).await;
    for _ in 0..5 {
        if pushed.is_err() {
            pushed = world.git.replace(path, from, to).await;
        }
    }
    pushed.unwrap();
    if let Some(engine) = &world.engine {
        engine.poke_all();
    }
}

fn request(name: &str, stage: &str, more: Value) -> Value {
    let mut spec = json!({"pipelineRef": {"name": "myapp"}, "stage": stage, "intent": "promote", "requestedBy": "ann"});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({
        "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "Promotion",
        "metadata": {"name": name, "namespace": NS}, "spec": spec,
    })
}

fn all_stages() -> [Value; 3] {
    ["dev", "staging", "prod"].map(|name| stage(name, json!({})))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_version_goes_through_all_stages() {
    let mut world = prepared(true).await;
    world.apply(HUB, &pipeline(&all_stages(), json!({}))).await;
    world.start().await;
    in_phase(&world, "dev", "1.0.0", "Succeeded").await;
    let before = log(&world).await.len();

    set_dev(&world, "1.0.0", "1.1.0").await;
    in_phase(&world, "dev", "1.1.0", "Succeeded").await;
    let staging = in_phase(&world, "staging", "1.1.0", "Succeeded").await;
    let prod = in_phase(&world, "prod", "1.1.0", "Succeeded").await;

    // One commit for each stage, and only the tag has changed.
    let subjects = log(&world).await;
    assert_eq!(
        &subjects[..2],
        [
            format!("Promote {IMAGE} to 1.1.0 in prod"),
            format!("Promote {IMAGE} to 1.1.0 in staging")
        ]
    );
    assert_eq!(subjects.len(), before + 3);
    for stage in ["staging", "prod"] {
        let wanted = overlay(stage, true).replace("1.0.0", "1.1.0");
        assert_eq!(overlay_text(&world, stage).await, wanted);
    }
    for (cluster, ..) in CLUSTERS {
        assert_eq!(image(&world, cluster).await, format!("{IMAGE}:1.1.0"));
    }
    assert_eq!(staging["status"]["from"], "1.0.0");
    assert!(
        prod["status"]["changes"][0]["field"]
            .as_str()
            .unwrap()
            .ends_with("newTag"),
        "{prod}"
    );
    assert_eq!(prod["status"]["progress"]["healthy"], 2);
    let pipeline = world
        .ready("Pipeline", "myapp", |object, status, _, _| {
            status == "True"
                && object["status"]["summary"] == "dev 1.1.0, staging 1.1.0, prod 1.1.0"
        })
        .await;
    let verified = pipeline["status"]["versions"].as_array().unwrap();
    assert!(
        verified
            .iter()
            .any(|record| record["stage"] == "prod" && record["version"] == "1.1.0"),
        "{pipeline}"
    );
    // The stage before was verified first.
    let at = |promotion: &Value, phase: &str| {
        let list = promotion["status"]["transitions"].as_array().unwrap();
        let found = list.iter().rev().find(|one| one["phase"] == phase);
        found.unwrap()["at"].as_str().unwrap().to_owned()
    };
    assert!(at(&staging, "Succeeded") <= at(&prod, "Committing"));
    world
        .event(prod["metadata"]["name"].as_str().unwrap(), |event| {
            event["reason"] == "Succeeded"
        })
        .await;
    assert_eq!(promotions(&world, "prod", None).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_never_becomes_ready_is_taken_back() {
    let mut world = prepared(false).await;
    let stages = [
        stage("dev", json!({})),
        stage("prod", json!({"health": {"soak": "1s", "timeout": "4s"}})),
    ];
    world.apply(HUB, &pipeline(&stages, json!({}))).await;
    world.start().await;
    in_phase(&world, "dev", "1.0.0", "Succeeded").await;
    set_dev(&world, "1.0.0", "2.0.0-broken").await;
    let back = in_phase(&world, "prod", "2.0.0-broken", "RolledBack").await;
    assert_eq!(overlay_text(&world, "prod").await, overlay("prod", true));
    let subjects = log(&world).await;
    assert_eq!(
        &subjects[..2],
        [
            format!("Roll back {IMAGE} to 1.0.0 in prod"),
            format!("Promote {IMAGE} to 2.0.0-broken in prod")
        ]
    );
    let status = &back["status"];
    assert_eq!(status["hold"], Value::Null);
    assert!(
        status["firstFailure"].is_string() && status["recoveredAt"].is_string(),
        "{status}"
    );
    assert!(
        status["recoveryMillis"].as_i64().unwrap() < 60_000,
        "{status}"
    );
    for cluster in ["prod-eu", "prod-us"] {
        assert_eq!(image(&world, cluster).await, format!("{IMAGE}:1.0.0"));
    }
    // It is not tried again, and says why.
    let pipeline = world
        .until(async || {
            let object = world.get(HUB, "Pipeline", NS, "myapp").await.unwrap();
            if object["status"]["blockedVersions"][0]["version"] == "2.0.0-broken" {
                Ok(object)
            } else {
                Err(object["status"].to_string())
            }
        })
        .await;
    let blocked = pipeline["status"]["stages"][1]["blockedBy"]
        .as_str()
        .unwrap_or_default();
    assert!(blocked.contains("is blocked"), "{pipeline}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(promotions(&world, "prod", None).await.len(), 1);

    // Until somebody unblocks it.
    world
        .merge(
            "Pipeline",
            "myapp",
            json!({"metadata": {"annotations": {"fleet.fairway.dev/unblock": "2.0.0-broken@1"}}}),
        )
        .await;
    world
        .until(
            async || match promotions(&world, "prod", None).await.len() {
                2 => Ok(()),
                other => Err(format!("{other} promotions")),
            },
        )
        .await;
    let again = named_in_phase(&world, "myapp-prod-2", "RolledBack").await;
    assert_eq!(condition(&again, "Ready")["status"], "False");
}

/// dev, where everything is good, and prod.
fn two_stages(prod: Value) -> [Value; 2] {
    [stage("dev", json!({})), stage("prod", prod)]
}

async fn annotate(world: &World, kind: &str, name: &str, annotations: Value) {
    let patch = json!({"metadata": {"annotations": annotations}});
    world.merge(kind, name, patch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn git_down_and_refusing_holds_first_and_commits_later() {
    let mut world = prepared(false).await;
    let stages = two_stages(json!({"health": {"soak": "1s", "timeout": "4s"}}));
    world.apply(HUB, &pipeline(&stages, json!({}))).await;
    world.start().await;
    in_phase(&world, "dev", "1.0.0", "Succeeded").await;
    set_dev(&world, "1.0.0", "2.0.0-broken").await;
    let found = in_phase(&world, "prod", "2.0.0-broken", "RollingOut").await;
    let name = found["metadata"]["name"].as_str().unwrap().to_owned();
    for (faults, reason) in [
        (
            fairway_git::serve::Faults {
                down: true,
                ..fairway_git::serve::Faults::default()
            },
            "",
        ),
        (
            fairway_git::serve::Faults {
                refuse_push: Some("protected branch".to_owned()),
                ..fairway_git::serve::Faults::default()
            },
            "PushRefused",
        ),
    ] {
        world.git.set_faults(faults);
        // Held, and healthy again at the last good revision, while Git still says the bad one.
        let held = world
            .until(async || {
                let found = world.get(HUB, "Promotion", NS, &name).await.unwrap();
                let status = &found["status"];
                let attention = condition(&found, "NeedsAttention")["reason"].clone();
                let is_held = status["hold"]["clusters"] == json!(["prod-eu", "prod-us"])
                    && status["recoveredAt"].is_string();
                if is_held && (reason.is_empty() || attention == reason) {
                    return Ok(found);
                }
                Err(format!("{attention}: {status}"))
            })
            .await;
        assert_eq!(held["status"]["phase"], "RollingBack");
        assert_eq!(condition(&held, "Held")["status"], "True");
        for cluster in ["prod-eu", "prod-us"] {
            assert_eq!(image(&world, cluster).await, format!("{IMAGE}:1.0.0"));
        }
    }
    world.git.set_faults(fairway_git::serve::Faults::default());
    named_in_phase(&world, &name, "RolledBack").await;
    assert_eq!(overlay_text(&world, "prod").await, overlay("prod", true));
    // Not one Kustomization is pinned any more.
    world
        .until(async || {
            for cluster in ["prod-eu", "prod-us"] {
                let child = world
                    .get(HUB, "Kustomization", NS, &format!("apps-{cluster}"))
                    .await;
                let source = child.unwrap()["spec"]["sourceRef"]["name"].clone();
                if source != "fleet" {
                    return Err(format!("{cluster} is at {source}"));
                }
            }
            Ok(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changed_meanwhile_is_left_alone() {
    let mut world = prepared(false).await;
    let stages = two_stages(json!({"health": {"soak": "1s", "timeout": "5s"}}));
    world.apply(HUB, &pipeline(&stages, json!({}))).await;
    world.start().await;
    in_phase(&world, "dev", "1.0.0", "Succeeded").await;
    set_dev(&world, "1.0.0", "2.0.0-broken").await;
    let found = in_phase(&world, "prod", "2.0.0-broken", "RollingOut").await;
    let name = found["metadata"]["name"].as_str().unwrap().to_owned();
    // A person, of whom the engine hears only when it wants to put the value back.
    let path = "apps/myapp/overlays/prod/kustomization.yaml";
    world
        .until(async || {
            if overlay_text(&world, "prod").await.contains("2.0.0-broken") {
                Ok(())
            } else {
                Err("not promoted yet".to_owned())
            }
        })
        .await;
    world
        .git
        .replace(path, "2.0.0-broken", "1.0.7")
        .await
        .unwrap();
    let stuck = world
        .until(async || {
            let found = world.get(HUB, "Promotion", NS, &name).await.unwrap();
            let attention = condition(&found, "NeedsAttention");
            if attention["reason"] == "ChangedMeanwhile" {
                return Ok(found);
            }
            Err(found["status"].to_string())
        })
        .await;
    assert!(stuck["status"]["hold"].is_object(), "{stuck}");
    assert!(overlay_text(&world, "prod").await.contains("1.0.7"));
    world
        .event(&name, |event| event["reason"] == "ChangedMeanwhile")
        .await;
    let before = log(&world).await;
    // People put it right; the hold ends by itself.
    world.git.replace(path, "1.0.7", "1.0.0").await.unwrap();
    world.engine().poke_all();
    named_in_phase(&world, &name, "RolledBack").await;
    assert_eq!(
        log(&world).await.len(),
        before.len() + 1,
        "nothing was committed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_commits_once() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    let mut world = prepared(true).await;
    let quick = json!({"health": {"soak": "0s"}});
    let stages = [stage("dev", quick.clone()), stage("prod", quick)];
    world.apply(HUB, &pipeline(&stages, json!({}))).await;
    world.start().await;
    in_phase(&world, "dev", "1.0.0", "Succeeded").await;
    let points = [
        "before a Promotion is made",
        "after a Promotion is made",
        "Committing",
        "before the commit",
        "after the commit",
        "RollingOut",
        "Verifying",
    ];
    let mut version = "1.0.0".to_owned();
    for (index, point) in points.into_iter().enumerate() {
        world.stop().await;
        let hit = Arc::new(AtomicBool::new(false));
        let (told, wanted) = (hit.clone(), point.to_owned());
        let mut options = world.options();
        options.on_reached = Some(fairway_controller::options::Reached(Arc::new(
            move |reached: &str| {
                assert!(
                    reached != wanted || told.swap(true, Ordering::SeqCst),
                    "killed {reached}"
                );
            },
        )));
        world.start_with(options).await;
        let next = format!("1.{}.0", index + 1);
        set_dev(&world, &version, &next).await;
        world
            .until(async || {
                if hit.load(Ordering::SeqCst) {
                    Ok(())
                } else {
                    Err(format!("{point} was not reached"))
                }
            })
            .await;
        // Gone without a word, and another one starts.
        drop(world.engine.take());
        world.start().await;
        in_phase(&world, "prod", &next, "Succeeded").await;
        let subject = format!("Promote {IMAGE} to {next} in prod");
        let subjects = log(&world).await;
        let times = subjects.iter().filter(|line| **line == subject).count();
        assert_eq!(times, 1, "{point}: {subjects:?}");
        assert_eq!(
            promotions(&world, "prod", Some(&next)).await.len(),
            1,
            "{point}"
        );
        assert_eq!(
            promotions(&world, "dev", Some(&next)).await.len(),
            1,
            "{point}"
        );
        version = next;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn freezes_and_manual_gates_hold_a_version_back() {
    let mut world = prepared(true).await;
    let gates = json!([{"name": "sign-off", "approval": {"users": ["bob"]}}]);
    let stages = [
        stage("dev", json!({})),
        stage("staging", json!({})),
        stage("prod", json!({"gates": gates})),
    ];
    world.apply(HUB, &pipeline(&stages, json!({}))).await;
    annotate(
        &world,
        "Pipeline",
        "myapp",
        json!({"fleet.fairway.dev/freeze.staging": "{\"by\": \"ann\", \"reason\": \"inventory\"}"}),
    )
    .await;
    world.start().await;
    in_phase(&world, "dev", "1.0.0", "Succeeded").await;
    set_dev(&world, "1.0.0", "1.1.0").await;
    let frozen = in_phase(&world, "staging", "1.1.0", "Gating").await;
    let name = frozen["metadata"]["name"].as_str().unwrap().to_owned();
    world
        .until(async || {
            let found = world.get(HUB, "Promotion", NS, &name).await.unwrap();
            let message = condition(&found, "Ready")["message"].clone();
            if message == "frozen by ann: inventory" {
                Ok(())
            } else {
                Err(message.to_string())
            }
        })
        .await;
    assert!(overlay_text(&world, "staging").await.contains("1.0.0"));
    annotate(
        &world,
        "Pipeline",
        "myapp",
        json!({"fleet.fairway.dev/freeze.staging": null}),
    )
    .await;
    in_phase(&world, "staging", "1.1.0", "Succeeded").await;

    // Without the policy that ties Approvals to their callers, nobody's word counts.
    let gating = in_phase(&world, "prod", "1.1.0", "Gating").await;
    let name = gating["metadata"]["name"].as_str().unwrap().to_owned();
    let approval = json!({
        "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "Approval",
        "metadata": {"name": "forged", "namespace": NS},
        "spec": {"promotionRef": {"name": name}, "pipelineRef": {"name": "myapp"}, "decision": "approve", "approver": "bob"},
    });
    world.apply(HUB, &approval).await;
    world
        .until(async || {
            let found = world.get(HUB, "Promotion", NS, &name).await.unwrap();
            let attention = condition(&found, "NeedsAttention")["reason"].clone();
            if attention == "ApprovalPolicyMissing" {
                Ok(())
            } else {
                Err(found["status"].to_string())
            }
        })
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let still = world.get(HUB, "Promotion", NS, &name).await.unwrap();
    assert_eq!(still["status"]["phase"], "Gating");
    assert!(overlay_text(&world, "prod").await.contains("1.0.0"));
    // A person ends it.
    annotate(
        &world,
        "Promotion",
        &name,
        json!({"fleet.fairway.dev/cancel": "ann"}),
    )
    .await;
    named_in_phase(&world, &name, "Rejected").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_versions_queue_and_each_passes_its_gates() {
    let mut world = prepared(true).await;
    let mut stages = two_stages(json!({"health": {"soak": "2s", "timeout": "30s"},
        "gates": [{"name": "no-betas", "semver": {"range": ">=1.0.0"}}]}));
    stages[0]["health"]["soak"] = "0s".into();
    world
        .apply(HUB, &pipeline(&stages, json!({"queue": "All"})))
        .await;
    world.start().await;
    in_phase(&world, "dev", "1.0.0", "Succeeded").await;
    let versions = ["1.0.0", "1.1.0", "1.2.0", "0.9.0", "1.3.0"];
    for pair in versions.windows(2) {
        set_dev(&world, pair[0], pair[1]).await;
        in_phase(&world, "dev", pair[1], "Succeeded").await;
    }
    for version in ["1.1.0", "1.2.0", "1.3.0"] {
        let done = in_phase(&world, "prod", version, "Succeeded").await;
        assert_eq!(done["status"]["gates"][0]["verdict"], "Passed");
    }
    in_phase(&world, "prod", "0.9.0", "Rejected").await;
    let promoted: Vec<String> = log(&world)
        .await
        .into_iter()
        .filter(|line| line.starts_with("Promote"))
        .collect();
    assert_eq!(
        promoted,
        ["1.3.0", "1.2.0", "1.1.0"].map(|version| format!("Promote {IMAGE} to {version} in prod"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_cluster_first_and_back_on_request() {
    let mut world = prepared(true).await;
    let stages = two_stages(json!({"auto": false}));
    world.apply(HUB, &pipeline(&stages, json!({}))).await;
    world.start().await;
    in_phase(&world, "dev", "1.0.0", "Succeeded").await;
    set_dev(&world, "1.0.0", "1.1.0").await;
    in_phase(&world, "dev", "1.1.0", "Succeeded").await;

    // One region alone, by a file of its own.
    let one = request(
        "canary",
        "prod",
        json!({"version": "1.1.0", "regions": ["eu"]}),
    );
    world.apply(HUB, &one).await;
    named_in_phase(&world, "canary", "Succeeded").await;
    assert_eq!(image(&world, "prod-eu").await, format!("{IMAGE}:1.1.0"));
    assert_eq!(image(&world, "prod-us").await, format!("{IMAGE}:1.0.0"));
    assert!(
        text(&world, "clusters/prod/eu/apps/kustomization.yaml")
            .await
            .contains("1.1.0")
    );
    world
        .until(async || {
            let object = world.get(HUB, "Pipeline", NS, "myapp").await.unwrap();
            let deviations = &object["status"]["stages"][1]["deviations"];
            if deviations[0]["cluster"] == "prod-eu" && deviations[0]["version"] == "1.1.0" {
                Ok(())
            } else {
                Err(object["status"].to_string())
            }
        })
        .await;

    // The whole stage, then back by what a person asks for.
    world
        .apply(HUB, &request("all", "prod", json!({"version": "1.1.0"})))
        .await;
    let all = named_in_phase(&world, "all", "Succeeded").await;
    let sha = all["status"]["commits"][0]["sha"]
        .as_str()
        .unwrap()
        .to_owned();
    let back = request(
        "back",
        "prod",
        json!({"intent": "rollback", "rollback": {"revert": sha}, "reason": "slow"}),
    );
    world.apply(HUB, &back).await;
    let back = named_in_phase(&world, "back", "Succeeded").await;
    assert_eq!(back["status"]["to"], "1.0.0", "{back}");
    assert_eq!(overlay_text(&world, "prod").await, overlay("prod", true));
    assert_eq!(image(&world, "prod-us").await, format!("{IMAGE}:1.0.0"));
    // A version that nobody verified goes nowhere, whoever asks.
    world
        .apply(HUB, &request("wild", "prod", json!({"version": "3.0.0"})))
        .await;
    let wild = named_in_phase(&world, "wild", "Rejected").await;
    let message = condition(&wild, "Ready")["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(message.contains("is not verified in dev"), "{message}");
    // What happened is in the audit log, and waits nowhere.
    world
        .until(async || {
            let all = world.list(HUB, "Promotion", NS).await;
            match all.iter().find(|one| one["status"]["audit"].is_array()) {
                None => Ok(()),
                Some(one) => Err(one["status"]["audit"].to_string()),
            }
        })
        .await;
    let clone = world.git.clone_to_work().await.unwrap();
    clone
        .git(&[
            "fetch",
            "--quiet",
            "origin",
            "+refs/fairway/audit:refs/fairway/audit",
        ])
        .await
        .unwrap();
    let entries = clone
        .git(&["log", "--format=%s", "refs/fairway/audit"])
        .await
        .unwrap();
    for event in ["Requested", "Committed", "Succeeded", "Rejected"] {
        assert!(
            entries.lines().any(|line| line.starts_with(event)),
            "{event}: {entries}"
        );
    }
    // A Promotion can be deleted once its entries are there.
    world.delete(HUB, "Promotion", NS, "wild").await;
    world.until_gone(HUB, "Promotion", NS, "wild").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_version_is_caught_in_the_canary_wave() {
    let canary = json!({"matchLabels": {"environment": "prod", "region": "eu"}});
    let rollout = json!({
        "waves": [{"name": "canary", "clusterSelector": canary, "soak": "1s", "progressDeadline": "15s"}],
        "onFailure": "holdBack",
    });
    let mut world = prepared_with(false, rollout).await;
    world
        .apply(
            HUB,
            &pipeline(
                &two_stages(json!({"health": {"soak": "1s", "timeout": "60s"}})),
                json!({}),
            ),
        )
        .await;
    world.start().await;
    in_phase(&world, "dev", "1.0.0", "Succeeded").await;
    set_dev(&world, "1.0.0", "1.1.0").await;
    in_phase(&world, "prod", "1.1.0", "Succeeded").await;
    set_dev(&world, "1.1.0", "2.0.0-broken").await;
    let back = in_phase(&world, "prod", "2.0.0-broken", "RolledBack").await;
    let failure = back["status"]["failure"].as_str().unwrap();
    assert!(failure.starts_with("prod-eu: "), "{failure}");
    assert!(
        back["status"]["recoveryMillis"].as_i64().unwrap() < 30_000,
        "{back}"
    );
    assert!(overlay_text(&world, "prod").await.contains("\"1.1.0\""));
    for cluster in ["prod-eu", "prod-us"] {
        assert_eq!(image(&world, cluster).await, format!("{IMAGE}:1.1.0"));
    }
    // The other region has never seen it.
    let sets = world.list("prod-us", "ReplicaSet", "default").await;
    assert!(!sets.is_empty());
    assert!(
        sets.iter()
            .all(|set| !set.to_string().contains("2.0.0-broken")),
        "{sets:?}"
    );
}
