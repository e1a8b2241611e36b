//! The CustomResourceDefinitions of all kinds in this crate, as plain JSON.

use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::{
    Alert, Approval, Cluster, ClusterSelector, FleetKustomization, GitRepository, Kustomization,
    Pipeline, Promotion, Provider,
};

/// All CRDs: Flux's, then Fairway's, each ready to be applied to an API server.
///
/// The schemas come from the Rust types. What Flux's own CRDs say about defaults is set here, so that an object
/// reads back the same whichever of the two CRDs is installed.
pub fn crds() -> Vec<Value> {
    vec![
        finish(
            GitRepository::crd(),
            &[
                ("/spec/timeout", json!("60s")),
                ("/spec/verify/mode", json!("HEAD")),
                ("/status", json!({"observedGeneration": -1})),
            ],
        ),
        finish(
            Kustomization::crd(),
            &[
                ("/spec/force", json!(false)),
                ("/spec/postBuild/substituteFrom/*/optional", json!(false)),
                ("/status", json!({"observedGeneration": -1})),
            ],
        ),
        finish(Alert::crd(), &[("/spec/eventSeverity", json!("info"))]),
        finish(Provider::crd(), &[]),
        finish(Cluster::crd(), &[]),
        finish(ClusterSelector::crd(), &[]),
        finish(
            FleetKustomization::crd(),
            &[("/spec/onLeave", json!("Orphan"))],
        ),
        finish(
            Pipeline::crd(),
            &[
                ("/spec/sourceRef/kind", json!("GitRepository")),
                ("/spec/stages/*/onFailure", json!("rollback")),
            ],
        ),
        finish(Promotion::crd(), &[("/spec/intent", json!("promote"))]),
        finish(Approval::crd(), &[]),
    ]
}

/// The CRD of one kind.
pub fn crd(kind: &str) -> Option<Value> {
    crds()
        .into_iter()
        .find(|crd| crd.pointer("/spec/names/kind").and_then(Value::as_str) == Some(kind))
}

fn finish(
    crd: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    defaults: &[(&str, Value)],
) -> Value {
    let mut crd = serde_json::to_value(crd).expect("a CRD is plain data");
    let kind = crd["spec"]["names"]["kind"]
        .as_str()
        .expect("a CRD has a kind")
        .to_owned();
    crd["spec"]["names"]["listKind"] = format!("{kind}List").into();
    for version in crd["spec"]["versions"]
        .as_array_mut()
        .expect("a CRD has versions")
    {
        let schema = &mut version["schema"]["openAPIV3Schema"];
        tidy(schema);
        // As in Flux's CRDs: what is required of an object is checked in its spec, not at its root.
        if let Some(root) = schema.as_object_mut() {
            root.remove("required");
            root.remove("title");
        }
        for (field, properties) in [
            ("apiVersion", "string"),
            ("kind", "string"),
            ("metadata", "object"),
        ] {
            schema["properties"][field] = json!({"type": properties});
        }
        for (path, fields) in [
            (
                "/status/conditions/*",
                &["lastTransitionTime", "message"][..],
            ),
            ("/status/inventory", &["entries"]),
        ] {
            // Read leniently, but never written without.
            if let Some(required) = at(schema, path).and_then(Value::as_object_mut) {
                let required = required.entry("required").or_insert_with(|| json!([]));
                if let Some(required) = required.as_array_mut() {
                    required.extend(fields.iter().map(|field| Value::from(*field)));
                    required.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
                }
            }
        }
        for (path, default) in defaults {
            let node = at(schema, path).expect("a default is for a field that exists");
            node["default"] = default.clone();
        }
    }
    crd
}

/// Goes to the schema of a field; `*` means the items of a list.
fn at<'a>(schema: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    path.split('/')
        .skip(1)
        .try_fold(schema, |node, step| match step {
            "*" => node.get_mut("items"),
            field => node.get_mut("properties")?.get_mut(field),
        })
}

/// Drops what Rust's types say and Flux's CRDs do not: `nullable`, serde's defaults, Rust's number formats.
fn tidy(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else {
        return;
    };
    node.remove("nullable");
    node.remove("default");
    node.remove("title");
    if node
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|format| format.starts_with("uint"))
    {
        node.remove("format");
    }
    if let Some(text) = node.get("description").and_then(Value::as_str) {
        // rustdoc's links mean nothing to `kubectl explain`.
        let text = text.replace("[`", "").replace("`]", "");
        node.insert("description".to_owned(), text.into());
    }
    if let Some(properties) = node.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(tidy);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = node.get_mut(key) {
            tidy(child);
        }
    }
    sort_required(node);
}

fn sort_required(node: &mut Map<String, Value>) {
    if let Some(required) = node.get_mut("required").and_then(Value::as_array_mut) {
        required.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks a schema and checks the rules for structural schemas that an API server enforces.
    fn check_structural(schema: &Value, path: &str) {
        let node = schema
            .as_object()
            .unwrap_or_else(|| panic!("{path} is no schema: {schema}"));
        assert!(
            node.get("type").is_some_and(Value::is_string)
                || node.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)),
            "{path} has no single type: {schema}"
        );
        for forbidden in [
            "$ref",
            "definitions",
            "uniqueItems",
            "oneOf",
            "anyOf",
            "allOf",
            "nullable",
        ] {
            assert!(
                !node.contains_key(forbidden),
                "{path} has {forbidden}: {schema}"
            );
        }
        if let Some(properties) = node.get("properties").and_then(Value::as_object) {
            assert!(!node.contains_key("additionalProperties"), "{path}");
            for (name, child) in properties {
                check_structural(child, &format!("{path}.{name}"));
            }
            for required in node
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                assert!(
                    properties.contains_key(required.as_str().unwrap()),
                    "{path} requires {required}"
                );
            }
        }
        for key in ["items", "additionalProperties"] {
            if let Some(child) = node.get(key) {
                check_structural(child, &format!("{path}.{key}"));
            }
        }
    }

    #[test]
    fn schemas_are_structural() {
        for crd in crds() {
            let name = crd["metadata"]["name"].as_str().unwrap().to_owned();
            check_structural(
                &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
                &name,
            );
        }
    }

    #[test]
    fn names_are_what_kubectl_users_type() {
        let names: Vec<_> = crds()
            .iter()
            .map(|crd| {
                let names = &crd["spec"]["names"];
                format!(
                    "{} {} {} {}",
                    crd["metadata"]["name"],
                    names["shortNames"],
                    names["categories"],
                    names["listKind"]
                )
            })
            .collect();
        assert_eq!(
            names,
            [
                r#""gitrepositories.source.toolkit.fluxcd.io" ["gitrepo"] ["all","fluxcd","fluxcd-sources"] "GitRepositoryList""#,
                r#""kustomizations.kustomize.toolkit.fluxcd.io" ["ks"] ["all","fluxcd","fluxcd-appliers"] "KustomizationList""#,
                r#""alerts.notification.toolkit.fluxcd.io" null ["all","fluxcd","fluxcd-notifications"] "AlertList""#,
                r#""providers.notification.toolkit.fluxcd.io" null ["all","fluxcd","fluxcd-notifications"] "ProviderList""#,
                r#""clusters.fleet.fairway.dev" ["fcl"] ["fairway"] "ClusterList""#,
                r#""clusterselectors.fleet.fairway.dev" ["fcs"] ["fairway"] "ClusterSelectorList""#,
                r#""fleetkustomizations.fleet.fairway.dev" ["fks"] ["fairway"] "FleetKustomizationList""#,
                r#""pipelines.fleet.fairway.dev" ["fpl"] ["fairway"] "PipelineList""#,
                r#""promotions.fleet.fairway.dev" ["fpr"] ["fairway"] "PromotionList""#,
                r#""approvals.fleet.fairway.dev" ["fap"] ["fairway"] "ApprovalList""#,
            ]
        );
    }

    #[test]
    fn flux_fields_have_flux_schemas() {
        let crd = crd("Kustomization").unwrap();
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        assert_eq!(spec["required"], json!(["interval", "prune", "sourceRef"]));
        assert_eq!(
            spec["properties"]["interval"]["pattern"],
            crate::duration::PATTERN
        );
        assert_eq!(
            spec["properties"]["deletionPolicy"]["enum"],
            json!(["MirrorPrune", "Delete", "WaitForTermination", "Orphan"])
        );
        assert_eq!(spec["properties"]["force"]["default"], false);
        assert!(spec["properties"]["prune"].get("default").is_none());
        let version = &crd["spec"]["versions"][0];
        assert_eq!(version["subresources"], json!({"status": {}}));
        let columns: Vec<_> = version["additionalPrinterColumns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|column| &column["name"])
            .collect();
        assert_eq!(columns, ["Age", "Ready", "Status"]);
    }
}
