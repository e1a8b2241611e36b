//! Role bindings. Roles print as plain kinds do.

use jiff::Timestamp;
use serde_json::Value;

use super::{Layout, age, items, name, text};

pub(super) fn layout(group: &str, resource: &str) -> Option<&'static Layout> {
    (group == "rbac.authorization.k8s.io"
        && matches!(resource, "rolebindings" | "clusterrolebindings"))
    .then_some(&BINDINGS)
}

static BINDINGS: Layout = Layout {
    headings: &[
        ("Name", "string", false),
        ("Role", "string", false),
        ("Age", "string", false),
        ("Users", "string", true),
        ("Groups", "string", true),
        ("ServiceAccounts", "string", true),
    ],
    cells: binding,
};

fn binding(binding: &Value, now: Timestamp) -> Vec<Value> {
    let role = format!(
        "{}/{}",
        text(binding, "/roleRef/kind"),
        text(binding, "/roleRef/name")
    );
    let subjects = |kind: &str| -> Value {
        items(binding, "/subjects")
            .iter()
            .filter(|subject| subject["kind"] == kind)
            .map(|subject| {
                let name = text(subject, "/name");
                if kind == "ServiceAccount" {
                    format!("{}/{name}", text(subject, "/namespace"))
                } else {
                    name.to_owned()
                }
            })
            .collect::<Vec<_>>()
            .join(", ")
            .into()
    };
    vec![
        name(binding),
        role.into(),
        age(binding, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}
