//! Whether an object has reached the state that its spec asks for, by kstatus' rules. Pure.
//!
//! What holds for all kinds comes first (deletion, observed generation, `Reconciling`, `Stalled`), then what is known of
//! the built-in kinds, of Flagger's Canary and Argo's Rollout, then a `Ready` condition; an object with none of these is current as soon as it exists. Kinds for
//! which a Kustomization gives expressions are judged by those instead: see [`Judge`].

mod custom;
mod malformed;
mod progressive;
mod workloads;

use jiff::Timestamp;
use serde_json::Value;

pub use custom::{Judge, JudgeError};

/// How an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// It has not reached the desired state yet.
    InProgress,
    /// It has reached the desired state.
    Current,
    /// It will not reach the desired state without a change.
    Failed,
    /// It is being deleted.
    Terminating,
    /// It is not there.
    NotFound,
    /// It cannot be told.
    Unknown,
}

impl Status {
    /// The name that kstatus uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Current => "Current",
            Self::Failed => "Failed",
            Self::Terminating => "Terminating",
            Self::NotFound => "NotFound",
            Self::Unknown => "Unknown",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an object is, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Health {
    /// How it is.
    pub status: Status,
    /// Why.
    pub message: String,
}

impl Health {
    fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// Healthy, for this reason.
    pub fn current(message: impl Into<String>) -> Self {
        Self::new(Status::Current, message)
    }

    /// Not there yet, for this reason.
    pub fn in_progress(message: impl Into<String>) -> Self {
        Self::new(Status::InProgress, message)
    }

    /// Failed, for this reason.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Status::Failed, message)
    }

    /// The object does not exist.
    pub fn not_found() -> Self {
        Self::new(Status::NotFound, "Resource not found")
    }

    /// Whether the object has reached its desired state.
    pub fn is_current(&self) -> bool {
        self.status == Status::Current
    }
}

/// The object's fields as the rules below read them.
#[derive(Clone, Copy)]
struct View<'a>(&'a Value);

impl<'a> View<'a> {
    fn text(self, pointer: &str) -> &'a str {
        self.0
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn int(self, pointer: &str) -> Option<i64> {
        self.0.pointer(pointer).and_then(Value::as_i64)
    }

    fn int_or(self, pointer: &str, default: i64) -> i64 {
        self.int(pointer).unwrap_or(default)
    }

    fn conditions(self) -> impl Iterator<Item = Condition<'a>> {
        self.0
            .pointer("/status/conditions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|condition| {
                let text = |key: &str| {
                    condition
                        .get(key)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                };
                Condition {
                    type_: text("type"),
                    status: text("status"),
                    reason: text("reason"),
                    message: text("message"),
                }
            })
    }

    /// Whether there is a condition of this type and status.
    fn is(self, type_: &str, status: &str) -> bool {
        self.conditions()
            .any(|condition| condition.type_ == type_ && condition.status == status)
    }
}

struct Condition<'a> {
    type_: &'a str,
    status: &'a str,
    reason: &'a str,
    message: &'a str,
}

impl Condition<'_> {
    fn is_true(&self) -> bool {
        self.status == "True"
    }

    fn is_false(&self) -> bool {
        self.status == "False"
    }
}

/// How an object is. `now` decides how long a pod may wait for a node.
pub fn of(object: &Value, now: Timestamp) -> Health {
    let view = View(object);
    let (group, _) = fairway_types::inventory::split_api_version(view.text("/apiVersion"));
    let kind = view.text("/kind");
    if let Some(reason) = malformed::reason(object, (group, kind) == ("argoproj.io", "Rollout")) {
        return Health::new(Status::Unknown, reason);
    }
    if (group, kind) == ("batch", "Job") {
        // Flux has a rule of its own for Jobs, and asks it alone: one is current when it is done, not when it runs.
        return workloads::job(view);
    }
    if let Some(health) = generic(view) {
        return health;
    }
    match (group, kind) {
        ("", "Service") => service(view),
        ("", "Pod") => workloads::pod(view, now),
        ("", "Secret" | "ConfigMap") | ("batch", "CronJob") => {
            Health::current("Resource is always ready")
        }
        ("", "PersistentVolumeClaim") => claim(view),
        ("apps", "StatefulSet") => workloads::stateful_set(view),
        ("apps" | "extensions", "DaemonSet") => workloads::daemon_set(view),
        ("apps" | "extensions", "Deployment") => workloads::deployment(view),
        ("apps" | "extensions", "ReplicaSet") => workloads::replica_set(view),
        ("policy", "PodDisruptionBudget") => {
            Health::current("AllowedDisruptions has been computed.")
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(view),
        ("flagger.app", "Canary") => progressive::canary(view),
        ("argoproj.io", "Rollout") => progressive::rollout(view),
        _ => ready(view).unwrap_or_else(|| Health::current("Resource is current")),
    }
}

fn generic(view: View<'_>) -> Option<Health> {
    if !view.text("/metadata/deletionTimestamp").is_empty() {
        return Some(Health::new(
            Status::Terminating,
            "Resource scheduled for deletion",
        ));
    }
    if let (Some(generation), Some(observed)) = (
        view.int("/metadata/generation"),
        view.int("/status/observedGeneration"),
    ) && generation != observed
    {
        let kind = view.text("/kind");
        return Some(Health::in_progress(format!(
            "{kind} generation is {generation}, but latest observed generation is {observed}"
        )));
    }
    view.conditions()
        .find_map(|condition| match condition.type_ {
            "Reconciling" if condition.is_true() => Some(Health::in_progress(condition.message)),
            "Stalled" if condition.is_true() => Some(Health::failed(condition.message)),
            _ => None,
        })
}

fn ready(view: View<'_>) -> Option<Health> {
    let mut conditions = view
        .conditions()
        .filter(|condition| condition.type_ == "Ready");
    conditions.find_map(|condition| match condition.status {
        "True" => Some(Health::current("Resource is Ready")),
        "False" | "Unknown" => Some(Health::in_progress(condition.message)),
        _ => None,
    })
}

fn service(view: View<'_>) -> Health {
    if view.text("/spec/type") == "LoadBalancer" && view.text("/spec/clusterIP").is_empty() {
        return Health::in_progress("ClusterIP not set. Service type: LoadBalancer");
    }
    Health::current("Service is ready")
}

fn claim(view: View<'_>) -> Health {
    let phase = view.0.pointer("/status/phase").and_then(Value::as_str);
    match phase.unwrap_or("unknown") {
        "Bound" => Health::current("PVC is Bound"),
        phase => Health::in_progress(format!("PVC is not Bound. phase: {phase}")),
    }
}

fn definition(view: View<'_>) -> Health {
    for condition in view.conditions() {
        match condition.type_ {
            "NamesAccepted" if condition.is_false() => return Health::failed(condition.message),
            "Established" if condition.is_false() && condition.reason != "Installing" => {
                return Health::failed(condition.message);
            }
            "Established" if condition.is_true() => return Health::current("CRD is established"),
            _ => {}
        }
    }
    Health::in_progress("Install in progress")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(object: Value) -> (Status, String) {
        let health = of(&object, Timestamp::UNIX_EPOCH);
        (health.status, health.message)
    }

    fn object(api_version: &str, kind: &str, rest: Value) -> Value {
        let mut object =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}});
        for (key, value) in rest.as_object().unwrap() {
            match object.get_mut(key) {
                Some(Value::Object(known)) => known.extend(value.as_object().unwrap().clone()),
                _ => object[key] = value.clone(),
            }
        }
        object
    }

    #[test]
    fn what_holds_for_all_kinds_comes_first() {
        let widget = |rest| check(object("example.com/v1", "Widget", rest)).0;
        assert_eq!(widget(json!({})), Status::Current);
        assert_eq!(
            widget(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
            Status::Terminating
        );
        assert_eq!(
            widget(json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1}})),
            Status::InProgress
        );
        assert_eq!(
            widget(json!({"metadata": {"generation": 2}, "status": {}})),
            Status::Current
        );
        let condition = |type_: &str, status: &str| json!({"status": {"conditions": [{"type": type_, "status": status}]}});
        assert_eq!(widget(condition("Reconciling", "True")), Status::InProgress);
        assert_eq!(widget(condition("Stalled", "True")), Status::Failed);
        assert_eq!(widget(condition("Ready", "True")), Status::Current);
        assert_eq!(widget(condition("Ready", "False")), Status::InProgress);
        assert_eq!(widget(condition("Ready", "Unknown")), Status::InProgress);
        assert_eq!(widget(condition("Whatever", "False")), Status::Current);
    }

    #[test]
    fn definitions_are_current_when_established() {
        let crd = |conditions| {
            check(object(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                json!({"status": {"conditions": conditions}}),
            ))
        };
        assert_eq!(crd(json!([])).0, Status::InProgress);
        assert_eq!(
            crd(json!([{"type": "Established", "status": "False", "reason": "Installing"}])).0,
            Status::InProgress
        );
        assert_eq!(
            crd(json!([{"type": "Established", "status": "True"}])).0,
            Status::Current
        );
        let conflict = json!([{"type": "NamesAccepted", "status": "False", "message": "taken"}, {"type": "Established", "status": "True"}]);
        assert_eq!(crd(conflict), (Status::Failed, "taken".into()));
    }

    #[test]
    fn services_and_claims() {
        let service = |spec| check(object("v1", "Service", json!({"spec": spec}))).0;
        assert_eq!(service(json!({})), Status::Current);
        assert_eq!(service(json!({"type": "LoadBalancer"})), Status::InProgress);
        assert_eq!(
            service(json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"})),
            Status::Current
        );
        let claim = |phase: &str| {
            check(object(
                "v1",
                "PersistentVolumeClaim",
                json!({"status": {"phase": phase}}),
            ))
            .0
        };
        assert_eq!(claim("Pending"), Status::InProgress);
        assert_eq!(claim("Bound"), Status::Current);
    }
}
