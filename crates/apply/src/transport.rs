//! HTTP to one API server: one pool for requests, further connections for watches, retries, counters.

mod verb;

use std::{
    fmt::Write as _,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kube::{Config, client::Body};
use secrecy::ExposeSecret as _;

pub(crate) use verb::Verb;

use crate::{
    connection::{ConnectionError, REQUEST_TIMEOUT},
    error::{RequestError, chain},
};

type Pool = HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Most watches that share one HTTP/2 connection; API servers allow 100 streams by default on some proxies.
const WATCHES_PER_CONNECTION: usize = 80;
/// Longest that setting up TCP may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A dead peer is noticed after this and [`PING_TIMEOUT`] together.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read, in bytes; a whole list of large objects stays below.
const MAX_ANSWER: usize = 512 * 1024 * 1024;
/// How often a request that the server put off (429, 503 with Retry-After) is sent in all.
const ATTEMPTS: u32 = 4;
/// Longest that the server's wish to wait is followed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long a token that was read from a file is used.
const TOKEN_FILE_TTL: Duration = Duration::from_mins(1);

enum Auth {
    None,
    Header(HeaderValue),
    TokenFile {
        path: String,
        cached: Mutex<Option<(HeaderValue, Instant)>>,
    },
}

/// HTTP to one API server. Shared by everything that talks to it.
pub(crate) struct Transport {
    server: String,
    base: Uri,
    connector: HttpsConnector<HttpConnector>,
    requests: Pool,
    watches: Mutex<Vec<WatchPool>>,
    auth: Auth,
    headers: Vec<(HeaderName, HeaderValue)>,
    counts: [AtomicU64; Verb::ALL.len()],
}

struct WatchPool {
    pool: Pool,
    streams: Arc<AtomicUsize>,
}

impl Transport {
    pub(crate) fn new(config: &Config, tls: rustls::ClientConfig) -> Result<Self, ConnectionError> {
        let server = config
            .cluster_url
            .to_string()
            .trim_end_matches('/')
            .to_owned();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(PING_INTERVAL));
        let builder = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http();
        let builder = match &config.tls_server_name {
            Some(name) => {
                let name =
                    rustls::pki_types::ServerName::try_from(name.clone()).map_err(|error| {
                        ConnectionError::Tls {
                            server: server.clone(),
                            reason: error.to_string(),
                        }
                    })?;
                builder.with_server_name_resolver(FixedServerNameResolver::new(name))
            }
            None => builder,
        };
        let connector = builder.enable_all_versions().wrap_connector(tcp);
        let info = &config.auth_info;
        let auth = if let (Some(username), password) = (&info.username, &info.password) {
            let password = password
                .as_ref()
                .map(|secret| secret.expose_secret())
                .unwrap_or_default();
            Auth::Header(secret_header(&format!(
                "Basic {}",
                BASE64.encode(format!("{username}:{password}"))
            ))?)
        } else if let Some(path) = &info.token_file {
            Auth::TokenFile {
                path: path.clone(),
                cached: Mutex::new(None),
            }
        } else if let Some(token) = &info.token {
            Auth::Header(secret_header(&format!(
                "Bearer {}",
                token.expose_secret().trim()
            ))?)
        } else {
            Auth::None
        };
        let mut headers = config.headers.clone();
        headers.push((
            header::USER_AGENT,
            HeaderValue::from_static(concat!("fairway/", env!("CARGO_PKG_VERSION"))),
        ));
        if let Some(user) = &info.impersonate {
            let account = crate::Impersonation {
                user: user.clone(),
                groups: info.impersonate_groups.clone().unwrap_or_default(),
            };
            headers.extend(account.headers()?);
        }
        Ok(Self {
            base: config.cluster_url.clone(),
            requests: pool(&connector),
            connector,
            watches: Mutex::default(),
            auth,
            headers,
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            server,
        })
    }

    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    pub(crate) fn count(&self, verb: Verb) -> u64 {
        self.counts[verb as usize].load(Ordering::Relaxed)
    }

    /// A tower service for kube's client.
    pub(crate) fn service(self: &Arc<Self>, headers: Vec<(HeaderName, HeaderValue)>) -> Service {
        Service {
            transport: self.clone(),
            headers: headers.into(),
        }
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> RequestError {
        RequestError::Unreachable {
            server: self.server.clone(),
            reason: chain(error),
        }
    }

    async fn authorization(&self) -> Result<Option<HeaderValue>, RequestError> {
        match &self.auth {
            Auth::None => Ok(None),
            Auth::Header(value) => Ok(Some(value.clone())),
            Auth::TokenFile { path, cached } => {
                let known = cached
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                if let Some((value, read)) = &known
                    && read.elapsed() < TOKEN_FILE_TTL
                {
                    return Ok(Some(value.clone()));
                }
                match tokio::fs::read_to_string(path).await {
                    Ok(token) => {
                        let value = secret_header(&format!("Bearer {}", token.trim())).map_err(
                            |error| RequestError::Credentials(format!("{path}: {error}")),
                        )?;
                        *cached.lock().unwrap_or_else(PoisonError::into_inner) =
                            Some((value.clone(), Instant::now()));
                        Ok(Some(value))
                    }
                    // A file that is being replaced: the old token is most likely still good.
                    Err(_) if known.is_some() => Ok(known.map(|(value, _)| value)),
                    Err(error) => Err(RequestError::Credentials(format!("{path}: {error}"))),
                }
            }
        }
    }

    fn uri(&self, path_and_query: &str) -> Result<Uri, RequestError> {
        let prefix = self.base.path().trim_end_matches('/');
        Uri::builder()
            .scheme(self.base.scheme_str().unwrap_or("https"))
            .authority(
                self.base
                    .authority()
                    .map_or("", |authority| authority.as_str()),
            )
            .path_and_query(format!("{prefix}{path_and_query}"))
            .build()
            .map_err(|error| RequestError::Invalid(error.to_string()))
    }

    /// Sends a request whose target is a path; `account` replaces the headers of the connection's own account.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
        account: &[(HeaderName, HeaderValue)],
    ) -> Result<Response<Answer>, RequestError> {
        let (mut parts, body) = request.into_parts();
        let verb = Verb::of(
            &parts.method,
            &parts.uri,
            parts.headers.get(header::CONTENT_TYPE),
        );
        let target = parts
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        parts.uri = self.uri(target)?;
        let impersonated = !account.is_empty();
        for (name, value) in &self.headers {
            if impersonated && name.as_str().starts_with("impersonate-") {
                continue;
            }
            parts.headers.append(name, value.clone());
        }
        for (name, value) in account {
            parts.headers.append(name, value.clone());
        }
        if let Some(value) = self.authorization().await? {
            parts.headers.insert(header::AUTHORIZATION, value);
        }
        let mut attempt = 1;
        loop {
            self.counts[verb as usize].fetch_add(1, Ordering::Relaxed);
            let mut once = Request::new(Full::new(body.clone()));
            *once.method_mut() = parts.method.clone();
            *once.uri_mut() = parts.uri.clone();
            *once.headers_mut() = parts.headers.clone();
            let response = self.once(verb, once).await?;
            match put_off(&response) {
                Some(wait) if attempt < ATTEMPTS => {
                    tokio::time::sleep(wait * attempt).await;
                    attempt += 1;
                }
                _ => return Ok(response),
            }
        }
    }

    async fn once(
        &self,
        verb: Verb,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Answer>, RequestError> {
        let timeout = || RequestError::Timeout {
            server: self.server.clone(),
            after: REQUEST_TIMEOUT,
        };
        if verb == Verb::Watch {
            let (pool, place) = self.watch_pool();
            let response = tokio::time::timeout(REQUEST_TIMEOUT, pool.request(request))
                .await
                .map_err(|_| timeout())?
                .map_err(|error| self.unreachable(&error))?;
            return Ok(response.map(|body| Answer::Stream {
                body,
                _place: place,
            }));
        }
        let whole = async {
            let response = self
                .requests
                .request(request)
                .await
                .map_err(|error| self.unreachable(&error))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER)
                .collect()
                .await
                .map_err(|error| RequestError::Unreachable {
                    server: self.server.clone(),
                    reason: chain(error.as_ref()),
                })?;
            Ok(Response::from_parts(
                parts,
                Answer::Whole(Some(body.to_bytes())),
            ))
        };
        tokio::time::timeout(REQUEST_TIMEOUT, whole)
            .await
            .map_err(|_| timeout())?
    }

    /// A connection with room for one more watch, and the place taken on it.
    fn watch_pool(&self) -> (Pool, Place) {
        let mut pools = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let free = pools
            .iter()
            .position(|pool| pool.streams.load(Ordering::Acquire) < WATCHES_PER_CONNECTION);
        let index = free.unwrap_or_else(|| {
            pools.push(WatchPool {
                pool: pool(&self.connector),
                streams: Arc::default(),
            });
            pools.len() - 1
        });
        let chosen = &pools[index];
        chosen.streams.fetch_add(1, Ordering::AcqRel);
        (chosen.pool.clone(), Place(chosen.streams.clone()))
    }
}

fn pool(connector: &HttpsConnector<HttpConnector>) -> Pool {
    HyperClient::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(90))
        .pool_max_idle_per_host(8)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_adaptive_window(true)
        .build(connector.clone())
}

/// How long the server asks to wait before the request is sent again.
fn put_off(response: &Response<Answer>) -> Option<Duration> {
    let after = || {
        response
            .headers()
            .get(header::RETRY_AFTER)?
            .to_str()
            .ok()?
            .parse()
            .ok()
            .map(Duration::from_secs)
    };
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS => Some(
            after()
                .unwrap_or(Duration::from_secs(1))
                .min(MAX_RETRY_AFTER),
        ),
        // Without the header nobody promises that the request was not carried out.
        StatusCode::SERVICE_UNAVAILABLE => after().map(|wait| wait.min(MAX_RETRY_AFTER)),
        _ => None,
    }
}

fn secret_header(text: &str) -> Result<HeaderValue, ConnectionError> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| ConnectionError::Header("the credential"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A place on a watch connection; given back when the watch ends.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The body of an answer: whole, or for watches as it comes.
pub(crate) enum Answer {
    Whole(Option<Bytes>),
    Stream { body: Incoming, _place: Place },
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream { body, .. } => Pin::new(body).poll_frame(context),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Stream { body, .. } => body.size_hint(),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream { body, .. } => body.is_end_stream(),
        }
    }
}

/// The transport as the tower service that kube's client wants, with the headers of one account.
#[derive(Clone)]
pub(crate) struct Service {
    transport: Arc<Transport>,
    headers: Arc<[(HeaderName, HeaderValue)]>,
}

impl tower::Service<Request<Body>> for Service {
    type Response = Response<Answer>;
    type Error = tower::BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, tower::BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), tower::BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            Ok(this
                .transport
                .send(Request::from_parts(parts, body), &this.headers)
                .await?)
        })
    }
}

/// Writes a text into a URL, percent-encoded where it is no plain character.
pub(crate) fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            let _ = write!(into, "%{byte:02X}");
        }
    }
}
