//! A plain HTTPS client: what is sent and what comes back, untouched.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

/// No request of the suite takes this long.
const PATIENCE: Duration = Duration::from_mins(1);

type Https = Hyper<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// For one server, as its administrator.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    tls: ClientConfig,
    http1: Https,
    http2: Https,
    server: String,
    token: String,
    kubeconfig: String,
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Client {
    /// From a kubeconfig, whose first cluster and user count.
    pub(crate) fn new(kubeconfig: &str) -> Result<Self> {
        let config: Value = fairway_yaml::from_str(kubeconfig)?;
        let text = |pointer: &str| -> Result<String> {
            let value = config.pointer(pointer).and_then(Value::as_str);
            Ok(value.with_context(|| format!("no {pointer}"))?.to_owned())
        };
        let ca = base64::engine::general_purpose::STANDARD
            .decode(text("/clusters/0/cluster/certificate-authority-data")?)?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&ca) {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (http1, http2) = connections(&tls);
        Ok(Self {
            tls,
            http1,
            http2,
            server: text("/clusters/0/cluster/server")?,
            token: text("/users/0/user/token")?,
            kubeconfig: kubeconfig.to_owned(),
        })
    }

    /// The same with connections of its own: a kube-apiserver closes those on which it answered 401.
    pub(crate) fn apart(&self) -> Self {
        let (http1, http2) = connections(&self.tls);
        Self {
            http1,
            http2,
            ..self.clone()
        }
    }

    /// For `kubectl`.
    pub(crate) fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> &str {
        self.server.trim_start_matches("https://")
    }

    /// Sends one request and reads the whole answer.
    pub(crate) async fn send(
        &self,
        method: &Method,
        path: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
        http1: bool,
    ) -> Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.server));
        let named = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        if !named("authorization") {
            request = request.header("Authorization", format!("Bearer {}", self.token));
        }
        if !body.is_empty() && !named("content-type") {
            request = request.header("Content-Type", "application/json");
        }
        if !named("user-agent") {
            request = request.header("User-Agent", "conformance/v1");
        }
        for (name, value) in headers {
            // `Authorization: none` is somebody who says nothing of who they are.
            if value != "none" {
                request = request.header(name, value);
            }
        }
        let request = request.body(Full::new(body.into()))?;
        let client = if http1 { &self.http1 } else { &self.http2 };
        let answer = async {
            let (parts, body) = client.request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok(Answer {
                status: parts.status.as_u16(),
                headers: parts.headers,
                body,
            })
        };
        tokio::time::timeout(PATIENCE, answer)
            .await
            .with_context(|| format!("{method} {path} took too long"))?
    }
}

fn connections(tls: &ClientConfig) -> (Https, Https) {
    let connector = || {
        HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_only()
    };
    let client = |connector| Hyper::builder(TokioExecutor::new()).build(connector);
    (
        client(connector().enable_http1().build()),
        client(connector().enable_http2().build()),
    )
}
