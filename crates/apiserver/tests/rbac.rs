//! RBAC over a real store: decisions follow what is written, at once.

use std::sync::Arc;

use fairway_apiserver::auth::{Attributes, Authorizer, TokenIssuer, TokenRequest, User};
use fairway_apiserver::authz::{self, RBAC_GROUP, Rbac};
use fairway_apiserver::resources::{Registry, builtin};
use fairway_apiserver::store::{GroupResource, Store};
use fairway_apiserver::writer::{DeleteOptions, Scope, Writer};
use jiff::Timestamp;
use serde_json::{Value, json};

fn cluster() -> (Writer, Rbac) {
    let registry = Arc::new(Registry::new(builtin().iter().cloned()));
    let writer = Writer::new(Store::in_memory(), registry);
    writer
        .create(
            &GroupResource::core("namespaces"),
            json!({"metadata": {"name": "apps"}}),
        )
        .expect("a namespace");
    authz::bootstrap(&writer);
    let rbac = Rbac::new(writer.clone());
    (writer, rbac)
}

fn rbac_resource(name: &str) -> GroupResource {
    GroupResource::new(RBAC_GROUP, name)
}

fn account(name: &str) -> User {
    User {
        name: authz::service_account_user("apps", name),
        groups: authz::service_account_groups("apps"),
        ..User::default()
    }
}

fn asks(verb: &str, group: &str, resource: &str, namespace: &str) -> Attributes {
    Attributes {
        verb: verb.into(),
        group: group.into(),
        resource: resource.into(),
        namespace: namespace.into(),
        ..Attributes::default()
    }
}

fn bind(role: &str, account: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": role, "namespace": "apps"},
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "apps"}],
    })
}

#[test]
fn a_binding_counts_from_the_moment_it_is_written() {
    let (writer, rbac) = cluster();
    let bot = account("bot");
    let create = asks("create", "apps", "deployments", "apps");
    assert!(!rbac.authorize(&bot, &create).allowed());
    writer
        .create(&rbac_resource("rolebindings"), bind("edit", "bot"))
        .unwrap();
    assert!(rbac.authorize(&bot, &create).allowed());
    assert!(
        !rbac
            .authorize(&bot, &asks("create", "apps", "deployments", "default"))
            .allowed()
    );
    assert!(
        !rbac
            .authorize(&bot, &asks("create", RBAC_GROUP, "roles", "apps"))
            .allowed()
    );
    writer
        .delete(
            &rbac_resource("rolebindings"),
            "apps",
            "edit",
            &DeleteOptions::default(),
        )
        .unwrap();
    assert!(!rbac.authorize(&bot, &create).allowed());
}

#[test]
fn a_changed_role_changes_what_is_allowed() {
    let (writer, rbac) = cluster();
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "custom"},
        "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}],
    });
    writer.create(&rbac_resource("clusterroles"), role).unwrap();
    writer
        .create(&rbac_resource("rolebindings"), bind("custom", "bot"))
        .unwrap();
    let bot = account("bot");
    assert!(
        rbac.authorize(&bot, &asks("get", "", "pods", "apps"))
            .allowed()
    );
    let change = |role: &mut Value| role["rules"][0]["resources"] = json!(["secrets"]);
    writer
        .modify(
            &rbac_resource("clusterroles"),
            "",
            "custom",
            Scope::Object,
            change,
        )
        .unwrap();
    assert!(
        !rbac
            .authorize(&bot, &asks("get", "", "pods", "apps"))
            .allowed()
    );
    assert!(
        rbac.authorize(&bot, &asks("get", "", "secrets", "apps"))
            .allowed()
    );
}

#[test]
fn nobody_grants_more_than_they_hold() {
    let (writer, rbac) = cluster();
    writer
        .create(&rbac_resource("rolebindings"), bind("admin", "bot"))
        .unwrap();
    let bot = account("bot");
    let check = |resource: &str, new: &Value| {
        authz::escalation(&rbac, &writer, &bot, &rbac_resource(resource), None, new)
    };
    let role = |resource: &str| {
        json!({
            "kind": "Role", "metadata": {"name": "r", "namespace": "apps"},
            "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}],
        })
    };
    assert_eq!(check("roles", &role("secrets")), Ok(()));
    let refused = check("roles", &role("nodes")).unwrap_err();
    assert_eq!(refused.code, 403);
    assert!(
        refused
            .message
            .ends_with("{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\"]}"),
        "{refused}"
    );
    assert_eq!(check("rolebindings", &bind("view", "other")), Ok(()));
    assert_eq!(
        check("rolebindings", &bind("cluster-admin", "other"))
            .unwrap_err()
            .code,
        403
    );
}

#[test]
fn reviews_answer_what_the_authorizer_would() {
    let (writer, rbac) = cluster();
    writer
        .create(&rbac_resource("rolebindings"), bind("view", "bot"))
        .unwrap();
    let tokens = TokenIssuer::new(b"key");
    let review = |user: &User, resource: &str, object: Value| {
        let group = if resource == "tokenreviews" {
            "authentication.k8s.io"
        } else {
            "authorization.k8s.io"
        };
        authz::review(
            &rbac,
            &writer,
            &tokens,
            user,
            &GroupResource::new(group, resource),
            object,
        )
        .unwrap()
    };
    let question = json!({"verb": "list", "resource": "pods", "namespace": "apps"});
    let own = review(
        &account("bot"),
        "selfsubjectaccessreviews",
        json!({"spec": {"resourceAttributes": question}}),
    );
    assert_eq!(own["status"]["allowed"], true);
    let other = json!({"spec": {"resourceAttributes": question, "user": "eve"}});
    assert_eq!(
        review(&User::admin(), "subjectaccessreviews", other)["status"]["allowed"],
        false
    );

    let created = writer
        .create(
            &GroupResource::core("serviceaccounts"),
            json!({"metadata": {"name": "bot", "namespace": "apps"}}),
        )
        .unwrap();
    let request = TokenRequest {
        namespace: "apps".into(),
        name: "bot".into(),
        uid: created["metadata"]["uid"].as_str().unwrap().into(),
        ..TokenRequest::default()
    };
    let token = tokens.issue(&request, Timestamp::now());
    let asked = json!({"spec": {"token": token}});
    let known = review(&User::admin(), "tokenreviews", asked.clone());
    assert_eq!(
        known["status"]["user"]["username"],
        "system:serviceaccount:apps:bot"
    );
    let accounts = GroupResource::core("serviceaccounts");
    writer
        .delete(&accounts, "apps", "bot", &DeleteOptions::default())
        .unwrap();
    assert_eq!(
        review(&User::admin(), "tokenreviews", asked)["status"]["error"],
        "invalid bearer token"
    );
}

#[test]
fn bootstrapping_twice_changes_nothing() {
    let (writer, rbac) = cluster();
    let before = writer.store().revision();
    authz::bootstrap(&writer);
    assert_eq!(writer.store().revision(), before);
    let admin = rbac.index().role("", "admin").map(<[authz::Rule]>::len);
    assert!(admin.is_some_and(|rules| rules > 10), "{admin:?}");
}
