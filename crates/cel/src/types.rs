//! The types of CEL, as far as they are known before an expression runs.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// A type.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "these are the words of CEL")]
pub enum Type {
    /// Known only when the expression is evaluated.
    #[default]
    Dyn,
    /// What an expression has that is wrong already: fits everything, so that one mistake is told once.
    Error,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    List(Arc<Type>),
    Map(Arc<Type>, Arc<Type>),
    Optional(Arc<Type>),
    /// The type of a type.
    Type(Arc<Type>),
    /// Named, with known fields.
    Object(Arc<Object>),
    /// Named, without fields: only functions can use it.
    Opaque(&'static str),
    /// Stands for any type, the same wherever it stands in one signature.
    Parameter(char),
    /// What has to be found out; numbered.
    Unknown(usize),
}

/// A named type with fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object {
    /// The name, as messages tell it.
    pub name: String,
    /// By the name that expressions use, which is escaped where the field's own is no identifier.
    pub fields: BTreeMap<String, Field>,
}

/// A field of an [`Object`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Field {
    /// Its name in JSON.
    pub key: String,
    /// What it holds.
    pub kind: Type,
}

impl Object {
    /// A type with these fields, of which those that have no name in CEL are left out.
    pub fn new<K: Into<String>>(name: &str, fields: impl IntoIterator<Item = (K, Type)>) -> Self {
        let fields = fields.into_iter().filter_map(|(key, kind)| {
            let key = key.into();
            Some((escape(&key)?, Field { key, kind }))
        });
        Self {
            name: name.to_owned(),
            fields: fields.collect(),
        }
    }
}

impl Type {
    /// A list of these.
    pub fn list(item: Type) -> Self {
        Self::List(Arc::new(item))
    }

    /// A map from texts to these.
    pub fn map(value: Type) -> Self {
        Self::Map(Arc::new(Self::String), Arc::new(value))
    }

    /// A value of this type, or none.
    pub fn optional(value: Type) -> Self {
        Self::Optional(Arc::new(value))
    }

    /// Whether it says nothing: anything may be done with it.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// Types inside this one.
    pub(crate) fn parts(&self) -> Vec<&Type> {
        match self {
            Self::List(part) | Self::Optional(part) | Self::Type(part) => vec![part],
            Self::Map(key, value) => vec![key, value],
            _ => Vec::new(),
        }
    }

    /// The same with each part replaced.
    pub(crate) fn rebuilt(&self, mut replace: impl FnMut(&Type) -> Type) -> Type {
        match self {
            Self::List(part) => Self::list(replace(part)),
            Self::Optional(part) => Self::optional(replace(part)),
            Self::Type(part) => Self::Type(Arc::new(replace(part))),
            Self::Map(key, value) => Self::Map(Arc::new(replace(key)), Arc::new(replace(value))),
            other => other.clone(),
        }
    }

    /// As the complaint about a result of a wrong type names it, which has longer names than [`fmt::Display`] has.
    pub fn output_name(&self) -> String {
        let parts: Vec<String> = self.parts().into_iter().map(Self::output_name).collect();
        let name = match self {
            Self::Null => "null_type".to_owned(),
            Self::Timestamp => "google.protobuf.Timestamp".to_owned(),
            Self::Duration => "google.protobuf.Duration".to_owned(),
            other => other.head(),
        };
        with_parts(&name, &parts)
    }

    fn head(&self) -> String {
        match self {
            Self::Dyn | Self::Unknown(_) => "dyn",
            Self::Error => "!error!",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
            Self::List(_) => "list",
            Self::Map(..) => "map",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Object(object) => &object.name,
            Self::Opaque(name) => name,
            Self::Parameter(name) => return name.to_string(),
        }
        .to_owned()
    }
}

fn with_parts(name: &str, parts: &[String]) -> String {
    if parts.is_empty() {
        name.to_owned()
    } else {
        format!("{name}({})", parts.join(", "))
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.parts().into_iter().map(ToString::to_string).collect();
        f.write_str(&with_parts(&self.head(), &parts))
    }
}

/// Words that cannot be names in CEL.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The name of a field in an expression, as Kubernetes writes names that are no identifiers; none if it cannot be written.
pub fn escape(name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let mut escaped = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let (length, part) = match c {
            '_' if rest.starts_with("__") => (2, "__underscores__"),
            '.' => (1, "__dot__"),
            '-' => (1, "__dash__"),
            '/' => (1, "__slash__"),
            c if c.is_ascii_alphanumeric() || c == '_' => (1, &rest[..1]),
            _ => return None,
        };
        escaped.push_str(part);
        rest = &rest[length..];
    }
    Some(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_kubernetes_escapes_them() {
        for (name, escaped) in [
            ("replicas", Some("replicas")),
            ("namespace", Some("__namespace__")),
            ("a-b", Some("a__dash__b")),
            ("a.b/c", Some("a__dot__b__slash__c")),
            ("a__b", Some("a__underscores__b")),
            ("_a_b", Some("_a_b")),
            ("1a", None),
            ("", None),
            ("a b", None),
            ("ä", None),
        ] {
            assert_eq!(escape(name).as_deref(), escaped, "{name}");
        }
    }

    #[test]
    fn types_show_as_messages_name_them() {
        let nested = Type::map(Type::list(Type::Timestamp));
        assert_eq!(nested.to_string(), "map(string, list(timestamp))");
        assert_eq!(
            nested.output_name(),
            "map(string, list(google.protobuf.Timestamp))"
        );
        assert_eq!(
            Type::optional(Type::Null).to_string(),
            "optional_type(null)"
        );
    }
}
