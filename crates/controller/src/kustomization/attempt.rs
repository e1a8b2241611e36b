//! One run over a Kustomization, as far as it has come: its status, and what is told about it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairway_types::names;
use fairway_types::{Kustomization, KustomizationStatus, conditions};
use kube::ResourceExt;
use kube::api::Api;

use super::progress::Now;
use crate::context::{Context, source_key};
use crate::events::{Happening, Severity, reference};
use crate::home::Home;
use crate::status;

/// One run: the object as it was at the start, and the status as it becomes.
pub(super) struct Attempt<'a> {
    pub context: &'a Arc<Context>,
    pub home: &'a Arc<Home>,
    pub object: Arc<Kustomization>,
    pub status: KustomizationStatus,
    /// The revision that is worked on, once that is known.
    pub revision: Option<String>,
    written: KustomizationStatus,
    pub started: Instant,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        context: &'a Arc<Context>,
        home: &'a Arc<Home>,
        object: Arc<Kustomization>,
    ) -> Self {
        let status = object.status.clone().unwrap_or_default();
        Self {
            context,
            home,
            object,
            revision: None,
            written: status.clone(),
            status,
            started: Instant::now(),
        }
    }

    pub(super) fn now(&self) -> Now {
        Now {
            generation: self.object.metadata.generation,
            time: (self.context.clock)(),
        }
    }

    /// Writes the status, if it differs from what was written last.
    pub(super) async fn write(&mut self) -> Result<(), kube::Error> {
        let name = self.object.name_any();
        let api: Api<Kustomization> = Api::namespaced(
            self.home.connection.client(),
            &self.object.namespace().unwrap_or_default(),
        );
        let manager = names::KUSTOMIZATION_STATUS_MANAGER;
        let objects = &self.home.kustomizations;
        let answer =
            status::write(&api, objects, &name, &self.written, &self.status, manager).await?;
        self.written = self.status.clone();
        if let Some((_, Some(change))) = answer {
            self.context.kustomization_changed(&self.home.id, &change);
        }
        Ok(())
    }

    /// Notes that what the user asked for by the annotation is done.
    pub(super) fn handled(&mut self) {
        if let Some(requested) = self.object.annotations().get(names::REQUESTED_AT) {
            self.status.last_handled_reconcile_at = Some(requested.clone());
        }
    }

    /// What asked for another run while this one waited.
    pub(super) fn trigger(&self) -> String {
        let own = self.object.namespace().unwrap_or_default();
        let source = source_key(&self.home.id, &self.object)
            .filter(|key| {
                let now = self.context.sources.get(key);
                now.is_some_and(|now| Some(&now.revision) != self.revision.as_ref())
            })
            .map(|key| format!("GitRepository/{}/{}", key.namespace, key.name));
        source.unwrap_or_else(|| format!("Kustomization/{own}/{}", self.object.name_any()))
    }

    /// Says that the run succeeded, with what tells a notification to update the state of the commit.
    pub(super) fn tell_success(&self) {
        let next = fairway_types::Duration::from(self.object.spec.interval.get());
        let took = Duration::from_millis(self.started.elapsed().as_millis() as u64);
        let took = fairway_types::Duration::from(took);
        let mut metadata = BTreeMap::from([(names::COMMIT_STATUS.to_owned(), "update".to_owned())]);
        if let Some(revision) = &self.status.last_applied_revision {
            metadata.insert(names::REVISION.to_owned(), revision.clone());
        }
        self.record(
            Severity::Info,
            None,
            format!("Reconciliation finished in {took}, next run in {next}"),
            metadata,
        );
    }

    /// Records an event. Without a reason of its own it has that of the Ready condition.
    pub(super) fn tell(
        &self,
        severity: Severity,
        why: Option<&str>,
        message: String,
        revision: Option<&str>,
    ) {
        let metadata = revision.map(|revision| (names::REVISION.to_owned(), revision.to_owned()));
        self.record(severity, why, message, BTreeMap::from_iter(metadata));
    }

    fn record(
        &self,
        severity: Severity,
        why: Option<&str>,
        message: String,
        mut metadata: BTreeMap<String, String>,
    ) {
        let ready = conditions::get(&self.status.conditions, names::READY)
            .map(|ready| ready.reason.clone());
        let fallback = || {
            if severity == Severity::Error {
                "error"
            } else {
                "info"
            }
            .to_owned()
        };
        // What the user annotates the object with for notifications goes along.
        for (key, value) in self.object.annotations() {
            if key.starts_with(names::EVENT_PREFIX) {
                metadata.insert(key.clone(), value.clone());
            }
        }
        self.home.kustomize_events.record(Happening {
            object: reference(&*self.object),
            severity,
            reason: why.map(str::to_owned).or(ready).unwrap_or_else(fallback),
            message,
            metadata,
        });
    }
}
