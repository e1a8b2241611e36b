//! Answers.

use std::convert::Infallible;
use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use serde::Serialize;
use serde_json::Value;

use crate::status::ApiError;

/// The body of every answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A stream of chunks, for watches.
pub(crate) type Chunks = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// An answer before it is put on the wire.
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) content: Content,
    pub(crate) warnings: Vec<String>,
    pub(crate) retry_after: Option<u64>,
}

pub(crate) enum Content {
    Bytes(&'static str, Bytes),
    Stream(Chunks),
}

impl Reply {
    pub(crate) fn json<T: Serialize + ?Sized>(code: u16, value: &T) -> Self {
        let bytes = serde_json::to_vec(value).unwrap_or_default();
        Self::bytes(code, "application/json", bytes.into())
    }

    pub(crate) fn yaml(code: u16, value: &Value) -> Self {
        let text = fairway_yaml::emit::to_string(value);
        Self::bytes(code, "application/yaml", text.into())
    }

    pub(crate) fn text(code: u16, text: impl Into<Bytes>) -> Self {
        Self::bytes(code, "text/plain; charset=utf-8", text.into())
    }

    pub(crate) fn bytes(code: u16, media: &'static str, bytes: Bytes) -> Self {
        Self {
            code,
            content: Content::Bytes(media, bytes),
            warnings: Vec::new(),
            retry_after: None,
        }
    }

    pub(crate) fn stream(chunks: Chunks) -> Self {
        Self {
            code: 200,
            content: Content::Stream(chunks),
            warnings: Vec::new(),
            retry_after: None,
        }
    }

    pub(crate) fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// The same in YAML, where it is JSON.
    pub(crate) fn in_yaml(mut self) -> Self {
        if let Content::Bytes("application/json", bytes) = &self.content
            && let Ok(value) = serde_json::from_slice::<Value>(bytes)
        {
            let text = fairway_yaml::emit::to_string(&value);
            self.content = Content::Bytes("application/yaml", text.into());
        }
        self
    }

    /// The answer on the wire; without its body for `HEAD`.
    pub(crate) fn into_response(self, head: bool) -> Response<Body> {
        let (media, body) = match self.content {
            Content::Bytes(media, bytes) => {
                let bytes = if head { Bytes::new() } else { bytes };
                (media, Full::new(bytes).boxed_unsync())
            }
            Content::Stream(chunks) => {
                let frames = futures::StreamExt::map(chunks, |bytes| Ok(Frame::data(bytes)));
                ("application/json", StreamBody::new(frames).boxed_unsync())
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        if !media.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        }
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, private"),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        for warning in &self.warnings {
            let text = warning.replace('\\', "\\\\").replace('"', "\\\"");
            // RFC 7234: code, agent, text.
            if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
                headers.append(header::WARNING, value);
            }
        }
        response
    }
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Self {
        if error == ApiError::page_not_found() {
            return Self::text(404, error.message);
        }
        let mut reply = Self::json(error.code, &error.to_status());
        reply.retry_after = error.details["retryAfterSeconds"].as_u64();
        reply
    }
}
