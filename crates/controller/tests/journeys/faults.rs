//! Clusters that do not answer, answer badly, or are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{HUB, NS, World, condition, config_map};

async fn two(world: &World) -> String {
    let revision = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "1")))])
        .await;
    world.source().await;
    for name in ["bad", "good"] {
        world.cluster(name, json!({}), json!({})).await;
        let remote = json!({"kubeConfig": {"secretRef": {"name": format!("{name}-kubeconfig")}}});
        world.kustomization(name, "apps", remote).await;
    }
    revision
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sick_cluster_delays_nobody() {
    let mut world = World::new(&["bad", "good"]).await;
    let revision = two(&world).await;
    world.start().await;
    world.applied("bad", &revision).await;
    world.applied("good", &revision).await;
    type Break = fn(&fairway_apiserver::Faults);
    let breaks: [(&str, Break); 4] = [
        ("black hole", |faults| faults.black_hole(true)),
        ("5xx", |faults| faults.status(500, None)),
        ("429", |faults| faults.status(429, Some(30))),
        ("refused", |faults| faults.refuse(true)),
    ];
    let mut number = 1;
    // How long it takes on this machine, now, when nothing is wrong.
    let begun = Instant::now();
    let next = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "well")))])
        .await;
    world.applied("good", &next).await;
    let usual = begun.elapsed();
    for (what, break_it) in breaks {
        break_it(&world.faults("bad"));
        for _ in 0..3 {
            number += 1;
            let value = number.to_string();
            let begun = Instant::now();
            let next = world
                .push(&[("apps/a.yaml", Some(&config_map("a", &value)))])
                .await;
            world.applied("good", &next).await;
            world
                .until_data("good", "default", "a", "key", &value)
                .await;
            let took = begun.elapsed();
            let bound = Duration::from_secs(5).max(usual * 5);
            assert!(took < bound, "{what}: {took:?}, usually {usual:?}");
        }
        world.faults("bad").clear();
        world.reachable("bad").await;
        let value = number.to_string();
        world.until_data("bad", "default", "a", "key", &value).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_credentials_are_used_at_once() {
    let mut world = World::new(&["bad", "good"]).await;
    let revision = two(&world).await;
    world.start().await;
    world.applied("bad", &revision).await;
    // The credentials of another cluster are as good as none.
    let secret = |kubeconfig: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bad-kubeconfig", "namespace": NS},
            "stringData": {"value": kubeconfig},
        })
    };
    let right = world.server.kubeconfig_for("bad").unwrap();
    let token = |text: &str| {
        let line = text.lines().find(|line| line.contains("token:")).unwrap();
        line.split_once("token:").unwrap().1.trim().to_owned()
    };
    let wrong = right.replace(&token(&right), "not-a-token");
    assert_ne!(wrong, right);
    world.apply(HUB, &secret(&wrong)).await;
    let next = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "2")))])
        .await;
    let refused = world
        .ready("Kustomization", "bad", |_, status, _, message| {
            status == "False" && !message.is_empty()
        })
        .await;
    assert!(!refused.to_string().contains("not-a-token"));
    world
        .ready("Cluster", "bad", |_, status, _, _| status == "False")
        .await;
    world.apply(HUB, &secret(&right)).await;
    world.applied("bad", &next).await;
    world
        .ready("Cluster", "bad", |_, status, _, _| status == "True")
        .await;
    world.applied("good", &next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_certificate_is_told_and_the_new_one_trusted() {
    let mut world = World::new(&["bad", "good"]).await;
    let revision = two(&world).await;
    world.start().await;
    world.applied("bad", &revision).await;
    world.applied("good", &revision).await;
    let config = fairway_apiserver::Config {
        clusters: vec!["bad".into()],
        ..fairway_apiserver::Config::default()
    };
    let elsewhere = fairway_apiserver::Server::start(config).await.unwrap();
    let authority = |kubeconfig: &str| {
        let line = kubeconfig
            .lines()
            .find(|line| line.contains("certificate-authority-data:"));
        line.unwrap().trim().to_owned()
    };
    let right = world.server.kubeconfig_for("bad").unwrap();
    let other = authority(&elsewhere.kubeconfig_for("bad").unwrap());
    let wrong = right.replace(&authority(&right), &other);
    assert_ne!(wrong, right);
    let trust = async |kubeconfig: &str| {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bad-kubeconfig", "namespace": NS},
            "stringData": {"value": kubeconfig},
        });
        world.apply(HUB, &secret).await;
    };
    trust(&wrong).await;
    let next = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "2")))])
        .await;
    world
        .ready("Cluster", "bad", |_, status, _, message| {
            status == "False" && message.to_lowercase().contains("certificate")
        })
        .await;
    world.applied("good", &next).await;
    trust(&right).await;
    world.applied("bad", &next).await;
    world
        .ready("Cluster", "bad", |_, status, _, _| status == "True")
        .await;
}

/// The time of day is told and nothing waits by it: watches and intervals go on when it jumps.
#[tokio::test(flavor = "multi_thread")]
async fn the_clock_may_step() {
    let offset = Arc::new(AtomicI64::new(0));
    let clock = {
        let offset = offset.clone();
        Arc::new(move || {
            jiff::Timestamp::now() + jiff::SignedDuration::from_secs(offset.load(Ordering::Relaxed))
        })
    };
    let mut world = World::new(&["bad", "good"]).await;
    let revision = two(&world).await;
    world.start_by(clock).await;
    world.applied("bad", &revision).await;
    for (number, hours) in [-30_i64, 24 * 365, -24 * 365, 0].into_iter().enumerate() {
        offset.store(hours * 3600, Ordering::Relaxed);
        let value = format!("after {number}");
        let next = world
            .push(&[("apps/a.yaml", Some(&config_map("a", &value)))])
            .await;
        for name in ["bad", "good"] {
            world.applied(name, &next).await;
            world.until_data(name, "default", "a", "key", &value).await;
        }
        // Drift is put back as ever.
        world
            .edit(
                "good",
                "ConfigMap",
                "default",
                "a",
                json!([{"op": "replace", "path": "/data/key", "value": "by hand"}]),
            )
            .await;
        world
            .until_data("good", "default", "a", "key", &value)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_gone_is_given_up_by_a_word_and_not_before() {
    let mut world = World::new(&["bad", "good"]).await;
    let revision = two(&world).await;
    world.start().await;
    world.applied("bad", &revision).await;
    world.applied("good", &revision).await;
    world.faults("bad").refuse(true);
    world.delete(HUB, "Secret", NS, "good-kubeconfig").await;
    for name in ["bad", "good"] {
        world.delete(HUB, "Kustomization", NS, name).await;
        let object = world
            .ready("Kustomization", name, |_, status, reason, message| {
                status == "False"
                    && reason == "PruneFailed"
                    && message.contains("fleet.fairway.dev/abandon: \"true\"")
            })
            .await;
        assert_eq!(
            object["metadata"]["finalizers"],
            json!(["finalizers.fluxcd.io"])
        );
        assert_ne!(object["status"]["inventory"], Value::Null);
        world
            .annotate(name, json!({"fleet.fairway.dev/abandon": "true"}))
            .await;
        world.until_gone(HUB, "Kustomization", NS, name).await;
        let event = world
            .event(name, |event| {
                event["message"]
                    .as_str()
                    .is_some_and(|message| message.starts_with("abandoned"))
            })
            .await;
        assert!(
            event["message"]
                .as_str()
                .unwrap()
                .ends_with("ConfigMap/default/a")
        );
        assert_eq!(event["type"], "Warning");
    }
    assert!(
        world
            .get("good", "ConfigMap", "default", "a")
            .await
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_changing_an_object_is_named() {
    let mut world = World::new(&[]).await;
    let revision = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "1")))])
        .await;
    world.source().await;
    world.kustomization("apps", "apps", json!({})).await;
    world.start().await;
    world.applied("apps", &revision).await;
    let set = |value: &str| json!([{"op": "replace", "path": "/data/key", "value": value}]);
    for number in 0..3 {
        let value = format!("by hand {number}");
        world
            .edit(HUB, "ConfigMap", "default", "a", set(&value))
            .await;
        world.until_data(HUB, "default", "a", "key", "1").await;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let event = world
        .event("apps", |event| event["reason"] == "DriftCorrected")
        .await;
    let message = event["message"].as_str().unwrap();
    assert!(
        message.contains("ConfigMap/default/a") && message.contains("kubectl-edit"),
        "{message}"
    );
    let object = world.get(HUB, "Kustomization", NS, "apps").await.unwrap();
    assert_eq!(condition(&object, "Ready")["status"], "True");
}
