//! From JSON to CEL values.

use std::collections::HashMap;

use cel::common::{
    types::{
        CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelOptional, CelString,
    },
    value::{CowVal, Val},
};
use serde_json::Value as Json;

use crate::{environment, types::Type};

/// A value for a variable.
#[derive(Debug, Clone)]
pub struct Value(pub(crate) Box<dyn Val>);

impl Value {
    /// `null`.
    pub fn null() -> Self {
        Self(Box::new(CelNull))
    }

    /// The value of JSON of which nothing is known.
    pub fn of(json: &Json) -> Self {
        Self(of(json))
    }

    /// The value of JSON of a known type: a `date-time` is a time, a whole number may be a double, and fields have the
    /// names that expressions use.
    pub fn typed(json: &Json, kind: &Type) -> Self {
        Self(typed(json, kind))
    }

    /// A value that may be missing.
    pub fn optional(value: Option<Value>) -> Self {
        Self(Box::new(match value {
            Some(value) => CelOptional::of(value.0),
            None => CelOptional::none(),
        }))
    }
}

/// The CEL value of a JSON value. Whole numbers are ints, as in the objects that Kubernetes' clients read.
pub(crate) fn of(json: &Json) -> Box<dyn Val> {
    match json {
        Json::Null => Box::new(CelNull),
        Json::Bool(flag) => Box::new(CelBool::from(*flag)),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Box::new(CelInt::from(whole)),
            None => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Json::String(text) => Box::new(CelString::from(text.clone())),
        Json::Array(list) => Box::new(CelList::from(list.iter().map(of).collect::<Vec<_>>())),
        Json::Object(map) => entries(map.iter().map(|(key, value)| (key.clone(), of(value)))),
    }
}

fn entries(entries: impl Iterator<Item = (String, Box<dyn Val>)>) -> Box<dyn Val> {
    let map: HashMap<CelMapKey<'static>, Box<dyn Val>> = entries
        .map(|(key, value)| (CelMapKey::from(key), value))
        .collect();
    Box::new(CelMap::from(map))
}

fn typed(json: &Json, kind: &Type) -> Box<dyn Val> {
    match (kind, json) {
        (Type::Double, Json::Number(number)) => {
            Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN)))
        }
        // A number without a fraction is an integer however it is written.
        (Type::Int, Json::Number(number)) if !number.is_i64() => {
            Box::new(CelInt::from(number.as_f64().unwrap_or_default() as i64))
        }
        (Type::Timestamp, Json::String(text)) => called("timestamp", text),
        (Type::Duration, Json::String(text)) => called("duration", text),
        (Type::Bytes, Json::String(text)) => called("base64.decode", text),
        (Type::List(item), Json::Array(list)) => {
            let items: Vec<_> = list.iter().map(|value| typed(value, item)).collect();
            Box::new(CelList::from(items))
        }
        (Type::Map(_, value), Json::Object(map)) => entries(
            map.iter()
                .map(|(key, json)| (key.clone(), typed(json, value))),
        ),
        (Type::Object(object), Json::Object(map)) => {
            let known = object.fields.iter().filter_map(|(name, field)| {
                let json = map.get(&field.key)?;
                Some((name.clone(), typed(json, &field.kind)))
            });
            entries(known)
        }
        _ => of(json),
    }
}

/// What a function makes of a text; the text itself where it cannot be used, which validation tells of.
fn called(function: &str, text: &str) -> Box<dyn Val> {
    let argument = || CelString::from(text.to_owned());
    let environment = environment::everything();
    let made = environment
        .find_overload(function, &[CowVal::owned(argument())])
        .and_then(|function| function(vec![CowVal::owned(argument())]).ok());
    match made {
        Some(made) => made.into_owned(),
        None => Box::new(argument()),
    }
}
