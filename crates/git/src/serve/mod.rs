//! A smart-HTTP Git server on loopback, for `fairway demo` and for tests: clone, fetch and push with
//! any git client, optional basic authentication, a callback after each push, and faults on demand.
//!
//! It is no server for the network: it takes requests for loopback names only, so that a web page
//! can't reach it by a name that somebody points at 127.0.0.1.

mod body;
mod gzip;
mod rpc;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Error;
use body::Body;

type Callback = Arc<dyn Fn(&str) + Send + Sync>;

/// What a server does wrong on purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Connections are closed without an answer.
    pub down: bool,
    /// Pushes are refused, as a protected branch does it, with these words.
    pub refuse_push: Option<String>,
    /// Every answer takes this much longer.
    pub delay: Duration,
    /// Pushes are done, and their answers are lost: the connection breaks instead.
    pub lose_push_answer: bool,
    /// The same, and from then on the server is [`down`](Self::down).
    pub die_after_push: bool,
}

/// A running server; it stops when dropped.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    repositories: RwLock<HashMap<String, PathBuf>>,
    password: RwLock<Option<(String, String)>>,
    on_push: RwLock<Option<Callback>>,
    faults: RwLock<Faults>,
}

impl Server {
    /// Serves on `listener`, which must be bound to a loopback address.
    pub fn start(listener: TcpListener) -> Result<Self, Error> {
        let io = |e: std::io::Error| Error::io("can't serve Git", &e);
        let address = listener.local_addr().map_err(io)?;
        if !address.ip().is_loopback() {
            let detail = format!("{address} is no loopback address");
            return Err(Error::Io {
                context: "can't serve Git".to_owned(),
                detail,
            });
        }
        let shared = Arc::new(Shared::default());
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    /// Serves on a free port of 127.0.0.1.
    pub async fn start_anywhere() -> Result<Self, Error> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .map_err(|e| Error::io("can't serve Git", &e))?;
        Self::start(listener)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves the bare repository in `directory` under `name` (`fleet`, `team/fleet`).
    pub fn add(&self, name: &str, directory: &Path) {
        let name = name.trim_matches('/').trim_end_matches(".git").to_owned();
        write(&self.shared.repositories).insert(name, directory.to_owned());
    }

    /// Serves `name` no longer.
    pub fn remove(&self, name: &str) {
        write(&self.shared.repositories).remove(name);
    }

    /// The URL of a repository.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}.git", self.address)
    }

    /// Asks for this user and password from now on; `None` lets everybody in.
    pub fn require_password(&self, user: Option<(&str, &str)>) {
        *write(&self.shared.password) =
            user.map(|(name, password)| (name.to_owned(), password.to_owned()));
    }

    /// Calls `callback` with the name of the repository after each push that git accepted.
    pub fn on_push(&self, callback: impl Fn(&str) + Send + Sync + 'static) {
        *write(&self.shared.on_push) = Some(Arc::new(callback));
    }

    /// Goes wrong like this from now on.
    pub fn set_faults(&self, faults: Faults) {
        *write(&self.shared.faults) = faults;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn read<T: Clone>(lock: &RwLock<T>) -> T {
    lock.read().unwrap_or_else(PoisonError::into_inner).clone()
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    // Out of file descriptors: wait for some to come back.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                if read(&shared.faults).down {
                    continue;
                }
                let shared = shared.clone();
                connections.spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        let shared = shared.clone();
                        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
                    });
                    let builder = Builder::new(TokioExecutor::new());
                    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                        tracing::debug!(%error, "a Git connection ended early");
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Body> {
    let faults = read(&shared.faults);
    if !faults.delay.is_zero() {
        tokio::time::sleep(faults.delay).await;
    }
    if faults.down {
        return status(StatusCode::SERVICE_UNAVAILABLE, "down");
    }
    if !is_for_loopback(&request) {
        return status(
            StatusCode::FORBIDDEN,
            "this server answers on loopback only",
        );
    }
    if !is_admitted(shared, &request) {
        let mut response = status(StatusCode::UNAUTHORIZED, "who are you?");
        let challenge = header::HeaderValue::from_static("Basic realm=\"fairway\"");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, challenge);
        return response;
    }
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let get = request.method() == Method::GET;
    let post = request.method() == Method::POST;
    let (repository, service) =
        if let Some(repository) = path.strip_suffix("/info/refs").filter(|_| get) {
            let service = request
                .uri()
                .query()
                .and_then(|q| q.split('&').find_map(|p| p.strip_prefix("service=")));
            (repository, service)
        } else if let Some((repository, service)) = path.rsplit_once('/').filter(|_| post) {
            (repository, Some(service))
        } else {
            return status(StatusCode::NOT_FOUND, "not found");
        };
    let Some(service) = service.and_then(rpc::Service::parse) else {
        return status(
            StatusCode::FORBIDDEN,
            "only git's smart HTTP protocol is spoken here",
        );
    };
    let name = repository
        .strip_suffix(".git")
        .unwrap_or(repository)
        .to_owned();
    let directory = shared
        .repositories
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&name)
        .cloned();
    let Some(directory) = directory else {
        return status(StatusCode::NOT_FOUND, "no such repository");
    };
    let call = rpc::Call {
        service,
        directory,
        refusal: faults.refuse_push,
    };
    let is_push = service == rpc::Service::ReceivePack;
    let loses = post && is_push && (faults.lose_push_answer || faults.die_after_push);
    let done = {
        let callback = read(&shared.on_push).filter(|_| is_push);
        move || {
            if let Some(callback) = callback {
                callback(&name);
            }
        }
    };
    let mut result = if get {
        call.advertise(&request).await
    } else {
        call.serve(request, done).await
    };
    if loses && let Ok(response) = &mut result {
        // git ends before its answer does.
        std::mem::replace(response.body_mut(), Body::broken())
            .drain()
            .await;
        if faults.die_after_push {
            shared
                .faults
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .down = true;
        }
    }
    result.unwrap_or_else(|error| {
        tracing::warn!(%error, "a Git request failed");
        status(StatusCode::INTERNAL_SERVER_ERROR, "git failed")
    })
}

fn is_for_loopback(request: &Request<Incoming>) -> bool {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|h| h.to_str().ok());
    let host = host.or_else(|| request.uri().host()).unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost"
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

fn is_admitted(shared: &Shared, request: &Request<Incoming>) -> bool {
    let Some((user, password)) = read(&shared.password) else {
        return true;
    };
    let wanted = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    request
        .headers()
        .get(header::AUTHORIZATION)
        .is_some_and(|given| given.as_bytes() == wanted.as_bytes())
}

fn status(code: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::full(format!("{text}\n")));
    *response.status_mut() = code;
    response
}
