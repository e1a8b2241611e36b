//! One run over one GitRepository.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fairway_git::{Credentials, Mirror, Reference, Remote, Revision, ViewOptions};
use fairway_types::git_repository::{Artifact, GitReference};
use fairway_types::names::{self, reason};
use fairway_types::{GitRepository, GitRepositorySpec};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::judge::{Failure, judge};
use super::{Source, credentials};
use crate::build::finish::hex;
use crate::context::Context;
use crate::events::{Happening, reference};
use crate::home::{Home, HomeId, Key};
use crate::options::Remotes;
use crate::queue::{Outcome, Ticket};
use crate::status;

pub(crate) async fn reconcile(context: Arc<Context>, ticket: Ticket<Key>) -> Outcome {
    let key = ticket.key().clone();
    let begun = std::time::Instant::now();
    let Some(home) = context.homes.get(&key.home) else {
        return Outcome::Done;
    };
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
        return finalize(&api, &home, &object).await;
    }
    if object.spec.suspend {
        restore(&context, &home, &key, &object).await;
        return Outcome::Done;
    }
    if !ours {
        return follow(&context, &home, &key, &object).await;
    }
    let result = update(&context, &home, &key, &object).await;
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
    let before = object.status.clone().unwrap_or_default();
    let (after, happening) = judge(&object, &before, &result, (context.clock)());
    if let Some((severity, reason, message)) = happening {
        let mut metadata = BTreeMap::new();
        if let Some(artifact) = &after.artifact {
            metadata.insert(
                format!("{}/revision", names::SOURCE_GROUP),
                artifact.revision.clone(),
            );
            metadata.insert(
                format!("{}/digest", names::SOURCE_GROUP),
                artifact.digest.clone(),
            );
        }
        home.source_events.record(Happening {
            object: reference(&*object),
            severity,
            reason: reason.to_owned(),
            message,
            metadata,
        });
    }
    let manager = names::SOURCE_STATUS_MANAGER;
    match status::write(
        &api,
        &home.repositories,
        &key.name,
        &before,
        &after,
        manager,
    )
    .await
    {
        Ok(Some((_, Some(change)))) => context.repository_changed(&home.id, &change),
        Err(error) if !status::is_gone(&error) => {
            tracing::warn!(%key, %error, "status of GitRepository not written");
            return Outcome::Backoff;
        }
        _ => {}
    }
    match result {
        Ok(_) => Outcome::After(context.options.interval(object.spec.interval.get())),
        Err(Failure::Failed { .. }) => Outcome::Backoff,
        Err(Failure::Stalled { .. } | Failure::NotRun(_)) => Outcome::Done,
    }
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

/// Fetches, and publishes what was found.
async fn update(
    context: &Arc<Context>,
    home: &Home,
    key: &Key,
    object: &GitRepository,
) -> Result<Artifact, Failure> {
    let spec = &object.spec;
    let offline = context.options.remotes.is_limited();
    if let Some(field) = unsupported(spec) {
        let message = format!(
            "spec.{field} is not supported yet, and leaving it out would change what is applied"
        );
        return Err(if offline {
            Failure::NotRun(message)
        } else {
            Failure::Stalled {
                reason: "UnsupportedField",
                message,
            }
        });
    }
    let reference =
        reference_of(spec.reference.as_ref()).map_err(|error| Failure::git(&spec.url, &error))?;
    let mirror = mirror(context, home, key, object).await?;
    let timeout = spec
        .timeout()
        .get()
        .clamp(Duration::from_secs(1), Duration::from_hours(1));
    let revision = mirror
        .fetch(&reference, timeout)
        .await
        .map_err(|error| Failure::git(mirror.remote().url(), &error))?;
    context
        .metrics
        .fetches
        .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    publish(context, key, object, &mirror, &revision).await
}

/// The source is somebody else's: what they say in its status is fetched, and nothing is written.
async fn follow(context: &Arc<Context>, home: &Home, key: &Key, object: &GitRepository) -> Outcome {
    let artifact = object
        .status
        .as_ref()
        .and_then(|status| status.artifact.as_ref());
    let Some(revision) = artifact.and_then(|artifact| Revision::parse(&artifact.revision)) else {
        return Outcome::Done;
    };
    let Ok(mirror) = mirror(context, home, key, object).await else {
        return Outcome::Backoff;
    };
    let branch = object
        .spec
        .reference
        .as_ref()
        .and_then(|reference| reference.branch.clone());
    let exactly = Reference::Commit {
        commit: revision.commit(),
        branch,
    };
    let fetched = mirror.fetch(&exactly, object.spec.timeout().get()).await;
    if let Err(error) = fetched {
        tracing::warn!(%key, %error, "the revision of the source's owner cannot be fetched");
        return Outcome::Backoff;
    }
    match publish(context, key, object, &mirror, &revision).await {
        Ok(_) => Outcome::Done,
        Err(_) => Outcome::Backoff,
    }
}

/// Publishes the revision that the status names, if the mirror still has it: a source that is suspended, or cannot be
/// fetched just now, stays what it was.
async fn restore(context: &Arc<Context>, home: &Home, key: &Key, object: &GitRepository) {
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
    let Ok(mirror) = mirror(context, home, key, object).await else {
        return;
    };
    if mirror.repository().contains(revision.commit()) {
        let _ = publish(context, key, object, &mirror, &revision).await;
    }
}

async fn publish(
    context: &Arc<Context>,
    key: &Key,
    object: &GitRepository,
    mirror: &Arc<Mirror>,
    revision: &Revision,
) -> Result<Artifact, Failure> {
    let options = ViewOptions {
        ignore: object.spec.ignore.clone(),
        ..ViewOptions::default()
    };
    let (opened, commit) = (mirror.clone(), revision.commit());
    let view = tokio::task::spawn_blocking(move || opened.view(commit, &options))
        .await
        .map_err(|error| Failure::Failed {
            reason: reason::GIT_OPERATION_FAILED,
            message: error.to_string(),
        })?
        .map_err(|error| Failure::git(mirror.remote().url(), &error))?;
    let commit = revision.commit().to_string();
    let rules = object.spec.ignore.clone().unwrap_or_default();
    let digest = Sha256::digest(format!("{}\n{rules}", view.root()));
    let artifact = Artifact {
        path: format!(
            "gitrepository/{}/{}/{commit}.tar.gz",
            key.namespace, key.name
        ),
        url: format!("{}#{commit}", mirror.remote().url()),
        revision: revision.as_str().to_owned(),
        digest: format!("sha256:{}", hex(&digest)),
        last_update_time: (context.clock)(),
        size: None,
        metadata: BTreeMap::new(),
    };
    let source = Source {
        revision: revision.as_str().to_owned(),
        commit,
        tree: view,
        repository: mirror.repository().directory().display().to_string(),
        view: rules,
        mirror: mirror.clone(),
    };
    if context.sources.set(key, source) {
        context.notify_source(key);
    }
    Ok(artifact)
}

/// The mirror for the object's URL and credential.
async fn mirror(
    context: &Arc<Context>,
    home: &Home,
    key: &Key,
    object: &GitRepository,
) -> Result<Arc<Mirror>, Failure> {
    let spec = &object.spec;
    let (url, credentials) = match &context.options.remotes {
        Remotes::Only(served) => match served.get(&spec.url) {
            // What is served in place of the remote needs no credential of the remote's.
            Some(url) => (url.clone(), Credentials::none()),
            None => {
                return Err(Failure::NotRun(format!(
                    "{} is not fetched in this mode",
                    redact(&spec.url)
                )));
            }
        },
        Remotes::All => (
            spec.url.clone(),
            credentials_of(context, home, key, spec).await?,
        ),
    };
    let remote = Remote::new(&url, credentials).map_err(|error| Failure::git(&spec.url, &error))?;
    context
        .mirrors
        .get(&remote)
        .await
        .map_err(|error| Failure::git(remote.url(), &error))
}

async fn credentials_of(
    context: &Arc<Context>,
    home: &Home,
    key: &Key,
    spec: &GitRepositorySpec,
) -> Result<Credentials, Failure> {
    let Some(secret) = &spec.secret_ref else {
        return Ok(Credentials::none());
    };
    let failed = |message: String| Failure::Failed {
        reason: reason::AUTHENTICATION_FAILED,
        message,
    };
    let api: Api<Secret> = Api::namespaced(home.connection.client(), &key.namespace);
    let found = api.get_opt(&secret.name).await.map_err(|error| {
        failed(format!(
            "failed to get secret '{}/{}': {error}",
            key.namespace, secret.name
        ))
    })?;
    let data = match found {
        Some(found) => found
            .data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, value.0))
            .collect(),
        None => match context.bootstrap_credentials(key, &spec.url).await {
            Some(data) => data,
            None => {
                return Err(failed(format!(
                    "failed to get secret '{}/{}': secrets \"{}\" not found",
                    key.namespace, secret.name, secret.name
                )));
            }
        },
    };
    credentials::from_secret(&spec.url, &data).map_err(|error| {
        failed(format!(
            "failed to configure authentication options: {error}"
        ))
    })
}

fn reference_of(reference: Option<&GitReference>) -> Result<Reference, fairway_git::Error> {
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

/// The first field that changes what is fetched in a way that is not there yet. Ignoring it could apply what was not
/// verified, or prune what a submodule holds.
fn unsupported(spec: &GitRepositorySpec) -> Option<&'static str> {
    if spec.verification.is_some() {
        Some("verify")
    } else if !spec.include.is_empty() {
        Some("include")
    } else if spec.recurse_submodules {
        Some("recurseSubmodules")
    } else if !spec.sparse_checkout.is_empty() {
        Some("sparseCheckout")
    } else if spec.proxy_secret_ref.is_some() {
        Some("proxySecretRef")
    } else if spec
        .provider
        .as_deref()
        .is_some_and(|provider| provider != "generic")
    {
        Some("provider")
    } else {
        None
    }
}

/// A URL without user information.
fn redact(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => match rest.split_once('/') {
            Some((authority, path)) => {
                format!(
                    "{scheme}://{}/{path}",
                    authority.rsplit('@').next().unwrap_or_default()
                )
            }
            None => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or_default()),
        },
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        let mut spec = GitRepositorySpec::default();
        assert_eq!(unsupported(&spec), None);
        spec.recurse_submodules = true;
        assert_eq!(unsupported(&spec), Some("recurseSubmodules"));
    }

    #[test]
    fn urls_are_shown_without_user_information() {
        assert_eq!(redact("https://u:p@h/r"), "https://h/r");
        assert_eq!(redact("ssh://git@h:22/r"), "ssh://h:22/r");
    }
}
