//! What must hold for any object.

#![expect(clippy::unwrap_used, reason = "in tests, helpers may too")]

use std::time::Instant;

use fairway_schema::fields::FieldSet;
use fairway_schema::merge::{self, Request};
use fairway_schema::structural::{self, Schema, Unknown};
use fairway_schema::typed::{self, Duplicates};
use fairway_schema::{builtin, kinds, strategic};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Field names that mean something in some schema, so that objects hit it now and then.
const NAMES: [&str; 22] = [
    "metadata",
    "spec",
    "status",
    "template",
    "containers",
    "name",
    "image",
    "ports",
    "containerPort",
    "protocol",
    "labels",
    "annotations",
    "finalizers",
    "replicas",
    "selector",
    "matchLabels",
    "env",
    "value",
    "volumes",
    "strategy",
    "$patch",
    "$setElementOrder/containers",
];

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0i64..3).prop_map(Value::from),
        (0i64..3).prop_map(|number| json!(number as f64 / 2.0)),
        "[ab]{0,2}".prop_map(Value::from),
        Just(json!("replace")),
        Just(json!("delete")),
    ];
    leaf.prop_recursive(6, 60, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(&NAMES[..]), inner), 0..5).prop_map(
                |entries| {
                    Value::Object(
                        entries
                            .into_iter()
                            .map(|(key, value)| (key.to_owned(), value))
                            .collect(),
                    )
                }
            ),
        ]
    })
}

/// An object that fits the schema of Deployments more often than not.
fn deployment() -> impl Strategy<Value = Value> {
    let words = || prop::collection::btree_map("[abc]", "[xyz]", 0..3);
    let env = prop::collection::btree_map("[ABC]", "[xy]", 0..3);
    let container = (env, prop::option::of(1u16..4), "[uv]");
    let containers = prop::collection::btree_map("[abc]", container, 0..3);
    let finalizers = prop::collection::btree_set("[abc]", 0..3);
    (
        words(),
        containers,
        finalizers,
        prop::option::of(0i64..3),
        any::<bool>(),
    )
        .prop_map(|(labels, containers, finalizers, replicas, reverse)| {
            let mut list: Vec<Value> = containers
                .into_iter()
                .map(|(name, (env, port, image))| {
                    let env: Vec<Value> = env
                        .into_iter()
                        .map(|(name, value)| json!({"name": name, "value": value}))
                        .collect();
                    let mut container = json!({"name": name, "image": image, "env": env});
                    if let Some(port) = port {
                        container["ports"] = json!([{"containerPort": port}]);
                    }
                    container
                })
                .collect();
            if reverse {
                list.reverse();
            }
            let mut object = json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "w", "labels": labels, "finalizers": finalizers},
                "spec": {"template": {"spec": {"containers": list}}},
            });
            if let Some(replicas) = replicas {
                object["spec"]["replicas"] = replicas.into();
            }
            without_empties(object)
        })
}

/// Whether a container is empty or absent is not kept by Kubernetes either.
fn without_empties(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, without_empties(value)))
            .filter(|(_, value)| *value != json!({}) && *value != json!([]))
            .collect(),
        Value::Array(list) => list.into_iter().map(without_empties).collect(),
        other => other,
    }
}

fn request<'s>(schema: &'s Schema, manager: &'static str) -> Request<'s> {
    let now = "2024-05-06T07:08:09Z".parse().unwrap();
    Request {
        schema,
        manager,
        api_version: "apps/v1",
        subresource: "",
        reset: None,
        now,
    }
}

fn schema() -> &'static Schema {
    builtin::schema("apps", "v1", "Deployment").unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn applying_twice_changes_nothing(first in deployment(), second in deployment()) {
        for schema in [schema(), Schema::unknown()] {
            let stored = merge::apply(&request(schema, "a"), None, &first, false).unwrap();
            let once = merge::apply(&request(schema, "b"), Some(&stored), &second, true).unwrap();
            let twice = merge::apply(&request(schema, "b"), Some(&once), &second, false).unwrap();
            prop_assert_eq!(&once, &twice);
            // What was applied is there.
            let applied = typed::field_set(schema, &second);
            let there = typed::field_set(schema, &twice);
            prop_assert!(applied.difference(&there).is_empty(), "{:?}", applied.difference(&there));
        }
    }

    #[test]
    fn applying_and_taking_it_back_leaves_the_others(first in deployment(), second in deployment()) {
        let empty = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"}});
        let stored = merge::apply(&request(schema(), "a"), None, &first, false).unwrap();
        let both = merge::apply(&request(schema(), "b"), Some(&stored), &second, false);
        // Without conflicts nothing of the first is lost, so nothing may be lost when the second goes.
        if let Ok(both) = both {
            let alone = merge::apply(&request(schema(), "b"), Some(&both), &empty, false).unwrap();
            let (before, after) = (typed::field_set(schema(), &stored), typed::field_set(schema(), &alone));
            prop_assert_eq!(before.leaves(), after.leaves());
        }
    }

    #[test]
    fn updates_are_owned(first in deployment(), second in deployment()) {
        let stored = merge::update(&request(schema(), "a"), None, first);
        let updated = merge::update(&request(schema(), "b"), Some(&stored), second.clone());
        let again = merge::update(&request(schema(), "c"), Some(&updated), second);
        prop_assert_eq!(updated, again);
    }

    #[test]
    fn sets_keep_their_text(value in any_value()) {
        for schema in [schema(), Schema::unknown()] {
            let set = typed::field_set(schema, &value);
            prop_assert_eq!(&FieldSet::from_json(&set.to_json()).unwrap(), &set);
            prop_assert!(set.difference(&set).is_empty());
            prop_assert_eq!(&set.union(&set), &set);
            prop_assert_eq!(set.paths().len(), set.len());
        }
    }

    #[test]
    fn any_json_is_survived(left in any_value(), right in any_value()) {
        let kind = |mut value: Value| {
            if let Value::Object(map) = &mut value {
                map.insert("apiVersion".into(), "apps/v1".into());
                map.insert("kind".into(), "Deployment".into());
            }
            value
        };
        let (left, right) = (kind(left), kind(right));
        for schema in [schema(), Schema::unknown()] {
            let _ = typed::validate(schema, &left, Duplicates::Refuse);
            let _ = typed::compare(schema, &left, &right);
            let merged = typed::merge(schema, &left, &right);
            let _ = typed::remove(schema, &merged, &typed::field_set(schema, &left));
            let _ = typed::extract(schema, &merged, &typed::field_set(schema, &left));
            let _ = strategic::apply(schema, &left, &right);
            let _ = merge::apply(&request(schema, "a"), Some(&left), &right, true);
            let updated = merge::update(&request(schema, "a"), Some(&left), right.clone());
            let mut kept = updated.clone();
            merge::keep_times(&left, &mut kept);
            let _ = structural::validate(schema, &left, Some(&right));
            let _ = structural::validate_lists(schema, &left);
            let _ = structural::decode_error(schema, &left);
            let mut changed = left.clone();
            structural::prune(schema, &mut changed, Unknown::Remove);
            prop_assert!(structural::prune(schema, &mut changed.clone(), Unknown::Report).is_empty());
            structural::drop_nulls(schema, &mut changed);
            structural::default(schema, &mut changed);
        }
        if let Ok(schema) = Schema::from_openapi_v3(&left) {
            structural::validate(&schema, &right, None);
        }
        structural::check_crd_schema("schema", &left);
        let _ = FieldSet::from_json(&left);
    }
}

#[test]
fn first_use_of_a_type_takes_no_time_to_speak_of() {
    let start = Instant::now();
    let pods = builtin::schema("", "v1", "Pod").unwrap();
    let object = json!({"spec": {"containers": [{"name": "a", "env": [{"name": "x"}]}], "volumes": [{"name": "v"}]}});
    assert!(!typed::field_set(pods, &object).is_empty());
    assert_eq!(kinds::by_kind("", "v1", "Pod").unwrap().plural, "pods");
    assert!(start.elapsed().as_millis() < 500, "{:?}", start.elapsed());
}

#[test]
fn deep_nesting_is_an_error_in_schemas() {
    let mut schema = json!({"type": "string"});
    for _ in 0..300 {
        schema = json!({"type": "array", "items": schema});
    }
    assert!(Schema::from_openapi_v3(&schema).is_err());
}
