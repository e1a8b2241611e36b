//! Does what the checks of a stage found to do.

use std::time::Duration;

use fairway_types::{InventoryEntry, ObjectId, names::FIELD_MANAGER};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    Action, ApplyError, Report, Run,
    check::{Checked, Step, version_of},
};
use crate::{
    RequestError, api::ApplyOptions, health, managed, mapper::Resource, order, plan::Desired,
};

impl Run<'_> {
    /// Writes what the checks found to do, kinds one after the other, objects of a kind together. Answers the objects
    /// that are not yet as healthy as the next stage needs them.
    pub(super) async fn write(
        &self,
        objects: &[Desired],
        checked: Vec<Checked>,
        report: &mut Report,
    ) -> Result<Vec<(ObjectId, Resource)>, ApplyError> {
        let mut pending = Vec::new();
        let now = Timestamp::now();
        let mut rest = objects.iter().zip(checked).peekable();
        while let Some(first) = rest.next() {
            let rank = order::rank(&first.1.id.kind);
            let mut group = vec![first];
            while let Some(next) = rest.next_if(|next| order::rank(&next.1.id.kind) == rank) {
                group.push(next);
            }
            let entries: Vec<InventoryEntry> = group
                .iter()
                .map(|(_, checked)| InventoryEntry::new(&checked.id, &*checked.version))
                .collect();
            let writes: Vec<BoxFuture<'_, _>> = group
                .into_iter()
                .map(|(desired, checked)| self.write_one(desired, checked).boxed())
                .collect();
            let results = stream::iter(writes).buffered(self.options.concurrency);
            let mut results = results.zip(stream::iter(entries));
            let mut failure = None;
            while let Some((result, entry)) = results.next().await {
                match result {
                    Ok((id, resource, version, action, object)) => {
                        if object.is_some_and(|object| !health::of(&object, now).is_current()) {
                            pending.push((id.clone(), resource));
                        }
                        report.add(id, &version, action);
                    }
                    // The others of the group are under way: what they made must be reported.
                    Err(error) => {
                        if !error.request().is_some_and(RequestError::is_refusal) {
                            // It may have been made all the same.
                            report.inventory.insert(entry);
                        }
                        failure = failure.or(Some(error));
                    }
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
        desired: &Desired,
        checked: Checked,
    ) -> Result<(ObjectId, Resource, String, Action, Option<Value>), ApplyError> {
        let mut checked = checked;
        if let Step::Change {
            object,
            digest,
            version,
        } = &checked.step
        {
            let changed = self
                .change(&checked.id, &checked.resource, object, *digest, version)
                .await;
            if let Some((answer, action)) = changed {
                let Checked {
                    id,
                    resource,
                    version,
                    ..
                } = checked;
                return Ok((id, resource, version, action, Some(answer)));
            }
            // Refused, perhaps. The long way round says why, or what else is to be done.
            checked = self.check(desired, false, false).await?;
        }
        let Checked {
            id,
            resource,
            version,
            step,
        } = checked;
        let (object, digest, live, recreate, action) = match step {
            Step::Nothing { action, live } => return Ok((id, resource, version, action, live)),
            Step::Make {
                object,
                digest,
                merge,
            } => {
                let (answer, action) = self.make(&resource, &id, object, merge).await?;
                self.remember(&id, digest, &answer);
                return Ok((id, resource, version, action, Some(answer)));
            }
            Step::Change { object, digest, .. } => {
                (object, digest, None, false, Action::Configured)
            }
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

    /// Applies what was not checked. The answer tells whether it was there after all; if so, what others set is taken
    /// over as after a check.
    async fn make(
        &self,
        resource: &Resource,
        id: &ObjectId,
        mut object: Value,
        merge: bool,
    ) -> Result<(Value, Action), ApplyError> {
        let refused = |error| ApplyError::DryRun {
            id: id.clone(),
            error,
        };
        let options = ApplyOptions {
            manager: FIELD_MANAGER,
            dry_run: false,
        };
        let first = self.session.apply_telling(resource, &object, options).await;
        let (answer, created) = match first {
            Err(error) if error.is_undeclared_field() => {
                self.validate(resource, id, &mut object)
                    .await
                    .map_err(refused)?;
                let again = self.session.apply_telling(resource, &object, options);
                again.await.map_err(refused)?
            }
            answer => answer.map_err(refused)?,
        };
        if created {
            return Ok((answer, Action::Created));
        }
        if merge || managed::takeover(&answer).is_none() {
            return Ok((answer, Action::Configured));
        }
        let live = Some(answer);
        let answer = self
            .write_object(resource, id, &object, live, false)
            .await?;
        Ok((answer, Action::Configured))
    }

    /// The only change of its stage, applied as it is. None where that does not work.
    async fn change(
        &self,
        id: &ObjectId,
        resource: &Resource,
        object: &Value,
        digest: u64,
        known: &str,
    ) -> Option<(Value, Action)> {
        if let Some(witness) = &self.options.witness {
            witness.applying(id);
        }
        let result = self
            .write_object(resource, id, object, None, false)
            .await
            .ok();
        match (&result, &self.options.witness) {
            (Some(answer), _) => self.remember(id, digest, answer),
            (None, Some(witness)) => witness.abandoned(id),
            (None, None) => {}
        }
        let answer = result?;
        let action = match version_of(&answer) {
            Some(version) if version == known => Action::Unchanged,
            _ => Action::Configured,
        };
        Some((answer, action))
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

    pub(super) fn remember(&self, id: &ObjectId, digest: u64, object: &Value) {
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
    pub(super) async fn establish(
        &self,
        mut pending: Vec<(ObjectId, Resource)>,
    ) -> Result<(), ApplyError> {
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
