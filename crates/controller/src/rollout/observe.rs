//! What is seen of the clusters of a fleet: what each is to have, what it has, and how it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_git::ViewOptions;
use fairway_types::names::{self, reason};
use fairway_types::rollout::{Rendered, Rollout, RolloutStatus};
use fairway_types::{Cluster, ConditionStatus, FleetKustomization, Kustomization, conditions};
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::ResourceExt;

use super::holds::{self, Asked};
use super::pins;
use super::policy::wave_of;
use super::sight::{Away, Health, Hold, Sight, Wanted};
use crate::build;
use crate::build::finish::Finish;
use crate::context::{Context, source_key};
use crate::fleet::child_name;
use crate::fleet::plan::{self, SelectError};
use crate::home::{Home, HomeId, Key};
use crate::kustomization::finish;
use crate::source::Source;

/// Builds that are asked for at the same time.
const CONCURRENCY: usize = 8;

/// The clusters of a fleet by name. One whose template cannot be rendered is not among them: it has no Kustomization.
pub(super) async fn observe(
    context: &Arc<Context>,
    hub: &Arc<Home>,
    fleet: &FleetKustomization,
    rollout: &Rollout,
    matching: &[&Arc<Cluster>],
    before: &RolloutStatus,
) -> Result<BTreeMap<String, Sight>, SelectError> {
    let asked = holds::of(context, fleet);
    let mut looks = Vec::new();
    for cluster in matching {
        let wave = wave_index(context, rollout, cluster)?;
        let look = Look {
            context,
            hub,
            fleet,
            cluster,
            before,
            asked: &asked,
        };
        looks.push(async move { look.at(wave).await.map(|sight| (cluster.name_any(), sight)) });
    }
    let seen: Vec<Option<(String, Sight)>> = futures::stream::iter(looks)
        .buffer_unordered(CONCURRENCY)
        .collect()
        .await;
    Ok(seen.into_iter().flatten().collect())
}

fn wave_index(
    context: &Context,
    rollout: &Rollout,
    cluster: &Arc<Cluster>,
) -> Result<usize, SelectError> {
    let namespace = cluster.namespace().unwrap_or_default();
    let selectors = |name: &str| context.selectors.get(&namespace, name);
    for wave in &rollout.waves {
        plan::select(&wave.cluster_selector, &namespace, &[], &selectors)?;
    }
    let one = std::slice::from_ref(cluster);
    Ok(wave_of(rollout, &|wanted| {
        plan::select(wanted, &namespace, one, &selectors).is_ok_and(|found| !found.is_empty())
    }))
}

struct Look<'a> {
    context: &'a Arc<Context>,
    hub: &'a Arc<Home>,
    fleet: &'a FleetKustomization,
    cluster: &'a Arc<Cluster>,
    before: &'a RolloutStatus,
    asked: &'a [Asked],
}

impl Look<'_> {
    async fn at(&self, wave: usize) -> Option<Sight> {
        let (fleet, name) = (self.fleet.name_any(), self.cluster.name_any());
        let namespace = self.cluster.namespace().unwrap_or_default();
        let child = child_name(&fleet, &name);
        let live = self.hub.kustomizations.get(&namespace, &child);
        if live
            .as_ref()
            .is_some_and(|live| !plan::is_child(self.fleet, live))
        {
            return None;
        }
        let object = plan::render(self.fleet, self.cluster, &child).ok()?;
        let object: Kustomization = serde_json::from_value(object).ok()?;
        let entry = self.before.cluster(&name);
        let wanted = self.wanted(&object).await;
        let attempted = live.as_deref().and_then(attempted);
        let has = match (&wanted, entry) {
            // Who is under way has it written down.
            (_, Some(_)) => attempted,
            (Wanted::Rendered(wanted), None)
                if attempted
                    .as_ref()
                    .is_none_or(|has| has.digest != wanted.digest) =>
            {
                match live.as_deref() {
                    // What another engine applied has a digest of that engine's.
                    Some(live) => self.rendered_before(live).await.or(attempted),
                    None => None,
                }
            }
            _ => attempted,
        };
        let (about, health) = match (live.as_deref(), entry) {
            (Some(live), entry) => {
                let current = entry.and_then(|entry| entry.current.as_ref());
                let since = entry.map(|entry| entry.since);
                let beside = !super::in_charge(self.context);
                (about(live, current, beside), health(live, since))
            }
            (None, _) => (None, Health::Progressing),
        };
        Some(Sight {
            wave,
            wanted,
            has,
            about,
            health,
            away: self.away(),
            hold: self.hold(&object, live.as_deref()).await,
        })
    }

    fn away(&self) -> Option<Away> {
        if self.cluster.spec.suspend {
            return Some(Away::Suspended);
        }
        let status = self.cluster.status.as_ref()?;
        let ready = conditions::get(&status.conditions, names::READY)?;
        let is_gone =
            ready.status == ConditionStatus::False && ready.reason == reason::CLUSTER_UNREACHABLE;
        is_gone.then(|| Away::Unreachable(ready.message.clone()))
    }

    /// What is rendered for the cluster at the newest revision of its source.
    async fn wanted(&self, object: &Kustomization) -> Wanted {
        let Some(source) = self.source(object) else {
            return Wanted::Unknown;
        };
        let revision = source.revision.clone();
        match self.digest(&source, object).await {
            Ok(digest) => Wanted::Rendered(Rendered { revision, digest }),
            Err(Some(message)) => Wanted::Broken { revision, message },
            Err(None) => Wanted::Unknown,
        }
    }

    fn source(&self, object: &Kustomization) -> Option<Arc<Source>> {
        let key = source_key(&HomeId::Hub, object)?;
        if crate::source::external::is_external(&key) {
            return crate::source::external::look_up(self.context, self.hub, &key).ok();
        }
        self.context.sources.get(&key)
    }

    /// The digest of what a source renders; why it renders nothing, where that is known for sure.
    async fn digest(
        &self,
        source: &Arc<Source>,
        object: &Kustomization,
    ) -> Result<String, Option<String>> {
        let namespace = object.namespace().unwrap_or_default();
        let strict = self.context.options.strict_substitutions;
        let how = finish(self.hub, &namespace, &object.spec, strict)
            .await
            .map_err(|why| why.contains("not found").then_some(why))?;
        render(self.context, source, object, how).await
    }

    /// What a Kustomization has, found out by building it once more at its revision.
    async fn rendered_before(&self, live: &Kustomization) -> Option<Rendered> {
        let status = live.status.as_ref()?;
        let revision = attempted(live)
            .map(|attempted| attempted.revision)
            .or_else(|| status.last_applied_revision.clone())?;
        let commit = pins::commit_of(&revision)?;
        let source = self.at_commit(live, &revision, &commit).await?;
        let digest = self.digest(&source, live).await.ok()?;
        Some(Rendered { revision, digest })
    }

    /// The source of a Kustomization at another commit.
    async fn at_commit(
        &self,
        object: &Kustomization,
        revision: &str,
        commit: &str,
    ) -> Option<Arc<Source>> {
        let key = source_key(&HomeId::Hub, object)?;
        let origin = super::origin(self.hub, &key);
        let at = |key: &Key| {
            let found = self.context.sources.get(key)?;
            (pins::commit_of(&found.revision).as_deref() == Some(commit)).then_some(found)
        };
        let hold = Key::new(
            &HomeId::Hub,
            &origin.namespace,
            pins::name(&origin.name, commit),
        );
        if let Some(found) = at(&key).or_else(|| at(&origin)).or_else(|| at(&hold)) {
            return Some(found);
        }
        let current = self.context.sources.get(&origin)?;
        let spec = self
            .hub
            .repositories
            .get(&origin.namespace, &origin.name)?
            .spec
            .clone();
        if !spec.include.is_empty() || spec.recurse_submodules || !spec.sparse_checkout.is_empty() {
            // Only a fetch puts those together.
            return None;
        }
        let (mirror, id) = (current.mirror.clone()?, commit.parse().ok()?);
        let options = ViewOptions {
            ignore: spec.ignore.clone(),
            ..ViewOptions::default()
        };
        let (revision, commit) = (revision.to_owned(), commit.to_owned());
        tokio::task::spawn_blocking(move || {
            let tree = mirror.view(id, &options).ok()?;
            Some(Arc::new(Source {
                revision,
                commit,
                tree,
                repository: current.repository.clone(),
                view: current.view.clone(),
                mirror: Some(mirror),
            }))
        })
        .await
        .ok()
        .flatten()
    }

    /// What a Promotion holds the cluster at.
    async fn hold(&self, object: &Kustomization, live: Option<&Kustomization>) -> Option<Hold> {
        let (fleet, cluster) = (self.fleet.name_any(), self.cluster.name_any());
        let asked = self
            .asked
            .iter()
            .find(|asked| asked.is_about(&fleet, &cluster))?;
        let object = live.unwrap_or(object);
        let current = self.source(object);
        // Named as the followed revision is, with the branch.
        let revision = current
            .as_ref()
            .and_then(|source| source.revision.rsplit_once("sha1:"))
            .map_or_else(String::new, |(before, _)| before.to_owned());
        let revision = format!("{revision}sha1:{}", asked.commit);
        let at = match self.at_commit(object, &revision, &asked.commit).await {
            Some(source) => match self.digest(&source, object).await {
                Ok(digest) => Some(Rendered { revision, digest }),
                Err(_) => None,
            },
            None => None,
        };
        Some(Hold {
            at,
            reason: asked.reason.clone(),
        })
    }
}

/// The digest of what a source renders for a Kustomization; why it renders nothing, where that will stay so.
async fn render(
    context: &Arc<Context>,
    source: &Arc<Source>,
    object: &Kustomization,
    how: Finish,
) -> Result<String, Option<String>> {
    let builder = &context.builder;
    if let Some(digest) = builder.peek(source.clone(), &object.spec, &how).await {
        return Ok(digest);
    }
    match builder.render(source.clone(), &object.spec, how).await {
        Ok(rendered) => Ok(rendered.digest.clone()),
        Err(build::Error::Source(_) | build::Error::Interrupted(_)) => Err(None),
        Err(error) => Err(Some(error.to_string())),
    }
}

/// What a Kustomization was brought to last, whatever came of it.
fn attempted(object: &Kustomization) -> Option<Rendered> {
    let last = object.status.as_ref()?.history.first()?;
    let revision = last.metadata.get("revision")?.clone();
    Some(Rendered {
        revision,
        digest: last.digest.clone(),
    })
}

/// The digest that a Kustomization's status is about. Another engine's digests are not ours: beside one, the commit tells.
fn about(live: &Kustomization, current: Option<&Rendered>, beside: bool) -> Option<String> {
    let status = live.status.as_ref()?;
    if beside
        && let Some(current) = current
        && let Some(at) = status.last_attempted_revision.as_deref()
        && let Some(commit) = pins::commit_of(at)
        && pins::commit_of(&current.revision).as_deref() == Some(&commit)
    {
        return Some(current.digest.clone());
    }
    Some(status.history.first()?.digest.clone())
}

/// How a Kustomization is with what it was brought to last.
fn health(live: &Kustomization, since: Option<Timestamp>) -> Health {
    let Some(status) = &live.status else {
        return Health::Progressing;
    };
    let Some(ready) = conditions::get(&status.conditions, names::READY) else {
        return Health::Progressing;
    };
    match ready.status {
        ConditionStatus::True if status.observed_generation == live.metadata.generation => {
            Health::Healthy
        }
        ConditionStatus::False => {
            let last = status.history.first().map(|last| last.last_reconciled);
            // Times of the history are whole seconds.
            let is_old = last
                .zip(since)
                .is_some_and(|(last, since)| last.as_second() < since.as_second());
            let message = ready.message.clone();
            let for_good = ready.reason == reason::HEALTH_CHECK_FAILED
                && message.contains("failed early due to stalled resources");
            match (for_good, is_old) {
                (true, false) => Health::Failed(message),
                (true, true) => Health::Progressing,
                (false, _) => Health::Troubled(message),
            }
        }
        // Changed a moment ago, or applied once more: it was healthy, and nobody says otherwise.
        ConditionStatus::True => Health::Unsure,
        ConditionStatus::Unknown if conditions::is_true(&status.conditions, names::HEALTHY) => {
            Health::Unsure
        }
        ConditionStatus::Unknown => Health::Progressing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn child(status: &str, reason: &str, message: &str, observed: i64) -> Kustomization {
        let history: Value = json!([{
            "digest": "sha256:new", "firstReconciled": "2026-01-01T00:00:10Z", "lastReconciled": "2026-01-01T00:00:10Z",
            "lastReconciledDuration": "1s", "lastReconciledStatus": reason, "totalReconciliations": 1,
            "metadata": {"revision": "main@sha1:0123456789abcdef0123456789abcdef01234567"},
        }]);
        serde_json::from_value(json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "x", "namespace": "fs", "generation": 2},
            "spec": {"interval": "1m", "prune": true, "sourceRef": {"kind": "GitRepository", "name": "s"}},
            "status": {"observedGeneration": observed, "history": history,
                "lastAttemptedRevision": "main@sha1:0123456789abcdef0123456789abcdef01234567",
                "conditions": [{"type": "Ready", "status": status, "reason": reason, "message": message,
                                "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }))
        .unwrap()
    }

    #[test]
    fn only_the_newest_generation_is_healthy() {
        assert_eq!(health(&child("True", "X", "", 2), None), Health::Healthy);
        assert_eq!(health(&child("True", "X", "", 1), None), Health::Unsure);
        assert_eq!(
            health(&child("Unknown", "X", "", 2), None),
            Health::Progressing
        );
    }

    #[test]
    fn what_will_not_become_healthy_has_failed_unless_that_is_old_news() {
        let early =
            "health check failed after 2s: failed early due to stalled resources: [Deployment/a/b]";
        let failed = child("False", "HealthCheckFailed", early, 1);
        assert_eq!(health(&failed, None), Health::Failed(early.into()));
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        assert_eq!(
            health(&failed, at("2026-01-01T00:00:10.900Z")),
            Health::Failed(early.into())
        );
        assert_eq!(
            health(&failed, at("2026-01-01T00:00:11Z")),
            Health::Progressing
        );
        let late = child("False", "HealthCheckFailed", "timeout waiting for: []", 1);
        assert!(matches!(health(&late, None), Health::Troubled(_)));
    }

    #[test]
    fn beside_another_engine_the_commit_tells() {
        let live = child("True", "X", "", 2);
        let current = Rendered {
            revision: "main@sha1:0123456789abcdef0123456789abcdef01234567".into(),
            digest: "sha256:ours".into(),
        };
        assert_eq!(
            about(&live, Some(&current), true).as_deref(),
            Some("sha256:ours")
        );
        assert_eq!(
            about(&live, Some(&current), false).as_deref(),
            Some("sha256:new")
        );
    }
}
