//! The rules of writing, over a store of its own.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{DeleteOptions, Deleted, Propagation, Scope, Writer};
use crate::resources::{Registry, builtin};
use crate::store::{GroupResource, Store};

fn writer() -> Writer {
    let registry = Arc::new(Registry::new(builtin().iter().cloned()));
    let writer = Writer::new(Store::in_memory(), registry);
    let namespace = json!({"metadata": {"name": "default"}});
    writer
        .create(&GroupResource::core("namespaces"), namespace)
        .unwrap();
    writer
}

fn deployments() -> GroupResource {
    GroupResource::new("apps", "deployments")
}

fn create(writer: &Writer) -> Arc<Value> {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    let object = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec});
    writer.create(&deployments(), object).unwrap()
}

fn modify(writer: &Writer, scope: Scope, edit: impl FnOnce(&mut Value)) -> Arc<Value> {
    writer
        .modify(&deployments(), "default", "web", scope, edit)
        .unwrap()
}

fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap()
}

#[test]
fn the_generation_counts_wishes_only() {
    let writer = writer();
    assert_eq!(generation(&create(&writer)), 1);
    let object = modify(&writer, Scope::Object, |o| o["spec"]["replicas"] = 3.into());
    assert_eq!(generation(&object), 2);
    let object = modify(&writer, Scope::Object, |o| {
        o["metadata"]["labels"] = json!({"x": "y"});
    });
    assert_eq!(generation(&object), 2);
    let object = modify(&writer, Scope::Status, |o| {
        o["status"]["readyReplicas"] = 3.into();
        o["spec"]["replicas"] = 9.into();
    });
    assert_eq!(
        (generation(&object), &object["spec"]["replicas"]),
        (2, &json!(3))
    );
    let object = modify(&writer, Scope::Object, |o| {
        o["status"] = json!({"readyReplicas": 0});
    });
    assert_eq!(object["status"]["readyReplicas"], 3);
}

#[test]
fn defaults_make_the_second_write_no_change() {
    let writer = writer();
    let created = create(&writer);
    assert_eq!(
        created["spec"]["strategy"]["rollingUpdate"]["maxSurge"],
        "25%"
    );
    let revision = writer.store().revision();
    let again = modify(&writer, Scope::Object, |o| {
        // As a client writes it that knows of no defaults.
        if let Some(spec) = o["spec"].as_object_mut() {
            spec.retain(|key, _| key == "selector" || key == "template");
        }
    });
    assert!(Arc::ptr_eq(&created, &again));
    assert_eq!(writer.store().revision(), revision);
}

#[test]
fn finalizers_hold_what_is_deleted() {
    let writer = writer();
    create(&writer);
    modify(&writer, Scope::Object, |o| {
        o["metadata"]["finalizers"] = json!(["example.org/hold"]);
    });
    let delete = |options: &DeleteOptions| {
        writer
            .delete(&deployments(), "default", "web", options)
            .unwrap()
    };
    let Deleted::Waiting(object) = delete(&DeleteOptions::default()) else {
        panic!("a finalizer did not hold");
    };
    assert_eq!(object["metadata"]["deletionGracePeriodSeconds"], 0);
    let refused = writer.modify(&deployments(), "default", "web", Scope::Object, |o| {
        o["metadata"]["finalizers"] = json!(["example.org/hold", "example.org/more"]);
    });
    assert_eq!(refused.unwrap_err().code, 422);
    modify(&writer, Scope::Object, |o| {
        o["metadata"]["finalizers"] = json!([]);
    });
    assert!(
        writer
            .store()
            .get(&deployments(), "default", "web")
            .is_none()
    );
}

#[test]
fn a_deletion_says_what_becomes_of_the_dependents() {
    let writer = writer();
    create(&writer);
    let options = DeleteOptions {
        propagation: Some(Propagation::Foreground),
        ..DeleteOptions::default()
    };
    let deleted = writer
        .delete(&deployments(), "default", "web", &options)
        .unwrap();
    let Deleted::Waiting(object) = deleted else {
        panic!("foreground deletion waits for the dependents");
    };
    assert_eq!(
        object["metadata"]["finalizers"],
        json!(["foregroundDeletion"])
    );
    let wrong = DeleteOptions {
        uid: Some("other".into()),
        ..DeleteOptions::default()
    };
    let refused = writer
        .delete(&deployments(), "default", "web", &wrong)
        .unwrap_err();
    assert_eq!((refused.code, refused.reason), (409, "Conflict"));
}

#[test]
fn namespaces_wait_for_their_content() {
    let writer = writer();
    let namespaces = GroupResource::core("namespaces");
    let deleted = writer
        .delete(&namespaces, "", "default", &DeleteOptions::default())
        .unwrap();
    assert!(
        matches!(deleted, Deleted::Waiting(namespace) if namespace["status"]["phase"] == "Terminating")
    );
    let map = json!({"metadata": {"name": "late", "namespace": "default"}});
    let refused = writer
        .create(&GroupResource::core("configmaps"), map)
        .unwrap_err();
    assert_eq!(refused.code, 403);
    writer
        .modify(&namespaces, "", "default", Scope::Finalize, |o| {
            o["spec"]["finalizers"] = json!([]);
        })
        .unwrap();
    assert!(writer.store().get(&namespaces, "", "default").is_none());
}
