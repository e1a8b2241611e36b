//! Label selectors.

use serde_json::Value;

/// Whether a `LabelSelector` (`matchLabels` and `matchExpressions`) matches a map of labels. A selector that is
/// null matches nothing, an empty one everything.
pub(crate) fn matches(selector: &Value, labels: &Value) -> bool {
    let Some(selector) = selector.as_object() else {
        return false;
    };
    let wanted = selector.get("matchLabels").and_then(Value::as_object);
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    wanted
        .into_iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value))
        && expressions
            .into_iter()
            .flatten()
            .all(|expression| expression_matches(expression, labels))
}

fn expression_matches(expression: &Value, labels: &Value) -> bool {
    let label = expression["key"].as_str().and_then(|key| labels.get(key));
    let listed = label.is_some_and(|label| {
        expression["values"]
            .as_array()
            .is_some_and(|list| list.contains(label))
    });
    match expression["operator"].as_str() {
        Some("In") => listed,
        Some("NotIn") => !listed,
        Some("Exists") => label.is_some(),
        Some("DoesNotExist") => label.is_none(),
        _ => false,
    }
}

/// Whether a plain map of labels, as Services have it, matches; an empty or missing one matches nothing.
pub(crate) fn map_matches(selector: &Value, labels: &Value) -> bool {
    selector.as_object().is_some_and(|wanted| {
        !wanted.is_empty()
            && wanted
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_terms_must_hold() {
        let labels = json!({"app": "web", "tier": "front"});
        assert!(matches(&json!({"matchLabels": {"app": "web"}}), &labels));
        assert!(!matches(
            &json!({"matchLabels": {"app": "web", "x": "y"}}),
            &labels
        ));
        let expression = |operator, values| json!({"matchExpressions": [{"key": "tier", "operator": operator, "values": values}]});
        assert!(matches(
            &expression("In", json!(["front", "back"])),
            &labels
        ));
        assert!(!matches(&expression("NotIn", json!(["front"])), &labels));
        assert!(matches(&expression("NotIn", json!(["front"])), &json!({})));
        assert!(matches(&expression("Exists", json!(null)), &labels));
        assert!(!matches(&expression("DoesNotExist", json!(null)), &labels));
    }

    #[test]
    fn empty_selectors_differ_by_kind() {
        assert!(matches(&json!({}), &json!({})));
        assert!(!matches(&Value::Null, &json!({})));
        assert!(!map_matches(&json!({}), &json!({"a": "b"})));
        assert!(map_matches(
            &json!({"a": "b"}),
            &json!({"a": "b", "c": "d"})
        ));
    }
}
