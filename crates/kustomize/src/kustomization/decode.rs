//! From YAML nodes to typed values, with the file, line and field of what does not fit.
//!
//! kustomize reads its own files by the rules of sigs.k8s.io/yaml: `y` and `no` are booleans, field names match in any
//! case, and null is the same as absent. Kustomization files are read strictly; the configuration of a built-in plugin
//! is not: unknown fields pass, and numbers become strings where strings are wanted.

use fairway_yaml::{Dialect, Kind, Node, Resolved};

use crate::error::{Error, Result};
use crate::node;

/// How the values of one file are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Decoder<'f> {
    pub(crate) file: &'f str,
    /// Refuse unknown fields, and scalars of another type than the field's.
    pub(crate) strict: bool,
    dialect: Dialect,
}

/// The first document of a configuration file. Where a key stands twice, the last one counts.
pub(crate) fn document(file: &str, text: &str) -> Result<Option<Node>> {
    let options = fairway_yaml::Options {
        duplicate_keys: fairway_yaml::DuplicateKeys::LastWins,
        ..Default::default()
    };
    let documents = fairway_yaml::parse_with(text, options)
        .map_err(|error| Error::syntax(&error).of_file(file))?;
    Ok(documents.into_iter().next().map(|document| document.root))
}

/// One entry of a map that is being decoded.
pub(crate) struct Field<'n> {
    /// The field's name in lower case.
    pub(crate) name: String,
    /// The path of the field, for messages.
    pub(crate) path: String,
    pub(crate) value: &'n Node,
    key: &'n Node,
}

impl<'f> Decoder<'f> {
    pub(crate) fn strict(file: &'f str) -> Self {
        Self {
            file,
            strict: true,
            dialect: Dialect::Kubectl,
        }
    }

    pub(crate) fn lenient(file: &'f str) -> Self {
        Self {
            file,
            strict: false,
            dialect: Dialect::Kubectl,
        }
    }

    /// For the configuration of a plugin, which was read as a resource before: `yes` is a string.
    pub(crate) fn plugin(file: &'f str) -> Self {
        Self {
            file,
            strict: false,
            dialect: Dialect::Kustomize,
        }
    }

    /// An error about a value.
    pub(crate) fn error(self, at: &Node, path: &str, what: impl Into<String>) -> Error {
        Error::invalid(what).in_field(path).at(self.file, at.span)
    }

    fn mismatch(self, at: &Node, path: &str, wanted: &str) -> Error {
        let resolved = at
            .scalar()
            .and_then(|scalar| scalar.resolve(self.dialect).ok());
        // As people call it, and as kustomize does.
        let (found, go) = match resolved {
            Some(Resolved::Bool(_)) => ("a boolean", "bool"),
            Some(Resolved::Int(_) | Resolved::Uint(_) | Resolved::Float(_)) => {
                ("a number", "number")
            }
            Some(Resolved::Str(_)) => ("a string", "string"),
            _ if at.items().is_some() => (node::noun(at), "array"),
            _ => (node::noun(at), "object"),
        };
        let what = format!("expected {wanted}, found {found} (cannot unmarshal {go})");
        let error = self.error(at, path, what);
        if wanted == "a string" && at.scalar().is_some() {
            error.hint("put it in quotes")
        } else {
            error
        }
    }

    /// The entries of a map; none of a null.
    pub(crate) fn fields<'n>(self, at: &'n Node, path: &str) -> Result<Vec<Field<'n>>> {
        if node::is_null(at) {
            return Ok(Vec::new());
        }
        let Some(entries) = at.entries() else {
            return Err(self.mismatch(at, path, "a map"));
        };
        let mut out = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let Some(text) = key_text(key) else {
                return Err(self.error(key, path, format!("unknown field {:?}", node::text(key))));
            };
            let path = if path.is_empty() {
                text.to_owned()
            } else {
                format!("{path}.{text}")
            };
            out.push(Field {
                name: text.to_ascii_lowercase(),
                path,
                value,
                key,
            });
        }
        Ok(out)
    }

    /// Refuses a field that the type does not have, with the nearest of those that it has.
    pub(crate) fn unknown(self, field: &Field<'_>, known: &[&str]) -> Result<()> {
        if !self.strict {
            return Ok(());
        }
        let name = node::text(field.key);
        let error = Error::invalid(format!("unknown field {name:?}"))
            .in_field(field.path.clone())
            .at(self.file, field.key.span);
        let near = known
            .iter()
            .map(|known| (distance(&known.to_ascii_lowercase(), &field.name), known))
            .min();
        Err(match near {
            Some((0..=2, near)) => error.hint(format!("did you mean {near:?}?")),
            _ => error,
        })
    }

    pub(crate) fn string(self, at: &Node, path: &str) -> Result<String> {
        let Some(scalar) = at.scalar() else {
            return Err(self.mismatch(at, path, "a string"));
        };
        match scalar.resolve(self.dialect) {
            Ok(Resolved::Str(text)) => Ok(text.to_owned()),
            Ok(Resolved::Timestamp(text) | Resolved::Binary(text)) => Ok(text),
            Ok(Resolved::Null) => Ok(String::new()),
            Ok(resolved) if !self.strict => Ok(match resolved {
                Resolved::Bool(value) => value.to_string(),
                Resolved::Int(value) => value.to_string(),
                Resolved::Uint(value) => value.to_string(),
                Resolved::Float(value) => value.to_string(),
                _ => scalar.text.clone(),
            }),
            _ => Err(self.mismatch(at, path, "a string")),
        }
    }

    pub(crate) fn boolean(self, at: &Node, path: &str) -> Result<bool> {
        match at.scalar().map(|scalar| scalar.resolve(self.dialect)) {
            Some(Ok(Resolved::Bool(value))) => Ok(value),
            Some(Ok(Resolved::Null)) => Ok(false),
            _ => Err(self.mismatch(at, path, "true or false")),
        }
    }

    pub(crate) fn integer(self, at: &Node, path: &str) -> Result<i64> {
        match at.scalar().map(|scalar| scalar.resolve(self.dialect)) {
            Some(Ok(Resolved::Int(value))) => Ok(value),
            // JSON, through which the file goes, writes 3.0 as 3.
            Some(Ok(Resolved::Float(value))) if value.fract() == 0.0 && value.abs() < 1e15 => {
                Ok(value as i64)
            }
            Some(Ok(Resolved::Null)) => Ok(0),
            _ => Err(self.mismatch(at, path, "a whole number")),
        }
    }

    /// The items of a list with their paths; none of a null.
    pub(crate) fn items<'n>(
        self,
        at: &'n Node,
        path: &str,
    ) -> Result<impl Iterator<Item = (String, &'n Node)>> {
        let items = match &at.kind {
            Kind::Seq(items) => items.as_slice(),
            _ if node::is_null(at) => &[],
            _ => return Err(self.mismatch(at, path, "a list")),
        };
        let path = path.to_owned();
        Ok(items
            .iter()
            .enumerate()
            .map(move |(index, item)| (format!("{path}[{index}]"), item)))
    }

    pub(crate) fn list<T>(
        self,
        field: &Field<'_>,
        item: impl Fn(Self, &Node, &str) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.items(field.value, &field.path)?
            .map(|(path, value)| item(self, value, &path))
            .collect()
    }

    pub(crate) fn strings(self, at: &Node, path: &str) -> Result<Vec<String>> {
        self.items(at, path)?
            .map(|(path, item)| self.string(item, &path))
            .collect()
    }

    /// A map of strings, sorted by key.
    pub(crate) fn string_map(self, at: &Node, path: &str) -> Result<Vec<(String, String)>> {
        let mut out: Vec<(String, String)> = Vec::new();
        if node::is_null(at) {
            return Ok(out);
        }
        let Some(entries) = at.entries() else {
            return Err(self.mismatch(at, path, "a map"));
        };
        for (key, value) in entries {
            let name = key_text(key).unwrap_or_default();
            let path = format!("{path}.{name}");
            out.push((name.to_owned(), self.string(value, &path)?));
        }
        out.sort();
        Ok(out)
    }
}

/// The text of a key, by the rules of sigs.k8s.io/yaml.
fn key_text(key: &Node) -> Option<&str> {
    match key.scalar()?.resolve(Dialect::Kubectl) {
        Ok(Resolved::Str(text)) => Some(text),
        Ok(Resolved::Bool(true)) => Some("true"),
        Ok(Resolved::Bool(false)) => Some("false"),
        Ok(Resolved::Null) => None,
        _ => key.text(),
    }
}

/// The number of letters to change, add or leave out between two short words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = (corner + usize::from(x != *y))
                .min(row[j] + 1)
                .min(row[j + 1] + 1);
            corner = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}
