//! Pull requests (GitLab: merge requests) of promotions.

use fairway_types::pipeline::GitProvider;
use http::Method;
use serde_json::{Value, json};

use super::api::{Api, encoded};
use super::error::HostError;
use super::place::Place;

/// The pull requests of one repository.
#[derive(Debug, Clone)]
pub struct PullRequests {
    provider: GitProvider,
    place: Place,
    api: Api,
}

/// What is asked to be merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal<'a> {
    /// The branch with the commit.
    pub branch: &'a str,
    /// The branch that it is to be merged into.
    pub base: &'a str,
    /// One line.
    pub title: &'a str,
    /// Markdown.
    pub body: &'a str,
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Its number in the repository.
    pub number: u64,
    /// For people.
    pub url: String,
    /// What became of it.
    pub state: PullState,
}

/// What became of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullState {
    /// It waits.
    Open,
    /// It is merged; the commit on the base branch, once the host says it.
    Merged(Option<String>),
    /// Somebody closed it without merging.
    Closed,
}

/// The name of a promotion's branch: nothing else has it, and it is the same each time.
pub fn branch_name(namespace: &str, promotion: &str, uid: &str, is_rollback: bool) -> String {
    let short: String = uid
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(8)
        .collect();
    let kind = if is_rollback { "rollback" } else { "promote" };
    format!("fairway/{kind}/{namespace}/{promotion}-{short}")
}

impl PullRequests {
    /// Those of a repository on a host.
    pub fn new(provider: GitProvider, place: Place, api: Api) -> Self {
        Self {
            provider,
            place,
            api,
        }
    }

    fn list_path(&self) -> String {
        let Place { owner, name, .. } = &self.place;
        match self.provider {
            GitProvider::GitHub => format!("/repos/{}/{}/pulls", encoded(owner), encoded(name)),
            GitProvider::GitLab => {
                let project = encoded(&format!("{owner}/{name}"));
                format!("/projects/{project}/merge_requests")
            }
        }
    }

    fn path(&self, number: u64) -> String {
        format!("{}/{number}", self.list_path())
    }

    /// The pull request of a branch: the one that is open, else the one that was merged, else the newest.
    pub async fn find(&self, branch: &str, base: &str) -> Result<Option<Pull>, HostError> {
        let what = format!("find the pull request of {branch}");
        let list = self.list_path();
        let path = match self.provider {
            GitProvider::GitHub => {
                let head = encoded(&format!("{}:{branch}", self.place.owner));
                format!("{list}?state=all&head={head}&base={}", encoded(base))
            }
            GitProvider::GitLab => format!(
                "{list}?state=all&source_branch={}&target_branch={}",
                encoded(branch),
                encoded(base)
            ),
        };
        let (of_branch, of_base) = match self.provider {
            GitProvider::GitHub => ("/head/ref", "/base/ref"),
            GitProvider::GitLab => ("/source_branch", "/target_branch"),
        };
        let mut best: Option<Pull> = None;
        for item in self.api.list(&path, &what).await? {
            // A host that does not know the filters answers with all of them.
            let is = |pointer: &str, name: &str| {
                item.pointer(pointer).and_then(Value::as_str) == Some(name)
            };
            if !is(of_branch, branch) || !is(of_base, base) {
                continue;
            }
            let pull = self.pull(&item, &what)?;
            let rank = |pull: &Pull| match pull.state {
                PullState::Open => (2, pull.number),
                PullState::Merged(_) => (1, pull.number),
                PullState::Closed => (0, pull.number),
            };
            if best.as_ref().is_none_or(|known| rank(known) < rank(&pull)) {
                best = Some(pull);
            }
        }
        match best {
            // A list does not say which commit merged it.
            Some(pull) if matches!(pull.state, PullState::Merged(None)) => {
                self.read(pull.number).await.map(Some)
            }
            best => Ok(best),
        }
    }

    /// Opens a pull request, unless there is (or was) one of this branch: then that one, whatever became of it.
    pub async fn open(&self, proposal: &Proposal<'_>) -> Result<Pull, HostError> {
        let Proposal {
            branch,
            base,
            title,
            body,
        } = proposal;
        if let Some(pull) = self.find(branch, base).await? {
            return Ok(pull);
        }
        let what = format!("open a pull request of {branch}");
        let title: String = title.chars().take(250).collect();
        let request = match self.provider {
            GitProvider::GitHub => {
                json!({"title": title, "body": body, "head": branch, "base": base})
            }
            GitProvider::GitLab => json!({
                "title": title, "description": body, "source_branch": branch, "target_branch": base,
                "remove_source_branch": true,
            }),
        };
        let reply = self
            .api
            .call(Method::POST, &self.list_path(), Some(&request), &what)
            .await?;
        if reply.is_success() {
            return self.pull(&reply.body, &what);
        }
        // Somebody was faster, or the answer to an earlier try was lost (GitHub 422, GitLab 409).
        if matches!(reply.status, 409 | 422)
            && let Some(pull) = self.find(branch, base).await?
        {
            return Ok(pull);
        }
        Err(self.api.refused(&reply, &what))
    }

    /// What became of a pull request.
    pub async fn read(&self, number: u64) -> Result<Pull, HostError> {
        let what = format!("read pull request {number}");
        let item = self
            .api
            .must(Method::GET, &self.path(number), None, &what)
            .await?;
        self.pull(&item, &what)
    }

    /// Says something on a pull request.
    pub async fn comment(&self, number: u64, text: &str) -> Result<(), HostError> {
        let what = format!("comment on pull request {number}");
        let Place { owner, name, .. } = &self.place;
        let path = match self.provider {
            GitProvider::GitHub => format!(
                "/repos/{}/{}/issues/{number}/comments",
                encoded(owner),
                encoded(name)
            ),
            GitProvider::GitLab => format!("{}/notes", self.path(number)),
        };
        let body = json!({"body": text});
        self.api
            .must(Method::POST, &path, Some(&body), &what)
            .await?;
        Ok(())
    }

    /// Closes a pull request without merging it; one that is not open any more stays as it is.
    pub async fn close(&self, number: u64) -> Result<Pull, HostError> {
        let pull = self.read(number).await?;
        if pull.state != PullState::Open {
            return Ok(pull);
        }
        let what = format!("close pull request {number}");
        let (method, body) = match self.provider {
            GitProvider::GitHub => (Method::PATCH, json!({"state": "closed"})),
            GitProvider::GitLab => (Method::PUT, json!({"state_event": "close"})),
        };
        let item = self
            .api
            .must(method, &self.path(number), Some(&body), &what)
            .await?;
        self.pull(&item, &what)
    }

    fn pull(&self, item: &Value, what: &str) -> Result<Pull, HostError> {
        let text = |field: &str| {
            let value = item[field].as_str();
            value.filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let (number, url) = match self.provider {
            GitProvider::GitHub => ("number", "html_url"),
            GitProvider::GitLab => ("iid", "web_url"),
        };
        let state = text("state").ok_or_else(|| self.api.odd("state", what))?;
        let state = match (self.provider, state.as_str()) {
            (GitProvider::GitHub, "open") | (GitProvider::GitLab, "opened" | "locked") => {
                PullState::Open
            }
            (GitProvider::GitLab, "merged") => {
                // Fast-forward merges have no commit of their own.
                let commits = ["merge_commit_sha", "squash_commit_sha", "sha"];
                PullState::Merged(commits.into_iter().find_map(text))
            }
            // Before the merge that field is GitHub's trial of one.
            (GitProvider::GitHub, _) if item["merged"] == true || item["merged_at"].is_string() => {
                PullState::Merged(text("merge_commit_sha"))
            }
            _ => PullState::Closed,
        };
        Ok(Pull {
            number: item[number]
                .as_u64()
                .ok_or_else(|| self.api.odd(number, what))?,
            url: text(url).ok_or_else(|| self.api.odd(url, what))?,
            state,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::branch_name;

    #[test]
    fn a_branch_is_the_promotions_own() {
        let uid = "5ac91f0e-0a1b-4c2d-8e3f-000000000000";
        let name = branch_name("flux-system", "myapp-prod-7", uid, false);
        assert_eq!(name, "fairway/promote/flux-system/myapp-prod-7-5ac91f0e");
        assert_ne!(name, branch_name("flux-system", "myapp-prod-7", uid, true));
        assert!(fairway_git::Reference::Branch(name).check().is_ok());
    }
}
