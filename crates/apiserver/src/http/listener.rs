//! One HTTPS listener of one cluster.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::cluster::Cluster;

/// Serves a cluster until the task is aborted. While the fault `refuse` is set, the port is really closed.
pub(crate) async fn serve(
    cluster: Arc<Cluster>,
    listener: TcpListener,
    address: SocketAddr,
    tls: Arc<ServerConfig>,
) {
    let mut faults = cluster.faults.subscribe();
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    let acceptor = TlsAcceptor::from(tls);
    loop {
        let refuse = faults.borrow_and_update().refuse;
        if refuse {
            listener = None;
            connections.shutdown().await;
        } else if listener.is_none() {
            match TcpListener::bind(address).await {
                Ok(bound) => listener = Some(bound),
                Err(error) => {
                    tracing::warn!(cluster = cluster.name, %address, %error, "open the listener again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            }
        }
        tokio::select! {
            changed = faults.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            accepted = accept(listener.as_ref()) => {
                match accepted {
                    Ok(stream) => {
                        connections.spawn(connection(cluster.clone(), stream, acceptor.clone()));
                    }
                    // Out of file descriptors, most likely: wait for some to come back.
                    Err(error) => {
                        tracing::warn!(cluster = cluster.name, %error, "accept a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> std::io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn connection(cluster: Arc<Cluster>, stream: TcpStream, acceptor: TlsAcceptor) {
    cluster.faults.while_black_hole().await;
    // Small answers must not wait for more data.
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_secs(10), acceptor.accept(stream)).await
    else {
        return;
    };
    let service = service_fn(move |request| {
        let cluster = cluster.clone();
        async move { Ok::<_, std::convert::Infallible>(super::handle(cluster, request).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(1000)
        // Watches of a whole fleet share a connection.
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    builder.http1().timer(TokioTimer::new());
    if let Err(error) = builder
        .serve_connection(TokioIo::new(stream), service)
        .await
    {
        tracing::trace!(%error, "connection ended");
    }
}
