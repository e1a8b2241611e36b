//! What version a stage, or one of its clusters, has at a commit. Commits do not change, so each is read once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use fairway_git::{Mirror, Oid};
use fairway_types::pipeline::{Move, PipelineSpec};

use crate::change::{Snapshot, Workspace};

/// The most answers that are kept.
const KEPT: usize = 8192;

/// Repository, commit, what moves, the overlay, the folder of a single cluster.
type Question = (String, Oid, String, String, Option<String>);
/// The version, or why it cannot be read.
pub(crate) type Answer = Result<Option<String>, String>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Versions(Mutex<HashMap<Question, Answer>>);

impl Versions {
    fn lock(&self) -> MutexGuard<'_, HashMap<Question, Answer>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The version at a commit: of the overlay, or of a single cluster by its own folder.
    pub(crate) async fn at(
        &self,
        mirror: &Arc<Mirror>,
        commit: Oid,
        pipeline: &PipelineSpec,
        overlay: &str,
        cluster: Option<&str>,
    ) -> Answer {
        let repository = mirror.repository().directory().display().to_string();
        let cluster = cluster.filter(|folder| clean(folder) != clean(overlay));
        let moves = serde_json::to_string(&pipeline.moves).unwrap_or_default();
        let question = (
            repository,
            commit,
            moves,
            overlay.to_owned(),
            cluster.map(str::to_owned),
        );
        if let Some(known) = self.lock().get(&question) {
            return known.clone();
        }
        if !mirror.repository().contains(commit) {
            return Err(format!("commit {} is not here yet", commit.short()));
        }
        let answer = read(mirror, commit, &pipeline.moves, overlay, cluster).await;
        let mut known = self.lock();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(question, answer.clone());
        answer
    }
}

/// A folder without what means nothing.
pub(crate) fn clean(folder: &str) -> &str {
    folder.trim_start_matches("./").trim_matches('/')
}

async fn read(
    mirror: &Arc<Mirror>,
    commit: Oid,
    moves: &Move,
    overlay: &str,
    cluster: Option<&str>,
) -> Answer {
    if !moves.paths.is_empty() {
        let workspace = Workspace::new(mirror.clone(), "");
        return workspace
            .version_of_paths(commit, clean(overlay), &moves.paths)
            .await
            .map_err(|error| error.to_string());
    }
    let (mirror, moves) = (mirror.clone(), moves.clone());
    let overlay = clean(overlay).to_owned();
    let cluster = cluster.map(|folder| clean(folder).to_owned());
    tokio::task::spawn_blocking(move || {
        let snapshot = Snapshot::new(mirror.repository(), commit);
        if let Some(repository) = &moves.git_repository {
            return snapshot
                .reference(&overlay, &repository.name, repository.field.as_str())
                .map_err(|error| error.to_string());
        }
        let Some(image) = &moves.image else {
            return Ok(None);
        };
        if let Some(folder) = cluster
            && let Some(version) = own(&snapshot, &overlay, &folder, &image.name)?
        {
            return Ok(Some(version));
        }
        snapshot
            .image(&overlay, &image.name)
            .map(|version| version.map(|version| version.to_string()))
            .map_err(|error| error.to_string())
    })
    .await
    .map_err(|error| error.to_string())?
}

/// What a cluster's own folder says of the image; nothing where it leaves that to its stage.
pub(crate) fn own(
    snapshot: &Snapshot<'_>,
    overlay: &str,
    folder: &str,
    image: &str,
) -> Result<Option<String>, String> {
    let name = snapshot
        .image_name(overlay, image)
        .map_err(|error| error.to_string())?;
    // A folder without a kustomization of its own has nothing to say.
    let Ok(path) = snapshot.kustomization(folder) else {
        return Ok(None);
    };
    snapshot
        .image(&path, &name)
        .map(|version| version.map(|version| version.to_string()))
        .map_err(|error| error.to_string())
}
