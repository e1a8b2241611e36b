//! The health of what was applied, or of what `healthChecks` names.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use fairway_apply::Session;
use fairway_apply::health::{Health, Status};
use fairway_apply::wait::{self, End};
use fairway_types::names::{self, reason};
use fairway_types::{InventoryEntry, Kustomization, ObjectId, conditions};

use super::apply::{Applied, Work};
use super::attempt::Attempt;
use super::failure::Failure;
use super::progress;
use crate::events::Severity;
use crate::home::Key;
use crate::queue::Ticket;
use crate::source::NOT_RUN;

/// How long something may be missing that only a controller which does not run here could make.
const ABSENCE: Duration = Duration::from_secs(4);

/// What is looked for and not there.
struct Missing {
    since: Instant,
    /// What is no longer waited for.
    passed: HashSet<ObjectId>,
    /// What was built: it will be there.
    built: HashSet<ObjectId>,
}

impl Missing {
    /// Whether an object that is looked for would be made by a controller that does not run here: it is not there, and
    /// nothing that was built makes it.
    fn is_made_elsewhere(&self, id: &ObjectId, health: &Health) -> bool {
        let is_missing = health.status == Status::NotFound
            || (health.status == Status::Unknown && health.message.contains("no matches for kind"));
        is_missing && !self.built.contains(id)
    }
}

impl Work<'_> {
    /// Waits until everything is healthy, or says what is not.
    pub(super) async fn check(
        &self,
        attempt: &mut Attempt<'_>,
        ticket: &Ticket<Key>,
        session: &Session,
        applied: Applied,
    ) -> Result<(), Failure> {
        let changed = applied.changed;
        let object = attempt.object.clone();
        let spec = &object.spec;
        let entries = if spec.wait {
            applied.checked
        } else {
            self.listed(&object).await?
        };
        let is_self = |entry: &InventoryEntry| {
            entry.object().is_ok_and(|id| {
                id.kind == "Kustomization"
                    && id.group == names::KUSTOMIZE_GROUP
                    && id.name == self.key.name
                    && id.namespace == self.key.namespace
            })
        };
        let entries: Vec<InventoryEntry> = entries
            .into_iter()
            .filter(|entry| !is_self(entry))
            .collect();
        let now = attempt.now();
        if entries.is_empty() {
            progress::checked(&mut attempt.status, None, now);
            return Ok(());
        }
        let was_healthy = conditions::is_true(&attempt.status.conditions, names::HEALTHY);
        let is_new = attempt.status.last_applied_revision.as_deref() != Some(self.revision);
        let started = Instant::now();
        self.target.settle().await;
        let mut options = wait::Options::new(Duration::from_secs(1));
        options.witness = self.target.witness();
        options.judge = self.judge.clone();
        options.vanishing = applied.vanishing;
        // Most of the time everything is fine already, and a status that says "checking" would only be noise.
        let mut missing = Missing {
            since: started,
            passed: HashSet::new(),
            built: applied.built,
        };
        let mut report = self
            .wait(session, &entries, &options, ticket, &mut missing)
            .await?;
        let timeout = spec.timeout();
        let mut said = String::new();
        let mut step = options.timeout;
        while report.end == End::TimedOut {
            let left = timeout.get().saturating_sub(started.elapsed());
            if left.is_zero() {
                break;
            }
            let message = format!(
                "Running health checks for revision {} with a timeout of {timeout}{}",
                self.revision,
                waiting_for(&report)
            );
            if message != said {
                progress::checking(&mut attempt.status, &message, now);
                attempt.write().await.map_err(|error| {
                    let message =
                        format!("unable to update the healthy status to progressing: {error}");
                    Failure::failed(reason::RECONCILIATION_FAILED, message)
                })?;
                said = message;
            }
            // Ever longer steps: what is waited for is said soon, and a long wait costs few writes.
            step = (step * 3).min(Duration::from_secs(30));
            options.timeout = step.min(left);
            report = self
                .wait(session, &entries, &options, ticket, &mut missing)
                .await?;
        }
        let took = fairway_types::Duration::from(round(started.elapsed()));
        let now = attempt.now();
        match report.message() {
            None => {
                let message = format!("Health check passed in {took}");
                if !was_healthy || (is_new && changed) {
                    attempt.tell(Severity::Info, None, message.clone(), Some(self.revision));
                }
                if !was_healthy || changed || is_new {
                    progress::checked(&mut attempt.status, Some(Ok(&message)), now);
                }
                Ok(())
            }
            Some(why) => {
                progress::checked(&mut attempt.status, Some(Err(&why)), now);
                let message = format!("health check failed after {took}: {why}");
                Err(Failure::failed(reason::HEALTH_CHECK_FAILED, message))
            }
        }
    }

    /// Waits, unless the run is asked for again meanwhile. What nobody here runs is not waited for.
    async fn wait(
        &self,
        session: &Session,
        entries: &[InventoryEntry],
        options: &wait::Options,
        ticket: &Ticket<Key>,
        missing: &mut Missing,
    ) -> Result<wait::Report, Failure> {
        if !self.is_offline() {
            return tokio::select! {
                report = wait::wait(session, &self.target.mapper, entries, options) => Ok(report),
                () = ticket.superseded() => Err(Failure::Superseded),
                () = self.context.stop.cancelled() => Err(Failure::Stopped),
            };
        }
        let deadline = Instant::now() + options.timeout;
        loop {
            let passes = |entry: &&InventoryEntry| {
                self.is_not_run(entry)
                    || entry.object().is_ok_and(|id| missing.passed.contains(&id))
            };
            let run: Vec<InventoryEntry> = entries
                .iter()
                .filter(|entry| !passes(entry))
                .cloned()
                .collect();
            let left = deadline.saturating_duration_since(Instant::now());
            let mut step = options.clone();
            step.timeout = left.min(Duration::from_secs(1));
            let report = tokio::select! {
                report = wait::wait(session, &self.target.mapper, &run, &step) => report,
                () = ticket.superseded() => return Err(Failure::Superseded),
                () = self.context.stop.cancelled() => return Err(Failure::Stopped),
            };
            if report.end != End::TimedOut || left.is_zero() {
                return Ok(report);
            }
            if missing.since.elapsed() >= ABSENCE {
                let passed: Vec<ObjectId> = report
                    .results
                    .iter()
                    .filter(|(id, health)| missing.is_made_elsewhere(id, health))
                    .map(|(id, _)| id.clone())
                    .collect();
                missing.passed.extend(passed);
            }
        }
    }

    /// Whether an entry is a Flux object of this home that is not run.
    fn is_not_run(&self, entry: &InventoryEntry) -> bool {
        let (Some(home), Ok(id)) = (self.context.homes.get(&self.key.home), entry.object()) else {
            return false;
        };
        let has_controller = matches!(
            (id.group.as_str(), id.kind.as_str()),
            (names::SOURCE_GROUP, "GitRepository") | (names::KUSTOMIZE_GROUP, "Kustomization")
        );
        if id.group.ends_with(".toolkit.fluxcd.io") && !has_controller {
            // Flux's other controllers would say how it is; their definitions leave it "in progress" until they do.
            return true;
        }
        let list = match id.kind.as_str() {
            "GitRepository" => home
                .repositories
                .get(&id.namespace, &id.name)
                .and_then(|object| {
                    object
                        .status
                        .as_ref()
                        .map(|status| status.conditions.clone())
                }),
            "Kustomization" => {
                home.kustomizations
                    .get(&id.namespace, &id.name)
                    .and_then(|object| {
                        object
                            .status
                            .as_ref()
                            .map(|status| status.conditions.clone())
                    })
            }
            _ => None,
        };
        list.is_some_and(|list| {
            conditions::get(&list, names::READY).is_some_and(|ready| ready.reason == NOT_RUN)
        })
    }

    /// `spec.healthChecks` as entries.
    async fn listed(&self, object: &Kustomization) -> Result<Vec<InventoryEntry>, Failure> {
        let mut entries = Vec::new();
        for check in &object.spec.health_checks {
            let (group, version) = match &check.api_version {
                Some(api_version) => {
                    let (group, version) = fairway_types::inventory::split_api_version(api_version);
                    (group.to_owned(), version.to_owned())
                }
                None => {
                    let resource =
                        self.target
                            .mapper
                            .of_kind(&check.kind)
                            .await
                            .map_err(|error| {
                                self.request_failed(
                                    reason::HEALTH_CHECK_FAILED,
                                    format!("spec.healthChecks: {error}"),
                                    Some(&error),
                                )
                            })?;
                    (resource.group, resource.version)
                }
            };
            let id = ObjectId {
                namespace: check.namespace.clone().unwrap_or_default(),
                name: check.name.clone(),
                group,
                kind: check.kind.clone(),
            };
            entries.push(InventoryEntry::new(&id, version));
        }
        Ok(entries)
    }
}

/// Milliseconds are all that a message needs.
fn round(duration: Duration) -> Duration {
    Duration::from_millis(duration.as_millis().min(u128::from(u64::MAX)) as u64)
}

/// `; waiting for Deployment/a/b: 0 of 1 replicas available`, at most three objects by name.
fn waiting_for(report: &wait::Report) -> String {
    let waiting: Vec<String> = report
        .results
        .iter()
        .filter(|(_, health)| health.status != Status::Current)
        .map(|(id, health)| match health.message.as_str() {
            "" => id.subject(),
            message => format!("{}: {message}", id.subject()),
        })
        .collect();
    match waiting.len() {
        0 => String::new(),
        1..=3 => format!("; waiting for {}", waiting.join(", ")),
        more => format!(
            "; waiting for {} and {} more",
            waiting[..3].join(", "),
            more - 3
        ),
    }
}
