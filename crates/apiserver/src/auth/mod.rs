//! Who asks, what for, and tokens. The rules of RBAC are in [`crate::authz`].

mod tokens;

use std::collections::BTreeMap;

pub use tokens::{Claims, TokenError, TokenIssuer, TokenRequest};

/// Group of every user that proved who it is.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Group whose members may do everything.
pub const MASTERS: &str = "system:masters";
/// The user of requests without credentials.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of requests without credentials.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";

/// The identity behind a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User name, for example `system:serviceaccount:flux-system:fairway`.
    pub name: String,
    /// Unique id, where one is known.
    pub uid: Option<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// Further attributes by key.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// The cluster's administrator, whose token is in the kubeconfig.
    pub fn admin() -> Self {
        Self {
            name: "kubernetes-admin".into(),
            groups: vec![MASTERS.into(), AUTHENTICATED.into()],
            ..Self::default()
        }
    }

    /// A request without credentials.
    pub fn anonymous() -> Self {
        Self {
            name: ANONYMOUS.into(),
            groups: vec![UNAUTHENTICATED.into()],
            ..Self::default()
        }
    }

    /// Whether the user is a member of a group.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

/// What a request wants to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// API verb (`get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`,
    /// `impersonate`, `bind`, `escalate`), or the lower-case HTTP method where `path` is set.
    pub verb: String,
    /// API group.
    pub group: String,
    /// API version; plays no part in RBAC.
    pub version: String,
    /// Plural resource name; empty for non-resource paths.
    pub resource: String,
    /// Subresource, or empty.
    pub subresource: String,
    /// Namespace, or empty for cluster-scoped and all-namespaces requests.
    pub namespace: String,
    /// Object name, or empty.
    pub name: String,
    /// Path of a non-resource request (`/healthz`, `/apis`), else `None`.
    pub path: Option<String>,
}

/// An authorizer's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go ahead; the reason is for access reviews.
    Allow(String),
    /// No rule allows it; the reason (may be empty) is appended to the 403.
    Deny(String),
}

impl Decision {
    /// Whether the request may go ahead.
    pub fn allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }
}

/// Decides who may do what.
pub trait Authorizer: Send + Sync {
    /// Judges one request.
    fn authorize(&self, user: &User, attributes: &Attributes) -> Decision;
}
