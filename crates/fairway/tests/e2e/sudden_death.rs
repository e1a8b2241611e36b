//! `fairway controller` is killed with SIGKILL at random moments while commits are pushed. Nothing may be lost, doubled or
//! pruned wrongly.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use fairway_testkit::WorkClone;
use futures::future::join_all;
use serde_json::json;

use crate::binary::PATIENCE;
use crate::cluster::{Cluster, Id, SYSTEM, documents, id, inventory};
use crate::demo::{Demo, push, remove_rollout};
use crate::random::Random;

const KILLS: u32 = 20;
const CLUSTERS: [&str; 2] = ["dev-us-west-2", "prod-eu-west-1"];
const APPS: [&str; 2] = ["platform", "apps"];

/// What Git says: for each cluster and app the ConfigMaps with their value.
#[derive(Default)]
struct Model {
    maps: BTreeMap<(&'static str, &'static str), BTreeMap<String, u64>>,
    added: u64,
}

impl Model {
    fn folder(cluster: &str, app: &str) -> String {
        format!("clusters/{}/{app}", cluster.replacen('-', "/", 1))
    }

    /// One commit: some objects more, one changed, one less; sometimes in one place, sometimes in all.
    fn step(&mut self, random: &mut Random) {
        let only = random.below(5);
        for (index, place) in places().into_iter().enumerate() {
            if only < 4 && only != index as u64 {
                continue;
            }
            let maps = self.maps.entry(place).or_default();
            // Removed first: what is added stays, so that there is always something to commit.
            let pick = |maps: &BTreeMap<String, u64>, random: &mut Random| {
                let index = random.below(maps.len() as u64) as usize;
                maps.keys().nth(index).cloned().unwrap()
            };
            if !maps.is_empty() && random.below(2) == 0 {
                maps.remove(&pick(maps, random));
            }
            for _ in 0..=random.below(3) {
                self.added += 1;
                maps.insert(format!("map-{}", self.added), 0);
            }
            let changed = pick(maps, random);
            *maps.get_mut(&changed).unwrap() += 1;
        }
    }

    /// Writes the files. Some objects are always there.
    fn write(&self, clone: &WorkClone) {
        for (cluster, app) in places() {
            let mut text = format!(
                "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {app}}}\n---\n\
                 apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: keeper, namespace: {app}}}\ndata: {{value: \"0\"}}\n---\n\
                 apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: {app}}}\n\
                 spec:\n  selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    \
                 spec: {{containers: [{{name: web, image: 'example.com/web:1'}}]}}\n"
            );
            for (name, value) in self.maps.get(&(cluster, app)).into_iter().flatten() {
                let _ = write!(
                    text,
                    "---\napiVersion: v1\nkind: ConfigMap\n\
                     metadata: {{name: {name}, namespace: {app}}}\ndata: {{value: \"{value}\"}}\n"
                );
            }
            let folder = Self::folder(cluster, app);
            clone
                .write(&format!("{folder}/objects.yaml"), &text)
                .unwrap();
            let kustomization = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [objects.yaml]\n";
            clone
                .write(&format!("{folder}/kustomization.yaml"), kustomization)
                .unwrap();
        }
    }

    /// The objects that a cluster has from an app, sorted, each ConfigMap with its value.
    fn expected(&self, cluster: &'static str, app: &'static str) -> BTreeMap<Id, Option<String>> {
        let mut expected = BTreeMap::from([
            (id("Namespace", "", app), None),
            (id("Deployment", app, "web"), None),
            (id("ConfigMap", app, "keeper"), Some("0".to_owned())),
        ]);
        for (name, value) in self.maps.get(&(cluster, app)).into_iter().flatten() {
            expected.insert(id("ConfigMap", app, name), Some(value.to_string()));
        }
        expected
    }
}

fn places() -> Vec<(&'static str, &'static str)> {
    CLUSTERS
        .iter()
        .flat_map(|cluster| APPS.iter().map(move |app| (*cluster, *app)))
        .collect()
}

/// The reference repository without its applications, for two clusters, looked at every second.
async fn repository(demo: &Demo, model: &Model) -> WorkClone {
    let clone = demo.clone().await;
    for folder in ["apps", "platform", "promotion-rollback", "clusters"] {
        clone.remove(folder).unwrap();
    }
    clone
        .replace(
            "flux-manifests/gitrepository.yaml",
            "interval: 1m0s",
            "interval: 1s",
        )
        .unwrap();
    remove_rollout(&clone);
    for app in APPS {
        let file = format!("flux-manifests/{app}-kustomization.yaml");
        clone
            .replace(&file, "retryInterval: 1m0s", "retryInterval: 1s")
            .unwrap();
    }
    let root: String = clone
        .read("kustomization.yaml")
        .unwrap()
        .lines()
        .filter(|line| !line.contains("- clusters/") && !line.contains("- promotion-rollback/"))
        .flat_map(|line| [line, "\n"])
        .collect();
    clone.write("kustomization.yaml", &root).unwrap();
    model.write(&clone);
    push(&clone, "Two clusters").await;
    clone
}

/// Install, register two clusters with their labels, apply flux-manifests: as a person does, by commands.
async fn prepare(demo: &Demo, hub: &Cluster, clone: &WorkClone) {
    let output = demo.fairway(&["install", "--replicas=0"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    for cluster in CLUSTERS {
        let (environment, region) = cluster.split_once('-').unwrap();
        let environment = format!("environment={environment}");
        let region = format!("region={region}");
        let output = demo
            .at(
                cluster,
                &[
                    "create",
                    "cluster",
                    cluster,
                    "--management-context=management",
                    "--label",
                    &environment,
                    "--label",
                    &region,
                    "--label=cluster-type=workload",
                ],
            )
            .await;
        assert_eq!(output.code, 0, "{output:?}");
    }
    for file in [
        "gitrepository",
        "platform-kustomization",
        "apps-kustomization",
        "flux-system-kustomization",
    ] {
        for object in documents(&clone.read(&format!("flux-manifests/{file}.yaml")).unwrap()) {
            hub.apply(&object).await;
        }
    }
}

async fn until_converged(hub: &Cluster, revision: &str) {
    let names = places()
        .into_iter()
        .map(|(cluster, app)| format!("{app}-{cluster}"));
    let names: Vec<String> = names.chain([SYSTEM.to_owned()]).collect();
    join_all(names.iter().map(|name| hub.until_applied(name, revision))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_deaths_lose_double_and_prune_nothing() {
    let mut random = Random::new();
    let mut model = Model::default();
    model.step(&mut random);
    let demo = Demo::bare().await;
    let hub = demo.hub().await;
    let clone = repository(&demo, &model).await;
    prepare(&demo, &hub, &clone).await;
    let mut clusters = BTreeMap::new();
    for name in CLUSTERS {
        clusters.insert(name, demo.cluster(name).await);
    }

    // Once undisturbed: what is there now must be there at the end, and the time that it takes is the measure for the kills.
    let started = Instant::now();
    let mut controller = demo.controller("management");
    let first = format!("main@sha1:{}", head(&clone).await);
    until_converged(&hub, &first).await;
    let took = started.elapsed().min(Duration::from_millis(2500));
    controller.kill().await.unwrap();
    let mut by_hand = BTreeMap::new();
    let mut kept = BTreeMap::new();
    for (name, cluster) in &clusters {
        for app in APPS {
            let map = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "by-hand", "namespace": app}, "data": {"value": "mine"},
            });
            by_hand.insert((*name, app), cluster.apply(&map).await);
            for (kind, namespace, object) in [
                ("Namespace", "", app),
                ("ConfigMap", app, "keeper"),
                ("Deployment", app, "web"),
            ] {
                let found = cluster.get(kind, namespace, object).await.unwrap();
                kept.insert((*name, app, kind), found["metadata"]["uid"].clone());
            }
        }
    }
    let children = hub.contents().await;

    for round in 1..=KILLS {
        let mut controller = demo.controller("management");
        model.step(&mut random);
        model.write(&clone);
        push(&clone, &format!("Round {round}")).await;
        let moment = Duration::from_millis(random.below(took.as_millis() as u64));
        tokio::time::sleep(moment).await;
        assert!(controller.is_running(), "{}", controller.stderr());
        controller.kill().await.unwrap();
    }

    let revision = format!("main@sha1:{}", head(&clone).await);
    let mut controller = demo.controller("management");
    until_converged(&hub, &revision).await;
    for ((name, app), by_hand) in &by_hand {
        let cluster = &clusters[name];
        let now = cluster.get("ConfigMap", app, "by-hand").await;
        assert_eq!(now.as_ref(), Some(by_hand), "a hand-made object of {name}");
    }
    for ((name, app, kind), uid) in &kept {
        let (namespace, object) = match *kind {
            "Namespace" => ("", *app),
            "ConfigMap" => (*app, "keeper"),
            _ => (*app, "web"),
        };
        let now = clusters[name].get(kind, namespace, object).await.unwrap();
        assert_eq!(
            now["metadata"]["uid"], *uid,
            "{kind} of {app} on {name} was made anew"
        );
    }
    for (name, cluster) in &clusters {
        let owned = cluster.owned().await;
        let owners: BTreeSet<String> = owned.keys().cloned().collect();
        let expected: BTreeSet<String> = APPS.iter().map(|app| format!("{app}-{name}")).collect();
        assert_eq!(owners, expected, "{name}");
        for app in APPS {
            let kustomization = format!("{app}-{name}");
            let expected = model.expected(name, app);
            let wanted: Vec<Id> = expected.keys().cloned().collect();
            let mut labelled = owned[&kustomization].clone();
            labelled.sort();
            assert_eq!(
                labelled, wanted,
                "objects of {kustomization} differ from Git"
            );
            let object = hub
                .get("Kustomization", SYSTEM, &kustomization)
                .await
                .unwrap();
            assert_eq!(inventory(&object), wanted, "inventory of {kustomization}");
            for ((kind, namespace, object), value) in expected {
                let Some(value) = value else { continue };
                let live = cluster.get(&kind, &namespace, &object).await.unwrap();
                assert_eq!(live["data"], json!({"value": value}), "{object} on {name}");
            }
        }
    }
    // The hub has the same objects as before: no second Kustomization, Cluster or Secret.
    let names = |contents: &BTreeMap<Id, serde_json::Value>| -> Vec<(Id, serde_json::Value)> {
        let all = contents.iter();
        all.map(|(id, object)| (id.clone(), object["metadata"]["uid"].clone()))
            .collect()
    };
    assert_eq!(names(&hub.contents().await), names(&children));
    controller.terminate().unwrap();
    let status = controller.wait(PATIENCE).await.unwrap();
    assert!(status.success(), "{}", controller.stderr());
}

async fn head(clone: &WorkClone) -> String {
    clone
        .git(&["rev-parse", "HEAD"])
        .await
        .unwrap()
        .trim()
        .to_owned()
}
