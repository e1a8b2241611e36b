//! LimitRanges: defaults and bounds for what containers, pods and claims ask for.

use serde_json::{Map, Value, json};

use crate::controllers::Quantity;
use crate::resources::Resource;
use crate::status::ApiError;
use crate::store::{GroupResource, Store};
use crate::writer::names;

pub(super) fn admit(
    store: &Store,
    resource: &Resource,
    object: &mut Value,
) -> Result<(), ApiError> {
    let pods = resource.is("", "pods");
    if !pods && !resource.is("", "persistentvolumeclaims") {
        return Ok(());
    }
    let (namespace, name) = names(object);
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    let ranges = store.list(&GroupResource::core("limitranges"), Some(&namespace));
    let limits = || {
        let lists = ranges
            .items
            .iter()
            .filter_map(|range| range["spec"]["limits"].as_array());
        lists.flatten()
    };
    if pods {
        for limit in limits().filter(|limit| limit["type"] == "Container") {
            fill(object, limit);
        }
    }
    let mut wrong = Vec::new();
    for limit in limits() {
        match limit["type"].as_str() {
            Some("Container") if pods => {
                for container in containers(object) {
                    let resources = &container["resources"];
                    check(
                        limit,
                        "Container",
                        &resources["requests"],
                        Some(&resources["limits"]),
                        &mut wrong,
                    );
                }
            }
            Some("Pod") if pods => {
                let sum = |kind: &str| sum(containers(object).map(|c| &c["resources"][kind]));
                check(
                    limit,
                    "Pod",
                    &sum("requests"),
                    Some(&sum("limits")),
                    &mut wrong,
                );
            }
            Some(kind @ "PersistentVolumeClaim") if !pods => {
                check(
                    limit,
                    kind,
                    &object["spec"]["resources"]["requests"],
                    None,
                    &mut wrong,
                );
            }
            _ => {}
        }
    }
    let why = match wrong.as_slice() {
        [] => return Ok(()),
        [only] => only.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    Err(ApiError::forbidden(&resource.id, &name, &why))
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["spec"]["containers"].as_array().into_iter().flatten()
}

/// Gives containers the requests and limits that they lack, and notes that on the pod.
fn fill(pod: &mut Value, limit: &Value) {
    let mut notes = Vec::new();
    for container in pod["spec"]["containers"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        let name = container["name"].as_str().unwrap_or_default().to_owned();
        for (key, from, word) in [
            ("requests", "defaultRequest", "request"),
            ("limits", "default", "limit"),
        ] {
            let Some(defaults) = limit[from].as_object() else {
                continue;
            };
            let mut set = Vec::new();
            for (what, value) in defaults {
                if container["resources"][key][what].is_null() {
                    container["resources"][key][what] = value.clone();
                    set.push(what.as_str());
                }
            }
            if !set.is_empty() {
                notes.push(format!("{} {word} for container {name}", set.join(", ")));
            }
        }
    }
    if !notes.is_empty() {
        let note = format!("LimitRanger plugin set: {}", notes.join("; "));
        pod["metadata"]["annotations"]["kubernetes.io/limit-ranger"] = note.into();
    }
}

fn sum<'a>(maps: impl Iterator<Item = &'a Value>) -> Value {
    let mut sums: Map<String, Value> = Map::new();
    for (key, value) in maps.filter_map(Value::as_object).flatten() {
        let before = sums.get(key).and_then(quantity).unwrap_or_default();
        if let Some(more) = quantity(value) {
            sums.insert(key.clone(), json!(before.add(more).to_string()));
        }
    }
    sums.into()
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text),
        Value::Number(number) => Quantity::parse(&number.to_string()),
        _ => None,
    }
}

/// Compares requests, and limits where there are such, with the bounds.
fn check(
    limit: &Value,
    kind: &str,
    requests: &Value,
    limits: Option<&Value>,
    wrong: &mut Vec<String>,
) {
    let shown = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    for (bound, word) in [("min", "minimum"), ("max", "maximum")] {
        for (what, edge) in limit[bound].as_object().into_iter().flatten() {
            let Some(at) = quantity(edge) else { continue };
            let outside = |value: &Value| {
                quantity(value).is_some_and(|found| {
                    if bound == "min" {
                        found < at
                    } else {
                        found > at
                    }
                })
            };
            let head = format!("{word} {what} usage per {kind} is {}", shown(edge));
            let request = ("request", &requests[what.as_str()]);
            let limit = limits.map(|limits| ("limit", &limits[what.as_str()]));
            // The side that has to be there comes first.
            let (first, second) = match limit {
                None => (request, None),
                Some(limit) if bound == "max" => (limit, Some(request)),
                Some(limit) => (request, Some(limit)),
            };
            if first.1.is_null() {
                wrong.push(format!("{head}.  No {} is specified", first.0));
                continue;
            }
            for (side, value) in std::iter::once(first).chain(second) {
                if outside(value) {
                    wrong.push(format!("{head}, but {side} is {}", shown(value)));
                    break;
                }
            }
        }
    }
}
