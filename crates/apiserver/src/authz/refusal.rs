//! How requests are named in refusals.

use crate::auth::{Attributes, User};
use crate::status::ApiError;
use crate::store::GroupResource;

/// The 403 answer to a request, as Kubernetes words it; `reason` is what RBAC had to say, or empty.
pub fn forbidden(user: &User, asked: &Attributes, reason: &str) -> ApiError {
    let Attributes {
        verb,
        group,
        namespace,
        ..
    } = asked;
    let user = &user.name;
    let mut why = match &asked.path {
        Some(path) => format!("User {user:?} cannot {verb} path {path:?}"),
        None => {
            let resource = with_subresource(asked);
            let place = if namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace {namespace:?}")
            };
            format!(
                "User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {place}"
            )
        }
    };
    if !reason.is_empty() {
        why.push_str(": ");
        why.push_str(reason);
    }
    if asked.path.is_some() {
        return ApiError::new(403, "Forbidden", format!("forbidden: {why}"));
    }
    ApiError::forbidden(
        &GroupResource::new(group, &asked.resource),
        &asked.name,
        &why,
    )
}

/// `deployments/status`, or `deployments` without a subresource.
fn with_subresource(asked: &Attributes) -> String {
    if asked.subresource.is_empty() {
        asked.resource.clone()
    } else {
        format!("{}/{}", asked.resource, asked.subresource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_as_those_of_kubernetes() {
        let user = User {
            name: "u".into(),
            ..User::default()
        };
        let get = Attributes {
            verb: "get".into(),
            group: "apps".into(),
            resource: "deployments".into(),
            namespace: "default".into(),
            name: "x".into(),
            ..Attributes::default()
        };
        assert_eq!(
            forbidden(&user, &get, "").message,
            "deployments.apps \"x\" is forbidden: User \"u\" cannot get resource \"deployments\" in API group \"apps\" in the namespace \"default\""
        );
        let patch = Attributes {
            verb: "patch".into(),
            resource: "nodes".into(),
            subresource: "status".into(),
            ..Attributes::default()
        };
        assert_eq!(
            forbidden(&user, &patch, "RBAC: no").message,
            "nodes is forbidden: User \"u\" cannot patch resource \"nodes/status\" in API group \"\" at the cluster scope: RBAC: no"
        );
        let path = Attributes {
            verb: "get".into(),
            path: Some("/metrics".into()),
            ..Attributes::default()
        };
        assert_eq!(
            forbidden(&user, &path, "").message,
            "forbidden: User \"u\" cannot get path \"/metrics\""
        );
    }
}
