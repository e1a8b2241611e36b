//! Takes out of an answer what must differ between any two servers: uids, revisions, times, addresses, ports,
//! generated names. The same value gets the same mark throughout a case, so that relations stay to be seen.

use std::collections::HashMap;
use std::sync::LazyLock;

use fairway_testkit::Output;
use regex::{Captures, Regex};
use serde_json::{Map, Value, json};

use crate::client::Answer;

/// Headers that tell something to a client.
const HEADERS: [&str; 5] = [
    "content-type",
    "warning",
    "retry-after",
    "content-encoding",
    "vary",
];

/// Marks of one case.
#[derive(Debug)]
pub(crate) struct Normaliser {
    marks: HashMap<String, String>,
    counts: HashMap<&'static str, usize>,
    /// Names that the server made up, longest first.
    generated: Vec<(String, String)>,
    authority: String,
}

macro_rules! pattern {
    ($name:ident, $text:expr) => {
        static $name: LazyLock<Regex> =
            LazyLock::new(|| Regex::new($text).expect("the pattern is fixed"));
    };
}

pattern!(
    UID,
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
);
pattern!(TIME, r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z");
pattern!(
    LONG_TIME,
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} [+-]\d{4}"
);
// The ranges of Services of both servers.
pattern!(IP, r"\b10\.(9[6-9]|10\d|11[01]|0)\.\d{1,3}\.\d{1,3}\b");
pattern!(KLOG, r"^([IWE])\d{4} \d{2}:\d{2}:\d{2}\.\d+ +\d+ ");
pattern!(JSON_REVISION, r#"("resourceVersion": )"\d+""#);
pattern!(OTHERS_GROUP, r"^\S+\.example\.com/v\w+$");
pattern!(CELL_AGE, r"^(<invalid>|\d+s)$");
pattern!(LIST_REVISION, r#"(?m)^  resourceVersion: "\d+""#);
pattern!(
    RECORD,
    r"\(\d+\)( does not match the ResourceVersion in record )\(\d+\)"
);
pattern!(STORED_KEY, r"Key: /(real|registry)/");
pattern!(
    SHOWN_VALUE,
    r#"(?s)^(.*(?:Invalid|Duplicate) value: )("\{.*\}"|\{.*\}|\[.*\])(: .*|)$"#
);
pattern!(SPACES, r"  +");
pattern!(AGE, r"(?m)(^| )(<invalid>|0s|[1-9]\d?s)( |$)");
pattern!(TOKEN, r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+");
pattern!(REVISION, r"(resourceVersion: |Resource Version: +)\S+");
pattern!(
    TOO_OLD,
    r"(too old resource version|Too large resource version|requested): \d+ \(\d+\)"
);
pattern!(TOO_LARGE, r"(current): \d+");
pattern!(NODE_PORT, r"\b3[0-2]\d{3}\b");
pattern!(TEMPORARY, r"(LIVE|MERGED)-\d+");
pattern!(KUBECTL_TEMPORARY, r"kubectl-edit-\w+\.yaml");

impl Normaliser {
    pub(crate) fn new(authority: &str) -> Self {
        Self {
            marks: HashMap::new(),
            counts: HashMap::new(),
            generated: Vec::new(),
            authority: authority.to_owned(),
        }
    }

    fn mark(&mut self, kind: &'static str, value: &str) -> String {
        if let Some(mark) = self.marks.get(&format!("{kind} {value}")) {
            return mark.clone();
        }
        let count = self.counts.entry(kind).or_insert(0);
        *count += 1;
        let mark = format!("<{kind}-{count}>");
        self.marks.insert(format!("{kind} {value}"), mark.clone());
        mark
    }

    /// An HTTP answer; `only` names the parts of a JSON body that count.
    pub(crate) fn answer(&mut self, answer: &Answer, only: &[String]) -> Value {
        let mut headers = Map::new();
        for name in HEADERS {
            let values: Vec<Value> = answer
                .headers
                .get_all(name)
                .iter()
                .map(|value| self.text(&String::from_utf8_lossy(value.as_bytes())).into())
                .collect();
            match values.as_slice() {
                [] => {}
                [one] => {
                    headers.insert(name.to_owned(), one.clone());
                }
                _ => {
                    headers.insert(name.to_owned(), values.into());
                }
            }
        }
        if headers
            .get("content-type")
            .is_some_and(|v| v == "application/json")
        {
            headers.remove("content-type");
        }
        let mut told = json!({"status": answer.status});
        if !headers.is_empty() {
            told["headers"] = headers.into();
        }
        let body = self.body(answer);
        let body = if only.is_empty() || answer.status >= 400 {
            body
        } else {
            only.iter()
                .map(|pointer| {
                    (
                        pointer.clone(),
                        body.pointer(pointer).cloned().unwrap_or_default(),
                    )
                })
                .collect::<Map<_, _>>()
                .into()
        };
        if !body.is_null() {
            told["body"] = body;
        }
        told
    }

    fn body(&mut self, answer: &Answer) -> Value {
        if answer.body.is_empty() {
            return Value::Null;
        }
        if let Ok(value) = serde_json::from_slice::<Value>(&answer.body) {
            return self.value(value);
        }
        // A watch: one event a line.
        let lines: Result<Vec<Value>, _> = answer
            .body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(serde_json::from_slice::<Value>)
            .collect();
        if let Ok(events) = lines {
            // How often a watch says where it stands is a matter of time, but for the end of the first list.
            let plain = |event: &Value| {
                event["type"] == "BOOKMARK"
                    && event.pointer("/object/metadata/annotations").is_none()
            };
            let events = events.into_iter().filter(|event| !plain(event));
            let events: Vec<Value> = events.map(|event| self.value(event)).collect();
            return json!({"events": events});
        }
        if answer.body.starts_with(b"k8s\0") || std::str::from_utf8(&answer.body).is_err() {
            return json!(format!(
                "{} bytes of something else",
                if answer.body.len() > 100 {
                    "many"
                } else {
                    "few"
                }
            ));
        }
        Value::String(self.text(&String::from_utf8_lossy(&answer.body)))
    }

    fn value(&mut self, mut value: Value) -> Value {
        self.learn_generated(&value);
        self.walk(&mut value, "");
        value
    }

    fn learn_generated(&mut self, value: &Value) {
        match value {
            Value::Object(map) => {
                if let (Some(prefix), Some(name)) = (
                    map.get("generateName").and_then(Value::as_str),
                    map.get("name").and_then(Value::as_str),
                ) && name.len() == prefix.len() + 5
                    && name.starts_with(prefix)
                    && !self.generated.iter().any(|(known, _)| known == name)
                {
                    let number = self.generated.len() + 1;
                    self.generated
                        .push((name.to_owned(), format!("{prefix}<generated-{number}>")));
                }
                map.values().for_each(|value| self.learn_generated(value));
            }
            Value::Array(items) => items.iter().for_each(|value| self.learn_generated(value)),
            _ => {}
        }
    }

    fn walk(&mut self, value: &mut Value, key: &str) {
        match value {
            Value::Object(map) => {
                // Lists tell the revision of the whole server, which other cases move.
                if (map.contains_key("items") || map.contains_key("rows"))
                    && let Some(meta) = map.get_mut("metadata")
                {
                    for key in ["resourceVersion", "continue"] {
                        if let Some(found) = meta.get_mut(key).filter(|v| *v != "") {
                            *found = format!("<list {key}>").into();
                        }
                    }
                }
                if map.get("type").is_some_and(|v| v == "BOOKMARK")
                    && let Some(revision) = map
                        .get_mut("object")
                        .and_then(|o| o.pointer_mut("/metadata/resourceVersion"))
                {
                    *revision = "<list resourceVersion>".into();
                }
                for (key, value) in map {
                    self.walk(value, key);
                }
            }
            Value::Array(items) => {
                if key == "managedFields" {
                    // In the order of their seconds, which is chance.
                    items.sort_by_key(|entry| {
                        ["operation", "subresource", "manager", "apiVersion"]
                            .map(|key| entry[key].as_str().unwrap_or_default().to_owned())
                    });
                }
                for item in items {
                    self.walk(item, key);
                }
            }
            Value::String(text) => {
                *text = match key {
                    "resourceVersion" if text.starts_with('<') => text.clone(),
                    "resourceVersion" if !text.is_empty() => self.mark("revision", text),
                    "token" if text.len() > 40 => "<token>".to_owned(),
                    "cells" if CELL_AGE.is_match(text) => "<age>".to_owned(),
                    "cells" => {
                        let text = self.text(text);
                        NODE_PORT.replace_all(&text, "<port>").into_owned()
                    }
                    _ => self.text(text),
                };
            }
            Value::Number(_) if key == "nodePort" || key == "healthCheckNodePort" => {
                let mark = self.mark("port", &value.to_string());
                *value = mark.into();
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) -> String {
        let mut text = text.replace(&self.authority, "<server>");
        for (name, mark) in &self.generated {
            text = text.replace(name, mark);
        }
        text = self.shown_value(&text);
        text = LIST_REVISION
            .replace_all(&text, "  resourceVersion: <list>")
            .into_owned();
        text = RECORD
            .replace_all(&text, "(<revision>)$1(<revision>)")
            .into_owned();
        text = STORED_KEY
            .replace_all(&text, "Key: /<prefix>/")
            .into_owned();
        text = TIME.replace_all(&text, "<time>").into_owned();
        text = LONG_TIME.replace_all(&text, "<time>").into_owned();
        text = TOKEN.replace_all(&text, "<token>").into_owned();
        text = TOO_OLD
            .replace_all(&text, "$1: <revision> (<revision>)")
            .into_owned();
        text = TOO_LARGE.replace_all(&text, "$1: <revision>").into_owned();
        for (pattern, kind) in [(&UID, "uid"), (&IP, "ip")] {
            let found =
                pattern.replace_all(&text, |found: &Captures<'_>| self.mark(kind, &found[0]));
            text = found.into_owned();
        }
        text
    }

    /// JSON within a message: the order of its keys is nobody's promise.
    fn shown_value(&mut self, text: &str) -> String {
        let Some(found) = SHOWN_VALUE.captures(text) else {
            return text.to_owned();
        };
        let shown = &found[2];
        let parsed = match serde_json::from_str::<Value>(shown) {
            Ok(Value::String(inner)) => serde_json::from_str(&inner).ok(),
            other => other.ok(),
        };
        match parsed {
            Some(mut value) => {
                self.walk(&mut value, "");
                format!("{}{value}{}", &found[1], &found[3])
            }
            None => text.to_owned(),
        }
    }

    /// What a command printed. Widths of columns depend on ages, so runs of spaces become two.
    pub(crate) fn output(&mut self, output: &Output, home: &str) -> Value {
        let mut told = json!({"code": output.code});
        for (key, text) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            if text.is_empty() {
                continue;
            }
            let lines: Vec<Value> = text
                .lines()
                // Other cases define kinds at the same time.
                .filter(|line| !OTHERS_GROUP.is_match(line))
                .map(|line| {
                    let line = self.text(line).replace(home, "<home>");
                    let line = REVISION.replace_all(&line, "${1}<revision>");
                    let line = JSON_REVISION
                        .replace_all(&line, "${1}<revision>")
                        .into_owned();
                    let line = KLOG.replace(&line, "$1 ");
                    let line = TEMPORARY.replace_all(&line, "$1");
                    let line = KUBECTL_TEMPORARY.replace_all(&line, "<file>");
                    let line = NODE_PORT.replace_all(&line, "<port>");
                    let indent = line.len() - line.trim_start().len();
                    let rest = SPACES
                        .replace_all(line[indent..].trim_end(), "  ")
                        .into_owned();
                    let rest = AGE.replace_all(&rest, "$1<age>$3").into_owned();
                    format!("{}{rest}", &line[..indent]).into()
                })
                .collect();
            told[key] = lines.into();
        }
        told
    }
}
