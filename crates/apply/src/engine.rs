//! Applies a plan to a cluster: stage by stage, each stage checked by dry-run before anything of it is written.
//!
//! What an object costs: nothing where a [`Witness`] vouches for it, two requests where it is new (dry-run, apply) or
//! unchanged (dry-run, get), three where it changes.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use fairway_types::{
    Inventory, InventoryEntry, ObjectId, kustomization::IgnoreRule, names::FIELD_MANAGER,
};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    api::{ApplyOptions, Session},
    difference,
    error::RequestError,
    health, managed,
    mapper::{Mapper, Resource},
    order::{self, Stage},
    plan::{self, Desired, Owner, Plan, Policy},
    witness::{Witness, digest},
};

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// It was made.
    Created,
    /// It was changed.
    Configured,
    /// It was as desired.
    Unchanged,
    /// It was left alone on purpose.
    Skipped,
    /// It was deleted.
    Deleted,
}

impl Action {
    /// The word that Flux uses for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Skipped => "skipped",
            Self::Deleted => "deleted",
        }
    }

    /// Whether the cluster is different now.
    pub const fn is_change(self) -> bool {
        matches!(self, Self::Created | Self::Configured | Self::Deleted)
    }
}

/// One line of a change list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Change {
    /// The object.
    pub id: ObjectId,
    /// What happened to it.
    pub action: Action,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id.subject(), self.action.as_str())
    }
}

/// The changes as an event has them: one line for each, what did not change left out.
pub fn change_log(changes: &[Change]) -> String {
    let lines: Vec<_> = changes
        .iter()
        .filter(|change| change.action.is_change())
        .map(|change| change.to_string())
        .collect();
    lines.join("\n")
}

/// Settings of an apply.
#[derive(Clone)]
pub struct Options {
    /// Whose objects these are.
    pub owner: Owner,
    /// Fields that are left to others.
    pub ignore: Vec<IgnoreRule>,
    /// Who saves requests by watching; without, every object is checked.
    pub witness: Option<Arc<dyn Witness>>,
    /// Requests under way at the same time.
    pub concurrency: usize,
    /// How long definitions may take to be established, and a recreated object to go.
    pub stage_timeout: Duration,
}

impl Options {
    /// The usual settings for an owner.
    pub fn new(owner: Owner) -> Self {
        Self {
            owner,
            ignore: Vec::new(),
            witness: None,
            concurrency: 8,
            stage_timeout: Duration::from_mins(1),
        }
    }
}

/// What an apply did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// All objects, in the order of application.
    pub changes: Vec<Change>,
    /// The inventory to keep: every desired object.
    pub inventory: Inventory,
    /// The desired objects as the cluster has them: a namespace on an object that has none is left out.
    pub wanted: HashSet<ObjectId>,
    /// Objects whose health counts: skipped ones do not.
    pub checked: Vec<InventoryEntry>,
}

impl Report {
    /// Whether the cluster is different now.
    pub fn changed(&self) -> bool {
        self.changes.iter().any(|change| change.action.is_change())
    }

    fn add(&mut self, id: ObjectId, version: &str, action: Action) {
        let entry = InventoryEntry::new(&id, version);
        if action != Action::Skipped {
            self.checked.push(entry.clone());
        }
        self.inventory.insert(entry);
        self.wanted.insert(id.clone());
        self.changes.push(Change { id, action });
    }
}

/// Why an apply stopped.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server does not accept an object; nothing of its stage was written.
    #[error("{}", dry_run_message(.id, .error))]
    DryRun {
        /// The object.
        id: ObjectId,
        /// What the server said.
        error: RequestError,
    },
    /// A namespaced object says no namespace.
    #[error("{} namespace not specified: the server could not find the requested resource", .0.subject())]
    NamespaceMissing(ObjectId),
    /// A request failed after the checks.
    #[error("{} {doing} failed: {error}", .id.subject())]
    Request {
        /// The object.
        id: ObjectId,
        /// What was being done.
        doing: &'static str,
        /// What the server said.
        error: RequestError,
    },
    /// A field cannot be changed, and recreating the object would not work either.
    #[error("{} immutable field detected, but the object cannot be created anew: {error}", .id.subject())]
    CannotRecreate {
        /// The object, which is still there.
        id: ObjectId,
        /// Why the server would not accept it.
        error: RequestError,
    },
    /// A recreated object did not go in time.
    #[error("{} immutable field detected, failed to wait for object to be deleted: timeout", .0.subject())]
    StillThere(ObjectId),
    /// What the next stage needs did not come about in time.
    #[error("timeout waiting for: [{0}]")]
    NotEstablished(String),
    /// What the next stage needs will not come about.
    #[error("failed early due to stalled resources: [{0}]")]
    DefinitionFailed(String),
}

impl ApplyError {
    /// The request that failed, where it was one.
    pub fn request(&self) -> Option<&RequestError> {
        match self {
            Self::DryRun { error, .. }
            | Self::Request { error, .. }
            | Self::CannotRecreate { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Whether the cluster did not answer, so that nothing is wrong with the objects.
    pub fn is_unreachable(&self) -> bool {
        self.request().is_some_and(RequestError::is_unreachable)
    }
}

fn dry_run_message(id: &ObjectId, error: &RequestError) -> String {
    let subject = id.subject();
    if error.is_not_found() {
        return format!("{subject} not found: {error}");
    }
    let conflict = error
        .status()
        .and_then(|status| status.details.as_ref())
        .is_some_and(|details| {
            details
                .causes
                .iter()
                .any(|cause| cause.reason == "FieldManagerConflict")
        });
    let reason = if conflict {
        "FieldManagerConflict"
    } else {
        error.reason()
    };
    if reason.is_empty() {
        format!("{subject} dry-run failed: {error}")
    } else {
        format!("{subject} dry-run failed ({reason}): {error}")
    }
}

/// An apply that stopped, and what it had done by then. The caller adds `report.inventory` to the one it has, so that
/// nothing that was made is forgotten.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Stopped {
    /// Why.
    #[source]
    pub error: ApplyError,
    /// What had been applied.
    pub report: Box<Report>,
}

/// What the check of one object says is to be done.
struct Checked {
    id: ObjectId,
    resource: Resource,
    version: String,
    step: Step,
}

enum Step {
    /// Nothing; a live object says how healthy it is.
    Nothing { action: Action, live: Option<Value> },
    Apply {
        object: Value,
        digest: u64,
        live: Option<Value>,
        recreate: bool,
        action: Action,
    },
}

/// Applies a plan. Deleting what is stale is [`prune`](crate::prune::prune)'s work, afterwards.
pub async fn apply(
    session: &Session,
    mapper: &Mapper,
    plan: &Plan,
    options: &Options,
) -> Result<Report, Stopped> {
    let mut report = Report::default();
    match (Run {
        session,
        mapper,
        options,
    })
    .stages(plan, &mut report)
    .await
    {
        Ok(()) => {
            report.inventory.sort();
            Ok(report)
        }
        Err(error) => Err(Stopped {
            error,
            report: Box::new(report),
        }),
    }
}

struct Run<'a> {
    session: &'a Session,
    mapper: &'a Mapper,
    options: &'a Options,
}

impl Run<'_> {
    async fn stages(&self, plan: &Plan, report: &mut Report) -> Result<(), ApplyError> {
        let mut new_definitions = false;
        for (stage, objects) in &plan.stages {
            // Boxed, so that callers can prove that the whole apply may move between threads (rust#110338).
            let checks: Vec<BoxFuture<'_, _>> = objects
                .iter()
                .map(|desired| self.check(desired, new_definitions).boxed())
                .collect();
            let checked: Vec<Checked> = stream::iter(checks)
                .buffered(self.options.concurrency)
                .try_collect()
                .await?;
            let pending = self.write(checked, report).await?;
            if *stage != Stage::Resources {
                self.establish(pending).await?;
            }
            if *stage == Stage::Definitions && report.changed() {
                self.mapper.expire();
                new_definitions = true;
            }
        }
        Ok(())
    }

    /// The resource of an object. A definition that was just applied may take a moment to be served.
    async fn resource(&self, desired: &Desired, patient: bool) -> Result<Resource, ApplyError> {
        let api_version = desired.id.api_version(&desired.version);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.mapper.resource(&api_version, &desired.id.kind).await {
                Ok(resource) => return Ok(resource),
                Err(RequestError::UnknownKind { .. }) if patient && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    self.mapper.expire();
                }
                Err(error) => {
                    return Err(ApplyError::DryRun {
                        id: desired.id.clone(),
                        error,
                    });
                }
            }
        }
    }

    async fn check(&self, desired: &Desired, patient: bool) -> Result<Checked, ApplyError> {
        let mut id = desired.id.clone();
        if desired.policy == Policy::Skip {
            // Its kind need not even exist here.
            let resource = Resource {
                group: id.group.clone(),
                version: desired.version.clone(),
                kind: id.kind.clone(),
                plural: String::new(),
                namespaced: true,
            };
            let step = Step::Nothing {
                action: Action::Skipped,
                live: None,
            };
            return Ok(Checked {
                id,
                resource,
                version: desired.version.clone(),
                step,
            });
        }
        let resource = self.resource(desired, patient).await?;
        let mut object = desired.object.clone();
        if !resource.namespaced && !id.namespace.is_empty() {
            id.namespace.clear();
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("namespace");
            }
        } else if resource.namespaced && id.namespace.is_empty() {
            return Err(ApplyError::NamespaceMissing(id));
        }
        let digest = digest(&object);
        let done = |id: ObjectId, resource: Resource, step| Checked {
            id,
            version: resource.version.clone(),
            resource,
            step,
        };
        if self
            .options
            .witness
            .as_ref()
            .is_some_and(|witness| witness.vouches_for(&id, digest))
        {
            let step = Step::Nothing {
                action: Action::Unchanged,
                live: None,
            };
            return Ok(done(id, resource, step));
        }
        if desired.policy == Policy::IfNotPresent {
            let live = self.get(&resource, &id).await?;
            if live.is_some() {
                return Ok(done(
                    id,
                    resource,
                    Step::Nothing {
                        action: Action::Skipped,
                        live: None,
                    },
                ));
            }
        }
        let dry_run = self.dry_run(&resource, &object).await;
        let answer = match dry_run {
            Ok(answer) => answer,
            Err(error) if error.is_unreachable() => return Err(ApplyError::DryRun { id, error }),
            Err(error) => {
                let live = self.get(&resource, &id).await.ok().flatten();
                let Some(live) = live else {
                    return Err(ApplyError::DryRun { id, error });
                };
                if plan::excluded(&live) {
                    return Ok(done(
                        id,
                        resource,
                        Step::Nothing {
                            action: Action::Skipped,
                            live: None,
                        },
                    ));
                }
                let force =
                    desired.force || plan::marked(&live, fairway_types::names::FORCE, "enabled");
                if !(force && error.is_immutable()) {
                    return Err(ApplyError::DryRun { id, error });
                }
                self.could_be_created(&resource, &id, &object, error)
                    .await?;
                let action = Action::Created;
                let step = Step::Apply {
                    object,
                    digest,
                    live: Some(live),
                    recreate: true,
                    action,
                };
                return Ok(done(id, resource, step));
            }
        };
        // The answer to a dry-run that would create has no version yet.
        if answer
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
        {
            let step = Step::Apply {
                object,
                digest,
                live: None,
                recreate: false,
                action: Action::Created,
            };
            return Ok(done(id, resource, step));
        }
        let Some(live) = self.get(&resource, &id).await? else {
            // It went between the two requests.
            let step = Step::Apply {
                object,
                digest,
                live: None,
                recreate: false,
                action: Action::Created,
            };
            return Ok(done(id, resource, step));
        };
        if plan::excluded(&live) {
            return Ok(done(
                id,
                resource,
                Step::Nothing {
                    action: Action::Skipped,
                    live: None,
                },
            ));
        }
        let merge = desired.policy == Policy::Merge
            || plan::marked(
                &live,
                fairway_types::names::SSA,
                fairway_types::names::SSA_MERGE,
            );
        let takeover = !merge && managed::takeover(&live).is_some();
        let ignored = difference::ignored_paths(&self.options.ignore, &object);
        if !takeover && !difference::differs(&live, &answer, &ignored) {
            self.remember(&id, digest, &live);
            return Ok(done(
                id,
                resource,
                Step::Nothing {
                    action: Action::Unchanged,
                    live: Some(live),
                },
            ));
        }
        difference::respect_ignored(&mut object, &live, &ignored);
        let live = if merge { None } else { Some(live) };
        let step = Step::Apply {
            object,
            digest,
            live,
            recreate: false,
            action: Action::Configured,
        };
        Ok(done(id, resource, step))
    }

    async fn get(&self, resource: &Resource, id: &ObjectId) -> Result<Option<Value>, ApplyError> {
        self.session
            .get(resource, &id.namespace, &id.name)
            .await
            .map_err(|error| ApplyError::Request {
                id: id.clone(),
                doing: "query",
                error,
            })
    }

    async fn dry_run(&self, resource: &Resource, object: &Value) -> Result<Value, RequestError> {
        self.session
            .apply(
                resource,
                object,
                ApplyOptions {
                    manager: FIELD_MANAGER,
                    dry_run: true,
                },
            )
            .await
    }

    /// An object is deleted for being made anew only where the server would accept the new one: under another name, since
    /// under its own it fails on the immutable field.
    async fn could_be_created(
        &self,
        resource: &Resource,
        id: &ObjectId,
        object: &Value,
        first: RequestError,
    ) -> Result<(), ApplyError> {
        if first
            .status()
            .is_some_and(|status| status.message.contains("immutable"))
        {
            // The message itself says that nothing else is wrong with the field.
            if !first.is_invalid() {
                return Ok(());
            }
        }
        let mut other = object.clone();
        let short: String = id.name.chars().take(40).collect();
        other["metadata"]["name"] =
            format!("{}-fairway-check", short.trim_end_matches(['-', '.'])).into();
        match self.dry_run(resource, &other).await {
            Ok(_) => Ok(()),
            Err(error) => Err(ApplyError::CannotRecreate {
                id: id.clone(),
                error,
            }),
        }
    }

    /// Writes what the checks found to do, kinds one after the other, objects of a kind together. Answers the objects
    /// that are not yet as healthy as the next stage needs them.
    async fn write(
        &self,
        checked: Vec<Checked>,
        report: &mut Report,
    ) -> Result<Vec<(ObjectId, Resource)>, ApplyError> {
        let mut pending = Vec::new();
        let now = Timestamp::now();
        let mut rest = checked.into_iter().peekable();
        while let Some(first) = rest.next() {
            let rank = order::rank(&first.id.kind);
            let mut group = vec![first];
            while let Some(next) = rest.next_if(|next| order::rank(&next.id.kind) == rank) {
                group.push(next);
            }
            let writes: Vec<BoxFuture<'_, _>> = group
                .into_iter()
                .map(|checked| self.write_one(checked).boxed())
                .collect();
            let mut results = stream::iter(writes).buffered(self.options.concurrency);
            let mut failure = None;
            while let Some(result) = results.next().await {
                match result {
                    Ok((id, resource, version, action, object)) => {
                        if object.is_some_and(|object| !health::of(&object, now).is_current()) {
                            pending.push((id.clone(), resource));
                        }
                        report.add(id, &version, action);
                    }
                    // The others of the group are under way: what they made must be reported.
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            if let Some(error) = failure {
                return Err(error);
            }
        }
        Ok(pending)
    }

    async fn write_one(
        &self,
        checked: Checked,
    ) -> Result<(ObjectId, Resource, String, Action, Option<Value>), ApplyError> {
        let Checked {
            id,
            resource,
            version,
            step,
        } = checked;
        let (object, digest, live, recreate, action) = match step {
            Step::Nothing { action, live } => return Ok((id, resource, version, action, live)),
            Step::Apply {
                object,
                digest,
                live,
                recreate,
                action,
            } => (object, digest, live, recreate, action),
        };
        if let Some(witness) = &self.options.witness {
            witness.applying(&id);
        }
        let result = self
            .write_object(&resource, &id, &object, live, recreate)
            .await;
        match (&result, &self.options.witness) {
            (Ok(answer), _) => self.remember(&id, digest, answer),
            (Err(_), Some(witness)) => witness.abandoned(&id),
            (Err(_), None) => {}
        }
        result.map(|answer| (id, resource, version, action, Some(answer)))
    }

    async fn write_object(
        &self,
        resource: &Resource,
        id: &ObjectId,
        object: &Value,
        live: Option<Value>,
        recreate: bool,
    ) -> Result<Value, ApplyError> {
        if recreate {
            let uid = live
                .as_ref()
                .and_then(|live| live.pointer("/metadata/uid"))
                .and_then(Value::as_str);
            self.delete_and_wait(resource, id, uid).await?;
        } else if let Some(live) = live {
            self.take_over(resource, id, live).await?;
        }
        let options = ApplyOptions {
            manager: FIELD_MANAGER,
            dry_run: false,
        };
        self.session
            .apply(resource, object, options)
            .await
            .map_err(|error| ApplyError::Request {
                id: id.clone(),
                doing: "apply",
                error,
            })
    }

    fn remember(&self, id: &ObjectId, digest: u64, object: &Value) {
        if let Some(witness) = &self.options.witness {
            witness.applied(&self.options.owner, id, digest, object);
        }
    }

    async fn take_over(
        &self,
        resource: &Resource,
        id: &ObjectId,
        live: Value,
    ) -> Result<(), ApplyError> {
        let failed = |error| ApplyError::Request {
            id: id.clone(),
            doing: "metadata.managedFields cleanup",
            error,
        };
        let mut live = live;
        for attempt in 0..3 {
            let Some(operations) = managed::takeover(&live) else {
                return Ok(());
            };
            let patch = self.session.json_patch(
                resource,
                &id.namespace,
                &id.name,
                &operations,
                FIELD_MANAGER,
            );
            match patch.await {
                Ok(_) => return Ok(()),
                // Somebody wrote meanwhile: the version that the patch tests is another one.
                Err(error) if attempt < 2 && (error.is_conflict() || error.is_invalid()) => {
                    match self.get(resource, id).await? {
                        Some(fresh) => live = fresh,
                        None => return Ok(()),
                    }
                }
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    async fn delete_and_wait(
        &self,
        resource: &Resource,
        id: &ObjectId,
        uid: Option<&str>,
    ) -> Result<(), ApplyError> {
        self.session
            .delete(resource, &id.namespace, &id.name, uid)
            .await
            .map_err(|error| ApplyError::Request {
                id: id.clone(),
                doing: "immutable field detected, delete",
                error,
            })?;
        let deadline = Instant::now() + self.options.stage_timeout;
        let mut pause = Duration::from_millis(50);
        loop {
            let Some(live) = self.get(resource, id).await? else {
                return Ok(());
            };
            if live.pointer("/metadata/uid").and_then(Value::as_str) != uid {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(ApplyError::StillThere(id.clone()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// Waits until definitions and classes can be relied upon.
    async fn establish(&self, mut pending: Vec<(ObjectId, Resource)>) -> Result<(), ApplyError> {
        let deadline = Instant::now() + self.options.stage_timeout;
        let mut pause = Duration::from_millis(20);
        while !pending.is_empty() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
            let mut left = Vec::new();
            let mut waiting = Vec::new();
            for (id, resource) in pending {
                let health = match self.get(&resource, &id).await? {
                    Some(live) => health::of(&live, Timestamp::now()),
                    None => health::Health::not_found(),
                };
                let text = format!("{} status: '{}'", id.subject(), health.status);
                match health.status {
                    health::Status::Current => {}
                    health::Status::Failed => {
                        return Err(ApplyError::DefinitionFailed(format!(
                            "{text}: {}",
                            health.message
                        )));
                    }
                    _ => {
                        waiting.push(text);
                        left.push((id, resource));
                    }
                }
            }
            if !left.is_empty() && Instant::now() >= deadline {
                return Err(ApplyError::NotEstablished(waiting.join(", ")));
            }
            pending = left;
        }
        Ok(())
    }
}
