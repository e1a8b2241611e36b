//! Cheap when nothing happens: a fleet that has converged is not asked about its objects, a hand edit is put back at once, and
//! a commit costs what it changes.
//!
//! The same on simulated clusters, in each test run, and on real API servers (`cargo xtask e2e`). `FAIRWAY_IDLE_SECONDS` says
//! for how long nothing may be asked, `FAIRWAY_IDLE_CLUSTERS` how many real clusters there are besides the hub.
#![allow(clippy::unwrap_used, reason = "what fails in a test fails the test")]

mod fleet;
mod servers;

use std::time::{Duration, Instant};

use fairway_testkit::real::{Assets, Program};

use fleet::{APPS, Fleet, OBJECTS};
use servers::{Counts, Servers};

/// A hand edit is put back within this time.
const PUT_BACK: Duration = Duration::from_secs(2);
/// What trails behind a change (events, the last status) is over when nothing is asked for this long.
const TRAIL: Duration = Duration::from_secs(3);

fn number(variable: &str, default: u64) -> u64 {
    let value = std::env::var(variable).ok();
    value.map_or(default, |text| text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nine_simulated_clusters_are_left_alone() {
    let servers = Servers::simulated(9).await;
    converged_is_cheap(servers, number("FAIRWAY_IDLE_SECONDS", 15)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes real API servers; `cargo xtask e2e` runs it"]
async fn real_clusters_are_left_alone() {
    let assets = Assets::find()
        .filter(|assets| assets.has(Program::KubeApiserver))
        .expect("no etcd and kube-apiserver; `cargo xtask envtest` builds them");
    let clusters = number("FAIRWAY_IDLE_CLUSTERS", 2) as usize;
    let servers = Servers::real(&assets, clusters).await;
    converged_is_cheap(servers, number("FAIRWAY_IDLE_SECONDS", 60)).await;
}

async fn converged_is_cheap(servers: Servers, quiet_for: u64) {
    let started = Instant::now();
    let fleet = Fleet::start(servers).await;
    eprintln!(
        "{} clusters × {APPS} Kustomizations × {OBJECTS} objects have converged after {:?}",
        fleet.clusters(),
        started.elapsed()
    );
    settled(&fleet).await;

    // Each Kustomization is reconciled every ten seconds, and asks nobody.
    let before = fleet.servers.counts().await;
    tokio::time::sleep(Duration::from_secs(quiet_for)).await;
    let asked = fleet.servers.counts().await.since(&before);
    eprintln!("asked in {quiet_for}s: {asked}");
    for (cluster, verb, resource, count) in asked.iter() {
        assert!(
            is_background(verb, resource),
            "{cluster}: {count} × {verb} {resource}"
        );
    }

    // Other work may have the processors: the best of three counts.
    let mut best = Duration::MAX;
    for round in 0..3 {
        best = best.min(fleet.edit_by_hand(round).await);
    }
    eprintln!("a hand edit is put back after {best:?}");
    assert!(best < PUT_BACK, "{best:?}");
    settled(&fleet).await;

    // One application changes, on all clusters.
    let before = fleet.servers.counts().await;
    fleet.change_one_app().await;
    settled(&fleet).await;
    let asked = fleet.servers.counts().await.since(&before);
    eprintln!("asked for by a commit: {asked}");
    commit_costs_what_it_changes(&fleet, &asked);
}

/// Waits until nothing trails behind any more, two minutes at most.
async fn settled(fleet: &Fleet) {
    for _ in 0..40 {
        let before = fleet.servers.counts().await;
        tokio::time::sleep(TRAIL).await;
        let asked = fleet.servers.counts().await.since(&before);
        if asked
            .iter()
            .all(|(_, verb, resource, _)| is_background(verb, resource))
        {
            return;
        }
    }
}

/// What may be asked at any time: watches that are renewed, Leases, and what is no resource (the version; the metrics that this
/// test reads; a kube-apiserver's own look at its schemas).
fn is_background(verb: &str, resource: &str) -> bool {
    verb == "watch" || resource == "leases" || resource.is_empty() || resource.starts_with('/')
}

fn commit_costs_what_it_changes(fleet: &Fleet, asked: &Counts) {
    let clusters = fleet.clusters() as u64;
    let mut on_clusters = 0;
    let mut status_patches = 0;
    for (cluster, verb, resource, count) in asked.iter() {
        if is_background(verb, resource) {
            continue;
        }
        if cluster != servers::HUB {
            assert_eq!(resource, "configmaps", "{cluster}: {count} × {verb}");
            on_clusters += count;
            continue;
        }
        match resource {
            "kustomizations/status" => status_patches += count,
            // That it is fetched, what it serves, that it is ready.
            "gitrepositories/status" => assert!(count <= 4, "{count} × {verb} {resource}"),
            // Those of the source, and of the Kustomizations that changed.
            "events" => assert!(count <= 4 + 3 * clusters, "{count} × {verb} {resource}"),
            // How the test looks at it.
            "kustomizations" => assert!(["get", "list"].contains(&verb), "{verb} {resource}"),
            other => panic!("hub: {count} × {verb} {other}"),
        }
    }
    // The one object that changed, on each cluster: its apply, at most with what a check asks.
    assert!(
        (clusters..=3 * clusters).contains(&on_clusters),
        "{on_clusters} requests for {clusters} objects"
    );
    let others = clusters * (APPS as u64 - 1);
    assert!(
        (others..=others + 3 * clusters).contains(&status_patches),
        "{status_patches} status patches for {others} Kustomizations that did not change and {clusters} that did"
    );
}
