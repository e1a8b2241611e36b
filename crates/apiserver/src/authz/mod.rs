//! Who may do what: RBAC as Kubernetes evaluates it.
//!
//! ```text
//! Role, ClusterRole, RoleBinding, ClusterRoleBinding in the store
//!        │  read again when one of them changed
//!        ▼
//!   Index (grants by user and group) ──decide(user, attributes)──▶ Allow(by which binding) | Deny(why)
//!        │
//!        ├─ escalation: may this user write this role?
//!        ├─ impersonation: may this user act as that one?
//!        └─ reviews: the same questions, asked through the API
//! ```
//!
//! [`Rbac`] keeps the index of one cluster; everything below it is pure.

pub mod defaults;
pub mod escalation;
mod impersonation;
mod index;
mod refusal;
pub mod reviews;
mod rules;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::auth::{AUTHENTICATED, Attributes, Authorizer, Decision, MASTERS, User};
use crate::status::ApiError;
use crate::store::{GroupResource, Watch};
use crate::writer::Writer;
pub use impersonation::Impersonation;
pub use index::Index;
pub use refusal::forbidden;
pub use rules::Rule;

/// The API group of roles and bindings.
pub const RBAC_GROUP: &str = "rbac.authorization.k8s.io";
/// The group of all service accounts; `:<namespace>` is appended for those of one namespace.
pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// What the user name of a service account starts with, before `<namespace>:<name>`.
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

const RESOURCES: [&str; 4] = ["roles", "clusterroles", "rolebindings", "clusterrolebindings"];

/// Judges requests by the RBAC objects of a cluster.
pub struct Rbac {
    writer: Writer,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    index: Arc<Index>,
    /// What tells that the index is out of date; empty until it was first read.
    watches: Vec<Watch>,
}

impl fmt::Debug for Rbac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rbac").finish_non_exhaustive()
    }
}

impl Rbac {
    /// An authorizer that reads the roles and bindings of a cluster.
    pub fn new(writer: Writer) -> Self {
        Self { writer, current: Mutex::default() }
    }

    /// The index of the roles and bindings as they are now.
    pub fn index(&self) -> Arc<Index> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // Every watch is drained, so that one change leads to one rebuild.
        let mut stale = current.watches.is_empty();
        for watch in &mut current.watches {
            stale |= watch.ready().map_or(true, |events| !events.is_empty());
        }
        if stale {
            let mut objects = Vec::new();
            let mut watches = Vec::with_capacity(RESOURCES.len());
            for resource in RESOURCES {
                let id = GroupResource::new(RBAC_GROUP, resource);
                let (listing, watch) = self.writer.store().list_and_watch(&id, None);
                objects.extend(listing.items);
                watches.push(watch);
            }
            let index = Index::build(objects.iter().map(|object| &**object), Some(&current.index));
            *current = Current { index: Arc::new(index), watches };
        }
        Arc::clone(&current.index)
    }

    /// Checks that a write of a role or binding grants nothing that its writer does not hold; `old` is the
    /// object before the write, if there was one. Other kinds pass.
    pub fn check_write(&self, user: &User, old: Option<&Value>, new: &Value) -> Result<(), ApiError> {
        escalation::check(&self.index(), user, old, new)
    }

    /// The user that a request with `Impersonate-*` headers is made as, if `caller` may.
    pub fn impersonate(&self, caller: &User, asked: Impersonation) -> Result<User, ApiError> {
        asked.resolve(&self.index(), caller)
    }

    /// Answers a posted review of this kind; `namespace` is that of the request's path, `authenticate` knows
    /// whose a token is.
    pub fn review(
        &self,
        kind: &str,
        caller: &User,
        namespace: Option<&str>,
        review: Value,
        authenticate: &dyn Fn(&str) -> Option<User>,
    ) -> Result<Value, ApiError> {
        let index = self.index();
        let answer = match kind {
            "SelfSubjectAccessReview" => reviews::self_subject_access(&index, caller, review),
            "SubjectAccessReview" => reviews::subject_access(&index, None, review),
            "LocalSubjectAccessReview" => reviews::subject_access(&index, namespace, review),
            "SelfSubjectRulesReview" => reviews::self_subject_rules(&index, caller, review),
            "SelfSubjectReview" => Ok(reviews::self_subject(caller, review)),
            "TokenReview" => Ok(reviews::token(review, authenticate)),
            _ => return Err(ApiError::no_such_path()),
        };
        answer.map_err(|message| ApiError::new(422, "Invalid", format!("{kind} \"\" is invalid: {message}")))
    }
}

impl Authorizer for Rbac {
    fn authorize(&self, user: &User, attributes: &Attributes) -> Decision {
        if user.in_group(MASTERS) {
            return Decision::Allow(String::new());
        }
        self.index().decide(user, attributes)
    }
}

/// Whether the request is allowed: members of `system:masters` may do everything, others what RBAC grants.
pub fn authorize(index: &Index, user: &User, attributes: &Attributes) -> Decision {
    if user.in_group(MASTERS) {
        return Decision::Allow(String::new());
    }
    index.decide(user, attributes)
}

/// The user name of a service account.
pub fn service_account_user(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}")
}

/// The groups of a service account of this namespace.
pub fn service_account_groups(namespace: &str) -> Vec<String> {
    vec![SERVICE_ACCOUNTS.to_owned(), format!("{SERVICE_ACCOUNTS}:{namespace}"), AUTHENTICATED.to_owned()]
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
}
