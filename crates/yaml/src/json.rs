//! Between nodes and JSON values.

use serde_json::{Map, Number, Value};

use crate::node::{Document, Error, Kind, Node, Scalar, Span, Style};
use crate::resolve::{Resolved, is_plain_string};

/// Whose rules decide what a plain scalar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// yaml.v3, with which kustomize reads resources and patches: `y`, `yes` and `on` are strings, dates
    /// become timestamps, keys must be strings.
    #[default]
    Kustomize,
    /// sigs.k8s.io/yaml (go-yaml v2), with which kubectl reads manifests and kustomize its own
    /// configuration files: `y`, `yes` and `on` are booleans, dates stay as they are written, and keys
    /// that are numbers or booleans become strings.
    Kubectl,
}

impl Document {
    /// The document's value as JSON: [`Node::to_json`] of its root.
    ///
    /// # Errors
    ///
    /// As [`Node::to_json`].
    pub fn to_json(&self) -> Result<Value, Error> {
        self.root.to_json()
    }

    /// The document's value as JSON: [`Node::into_json`] of its root.
    ///
    /// # Errors
    ///
    /// As [`Node::to_json`].
    pub fn into_json(self) -> Result<Value, Error> {
        self.root.into_json()
    }
}

impl Node {
    /// The value as JSON, by the rules of [`Dialect::Kustomize`].
    ///
    /// # Errors
    ///
    /// What JSON cannot hold (`.inf`, `.nan`, a key that is not a string) and tags that the text does not
    /// fit, with the place.
    pub fn to_json(&self) -> Result<Value, Error> {
        self.to_json_as(Dialect::Kustomize)
    }

    /// The value as JSON, by the rules of the dialect.
    pub fn to_json_as(&self, dialect: Dialect) -> Result<Value, Error> {
        match &self.kind {
            Kind::Scalar(scalar) => match scalar_value(scalar, self.span, dialect)? {
                Some(value) => Ok(value),
                None => Ok(Value::String(scalar.text.clone())),
            },
            Kind::Seq(items) => items
                .iter()
                .map(|item| item.to_json_as(dialect))
                .collect::<Result<_, _>>()
                .map(Value::Array),
            Kind::Map(entries) => {
                let mut map = Map::new();
                for (key, value) in entries {
                    let name = match key_name(key, dialect)? {
                        Some(name) => name,
                        None => key.text().unwrap_or_default().to_owned(),
                    };
                    map.insert(name, value.to_json_as(dialect)?);
                }
                Ok(Value::Object(map))
            }
        }
    }

    /// Like [`Node::to_json`], but keeps the strings instead of copying them.
    pub fn into_json(self) -> Result<Value, Error> {
        self.into_json_as(Dialect::Kustomize)
    }

    /// Like [`Node::to_json_as`], but keeps the strings instead of copying them.
    pub fn into_json_as(self, dialect: Dialect) -> Result<Value, Error> {
        let span = self.span;
        match self.kind {
            Kind::Scalar(scalar) => match scalar_value(&scalar, span, dialect)? {
                Some(value) => Ok(value),
                None => Ok(Value::String(scalar.text)),
            },
            Kind::Seq(items) => items
                .into_iter()
                .map(|item| item.into_json_as(dialect))
                .collect::<Result<_, _>>()
                .map(Value::Array),
            Kind::Map(entries) => {
                let entry = |(key, value): (Node, Node)| {
                    let name = match (key_name(&key, dialect)?, key.kind) {
                        (Some(name), _) => name,
                        (None, Kind::Scalar(scalar)) => scalar.text,
                        (None, _) => String::new(),
                    };
                    Ok((name, value.into_json_as(dialect)?))
                };
                // Collected at once, the map is built much faster than entry by entry.
                let map: Map<_, _> = entries.into_iter().map(entry).collect::<Result<_, _>>()?;
                Ok(Value::Object(map))
            }
        }
    }

    /// A tree without places that [`Node::to_json`] turns back into the value.
    pub fn from_json(value: &Value) -> Node {
        let plain = |text: String| {
            Kind::Scalar(Scalar {
                text,
                style: Style::Plain,
                tag: None,
            })
        };
        let kind = match value {
            Value::Null => plain("null".into()),
            Value::Bool(bool) => plain(bool.to_string()),
            Value::Number(number) => plain(number.to_string()),
            Value::String(text) => return Node::from_text(text),
            Value::Array(items) => Kind::Seq(items.iter().map(Node::from_json).collect()),
            Value::Object(map) => Kind::Map(
                map.iter()
                    .map(|(key, value)| (Node::from_text(key), Node::from_json(value)))
                    .collect(),
            ),
        };
        Node {
            kind,
            span: Span::default(),
        }
    }

    fn from_text(text: &str) -> Node {
        let style = if is_plain_string(text) && text != "<<" {
            Style::Plain
        } else {
            Style::DoubleQuoted
        };
        Node {
            kind: Kind::Scalar(Scalar {
                text: text.to_owned(),
                style,
                tag: None,
            }),
            span: Span::default(),
        }
    }
}

/// The value of a scalar; `None` if it is its own text.
fn scalar_value(scalar: &Scalar, span: Span, dialect: Dialect) -> Result<Option<Value>, Error> {
    let resolved = scalar
        .resolve(dialect)
        .map_err(|message| Error::new(message, span))?;
    Ok(Some(match resolved {
        Resolved::Str(_) => return Ok(None),
        Resolved::Null => Value::Null,
        Resolved::Bool(bool) => Value::Bool(bool),
        Resolved::Int(int) => int.into(),
        Resolved::Uint(int) => int.into(),
        Resolved::Float(float) => match number(float) {
            Some(number) => Value::Number(number),
            None => {
                return Err(Error::new(
                    format!(
                        "unsupported value: JSON has no number for `{}`",
                        scalar.text
                    ),
                    span,
                ));
            }
        },
        Resolved::Timestamp(text) | Resolved::Binary(text) => Value::String(text),
    }))
}

/// A float as it is after a way through JSON text: `1000.0` is the integer 1000.
pub(crate) fn number(float: f64) -> Option<Number> {
    if !float.is_finite() {
        return None;
    }
    if float.fract() == 0.0 && float.abs() < 1e20 {
        // Beyond 2^53 the shortest decimal digits are not the exact value, and the digits are what counts.
        let digits = format!("{float}");
        if let Ok(int) = digits.parse::<i64>() {
            return Some(int.into());
        }
        if let Ok(int) = digits.parse::<u64>() {
            return Some(int.into());
        }
    }
    Number::from_f64(float)
}

/// The name that a key has in JSON; `None` if it is the key's own text.
fn key_name(key: &Node, dialect: Dialect) -> Result<Option<String>, Error> {
    let refuse = |what: &str| {
        Error::new(
            match key.text() {
                Some(text) if !text.is_empty() => format!(
                    "map key must be a string, but `{text}` is {what}; hint: put it in quotes"
                ),
                _ => format!("map key must be a string, not {what}"),
            },
            key.span,
        )
    };
    let Some(scalar) = key.scalar() else {
        return Err(refuse(key.noun()));
    };
    let resolved = scalar
        .resolve(dialect)
        .map_err(|message| Error::new(message, key.span))?;
    match (dialect, resolved) {
        (_, Resolved::Str(_)) => Ok(None),
        (_, Resolved::Binary(text)) => Ok(Some(text)),
        (Dialect::Kubectl, Resolved::Bool(bool)) => Ok(Some(bool.to_string())),
        (Dialect::Kubectl, Resolved::Int(int)) => Ok(Some(int.to_string())),
        (Dialect::Kubectl, Resolved::Float(float)) => Ok(Some(crate::number::go_g32(float))),
        (Dialect::Kubectl, Resolved::Timestamp(text)) => Ok(Some(text)),
        (_, resolved) => Err(refuse(resolved.noun())),
    }
}
