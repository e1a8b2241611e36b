//! Doing what the judge asks for, and saying what came of it.

use std::sync::Arc;
use std::time::Duration;

use fairway_git::{Mirror, Oid, Signature};
use fairway_types::check::Check;
use fairway_types::git_repository::GitRepository;
use fairway_types::pipeline::{CommitMode, Pipeline, Stage};
use fairway_types::promotion::{Intent, Promotion, PromotionStatus};
use kube::ResourceExt;

use super::judge::{Action, Outcome, Place};
use super::observe::{Filter, Sight};
use super::request::{self, Scene, Target};
use super::versions::clean;
use crate::change::{Committed, Error, Request, Snapshot, Workspace};
use crate::context::Context;
use crate::gates::{self, Subject};
use crate::home::{Home, HomeId, Key};
use crate::queue::jitter;
use crate::source;

/// Who acts, on what.
pub(super) struct Actor<'a> {
    pub context: &'a Arc<Context>,
    pub hub: &'a Arc<Home>,
    pub namespace: &'a str,
    pub pipeline: &'a Pipeline,
    pub promotion: &'a Promotion,
    pub status: &'a PromotionStatus,
    pub stage: &'a Stage,
    pub previous: Option<&'a Stage>,
    pub sight: &'a Sight<'a>,
    pub clusters: Vec<String>,
    pub fleets: Vec<String>,
}

impl Actor<'_> {
    pub(super) async fn act(&self, action: &Action) -> Outcome {
        match action {
            Action::Ask(asks) => self.ask(asks).await,
            Action::Fetch => {
                self.context.enqueue_source(Key::new(
                    &HomeId::Hub,
                    self.namespace,
                    &self.pipeline.spec.source_ref.name,
                ));
                Outcome::Done
            }
            Action::Commit(intent) => {
                self.context.options.reached("before the commit");
                let outcome = self.commit(*intent).await;
                self.context.options.reached("after the commit");
                let outcome = outcome.unwrap_or_else(|outcome| outcome);
                if matches!(outcome, Outcome::Committed { .. }) {
                    // The source need not wait for its interval.
                    let key = super::pipeline_source(self.pipeline);
                    self.context.enqueue_source(key);
                }
                outcome
            }
            Action::Look(intent) => self.find(*intent).await.unwrap_or_else(|outcome| outcome),
            Action::Poll => self.poll().await.unwrap_or_else(|outcome| outcome),
            Action::Close => self.close().await.unwrap_or_else(|outcome| outcome),
        }
    }

    async fn ask(&self, asks: &[(Place, usize)]) -> Outcome {
        let subject = self.subject();
        let looks = asks.iter().filter_map(|(place, index)| {
            let (check, known) = match place {
                Place::Gate => (self.stage.gates.get(*index)?, &self.status.gates),
                Place::Verification => (
                    self.stage.verification.get(*index)?,
                    &self.status.verification,
                ),
            };
            let known = known.iter().find(|known| known.name == check.name);
            Some(self.one(*place, check, &subject, known))
        });
        let answers = futures::future::join_all(looks).await;
        Outcome::Answers {
            again: answers.iter().filter_map(|(_, one)| one.again).min(),
            evidence: answers
                .into_iter()
                .map(|(place, one)| (place, one.evidence))
                .collect(),
        }
    }

    async fn one(
        &self,
        place: Place,
        check: &Check,
        subject: &Subject,
        known: Option<&fairway_types::check::Evidence>,
    ) -> (Place, gates::Evaluation) {
        let evaluation = gates::evaluate(self.context, check, subject, known).await;
        (place, evaluation)
    }

    fn subject(&self) -> Subject {
        let commit = self.status.commits.last().map(|commit| commit.sha.clone());
        Subject {
            namespace: self.namespace.to_owned(),
            pipeline: self.pipeline.name_any(),
            promotion: self.promotion.name_any(),
            stage: self.stage.name.clone(),
            intent: self.promotion.spec.intent.as_str().to_owned(),
            version: self.status.to.clone().unwrap_or_default(),
            from: self.status.from.clone().unwrap_or_default(),
            commit: commit.unwrap_or_default(),
            fleets: self.fleets.clone(),
            clusters: self.clusters.clone(),
            attempt: self.promotion.uid().unwrap_or_default(),
            ..Subject::default()
        }
    }

    /// The repository as the commit's credential sees it.
    pub(super) async fn workspace(&self) -> Result<(Workspace, Arc<Mirror>), Outcome> {
        let away = |what: String| Outcome::Away(what);
        let repository = self.sight.repository().ok_or_else(|| {
            away(format!(
                "GitRepository '{}/{}' not found",
                self.namespace, self.pipeline.spec.source_ref.name
            ))
        })?;
        let branch = branch_of(&repository).map_err(Outcome::Impossible)?;
        let secret = self.pipeline.spec.commit.secret_ref.clone();
        let mirror = match (&secret, self.sight.mirror()) {
            (None, Some(mirror)) => mirror.clone(),
            _ => writable(self.context, self.hub, self.namespace, &repository, secret)
                .await
                .map_err(away)?,
        };
        let timeout = repository.spec.timeout().get();
        let workspace = Workspace::new(mirror.clone(), &branch).with_timeout(timeout);
        Ok((workspace, mirror))
    }

    async fn find(&self, intent: Intent) -> Result<Outcome, Outcome> {
        let (workspace, _) = self.workspace().await?;
        let head = workspace
            .fetch()
            .await
            .map_err(|error| outcome_of(&error))?;
        let mark = request::mark(self.promotion, intent);
        let found = workspace
            .find(head, self.since(intent), &mark)
            .await
            .map_err(|error| outcome_of(&error))?;
        if found.is_none() {
            return Ok(Outcome::Absent);
        }
        // What it set is found by the same request.
        self.commit(intent).await
    }

    /// Commits that the one of this intent comes after.
    pub(super) fn since(&self, intent: Intent) -> Option<Oid> {
        let text = match intent {
            Intent::Rollback => self
                .status
                .commit(Intent::Promote)
                .map(|commit| commit.sha.clone()),
            Intent::Promote => None,
        };
        text.or_else(|| self.status.base.clone())?.parse().ok()
    }

    pub(super) async fn commit(&self, intent: Intent) -> Result<Outcome, Outcome> {
        let (workspace, mirror) = self.workspace().await?;
        let named = match request::named(self.promotion, &self.pipeline.spec.moves) {
            Some(text) if self.promotion.spec.intent == Intent::Rollback => {
                let head = workspace
                    .fetch()
                    .await
                    .map_err(|error| outcome_of(&error))?;
                let named = workspace.name(head, &text).await;
                Some(named.map_err(|error| outcome_of(&error))?)
            }
            _ => None,
        };
        let scene = self.scene(&workspace).await?;
        let set = request::change_set(&scene, intent, named)
            .map_err(|error| Outcome::Impossible(error.to_string()))?;
        let message = request::message(&scene, intent);
        let settings = &self.pipeline.spec.commit;
        let seconds = (self.context.clock)().as_second();
        let author = committer(self.pipeline, seconds);
        let key = signing_key(self.hub, self.namespace, self.pipeline)
            .await
            .map_err(Outcome::Away)?;
        let request = Request {
            set: &set,
            message: &message,
            author: &author,
            committer: &author,
            key: key.as_ref(),
            since: self.since(intent),
        };
        if settings.mode == CommitMode::PullRequest {
            return self.propose(&workspace, &mirror, &request, intent).await;
        }
        let pause = |attempt: u32| jitter(Duration::from_millis(40) * attempt.min(25), 50);
        match workspace.apply(&request, pause).await {
            Ok(committed) => Ok(self.committed(&mirror, intent, committed, None).await),
            Err(error) if error.wants_pull_request() && settings.pull_request.is_some() => {
                self.propose(&workspace, &mirror, &request, intent).await
            }
            Err(error) => Err(outcome_of(&error)),
        }
    }

    pub(super) async fn committed(
        &self,
        mirror: &Arc<Mirror>,
        intent: Intent,
        committed: Committed,
        pull_request: Option<String>,
    ) -> Outcome {
        let version = self.version_in(mirror, committed.sha).await;
        if committed.outcome == crate::change::Outcome::Unchanged {
            return Outcome::Standing {
                commit: committed.sha.to_string(),
                version,
            };
        }
        Outcome::Committed {
            intent,
            sha: committed.sha.to_string(),
            parent: committed.parent.map(|parent| parent.to_string()),
            changes: committed.changes,
            version,
            pull_request,
        }
    }

    /// What a commit of this intent sets on top of another.
    pub(super) async fn changes_on(
        &self,
        workspace: &Workspace,
        parent: Oid,
        intent: Intent,
    ) -> Result<Vec<fairway_types::promotion::ChangedValue>, Outcome> {
        let named = request::named(self.promotion, &self.pipeline.spec.moves);
        let named = match named {
            Some(text) if self.promotion.spec.intent == Intent::Rollback => Some(
                workspace
                    .name(parent, &text)
                    .await
                    .map_err(|error| outcome_of(&error))?,
            ),
            _ => None,
        };
        let scene = self.scene(workspace).await?;
        let set = request::change_set(&scene, intent, named)
            .map_err(|error| Outcome::Impossible(error.to_string()))?;
        let message = request::message(&scene, intent);
        let author = committer(self.pipeline, (self.context.clock)().as_second());
        let request = Request {
            set: &set,
            message: &message,
            author: &author,
            committer: &author,
            key: None,
            since: None,
        };
        let preview = workspace.preview(parent, &request).await;
        Ok(preview.map(|preview| preview.changes).unwrap_or_default())
    }

    /// The version that a commit gives the stage, or the single clusters.
    pub(super) async fn version_in(&self, mirror: &Arc<Mirror>, commit: Oid) -> Option<String> {
        let folder = if self.promotion.spec.is_targeted() {
            let folders = self.sight.folders(self.stage, &self.filter()).ok()?;
            folders.into_iter().find_map(|(_, folder)| folder)
        } else {
            None
        };
        let versions = &self.context.versions;
        let spec = &self.pipeline.spec;
        versions
            .at(mirror, commit, spec, &self.stage.path, folder.as_deref())
            .await
            .ok()
            .flatten()
    }

    fn filter(&self) -> Filter<'_> {
        Filter {
            clusters: &self.promotion.spec.clusters,
            regions: &self.promotion.spec.regions,
        }
    }

    async fn scene(&self, workspace: &Workspace) -> Result<Scene<'_>, Outcome> {
        let mut scene = Scene {
            pipeline: self.pipeline,
            stage: self.stage,
            previous: self.previous,
            promotion: self.promotion,
            status: self.status,
            targets: Vec::new(),
            common: None,
        };
        if !self.promotion.spec.is_targeted() {
            return Ok(scene);
        }
        let impossible = |error: request::RequestError| Outcome::Impossible(error.to_string());
        let image = self.pipeline.spec.moves.image.as_ref();
        let image = image.ok_or(impossible(request::RequestError::OnlyImages))?;
        let head = workspace
            .fetch()
            .await
            .map_err(|error| outcome_of(&error))?;
        let overlay = clean(&self.stage.path).to_owned();
        let snapshot = Snapshot::new(workspace.repository(), head);
        let name = snapshot
            .image_name(&overlay, &image.name)
            .map_err(|error| outcome_of(&error))?;
        let common = snapshot
            .image(&overlay, &image.name)
            .map_err(|error| outcome_of(&error))?;
        scene.common = common.map(|version| version.to_string());
        let folders = self
            .sight
            .folders(self.stage, &self.filter())
            .map_err(Outcome::Impossible)?;
        for wanted in &self.promotion.spec.clusters {
            if !folders.iter().any(|(cluster, _)| cluster == wanted) {
                return Err(impossible(request::RequestError::NoCluster(wanted.clone())));
            }
        }
        for (cluster, folder) in folders {
            let Some(folder) = folder else {
                return Err(impossible(request::RequestError::NoFolder(cluster)));
            };
            scene.targets.push(Target {
                cluster,
                folder: clean(&folder).to_owned(),
                image: name.clone(),
            });
        }
        if scene.targets.is_empty() {
            let regions = self.promotion.spec.regions.join(", ");
            return Err(impossible(request::RequestError::NoCluster(regions)));
        }
        Ok(scene)
    }
}

/// The branch that a source follows.
fn branch_of(repository: &GitRepository) -> Result<String, String> {
    let reference = repository.spec.reference.clone().unwrap_or_default();
    if reference.tag.is_some()
        || reference.semver.is_some()
        || reference.commit.is_some()
        || reference.name.is_some()
    {
        return Err(format!(
            "GitRepository '{}' does not follow a branch, so nothing can be committed to it\nhint: set spec.ref.branch alone",
            repository.name_any()
        ));
    }
    Ok(reference.branch.unwrap_or_else(|| "master".to_owned()))
}

/// The mirror of a source, with the credential that may push.
pub(crate) async fn writable(
    context: &Arc<Context>,
    hub: &Home,
    namespace: &str,
    repository: &GitRepository,
    secret: Option<fairway_types::reference::LocalObjectReference>,
) -> Result<Arc<Mirror>, String> {
    let mut object = repository.clone();
    if secret.is_some() {
        object.spec.secret_ref = secret;
    }
    let key = Key::new(&HomeId::Hub, namespace, repository.name_any());
    source::mirror_of(context, hub, &key, &object).await
}

/// What an error means for the judge.
pub(super) fn outcome_of(error: &Error) -> Outcome {
    let message = error.to_string();
    match error {
        Error::ChangedSince(_) | Error::OtherVersion { .. } => Outcome::Changed(message),
        Error::Refused { .. } | Error::Denied { .. } => Outcome::Refused(message),
        error if error.is_transient() => Outcome::Away(message),
        Error::Git(_) => Outcome::Away(message),
        _ => Outcome::Impossible(message),
    }
}

/// Who commits.
pub(super) fn committer(pipeline: &Pipeline, seconds: i64) -> Signature {
    match &pipeline.spec.commit.author {
        Some(author) => Signature::new(&author.name, &author.email, seconds),
        None => Signature::new("Fairway", "fairway@localhost", seconds),
    }
}

/// The key that signs commits, where there is to be one.
pub(super) async fn signing_key(
    hub: &Home,
    namespace: &str,
    pipeline: &Pipeline,
) -> Result<Option<fairway_git::SigningKey>, String> {
    let Some(secret) = &pipeline.spec.commit.signing_key_secret_ref else {
        return Ok(None);
    };
    let problem = |why: String| format!("commit.signingKeySecretRef '{}': {why}", secret.name);
    let data = source::read_secret(hub, namespace, &secret.name)
        .await
        .map_err(problem)?;
    let identity = data
        .get("identity")
        .and_then(|bytes| String::from_utf8(bytes.clone()).ok())
        .ok_or_else(|| problem("there is no key 'identity'".to_owned()))?;
    fairway_git::SigningKey::parse(&identity)
        .map(Some)
        .map_err(|error| problem(error.to_string()))
}
