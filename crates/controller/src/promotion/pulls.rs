//! Pull requests: opened, looked at, closed.

use std::sync::Arc;

use fairway_git::Mirror;
use fairway_types::promotion::{Intent, PullRequest};
use kube::ResourceExt;

use super::act::{Actor, outcome_of};
use super::judge::Outcome;
use super::request;
use crate::change::{Request, Workspace};
use crate::hosts::{Api, HostError, Place, Proposal, PullRequests, PullState, branch_name};
use crate::source;

impl Actor<'_> {
    async fn pulls(&self) -> Result<PullRequests, Outcome> {
        let settings = self.pipeline.spec.commit.pull_request.as_ref();
        let settings = settings.ok_or_else(|| {
            Outcome::Refused(
                "there is no commit.pullRequest in the Pipeline that says where pull requests are opened".to_owned(),
            )
        })?;
        let repository = self
            .sight
            .repository()
            .ok_or_else(|| Outcome::Away("the source of the Pipeline is not there".to_owned()))?;
        let place = Place::of(&repository.spec.url)
            .map_err(|error| Outcome::Impossible(error.to_string()))?;
        let secret = &settings.secret_ref.name;
        let problem =
            |why: String| Outcome::Away(format!("commit.pullRequest.secretRef '{secret}': {why}"));
        let data = source::read_secret(self.hub, self.namespace, secret)
            .await
            .map_err(problem)?;
        let text = |key: &str| {
            let bytes = data.get(key)?.clone();
            String::from_utf8(bytes).ok()
        };
        let token = text("token").ok_or_else(|| problem("there is no key 'token'".to_owned()))?;
        let base = settings.api_url.clone();
        let base = base.unwrap_or_else(|| place.api(settings.provider));
        let authority = text("ca.crt");
        let outbound = self.context.outbound.clone();
        let api = Api::new(outbound, &base, &token, authority.as_deref())
            .map_err(|error| host(&error))?;
        Ok(PullRequests::new(settings.provider, place, api))
    }

    /// Commits to a branch of its own and opens a pull request, unless that is done.
    pub(super) async fn propose(
        &self,
        workspace: &Workspace,
        mirror: &Arc<Mirror>,
        request: &Request<'_>,
        intent: Intent,
    ) -> Result<Outcome, Outcome> {
        let pulls = self.pulls().await?;
        let name = branch_name(
            self.namespace,
            &self.promotion.name_any(),
            &self.promotion.uid().unwrap_or_default(),
            intent == Intent::Rollback,
        );
        let proposed = workspace.propose(request, &name).await;
        let (committed, branch) = proposed.map_err(|error| outcome_of(&error))?;
        if branch == workspace.branch() {
            let url = self
                .status
                .pull_request
                .as_ref()
                .map(|known| known.url.clone());
            return Ok(self.committed(mirror, intent, committed, url).await);
        }
        let text = request.message.text(&committed.changes);
        let (title, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let proposal = Proposal {
            branch: &branch,
            base: workspace.branch(),
            title,
            body,
        };
        let pull = pulls.open(&proposal).await.map_err(|error| host(&error))?;
        match pull.state {
            PullState::Closed => Ok(Outcome::Closed),
            PullState::Open => Ok(Outcome::Opened(PullRequest {
                url: pull.url,
                number: i64::try_from(pull.number).unwrap_or(i64::MAX),
                branch,
                kind: intent,
            })),
            PullState::Merged(sha) => self.merged(intent, sha, pull.url).await,
        }
    }

    /// What became of the pull request.
    pub(super) async fn poll(&self) -> Result<Outcome, Outcome> {
        let Some(known) = &self.status.pull_request else {
            return Ok(Outcome::Absent);
        };
        let pulls = self.pulls().await?;
        let number = u64::try_from(known.number).unwrap_or_default();
        let pull = pulls.read(number).await.map_err(|error| host(&error))?;
        match pull.state {
            PullState::Open => Ok(Outcome::Waiting),
            PullState::Closed => Ok(Outcome::Closed),
            PullState::Merged(sha) => self.merged(known.kind, sha, pull.url).await,
        }
    }

    /// Closes the pull request, unless it is merged.
    pub(super) async fn close(&self) -> Result<Outcome, Outcome> {
        let Some(known) = &self.status.pull_request else {
            return Ok(Outcome::Closed);
        };
        let pulls = self.pulls().await?;
        let number = u64::try_from(known.number).unwrap_or_default();
        let pull = pulls.close(number).await.map_err(|error| host(&error))?;
        match pull.state {
            PullState::Open => Ok(Outcome::Waiting),
            PullState::Closed => Ok(Outcome::Closed),
            PullState::Merged(sha) => self.merged(known.kind, sha, pull.url).await,
        }
    }

    /// What a merge brought: found by its trailers, else by the commit that the host names.
    async fn merged(
        &self,
        intent: Intent,
        sha: Option<String>,
        url: String,
    ) -> Result<Outcome, Outcome> {
        let (workspace, mirror) = self.workspace().await?;
        let head = workspace
            .fetch()
            .await
            .map_err(|error| outcome_of(&error))?;
        let mark = request::mark(self.promotion, intent);
        let found = workspace
            .find(head, self.since(intent), &mark)
            .await
            .map_err(|error| outcome_of(&error))?;
        let by_host = sha
            .and_then(|sha| sha.parse().ok())
            .filter(|commit| mirror.repository().contains(*commit));
        let (Some(commit), known) = (by_host.or(found.as_ref().map(|one| one.id)), found) else {
            return Ok(Outcome::Away(
                "the pull request is merged, and the branch does not show it yet".to_owned(),
            ));
        };
        let of = mirror
            .repository()
            .commit(commit)
            .map_err(|error| Outcome::Away(error.to_string()))?;
        let parent = of.parents.first().copied();
        let changes = match (parent, known.is_some()) {
            (Some(parent), _) => self.changes_on(&workspace, parent, intent).await?,
            (None, _) => Vec::new(),
        };
        Ok(Outcome::Committed {
            intent,
            sha: commit.to_string(),
            parent: parent.map(|parent| parent.to_string()),
            changes,
            version: self.version_in(&mirror, commit).await,
            pull_request: Some(url),
        })
    }
}

fn host(error: &HostError) -> Outcome {
    let message = format!("{error}\nhint: {}", error.hint());
    match error {
        HostError::Refused { .. } => Outcome::Refused(message),
        _ => Outcome::Away(message),
    }
}
