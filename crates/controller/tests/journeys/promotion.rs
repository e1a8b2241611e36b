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
    let names = CLUSTERS.map(|(name, ..)| name);
    let world = World::new(&names).await;
    repository(&world, dev_runs).await;
    world.source().await;
    for (name, environment, region) in CLUSTERS {
        let labels = json!({"environment": environment, "region": region});
        world.cluster(name, labels, json!({})).await;
    }
    let fleet = json!({
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
    world.git.replace(path, from, to).await.unwrap();
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
    assert_eq!(
        prod["status"]["changes"][0]["field"]
            .as_str()
            .unwrap()
            .ends_with("newTag"),
        true,
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
            match object["status"]["blockedVersions"][0]["version"] == "2.0.0-broken" {
                true => Ok(object),
                false => Err(object["status"].to_string()),
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
