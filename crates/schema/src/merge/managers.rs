//! `metadata.managedFields`: who owns which fields.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::fields::FieldSet;
use crate::structural::quote;

/// How a manager came to own its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// By server-side apply: what it no longer names is removed.
    Apply,
    /// By any other write.
    Update,
}

impl Operation {
    fn word(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// What tells two entries of `managedFields` apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Name of the field manager.
    pub manager: String,
    /// How it writes.
    pub operation: Operation,
    /// `apiVersion` that it writes; empty for [`Operation::Apply`], where it doesn't tell entries apart.
    pub api_version: String,
    /// `status`, …; empty for the object itself.
    pub subresource: String,
}

/// As conflict messages name a manager: `"kubectl" using apps/v1`.
impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&quote(&self.manager))?;
        if !self.subresource.is_empty() {
            write!(formatter, " with subresource {}", quote(&self.subresource))?;
        }
        match self.operation {
            Operation::Update => write!(formatter, " using {}", self.api_version),
            Operation::Apply => Ok(()),
        }
    }
}

/// What one manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The fields.
    pub fields: FieldSet,
    /// The version in which they are named.
    pub api_version: String,
    /// When the manager last changed them.
    pub time: Option<Timestamp>,
}

/// All entries of `metadata.managedFields`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Managers(pub BTreeMap<Identity, Owned>);

impl Managers {
    /// Reads the entries of an object; none if it has no `managedFields`. An error says what is malformed.
    pub fn of(object: &Value) -> Result<Managers, String> {
        match object.pointer("/metadata/managedFields") {
            None | Some(Value::Null) => Ok(Managers::default()),
            Some(list) => Managers::from_json(list),
        }
    }

    /// Reads the list of entries.
    pub fn from_json(list: &Value) -> Result<Managers, String> {
        let mut managers = Managers::default();
        let list = list.as_array().ok_or("managedFields must be a list")?;
        for (index, entry) in list.iter().enumerate() {
            let word = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
            let operation = match word("operation") {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return Err("operation must be `Apply` or `Update`".into()),
            };
            let api_version = word("apiVersion").to_owned();
            if api_version.is_empty() {
                return Err("apiVersion must not be empty".into());
            }
            match word("fieldsType") {
                "FieldsV1" => {}
                "" => {
                    return Err(format!(
                        "missing fieldsType in managed fields entry {index}"
                    ));
                }
                other => {
                    return Err(format!(
                        "invalid fieldsType {other:?} in managed fields entry {index}"
                    ));
                }
            }
            let fields = match entry.get("fieldsV1") {
                None | Some(Value::Null) => FieldSet::new(),
                Some(fields) => FieldSet::from_json(fields)
                    .map_err(|error| format!("error decoding set: {error}"))?,
            };
            let identity = Identity {
                manager: word("manager").to_owned(),
                operation,
                api_version: if operation == Operation::Apply {
                    String::new()
                } else {
                    api_version.clone()
                },
                subresource: word("subresource").to_owned(),
            };
            let time = word("time").parse().ok();
            managers.0.insert(
                identity,
                Owned {
                    fields,
                    api_version,
                    time,
                },
            );
        }
        Ok(managers)
    }

    /// Writes the list of entries, in the API server's order.
    pub fn to_json(&self) -> Value {
        let mut entries: Vec<(&Identity, &Owned)> = self.0.iter().collect();
        entries.sort_by_key(|(identity, owned)| {
            let seconds = owned.time.map_or(0, Timestamp::as_second);
            (
                identity.operation,
                seconds,
                &identity.manager,
                &owned.api_version,
                &identity.subresource,
            )
        });
        entries
            .into_iter()
            .map(|(identity, owned)| entry(identity, owned))
            .collect()
    }

    /// Replaces `metadata.managedFields` of an object; without entries it is removed.
    pub fn store(&self, object: &mut Value) {
        if self.0.is_empty() {
            clear(object);
        } else if let Some(object) = object.as_object_mut()
            && let Some(metadata) = object
                .entry("metadata")
                .or_insert_with(|| json!({}))
                .as_object_mut()
        {
            metadata.insert("managedFields".into(), self.to_json());
        }
    }

    /// Removes entries that own nothing.
    pub(super) fn drop_empty(&mut self) {
        self.0.retain(|_, owned| !owned.fields.is_empty());
    }

    /// Joins the oldest updaters where there are more than `most`, so that objects don't grow without bounds.
    pub(super) fn cap_updaters(&mut self, most: usize) {
        let mut updaters: Vec<Identity> = self
            .0
            .keys()
            .filter(|identity| identity.operation == Operation::Update)
            .cloned()
            .collect();
        if updaters.len() <= most {
            return;
        }
        updaters.sort_by_key(|identity| {
            (
                self.0[identity].time.map_or(0, Timestamp::as_second),
                identity.clone(),
            )
        });
        let mut surplus = updaters.len() - most;
        let mut first_of: BTreeMap<String, Identity> = BTreeMap::new();
        for identity in updaters {
            if surplus == 0 {
                break;
            }
            let version = identity.api_version.clone();
            let bucket = Identity {
                manager: "ancient-changes".into(),
                operation: Operation::Update,
                api_version: version.clone(),
                subresource: String::new(),
            };
            let Some(first) = first_of.get(&version).cloned() else {
                first_of.insert(version, identity);
                continue;
            };
            if !self.0.contains_key(&bucket)
                && let Some(owned) = self.0.remove(&first)
            {
                self.0.insert(bucket.clone(), owned);
            }
            if identity == bucket {
                continue;
            }
            if let Some(owned) = self.0.remove(&identity)
                && let Some(joined) = self.0.get_mut(&bucket)
            {
                joined.fields.extend(&owned.fields);
                joined.time = owned.time;
                surplus -= 1;
            }
        }
    }
}

fn entry(identity: &Identity, owned: &Owned) -> Value {
    let mut entry = Map::new();
    entry.insert("manager".into(), identity.manager.as_str().into());
    entry.insert("operation".into(), identity.operation.word().into());
    entry.insert("apiVersion".into(), owned.api_version.as_str().into());
    if let Some(time) = owned.time {
        entry.insert("time".into(), seconds(time).into());
    }
    entry.insert("fieldsType".into(), "FieldsV1".into());
    entry.insert("fieldsV1".into(), owned.fields.to_json());
    if !identity.subresource.is_empty() {
        entry.insert("subresource".into(), identity.subresource.as_str().into());
    }
    Value::Object(entry)
}

/// RFC 3339 with whole seconds.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Removes `metadata.managedFields`.
pub(super) fn clear(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}
