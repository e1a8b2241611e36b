//! Applying and pruning: what any API server must answer the same to.

use fairway_apply::{Impersonation, Owner, engine, plan, prune};
use fairway_types::{Inventory, InventoryEntry, names};
use serde_json::json;

use crate::{Cluster, config_map, deployment, none};

pub(crate) async fn objects_are_created_changed_left_alone_and_pruned(mut cluster: Cluster) {
    let (a, b) = (config_map("a", "1"), config_map("b", "1"));
    assert_eq!(
        cluster.changes(&[b.clone(), a.clone()]).await,
        ["ConfigMap/default/a created", "ConfigMap/default/b created"]
    );
    let before = cluster.config_map("a").await.unwrap();
    assert_eq!(before["metadata"]["labels"][names::OWNER_NAME], "apps");
    assert_eq!(
        before["metadata"]["managedFields"][0]["manager"],
        "kustomize-controller"
    );

    let writes = cluster.writes();
    assert_eq!(
        cluster.changes(&[a.clone(), b.clone()]).await,
        [
            "ConfigMap/default/a unchanged",
            "ConfigMap/default/b unchanged"
        ]
    );
    assert_eq!(cluster.writes(), writes, "what is unchanged costs no write");
    let after = cluster.config_map("a").await.unwrap();
    assert_eq!(
        before["metadata"]["resourceVersion"],
        after["metadata"]["resourceVersion"]
    );

    assert_eq!(
        cluster.changes(&[config_map("a", "2")]).await,
        [
            "ConfigMap/default/a configured",
            "ConfigMap/default/b deleted"
        ]
    );
    assert_eq!(cluster.config_map("a").await.unwrap()["data"]["key"], "2");
    assert_eq!(cluster.config_map("b").await, None);
    assert_eq!(cluster.inventory.entries.len(), 1);
}

pub(crate) async fn definitions_and_namespaces_come_before_what_needs_them(mut cluster: Cluster) {
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"kind": "Widget", "listKind": "WidgetList", "plural": "widgets", "singular": "widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object",
                "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
            }}}],
        },
    });
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let widget = json!({
        "apiVersion": "example.com/v1", "kind": "Widget",
        "metadata": {"name": "w", "namespace": "shop"}, "spec": {"size": 1},
    });
    assert_eq!(
        cluster
            .changes(&[widget.clone(), namespace, definition])
            .await,
        [
            "CustomResourceDefinition/widgets.example.com created",
            "Namespace/shop created",
            "Widget/shop/w created"
        ]
    );
    // Everything goes again, in the other order, and the kind with it.
    assert_eq!(
        cluster.changes(&[]).await,
        [
            "Widget/shop/w deleted",
            "Namespace/shop deleted",
            "CustomResourceDefinition/widgets.example.com deleted"
        ]
    );
}

pub(crate) async fn an_invalid_object_leaves_its_whole_stage_as_it_was(mut cluster: Cluster) {
    cluster.changes(&[config_map("a", "good")]).await;
    let mut broken = deployment("web", "web:1");
    broken["spec"]["replicas"] = (-1).into();
    let writes = cluster.writes();
    let error = cluster
        .apply(&[config_map("a", "new"), broken])
        .await
        .unwrap_err();
    assert!(
        error.starts_with("Deployment/default/web dry-run failed (Invalid): "),
        "{error}"
    );
    assert_eq!(cluster.writes(), writes);
    assert_eq!(
        cluster.config_map("a").await.unwrap()["data"]["key"],
        "good"
    );
    assert_eq!(
        cluster.inventory.entries.len(),
        1,
        "nothing is pruned, nothing is forgotten"
    );
}

pub(crate) async fn unknown_kinds_and_missing_namespaces_are_named(mut cluster: Cluster) {
    let gadget = json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "g", "namespace": "default"}});
    assert_eq!(
        cluster.apply(&[gadget]).await.unwrap_err(),
        "Gadget/default/g dry-run failed: no matches for kind \"Gadget\" in version \"example.com/v1\""
    );
    let mut typo = deployment("web", "web:1");
    typo["spec"]["replicas"] = "two".into();
    let error = cluster.apply(&[typo]).await.unwrap_err();
    assert!(
        error.starts_with("Deployment/default/web dry-run failed"),
        "{error}"
    );
    let homeless = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
    let error = cluster.apply(&[homeless]).await.unwrap_err();
    assert!(
        error.starts_with("ConfigMap/c namespace not specified"),
        "{error}"
    );
}

pub(crate) async fn what_kubectl_changed_is_taken_over(mut cluster: Cluster) {
    cluster.changes(&[config_map("a", "1")]).await;
    let path = "/api/v1/namespaces/default/configmaps/a";
    cluster
        .patch_as("kubectl-edit", path, json!({"data": {"key": "evil", "added": "x"}, "metadata": {"annotations": {"note": "y"}}}))
        .await;
    assert_eq!(
        cluster.changes(&[config_map("a", "1")]).await,
        ["ConfigMap/default/a configured"]
    );
    let live = cluster.config_map("a").await.unwrap();
    assert_eq!(
        live["data"],
        json!({"key": "1"}),
        "what kubectl added is removed too"
    );
    assert!(
        live["metadata"]
            .get("annotations")
            .is_none_or(|annotations| annotations == &json!({})),
        "{live}"
    );

    // Another controller's fields stay.
    cluster
        .patch_as("injector", path, json!({"data": {"injected": "x"}}))
        .await;
    assert_eq!(
        cluster.changes(&[config_map("a", "1")]).await,
        ["ConfigMap/default/a unchanged"]
    );
    assert_eq!(
        cluster.config_map("a").await.unwrap()["data"]["injected"],
        "x"
    );

    // With `Merge`, kubectl's do too.
    let mut merged = config_map("a", "1");
    merged["metadata"]["annotations"] = json!({names::SSA: "Merge"});
    cluster.changes(std::slice::from_ref(&merged)).await;
    cluster
        .patch_as("kubectl-edit", path, json!({"data": {"added": "x"}}))
        .await;
    assert_eq!(
        cluster.changes(&[merged]).await,
        ["ConfigMap/default/a unchanged"]
    );
    assert_eq!(cluster.config_map("a").await.unwrap()["data"]["added"], "x");
}

pub(crate) async fn objects_say_how_they_are_applied(mut cluster: Cluster) {
    let marked = |name: &str, value: &str, key: &str, mark: &str| {
        let mut object = config_map(name, value);
        object["metadata"]["annotations"] = json!({key: mark});
        object
    };
    cluster
        .changes(&[marked("once", "1", names::SSA, "IfNotPresent")])
        .await;
    let again = [
        marked("once", "2", names::SSA, "IfNotPresent"),
        marked("never", "1", names::RECONCILE, "disabled"),
    ];
    assert_eq!(
        cluster.changes(&again).await,
        [
            "ConfigMap/default/never skipped",
            "ConfigMap/default/once skipped"
        ]
    );
    assert_eq!(
        cluster.config_map("once").await.unwrap()["data"]["key"],
        "1"
    );
    assert_eq!(cluster.config_map("never").await, None);
    assert_eq!(
        cluster.inventory.entries.len(),
        2,
        "what is skipped stays in the inventory"
    );

    // A live object that is excluded stays as it is, and stays when it is no longer wanted.
    cluster.changes(&[config_map("a", "1")]).await;
    let path = "/api/v1/namespaces/default/configmaps/a";
    cluster
        .patch_as(
            "me",
            path,
            json!({"metadata": {"annotations": {names::RECONCILE: "disabled"}}}),
        )
        .await;
    assert_eq!(
        cluster.changes(&[config_map("a", "2")]).await,
        ["ConfigMap/default/a skipped"]
    );
    assert_eq!(cluster.changes(&[]).await, ["ConfigMap/default/a skipped"]);
    assert_eq!(cluster.config_map("a").await.unwrap()["data"]["key"], "1");
}

pub(crate) async fn an_immutable_field_needs_force_and_a_valid_successor(mut cluster: Cluster) {
    cluster.changes(&[deployment("web", "web:1")]).await;
    let id = "default_web_apps_Deployment";
    let uid = cluster.get(id, "v1").await.unwrap()["metadata"]["uid"].clone();
    let mut moved = deployment("web", "web:1");
    moved["spec"]["selector"]["matchLabels"]["tier"] = "front".into();
    moved["spec"]["template"]["metadata"]["labels"]["tier"] = "front".into();
    let error = cluster
        .apply(std::slice::from_ref(&moved))
        .await
        .unwrap_err();
    assert!(error.contains("immutable"), "{error}");
    assert_eq!(cluster.get(id, "v1").await.unwrap()["metadata"]["uid"], uid);

    cluster.force = true;
    let mut invalid = moved.clone();
    invalid["spec"]["replicas"] = (-1).into();
    let error = cluster.apply(&[invalid]).await.unwrap_err();
    assert!(error.contains("cannot be created anew"), "{error}");
    assert_eq!(
        cluster.get(id, "v1").await.unwrap()["metadata"]["uid"],
        uid,
        "never deleted for something invalid"
    );

    assert_eq!(
        cluster.changes(&[moved]).await,
        ["Deployment/default/web created"]
    );
    assert_ne!(cluster.get(id, "v1").await.unwrap()["metadata"]["uid"], uid);
}

pub(crate) async fn prune_deletes_only_what_is_ours(mut cluster: Cluster) {
    cluster
        .changes(&[
            config_map("a", "1"),
            config_map("kept", "1"),
            config_map("stolen", "1"),
        ])
        .await;
    let path = |name: &str| format!("/api/v1/namespaces/default/configmaps/{name}");
    cluster
        .patch_as(
            "me",
            &path("kept"),
            json!({"metadata": {"annotations": {names::PRUNE: "disabled"}}}),
        )
        .await;
    cluster
        .patch_as(
            "me",
            &path("stolen"),
            json!({"metadata": {"labels": {names::OWNER_NAME: "other"}}}),
        )
        .await;
    let changes = cluster.changes(&[]).await;
    assert_eq!(
        changes,
        [
            "ConfigMap/default/stolen skipped",
            "ConfigMap/default/kept skipped",
            "ConfigMap/default/a deleted"
        ]
    );
    assert!(cluster.config_map("kept").await.is_some());
    assert!(cluster.config_map("stolen").await.is_some());
}

pub(crate) async fn the_same_object_under_another_spelling_is_not_pruned(mut cluster: Cluster) {
    // Tools write a namespace on objects that have none.
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "team:reader", "namespace": "default"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    });
    assert_eq!(
        cluster.changes(std::slice::from_ref(&role)).await,
        ["ClusterRole/team:reader created"]
    );
    assert_eq!(
        cluster.inventory.entries[0].id,
        "_team__reader_rbac.authorization.k8s.io_ClusterRole"
    );
    let spelled = InventoryEntry {
        id: "default_team__reader_rbac.authorization.k8s.io_ClusterRole".into(),
        v: "v1".into(),
    };
    cluster.inventory = Inventory {
        entries: vec![spelled],
    };
    cluster.changes(&[role]).await;
    assert!(
        cluster
            .get("_team__reader_rbac.authorization.k8s.io_ClusterRole", "v1")
            .await
            .is_some()
    );
}

pub(crate) async fn entries_of_kinds_that_are_gone_are_settled(cluster: Cluster) {
    let stale = [InventoryEntry {
        id: "default_w_example.com_Widget".into(),
        v: "v1".into(),
    }];
    let pruned = prune::prune(
        &cluster.session,
        &cluster.mapper,
        &cluster.owner,
        &stale,
        &none(),
    )
    .await;
    assert!(pruned.is_complete());
    assert!(pruned.changes.is_empty());
    let unreadable = [InventoryEntry {
        id: "nonsense".into(),
        v: "v1".into(),
    }];
    let pruned = prune::prune(
        &cluster.session,
        &cluster.mapper,
        &cluster.owner,
        &unreadable,
        &none(),
    )
    .await;
    assert_eq!(pruned.failed.len(), 1);
}

pub(crate) async fn writes_are_done_as_the_impersonated_account(cluster: Cluster) {
    let nobody = Impersonation::service_account("default", "nobody");
    let session = cluster.connection.session_as(&nobody).unwrap();
    let owner = Owner {
        name: "apps".into(),
        namespace: "flux-system".into(),
    };
    let settings = plan::Settings {
        owner: &owner,
        force: false,
        allow_empty: false,
    };
    let plan = plan::plan(vec![config_map("a", "1")], &Inventory::default(), settings).unwrap();
    let stopped = engine::apply(
        &session,
        &cluster.mapper,
        &plan,
        &engine::Options::new(owner.clone()),
    )
    .await
    .unwrap_err();
    let error = stopped.error.to_string();
    assert!(
        error.starts_with("ConfigMap/default/a dry-run failed (Forbidden)"),
        "{error}"
    );
    assert!(
        error.contains("system:serviceaccount:default:nobody"),
        "{error}"
    );
    assert!(stopped.error.request().unwrap().is_forbidden());
}

pub(crate) async fn termination_is_waited_for(mut cluster: Cluster) {
    let mut held = config_map("held", "1");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.changes(&[held]).await;
    let stale = plan::stale(&cluster.inventory, &none());
    let pruned = prune::prune(
        &cluster.session,
        &cluster.mapper,
        &cluster.owner,
        &stale,
        &none(),
    )
    .await;
    assert_eq!(pruned.deleted.len(), 1);
    let wait = std::time::Duration::from_millis(200);
    let timeout = prune::wait_for_termination(&cluster.session, &pruned.deleted, wait)
        .await
        .unwrap_err();
    assert_eq!(
        timeout.to_string(),
        "ConfigMap/default/held termination timeout"
    );
    cluster
        .patch_as(
            "me",
            "/api/v1/namespaces/default/configmaps/held",
            json!({"metadata": {"finalizers": null}}),
        )
        .await;
    prune::wait_for_termination(&cluster.session, &pruned.deleted, wait)
        .await
        .unwrap();
}
