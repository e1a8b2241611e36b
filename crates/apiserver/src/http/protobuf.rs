//! Reading Kubernetes' protobuf. Some kubectl commands (`create deployment`, `auth can-i`) send nothing else, though
//! they take JSON answers. Only requests are read; nothing is ever written in protobuf.
//!
//! Fields are numbered in `data/protobuf.tsv`, one message a line: `kinds TAB number:json:type…`. A type is `[` or `{`
//! (repeated, map with string keys), `=` (a zero is a value and not an absence), then a letter.

use std::collections::HashMap;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The media type.
pub(super) const MEDIA: &str = "application/vnd.kubernetes.protobuf";

/// What every body starts with.
const MAGIC: &[u8] = b"k8s\0";

static TABLE: &str = include_str!("../../data/protobuf.tsv");

/// Why a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// It does not start as Kubernetes' protobuf does, or ends in the middle.
    #[error("the protobuf body is malformed")]
    Malformed,
    /// A kind whose fields are not known.
    #[error("protobuf is not understood for {0}; send JSON")]
    Unknown(String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    One,
    List,
    Map,
}

struct Field {
    json: &'static str,
    shape: Shape,
    keeps_zero: bool,
    kind: char,
    message: usize,
}

struct Table {
    messages: Vec<HashMap<u64, Field>>,
    kinds: HashMap<&'static str, usize>,
}

fn table() -> &'static Table {
    static PARSED: OnceLock<Table> = OnceLock::new();
    PARSED.get_or_init(|| {
        let mut table = Table {
            messages: Vec::new(),
            kinds: HashMap::new(),
        };
        for (index, line) in TABLE.lines().enumerate() {
            let mut columns = line.split('\t');
            for kind in columns.next().unwrap_or_default().split(',') {
                table.kinds.insert(kind, index);
            }
            table.messages.push(columns.map(field).collect());
        }
        table
    })
}

fn field(text: &'static str) -> (u64, Field) {
    let mut parts = text.splitn(3, ':');
    let mut part = || {
        parts
            .next()
            .expect("the generated table has three parts a field")
    };
    let number = part().parse().expect("the generated table has numbers");
    let json = part();
    let mut kind = part();
    let mut take = |sign: char| {
        let rest = kind.strip_prefix(sign);
        kind = rest.unwrap_or(kind);
        rest.is_some()
    };
    let shape = if take('[') {
        Shape::List
    } else if take('{') {
        Shape::Map
    } else {
        Shape::One
    };
    let keeps_zero = take('=');
    let field = Field {
        json,
        shape,
        keeps_zero,
        kind: kind.chars().next().unwrap_or('s'),
        message: kind[1..].parse().unwrap_or(0),
    };
    (number, field)
}

/// Reads a body into the JSON that it stands for.
pub(super) fn decode(body: &[u8]) -> Result<Value, Error> {
    let body = body.strip_prefix(MAGIC).ok_or(Error::Malformed)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for part in parts(body) {
        match part? {
            (1, Wire::Bytes(meta)) => {
                for part in parts(meta) {
                    match part? {
                        (1, Wire::Bytes(text)) => api_version = string(text),
                        (2, Wire::Bytes(text)) => kind = string(text),
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let (group, version) = fairway_schema::kinds::split_api_version(&api_version);
    let message = if kind == "DeleteOptions" {
        table().kinds.get("/v1/DeleteOptions")
    } else {
        table()
            .kinds
            .get(format!("{group}/{version}/{kind}").as_str())
    };
    let message = *message.ok_or_else(|| Error::Unknown(format!("{api_version} {kind}")))?;
    let mut object = self::message(message, raw)?;
    object.insert("apiVersion".into(), api_version.into());
    object.insert("kind".into(), kind.into());
    Ok(Value::Object(object))
}

enum Wire<'b> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'b [u8]),
}

/// The fields of a message as they lie on the wire.
fn parts(mut rest: &[u8]) -> impl Iterator<Item = Result<(u64, Wire<'_>), Error>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let found = part(&mut rest);
        if found.is_err() {
            rest = &[];
        }
        Some(found)
    })
}

fn part<'b>(rest: &mut &'b [u8]) -> Result<(u64, Wire<'b>), Error> {
    let key = varint(rest)?;
    let wire = match key & 7 {
        0 => Wire::Varint(varint(rest)?),
        1 => Wire::Fixed(u64::from_le_bytes(
            take(rest, 8)?.try_into().map_err(|_| Error::Malformed)?,
        )),
        2 => {
            let length = usize::try_from(varint(rest)?).map_err(|_| Error::Malformed)?;
            Wire::Bytes(take(rest, length)?)
        }
        5 => Wire::Fixed(u64::from(u32::from_le_bytes(
            take(rest, 4)?.try_into().map_err(|_| Error::Malformed)?,
        ))),
        _ => return Err(Error::Malformed),
    };
    Ok((key >> 3, wire))
}

fn take<'b>(rest: &mut &'b [u8], length: usize) -> Result<&'b [u8], Error> {
    let (head, tail) = rest.split_at_checked(length).ok_or(Error::Malformed)?;
    *rest = tail;
    Ok(head)
}

fn varint(rest: &mut &[u8]) -> Result<u64, Error> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Error::Malformed)
}

fn string(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn message(index: usize, bytes: &[u8]) -> Result<Map<String, Value>, Error> {
    let fields = &table().messages[index];
    let mut object = Map::new();
    for part in parts(bytes) {
        let (number, wire) = part?;
        let Some(field) = fields.get(&number) else {
            continue;
        };
        match field.shape {
            Shape::Map => {
                let Wire::Bytes(entry) = wire else {
                    return Err(Error::Malformed);
                };
                let (key, value) = map_entry(field, entry)?;
                object.entry(field.json).or_insert_with(|| json!({}))[key] = value;
            }
            Shape::List => {
                let value = value(field, wire)?;
                if let Some(list) = object
                    .entry(field.json)
                    .or_insert_with(|| json!([]))
                    .as_array_mut()
                {
                    list.push(value);
                }
            }
            Shape::One => {
                let value = value(field, wire)?;
                // An embedded struct: its fields are the parent's.
                if field.json.is_empty() {
                    if let Value::Object(inner) = value {
                        object.extend(inner);
                    }
                } else if field.keeps_zero || !is_zero(&value) {
                    object.insert(field.json.to_owned(), value);
                }
            }
        }
    }
    Ok(object)
}

fn map_entry(field: &Field, entry: &[u8]) -> Result<(String, Value), Error> {
    let (mut key, mut found) = (String::new(), None);
    for part in parts(entry) {
        match part? {
            (1, Wire::Bytes(text)) => key = string(text),
            (2, wire) => found = Some(value(field, wire)?),
            _ => {}
        }
    }
    Ok((key, found.unwrap_or_else(|| json!(""))))
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// Two's complement, as protobuf writes negative numbers.
fn signed(value: u64) -> i64 {
    i64::from_le_bytes(value.to_le_bytes())
}

fn value(field: &Field, wire: Wire<'_>) -> Result<Value, Error> {
    Ok(match (field.kind, wire) {
        ('s', Wire::Bytes(bytes)) => string(bytes).into(),
        ('y', Wire::Bytes(bytes)) => BASE64.encode(bytes).into(),
        ('b', Wire::Varint(n)) => (n != 0).into(),
        ('i', Wire::Varint(n)) => signed(n).into(),
        ('d', Wire::Fixed(bits)) => f64::from_bits(bits).into(),
        ('m', Wire::Bytes(bytes)) => Value::Object(message(field.message, bytes)?),
        // Quantity: its text.
        ('q', Wire::Bytes(bytes)) => text(bytes, 1)?.into(),
        ('o', Wire::Bytes(bytes)) => int_or_string(bytes)?,
        // RawExtension and the like: JSON in bytes.
        ('r', Wire::Bytes(bytes)) => {
            let raw = inner(bytes, 1)?;
            serde_json::from_slice(raw).unwrap_or(Value::Null)
        }
        ('t' | 'u', Wire::Bytes(bytes)) => time(bytes, field.kind == 'u')?,
        // A list that is a map's value.
        ('x', Wire::Bytes(bytes)) => {
            let mut list = Vec::new();
            for part in parts(bytes) {
                if let (1, Wire::Bytes(text)) = part? {
                    list.push(string(text));
                }
            }
            list.into()
        }
        ('n', Wire::Bytes(bytes)) => {
            let nanos = number(bytes, 1)?;
            format!("{}s", nanos as f64 / 1e9).into()
        }
        _ => return Err(Error::Malformed),
    })
}

fn inner(bytes: &[u8], wanted: u64) -> Result<&[u8], Error> {
    for part in parts(bytes) {
        if let (number, Wire::Bytes(found)) = part?
            && number == wanted
        {
            return Ok(found);
        }
    }
    Ok(&[])
}

fn text(bytes: &[u8], wanted: u64) -> Result<String, Error> {
    inner(bytes, wanted).map(string)
}

fn number(bytes: &[u8], wanted: u64) -> Result<i64, Error> {
    for part in parts(bytes) {
        if let (number, Wire::Varint(found)) = part?
            && number == wanted
        {
            return Ok(signed(found));
        }
    }
    Ok(0)
}

fn int_or_string(bytes: &[u8]) -> Result<Value, Error> {
    Ok(if number(bytes, 1)? == 0 {
        number(bytes, 2)?.into()
    } else {
        text(bytes, 3)?.into()
    })
}

/// A time; none where nothing is in it.
fn time(bytes: &[u8], micro: bool) -> Result<Value, Error> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let nanos = i32::try_from(number(bytes, 2)?).map_err(|_| Error::Malformed)?;
    let time = Timestamp::new(number(bytes, 1)?, nanos).map_err(|_| Error::Malformed)?;
    Ok(if micro {
        format!("{time:.6}").into()
    } else {
        crate::writer::api_time(time).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        out.extend_from_slice(content);
        out
    }

    fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), bytes(1, &meta), bytes(2, raw)].concat()
    }

    #[test]
    fn a_deployment_reads_as_its_json() {
        let metadata = bytes(1, &bytes(1, b"web"));
        // replicas (a pointer) is zero and stays; paused (no pointer) is zero and goes.
        let spec = bytes(2, &[vec![1 << 3, 0], vec![7 << 3, 0]].concat());
        let body = envelope("apps/v1", "Deployment", &[metadata, spec].concat());
        assert_eq!(
            decode(&body).unwrap(),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 0}})
        );
    }

    #[test]
    fn truncated_bodies_are_refused() {
        let body = envelope("v1", "ConfigMap", &bytes(1, &bytes(1, b"a")));
        for length in 0..body.len() {
            // Some prefixes are whole messages; none may panic.
            let _ = decode(&body[..length]);
        }
        assert_eq!(decode(b"{}"), Err(Error::Malformed));
        let unknown = envelope("v1", "Nonsense", &[]);
        assert_eq!(decode(&unknown), Err(Error::Unknown("v1 Nonsense".into())));
    }
}
