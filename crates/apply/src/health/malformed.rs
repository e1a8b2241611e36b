//! Objects whose generation or conditions are not what they should be: kstatus cannot tell how they are.

use serde_json::Value;

/// What is wrong with the fields that all rules read; none where nothing is. `text` says that the kind writes its observed
/// generation as text.
pub(super) fn reason(object: &Value, text: bool) -> Option<String> {
    let wrong = |field: &str| Some(format!("{field} is not of the type that it should be"));
    let metadata = object.get("metadata");
    let generation = metadata.and_then(|metadata| metadata.get("generation"));
    if metadata
        .and_then(|metadata| metadata.get("deletionTimestamp"))
        .is_some_and(|value| !value.is_string())
    {
        return wrong("metadata.deletionTimestamp");
    }
    if generation.is_some_and(|value| value.as_i64().is_none()) {
        return wrong("metadata.generation");
    }
    let status = match object.get("status") {
        None | Some(Value::Null) => return None,
        Some(Value::Object(status)) => status,
        Some(_) => return wrong("status"),
    };
    let observed = status.get("observedGeneration");
    let is_number = |value: &Value| value.as_i64().is_some() || (text && value.is_string());
    if generation.is_some() && observed.is_some_and(|value| !is_number(value)) {
        return wrong("status.observedGeneration");
    }
    let conditions = match status.get("conditions") {
        None | Some(Value::Null) => return None,
        Some(Value::Array(conditions)) => conditions,
        Some(_) => return wrong("status.conditions"),
    };
    let is_text =
        |value: Option<&Value>| value.is_none_or(|value| value.is_string() || value.is_null());
    let is_condition = |condition: &Value| match condition {
        Value::Null => true,
        Value::Object(condition) => ["type", "status", "reason", "message"]
            .iter()
            .all(|key| is_text(condition.get(*key))),
        _ => false,
    };
    if conditions.iter().all(is_condition) {
        None
    } else {
        wrong("status.conditions")
    }
}
