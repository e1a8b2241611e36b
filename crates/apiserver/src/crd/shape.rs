//! The types that the rules of custom resources see.

use std::sync::Arc;

use fairway_cel::{Object, Type};
use fairway_schema::structural::{Additional, Schema, Type as JsonType};

/// The type of what a schema describes; nothing where expressions cannot see it.
pub(super) fn of(schema: &Schema) -> Option<Type> {
    if schema.int_or_string {
        return Some(Type::Dyn);
    }
    match schema.kind {
        JsonType::Array => Some(Type::list(of(schema.items.as_ref()?)?)),
        JsonType::Object => object(schema),
        JsonType::String => Some(match schema.format.as_deref() {
            Some("byte") => Type::Bytes,
            Some("duration") => Type::Duration,
            Some("date" | "date-time") => Type::Timestamp,
            _ => Type::String,
        }),
        JsonType::Boolean => Some(Type::Bool),
        JsonType::Number => Some(Type::Double),
        JsonType::Integer => Some(Type::Int),
        JsonType::Any => None,
    }
}

fn object(schema: &Schema) -> Option<Type> {
    if let Additional::Schema(values) = &schema.additional {
        return Some(Type::map(of(values)?));
    }
    // Of an object's metadata only its names can be seen.
    let whole = schema.embedded;
    let own = schema
        .properties
        .iter()
        .filter(|(name, _)| !(whole && *name == "metadata"))
        .filter_map(|(name, node)| Some((name.clone(), of(node)?)));
    let names = ["name", "generateName"].map(|name| (name, Type::String));
    let metadata = whole.then(|| {
        let metadata = Type::Object(Arc::new(Object::new("object", names)));
        ("metadata".to_owned(), metadata)
    });
    Some(Type::Object(Arc::new(Object::new(
        "object",
        own.chain(metadata),
    ))))
}
