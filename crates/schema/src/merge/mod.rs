//! Server-side apply and the bookkeeping of `metadata.managedFields`, as pure functions.
//!
//! ```text
//!   live ──┬─▶ merge ──▶ prune what the manager no longer applies ──▶ conflicts? ──▶ object + managedFields
//!   config ┘
//! ```
//!
//! [`apply`] is for apply patches, [`update`] for every other write. Managers that wrote another version of the same
//! kind are taken as if they had written this one.

mod conflict;
mod last_applied;
mod managers;
mod present;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use conflict::{Conflict, Conflicts};
pub use managers::{Identity, Managers, Operation, Owned};

use crate::fields::{FieldSet, Path};
use crate::kinds::split_api_version;
use crate::structural::{Schema, drop_nulls};
use crate::typed::{self, Duplicates, Errors};

/// Who takes over fields that were there before anybody applied.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// More updaters than this are joined.
const MAX_UPDATERS: usize = 10;

/// Who writes, what and when.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// Schema of the object; [`Schema::unknown`] for objects without one.
    pub schema: &'r Schema,
    /// Field manager; empty is `unknown`.
    pub manager: &'r str,
    /// `apiVersion` of the request.
    pub api_version: &'r str,
    /// `status`, …; empty for the object itself.
    pub subresource: &'r str,
    /// Fields that this endpoint ignores: `status` on the object itself, `spec` on `status`.
    pub reset: Option<&'r FieldSet>,
    /// Time of the write.
    pub now: Timestamp,
}

/// Why an object can't be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Other managers own fields that would change (409).
    #[error("{0}")]
    Conflicts(Conflicts),
    /// The applied object doesn't fit the schema (the API server says 500).
    #[error("failed to create typed patch object ({object}): {errors}")]
    Config {
        /// `namespace/name; group/version, Kind=Kind`.
        object: String,
        /// What doesn't fit.
        errors: Errors,
    },
    /// The stored object doesn't fit the schema (500).
    #[error("failed to create typed live object ({object}): {errors}")]
    Live {
        /// `namespace/name; group/version, Kind=Kind`.
        object: String,
        /// What doesn't fit.
        errors: Errors,
    },
    /// The applied object names another version than the request (400).
    #[error(
        "Incorrect version specified in apply patch. Specified patch version: {found}, expected: {expected}"
    )]
    Version {
        /// What the object says.
        found: String,
        /// What the request says.
        expected: String,
    },
    /// The applied object has `managedFields` (400).
    #[error("metadata.managedFields must be nil")]
    ManagedFieldsInConfig,
    /// The stored object has malformed `managedFields` (500).
    #[error("failed to decode managed fields: {0}")]
    ManagedFields(String),
}

/// Applies `config` to the stored object; `None` creates it. The result has its `managedFields`.
///
/// Fields that the manager applied before and leaves out now are removed unless others own them.
pub fn apply(
    request: &Request<'_>,
    live: Option<&Value>,
    config: &Value,
    force: bool,
) -> Result<Value, Error> {
    let found = config
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if found != request.api_version {
        return Err(Error::Version {
            found: found.to_owned(),
            expected: request.api_version.to_owned(),
        });
    }
    if config
        .pointer("/metadata/managedFields")
        .is_some_and(|list| !list.is_null())
    {
        return Err(Error::ManagedFieldsInConfig);
    }
    let mut live = live
        .cloned()
        .unwrap_or_else(|| json!({"apiVersion": found, "kind": config["kind"]}));
    let mut managers = Managers::of(&live).map_err(Error::ManagedFields)?;
    managers::clear(&mut live);
    if managers.0.is_empty() {
        let before = Request {
            manager: BEFORE_FIRST_APPLY,
            ..*request
        };
        let empty = json!({"apiVersion": live["apiVersion"], "kind": live["kind"]});
        managers = track(&before, &empty, &live, managers);
    }
    typed::validate(request.schema, config, Duplicates::Refuse).map_err(|errors| {
        Error::Config {
            object: describe(config),
            errors,
        }
    })?;
    typed::validate(request.schema, &live, Duplicates::Allow).map_err(|errors| Error::Live {
        object: describe(&live),
        errors,
    })?;

    let result = match apply_once(request, &live, config, managers.clone(), force) {
        Err(conflicts) if request.manager == last_applied::MANAGER => {
            let left = last_applied::refused(request.schema, &live, conflicts);
            if left.0.is_empty() {
                apply_once(request, &live, config, managers, true)
            } else {
                Err(left)
            }
        }
        result => result,
    };
    let (mut object, managers) = result.map_err(Error::Conflicts)?;
    drop_nulls(request.schema, &mut object);
    if request.manager == last_applied::MANAGER {
        last_applied::refresh(&mut object, config);
    }
    managers.store(&mut object);
    Ok(object)
}

/// Writes `new` over the stored object (`None` creates it) and gives it the `managedFields` that follow: the manager
/// owns what it changed.
pub fn update(request: &Request<'_>, live: Option<&Value>, mut new: Value) -> Value {
    let mut old = live
        .cloned()
        .unwrap_or_else(|| json!({"apiVersion": new["apiVersion"], "kind": new["kind"]}));
    let sent = new.pointer("/metadata/managedFields").cloned();
    let stored = || Managers::of(&old).unwrap_or_default();
    let managers = match sent {
        _ if !request.subresource.is_empty() => stored(),
        // An explicit empty list, or one empty entry, starts over.
        Some(Value::Array(list)) if list.is_empty() || list == [json!({})] => Managers::default(),
        Some(list) => Managers::from_json(&list)
            .ok()
            .filter(|sent| !sent.0.is_empty())
            .unwrap_or_else(stored),
        None => stored(),
    };
    managers::clear(&mut new);
    managers::clear(&mut old);
    let exists = old.pointer("/metadata/uid").is_some();
    if !managers.0.is_empty() || !exists {
        track(request, &old, &new, managers).store(&mut new);
    }
    new
}

/// If two objects differ in nothing but the times in `managedFields`, takes over the old times: such a write changes
/// nothing. Call it last, after defaults and generated fields are in place.
pub fn keep_times(old: &Value, new: &mut Value) {
    let timeless = |object: &Value| {
        let mut object = object.clone();
        let list = object
            .pointer_mut("/metadata/managedFields")
            .and_then(Value::as_array_mut);
        let mut entries: Vec<Value> = Vec::new();
        if let Some(list) = list {
            for entry in list.iter_mut() {
                entry.as_object_mut().map(|entry| entry.remove("time"));
            }
            entries = std::mem::take(list);
            entries.sort_by_key(Value::to_string);
        }
        (object, entries)
    };
    if timeless(old) == timeless(new)
        && let Some(list) = old.pointer("/metadata/managedFields")
        && let Some(place) = new.pointer_mut("/metadata/managedFields")
    {
        *place = list.clone();
    }
}

fn identity(request: &Request<'_>, operation: Operation) -> Identity {
    let manager = if request.manager.is_empty() {
        "unknown"
    } else {
        request.manager
    };
    let api_version = if operation == Operation::Apply {
        ""
    } else {
        request.api_version
    };
    Identity {
        manager: manager.to_owned(),
        operation,
        api_version: api_version.to_owned(),
        subresource: request.subresource.to_owned(),
    }
}

/// Fields that nobody owns.
fn strip(fields: &FieldSet) -> FieldSet {
    let mut paths = vec![
        Path::fields(&["apiVersion"]),
        Path::fields(&["kind"]),
        Path::fields(&["metadata"]),
    ];
    let meta = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    paths.extend(meta.iter().map(|name| Path::fields(&["metadata", name])));
    fields.difference(&paths.into_iter().collect())
}

fn without_reset(request: &Request<'_>, fields: FieldSet) -> FieldSet {
    match request.reset {
        Some(reset) => fields.recursive_difference(reset),
        None => fields,
    }
}

/// Ownership after a write that is not an apply.
fn track(request: &Request<'_>, old: &Value, new: &Value, mut managers: Managers) -> Managers {
    let (old, new) = (
        present::complete(request.schema, old),
        present::complete(request.schema, new),
    );
    let mut changes = typed::compare(request.schema, &old, &new);
    if let Some(reset) = request.reset {
        changes = changes.without(reset);
    }
    let written = changes.modified.union(&changes.added);
    for owned in managers.0.values_mut() {
        owned.fields = owned
            .fields
            .difference(&owned.fields.intersect(&written))
            .difference(&changes.removed);
    }
    managers.drop_empty();
    let own = strip(&written);
    if !own.is_empty() {
        let owned = managers
            .0
            .entry(identity(request, Operation::Update))
            .or_insert_with(|| Owned {
                fields: FieldSet::new(),
                api_version: request.api_version.to_owned(),
                time: None,
            });
        owned.fields.extend(&own);
        owned.time = Some(request.now);
    }
    managers.cap_updaters(MAX_UPDATERS);
    managers
}

fn apply_once(
    request: &Request<'_>,
    live: &Value,
    config: &Value,
    mut managers: Managers,
    force: bool,
) -> Result<(Value, Managers), Conflicts> {
    let schema = request.schema;
    let me = identity(request, Operation::Apply);
    let last = managers.0.remove(&me);
    let applied = without_reset(request, typed::field_set(schema, config));
    let others = managers.0.values().map(|owned| &owned.fields);
    let owned = others.fold(applied.clone(), |all, fields| all.union(fields));
    let merge = |live: &Value| {
        let merged = typed::merge(schema, live, config);
        match &last {
            Some(last) if !last.fields.is_empty() => prune(schema, merged, &last.fields, &owned),
            _ => merged,
        }
    };
    let object = merge(live);
    // Who owns what is judged with the fields that built-in types always have.
    let mut changes = if schema.name.is_some() {
        let live = present::complete(schema, live);
        typed::compare(schema, &live, &merge(&live))
    } else {
        typed::compare(schema, live, &object)
    };
    if let Some(reset) = request.reset {
        changes = changes.without(reset);
    }
    let written = changes.modified.union(&changes.added);
    let mut conflicts = Vec::new();
    for (manager, owned) in &mut managers.0 {
        let conflicting = owned.fields.intersect(&written);
        if !force {
            let paths = conflicting.paths().into_iter();
            conflicts.extend(paths.map(|path| Conflict {
                manager: manager.clone(),
                path,
            }));
        }
        owned.fields = owned
            .fields
            .difference(&conflicting)
            .difference(&changes.removed);
    }
    if !conflicts.is_empty() {
        return Err(Conflicts(conflicts));
    }
    let changed = object != *live;
    let fields = strip(&applied);
    let time = if changed {
        Some(request.now)
    } else {
        last.and_then(|last| last.time)
    };
    managers.0.insert(
        me,
        Owned {
            fields,
            api_version: request.api_version.to_owned(),
            time,
        },
    );
    managers.drop_empty();
    Ok((object, managers))
}

/// Removes what the manager applied last time and nobody owns now.
fn prune(schema: &Schema, merged: Value, last: &FieldSet, owned: &FieldSet) -> Value {
    let named = |fields: &FieldSet| fields.with_named_parents(schema);
    let set_of = |value: &Value| named(&typed::field_set(schema, value));
    let last = named(last);
    let merged_set = set_of(&merged);

    let pruned = typed::remove(schema, &merged, &last);
    let keep = set_of(&pruned).union(&named(owned));
    let pruned = typed::remove(schema, &merged, &merged_set.difference(&keep));
    // List items may dangle: left without their keys, or not this manager's to remove.
    let gone = merged_set.difference(&set_of(&pruned)).intersect(&last);
    typed::remove(schema, &merged, &gone)
}

fn describe(object: &Value) -> String {
    let word = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (group, version) = split_api_version(word("/apiVersion"));
    let (namespace, name) = (word("/metadata/namespace"), word("/metadata/name"));
    format!(
        "{namespace}/{name}; {group}/{version}, Kind={}",
        word("/kind")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_changes_only_times_changes_nothing() {
        let object = |time: &str, value: &str| {
            json!({"metadata": {"managedFields": [
                {"manager": "a", "operation": "Apply", "time": time, "fieldsV1": {"f:data": {}}},
            ]}, "data": value})
        };
        let old = object("2024-01-01T00:00:00Z", "x");
        let mut new = object("2024-01-01T00:00:05Z", "x");
        keep_times(&old, &mut new);
        assert_eq!(new, old);

        let mut changed = object("2024-01-01T00:00:05Z", "y");
        keep_times(&old, &mut changed);
        assert_eq!(changed, object("2024-01-01T00:00:05Z", "y"));
    }

    #[test]
    fn malformed_managed_fields_stop_an_apply_and_are_replaced_by_an_update() {
        let request = Request {
            schema: Schema::unknown(),
            manager: "",
            api_version: "v1",
            subresource: "",
            reset: None,
            now: Timestamp::UNIX_EPOCH,
        };
        let live = json!({
            "apiVersion": "v1", "kind": "X", "metadata": {"name": "x", "managedFields": [{"operation": "Patch"}]},
        });
        let mut new = live.clone();
        new["data"] = "1".into();
        let refused = apply(
            &request,
            Some(&live),
            &json!({"apiVersion": "v1", "kind": "X"}),
            false,
        );
        assert_eq!(
            refused,
            Err(Error::ManagedFields(
                "operation must be `Apply` or `Update`".into()
            ))
        );
        let written = update(&request, Some(&live), new);
        assert_eq!(
            written["metadata"]["managedFields"],
            json!([{
                "manager": "unknown", "operation": "Update", "apiVersion": "v1", "time": "1970-01-01T00:00:00Z",
                "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}},
            }])
        );
    }
}
