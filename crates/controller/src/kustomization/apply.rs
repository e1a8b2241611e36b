//! The part of a run that talks to the target cluster.

use std::collections::HashSet;
use std::sync::Arc;

use fairway_apply::engine::{self, change_log};
use fairway_apply::health::Judge;
use fairway_apply::plan::{self, Owner, Plan, PlanError, Settings};
use fairway_apply::{Impersonation, RequestError, Session, prune};
use fairway_types::names::{self, reason};
use fairway_types::{Inventory, InventoryEntry, Kustomization, ObjectId, conditions};
use kube::ResourceExt;

use super::failure::{Failure, of_plan};
use super::inputs::not_run_if;
use super::memory::Cause;
use super::{ALLOW_EMPTY, progress};
use crate::build::finish::Rendered;
use crate::cluster::Target;
use crate::context::Context;
use crate::events::Severity;
use crate::home::Key;
use crate::metrics::Metrics;
use crate::queue::Ticket;

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
    pub judge: &'a Judge,
}

/// What is known after an apply, for the wait that follows: of the objects themselves nothing, since a thousand of them
/// may be waited for at once.
pub(super) struct Applied {
    /// What is to become healthy.
    pub checked: Vec<InventoryEntry>,
    /// Whether anything was changed.
    pub changed: bool,
    /// Jobs that delete themselves after they are done.
    pub vanishing: HashSet<ObjectId>,
    /// Everything that was built, where that matters.
    pub built: HashSet<ObjectId>,
}

impl Work<'_> {
    /// Applies, prunes and checks the health. Says whether anything changed.
    pub(super) async fn run(
        &self,
        attempt: &mut Attempt<'_>,
        ticket: &mut Ticket<Key>,
        rendered: Arc<Rendered>,
    ) -> Result<bool, Failure> {
        let session = session(self.target, self.key.namespace.as_str(), self.account)?;
        // Boxed, so that what the apply needs is given back before the wait.
        let applied = Box::pin(self.apply(attempt, &session, rendered)).await?;
        // From here on this run only waits; others may use the cluster meanwhile.
        ticket.release_slot();
        let changed = applied.changed;
        self.check(attempt, ticket, &session, applied).await?;
        Ok(changed)
    }

    /// Applies and prunes.
    async fn apply(
        &self,
        attempt: &mut Attempt<'_>,
        session: &Session,
        rendered: Arc<Rendered>,
    ) -> Result<Applied, Failure> {
        let object = attempt.object.clone();
        let spec = &object.spec;
        let owner = owner(&object);
        let listed = attempt.status.inventory.clone();
        let previous = listed.clone().unwrap_or_default();
        let allow_empty = object
            .annotations()
            .get(ALLOW_EMPTY)
            .is_some_and(|value| value == "true");
        let settings = Settings {
            owner: &owner,
            force: spec.force,
            allow_empty,
        };
        let planned = plan::plan(rendered.objects.clone(), &previous, settings)
            .map_err(|error| not_run_if(self.needs_keys(&error), of_plan(&error)))?;
        self.announce(attempt, &planned, &previous, &rendered.digest)
            .await?;

        let timeout = spec.timeout().get();
        let mut options = engine::Options::new(owner.clone());
        options.ignore.clone_from(&spec.ignore);
        options.witness = self.target.witness();
        options.stage_timeout = timeout;
        // What is new to the cluster needs no check that it could be changed.
        options.first =
            previous.entries.is_empty() && attempt.status.last_applied_revision.is_none();
        let cause = Cause {
            revision: self.revision.to_owned(),
            generation: object.metadata.generation,
            requested: object.annotations().get(names::REQUESTED_AT).cloned(),
        };
        let interval = self.context.options.interval(spec.interval.get());
        options.correction = self.context.memory.is_correction(self.key, cause, interval);
        self.target.observer.judge(&owner, self.judge.clone());
        Metrics::count(&self.context.metrics.applies);
        // Whatever happens from here on, the cluster is not what it was known to be.
        self.context.memory.uncertain(self.key);
        let applied = tokio::time::timeout(
            timeout,
            engine::apply(session, &self.target.mapper, &planned, &options),
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
                // What was announced and then refused is not there, and nobody has to delete it.
                let done = &stopped.report.inventory.entries;
                if done.is_empty() {
                    attempt.status.inventory = listed;
                } else {
                    let mut inventory = previous.clone();
                    for entry in done {
                        inventory.insert(entry.clone());
                    }
                    attempt.status.inventory = Some(inventory);
                }
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
                let pruned =
                    prune::prune(session, &self.target.mapper, &owner, &stale, &report.wanted)
                        .await;
                let log = change_log(&pruned.changes);
                if !log.is_empty() {
                    changed = true;
                    attempt.tell(Severity::Info, None, log, Some(self.revision));
                }
                for (entry, _) in &pruned.failed {
                    inventory.insert(entry.clone());
                }
                if let Some(message) = pruned.message() {
                    attempt.status.inventory = Some(inventory);
                    return Err(Failure::failed(reason::PRUNE_FAILED, message));
                }
            }
        }
        attempt.status.inventory = Some(inventory);
        let ids = |wanted: fn(&serde_json::Value) -> bool| {
            let objects = rendered.objects.iter().filter(|object| wanted(object));
            objects.filter_map(ObjectId::of).collect()
        };
        Ok(Applied {
            checked: report.checked,
            changed,
            vanishing: ids(is_job_with_ttl),
            built: if self.is_offline() {
                ids(|_| true)
            } else {
                HashSet::new()
            },
        })
    }

    /// Secrets that nobody has the keys for here.
    fn needs_keys(&self, error: &PlanError) -> bool {
        self.is_offline() && matches!(error, PlanError::Encrypted(_))
    }

    pub(super) fn is_offline(&self) -> bool {
        self.context.options.remotes.is_limited()
    }

    /// Writes down what is about to be created, before it is.
    async fn announce(
        &self,
        attempt: &mut Attempt<'_>,
        planned: &Plan,
        previous: &Inventory,
        digest: &str,
    ) -> Result<(), Failure> {
        let mut union = previous.clone();
        for entry in planned.inventory().entries {
            union.insert(entry);
        }
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
                .is_none_or(|last| last.digest != digest)
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
}

fn is_job_with_ttl(object: &serde_json::Value) -> bool {
    object["kind"] == "Job" && object.pointer("/spec/ttlSecondsAfterFinished").is_some()
}
