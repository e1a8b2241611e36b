//! The built-in kinds, made once and shared by all clusters.

use std::sync::{Arc, OnceLock};

use fairway_schema::{builtin as schemas, kinds};

use super::{Origin, Resource, ScalePaths, SchemaRef, ServedVersion, SharedResource, Subresource};
use crate::store::GroupResource;

/// Known to Kubernetes, but with nothing behind it in a simulated cluster: left out of discovery, 404.
const NOT_SERVED: &[(&str, &str)] = &[
    ("", "bindings"),
    ("", "componentstatuses"),
    ("", "nodes/proxy"),
    ("", "pods/attach"),
    ("", "pods/ephemeralcontainers"),
    ("", "pods/exec"),
    ("", "pods/portforward"),
    ("", "pods/proxy"),
    ("", "pods/resize"),
    ("", "services/proxy"),
    ("certificates.k8s.io", "certificatesigningrequests/approval"),
];

/// Kinds whose `metadata.generation` the API server counts.
const COUNTED: &[(&str, &str)] = &[
    ("", "pods"),
    ("", "podtemplates"),
    ("", "replicationcontrollers"),
    ("apps", "daemonsets"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
    ("networking.k8s.io", "ingressclasses"),
    ("networking.k8s.io", "ingresses"),
    ("networking.k8s.io", "networkpolicies"),
    ("policy", "poddisruptionbudgets"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("scheduling.k8s.io", "priorityclasses"),
    ("discovery.k8s.io", "endpointslices"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies"),
    (
        "admissionregistration.k8s.io",
        "mutatingadmissionpolicybindings",
    ),
    (
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicybindings",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
    ),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"),
    (
        "flowcontrol.apiserver.k8s.io",
        "prioritylevelconfigurations",
    ),
    ("storagemigration.k8s.io", "storageversionmigrations"),
];

/// All built-in resources.
pub fn builtin() -> &'static [SharedResource] {
    static ALL: OnceLock<Vec<SharedResource>> = OnceLock::new();
    ALL.get_or_init(|| {
        kinds::resources()
            .filter(|kind| is_served(kind.group, kind.plural, ""))
            // One version a kind: two would need conversion between them.
            .filter(|kind| !(kind.group == "autoscaling" && kind.version == "v1"))
            .map(|kind| Arc::new(resource(kind)))
            .collect()
    })
}

fn is_served(group: &str, plural: &str, subresource: &str) -> bool {
    let name = if subresource.is_empty() {
        plural.to_owned()
    } else {
        format!("{plural}/{subresource}")
    };
    !NOT_SERVED.contains(&(group, name.as_str()))
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn resource(kind: &kinds::Resource) -> Resource {
    let subresources: Vec<Subresource> = kinds::subresources(kind.group, kind.version, kind.plural)
        .filter(|sub| is_served(sub.group, sub.plural, sub.subresource))
        .map(|sub| Subresource {
            name: sub.subresource.to_owned(),
            kind: sub.kind.to_owned(),
            group_version: sub
                .kind_version
                .map(|(group, version)| (group.to_owned(), version.to_owned())),
            verbs: owned(&sub.verbs),
        })
        .collect();
    let scale = subresources
        .iter()
        .any(|sub| sub.name == "scale")
        .then(|| ScalePaths {
            spec_replicas: "/spec/replicas".into(),
            status_replicas: "/status/replicas".into(),
            selector: Some("/spec/selector".into()),
        });
    let schema = schemas::schema(kind.group, kind.version, kind.kind).map_or_else(
        || SchemaRef::Builtin(fairway_schema::structural::Schema::unknown()),
        SchemaRef::Builtin,
    );
    Resource {
        id: GroupResource::new(kind.group, kind.plural),
        kind: kind.kind.to_owned(),
        list_kind: format!("{}List", kind.kind),
        singular: kind.singular.to_owned(),
        short_names: owned(&kind.short_names),
        categories: owned(&kind.categories),
        namespaced: kind.namespaced,
        versions: vec![ServedVersion {
            version: kind.version.to_owned(),
            subresources,
            scale,
            schema,
            rules: None,
            columns: Vec::new(),
            selectable: Vec::new(),
            deprecation: (kind.group.is_empty() && kind.plural == "endpoints").then(|| {
                "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".into()
            }),
        }],
        storage_version: kind.version.to_owned(),
        generation: COUNTED.contains(&(kind.group, kind.plural)),
        verbs: owned(&kind.verbs),
        origin: Origin::Builtin,
    }
}
