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

pub(crate) fn json(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request(format!(
            "couldn't get version/kind; json parse error: {error}"
        ))
    })
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
