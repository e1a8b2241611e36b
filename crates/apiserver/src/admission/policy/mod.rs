//! ValidatingAdmissionPolicies: CEL expressions that every write is asked about.
//!
//! ```text
//!   policies and bindings in the store
//!        │  compiled again when one of them changed
//!        ▼
//!   attempt ──matching──▶ policy × binding × parameters ──decide──▶ denied | warned | admitted
//! ```

mod asker;
mod compile;
mod decide;
mod matching;
mod request;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

pub(crate) use compile::{Compiler, Wanted};
pub(crate) use request::Attempt;

use crate::cluster::Cluster;
use crate::status::ApiError;
use crate::store::{GroupResource, Store, Watch};
use crate::writer::names;
use compile::Policy;

/// The group of policies and bindings.
pub(crate) const GROUP: &str = "admissionregistration.k8s.io";
/// The plural name of policies.
pub(crate) const POLICIES: &str = "validatingadmissionpolicies";
/// The plural name of bindings.
pub(crate) const BINDINGS: &str = "validatingadmissionpolicybindings";

/// The policies of a cluster, ready to be asked.
pub(crate) struct Policies {
    store: Store,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    policies: Arc<Vec<Bound>>,
    /// What tells that the policies are out of date; empty until they were first read.
    watches: Vec<Watch>,
}

/// A policy and what puts it into force.
struct Bound {
    policy: Arc<Policy>,
    bindings: Vec<Arc<Value>>,
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies").finish_non_exhaustive()
    }
}

impl Policies {
    /// The policies in a store.
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            current: Mutex::default(),
        }
    }

    fn current(&self) -> Arc<Vec<Bound>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // Every watch is drained, so that one change leads to one compilation.
        let mut stale = current.watches.is_empty();
        for watch in &mut current.watches {
            stale |= watch.ready().map_or(true, |events| !events.is_empty());
        }
        if stale {
            let mut watches = Vec::new();
            let mut read = |resource: &str| {
                let id = GroupResource::new(GROUP, resource);
                let (listing, watch) = self.store.list_and_watch(&id, None);
                watches.push(watch);
                listing.items
            };
            let (policies, bindings) = (read(POLICIES), read(BINDINGS));
            let known = &current.policies;
            let bound = policies.iter().filter_map(|object| {
                let bindings: Vec<_> = bindings
                    .iter()
                    .filter(|binding| binding["spec"]["policyName"] == names(object).1)
                    .cloned()
                    .collect();
                // A policy that nobody binds is in force nowhere.
                (!bindings.is_empty()).then(|| Bound {
                    policy: known
                        .iter()
                        .find(|bound| bound.policy.is_of(object))
                        .map_or_else(|| Arc::new(Policy::new(object)), |b| b.policy.clone()),
                    bindings,
                })
            });
            let bound = Arc::new(bound.collect());
            *current = Current {
                policies: bound,
                watches,
            };
        }
        Arc::clone(&current.policies)
    }
}

/// Asks the policies of a cluster about a write; adds what they warn of.
pub(crate) fn review(
    cluster: &Arc<Cluster>,
    attempt: &Attempt<'_>,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    let policies = cluster.policies.current();
    if policies.is_empty() || attempt.is_exempt() {
        return Ok(());
    }
    let mut denied = Vec::new();
    for bound in policies.iter() {
        let review = decide::Review {
            cluster,
            attempt,
            policy: &bound.policy,
        };
        review.all(&bound.bindings, warnings, &mut denied);
    }
    match denied.into_iter().next() {
        Some(first) => Err(attempt.denied(first)),
        None => Ok(()),
    }
}
