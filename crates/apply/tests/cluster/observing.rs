//! Health and drift by watch.

use std::{sync::Arc, time::Duration};

use fairway_apply::{
    Connection, Mapper, Observer, Strictness,
    observe::{Mode, ObjectChange, ObjectEvent},
};
use serde_json::{Value, json};
use tokio::{sync::broadcast::Receiver, time::timeout};

use crate::{Cluster, config_map, deployment};

const PATH: &str = "/api/v1/namespaces/default/configmaps/a";

async fn synced(observer: &Observer) {
    let until = async {
        while observer.modes().is_empty() || !observer.is_synced() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), until)
        .await
        .unwrap_or_else(|_| panic!("not synced: {:?}", observer.modes()));
}

async fn expect(
    events: &mut Receiver<ObjectEvent>,
    wanted: impl Fn(&ObjectChange) -> bool,
) -> ObjectEvent {
    let wait = async {
        loop {
            let event = events.recv().await.unwrap();
            if wanted(&event.change) {
                return event;
            }
        }
    };
    timeout(Duration::from_secs(10), wait)
        .await
        .expect("the event comes")
}

pub(crate) async fn a_hand_edit_is_seen_and_put_back(mut cluster: Cluster) {
    let observer = cluster.observe();
    let mut events = observer.subscribe();
    cluster.changes(&[config_map("a", "1")]).await;
    synced(&observer).await;

    cluster
        .patch_as("kubectl-edit", PATH, json!({"data": {"key": "evil"}}))
        .await;
    let event = expect(&mut events, |change| {
        matches!(change, ObjectChange::Drifted(_))
    })
    .await;
    assert_eq!(event.owner, cluster.owner);
    let ObjectChange::Drifted(drift) = event.change else {
        unreachable!()
    };
    assert_eq!(drift.to_string(), ".data.key changed by kubectl-edit");

    assert_eq!(
        cluster.changes(&[config_map("a", "1")]).await,
        ["ConfigMap/default/a configured"]
    );
    assert_eq!(cluster.config_map("a").await.unwrap()["data"]["key"], "1");

    // Another controller that writes a field of ours is drift as well; one that writes its own is not.
    cluster
        .patch_as("other", PATH, json!({"data": {"theirs": "x"}}))
        .await;
    cluster
        .patch_as("other", PATH, json!({"data": {"key": "x"}}))
        .await;
    let event = expect(&mut events, |change| {
        matches!(change, ObjectChange::Drifted(_))
    })
    .await;
    let ObjectChange::Drifted(drift) = event.change else {
        unreachable!()
    };
    assert_eq!(drift.to_string(), ".data.key changed by other");
}

#[tokio::test]
async fn what_is_watched_and_unchanged_costs_no_request() {
    let mut cluster = Cluster::start().await;
    let observer = cluster.observe();
    let objects = [
        config_map("a", "1"),
        config_map("b", "1"),
        deployment("web", "web:1"),
    ];
    cluster.changes(&objects).await;
    synced(&observer).await;
    // The Deployment's own controller goes on writing its status; that is no change of ours.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = cluster.connection.request_count();
    assert_eq!(cluster.changes(&objects).await.len(), 3);
    assert_eq!(cluster.connection.request_count(), before);

    // A change of one costs its apply: what it was is known, and nothing else of its stage is written.
    let changed = [
        config_map("a", "2"),
        config_map("b", "1"),
        deployment("web", "web:1"),
    ];
    cluster.changes(&changed).await;
    assert_eq!(cluster.connection.request_count(), before + 1);

    // Drift of one costs that one, too.
    let mut events = observer.subscribe();
    cluster
        .patch_as("kubectl-edit", PATH, json!({"data": {"key": "evil"}}))
        .await;
    expect(&mut events, |change| {
        matches!(change, ObjectChange::Drifted(_))
    })
    .await;
    let changes = cluster.changes(&changed).await;
    assert!(
        changes.contains(&"ConfigMap/default/a configured".to_owned()),
        "{changes:?}"
    );
}

pub(crate) async fn what_is_deleted_or_loses_its_labels_is_missed(mut cluster: Cluster) {
    let observer = cluster.observe();
    let mut events = observer.subscribe();
    let objects = [config_map("a", "1"), config_map("b", "1")];
    cluster.changes(&objects).await;
    synced(&observer).await;

    let id = "default_a__ConfigMap".parse().unwrap();
    let resource = cluster.mapper.resource("v1", "ConfigMap").await.unwrap();
    cluster
        .session
        .delete(&resource, "default", "a", None)
        .await
        .unwrap();
    let event = expect(&mut events, |change| {
        matches!(change, ObjectChange::Gone { .. })
    })
    .await;
    assert_eq!(
        (event.id, event.change),
        (id, ObjectChange::Gone { finished: false })
    );

    cluster
        .patch_as(
            "me",
            "/api/v1/namespaces/default/configmaps/b",
            json!({"metadata": {"labels": null}}),
        )
        .await;
    let event = expect(&mut events, |change| {
        matches!(change, ObjectChange::Gone { .. })
    })
    .await;
    assert_eq!(event.id.name, "b");

    assert_eq!(
        cluster.changes(&objects).await,
        [
            "ConfigMap/default/a created",
            "ConfigMap/default/b configured"
        ]
    );

    // What is pruned is not missed.
    cluster.changes(&objects[..1]).await;
    let silence = timeout(
        Duration::from_millis(300),
        expect(&mut events, |change| {
            matches!(change, ObjectChange::Gone { .. })
        }),
    );
    assert!(silence.await.is_err());
}

#[tokio::test]
async fn health_is_seen_as_it_changes() {
    let mut cluster = Cluster::start().await;
    let observer = cluster.observe();
    let mut events = observer.subscribe();
    cluster.changes(&[deployment("web", "web:1")]).await;
    let event = expect(
        &mut events,
        |change| matches!(change, ObjectChange::Health(health) if health.is_current()),
    )
    .await;
    assert_eq!(event.id.subject(), "Deployment/default/web");
    assert!(observer.last_seen(&event.id).unwrap().health.is_current());
}

#[tokio::test]
async fn watches_come_back_after_an_outage() {
    let mut cluster = Cluster::start().await;
    let observer = cluster.observe();
    let mut events = observer.subscribe();
    cluster.changes(&[config_map("a", "1")]).await;
    synced(&observer).await;
    cluster.faults().refuse(true);
    let cut = async {
        while !observer
            .modes()
            .values()
            .any(|mode| matches!(mode, Mode::Failing { .. }))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), cut)
        .await
        .expect("the outage is noticed");
    cluster.faults().clear();
    synced(&observer).await;
    cluster
        .patch_as("kubectl-edit", PATH, json!({"data": {"key": "evil"}}))
        .await;
    expect(&mut events, |change| {
        matches!(change, ObjectChange::Drifted(_))
    })
    .await;
}

/// However long a cluster was away, and however it was, its watches are back a few seconds after it is, and few requests
/// are spent on asking.
#[tokio::test]
async fn a_cluster_that_comes_back_is_seen_soon() {
    let mut cluster = Cluster::start().await;
    let observer = cluster.observe();
    cluster
        .changes(&[config_map("a", "1"), deployment("web", "web:1")])
        .await;
    synced(&observer).await;
    for away in [
        fairway_apiserver::FaultSpec {
            refuse: true,
            ..Default::default()
        },
        fairway_apiserver::FaultSpec {
            status: 503,
            ..Default::default()
        },
    ] {
        let broken = away.status != 0;
        cluster.faults().set(away);
        if broken {
            // Watches that are open go on; a new one is refused.
            let third = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "s", "namespace": "default",
                "labels": config_map("a", "1")["metadata"]["labels"]}});
            let entry = fairway_types::InventoryEntry::new(
                &fairway_types::ObjectId::of(&third).unwrap(),
                "v1",
            );
            cluster.inventory.insert(entry);
            observer.track(&cluster.owner, &cluster.inventory, &[]);
        }
        let failing = |observer: &Observer| {
            let modes = observer.modes();
            modes
                .values()
                .filter(|mode| matches!(mode, Mode::Failing { .. }))
                .count()
        };
        let least = if broken { 1 } else { 2 };
        let cut = async {
            while failing(&observer) < least {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), cut)
            .await
            .expect("the outage is noticed");
        let before = cluster.connection.request_count();
        tokio::time::sleep(Duration::from_secs(12)).await;
        let asked = cluster.connection.request_count() - before;
        assert!((2..=12).contains(&asked), "{asked} requests in 12s");
        cluster.faults().clear();
        let start = std::time::Instant::now();
        synced(&observer).await;
        assert!(
            start.elapsed() < Duration::from_secs(6),
            "{:?}",
            start.elapsed()
        );
    }
}

/// Connects as an account that has these rules in the namespace `default`, and nothing else.
async fn limited(cluster: &mut Cluster, rules: Value) -> Connection {
    let meta = |name: &str| json!({"name": name, "namespace": "default"});
    let subject = json!({"kind": "ServiceAccount", "name": "watcher", "namespace": "default"});
    let objects = [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("watcher")}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta("watcher"), "rules": rules}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta("watcher"),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "watcher"},
            "subjects": [subject],
        }),
    ];
    cluster.changes(&objects).await;
    let kubeconfig = cluster.server().kubeconfig_for("dev").unwrap();
    let mut kubeconfig = kube::config::Kubeconfig::from_yaml(&kubeconfig).unwrap();
    for user in kubeconfig
        .auth_infos
        .iter_mut()
        .filter_map(|user| user.auth_info.as_mut())
    {
        user.impersonate = Some("system:serviceaccount:default:watcher".into());
    }
    Connection::from_kubeconfig(kubeconfig, None, Strictness::default())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_forbidden_watch_is_narrowed_to_namespaces_then_polled() {
    for (verbs, polled) in [
        (json!(["get", "list", "watch"]), false),
        (json!(["get"]), true),
    ] {
        let mut cluster = Cluster::start().await;
        let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}]);
        let connection = limited(&mut cluster, rules).await;
        cluster.inventory = fairway_types::Inventory::default();
        cluster.changes(&[config_map("a", "1")]).await;
        let observer = Observer::new(&connection, Arc::new(Mapper::new(&connection)));
        observer.track(&cluster.owner, &cluster.inventory, &[]);
        let settled = async {
            loop {
                let modes = observer.modes();
                let done = modes.iter().any(|(scope, mode)| {
                    scope.namespace == "default"
                        && matches!(mode, Mode::Watching | Mode::Polling { .. })
                });
                if done {
                    return modes;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let modes = timeout(Duration::from_secs(10), settled)
            .await
            .expect("a narrower way is found");
        assert_eq!(modes.len(), 1);
        assert_eq!(observer.degraded().is_some(), polled, "{modes:?}");
        if polled {
            assert!(
                observer.degraded().unwrap().contains("forbidden"),
                "{modes:?}"
            );
        }
        // Either way the object becomes known.
        let id = "default_a__ConfigMap".parse().unwrap();
        let known = async {
            while observer.last_seen(&id).is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), known)
            .await
            .expect("the object is seen");
    }
}

pub(crate) async fn watches_that_nobody_needs_end(mut cluster: Cluster) {
    let observer = cluster.observe();
    cluster
        .changes(&[config_map("a", "1"), deployment("web", "web:1")])
        .await;
    synced(&observer).await;
    assert_eq!(observer.modes().len(), 2);
    cluster.changes(&[config_map("a", "1")]).await;
    assert_eq!(observer.modes().len(), 1);
    observer.forget(&cluster.owner);
    assert!(observer.modes().is_empty());
}

/// A way to a server that can be made to swallow everything: connections stay open, nothing comes through.
async fn swallowing(server: &str) -> (String, Arc<std::sync::atomic::AtomicBool>) {
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::{
        io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };
    async fn pump(
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        hole: Arc<AtomicBool>,
    ) -> std::io::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let count = from.read(&mut buffer).await?;
            while hole.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if count == 0 {
                return to.shutdown().await;
            }
            to.write_all(&buffer[..count]).await?;
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let hole = Arc::new(AtomicBool::new(false));
    let (target, flag) = (
        server.trim_start_matches("https://").to_owned(),
        hole.clone(),
    );
    tokio::spawn(async move {
        while let Ok((inner, _)) = listener.accept().await {
            let outer = TcpStream::connect(&target).await.unwrap();
            let ((inner_in, inner_out), (outer_in, outer_out)) =
                (inner.into_split(), outer.into_split());
            tokio::spawn(pump(inner_in, outer_out, flag.clone()));
            tokio::spawn(pump(outer_in, inner_out, flag.clone()));
        }
    });
    (format!("https://{address}"), hole)
}

/// Nothing says that a peer is gone; pings that are not answered do.
#[tokio::test]
async fn a_half_open_connection_is_noticed_and_left() {
    use std::sync::atomic::Ordering;
    let mut cluster = Cluster::start().await;
    let url = cluster.server().url("dev").unwrap();
    let (forwarded, hole) = swallowing(&url).await;
    let kubeconfig = cluster.server().kubeconfig_for("dev").unwrap();
    let through = Connection::from_kubeconfig_yaml(
        &kubeconfig.replace(&url, &forwarded),
        None,
        Strictness::default(),
    )
    .await
    .unwrap();
    cluster.changes(&[config_map("a", "1")]).await;
    let observer = Observer::new(&through, Arc::new(Mapper::new(&through)));
    observer.track(&cluster.owner, &cluster.inventory, &[]);
    synced(&observer).await;
    hole.store(true, Ordering::Relaxed);
    let start = std::time::Instant::now();
    let error = through.version().await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    let noticed = async {
        while observer.is_synced() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(40), noticed)
        .await
        .expect("the watch is given up");
    assert!(
        start.elapsed() < Duration::from_secs(40),
        "{:?}",
        start.elapsed()
    );
    hole.store(false, Ordering::Relaxed);
    synced(&observer).await;
    through.version().await.unwrap();
}
