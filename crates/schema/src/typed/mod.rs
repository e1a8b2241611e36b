//! Objects seen through a schema, the way server-side apply sees them.
//!
//! Every value is a map, a list or a scalar. Maps merge by key unless they are atomic; lists are one value unless they
//! are sets or have keys. Where a schema says nothing, the value decides.

mod compare;
mod items;
mod merge;
mod remove;
mod set;
mod validate;

pub use compare::{Comparison, compare};
pub use items::list_item;
pub use merge::merge;
pub use remove::{extract, remove};
pub use set::field_set;
pub use validate::{Duplicates, Error, Errors, validate};

use serde_json::Value;

use crate::structural::{Additional, ListType, MapType, Node, Schema, Type};

const QUANTITY: &str = "apimachinery.pkg.api.resource.Quantity";
const RAW_EXTENSION: &str = "apimachinery.pkg.runtime.RawExtension";

/// A schema at a place, which may override how maps merge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'s> {
    pub(crate) schema: &'s Schema,
    map: MapType,
}

/// How a value is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Map,
    List,
    Scalar,
}

/// What the schema says about a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scalar {
    Numeric,
    String,
    Boolean,
    Untyped,
}

impl<'s> From<&'s Schema> for View<'s> {
    fn from(schema: &'s Schema) -> View<'s> {
        let map = if schema.name == Some(RAW_EXTENSION) {
            MapType::Atomic
        } else {
            schema.map
        };
        View { schema, map }
    }
}

impl<'s> From<&'s Node> for View<'s> {
    fn from(node: &'s Node) -> View<'s> {
        let schema: &Schema = node;
        match node.map_type() {
            MapType::Granular => View::from(schema),
            MapType::Atomic => View {
                schema,
                map: MapType::Atomic,
            },
        }
    }
}

impl<'s> View<'s> {
    /// Nothing is known: maps are granular, lists atomic.
    fn deduced() -> View<'static> {
        View::from(Schema::unknown())
    }

    fn shape(self, value: &Value) -> Shape {
        match self.schema.kind {
            Type::Object => Shape::Map,
            Type::Array => Shape::List,
            Type::Any if self.schema.name == Some(QUANTITY) => Shape::Scalar,
            Type::Any => match value {
                Value::Object(_) | Value::Null => Shape::Map,
                Value::Array(_) => Shape::List,
                _ => Shape::Scalar,
            },
            _ => Shape::Scalar,
        }
    }

    fn scalar(self) -> Scalar {
        match (self.schema.kind, self.schema.format.as_deref()) {
            (Type::Integer | Type::Number, _) => Scalar::Numeric,
            (Type::Boolean, _) => Scalar::Boolean,
            (Type::String, None | Some("" | "byte")) => Scalar::String,
            _ => Scalar::Untyped,
        }
    }

    fn atomic_map(self) -> bool {
        self.map == MapType::Atomic
    }

    fn atomic_list(self) -> bool {
        self.schema.list == ListType::Atomic
    }

    /// Whether a key is a field of the schema and not only an additional property.
    fn declares(self, key: &str) -> bool {
        self.schema.properties.contains_key(key)
    }

    /// The view of the value under a key; `None` if the schema has no place for it.
    fn field(self, key: &str) -> Option<View<'s>> {
        if let Some(node) = self.schema.properties.get(key) {
            return Some(View::from(node));
        }
        match &self.schema.additional {
            Additional::Schema(node) => Some(View::from(node)),
            Additional::Allowed => Some(View::deduced()),
            Additional::Absent if self.schema.open || self.schema.properties.is_empty() => {
                Some(View::deduced())
            }
            Additional::Absent | Additional::Denied => None,
        }
    }

    /// As [`View::field`], guessing where the schema has no place.
    fn field_or_deduced(self, key: &str) -> View<'s> {
        self.field(key).unwrap_or(View::deduced())
    }

    fn items(self) -> View<'s> {
        self.schema
            .items
            .as_ref()
            .map_or(View::deduced(), View::from)
    }
}
