//! Requests to servers of others: what a check asks, where a notification goes.
//!
//! ```text
//!   Ask ──▶ address ──▶ guard ──▶ dial (straight, or through a proxy) ──▶ TLS ──▶ one HTTP/1.1 exchange ──▶ Answer
//! ```
//!
//! The addresses come from objects in clusters, so what is asked is bounded: no redirects are followed, an answer is read up to
//! a limit, and addresses that only mean something to this machine (cloud metadata, link-local) are refused. An error
//! names the server, never the path: the path of a webhook is often its password.

mod address;
mod dial;
mod guard;
mod signature;
mod tls;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use tokio_util::task::AbortOnDropHandle;

pub(crate) use address::Address;
pub(crate) use signature::signature;
pub(crate) use tls::Trust;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The URL is of no use. It is not repeated: it may hold a password.
    #[error("the URL {0}")]
    Url(&'static str),
    /// The address is one that is not asked.
    #[error(
        "{server} is a link-local or metadata address, which is refused\nhint: --allow-link-local-urls allows it"
    )]
    Refused {
        /// Host and port.
        server: String,
    },
    /// The proxy is of no use.
    #[error("the proxy {0}")]
    Proxy(String),
    /// Certificates or keys cannot be used.
    #[error("{0}")]
    Tls(String),
    /// A header cannot be sent.
    #[error("header '{0}' has a name or a value that cannot be sent")]
    Header(String),
    /// Nobody answered.
    #[error("{server} is unreachable: {why}")]
    Unreachable {
        /// Host and port.
        server: String,
        /// The cause.
        why: String,
    },
    /// The answer took too long.
    #[error("{server} did not answer within {after:?}")]
    Late {
        /// Host and port.
        server: String,
        /// The time allowed.
        after: Duration,
    },
    /// The answer is longer than what is read.
    #[error("{server} answers with more than {limit} bytes")]
    TooLong {
        /// Host and port.
        server: String,
        /// The limit.
        limit: usize,
    },
}

impl OutboundError {
    /// Whether asking again can help without a change of what is asked.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Late { .. })
    }
}

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) address: Address,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// For everything together.
    pub(crate) timeout: Duration,
    /// Most bytes of an answer that are read; what is longer is an error where `whole`, else cut.
    pub(crate) limit: usize,
    pub(crate) whole: bool,
    /// URL of a proxy; without one the environment's.
    pub(crate) proxy: Option<String>,
    pub(crate) trust: Trust,
}

impl Ask {
    pub(crate) fn get(address: Address) -> Self {
        Self {
            method: Method::GET,
            address,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            timeout: Duration::from_secs(10),
            limit: 4096,
            whole: false,
            proxy: None,
            trust: Trust::default(),
        }
    }

    pub(crate) fn post_json(address: Address, body: Vec<u8>) -> Self {
        let mut ask = Self::get(address);
        ask.method = Method::POST;
        ask.body = body.into();
        ask.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        ask
    }

    /// Sets a header.
    pub(crate) fn header(&mut self, name: &str, value: &str) -> Result<(), OutboundError> {
        let wrong = || OutboundError::Header(name.to_owned());
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        self.headers.insert(key, value);
        Ok(())
    }

    /// Sends a password of HTTP basic authentication.
    pub(crate) fn basic(&mut self, user: &str, password: &str) -> Result<(), OutboundError> {
        let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        self.secret_header(&value)
    }

    /// Sends a bearer token.
    pub(crate) fn bearer(&mut self, token: &str) -> Result<(), OutboundError> {
        self.secret_header(&format!("Bearer {token}"))
    }

    fn secret_header(&mut self, value: &str) -> Result<(), OutboundError> {
        let wrong = |_| OutboundError::Header(AUTHORIZATION.to_string());
        let mut value = HeaderValue::from_str(value).map_err(wrong)?;
        value.set_sensitive(true);
        self.headers.insert(AUTHORIZATION, value);
        Ok(())
    }
}

/// What was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The beginning of the answer as one line of text.
    pub(crate) fn excerpt(&self, longest: usize) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let mut out = String::new();
        for c in text
            .split_whitespace()
            .flat_map(|word| word.chars().chain([' ']))
        {
            if out.len() + c.len_utf8() > longest {
                out.push('…');
                return out;
            }
            if !c.is_control() {
                out.push(c);
            }
        }
        out.truncate(out.trim_end().len());
        out
    }

    /// What `Retry-After` says in seconds.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let value = self.headers.get(http::header::RETRY_AFTER)?;
        let seconds: u64 = value.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

/// Sends requests, under one rule for which addresses may be asked.
#[derive(Debug, Clone, Default)]
pub struct Outbound {
    allow_link_local: bool,
}

impl Outbound {
    /// With link-local and metadata addresses refused or not.
    pub fn new(allow_link_local: bool) -> Self {
        Self { allow_link_local }
    }

    /// Asks once. No redirect is followed.
    pub(crate) async fn send(&self, ask: Ask) -> Result<Answer, OutboundError> {
        let late = OutboundError::Late {
            server: ask.address.server(),
            after: ask.timeout,
        };
        tokio::time::timeout(ask.timeout, self.exchange(ask))
            .await
            .unwrap_or(Err(late))
    }

    async fn exchange(&self, ask: Ask) -> Result<Answer, OutboundError> {
        let address = &ask.address;
        let unreachable = |why: String| OutboundError::Unreachable {
            server: address.server(),
            why,
        };
        let line = dial::connect(self, address, ask.proxy.as_deref(), &ask.trust).await?;
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(if line.absolute {
                address.absolute()
            } else {
                address.path()
            })
            .header(HOST, address.host_header())
            .header(USER_AGENT, concat!("fairway/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &line.proxy_authorization {
            request = request.header(http::header::PROXY_AUTHORIZATION, authorization);
        }
        if let Some((user, password)) = address.user() {
            let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            if !ask.headers.contains_key(AUTHORIZATION) {
                request = request.header(AUTHORIZATION, value);
            }
        }
        let mut request = request
            .body(Full::new(ask.body.clone()))
            .map_err(|_| OutboundError::Url("cannot be sent as a request"))?;
        for (name, value) in &ask.headers {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(line.stream))
                .await
                .map_err(|error| unreachable(cause(&error)))?;
        let _running = AbortOnDropHandle::new(tokio::spawn(async move {
            let _ = connection.await;
        }));
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| unreachable(cause(&error)))?;
        let (parts, body) = response.into_parts();
        let body = if ask.whole {
            match Limited::new(body, ask.limit).collect().await {
                Ok(body) => body.to_bytes(),
                Err(error) if error.is::<LengthLimitError>() => {
                    return Err(OutboundError::TooLong {
                        server: address.server(),
                        limit: ask.limit,
                    });
                }
                Err(error) => return Err(unreachable(cause(&*error))),
            }
        } else {
            beginning(body, ask.limit).await
        };
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }
}

/// The first bytes of an answer, as far as they come.
async fn beginning(mut body: hyper::body::Incoming, limit: usize) -> Bytes {
    let mut read = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            read.extend_from_slice(&data[..data.len().min(limit - read.len())]);
        }
        if read.len() >= limit {
            break;
        }
    }
    read.into()
}

/// The innermost cause: it says more than "client error (Connect)".
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests;
