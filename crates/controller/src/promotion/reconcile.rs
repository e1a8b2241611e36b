//! One run over one Promotion: read, decide, write, act, until there is nothing to do at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fairway_types::names;
use fairway_types::pipeline::{Pipeline, Stage};
use fairway_types::promotion::{Phase, Promotion, PromotionStatus};
use fairway_types::{ConditionStatus, conditions};
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::act::{Actor, writable};
use super::judge::{self, Action, Facts, Head, Order, Outcome as Acted, Spread, Step, Word};
use super::observe::{Filter, Sight};
use super::{attempt_of, attempts_of};
use crate::context::Context;
use crate::events::{Happening, Severity, reference};
use crate::home::Home;
use crate::metrics::promotions::of_promotion;
use crate::objects::Name;
use crate::options::Controller;
use crate::pipeline::facts::turn;
use crate::queue::{Outcome, Ticket};
use crate::status;
use fairway_types::pipeline::Freeze;

/// Everything is heard by watches; this is the safety net.
const INTERVAL: Duration = Duration::from_mins(10);
/// Steps of one run. Each action leads to another state, so that this is never reached; it bounds a defect.
const STEPS: usize = 40;

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
        context.approvals.synced().await;
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
    let Some(promotion) = context.promotions.get(&namespace, &name) else {
        return Outcome::Done;
    };
    if !context.options.selects(promotion.labels()) || context.conflict().is_some() {
        return Outcome::Done;
    }
    let run = Run {
        context: &context,
        hub: &hub,
        namespace: &namespace,
        name: &name,
    };
    if promotion.metadata.deletion_timestamp.is_some() {
        return run.finalize(&promotion).await;
    }
    if let Err(error) = run.adopt(&promotion).await {
        tracing::warn!(promotion = name, %error, "Promotion not labelled");
        return Outcome::Backoff;
    }
    run.go().await
}

struct Run<'r> {
    context: &'r Arc<Context>,
    hub: &'r Arc<Home>,
    namespace: &'r str,
    name: &'r str,
}

impl Run<'_> {
    fn api(&self) -> Api<Promotion> {
        Api::namespaced(self.hub.connection.client(), self.namespace)
    }

    /// The finalizer that keeps the record until its audit entries are pushed, and the labels by which it is found.
    async fn adopt(&self, promotion: &Promotion) -> Result<(), kube::Error> {
        let spec = &promotion.spec;
        let labels = promotion.labels();
        let is_labelled = labels.get(names::PIPELINE_NAME) == Some(&label(&spec.pipeline_ref.name))
            && labels.get(names::STAGE_NAME) == Some(&spec.stage);
        let finalizer = names::FLEET_FINALIZER.to_owned();
        if is_labelled && promotion.finalizers().contains(&finalizer) {
            return Ok(());
        }
        let mut finalizers = promotion.finalizers().to_vec();
        if !finalizers.contains(&finalizer) {
            finalizers.push(finalizer);
        }
        let patch = json!({"metadata": {
            "finalizers": finalizers,
            "labels": {names::PIPELINE_NAME: label(&spec.pipeline_ref.name), names::STAGE_NAME: spec.stage},
            "resourceVersion": promotion.resource_version(),
        }});
        let answer = self.patch(&patch).await?;
        self.context.promotions.wrote(answer);
        Ok(())
    }

    async fn patch(&self, patch: &serde_json::Value) -> Result<Promotion, kube::Error> {
        let params = PatchParams {
            field_manager: Some(names::FLEET_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        self.api()
            .patch(self.name, &params, &Patch::Merge(patch))
            .await
    }

    /// Lets a Promotion go once its entries are in the audit log.
    async fn finalize(&self, promotion: &Promotion) -> Outcome {
        let finalizers: Vec<&String> = promotion
            .finalizers()
            .iter()
            .filter(|name| *name != names::FLEET_FINALIZER)
            .collect();
        if finalizers.len() == promotion.finalizers().len() {
            return Outcome::Done;
        }
        let pipeline = &promotion.spec.pipeline_ref.name;
        let has_log = self
            .context
            .pipelines
            .get(self.namespace, pipeline)
            .is_some();
        if !self.context.unaudited(promotion).is_empty() {
            if has_log {
                self.context.enqueue_audit(promotion);
                return Outcome::After(Duration::from_secs(2));
            }
            self.context.fleet_events.record(Happening {
                object: reference(promotion),
                severity: Severity::Error,
                reason: "AuditLost".to_owned(),
                message: format!("Pipeline '{pipeline}' is gone, and with it where the audit log is; the last entries are lost"),
                metadata: BTreeMap::new(),
            });
        }
        let patch = json!({"metadata": {
            "finalizers": finalizers, "resourceVersion": promotion.resource_version(),
        }});
        match self.patch(&patch).await {
            Ok(answer) => {
                self.context.promotions.wrote(answer);
                Outcome::Done
            }
            Err(error) if status::is_gone(&error) => Outcome::Done,
            Err(_) => Outcome::Backoff,
        }
    }

    async fn go(&self) -> Outcome {
        let mut outcome: Option<Acted> = None;
        for _ in 0..STEPS {
            let Some(promotion) = self.context.promotions.get(self.namespace, self.name) else {
                return Outcome::Done;
            };
            let before = promotion.status.clone().unwrap_or_default();
            if let Some(next) = self.audit(&promotion, &before).await {
                if let Err(next) = next {
                    return next;
                }
                continue;
            }
            if before.phase.is_final() {
                return Outcome::Done;
            }
            let pipeline = &promotion.spec.pipeline_ref.name;
            let Some(pipeline) = self.context.pipelines.get(self.namespace, pipeline) else {
                return self.without_pipeline(&promotion, &before).await;
            };
            let now = (self.context.clock)();
            let (step, seen) = self
                .decide(&promotion, &pipeline, &before, outcome.take(), now)
                .await;
            if let Err(next) = self.write(&promotion, &before, &step).await {
                return next;
            }
            if step.status.phase != before.phase {
                self.context.options.reached(step.status.phase.as_str());
            }
            let Some(action) = &step.action else {
                let again = step.wake_at.map(|at| at.duration_since(now));
                match again {
                    // A new phase is looked at in the same run.
                    Some(left) if !left.is_positive() && step.status != before => continue,
                    _ => return self.next(&step, now),
                }
            };
            let Some((stage, previous)) = stages(&pipeline, &promotion.spec.stage) else {
                return Outcome::Done;
            };
            // What the API server made of the status is what is acted upon.
            let written = self.context.promotions.get(self.namespace, self.name);
            let status = written.and_then(|written| written.status.clone());
            let status = status.unwrap_or_else(|| step.status.clone());
            let mirror = self.mirror(&pipeline).await;
            let sight = Sight::new(
                self.context,
                self.hub,
                self.namespace,
                &pipeline.spec,
                mirror,
            );
            let actor = Actor {
                context: self.context,
                hub: self.hub,
                namespace: self.namespace,
                pipeline: &pipeline,
                promotion: &promotion,
                status: &status,
                stage,
                previous,
                sight: &sight,
                clusters: seen.clusters.iter().map(|one| one.name.clone()).collect(),
                fleets: seen.fleets.clone(),
            };
            let acted = tokio::select! {
                acted = actor.act(action) => acted,
                () = self.context.stop.cancelled() => return Outcome::Done,
            };
            if *action == Action::Fetch {
                self.context.options.reached("fetching");
            }
            outcome = Some(acted);
        }
        tracing::warn!(promotion = self.name, "too many steps at once");
        Outcome::Backoff
    }

    /// Takes the entries out of the status that are in the audit log, and has the others pushed. Whether that was written.
    async fn audit(
        &self,
        promotion: &Promotion,
        before: &PromotionStatus,
    ) -> Option<Result<(), Outcome>> {
        if before.audit.is_empty() {
            return None;
        }
        let mut after = before.clone();
        after.audit = self.context.unaudited(promotion);
        if !after.audit.is_empty() {
            self.context.enqueue_audit(promotion);
        }
        if after.audit.len() == before.audit.len() {
            return None;
        }
        let step = Step {
            status: after,
            action: None,
            wake_at: None,
            retry: false,
            tells: Vec::new(),
        };
        Some(self.write(promotion, before, &step).await)
    }

    fn next(&self, step: &Step, now: Timestamp) -> Outcome {
        if step.retry {
            return Outcome::Backoff;
        }
        let interval = self.context.options.interval(INTERVAL);
        let after = step.wake_at.map_or(interval, |at| {
            let left = at.duration_since(now);
            let left = Duration::try_from(left).unwrap_or_default();
            left.clamp(Duration::from_millis(50), interval)
        });
        Outcome::After(after)
    }

    /// The mirror to read, where the source is somebody else's and has none here.
    async fn mirror(&self, pipeline: &Pipeline) -> Option<Arc<fairway_git::Mirror>> {
        let key = super::pipeline_source(pipeline);
        if self.context.sources.get(&key)?.mirror.is_some() {
            return None;
        }
        let repository = self.hub.repositories.get(&key.namespace, &key.name)?;
        let secret = pipeline.spec.commit.secret_ref.clone();
        let found = writable(self.context, self.hub, self.namespace, &repository, secret).await;
        found.ok()
    }

    async fn decide(
        &self,
        promotion: &Promotion,
        pipeline: &Pipeline,
        before: &PromotionStatus,
        outcome: Option<Acted>,
        now: Timestamp,
    ) -> (Step, Spread) {
        let spec = &promotion.spec;
        let nothing = PromotionStatus::default();
        let all = attempts_of(self.context, self.namespace, &pipeline.name_any());
        let attempts: Vec<_> = all.iter().map(|one| attempt_of(one, &nothing)).collect();
        let me = attempt_of(promotion, &nothing);
        let known = pipeline.status.clone().unwrap_or_default();
        let holder = known
            .stage(&spec.stage)
            .and_then(|stage| stage.promotion.as_deref());
        let found = stages(pipeline, &spec.stage);
        let stage = found.map(|(stage, _)| stage);
        let previous = found.and_then(|(_, previous)| previous);
        let mirror = self.mirror(pipeline).await;
        let sight = Sight::new(
            self.context,
            self.hub,
            self.namespace,
            &pipeline.spec,
            mirror,
        );
        let filter = Filter {
            clusters: &spec.clusters,
            regions: &spec.regions,
        };
        let (mut head, mut spread) = (Head::default(), Spread::default());
        if let Some(stage) = stage
            && before.phase != Phase::Queued
        {
            head = self.head(&sight, stage, &filter, spec.is_targeted()).await;
            let deviations = known
                .stage(&stage.name)
                .map(|stage| stage.deviations.clone())
                .unwrap_or_default();
            spread = sight.spread(stage, &filter, &deviations).await;
        } else if let Some(stage) = stage {
            head = self.head(&sight, stage, &filter, spec.is_targeted()).await;
        }
        let version = before.to.as_deref().or(spec.version.as_deref());
        let order = match (previous, version) {
            (None, _) => Order::First,
            (Some(previous), Some(version)) => match known.verified(&previous.name, version) {
                Some(record) => Order::Verified {
                    commit: record.commit.clone(),
                },
                None => {
                    let stands = known
                        .stage(&previous.name)
                        .is_some_and(|stage| stage.version.as_deref() == Some(version));
                    let stage = previous.name.clone();
                    if stands {
                        Order::Verifying { stage }
                    } else {
                        Order::Unverified { stage }
                    }
                }
            },
            (Some(previous), None) => Order::Unverified {
                stage: previous.name.clone(),
            },
        };
        let uid = promotion.uid();
        let words = self.words(promotion, uid.as_deref());
        let asks_people =
            stage.is_some_and(|stage| stage.gates.iter().any(|gate| gate.approval.is_some()));
        let policy = before.phase == Phase::Gating && asks_people && self.has_policy().await;
        let frozen = Freeze::of(pipeline.annotations(), &spec.stage, now);
        let facts = Facts {
            spec,
            generation: promotion.metadata.generation,
            pipeline: &pipeline.spec,
            stage,
            automatic: me.arrival.is_some(),
            turn: turn(&me, holder, &attempts, pipeline.spec.queue),
            order,
            blocked: version
                .filter(|_| before.commits.is_empty())
                .and_then(|version| known.blocked(version))
                .map(|blocked| format!("it failed in {}: {}", blocked.stage, blocked.reason)),
            frozen: frozen.map(|freeze| freeze.to_string()),
            approvals: &words,
            policy,
            revoked: me.revoked.clone(),
            cancelled: promotion.annotations().get(names::CANCEL).cloned(),
            head,
            spread,
        };
        let step = judge::step(&facts, before, outcome, now);
        let spread = facts.spread;
        (step, spread)
    }

    /// What the branch says of what this Promotion is for.
    async fn head(
        &self,
        sight: &Sight<'_>,
        stage: &Stage,
        filter: &Filter<'_>,
        targeted: bool,
    ) -> Head {
        let Some(commit) = sight.commit() else {
            return Head::default();
        };
        let mut head = Head {
            commit: Some(commit.to_string()),
            ..Head::default()
        };
        if !targeted {
            match sight.version_at(stage, commit, None).await {
                Ok(version) => head.version = version,
                Err(problem) => head.problem = Some(problem),
            }
            return head;
        }
        let folders = match sight.folders(stage, filter) {
            Ok(folders) => folders,
            Err(problem) => {
                head.problem = Some(problem);
                return head;
            }
        };
        let mut versions = Vec::new();
        for (_, folder) in folders {
            match sight.version_at(stage, commit, folder.as_deref()).await {
                Ok(version) => versions.push(version),
                Err(problem) => {
                    head.problem = Some(problem);
                    return head;
                }
            }
        }
        versions.dedup();
        if let [one] = &mut versions[..] {
            head.version = one.take();
        }
        head
    }

    /// The Approvals of a Promotion: of this one, not of an older one of the same name.
    fn words(&self, promotion: &Promotion, uid: Option<&str>) -> Vec<Word> {
        let asked = promotion.creation_timestamp().map(|time| time.0);
        let mut words: Vec<Word> = self
            .context
            .approvals
            .all()
            .into_iter()
            .filter(|approval| approval.namespace().as_deref() == Some(self.namespace))
            .filter(|approval| approval.spec.promotion_ref.name == self.name)
            // The admission policy asked who may approve on the Pipeline that the Approval names.
            .filter(|approval| approval.spec.pipeline_ref == promotion.spec.pipeline_ref)
            .filter(|approval| {
                let of = approval.spec.promotion_uid.as_deref();
                of.is_none_or(|of| Some(of) == uid)
            })
            .filter_map(|approval| {
                let at = approval.creation_timestamp()?.0;
                (asked.is_none_or(|asked| at >= asked)).then(|| Word {
                    name: approval.name_any(),
                    approver: approval.spec.approver.clone(),
                    groups: approval.spec.groups.clone(),
                    decision: approval.spec.decision,
                    at,
                })
            })
            .collect();
        words.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
        words
    }

    /// Whether the policy that ties Approvals to their callers is on the hub, and bound so that it denies.
    async fn has_policy(&self) -> bool {
        let client = self.hub.connection.client();
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client);
        let name = names::APPROVALS_POLICY;
        let policy = policies.get_opt(name).await.ok().flatten();
        let Some(spec) = policy.and_then(|policy| policy.spec) else {
            return false;
        };
        let fails_closed = spec.failure_policy.as_deref().is_none_or(|it| it == "Fail");
        let bindings = bindings.list(&kube::api::ListParams::default()).await;
        fails_closed
            && bindings.is_ok_and(|list| {
                list.items.iter().any(|binding| {
                    let spec = &binding.spec;
                    spec.policy_name == name
                        && spec.match_resources.is_none()
                        && spec.validation_actions.iter().any(|it| it == "Deny")
                })
            })
    }

    /// Writes the status and tells of it. The next outcome of the run, where that did not work.
    async fn write(
        &self,
        promotion: &Promotion,
        before: &PromotionStatus,
        step: &Step,
    ) -> Result<(), Outcome> {
        let written = status::write(
            &self.api(),
            &self.context.promotions,
            self.name,
            before,
            &step.status,
            names::FLEET_MANAGER,
        )
        .await;
        match written {
            Ok(Some((_, Some(change)))) => self.context.promotion_changed(&change),
            Ok(_) => {}
            Err(error) if status::is_gone(&error) => return Err(Outcome::Done),
            Err(error) => {
                tracing::warn!(promotion = self.name, %error, "status of Promotion not written");
                return Err(Outcome::Backoff);
            }
        }
        if !step.status.audit.is_empty()
            && let Some(written) = self.context.promotions.get(self.namespace, self.name)
        {
            self.context.enqueue_audit(&written);
        }
        self.measure(promotion, before, &step.status);
        for tell in &step.tells {
            let mut metadata = BTreeMap::new();
            for (key, value) in [
                (
                    names::PIPELINE_NAME,
                    Some(&promotion.spec.pipeline_ref.name),
                ),
                (names::STAGE_NAME, Some(&promotion.spec.stage)),
            ] {
                if let Some(value) = value {
                    metadata.insert(key.to_owned(), value.clone());
                }
            }
            if let Some(commit) = step.status.commits.last() {
                metadata.insert(names::REVISION.to_owned(), commit.sha.clone());
                // Notifications show what is under the prefix of the object's own group.
                metadata.insert(
                    format!("{}/revision", names::FLEET_GROUP),
                    commit.sha.clone(),
                );
            }
            self.context.fleet_events.record(Happening {
                object: reference(promotion),
                severity: if tell.bad {
                    Severity::Error
                } else {
                    Severity::Info
                },
                reason: tell.reason.to_owned(),
                message: match tell.message.as_str() {
                    "" => tell.reason.to_owned(),
                    message => message.to_owned(),
                },
                metadata,
            });
        }
        Ok(())
    }

    /// Counts what the change of the status means.
    fn measure(&self, promotion: &Promotion, before: &PromotionStatus, after: &PromotionStatus) {
        let pipeline = &promotion.spec.pipeline_ref.name;
        let pipeline = self.context.pipelines.get(self.namespace, pipeline);
        let version = after.to.as_deref().or(promotion.spec.version.as_deref());
        let arrived = pipeline.as_ref().and_then(|pipeline| {
            let versions = &pipeline.status.as_ref()?.versions;
            let of = versions
                .iter()
                .filter(|one| Some(one.version.as_str()) == version);
            of.map(|one| one.at).min()
        });
        let delivery = &self.context.metrics.delivery;
        let now = (self.context.clock)();
        of_promotion(delivery, promotion, before, after, arrived, now);
    }

    async fn without_pipeline(&self, promotion: &Promotion, before: &PromotionStatus) -> Outcome {
        let mut after = before.clone();
        let message = format!(
            "Pipeline '{}' not found in namespace '{}'",
            promotion.spec.pipeline_ref.name, self.namespace
        );
        conditions::set(
            &mut after.conditions,
            names::READY,
            ConditionStatus::False,
            "PipelineNotFound",
            &message,
            promotion.metadata.generation,
            (self.context.clock)(),
        );
        let step = Step {
            status: after,
            action: None,
            wake_at: None,
            retry: false,
            tells: Vec::new(),
        };
        match self.write(promotion, before, &step).await {
            Ok(()) => Outcome::After(self.context.options.interval(INTERVAL)),
            Err(next) => next,
        }
    }
}

/// A stage and the one before it.
fn stages<'p>(pipeline: &'p Pipeline, name: &str) -> Option<(&'p Stage, Option<&'p Stage>)> {
    let (index, stage) = pipeline.spec.stage(name)?;
    let previous = index
        .checked_sub(1)
        .and_then(|index| pipeline.spec.stages.get(index));
    Some((stage, previous))
}

/// A name as the value of a label, which ends at 63 bytes.
pub(crate) fn label(name: &str) -> String {
    if name.len() <= 63 {
        name.to_owned()
    } else {
        crate::fleet::child_name("", name)
    }
}
