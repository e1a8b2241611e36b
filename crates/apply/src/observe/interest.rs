//! Who waits for which objects: a change wakes those alone, however many wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use fairway_types::ObjectId;
use tokio::sync::Notify;

#[derive(Default)]
pub(super) struct Interests(Mutex<HashMap<ObjectId, Vec<Weak<Notify>>>>);

impl Interests {
    /// Wakes who is told of these objects until it drops the answer.
    pub(super) fn add(&self, ids: &[ObjectId]) -> Arc<Notify> {
        let notify = Arc::new(Notify::new());
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            let list = waiting.entry(id.clone()).or_default();
            list.retain(|other| other.strong_count() > 0);
            list.push(Arc::downgrade(&notify));
        }
        notify
    }

    /// An object has changed.
    pub(super) fn one(&self, id: &ObjectId) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = waiting.get_mut(id) {
            wake(list);
            if list.is_empty() {
                waiting.remove(id);
            }
        }
    }

    /// Anything may have changed.
    pub(super) fn all(&self) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, list| {
            wake(list);
            !list.is_empty()
        });
    }
}

fn wake(list: &mut Vec<Weak<Notify>>) {
    list.retain(|notify| match notify.upgrade() {
        Some(notify) => {
            notify.notify_one();
            true
        }
        None => false,
    });
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_change_wakes_who_waits_for_it_and_nobody_else() {
        let id = |name: &str| format!("a_{name}__ConfigMap").parse::<ObjectId>().unwrap();
        let interests = Interests::default();
        let (first, second) = (
            interests.add(&[id("x"), id("y")]),
            interests.add(&[id("y")]),
        );
        interests.one(&id("x"));
        assert!(first.notified().now_or_never().is_some());
        assert!(second.notified().now_or_never().is_none());
        interests.one(&id("y"));
        assert!(first.notified().now_or_never().is_some());
        assert!(second.notified().now_or_never().is_some());
        drop(first);
        interests.all();
        assert!(second.notified().now_or_never().is_some());
        drop(second);
        interests.all();
        assert!(interests.0.lock().unwrap().is_empty());
    }
}
