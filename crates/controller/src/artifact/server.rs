//! Serves stored artifacts over HTTP: files by their path, and nothing else.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const CHUNK: usize = 64 << 10;
/// Nobody needs longer to send a request.
const PATIENCE: Duration = Duration::from_secs(30);

type Body = BoxBody<Bytes, std::io::Error>;

/// Serves `root` until `stop` is cancelled. Returns the address that others are told, as a URL.
pub(super) async fn start(
    root: PathBuf,
    address: &str,
    advertised: Option<&str>,
    stop: CancellationToken,
) -> std::io::Result<String> {
    let listener = TcpListener::bind(bindable(address)).await?;
    let port = listener.local_addr()?.port();
    let url = url(address, port, advertised, std::env::var("HOSTNAME").ok());
    tokio::spawn(serve(listener, Arc::new(root), stop));
    Ok(url)
}

async fn serve(listener: TcpListener, root: Arc<PathBuf>, stop: CancellationToken) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: others will give some back.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let root = root.clone();
        let service = service_fn(move |request| {
            let root = root.clone();
            async move { Ok::<_, Infallible>(file(&root, &request).await) }
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

/// `:9090` is every address of the machine, as Go reads it.
fn bindable(address: &str) -> String {
    match address.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => address.to_owned(),
    }
}

/// What Flux would advertise: the option, or the address with `localhost` or the host's name for a wildcard.
fn url(address: &str, port: u16, advertised: Option<&str>, hostname: Option<String>) -> String {
    let host = match advertised.filter(|advertised| !advertised.is_empty()) {
        Some(advertised)
            if advertised.starts_with("http://") || advertised.starts_with("https://") =>
        {
            return advertised.trim_end_matches('/').to_owned();
        }
        Some(advertised) => return format!("http://{advertised}"),
        None => address.rsplit_once(':').map_or(address, |(host, _)| host),
    };
    let host = match host {
        "" => "localhost".to_owned(),
        "0.0.0.0" | "[::]" => hostname
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "localhost".to_owned()),
        host => host.to_owned(),
    };
    format!("http://{host}:{port}")
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}

async fn file(root: &Path, request: &Request<Incoming>) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let found = match local(root, request.uri().path()) {
        Some(path) => open(&path).await,
        None => None,
    };
    let Some((file, length)) = found else {
        return empty(StatusCode::NOT_FOUND);
    };
    let mut response = if *request.method() == Method::HEAD {
        empty(StatusCode::OK)
    } else {
        let chunks = futures::stream::try_unfold(file, |mut file| async move {
            let mut chunk = Vec::with_capacity(CHUNK);
            (&mut file)
                .take(CHUNK as u64)
                .read_to_end(&mut chunk)
                .await?;
            Ok::<_, std::io::Error>((!chunk.is_empty()).then(|| (Bytes::from(chunk), file)))
        });
        Response::new(BoxBody::new(StreamBody::new(chunks.map_ok(Frame::data))))
    };
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/gzip"),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// The file of a URL's path; `None` where that can't be an artifact.
fn local(root: &Path, path: &str) -> Option<PathBuf> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut file = root.to_owned();
    for component in path.strip_prefix('/')?.split('/') {
        if component.is_empty() || component.starts_with('.') || !component.chars().all(is_plain) {
            return None;
        }
        file.push(component);
    }
    path.ends_with(".tar.gz").then_some(file)
}

async fn open(path: &Path) -> Option<(File, u64)> {
    let file = File::open(path).await.ok()?;
    let metadata = file
        .metadata()
        .await
        .ok()
        .filter(std::fs::Metadata::is_file)?;
    Some((file, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_advertised_as_in_flux() {
        let name = || Some("pod-0".to_owned());
        for (address, advertised, expected) in [
            (":9090", None, "http://localhost:9090"),
            ("0.0.0.0:9090", None, "http://pod-0:9090"),
            ("127.0.0.1:0", None, "http://127.0.0.1:9090"),
            ("[::1]:9090", None, "http://[::1]:9090"),
            (
                ":9090",
                Some("fairway.flux-system.svc."),
                "http://fairway.flux-system.svc.",
            ),
            (
                ":9090",
                Some("https://artifacts.example.org/"),
                "https://artifacts.example.org",
            ),
            (":9090", Some(""), "http://localhost:9090"),
        ] {
            assert_eq!(
                url(address, 9090, advertised, name()),
                expected,
                "{address} {advertised:?}"
            );
        }
        assert_eq!(bindable(":9090"), "0.0.0.0:9090");
    }

    #[test]
    fn only_artifacts_have_a_path() {
        let root = Path::new("/data");
        let of = |path| local(root, path);
        assert_eq!(
            of("/gitrepository/a/b/c.tar.gz"),
            Some("/data/gitrepository/a/b/c.tar.gz".into())
        );
        for path in [
            "/",
            "/a",
            "/../x.tar.gz",
            "/a/../../x.tar.gz",
            "/a//x.tar.gz",
            "/.hidden/x.tar.gz",
            "/a/%2e%2e/x.tar.gz",
            "/a/x.tar.gz.part",
            "x.tar.gz",
            "/a\\b.tar.gz",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
