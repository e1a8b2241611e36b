//! The judge against a small world: a branch, clusters, gates, people, a process that dies anywhere.

use fairway_types::approval::Decision;
use fairway_types::check::{Evidence, Verdict};
use fairway_types::pipeline::{PipelineSpec, Stage};
use fairway_types::promotion::{
    ChangedValue, Intent, Phase, PromotionSpec, PromotionStatus, RollbackRequest,
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;

use super::{
    Action, ClusterSeen, Facts, Head, How, Order, Outcome, Revoked, Spread, Turn, Word, step,
};

const OLD: &str = "1.0.0";
const NEW: &str = "1.1.0";

/// What can happen between two runs.
#[derive(Debug, Clone)]
enum Event {
    Wait(u8),
    /// The next action is done, and the process dies before it hears of that.
    DieAfterActing,
    /// The process dies before it acts.
    DieBeforeActing,
    GitAway(bool),
    GitRefuses(bool),
    Frozen(bool),
    Verified(bool),
    Blocked,
    Gate(Verdict),
    Check(Verdict),
    Cluster(u8, How),
    Cancel,
    Preempt,
    SomebodySets(&'static str),
    Approve(&'static str, bool),
    Fetch,
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        6 => Just(How::Healthy),
        1 => Just(How::Busy("looked at".into())),
        2 => Just(How::Progressing("0 of 1".into())),
        1 => Just(How::Failing("not good".into())),
        1 => Just(How::Failed("bad".into())),
        1 => Just(How::Unreachable("away".into())),
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        3 => Just(Verdict::Passed),
        2 => Just(Verdict::Pending),
        1 => Just(Verdict::Failed),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (1..20u8).prop_map(Event::Wait),
        3 => Just(Event::DieAfterActing),
        2 => Just(Event::DieBeforeActing),
        2 => any::<bool>().prop_map(Event::GitAway),
        1 => any::<bool>().prop_map(Event::GitRefuses),
        2 => any::<bool>().prop_map(Event::Frozen),
        2 => prop::bool::weighted(0.8).prop_map(Event::Verified),
        1 => Just(Event::Blocked),
        4 => verdict().prop_map(Event::Gate),
        4 => verdict().prop_map(Event::Check),
        6 => ((0..2u8), how()).prop_map(|(cluster, how)| Event::Cluster(cluster, how)),
        1 => Just(Event::Cancel),
        1 => Just(Event::Preempt),
        1 => prop_oneof![Just(OLD), Just(NEW), Just("9.9.9")].prop_map(Event::SomebodySets),
        3 => (prop_oneof![Just("ann"), Just("bob")], prop::bool::weighted(0.9))
            .prop_map(|(who, yes)| Event::Approve(who, yes)),
        6 => Just(Event::Fetch),
    ]
}

/// The world outside of the judge.
struct World {
    pipeline: PipelineSpec,
    spec: PromotionSpec,
    now: Timestamp,
    status: PromotionStatus,
    /// The value on the remote, and as it was fetched last.
    remote: &'static str,
    fetched: &'static str,
    promoted: u32,
    put_back: u32,
    away: bool,
    refuses: bool,
    frozen: bool,
    verified: bool,
    blocked: bool,
    gate: Verdict,
    check: Verdict,
    clusters: [How; 2],
    cancelled: bool,
    preempted: bool,
    words: Vec<Word>,
    /// Whether somebody set the value by hand.
    by_hand: bool,
    /// What was seen to hold when the commit was begun.
    may_commit: bool,
}

impl World {
    fn new(intent: Intent) -> Self {
        let stage = |name: &str| {
            json!({
                "name": name, "clusterSelector": {}, "path": name, "fleetRefs": [{"name": "apps"}],
                "gates": [
                    {"name": "tested", "cel": {"expr": "true"}},
                    {"name": "sign-off", "approval": {"count": 1}},
                ],
                "verification": [{"name": "errors", "cel": {"expr": "true"}}],
                "health": {"soak": "5s", "timeout": "60s"},
            })
        };
        let pipeline = serde_json::from_value(json!({
            "sourceRef": {"name": "fleet"}, "move": {"image": {"name": "app"}},
            "stages": [stage("dev"), stage("prod")],
        }));
        let mut spec = PromotionSpec {
            stage: "prod".into(),
            intent,
            requested_by: Some("ann".into()),
            ..PromotionSpec::default()
        };
        match intent {
            Intent::Promote => spec.version = Some(NEW.into()),
            Intent::Rollback => {
                spec.rollback = Some(RollbackRequest {
                    to: Some(NEW.into()),
                    ..RollbackRequest::default()
                });
            }
        }
        Self {
            pipeline: pipeline.unwrap(),
            spec,
            now: Timestamp::from_second(1_000_000).unwrap(),
            status: PromotionStatus::default(),
            remote: OLD,
            fetched: OLD,
            promoted: 0,
            put_back: 0,
            away: false,
            refuses: false,
            frozen: false,
            verified: true,
            blocked: false,
            gate: Verdict::Pending,
            check: Verdict::Pending,
            clusters: [How::Healthy, How::Healthy],
            cancelled: false,
            preempted: false,
            words: Vec::new(),
            by_hand: false,
            may_commit: false,
        }
    }

    fn facts(&self) -> Facts<'_> {
        let stage: &Stage = &self.pipeline.stages[1];
        // Clusters follow what was fetched, unless they are held.
        let runs = if self.status.hold.is_some() {
            OLD
        } else {
            self.fetched
        };
        let clusters = self.clusters.iter().enumerate().map(|(index, how)| {
            // What is wrong is wrong with the new version.
            let how = if runs == NEW {
                how.clone()
            } else {
                How::Healthy
            };
            ClusterSeen {
                name: format!("c{index}"),
                applied: Some(runs.into()),
                attempted: Some(runs.into()),
                how,
            }
        });
        Facts {
            spec: &self.spec,
            generation: Some(1),
            pipeline: &self.pipeline,
            stage: Some(stage),
            automatic: false,
            turn: if self.preempted {
                Turn::Preempted { by: "r".into() }
            } else {
                Turn::Mine
            },
            order: if self.verified {
                Order::Verified { commit: None }
            } else {
                Order::Verifying {
                    stage: "dev".into(),
                }
            },
            blocked: self.blocked.then(|| "bad".to_owned()),
            frozen: self.frozen.then(|| "frozen".to_owned()),
            approvals: &self.words,
            policy: true,
            revoked: Revoked::default(),
            cancelled: self.cancelled.then(|| "eve".to_owned()),
            head: Head {
                commit: Some(self.fetched.into()),
                version: Some(self.fetched.into()),
                problem: None,
            },
            spread: Spread {
                clusters: clusters.collect(),
                fleets: vec!["apps".into()],
                ..Spread::default()
            },
        }
    }

    /// What the remote and the checks answer.
    fn act(&mut self, action: &Action) -> Outcome {
        match action {
            Action::Ask(asks) => Outcome::Answers {
                evidence: asks
                    .iter()
                    .map(|(place, index)| {
                        let stage = &self.pipeline.stages[1];
                        let (check, verdict) = match place {
                            super::Place::Gate => (&stage.gates[*index], self.gate),
                            super::Place::Verification => (&stage.verification[*index], self.check),
                        };
                        let mut evidence = Evidence::begin(&check.name, "cel", self.now);
                        evidence.verdict = verdict;
                        (*place, evidence)
                    })
                    .collect(),
                again: Some(std::time::Duration::from_secs(3)),
            },
            Action::Fetch => Outcome::Done,
            _ if self.away => Outcome::Away("git is away".into()),
            Action::Look(Intent::Promote) if self.promoted == 0 => Outcome::Absent,
            Action::Commit(Intent::Promote) if self.promoted == 0 && self.refuses => {
                Outcome::Refused("protected".into())
            }
            Action::Commit(Intent::Promote) if self.promoted == 0 => {
                assert!(
                    self.may_commit,
                    "committed without leave: {:?}",
                    self.status
                );
                if self.remote == NEW {
                    return Outcome::Standing {
                        commit: "s".into(),
                        version: Some(NEW.into()),
                    };
                }
                self.promoted += 1;
                self.remote = NEW;
                Self::committed(Intent::Promote)
            }
            Action::Commit(Intent::Promote) | Action::Look(Intent::Promote) => {
                Self::committed(Intent::Promote)
            }
            Action::Commit(Intent::Rollback) if self.spec.intent == Intent::Rollback => {
                if self.refuses && self.promoted == 0 {
                    return Outcome::Refused("protected".into());
                }
                if self.promoted == 0 {
                    self.promoted += 1;
                    self.remote = NEW;
                }
                Self::committed(Intent::Rollback)
            }
            Action::Look(Intent::Rollback) if self.promoted == 0 => Outcome::Absent,
            Action::Look(Intent::Rollback) => Self::committed(Intent::Rollback),
            Action::Commit(Intent::Rollback) => {
                assert!(self.status.hold.is_some(), "put back before it was held");
                if self.put_back > 0 {
                    return Self::committed(Intent::Rollback);
                }
                match self.remote {
                    OLD => Outcome::Standing {
                        commit: "s".into(),
                        version: Some(OLD.into()),
                    },
                    NEW if self.refuses => Outcome::Refused("protected".into()),
                    NEW => {
                        self.put_back += 1;
                        self.remote = OLD;
                        Self::committed(Intent::Rollback)
                    }
                    _ => Outcome::Changed("somebody".into()),
                }
            }
            Action::Poll | Action::Close => Outcome::Closed,
        }
    }

    fn committed(intent: Intent) -> Outcome {
        Outcome::Committed {
            intent,
            sha: format!("{intent:?}"),
            parent: Some("parent".into()),
            changes: vec![ChangedValue {
                path: "prod".into(),
                field: "newTag".into(),
                from: Some(OLD.into()),
                to: Some(NEW.into()),
            }],
            version: Some(NEW.into()),
            pull_request: None,
        }
    }

    /// One run, as the reconciler does it; `dies` says before or after which action it ends.
    fn run(&mut self, dies: Option<bool>) {
        let mut outcome = None;
        for _ in 0..40 {
            if self.status.phase.is_final() {
                return;
            }
            let before = self.status.clone();
            let next = step(&self.facts(), &before, outcome.take(), self.now);
            // The same facts give the same step: there is no hidden state.
            self.observe(&before, &next.status);
            self.status = next.status;
            match next.action {
                None if next.wake_at == Some(self.now) && self.status != before => {}
                None => return,
                Some(action) => {
                    if dies == Some(false) {
                        return;
                    }
                    // A process that starts anew asks for the same, or looks whether it was done.
                    if matches!(action, Action::Commit(_)) {
                        let again = step(&self.facts(), &self.status, None, self.now);
                        assert!(
                            matches!(again.action, Some(Action::Commit(_) | Action::Look(_))),
                            "after a crash: {:?}",
                            again.action
                        );
                    }
                    let done = self.act(&action);
                    if dies == Some(true) {
                        return;
                    }
                    outcome = Some(done);
                }
            }
        }
        panic!("it never rests: {:?}", self.status);
    }

    /// What must hold of every step.
    fn observe(&mut self, before: &PromotionStatus, after: &PromotionStatus) {
        if before.phase != Phase::Committing && after.phase == Phase::Committing {
            let approved = self
                .words
                .iter()
                .any(|word| word.approver != "ann" && word.decision == Decision::Approve);
            let gates = after.gates.iter().all(Evidence::passed) && after.gates.len() == 2;
            self.may_commit = self.spec.intent == Intent::Rollback
                || (gates && approved && self.verified && !self.frozen && !self.blocked);
            assert!(self.may_commit, "gates were skipped: {after:?}");
        }
        if after.phase == Phase::Succeeded {
            assert!(after.verification.iter().all(Evidence::passed), "{after:?}");
            assert!(after.hold.is_none());
        }
        if after.phase == Phase::RolledBack {
            assert!(after.hold.is_none());
        }
        if before.phase != Phase::RollingBack && after.phase == Phase::RollingBack {
            assert!(after.hold.is_some() && after.first_failure.is_some());
            assert_eq!(self.spec.intent, Intent::Promote);
        }
        if after.hold.is_none() && before.hold.is_some() && after.phase == Phase::RollingBack {
            assert_eq!(self.fetched, OLD, "the hold was lifted too early");
        }
        if before.phase == Phase::Committing
            && matches!(
                after.phase,
                Phase::Rejected | Phase::Superseded | Phase::Gating
            )
        {
            assert_eq!(self.promoted, 0, "a commit was forgotten: {after:?}");
        }
        assert!(after.transitions.len() <= 66);
        assert_eq!(
            after.audit.last().map_or(0, |entry| entry.number),
            after.audit_count
        );
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wait(seconds) => {
                self.now += SignedDuration::from_secs(i64::from(seconds));
                self.run(None);
            }
            Event::DieAfterActing => self.run(Some(true)),
            Event::DieBeforeActing => self.run(Some(false)),
            Event::GitAway(away) => self.away = away,
            Event::GitRefuses(refuses) => self.refuses = refuses,
            Event::Frozen(frozen) => self.frozen = frozen,
            Event::Verified(verified) => self.verified = verified,
            Event::Blocked => self.blocked = true,
            Event::Gate(verdict) => self.gate = verdict,
            Event::Check(verdict) => self.check = verdict,
            Event::Cluster(cluster, how) => self.clusters[usize::from(cluster)] = how,
            Event::Cancel => self.cancelled = true,
            Event::Preempt => self.preempted = true,
            Event::SomebodySets(version) => {
                self.remote = version;
                self.by_hand = true;
            }
            Event::Approve(who, yes) => self.words.push(Word {
                name: format!("{who}-{}", self.words.len()),
                approver: who.into(),
                groups: Vec::new(),
                decision: if yes {
                    Decision::Approve
                } else {
                    Decision::Reject
                },
                at: self.now,
            }),
            Event::Fetch => self.fetched = self.remote,
        }
    }

    /// Everything is well from now on: it must come to an end.
    fn settle(&mut self) {
        self.away = false;
        self.refuses = false;
        self.frozen = false;
        self.verified = true;
        self.gate = Verdict::Passed;
        self.check = Verdict::Passed;
        self.clusters = [How::Healthy, How::Healthy];
        self.happen(Event::Approve("bob", true));
        for _ in 0..60 {
            self.happen(Event::Fetch);
            self.happen(Event::Wait(4));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_gate_is_skipped_and_nothing_is_done_twice(events in prop::collection::vec(event(), 0..60)) {
        let mut world = World::new(Intent::Promote);
        for event in events {
            world.happen(event);
        }
        world.settle();
        prop_assert!(world.promoted <= 1 && world.put_back <= 1);
        // Only what a person has to decide may stay open.
        let status = &world.status;
        let waits = fairway_types::conditions::is_true(&status.conditions, "NeedsAttention");
        prop_assert!(status.phase.is_final() || waits, "{status:?}");
        if status.phase == Phase::RolledBack {
            prop_assert!(world.remote != NEW || world.by_hand);
        }
    }

    #[test]
    fn a_rollback_that_is_asked_for_needs_no_gates(events in prop::collection::vec(event(), 0..40)) {
        let mut world = World::new(Intent::Rollback);
        for event in events {
            if !matches!(event, Event::Preempt) {
                world.happen(event);
            }
        }
        world.settle();
        prop_assert!(world.status.phase.is_final(), "{:?}", world.status);
        prop_assert!(world.status.hold.is_none());
    }
}

#[test]
fn the_usual_way() {
    let mut world = World::new(Intent::Promote);
    world.settle();
    assert_eq!(world.status.phase, Phase::Succeeded, "{:?}", world.status);
    assert_eq!(world.promoted, 1);
    let phases: Vec<Phase> = world
        .status
        .transitions
        .iter()
        .map(|transition| transition.phase)
        .collect();
    assert_eq!(
        phases,
        [
            Phase::Queued,
            Phase::Gating,
            Phase::Committing,
            Phase::RollingOut,
            Phase::Verifying,
            Phase::Succeeded
        ]
    );
}

#[test]
fn held_first_and_put_back_when_git_is_there_again() {
    let mut world = World::new(Intent::Promote);
    world.gate = Verdict::Passed;
    world.happen(Event::Approve("bob", true));
    world.happen(Event::Wait(1));
    world.happen(Event::Fetch);
    world.happen(Event::Wait(1));
    assert_eq!(world.status.phase, Phase::RollingOut, "{:?}", world.status);
    world.away = true;
    world.clusters[1] = How::Failed("bad".into());
    world.happen(Event::Wait(1));
    assert_eq!(world.status.phase, Phase::RollingBack);
    let hold = world.status.hold.clone().unwrap();
    assert_eq!((hold.commit.as_str(), hold.clusters.len()), ("parent", 2));
    // Held, everything is healthy again, though Git is not.
    world.happen(Event::Wait(1));
    assert!(world.status.recovered_at.is_some() && world.put_back == 0);
    world.settle();
    assert_eq!((world.status.phase, world.put_back), (Phase::RolledBack, 1));
}

#[test]
fn what_somebody_changed_is_left_alone_and_stays_held() {
    let mut world = World::new(Intent::Promote);
    world.gate = Verdict::Passed;
    world.happen(Event::Approve("bob", true));
    world.happen(Event::Wait(1));
    world.happen(Event::Fetch);
    world.happen(Event::Wait(1));
    world.happen(Event::SomebodySets("9.9.9"));
    world.clusters[0] = How::Failed("bad".into());
    world.happen(Event::Wait(1));
    assert_eq!(world.status.phase, Phase::RollingBack);
    world.happen(Event::Wait(1));
    assert!(world.status.hold.is_some() && world.remote == "9.9.9" && world.put_back == 0);
    // A person puts it right.
    world.happen(Event::SomebodySets(OLD));
    world.settle();
    assert_eq!((world.status.phase, world.put_back), (Phase::RolledBack, 0));
}
