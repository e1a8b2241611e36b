//! Differences between two states of an object, field by field. Values of Secrets are never shown.

use serde_json::Value;

/// Metadata that the API server writes.
const BOOKKEEPING: [&str; 6] = [
    "managedFields",
    "resourceVersion",
    "generation",
    "uid",
    "creationTimestamp",
    "selfLink",
];

/// One text for each field that differs: its path, then `- before` and `+ after`.
pub(crate) fn field_changes(before: &Value, after: &Value) -> Vec<String> {
    let secret = after["kind"] == "Secret" || before["kind"] == "Secret";
    let mut changes = Vec::new();
    walk("", before, after, secret, &mut changes);
    changes
}

fn walk(path: &str, before: &Value, after: &Value, secret: bool, changes: &mut Vec<String>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                if (path.is_empty() && (key == "status" || key == "types"))
                    || (path == "metadata" && BOOKKEEPING.contains(&key.as_str()))
                {
                    continue;
                }
                let below = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                let (old, new) = (
                    old.get(key).unwrap_or(&Value::Null),
                    new.get(key).unwrap_or(&Value::Null),
                );
                walk(&below, old, new, secret, changes);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                walk(&format!("{path}[{index}]"), old, new, secret, changes);
            }
        }
        _ => changes.push(describe(path, before, after, secret)),
    }
}

fn describe(path: &str, before: &Value, after: &Value, secret: bool) -> String {
    let hidden = secret
        && ["data", "stringData"]
            .iter()
            .any(|field| path == *field || path.starts_with(&format!("{field}.")));
    let mut text = format!("    {path}");
    for (sign, value) in [("-", before), ("+", after)] {
        if value.is_null() {
            continue;
        }
        if hidden {
            text.extend(["\n      ", sign, " (secret value)"]);
        } else {
            for line in fairway_yaml::emit::to_string(value).trim_end().lines() {
                text.extend(["\n      ", sign, " ", line]);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::field_changes;

    #[test]
    fn names_the_field_and_both_values() {
        let before = json!({"kind": "Deployment", "metadata": {"generation": 1}, "spec": {"replicas": 3, "list": [1, {"a": 1}]}, "status": 1});
        let after = json!({"kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": 4, "list": [1, {"a": 2}]}, "status": 2});
        assert_eq!(
            field_changes(&before, &after),
            [
                "    spec.list[1].a\n      - 1\n      + 2",
                "    spec.replicas\n      - 3\n      + 4"
            ]
        );
    }

    #[test]
    fn secret_values_are_never_shown() {
        let before = json!({"kind": "Secret", "data": {"password": "b2xk"}});
        let after = json!({"kind": "Secret", "data": {"password": "bmV3"}});
        let text = field_changes(&before, &after).join("\n");
        assert!(
            text.contains("data.password") && !text.contains("b2xk") && !text.contains("bmV3"),
            "{text}"
        );
    }
}
