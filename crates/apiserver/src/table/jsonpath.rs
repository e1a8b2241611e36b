//! The JSONPath of printer columns: names, indexes, wildcards and equality filters.

use serde_json::Value;

/// A parsed path. One that cannot be read finds nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    /// `[?(@.type=="Ready")]`
    Where(Vec<String>, Value),
    Nothing,
}

impl JsonPath {
    pub(crate) fn parse(text: &str) -> Self {
        Self(steps(text.trim()).unwrap_or_else(|| vec![Step::Nothing]))
    }

    pub(crate) fn find<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        let mut found = vec![value];
        for step in &self.0 {
            found = found
                .into_iter()
                .flat_map(|value| step.take(value))
                .collect();
        }
        found.retain(|value| !value.is_null());
        found
    }
}

impl Step {
    fn take<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match self {
            Self::Field(key) => value.get(key).into_iter().collect(),
            Self::Index(index) => value
                .as_array()
                .and_then(|list| {
                    let length = i64::try_from(list.len()).ok()?;
                    let at = if *index < 0 { length + index } else { *index };
                    list.get(usize::try_from(at).ok()?)
                })
                .into_iter()
                .collect(),
            Self::All => match value {
                Value::Array(list) => list.iter().collect(),
                Value::Object(map) => map.values().collect(),
                _ => Vec::new(),
            },
            Self::Where(path, wanted) => value
                .as_array()
                .into_iter()
                .flatten()
                .filter(|item| {
                    path.iter().try_fold(*item, |value, key| value.get(key)) == Some(wanted)
                })
                .collect(),
            Self::Nothing => Vec::new(),
        }
    }
}

fn steps(text: &str) -> Option<Vec<Step>> {
    let mut rest = text
        .strip_prefix('{')
        .and_then(|inner| inner.strip_suffix('}'))
        .unwrap_or(text);
    rest = rest.strip_prefix('$').unwrap_or(rest);
    let mut found = Vec::new();
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let end = closing(inner)?;
            found.push(bracket(inner[..end].trim())?);
            rest = &inner[end + 1..];
            continue;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let (key, left) = key(rest);
        if !key.is_empty() {
            found.push(if key == "*" {
                Step::All
            } else {
                Step::Field(key)
            });
        } else if left.len() == rest.len() && !left.starts_with('[') && !left.is_empty() {
            return None;
        }
        rest = left;
    }
    Some(found)
}

/// A key up to the next dot or bracket; `\.` is a dot in it.
fn key(text: &str) -> (String, &str) {
    let mut key = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => key.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => return (key, &text[at..]),
            _ => key.push(c),
        }
    }
    (key, "")
}

/// Where the bracket ends that was opened before `text`, quotes respected.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, ']') => return Some(at),
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Option<Step> {
    if text == "*" {
        return Some(Step::All);
    }
    if let Some(key) = unquote(text) {
        return Some(Step::Field(key.to_owned()));
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|t| t.strip_suffix(')')) {
        let (path, wanted) = filter.split_once("==")?;
        let path = path.trim().strip_prefix("@.")?;
        let wanted = wanted.trim();
        let wanted = match unquote(wanted) {
            Some(text) => Value::from(text),
            None => serde_json::from_str(wanted).ok()?,
        };
        return Some(Step::Where(
            path.split('.').map(str::to_owned).collect(),
            wanted,
        ));
    }
    text.parse().ok().map(Step::Index)
}

fn unquote(text: &str) -> Option<&str> {
    ['\'', '"'].into_iter().find_map(|quote| {
        text.strip_prefix(quote)
            .and_then(|text| text.strip_suffix(quote))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn printer_columns_find_their_values() {
        let object = json!({
            "metadata": {"labels": {"a.b/c": "x"}},
            "spec": {"hosts": ["one", "two"]},
            "status": {"conditions": [
                {"type": "Stalled", "status": "False"},
                {"type": "Ready", "status": "True"},
            ]},
        });
        let cases: [(&str, Vec<Value>); 6] = [
            (
                ".status.conditions[?(@.type==\"Ready\")].status",
                vec![json!("True")],
            ),
            (".status.conditions[?(@.type=='Missing')].status", vec![]),
            (".spec.hosts[*]", vec![json!("one"), json!("two")]),
            (".spec.hosts[-1]", vec![json!("two")]),
            (".metadata.labels.a\\.b/c", vec![json!("x")]),
            (".metadata.labels['a.b/c']", vec![json!("x")]),
        ];
        for (path, expected) in cases {
            let found: Vec<Value> = JsonPath::parse(path)
                .find(&object)
                .into_iter()
                .cloned()
                .collect();
            assert_eq!(found, expected, "{path}");
        }
    }
}
