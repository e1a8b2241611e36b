//! Request bodies.

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use super::{Call, protobuf};
use crate::status::ApiError;

/// What a kube-apiserver accepts.
const LIMIT: usize = 3 * 1024 * 1024;

pub(super) async fn read(body: Incoming) -> Result<Bytes, ApiError> {
    match Limited::new(body, LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(ApiError::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {LIMIT}"),
        )),
        Err(error) => Err(ApiError::bad_request(error.to_string())),
    }
}

impl Call {
    /// The object in the body: JSON or YAML by its content type, JSON where none is given.
    pub(crate) fn object(&self) -> Result<Value, ApiError> {
        match self.content_type() {
            "" | "application/json" => json(&self.body),
            "application/yaml" => yaml(&self.body),
            protobuf::MEDIA => protobuf::decode(&self.body)
                .map_err(|error| ApiError::new(415, "UnsupportedMediaType", error.to_string())),
            _ => Err(ApiError::new(
                415,
                "UnsupportedMediaType",
                "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
            )),
        }
    }
}

pub(super) fn json(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request(format!(
            "couldn't get version/kind; json parse error: {}",
            go_error(body, &error)
        ))
    })
}

/// What Go's decoder says of text that is no JSON.
pub(crate) fn go_error(body: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".into();
    }
    let line_start = body
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at + 1)
        .nth(error.line().saturating_sub(2))
        .filter(|_| error.line() > 1)
        .unwrap_or(0);
    let at = line_start + error.column().saturating_sub(1);
    let byte = body.get(at).copied().unwrap_or_default();
    let shown = match byte {
        b'\'' => "'\\''".to_owned(),
        b'\n' => "'\\n'".to_owned(),
        b'\t' => "'\\t'".to_owned(),
        0x20..=0x7e => format!("'{}'", char::from(byte)),
        0xa1..=0xff => format!("'{}'", char::from(byte)),
        other => format!("'\\u{:04x}'", u32::from(other)),
    };
    let text = error.to_string();
    if text.contains("expected ident") {
        let start = body[..at.min(body.len())]
            .iter()
            .rposition(|byte| !byte.is_ascii_lowercase())
            .map_or(0, |before| before + 1);
        let literal = match body.get(start) {
            Some(b't') => "true",
            Some(b'f') => "false",
            _ => "null",
        };
        let wanted = literal.chars().nth(at - start).unwrap_or_default();
        return format!("invalid character {shown} in literal {literal} (expecting '{wanted}')");
    }
    let place = [
        (
            "key must be a string",
            "looking for beginning of object key string",
        ),
        ("expected `,` or `}`", "after object key:value pair"),
        ("expected `,` or `]`", "after array element"),
        ("expected `:`", "after object key"),
        ("trailing characters", "after top-level value"),
        ("control character", "in string literal"),
    ]
    .into_iter()
    .find(|(ours, _)| text.contains(ours))
    .map_or("looking for beginning of value", |(_, place)| place);
    format!("invalid character {shown} {place}")
}

/// One YAML document; JSON is YAML too.
pub(crate) fn yaml(body: &[u8]) -> Result<Value, ApiError> {
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    let text =
        std::str::from_utf8(body).map_err(|error| ApiError::bad_request(error.to_string()))?;
    fairway_yaml::from_str(text)
        .map_err(|error| ApiError::bad_request(format!("error decoding YAML: {error}")))
}
