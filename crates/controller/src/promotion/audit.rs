//! Entries of the audit log: they stand in a Promotion's status until they are in Git.
//!
//! Pushing has a queue of its own, so that a Git server that does not answer keeps no promotion from going back. It writes
//! nothing to the Promotion: how far the log has come is told to the run over the Promotion, which alone writes its status.

use std::sync::Arc;
use std::time::Duration;

use fairway_types::promotion::Promotion;
use kube::ResourceExt;

use super::act::{committer, signing_key, writable};
use super::pipeline_source;
use crate::audit::{AuditLog, Entry, Writer};
use crate::context::Context;
use crate::objects::Name;
use crate::queue::{Lane, Outcome, Priority, Ticket, jitter};

/// Pushes what waits in a Promotion's status.
pub(crate) async fn push(context: Arc<Context>, ticket: Ticket<Name>) -> Outcome {
    let (namespace, name) = ticket.key().clone();
    let Some(promotion) = context.promotions.get(&namespace, &name) else {
        return Outcome::Done;
    };
    let waiting = context.unaudited(&promotion);
    let Some(last) = waiting.iter().map(|record| record.number).max() else {
        return Outcome::Done;
    };
    match append(&context, &namespace, &promotion, &waiting).await {
        Ok(()) => {
            context.note_audited(&promotion, last);
            context.enqueue_promotion((namespace, name), Duration::ZERO);
            Outcome::Done
        }
        Err(why) => {
            tracing::warn!(promotion = name, why, "audit entries wait");
            Outcome::Backoff
        }
    }
}

async fn append(
    context: &Arc<Context>,
    namespace: &str,
    promotion: &Promotion,
    waiting: &[fairway_types::promotion::AuditRecord],
) -> Result<(), String> {
    let hub = context.hub().ok_or("the hub is not known yet")?;
    let pipeline = &promotion.spec.pipeline_ref.name;
    let pipeline = context
        .pipelines
        .get(namespace, pipeline)
        .ok_or_else(|| format!("Pipeline '{pipeline}' is not there"))?;
    let key = pipeline_source(&pipeline);
    let repository = hub
        .repositories
        .get(&key.namespace, &key.name)
        .ok_or_else(|| format!("GitRepository '{}' is not there", key.name))?;
    let secret = pipeline.spec.commit.secret_ref.clone();
    let mirror = writable(context, &hub, namespace, &repository, secret).await?;
    let status = promotion.status.clone().unwrap_or_default();
    let clusters: Vec<String> = status
        .hold
        .map_or_else(|| promotion.spec.clusters.clone(), |hold| hold.clusters);
    let entries: Vec<Entry> = waiting
        .iter()
        .map(|record| Entry::of(promotion, record, &clusters))
        .collect();
    let committer = committer(&pipeline, (context.clock)().as_second());
    let signing = signing_key(&hub, namespace, &pipeline).await?;
    let writer = Writer {
        committer: &committer,
        key: signing.as_ref(),
    };
    let pause = |attempt: u32| jitter(Duration::from_millis(50) * attempt.min(20), 50);
    AuditLog::new(mirror)
        .append(&entries, writer, pause)
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}

impl Context {
    /// The entries of a Promotion that are not known to be in the log.
    pub(crate) fn unaudited(
        &self,
        promotion: &Promotion,
    ) -> Vec<fairway_types::promotion::AuditRecord> {
        let done = self.audited_to(promotion);
        let status = promotion.status.as_ref();
        let waiting = status
            .map(|status| status.audit.clone())
            .unwrap_or_default();
        waiting
            .into_iter()
            .filter(|record| record.number > done)
            .collect()
    }

    /// Up to which number the entries of a Promotion are in the log, as far as this process knows.
    pub(crate) fn audited_to(&self, promotion: &Promotion) -> i64 {
        let audited = self
            .audited
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let uid = promotion.uid().unwrap_or_default();
        audited.get(&uid).copied().unwrap_or(0)
    }

    fn note_audited(&self, promotion: &Promotion, number: i64) {
        let mut audited = self
            .audited
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        audited.insert(promotion.uid().unwrap_or_default(), number);
    }

    /// Has the entries of a Promotion pushed; those of one repository one after another.
    pub(crate) fn enqueue_audit(&self, promotion: &Promotion) {
        let namespace = promotion.namespace().unwrap_or_default();
        let pipeline = self
            .pipelines
            .get(&namespace, &promotion.spec.pipeline_ref.name);
        let Some(pipeline) = pipeline else { return };
        let lane = Lane::from(pipeline_source(&pipeline).to_string());
        let key = (namespace, promotion.name_any());
        self.queues
            .audits
            .add_with(key, lane, Duration::ZERO, Priority::Normal);
    }
}
