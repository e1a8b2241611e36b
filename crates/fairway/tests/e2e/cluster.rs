//! One cluster as a bystander sees it: plain requests by kube's own client, nothing of Fairway's.

use std::collections::BTreeMap;
use std::sync::{Mutex, Once};

use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use crate::binary::until;

/// The owner labels that Flux and Fairway set.
const OWNER: &str = "kustomize.toolkit.fluxcd.io/name";
pub(crate) const SYSTEM: &str = "flux-system";

/// One cluster, by an admin's credentials.
pub(crate) struct Cluster {
    name: String,
    client: Client,
    kinds: Mutex<Vec<Kind>>,
}

#[derive(Clone, Debug)]
struct Kind {
    api_version: String,
    name: String,
    plural: String,
    is_namespaced: bool,
}

/// Kind, namespace and name.
pub(crate) type Id = (String, String, String);

pub(crate) fn id(kind: &str, namespace: &str, name: &str) -> Id {
    (kind.to_owned(), namespace.to_owned(), name.to_owned())
}

impl Cluster {
    /// A context of a kubeconfig.
    pub(crate) async fn of(kubeconfig: &str, context: &str) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        });
        let options = KubeConfigOptions {
            context: Some(context.to_owned()),
            ..KubeConfigOptions::default()
        };
        let parsed = Kubeconfig::from_yaml(kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(parsed, &options)
            .await
            .unwrap();
        Self {
            name: context.to_owned(),
            client: Client::try_from(config).unwrap(),
            kinds: Mutex::default(),
        }
    }

    async fn request(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: &Value,
    ) -> Result<Value, kube::Error> {
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("content-type", kind);
        let body = if body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(body).unwrap()
        };
        self.client.request(request.body(body).unwrap()).await
    }

    async fn read(&self, path: &str) -> Result<Value, kube::Error> {
        self.request("GET", path, "application/json", &Value::Null)
            .await
    }

    /// Asks the API server which kinds it has.
    async fn discover(&self) -> Vec<Kind> {
        let mut groups = vec![("/api/v1".to_owned(), "v1".to_owned())];
        let list = self.read("/apis").await.unwrap();
        for group in list["groups"].as_array().unwrap() {
            let version = group["preferredVersion"]["groupVersion"].as_str().unwrap();
            groups.push((format!("/apis/{version}"), version.to_owned()));
        }
        let mut kinds = Vec::new();
        for (path, api_version) in groups {
            let list = self.read(&path).await.unwrap();
            for resource in list["resources"].as_array().unwrap() {
                let verbs = resource["verbs"].as_array().unwrap();
                let plural = resource["name"].as_str().unwrap();
                if !verbs.contains(&json!("list")) || plural.contains('/') {
                    continue;
                }
                kinds.push(Kind {
                    api_version: api_version.clone(),
                    name: resource["kind"].as_str().unwrap().to_owned(),
                    plural: plural.to_owned(),
                    is_namespaced: resource["namespaced"] == true,
                });
            }
        }
        self.kinds.lock().unwrap().clone_from(&kinds);
        kinds
    }

    /// Where the objects of a kind are.
    async fn kind(&self, kind: &str) -> Option<Kind> {
        let known = self.kinds.lock().unwrap().clone();
        let find = |kinds: &[Kind]| kinds.iter().find(|known| known.name == kind).cloned();
        match find(&known) {
            Some(found) => Some(found),
            None => find(&self.discover().await),
        }
    }

    /// An object; `None` where it, or its kind, is not there.
    pub(crate) async fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let path = self.kind(kind).await?.path(namespace, name);
        match self.read(&path).await {
            Ok(object) => Some(object),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => panic!("{}: {path}: {error}", self.name),
        }
    }

    /// The objects of a kind in one namespace, or with "" in all.
    pub(crate) async fn list(&self, kind: &str, namespace: &str) -> Vec<Value> {
        let Some(kind) = self.kind(kind).await else {
            return Vec::new();
        };
        kind.items(self.read(&kind.path(namespace, "")).await.unwrap())
    }

    /// All objects but the short-lived ones that report and lead.
    pub(crate) async fn everything(&self) -> BTreeMap<Id, Value> {
        let mut found = BTreeMap::new();
        for kind in self.discover().await {
            if ["Event", "Lease"].contains(&kind.name.as_str()) {
                continue;
            }
            let list = self.read(&kind.path("", "")).await.unwrap();
            for object in kind.items(list) {
                found.insert(id_of(&object), object);
            }
        }
        found
    }

    /// What matters of all objects that nobody should have touched: identity, generation and content without status.
    pub(crate) async fn contents(&self) -> BTreeMap<Id, Value> {
        let mut found = self.everything().await;
        for object in found.values_mut() {
            let metadata = object["metadata"].as_object_mut().unwrap();
            metadata.remove("resourceVersion");
            metadata.remove("managedFields");
            object.as_object_mut().unwrap().remove("status");
        }
        found
    }

    /// The objects that carry owner labels, by the name of their Kustomization. Endpoints take the labels of their
    /// Service from the cluster itself.
    pub(crate) async fn owned(&self) -> BTreeMap<String, Vec<Id>> {
        let mut owned: BTreeMap<String, Vec<Id>> = BTreeMap::new();
        for (id, object) in self.everything().await {
            if id.0.starts_with("Endpoint") {
                continue;
            }
            if let Some(owner) = object["metadata"]["labels"][OWNER].as_str() {
                owned.entry(owner.to_owned()).or_default().push(id);
            }
        }
        owned
    }

    /// Server-side applies an object as somebody; waits for a kind that is to come.
    pub(crate) async fn apply(&self, object: &Value) -> Value {
        let (kind, namespace, name) = id_of(object);
        let found = until(&format!("{kind} is served"), async || {
            self.kind(&kind).await.ok_or_else(|| "unknown".to_owned())
        })
        .await;
        let path = found.path(&namespace, &name);
        let path = format!("{path}?fieldManager=somebody&force=true");
        self.request("PATCH", &path, "application/apply-patch+yaml", object)
            .await
            .unwrap_or_else(|error| panic!("{}: {path}: {error}", self.name))
    }

    /// Merge-patches an object, as `kubectl edit` does.
    pub(crate) async fn edit(&self, kind: &str, namespace: &str, name: &str, patch: Value) {
        let path = self.kind(kind).await.unwrap().path(namespace, name);
        let path = format!("{path}?fieldManager=kubectl-edit");
        self.request("PATCH", &path, "application/merge-patch+json", &patch)
            .await
            .unwrap_or_else(|error| panic!("{}: {path}: {error}", self.name));
    }

    /// A token of a service account, from the API server itself.
    pub(crate) async fn token(&self, namespace: &str, account: &str) -> String {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let body =
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let answer = self
            .request("POST", &path, "application/json", &body)
            .await
            .unwrap();
        answer["status"]["token"].as_str().unwrap().to_owned()
    }

    /// Deletes an object.
    pub(crate) async fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let path = self.kind(kind).await.unwrap().path(namespace, name);
        self.request("DELETE", &path, "application/json", &Value::Null)
            .await
            .unwrap_or_else(|error| panic!("{}: {path}: {error}", self.name));
    }

    /// Waits until an object of `flux-system` says this of its Ready condition, and returns the object.
    pub(crate) async fn until_ready(
        &self,
        kind: &str,
        name: &str,
        wanted: impl Fn(&Value, &Ready) -> bool,
    ) -> Value {
        until(&format!("{kind}/{name} of {}", self.name), async || {
            let object = self.get(kind, SYSTEM, name).await;
            let object = object.ok_or_else(|| "it is not there".to_owned())?;
            if wanted(&object, &Ready::of(&object)) {
                return Ok(object);
            }
            Err(format!("{}", object["status"]))
        })
        .await
    }

    /// Waits until a Kustomization has applied a revision.
    pub(crate) async fn until_applied(&self, name: &str, revision: &str) -> Value {
        self.until_ready("Kustomization", name, |object, ready| {
            ready.status == "True" && object["status"]["lastAppliedRevision"] == revision
        })
        .await
    }

    /// Waits until an object is gone.
    pub(crate) async fn until_gone(&self, kind: &str, namespace: &str, name: &str) {
        until(
            &format!("{kind} {name} is gone from {}", self.name),
            async || match self.get(kind, namespace, name).await {
                None => Ok(()),
                Some(object) => Err(object["metadata"].to_string()),
            },
        )
        .await;
    }

    /// The events about an object, as (type, reason, message).
    pub(crate) async fn events(&self, kind: &str, name: &str) -> Vec<(String, String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let events = self.list("Event", SYSTEM).await;
        let about = events.iter().filter(|event| {
            event["involvedObject"]["kind"] == kind && event["involvedObject"]["name"] == name
        });
        about
            .map(|event| {
                (
                    text(&event["type"]),
                    text(&event["reason"]),
                    text(&event["message"]),
                )
            })
            .collect()
    }

    /// The image of the first container of a Deployment.
    pub(crate) async fn image(&self, namespace: &str, name: &str) -> String {
        let object = self.get("Deployment", namespace, name).await;
        let image = object
            .map(|object| object["spec"]["template"]["spec"]["containers"][0]["image"].clone());
        image
            .unwrap_or_default()
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

impl Kind {
    fn path(&self, namespace: &str, name: &str) -> String {
        let root = if self.api_version == "v1" {
            "/api/v1".to_owned()
        } else {
            format!("/apis/{}", self.api_version)
        };
        let namespace = if self.is_namespaced && !namespace.is_empty() {
            format!("/namespaces/{namespace}")
        } else {
            String::new()
        };
        let name = if name.is_empty() {
            String::new()
        } else {
            format!("/{name}")
        };
        format!("{root}{namespace}/{}{name}", self.plural)
    }

    /// The items of a list, each with its kind.
    fn items(&self, mut list: Value) -> Vec<Value> {
        let Value::Array(mut items) = list["items"].take() else {
            return Vec::new();
        };
        for item in &mut items {
            item["kind"] = json!(self.name);
            item["apiVersion"] = json!(self.api_version);
        }
        items
    }
}

/// What a Ready condition says.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Ready {
    pub(crate) fn of(object: &Value) -> Self {
        let conditions = object["status"]["conditions"].as_array();
        let ready = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "Ready");
        let text = |key: &str| {
            let value = ready.and_then(|ready| ready[key].as_str());
            value.unwrap_or_default().to_owned()
        };
        Self {
            status: text("status"),
            reason: text("reason"),
            message: text("message"),
        }
    }
}

pub(crate) fn id_of(object: &Value) -> Id {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    (
        text(&object["kind"]),
        text(&metadata["namespace"]),
        text(&metadata["name"]),
    )
}

/// The objects in the inventory of a Kustomization, sorted.
pub(crate) fn inventory(kustomization: &Value) -> Vec<Id> {
    let entries = kustomization["status"]["inventory"]["entries"].as_array();
    let mut ids: Vec<Id> = entries
        .into_iter()
        .flatten()
        .map(|entry| {
            // namespace_name_group_Kind; no name of these tests has an underscore.
            let parts: Vec<&str> = entry["id"].as_str().unwrap().split('_').collect();
            id(parts[3], parts[0], parts[1])
        })
        .collect();
    ids.sort();
    ids
}

/// The objects of YAML documents.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    let documents = fairway_yaml::parse(text).unwrap();
    let objects = documents.iter().map(|document| document.to_json().unwrap());
    objects.filter(|object| !object.is_null()).collect()
}
