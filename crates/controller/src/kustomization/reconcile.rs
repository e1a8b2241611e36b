//! One run over one Kustomization.

use std::sync::Arc;
use std::time::Duration;

use fairway_apply::health::Judge;
use fairway_types::names::{self, reason};
use fairway_types::{Kustomization, conditions};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::apply::{self, Work};
use super::attempt::Attempt;
use super::depends::Blocked;
use super::failure::Failure;
use super::inputs::{check_dependencies, not_run_if, refuse_cycle, source, target, unsupported};
use super::memory::Applied;
use super::{finalize, progress, variables};
use crate::build;
use crate::build::finish::Finish;
use crate::cluster::Target;
use crate::context::{Context, is_requested};
use crate::events::Severity;
use crate::home::{Home, HomeId, Key};
use crate::metrics::Metrics;
use crate::queue::{Outcome, Priority, Ticket};
use crate::source::Source;
use crate::status;

/// How a run that did not fail ended.
enum Ended {
    /// The cluster was asked and is as it should be.
    Applied,
    /// Nothing had to be asked.
    Unchanged,
    /// Put off in favour of Kustomizations that have something to do.
    Deferred,
}

pub(crate) async fn reconcile(context: Arc<Context>, mut ticket: Ticket<Key>) -> Outcome {
    let key = ticket.key().clone();
    let Some(home) = context.homes.get(&key.home) else {
        return Outcome::Done;
    };
    // Without the sources and all Kustomizations nothing can be told about revisions and dependencies.
    tokio::select! {
        () = async { home.repositories.synced().await; home.kustomizations.synced().await } => {}
        () = home.stop.cancelled() => return Outcome::Done,
    }
    let Some(object) = home.kustomizations.get(&key.namespace, &key.name) else {
        context.memory.forget(&key);
        return Outcome::Done;
    };
    if !context.options.selects(object.labels()) {
        // Another shard's.
        context.let_go(&key);
        return Outcome::Done;
    }
    if object.metadata.deletion_timestamp.is_some() {
        return finalize::run(&context, &home, &key, &object).await;
    }
    let object = if object
        .finalizers()
        .iter()
        .any(|name| name == names::FINALIZER)
    {
        object
    } else {
        match add_finalizer(&context, &home, &object).await {
            Ok(object) => object,
            Err(error) if status::is_gone(&error) => return Outcome::Done,
            Err(error) => {
                tracing::warn!(%key, %error, "finalizer not added");
                return Outcome::Backoff;
            }
        }
    };
    if object.spec.suspend {
        return rest(&context, &home, &key, object).await;
    }
    Metrics::count(&context.metrics.reconciles);
    let mut attempt = Attempt::new(&context, &home, object.clone());
    let result = run(&mut attempt, &key, &mut ticket).await;
    if key.home == HomeId::Hub {
        let (durations, took) = (&context.metrics.durations, attempt.started.elapsed());
        durations.observe("Kustomization", &key.namespace, &key.name, took);
    }
    conclude(&mut attempt, &key, result).await
}

/// A suspended object is left alone, but its status does not fall behind: a request is answered, and suspending it does
/// not make it look unfinished.
async fn rest(
    context: &Arc<Context>,
    home: &Arc<Home>,
    key: &Key,
    object: Arc<Kustomization>,
) -> Outcome {
    let mut attempt = Attempt::new(context, home, object);
    let now = attempt.now();
    progress::resting(&mut attempt.status, now);
    attempt.handled();
    match attempt.write().await {
        Err(error) if !status::is_gone(&error) => {
            tracing::warn!(%key, %error, "status of suspended Kustomization not written");
            Outcome::Backoff
        }
        _ => Outcome::Done,
    }
}

async fn add_finalizer(
    context: &Arc<Context>,
    home: &Home,
    object: &Kustomization,
) -> Result<Arc<Kustomization>, kube::Error> {
    let api: Api<Kustomization> = Api::namespaced(
        home.connection.client(),
        &object.namespace().unwrap_or_default(),
    );
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(names::FINALIZER.to_owned());
    // The version makes this fail rather than overwrite a finalizer that somebody else has just added.
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": object.resource_version()}});
    let params = PatchParams {
        field_manager: Some(names::KUSTOMIZATION_STATUS_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let answer = api
        .patch(&object.name_any(), &params, &Patch::Merge(&patch))
        .await?;
    let (object, change) = home.kustomizations.wrote(answer);
    if let Some(change) = change {
        context.kustomization_changed(&home.id, &change);
    }
    Ok(object)
}

async fn conclude(attempt: &mut Attempt<'_>, key: &Key, result: Result<Ended, Failure>) -> Outcome {
    let context = attempt.context;
    let spec = &attempt.object.spec;
    let options = &context.options;
    let interval = options.interval(spec.interval.get());
    let retry = spec.retry_interval().get().max(options.min_interval);
    let revision = attempt.revision.clone();
    let now = attempt.now();
    if !matches!(
        result,
        Err(Failure::Quiet | Failure::Superseded | Failure::Stopped) | Ok(Ended::Deferred)
    ) {
        attempt.handled();
    }
    let outcome = match result {
        Ok(Ended::Applied) => {
            attempt.tell_success();
            Outcome::After(interval)
        }
        Ok(Ended::Unchanged) => Outcome::After(interval),
        Ok(Ended::Deferred) | Err(Failure::Stopped) => Outcome::Done,
        Err(Failure::Superseded) => {
            let trigger = attempt.trigger();
            let message = format!("New reconciliation triggered by {trigger}");
            let why = reason::HEALTH_CHECK_CANCELED;
            progress::failed(&mut attempt.status, why, &message, now);
            let told =
                format!("Health checks canceled due to new reconciliation triggered by {trigger}");
            attempt.tell(Severity::Info, None, told, revision.as_deref());
            Outcome::Done
        }
        Err(Failure::Unsaid { reason, message }) => {
            progress::failed(&mut attempt.status, reason, &message, now);
            Outcome::RetryAfter(retry)
        }
        Err(Failure::Quiet) => Outcome::After(options.interval(options.requeue_dependency)),
        Err(Failure::Failed { reason, message }) => {
            Metrics::count(&context.metrics.failures);
            progress::failed(&mut attempt.status, reason, &message, now);
            attempt.tell(Severity::Error, None, message, revision.as_deref());
            Outcome::RetryAfter(retry)
        }
        Err(Failure::Waiting {
            reason,
            message,
            told,
        }) => {
            progress::failed(&mut attempt.status, reason, &message, now);
            if let Some(told) = told {
                attempt.tell(Severity::Info, None, told, revision.as_deref());
            }
            Outcome::After(options.interval(options.requeue_dependency))
        }
        Err(Failure::Stalled { reason, message }) => {
            Metrics::count(&context.metrics.failures);
            progress::stalled(&mut attempt.status, reason, &message, now);
            attempt.tell(Severity::Error, None, message, revision.as_deref());
            Outcome::Done
        }
        Err(Failure::NotRun(why)) => {
            progress::not_run(&mut attempt.status, &format!("not run: {why}"), now);
            Outcome::Done
        }
    };
    match attempt.write().await {
        Err(error) if !status::is_gone(&error) => {
            tracing::warn!(%key, %error, "status of Kustomization not written");
            Outcome::Backoff
        }
        _ => outcome,
    }
}

async fn run(
    attempt: &mut Attempt<'_>,
    key: &Key,
    ticket: &mut Ticket<Key>,
) -> Result<Ended, Failure> {
    let (context, home, object) = (attempt.context, attempt.home, attempt.object.clone());
    let spec = &object.spec;
    let offline = context.options.remotes.is_limited();
    let judge = Judge::new(&spec.health_check_exprs).map_err(Failure::invalid_expression)?;
    if !offline && let Some(field) = unsupported(&object) {
        return Err(Failure::Stalled {
            reason: "UnsupportedField",
            message: format!("{field} is not supported yet; the last good state stays"),
        });
    }
    let source = source(context, home, &object, offline)?;
    attempt.revision = Some(source.revision.clone());
    refuse_cycle(home, key)?;
    let target = target(context, home, &object).await?;
    context.goes_to(key, &target);
    let account = apply::account(context, &object);
    let strict = context.options.strict_substitutions;
    let finish = variables::finish(home, &key.namespace, spec, strict).await;
    let finish = finish.map_err(|failure| not_run_if(offline, failure))?;

    // What is applied already needs neither its cluster nor its turn.
    if context.memory.take_touched(key) {
        context.memory.uncertain(key);
    }
    let digest = context.builder.peek(source.clone(), spec, &finish).await;
    let applied = context.memory.get(key).filter(|applied| {
        applied.target == target.id
            && applied.account == account
            && applied.generation == object.metadata.generation
            && applied.uid == object.metadata.uid
    });
    let is_ready = conditions::is_true(&attempt.status.conditions, names::READY);
    let is_same = applied.is_some_and(|applied| Some(applied.digest) == digest) && is_ready;
    let is_new_revision = attempt.status.last_applied_revision.as_deref() != Some(&source.revision);
    let requested = is_requested(
        &*object,
        attempt.status.last_handled_reconcile_at.as_deref(),
    );
    let nothing_to_ask = is_same && !requested && (is_new_revision || target.is_watched());

    if !nothing_to_ask && let Some(fleet) = context.governing(key, &object).await {
        // What the rollout has not come to yet stays as it is. What does not build is told further down.
        let digest = match &digest {
            Some(digest) => Some(digest.clone()),
            None => context
                .builder
                .render(source.clone(), spec, finish.clone())
                .await
                .ok()
                .map(|rendered| rendered.digest.clone()),
        };
        if let Some(digest) = digest
            && !context.gate.admits(&fleet, &key.name, &digest)
        {
            context.enqueue_fleet(fleet, Duration::from_millis(50));
            return Err(Failure::Quiet);
        }
    }
    if let Err(blocked) = check_dependencies(context, home, &object, &source).await {
        let why = match blocked {
            Blocked::Invalid(error) => return Err(Failure::invalid_expression(error)),
            Blocked::NotReady(why) => why,
        };
        // It stays as good as it is: nothing would change on its cluster.
        return Err(if nothing_to_ask {
            Failure::Quiet
        } else {
            let retry = fairway_types::Duration::from(context.options.requeue_dependency);
            let told = format!("Dependencies do not meet ready condition, retrying in {retry}");
            Failure::Waiting {
                reason: reason::DEPENDENCY_NOT_READY,
                message: why,
                told: Some(told),
            }
        });
    }
    let _begun = context.memory.begin(key);
    if nothing_to_ask {
        if is_new_revision {
            let (_, backlog) = context.queues.kustomizations.load();
            if backlog > 0 && context.memory.defer(key) {
                context.enqueue_kustomization_with(key.clone(), Duration::ZERO, Priority::Low);
                return Ok(Ended::Deferred);
            }
            let now = attempt.now();
            progress::succeeded(&mut attempt.status, &source.revision, now);
            if let Some(digest) = digest {
                remember(
                    attempt,
                    &digest,
                    &source.revision,
                    reason::RECONCILIATION_SUCCEEDED,
                );
            }
        }
        Metrics::count(&context.metrics.unchanged);
        return Ok(Ended::Unchanged);
    }
    if let Some(why) = target.why_down() {
        return Err(Failure::failed(
            reason::RECONCILIATION_FAILED,
            format!("cluster unreachable: {why}"),
        ));
    }
    if object.labels().contains_key(names::FLEET_NAME) && !target.residents.is_fresh() {
        let looked = target
            .residents
            .refresh(&target.connection, &target.mapper)
            .await;
        if let Err(error) = looked {
            if error.is_unreachable() {
                target.went_down(error.to_string());
            }
            let message = format!("failed to look for another owner of the cluster: {error}");
            return Err(Failure::failed(reason::RECONCILIATION_FAILED, message));
        }
    }
    if let Some(conflict) = context.owner_conflict(&object, key, &target) {
        return Err(Failure::failed(reason::ENGINE_CONFLICT, conflict));
    }
    work(
        attempt,
        key,
        ticket,
        Inputs {
            source,
            finish,
            target,
            account,
            judge,
        },
    )
    .await
}

struct Inputs {
    source: Arc<Source>,
    finish: Finish,
    target: Arc<Target>,
    account: Option<String>,
    judge: Judge,
}

async fn work(
    attempt: &mut Attempt<'_>,
    key: &Key,
    ticket: &mut Ticket<Key>,
    inputs: Inputs,
) -> Result<Ended, Failure> {
    let Inputs {
        source,
        finish,
        target,
        account,
        judge,
    } = inputs;
    let context = attempt.context;
    let requested = is_requested(
        &*attempt.object,
        attempt.status.last_handled_reconcile_at.as_deref(),
    );
    let secrets = finish
        .variables
        .as_ref()
        .map(|variables| variables.secrets.clone())
        .unwrap_or_default();
    let rendered = match context
        .builder
        .render(source.clone(), &attempt.object.spec, finish)
        .await
    {
        Ok(rendered) => context.stand_in(key, rendered),
        Err(error) => {
            if !matches!(error, build::Error::PathNotFound { .. }) {
                attempt.status.last_attempted_revision = Some(source.revision.clone());
            }
            let remote = matches!(error, build::Error::Refused(_));
            return Err(not_run_if(
                remote && context.options.remotes.is_limited(),
                error.into(),
            ));
        }
    };
    let work = Work {
        context,
        key,
        target: &target,
        account: account.as_deref(),
        revision: &source.revision,
        judge: &judge,
    };
    let digest = rendered.digest.clone();
    match work.run(attempt, ticket, rendered).await {
        Ok(changed) => {
            let now = attempt.now();
            let quiet = !changed
                && !requested
                && conditions::is_true(&attempt.status.conditions, names::READY)
                && attempt.status.last_applied_revision.as_deref() == Some(&source.revision)
                && attempt.status.observed_generation == attempt.object.metadata.generation;
            progress::succeeded(&mut attempt.status, &source.revision, now);
            let applied = Applied {
                target: target.id,
                account,
                digest: digest.clone(),
                generation: attempt.object.metadata.generation,
                uid: attempt.object.metadata.uid.clone(),
            };
            context.memory.succeeded(key, applied);
            if quiet {
                return Ok(Ended::Unchanged);
            }
            remember(
                attempt,
                &digest,
                &source.revision,
                reason::RECONCILIATION_SUCCEEDED,
            );
            Ok(Ended::Applied)
        }
        Err(failure) => {
            attempt.status.last_attempted_revision = Some(source.revision.clone());
            if let Failure::Failed { reason, .. } = &failure
                && *reason != reason::BUILD_FAILED
            {
                remember(attempt, &digest, &source.revision, reason);
            }
            Err(failure.masked(&secrets))
        }
    }
}

fn remember(attempt: &mut Attempt<'_>, digest: &str, revision: &str, ended: &str) {
    let (took, now) = (attempt.started.elapsed(), attempt.now());
    progress::remember(&mut attempt.status, digest, revision, ended, took, now);
}
