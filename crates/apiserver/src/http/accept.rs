//! Which representation a client wants.

use crate::status::ApiError;

/// The shape of an answer, all of it JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// The object itself.
    Object,
    /// `PartialObjectMetadata` (or its list).
    Metadata,
    /// A table with columns, as `kubectl get` prints it.
    Table,
    /// Aggregated discovery: `APIGroupDiscoveryList`.
    Discovery,
}

/// What was agreed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Accepted {
    pub(crate) shape: Shape,
    /// Metadata of a list, not of an object.
    pub(crate) list: bool,
    /// `v1` or `v1beta1` of the shape's own API.
    pub(crate) version: String,
    /// Answer in YAML.
    pub(crate) yaml: bool,
}

impl Accepted {
    /// The object itself.
    pub(crate) fn object(yaml: bool) -> Self {
        Self {
            shape: Shape::Object,
            list: false,
            version: "v1".into(),
            yaml,
        }
    }
}

/// Takes the first representation of an `Accept` header that this server has; `None` means 406. Protobuf and
/// CBOR are not spoken here, and clients that prefer them offer JSON too.
pub(crate) fn negotiate(header: Option<&str>) -> Option<Accepted> {
    let header = header.map(str::trim).filter(|text| !text.is_empty());
    let Some(header) = header else {
        return Some(Accepted::object(false));
    };
    let mut offers: Vec<(f32, Accepted)> = header
        .split(',')
        .filter_map(|offer| parse(offer.trim()))
        .collect();
    // Stable, so that equal weights keep the client's order.
    offers.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    offers.into_iter().map(|(_, accepted)| accepted).next()
}

/// What is said to a client that takes nothing of what there is. One that names a form of JSON which is not there hears
/// it from the code that writes objects, others from the router.
pub(crate) fn not_acceptable(header: &str, streams: bool) -> ApiError {
    let media = |offer: &str| {
        offer
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let is_json = header
        .split(',')
        .any(|offer| matches!(&*media(offer), "application/json" | "application/yaml"));
    if is_json {
        return ApiError::new(
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json, application/yaml",
        );
    }
    let streams = if streams {
        ", application/json;stream=watch"
    } else {
        ""
    };
    let mut error = ApiError::new(
        406,
        "NotAcceptable",
        format!(
            "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml{streams}"
        ),
    );
    error.details = serde_json::json!({});
    error
}

/// Whether OpenAPI v2 in protobuf is taken: the only form in which it is there.
pub(crate) fn is_openapi_v2(header: &str) -> bool {
    header.contains("com.github.proto-openapi.spec.v2")
}

fn parse(offer: &str) -> Option<(f32, Accepted)> {
    let mut parts = offer.split(';').map(str::trim);
    let media = parts.next()?;
    let mut accepted = match media {
        "application/json" | "*/*" | "application/*" => Accepted::object(false),
        "application/yaml" => Accepted::object(true),
        // Served at one path only, which looks for itself.
        _ if is_openapi_v2(media) => Accepted::object(false),
        _ => return None,
    };
    let mut weight = 1.0;
    for part in parts {
        let (key, value) = part.split_once('=')?;
        match key {
            "q" => weight = value.parse().ok()?,
            "as" => {
                accepted.list = value == "PartialObjectMetadataList";
                accepted.shape = match value {
                    "Table" => Shape::Table,
                    "PartialObjectMetadata" | "PartialObjectMetadataList" => Shape::Metadata,
                    "APIGroupDiscoveryList" => Shape::Discovery,
                    _ => return None,
                }
            }
            "v" => value.clone_into(&mut accepted.version),
            _ => {}
        }
    }
    // Only the released version of aggregated discovery is spoken.
    let fits = match accepted.shape {
        Shape::Object => true,
        Shape::Metadata | Shape::Table => matches!(&*accepted.version, "v1" | "v1beta1"),
        Shape::Discovery => accepted.version == "v2",
    };
    if !fits {
        return None;
    }
    Some((weight, accepted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protobuf_falls_back_to_json() {
        let accepted =
            negotiate(Some("application/vnd.kubernetes.protobuf,application/json")).unwrap();
        assert_eq!(accepted.shape, Shape::Object);
        assert_eq!(negotiate(Some("application/vnd.kubernetes.protobuf")), None);
    }

    #[test]
    fn kubectl_gets_its_table() {
        let accepted = negotiate(Some(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
        ))
        .unwrap();
        assert_eq!((accepted.shape, &*accepted.version), (Shape::Table, "v1"));
    }
}
