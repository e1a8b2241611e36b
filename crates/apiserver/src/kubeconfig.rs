//! The kubeconfig of a server: one context per cluster.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

/// How to reach one cluster as its administrator.
pub(crate) struct Access {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) token: String,
}

/// Writes a kubeconfig (YAML). The context that is current is the named one if it is there, else the first.
pub(crate) fn render(clusters: &[Access], authority_pem: &str, current: &str) -> String {
    let authority = BASE64.encode(authority_pem);
    let list = |make: &dyn Fn(&Access) -> Value| clusters.iter().map(make).collect::<Vec<_>>();
    let user = |access: &Access| format!("{}-admin", access.name);
    let chosen = clusters
        .iter()
        .find(|access| access.name == current)
        .or(clusters.first())
        .map_or("", |access| &access.name);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": chosen,
        "clusters": list(&|access| json!({
            "name": access.name,
            "cluster": {"server": access.url, "certificate-authority-data": authority},
        })),
        "users": list(&|access| json!({"name": user(access), "user": {"token": access.token}})),
        "contexts": list(&|access| json!({
            "name": access.name,
            "context": {"cluster": access.name, "user": user(access)},
        })),
    });
    fairway_yaml::emit::to_string(&config)
}
