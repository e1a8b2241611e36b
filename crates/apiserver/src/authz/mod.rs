//! Who may do what: RBAC.

use crate::auth::{Attributes, Authorizer, Decision, MASTERS, User};
use crate::writer::Writer;

/// Judges requests by the RBAC objects of a cluster.
#[derive(Debug)]
pub struct Rbac {
    _writer: Writer,
}

impl Rbac {
    /// An authorizer that reads the roles and bindings of a cluster.
    pub fn new(writer: Writer) -> Self {
        Self { _writer: writer }
    }
}

impl Authorizer for Rbac {
    fn authorize(&self, user: &User, _attributes: &Attributes) -> Decision {
        if user.in_group(MASTERS) {
            Decision::Allow(String::new())
        } else {
            Decision::Deny(String::new())
        }
    }
}
