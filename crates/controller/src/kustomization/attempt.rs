//! One run over a Kustomization, as far as it has come: its status, and what is told about it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use fairway_types::names;
use fairway_types::{Kustomization, KustomizationStatus, conditions};
use kube::ResourceExt;
use kube::api::Api;

use super::progress::Now;
use crate::context::Context;
use crate::events::{Happening, Severity, reference};
use crate::home::Home;
use crate::status;

/// One run: the object as it was at the start, and the status as it becomes.
pub(super) struct Attempt<'a> {
    pub context: &'a Arc<Context>,
    pub home: &'a Arc<Home>,
    pub object: Arc<Kustomization>,
    pub status: KustomizationStatus,
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

    /// Records an event. Without a reason of its own it has that of the Ready condition.
    pub(super) fn tell(
        &self,
        severity: Severity,
        why: Option<&str>,
        message: String,
        revision: Option<&str>,
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
        let metadata = revision.map(|revision| (names::REVISION.to_owned(), revision.to_owned()));
        self.home.kustomize_events.record(Happening {
            object: reference(&*self.object),
            severity,
            reason: why.map(str::to_owned).or(ready).unwrap_or_else(fallback),
            message,
            metadata: BTreeMap::from_iter(metadata),
        });
    }
}
