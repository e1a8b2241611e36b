//! Which representation a client wants.

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
    /// `v1` or `v1beta1` of the shape's own API.
    pub(crate) version: String,
    /// Answer in YAML.
    pub(crate) yaml: bool,
}

impl Accepted {
    fn object(yaml: bool) -> Self {
        Self {
            shape: Shape::Object,
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
    if accepted.shape == Shape::Discovery && accepted.version != "v2" {
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
