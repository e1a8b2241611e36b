//! JSON over https to the API of a Git host, with a token.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use http::header::{HeaderMap, LINK};
use http::{HeaderValue, Method};
use serde_json::Value;

use super::error::HostError;
use crate::outbound::{Address, Answer, Ask, Outbound, OutboundError, Trust};

/// The most that an answer may hold, in bytes.
const LIMIT: usize = 8 << 20;
/// For one request with its answer.
const TIMEOUT: Duration = Duration::from_mins(1);
/// The most pages of a list that are read.
const PAGES: usize = 20;

/// One host's API.
#[derive(Clone)]
pub struct Api {
    outbound: Outbound,
    base: Address,
    token: String,
    trust: Trust,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body; null where it is no JSON.
    pub body: Value,
    headers: HeaderMap,
}

impl Api {
    /// `base` is the URL that paths are added to; `authority` (PEM) is trusted instead of the machine's.
    pub fn new(
        outbound: Outbound,
        base: &str,
        token: &str,
        authority: Option<&str>,
    ) -> Result<Self, HostError> {
        let failed = |cause| HostError::Unreachable {
            what: "set up the connection".to_owned(),
            cause,
        };
        let ca = authority.map(|pem| ("ca.crt".to_owned(), pem.as_bytes().to_vec()));
        let ca: BTreeMap<_, _> = ca.into_iter().collect();
        Ok(Self {
            outbound,
            base: Address::parse(base).map_err(failed)?,
            token: token.trim().to_owned(),
            trust: Trust::from_secret(&ca).map_err(failed)?,
        })
    }

    /// One request, whatever the answer; `what` is what is to be done. Too many requests are an error.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        what: &str,
    ) -> Result<Reply, HostError> {
        let answer = self.send(method, path, body).await;
        let answer = answer.map_err(|cause| HostError::Unreachable {
            what: what.to_owned(),
            cause,
        })?;
        if let Some(limited) = self.limited(&answer, what) {
            return Err(limited);
        }
        Ok(Reply {
            status: answer.status.as_u16(),
            body: serde_json::from_slice(&answer.body).unwrap_or(Value::Null),
            headers: answer.headers,
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, OutboundError> {
        let mut ask = Ask::get(self.base.with(path, &[])?);
        ask.method = method;
        (ask.timeout, ask.limit, ask.whole) = (TIMEOUT, LIMIT, true);
        ask.trust = self.trust.clone();
        ask.header("accept", "application/json")?;
        ask.bearer(&self.token)?;
        if let Some(body) = body {
            ask.header("content-type", "application/json")?;
            ask.body = body.to_string().into();
        }
        self.outbound.send(ask).await
    }

    /// The same, where only success will do.
    pub async fn must(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        what: &str,
    ) -> Result<Value, HostError> {
        let reply = self.call(method, path, body, what).await?;
        if reply.is_success() {
            return Ok(reply.body);
        }
        Err(self.refused(&reply, what))
    }

    /// All items of a list, over its pages.
    pub async fn list(&self, path: &str, what: &str) -> Result<Vec<Value>, HostError> {
        let mut items = Vec::new();
        for page in 1..=PAGES {
            let joint = if path.contains('?') { '&' } else { '?' };
            let of_page = format!("{path}{joint}per_page=100&page={page}");
            let reply = self.call(Method::GET, &of_page, None, what).await?;
            if !reply.is_success() {
                return Err(self.refused(&reply, what));
            }
            match &reply.body {
                Value::Array(found) => items.extend(found.iter().cloned()),
                _ => return Err(self.odd("list", what)),
            }
            if !reply.has_next() {
                break;
            }
        }
        Ok(items)
    }

    /// An answer that is no success, in words.
    pub fn refused(&self, reply: &Reply, what: &str) -> HostError {
        let answer = &reply.body;
        let said = match &answer["message"] {
            Value::String(text) => text.clone(),
            Value::Null => answer["error"].as_str().unwrap_or_default().to_owned(),
            other => other.to_string(),
        };
        let details = match answer["errors"].as_array() {
            Some(errors) if !errors.is_empty() => format!(" {}", answer["errors"]),
            _ => String::new(),
        };
        let said: String = format!("{said}{details}").chars().take(500).collect();
        HostError::Refused {
            what: what.to_owned(),
            server: self.base.server(),
            status: reply.status,
            // A host that repeats what it was sent must not make us repeat the token.
            said: match self.token.as_str() {
                "" => said,
                token => said.replace(token, "***"),
            },
        }
    }

    pub(super) fn odd(&self, field: &str, what: &str) -> HostError {
        HostError::Odd {
            what: what.to_owned(),
            server: self.base.server(),
            field: field.to_owned(),
        }
    }

    /// GitHub answers 403 or 429 with `Retry-After`, or with none of its quota left; GitLab 429.
    fn limited(&self, answer: &Answer, what: &str) -> Option<HostError> {
        let status = answer.status.as_u16();
        let number = |name: &str| -> Option<i64> {
            let value: &HeaderValue = answer.headers.get(name)?;
            value.to_str().ok()?.trim().parse().ok()
        };
        let after = answer.retry_after();
        let spent = number("x-ratelimit-remaining") == Some(0);
        let is_limited = status == 429 || (status == 403 && (after.is_some() || spent));
        is_limited.then(|| HostError::Limited {
            what: what.to_owned(),
            server: self.base.server(),
            status,
            after,
            until: number("x-ratelimit-reset").or_else(|| number("ratelimit-reset")),
        })
    }
}

impl Reply {
    /// Whether the status is one of success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether another page follows: `Link: <…>; rel="next"`, or GitLab's `X-Next-Page`.
    fn has_next(&self) -> bool {
        let text = |name: &str| self.headers.get(name).and_then(|v| v.to_str().ok());
        text(LINK.as_str()).is_some_and(|links| links.contains("rel=\"next\""))
            || text("x-next-page").is_some_and(|page| !page.trim().is_empty())
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("server", &self.base.server())
            .finish_non_exhaustive()
    }
}

/// One segment of a path, or one value of a query.
pub fn encoded(text: &str) -> String {
    use fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn names_become_one_segment() {
        assert_eq!(
            encoded("group/sub group/fleet"),
            "group%2Fsub%20group%2Ffleet"
        );
    }
}
