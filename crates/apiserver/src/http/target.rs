//! What a request line asks for.

use http::Method;

use super::query::{Query, decode};

/// A parsed request path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// API verb for resources; the lower-case method otherwise.
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) version: String,
    /// Empty for everything that is no resource: discovery, health, metrics.
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) path: String,
}

impl Target {
    pub(crate) fn parse(method: &Method, path: &str, query: &Query) -> Self {
        let mut target = Self {
            verb: method.as_str().to_lowercase(),
            path: path.to_owned(),
            ..Self::default()
        };
        let parts: Vec<String> = path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| decode(part, false))
            .collect();
        let mut rest = match parts.first().map(String::as_str) {
            Some("api") if parts.len() >= 3 => {
                target.version.clone_from(&parts[1]);
                &parts[2..]
            }
            Some("apis") if parts.len() >= 4 => {
                target.group.clone_from(&parts[1]);
                target.version.clone_from(&parts[2]);
                &parts[3..]
            }
            _ => return target,
        };
        // The path form of watches, long deprecated but still served by Kubernetes.
        let mut watch = false;
        if rest[0] == "watch" && rest.len() > 1 {
            watch = true;
            rest = &rest[1..];
        }
        // `/namespaces/NAME/status` and `/namespaces/NAME/finalize` are subresources of the namespace itself.
        let of_namespace = rest[0] == "namespaces"
            && target.group.is_empty()
            && (rest.len() < 3 || matches!(rest[2].as_str(), "status" | "finalize"));
        if rest[0] == "namespaces" && rest.len() >= 3 && !of_namespace {
            target.namespace.clone_from(&rest[1]);
            rest = &rest[2..];
        }
        let mut segments = rest.iter().cloned();
        target.resource = segments.next().unwrap_or_default();
        target.name = segments.next().unwrap_or_default();
        target.subresource = segments.next().unwrap_or_default();
        if of_namespace {
            // RBAC sees requests about a namespace as made inside it.
            target.namespace.clone_from(&target.name);
        }
        let verb = match *method {
            Method::GET | Method::HEAD if watch => "watch",
            // One object is not watched this way.
            Method::GET | Method::HEAD if target.name.is_empty() && query.flag("watch") => "watch",
            Method::GET | Method::HEAD if target.name.is_empty() => "list",
            Method::GET | Method::HEAD => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if target.name.is_empty() => "deletecollection",
            Method::DELETE => "delete",
            _ => return target,
        };
        verb.clone_into(&mut target.verb);
        target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: Method, path: &str, query: &str) -> (String, String, String, String, String) {
        let t = Target::parse(&method, path, &Query::parse(Some(query)));
        (t.verb, t.namespace, t.resource, t.name, t.subresource)
    }

    fn row(words: [&str; 5]) -> (String, String, String, String, String) {
        let [verb, namespace, resource, name, subresource] = words.map(str::to_owned);
        (verb, namespace, resource, name, subresource)
    }

    #[test]
    fn paths_name_resources() {
        assert_eq!(
            parse(
                Method::GET,
                "/apis/apps/v1/namespaces/ns/deployments/web/status",
                ""
            ),
            row(["get", "ns", "deployments", "web", "status"])
        );
        assert_eq!(
            parse(Method::GET, "/api/v1/pods", "watch=true"),
            row(["watch", "", "pods", "", ""])
        );
        assert_eq!(
            parse(Method::PUT, "/api/v1/namespaces/ns/finalize", ""),
            row(["update", "ns", "namespaces", "ns", "finalize"])
        );
        assert_eq!(
            parse(Method::GET, "/api/v1/namespaces", ""),
            row(["list", "", "namespaces", "", ""])
        );
        assert_eq!(
            parse(Method::DELETE, "/api/v1/namespaces/ns/secrets", ""),
            row(["deletecollection", "ns", "secrets", "", ""])
        );
        assert_eq!(
            parse(Method::GET, "/apis/apps/v1", ""),
            row(["get", "", "", "", ""])
        );
    }
}
