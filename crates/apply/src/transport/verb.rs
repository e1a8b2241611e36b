//! What a request does, told from the request itself.

use http::{HeaderValue, Method, Uri};

/// What a request does, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Discovery,
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Apply,
    DryRun,
    Delete,
}

impl Verb {
    pub(crate) const ALL: [Self; 10] = [
        Self::Discovery,
        Self::Get,
        Self::List,
        Self::Watch,
        Self::Create,
        Self::Update,
        Self::Patch,
        Self::Apply,
        Self::DryRun,
        Self::Delete,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Discovery => "discovery",
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Apply => "apply",
            Self::DryRun => "dry-run",
            Self::Delete => "delete",
        }
    }

    pub(super) fn of(method: &Method, uri: &Uri, content_type: Option<&HeaderValue>) -> Self {
        let query = uri.query().unwrap_or_default();
        let has = |pair: &str| query.split('&').any(|part| part == pair);
        match *method {
            Method::GET if has("watch=true") || has("watch=1") || has("follow=true") => Self::Watch,
            Method::GET => {
                // /api/v1/[namespaces/NS/]RESOURCE[/NAME…] and /apis/GROUP/VERSION/…
                let steps: Vec<_> = uri
                    .path()
                    .split('/')
                    .filter(|step| !step.is_empty())
                    .collect();
                let (["api", _, rest @ ..] | ["apis", _, _, rest @ ..]) = steps.as_slice() else {
                    return Self::Discovery;
                };
                match rest {
                    [] => Self::Discovery,
                    ["namespaces", _, _] | [_] => Self::List,
                    _ => Self::Get,
                }
            }
            _ if has("dryRun=All") => Self::DryRun,
            Method::POST => Self::Create,
            Method::PUT => Self::Update,
            Method::PATCH
                if content_type.is_some_and(|kind| {
                    kind.as_bytes().starts_with(b"application/apply-patch")
                }) =>
            {
                Self::Apply
            }
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            _ => Self::Get,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_told_apart_by_their_requests() {
        let verb = |method: Method, uri: &str, kind: Option<&'static str>| {
            Verb::of(
                &method,
                &uri.parse().unwrap(),
                kind.map(HeaderValue::from_static).as_ref(),
            )
            .name()
        };
        for (uri, expected) in [
            ("/version", "discovery"),
            ("/apis", "discovery"),
            ("/apis/apps/v1", "discovery"),
            ("/api/v1/namespaces", "list"),
            ("/api/v1/namespaces/default", "get"),
            ("/api/v1/namespaces/default/configmaps", "list"),
            ("/api/v1/namespaces/default/configmaps/a", "get"),
            ("/apis/apps/v1/deployments", "list"),
            ("/apis/apps/v1/deployments?watch=true", "watch"),
        ] {
            assert_eq!(verb(Method::GET, uri, None), expected, "{uri}");
        }
        let path = "/api/v1/namespaces/default/configmaps/a?fieldManager=x&force=true";
        assert_eq!(
            verb(Method::PATCH, path, Some("application/apply-patch+yaml")),
            "apply"
        );
        assert_eq!(
            verb(Method::PATCH, path, Some("application/json-patch+json")),
            "patch"
        );
        assert_eq!(
            verb(
                Method::PATCH,
                &format!("{path}&dryRun=All"),
                Some("application/apply-patch+yaml")
            ),
            "dry-run"
        );
    }
}
