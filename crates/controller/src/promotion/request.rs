//! What a Promotion's commit is to do, and what it says: pure, but for naming commits.

use fairway_git::Oid;
use fairway_types::approval::Decision;
use fairway_types::check::Kind;
use fairway_types::pipeline::{Move, Pipeline, Stage};
use fairway_types::promotion::{Intent, Promotion, PromotionStatus};
use kube::ResourceExt;

use super::versions::clean;
use crate::change::{ChangeSet, Edit, Mark, Message, Trailers};

/// Why there is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RequestError {
    /// What moves cannot be set for one cluster alone.
    #[error("only an image can be set for single clusters\nhint: leave out --cluster and --region")]
    OnlyImages,
    /// A cluster has no folder.
    #[error("the path of the Kustomization for cluster '{0}' is not known")]
    NoFolder(String),
    /// No cluster is meant.
    #[error("no cluster of the stage is named '{0}'")]
    NoCluster(String),
    /// There is nothing to copy from.
    #[error("paths are copied from the stage before, and '{0}' has none")]
    NoSource(String),
    /// The commit to copy from is not known.
    #[error("the commit at which the version was verified is not known")]
    NoCommit,
    /// Nothing says where it goes back to.
    #[error("the rollback does not say where to")]
    NoTarget,
}

/// What is known when a request is made.
pub(super) struct Scene<'a> {
    pub pipeline: &'a Pipeline,
    pub stage: &'a Stage,
    /// The stage before.
    pub previous: Option<&'a Stage>,
    pub promotion: &'a Promotion,
    pub status: &'a PromotionStatus,
    /// The single clusters that it is for, with their folders and what the image is called there.
    pub targets: Vec<Target>,
    /// The version of the overlay at the head.
    pub common: Option<String>,
}

/// A single cluster.
pub(super) struct Target {
    pub cluster: String,
    pub folder: String,
    /// What the image is called behind the overlay.
    pub image: String,
}

/// What is to be changed. `named` is the commit that the request names, where it names one.
pub(super) fn change_set(
    scene: &Scene<'_>,
    intent: Intent,
    named: Option<Oid>,
) -> Result<ChangeSet, RequestError> {
    let spec = &scene.promotion.spec;
    if intent == Intent::Rollback && spec.intent == Intent::Promote {
        let changes = scene.status.changes.clone();
        return Ok(ChangeSet::Edits(vec![Edit::PutBack(changes)]));
    }
    let folder = clean(&scene.stage.path).to_owned();
    let Some(rollback) = &spec.rollback else {
        let version = scene.status.to.clone().unwrap_or_default();
        return set_version(scene, &folder, &version, None).map(ChangeSet::Edits);
    };
    if let Some(version) = &rollback.to {
        return set_version(scene, &folder, version, named).map(ChangeSet::Edits);
    }
    let folders: Vec<String> = if scene.targets.is_empty() {
        vec![folder]
    } else {
        let folders = scene.targets.iter().map(|target| target.folder.clone());
        folders.collect()
    };
    let commit = named.ok_or(RequestError::NoTarget)?;
    if rollback.revert.is_some() {
        return Ok(ChangeSet::Revert {
            commit,
            within: folders,
        });
    }
    let restore = folders
        .into_iter()
        .map(|folder| Edit::Restore { folder, at: commit });
    Ok(ChangeSet::Edits(restore.collect()))
}

fn set_version(
    scene: &Scene<'_>,
    folder: &str,
    version: &str,
    named: Option<Oid>,
) -> Result<Vec<Edit>, RequestError> {
    let moves: &Move = &scene.pipeline.spec.moves;
    let (version, folder) = (version.to_owned(), folder.to_owned());
    if !scene.targets.is_empty() {
        if moves.image.is_none() {
            return Err(RequestError::OnlyImages);
        }
        let edit = |target: &Target| {
            let (folder, name) = (target.folder.clone(), target.image.clone());
            if scene.common.as_deref() == Some(&version) {
                // What the stage has anyway needs no file of the cluster's own.
                return Edit::NoImage { folder, name };
            }
            Edit::Image {
                folder,
                name,
                version: version.clone(),
                from: None,
            }
        };
        return Ok(scene.targets.iter().map(edit).collect());
    }
    let edit = if let Some(image) = &moves.image {
        Edit::Image {
            folder,
            name: image.name.clone(),
            version,
            from: None,
        }
    } else if let Some(repository) = &moves.git_repository {
        Edit::Reference {
            folder,
            name: repository.name.clone(),
            key: repository.field.as_str().to_owned(),
            value: version,
            from: None,
        }
    } else if scene.promotion.spec.intent == Intent::Rollback {
        let at = named.ok_or(RequestError::NoTarget)?;
        let restore = moves.paths.iter().map(|path| Edit::Restore {
            folder: format!("{folder}/{}", clean(path)),
            at,
        });
        return Ok(restore.collect());
    } else {
        let previous = scene
            .previous
            .ok_or_else(|| RequestError::NoSource(scene.stage.name.clone()))?;
        let at = scene.status.source_commit.as_deref();
        let at = at.and_then(|commit| commit.parse().ok());
        Edit::Paths {
            paths: moves.paths.clone(),
            source: clean(&previous.path).to_owned(),
            at: at.ok_or(RequestError::NoCommit)?,
            folder,
        }
    };
    Ok(vec![edit])
}

/// What the commit says.
pub(super) fn message(scene: &Scene<'_>, intent: Intent) -> Message {
    let (promotion, status) = (scene.promotion, scene.status);
    let namespace = promotion.namespace().unwrap_or_default();
    let is_back = intent == Intent::Rollback && promotion.spec.intent == Intent::Promote;
    let (from, to) = if is_back {
        (status.to.clone(), status.from.clone())
    } else {
        (status.from.clone(), status.to.clone())
    };
    let mut approved_by: Vec<String> = status
        .approvals
        .iter()
        .filter(|word| word.decision == Decision::Approve && word.ignored.is_none())
        .map(|word| word.approver.clone())
        .collect();
    approved_by.dedup();
    let asks_people = scene
        .stage
        .gates
        .iter()
        .any(|gate| matches!(gate.kind(), Ok(Kind::Approval(_))));
    if !asks_people || is_back {
        approved_by.clear();
    }
    let trailers = Trailers {
        pipeline: format!("{namespace}/{}", scene.pipeline.name_any()),
        stage: scene.stage.name.clone(),
        from,
        to,
        clusters: scene
            .targets
            .iter()
            .map(|target| target.cluster.clone())
            .collect(),
        requested_by: promotion.spec.requested_by.clone(),
        approved_by,
        mark: mark(promotion, intent),
    };
    let reason = if is_back {
        status.failure.as_deref()
    } else {
        promotion.spec.reason.as_deref()
    };
    Message::new(&what(&scene.pipeline.spec.moves), reason, trailers)
}

/// By what the commit is known.
pub(super) fn mark(promotion: &Promotion, intent: Intent) -> Mark {
    Mark {
        promotion: format!(
            "{}/{}",
            promotion.namespace().unwrap_or_default(),
            promotion.name_any()
        ),
        uid: promotion.uid().unwrap_or_default(),
        intent,
    }
}

/// What moves, for people.
pub(super) fn what(moves: &Move) -> String {
    if let Some(image) = &moves.image {
        image.name.clone()
    } else if let Some(repository) = &moves.git_repository {
        format!("GitRepository {}", repository.name)
    } else {
        moves.paths.join(", ")
    }
}

/// The revision that a request names, to be resolved to a commit.
pub(super) fn named(promotion: &Promotion, moves: &Move) -> Option<String> {
    let rollback = promotion.spec.rollback.as_ref()?;
    rollback
        .revert
        .clone()
        .or_else(|| rollback.restore.clone())
        .or_else(|| rollback.to.clone().filter(|_| !moves.paths.is_empty()))
}
