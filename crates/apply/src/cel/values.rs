//! From JSON to CEL values.

use std::{collections::HashMap, sync::Arc};

use cel::{
    Value as CelValue,
    objects::{Key, Map},
};
use serde_json::Value;

/// The CEL value of a JSON value. Whole numbers are ints, as in the objects that Kubernetes' clients read.
pub(super) fn of(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(flag) => CelValue::Bool(*flag),
        Value::Number(number) => number.as_i64().map_or_else(
            || CelValue::Float(number.as_f64().unwrap_or(f64::NAN)),
            CelValue::Int,
        ),
        Value::String(text) => CelValue::String(Arc::new(text.clone())),
        Value::Array(list) => CelValue::List(Arc::new(list.iter().map(of).collect())),
        Value::Object(map) => {
            let map: HashMap<Key, CelValue> = map
                .iter()
                .map(|(key, value)| (Key::from(key.as_str()), of(value)))
                .collect();
            CelValue::Map(Map { map: Arc::new(map) })
        }
    }
}
