//! Acting as another user: `Impersonate-*` headers and whether they are allowed.

use std::collections::BTreeMap;

use super::{Index, authorize, forbidden, service_account_groups, split_service_account};
use crate::auth::{ANONYMOUS, AUTHENTICATED, Attributes, Decision, UNAUTHENTICATED, User};
use crate::status::ApiError;

const AUTHENTICATION_GROUP: &str = "authentication.k8s.io";

/// What the `Impersonate-*` headers of a request ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Impersonation {
    /// `Impersonate-User`.
    pub user: String,
    /// `Impersonate-Uid`, or empty.
    pub uid: String,
    /// All `Impersonate-Group`.
    pub groups: Vec<String>,
    /// All `Impersonate-Extra-<key>`, keys in lower case and percent-decoded.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Impersonation {
    /// Reads the headers, given as pairs of name and value; `None` where there are none.
    pub fn from_headers<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        const PREFIX: &str = "impersonate-";
        let mut asked = Self::default();
        let mut any = false;
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            let Some(what) = name.strip_prefix(PREFIX) else { continue };
            match what {
                "user" => value.clone_into(&mut asked.user),
                "uid" => value.clone_into(&mut asked.uid),
                "group" => asked.groups.push(value.to_owned()),
                _ => match what.strip_prefix("extra-") {
                    Some(key) => asked.extra.entry(percent_decode(key)).or_default().push(value.to_owned()),
                    None => continue,
                },
            }
            any = true;
        }
        any.then_some(asked)
    }

    /// The user that the request is made as, if `caller` may.
    pub fn resolve(self, index: &Index, caller: &User) -> Result<User, ApiError> {
        if self.user.is_empty() {
            return Err(ApiError::internal(format!(
                "requested {} without impersonating a user",
                self.describe()
            )));
        }
        let require = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
            let asked = Attributes {
                verb: "impersonate".into(),
                group: group.into(),
                version: "v1".into(),
                resource: resource.into(),
                subresource: subresource.into(),
                namespace: namespace.into(),
                name: name.into(),
                path: None,
            };
            match authorize(index, caller, &asked) {
                Decision::Allow(_) => Ok(()),
                Decision::Deny(reason) => Err(forbidden(caller, &asked, &reason)),
            }
        };
        let account = split_service_account(&self.user);
        match account {
            Some((namespace, name)) => require("", "serviceaccounts", "", namespace, name)?,
            None => require("", "users", "", "", &self.user)?,
        }
        for group in &self.groups {
            require("", "groups", "", "", group)?;
        }
        for (key, values) in &self.extra {
            for value in values {
                require(AUTHENTICATION_GROUP, "userextras", key, "", value)?;
            }
        }
        if !self.uid.is_empty() {
            require(AUTHENTICATION_GROUP, "uids", "", "", &self.uid)?;
        }
        let mut groups = match account {
            Some((namespace, _)) if self.groups.is_empty() => service_account_groups(namespace),
            _ => self.groups,
        };
        let implied = if self.user == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
        if !groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED) {
            groups.push(implied.to_owned());
        }
        let uid = Some(self.uid).filter(|uid| !uid.is_empty());
        Ok(User { name: self.user, uid, groups, extra: self.extra })
    }

    fn describe(&self) -> String {
        let mut asked: Vec<String> = self.groups.iter().map(|group| format!("group {group:?}")).collect();
        asked.extend(self.extra.keys().map(|key| format!("extra {key:?}")));
        if !self.uid.is_empty() {
            asked.push(format!("uid {:?}", self.uid));
        }
        asked.join(", ")
    }
}

fn percent_decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = (byte == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escaped {
            Some(value) => {
                decoded.push(value);
                rest = &tail[2..];
            }
            None => {
                decoded.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rbac(resource: &str, names: &[&str]) -> Index {
        Index::build(
            &[
                json!({"kind": "ClusterRole", "metadata": {"name": "imp"},
                    "rules": [{"verbs": ["impersonate"], "apiGroups": [""], "resources": [resource], "resourceNames": names}]}),
                json!({"kind": "ClusterRoleBinding", "metadata": {"name": "imp"},
                    "roleRef": {"kind": "ClusterRole", "name": "imp"}, "subjects": [{"kind": "User", "name": "fairway"}]}),
            ],
            None,
        )
    }

    #[test]
    fn a_service_account_is_impersonated_with_its_groups() {
        let caller = User { name: "fairway".into(), ..User::default() };
        let asked = Impersonation::from_headers([("Impersonate-User", "system:serviceaccount:apps:applier")]).unwrap();
        let user = asked.clone().resolve(&rbac("serviceaccounts", &["applier"]), &caller).unwrap();
        assert_eq!(user.groups, ["system:serviceaccounts", "system:serviceaccounts:apps", "system:authenticated"]);
        let refused = asked.resolve(&rbac("serviceaccounts", &["other"]), &caller).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "serviceaccounts \"applier\" is forbidden: User \"fairway\" cannot impersonate resource \"serviceaccounts\" \
             in API group \"\" in the namespace \"apps\""
        );
    }

    #[test]
    fn every_group_is_asked_for() {
        let caller = User { name: "fairway".into(), ..User::default() };
        let headers = [("impersonate-user", "alice"), ("impersonate-group", "dev"), ("impersonate-group", "system:masters")];
        let asked = Impersonation::from_headers(headers).unwrap();
        let refused = asked.resolve(&rbac("users", &[]), &caller).unwrap_err();
        assert!(refused.to_string().starts_with("groups \"dev\" is forbidden"), "{refused}");
    }

    #[test]
    fn groups_without_a_user_are_an_error() {
        let asked = Impersonation::from_headers([("Impersonate-Group", "dev")]).unwrap();
        let refused = asked.resolve(&Index::default(), &User::admin()).unwrap_err();
        assert_eq!(refused.to_string(), "Internal error occurred: requested group \"dev\" without impersonating a user");
        assert_eq!(Impersonation::from_headers([("accept", "x")]), None);
    }

    #[test]
    fn extra_keys_are_decoded() {
        let asked = Impersonation::from_headers([("Impersonate-Extra-Acme.com%2Fproject", "x")]).unwrap();
        assert_eq!(asked.extra.keys().collect::<Vec<_>>(), ["acme.com/project"]);
    }
}
