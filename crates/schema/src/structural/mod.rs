//! Structural schemas: one model for built-in types and custom resources.
//!
//! A [`Schema`] describes a value; a [`Node`] is a place that holds one (a property, list items, map values) and adds
//! what belongs to the place: default and patch strategy. Built-in definitions are referred to by [`Node`]s, never
//! copied.

mod decode;
mod defaulting;
mod error;
mod format;
mod lists;
mod parse;
mod prune;
mod sanity;
mod scalars;
mod validate;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, OnceLock};

use regex::Regex;
use serde_json::Value;

pub use decode::{DecodeError, decode_error, unknown_fields};
pub use defaulting::{default, drop_nulls};
pub(crate) use error::quote;
pub use error::{FieldError, Reason};
pub use lists::validate_lists;
pub use parse::ParseError;
pub use prune::{Unknown, prune};
pub use sanity::check_crd_schema;
pub use validate::validate;

use crate::builtin;

/// The definition of `metadata`.
pub(crate) const OBJECT_META: &str = "apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// JSON type that a schema asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Type {
    /// No type is given: anything goes.
    #[default]
    Any,
    /// A map.
    Object,
    /// A list.
    Array,
    /// A string.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
}

impl Type {
    /// The word that OpenAPI has for it; empty for [`Type::Any`].
    pub fn word(self) -> &'static str {
        match self {
            Type::Any => "",
            Type::Object => "object",
            Type::Array => "array",
            Type::String => "string",
            Type::Integer => "integer",
            Type::Number => "number",
            Type::Boolean => "boolean",
        }
    }
}

/// How two lists merge in server-side apply (`x-kubernetes-list-type`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListType {
    /// As one value, which is also what an absent list type means.
    #[default]
    Atomic,
    /// Scalars, each at most once.
    Set,
    /// Objects, told apart by these keys.
    Map(Vec<String>),
}

/// How two maps merge in server-side apply (`x-kubernetes-map-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MapType {
    /// Key by key.
    #[default]
    Granular,
    /// As one value.
    Atomic,
}

/// Strategic merge patch behaviour of a place (`x-kubernetes-patch-strategy`, `x-kubernetes-patch-merge-key`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patch {
    /// `merge`: lists are merged, not replaced.
    pub merge: bool,
    /// `retainKeys`: fields that the patch doesn't name are removed.
    pub retain_keys: bool,
    /// The field that tells list items apart; none for lists of scalars.
    pub merge_key: Option<String>,
}

/// What an object may hold besides its properties.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Additional {
    /// Nothing is said.
    #[default]
    Absent,
    /// `additionalProperties: false`.
    Denied,
    /// `additionalProperties: true`.
    Allowed,
    /// Values of this schema.
    Schema(Node),
}

/// Value validations; rare enough to be kept aside.
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "these are the words of OpenAPI")]
pub struct Checks {
    pub enumeration: Vec<Value>,
    pub pattern: Option<Pattern>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub exclusive_minimum: bool,
    pub exclusive_maximum: bool,
    pub multiple_of: Option<f64>,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    pub unique_items: bool,
    pub min_properties: Option<u64>,
    pub max_properties: Option<u64>,
    pub all_of: Vec<Schema>,
    pub any_of: Vec<Schema>,
    pub one_of: Vec<Schema>,
    pub not: Option<Box<Schema>>,
    /// `x-kubernetes-validations` as they are written; nothing evaluates CEL in this crate.
    pub rules: Vec<Value>,
}

/// A regular expression of a schema, compiled when it is first used.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    pub(crate) fn new(text: String) -> Pattern {
        Pattern {
            text,
            compiled: OnceLock::new(),
        }
    }

    /// The pattern as it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The compiled pattern; none if it is not a regular expression.
    pub fn regex(&self) -> Option<&Regex> {
        self.compiled
            .get_or_init(|| Regex::new(&self.text).ok())
            .as_ref()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

/// The shape of a value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Schema {
    /// Name of a built-in definition without `io.k8s.`, `api.core.v1.PodSpec`; none in custom resources.
    pub name: Option<&'static str>,
    /// JSON type.
    pub kind: Type,
    /// `int32`, `date-time`, ….
    pub format: Option<String>,
    /// Whether `null` is a value.
    pub nullable: bool,
    /// `x-kubernetes-int-or-string`, or the built-in type of that name.
    pub int_or_string: bool,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserve_unknown: bool,
    /// As [`Schema::preserve_unknown`], of this schema or one that it is nested in.
    pub open: bool,
    /// `x-kubernetes-embedded-resource`; also set on the root of custom resources.
    pub embedded: bool,
    /// Known fields.
    pub properties: BTreeMap<String, Node>,
    /// Other fields.
    pub additional: Additional,
    /// What a list holds.
    pub items: Option<Node>,
    /// Fields that must be there.
    pub required: Vec<String>,
    /// How lists merge.
    pub list: ListType,
    /// How maps merge.
    pub map: MapType,
    /// Value validations.
    pub checks: Option<Box<Checks>>,
}

impl Schema {
    /// The schema of objects that nothing is known about: maps merge by key, lists as one value.
    pub fn unknown() -> &'static Schema {
        static UNKNOWN: LazyLock<Schema> = LazyLock::new(Schema::default);
        &UNKNOWN
    }

    /// The schema of a value under a key: a property, or what additional properties are. `None` if there is none.
    pub fn field(&self, key: &str) -> Option<&Node> {
        self.properties.get(key).or(match &self.additional {
            Additional::Schema(node) => Some(node),
            _ => None,
        })
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Target {
    Own(Arc<Schema>),
    Named(usize),
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Place {
    default: Option<Value>,
    map: Option<MapType>,
    patch: Patch,
}

/// A place that holds a value of a [`Schema`], which it derefs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    target: Target,
    place: Option<Box<Place>>,
}

impl Node {
    /// A place without attributes of its own.
    pub fn new(schema: Schema) -> Node {
        Node {
            target: Target::Own(Arc::new(schema)),
            place: None,
        }
    }

    /// A place for a built-in definition.
    pub(crate) fn named(index: usize) -> Node {
        Node {
            target: Target::Named(index),
            place: None,
        }
    }

    /// The value of an absent field.
    pub fn default(&self) -> Option<&Value> {
        self.place.as_ref()?.default.as_ref()
    }

    /// How maps merge here: the place's own word, else the schema's.
    pub fn map_type(&self) -> MapType {
        self.place
            .as_ref()
            .and_then(|place| place.map)
            .unwrap_or(self.map)
    }

    /// Strategic merge patch behaviour.
    pub fn patch(&self) -> &Patch {
        static NONE: Patch = Patch {
            merge: false,
            retain_keys: false,
            merge_key: None,
        };
        self.place.as_ref().map_or(&NONE, |place| &place.patch)
    }
}

impl Deref for Node {
    type Target = Schema;

    fn deref(&self) -> &Schema {
        match &self.target {
            Target::Own(schema) => schema,
            Target::Named(index) => builtin::at(*index),
        }
    }
}
