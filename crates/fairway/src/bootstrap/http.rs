//! JSON over https to the API of a Git host, with a token. On the client that speaks to clusters: it has TLS, proxies and timeouts.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::config::AuthInfo;
use kube::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

use crate::exit::Hinted;

/// The most that an answer may hold, in bytes.
const LIMIT: usize = 8 << 20;

/// One host's API.
pub(super) struct Api {
    client: Client,
    base: String,
}

impl Api {
    /// `base` is the URL that paths are added to.
    pub(super) fn new(base: &str, token: &str, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let url: http::Uri = base.parse().with_context(|| format!("{base} is no URL"))?;
        let mut config = Config::new(url);
        config.connect_timeout = Some(Duration::from_secs(15));
        config.read_timeout = Some(Duration::from_mins(1));
        // Deserialised, so that this crate need not name the type that holds secrets.
        config.auth_info =
            serde_json::from_value::<AuthInfo>(serde_json::json!({ "token": token }))
                .context("the token cannot be sent")?;
        if let Some(file) = ca_file {
            let pem = super::read(file)?;
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes())
                .map(|one| one.map(|der| der.to_vec()))
                .collect();
            let certificates =
                certificates.map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
            config.root_cert = Some(certificates);
        }
        let client = Client::try_from(config).context("failed to set up the connection")?;
        Ok(Self {
            client,
            base: base.to_owned(),
        })
    }

    /// One request: status and JSON body.
    pub(super) async fn call(
        &self,
        method: http::Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(u16, Value)> {
        let content = body
            .map(serde_json::to_vec)
            .transpose()?
            .unwrap_or_default();
        let request = http::Request::builder()
            .method(method.clone())
            .uri(path)
            .header("accept", "application/json")
            .header("content-type", "application/json")
            .header("user-agent", concat!("fairway/", env!("CARGO_PKG_VERSION")))
            .body(Body::from(content))?;
        let failed = || format!("{method} {}{path} failed", self.base);
        let answer = self.client.send(request).await.map_err(|error| {
            Hinted::new(
                format!("{}: {}", failed(), root(&error)),
                "is the host right (--hostname), can it be reached from here, and does --ca-file name its authority?",
            )
        })?;
        let status = answer.status().as_u16();
        let body = http_body_util::Limited::new(answer.into_body(), LIMIT)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!("{}: {error}", failed()))?
            .to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// The same, where only success will do; `what` is what was to be done.
    pub(super) async fn must(
        &self,
        method: http::Method,
        path: &str,
        body: Option<&Value>,
        what: &str,
    ) -> anyhow::Result<Value> {
        let (status, answer) = self.call(method, path, body).await?;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        Err(self.explain(status, &answer, what))
    }

    /// An answer that is no success, in words.
    pub(super) fn explain(&self, status: u16, answer: &Value, what: &str) -> anyhow::Error {
        let said = match &answer["message"] {
            Value::String(text) => text.clone(),
            Value::Null => answer["error"].as_str().unwrap_or_default().to_owned(),
            other => other.to_string(),
        };
        let details = match answer["errors"].as_array() {
            Some(errors) if !errors.is_empty() => format!(" {}", answer["errors"]),
            _ => String::new(),
        };
        let hint = match status {
            401 => "the token is not accepted: is it of this host, and not expired?",
            403 => {
                "the token may not do that: on GitHub it needs the scope `repo` (or administration and contents, fine-grained), on GitLab `api`"
            }
            404 => {
                "the token sees no such owner or repository: is --owner right, and is --personal needed for a user?"
            }
            422 => "the host did not accept the names: are --owner and --repository right?",
            429 => "too many requests; wait a little",
            _ => "the host could not do it; try again later",
        };
        Hinted::new(
            format!(
                "failed to {what}: {} answered {status} {said}{details}",
                self.base
            ),
            format!("{hint}. Nothing was changed by this step"),
        )
        .into()
    }
}

/// The last cause says most.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
