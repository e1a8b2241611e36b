//! `fieldPath` of rules: `.spec.names['a-b']`.

use fairway_schema::structural::{Additional, Schema};

/// The path as messages show it; nothing where it leads to no field of the schema.
pub(super) fn normalised(path: &str, schema: &Schema) -> Option<String> {
    let mut schema = schema;
    let mut shown = String::new();
    let mut rest = path;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (step, after) = step(rest)?;
        if schema.properties.is_empty() {
            let Additional::Schema(values) = &schema.additional else {
                return None;
            };
            shown.push('[');
            shown.push_str(&step);
            shown.push(']');
            schema = values;
        } else {
            if !shown.is_empty() {
                shown.push('.');
            }
            shown.push_str(&step);
            schema = schema.properties.get(&step)?;
        }
        rest = after;
    }
    Some(shown)
}

/// The first step of a path, and the rest.
fn step(path: &str) -> Option<(String, &str)> {
    if let Some(rest) = path.strip_prefix('.') {
        let end = rest.find(['.', '[', ']']).unwrap_or(rest.len());
        return (end > 0).then(|| (rest[..end].to_owned(), &rest[end..]));
    }
    let rest = path.strip_prefix("['")?;
    let mut name = String::new();
    let mut letters = rest.char_indices();
    while let Some((at, c)) = letters.next() {
        match c {
            '\'' => return Some((name, rest[at + 1..].strip_prefix(']')?)),
            '\\' => name.push(match letters.next()?.1 {
                'a' => '\x07',
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\x0b',
                c @ ('\'' | '\\') => c,
                _ => return None,
            }),
            c => name.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_fields() {
        let schema = Schema::from_openapi_v3(&json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"a-b": {"type": "string"}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"x": {"type": "string"}}}},
        }}))
        .unwrap();
        for (path, shown) in [
            (".spec", Some("spec")),
            (".spec['a-b']", Some("spec.a-b")),
            (".map['k.l'].x", Some("map[k.l].x")),
            (".map.k", Some("map[k]")),
            (".nope", None),
            ("spec", None),
            (".spec[0]", None),
            (".spec['a-b'", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(normalised(path, &schema).as_deref(), shown, "{path}");
        }
    }
}
