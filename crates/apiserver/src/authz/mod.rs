//! Who may do what: RBAC as Kubernetes evaluates it.
//!
//! ```text
//! Role, ClusterRole, RoleBinding, ClusterRoleBinding in the store
//!        │  read again when one of them changed
//!        ▼
//!   Index (grants by user and group) ──decide(user, attributes)──▶ Allow(by which binding) | Deny(why)
//!        │
//!        ├─ escalation: may this user write this role?
//!        └─ reviews: the same questions, asked through the API
//! ```
//!
//! [`Rbac`] keeps the index of one cluster; everything below it is pure.

mod defaults;
mod escalation;
mod index;
mod reviews;
mod rules;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

use crate::auth::{
    AUTHENTICATED, Attributes, Authorizer, Claims, Decision, MASTERS, TokenIssuer, User,
};
use crate::status::ApiError;
use crate::store::{GroupResource, Watch};
use crate::writer::{Writer, names};
pub use index::Index;
pub use rules::Rule;

/// The API group of roles and bindings.
pub const RBAC_GROUP: &str = "rbac.authorization.k8s.io";
/// The group of all service accounts; `:<namespace>` is appended for those of one namespace.
pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// What the user name of a service account starts with, before `<namespace>:<name>`.
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

const RESOURCES: [&str; 4] = [
    "roles",
    "clusterroles",
    "rolebindings",
    "clusterrolebindings",
];

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
        Self {
            writer,
            current: Mutex::default(),
        }
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
            *current = Current {
                index: Arc::new(index),
                watches,
            };
        }
        Arc::clone(&current.index)
    }
}

impl Authorizer for Rbac {
    fn authorize(&self, user: &User, attributes: &Attributes) -> Decision {
        // The administrator's requests, which are most, need no index.
        if user.in_group(MASTERS) {
            return Decision::Allow(String::new());
        }
        self.index().decide(user, attributes)
    }
}

/// As [`Rbac`], for objects that are at hand.
impl Authorizer for Index {
    fn authorize(&self, user: &User, attributes: &Attributes) -> Decision {
        if user.in_group(MASTERS) {
            return Decision::Allow(String::new());
        }
        self.decide(user, attributes)
    }
}

/// Creates the default roles and bindings that are missing.
pub fn bootstrap(writer: &Writer) {
    for object in defaults::objects() {
        let resource = if object["kind"] == "ClusterRole" {
            "clusterroles"
        } else {
            "clusterrolebindings"
        };
        match writer.create(&GroupResource::new(RBAC_GROUP, resource), object) {
            Ok(_) => {}
            // A cluster that is started again has them.
            Err(error) if error.reason == "AlreadyExists" => {}
            Err(error) => tracing::error!(%error, "create a default role"),
        }
    }
}

/// Answers a posted access review, rules review or identity review; the namespace of a local one is in its
/// metadata.
pub fn review(
    authorizer: &dyn Authorizer,
    writer: &Writer,
    tokens: &TokenIssuer,
    user: &User,
    resource: &GroupResource,
    review: Value,
) -> Result<Value, ApiError> {
    match &*resource.resource {
        "selfsubjectaccessreviews" => reviews::self_subject_access(authorizer, user, review),
        "subjectaccessreviews" => reviews::subject_access(authorizer, None, review),
        "localsubjectaccessreviews" => {
            let namespace = names(&review).0.to_owned();
            reviews::subject_access(authorizer, Some(&namespace), review)
        }
        "selfsubjectrulesreviews" => reviews::self_subject_rules(&read_index(writer), user, review),
        "selfsubjectreviews" => Ok(reviews::self_subject(user, review)),
        "tokenreviews" => reviews::token(review, |token| {
            let claims = tokens.verify(token, Timestamp::now()).ok()?;
            identify(writer, &claims)
        }),
        _ => Err(ApiError::no_such_path()),
    }
}

/// Checks that a write of a role or binding grants nothing that its writer does not hold; `old` is the object
/// before the write, if there was one. Other kinds pass.
pub fn escalation(
    authorizer: &dyn Authorizer,
    writer: &Writer,
    user: &User,
    resource: &GroupResource,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), ApiError> {
    if &*resource.group != RBAC_GROUP || user.in_group(MASTERS) {
        return Ok(());
    }
    escalation::check(
        authorizer,
        &|| read_index(writer),
        user,
        &resource.resource,
        old,
        new,
    )
}

/// The user that a checked token stands for: its ServiceAccount, and the Secret that holds it, must still exist.
pub fn identify(writer: &Writer, claims: &Claims) -> Option<User> {
    let store = writer.store();
    let Claims {
        namespace,
        name,
        uid,
        ..
    } = claims;
    let account = store.get(&GroupResource::core("serviceaccounts"), namespace, name)?;
    if account["metadata"]["uid"] != uid.as_str() {
        return None;
    }
    if let Some(secret) = &claims.secret {
        store.get(&GroupResource::core("secrets"), namespace, secret)?;
    }
    Some(User {
        name: service_account_user(namespace, name),
        uid: Some(uid.clone()),
        groups: service_account_groups(namespace),
        ..User::default()
    })
}

/// The roles and bindings as they are now, for the rare questions that an [`Authorizer`] does not answer.
fn read_index(writer: &Writer) -> Index {
    let listings = RESOURCES.map(|resource| {
        writer
            .store()
            .list(&GroupResource::new(RBAC_GROUP, resource), None)
    });
    Index::build(
        listings
            .iter()
            .flat_map(|listing| listing.items.iter().map(|object| &**object)),
        None,
    )
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
