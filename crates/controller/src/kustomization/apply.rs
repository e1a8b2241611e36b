//! The part of a run that talks to the target cluster.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairway_apply::engine::{self, change_log};
use fairway_apply::health::Status;
use fairway_apply::plan::{self, Owner, Plan, PlanError, Settings};
use fairway_apply::wait::{self, End};
use fairway_apply::{Impersonation, RequestError, Session, prune};
use fairway_types::names::{self, reason};
use fairway_types::{Inventory, InventoryEntry, Kustomization, ObjectId, conditions};
use kube::ResourceExt;

use super::failure::{Failure, of_plan};
use super::inputs::not_run_if;
use super::{ALLOW_EMPTY, progress};
use crate::build::finish::Rendered;
use crate::cluster::Target;
use crate::context::Context;
use crate::events::Severity;
use crate::home::Key;
use crate::metrics::Metrics;
use crate::options::Remotes;
use crate::queue::Ticket;
use crate::source::NOT_RUN;

use super::attempt::Attempt;

/// Who a Kustomization is applied as: its service account, else the default one, else the connection itself.
pub(super) fn account(context: &Context, object: &Kustomization) -> Option<String> {
    object
        .spec
        .service_account_name
        .clone()
        .or_else(|| context.options.default_service_account.clone())
}

/// A session on the target under that account.
pub(super) fn session(
    target: &Target,
    namespace: &str,
    account: Option<&str>,
) -> Result<Session, Failure> {
    match account {
        None => Ok(target.connection.session()),
        Some(name) => target
            .connection
            .session_as(&Impersonation::service_account(namespace, name))
            .map_err(|error| Failure::failed(reason::RECONCILIATION_FAILED, error)),
    }
}

pub(super) fn owner(object: &Kustomization) -> Owner {
    Owner {
        name: object.name_any(),
        namespace: object.namespace().unwrap_or_default(),
    }
}

/// What one run brings to the cluster.
pub(super) struct Work<'a> {
    pub context: &'a Arc<Context>,
    pub key: &'a Key,
    pub target: &'a Arc<Target>,
    pub account: Option<&'a str>,
    pub revision: &'a str,
    pub rendered: &'a Rendered,
}

impl Work<'_> {
    /// Applies, prunes and checks the health. Says whether anything changed.
    pub(super) async fn run(
        &self,
        attempt: &mut Attempt<'_>,
        ticket: &mut Ticket<Key>,
    ) -> Result<bool, Failure> {
        let object = attempt.object.clone();
        let spec = &object.spec;
        let session = session(self.target, self.key.namespace.as_str(), self.account)?;
        let owner = owner(&object);
        let previous = attempt.status.inventory.clone().unwrap_or_default();
        let allow_empty = object
            .annotations()
            .get(ALLOW_EMPTY)
            .is_some_and(|value| value == "true");
        let settings = Settings {
            owner: &owner,
            force: spec.force,
            allow_empty,
        };
        let planned = plan::plan(self.rendered.objects.clone(), &previous, settings)
            .map_err(|error| not_run_if(self.needs_keys(&error), of_plan(&error)))?;
        self.announce(attempt, &planned, &previous).await?;

        let timeout = spec.timeout().get();
        let mut options = engine::Options::new(owner.clone());
        options.ignore.clone_from(&spec.ignore);
        options.witness = self.target.witness();
        options.stage_timeout = timeout;
        Metrics::count(&self.context.metrics.applies);
        // Whatever happens from here on, the cluster is not what it was known to be.
        self.context.memory.uncertain(self.key);
        let applied = tokio::time::timeout(
            timeout,
            engine::apply(&session, &self.target.mapper, &planned, &options),
        )
        .await
        .map_err(|_| {
            let message = format!(
                "apply did not finish within the timeout of {}",
                spec.timeout()
            );
            Failure::failed(reason::RECONCILIATION_FAILED, message)
        })?;
        let report = match applied {
            Ok(report) => report,
            Err(stopped) => {
                let log = change_log(&stopped.report.changes);
                let text = stopped.error.to_string();
                let message = if log.is_empty() {
                    text
                } else {
                    format!("{text}\n{log}")
                };
                return Err(self.request_failed(
                    reason::RECONCILIATION_FAILED,
                    message,
                    stopped.error.request(),
                ));
            }
        };
        let log = change_log(&report.changes);
        if !log.is_empty() {
            attempt.tell(Severity::Info, None, log, Some(self.revision));
        }
        let mut changed = report.changed();
        let mut inventory = report.inventory.clone();
        self.target
            .observer
            .track(&owner, &report.inventory, &spec.ignore);
        if spec.prune {
            let stale = plan::stale(&previous, &report.wanted);
            if !stale.is_empty() {
                let pruned = prune::prune(
                    &session,
                    &self.target.mapper,
                    &owner,
                    &stale,
                    &report.wanted,
                )
                .await;
                let log = change_log(&pruned.changes);
                if !log.is_empty() {
                    changed = true;
                    attempt.tell(Severity::Info, None, log, Some(self.revision));
                }
                for (entry, _) in &pruned.failed {
                    inventory.insert(entry.clone());
                }
                inventory.sort();
                if let Some(message) = pruned.message() {
                    attempt.status.inventory = Some(inventory);
                    return Err(Failure::failed(reason::PRUNE_FAILED, message));
                }
            }
        }
        attempt.status.inventory = Some(inventory);
        // From here on this run only waits; others may use the cluster meanwhile.
        ticket.release_slot();
        self.check(attempt, ticket, &session, report.checked, changed)
            .await?;
        Ok(changed)
    }

    /// Secrets that nobody has the keys for here.
    fn needs_keys(&self, error: &PlanError) -> bool {
        self.is_offline() && matches!(error, PlanError::Encrypted(_))
    }

    fn is_offline(&self) -> bool {
        matches!(self.context.options.remotes, Remotes::Only(_))
    }

    /// Writes down what is about to be created, before it is.
    async fn announce(
        &self,
        attempt: &mut Attempt<'_>,
        planned: &Plan,
        previous: &Inventory,
    ) -> Result<(), Failure> {
        let mut union = previous.clone();
        for entry in planned.inventory().entries {
            union.insert(entry);
        }
        union.sort();
        let known: HashSet<&str> = previous
            .entries
            .iter()
            .map(|entry| entry.id.as_str())
            .collect();
        let names_more = union
            .entries
            .iter()
            .any(|entry| !known.contains(entry.id.as_str()));
        let status = &attempt.status;
        let new = status.last_attempted_revision.as_deref() != Some(self.revision)
            || status
                .history
                .first()
                .is_none_or(|last| last.digest != self.rendered.digest)
            || status.observed_generation != attempt.object.metadata.generation
            || !conditions::is_true(&status.conditions, names::READY);
        if !names_more && !new {
            // Looking for drift is no progress worth a write.
            return Ok(());
        }
        let timeout = attempt.object.spec.timeout();
        let message = format!(
            "Detecting drift for revision {} with a timeout of {timeout}",
            self.revision
        );
        let now = attempt.now();
        if names_more {
            attempt.status.inventory = Some(union);
        }
        attempt.status.last_attempted_revision = Some(self.revision.to_owned());
        progress::progressing(&mut attempt.status, &message, now);
        attempt.write().await.map_err(|error| {
            Failure::failed(
                reason::RECONCILIATION_FAILED,
                format!("failed to update status: {error}"),
            )
        })
    }

    /// A request failed: where nobody answered, the target is down for everybody.
    pub(super) fn request_failed(
        &self,
        reason: &'static str,
        message: String,
        error: Option<&RequestError>,
    ) -> Failure {
        if let Some(error) = error
            && error.is_unreachable()
        {
            self.target.went_down(error.to_string());
        }
        Failure::failed(reason, message)
    }

    async fn check(
        &self,
        attempt: &mut Attempt<'_>,
        ticket: &Ticket<Key>,
        session: &Session,
        applied: Vec<InventoryEntry>,
        changed: bool,
    ) -> Result<(), Failure> {
        let object = attempt.object.clone();
        let spec = &object.spec;
        let entries = if spec.wait {
            applied
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
        let mut options = wait::Options::new(Duration::from_millis(300));
        options.witness = self.target.witness();
        options.vanishing = jobs_with_ttl(self.rendered);
        // Most of the time everything is fine already, and a status that says "checking" would only be noise.
        let mut report = self.wait(session, &entries, &options, ticket).await?;
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
            report = self.wait(session, &entries, &options, ticket).await?;
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
    ) -> Result<wait::Report, Failure> {
        if !self.is_offline() {
            return tokio::select! {
                report = wait::wait(session, &self.target.mapper, entries, options) => Ok(report),
                () = ticket.superseded() => Err(Failure::Superseded),
                () = self.context.stop.cancelled() => Err(Failure::Superseded),
            };
        }
        let deadline = Instant::now() + options.timeout;
        loop {
            let run: Vec<InventoryEntry> = entries
                .iter()
                .filter(|entry| !self.is_not_run(entry))
                .cloned()
                .collect();
            let left = deadline.saturating_duration_since(Instant::now());
            let mut step = options.clone();
            step.timeout = left.min(Duration::from_secs(1));
            let report = tokio::select! {
                report = wait::wait(session, &self.target.mapper, &run, &step) => report,
                () = ticket.superseded() => return Err(Failure::Superseded),
                () = self.context.stop.cancelled() => return Err(Failure::Superseded),
            };
            if report.end != End::TimedOut || left.is_zero() {
                return Ok(report);
            }
        }
    }

    /// Whether an entry is a Flux object of this home that is not run.
    fn is_not_run(&self, entry: &InventoryEntry) -> bool {
        let (Some(home), Ok(id)) = (self.context.homes.get(&self.key.home), entry.object()) else {
            return false;
        };
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

/// Jobs that delete themselves after they are done.
fn jobs_with_ttl(rendered: &Rendered) -> HashSet<ObjectId> {
    rendered
        .objects
        .iter()
        .filter(|object| {
            object["kind"] == "Job" && object.pointer("/spec/ttlSecondsAfterFinished").is_some()
        })
        .filter_map(ObjectId::of)
        .collect()
}
