//! Who asks: the user that authentication (or impersonation) arrived at.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The group whose members may do everything, whatever RBAC says.
pub const MASTERS: &str = "system:masters";
/// The group of every user that presented credentials.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of requests without credentials.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The user of requests without credentials.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of all service accounts; `:<namespace>` is appended for those of one namespace.
pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// What the user name of a service account starts with, before `<namespace>:<name>`.
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// A user as `authentication.k8s.io/v1` `UserInfo` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// The name that bindings of kind `User` refer to.
    pub name: String,
    /// A unique id; empty where the authenticator knows none.
    pub uid: String,
    /// All groups, `system:authenticated` included.
    pub groups: Vec<String>,
    /// Further facts of the authenticator, by key.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user that presented credentials; `system:authenticated` is added to its groups.
    pub fn authenticated(name: impl Into<String>, groups: &[&str]) -> Self {
        let mut groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// The user of a request without credentials.
    pub fn anonymous() -> Self {
        Self {
            name: ANONYMOUS.to_owned(),
            groups: vec![UNAUTHENTICATED.to_owned()],
            ..Self::default()
        }
    }

    /// The user that a token of this service account stands for.
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            name: service_account_user(namespace, name),
            uid: uid.to_owned(),
            groups: service_account_groups(namespace),
            extra: BTreeMap::new(),
        }
    }

    /// Whether the user is a member of the group.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The `UserInfo` of this user, empty fields left out.
    pub fn to_json(&self) -> Value {
        let mut info = json!({ "username": self.name });
        if !self.uid.is_empty() {
            info["uid"] = json!(self.uid);
        }
        if !self.groups.is_empty() {
            info["groups"] = json!(self.groups);
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }
}

/// The user name of a service account.
pub fn service_account_user(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}")
}

/// The groups of a service account of this namespace.
pub fn service_account_groups(namespace: &str) -> Vec<String> {
    vec![
        SERVICE_ACCOUNTS.to_owned(),
        format!("{SERVICE_ACCOUNTS}:{namespace}"),
        AUTHENTICATED.to_owned(),
    ]
}

/// The namespace and name in the user name of a service account.
pub fn split_service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_account_names_split_into_their_parts() {
        let user = service_account_user("flux-system", "fairway");
        assert_eq!(split_service_account(&user), Some(("flux-system", "fairway")));
        assert_eq!(split_service_account("system:serviceaccount:x"), None);
        assert_eq!(split_service_account("alice"), None);
    }

    #[test]
    fn user_info_leaves_out_what_is_empty() {
        let info = User::authenticated("alice", &["dev"]).to_json();
        assert_eq!(info, json!({"username": "alice", "groups": ["dev", "system:authenticated"]}));
    }
}
