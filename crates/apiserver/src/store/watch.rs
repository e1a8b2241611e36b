//! Following the changes of one resource.

use tokio::sync::watch::Receiver;

use super::{Event, Expired, GroupResource, Store};

/// A place in the history of one resource. It buffers nothing: a reader that is slower than the history is
/// long gets [`Expired`].
#[derive(Debug)]
pub struct Watch {
    store: Store,
    resource: GroupResource,
    namespace: Option<String>,
    cursor: u64,
    changed: Receiver<u64>,
}

impl Watch {
    pub(super) fn new(
        store: Store,
        resource: GroupResource,
        namespace: Option<String>,
        cursor: u64,
        changed: Receiver<u64>,
    ) -> Self {
        Self {
            store,
            resource,
            namespace,
            cursor,
            changed,
        }
    }

    /// Waits for the next changes and returns them, oldest first, never empty.
    pub async fn next(&mut self) -> Result<Vec<Event>, Expired> {
        loop {
            let events = self.ready()?;
            if !events.is_empty() {
                return Ok(events);
            }
            // The sender lives in the store that we hold, so this cannot fail.
            if self.changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns what is there already, possibly nothing.
    pub fn ready(&mut self) -> Result<Vec<Event>, Expired> {
        self.changed.mark_unchanged();
        let (events, revision) =
            self.store
                .events_after(&self.resource, self.namespace.as_deref(), self.cursor)?;
        // A client may ask for a revision that is still to come; never go back before it.
        self.cursor = self.cursor.max(revision);
        Ok(events)
    }

    /// Everything up to this revision was handed out: what a bookmark says.
    pub fn revision(&self) -> u64 {
        self.cursor
    }
}
