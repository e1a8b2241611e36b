//! HTTP to one API server: one pool for requests, further connections for watches, retries, counters.

mod credential;
pub(crate) mod dial;
mod reach;
mod served;
mod verb;

use std::{
    fmt::Write as _,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

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

use credential::Credential;
use dial::Dial;
use reach::Reach;
use served::Served;
pub(crate) use verb::Verb;

use crate::{
    connection::{Bearer, ConnectionError, REQUEST_TIMEOUT},
    error::{RequestError, chain},
};

type Pool = HyperClient<HttpsConnector<Dial>, Full<Bytes>>;

/// Most watches that share one HTTP/2 connection; API servers allow 100 streams by default on some proxies.
const WATCHES_PER_CONNECTION: usize = 80;
/// Longest that setting up TCP may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A dead peer is noticed after this and [`PING_TIMEOUT`] together: before a request gives up, so that the next one
/// finds another connection.
const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes; a whole list of large objects stays below.
const MAX_ANSWER: usize = 512 * 1024 * 1024;
/// How often a request that the server put off (429, 503 with Retry-After) is sent in all.
const ATTEMPTS: u32 = 4;
/// Longest that a request waits because the server wishes it; a longer wish is the caller's to follow.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(5);
/// Longest that one request waits in all.
const MAX_PUT_OFF: Duration = Duration::from_secs(10);

/// HTTP to one API server. Shared by everything that talks to it.
pub(crate) struct Transport {
    server: String,
    base: Uri,
    connector: HttpsConnector<Dial>,
    requests: Pool,
    watches: Mutex<Vec<WatchPool>>,
    credential: Credential,
    served: Served,
    reach: Reach,
    headers: Vec<(HeaderName, HeaderValue)>,
    counts: [AtomicU64; Verb::ALL.len()],
}

struct WatchPool {
    pool: Pool,
    streams: Arc<AtomicUsize>,
}

impl Transport {
    pub(crate) fn new(
        config: &Config,
        tls: rustls::ClientConfig,
        proxy: Option<&str>,
    ) -> Result<Self, ConnectionError> {
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
        let dial = Dial::new(tcp, &config.cluster_url, proxy)?;
        let connector = builder.enable_all_versions().wrap_connector(dial);
        let info = &config.auth_info;
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
            credential: Credential::of(info)?,
            served: Served::default(),
            reach: Reach::default(),
            headers,
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            server,
        })
    }

    /// Asks this one for a token before each request, whatever the configuration says.
    pub(crate) fn set_bearer(&mut self, bearer: Arc<dyn Bearer>) {
        self.credential = Credential::Bearer(bearer);
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

    /// Whether the server serves us.
    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> RequestError {
        RequestError::Unreachable {
            server: self.server.clone(),
            reason: chain(error),
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

    /// Sends a request whose target is a path; `account` replaces the headers of the connection's own account. Flux's kinds
    /// are asked for in the version that is served.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
        account: &[(HeaderName, HeaderValue)],
    ) -> Result<Response<Answer>, RequestError> {
        let Some(group) = Served::group_of(request.uri().path()) else {
            return self.send_plain(request, account).await;
        };
        let response = self
            .send_plain(self.served.request(group, request.clone()), account)
            .await?;
        if response.status() != StatusCode::NOT_FOUND || is_about_an_object(&response) {
            return Ok(response);
        }
        let mut question = Request::new(Bytes::new());
        *question.uri_mut() = format!("/apis/{group}")
            .parse()
            .map_err(|_| RequestError::Invalid(group.to_owned()))?;
        let answer = self.send_plain(question, &[]).await?;
        let old = match answer.body() {
            Answer::Whole(Some(body)) => Served::says_old(body),
            _ => None,
        };
        match old {
            Some(old) if old != self.served.is_old(group) => {
                self.served.set(group, old);
                self.send_plain(self.served.request(group, request), account)
                    .await
            }
            _ => Ok(response),
        }
    }

    async fn send_plain(
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
        let mut attempt = 1;
        let mut waited = Duration::ZERO;
        let mut renewed = false;
        loop {
            let credential = self.credential.header().await?;
            if let Some(value) = &credential {
                parts.headers.insert(header::AUTHORIZATION, value.clone());
            }
            self.counts[verb as usize].fetch_add(1, Ordering::Relaxed);
            let mut once = Request::new(Full::new(body.clone()));
            *once.method_mut() = parts.method.clone();
            *once.uri_mut() = parts.uri.clone();
            *once.headers_mut() = parts.headers.clone();
            let response = match self.once(verb, once).await {
                Ok(response) => response,
                Err(error) => {
                    self.reach.lost();
                    return Err(error);
                }
            };
            self.reach.answered(response.status());
            if response.status() == StatusCode::UNAUTHORIZED
                && !renewed
                && self.credential.refused(credential.as_ref())
            {
                renewed = true;
                continue;
            }
            match put_off(&response) {
                Some(wait)
                    if attempt < ATTEMPTS
                        && wait <= MAX_RETRY_AFTER
                        && waited + wait <= MAX_PUT_OFF =>
                {
                    tokio::time::sleep(wait).await;
                    waited += wait;
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

fn pool(connector: &HttpsConnector<Dial>) -> Pool {
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

/// Whether a "not found" is about one object, and not about the path as such.
fn is_about_an_object(response: &Response<Answer>) -> bool {
    match response.body() {
        Answer::Whole(Some(body)) => {
            serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|status| {
                let details = &status["details"];
                details["name"].is_string() || details["uid"].is_string()
            })
        }
        _ => false,
    }
}

/// How long the server asks to wait before the request is sent again.
fn put_off(response: &Response<Answer>) -> Option<Duration> {
    let after = retry_after(response.headers());
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS => Some(after.unwrap_or(Duration::from_secs(1))),
        // Without the header nobody promises that the request was not carried out.
        StatusCode::SERVICE_UNAVAILABLE => after,
        _ => None,
    }
}

/// `Retry-After` in seconds; API servers send no dates.
pub(crate) fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
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
