//! The hash that generated names end in.

use std::fmt::Write as _;

use fairway_yaml::Node;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::node;
use crate::refold::refold;
use crate::resource::Resource;
use crate::resources::Resources;

/// Appends the hash to the names of the resources that ask for it.
pub(crate) fn transform(resources: &mut Resources) -> Result<()> {
    if !resources.iter().any(|resource| resource.needs_hash) {
        return Ok(());
    }
    for resource in resources
        .items_mut()
        .iter_mut()
        .filter(|resource| resource.needs_hash)
    {
        let hash = of(resource)?;
        resource.remember_id()?;
        let name = format!("{}-{hash}", resource.name());
        resource.set_name(&name)?;
    }
    Ok(())
}

/// Ten letters and digits over what a ConfigMap or Secret holds; metadata and `immutable` do not count.
pub(crate) fn of(resource: &Resource) -> Result<String> {
    let fields: &[&str] = match resource.kind() {
        "ConfigMap" => &["data", "binaryData"],
        "Secret" => &["type", "data", "stringData"],
        _ => {
            return Ok(encode(
                &serde_json::to_string(&whole(resource)?).unwrap_or_default(),
            ));
        }
    };
    let mut content = Map::new();
    content.insert("kind".to_owned(), resource.kind().into());
    // The place of the name, which kustomize leaves empty.
    content.insert("name".to_owned(), "".into());
    for field in fields {
        let value = match resource.object().get(field) {
            None => Value::String(String::new()),
            Some(value) if value.scalar().is_some() => Value::String(node::text(value).to_owned()),
            Some(value) => json(resource, value)?,
        };
        let optional = matches!(*field, "binaryData" | "stringData");
        if !optional || value.is_object() {
            content.insert((*field).to_owned(), value);
        }
    }
    Ok(encode(&go_json(&Value::Object(content))))
}

fn whole(resource: &Resource) -> Result<Value> {
    json(resource, resource.object())
}

fn json(resource: &Resource, value: &Node) -> Result<Value> {
    let mut value = value.clone();
    refold(&mut value).map_err(|error| error.while_doing(resource.id()))?;
    value
        .into_json()
        .map_err(|error| Error::syntax(&error).while_doing(resource.id()))
}

/// JSON as Go writes it: sorted keys, and what HTML cannot hold escaped.
pub(crate) fn go_json(value: &Value) -> String {
    html_escaped(&sorted(value).to_string())
}

/// [`go_json`] over several lines, indented by two spaces.
pub(crate) fn go_json_indented(value: &Value) -> String {
    html_escaped(&serde_json::to_string_pretty(&sorted(value)).unwrap_or_default())
}

fn html_escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// The value with sorted maps, whatever order serde_json keeps.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            Value::Object(
                entries
                    .into_iter()
                    .map(|(key, value)| (key.clone(), sorted(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        value => value.clone(),
    }
}

fn encode(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let mut hex = String::new();
    for byte in digest.iter().take(5) {
        let _ = write!(hex, "{byte:02x}");
    }
    // Without vowels and with few ones and zeros, no hash reads as a word.
    hex.chars()
        .map(|c| match c {
            '0' => 'g',
            '1' => 'h',
            '3' => 'k',
            'a' => 'm',
            'e' => 't',
            c => c,
        })
        .collect()
}
