//! Finds out what is to be done with one object, without changing anything.

use std::{borrow::Cow, time::Duration};

use fairway_types::{ObjectId, names::FIELD_MANAGER};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use serde_json::Value;
use tokio::time::Instant;

use super::{Action, ApplyError, Run};
use crate::{
    api::ApplyOptions,
    difference,
    error::RequestError,
    managed,
    mapper::Resource,
    plan::{self, Desired, Policy},
    witness::digest,
};

/// What the check of one object says is to be done.
pub(super) struct Checked {
    pub(super) id: ObjectId,
    pub(super) resource: Resource,
    pub(super) version: String,
    pub(super) step: Step,
}

pub(super) enum Step {
    /// The object is as our last apply of other content left it, at this version: it will change, and what it is now need
    /// not be asked.
    Change {
        object: Value,
        digest: u64,
        version: String,
    },
    /// Nothing; a live object says how healthy it is.
    Nothing { action: Action, live: Option<Value> },
    /// It was not checked: most likely it is not there.
    Make {
        object: Value,
        digest: u64,
        merge: bool,
    },
    Apply {
        object: Value,
        digest: u64,
        live: Option<Value>,
        recreate: bool,
        action: Action,
    },
}

impl Run<'_> {
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

    /// Finds out what is to be done with the objects of a stage. Whatever is written has passed a dry-run before, with
    /// one exception: an object that is the only one to be written needs none, since its apply is refused as a whole.
    pub(super) async fn check_stage(
        &self,
        objects: &[Desired],
        patient: bool,
    ) -> Result<Vec<Checked>, ApplyError> {
        // Boxed, so that callers can prove that the whole apply may move between threads (rust#110338).
        let checks: Vec<BoxFuture<'_, _>> = objects
            .iter()
            .map(|desired| self.check(desired, patient, true).boxed())
            .collect();
        let mut checked: Vec<Checked> = stream::iter(checks)
            .buffered(self.options.concurrency)
            .try_collect()
            .await?;
        let is_write = |checked: &&Checked| !matches!(checked.step, Step::Nothing { .. });
        if checked.iter().filter(is_write).count() == 1 {
            return Ok(checked);
        }
        let rest: Vec<BoxFuture<'_, _>> = checked
            .iter()
            .enumerate()
            .filter(|(_, checked)| matches!(checked.step, Step::Change { .. }))
            .map(|(index, checked)| {
                let desired = &objects[index];
                async move {
                    let changed = self.try_change(desired, checked, patient).await?;
                    Ok::<_, ApplyError>((index, changed))
                }
                .boxed()
            })
            .collect();
        let rest: Vec<(usize, Checked)> = stream::iter(rest)
            .buffered(self.options.concurrency)
            .try_collect()
            .await?;
        for (index, change) in rest {
            checked[index] = change;
        }
        Ok(checked)
    }

    /// A change that is known to be one, tried by dry-run.
    async fn try_change(
        &self,
        desired: &Desired,
        checked: &Checked,
        patient: bool,
    ) -> Result<Checked, ApplyError> {
        let Step::Change {
            object,
            digest,
            version,
        } = &checked.step
        else {
            return self.check(desired, patient, false).await;
        };
        match self.dry_run(&checked.resource, object).await {
            Ok(answer) if version_of(&answer) == Some(version.as_str()) => Ok(Checked {
                id: checked.id.clone(),
                resource: checked.resource.clone(),
                version: checked.version.clone(),
                step: Step::Apply {
                    object: object.clone(),
                    digest: *digest,
                    live: None,
                    recreate: false,
                    action: Action::Configured,
                },
            }),
            // It went, it was touched this very moment, or it is refused: the long way round.
            _ => self.check(desired, patient, false).await,
        }
    }

    /// `trust` allows to believe what is known of the object.
    pub(super) async fn check(
        &self,
        desired: &Desired,
        patient: bool,
        trust: bool,
    ) -> Result<Checked, ApplyError> {
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
        // Most objects need nothing: a copy is made of those alone that do.
        let mut object = Cow::Borrowed(&desired.object);
        if !resource.namespaced && !id.namespace.is_empty() {
            id.namespace.clear();
            let mut bare = desired.object.clone();
            if let Some(metadata) = bare.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("namespace");
            }
            object = Cow::Owned(bare);
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
        let mut object = object.into_owned();
        if let Some(witness) = &self.options.witness {
            if self.options.correction && witness.has_finished(&id, digest) {
                let step = Step::Nothing {
                    action: Action::Skipped,
                    live: None,
                };
                return Ok(done(id, resource, step));
            }
            // The witness knows of our own objects only: somebody else's may stand there, and may say that it is to be left.
            if self.options.first
                && witness.knows_absent(&id)
                && matches!(self.get(&resource, &id).await, Ok(None))
            {
                let step = Step::Make {
                    object,
                    digest,
                    merge: desired.policy == Policy::Merge,
                };
                return Ok(done(id, resource, step));
            }
        }
        if trust
            && desired.policy == Policy::Override
            && self.options.ignore.is_empty()
            && let Some(known) = self
                .options
                .witness
                .as_ref()
                .and_then(|witness| witness.knows(&id))
        {
            let step = Step::Change {
                object,
                digest,
                version: known,
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
        let dry_run = self.validate(&resource, &id, &mut object).await;
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
        if version_of(&answer).is_none_or(str::is_empty) {
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

    pub(super) async fn get(
        &self,
        resource: &Resource,
        id: &ObjectId,
    ) -> Result<Option<Value>, ApplyError> {
        self.session
            .get(resource, &id.namespace, &id.name)
            .await
            .map_err(|error| ApplyError::Request {
                id: id.clone(),
                doing: "query",
                error,
            })
    }

    pub(super) async fn dry_run(
        &self,
        resource: &Resource,
        object: &Value,
    ) -> Result<Value, RequestError> {
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
        if first.says_immutable() && !first.is_invalid() {
            // A webhook or a CEL rule said so itself: everything before it passed.
            return Ok(());
        }
        let mut other = object.clone();
        let short: String = id.name.chars().take(40).collect();
        other["metadata"]["name"] =
            format!("{}-fairway-check", short.trim_end_matches(['-', '.'])).into();
        match self.dry_run(resource, &other).await {
            Ok(_) => Ok(()),
            // The port or address is taken by the very object that is going to be deleted.
            Err(error) if error.to_string().contains("already allocated") => Ok(()),
            Err(error) if first.says_immutable() => Err(ApplyError::CannotRecreate {
                id: id.clone(),
                error,
            }),
            Err(_) => Err(ApplyError::DryRun {
                id: id.clone(),
                error: first,
            }),
        }
    }
}

pub(super) fn version_of(object: &Value) -> Option<&str> {
    object.pointer("/metadata/resourceVersion")?.as_str()
}
