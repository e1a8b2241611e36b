//! OpenAPI v2 in gnostic's protobuf, without definitions: for a `List`, kubectl asks nothing else whether the server
//! validates fields.

use crate::http::{Reply, is_openapi_v2};
use crate::resources::Registry;
use crate::status::ApiError;

/// What clients ask for.
const MEDIA: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// The document: for each kind, that PATCH takes the parameter `fieldValidation`.
pub(in crate::discovery) fn document(
    registry: &Registry,
    version: &str,
    accept: Option<&str>,
) -> Result<Reply, ApiError> {
    if !accept.is_some_and(is_openapi_v2) {
        return Err(ApiError::new(
            406,
            "NotAcceptable",
            format!("only the following media types are accepted: {MEDIA}"),
        ));
    }
    // The numbers are those of OpenAPIv2.proto.
    let mut paths = Vec::new();
    for resource in registry.served().values() {
        for served in &resource.versions {
            let (group, version) = (&*resource.id.group, &served.version);
            let root = super::root(group, version);
            let namespace = if resource.namespaced {
                "namespaces/{namespace}/"
            } else {
                ""
            };
            let path = format!("/{root}/{namespace}{}/{{name}}", resource.id.resource);
            let kind = format!(
                "group: \"{group}\"\nkind: \"{}\"\nversion: \"{version}\"\n",
                resource.kind
            );
            let query = [
                message(2, b"query"),
                message(4, b"fieldValidation"),
                message(6, b"string"),
            ]
            .concat();
            // ParametersItem, Parameter, NonBodyParameter, QueryParameterSubSchema.
            let parameter = message(1, &message(2, &message(3, &query)));
            let extension = [
                message(1, b"x-kubernetes-group-version-kind"),
                message(2, &message(2, kind.as_bytes())),
            ]
            .concat();
            let operation = [message(8, &parameter), message(13, &extension)].concat();
            let item = [
                message(1, path.as_bytes()),
                message(2, &message(8, &operation)),
            ]
            .concat();
            paths.extend(message(2, &item));
        }
    }
    let info = [
        message(1, b"Kubernetes (simulated by Fairway)"),
        message(2, version.as_bytes()),
    ]
    .concat();
    let document = [message(1, b"2.0"), message(2, &info), message(8, &paths)].concat();
    Ok(Reply::bytes(200, MEDIA, document.into()))
}

/// A length-delimited field of a message.
fn message(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
    out
}
