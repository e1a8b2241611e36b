//! The planner against a model of the world: random commits, clusters that fail, flap and go away, and a process that is
//! killed after every step. What must hold is checked from what the clusters really went through.

use std::collections::{BTreeMap, BTreeSet};

use fairway_types::rollout::{ClusterState, OnFailure, Rendered, Rollout, RolloutStatus};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;

use super::policy::Policy;
use super::sight::{Away, Health, Sight, Verdict, Wanted};
use super::step::{Seen, step};

const WAVES: usize = 3;
/// Wave of each cluster.
const CLUSTERS: [usize; 7] = [0, 0, 1, 1, 1, 2, 2];
const SOAK: i64 = 3;

fn policy(more: serde_json::Value) -> Policy {
    let wave = |name: &str| json!({"name": name, "clusterSelector": {}});
    let mut rollout = json!({
        "waves": [wave("dev"), wave("staging")], "soak": "3s", "progressDeadline": "10s", "maxConcurrent": 2,
    });
    for (key, value) in more.as_object().expect("an object") {
        rollout[key] = value.clone();
    }
    let rollout: Rollout = serde_json::from_value(rollout).expect("a rollout");
    Policy::of(&rollout)
}

/// How a cluster takes a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Healthy after so many seconds.
    Good(i64),
    /// Fails after so many seconds.
    Bad(i64),
    /// Is healthy and unhealthy in turns.
    Flaps,
}

#[derive(Debug, Clone)]
enum Event {
    /// A commit changes these clusters; the first number is how they take it.
    Commit(BTreeSet<usize>, Fate),
    /// A cluster goes away or comes back.
    Away(usize, bool),
    /// Some seconds pass.
    Pass(u8),
    /// A Promotion holds a cluster at what it had at the start, or lets go.
    Hold(usize, bool),
}

#[derive(Debug, Clone, Default)]
struct Cluster {
    /// The commit that is on it, and since when.
    has: Option<(usize, i64)>,
    away: bool,
    held: bool,
    /// For each commit that it took: since when it is healthy with it or a later one.
    healthy: BTreeMap<usize, i64>,
    verified: BTreeSet<usize>,
    failed: BTreeSet<usize>,
}

struct World {
    policy: Policy,
    status: RolloutStatus,
    now: i64,
    /// What each commit changes, and how that goes; the first one is there from the start.
    commits: Vec<(BTreeSet<usize>, Fate)>,
    clusters: Vec<Cluster>,
    /// Time of each admission: cluster, commit.
    admitted: Vec<(i64, usize, usize)>,
}

fn digest(cluster: usize, commit: usize) -> String {
    format!("sha256:{cluster}-{commit}")
}

fn commit_of(digest: &str) -> usize {
    let (_, commit) = digest.rsplit_once('-').expect("a digest of the model");
    commit.parse().expect("a number")
}

impl World {
    fn new(policy: Policy) -> Self {
        let all: BTreeSet<usize> = (0..CLUSTERS.len()).collect();
        let clusters = CLUSTERS
            .iter()
            .map(|_| Cluster {
                has: Some((0, 0)),
                ..Cluster::default()
            })
            .collect();
        Self {
            policy,
            status: RolloutStatus::default(),
            now: 100,
            commits: vec![(all, Fate::Good(0))],
            clusters,
            admitted: Vec::new(),
        }
    }

    /// The newest commit that changes a cluster.
    fn head(&self, cluster: usize) -> usize {
        let changes = |(_, (set, _)): &(usize, &(BTreeSet<usize>, Fate))| set.contains(&cluster);
        let newest = self.commits.iter().enumerate().rev().find(changes);
        newest.map_or(0, |(index, _)| index)
    }

    fn health(&self, cluster: usize) -> Health {
        let Some((commit, since)) = self.clusters[cluster].has else {
            return Health::Progressing;
        };
        let age = self.now - since;
        match self.commits[commit].1 {
            Fate::Good(after) if age >= after => Health::Healthy,
            Fate::Bad(after) if age >= after => Health::Failed("bad".into()),
            Fate::Flaps if age % 4 < 2 => Health::Healthy,
            _ => Health::Progressing,
        }
    }

    /// That something failed before it was tried once more says nothing.
    fn health_since(&self, cluster: usize, status: &RolloutStatus) -> Health {
        let since = status
            .cluster(&format!("c{cluster}"))
            .map(|entry| entry.since.as_second());
        let has = self.clusters[cluster].has.map(|(_, since)| since);
        match self.health(cluster) {
            Health::Failed(_) if has < since => Health::Progressing,
            health => health,
        }
    }

    fn seen(&self, status: &RolloutStatus) -> Seen {
        let clusters = CLUSTERS.iter().enumerate().map(|(index, wave)| {
            let rendered = |commit: usize| Rendered {
                revision: format!("main@{commit}"),
                digest: digest(index, commit),
            };
            let cluster = &self.clusters[index];
            let has = cluster.has.map(|(commit, _)| rendered(commit));
            let sight = Sight {
                wave: *wave,
                wanted: Wanted::Rendered(rendered(self.head(index))),
                about: has.as_ref().map(|has| has.digest.clone()),
                has,
                health: self.health_since(index, status),
                away: cluster.away.then(|| Away::Unreachable("gone".into())),
                hold: cluster.held.then(|| super::sight::Hold {
                    at: Some(rendered(0)),
                    reason: "a Promotion".into(),
                }),
            };
            (format!("c{index}"), sight)
        });
        Seen {
            clusters: clusters.collect(),
            checks: BTreeMap::new(),
            retry: false,
        }
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_second(self.now).expect("a time")
    }

    /// One step, from what was written down; the process is killed and the next one does it again.
    fn step(&mut self) -> Result<(), TestCaseError> {
        self.observe();
        let seen = self.seen(&self.status);
        let text = serde_json::to_string(&self.status).expect("plain data");
        let read: RolloutStatus = serde_json::from_str(&text).expect("as it was written");
        prop_assert_eq!(&read, &self.status, "state that does not survive");
        let done = step(&self.policy, &read, &seen, self.time());
        let seen = self.seen(&done.status);
        let again = step(&self.policy, &done.status, &seen, self.time());
        prop_assert_eq!(&again.status, &done.status, "a step that is not finished");
        if let Some(at) = done.wake_at {
            prop_assert!(at > self.time(), "it would look again at once, for ever");
        }
        let before = std::mem::replace(&mut self.status, done.status);
        self.check_admissions(&before)?;
        self.check_shape()?;
        self.carry_out();
        Ok(())
    }

    /// What clusters go through is noted, independently of the planner.
    fn observe(&mut self) {
        for index in 0..CLUSTERS.len() {
            let health = self.health(index);
            let now = self.now;
            let cluster = &mut self.clusters[index];
            let Some((has, _)) = cluster.has else {
                continue;
            };
            if cluster.away {
                continue;
            }
            match health {
                Health::Healthy => {
                    for commit in 0..=has {
                        if self.commits[commit].0.contains(&index) {
                            cluster.healthy.entry(commit).or_insert(now);
                        }
                    }
                }
                Health::Failed(_) => {
                    cluster.healthy.clear();
                }
                _ => {
                    // Being on the way to something newer does not count against what was healthy before.
                    cluster.healthy.remove(&has);
                }
            }
            let soaked: Vec<usize> = cluster
                .healthy
                .iter()
                .filter(|(_, since)| now - **since >= SOAK)
                .map(|(commit, _)| *commit)
                .collect();
            cluster.verified.extend(soaked);
        }
    }

    fn current(status: &RolloutStatus, index: usize) -> Option<usize> {
        let entry = status.cluster(&format!("c{index}"))?;
        Some(commit_of(&entry.current.as_ref()?.digest))
    }

    fn check_admissions(&mut self, before: &RolloutStatus) -> Result<(), TestCaseError> {
        let mut begun: BTreeMap<usize, usize> = BTreeMap::new();
        for (index, wave) in CLUSTERS.iter().enumerate() {
            let Some(to) = Self::current(&self.status, index) else {
                continue;
            };
            let entry = self
                .status
                .cluster(&format!("c{index}"))
                .expect("it has one");
            let had = self.clusters[index].has.map_or(0, |(commit, _)| commit);
            let was = Self::current(before, index).unwrap_or(had);
            if to == was || entry.state != ClusterState::Progressing {
                continue;
            }
            *begun.entry(*wave).or_default() += 1;
            self.admitted.push((self.now, index, to));
            prop_assert!(!self.clusters[index].away, "c{index} is away and begins");
            prop_assert!(
                !self.clusters[index].failed.contains(&to),
                "c{index} tries {to} again, which failed"
            );
            self.check_order(index, had, to)?;
        }
        for (wave, count) in begun {
            let running = self
                .status
                .clusters
                .iter()
                .filter(|entry| entry.wave == self.policy.waves[wave].name)
                .filter(|entry| entry.state == ClusterState::Progressing)
                .count();
            prop_assert!(
                running <= 2 || count == 0,
                "{running} at once in wave {wave}"
            );
        }
        Ok(())
    }

    /// No wave starts before its predecessors are healthy and soaked, with every change that they share.
    fn check_order(&self, index: usize, had: usize, to: usize) -> Result<(), TestCaseError> {
        for (other, wave) in CLUSTERS.iter().enumerate() {
            if *wave >= CLUSTERS[index] {
                continue;
            }
            let entry = self.status.cluster(&format!("c{other}"));
            if entry.is_some_and(|entry| entry.state == ClusterState::Skipped) {
                continue;
            }
            for commit in had + 1..=to {
                let set = &self.commits[commit].0;
                let shared = set.contains(&index) && set.contains(&other);
                // What was overtaken before anybody took it counts with what overtook it.
                let verified = self.clusters[other]
                    .verified
                    .iter()
                    .any(|done| *done >= commit);
                prop_assert!(
                    !shared || verified,
                    "c{index} begins {to} at {}, and c{other} is not verified with {commit}: {:?} {:?}",
                    self.now,
                    self.clusters[other],
                    entry
                );
            }
        }
        Ok(())
    }

    /// The failure budget is zero: where a cluster failed with a change, no other one of its wave or later begins it.
    fn check_shape(&self) -> Result<(), TestCaseError> {
        for entry in &self.status.clusters {
            prop_assert!(entry.changes.len() <= 8, "{entry:?}");
            let numbers: BTreeSet<i64> = entry.changes.iter().map(|c| c.number).collect();
            prop_assert_eq!(numbers.len(), entry.changes.len(), "{:?}", entry);
            prop_assert!(
                entry.done.iter().all(|done| !numbers.contains(done)),
                "{entry:?}"
            );
            if entry.state == ClusterState::Done {
                prop_assert!(
                    entry.changes.is_empty() && !entry.done.is_empty(),
                    "{entry:?}"
                );
            }
        }
        Ok(())
    }

    /// Clusters take what they may have; what failed is noted.
    fn carry_out(&mut self) {
        for index in 0..CLUSTERS.len() {
            let entry = self.status.cluster(&format!("c{index}")).cloned();
            let (now, head) = (self.now, self.head(index));
            let cluster = &mut self.clusters[index];
            if let Some(entry) = &entry
                && entry.state == ClusterState::Failed
                && entry.is_admitted()
            {
                cluster.failed.insert(commit_of(&entry.target.digest));
            }
            let to = match &entry {
                Some(entry) => entry
                    .current
                    .as_ref()
                    .map(|current| commit_of(&current.digest)),
                // Who is settled follows.
                None => Some(head),
            };
            if let Some(to) = to
                && !cluster.away
                && (cluster.has.map(|(commit, _)| commit) != Some(to)
                    || entry.is_some_and(|entry| {
                        entry.state == ClusterState::Progressing && entry.since.as_second() == now
                    }))
            {
                if cluster.has.is_some_and(|(commit, _)| commit > to) {
                    // It went back: nothing newer counts any more.
                    cluster.healthy.retain(|commit, _| *commit <= to);
                    cluster.verified.retain(|commit| *commit <= to);
                }
                cluster.has = Some((to, now));
            }
        }
    }

    fn play(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match event {
            Event::Commit(set, fate) => self.commits.push((set.clone(), *fate)),
            Event::Away(cluster, away) => self.clusters[*cluster].away = *away,
            Event::Hold(cluster, held) => self.clusters[*cluster].held = *held,
            Event::Pass(seconds) => {
                for _ in 0..*seconds {
                    self.now += 1;
                    self.step()?;
                }
            }
        }
        self.step()
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => (0..4i64).prop_map(Fate::Good),
        2 => (0..3i64).prop_map(Fate::Bad),
        1 => Just(Fate::Flaps),
    ]
}

fn events(holds: bool) -> impl Strategy<Value = Vec<Event>> {
    let set = proptest::collection::btree_set(0..CLUSTERS.len(), 1..=CLUSTERS.len());
    let one = prop_oneof![
        3 => (set, fate()).prop_map(|(set, fate)| Event::Commit(set, fate)),
        1 => (0..CLUSTERS.len(), any::<bool>()).prop_map(|(c, away)| Event::Away(c, away)),
        1 => (0..CLUSTERS.len(), any::<bool>()).prop_map(move |(c, held)| Event::Hold(c, held && holds)),
        5 => (1..6u8).prop_map(Event::Pass),
    ];
    proptest::collection::vec(one, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn order_and_limits_hold_whatever_happens(
        events in events(true), rule in prop::sample::select(vec!["wait", "skip", "fail"]),
        hold_back in any::<bool>(),
    ) {
        let on_failure = if hold_back { "holdBack" } else { "halt" };
        let mut world = World::new(policy(json!({"unreachable": rule, "onFailure": on_failure})));
        for event in &events {
            world.play(event)?;
        }
    }

    /// Whatever was before: once everything is good and everybody is there, all clusters come to the newest commit.
    #[test]
    fn everything_comes_to_an_end(events in events(true), hold_back in any::<bool>()) {
        let on_failure = if hold_back { "holdBack" } else { "halt" };
        let mut world = World::new(policy(json!({"unreachable": "skip", "onFailure": on_failure})));
        for event in &events {
            world.play(event)?;
        }
        for cluster in 0..CLUSTERS.len() {
            world.play(&Event::Away(cluster, false))?;
            world.play(&Event::Hold(cluster, false))?;
        }
        world.play(&Event::Commit((0..CLUSTERS.len()).collect(), Fate::Good(1)))?;
        world.play(&Event::Pass(120))?;
        prop_assert!(world.status.clusters.is_empty(), "{:#?}", world.status);
        let last = world.commits.len() - 1;
        for cluster in &world.clusters {
            prop_assert_eq!(cluster.has.map(|(commit, _)| commit), Some(last));
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Commits for clusters of the first wave, as often as they come, delay no rollout of the others by a second.
    #[test]
    fn dev_commits_never_delay_prod(
        gap in 1..9u8, fates in proptest::collection::vec(fate(), 60),
        prod in proptest::collection::btree_set(2..CLUSTERS.len(), 1..=5usize),
    ) {
        let run = |with_dev: bool| -> Result<Vec<(i64, usize)>, TestCaseError> {
            let mut world = World::new(policy(json!({})));
            if with_dev {
                world.play(&Event::Commit([0, 1].into(), fates[0]))?;
            }
            world.play(&Event::Commit(prod.clone(), Fate::Good(2)))?;
            let start = world.now;
            let mut next = 1;
            while world.now < start + 60 {
                world.play(&Event::Pass(1))?;
                if with_dev && (world.now - start) % i64::from(gap) == 0 {
                    world.play(&Event::Commit([0, 1].into(), fates[next % fates.len()]))?;
                    next += 1;
                }
            }
            let of_prod = |(at, cluster, _): &(i64, usize, usize)| {
                (!matches!(cluster, 0 | 1)).then_some((at - start, *cluster))
            };
            Ok(world.admitted.iter().filter_map(of_prod).collect())
        };
        let alone = run(false)?;
        prop_assert_eq!(alone.len(), prod.len());
        prop_assert_eq!(run(true)?, alone);
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(100).expect("a time") + SignedDuration::from_secs(seconds)
}

fn sight(wave: usize, has: &str, wanted: &str, health: Health) -> Sight {
    let rendered = |digest: &str| Rendered {
        revision: format!("main@{digest}"),
        digest: digest.to_owned(),
    };
    Sight {
        wave,
        wanted: Wanted::Rendered(rendered(wanted)),
        has: (!has.is_empty()).then(|| rendered(has)),
        about: (!has.is_empty()).then(|| has.to_owned()),
        health,
        away: None,
        hold: None,
    }
}

fn seen(clusters: &[(&str, Sight)]) -> Seen {
    Seen {
        clusters: clusters
            .iter()
            .map(|(name, sight)| ((*name).to_owned(), sight.clone()))
            .collect(),
        ..Seen::default()
    }
}

fn states(status: &RolloutStatus) -> Vec<(&str, ClusterState)> {
    status
        .clusters
        .iter()
        .map(|entry| (entry.name.as_str(), entry.state))
        .collect()
}

#[test]
fn a_change_that_waits_in_an_earlier_wave_carries_over_to_the_next_commit() {
    // Dev is half-way through its soak when a commit changes it again: what soaked counts on.
    let policy = policy(json!({"soak": "10s"}));
    let first = |dev: &str, wanted: &str, health| {
        seen(&[
            ("dev", sight(0, dev, wanted, health)),
            ("prod", sight(2, "p0", "p1", Health::Healthy)),
        ])
    };
    let s = step(
        &policy,
        &RolloutStatus::default(),
        &first("d0", "d1", Health::Healthy),
        at(0),
    );
    use ClusterState::{Pending, Progressing, Soaking};
    assert_eq!(states(&s.status), [("dev", Progressing), ("prod", Pending)]);
    let s = step(
        &policy,
        &s.status,
        &first("d1", "d1", Health::Healthy),
        at(1),
    );
    assert_eq!(states(&s.status), [("dev", Soaking), ("prod", Pending)]);
    assert_eq!(s.wake_at, Some(at(11)));
    let s = step(
        &policy,
        &s.status,
        &first("d1", "d2", Health::Healthy),
        at(6),
    );
    assert_eq!(states(&s.status), [("dev", Progressing), ("prod", Pending)]);
    let s = step(
        &policy,
        &s.status,
        &first("d2", "d2", Health::Progressing),
        at(10),
    );
    assert_eq!(states(&s.status)[1].1, Pending);
    let s = step(
        &policy,
        &s.status,
        &first("d2", "d2", Health::Progressing),
        at(11),
    );
    assert_eq!(
        states(&s.status),
        [("dev", Progressing), ("prod", Progressing)]
    );
}

#[test]
fn what_fails_is_held_back_everywhere_and_tried_again_when_it_changes() {
    use ClusterState::{Done, Failed, HeldBack, Pending, Progressing};
    let policy = policy(json!({"soak": "0s", "onFailure": "holdBack"}));
    let look = |dev: (&str, Health), prod: (&str, &str, Health)| {
        seen(&[
            ("dev", sight(0, dev.0, "d1", dev.1)),
            ("prod", sight(2, prod.0, prod.1, prod.2)),
        ])
    };
    let good = Health::Healthy;
    let s = step(
        &policy,
        &RolloutStatus::default(),
        &look(("d0", good.clone()), ("p0", "p1", good.clone())),
        at(0),
    );
    let s = step(
        &policy,
        &s.status,
        &look(("d1", good.clone()), ("p0", "p1", good.clone())),
        at(1),
    );
    assert_eq!(states(&s.status), [("dev", Done), ("prod", Progressing)]);
    let bad = Health::Failed("it crashes".into());
    let s = step(
        &policy,
        &s.status,
        &look(("d1", good.clone()), ("p1", "p1", bad)),
        at(4),
    );
    assert_eq!(states(&s.status), [("dev", HeldBack), ("prod", Failed)]);
    for (name, digest) in [("dev", "d0"), ("prod", "p0")] {
        let entry = s.status.cluster(name).expect("an entry");
        assert_eq!(entry.current.as_ref().expect("something").digest, digest);
    }
    assert!(
        s.status
            .message
            .as_deref()
            .is_some_and(|m| m.contains("it crashes")),
        "{s:?}"
    );
    // Nothing happens until something else is rendered for the cluster that failed.
    let same = look(("d0", good.clone()), ("p0", "p1", good.clone()));
    let later = step(&policy, &s.status, &same, at(500));
    assert_eq!(states(&later.status), states(&s.status));
    let fixed = look(("d0", good.clone()), ("p0", "p2", good.clone()));
    let s = step(&policy, &later.status, &fixed, at(501));
    assert_eq!(states(&s.status), [("dev", Progressing), ("prod", Pending)]);
    // And a revert in Git that renders what is held ends it all.
    let reverted = seen(&[
        ("dev", sight(0, "d0", "d0", good.clone())),
        ("prod", sight(2, "p0", "p0", good)),
    ]);
    let s = step(&policy, &later.status, &reverted, at(502));
    assert_eq!(s.status.clusters, []);
}

#[test]
fn somebody_can_ask_for_another_try() {
    let policy = policy(json!({"soak": "0s"}));
    let look = |has: &str, health| seen(&[("a", sight(0, has, "d1", health))]);
    let s = step(
        &policy,
        &RolloutStatus::default(),
        &look("d0", Health::Healthy),
        at(0),
    );
    let s = step(&policy, &s.status, &look("d1", Health::Progressing), at(10));
    assert_eq!(
        states(&s.status),
        [("a", ClusterState::Failed)],
        "the deadline"
    );
    let healthy = look("d1", Health::Healthy);
    let s = step(&policy, &s.status, &healthy, at(11));
    assert_eq!(states(&s.status), [("a", ClusterState::Failed)]);
    let mut asked = healthy;
    asked.retry = true;
    let s = step(&policy, &s.status, &asked, at(12));
    assert_eq!(states(&s.status), []);
}

#[test]
fn a_wave_waits_for_its_checks_and_fails_with_them() {
    let mut policy = policy(json!({"soak": "1s"}));
    policy.waves[0].has_checks = true;
    let look = |verdict: Verdict| {
        let mut seen = seen(&[
            ("a", sight(0, "a1", "a1", Health::Healthy)),
            ("b", sight(1, "b0", "b1", Health::Healthy)),
        ]);
        seen.checks.insert(0, verdict);
        seen
    };
    let mut first = look(Verdict::Pending);
    if let Some(sight) = first.clusters.get_mut("a") {
        sight.has = Some(Rendered {
            revision: "main@0".into(),
            digest: "a0".into(),
        });
    }
    let s = step(&policy, &RolloutStatus::default(), &first, at(0));
    let s = step(&policy, &s.status, &look(Verdict::Pending), at(1));
    let waits = step(&policy, &s.status, &look(Verdict::Pending), at(100));
    use ClusterState::{Done, Failed, Held, Pending, Progressing, Soaking};
    assert_eq!(states(&waits.status), [("a", Soaking), ("b", Pending)]);
    let passed = step(&policy, &waits.status, &look(Verdict::Passed), at(101));
    assert_eq!(states(&passed.status), [("a", Done), ("b", Progressing)]);
    let failed = look(Verdict::Failed("error rate 7%".into()));
    let failed = step(&policy, &waits.status, &failed, at(101));
    assert_eq!(states(&failed.status), [("a", Failed), ("b", Held)]);
}

#[test]
fn a_budget_is_spent_before_a_rollout_is_given_up() {
    let policy = policy(json!({"soak": "0s", "maxFailed": 1, "maxConcurrent": 1}));
    let look = |a: Health, b: Health| {
        seen(&[
            ("a", sight(0, "a1", "a1", a)),
            ("b", sight(0, "b1", "b1", b)),
            ("c", sight(1, "c0", "c1", Health::Healthy)),
        ])
    };
    let mut first = look(Health::Healthy, Health::Healthy);
    for (name, digest) in [("a", "a0"), ("b", "b0")] {
        if let Some(sight) = first.clusters.get_mut(name) {
            sight.has = Some(Rendered {
                revision: "main@0".into(),
                digest: digest.into(),
            });
        }
    }
    use ClusterState::{Failed, Held, Pending, Progressing};
    let s = step(&policy, &RolloutStatus::default(), &first, at(0));
    assert_eq!(
        states(&s.status),
        [("a", Progressing), ("b", Pending), ("c", Pending)]
    );
    let bad = || Health::Failed("no".into());
    let s = step(&policy, &s.status, &look(bad(), Health::Healthy), at(3));
    assert_eq!(
        states(&s.status),
        [("a", Failed), ("b", Progressing), ("c", Pending)]
    );
    let more = step(&policy, &s.status, &look(bad(), bad()), at(7));
    assert_eq!(
        states(&more.status),
        [("a", Failed), ("b", Failed), ("c", Held)]
    );
    let fine = step(&policy, &s.status, &look(bad(), Health::Healthy), at(7));
    assert_eq!(states(&fine.status)[2], ("c", Progressing), "one may fail");
}

#[test]
fn what_does_not_build_lets_nobody_skip_ahead() {
    let policy = policy(json!({"soak": "0s"}));
    let mut look = seen(&[
        ("a", sight(0, "a0", "a1", Health::Healthy)),
        ("b", sight(1, "b0", "b1", Health::Healthy)),
    ]);
    look.clusters.get_mut("a").expect("it is there").wanted = Wanted::Unknown;
    let s = step(&policy, &RolloutStatus::default(), &look, at(0));
    use ClusterState::{Failed, Held, Pending};
    assert_eq!(
        states(&s.status),
        [("b", Pending)],
        "not before everything is known"
    );
    look.clusters.get_mut("a").expect("it is there").wanted = Wanted::Broken {
        revision: "main@1".into(),
        message: "kustomization.yaml:3: no".into(),
    };
    let s = step(&policy, &RolloutStatus::default(), &look, at(1));
    assert_eq!(states(&s.status), [("a", Failed), ("b", Held)]);
    assert_eq!(policy.on_failure, OnFailure::Halt);
    assert_eq!(policy.waves.len(), WAVES);
}
