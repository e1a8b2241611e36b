//! What a step may know: the objects, the time and the settings of the simulation.

use std::cell::Cell;

use jiff::{SignedDuration, Timestamp};

use super::cache::Cache;

/// The view of one step.
pub(crate) struct World<'a> {
    pub(crate) cache: &'a Cache,
    pub(crate) now: Timestamp,
    /// How long a Pod takes to become ready, and a Job's Pod to finish after that.
    pub(crate) delay: SignedDuration,
    /// Name of the cluster, which its Nodes are called after.
    pub(crate) cluster: &'a str,
    /// Counts the addresses that were given out.
    pub(crate) addresses: &'a Cell<u32>,
    /// Random characters for generated names.
    pub(crate) suffix: &'a dyn Fn() -> String,
    /// Whether the cluster serves a kind (group, kind).
    pub(crate) serves: &'a dyn Fn(&str, &str) -> bool,
}

impl World<'_> {
    /// The next unused number for an address.
    pub(crate) fn next_address(&self) -> u32 {
        let next = self.addresses.get();
        self.addresses.set(next.wrapping_add(1));
        next
    }
}
