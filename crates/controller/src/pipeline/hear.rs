//! What a change of an object means for Pipelines and Promotions.

use std::time::Duration;

use fairway_types::{Approval, Pipeline, Promotion, names};
use kube::ResourceExt;

use crate::changes::needs_run;
use crate::context::Context;
use crate::home::{HomeId, Key};
use crate::objects::{Change, Name, name_of};
use crate::promotion::pipeline_source;
use crate::queue::{Lane, Priority};

/// Changes of many children are taken together.
const PAUSE: Duration = Duration::from_millis(50);

impl Context {
    /// Asks for a run over a Pipeline.
    pub(crate) fn enqueue_pipeline(&self, name: Name, after: Duration) {
        let lane = Lane::from(format!("{}/{}", name.0, name.1));
        self.queues
            .pipelines
            .add_with(name, lane, after, Priority::Normal);
    }

    /// Asks for a run over a Promotion.
    pub(crate) fn enqueue_promotion(&self, name: Name, after: Duration) {
        let lane = Lane::from(format!("{}/{}", name.0, name.1));
        self.queues
            .promotions
            .add_with(name, lane, after, Priority::Normal);
    }

    /// Asks for a run over every Pipeline, and every Promotion that has not ended.
    pub(crate) fn enqueue_all_pipelines(&self) {
        for pipeline in self.pipelines.all() {
            self.enqueue_pipeline(name_of(&*pipeline), Duration::ZERO);
        }
        for promotion in self.promotions.all() {
            if is_open(&promotion) {
                self.enqueue_promotion(name_of(&*promotion), Duration::ZERO);
            }
        }
    }

    /// Something that a Pipeline looks at has changed: it and its open Promotions look again.
    fn stir(&self, pipeline: &Pipeline) {
        let (namespace, name) = name_of(pipeline);
        self.stir_promotions(&namespace, &name, PAUSE);
        self.enqueue_pipeline((namespace, name), PAUSE);
    }

    fn stir_promotions(&self, namespace: &str, pipeline: &str, after: Duration) {
        for promotion in self.promotions.all() {
            if promotion.namespace().as_deref() == Some(namespace)
                && promotion.spec.pipeline_ref.name == pipeline
                && is_open(&promotion)
            {
                self.enqueue_promotion(name_of(&*promotion), after);
            }
        }
    }

    /// A source has a new revision.
    pub(crate) fn notify_pipelines_of_source(&self, source: &Key) {
        if source.home != HomeId::Hub {
            return;
        }
        for pipeline in self.pipelines.all() {
            if pipeline_source(&pipeline) == *source {
                self.stir(&pipeline);
            }
        }
    }

    /// A FleetKustomization, or one of its Kustomizations, has changed.
    pub(crate) fn notify_pipelines_of_fleet(&self, namespace: &str, fleet: &str) {
        for pipeline in self.pipelines.all() {
            let carries = pipeline.spec.stages.iter().any(|stage| {
                stage
                    .fleet_refs
                    .iter()
                    .any(|reference| reference.name == fleet)
            });
            if carries && pipeline.namespace().as_deref() == Some(namespace) {
                self.stir(&pipeline);
            }
        }
    }

    /// What a change of a Pipeline means.
    pub(crate) fn pipeline_changed(&self, change: &Change<Pipeline>) {
        match change {
            Change::Set { old, new } => {
                let (namespace, name) = name_of(&**new);
                let says = |pipeline: &Pipeline| pipeline.annotations().clone();
                let asked = old.as_deref().map(says) != Some(says(new));
                if needs_run(old.as_deref(), &**new) || asked {
                    self.enqueue_pipeline((namespace.clone(), name.clone()), Duration::ZERO);
                    self.stir_promotions(&namespace, &name, Duration::ZERO);
                    return;
                }
                let status = |pipeline: &Pipeline| {
                    let status = pipeline.status.clone().unwrap_or_default();
                    let stages = status.stages.into_iter();
                    let holders: Vec<_> =
                        stages.map(|stage| (stage.promotion, stage.queue)).collect();
                    (holders, status.versions, status.blocked_versions)
                };
                if old.as_deref().map(status) != Some(status(new)) {
                    self.stir_promotions(&namespace, &name, Duration::ZERO);
                }
            }
            Change::Gone(pipeline) => {
                self.queues.pipelines.forget(&name_of(&**pipeline));
            }
        }
    }

    /// What a change of a Promotion means.
    pub(crate) fn promotion_changed(&self, change: &Change<Promotion>) {
        let promotion = match change {
            Change::Set { old, new } => {
                let says = |promotion: &Promotion| {
                    let of = |key: &str| promotion.annotations().get(key).cloned();
                    (of(names::REVOKE), of(names::CANCEL))
                };
                let asked = old.as_deref().map(says) != Some(says(new));
                if needs_run(old.as_deref(), &**new) || asked {
                    self.enqueue_promotion(name_of(&**new), Duration::ZERO);
                }
                let status = |promotion: &Promotion| {
                    let status = promotion.status.clone().unwrap_or_default();
                    (status.phase, status.to, status.conditions, status.hold)
                };
                let (before, after) = (old.as_deref().map(status), status(new));
                if before.as_ref().and_then(|before| before.3.clone()) != after.3 {
                    // Who is held, or no more, is the fleet reconciler's to pin.
                    self.enqueue_fleets_of(&new.namespace().unwrap_or_default());
                }
                if before.as_ref() == Some(&after) && !asked {
                    return;
                }
                new
            }
            Change::Gone(promotion) => {
                self.queues.promotions.forget(&name_of(&**promotion));
                if promotion
                    .status
                    .as_ref()
                    .is_some_and(|status| status.hold.is_some())
                {
                    self.enqueue_fleets_of(&promotion.namespace().unwrap_or_default());
                }
                promotion
            }
        };
        let namespace = promotion.namespace().unwrap_or_default();
        let pipeline = promotion.spec.pipeline_ref.name.clone();
        self.enqueue_pipeline((namespace, pipeline), Duration::ZERO);
    }

    /// What a change of an Approval means.
    pub(crate) fn approval_changed(&self, change: &Change<Approval>) {
        let (Change::Set { new: approval, .. } | Change::Gone(approval)) = change;
        let namespace = approval.namespace().unwrap_or_default();
        self.enqueue_promotion(
            (namespace, approval.spec.promotion_ref.name.clone()),
            Duration::ZERO,
        );
    }
}

/// Whether more is to happen to a Promotion.
fn is_open(promotion: &Promotion) -> bool {
    promotion
        .status
        .as_ref()
        .is_none_or(|status| !status.phase.is_final())
        || promotion.metadata.deletion_timestamp.is_some()
}
