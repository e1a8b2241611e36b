//! A cluster that trusts the hub's service account tokens: `spec.kubeConfig.configMapRef`, provider `generic`.
//!
//! ```text
//!   ConfigMap: address, ca.crt, audiences, serviceAccountName ──▶ TokenRequest on the hub ──▶ bearer token, renewed in time
//! ```
//!
//! No credential is stored anywhere: the token is asked for when it is needed and lives in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use fairway_apply::{Bearer, Connection, ConnectionError, Strictness};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::{Api, PostParams};
use kube::config::Kubeconfig;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;

use crate::home::Home;
use crate::options::{Options, Profile};

/// Why a ConfigMap does not lead to a cluster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there.
    #[error("failed to get configmap {0}: configmaps not found")]
    Absent(String),
    /// It could not be read.
    #[error("failed to get configmap {0}: {1}")]
    Unreadable(String, kube::Error),
    /// It asks for a cloud.
    #[error(
        "kubeConfig configmap {name}: provider '{provider}' is not supported here\n\
         hint: use provider 'generic', or a Secret with a kubeconfig (spec.kubeConfig.secretRef)"
    )]
    Provider {
        /// Namespace and name.
        name: String,
        /// What it says.
        provider: String,
    },
    /// A key is missing or makes no sense.
    #[error("kubeConfig configmap {name}: {reason}")]
    Invalid {
        /// Namespace and name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The connection cannot be made from it.
    #[error("kubeConfig configmap {name}: {error}")]
    Connection {
        /// Namespace and name.
        name: String,
        /// What is wrong.
        error: ConnectionError,
    },
    /// The hub does not say who this process is.
    #[error(
        "kubeConfig configmap {name}: cannot tell the controller's own service account: {reason}"
    )]
    Self_ {
        /// Namespace and name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent(_))
    }

    pub(super) fn is_unreadable(&self) -> bool {
        matches!(self, Self::Unreadable(..))
    }

    pub(super) fn is_misconfigured(&self) -> bool {
        matches!(
            self,
            Self::Provider { .. } | Self::Invalid { .. } | Self::Connection { .. }
        )
    }
}

/// What a ConfigMap says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cluster {
    /// Namespace and name of the ConfigMap, for messages.
    name: String,
    address: String,
    authority: Option<String>,
    audiences: Vec<String>,
    /// Namespace and name.
    account: (String, String),
}

/// Reads the ConfigMap, and finds out whose token is meant.
pub(super) async fn read(
    home: &Home,
    namespace: &str,
    name: &str,
    options: &Options,
) -> Result<Cluster, Error> {
    let client = home.connection.client();
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let whole = format!("{namespace}/{name}");
    let map = match api.get_opt(name).await {
        Ok(Some(map)) => map,
        Ok(None) => return Err(Error::Absent(whole)),
        Err(error) => return Err(Error::Unreadable(whole, error)),
    };
    let said = understand(&whole, &map.data.unwrap_or_default())?;
    let account = match said
        .account
        .or_else(|| options.default_kubeconfig_service_account.clone())
    {
        Some(account) => (namespace.to_owned(), account),
        None if options.profile == Profile::Locked => {
            return Err(Error::Invalid {
                name: whole,
                reason: "it has no serviceAccountName\nhint: name a service account of the same namespace, or a \
                         default with --default-kubeconfig-service-account"
                    .to_owned(),
            });
        }
        None => own_account(home, &whole).await?,
    };
    Ok(Cluster {
        name: whole,
        address: said.address,
        authority: said.authority,
        audiences: said.audiences,
        account,
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Said {
    address: String,
    authority: Option<String>,
    audiences: Vec<String>,
    account: Option<String>,
}

fn understand(name: &str, data: &BTreeMap<String, String>) -> Result<Said, Error> {
    let invalid = |reason: &str| Error::Invalid {
        name: name.to_owned(),
        reason: reason.to_owned(),
    };
    let text = |key: &str| data.get(key).map(|value| value.trim());
    match text("provider").unwrap_or_default() {
        "generic" => {}
        "" => return Err(invalid("it has no provider; hint: write provider: generic")),
        provider => {
            return Err(Error::Provider {
                name: name.to_owned(),
                provider: provider.to_owned(),
            });
        }
    }
    let written = text("address").unwrap_or_default();
    if written.is_empty() {
        return Err(invalid(
            "it has no address, which the provider generic needs",
        ));
    }
    // A key that is there and empty is a mistake: taken for "not there", it would act as somebody else.
    let account = match text("serviceAccountName") {
        Some("") => return Err(invalid("its serviceAccountName is empty")),
        account => account.map(str::to_owned),
    };
    let mut audiences: Vec<String> = text("audiences")
        .unwrap_or_default()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    if audiences.is_empty() {
        audiences.push(written.to_owned());
    }
    Ok(Said {
        address: address(written)
            .ok_or_else(|| invalid(&format!("its address '{written}' is no https address")))?,
        authority: text("ca.crt")
            .filter(|text| !text.is_empty())
            .map(str::to_owned),
        audiences,
        account,
    })
}

/// `https://<host>:<port>`, as Flux reads an address.
fn address(written: &str) -> Option<String> {
    let whole = if written.starts_with("http") {
        written.to_owned()
    } else {
        format!("https://{written}")
    };
    let uri: http::Uri = whole.parse().ok()?;
    let host = uri.host().filter(|host| !host.is_empty())?.to_lowercase();
    let port = uri.port_u16().unwrap_or(443);
    (uri.scheme_str() == Some("https")).then(|| format!("https://{host}:{port}"))
}

/// Who this process is on the hub.
async fn own_account(home: &Home, name: &str) -> Result<(String, String), Error> {
    let api: Api<SelfSubjectReview> = Api::all(home.connection.client());
    let failed = |reason: String| Error::Self_ {
        name: name.to_owned(),
        reason,
    };
    let review = api
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .map_err(|error| failed(error.to_string()))?;
    let user = review
        .status
        .and_then(|status| status.user_info)
        .and_then(|info| info.username)
        .unwrap_or_default();
    match user.split(':').collect::<Vec<_>>()[..] {
        ["system", "serviceaccount", namespace, name] => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err(failed(format!(
            "'{user}' is no service account; hint: name one as serviceAccountName"
        ))),
    }
}

impl Cluster {
    /// Changes whenever another connection is needed.
    pub(super) fn digest(&self) -> [u8; 32] {
        let text = json!([self.address, self.authority, self.audiences, self.account]);
        Sha256::digest(text.to_string()).into()
    }

    /// A connection that brings a fresh token with each request. Nothing is sent yet.
    pub(super) async fn connect(
        self,
        home: &Home,
        strictness: Strictness,
    ) -> Result<Connection, Error> {
        let mut cluster = json!({"server": self.address});
        if let Some(authority) = &self.authority {
            cluster["certificate-authority-data"] =
                json!(ByteString(authority.clone().into_bytes()));
        }
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "cluster",
            "clusters": [{"name": "cluster", "cluster": cluster}],
            "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": "hub"}}],
            "users": [{"name": "hub", "user": {}}],
        });
        let invalid = |reason: String| Error::Invalid {
            name: self.name.clone(),
            reason,
        };
        let kubeconfig: Kubeconfig =
            serde_json::from_value(kubeconfig).map_err(|error| invalid(error.to_string()))?;
        let tokens = Tokens {
            api: Api::namespaced(home.connection.client(), &self.account.0),
            account: self.account.1.clone(),
            audiences: self.audiences.clone(),
            current: Mutex::default(),
        };
        Connection::from_kubeconfig_with_bearer(kubeconfig, strictness, Arc::new(tokens))
            .await
            .map_err(|error| Error::Connection {
                name: self.name.clone(),
                error,
            })
    }
}

/// The tokens of one service account of the hub.
struct Tokens {
    api: Api<ServiceAccount>,
    account: String,
    audiences: Vec<String>,
    current: Mutex<Option<Token>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("account", &self.account)
            .field("audiences", &self.audiences)
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Token {
    text: String,
    issued: Timestamp,
    renew: Timestamp,
    expires: Timestamp,
}

/// When four fifths of a token's life are over there is still time for a few tries.
fn renew_at(issued: Timestamp, expires: Timestamp) -> Timestamp {
    let life = expires.duration_since(issued);
    issued
        .checked_add(SignedDuration::from_secs(life.as_secs() * 4 / 5))
        .unwrap_or(expires)
}

impl Bearer for Tokens {
    fn token(&self) -> BoxFuture<'_, Result<String, String>> {
        async move {
            // Held while a new one is asked for: one request is enough for all who wait.
            let mut current = self.current.lock().await;
            let now = Timestamp::now();
            if let Some(token) = current.as_ref()
                && now < token.renew
            {
                return Ok(token.text.clone());
            }
            match self.request(now).await {
                Ok(token) => Ok(current.insert(token).text.clone()),
                Err(error) => match current.as_ref() {
                    Some(token) if now < token.expires => Ok(token.text.clone()),
                    _ => Err(error),
                },
            }
        }
        .boxed()
    }

    fn refused(&self) -> bool {
        let Ok(mut current) = self.current.try_lock() else {
            // Somebody is asking for another one.
            return true;
        };
        let old = current
            .as_ref()
            .is_some_and(|token| Timestamp::now().duration_since(token.issued) >= LEAST_AGE);
        if old {
            *current = None;
        }
        old
    }
}

/// A token that was refused is asked for again, but no more often than this.
const LEAST_AGE: SignedDuration = SignedDuration::from_secs(1);

impl Tokens {
    async fn request(&self, now: Timestamp) -> Result<Token, String> {
        let wanted = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(self.audiences.clone()),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let failed = |reason: String| {
            format!(
                "failed to create a token for service account '{}': {reason}",
                self.account
            )
        };
        let answer = self
            .api
            .create_token_request(&self.account, &PostParams::default(), &wanted)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let status = answer.status.unwrap_or_default();
        let (Some(text), Some(expires)) = (status.token, status.expiration_timestamp) else {
            return Err(failed("the hub answered without one".to_owned()));
        };
        let expires = expires.0;
        Ok(Token {
            text,
            issued: now,
            renew: renew_at(now, expires),
            expires,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pairs: &[(&str, &str)]) -> Result<Said, String> {
        let data = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        understand("ns/map", &data).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_are_read_as_flux_reads_them() {
        for (written, wanted) in [
            (
                "https://Api.Example.com",
                Some("https://api.example.com:443"),
            ),
            ("api.example.com:6443", Some("https://api.example.com:6443")),
            ("https://1.2.3.4:6443/path", Some("https://1.2.3.4:6443")),
            ("http://api.example.com", None),
            ("https://", None),
        ] {
            assert_eq!(address(written).as_deref(), wanted, "{written}");
        }
    }

    #[test]
    fn a_generic_cluster_defaults_its_audience_to_the_address() {
        let found = said(&[
            ("provider", "generic"),
            ("address", "https://a.example"),
            ("serviceAccountName", "ci"),
        ]);
        assert_eq!(
            found,
            Ok(Said {
                address: "https://a.example:443".into(),
                authority: None,
                audiences: vec!["https://a.example".into()],
                account: Some("ci".into()),
            })
        );
        let found = said(&[
            ("provider", "generic"),
            ("address", "a"),
            ("audiences", "x\n\n y \n"),
        ]);
        assert_eq!(found.unwrap().audiences, ["x", "y"]);
    }

    #[test]
    fn nothing_empty_is_taken_for_not_there() {
        for (pairs, wanted) in [
            (&[("address", "a")][..], "no provider"),
            (
                &[("provider", "aws"), ("cluster", "arn:x")],
                "provider 'aws' is not supported here",
            ),
            (&[("provider", "generic")], "no address"),
            (
                &[
                    ("provider", "generic"),
                    ("address", "a"),
                    ("serviceAccountName", " "),
                ],
                "serviceAccountName is empty",
            ),
        ] {
            let error = said(pairs).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn tokens_are_renewed_before_they_expire() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(renew_at(at(0), at(3600)), at(2880));
    }
}
