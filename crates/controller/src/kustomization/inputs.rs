//! What a run needs before it can begin: a source with a revision, dependencies that are ready, a cluster.

use std::sync::Arc;

use fairway_types::names::{self, reason};
use fairway_types::{ConditionStatus, Kustomization, conditions};
use kube::ResourceExt;

use super::depends::Blocked;
use super::failure::Failure;
use super::{cycle, depends, variables};
use crate::cluster::{ConnectError, Target};
use crate::context::{Context, source_key};
use crate::home::{Home, Key};
use crate::rollout;
use crate::source::{NOT_RUN, Source, external};

/// The first field that would change what happens in a way that is not there yet.
pub(super) fn unsupported(object: &Kustomization) -> Option<&'static str> {
    let spec = &object.spec;
    spec.decryption.is_some().then_some("spec.decryption")
}

/// The source's current state, or why there is none.
pub(super) fn source(
    context: &Context,
    home: &Home,
    object: &Kustomization,
    offline: bool,
) -> Result<Arc<Source>, Failure> {
    let reference = &object.spec.source_ref;
    let own = object.namespace().unwrap_or_default();
    let namespace = reference.namespace.as_ref().unwrap_or(&own);
    if context.options.no_cross_namespace_refs && *namespace != own {
        return Err(Failure::Stalled {
            reason: reason::ACCESS_DENIED,
            message: format!(
                "can't access '{}/{namespace}/{}', cross-namespace references have been blocked\n\
                 hint: --no-cross-namespace-refs=false allows them",
                reference.kind, reference.name
            ),
        });
    }
    let Some(key) = source_key(&home.id, object) else {
        let message = format!(
            "source `{}` kind '{}' has no controller here",
            reference.name, reference.kind
        );
        return Err(if offline {
            Failure::NotRun(message)
        } else {
            Failure::failed(reason::ARTIFACT_FAILED, message)
        });
    };
    if external::is_external(&key) {
        if offline {
            // Nobody would ever make it in a repository without its surroundings.
            return Err(Failure::NotRun(format!(
                "source `{}` kind '{}' has no controller here",
                reference.name, reference.kind
            )));
        }
        return external::look_up(context, home, &key).map_err(|lack| match lack {
            external::Lack::NoArtifact => artifact_missing(context, object),
            lack => Failure::failed(reason::ARTIFACT_FAILED, lack),
        });
    }
    let Some(repository) = home.repositories.get(&key.namespace, &key.name) else {
        let message = format!(
            "gitrepositories.source.toolkit.fluxcd.io \"{}\" not found",
            key.name
        );
        return Err(Failure::Unsaid {
            reason: reason::ARTIFACT_FAILED,
            message,
        });
    };
    if let Some(source) = context.sources.get(&key) {
        return Ok(source);
    }
    let ready = repository
        .status
        .as_ref()
        .and_then(|status| conditions::get(&status.conditions, names::READY));
    if let Some(ready) = ready
        && ready.reason == NOT_RUN
    {
        return Err(Failure::NotRun(format!(
            "its source GitRepository/{}/{} is not run",
            key.namespace, key.name
        )));
    }
    if let Some(ready) = ready
        && ready.status == ConditionStatus::False
        && rollout::pins::is_hold(&repository)
    {
        return Err(Failure::Waiting {
            reason: reason::REVISION_UNAVAILABLE,
            message: format!(
                "the revision that the cluster is held at cannot be had, and the cluster is left as it is: {}",
                ready.message
            ),
            told: None,
        });
    }
    let artifact = repository
        .status
        .as_ref()
        .and_then(|status| status.artifact.as_ref());
    if let Some(why) = artifact.and_then(|artifact| context.externals.failure(&key, artifact)) {
        return Err(Failure::failed(reason::ARTIFACT_FAILED, why));
    }
    Err(artifact_missing(context, object))
}

/// There is nothing to build from yet.
fn artifact_missing(context: &Context, object: &Kustomization) -> Failure {
    let was_applied = object
        .status
        .as_ref()
        .is_some_and(|status| status.last_applied_revision.is_some());
    if was_applied {
        // This process has not fetched it yet, or cannot: what was said about the last revision still holds.
        return Failure::Quiet;
    }
    let retry = fairway_types::Duration::from(context.options.requeue_dependency);
    Failure::Waiting {
        reason: reason::ARTIFACT_FAILED,
        message: format!("Source artifact not found, retrying in {retry}"),
        told: None,
    }
}

/// Without its surroundings a repository cannot have everything: what lacks something is not run, not failed.
pub(super) fn not_run_if(offline: bool, failure: Failure) -> Failure {
    if offline {
        Failure::NotRun(failure.to_string())
    } else {
        failure
    }
}

/// What depends on itself would wait for ever.
pub(super) fn refuse_cycle(home: &Home, key: &Key) -> Result<(), Failure> {
    let ids = |id: &cycle::Id| {
        let found = home.kustomizations.get(&id.0, &id.1);
        found
            .map(|object| dependencies(&object))
            .unwrap_or_default()
    };
    match cycle::find_cycle(&(key.namespace.clone(), key.name.clone()), &ids) {
        None => Ok(()),
        Some(cycle) => {
            let message = format!("dependency cycle: {}", cycle::describe(&cycle));
            let told = Some(message.clone());
            Err(Failure::Waiting {
                reason: reason::DEPENDENCY_NOT_READY,
                message,
                told,
            })
        }
    }
}

/// What a Kustomization depends on.
pub(crate) fn dependencies(object: &Kustomization) -> Vec<cycle::Id> {
    let own = object.namespace().unwrap_or_default();
    object
        .spec
        .depends_on
        .iter()
        .map(|reference| {
            (
                reference.namespace.clone().unwrap_or_else(|| own.clone()),
                reference.name.clone(),
            )
        })
        .collect()
}

pub(super) async fn check_dependencies(
    context: &Arc<Context>,
    home: &Arc<Home>,
    object: &Kustomization,
    source: &Arc<Source>,
) -> Result<(), Blocked> {
    for ((namespace, name), reference) in dependencies(object)
        .into_iter()
        .zip(&object.spec.depends_on)
    {
        let dependency = home.kustomizations.get(&namespace, &name);
        if let (Some(text), Some(dependency)) = (&reference.ready_expr, dependency.as_deref()) {
            depends::by_expression(text, object, dependency)?;
            if !context.options.additive_cel_dependency_check {
                continue;
            }
        }
        let shared = dependency
            .as_deref()
            .filter(|dependency| depends::share_source(object, dependency))
            .map(|dependency| (dependency, source.clone()));
        // What is held at a commit of the same source is up to date when it has that.
        let held = dependency
            .as_deref()
            .filter(|_| shared.is_none())
            .and_then(|dependency| Some((dependency, held_at(context, home, object, dependency)?)));
        let shared = shared.or(held);
        let behind = shared.as_ref().filter(|(dependency, source)| {
            let applied = dependency
                .status
                .as_ref()
                .and_then(|status| status.last_applied_revision.as_deref());
            applied != Some(&source.revision)
        });
        let renders_the_same = match behind {
            Some((dependency, source)) => renders_the_same(context, home, dependency, source).await,
            None => false,
        };
        let known = depends::Known {
            shared_revision: shared.as_ref().map(|(_, source)| source.revision.as_str()),
            renders_the_same,
            not_run_is_ready: context.options.remotes.is_limited(),
        };
        if let Some(why) = depends::why_not(&namespace, &name, dependency.as_deref(), known) {
            return Err(Blocked::NotReady(why));
        }
    }
    Ok(())
}

/// The source of a dependency that is held at a commit of the source that an object follows.
fn held_at(
    context: &Arc<Context>,
    home: &Home,
    object: &Kustomization,
    dependency: &Kustomization,
) -> Option<Arc<Source>> {
    let (own, other) = (
        source_key(&home.id, object)?,
        source_key(&home.id, dependency)?,
    );
    let is_held = rollout::origin(home, &other) != other;
    let same = rollout::origin(home, &other) == rollout::origin(home, &own);
    (is_held && same)
        .then(|| context.sources.get(&other))
        .flatten()
}

/// Whether a dependency that is still at an older revision would look just the same at the new one.
async fn renders_the_same(
    context: &Arc<Context>,
    home: &Home,
    object: &Kustomization,
    source: &Arc<Source>,
) -> bool {
    let key = Key::new(
        &home.id,
        object.namespace().unwrap_or_default(),
        object.name_any(),
    );
    let Some(applied) = context.memory.get(&key) else {
        return false;
    };
    let strict = context.options.strict_substitutions;
    let Ok(finish) = variables::finish(home, &key.namespace, &object.spec, strict).await else {
        return false;
    };
    context
        .builder
        .peek(source.clone(), &object.spec, &finish)
        .await
        .is_some_and(|digest| digest == applied.digest)
}

/// The cluster that a Kustomization goes to.
pub(super) async fn target(
    context: &Arc<Context>,
    home: &Arc<Home>,
    object: &Kustomization,
) -> Result<Arc<Target>, Failure> {
    let Some(reference) = &object.spec.kube_config else {
        return Ok(home.target.clone());
    };
    let namespace = object.namespace().unwrap_or_default();
    let make = |connection| context.target(connection);
    context
        .connections
        .resolve(home, &namespace, reference, &context.options, make)
        .await
        .map_err(|error| match error {
            error @ ConnectError::Invalid { .. } => {
                Failure::failed(reason::RECONCILIATION_FAILED, error)
            }
            error if error.is_misconfigured() => Failure::Stalled {
                reason: reason::RECONCILIATION_FAILED,
                message: error.to_string(),
            },
            error => Failure::failed(
                reason::RECONCILIATION_FAILED,
                format!("failed to build kube client: {error}"),
            ),
        })
}
