//! How a repository is reached: which mirror, as whom, through which proxy.

use std::collections::BTreeMap;
use std::sync::Arc;

use fairway_git::{Credentials, Mirror, Remote};
use fairway_types::names::reason;
use fairway_types::{GitRepository, GitRepositorySpec};
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;

use super::credentials;
use super::github_app::{App, AppError};
use super::judge::{About, Failure};
use crate::context::Context;
use crate::home::{Home, Key};
use crate::options::Remotes;
use crate::outbound::Trust;

/// Keys of a Secret that is for a GitHub App.
const GITHUB_APP: &str = "githubAppID";

/// The mirror for the object's URL and credential.
pub(super) async fn mirror(
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

fn failed(message: String) -> Failure {
    Failure::failed(About::Fetch, reason::AUTHENTICATION_FAILED, message)
}

async fn credentials_of(
    context: &Arc<Context>,
    home: &Home,
    key: &Key,
    spec: &GitRepositorySpec,
) -> Result<Credentials, Failure> {
    let proxy = match &spec.proxy_secret_ref {
        None => None,
        Some(secret) => {
            let refused = |why: String| failed(format!("failed to configure proxy options: {why}"));
            let data = read(home, &key.namespace, &secret.name)
                .await
                .map_err(|why| {
                    refused(format!(
                        "failed to get secret '{}/{}': {why}",
                        key.namespace, secret.name
                    ))
                })?;
            if !spec.url.starts_with("http://") && !spec.url.starts_with("https://") {
                let message = "spec.proxySecretRef is for http and https only; hint: leave it out, or use an https URL";
                return Err(Failure::stalled(
                    About::Fetch,
                    reason::AUTHENTICATION_FAILED,
                    message,
                ));
            }
            let url = credentials::proxy(&data).map_err(|error| {
                refused(format!(
                    "invalid proxy secret '{}/{}': {error}",
                    key.namespace, secret.name
                ))
            })?;
            Some(url)
        }
    };
    let data = match &spec.secret_ref {
        None => None,
        Some(secret) => {
            let name = format!("{}/{}", key.namespace, secret.name);
            let missing = |why: String| failed(format!("failed to get secret '{name}': {why}"));
            match read(home, &key.namespace, &secret.name).await {
                Ok(data) => Some(data),
                Err(why) => match context.bootstrap_credentials(key, &spec.url).await {
                    Some(data) => Some(data),
                    None => return Err(missing(why)),
                },
            }
        }
    };
    let is_app = provider(spec, key, data.as_ref())?;
    let is_ssh = !spec.url.starts_with("http://") && !spec.url.starts_with("https://");
    let mut credentials = match data {
        data if is_app => app_credentials(context, key, spec, data).await?,
        None if is_ssh && spec.url.contains("://") && !spec.url.starts_with("file://") => {
            return Err(failed(
                "failed to configure authentication options: invalid 'ssh' auth option: 'identity' is required".to_owned(),
            ));
        }
        None => Credentials::none(),
        Some(data) => credentials::from_secret(&spec.url, &data).map_err(|error| {
            failed(format!(
                "failed to configure authentication options: {error}"
            ))
        })?,
    };
    if let Some(proxy) = proxy {
        credentials = credentials.with_proxy(&proxy);
    }
    Ok(credentials)
}

/// The credentials of a GitHub App, with a token that lasts for the fetch.
async fn app_credentials(
    context: &Context,
    key: &Key,
    spec: &GitRepositorySpec,
    data: Option<BTreeMap<String, Vec<u8>>>,
) -> Result<Credentials, Failure> {
    let reason = reason::INVALID_PROVIDER_CONFIGURATION;
    let (Some(secret), Some(data)) = (&spec.secret_ref, data) else {
        let message =
            "secretRef with github app data must be specified when provider is set to github";
        return Err(Failure::failed(About::Fetch, reason, message));
    };
    if !spec.url.starts_with("https://") && !spec.url.starts_with("http://") {
        let message = "spec.provider 'github' needs an https URL";
        return Err(Failure::stalled(About::Fetch, reason, message));
    }
    let wrong = |error: AppError| {
        let secret = format!("secret '{}/{}'", key.namespace, secret.name);
        failed(format!(
            "failed to configure authentication options: {secret}: {error}"
        ))
    };
    let app = App::from_secret(&data).map_err(wrong)?;
    let trust = Trust::from_secret(&data).map_err(|error| wrong(error.into()))?;
    let now = (context.clock)();
    let token = context
        .apps
        .password(&app, &context.outbound, &trust, now)
        .await;
    // Certificates are for the API and for git alike; a user in the same Secret is not for this.
    let tls = ["ca.crt", "caFile", "tls.crt", "tls.key"];
    let tls = data
        .into_iter()
        .filter(|(key, _)| tls.contains(&key.as_str()))
        .collect();
    let credentials = credentials::from_secret(&spec.url, &tls).map_err(|error| {
        failed(format!(
            "failed to configure authentication options: {error}"
        ))
    })?;
    Ok(credentials.with_renewed(token.map_err(wrong)?))
}

/// Whether the Secret is for a GitHub App. Other providers that exchange an identity for a token are not there: better to
/// say so than to try without.
fn provider(
    spec: &GitRepositorySpec,
    key: &Key,
    data: Option<&BTreeMap<String, Vec<u8>>>,
) -> Result<bool, Failure> {
    let reason = reason::INVALID_PROVIDER_CONFIGURATION;
    match spec.provider.as_deref() {
        None | Some("generic") => {
            let is_app =
                data.is_some_and(|data| data.get(GITHUB_APP).is_some_and(|id| !id.is_empty()));
            if !is_app {
                return Ok(false);
            }
            let name = spec
                .secret_ref
                .as_ref()
                .map_or("", |secret| secret.name.as_str());
            let message = format!(
                "secretRef '{}/{name}' has github app data but provider is not set to github",
                key.namespace
            );
            Err(Failure::failed(About::Fetch, reason, message))
        }
        Some("github") => Ok(true),
        Some(provider) => {
            let instead = match provider {
                "azure" => {
                    "a personal access token of Azure DevOps as username and password, or an ssh key"
                }
                _ => "Git credentials for CodeCommit as username and password, or an ssh key",
            };
            let message = format!(
                "spec.provider '{provider}' is not supported\nhint: use provider 'generic' and a secretRef with {instead}"
            );
            Err(Failure::stalled(About::Fetch, reason, message))
        }
    }
}

/// The mirror for the object's URL and credential, or why there is none.
pub(crate) async fn mirror_of(
    context: &Arc<Context>,
    home: &Home,
    key: &Key,
    object: &GitRepository,
) -> Result<Arc<Mirror>, String> {
    mirror(context, home, key, object)
        .await
        .map_err(|failure| failure.to_string())
}

/// The data of a Secret, or why there is none.
pub(crate) async fn read(
    home: &Home,
    namespace: &str,
    name: &str,
) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let api: Api<Secret> = Api::namespaced(home.connection.client(), namespace);
    let found = api.get_opt(name).await.map_err(|error| error.to_string())?;
    let secret = found.ok_or_else(|| format!("secrets \"{name}\" not found"))?;
    let data = secret.data.unwrap_or_default().into_iter();
    Ok(data.map(|(key, value)| (key, value.0)).collect())
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
    use crate::home::HomeId;

    #[test]
    fn urls_are_shown_without_user_information() {
        assert_eq!(redact("https://u:p@h/r"), "https://h/r");
        assert_eq!(redact("ssh://git@h:22/r"), "ssh://h:22/r");
    }

    #[test]
    fn providers_that_are_not_there_say_what_to_use() {
        let key = Key::new(&HomeId::Hub, "ns", "a");
        let of = |provider: Option<&str>, data: &[(&str, &str)]| {
            let spec = GitRepositorySpec {
                provider: provider.map(str::to_owned),
                ..GitRepositorySpec::default()
            };
            let data = data
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
                .collect();
            super::provider(&spec, &key, Some(&data))
        };
        assert!(!of(None, &[("username", "u")]).unwrap());
        assert!(!of(Some("generic"), &[]).unwrap());
        assert!(of(Some("github"), &[("githubAppID", "1")]).unwrap());
        for provider in ["azure", "aws"] {
            let error = of(Some(provider), &[]).unwrap_err();
            assert!(matches!(error, Failure::Stalled { .. }));
            assert!(
                error.to_string().contains("hint: use provider 'generic'"),
                "{error}"
            );
        }
        let error = of(None, &[("githubAppID", "1")]).unwrap_err();
        assert!(error.to_string().contains("has github app data"), "{error}");
    }
}
