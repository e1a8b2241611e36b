//! Arrivals, offers, turns and blocks, without a cluster.

use fairway_types::pipeline::{PipelineSpec, PipelineStatus, QueueRule};
use fairway_types::promotion::{
    Intent, Phase, PromotionSpec, PromotionStatus, RollbackRequest, Transition,
};
use jiff::Timestamp;
use serde_json::json;

use super::facts::{Attempt, Facts, StageSeen, queue, turn};
use super::judge::{Plan, plan};
use crate::promotion::judge::{ClusterSeen, How, Revoked, Spread, Turn};

fn spec(queue: &str) -> PipelineSpec {
    let stage = |name: &str| json!({"name": name, "clusterSelector": {}, "path": name, "fleetRefs": [{"name": "apps"}], "auto": true});
    serde_json::from_value(json!({
        "sourceRef": {"name": "fleet"}, "move": {"image": {"name": "app"}}, "queue": queue,
        "stages": [stage("dev"), stage("prod")],
    }))
    .unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

struct Made {
    name: String,
    spec: PromotionSpec,
    status: PromotionStatus,
    arrival: Option<String>,
    created: i64,
}

impl Made {
    fn new(name: &str, stage: &str, version: &str, phase: Phase, created: i64) -> Self {
        Self {
            name: name.into(),
            spec: PromotionSpec {
                stage: stage.into(),
                version: Some(version.into()),
                ..PromotionSpec::default()
            },
            status: PromotionStatus {
                phase,
                to: Some(version.into()),
                transitions: vec![Transition {
                    phase,
                    at: at(created + 1),
                    message: None,
                }],
                ..PromotionStatus::default()
            },
            arrival: Some(format!("{version}@x")),
            created,
        }
    }

    fn attempt(&self) -> Attempt<'_> {
        Attempt {
            name: &self.name,
            created: at(self.created),
            spec: &self.spec,
            status: &self.status,
            arrival: self.arrival.as_deref(),
            revoked: Revoked::default(),
            is_going: false,
        }
    }
}

fn seen(version: &str) -> StageSeen {
    StageSeen {
        version: Some(Ok(Some(version.into()))),
        revision: Some(format!("main@sha1:{version}")),
        spread: Spread {
            clusters: vec![ClusterSeen {
                name: "c".into(),
                applied: Some(version.into()),
                attempted: None,
                how: How::Healthy,
            }],
            ..Spread::default()
        },
        ..StageSeen::default()
    }
}

fn planned(
    spec: &PipelineSpec,
    heads: [&str; 2],
    made: &[Made],
    before: &PipelineStatus,
    unblock: Option<&str>,
) -> Plan {
    let facts = Facts {
        name: "app",
        spec,
        generation: Some(1),
        unblock,
        requested: None,
        stages: heads.map(seen).into(),
        promotions: made.iter().map(Made::attempt).collect(),
        conflict: None,
    };
    plan(&facts, before, at(10_000))
}

#[test]
fn what_arrives_in_the_first_stage_is_recorded_once() {
    let spec = spec("Newest");
    let first = planned(&spec, ["1.0", "1.0"], &[], &PipelineStatus::default(), None);
    assert_eq!(first.create.len(), 1);
    assert_eq!(
        (
            first.create[0].name.as_str(),
            first.create[0].version.as_str()
        ),
        ("app-dev-1", "1.0")
    );
    let mut made = Made::new("app-dev-1", "dev", "1.0", Phase::Queued, 1);
    made.arrival = Some(first.create[0].arrival.clone());
    let second = planned(&spec, ["1.0", "1.0"], &[made], &first.status, None);
    assert!(second.create.is_empty());
    assert_eq!(second.status.stages[0].recorded.as_deref(), Some("1.0"));
    assert_eq!(
        second.status.stages[0].promotion.as_deref(),
        Some("app-dev-1")
    );
    // The next one counts on, also where the Promotion is no longer there.
    let third = planned(&spec, ["1.1", "1.0"], &[], &second.status, None);
    assert_eq!(third.create[0].from.as_deref(), Some("1.0"));
}

#[test]
fn what_is_verified_is_offered_to_the_next_stage_once() {
    let spec = spec("Newest");
    let made = vec![Made::new("app-dev-1", "dev", "1.1", Phase::Succeeded, 1)];
    let mut before = PipelineStatus::default();
    before.stages = planned(&spec, ["1.1", "1.0"], &made, &before, None)
        .status
        .stages;
    before.stages[0].recorded = Some("1.1".into());
    let offered = planned(&spec, ["1.1", "1.0"], &made, &before, None);
    assert_eq!(offered.create.len(), 1);
    assert_eq!(offered.create[0].stage, "prod");
    let mut promoted = Made::new("app-prod-1", "prod", "1.1", Phase::RolledBack, 10);
    promoted.arrival = Some(offered.create[0].arrival.clone());
    promoted.status.failure = Some("bad".into());
    promoted.status.transitions.push(Transition {
        phase: Phase::RollingBack,
        at: at(12),
        message: None,
    });
    let both = vec![
        Made::new("app-dev-1", "dev", "1.1", Phase::Succeeded, 1),
        promoted,
    ];
    let failed = planned(&spec, ["1.1", "1.0"], &both, &before, None);
    assert!(failed.create.is_empty());
    assert_eq!(
        failed.status.blocked("1.1").unwrap().promotion,
        "app-prod-1"
    );
    let again = planned(
        &spec,
        ["1.1", "1.0"],
        &both,
        &failed.status,
        Some("1.1@now"),
    );
    assert!(again.status.blocked("1.1").is_none());
    assert_eq!(again.create[0].name, "app-prod-2");
}

#[test]
fn all_or_the_newest() {
    let made = || {
        vec![
            Made::new("app-dev-1", "dev", "1.1", Phase::Succeeded, 1),
            Made::new("app-dev-2", "dev", "1.2", Phase::Succeeded, 20),
        ]
    };
    for (rule, wanted) in [("Newest", "1.2"), ("All", "1.1")] {
        let spec = spec(rule);
        let mut before = PipelineStatus::default();
        before.stages = planned(&spec, ["1.2", "1.0"], &[], &before, None)
            .status
            .stages;
        before.stages[0].recorded = Some("1.2".into());
        before.stages[1].offered = Some(format!("1.0@{}", at(1)));
        let plan = planned(&spec, ["1.2", "1.0"], &made(), &before, None);
        assert_eq!(plan.create.len(), 1);
        assert_eq!(plan.create[0].version, wanted, "{rule}");
    }
}

#[test]
fn one_has_the_stage_and_rollbacks_come_first() {
    let a = Made::new("app-prod-1", "prod", "1.1", Phase::RollingOut, 1);
    let b = Made::new("app-prod-2", "prod", "1.2", Phase::Queued, 2);
    let c = Made::new("app-prod-3", "prod", "1.3", Phase::Queued, 3);
    let mut r = Made::new("back", "prod", "x", Phase::Queued, 4);
    r.arrival = None;
    r.spec.intent = Intent::Rollback;
    r.spec.rollback = Some(RollbackRequest::default());
    let all = [a.attempt(), b.attempt(), c.attempt()];
    assert_eq!(
        queue("prod", Some("app-prod-1"), &all),
        (
            Some("app-prod-1"),
            vec!["app-prod-2".to_owned(), "app-prod-3".to_owned()]
        )
    );
    // A status that was lost does not let two begin.
    assert_eq!(queue("prod", None, &all).0, Some("app-prod-1"));
    let holder = Some("app-prod-1");
    assert_eq!(turn(&all[0], holder, &all, QueueRule::Newest), Turn::Mine);
    assert_eq!(
        turn(&all[1], holder, &all, QueueRule::Newest),
        Turn::Superseded {
            by: "app-prod-3".into()
        }
    );
    assert!(matches!(
        turn(&all[1], holder, &all, QueueRule::All),
        Turn::Waits { .. }
    ));
    let all = [a.attempt(), b.attempt(), c.attempt(), r.attempt()];
    assert_eq!(
        turn(&all[0], holder, &all, QueueRule::Newest),
        Turn::Preempted { by: "back".into() }
    );
    assert_eq!(queue("prod", holder, &all).1[0], "back");
}
