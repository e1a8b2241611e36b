//! Waiting for health.

use std::time::{Duration, Instant};

use fairway_apply::wait;
use fairway_types::InventoryEntry;

use crate::{Cluster, config_map, deployment};

#[tokio::test]
async fn a_rollout_is_waited_for() {
    let mut cluster = Cluster::start().await;
    let report = cluster
        .apply(&[deployment("web", "web:1"), config_map("a", "1")])
        .await
        .unwrap();
    let options = wait::Options::new(Duration::from_secs(20));
    let waited = wait::wait(&cluster.session, &cluster.mapper, &report.checked, &options).await;
    assert!(waited.is_healthy(), "{:?}", waited.message());
    assert_eq!(waited.results.len(), 2);
}

#[tokio::test]
async fn a_watched_rollout_is_waited_for_without_asking() {
    let mut cluster = Cluster::start().await;
    let observer = cluster.observe();
    let report = cluster.apply(&[deployment("web", "web:1")]).await.unwrap();
    while !observer.is_synced() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let gets = cluster.count("get");
    let mut options = wait::Options::new(Duration::from_secs(20));
    options.witness = Some(observer);
    let waited = wait::wait(&cluster.session, &cluster.mapper, &report.checked, &options).await;
    assert!(waited.is_healthy(), "{:?}", waited.message());
    assert_eq!(cluster.count("get"), gets);
}

#[tokio::test]
async fn a_broken_image_fails_the_wait_early() {
    let mut cluster = Cluster::start().await;
    let report = cluster
        .apply(&[deployment("web", "web:broken")])
        .await
        .unwrap();
    let started = Instant::now();
    let options = wait::Options::new(Duration::from_mins(1));
    let waited = wait::wait(&cluster.session, &cluster.mapper, &report.checked, &options).await;
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "fails with the progress deadline, not with the timeout"
    );
    let message = waited.message().unwrap();
    assert!(
        message.starts_with(
            "failed early due to stalled resources: [Deployment/default/web status: 'Failed'"
        ),
        "{message}"
    );
}

#[tokio::test]
async fn what_never_comes_times_out() {
    let cluster = Cluster::start().await;
    let missing = [InventoryEntry {
        id: "default_missing__ConfigMap".into(),
        v: "v1".into(),
    }];
    let options = wait::Options::new(Duration::from_millis(300));
    let waited = wait::wait(&cluster.session, &cluster.mapper, &missing, &options).await;
    assert_eq!(
        waited.message().unwrap(),
        "timeout waiting for: [ConfigMap/default/missing status: 'NotFound']"
    );
}
