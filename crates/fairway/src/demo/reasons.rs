//! Why the fleet is not Ready, gathered for people: what says the same is one line, however many clusters say it.

use std::collections::BTreeMap;

use super::goal::Goal;
use super::view::{Held, Snapshot};
use crate::output::{cut, readiness};

/// How much of a message a line shows.
const MESSAGE: usize = 240;

/// One line for each reason: what, where and why.
pub(crate) fn lines(snapshot: &Snapshot, goal: Option<&Goal>) -> Vec<String> {
    let mut groups: Vec<(Key, Vec<String>)> = Vec::new();
    let mut places: BTreeMap<Key, usize> = BTreeMap::new();
    let mut add = |kind: &'static str, held: &Held, reason: &str, message: &str| {
        let name = held.name();
        let cluster = snapshot.target_of(held);
        let message = message.lines().next().unwrap_or_default();
        // Messages that differ only in the cluster that they name are the same to people.
        let same = match cluster.as_deref() {
            Some(cluster) => message.replace(cluster, "*"),
            None if kind == "Cluster" => message.replace(name, "*"),
            None => message.to_owned(),
        };
        let key = (kind, reason.to_owned(), same);
        let shown = if held.home == super::MANAGEMENT {
            name.to_owned()
        } else {
            format!("{}/{name} of {}", held.namespace(), held.home)
        };
        let place = *places.entry(key.clone()).or_insert_with(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(shown);
    };
    for (kind, held) in snapshot.all() {
        let state = readiness(&held.object);
        if state.reason == super::unrun::NOT_RUN || held.is_suspended() {
            continue;
        }
        if state.is_ready() {
            let is_done = |goal: &Goal| goal.is_done(snapshot, &snapshot.unit(held));
            if kind == "Kustomization" && !goal.is_none_or(is_done) {
                add(kind, held, "Behind", "not at the newest revision yet");
            }
        } else {
            let reason = if state.reason.is_empty() {
                "Unknown"
            } else {
                &state.reason
            };
            add(kind, held, reason, &state.message);
        }
    }
    let mut lines: Vec<String> = groups
        .into_iter()
        .map(|((kind, reason, message), names)| {
            format!(
                "{kind} {}: {reason}: {}",
                together(&names),
                cut(&message, MESSAGE)
            )
        })
        .collect();
    if snapshot.kustomizations.is_empty() {
        lines.push("there is no Kustomization yet".into());
    }
    lines
}

type Key = (&'static str, String, String);

/// `apps-dev-* (3)` for names that begin alike, else some of them.
fn together(names: &[String]) -> String {
    let [first, rest @ ..] = names else {
        return String::new();
    };
    if rest.is_empty() {
        return first.clone();
    }
    let mut common = first.as_str();
    for name in rest {
        while !name.starts_with(common) {
            common = &common[..common.len() - common.chars().next_back().map_or(0, char::len_utf8)];
        }
    }
    // Up to a whole word.
    let common = common.rfind('-').map_or("", |end| &common[..=end]);
    if common.is_empty() {
        super::unrun::some(names, 4)
    } else {
        format!("{common}* ({})", names.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn failed(name: &str, message: &str) -> Held {
        Held::new(
            crate::demo::MANAGEMENT,
            json!({
                "metadata": {"name": name, "namespace": "flux-system"},
                "spec": {"kubeConfig": {"secretRef": {"name": format!("{}-kubeconfig", name.trim_start_matches("apps-"))}}},
                "status": {"conditions": [
                    {"type": "Ready", "status": "False", "reason": "HealthCheckFailed", "message": message},
                ]},
            }),
        )
    }

    fn cluster(name: &str) -> Held {
        let object: Value = json!({
            "metadata": {"name": name},
            "spec": {"kubeConfig": {"secretRef": {"name": format!("{name}-kubeconfig")}}},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "R", "message": "m"}]},
        });
        Held::new(crate::demo::MANAGEMENT, object)
    }

    #[test]
    fn equal_reasons_of_many_clusters_are_one_line() {
        let snapshot = Snapshot {
            clusters: vec![cluster("dev-a"), cluster("dev-b")],
            kustomizations: vec![
                failed("apps-dev-a", "Deployment x of dev-a is not ready\nmore"),
                failed("apps-dev-b", "Deployment x of dev-b is not ready"),
            ],
            ..Snapshot::default()
        };
        assert_eq!(
            lines(&snapshot, None),
            ["Kustomization apps-dev-* (2): HealthCheckFailed: Deployment x of * is not ready"]
        );
    }

    #[test]
    fn a_reason_of_one_keeps_its_name() {
        let snapshot = Snapshot {
            kustomizations: vec![failed("apps-dev-a", "no such file")],
            ..Snapshot::default()
        };
        assert_eq!(
            lines(&snapshot, None),
            ["Kustomization apps-dev-a: HealthCheckFailed: no such file"]
        );
    }

    #[test]
    fn names_that_begin_alike_are_put_together() {
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            together(&names(&["apps-dev-a", "apps-dev-b"])),
            "apps-dev-* (2)"
        );
        assert_eq!(together(&names(&["apps", "platform"])), "apps, platform");
        assert_eq!(together(&names(&["x"])), "x");
    }
}
