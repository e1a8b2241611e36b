//! The workload: what lies in Git and what is created in the cluster.

use anyhow::Result;
use fairway_testkit::GitServer;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use crate::api::{Api, JSON, MERGE};

pub(crate) const NAMESPACE: &str = "benchmark";
pub(crate) const ACCOUNT: &str = "flux";
const SOURCE: &str = "podinfo";
/// Writes of the bench itself that are under way at the same time.
const CONCURRENCY: usize = 16;

pub(crate) const KUSTOMIZATIONS: &str =
    "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/benchmark/kustomizations";
const REPOSITORIES: &str = "/apis/source.toolkit.fluxcd.io/v1/namespaces/benchmark/gitrepositories";

/// An application as Flux's benchmark deploys it.
const APP: &str = include_str!("app.yaml");

/// The repository that everybody reconciles from.
pub(crate) async fn repository() -> Result<GitServer> {
    let git = GitServer::start("benchmark").await?;
    git.commit("Import", &[("app/app.yaml", Some(APP))]).await?;
    Ok(git)
}

/// The objects of one application, with its variables filled in.
pub(crate) fn objects(index: usize, cpu: u32) -> Result<Vec<Value>> {
    let text = APP
        .replace("${INDEX}", &format!("{index}app"))
        .replace("${PODS:=0}", "0")
        .replace("${MCPU}", &format!("{cpu}m"));
    let mut objects = Vec::new();
    for document in fairway_yaml::parse(&text)? {
        let mut object = document.to_json()?;
        object["metadata"]["namespace"] = NAMESPACE.into();
        objects.push(object);
    }
    Ok(objects)
}

pub(crate) fn kustomization(index: usize, wait: bool) -> Value {
    json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": name(index), "namespace": NAMESPACE},
        "spec": {
            "sourceRef": {"kind": "GitRepository", "name": SOURCE},
            "interval": "60m",
            "retryInterval": "2m",
            "timeout": "1m",
            "path": "./app",
            "prune": true,
            "wait": wait,
            "serviceAccountName": ACCOUNT,
            "targetNamespace": NAMESPACE,
            "postBuild": {"substitute": {
                "INDEX": format!("{index}app"), "PODS": "0", "MCPU": "1m",
            }},
        },
    })
}

pub(crate) fn name(index: usize) -> String {
    format!("podinfo-{index}")
}

/// What changes in an upgrade.
pub(crate) fn upgrade() -> Value {
    json!({"spec": {"postBuild": {"substitute": {"MCPU": "2m"}}}})
}

/// Namespace, account and its rights.
pub(crate) async fn prepare(api: &Api) -> Result<()> {
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    api.send("POST", "/api/v1/namespaces", JSON, &namespace)
        .await?;
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}});
    let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts");
    api.send("POST", &path, JSON, &account).await?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}],
    });
    let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/rolebindings");
    api.send("POST", &path, JSON, &binding).await?;
    Ok(())
}

/// The source of everything.
pub(crate) async fn create_source(api: &Api, url: &str) -> Result<()> {
    let source = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": SOURCE},
        "spec": {"interval": "60m", "url": url, "ref": {"branch": "main"}},
    });
    api.send("POST", REPOSITORIES, JSON, &source).await?;
    Ok(())
}

/// The revision that the source is ready at.
pub(crate) async fn source_revision(api: &Api) -> Result<Option<String>> {
    let source = api
        .send(
            "GET",
            &format!("{REPOSITORIES}/{SOURCE}"),
            JSON,
            &Value::Null,
        )
        .await?;
    let revision = source.pointer("/status/artifact/revision");
    Ok(revision.and_then(Value::as_str).map(str::to_owned))
}

/// Asks for a fetch of the source now, as `flux reconcile source git` does.
pub(crate) async fn request_source(api: &Api, at: &str) -> Result<()> {
    let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": at}}});
    let path = format!("{REPOSITORIES}/{SOURCE}");
    api.send("PATCH", &path, MERGE, &patch).await?;
    Ok(())
}

pub(crate) async fn create_all(api: &Api, n: usize, wait: bool) -> Result<()> {
    each(n, |index| async move {
        api.send("POST", KUSTOMIZATIONS, JSON, &kustomization(index, wait))
            .await
    })
    .await
}

pub(crate) async fn upgrade_all(api: &Api, n: usize) -> Result<()> {
    each(n, |index| async move {
        let path = format!("{KUSTOMIZATIONS}/{}", name(index));
        api.send("PATCH", &path, MERGE, &upgrade()).await
    })
    .await
}

async fn each<F>(n: usize, write: impl Fn(usize) -> F) -> Result<()>
where
    F: Future<Output = Result<Value>>,
{
    stream::iter(0..n)
        .map(write)
        .buffer_unordered(CONCURRENCY)
        .try_for_each(|_| async { Ok(()) })
        .await
}
