//! HorizontalPodAutoscalers: there are no metrics, so only the bounds count.

use serde_json::{Value, json};

use super::cache::Key;
use super::object::{condition, is_deleting, number, stamp};
use super::plan::{Plan, Write};
use super::resource::{DEPLOYMENTS, HORIZONTAL_AUTOSCALERS, STATEFUL_SETS};
use super::world::World;
use crate::writer::Scope;

const SOURCE: &str = "horizontal-pod-autoscaler";

/// Looks at one autoscaler.
pub(crate) fn step(world: &World<'_>, key: &Key) -> Plan {
    let mut plan = Plan::default();
    let Some(scaler) = world.cache.get(key).filter(|scaler| !is_deleting(scaler)) else {
        return plan;
    };
    let wanted = &scaler["spec"]["scaleTargetRef"];
    let resource = match wanted["kind"].as_str() {
        Some("Deployment") => &*DEPLOYMENTS,
        Some("StatefulSet") => &*STATEFUL_SETS,
        // Kinds that are not simulated have no scale that anything would follow.
        _ => return plan,
    };
    let target_name = wanted["name"].as_str().unwrap_or_default();
    let Some(target) = world.cache.find(resource, &key.namespace, target_name) else {
        let message = format!(
            "the HPA controller was unable to get the target's current scale: {resource} {target_name:?} not found"
        );
        let conditions = [said(
            world,
            scaler,
            "AbleToScale",
            false,
            "FailedGetScale",
            &message,
        )];
        let status =
            json!({"conditions": conditions, "currentMetrics": null, "desiredReplicas": 0});
        plan.status(&HORIZONTAL_AUTOSCALERS, scaler, status);
        return plan;
    };
    let now = number(&target["spec"]["replicas"], 1);
    let low = number(&scaler["spec"]["minReplicas"], 1);
    let high = number(&scaler["spec"]["maxReplicas"], now).max(low);
    // Zero means that autoscaling is switched off.
    let desired = if now == 0 { 0 } else { now.clamp(low, high) };
    if desired != now {
        let mut scaled = (**target).clone();
        scaled["spec"]["replicas"] = json!(desired);
        plan.writes.push(Write::Replace(
            Key::of(resource, target),
            scaled,
            Scope::Object,
        ));
        let reason = if desired > now {
            "Current number of replicas below Spec.MinReplicas"
        } else {
            "Current number of replicas above Spec.MaxReplicas"
        };
        plan.note(
            SOURCE,
            scaler,
            "SuccessfulRescale",
            format!("New size: {desired}; reason: {reason}"),
        );
    }
    let able = "the HPA controller was able to get the target's current scale";
    let none =
        "the HPA was unable to compute the replica count: simulated clusters have no metrics";
    let mut conditions = vec![said(
        world,
        scaler,
        "AbleToScale",
        true,
        "SucceededGetScale",
        able,
    )];
    if now == 0 {
        let off = "scaling is disabled since the replica count of the target is zero";
        conditions.push(said(
            world,
            scaler,
            "ScalingActive",
            false,
            "ScalingDisabled",
            off,
        ));
    } else {
        conditions.push(said(
            world,
            scaler,
            "ScalingActive",
            false,
            "FailedGetResourceMetric",
            none,
        ));
    }
    let mut status = json!({
        "conditions": conditions,
        "currentReplicas": number(&target["status"]["replicas"], 0),
        "desiredReplicas": desired,
        "currentMetrics": null,
    });
    if let Some(last) = scaler["status"].get("lastScaleTime") {
        status["lastScaleTime"] = last.clone();
    }
    if desired != now {
        status["lastScaleTime"] = stamp(world.now);
    }
    plan.status(&HORIZONTAL_AUTOSCALERS, scaler, status);
    plan
}

fn said(
    world: &World<'_>,
    scaler: &Value,
    kind: &str,
    holds: bool,
    reason: &str,
    message: &str,
) -> Value {
    let state = if holds { "True" } else { "False" };
    let since = condition(scaler, kind)
        .filter(|known| known["status"] == state)
        .map_or_else(
            || stamp(world.now),
            |known| known["lastTransitionTime"].clone(),
        );
    json!({"type": kind, "status": state, "reason": reason, "message": message, "lastTransitionTime": since})
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::controllers::rig::Rig;

    #[test]
    fn the_bounds_are_kept() {
        let mut rig = Rig::new(SignedDuration::ZERO);
        let target = rig.create(
            &DEPLOYMENTS,
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
                "spec": {
                    "replicas": 1, "selector": {"matchLabels": {"app": "web"}},
                    "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "w:1"}]}},
                },
            }),
        );
        let key = rig.create(
            &HORIZONTAL_AUTOSCALERS,
            json!({
                "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
                "spec": {"minReplicas": 2, "maxReplicas": 4, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
            }),
        );
        rig.run();
        assert_eq!(rig.get(&target)["spec"]["replicas"], 2);
        assert_eq!(rig.get(&key)["status"]["currentReplicas"], 2);
        rig.edit(&target, |object| object["spec"]["replicas"] = json!(9));
        rig.run();
        assert_eq!(rig.get(&target)["spec"]["replicas"], 4);
    }
}
