//! Artifacts of other controllers: downloaded, checked, read.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use fairway_git::{Limits, TreeView};
use fairway_types::git_repository::Artifact;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};

use super::ArtifactOptions;
use super::digest::{Unusable, expected};

/// How long a server may say nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a download may take.
const LONGEST: Duration = Duration::from_mins(10);

/// Why somebody else's artifact can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// It is not there (any more): its owner is about to name another one.
    #[error("artifact not found: {0}")]
    NotFound(String),
    /// The address is of no use.
    #[error("invalid artifact URL '{url}': {why}")]
    InvalidUrl {
        /// The address.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server can't be reached, or did not go on.
    #[error("failed to download archive: {0}")]
    Unreachable(String),
    /// The server refused.
    #[error("failed to download archive from {url} (status: {status})")]
    Refused {
        /// The address.
        url: String,
        /// The answer.
        status: StatusCode,
    },
    /// It is bigger than allowed.
    #[error("artifact is greater than the max download size of {0} bytes")]
    TooBig(u64),
    /// The digest is missing, or of a kind that is not known.
    #[error("failed to verify archive: {0}")]
    Digest(#[from] Unusable),
    /// It is not what its owner says that it is.
    #[error("failed to verify archive: computed digest doesn't match provided '{0}'")]
    Mismatch(String),
    /// It is no archive, or not one that is safe to read.
    #[error("failed to extract archive: {0}")]
    Archive(#[from] fairway_git::ArchiveError),
    /// The disk is full, or the like.
    #[error("failed to keep archive: {0}")]
    Io(#[from] std::io::Error),
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// Fetches artifacts.
#[derive(Debug)]
pub struct Fetcher {
    /// Made when there is something to fetch: most engines never have.
    client: OnceLock<HttpClient>,
    folder: PathBuf,
    max_download: u64,
    limits: Limits,
}

impl Fetcher {
    /// A fetcher that keeps what it downloads in `folder`, in files without names.
    pub fn new(folder: PathBuf, options: &ArtifactOptions) -> std::io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        Ok(Self {
            client: OnceLock::new(),
            folder,
            max_download: options.max_download,
            limits: Limits {
                bytes: options.max_unpacked,
                ..Limits::default()
            },
        })
    }

    /// Downloads an artifact, checks its digest and shows what is in it.
    pub async fn fetch(&self, artifact: &Artifact) -> Result<TreeView, FetchError> {
        let late =
            |_| FetchError::Unreachable(format!("{} took longer than {LONGEST:?}", artifact.url));
        tokio::time::timeout(LONGEST, self.fetch_now(artifact))
            .await
            .map_err(late)?
    }

    async fn fetch_now(&self, artifact: &Artifact) -> Result<TreeView, FetchError> {
        let (mut hasher, wanted) = expected(&artifact.digest)?;
        let url = &artifact.url;
        let invalid = |why: String| FetchError::InvalidUrl {
            url: url.clone(),
            why,
        };
        let uri: Uri = url
            .parse()
            .map_err(|error: http::uri::InvalidUri| invalid(error.to_string()))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(invalid("it is neither http nor https".to_owned()));
        }
        let request = Request::get(uri)
            .header("user-agent", concat!("fairway/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| invalid(error.to_string()))?;
        let unreachable =
            |error: &dyn std::fmt::Display| FetchError::Unreachable(format!("{url}: {error}"));
        let silent =
            |_| FetchError::Unreachable(format!("{url}: nothing was heard for {PATIENCE:?}"));
        let answer =
            tokio::time::timeout(PATIENCE, self.client.get_or_init(client).request(request))
                .await
                .map_err(silent)?;
        let response = answer.map_err(|error| {
            // The cause says more than "client error (Connect)".
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            unreachable(&cause.unwrap_or_else(|| error.to_string()))
        })?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(FetchError::NotFound(url.clone())),
            status => {
                return Err(FetchError::Refused {
                    url: url.clone(),
                    status,
                });
            }
        }
        let mut file = tempfile::tempfile_in(&self.folder)?;
        let mut size = 0;
        let mut body = response.into_body();
        loop {
            let frame = tokio::time::timeout(PATIENCE, body.frame())
                .await
                .map_err(silent)?;
            let Some(frame) = frame else { break };
            let Ok(data) = frame.map_err(|error| unreachable(&error))?.into_data() else {
                continue;
            };
            size += data.len() as u64;
            if size > self.max_download {
                return Err(FetchError::TooBig(self.max_download));
            }
            hasher.update(&data);
            file.write_all(&data)?;
        }
        if hasher.finish() != wanted {
            return Err(FetchError::Mismatch(wanted));
        }
        let (folder, limits) = (self.folder.clone(), self.limits);
        tokio::task::spawn_blocking(move || {
            file.seek(SeekFrom::Start(0))?;
            Ok(TreeView::from_archive(file, &folder, limits)?)
        })
        .await
        .map_err(|error| FetchError::Unreachable(error.to_string()))?
    }
}

fn client() -> HttpClient {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(PATIENCE));
    let provider = rustls::crypto::aws_lc_rs::default_provider;
    let native = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider());
    let builder = native.unwrap_or_else(|error| {
        // A machine that trusts nobody; Flux's artifacts are served over plain HTTP.
        tracing::debug!(%error, "there are no certificates of authorities on this machine");
        let nobody = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .expect("aws-lc knows the default versions of TLS")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        HttpsConnectorBuilder::new().with_tls_config(nobody)
    });
    let https = builder.https_or_http().enable_http1().wrap_connector(http);
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(1)
        .pool_idle_timeout(Duration::from_secs(15))
        .build(https)
}
