//! ResourceQuotas: whether a namespace may have one more of something.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::controllers::Quantity;
use crate::resources::Resource;
use crate::status::ApiError;
use crate::store::{GroupResource, Store};
use crate::writer::{Scope, Writer, names};

/// What a new object adds to the quotas of its namespace.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    /// Namespace and name of a quota, and what it is to count as used.
    charges: Vec<(String, String, BTreeMap<String, Quantity>)>,
}

impl Quotas {
    /// Fails if an object would exceed a quota.
    pub(crate) fn of(store: &Store, resource: &Resource, object: &Value) -> Result<Self, ApiError> {
        let (namespace, name) = names(object);
        let id = GroupResource::core("resourcequotas");
        if !resource.namespaced || store.count(&id) == 0 {
            return Ok(Self::default());
        }
        let usage = usage(resource, object);
        let mut quotas = Self::default();
        for quota in store.list(&id, Some(namespace)).items {
            // Scopes choose among pods; quotas with scopes are counted, but hold nobody up here.
            let spec = &quota["spec"];
            let scoped = spec["scopes"].is_array() || spec["scopeSelector"].is_object();
            let Some(hard) = quota["status"]["hard"].as_object().filter(|_| !scoped) else {
                continue;
            };
            let (_, quota_name) = names(&quota);
            if resource.is("", "pods")
                && let Some(missing) = unspecified(object, hard.keys())
            {
                let why = format!("failed quota: {quota_name}: must specify {missing}");
                return Err(ApiError::forbidden(&resource.id, name, &why));
            }
            let mut charge = BTreeMap::new();
            let mut exceeded = [Vec::new(), Vec::new(), Vec::new()];
            for (what, more) in &usage {
                let Some(limit) = hard.get(what).and_then(quantity) else {
                    continue;
                };
                let used = quantity(&quota["status"]["used"][what.as_str()]).unwrap_or_default();
                if used.add(*more) > limit {
                    for (list, value) in exceeded.iter_mut().zip([*more, used, limit]) {
                        list.push(format!("{what}={value}"));
                    }
                }
                charge.insert(what.clone(), *more);
            }
            let [requested, used, limited] = exceeded.map(|list| list.join(","));
            if !requested.is_empty() {
                let why = format!(
                    "exceeded quota: {quota_name}, requested: {requested}, used: {used}, limited: {limited}"
                );
                return Err(ApiError::forbidden(&resource.id, name, &why));
            }
            if !charge.is_empty() {
                quotas
                    .charges
                    .push((namespace.to_owned(), quota_name.to_owned(), charge));
            }
        }
        Ok(quotas)
    }

    /// Counts the object, now that it is there.
    pub(crate) fn charge(self, writer: &Writer) {
        let id = GroupResource::core("resourcequotas");
        for (namespace, name, charge) in self.charges {
            // A quota that went away in between limits nothing.
            let _ = writer.modify(&id, &namespace, &name, Scope::Status, |quota| {
                for (what, more) in charge {
                    let used = quantity(&quota["status"]["used"][&what]).unwrap_or_default();
                    quota["status"]["used"][&what] = json!(used.add(more).to_string());
                }
            });
        }
    }
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text),
        Value::Number(number) => Quantity::parse(&number.to_string()),
        _ => None,
    }
}

/// What one object counts as.
fn usage(resource: &Resource, object: &Value) -> BTreeMap<String, Quantity> {
    let one = Quantity::whole(1);
    let plural = &*resource.id.resource;
    let mut usage = BTreeMap::new();
    let counted = if resource.id.group.is_empty() {
        format!("count/{plural}")
    } else {
        format!("count/{plural}.{}", resource.id.group)
    };
    usage.insert(counted, one);
    if !resource.id.group.is_empty() {
        return usage;
    }
    match plural {
        "pods" => {
            usage.insert("pods".into(), one);
            for (kind, what, value) in of_containers(object) {
                for key in [format!("{kind}.{what}"), what.to_owned()] {
                    if kind == "requests" || key.contains('.') {
                        let sum: &mut Quantity = usage.entry(key).or_default();
                        *sum = sum.add(value);
                    }
                }
            }
        }
        "services" => {
            usage.insert("services".into(), one);
            let kind = &object["spec"]["type"];
            if kind == "LoadBalancer" {
                usage.insert("services.loadbalancers".into(), one);
            }
            if kind == "LoadBalancer" || kind == "NodePort" {
                let ports = object["spec"]["ports"].as_array().map_or(0, Vec::len);
                usage.insert("services.nodeports".into(), Quantity::whole(ports));
            }
        }
        "persistentvolumeclaims" => {
            usage.insert(plural.into(), one);
            if let Some(size) = quantity(&object["spec"]["resources"]["requests"]["storage"]) {
                usage.insert("requests.storage".into(), size);
            }
        }
        "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas" => {
            usage.insert(plural.into(), one);
        }
        _ => {}
    }
    usage
}

fn of_containers(pod: &Value) -> impl Iterator<Item = (&'static str, &str, Quantity)> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    containers.flat_map(|container| {
        ["requests", "limits"].into_iter().flat_map(move |kind| {
            let map = container["resources"][kind].as_object();
            map.into_iter()
                .flatten()
                .filter_map(move |(what, value)| Some((kind, what.as_str(), quantity(value)?)))
        })
    })
}

/// What a quota counts and a container does not say.
fn unspecified<'k>(pod: &Value, counted: impl Iterator<Item = &'k String>) -> Option<String> {
    let mut missing = Vec::new();
    for key in counted {
        let (kind, what) = match key.as_str() {
            "cpu" | "memory" => ("requests", key.as_str()),
            other => match other.split_once('.') {
                Some((kind @ ("requests" | "limits"), what @ ("cpu" | "memory"))) => (kind, what),
                _ => continue,
            },
        };
        let containers: Vec<&str> = pod["spec"]["containers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|container| container["resources"][kind][what].is_null())
            .filter_map(|container| container["name"].as_str())
            .collect();
        if !containers.is_empty() {
            missing.push(format!("{key} for: {}", containers.join(",")));
        }
    }
    (!missing.is_empty()).then(|| missing.join("; "))
}
