//! One simulated cluster: its objects, its identities, its faults.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use crate::admission::Policies;
use crate::auth::TokenIssuer;
use crate::authz::Rbac;
use crate::faults::Faults;
use crate::resources::Registry;
use crate::store::Store;
use crate::writer::Writer;

/// Requests by verb and resource (`get` `deployments`, `patch` `kustomizations/status`; `get` `/apis` for paths).
pub type RequestCounts = BTreeMap<(String, String), u64>;

pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) store: Store,
    pub(crate) registry: Arc<Registry>,
    pub(crate) writer: Writer,
    pub(crate) tokens: TokenIssuer,
    pub(crate) admin_token: String,
    pub(crate) authorizer: Rbac,
    pub(crate) policies: Policies,
    pub(crate) faults: Faults,
    pub(crate) counts: Mutex<RequestCounts>,
    /// Requests so far, for faults that hit one in so many.
    pub(crate) sequence: AtomicU64,
    /// Register unknown kinds when somebody writes one.
    pub(crate) schemaless_unknown: bool,
    /// The version that `/version` tells.
    pub(crate) version: String,
    /// What only the management cluster offers: control over all clusters.
    pub(crate) control: Option<crate::http::Control>,
}

impl Cluster {
    pub(crate) fn count(&self, verb: &str, what: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts
            .entry((verb.to_owned(), what.to_owned()))
            .or_default() += 1;
    }

    pub(crate) fn counts(&self) -> RequestCounts {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
