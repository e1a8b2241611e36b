//! Making a served resource of a CRD.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use fairway_schema::kinds::split_api_version;
use fairway_schema::structural::Schema;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{GROUP, RESOURCE, Rules};
use crate::resources::{
    Column, Origin, Registry, Resource, ScalePaths, SchemaRef, ServedVersion, Subresource,
    schemaless,
};
use crate::store::{GroupResource, Store};
use crate::table::version_priority;

/// Everything that a custom resource can do.
const VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

/// Serves what a CRD defines from now on.
pub(crate) fn register(registry: &Registry, crd: &Value) {
    match resource(crd) {
        Some(resource) => registry.add(Arc::new(resource)),
        // Validation lets no such CRD in.
        None => tracing::error!(name = %crd["metadata"]["name"], "a stored CRD cannot be served"),
    }
}

/// Registers what a store holds already: CRDs, and kinds that were accepted without one.
pub(crate) fn load(registry: &Registry, store: &Store) {
    for crd in store.list(&GroupResource::new(GROUP, RESOURCE), None).items {
        register(registry, &crd);
    }
    for id in store.resources() {
        if registry.get(&id).is_some() {
            continue;
        }
        let items = store.list(&id, None).items;
        let Some(first) = items.first() else { continue };
        let (_, version) = split_api_version(first["apiVersion"].as_str().unwrap_or_default());
        let kind = first["kind"].as_str().unwrap_or_default();
        let namespaced = first["metadata"]["namespace"].is_string();
        registry.add(Arc::new(schemaless(
            &id.group,
            version,
            kind,
            &id.resource,
            namespaced,
        )));
    }
}

fn resource(crd: &Value) -> Option<Resource> {
    let spec = &crd["spec"];
    let names = &crd["spec"]["names"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let kind = text(&names["kind"])?;
    let mut versions = Vec::new();
    let mut storage = None;
    for version in spec["versions"].as_array()? {
        let name = text(&version["name"])?;
        if version["storage"] == true {
            storage = Some(name.clone());
        }
        if version["served"] == true {
            versions.push(served(spec, version, name)?);
        }
    }
    versions.sort_by_key(|version| std::cmp::Reverse(version_priority(&version.version)));
    name_successors(spec, &mut versions);
    let list = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(text)
            .collect()
    };
    Some(Resource {
        id: GroupResource::new(spec["group"].as_str()?, names["plural"].as_str()?),
        list_kind: text(&names["listKind"]).unwrap_or_else(|| format!("{kind}List")),
        singular: text(&names["singular"]).unwrap_or_else(|| kind.to_lowercase()),
        short_names: list(&names["shortNames"]),
        categories: list(&names["categories"]),
        namespaced: spec["scope"] == "Namespaced",
        versions,
        storage_version: storage?,
        generation: true,
        verbs: VERBS.iter().map(|verb| (*verb).to_owned()).collect(),
        origin: Origin::Custom,
        kind,
    })
}

/// The warning of a deprecated version names a better one, where there is one and the author says nothing else.
fn name_successors(spec: &Value, versions: &mut [ServedVersion]) {
    let said = |name: &str, key: &str| {
        spec["versions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|version| version["name"] == name)
            .map_or(Value::Null, |version| version[key].clone())
    };
    let better = versions
        .iter()
        .find(|version| said(&version.version, "deprecated") != true)
        .map(|version| version.version.clone());
    let Some(better) = better else { return };
    let group = spec["group"].as_str().unwrap_or_default();
    let kind = spec["names"]["kind"].as_str().unwrap_or_default();
    for version in versions {
        let higher = version_priority(&better) > version_priority(&version.version);
        if let Some(text) = &mut version.deprecation
            && higher
            && !said(&version.version, "deprecationWarning").is_string()
        {
            text.push_str("; use ");
            text.push_str(&crate::resources::api_version(group, &better));
            text.push(' ');
            text.push_str(kind);
        }
    }
}

fn served(spec: &Value, version: &Value, name: String) -> Option<ServedVersion> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&spec["names"]["kind"]);
    let verbs = || ["get", "patch", "update"].map(str::to_owned).to_vec();
    let mut subresources = Vec::new();
    if version["subresources"]["status"].is_object() {
        subresources.push(Subresource {
            name: "status".into(),
            kind: kind.clone(),
            group_version: None,
            verbs: verbs(),
        });
    }
    let scale = &version["subresources"]["scale"];
    let pointer = |path: &Value| path.as_str().map(|path| path.replace('.', "/"));
    let scale = scale.is_object().then(|| ScalePaths {
        spec_replicas: pointer(&scale["specReplicasPath"])
            .unwrap_or_else(|| "/spec/replicas".into()),
        status_replicas: pointer(&scale["statusReplicasPath"])
            .unwrap_or_else(|| "/status/replicas".into()),
        selector: pointer(&scale["labelSelectorPath"]),
    });
    if scale.is_some() {
        subresources.push(Subresource {
            name: "scale".into(),
            kind: "Scale".into(),
            group_version: Some(("autoscaling".into(), "v1".into())),
            verbs: verbs(),
        });
    }
    let columns = version["additionalPrinterColumns"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|column| Column {
            name: text(&column["name"]),
            kind: text(&column["type"]),
            format: text(&column["format"]),
            description: text(&column["description"]),
            priority: column["priority"].as_i64().unwrap_or(0),
            json_path: text(&column["jsonPath"]),
        })
        .collect();
    let selectable = version["selectableFields"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|field| text(&field["jsonPath"]))
        .collect();
    let deprecation = (version["deprecated"] == true).then(|| {
        version["deprecationWarning"].as_str().map_or_else(
            || format!("{}/{name} {kind} is deprecated", text(&spec["group"])),
            str::to_owned,
        )
    });
    let preserve = spec["preserveUnknownFields"] == true;
    let schema = version
        .pointer("/schema/openAPIV3Schema")
        .filter(|_| !preserve);
    let rules = shared_rules(schema)?;
    Some(ServedVersion {
        version: name,
        subresources,
        scale,
        schema: SchemaRef::Custom(rules.schema().clone()),
        rules: Some(rules),
        columns,
        selectable,
        deprecation,
    })
}

/// The parsed schema and its rules, shared by all clusters that have the same CRD.
fn shared_rules(schema: Option<&Value>) -> Option<Arc<Rules>> {
    static PARSED: OnceLock<Mutex<HashMap<[u8; 32], Weak<Rules>>>> = OnceLock::new();
    let text = schema.map(Value::to_string).unwrap_or_default();
    let key: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let mut parsed = PARSED
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = parsed.get(&key).and_then(Weak::upgrade) {
        return Some(known);
    }
    let schema = Arc::new(Schema::for_custom_resource(schema).ok()?);
    let made = Arc::new(Rules::new(schema));
    parsed.retain(|_, known| known.strong_count() > 0);
    parsed.insert(key, Arc::downgrade(&made));
    Some(made)
}
