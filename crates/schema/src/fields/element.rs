//! Path elements: one step from an object or list into what it holds.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};

use serde_json::{Map, Value};

use super::ParseError;
use super::compare::{display, equal, order};

/// One step of a path.
#[derive(Debug, Clone)]
pub enum PathElement {
    /// A field of an object: `f:spec`.
    Field(String),
    /// A list item by its keys, sorted by name: `k:{"name":"web"}`.
    Key(Vec<(String, Value)>),
    /// An item of a set by its value: `v:"finalizer"`.
    Value(Value),
    /// A list item by its place: `i:0`.
    Index(i64),
}

impl PathElement {
    /// A step into a field.
    pub fn field(name: impl Into<String>) -> PathElement {
        PathElement::Field(name.into())
    }

    /// A step to the list item with these keys.
    pub fn key<K: Into<String>>(keys: impl IntoIterator<Item = (K, Value)>) -> PathElement {
        let mut keys: Vec<(String, Value)> = keys
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect();
        keys.sort_by(|left, right| left.0.cmp(&right.0));
        PathElement::Key(keys)
    }

    /// Reads `f:…`, `k:…`, `v:…` or `i:…`. `None` for letters of a future version, which are to be ignored.
    pub(super) fn parse(text: &str) -> Result<Option<PathElement>, ParseError> {
        let invalid = |what: &str| ParseError {
            text: text.to_owned(),
            what: what.to_owned(),
        };
        let Some((kind, rest)) = text.split_once(':') else {
            return Err(invalid("missing colon"));
        };
        let json = |what: &str| serde_json::from_str::<Value>(rest).map_err(|_| invalid(what));
        Ok(Some(match kind {
            "f" => PathElement::Field(rest.to_owned()),
            "v" => PathElement::Value(json("the value is not JSON")?),
            "i" => PathElement::Index(
                rest.parse()
                    .map_err(|_| invalid("the index is not a number"))?,
            ),
            "k" => match json("the keys are not JSON")? {
                Value::Object(map) => PathElement::key(map),
                _ => return Err(invalid("the keys are not an object")),
            },
            _ if kind.len() == 1 => return Ok(None),
            _ => return Err(invalid("missing colon")),
        }))
    }

    /// The form in `fieldsV1`.
    pub(super) fn encode(&self) -> String {
        match self {
            PathElement::Field(name) => format!("f:{name}"),
            PathElement::Value(value) => format!("v:{}", escape(&value.to_string())),
            PathElement::Index(index) => format!("i:{index}"),
            PathElement::Key(keys) => {
                let mut text = String::from("k:{");
                for (index, (name, value)) in keys.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    text.push_str(&escape(&Value::from(name.as_str()).to_string()));
                    text.push(':');
                    text.push_str(&escape(&value.to_string()));
                }
                text.push('}');
                text
            }
        }
    }

    fn rank(&self) -> u8 {
        match self {
            PathElement::Field(_) => 0,
            PathElement::Key(_) => 1,
            PathElement::Value(_) => 2,
            PathElement::Index(_) => 3,
        }
    }

    /// Whether an object is the list item with these keys, without knowing defaults.
    pub fn matches(&self, item: &Value) -> bool {
        match self {
            PathElement::Key(keys) => {
                let empty = Map::new();
                let map = item.as_object().unwrap_or(&empty);
                keys.iter()
                    .all(|(name, value)| map.get(name).is_some_and(|found| equal(found, value)))
            }
            PathElement::Value(value) => equal(value, item),
            _ => false,
        }
    }
}

/// HTML-safe JSON, as the API server writes it.
fn escape(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                write!(text, "\\u{:04x}", letter as u32).expect("writing to a string");
            }
            other => text.push(other),
        }
    }
    text
}

impl Ord for PathElement {
    fn cmp(&self, other: &PathElement) -> Ordering {
        match (self, other) {
            (PathElement::Field(left), PathElement::Field(right)) => left.cmp(right),
            (PathElement::Key(left), PathElement::Key(right)) => {
                let pairs = left.iter().zip(right);
                pairs
                    .map(|(left, right)| {
                        left.0.cmp(&right.0).then_with(|| order(&left.1, &right.1))
                    })
                    .fold(Ordering::Equal, Ordering::then)
                    .then(left.len().cmp(&right.len()))
            }
            (PathElement::Value(left), PathElement::Value(right)) => order(left, right),
            (PathElement::Index(left), PathElement::Index(right)) => left.cmp(right),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for PathElement {
    fn partial_cmp(&self, other: &PathElement) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for PathElement {
    fn eq(&self, other: &PathElement) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for PathElement {}

/// As in conflict messages: `.spec`, `[name="web"]`, `[="x"]`, `[0]`.
impl fmt::Display for PathElement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathElement::Field(name) => write!(formatter, ".{name}"),
            PathElement::Key(keys) => {
                let keys: Vec<String> = keys
                    .iter()
                    .map(|(name, value)| format!("{name}={}", display(value)))
                    .collect();
                write!(formatter, "[{}]", keys.join(","))
            }
            PathElement::Value(value) => write!(formatter, "[={}]", display(value)),
            PathElement::Index(index) => write!(formatter, "[{index}]"),
        }
    }
}

/// Steps from the root of an object. Displays as `.spec.containers[name="web"].image`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Path(pub Vec<PathElement>);

impl Path {
    /// A path of fields only.
    pub fn fields(names: &[&str]) -> Path {
        Path(names.iter().map(|name| PathElement::field(*name)).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|element| write!(formatter, "{element}"))
    }
}
