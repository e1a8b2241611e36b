//! What is asked for: the attributes of a request that a decision depends on.

use super::User;

/// One request to be authorized.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// Who asks.
    pub user: &'a User,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or a
    /// verb of RBAC itself such as `bind`; for paths the HTTP method in lower case.
    pub verb: &'a str,
    /// What the verb is applied to.
    pub target: Target<'a>,
}

/// What a request is about.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// An API resource.
    Resource(ResourceTarget<'a>),
    /// A path outside of the resource API, such as `/healthz`.
    Path(&'a str),
}

/// An API resource, a collection of them or a subresource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResourceTarget<'a> {
    /// API group; empty for the core group.
    pub group: &'a str,
    /// API version; no rule looks at it.
    pub version: &'a str,
    /// Plural name of the resource.
    pub resource: &'a str,
    /// Subresource, or empty.
    pub subresource: &'a str,
    /// Namespace; empty for cluster-scoped resources and requests over all namespaces.
    pub namespace: &'a str,
    /// Name of the object; empty for collections.
    pub name: &'a str,
}

impl<'a> Attributes<'a> {
    /// A request for a resource.
    pub fn resource(user: &'a User, verb: &'a str, target: ResourceTarget<'a>) -> Self {
        Self { user, verb, target: Target::Resource(target) }
    }

    /// A request for a path outside of the resource API.
    pub fn path(user: &'a User, verb: &'a str, path: &'a str) -> Self {
        Self { user, verb, target: Target::Path(path) }
    }

    /// The text of the 403 answer to this request, as Kubernetes words it; `reason` is the
    /// [`Decision::reason`](super::Decision::reason) of the refusal.
    pub fn forbidden_message(&self, reason: &str) -> String {
        let user = &self.user.name;
        let verb = self.verb;
        let mut message = match &self.target {
            Target::Path(path) => {
                format!("forbidden: User {user:?} cannot {verb} path {path:?}")
            }
            Target::Resource(target) => {
                let resource = target.with_subresource();
                let group = target.group;
                let place = if target.namespace.is_empty() {
                    "at the cluster scope".to_owned()
                } else {
                    format!("in the namespace {:?}", target.namespace)
                };
                format!(
                    "{} is forbidden: User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {place}",
                    target.qualified_name(),
                )
            }
        };
        if !reason.is_empty() {
            message.push_str(": ");
            message.push_str(reason);
        }
        message
    }
}

impl ResourceTarget<'_> {
    /// `deployments/status`, or `deployments` without a subresource.
    pub fn with_subresource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.to_owned()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// `deployments.apps "web"`: how error messages begin.
    pub fn qualified_name(&self) -> String {
        let mut text = self.resource.to_owned();
        if !self.group.is_empty() {
            text.push('.');
            text.push_str(self.group);
        }
        if !self.name.is_empty() {
            text.push_str(&format!(" {:?}", self.name));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User::authenticated("u", &[])
    }

    #[test]
    fn messages_read_as_those_of_kubernetes() {
        let user = user();
        let target = ResourceTarget {
            group: "apps",
            version: "v1",
            resource: "deployments",
            namespace: "default",
            name: "x",
            ..ResourceTarget::default()
        };
        assert_eq!(
            Attributes::resource(&user, "get", target).forbidden_message(""),
            "deployments.apps \"x\" is forbidden: User \"u\" cannot get resource \"deployments\" in API group \"apps\" in the namespace \"default\""
        );
        let target = ResourceTarget { resource: "nodes", subresource: "status", ..ResourceTarget::default() };
        assert_eq!(
            Attributes::resource(&user, "patch", target).forbidden_message("RBAC: no"),
            "nodes is forbidden: User \"u\" cannot patch resource \"nodes/status\" in API group \"\" at the cluster scope: RBAC: no"
        );
        assert_eq!(
            Attributes::path(&user, "get", "/metrics").forbidden_message(""),
            "forbidden: User \"u\" cannot get path \"/metrics\""
        );
    }
}
