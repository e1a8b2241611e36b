//! What can be seen of a stage: the version at the head of the branch, and how its clusters are.

use std::collections::HashMap;
use std::sync::Arc;

use fairway_apply::health::Status;
use fairway_git::{Mirror, Oid, Revision};
use fairway_types::names::{self, reason};
use fairway_types::pipeline::{Deviation, PipelineSpec, Stage};
use fairway_types::promotion::WaveProgress;
use fairway_types::rollout::{ClusterState, WaveState};
use fairway_types::{
    Cluster, ConditionStatus, FleetKustomization, GitRepository, Kustomization, Pipeline,
    conditions,
};
use kube::ResourceExt;

use super::judge::{ClusterSeen, How, Spread};
use crate::cluster::Target;
use crate::context::{Context, key_of};
use crate::fleet::{child_name, plan};
use crate::home::{Home, HomeId, Key};
use crate::options::Controller;
use crate::source::Source;

/// Eyes on one Pipeline's repository and clusters.
pub(crate) struct Sight<'c> {
    context: &'c Context,
    hub: &'c Home,
    namespace: &'c str,
    pipeline: &'c PipelineSpec,
    /// The branch as it is known here, and its objects.
    head: Option<(Arc<Source>, Arc<Mirror>)>,
    /// Every cluster that is applied to, by the number of its connection.
    targets: HashMap<u64, Arc<Target>>,
}

/// The key of the source that a Pipeline's commits go to.
pub(crate) fn pipeline_source(pipeline: &Pipeline) -> Key {
    Key::new(
        &HomeId::Hub,
        pipeline.namespace().unwrap_or_default(),
        &pipeline.spec.source_ref.name,
    )
}

/// What carries a stage, and where to.
type Reach = (Vec<Arc<FleetKustomization>>, Vec<Arc<Cluster>>);

/// The clusters of a stage, as far as a Promotion is for them.
pub(crate) struct Filter<'a> {
    pub(crate) clusters: &'a [String],
    pub(crate) regions: &'a [String],
}

impl Filter<'_> {
    /// All of them.
    pub(crate) const ALL: Self = Self {
        clusters: &[],
        regions: &[],
    };

    fn is_all(&self) -> bool {
        self.clusters.is_empty() && self.regions.is_empty()
    }

    fn takes(&self, cluster: &Cluster) -> bool {
        self.is_all()
            || self.clusters.contains(&cluster.name_any())
            || cluster
                .labels()
                .get("region")
                .is_some_and(|region| self.regions.contains(region))
    }
}

impl<'c> Sight<'c> {
    pub(crate) fn new(
        context: &'c Context,
        hub: &'c Home,
        namespace: &'c str,
        pipeline: &'c PipelineSpec,
        mirror: Option<Arc<Mirror>>,
    ) -> Self {
        let key = Key::new(&HomeId::Hub, namespace, &pipeline.source_ref.name);
        let source = context.sources.get(&key);
        let head = source.and_then(|source| {
            let mirror = source.mirror.clone().or(mirror)?;
            Some((source, mirror))
        });
        Self {
            context,
            hub,
            namespace,
            pipeline,
            head,
            targets: context
                .targets()
                .into_iter()
                .map(|target| (target.id, target))
                .collect(),
        }
    }

    /// The source's object.
    pub(crate) fn repository(&self) -> Option<Arc<GitRepository>> {
        self.hub
            .repositories
            .get(self.namespace, &self.pipeline.source_ref.name)
    }

    /// The commit at the head, as it is known here.
    pub(crate) fn commit(&self) -> Option<Oid> {
        let (source, _) = self.head.as_ref()?;
        Revision::parse(&source.revision).map(|revision| revision.commit())
    }

    /// The revision at the head.
    pub(crate) fn revision(&self) -> Option<String> {
        self.head
            .as_ref()
            .map(|(source, _)| source.revision.clone())
    }

    /// The mirror that is read.
    pub(crate) fn mirror(&self) -> Option<&Arc<Mirror>> {
        self.head.as_ref().map(|(_, mirror)| mirror)
    }

    /// The version of a stage's overlay, or of a cluster by its own folder, at a revision.
    pub(crate) async fn version_at(
        &self,
        stage: &Stage,
        commit: Oid,
        cluster: Option<&str>,
    ) -> Result<Option<String>, String> {
        let Some(mirror) = self.mirror() else {
            return Err("the source is not fetched yet".to_owned());
        };
        let versions = &self.context.versions;
        versions
            .at(mirror, commit, self.pipeline, &stage.path, cluster)
            .await
    }

    /// The version of a stage's overlay at the head; nothing before the first fetch.
    pub(crate) async fn head_version(
        &self,
        stage: &Stage,
    ) -> Option<Result<Option<String>, String>> {
        let commit = self.commit()?;
        Some(self.version_at(stage, commit, None).await)
    }

    async fn version_of(
        &self,
        stage: &Stage,
        revision: Option<&str>,
        folder: Option<&str>,
    ) -> Option<String> {
        let commit = Revision::parse(revision?)?.commit();
        self.version_at(stage, commit, folder).await.ok().flatten()
    }

    /// The FleetKustomizations that carry a stage, and its clusters.
    fn reach(&self, stage: &Stage, filter: &Filter<'_>) -> Result<Reach, String> {
        let all = self.context.clusters.all();
        let selector = |name: &str| self.context.selectors.get(self.namespace, name);
        let clusters = plan::select(&stage.cluster_selector, self.namespace, &all, &selector)
            .map_err(|error| error.to_string())?;
        let clusters = clusters
            .into_iter()
            .filter(|cluster| filter.takes(cluster))
            .cloned()
            .collect();
        let mut fleets = Vec::new();
        for reference in &stage.fleet_refs {
            let fleet = self.context.fleets.get(self.namespace, &reference.name);
            fleets.push(fleet.ok_or_else(|| {
                format!(
                    "FleetKustomization '{}' not found in namespace '{}'",
                    reference.name, self.namespace
                )
            })?);
        }
        Ok((fleets, clusters))
    }

    /// The folders of single clusters, by cluster: the path of the Kustomization that carries the stage to it.
    pub(crate) fn folders(
        &self,
        stage: &Stage,
        filter: &Filter<'_>,
    ) -> Result<Vec<(String, Option<String>)>, String> {
        let (fleets, clusters) = self.reach(stage, filter)?;
        let folder = |cluster: &Cluster| {
            fleets.iter().find_map(|fleet| {
                let name = child_name(&fleet.name_any(), &cluster.name_any());
                let child = self.hub.kustomizations.get(self.namespace, &name)?;
                child.spec.path.clone()
            })
        };
        Ok(clusters
            .iter()
            .map(|cluster| (cluster.name_any(), folder(cluster)))
            .collect())
    }

    /// Clusters that have another version than the overlay, by a file of their own.
    pub(crate) async fn deviations(&self, stage: &Stage) -> Vec<Deviation> {
        let Some(commit) = self.commit() else {
            return Vec::new();
        };
        if self.pipeline.moves.image.is_none() {
            return Vec::new();
        }
        let Ok(Some(common)) = self.version_at(stage, commit, None).await else {
            return Vec::new();
        };
        let mut deviations = Vec::new();
        for (cluster, folder) in self.folders(stage, &Filter::ALL).unwrap_or_default() {
            let own = self.version_at(stage, commit, folder.as_deref()).await;
            if let Ok(Some(version)) = own
                && version != common
            {
                deviations.push(Deviation {
                    cluster,
                    version,
                    path: folder,
                });
            }
        }
        deviations
    }

    /// How the clusters are. Those in `without` are left out: they have a version of their own.
    pub(crate) async fn spread(
        &self,
        stage: &Stage,
        filter: &Filter<'_>,
        without: &[Deviation],
    ) -> Spread {
        let mut spread = Spread::default();
        let (fleets, clusters) = match self.reach(stage, filter) {
            Ok(reach) => reach,
            Err(problem) => {
                spread.problem = Some(problem);
                return spread;
            }
        };
        spread.fleets = fleets.iter().map(|fleet| fleet.name_any()).collect();
        for cluster in &clusters {
            let name = cluster.name_any();
            if filter.is_all() && without.iter().any(|one| one.cluster == name) {
                continue;
            }
            let own_folder = !filter.is_all();
            spread
                .clusters
                .push(self.look(stage, cluster, &fleets, own_folder).await);
        }
        for fleet in &fleets {
            Self::add_waves(&mut spread, fleet);
        }
        spread
    }

    fn add_waves(spread: &mut Spread, fleet: &FleetKustomization) {
        let Some(rollout) = fleet
            .status
            .as_ref()
            .and_then(|status| status.rollout.as_ref())
        else {
            return;
        };
        for wave in &rollout.waves {
            let clusters: Vec<_> = rollout
                .clusters
                .iter()
                .filter(|cluster| cluster.wave == wave.name)
                .filter(|cluster| spread.clusters.iter().any(|seen| seen.name == cluster.name))
                .collect();
            if clusters.is_empty() {
                continue;
            }
            spread.soaking |= wave.state == WaveState::Soaking
                || clusters
                    .iter()
                    .any(|cluster| cluster.state == ClusterState::Soaking);
            let mut state = format!(
                "{:?}: {} of {} healthy",
                wave.state, wave.healthy, wave.changing
            );
            if wave.failed > 0 {
                state = format!("{state}, {} failed", wave.failed);
            }
            spread.waves.push(WaveProgress {
                fleet: fleet.name_any(),
                name: wave.name.clone(),
                clusters: clusters.len() as i32,
                state,
            });
        }
    }

    /// One cluster: the worst of what its Kustomizations say.
    async fn look(
        &self,
        stage: &Stage,
        cluster: &Cluster,
        fleets: &[Arc<FleetKustomization>],
        own_folder: bool,
    ) -> ClusterSeen {
        let name = cluster.name_any();
        let mut seen: Option<ClusterSeen> = None;
        for fleet in fleets {
            let child = child_name(&fleet.name_any(), &name);
            let Some(child) = self.hub.kustomizations.get(self.namespace, &child) else {
                let all = [Arc::new(cluster.clone())];
                let selector = |name: &str| self.context.selectors.get(self.namespace, name);
                let selected = plan::select(
                    &fleet.spec.cluster_selector,
                    self.namespace,
                    &all,
                    &selector,
                );
                if selected.is_ok_and(|selected| selected.is_empty()) {
                    continue;
                }
                let message = format!("{} has no Kustomization for it yet", fleet.name_any());
                seen = Some(worse(
                    seen,
                    ClusterSeen {
                        name: name.clone(),
                        applied: None,
                        attempted: None,
                        how: How::Progressing(message),
                    },
                ));
                continue;
            };
            let one = self.child(stage, &name, fleet, &child, own_folder).await;
            seen = Some(worse(seen, one));
        }
        seen.unwrap_or_else(|| ClusterSeen {
            name,
            applied: None,
            attempted: None,
            how: How::Failing("no FleetKustomization of the stage selects it".to_owned()),
        })
    }

    async fn child(
        &self,
        stage: &Stage,
        cluster: &str,
        fleet: &FleetKustomization,
        child: &Kustomization,
        own_folder: bool,
    ) -> ClusterSeen {
        let status = child.status.clone().unwrap_or_default();
        let folder = child.spec.path.as_deref().filter(|_| own_folder);
        let applied = self
            .version_of(stage, status.last_applied_revision.as_deref(), folder)
            .await;
        let attempted = self
            .version_of(stage, status.last_attempted_revision.as_deref(), folder)
            .await;
        let target = self.target(child);
        let mut seen = ClusterSeen {
            name: cluster.to_owned(),
            applied,
            attempted,
            how: How::Healthy,
        };
        let ready = conditions::get(&status.conditions, names::READY);
        if !stage.health.objects.is_empty()
            && is_applied(ready, status.last_attempted_revision.as_deref())
        {
            // Other things in the same Kustomization may keep it from being ready; what counts here is applied.
            seen.applied.clone_from(&seen.attempted);
        }
        seen.how = self.how(stage, child, ready, target.as_deref());
        self.add_rollout(stage, &mut seen, fleet, folder).await;
        seen
    }

    /// What the fleet's rollout says of a cluster.
    async fn add_rollout(
        &self,
        stage: &Stage,
        seen: &mut ClusterSeen,
        fleet: &FleetKustomization,
        folder: Option<&str>,
    ) {
        let Some(rollout) = fleet
            .status
            .as_ref()
            .and_then(|status| status.rollout.as_ref())
        else {
            return;
        };
        let Some(cluster) = rollout.cluster(&seen.name) else {
            return;
        };
        let wanted = self
            .version_of(stage, Some(&cluster.target.revision), folder)
            .await;
        let message = || {
            cluster
                .message
                .clone()
                .unwrap_or_else(|| format!("{:?} in wave {}", cluster.state, cluster.wave))
        };
        match cluster.state {
            ClusterState::Failed | ClusterState::HeldBack => {
                let given_up = rollout
                    .waves
                    .iter()
                    .any(|wave| wave.name == cluster.wave && wave.state == WaveState::Failed);
                seen.attempted = wanted;
                seen.how = if given_up {
                    How::Failed(message())
                } else {
                    How::Failing(message())
                };
            }
            ClusterState::Pending | ClusterState::Held
                if wanted != seen.applied && seen.how == How::Healthy =>
            {
                seen.how = How::Progressing(message());
            }
            ClusterState::Skipped => seen.how = How::Unreachable(message()),
            _ => {}
        }
    }

    fn target(&self, child: &Kustomization) -> Option<Arc<Target>> {
        let key = key_of(&self.hub.id, child);
        let id = self.context.lanes().get(&key).map(|(id, _)| *id)?;
        self.targets.get(&id).cloned()
    }

    fn how(
        &self,
        stage: &Stage,
        child: &Kustomization,
        ready: Option<&fairway_types::Condition>,
        target: Option<&Target>,
    ) -> How {
        if let Some(why) = target.and_then(Target::why_down) {
            return How::Unreachable(why);
        }
        if child.spec.suspend {
            return How::Progressing(format!("{} is suspended", child.name_any()));
        }
        let status = child.status.clone().unwrap_or_default();
        if status.observed_generation != child.metadata.generation {
            return How::Busy("its Kustomization has changed".to_owned());
        }
        let is_ours = self
            .context
            .options
            .controllers
            .contains(&Controller::Kustomize);
        let live = target
            .filter(|_| is_ours)
            .map(|target| Self::objects(stage, child, target));
        match live {
            // Somebody looks at each object, so that what the Kustomization says is only second to that.
            Some(how) if how != How::Healthy => return how,
            Some(_) if !stage.health.objects.is_empty() => return How::Healthy,
            _ => {}
        }
        let Some(ready) = ready else {
            return How::Progressing("nothing is known of it yet".to_owned());
        };
        match ready.status {
            ConditionStatus::True => How::Healthy,
            ConditionStatus::Unknown => How::Busy(ready.message.clone()),
            ConditionStatus::False if ready.reason == reason::DEPENDENCY_NOT_READY => {
                How::Progressing(ready.message.clone())
            }
            ConditionStatus::False if ready.reason == reason::CLUSTER_UNREACHABLE => {
                How::Unreachable(ready.message.clone())
            }
            ConditionStatus::False => How::Failing(first_line(&ready.message)),
        }
    }

    /// How the objects of a Kustomization are, or those that the stage names.
    fn objects(stage: &Stage, child: &Kustomization, target: &Target) -> How {
        let named = &stage.health.objects;
        let status = child.status.as_ref();
        let inventory = status.and_then(|status| status.inventory.clone());
        let mut found = vec![false; named.len()];
        let mut worst = How::Healthy;
        for entry in inventory.unwrap_or_default().entries {
            let Ok(id) = entry.object() else { continue };
            let matches = |reference: &fairway_types::reference::ObjectReference| {
                let api_version = if id.group.is_empty() {
                    entry.v.clone()
                } else {
                    format!("{}/{}", id.group, entry.v)
                };
                reference.kind == id.kind
                    && reference.name == id.name
                    && reference
                        .namespace
                        .as_ref()
                        .is_none_or(|namespace| *namespace == id.namespace)
                    && reference
                        .api_version
                        .as_ref()
                        .is_none_or(|version| *version == api_version)
            };
            if !named.is_empty() {
                let Some(index) = named.iter().position(matches) else {
                    continue;
                };
                found[index] = true;
            }
            let Some(seen) = target.observer.last_seen(&id) else {
                continue;
            };
            let message = format!("{}: {}", id.subject(), seen.health.message);
            let how = match seen.health.status {
                Status::Current => continue,
                Status::Failed if !named.is_empty() => How::Failed(message),
                Status::Failed => How::Failing(message),
                _ => How::Progressing(message),
            };
            if rank(&how) > rank(&worst) {
                worst = how;
            }
        }
        if let Some(missing) = found.iter().position(|found| !found) {
            let reference = &named[missing];
            let message = format!("{}/{} is not applied", reference.kind, reference.name);
            return How::Progressing(message);
        }
        worst
    }
}

/// Whether everything of the last attempt has been applied, and its health is looked at, or was and is not good.
fn is_applied(ready: Option<&fairway_types::Condition>, attempted: Option<&str>) -> bool {
    let (Some(ready), Some(attempted)) = (ready, attempted) else {
        return false;
    };
    ready.reason == reason::HEALTH_CHECK_FAILED
        || ready
            .message
            .strip_prefix("Running health checks for revision ")
            .is_some_and(|rest| rest.starts_with(attempted))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn rank(how: &How) -> u8 {
    match how {
        How::Healthy => 0,
        How::Busy(_) => 1,
        How::Progressing(_) => 2,
        How::Unreachable(_) => 3,
        How::Failing(_) => 4,
        How::Failed(_) => 5,
    }
}

/// The worse of two; where they have different versions, neither is there yet.
fn worse(one: Option<ClusterSeen>, other: ClusterSeen) -> ClusterSeen {
    let Some(one) = one else { return other };
    let differ = one.applied != other.applied;
    let (mut worse, better) = if rank(&other.how) > rank(&one.how) {
        (other, one)
    } else {
        (one, other)
    };
    if differ && worse.how == How::Healthy {
        worse.how = How::Progressing(format!(
            "at {} and {}",
            worse.applied.as_deref().unwrap_or("no version"),
            better.applied.as_deref().unwrap_or("no version")
        ));
    }
    worse
}
