//! From an address to a line on which HTTP can be spoken.

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::client::proxy::matcher::Matcher;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Address, Outbound, OutboundError, Trust, cause, guard};

/// Anything that bytes go over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open connection.
pub(super) struct Line {
    pub(super) stream: Box<dyn Stream>,
    /// The one at the other end is a proxy that must be told the whole URL.
    pub(super) absolute: bool,
    pub(super) proxy_authorization: Option<String>,
}

/// The longest answer of a proxy to CONNECT.
const LONGEST_HEAD: usize = 8 * 1024;

/// Opens a connection. What is asked through a proxy is resolved there; a name that is an address is looked at here.
pub(super) async fn connect(
    outbound: &Outbound,
    address: &Address,
    proxy: Option<&str>,
    trust: &Trust,
) -> Result<Line, OutboundError> {
    let proxy = match proxy {
        Some(proxy) => Some(Address::parse(proxy).map_err(|error| {
            OutboundError::Proxy(error.to_string().trim_start_matches("the URL ").to_owned())
        })?),
        None => of_environment(address),
    };
    let Some(proxy) = proxy else {
        let stream = tcp(outbound, address, true).await?;
        let stream = if address.is_https() {
            Box::new(secure(stream, address, trust).await?)
        } else {
            Box::new(stream) as Box<dyn Stream>
        };
        return Ok(Line {
            stream,
            absolute: false,
            proxy_authorization: None,
        });
    };
    if let Ok(literal) = address.host().parse::<IpAddr>() {
        check(outbound, address, literal)?;
    }
    let authorization = proxy
        .user()
        .map(|(user, password)| format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
    let stream = tcp(outbound, &proxy, false).await?;
    let mut stream: Box<dyn Stream> = if proxy.is_https() {
        Box::new(secure(stream, &proxy, &Trust::default()).await?)
    } else {
        Box::new(stream)
    };
    if !address.is_https() {
        return Ok(Line {
            stream,
            absolute: true,
            proxy_authorization: authorization,
        });
    }
    tunnel(&mut stream, address, &proxy, authorization.as_deref()).await?;
    Ok(Line {
        stream: Box::new(secure(stream, address, trust).await?),
        absolute: false,
        proxy_authorization: None,
    })
}

/// The proxy that `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` have for an address; none for this machine itself.
fn of_environment(address: &Address) -> Option<Address> {
    let is_local = address.host() == "localhost"
        || address
            .host()
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    if is_local {
        return None;
    }
    let found = Matcher::from_env().intercept(address.uri())?;
    let text = found.uri().to_string();
    let text = match found.raw_auth() {
        Some((user, password)) => text.replacen(
            "://",
            &format!(
                "://{}:{}@",
                super::address::encoded(user),
                super::address::encoded(password)
            ),
            1,
        ),
        None => text,
    };
    Address::parse(&text).ok()
}

fn check(outbound: &Outbound, address: &Address, found: IpAddr) -> Result<(), OutboundError> {
    if guard::is_refused(found) && !outbound.allow_link_local {
        return Err(OutboundError::Refused {
            server: address.server(),
        });
    }
    Ok(())
}

/// Connects to the first address of a name that takes it. Where one of them may not be asked, none is: a name that leads
/// to such an address is not there by accident.
async fn tcp(
    outbound: &Outbound,
    address: &Address,
    guarded: bool,
) -> Result<TcpStream, OutboundError> {
    let unreachable = |why: String| OutboundError::Unreachable {
        server: address.server(),
        why,
    };
    let found: Vec<SocketAddr> = tokio::net::lookup_host((address.host(), address.port()))
        .await
        .map_err(|error| unreachable(error.to_string()))?
        .collect();
    if guarded {
        for socket in &found {
            check(outbound, address, socket.ip())?;
        }
    }
    let mut last = "the name has no address".to_owned();
    for socket in found {
        match TcpStream::connect(socket).await {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = error.to_string(),
        }
    }
    Err(unreachable(last))
}

async fn secure<S: Stream + 'static>(
    stream: S,
    address: &Address,
    trust: &Trust,
) -> Result<tokio_rustls::client::TlsStream<S>, OutboundError> {
    let name = ServerName::try_from(address.host().to_owned())
        .map_err(|_| OutboundError::Url("names a host that no certificate can be for"))?;
    TlsConnector::from(trust.config()?)
        .connect(name, stream)
        .await
        .map_err(|error| OutboundError::Unreachable {
            server: address.server(),
            why: cause(&error),
        })
}

/// Asks a proxy for a tunnel.
async fn tunnel(
    stream: &mut Box<dyn Stream>,
    address: &Address,
    proxy: &Address,
    authorization: Option<&str>,
) -> Result<(), OutboundError> {
    let server = address.server();
    let mut head = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n");
    if let Some(authorization) = authorization {
        head.push_str("Proxy-Authorization: ");
        head.push_str(authorization);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    let broken = |error: std::io::Error| OutboundError::Unreachable {
        server: proxy.server(),
        why: error.to_string(),
    };
    stream.write_all(head.as_bytes()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= LONGEST_HEAD {
            return Err(OutboundError::Proxy(format!(
                "{} gives an answer that cannot be read",
                proxy.server()
            )));
        }
        answer.push(stream.read_u8().await.map_err(broken)?);
    }
    let status = String::from_utf8_lossy(&answer);
    let code = status.split(' ').nth(1).unwrap_or_default();
    if status.starts_with("HTTP/1.") && code == "200" {
        return Ok(());
    }
    Err(OutboundError::Proxy(format!(
        "{} refuses a tunnel to {server} with status {}",
        proxy.server(),
        code.chars().take(3).collect::<String>()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_lets_link_local_addresses_pass() {
        let metadata = Address::parse("http://169.254.169.254/").unwrap();
        let found = metadata.host().parse().unwrap();
        assert!(check(&Outbound::default(), &metadata, found).is_err());
        assert!(check(&Outbound::new(true), &metadata, found).is_ok());
    }
}
