//! Where the embedded server may differ: the table in `differences.md`.

use anyhow::{Result, bail};
use serde_json::Value;

/// One place where two answers differ.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    /// `area: case`
    pub case: String,
    /// Number of the answer in the case, from 1.
    pub step: usize,
    /// JSON pointer into the answer.
    pub pointer: String,
    pub real: Option<Value>,
    pub embedded: Option<Value>,
}

/// Everything in which two answers differ.
pub(crate) fn compare(case: &str, step: usize, real: &Value, embedded: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(&mut found, String::new(), Some(real), Some(embedded));
    found
        .into_iter()
        .map(|(pointer, real, embedded)| Difference {
            case: case.to_owned(),
            step,
            pointer,
            real,
            embedded,
        })
        .collect()
}

type Found = Vec<(String, Option<Value>, Option<Value>)>;

fn walk(found: &mut Found, at: String, real: Option<&Value>, embedded: Option<&Value>) {
    match (real, embedded) {
        (Some(Value::Object(real)), Some(Value::Object(embedded))) => {
            let mut keys: Vec<&String> = real.keys().chain(embedded.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let escaped = key.replace('~', "~0").replace('/', "~1");
                walk(
                    found,
                    format!("{at}/{escaped}"),
                    real.get(key),
                    embedded.get(key),
                );
            }
        }
        (Some(Value::Array(real)), Some(Value::Array(embedded)))
            if real.len() == embedded.len() =>
        {
            for (index, (real, embedded)) in real.iter().zip(embedded).enumerate() {
                walk(found, format!("{at}/{index}"), Some(real), Some(embedded));
            }
        }
        (real, embedded) if real != embedded => {
            found.push((at, real.cloned(), embedded.cloned()));
        }
        _ => {}
    }
}

/// The written list.
#[derive(Debug)]
pub(crate) struct Allowed {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    case: String,
    pointer: String,
    used: bool,
}

impl Allowed {
    /// Rows of the first table: case, pointer, reason.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut entries = Vec::new();
        for line in text.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let [case, pointer, reason] = cells.as_slice() else {
                bail!("three cells, please: {line}");
            };
            if reason.len() < 10 {
                bail!("a reason, please: {line}");
            }
            entries.push(Entry {
                case: case.trim_matches('`').to_owned(),
                pointer: pointer.trim_matches('`').to_owned(),
                used: false,
            });
        }
        Ok(Self { entries })
    }

    /// Whether a difference is on the list; the entry counts as used then.
    pub(crate) fn permits(&mut self, difference: &Difference) -> bool {
        let mut permitted = false;
        for entry in &mut self.entries {
            let answer = format!("{} #{}", difference.case, difference.step);
            let here = fits(&entry.case, &difference.case) || fits(&entry.case, &answer);
            if here && fits(&entry.pointer, &difference.pointer) {
                entry.used = true;
                permitted = true;
            }
        }
        permitted
    }

    /// Entries that nothing needs any more.
    pub(crate) fn unused(&self) -> Vec<String> {
        let unused = self.entries.iter().filter(|entry| !entry.used);
        unused
            .map(|entry| format!("{} {}", entry.case, entry.pointer))
            .collect()
    }
}

/// `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        last = Some(part);
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    match last {
        None => rest.is_empty(),
        Some(part) => rest.is_empty() || part.is_empty() || text.ends_with(part),
    }
}

#[test]
fn patterns_fit_from_end_to_end() {
    assert!(fits("a*c", "abbc"));
    assert!(fits("*", "anything"));
    assert!(fits("a*", "a"));
    assert!(!fits("a", "ab"));
    assert!(!fits("a*c", "acb"));
}
