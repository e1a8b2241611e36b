//! How TCP reaches an API server: straight, or through the proxy that a kubeconfig or the environment names.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::{
    client::{
        legacy::connect::{
            HttpConnector,
            proxy::{SocksV5, Tunnel},
        },
        proxy::matcher::{Intercept, Matcher},
    },
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower::{BoxError, Service};

use crate::connection::ConnectionError;

/// Opens connections.
#[derive(Clone)]
pub(crate) enum Dial {
    Straight(HttpConnector),
    /// HTTP CONNECT.
    Tunnel(Tunnel<HttpConnector>),
    Socks(SocksV5<HttpConnector>),
}

/// The proxy that the environment has for a server (`HTTPS_PROXY`, `NO_PROXY` and the like); none for this machine itself.
pub(crate) fn of_environment(server: &Uri) -> Option<String> {
    if crate::connection::is_loopback(server) {
        return None;
    }
    let proxy = Matcher::from_env().intercept(server)?;
    let user = |uri: &Uri, who: String| {
        let text = uri.to_string();
        text.replacen("://", &format!("://{who}@"), 1)
    };
    Some(match proxy.raw_auth() {
        Some((name, password)) => user(proxy.uri(), format!("{name}:{password}")),
        None => proxy.uri().to_string(),
    })
}

impl Dial {
    /// Straight to the server, or through a proxy: `http://` or `socks5://`, a user and password in it are used.
    pub(crate) fn new(
        tcp: HttpConnector,
        server: &Uri,
        proxy: Option<&str>,
    ) -> Result<Self, ConnectionError> {
        let Some(proxy) = proxy else {
            return Ok(Self::Straight(tcp));
        };
        let scheme = proxy.split("://").next().unwrap_or_default();
        let matcher = || Matcher::builder().all(proxy.to_owned()).build();
        let found: Option<Intercept> = match scheme {
            "http" | "socks5" | "socks5h" => matcher().intercept(server),
            _ => None,
        };
        let Some(found) = found else {
            // Its text may hold a password.
            return Err(ConnectionError::ProxyUnsupported(scheme.to_owned()));
        };
        if scheme == "http" {
            let tunnel = Tunnel::new(found.uri().clone(), tcp);
            return Ok(Self::Tunnel(match found.basic_auth() {
                Some(auth) => tunnel.with_auth(auth.clone()),
                None => tunnel,
            }));
        }
        let socks = SocksV5::new(found.uri().clone(), tcp);
        Ok(Self::Socks(match found.raw_auth() {
            Some((user, password)) => socks.with_auth(user.to_owned(), password.to_owned()),
            None => socks,
        }))
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Straight(tcp) => tcp.poll_ready(context).map_err(Into::into),
            Self::Tunnel(tunnel) => tunnel.poll_ready(context).map_err(Into::into),
            Self::Socks(socks) => socks.poll_ready(context).map_err(Into::into),
        }
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        match self {
            Self::Straight(tcp) => {
                let dialled = tcp.call(server);
                Box::pin(async move { Ok(dialled.await?) })
            }
            Self::Tunnel(tunnel) => {
                let dialled = tunnel.call(server);
                Box::pin(async move { Ok(dialled.await?) })
            }
            Self::Socks(socks) => {
                let dialled = socks.call(server);
                Box::pin(async move { Ok(dialled.await?) })
            }
        }
    }
}
