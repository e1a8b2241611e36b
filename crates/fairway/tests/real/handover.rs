//! Flux's own controllers run a fleet, Fairway takes over, Flux takes back: nothing that either manages is touched.

use std::time::{Duration, Instant};

use fairway_testkit::Process;
use serde_json::json;

use crate::cluster::{Cluster, SYSTEM};
use crate::snapshot::differences;
use crate::world::{Engine, Picture, WORKLOADS, World};

/// The Kustomization that starts the fleet, and four for each of two clusters.
const COUNT: usize = 9;

/// Fails unless two pictures are the same; says what was compared.
fn assert_same(what: &str, before: &Picture, after: &Picture) {
    let mut found = String::new();
    let mut objects = 0;
    for ((name, old), (_, new)) in before.managed.iter().zip(&after.managed) {
        objects += old.0.len();
        let differences = differences(&old.0, &new.0);
        if !differences.is_empty() {
            found.extend(["on ", name, ":\n", &differences]);
        }
    }
    let (old, new) = (&before.kustomizations.0, &after.kustomizations.0);
    found.push_str(&differences(old, new));
    found.push_str(&differences(&before.sources.0, &after.sources.0));
    assert_eq!(found, "", "{what}:\n{found}");
    let entries: usize = old
        .values()
        .map(|seen| seen["inventory"]["entries"].as_array().map_or(0, Vec::len))
        .sum();
    println!(
        "{what}: {objects} managed objects on {} clusters (uid, generation, resourceVersion, field managers), {} Kustomizations \
         with {entries} inventory entries and {} GitRepository (spec, revisions, conditions, finalizers): the same",
        before.managed.len(),
        old.len(),
        before.sources.0.len(),
    );
}

/// Asks the engine in charge, as a person does, to reconcile every Kustomization once more.
async fn ask_for_all(world: &World) {
    let flux = world.flux_command();
    let source = flux
        .ok(&["reconcile", "source", "git", "fleet", "--timeout=2m"])
        .await;
    source.unwrap();
    let list = world.hub.list("Kustomization", SYSTEM).await;
    for object in list {
        let name = object["metadata"]["name"].as_str().unwrap();
        let done = flux
            .ok(&["reconcile", "kustomization", name, "--timeout=2m"])
            .await;
        done.unwrap();
    }
}

/// Pushes a commit that changes, adds and removes objects, and sees all of it on every cluster.
async fn let_a_change_flow(world: &World, who: &str, round: u32) {
    let last = round - 1;
    let clone = world.git.clone_to_work().await.unwrap();
    let change = |path: &str, old: String, new: String| clone.replace(path, &old, &new).unwrap();
    let colour = |round: u32| format!("colour: round-{round}");
    let cpu = |round: u32| format!("cpu: 10{round}m");
    let map = |round: u32| format!("- round-{round}.yaml");
    change("apps/base/config.yaml", colour(last), colour(round));
    change("apps/base/web.yaml", cpu(last), cpu(round));
    change("apps/base/kustomization.yaml", map(last), map(round));
    clone
        .remove(&format!("apps/base/round-{last}.yaml"))
        .unwrap();
    let added = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: round-{round}\ndata:\n  by: {who}\n"
    );
    clone
        .write(&format!("apps/base/round-{round}.yaml"), &added)
        .unwrap();
    clone
        .commit_and_push(&format!("Round {round}, for {who}"))
        .await
        .unwrap();
    let started = Instant::now();
    world.until_converged(COUNT).await;
    for name in WORKLOADS {
        let cluster = Cluster::of(world.clusters.get(name).unwrap().kubeconfig(), name).await;
        let config = cluster.get("ConfigMap", "apps", "config").await.unwrap();
        assert_eq!(
            config["data"],
            json!({"team": "platform", "colour": format!("round-{round}"), "shape": "round"}),
            "changed"
        );
        let added = cluster
            .get("ConfigMap", "apps", &format!("round-{round}"))
            .await
            .unwrap();
        assert_eq!(added["data"], json!({"by": who}), "added");
        let gone = format!("round-{last}");
        cluster.until_gone("ConfigMap", "apps", &gone).await;
    }
    println!(
        "a commit that changes, adds and prunes objects flows under {who} in {:.1} s",
        started.elapsed().as_secs_f64()
    );
}

pub(crate) async fn stop(mut fairway: Process) {
    fairway.terminate().unwrap();
    let status = fairway.wait(Duration::from_mins(1)).await.unwrap();
    assert!(status.success(), "{status}: {}", fairway.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Flux's programs: run `cargo xtask e2e handover`"]
async fn handover_from_flux_and_back() {
    let world = World::start().await;
    world.bootstrap().await;
    let flux = world.start_flux().await;
    world.until_converged(COUNT).await;
    let_a_change_flow(&world, "flux", 1).await;
    let_a_change_flow(&world, "flux", 2).await;
    let before = world.settled().await;
    flux.stop().await;

    let fairway = world.start_fairway();
    world.until_leads(Engine::Fairway).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_same(
        "Fairway took over from Flux",
        &before,
        &world.settled().await,
    );
    ask_for_all(&world).await;
    assert_same(
        "Fairway reconciled everything once more",
        &before,
        &world.settled().await,
    );
    let_a_change_flow(&world, "fairway", 3).await;
    let before = world.settled().await;
    stop(fairway).await;

    let flux = world.start_flux().await;
    ask_for_all(&world).await;
    assert_same(
        "Flux took back from Fairway",
        &before,
        &world.settled().await,
    );
    let_a_change_flow(&world, "flux", 4).await;

    // Both at once: the Leases decide. Who waits does nothing; when the leader goes, the other one goes on.
    let before = world.settled().await;
    let fairway = world.start_fairway();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_same(
        "Fairway waits while Flux leads",
        &before,
        &world.settled().await,
    );
    assert_eq!(world.leader().await, Engine::Flux);
    ask_for_all(&world).await;
    assert_same(
        "Flux reconciles beside a waiting Fairway",
        &before,
        &world.settled().await,
    );
    flux.stop().await;
    world.until_leads(Engine::Fairway).await;
    let flux = world.start_flux().await;
    ask_for_all(&world).await;
    assert_same(
        "Fairway reconciles beside a waiting Flux",
        &before,
        &world.settled().await,
    );
    let_a_change_flow(&world, "fairway", 5).await;
    assert_eq!(world.leader().await, Engine::Fairway);

    // What Flux and Fairway together put there, either removes: the finalizer is one for both.
    let dev = Cluster::of(world.clusters.get("dev").unwrap().kubeconfig(), "dev").await;
    world.delete_kustomization("dev-app").await;
    dev.until_gone("Deployment", "apps", "web").await;
    println!("a Kustomization that Flux made is deleted, and its objects, under Fairway");
    stop(fairway).await;
    world.until_leads(Engine::Flux).await;
    world.delete_kustomization("dev-modes").await;
    dev.until_gone("ConfigMap", "apps", "merged").await;
    assert!(
        dev.get("ConfigMap", "apps", "kept").await.is_some(),
        "prune: disabled"
    );
    println!("a Kustomization that Fairway ran is deleted, and its objects, under Flux");
    flux.stop().await;
}
