//! StatefulSets and ReplicaSets that will not get there since their pods crash: their own status does not say so.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use fairway_types::ObjectId;
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    api::Session,
    error::RequestError,
    health::{self, Health, Status},
    mapper::Mapper,
};

/// How often the pods of an object that is in progress are looked at.
const EVERY: Duration = Duration::from_secs(3);
/// A rollout that takes no longer needs no look at its pods.
const GRACE: Duration = Duration::from_secs(1);

/// What was seen of the pods of objects in progress.
#[derive(Default)]
pub(super) struct Crashes {
    due: HashMap<ObjectId, Instant>,
    failed: HashMap<ObjectId, usize>,
}

fn has_pods(id: &ObjectId) -> bool {
    id.group == "apps" && matches!(id.kind.as_str(), "StatefulSet" | "ReplicaSet")
}

impl Crashes {
    /// When pods are to be looked at next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }

    /// Looks at the pods of what is in progress, where it is time, and notes failures in the results.
    pub(super) async fn look(
        &mut self,
        session: &Session,
        mapper: &Mapper,
        versions: &[(ObjectId, &str)],
        by_kstatus: impl Fn(&ObjectId) -> bool,
        results: &mut BTreeMap<ObjectId, Health>,
    ) {
        let now = Instant::now();
        for (id, version) in versions
            .iter()
            .filter(|(id, _)| has_pods(id) && by_kstatus(id))
        {
            let open = |health: &Health| health.status == Status::InProgress;
            if !results.get(id).is_some_and(open) {
                self.due.remove(id);
                self.failed.remove(id);
                continue;
            }
            let due = self.due.entry(id.clone()).or_insert(now + GRACE);
            if *due <= now {
                *due = now + EVERY;
                // Who may not list pods is told by the timeout.
                let failed = crashing(session, mapper, id, version).await.unwrap_or(0);
                self.failed.insert(id.clone(), failed);
            }
            if let Some(failed @ 1..) = self.failed.get(id).copied() {
                let health = Health::failed(format!("{failed} pods have failed"));
                results.insert(id.clone(), health);
            }
        }
    }
}

async fn crashing(
    session: &Session,
    mapper: &Mapper,
    id: &ObjectId,
    version: &str,
) -> Result<usize, RequestError> {
    let resource = mapper.served(&id.group, version, &id.kind).await?;
    let Some(object) = session.get(&resource, &id.namespace, &id.name).await? else {
        return Ok(0);
    };
    let Some(selector) = object.pointer("/spec/selector").and_then(selector) else {
        return Ok(0);
    };
    let pods = mapper.resource("v1", "Pod").await?;
    let list = session.list(&pods, &id.namespace, &selector).await?;
    let now = Timestamp::now();
    let failed = |pod: &&Value| {
        // One that goes is being replaced, and one without a node may get a new node.
        health::of(pod, now).status == Status::Failed && !is_unschedulable(pod)
    };
    Ok(list.items.iter().filter(failed).count())
}

fn is_unschedulable(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        condition["type"] == "PodScheduled"
            && condition["status"] == "False"
            && condition["reason"] == "Unschedulable"
    })
}

/// A `LabelSelector` in the form that a query has; none where it selects nothing.
fn selector(selector: &Value) -> Option<String> {
    let mut terms = Vec::new();
    for (key, value) in selector
        .get("matchLabels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        terms.push(format!("{key}={}", value.as_str()?));
    }
    for expression in selector
        .get("matchExpressions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let key = expression.get("key")?.as_str()?;
        let values = expression.get("values").and_then(Value::as_array);
        let values: Vec<_> = values
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let values = values.join(",");
        terms.push(match expression.get("operator")?.as_str()? {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    (!terms.is_empty()).then(|| terms.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_are_written_as_queries() {
        let all = json!({"matchLabels": {"app": "db"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]},
            {"key": "old", "operator": "DoesNotExist"},
            {"key": "new", "operator": "Exists"},
            {"key": "zone", "operator": "NotIn", "values": ["c"]},
        ]});
        assert_eq!(
            selector(&all).unwrap(),
            "app=db,tier in (a,b),!old,new,zone notin (c)"
        );
        assert_eq!(
            selector(&json!({})),
            None,
            "an empty selector would mean every pod"
        );
    }
}
