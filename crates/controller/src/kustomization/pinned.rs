//! Calls into the apply engine, each on one thread from beginning to end.
//!
//! Its futures borrow across streams in a way that the compiler cannot prove to be movable between threads
//! (rust-lang/rust#110338), so they are made and driven on a small pool of threads. Dropping the caller's future ends
//! them.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use fairway_apply::plan::{Owner, Plan};
use fairway_apply::{Session, engine, prune, wait};
use fairway_types::{InventoryEntry, ObjectId};
use tokio_util::task::{AbortOnDropHandle, LocalPoolHandle};

use crate::cluster::Target;

static POOL: LazyLock<LocalPoolHandle> =
    LazyLock::new(|| LocalPoolHandle::new(std::thread::available_parallelism().map_or(2, std::num::NonZero::get)));

async fn pinned<F, Fut, T>(make: F) -> Result<T, String>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    AbortOnDropHandle::new(POOL.spawn_pinned(make)).await.map_err(|error| format!("interrupted: {error}"))
}

/// [`engine::apply`].
pub(super) async fn apply(
    session: &Session,
    target: &Arc<Target>,
    plan: Plan,
    options: engine::Options,
) -> Result<Result<engine::Report, engine::Stopped>, String> {
    let (session, target) = (session.clone(), target.clone());
    pinned(move || async move { engine::apply(&session, &target.mapper, &plan, &options).await }).await
}

/// [`prune::prune`].
pub(super) async fn prune(
    session: &Session,
    target: &Arc<Target>,
    owner: Owner,
    stale: Vec<InventoryEntry>,
    keep: HashSet<ObjectId>,
) -> Result<prune::Pruned, String> {
    let (session, target) = (session.clone(), target.clone());
    pinned(move || async move { prune::prune(&session, &target.mapper, &owner, &stale, &keep).await }).await
}

/// [`prune::wait_for_termination`].
pub(super) async fn wait_for_termination(
    session: &Session,
    deleted: Vec<prune::Deleted>,
    timeout: std::time::Duration,
) -> Result<(), String> {
    let session = session.clone();
    pinned(move || async move { prune::wait_for_termination(&session, &deleted, timeout).await })
        .await?
        .map_err(|error| error.to_string())
}

/// [`wait::wait`].
pub(super) async fn wait(
    session: &Session,
    target: &Arc<Target>,
    objects: Vec<InventoryEntry>,
    options: wait::Options,
) -> Result<wait::Report, String> {
    let (session, target) = (session.clone(), target.clone());
    pinned(move || async move { wait::wait(&session, &target.mapper, &objects, &options).await }).await
}
