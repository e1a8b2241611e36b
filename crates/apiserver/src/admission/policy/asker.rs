//! `authorizer` in the expressions of policies.

use std::sync::Arc;

use fairway_cel::{Authorizer, Decision, Question, Subject};

use crate::auth::{self, Attributes, Authorizer as _, User};
use crate::authz::{service_account_groups, service_account_user};
use crate::cluster::Cluster;

/// Asks the cluster's own rules, for the user of a request.
pub(super) struct Asker {
    pub(super) cluster: Arc<Cluster>,
    pub(super) user: User,
}

impl Authorizer for Asker {
    fn decide(&self, question: &Question) -> Decision {
        let mut attributes = Attributes {
            verb: question.verb.clone(),
            ..Attributes::default()
        };
        match &question.subject {
            Subject::Path(path) => attributes.path = Some(path.clone()),
            Subject::Resource {
                group,
                resource,
                subresource,
                namespace,
                name,
            } => {
                "*".clone_into(&mut attributes.version);
                group.clone_into(&mut attributes.group);
                resource.clone_into(&mut attributes.resource);
                subresource.clone_into(&mut attributes.subresource);
                namespace.clone_into(&mut attributes.namespace);
                name.clone_into(&mut attributes.name);
            }
        }
        let account = question
            .service_account
            .as_ref()
            .map(|(namespace, name)| User {
                name: service_account_user(namespace, name),
                groups: service_account_groups(namespace),
                ..User::default()
            });
        let user = account.as_ref().unwrap_or(&self.user);
        match self.cluster.authorizer.authorize(user, &attributes) {
            auth::Decision::Allow(reason) => Decision {
                allowed: true,
                reason,
            },
            auth::Decision::Deny(reason) => Decision {
                allowed: false,
                reason,
            },
        }
    }
}
