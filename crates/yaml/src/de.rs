//! From YAML text to typed values, with errors that name the line and the field.

use serde::de::DeserializeOwned;

use crate::json::Dialect;
use crate::node::Error;
use crate::parse::parse;

/// Reads the only document of a text into a type, by kubectl's rules ([`Dialect::Kubectl`]).
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let mut documents = parse(text)?.into_iter();
    let value = match documents.next() {
        Some(document) => document.root.into_json_as(Dialect::Kubectl)?,
        None => serde_json::Value::Null,
    };
    serde_json::from_value(value).map_err(|error| Error {
        message: error.to_string(),
        line: 0,
        column: 0,
    })
}
