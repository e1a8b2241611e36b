//! How a change spreads over the clusters of a FleetKustomization.
//!
//! ```text
//!   source at a new commit ─▶ render every child ─▶ observe ─▶ step ─▶ status.rollout ─▶ holds ─▶ children ─▶ gate opens
//!                                  (no cluster)      (what is)  (pure)   (written first)  (GitRepositories)
//! ```
//!
//! A child whose rendered digest stays the same just follows its source. Where it changes, the Kustomization reconciler asks
//! the [`Gate`] after the build and before the apply; what is not admitted is left as it is, and a moment later the fleet
//! reconciler points the child at a generated GitRepository with `spec.ref.commit` (a *hold*). So anybody can read what a
//! cluster is held at, and stock Flux honours it. What is decided is written to `status.rollout` before anything is done,
//! and the next process carries on from there.
//!
//! Where this process does not reconcile Kustomizations itself, nobody can stop a child at the moment of a commit: then its
//! source reference is a hold all the time, and the rollout moves it from one to the next.
//!
//! **Who else can hold a cluster**: see [`holds`].

mod admit;
mod checks;
mod detect;
mod drive;
pub mod gate;
pub mod holds;
mod ledger;
mod observe;
pub mod pins;
pub mod policy;
mod progress;
pub mod sight;
pub mod step;
pub mod story;
mod waves;

#[cfg(test)]
mod model;

use fairway_types::names;
use kube::ResourceExt as _;
use sha2::{Digest as _, Sha256};

use crate::build::finish::hex;
use crate::context::Context;
use crate::home::{Home, Key};
use crate::options::Controller;

pub(crate) use drive::{Course, Placements, may_use, plan};
pub use gate::Gate;
pub use policy::Policy;
pub use step::{Seen, Step, step};

/// The beginning of a hash, for names and the like.
pub(crate) fn short_hash(text: &str) -> String {
    hex(&Sha256::digest(text)[..8])
}

/// Whether this process sees every commit before the children of its fleets are built from it.
pub(crate) fn in_charge(context: &Context) -> bool {
    context.options.controllers.contains(&Controller::Kustomize)
        && context.options.watch_label_selector.is_none()
}

/// The source that a hold is of; a source that is no hold is its own.
pub(crate) fn origin(home: &Home, key: &Key) -> Key {
    let source = home
        .repositories
        .get(&key.namespace, &key.name)
        .filter(|repository| repository.labels().contains_key(names::HOLD_OF))
        .and_then(|repository| pins::source_of(&repository).map(str::to_owned));
    match source {
        Some(name) => Key::new(&home.id, &key.namespace, name),
        None => key.clone(),
    }
}
