//! What is known of a cluster's objects without asking: the seam between applying and observing.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hash as _, Hasher},
    sync::{Arc, LazyLock},
};

use fairway_types::ObjectId;
use serde_json::Value;
use tokio::sync::Notify;

use crate::{
    health::{Health, Judge},
    plan::Owner,
};

/// Somebody who watches the cluster. [`Observer`](crate::observe::Observer) is one; tests have others.
pub trait Witness: Send + Sync {
    /// Whether the object is, at this moment, what applying exactly this content left behind.
    fn vouches_for(&self, id: &ObjectId, digest: u64) -> bool;

    /// Whether no object of ours is there: its kind is watched, and none of this name was seen.
    fn knows_absent(&self, id: &ObjectId) -> bool;

    /// Whether this content was applied, was a Job, has finished, and is gone since.
    fn has_finished(&self, id: &ObjectId, digest: u64) -> bool;

    /// The resource version of an object that is, at this moment, what our last apply left behind, whatever its content
    /// was then; none where it was touched since, says that it is to be treated in a special way, or is not watched.
    fn knows(&self, id: &ObjectId) -> Option<String> {
        let _ = id;
        None
    }

    /// The object is about to be written by us: until [`Self::applied`] or [`Self::abandoned`], what changes is no drift.
    fn applying(&self, id: &ObjectId);

    /// The write did not happen, or not wholly.
    fn abandoned(&self, id: &ObjectId);

    /// Content with this digest was applied, and `object` is what the server answered.
    fn applied(&self, owner: &Owner, id: &ObjectId, digest: u64, object: &Value);

    /// How the object is by this judge; none where it is not watched, or by others' rules, so that somebody has to ask.
    fn health_of(&self, id: &ObjectId, judge: &Judge) -> Option<Health>;

    /// Notified whenever the answer of [`Self::health_of`] may have changed for one of these objects.
    fn interest(&self, ids: &[ObjectId]) -> Arc<Notify>;
}

static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// A digest of a value under a key that only this process has: it tells nothing about a Secret to who reads it.
pub fn digest(value: &Value) -> u64 {
    let mut hasher = KEYS.build_hasher();
    feed(value, &mut hasher);
    hasher.finish()
}

fn feed(value: &Value, hasher: &mut impl Hasher) {
    match value {
        Value::Null => 0_u8.hash(hasher),
        Value::Bool(flag) => (1_u8, flag).hash(hasher),
        Value::Number(number) => {
            2_u8.hash(hasher);
            number.hash(hasher);
        }
        Value::String(text) => (3_u8, text).hash(hasher),
        Value::Array(list) => {
            (4_u8, list.len()).hash(hasher);
            for item in list {
                feed(item, hasher);
            }
        }
        Value::Object(map) => {
            (5_u8, map.len()).hash(hasher);
            let mut keys: Vec<_> = map.keys().collect();
            keys.sort_unstable();
            for key in keys {
                key.hash(hasher);
                feed(&map[key], hasher);
            }
        }
    }
}
