//! GitHub and GitLab: the repository and its deploy key, by their API.

use fairway_controller::hosts::encoded;
use http::Method;
use serde_json::{Value, json};

use super::http::Api;
use crate::args::HostedArgs;
use crate::exit::{Hinted, Misuse};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    GitHub,
    GitLab,
}

/// A Git host with an API.
pub(super) struct Host {
    kind: Kind,
    api: Api,
    token: String,
}

/// A repository on a host.
pub(super) struct Hosted {
    /// URL for https.
    pub(super) https: String,
    /// URL for ssh.
    pub(super) ssh: String,
    /// Whether it was made just now.
    pub(super) made: bool,
}

impl Host {
    /// GitHub, or a GitHub Enterprise server.
    pub(super) fn github(args: &HostedArgs) -> anyhow::Result<Self> {
        let base = match args.hostname.as_deref() {
            None | Some("github.com") => "https://api.github.com".to_owned(),
            Some(host) => format!("https://{host}/api/v3"),
        };
        Self::new(Kind::GitHub, args, base, "GITHUB_TOKEN")
    }

    /// GitLab.
    pub(super) fn gitlab(args: &HostedArgs) -> anyhow::Result<Self> {
        let host = args.hostname.as_deref().unwrap_or("gitlab.com");
        Self::new(
            Kind::GitLab,
            args,
            format!("https://{host}/api/v4"),
            "GITLAB_TOKEN",
        )
    }

    fn new(kind: Kind, args: &HostedArgs, base: String, variable: &str) -> anyhow::Result<Self> {
        let token = std::env::var(variable)
            .ok()
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty())
            .ok_or_else(|| Misuse(format!("{variable} is not set: export a token of the host that may create and push to repositories")))?;
        let base = args.api_url.clone().unwrap_or(base);
        let api = Api::new(&base, &token, args.sync.ca_file.as_deref())?;
        Ok(Self { kind, api, token })
    }

    /// The token.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// The repository, made where it is missing.
    pub(super) async fn repository(&self, args: &HostedArgs) -> anyhow::Result<Hosted> {
        let what = format!("read repository {}/{}", args.owner, args.repository);
        let (answer, made) = match self.api.get(&self.place(args), &what).await? {
            Some(answer) => (answer, false),
            None => (self.make(args).await?, true),
        };
        let (https, ssh) = match self.kind {
            Kind::GitHub => ("clone_url", "ssh_url"),
            Kind::GitLab => ("http_url_to_repo", "ssh_url_to_repo"),
        };
        let url = |field: &str| {
            answer[field].as_str().map(str::to_owned).ok_or_else(|| {
                anyhow::anyhow!(
                    "failed to {what}: the answer has no {field}; is this the host's API?"
                )
            })
        };
        let (https, ssh) = (url(https)?, url(ssh)?);
        let is_local =
            https.starts_with("http://127.0.0.1") || https.starts_with("http://localhost");
        if !https.starts_with("https://") && !is_local {
            return Err(Hinted::new(
                format!("{https} would carry the token in clear"),
                "let the host serve its repositories by https; nothing was changed",
            )
            .into());
        }
        Ok(Hosted { https, ssh, made })
    }

    fn place(&self, args: &HostedArgs) -> String {
        match self.kind {
            Kind::GitHub => format!(
                "/repos/{}/{}",
                encoded(&args.owner),
                encoded(&args.repository)
            ),
            Kind::GitLab => format!(
                "/projects/{}",
                encoded(&format!("{}/{}", args.owner, args.repository))
            ),
        }
    }

    async fn make(&self, args: &HostedArgs) -> anyhow::Result<Value> {
        let what = format!("create repository {}/{}", args.owner, args.repository);
        match self.kind {
            Kind::GitHub => {
                let body =
                    json!({"name": args.repository, "private": args.private, "auto_init": false});
                let path = if args.personal {
                    self.check_user(&args.owner).await?;
                    "/user/repos".to_owned()
                } else {
                    format!("/orgs/{}/repos", encoded(&args.owner))
                };
                self.api.must(Method::POST, &path, Some(&body), &what).await
            }
            Kind::GitLab => {
                let visibility = if args.private { "private" } else { "public" };
                let mut body = json!({"name": args.repository, "path": args.repository, "visibility": visibility});
                if args.personal {
                    self.check_user(&args.owner).await?;
                } else {
                    let path = format!("/namespaces/{}", encoded(&args.owner));
                    let namespace = self.api.must(Method::GET, &path, None, &what).await?;
                    body["namespace_id"] = namespace["id"].clone();
                }
                self.api
                    .must(Method::POST, "/projects", Some(&body), &what)
                    .await
            }
        }
    }

    /// A personal repository lands with whoever the token is of.
    async fn check_user(&self, owner: &str) -> anyhow::Result<()> {
        let user = self
            .api
            .must(Method::GET, "/user", None, "read whose the token is")
            .await?;
        let field = match self.kind {
            Kind::GitHub => "login",
            Kind::GitLab => "username",
        };
        match user[field].as_str() {
            Some(login) if login.eq_ignore_ascii_case(owner) => Ok(()),
            login => Err(Hinted::new(
                format!("the token is of {}, not of {owner}", login.unwrap_or("somebody else")),
                "give --owner the token's user, or leave --personal out for an organisation or group; nothing was changed",
            )
            .into()),
        }
    }

    /// Host keys that the API tells; none where it does not.
    pub(super) async fn known_hosts(&self, name: &str) -> anyhow::Result<Option<String>> {
        if self.kind == Kind::GitLab {
            return Ok(None);
        }
        // Some hosts don't tell; then the host itself is asked.
        let answer = self.api.get("/meta", "read the host keys").await;
        let keys: Vec<String> = answer.unwrap_or_default().unwrap_or_default()["ssh_keys"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|key| Some(format!("{name} {}\n", key.as_str()?)))
            .collect();
        Ok((!keys.is_empty()).then(|| keys.concat()))
    }

    /// Makes sure that the repository lets the key in; whether it was added.
    pub(super) async fn deploy_key(
        &self,
        args: &HostedArgs,
        title: &str,
        public: &str,
    ) -> anyhow::Result<bool> {
        let what = format!("add a deploy key to {}/{}", args.owner, args.repository);
        let list = match self.kind {
            Kind::GitHub => format!("{}/keys", self.place(args)),
            Kind::GitLab => format!("{}/deploy_keys", self.place(args)),
        };
        let known = self.api.list(&list, &what).await?;
        let is_there = known
            .iter()
            .any(|key| key["key"].as_str().is_some_and(|key| same_key(key, public)));
        if is_there {
            return Ok(false);
        }
        let body = match self.kind {
            Kind::GitHub => {
                json!({"title": title, "key": public, "read_only": !args.read_write_key})
            }
            Kind::GitLab => json!({"title": title, "key": public, "can_push": args.read_write_key}),
        };
        self.api
            .must(Method::POST, &list, Some(&body), &what)
            .await?;
        Ok(true)
    }
}

/// Whether two lines name the same public key, whatever their comments.
fn same_key(a: &str, b: &str) -> bool {
    let parts = |text: &str| -> Vec<String> {
        text.split_whitespace().take(2).map(str::to_owned).collect()
    };
    parts(a) == parts(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_without_comments() {
        assert!(same_key("ssh-ed25519 AAAA a@b", "ssh-ed25519 AAAA\n"));
        assert!(!same_key("ssh-ed25519 AAAA", "ssh-ed25519 BBBB"));
    }
}
