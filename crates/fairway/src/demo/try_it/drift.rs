//! A hand edit is put back by watch.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::session::Session;
use crate::exit::Outcome;

const CLUSTER: &str = "prod-us-west-2";
const BY_HAND: i32 = 9;

/// Scales a managed Deployment by hand and waits until it is as Git says.
pub(crate) async fn run(session: &mut Session) -> anyhow::Result<Outcome> {
    let api: Api<Deployment> = Api::namespaced(session.cluster(CLUSTER).await?, "myapp");
    let replicas = |deployment: &Deployment| deployment.spec.replicas;
    let before = replicas(&api.get("myapp").await?);
    let patch = Patch::Merge(json!({"spec": {"replicas": BY_HAND}}));
    let params = PatchParams {
        field_manager: Some("kubectl-scale".into()),
        ..PatchParams::default()
    };
    let edited = api.patch("myapp", &params, &patch).await?;
    session.say(&format!(
        "{CLUSTER}: Deployment myapp/myapp scaled by hand from {} to {}",
        before.unwrap_or_default(),
        replicas(&edited).unwrap_or_default()
    ));
    session
        .expect("put back to what Git says", async || {
            Ok(replicas(&api.get("myapp").await?) == before)
        })
        .await
}
