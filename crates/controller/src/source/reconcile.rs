//! One run over one source.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fairway_git::{Mirror, Reference, Revision};
use fairway_types::git_repository::GitReference;
use fairway_types::{GitRepository, GitRepositoryStatus, names};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::content::{artifact, content, publish};
use super::judge::{Failure, Found, Told, judge, under_way};
use super::{access, external, include, verify};
use crate::context::Context;
use crate::events::{Happening, reference};
use crate::home::{Home, HomeId, Key};
use crate::queue::{Outcome, Ticket};
use crate::status;

/// A run that takes longer says that it is under way.
const LONG: Duration = Duration::from_secs(2);
/// How long until what is included may be what its status says.
const MOMENT: Duration = Duration::from_secs(1);
/// A mirror that nothing needs is kept so long, in case that something needs it again.
const MIRROR_GRACE: Duration = Duration::from_hours(24);

pub(crate) async fn reconcile(context: Arc<Context>, ticket: Ticket<Key>) -> Outcome {
    let key = ticket.key().clone();
    let begun = std::time::Instant::now();
    let Some(home) = context.homes.get(&key.home) else {
        return Outcome::Done;
    };
    if external::is_external(&key) {
        return external::reconcile(&context, &key).await;
    }
    let Some(object) = home.repositories.get(&key.namespace, &key.name) else {
        context.sources.remove(&key);
        return Outcome::Done;
    };
    let api: Api<GitRepository> = Api::namespaced(home.connection.client(), &key.namespace);
    let ours = context.owns_source(&object);
    if object.metadata.deletion_timestamp.is_some() {
        context.sources.remove(&key);
        if !ours {
            return Outcome::Done;
        }
        context.artifacts.remove(&key);
        return finalize(&api, &home, &object).await;
    }
    if object.spec.suspend {
        if ours {
            restore(&context, &home, &key, &object).await;
            return Outcome::Done;
        }
        return external::follow(&context, &home, &key, &object).await;
    }
    if !ours {
        return external::follow(&context, &home, &key, &object).await;
    }
    let mut before = object.status.clone().unwrap_or_default();
    let run = update(&context, &home, &key, &object);
    tokio::pin!(run);
    let result = tokio::select! {
        result = &mut run => result,
        () = tokio::time::sleep(LONG) => {
            if context.owns_source(&object) {
                let now = under_way(&object, &before, (context.clock)());
                if write(&context, &api, &home, &key, &before, &now).await.is_ok() {
                    before = now;
                }
            }
            run.await
        }
    };
    if result.is_err() && context.sources.get(&key).is_none() {
        restore(&context, &home, &key, &object).await;
    }
    if !context.owns_source(&object) {
        // Somebody else has taken over meanwhile.
        return Outcome::Done;
    }
    if key.home == HomeId::Hub {
        let durations = &context.metrics.durations;
        durations.observe("GitRepository", &key.namespace, &key.name, begun.elapsed());
    }
    let (after, told) = judge(&object, &before, &result, (context.clock)());
    tell(&home, &object, &after, told);
    if let Err(error) = write(&context, &api, &home, &key, &before, &after).await {
        tracing::warn!(%key, %error, "status of GitRepository not written");
        return Outcome::Backoff;
    }
    match result {
        Ok(_) => Outcome::After(context.options.interval(object.spec.interval.get())),
        Err(Failure::Failed { .. }) => Outcome::Backoff,
        Err(Failure::Quiet) => Outcome::After(MOMENT),
        Err(Failure::Stalled { .. } | Failure::NotRun(_)) => Outcome::Done,
    }
}

/// Writes what has changed. That the object is gone is no error.
async fn write(
    context: &Context,
    api: &Api<GitRepository>,
    home: &Home,
    key: &Key,
    before: &GitRepositoryStatus,
    after: &GitRepositoryStatus,
) -> Result<(), kube::Error> {
    let manager = names::SOURCE_STATUS_MANAGER;
    match status::write(api, &home.repositories, &key.name, before, after, manager).await {
        Ok(Some((_, Some(change)))) => context.repository_changed(&home.id, &change),
        Err(error) if !status::is_gone(&error) => return Err(error),
        _ => {}
    }
    Ok(())
}

fn tell(home: &Home, object: &GitRepository, after: &GitRepositoryStatus, told: Told) {
    let Some((severity, reason, message)) = told else {
        return;
    };
    let named = |name: &str| format!("{}/{name}", names::SOURCE_GROUP);
    let mut metadata = BTreeMap::new();
    if let Some(artifact) = &after.artifact {
        metadata.insert(named("revision"), artifact.revision.clone());
        metadata.insert(named("digest"), artifact.digest.clone());
    }
    home.source_events.record(Happening {
        object: reference(object),
        severity,
        reason: reason.to_owned(),
        message,
        metadata,
    });
}

async fn finalize(api: &Api<GitRepository>, home: &Home, object: &GitRepository) -> Outcome {
    let finalizers: Vec<&String> = object
        .finalizers()
        .iter()
        .filter(|name| *name != names::FINALIZER)
        .collect();
    if finalizers.len() == object.finalizers().len() {
        return Outcome::Done;
    }
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": object.resource_version()}});
    match api
        .patch(
            &object.name_any(),
            &PatchParams::default(),
            &Patch::Merge(&patch),
        )
        .await
    {
        Ok(answer) => {
            home.repositories.wrote(answer);
            Outcome::Done
        }
        Err(error) if status::is_gone(&error) => Outcome::Done,
        Err(_) => Outcome::Backoff,
    }
}

/// Fetches, verifies, and publishes what was found.
async fn update(
    context: &Arc<Context>,
    home: &Home,
    key: &Key,
    object: &GitRepository,
) -> Result<Found, Failure> {
    let spec = &object.spec;
    let reference =
        reference_of(spec.reference.as_ref()).map_err(|error| Failure::git(&spec.url, &error))?;
    let mirror = access::mirror(context, home, key, object).await?;
    let included = include::included(context, home, key, &spec.include)?;
    let timeout = timeout(object);
    let revision = mirror
        .fetch(&reference, timeout)
        .await
        .map_err(|error| Failure::git(mirror.remote().url(), &error))?;
    context
        .metrics
        .fetches
        .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let now = (context.clock)();
    let verified = verify::verify(home, key, object, &mirror, &reference, &revision, now).await?;
    let content = content(context, object, &mirror, &revision, &included, timeout).await?;
    // Who builds from it need not wait for the archive.
    publish(context, key, object, &mirror, &revision, &content);
    let artifact = artifact(
        context, home, key, object, &mirror, &revision, &content, &included,
    )
    .await?;
    Ok(Found {
        artifact,
        subject: subject(&mirror, &revision),
        verified,
        included: included
            .into_iter()
            .map(|include| include.artifact)
            .collect(),
    })
}

/// The first line of a commit's message, cut as Flux cuts it.
fn subject(mirror: &Mirror, revision: &Revision) -> String {
    const LONGEST: usize = 50;
    let Ok(commit) = mirror.repository().commit(revision.commit()) else {
        return revision.as_str().to_owned();
    };
    let subject = commit.message.split('\n').next().unwrap_or_default();
    let mut cut: String = subject.chars().take(LONGEST).collect();
    if cut.len() < subject.len() {
        cut.push_str("...");
    }
    cut
}

fn timeout(object: &GitRepository) -> Duration {
    let timeout = object.spec.timeout().get();
    timeout.clamp(Duration::from_secs(1), Duration::from_hours(1))
}

/// Publishes the revision that the status names, if the mirror still has it: a source that is suspended, or cannot be
/// fetched just now, stays what it was.
pub(super) async fn restore(
    context: &Arc<Context>,
    home: &Home,
    key: &Key,
    object: &GitRepository,
) {
    if context.sources.get(key).is_some() {
        return;
    }
    let artifact = object
        .status
        .as_ref()
        .and_then(|status| status.artifact.as_ref());
    let Some(revision) = artifact.and_then(|artifact| Revision::parse(&artifact.revision)) else {
        return;
    };
    let Ok(mirror) = access::mirror(context, home, key, object).await else {
        return;
    };
    if !mirror.repository().contains(revision.commit()) {
        return;
    }
    // Only with what it was made with: another setting makes it something that nobody has looked at.
    let spec = &object.spec;
    let same = object.status.as_ref().is_some_and(|status| {
        status.observed_include == spec.include
            && status.observed_recurse_submodules == spec.recurse_submodules
            && status.observed_sparse_checkout == spec.sparse_checkout
    });
    let Ok(included) = include::included(context, home, key, &spec.include) else {
        return;
    };
    if same
        && let Ok(content) = content(
            context,
            object,
            &mirror,
            &revision,
            &included,
            timeout(object),
        )
        .await
    {
        publish(context, key, object, &mirror, &revision, &content);
    }
}

pub(super) fn reference_of(
    reference: Option<&GitReference>,
) -> Result<Reference, fairway_git::Error> {
    let text = |value: Option<&String>| value.map(String::as_str).map(str::to_owned);
    let fields = reference.map_or([const { None }; 5], |r| {
        [&r.branch, &r.tag, &r.semver, &r.name, &r.commit].map(|field| text(field.as_ref()))
    });
    let [branch, tag, semver, name, commit] = &fields;
    Reference::from_spec(
        branch.as_deref(),
        tag.as_deref(),
        semver.as_deref(),
        name.as_deref(),
        commit.as_deref(),
    )
}

/// Deletes mirrors that no source has needed for a day, once an hour, until the engine stops.
pub(crate) async fn sweep_mirrors(
    context: std::sync::Weak<Context>,
    stop: tokio_util::sync::CancellationToken,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_hours(1)) => {}
            () = stop.cancelled() => return,
        }
        let Some(context) = context.upgrade() else {
            return;
        };
        let used = context.sources.mirrors();
        match context.mirrors.sweep(&used, MIRROR_GRACE).await {
            Ok(swept) if swept > 0 => {
                tracing::info!(swept, "mirrors that nothing needs were deleted");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "mirrors that nothing needs could not be deleted"),
        }
    }
}
