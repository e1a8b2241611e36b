//! What a Pipeline's status is, and which Promotions it makes: a pure function of what is known.

use fairway_types::ConditionStatus;
use fairway_types::conditions;
use fairway_types::names::{self, reason};
use fairway_types::pipeline::{
    BlockedVersion, PipelineStatus, Stage, StageStatus, UnblockedVersion, VERSIONS_LENGTH,
    VerifiedVersion,
};
use fairway_types::promotion::{Intent, Phase};
use jiff::Timestamp;

use super::facts::{Attempt, Facts, StageSeen, queue};

/// A Promotion to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct New {
    /// Its name.
    pub name: String,
    /// The stage.
    pub stage: String,
    /// The version.
    pub version: String,
    /// The version that the stage has.
    pub from: Option<String>,
    /// What it is made for.
    pub arrival: String,
    /// Why, for people.
    pub reason: String,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The status. Where there is something to create, that comes first, and the plan is made anew then.
    pub status: PipelineStatus,
    /// Promotions to make.
    pub create: Vec<New>,
    /// Promotions that are older than what is kept.
    pub delete: Vec<String>,
    /// What people are told: whether it is bad, the reason, the message.
    pub tells: Vec<(bool, &'static str, String)>,
}

/// The most versions that are remembered as unblocked.
const UNBLOCKED: usize = 50;

/// Decides.
pub fn plan(facts: &Facts<'_>, before: &PipelineStatus, now: Timestamp) -> Plan {
    let mut plan = Plan {
        status: before.clone(),
        create: Vec::new(),
        delete: Vec::new(),
        tells: Vec::new(),
    };
    stages(facts, &mut plan.status);
    unblock(facts, &mut plan, now);
    versions(facts, &mut plan.status);
    block(facts, &mut plan);
    for (index, stage) in facts.spec.stages.iter().enumerate() {
        let holder = plan.status.stages[index].promotion.clone();
        let (holds, waits) = queue(&stage.name, holder.as_deref(), &facts.promotions);
        plan.status.stages[index].promotion = holds.map(str::to_owned);
        plan.status.stages[index].queue = waits;
    }
    if facts.conflict.is_none() && !facts.spec.suspend {
        arrive(facts, &mut plan);
        for index in 1..facts.spec.stages.len() {
            offer(facts, &mut plan, index);
        }
        history(facts, &mut plan);
    }
    for index in 0..facts.spec.stages.len() {
        plan.status.stages[index].blocked_by = why_not(facts, &plan.status, index);
    }
    judge(facts, &mut plan.status, now);
    plan
}

/// What is seen of each stage; what only this status knows of it is kept.
fn stages(facts: &Facts<'_>, status: &mut PipelineStatus) {
    let known = std::mem::take(&mut status.stages);
    for (stage, seen) in facts.spec.stages.iter().zip(&facts.stages) {
        let mut now = known
            .iter()
            .find(|known| known.name == stage.name)
            .cloned()
            .unwrap_or_else(|| StageStatus {
                name: stage.name.clone(),
                ..StageStatus::default()
            });
        match &seen.version {
            None => {}
            Some(Ok(version)) => {
                now.version.clone_from(version);
                now.revision.clone_from(&seen.revision);
                now.message = None;
            }
            Some(Err(problem)) => now.message = Some(problem.clone()),
        }
        let clusters = &seen.spread.clusters;
        let deviates = |name: &str| seen.deviations.iter().any(|one| one.cluster == name);
        let unhealthy = clusters.iter().find(|cluster| {
            !(deviates(&cluster.name)
                || now
                    .version
                    .as_deref()
                    .is_some_and(|version| cluster.is_healthy_with(version)))
        });
        now.clusters = clusters.len() as i32;
        now.healthy_clusters = clusters
            .iter()
            .filter(|cluster| {
                now.version
                    .as_deref()
                    .is_some_and(|version| cluster.is_healthy_with(version))
            })
            .count() as i32;
        now.healthy = !clusters.is_empty()
            && seen.spread.problem.is_none()
            && unhealthy.is_none()
            && now.message.is_none();
        if now.message.is_none() {
            now.message = match (&seen.spread.problem, unhealthy) {
                (Some(problem), _) => Some(problem.clone()),
                (None, Some(cluster)) if cluster.applied == now.version => {
                    Some(format!("{}: {}", cluster.name, cluster.how.message()))
                }
                (None, Some(cluster)) => Some(format!(
                    "{}: at {}",
                    cluster.name,
                    cluster.applied.as_deref().unwrap_or("no version")
                )),
                (None, None) if clusters.is_empty() => {
                    Some("no cluster matches the stage".to_owned())
                }
                (None, None) => None,
            };
        }
        now.frozen.clone_from(&seen.frozen);
        now.deviations.clone_from(&seen.deviations);
        status.stages.push(now);
    }
    let text: Vec<String> = status
        .stages
        .iter()
        .map(|stage| format!("{} {}", stage.name, stage.version.as_deref().unwrap_or("?")))
        .collect();
    status.summary = Some(text.join(", "));
}

/// Takes blocks away that somebody wants gone: `VERSION VERSION@WHEN`, `*@WHEN`.
fn unblock(facts: &Facts<'_>, plan: &mut Plan, now: Timestamp) {
    let Some(wanted) = facts.unblock else { return };
    if plan.status.last_handled_unblock.as_deref() == Some(wanted) {
        return;
    }
    let versions = wanted
        .rsplit_once('@')
        .map_or(wanted, |(versions, _)| versions);
    for version in versions.split_whitespace() {
        let is = |known: &str| version == "*" || known == version;
        plan.status
            .blocked_versions
            .retain(|blocked| !is(&blocked.version));
        plan.status
            .unblocked_versions
            .retain(|known| !is(&known.version));
        plan.status.unblocked_versions.push(UnblockedVersion {
            version: version.to_owned(),
            at: now,
        });
        // What was passed over while it was blocked is looked at again.
        for stage in &mut plan.status.stages {
            let offered = stage.offered.as_deref().and_then(read_key);
            if offered.is_some_and(|(known, _)| is(known)) {
                stage.offered = None;
            }
        }
        plan.tells.push((
            false,
            "Unblocked",
            format!("{version} may be promoted again"),
        ));
    }
    let too_many = plan
        .status
        .unblocked_versions
        .len()
        .saturating_sub(UNBLOCKED);
    plan.status.unblocked_versions.drain(..too_many);
    plan.status.last_handled_unblock = Some(wanted.to_owned());
}

/// Notes what was verified, and what was taken back.
fn versions(facts: &Facts<'_>, status: &mut PipelineStatus) {
    let records = &mut status.versions;
    records.retain(|record| facts.spec.stage(&record.stage).is_some());
    for attempt in &facts.promotions {
        let Some(at) = ended(attempt, Phase::Succeeded) else {
            continue;
        };
        if attempt.spec.intent == Intent::Rollback {
            let from = attempt.status.from.as_deref();
            for record in records.iter_mut().filter(|record| {
                record.stage == attempt.spec.stage
                    && Some(record.version.as_str()) == from
                    && record.at <= at
                    && record.revoked.is_none()
            }) {
                record.revoked = Some(format!("rolled back by {}", attempt.name));
            }
            continue;
        }
        if attempt.spec.is_targeted() {
            continue;
        }
        let revoked = attempt.revoked.any().then(|| {
            let names: Vec<&str> = attempt.revoked.names.iter().map(String::as_str).collect();
            format!("revoked: {}", names.join(", "))
        });
        if let Some(known) = records
            .iter_mut()
            .find(|record| record.promotion == attempt.name && record.stage == attempt.spec.stage)
        {
            let by_hand = known
                .revoked
                .as_ref()
                .is_none_or(|why| why.starts_with("revoked:"));
            if by_hand {
                known.revoked = revoked;
            }
            continue;
        }
        let commit = attempt.status.commit(Intent::Promote);
        let commit = commit.map(|commit| commit.sha.clone());
        records.push(VerifiedVersion {
            stage: attempt.spec.stage.clone(),
            version: attempt.status.to.clone().unwrap_or_default(),
            at,
            promotion: attempt.name.to_owned(),
            commit: commit.or_else(|| attempt.status.source_commit.clone()),
            evidence: Some(evidence(attempt)),
            revoked,
        });
    }
    records.sort_by(|a, b| {
        (&a.stage, a.at, a.promotion.len(), &a.promotion).cmp(&(
            &b.stage,
            b.at,
            b.promotion.len(),
            &b.promotion,
        ))
    });
    for stage in &facts.spec.stages {
        let count = records
            .iter()
            .filter(|record| record.stage == stage.name)
            .count();
        let mut surplus = count.saturating_sub(VERSIONS_LENGTH);
        records.retain(|record| {
            if record.stage == stage.name && surplus > 0 {
                surplus -= 1;
                return false;
            }
            true
        });
    }
}

fn evidence(attempt: &Attempt<'_>) -> String {
    let all = attempt
        .status
        .gates
        .iter()
        .chain(&attempt.status.verification);
    let texts: Vec<String> = all
        .map(|check| match check.message.as_str() {
            "" => check.name.clone(),
            message => format!("{}: {message}", check.name),
        })
        .collect();
    let mut text = texts.join("; ");
    if let Some((end, _)) = text.char_indices().nth(512) {
        text.truncate(end);
    }
    text
}

/// When a Promotion ended this way.
fn ended(attempt: &Attempt<'_>, phase: Phase) -> Option<Timestamp> {
    (attempt.status.phase == phase)
        .then(|| attempt.status.since(phase))
        .flatten()
}

/// Blocks the versions that failed.
fn block(facts: &Facts<'_>, plan: &mut Plan) {
    for attempt in &facts.promotions {
        let status = attempt.status;
        let failed = matches!(
            status.phase,
            Phase::Failed | Phase::RollingBack | Phase::RolledBack
        );
        let (Some(version), Some(why)) = (&status.to, &status.failure) else {
            continue;
        };
        let Some(since) = status
            .since(Phase::RollingBack)
            .into_iter()
            .chain(status.since(Phase::Failed))
            .min()
        else {
            continue;
        };
        if !failed || attempt.spec.intent == Intent::Rollback {
            continue;
        }
        let unblocked =
            plan.status.unblocked_versions.iter().any(|known| {
                (known.version == *version || known.version == "*") && known.at >= since
            });
        if unblocked || plan.status.blocked(version).is_some() {
            continue;
        }
        plan.tells.push((
            true,
            "Blocked",
            format!(
                "{version} failed in {} and is blocked: {why}",
                attempt.spec.stage
            ),
        ));
        plan.status.blocked_versions.push(BlockedVersion {
            version: version.clone(),
            stage: attempt.spec.stage.clone(),
            since,
            reason: why.clone(),
            promotion: attempt.name.to_owned(),
        });
    }
}

/// `VERSION@TIME`.
fn key(record: &VerifiedVersion) -> String {
    format!("{}@{}", record.version, record.at)
}

fn read_key(key: &str) -> Option<(&str, Timestamp)> {
    let (version, at) = key.rsplit_once('@')?;
    Some((version, at.parse().ok()?))
}

/// What came to the first stage by a commit of somebody is recorded as a Promotion, so that it is verified and the history
/// is whole.
fn arrive(facts: &Facts<'_>, plan: &mut Plan) {
    let (Some(stage), Some(seen)) = (facts.spec.stages.first(), facts.stages.first()) else {
        return;
    };
    let Some(version) = seen.version() else {
        return;
    };
    let recorded = plan.status.stages[0].recorded.clone();
    if recorded.as_deref() == Some(version) {
        return;
    }
    // The commit of a Promotion is no arrival.
    let is_ours = facts.promotions.iter().any(|attempt| {
        attempt.spec.stage == stage.name
            && attempt.is_open()
            && match attempt.status.phase {
                Phase::RollingBack => attempt.status.from.as_deref() == Some(version),
                Phase::Queued | Phase::Gating => false,
                _ => attempt.status.to.as_deref() == Some(version),
            }
    }) || facts.promotions.iter().any(|attempt| {
        let commit = attempt
            .status
            .commits
            .last()
            .map(|commit| commit.sha.as_str());
        let head = seen
            .revision
            .as_deref()
            .and_then(|revision| revision.rsplit(':').next());
        attempt.spec.stage == stage.name && commit.is_some() && commit == head
    });
    let arrival = format!("{version}@{}", seen.revision.as_deref().unwrap_or_default());
    let is_made = facts
        .promotions
        .iter()
        .any(|attempt| attempt.spec.stage == stage.name && attempt.arrival == Some(&arrival));
    if is_ours || is_made {
        plan.status.stages[0].recorded = Some(version.to_owned());
        return;
    }
    let new = New {
        name: next_name(facts, &plan.status.stages[0]),
        stage: stage.name.clone(),
        version: version.to_owned(),
        from: recorded,
        arrival,
        reason: format!("{version} arrived in {}", stage.name),
    };
    plan.create.push(new);
}

/// The next name: counts on from what was made, and from what is there.
fn next_name(facts: &Facts<'_>, stage: &StageStatus) -> String {
    let prefix = format!("{}-{}-", facts.name, stage.name);
    let highest = facts
        .promotions
        .iter()
        .filter_map(|attempt| attempt.name.strip_prefix(&prefix)?.parse::<i64>().ok())
        .max()
        .unwrap_or(0);
    format!("{prefix}{}", highest.max(stage.made) + 1)
}

/// Promotes by itself what was verified in the stage before.
fn offer(facts: &Facts<'_>, plan: &mut Plan, index: usize) {
    let (stage, previous) = (&facts.spec.stages[index], &facts.spec.stages[index - 1]);
    let made = &mut plan.status.stages[index];
    let prefix = format!("{}-{}-", facts.name, stage.name);
    for attempt in &facts.promotions {
        let number = attempt.name.strip_prefix(&prefix);
        if let Some(number) = number.and_then(|text| text.parse::<i64>().ok()) {
            made.made = made.made.max(number);
        }
    }
    if !stage.auto || facts.stages[index].version.is_none() {
        return;
    }
    let offered = plan.status.stages[index].offered.clone();
    let offered = offered.as_deref().and_then(read_key);
    let is_new = |record: &&VerifiedVersion| {
        record.stage == previous.name
            && record.revoked.is_none()
            && offered.is_none_or(|(version, at)| {
                record.at > at || (record.at == at && record.version != version)
            })
    };
    let records: Vec<VerifiedVersion> = plan
        .status
        .versions
        .iter()
        .filter(is_new)
        .cloned()
        .collect();
    let records = match facts.spec.queue {
        fairway_types::pipeline::QueueRule::All if offered.is_some() => &records[..],
        // The newest alone: at the beginning, what was verified long ago is not brought up again.
        _ => &records[records.len().saturating_sub(1)..],
    };
    for record in records {
        let arrival = key(record);
        let version = record.version.as_str();
        if plan.status.blocked(version).is_some() {
            // Looked at again once it is unblocked.
            return;
        }
        let mine = |attempt: &&Attempt<'_>| attempt.spec.stage == stage.name;
        let is_made = facts
            .promotions
            .iter()
            .filter(mine)
            .any(|attempt| attempt.arrival == Some(&arrival) && !again(plan, attempt));
        let is_asked = facts.promotions.iter().filter(mine).any(|attempt| {
            attempt.is_open()
                && attempt.spec.intent == Intent::Promote
                && !attempt.spec.is_targeted()
                && attempt.spec.version.as_deref() == Some(version)
        });
        let stands = facts.stages[index].version() == Some(version);
        if is_made || is_asked || stands {
            plan.status.stages[index].offered = Some(arrival);
            continue;
        }
        plan.create.push(New {
            name: next_name(facts, &plan.status.stages[index]),
            stage: stage.name.clone(),
            version: version.to_owned(),
            // It may wait while others go first: what the stage has then is what it goes from.
            from: None,
            arrival,
            reason: format!("{version} is verified in {}", previous.name),
        });
        // One at a time: the next one gets the next name.
        return;
    }
}

/// Whether an attempt failed before its version was unblocked, so that it may be tried again.
fn again(plan: &Plan, attempt: &Attempt<'_>) -> bool {
    let Some(end) = attempt.status.transitions.last() else {
        return false;
    };
    attempt.status.phase.is_final()
        && attempt.status.failure.is_some()
        && plan.status.unblocked_versions.iter().any(|known| {
            (known.version == "*" || Some(known.version.as_str()) == attempt.status.to.as_deref())
                && known.at >= end.at
        })
}

/// Lets go of Promotions that are older than what is kept. One whose audit entries wait is kept.
fn history(facts: &Facts<'_>, plan: &mut Plan) {
    for stage in &facts.spec.stages {
        let mut done: Vec<&Attempt<'_>> = facts
            .promotions
            .iter()
            .filter(|attempt| attempt.spec.stage == stage.name && attempt.status.phase.is_final())
            .filter(|attempt| attempt.status.audit.is_empty() && !attempt.is_going)
            .collect();
        done.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| b.name.cmp(a.name)));
        let old = done.iter().skip(facts.spec.history_limit());
        plan.delete
            .extend(old.map(|attempt| attempt.name.to_owned()));
    }
}

/// Why the version of the stage before does not come to a stage now.
fn why_not(facts: &Facts<'_>, status: &PipelineStatus, index: usize) -> Option<String> {
    let stage: &Stage = facts.spec.stages.get(index)?;
    let seen: &StageSeen = facts.stages.get(index)?;
    let previous = facts.spec.stages.get(index.checked_sub(1)?)?;
    let record = status
        .versions
        .iter()
        .rev()
        .find(|record| record.stage == previous.name && record.revoked.is_none());
    let at_head = facts.stages.get(index - 1)?.version();
    if at_head.is_none() || at_head == seen.version() {
        return None;
    }
    let Some(record) = record.filter(|record| Some(record.version.as_str()) == at_head) else {
        return Some(format!(
            "{} is not verified in {} yet",
            at_head.unwrap_or_default(),
            previous.name
        ));
    };
    if let Some(blocked) = status.blocked(&record.version) {
        return Some(format!(
            "{} failed in {} and is blocked: {}",
            blocked.version, blocked.stage, blocked.reason
        ));
    }
    let open = facts.promotions.iter().find(|attempt| {
        attempt.is_open()
            && attempt.spec.stage == stage.name
            && attempt.spec.version.as_deref() == Some(record.version.as_str())
    });
    if let Some(attempt) = open {
        let message = conditions::get(&attempt.status.conditions, names::READY)
            .map(|ready| ready.message.clone())
            .filter(|message| !message.is_empty());
        return Some(match message {
            Some(message) => format!("{}: {message}", attempt.name),
            None => format!("{} is on its way", attempt.name),
        });
    }
    if facts.spec.suspend {
        return Some("the Pipeline is suspended".to_owned());
    }
    if stage.auto {
        return seen.frozen.clone();
    }
    Some(format!("{} waits to be asked for", record.version))
}

fn judge(facts: &Facts<'_>, status: &mut PipelineStatus, now: Timestamp) {
    let stuck = facts.promotions.iter().find_map(|attempt| {
        let needs = conditions::get(&attempt.status.conditions, names::NEEDS_ATTENTION)?;
        (attempt.is_open() && needs.status == ConditionStatus::True)
            .then(|| format!("{}: {}", attempt.name, needs.message))
    });
    let problem = facts
        .spec
        .stages
        .iter()
        .zip(&facts.stages)
        .find_map(|(stage, seen)| match &seen.version {
            Some(Err(problem)) => Some(format!("stage {}: {problem}", stage.name)),
            _ => None,
        });
    let summary = status.summary.clone().unwrap_or_default();
    let unread = facts.stages.iter().any(|seen| seen.version.is_none());
    let (is, reason, message) = if let Some(conflict) = &facts.conflict {
        (
            ConditionStatus::Unknown,
            reason::ENGINE_CONFLICT,
            conflict.clone(),
        )
    } else if let Some(problem) = problem {
        (ConditionStatus::False, reason::ARTIFACT_FAILED, problem)
    } else if let Some(stuck) = &stuck {
        (
            ConditionStatus::False,
            names::NEEDS_ATTENTION,
            stuck.clone(),
        )
    } else if facts.spec.suspend {
        (
            ConditionStatus::Unknown,
            reason::SUSPENDED,
            format!("suspended; {summary}"),
        )
    } else if unread {
        (
            ConditionStatus::Unknown,
            reason::PROGRESSING,
            "the source is not fetched yet".to_owned(),
        )
    } else {
        (ConditionStatus::True, reason::SUCCEEDED, summary)
    };
    let generation = facts.generation;
    conditions::set(
        &mut status.conditions,
        names::READY,
        is,
        reason,
        &message,
        generation,
        now,
    );
    match stuck {
        Some(stuck) => {
            conditions::set(
                &mut status.conditions,
                names::NEEDS_ATTENTION,
                ConditionStatus::True,
                "Promotion",
                &stuck,
                generation,
                now,
            );
        }
        None => {
            conditions::remove(&mut status.conditions, names::NEEDS_ATTENTION);
        }
    }
    conditions::ready_first(&mut status.conditions);
    status.observed_generation = generation;
    if let Some(requested) = facts.requested {
        status.last_handled_reconcile_at = Some(requested.to_owned());
    }
}
