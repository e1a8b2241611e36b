//! Health by CEL expressions, as a Kustomization's `healthCheckExprs` give them.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use fairway_cel::{self as cel, Expression};
use fairway_types::{inventory::split_api_version, kustomization::CustomHealthCheck};
use jiff::Timestamp;
use serde_json::Value;

use super::{Health, Status};

/// Why health expressions cannot be used, in Flux's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// Two entries are for the same kind.
    #[error("duplicate custom health check for GroupKind {kind} at healthchecks[{index}]")]
    Duplicate {
        /// Kind and group.
        kind: String,
        /// The later of the two, from 0.
        index: usize,
    },
    /// The one expression that must be there is not.
    #[error(
        "failed to create custom status evaluator for healthchecks[{0}]: expression Current not specified"
    )]
    NoCurrent(usize),
    /// An expression cannot be read.
    #[error(
        "failed to create custom status evaluator for healthchecks[{index}]: failed to parse the expression {field}: {error}"
    )]
    Expression {
        /// The entry, from 0.
        index: usize,
        /// `Current`, `Failed` or `InProgress`.
        field: &'static str,
        /// What is wrong.
        error: cel::Error,
    },
}

/// Says how healthy objects are: by the expressions for their kind, else by kstatus' rules. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Judge {
    /// By group and kind; an empty kind stands for all of the group.
    rules: Arc<HashMap<(String, String), Rule>>,
}

#[derive(Debug)]
struct Rule {
    in_progress: Option<Expression>,
    failed: Option<Expression>,
    current: Expression,
    fingerprint: u64,
}

impl Judge {
    /// Reads the expressions.
    pub fn new(checks: &[CustomHealthCheck]) -> Result<Self, JudgeError> {
        let mut rules = HashMap::with_capacity(checks.len());
        for (index, check) in checks.iter().enumerate() {
            let (group, _) = split_api_version(&check.api_version);
            let kind = check.kind.clone().unwrap_or_default();
            let key = (group.to_owned(), kind);
            if rules.contains_key(&key) {
                let (group, kind) = key;
                let kind = if group.is_empty() {
                    kind
                } else {
                    format!("{kind}.{group}")
                };
                return Err(JudgeError::Duplicate { kind, index });
            }
            rules.insert(key, Rule::new(check, index)?);
        }
        Ok(Self {
            rules: Arc::new(rules),
        })
    }

    fn rule(&self, group: &str, kind: &str) -> Option<&Rule> {
        if self.rules.is_empty() || (group, kind) == ("batch", "Job") {
            // Flux asks its own rules for Jobs first.
            return None;
        }
        let get = |kind: &str| self.rules.get(&(group.to_owned(), kind.to_owned()));
        get(kind).or_else(|| get(""))
    }

    /// Tells apart the rules by which a kind can be judged; 0 for kstatus' own.
    pub fn fingerprint(&self, group: &str, kind: &str) -> u64 {
        self.rule(group, kind).map_or(0, |rule| rule.fingerprint)
    }

    /// How an object is. `now` decides how long a pod may wait for a node.
    pub fn of(&self, object: &Value, now: Timestamp) -> Health {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let (group, _) = split_api_version(text("apiVersion"));
        match self.rule(group, text("kind")) {
            Some(rule) => rule.of(object),
            None => super::of(object, now),
        }
    }
}

impl Rule {
    fn new(check: &CustomHealthCheck, index: usize) -> Result<Self, JudgeError> {
        if check.current.is_empty() {
            return Err(JudgeError::NoCurrent(index));
        }
        let parse = |field, source: &str| {
            Expression::parse(source).map_err(|error| JudgeError::Expression {
                index,
                field,
                error,
            })
        };
        let optional = |field, source: &Option<String>| {
            source
                .as_deref()
                .map(|source| parse(field, source))
                .transpose()
        };
        let mut hasher = DefaultHasher::new();
        (&check.in_progress, &check.failed, &check.current).hash(&mut hasher);
        Ok(Self {
            current: parse("Current", &check.current)?,
            failed: optional("Failed", &check.failed)?,
            in_progress: optional("InProgress", &check.in_progress)?,
            fingerprint: hasher.finish().max(1),
        })
    }

    fn of(&self, object: &Value) -> Health {
        let number = |pointer| object.pointer(pointer).and_then(Value::as_i64);
        if let (Some(observed), Some(generation)) = (
            number("/status/observedGeneration"),
            number("/metadata/generation"),
        ) && observed != generation
        {
            return Health::in_progress("");
        }
        let rules = [
            (self.in_progress.as_ref(), Status::InProgress),
            (self.failed.as_ref(), Status::Failed),
            (Some(&self.current), Status::Current),
        ];
        for (expression, status) in rules {
            match expression.map(|expression| expression.is_true_of(object)) {
                Some(Ok(true)) => return Health::new(status, ""),
                Some(Err(error)) => return Health::new(Status::Unknown, error.to_string()),
                Some(Ok(false)) | None => {}
            }
        }
        Health::in_progress("")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(
        kind: Option<&str>,
        in_progress: &str,
        failed: &str,
        current: &str,
    ) -> CustomHealthCheck {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        CustomHealthCheck {
            api_version: "example.com/v1".into(),
            kind: kind.map(str::to_owned),
            in_progress: some(in_progress),
            failed: some(failed),
            current: current.into(),
        }
    }

    fn status(check: CustomHealthCheck, rest: Value) -> Status {
        let mut object = json!({"apiVersion": "example.com/v2", "kind": "Widget"});
        object
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        let judge = Judge::new(&[check]).unwrap();
        judge.of(&object, Timestamp::UNIX_EPOCH).status
    }

    #[test]
    fn the_order_is_in_progress_failed_current() {
        let all = |data: Value| {
            status(
                check(None, "data.p", "data.f", "data.c"),
                json!({"data": data}),
            )
        };
        assert_eq!(
            all(json!({"p": true, "f": true, "c": true})),
            Status::InProgress
        );
        assert_eq!(
            all(json!({"p": false, "f": true, "c": true})),
            Status::Failed
        );
        assert_eq!(
            all(json!({"p": false, "f": false, "c": true})),
            Status::Current
        );
        assert_eq!(
            all(json!({"p": false, "f": false, "c": false})),
            Status::InProgress
        );
        assert_eq!(all(json!({"p": false, "f": false})), Status::Unknown);
        // What decides first keeps the others from being asked.
        assert_eq!(all(json!({"p": true})), Status::InProgress);
    }

    #[test]
    fn a_generation_that_is_not_observed_is_in_progress() {
        let at = |observed: Value| {
            status(
                check(None, "", "", "true"),
                json!({"metadata": {"generation": 2}, "status": {"observedGeneration": observed}}),
            )
        };
        assert_eq!(at(json!(1)), Status::InProgress);
        assert_eq!(at(json!(2)), Status::Current);
        assert_eq!(
            at(json!("1")),
            Status::Current,
            "some kinds have a text there"
        );
    }

    #[test]
    fn a_kind_goes_before_its_group_and_versions_do_not_count() {
        let judge = Judge::new(&[
            check(None, "", "true", "false"),
            check(Some("Widget"), "", "", "true"),
        ])
        .unwrap();
        let of = |api_version: &str, kind: &str| {
            let object = json!({"apiVersion": api_version, "kind": kind});
            judge.of(&object, Timestamp::UNIX_EPOCH).status
        };
        assert_eq!(of("example.com/v1beta1", "Widget"), Status::Current);
        assert_eq!(of("example.com/v1", "Gadget"), Status::Failed);
        assert_eq!(
            of("other.com/v1", "Gadget"),
            Status::Current,
            "kstatus: nothing is wrong with it"
        );
        assert_eq!(of("batch/v1", "Job"), Status::InProgress);
        assert_ne!(
            judge.fingerprint("example.com", "Widget"),
            judge.fingerprint("example.com", "Gadget")
        );
        assert_eq!(judge.fingerprint("other.com", "Gadget"), 0);
    }

    /// Expressions of the forms that Flux's documentation has for well-known kinds, and an object in each state.
    #[test]
    fn the_usual_expressions_work() {
        let all = |type_: &str, status: &str| {
            format!(
                "status.conditions.filter(e, e.type == '{type_}').all(e, e.status == '{status}')"
            )
        };
        let conditions = |list: &[(&str, &str)]| {
            let list: Vec<_> = list
                .iter()
                .map(|(type_, status)| json!({"type": type_, "status": status}))
                .collect();
            json!({"status": {"conditions": list}})
        };
        // SealedSecret, ClusterIssuer, ScaledObject, ExternalSecret, Cluster API: one condition says it all.
        for type_ in ["Synced", "Ready", "Available"] {
            let of = |object| {
                status(
                    check(None, "", &all(type_, "False"), &all(type_, "True")),
                    object,
                )
            };
            assert_eq!(
                of(conditions(&[(type_, "True"), ("Other", "False")])),
                Status::Current
            );
            assert_eq!(of(conditions(&[(type_, "False")])), Status::Failed);
            assert_eq!(of(conditions(&[(type_, "Unknown")])), Status::InProgress);
            assert_eq!(
                of(json!({})),
                Status::Unknown,
                "waited for, with the reason"
            );
        }
        // Crossplane: synced and ready.
        let crossplane = |object| {
            status(
                check(
                    None,
                    "",
                    "status.conditions.exists(e, e.type == 'Synced' && e.status == 'False')",
                    "status.conditions.exists(e, e.type == 'Synced' && e.status == 'True') && \
                     status.conditions.exists(e, e.type == 'Ready' && e.status == 'True')",
                ),
                object,
            )
        };
        assert_eq!(
            crossplane(conditions(&[("Synced", "True"), ("Ready", "True")])),
            Status::Current
        );
        assert_eq!(
            crossplane(conditions(&[("Synced", "True"), ("Ready", "False")])),
            Status::InProgress
        );
        assert_eq!(
            crossplane(conditions(&[("Synced", "False")])),
            Status::Failed
        );
        // CephCluster: a field beside the conditions; has() for what comes late.
        let ceph = |object| {
            status(
                check(
                    None,
                    "",
                    "has(status.ceph) && status.ceph.health == 'HEALTH_ERR'",
                    "status.?ceph.health.orValue('') == 'HEALTH_OK'",
                ),
                object,
            )
        };
        assert_eq!(
            ceph(json!({"status": {"ceph": {"health": "HEALTH_OK"}}})),
            Status::Current
        );
        assert_eq!(
            ceph(json!({"status": {"ceph": {"health": "HEALTH_ERR"}}})),
            Status::Failed
        );
        assert_eq!(ceph(json!({"status": {}})), Status::InProgress);
        // Counts that are compared with the spec's.
        let replicas = |object| {
            status(
                check(None, "", "", "spec.replicas == status.readyReplicas"),
                object,
            )
        };
        assert_eq!(
            replicas(json!({"spec": {"replicas": 2}, "status": {"readyReplicas": 2}})),
            Status::Current
        );
        assert_eq!(
            replicas(json!({"spec": {"replicas": 2}, "status": {"readyReplicas": 1}})),
            Status::InProgress
        );
    }

    #[test]
    fn errors_are_those_of_flux() {
        let message = |checks: &[CustomHealthCheck]| Judge::new(checks).unwrap_err().to_string();
        assert_eq!(
            message(&[
                check(Some("Widget"), "", "", "true"),
                check(Some("Widget"), "", "", "true")
            ]),
            "duplicate custom health check for GroupKind Widget.example.com at healthchecks[1]"
        );
        assert_eq!(
            message(&[check(None, "", "", "")]),
            "failed to create custom status evaluator for healthchecks[0]: expression Current not specified"
        );
        let error = message(&[check(None, "", "a.", "true")]);
        assert!(
            error.starts_with(
                "failed to create custom status evaluator for healthchecks[0]: failed to parse the expression Failed: \
                 failed to parse the CEL expression 'a.': ERROR: <input>:1:"
            ),
            "{error}"
        );
    }
}
