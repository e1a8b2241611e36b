//! What a management cluster needs: the manifests of `deploy/`, fitted to what was asked for.

use fairway_controller::{Controller, lease};
use kube::Client;
use kube::config::Kubeconfig;
use serde_json::{Value, json};

use super::objects::{apply, documents};
use super::workload;

/// The label that says whose an object is.
pub(crate) const PART_OF: &str = "app.kubernetes.io/part-of";
/// Its value for what Fairway installs.
pub(crate) const FAIRWAY: &str = "fairway";
/// The Deployment, its account and its Service.
pub(crate) const CONTROLLER: &str = "fairway";

const NAMESPACE: &str = include_str!("../../../../deploy/namespace.yaml");
const RBAC: &str = include_str!("../../../../deploy/rbac.yaml");
const ROLES: &str = include_str!("../../../../deploy/roles.yaml");
const APPROVALS: &str = include_str!("../../../../deploy/approvals.yaml");
const DEPLOYMENT: &str = include_str!("../../../../deploy/controller.yaml");
const NETWORK_POLICIES: &str = include_str!("../../../../deploy/network-policies.yaml");

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Installation {
    /// Namespace of the controller.
    pub(crate) namespace: String,
    /// Image of the controller.
    pub(crate) image: String,
    /// `locked` or `flux`.
    pub(crate) profile: &'static str,
    /// The reconcilers to run.
    pub(crate) controllers: Vec<Controller>,
    /// Replicas of the controller.
    pub(crate) replicas: u8,
    /// Whether NetworkPolicies are part of it.
    pub(crate) network_policy: bool,
    /// Labels of the objects to reconcile; all where there is none.
    pub(crate) watch_label_selector: Option<String>,
    /// Domain of the cluster's Services.
    pub(crate) cluster_domain: String,
}

impl Installation {
    /// What `deploy/` holds.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self {
            namespace: fairway_types::names::SYSTEM_NAMESPACE.to_owned(),
            image: format!(
                "ghcr.io/fairway-gitops/fairway:v{}",
                env!("CARGO_PKG_VERSION")
            ),
            profile: "locked",
            controllers: Controller::ALL.to_vec(),
            replicas: 1,
            network_policy: true,
            watch_label_selector: None,
            cluster_domain: "cluster.local".to_owned(),
        }
    }

    /// The objects in the order to apply them.
    pub(crate) fn objects(&self) -> anyhow::Result<Vec<Value>> {
        let mut objects = definitions();
        objects.extend(documents(NAMESPACE)?);
        for part in [RBAC, ROLES, APPROVALS] {
            objects.extend(documents(part)?);
        }
        if self.profile == "flux" {
            objects.push(administrator());
        }
        objects.extend(documents(DEPLOYMENT)?);
        if self.network_policy {
            objects.extend(documents(NETWORK_POLICIES)?);
        }
        for object in &mut objects {
            self.fit(object);
        }
        Ok(objects)
    }

    fn fit(&self, object: &mut Value) {
        let standard = fairway_types::names::SYSTEM_NAMESPACE;
        let namespace = &self.namespace;
        if object["kind"] == "Namespace" {
            object["metadata"]["name"] = json!(namespace);
        }
        if object["metadata"]["namespace"] == standard {
            object["metadata"]["namespace"] = json!(namespace);
        }
        let subjects = object.get_mut("subjects").and_then(Value::as_array_mut);
        for subject in subjects.into_iter().flatten() {
            if subject["namespace"] == standard {
                subject["namespace"] = json!(namespace);
            }
        }
        if object["kind"] == "Role" {
            // A shard has Leases of its own.
            let leases: Vec<String> = Controller::ALL
                .into_iter()
                .filter(|one| !matches!(one, Controller::Pipeline | Controller::Notification))
                .map(|controller| lease::name(controller, self.watch_label_selector.as_deref()))
                .collect();
            object["rules"][1]["resourceNames"] = json!(leases);
        }
        if object["kind"] == "Deployment" {
            object["spec"]["replicas"] = json!(self.replicas);
            let container = &mut object["spec"]["template"]["spec"]["containers"][0];
            container["image"] = json!(self.image);
            if let Some(arguments) = container["args"].as_array_mut() {
                self.fit_arguments(arguments);
            }
        }
    }

    fn fit_arguments(&self, arguments: &mut Vec<Value>) {
        let names: Vec<&str> = self.controllers.iter().map(|one| one.name()).collect();
        for argument in arguments.iter_mut() {
            let Some((flag, value)) = argument.as_str().and_then(|text| text.split_once('='))
            else {
                continue;
            };
            let fitted = match flag {
                "--profile" => self.profile.to_owned(),
                "--controllers" => names.join(","),
                "--storage-adv-addr" => value.replace("cluster.local", &self.cluster_domain),
                _ => continue,
            };
            *argument = json!(format!("{flag}={fitted}"));
        }
        if let Some(selector) = &self.watch_label_selector {
            arguments.push(json!(format!("--watch-label-selector={selector}")));
        }
    }
}

/// With Flux's own rules, Kustomizations that name no account act as the controller, which must then be able to do what they ask.
fn administrator() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "fairway-cluster-reconciler", "labels": {PART_OF: FAIRWAY}},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": [{
            "kind": "ServiceAccount",
            "name": CONTROLLER,
            "namespace": fairway_types::names::SYSTEM_NAMESPACE,
        }],
    })
}

/// All resource definitions.
pub(crate) fn definitions() -> Vec<Value> {
    let mut definitions = fairway_types::crds();
    for definition in &mut definitions {
        definition["metadata"]["labels"] = json!({PART_OF: FAIRWAY});
        serve_older(definition);
        integers(definition);
    }
    definitions
}

/// Numbers as they are once they were written to a file and read again: `0`, not `0.0`. Else who applies the file and who
/// applies these would undo each other's work.
fn integers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|number| number.fract() == 0.0) {
                *value = json!(whole as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(integers),
        Value::Object(fields) => fields.values_mut().for_each(integers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// All but the Deployment: for a controller that runs elsewhere.
fn accounts() -> anyhow::Result<Vec<Value>> {
    let mut objects = definitions();
    for part in [NAMESPACE, RBAC, ROLES, APPROVALS] {
        objects.extend(documents(part)?);
    }
    Ok(objects)
}

/// The resource definitions of Flux's kinds, as a cluster needs them in which such objects live.
pub(crate) fn flux_definitions() -> Vec<Value> {
    let mut definitions = definitions();
    definitions.retain(is_of_flux);
    definitions
}

/// Whether it defines one of Flux's kinds.
pub(crate) fn is_of_flux(definition: &Value) -> bool {
    definition["spec"]["group"]
        .as_str()
        .is_some_and(|group| group.ends_with(".toolkit.fluxcd.io"))
}

/// Serves Flux's kinds in the versions before the newest too, as Flux does or did: their fields are the same.
fn serve_older(definition: &mut Value) {
    if !is_of_flux(definition) {
        return;
    }
    let kind = definition["spec"]["names"]["kind"].clone();
    let kind = kind.as_str().unwrap_or_default();
    let Some(versions) = definition["spec"]["versions"].as_array_mut() else {
        return;
    };
    let [newest] = versions.as_slice() else {
        return;
    };
    let (newest, name) = (newest.clone(), newest["name"].clone());
    let (older, hint): (&[&str], &str) = match name.as_str() {
        Some("v1") => (&["v1beta2"], "; `fairway migrate` rewrites files"),
        _ => (&["v1beta2", "v1beta1"], ""),
    };
    for version in older {
        let mut older = newest.clone();
        older["name"] = json!(version);
        older["storage"] = json!(false);
        older["deprecated"] = json!(true);
        let name = name.as_str().unwrap_or_default();
        older["deprecationWarning"] = json!(format!(
            "{version} {kind} is deprecated, upgrade to {name}{hint}"
        ));
        versions.push(older);
    }
}

/// Applies resource definitions, namespace and accounts; the same again changes nothing.
pub(crate) async fn prepare_hub(client: &Client) -> anyhow::Result<()> {
    apply(client, &accounts()?).await
}

/// A kubeconfig with the token of the controller's account. A controller that runs in the cluster gets its token from its pod and
/// needs none of this.
pub(crate) async fn controller_access(
    client: &Client,
    kubeconfig: &Kubeconfig,
) -> anyhow::Result<String> {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": workload::TOKEN,
            "namespace": fairway_types::names::SYSTEM_NAMESPACE,
            "annotations": {"kubernetes.io/service-account.name": CONTROLLER},
        },
        "type": "kubernetes.io/service-account-token",
    });
    apply(client, &[secret]).await?;
    let token = workload::token(client).await?;
    workload::with_user(kubeconfig, None, &json!({ "token": token }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn deploy() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
    }

    /// `UPDATE_DEPLOY=1 cargo test -p fairway deploy` writes what it compares.
    #[test]
    fn the_definitions_in_deploy_are_those_that_install_applies() {
        let wanted = fairway_yaml::emit::documents(&definitions());
        let path = deploy().join("crds.yaml");
        if std::env::var_os("UPDATE_DEPLOY").is_some() {
            std::fs::write(&path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap();
        assert!(
            found == wanted,
            "deploy/crds.yaml is out of date; hint: UPDATE_DEPLOY=1 cargo test -p fairway deploy"
        );
    }

    #[test]
    fn the_kustomization_in_deploy_builds_what_install_applies() {
        let tree = fairway_kustomize::DiskTree::new(deploy()).unwrap();
        let options = fairway_kustomize::Options::default();
        let build = fairway_kustomize::build(&tree, "", &options).unwrap();
        let mut built: Vec<Value> = build
            .resources
            .into_iter()
            .map(|resource| resource.object)
            .collect();
        let mut wanted = Installation::plain().objects().unwrap();
        let key = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]);
        built.sort_by_key(key);
        wanted.sort_by_key(key);
        assert_eq!(built.len(), wanted.len());
        for (built, wanted) in built.iter().zip(&wanted) {
            assert!(built == wanted, "{built}\n{wanted}");
        }
    }

    #[test]
    fn an_installation_is_fitted_to_what_is_asked_for() {
        let installation = Installation {
            namespace: "gitops".into(),
            profile: "flux",
            controllers: vec![Controller::Fleet],
            replicas: 2,
            network_policy: false,
            watch_label_selector: Some("sharding.fluxcd.io/key=a".into()),
            cluster_domain: "corp".into(),
            ..Installation::plain()
        };
        let objects = installation.objects().unwrap();
        let text = fairway_yaml::emit::documents(&objects);
        assert!(!text.contains("namespace: flux-system"), "{text}");
        assert!(!text.contains("kind: NetworkPolicy"));
        assert!(text.contains("fairway-cluster-reconciler"));
        for argument in [
            "--profile=flux",
            "--controllers=fleet",
            "--watch-label-selector=sharding.fluxcd.io/key=a",
            "--storage-adv-addr=fairway.$(RUNTIME_NAMESPACE).svc.corp.",
        ] {
            assert!(text.contains(&format!("- {argument}\n")), "{argument}");
        }
    }

    #[test]
    fn the_controller_is_no_administrator_where_it_is_locked() {
        for object in Installation::plain().objects().unwrap() {
            let admin = object["roleRef"]["name"] == "cluster-admin";
            assert!(
                !admin || object["metadata"]["name"] == "fairway-applier",
                "{object}"
            );
        }
    }
}
