//! From what is seen to where each child gets its source from, and what it may apply.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fairway_types::rollout::{ClusterRollout, Rollout, RolloutStatus};
use fairway_types::{Cluster, FleetKustomization, Kustomization, names};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::observe::observe;
use super::policy::Policy;
use super::sight::{Sight, Wanted};
use super::step::{Seen, step};
use super::story::{self, Told};
use super::{checks, holds, in_charge, origin, pins};
use crate::context::{Context, is_requested, source_key};
use crate::fleet::child_name;
use crate::fleet::plan::{Placement, SelectError};
use crate::home::{Home, HomeId};
use crate::metrics::promotions::of_rollout;
use crate::objects::{Change, Name};
use crate::status::difference;

/// What a rollout comes to, before anything is done.
pub(crate) struct Course {
    /// What is written to `status.rollout`.
    pub(crate) status: Option<RolloutStatus>,
    /// What has happened.
    pub(crate) told: Vec<Told>,
    /// When to look again.
    pub(crate) wake_at: Option<Timestamp>,
    clusters: BTreeMap<String, Sight>,
}

/// Looks at everything and takes one step.
pub(crate) async fn plan(
    context: &Arc<Context>,
    hub: &Arc<Home>,
    fleet: &FleetKustomization,
    matching: &[&Arc<Cluster>],
    now: Timestamp,
) -> Result<Course, SelectError> {
    let Some(rollout) = &fleet.spec.rollout else {
        return Ok(Course {
            status: None,
            told: Vec::new(),
            wake_at: None,
            clusters: BTreeMap::new(),
        });
    };
    let status = fleet.status.as_ref();
    let before = status
        .and_then(|status| status.rollout.clone())
        .unwrap_or_default();
    let clusters = observe(context, hub, fleet, rollout, matching, &before).await?;
    let checked = if fleet.spec.suspend {
        checks::Checked::default()
    } else {
        checks::ask(context, fleet, rollout, &before).await
    };
    let handled = status.and_then(|status| status.last_handled_reconcile_at.as_deref());
    let seen = Seen {
        clusters,
        checks: checked.verdicts.clone(),
        retry: is_requested(fleet, handled),
    };
    let policy = Policy::of(rollout);
    let mut done = if fleet.spec.suspend {
        // Everything stays as it is, and what is known of it still holds.
        super::step::Step {
            status: before.clone(),
            wake_at: None,
        }
    } else {
        step(&policy, &before, &seen, now)
    };
    checked.note(&mut done.status);
    if let Some(again) = checked.again
        && let Ok(at) = now.checked_add(again)
    {
        done.wake_at = Some(done.wake_at.map_or(at, |known| known.min(at)));
    }
    Ok(Course {
        told: story::tell(&before, &done.status),
        status: Some(done.status),
        wake_at: done.wake_at,
        clusters: seen.clusters,
    })
}

impl Course {
    fn entry(&self, cluster: &str) -> Option<&ClusterRollout> {
        self.status.as_ref()?.cluster(cluster)
    }

    /// Writes the state down. It fails where somebody else has written meanwhile: then it is to be looked at anew.
    pub(crate) async fn write(
        &self,
        context: &Arc<Context>,
        hub: &Arc<Home>,
        fleet: &FleetKustomization,
    ) -> Result<(), kube::Error> {
        let before = fleet.status.as_ref().and_then(|s| s.rollout.clone());
        if before == self.status {
            return Ok(());
        }
        let json = |status: &Option<RolloutStatus>| {
            serde_json::to_value(status).map_err(kube::Error::SerdeError)
        };
        let Some(change) = difference(
            &json!({"rollout": json(&before)?}),
            &json!({"rollout": json(&self.status)?}),
        ) else {
            return Ok(());
        };
        let patch = json!({
            "metadata": {"resourceVersion": fleet.resource_version()},
            "status": change,
        });
        let namespace = fleet.namespace().unwrap_or_default();
        let api: Api<FleetKustomization> = Api::namespaced(hub.connection.client(), &namespace);
        let params = PatchParams {
            field_manager: Some(names::FLEET_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let answer = api
            .patch_status(&fleet.name_any(), &params, &Patch::Merge(&patch))
            .await?;
        of_rollout(
            &context.metrics.delivery,
            &namespace,
            &fleet.name_any(),
            before.as_ref(),
            self.status.as_ref(),
        );
        if let (_, Some(change)) = context.fleets.wrote(answer) {
            let Change::Set { .. } = &change else {
                return Ok(());
            };
            context.fleet_changed(&change);
        }
        Ok(())
    }

    /// Where each child gets its source from. Makes the holds that this needs.
    pub(crate) async fn place(
        &self,
        context: &Arc<Context>,
        hub: &Arc<Home>,
        fleet: &FleetKustomization,
        matching: &[&Arc<Cluster>],
    ) -> Placements {
        let mut placements = Placements::default();
        let asked = holds::of(context, fleet);
        if fleet.spec.rollout.is_none() && asked.is_empty() {
            return placements;
        }
        let namespace = fleet.namespace().unwrap_or_default();
        for cluster in matching {
            let cluster = cluster.name_any();
            let name = child_name(&fleet.name_any(), &cluster);
            let live = hub.kustomizations.get(&namespace, &name);
            let place = if fleet.spec.rollout.is_some() {
                self.wish(context, hub, &cluster, live.as_deref())
            } else {
                match asked
                    .iter()
                    .find(|asked| asked.is_about(&fleet.name_any(), &cluster))
                {
                    Some(asked) => Wish::Stay(asked.commit.clone()),
                    None => Wish::Follow,
                }
            };
            let placement = match place {
                Wish::Follow => continue,
                Wish::Leave => Placement::Leave,
                Wish::Stay(commit) if live.is_some() => {
                    let held = match &live {
                        Some(live) => hold(context, hub, live, &commit).await,
                        None => continue,
                    };
                    placements.note(&namespace, &cluster, held, true)
                }
                // What somebody deleted comes back as it was.
                Wish::Stay(commit) | Wish::Move(commit) => {
                    let template = crate::fleet::plan::find(fleet, matching, &cluster);
                    match template {
                        Some(object) => {
                            let held = hold(context, hub, &object, &commit).await;
                            placements.note(&namespace, &cluster, held, false)
                        }
                        None => Placement::Leave,
                    }
                }
                Wish::Keep => {
                    let reference = live.as_ref().map(|live| live.spec.source_ref.clone());
                    match reference {
                        Some(reference) => Placement::Hold {
                            source: reference,
                            keep: false,
                        },
                        None => Placement::Leave,
                    }
                }
            };
            placements.by_cluster.insert(cluster, placement);
        }
        placements
    }

    fn wish(
        &self,
        context: &Context,
        hub: &Home,
        cluster: &str,
        live: Option<&Kustomization>,
    ) -> Wish {
        let Some(sight) = self.clusters.get(cluster) else {
            // Its template cannot be rendered, which is told elsewhere.
            return Wish::Follow;
        };
        let stay = |revision: &str| match pins::commit_of(revision) {
            Some(commit) => Wish::Stay(commit),
            None => Wish::Leave,
        };
        let Some(entry) = self.entry(cluster) else {
            if in_charge(context) {
                return match (&sight.wanted, live) {
                    (Wanted::Unknown, None) => Wish::Leave,
                    _ => Wish::Follow,
                };
            }
            let held = live
                .map(|live| &live.spec.source_ref)
                .filter(|reference| reference.kind == "GitRepository")
                .and_then(|reference| {
                    let own = live.and_then(ResourceExt::namespace).unwrap_or_default();
                    let namespace = reference.namespace.as_deref().unwrap_or(&own);
                    hub.repositories.get(namespace, &reference.name)
                })
                .filter(|repository| pins::is_hold(repository));
            return match (held, &sight.has) {
                (Some(_), _) => Wish::Keep,
                (None, Some(has)) => match pins::commit_of(&has.revision) {
                    Some(commit) => Wish::Move(commit),
                    None => Wish::Follow,
                },
                // A first installation begins at the commit that was rendered.
                (None, None) => match &sight.wanted {
                    Wanted::Rendered(wanted) => match pins::commit_of(&wanted.revision) {
                        Some(commit) => Wish::Move(commit),
                        None => Wish::Follow,
                    },
                    _ => Wish::Leave,
                },
            };
        };
        let Some(current) = &entry.current else {
            return Wish::Leave;
        };
        match (entry.is_admitted(), sight.hold.is_some()) {
            (true, false) if in_charge(context) => Wish::Follow,
            (true, false) => match pins::commit_of(&current.revision) {
                Some(commit) => Wish::Move(commit),
                None => Wish::Follow,
            },
            _ => stay(&current.revision),
        }
    }

    /// What each child may apply, by its name.
    pub(crate) fn admitted(&self, fleet: &str) -> BTreeMap<String, String> {
        self.clusters
            .iter()
            .filter_map(|(cluster, sight)| {
                let digest = match (self.entry(cluster), &sight.wanted) {
                    (Some(entry), _) => entry.current.as_ref()?.digest.clone(),
                    (None, Wanted::Rendered(wanted)) => wanted.digest.clone(),
                    (None, _) => sight.has.as_ref()?.digest.clone(),
                };
                Some((child_name(fleet, cluster), digest))
            })
            .collect()
    }
}

/// Where a child is to get its source from.
enum Wish {
    /// From where its template says.
    Follow,
    /// It stays as it is, and is not created.
    Leave,
    /// It stays at this commit with the spec that it has.
    Stay(String),
    /// It has what its template says, at this commit.
    Move(String),
    /// It stays at the hold that it is at, with what its template says.
    Keep,
}

/// Where the children get their source from; those that are not named follow.
#[derive(Debug, Default)]
pub(crate) struct Placements {
    /// By cluster.
    pub(crate) by_cluster: BTreeMap<String, Placement>,
    /// Names of the holds that children are to refer to.
    pub(crate) needed: BTreeSet<Name>,
    /// What went wrong, by cluster.
    pub(crate) problems: BTreeMap<String, String>,
}

impl Placements {
    fn note(
        &mut self,
        own: &str,
        cluster: &str,
        held: Result<fairway_types::reference::SourceReference, pins::PinError>,
        keep: bool,
    ) -> Placement {
        match held {
            Ok(source) => {
                let namespace = source.namespace.clone();
                let namespace = namespace.unwrap_or_else(|| own.to_owned());
                self.needed.insert((namespace, source.name.clone()));
                Placement::Hold { source, keep }
            }
            Err(error) => {
                tracing::warn!(cluster, %error, "the cluster cannot be held at its commit; its Kustomization is left as it is");
                self.problems.insert(cluster.to_owned(), error.to_string());
                Placement::Leave
            }
        }
    }
}

/// The reference to the hold of a commit of the source that an object is built from.
async fn hold(
    context: &Arc<Context>,
    hub: &Arc<Home>,
    object: &Kustomization,
    commit: &str,
) -> Result<fairway_types::reference::SourceReference, pins::PinError> {
    let own = object.namespace().unwrap_or_default();
    let reference = object.spec.source_ref.clone();
    let key = source_key(&HomeId::Hub, object)
        .filter(|_| reference.kind == "GitRepository")
        .ok_or_else(|| pins::PinError::NoSource(own.clone(), reference.name.clone()))?;
    let origin = origin(hub, &key);
    let name = pins::ensure(context, hub, &origin.namespace, &origin.name, commit).await?;
    Ok(fairway_types::reference::SourceReference {
        api_version: reference.api_version,
        kind: reference.kind,
        name,
        namespace: (origin.namespace != own).then_some(origin.namespace),
    })
}

/// Whether a fleet's children may be built from a source.
pub(crate) fn may_use(rollout: Option<&Rollout>, fleet: &FleetKustomization, source: &str) -> bool {
    let name = fleet
        .spec
        .template
        .spec
        .get("sourceRef")
        .and_then(|reference| reference.get("name"))
        .and_then(serde_json::Value::as_str);
    rollout.is_some() && name.is_none_or(|name| name == source || name.contains("{{"))
}
