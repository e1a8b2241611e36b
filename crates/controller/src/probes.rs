//! What Kubernetes and Prometheus ask a running engine: `/healthz`, `/readyz` and `/metrics`, over plain HTTP, as Flux's
//! controllers answer them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::engine::{Handle, StartError};
use crate::exposition;
use crate::options::Controller;

/// What is answered at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    /// `/healthz` and `/readyz`.
    Probes,
    /// `/metrics`.
    Metrics,
}

/// Nobody who asks these things needs longer to send a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Listens, where there is an address.
pub(crate) async fn bind(address: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = address else {
        return Ok(None);
    };
    TcpListener::bind(address)
        .await
        .map(Some)
        .map_err(|error| StartError::Listen(address, error))
}

pub(crate) fn address(listener: Option<&TcpListener>) -> Option<SocketAddr> {
    listener.and_then(|listener| listener.local_addr().ok())
}

/// Answers until `stop`. Connections that are open then are dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    page: Page,
    handle: Handle,
    stop: CancellationToken,
) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stop.cancelled() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: others will give some back.
                tracing::debug!(%error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let handle = handle.clone();
        let service = service_fn(move |request| {
            let handle = handle.clone();
            async move { Ok::<_, Infallible>(answer(page, &handle, &request)) }
        });
        connections.spawn(async move {
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::trace!(%error, "connection ended");
            }
        });
    }
}

fn answer(page: Page, handle: &Handle, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET is answered here\n",
        );
    }
    let Some(context) = handle.context() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "stopped\n");
    };
    match (page, request.uri().path()) {
        // Whoever can answer this is alive.
        (Page::Probes, "/healthz" | "/livez") => text(StatusCode::OK, "ok"),
        (Page::Probes, "/readyz") => match not_ready(&context) {
            None => text(StatusCode::OK, "ok"),
            Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}\n")),
        },
        (Page::Metrics, "/metrics") => {
            let mut response = text(StatusCode::OK, &exposition::write(&context));
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
            );
            response
        }
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// Ready is who could work at once: who leads, and who waits for its turn with everything listed already.
fn not_ready(context: &Context) -> Option<&'static str> {
    let Some(hub) = context.hub() else {
        return Some("starting");
    };
    if !hub.repositories.is_synced() {
        return Some("GitRepositories are not listed yet");
    }
    if !hub.kustomizations.is_synced() {
        return Some("Kustomizations are not listed yet");
    }
    let fleet = context.options.controllers.contains(&Controller::Fleet);
    (fleet && !(context.clusters.is_synced() && context.fleets.is_synced()))
        .then_some("Clusters are not listed yet")
}
