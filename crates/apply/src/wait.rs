//! Waits until objects have reached their desired state: by what a [`Witness`] sees, and by asking where nobody watches.

mod pods;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use fairway_types::{InventoryEntry, ObjectId};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    api::Session,
    error::RequestError,
    health::{Health, Judge, Status},
    mapper::{Mapper, Resource},
    witness::Witness,
};

/// Settings of a wait.
#[derive(Clone)]
pub struct Options {
    /// The time allowed.
    pub timeout: Duration,
    /// Ends as soon as one object has failed, instead of when nothing can change any more.
    pub fail_fast: bool,
    /// Jobs that delete themselves when they are done: not being there is fine.
    pub vanishing: HashSet<ObjectId>,
    /// Who watches.
    pub witness: Option<Arc<dyn Witness>>,
    /// How health is judged.
    pub judge: Judge,
}

impl Options {
    /// A wait of this length that ends with the first failure.
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            fail_fast: true,
            vanishing: HashSet::new(),
            witness: None,
            judge: Judge::default(),
        }
    }
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything is as desired.
    Healthy,
    /// Something failed.
    Failed,
    /// The time was up.
    TimedOut,
}

/// What a wait saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub end: End,
    /// Every object as it was last seen.
    pub results: BTreeMap<ObjectId, Health>,
}

impl Report {
    /// Whether everything is as desired.
    pub fn is_healthy(&self) -> bool {
        self.end == End::Healthy
    }

    /// What is wrong, as Flux says it; none where nothing is.
    pub fn message(&self) -> Option<String> {
        let (start, relevant): (_, fn(Status) -> bool) = match self.end {
            End::Healthy => return None,
            End::Failed => ("failed early due to stalled resources", |status| {
                status == Status::Failed
            }),
            End::TimedOut => ("timeout waiting for", |status| status != Status::Current),
        };
        let lines: Vec<_> = self
            .results
            .iter()
            .filter(|(_, health)| relevant(health.status))
            .map(|(id, health)| match health.status {
                Status::Failed if !health.message.is_empty() => {
                    format!(
                        "{} status: '{}': {}",
                        id.subject(),
                        health.status,
                        health.message
                    )
                }
                Status::Unknown => format!(
                    "{} status: '{}': {}",
                    id.subject(),
                    health.status,
                    health.message
                ),
                _ => format!("{} status: '{}'", id.subject(), health.status),
            })
            .collect();
        Some(format!("{start}: [{}]", lines.join(", ")))
    }
}

/// First pause between two questions about the same object; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const CONCURRENCY: usize = 8;
/// A look at all objects that takes no longer than this may be repeated at once.
const LEAST_COST: Duration = Duration::from_millis(2);
/// Longest pause before changes are looked at.
const MOST_PAUSE: Duration = Duration::from_millis(100);

/// Waits for objects. Cancel it by dropping the future.
pub async fn wait(
    session: &Session,
    mapper: &Mapper,
    objects: &[InventoryEntry],
    options: &Options,
) -> Report {
    let deadline = Instant::now() + options.timeout;
    let mut polls = Polls::default();
    let mut crashes = pods::Crashes::default();
    let mut results: BTreeMap<ObjectId, Health> = BTreeMap::new();
    let targets: Vec<(ObjectId, &str)> = objects
        .iter()
        .filter_map(|entry| Some((entry.object().ok()?, entry.v.as_str())))
        .collect();
    let ids: Vec<ObjectId> = targets.iter().map(|(id, _)| id.clone()).collect();
    let changes = options
        .witness
        .as_ref()
        .map(|witness| witness.interest(&ids));
    drop(ids);
    for (id, _) in &targets {
        results.insert(
            id.clone(),
            Health {
                status: Status::Unknown,
                message: "not seen yet".into(),
            },
        );
    }
    loop {
        let began = Instant::now();
        let mut unwatched = Vec::new();
        for (id, version) in &targets {
            match options
                .witness
                .as_ref()
                .and_then(|witness| witness.health_of(id, &options.judge))
            {
                Some(health) => match results.get_mut(id) {
                    Some(known) => *known = health,
                    None => {
                        results.insert(id.clone(), health);
                    }
                },
                None => unwatched.push((id, *version)),
            }
        }
        polls
            .ask(session, mapper, &options.judge, &unwatched, &mut results)
            .await;
        let by_kstatus = |id: &ObjectId| options.judge.fingerprint(&id.group, &id.kind) == 0;
        crashes
            .look(session, mapper, &targets, by_kstatus, &mut results)
            .await;
        if let Some(end) = judge(&results, options) {
            return Report { end, results };
        }
        let now = Instant::now();
        if now >= deadline {
            return Report {
                end: End::TimedOut,
                results,
            };
        }
        let next = [polls.next(&unwatched), crashes.next(), Some(deadline)];
        let next = next.into_iter().flatten().min().unwrap_or(deadline);
        match &changes {
            Some(changes) => {
                tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = changes.notified() => {
                        // Many objects that change one after the other are not all looked at each time.
                        let pause = now.duration_since(began) * 2;
                        if unwatched.is_empty() && pause > LEAST_COST {
                            tokio::time::sleep(pause.min(MOST_PAUSE)).await;
                        }
                    }
                }
            }
            None => tokio::time::sleep_until(next).await,
        }
    }
}

fn judge(results: &BTreeMap<ObjectId, Health>, options: &Options) -> Option<End> {
    let (mut failed, mut open) = (false, false);
    for (id, health) in results {
        match health.status {
            Status::Current => {}
            Status::NotFound if options.vanishing.contains(id) => {}
            Status::Failed => failed = true,
            _ => open = true,
        }
    }
    match (failed, open) {
        (false, false) => Some(End::Healthy),
        (true, false) => Some(End::Failed),
        (true, true) if options.fail_fast => Some(End::Failed),
        _ => None,
    }
}

/// When each object that nobody watches is asked for next.
#[derive(Default)]
struct Polls {
    due: HashMap<ObjectId, (Instant, Duration)>,
    resources: HashMap<ObjectId, Resource>,
}

impl Polls {
    fn next(&self, objects: &[(&ObjectId, &str)]) -> Option<Instant> {
        objects
            .iter()
            .filter_map(|(id, _)| self.due.get(*id))
            .map(|(at, _)| *at)
            .min()
    }

    async fn ask(
        &mut self,
        session: &Session,
        mapper: &Mapper,
        judge: &Judge,
        objects: &[(&ObjectId, &str)],
        results: &mut BTreeMap<ObjectId, Health>,
    ) {
        let now = Instant::now();
        let mut questions: Vec<BoxFuture<'_, _>> = Vec::new();
        for (id, version) in objects {
            if self.due.get(*id).is_some_and(|(at, _)| *at > now) {
                continue;
            }
            let question = health_now(
                session,
                mapper,
                judge,
                id,
                version,
                self.resources.get(*id).cloned(),
            );
            let id: &ObjectId = id;
            questions.push(question.map(move |answer| (id, answer)).boxed());
        }
        let answers: Vec<_> = stream::iter(questions)
            .buffered(CONCURRENCY)
            .collect()
            .await;
        for (id, answer) in answers {
            let health = match answer {
                Ok((resource, health)) => {
                    self.resources.insert(id.clone(), resource);
                    health
                }
                Err(error) => Health {
                    status: Status::Unknown,
                    message: error.to_string(),
                },
            };
            let settled = results.get(id) == Some(&health);
            results.insert(id.clone(), health);
            let pause = match self.due.get(id) {
                Some((_, pause)) if settled => (*pause * 2).min(LONGEST_PAUSE),
                _ => FIRST_PAUSE,
            };
            self.due.insert(id.clone(), (Instant::now() + pause, pause));
        }
    }
}

async fn health_now(
    session: &Session,
    mapper: &Mapper,
    judge: &Judge,
    id: &ObjectId,
    version: &str,
    resource: Option<Resource>,
) -> Result<(Resource, Health), RequestError> {
    let resource = match resource {
        Some(resource) => resource,
        // Health checks may leave the API version out.
        None if version.is_empty() && id.group.is_empty() => mapper.of_kind(&id.kind).await?,
        None => mapper.served(&id.group, version, &id.kind).await?,
    };
    let health = match session.get(&resource, &id.namespace, &id.name).await? {
        Some(object) => judge.of(&object, Timestamp::now()),
        None => Health::not_found(),
    };
    Ok((resource, health))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ObjectId {
        ObjectId {
            namespace: "a".into(),
            name: name.into(),
            group: "apps".into(),
            kind: "Deployment".into(),
        }
    }

    #[test]
    fn messages_are_what_flux_prints() {
        let results = BTreeMap::from([
            (id("x"), Health::in_progress("Ready: 0/1")),
            (id("y"), Health::failed("Progress deadline exceeded")),
            (id("z"), Health::current("fine")),
        ]);
        let timed_out = Report {
            end: End::TimedOut,
            results: results.clone(),
        };
        assert_eq!(
            timed_out.message().unwrap(),
            "timeout waiting for: [Deployment/a/x status: 'InProgress', Deployment/a/y status: 'Failed': Progress deadline exceeded]"
        );
        let failed = Report {
            end: End::Failed,
            results,
        };
        assert_eq!(
            failed.message().unwrap(),
            "failed early due to stalled resources: [Deployment/a/y status: 'Failed': Progress deadline exceeded]"
        );
    }

    #[test]
    fn a_wait_ends_when_nothing_can_change_any_more() {
        let patient = Options {
            fail_fast: false,
            ..Options::new(Duration::from_secs(1))
        };
        let hasty = Options::new(Duration::from_secs(1));
        let (current, failed, open) = (
            Health::current(""),
            Health::failed(""),
            Health::in_progress(""),
        );
        let results = |healths: &[&Health]| {
            healths
                .iter()
                .enumerate()
                .map(|(n, health)| (id(&n.to_string()), (*health).clone()))
                .collect()
        };
        assert_eq!(judge(&results(&[&current]), &hasty), Some(End::Healthy));
        assert_eq!(judge(&results(&[]), &hasty), Some(End::Healthy));
        assert_eq!(judge(&results(&[&current, &open]), &hasty), None);
        assert_eq!(
            judge(&results(&[&failed, &open]), &hasty),
            Some(End::Failed)
        );
        assert_eq!(judge(&results(&[&failed, &open]), &patient), None);
        assert_eq!(
            judge(&results(&[&failed, &current]), &patient),
            Some(End::Failed)
        );
        let gone = BTreeMap::from([(id("job"), Health::not_found())]);
        assert_eq!(judge(&gone, &hasty), None);
        let vanishing = Options {
            vanishing: HashSet::from([id("job")]),
            ..hasty
        };
        assert_eq!(judge(&gone, &vanishing), Some(End::Healthy));
    }
}
