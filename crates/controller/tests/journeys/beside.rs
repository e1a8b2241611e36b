//! Beside Flux, and beside other replicas: Leases, shards, probes.

use std::net::SocketAddr;
use std::time::Duration;

use fairway_controller::lease::{Standing, Timing};
use fairway_controller::{Controller, Engine, Options, Profile, lease};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::world::{HUB, NS, World, condition, config_map, connect};

const KUSTOMIZE: &str = "kustomize-controller-leader-election";

/// Fast enough for a test.
fn timing() -> Timing {
    Timing {
        duration: Duration::from_secs(5),
        deadline: Duration::from_secs(4),
        retry: Duration::from_millis(200),
        release: true,
    }
}

fn held_by(name: &str, holder: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": NS},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 3600},
    })
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    (status, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_engine_is_named_on_fairways_own_objects() {
    let mut world = World::new(&["dev"]).await;
    let revision = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "1")))])
        .await;
    world.source().await;
    world
        .cluster("dev", json!({"environment": "dev"}), json!({}))
        .await;
    let fleet = json!({
        "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "FleetKustomization",
        "metadata": {"name": "apps", "namespace": NS},
        "spec": {
            "clusterSelector": {"matchLabels": {"environment": "dev"}},
            "template": {"spec": {"interval": "10m", "prune": true, "path": "apps",
                                  "sourceRef": {"kind": "GitRepository", "name": "fleet"}}},
        },
    });
    world.apply(HUB, &fleet).await;
    world
        .apply(HUB, &held_by(KUSTOMIZE, "kustomize-controller-6d5_42"))
        .await;
    let options = Options {
        leader_election: true,
        lease_timing: timing(),
        ..world.options()
    };
    world.start_with(options).await;
    for (kind, name) in [("Cluster", "dev"), ("FleetKustomization", "apps")] {
        let object = world
            .ready(kind, name, |object, status, reason, message| {
                status == "Unknown"
                    && reason == "EngineConflict"
                    && message.contains("'kustomize-controller-6d5_42'")
                    && message.contains(KUSTOMIZE)
                    && condition(object, "EngineConflict")["status"] == "True"
            })
            .await;
        let event = world
            .event(name, |event| event["reason"] == "EngineConflict")
            .await;
        assert_eq!(event["type"], "Warning");
        assert_eq!(
            event["message"],
            condition(&object, "EngineConflict")["message"]
        );
    }
    let conflict = world.engine().conflict().unwrap();
    assert_eq!(conflict.lease, KUSTOMIZE);
    assert!(
        world.list(HUB, "Kustomization", NS).await.is_empty(),
        "nothing is touched"
    );
    assert!(
        world
            .get("dev", "ConfigMap", "default", "a")
            .await
            .is_none()
    );

    // Flux's Deployment is scaled to zero.
    world.apply(HUB, &held_by(KUSTOMIZE, "")).await;
    world.applied("apps-dev", &revision).await;
    for (kind, name) in [("Cluster", "dev"), ("FleetKustomization", "apps")] {
        let object = world
            .ready(kind, name, |_, status, _, _| status == "True")
            .await;
        assert_eq!(condition(&object, "EngineConflict"), Value::Null);
    }
    world.stop().await;
    for name in [
        KUSTOMIZE,
        "source-controller-leader-election",
        "fairway-leader-election",
    ] {
        let lease = world.get(HUB, "Lease", NS, name).await.unwrap();
        assert_eq!(lease["spec"]["holderIdentity"], "", "{name} is let go");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_reconcilers_run_beside_flux() {
    let mut world = World::new(&["dev"]).await;
    world
        .push(&[("apps/a.yaml", Some(&config_map("a", "1")))])
        .await;
    world.source().await;
    world
        .cluster("dev", json!({"environment": "dev"}), json!({}))
        .await;
    world.kustomization("own", "apps", json!({})).await;
    world
        .apply(HUB, &held_by(KUSTOMIZE, "kustomize-controller-6d5_42"))
        .await;
    let fleet = json!({
        "apiVersion": "fleet.fairway.dev/v1alpha1", "kind": "FleetKustomization",
        "metadata": {"name": "apps", "namespace": NS},
        "spec": {
            "clusterSelector": {"matchLabels": {"environment": "dev"}},
            "template": {"spec": {"interval": "10m", "prune": true, "path": "apps",
                                  "sourceRef": {"kind": "GitRepository", "name": "fleet"}}},
        },
    });
    world.apply(HUB, &fleet).await;
    let options = Options {
        leader_election: true,
        lease_timing: timing(),
        controllers: [Controller::Fleet].into(),
        ..world.options()
    };
    world.start_with(options).await;
    let child = world
        .until(async || {
            world
                .get(HUB, "Kustomization", NS, "apps-dev")
                .await
                .ok_or_else(|| "no child yet".to_owned())
        })
        .await;
    assert_eq!(
        child["spec"]["kubeConfig"]["secretRef"]["name"],
        "dev-kubeconfig"
    );
    world
        .ready("Cluster", "dev", |_, status, _, _| status == "True")
        .await;
    assert!(world.engine().conflict().is_none());
    // Kustomizations and sources are Flux's: not even a finalizer is added.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for name in ["own", "apps-dev"] {
        let object = world.get(HUB, "Kustomization", NS, name).await.unwrap();
        assert_eq!(object["metadata"]["finalizers"], Value::Null);
        assert_eq!(object["status"], Value::Null);
    }
    let source = world.get(HUB, "GitRepository", NS, "fleet").await.unwrap();
    assert_eq!(source["status"], Value::Null);
    let lease = world.get(HUB, "Lease", NS, KUSTOMIZE).await.unwrap();
    assert_eq!(
        lease["spec"]["holderIdentity"],
        "kustomize-controller-6d5_42"
    );
    assert!(
        world
            .get(HUB, "Lease", NS, "source-controller-leader-election")
            .await
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_takes_over_when_the_leader_ends() {
    let mut world = World::new(&[]).await;
    let first = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "1")))])
        .await;
    world.source().await;
    world.kustomization("apps", "apps", json!({})).await;
    let options = Options {
        leader_election: true,
        lease_timing: timing(),
        ..world.options()
    };
    world.start_with(options.clone()).await;
    world.applied("apps", &first).await;
    let folder = tempfile::tempdir().unwrap();
    let second = Options {
        data_dir: folder.path().to_owned(),
        ..options
    };
    let standby = Engine::start(connect(&world.server, HUB).await, second)
        .await
        .unwrap();
    world
        .until(async || match standby.waits_for() {
            Some(holder) if lease::is_fairway(&holder) => Ok(()),
            other => Err(format!("waits for {other:?}")),
        })
        .await;
    assert!(standby.conflict().is_none(), "a replica is no other engine");
    world
        .until(async || {
            let all = standby.standings().all();
            let follows = |standing: &Standing| matches!(standing, Standing::Following { .. });
            if all.iter().all(|(_, standing)| follows(standing)) {
                Ok(())
            } else {
                Err(format!("{all:?}"))
            }
        })
        .await;
    world.stop().await;
    let next = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "2")))])
        .await;
    world
        .until(async || {
            let leads = standby.standings().all();
            if leads
                .iter()
                .all(|(_, standing)| *standing == Standing::Leading)
            {
                Ok(())
            } else {
                Err(format!("{leads:?}"))
            }
        })
        .await;
    standby.poke_all();
    world.applied("apps", &next).await;
    standby.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_share_the_work() {
    let mut world = World::new(&[]).await;
    let revision = world
        .push(&[
            ("a/a.yaml", Some(&config_map("a", "1"))),
            ("b/b.yaml", Some(&config_map("b", "1"))),
        ])
        .await;
    world.source().await;
    world.kustomization("main", "a", json!({})).await;
    world
        .kustomization("sharded", "b", json!({"dependsOn": [{"name": "main"}]}))
        .await;
    world
        .merge(
            "Kustomization",
            "sharded",
            json!({"metadata": {"labels": {"sharding.fluxcd.io/key": "one"}}}),
        )
        .await;
    let options = |folder: &std::path::Path, selector: &str| Options {
        leader_election: true,
        lease_timing: timing(),
        watch_label_selector: Some(selector.parse().unwrap()),
        ..Options::new(folder, Profile::Flux)
    };
    world
        .start_with(options(world.folder(), "!sharding.fluxcd.io/key"))
        .await;
    world.applied("main", &revision).await;
    let sharded = world
        .get(HUB, "Kustomization", NS, "sharded")
        .await
        .unwrap();
    assert_eq!(sharded["status"], Value::Null, "another shard's");

    let folder = tempfile::tempdir().unwrap();
    let one = "sharding.fluxcd.io/key=one";
    let shard = Engine::start(
        connect(&world.server, HUB).await,
        options(folder.path(), one),
    )
    .await
    .unwrap();
    // Its source and its dependency are of the other shard.
    world.applied("sharded", &revision).await;
    let name = lease::name(Controller::Kustomize, Some(one));
    let lease = world.get(HUB, "Lease", NS, &name).await.unwrap();
    assert!(lease::is_fairway(
        lease["spec"]["holderIdentity"].as_str().unwrap()
    ));

    // An object changes shards by its label.
    shard.shutdown().await;
    world
        .merge("Kustomization", "sharded", json!({
            "metadata": {"labels": {"sharding.fluxcd.io/key": null}}, "spec": {"path": "a", "dependsOn": null},
        }))
        .await;
    world.until_gone(HUB, "ConfigMap", "default", "b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_own_namespace_is_followed_where_that_is_asked_for() {
    let mut world = World::new(&[]).await;
    let revision = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "1")))])
        .await;
    world.source().await;
    world.kustomization("apps", "apps", json!({})).await;
    let elsewhere =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}});
    world.apply(HUB, &elsewhere).await;
    let other = json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": {"name": "other", "namespace": "elsewhere"},
        "spec": {"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "fleet", "namespace": NS}},
    });
    world.apply(HUB, &other).await;
    world
        .start_with(Options {
            watch_all_namespaces: false,
            ..world.options()
        })
        .await;
    world.applied("apps", &revision).await;
    let other = world
        .get(HUB, "Kustomization", "elsewhere", "other")
        .await
        .unwrap();
    assert_eq!(other["metadata"]["finalizers"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_metrics_are_answered() {
    let mut world = World::new(&[]).await;
    let revision = world
        .push(&[("apps/a.yaml", Some(&config_map("a", "1")))])
        .await;
    world.source().await;
    world.kustomization("apps", "apps", json!({})).await;
    let anywhere = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    world.faults(HUB).status(503, None);
    world
        .start_with(Options {
            health_addr: anywhere,
            metrics_addr: anywhere,
            leader_election: true,
            ..world.options()
        })
        .await;
    let health = world.engine().health_addr().unwrap();
    let metrics = world.engine().metrics_addr().unwrap();
    assert_eq!(get(health, "/healthz").await, (200, "ok".into()));
    let (status, body) = get(health, "/readyz").await;
    assert_eq!(status, 503, "nothing is listed yet: {body}");
    world.faults(HUB).clear();
    world.applied("apps", &revision).await;
    assert_eq!(get(health, "/readyz").await, (200, "ok".into()));
    assert_eq!(get(health, "/metrics").await.0, 404);
    let (status, text) = get(metrics, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "gotk_reconcile_duration_seconds_count{kind=\"Kustomization\",name=\"apps\",namespace=\"flux-system\"} ",
        "gotk_reconcile_duration_seconds_bucket{kind=\"GitRepository\",name=\"fleet\",namespace=\"flux-system\",le=\"+Inf\"} ",
        "fairway_applies_total 1",
        "fairway_leader{lease=\"kustomize-controller-leader-election\"} 1",
    ] {
        assert!(
            text.lines().any(|found| found.starts_with(line)),
            "{line} in\n{text}"
        );
    }
    let info = format!(
        "gotk_resource_info{{customresource_kind=\"Kustomization\",exported_namespace=\"flux-system\",name=\"apps\",\
         ready=\"True\",suspended=\"false\",revision=\"{revision}\",source_name=\"fleet\"}} 1"
    );
    assert!(text.lines().any(|line| line == info), "{text}");
    for line in text.lines() {
        let is_comment = line.starts_with("# HELP ") || line.starts_with("# TYPE ");
        let value = line.rsplit_once(' ').map(|(_, value)| value.parse::<f64>());
        assert!(is_comment || matches!(value, Some(Ok(_))), "{line}");
    }
    // Somebody who never finishes a request keeps nobody else waiting, nor the end.
    let _idle = tokio::net::TcpStream::connect(health).await.unwrap();
    assert_eq!(get(health, "/healthz").await.0, 200);
    let begun = std::time::Instant::now();
    world.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(tokio::net::TcpStream::connect(health).await.is_err());
}
