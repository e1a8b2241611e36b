//! One run over one Pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fairway_types::promotion::{Promotion, PromotionStatus};
use fairway_types::{Pipeline, conditions, names};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;

use super::facts::{Facts, StageSeen};
use super::judge::{New, Plan, plan};
use crate::context::Context;
use crate::events::{Happening, Severity, reference};
use crate::home::Home;
use crate::objects::Name;
use crate::options::Controller;
use crate::promotion::{Filter, Sight, attempt_of, attempts_of, label, pipeline_source, writable};
use crate::queue::{Outcome, Ticket};
use crate::status;
use fairway_types::pipeline::Freeze;

/// Everything is heard by watches; this is the safety net.
const INTERVAL: Duration = Duration::from_mins(1);
/// How soon a stage that is not healthy is looked at again: the health of objects is no change of an object of the hub.
const UNHEALTHY: Duration = Duration::from_secs(5);
/// Plans of one run: each makes Promotions, and the next one sees them.
const ROUNDS: usize = 12;

pub(crate) async fn reconcile(context: Arc<Context>, ticket: Ticket<Name>) -> Outcome {
    let (namespace, name) = ticket.key().clone();
    if !context.standings.leads(Controller::Pipeline) {
        return Outcome::Done;
    }
    let Some(hub) = context.hub() else {
        return Outcome::Done;
    };
    let synced = async {
        context.pipelines.synced().await;
        context.promotions.synced().await;
        context.clusters.synced().await;
        context.selectors.synced().await;
        context.fleets.synced().await;
        hub.kustomizations.synced().await;
        hub.repositories.synced().await;
    };
    tokio::select! {
        () = synced => {}
        () = context.stop.cancelled() => return Outcome::Done,
    }
    let Some(pipeline) = context.pipelines.get(&namespace, &name) else {
        return Outcome::Done;
    };
    if !context.options.selects(pipeline.labels()) || pipeline.metadata.deletion_timestamp.is_some()
    {
        return Outcome::Done;
    }
    let run = Run {
        context: &context,
        hub: &hub,
        namespace: &namespace,
        name: &name,
    };
    run.go(&pipeline).await
}

struct Run<'r> {
    context: &'r Arc<Context>,
    hub: &'r Arc<Home>,
    namespace: &'r str,
    name: &'r str,
}

impl Run<'_> {
    async fn go(&self, pipeline: &Pipeline) -> Outcome {
        let key = pipeline_source(pipeline);
        let mirror = match self.hub.repositories.get(&key.namespace, &key.name) {
            Some(repository)
                if self
                    .context
                    .sources
                    .get(&key)
                    .is_some_and(|source| source.mirror.is_none()) =>
            {
                let secret = pipeline.spec.commit.secret_ref.clone();
                writable(self.context, self.hub, self.namespace, &repository, secret)
                    .await
                    .ok()
            }
            _ => None,
        };
        let before = pipeline.status.clone().unwrap_or_default();
        for _ in 0..ROUNDS {
            let now = (self.context.clock)();
            let sight = Sight::new(
                self.context,
                self.hub,
                self.namespace,
                &pipeline.spec,
                mirror.clone(),
            );
            let mut stages = Vec::new();
            for stage in &pipeline.spec.stages {
                let deviations = sight.deviations(stage).await;
                stages.push(StageSeen {
                    version: sight.head_version(stage).await,
                    revision: sight.revision(),
                    spread: sight.spread(stage, &Filter::ALL, &deviations).await,
                    frozen: Freeze::of(pipeline.annotations(), &stage.name, now)
                        .map(|freeze| freeze.to_string()),
                    deviations,
                });
            }
            let nothing = PromotionStatus::default();
            let all = attempts_of(self.context, self.namespace, self.name);
            let facts = Facts {
                name: self.name,
                spec: &pipeline.spec,
                generation: pipeline.metadata.generation,
                unblock: pipeline
                    .annotations()
                    .get(names::UNBLOCK)
                    .map(String::as_str),
                requested: pipeline
                    .annotations()
                    .get(names::REQUESTED_AT)
                    .map(String::as_str),
                stages,
                promotions: all.iter().map(|one| attempt_of(one, &nothing)).collect(),
                conflict: self.context.conflict().map(|conflict| conflict.to_string()),
            };
            let plan = plan(&facts, &before, now);
            if plan.create.is_empty() {
                return self.finish(pipeline, &before, plan).await;
            }
            for new in &plan.create {
                if let Err(error) = self.create(pipeline, new).await {
                    tracing::warn!(promotion = new.name, %error, "Promotion not made");
                    return Outcome::Backoff;
                }
            }
        }
        tracing::warn!(pipeline = self.name, "too many rounds at once");
        Outcome::Backoff
    }

    /// Makes a Promotion. One of that name that is there already is what an earlier try has made, or a stranger's; the next
    /// plan sees which.
    async fn create(&self, pipeline: &Pipeline, new: &New) -> Result<(), kube::Error> {
        let mut spec = json!({
            "pipelineRef": {"name": self.name},
            "stage": new.stage,
            "intent": "promote",
            "version": new.version,
            "reason": new.reason,
        });
        if let Some(from) = &new.from {
            spec["from"] = from.clone().into();
        }
        if let Some(me) = self.context.whoami.name(self.hub).await {
            spec["requestedBy"] = me.into();
        }
        let mut labels = BTreeMap::from([
            (names::PIPELINE_NAME.to_owned(), label(self.name)),
            (names::STAGE_NAME.to_owned(), new.stage.clone()),
        ]);
        if let Some(shard) = pipeline.labels().get(names::SHARD_KEY) {
            labels.insert(names::SHARD_KEY.to_owned(), shard.clone());
        }
        let object = json!({
            "apiVersion": "fleet.fairway.dev/v1alpha1",
            "kind": "Promotion",
            "metadata": {
                "name": new.name,
                "namespace": self.namespace,
                "labels": labels,
                "annotations": {names::ARRIVAL: new.arrival},
                "finalizers": [names::FLEET_FINALIZER],
            },
            "spec": spec,
        });
        let object: Promotion = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
        let api: Api<Promotion> = Api::namespaced(self.hub.connection.client(), self.namespace);
        self.context.options.reached("before a Promotion is made");
        let made = match api.create(&PostParams::default(), &object).await {
            Ok(made) => made,
            Err(kube::Error::Api(answer)) if answer.code == 409 => api.get(&new.name).await?,
            Err(error) => return Err(error),
        };
        self.context.options.reached("after a Promotion is made");
        if let Some(change) = self.context.promotions.observed(made) {
            self.context.promotion_changed(&change);
        }
        Ok(())
    }

    async fn finish(
        &self,
        pipeline: &Pipeline,
        before: &fairway_types::PipelineStatus,
        plan: Plan,
    ) -> Outcome {
        let api: Api<Pipeline> = Api::namespaced(self.hub.connection.client(), self.namespace);
        let written = status::write(
            &api,
            &self.context.pipelines,
            self.name,
            before,
            &plan.status,
            names::FLEET_MANAGER,
        )
        .await;
        match written {
            Ok(Some((_, Some(change)))) => self.context.pipeline_changed(&change),
            Ok(_) => {}
            Err(error) if status::is_gone(&error) => return Outcome::Done,
            Err(error) => {
                tracing::warn!(pipeline = self.name, %error, "status of Pipeline not written");
                return Outcome::Backoff;
            }
        }
        for (bad, reason, message) in plan.tells {
            self.tell(pipeline, bad, reason, message);
        }
        let ready = |status: &fairway_types::PipelineStatus| {
            conditions::get(&status.conditions, names::READY).cloned()
        };
        if let (was, Some(now)) = (ready(before), ready(&plan.status))
            && now.status == fairway_types::ConditionStatus::False
            && was.is_none_or(|was| was.message != now.message)
        {
            self.tell(pipeline, true, "NotReady", now.message);
        }
        let promotions: Api<Promotion> =
            Api::namespaced(self.hub.connection.client(), self.namespace);
        for name in &plan.delete {
            if let Err(error) = promotions.delete(name, &DeleteParams::background()).await
                && !status::is_gone(&error)
            {
                tracing::warn!(promotion = name, %error, "old Promotion not deleted");
            }
        }
        let restless = plan.status.stages.iter().any(|stage| !stage.healthy);
        let interval = if restless { UNHEALTHY } else { INTERVAL };
        Outcome::After(self.context.options.interval(interval))
    }

    fn tell(&self, pipeline: &Pipeline, bad: bool, reason: &str, message: String) {
        self.context.fleet_events.record(Happening {
            object: reference(pipeline),
            severity: if bad { Severity::Error } else { Severity::Info },
            reason: reason.to_owned(),
            message,
            metadata: BTreeMap::new(),
        });
    }
}
