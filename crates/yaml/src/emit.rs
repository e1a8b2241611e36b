//! Writes JSON values as sigs.k8s.io/yaml does, byte for byte: what `kubectl get -o yaml` and
//! `kustomize build` print.
//!
//! Mapping keys are in natural order (`a2` before `a10`), sequences are not indented below their key,
//! strings that another YAML reader might take for something else are quoted, text with line breaks
//! becomes a literal block, and long text is folded behind column 80.
//!
//! ```
//! let value = serde_json::json!({"port-10": "8080", "port-2": 80, "args": ["on", "--verbose"]});
//! let text = fairway_yaml::emit::to_string(&value);
//! assert_eq!(text, "args:\n- \"on\"\n- --verbose\nport-2: 80\nport-10: \"8080\"\n");
//! ```

mod keys;
mod scalar;
mod writer;

use serde_json::{Map, Number, Value};

use crate::{json, number};
use keys::natural_order;
pub(crate) use scalar::plain_string;
use writer::Writer;

/// The YAML of a value, ending in a line break.
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value);
    out
}

/// The YAML of several values, with a line `---` between them.
pub fn documents<'v>(values: impl IntoIterator<Item = &'v Value>) -> String {
    let mut out = String::new();
    for value in values {
        if !out.is_empty() {
            out.push_str("---\n");
        }
        write(&mut out, value);
    }
    out
}

/// Appends the YAML of a value, ending in a line break, to text that is empty or ends in one itself.
pub fn write(out: &mut String, value: &Value) {
    let mut writer = Writer::new(std::mem::take(out));
    node(&mut writer, value, Place::Root);
    writer.indent_line();
    *out = writer.into_text();
}

/// Where a value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    /// An item of a sequence.
    Item,
    /// A value of a mapping, or a key that is too long to stand on a line with its value.
    Mapping,
}

fn node<'v>(writer: &mut Writer<'v>, value: &'v Value, place: Place) {
    match value {
        Value::Null => writer.word("null"),
        Value::Bool(true) => writer.word("true"),
        Value::Bool(false) => writer.word("false"),
        Value::Number(value) => number(writer, value),
        Value::String(text) => writer.with_indent(|writer| scalar::write(writer, text, false)),
        Value::Array(items) if items.is_empty() => writer.word("[]"),
        Value::Array(items) => sequence(writer, items, place),
        Value::Object(map) if map.is_empty() => writer.word("{}"),
        Value::Object(map) => mapping(writer, map),
    }
}

fn number(writer: &mut Writer<'_>, value: &Number) {
    if let Some(int) = value.as_i64() {
        writer.word(itoa::Buffer::new().format(int));
    } else if let Some(int) = value.as_u64() {
        writer.word(itoa::Buffer::new().format(int));
    } else {
        let float = value.as_f64().unwrap_or(f64::NAN);
        match json::number(float) {
            Some(whole) if !whole.is_f64() => writer.word(&whole.to_string()),
            _ => writer.word(&number::go_g64(float)),
        }
    }
}

fn sequence<'v>(writer: &mut Writer<'v>, items: &'v [Value], place: Place) {
    let outer = writer.indent;
    if outer < 0 {
        writer.indent = 0;
    } else if place != Place::Mapping || writer.indention {
        writer.indent += 2;
    }
    for item in items {
        writer.indent_line();
        writer.indicator("-", true, true);
        node(writer, item, Place::Item);
    }
    writer.indent = outer;
}

fn mapping<'v>(writer: &mut Writer<'v>, map: &'v Map<String, Value>) {
    let outer = writer.indent;
    writer.indent = if outer < 0 { 0 } else { outer + 2 };
    // All open mappings share one list, so that none needs one of its own.
    let start = writer.entries.len();
    writer
        .entries
        .extend(map.iter().map(|(key, value)| (key.as_str(), value)));
    natural_order(&mut writer.entries[start..]);
    for at in start..start + map.len() {
        let (key, value) = writer.entries[at];
        writer.indent_line();
        if scalar::is_simple_key(key) {
            writer.with_indent(|writer| scalar::write(writer, key, true));
            writer.indicator(":", false, false);
        } else {
            writer.indicator("?", true, true);
            writer.with_indent(|writer| scalar::write(writer, key, false));
            writer.indent_line();
            writer.indicator(":", true, true);
        }
        node(writer, value, Place::Mapping);
    }
    writer.entries.truncate(start);
    writer.indent = outer;
}
