//! Results of builds, found again by what the build read.
//!
//! A build is asked for with a *place* (repository, path, build options, ignore rules) and a tree. If one of the results
//! of that place read nothing that this tree answers differently, it is the result for this tree too; no build runs.
//! Memory is bounded: the objects of what was not used lately are dropped, their read sets and digests stay, which is
//! all that an unchanged Kustomization needs.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use fairway_kustomize::{FileTree, Options, ReadSet, TreeError};

use super::finish::Rendered;

/// What is built, but not of which commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Stands for the repository and the credential that it was read with.
    pub repository: String,
    /// Ignore rules and the like: whatever makes two trees of one commit differ.
    pub view: String,
    /// Normalised path in the tree.
    pub path: String,
    /// How it is built.
    pub options: Options,
}

/// One result: what was read, and what came of it for each way to finish it.
#[derive(Debug)]
struct Entry {
    reads: Arc<ReadSet>,
    /// The commit it was last seen to hold for.
    commit: String,
    built: Option<Arc<Vec<serde_json::Value>>>,
    weight: usize,
    finished: HashMap<[u8; 32], Finished>,
}

/// The objects are kept by who works with them: finishing them again costs little, and a thousand Kustomizations that
/// are built from one folder would hold a thousand copies.
#[derive(Debug, Clone)]
struct Finished {
    digest: Box<str>,
    rendered: Weak<Rendered>,
}

/// Newer and older: a rollback finds what it goes back to.
const RESULTS_A_PLACE: usize = 2;
const FINISHED_A_RESULT: usize = 16_384;

#[derive(Debug, Default)]
struct Slot {
    /// Newest first.
    entries: VecDeque<Entry>,
    /// When it was last used, by [`Inner::uses`].
    used: u64,
}

#[derive(Debug, Default)]
struct Inner {
    places: HashMap<Place, Slot>,
    uses: u64,
    weight: usize,
}

/// What the cache knows about a place and a tree.
#[derive(Debug, Clone)]
pub enum Known {
    /// Finished: the digest, and the objects if somebody still works with them.
    Finished(String, Option<Arc<Rendered>>),
    /// Built; the digest where it has been finished this way before.
    Built(Arc<Vec<serde_json::Value>>, Option<String>),
    /// Nothing, or no objects any more.
    Nothing,
}

/// See the module.
#[derive(Debug)]
pub struct Cache {
    inner: Mutex<Inner>,
    max_weight: usize,
    max_places: usize,
}

impl Cache {
    /// A cache that keeps about `max_weight` bytes of objects.
    pub fn new(max_weight: usize) -> Self {
        Self {
            inner: Mutex::default(),
            max_weight,
            max_places: 65_536,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Looks a build up. Reads trees, so it may block.
    pub fn look_up(
        &self,
        place: &Place,
        commit: &str,
        tree: &dyn FileTree,
        finish: &[u8; 32],
    ) -> Result<Known, TreeError> {
        // Trees are asked without the lock held.
        let candidates: Vec<(Arc<ReadSet>, bool)> = self
            .lock()
            .places
            .get(place)
            .map(|slot| {
                slot.entries
                    .iter()
                    .map(|e| (e.reads.clone(), e.commit == commit))
                    .collect()
            })
            .unwrap_or_default();
        let mut found = None;
        for (reads, same_commit) in candidates {
            if same_commit || reads.same_in(tree)? {
                found = Some(reads);
                break;
            }
        }
        let Some(reads) = found else {
            return Ok(Known::Nothing);
        };
        let mut inner = self.lock();
        let Some(entry) = inner.slot(place).and_then(|slot| {
            slot.entries
                .iter_mut()
                .find(|e| Arc::ptr_eq(&e.reads, &reads))
        }) else {
            return Ok(Known::Nothing);
        };
        commit.clone_into(&mut entry.commit);
        let finished = entry.finished.get(finish);
        let rendered = finished.and_then(|finished| finished.rendered.upgrade());
        let digest = finished.map(|finished| String::from(finished.digest.clone()));
        Ok(match (digest, rendered, &entry.built) {
            (Some(digest), None, Some(built)) => Known::Built(built.clone(), Some(digest)),
            (Some(digest), rendered, _) => Known::Finished(digest, rendered),
            (None, _, Some(built)) => Known::Built(built.clone(), None),
            (None, _, None) => Known::Nothing,
        })
    }

    /// Keeps the result of a build.
    pub fn built(
        &self,
        place: &Place,
        commit: &str,
        reads: ReadSet,
        objects: Arc<Vec<serde_json::Value>>,
        weight: usize,
    ) {
        let mut inner = self.lock();
        inner.uses += 1;
        let uses = inner.uses;
        let slot = inner.places.entry(place.clone()).or_default();
        slot.used = uses;
        let entries = &mut slot.entries;
        let mut freed = 0;
        entries.retain(|entry| {
            let same = entry.commit == commit;
            freed += if same { entry.held() } else { 0 };
            !same
        });
        while entries.len() >= RESULTS_A_PLACE {
            freed += entries.pop_back().map_or(0, |entry| entry.held());
        }
        entries.push_front(Entry {
            reads: Arc::new(reads),
            commit: commit.to_owned(),
            built: Some(objects),
            weight,
            finished: HashMap::new(),
        });
        inner.weight = inner.weight.saturating_sub(freed) + weight;
        inner.shrink(self.max_weight, self.max_places);
    }

    /// Keeps a finished result of a build that [`Cache::built`] knows.
    pub fn finished(
        &self,
        place: &Place,
        commit: &str,
        finish: [u8; 32],
        rendered: &Arc<Rendered>,
    ) {
        let mut inner = self.lock();
        let Some(entry) = inner
            .slot(place)
            .and_then(|slot| slot.entries.iter_mut().find(|entry| entry.commit == commit))
        else {
            return;
        };
        if entry.finished.len() >= FINISHED_A_RESULT {
            entry.finished.clear();
        }
        let finished = Finished {
            digest: rendered.digest.as_str().into(),
            rendered: Arc::downgrade(rendered),
        };
        entry.finished.insert(finish, finished);
    }

    /// Bytes of objects that are held, by estimate.
    pub fn weight(&self) -> usize {
        self.lock().weight
    }
}

impl Entry {
    fn held(&self) -> usize {
        if self.built.is_some() { self.weight } else { 0 }
    }

    fn drop_objects(&mut self) {
        self.built = None;
    }
}

impl Inner {
    fn slot(&mut self, place: &Place) -> Option<&mut Slot> {
        self.uses += 1;
        let slot = self.places.get_mut(place)?;
        slot.used = self.uses;
        Some(slot)
    }

    /// Frees a quarter at a time, so that a full cache is not sorted for each build. The newest place keeps its
    /// objects whatever they weigh: somebody is about to use them.
    fn shrink(&mut self, max_weight: usize, max_places: usize) {
        if self.weight <= max_weight && self.places.len() <= max_places {
            return;
        }
        let mut by_use: Vec<(u64, Place)> = self
            .places
            .iter()
            .map(|(place, slot)| (slot.used, place.clone()))
            .collect();
        by_use.sort_by_key(|(used, _)| *used);
        by_use.pop();
        let mut spare = self.places.len().saturating_sub(max_places);
        for (_, place) in by_use {
            if spare > 0 {
                spare -= 1;
                if let Some(slot) = self.places.remove(&place) {
                    self.weight = self
                        .weight
                        .saturating_sub(slot.entries.iter().map(Entry::held).sum());
                }
            } else if self.weight > max_weight / 4 * 3 {
                for entry in self
                    .places
                    .get_mut(&place)
                    .into_iter()
                    .flat_map(|slot| &mut slot.entries)
                {
                    self.weight = self.weight.saturating_sub(entry.held());
                    entry.drop_objects();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fairway_kustomize::{MemoryTree, Recorder};
    use serde_json::json;

    fn place(path: &str) -> Place {
        Place {
            repository: "r".into(),
            view: String::new(),
            path: path.into(),
            options: Options::flux(),
        }
    }

    fn tree(a: &str, b: &str) -> MemoryTree {
        let mut tree = MemoryTree::new();
        tree.insert("a", a);
        tree.insert("b", b);
        tree
    }

    fn build(cache: &Cache, at: &Place, commit: &str, tree: &MemoryTree) {
        let recorder = Recorder::new(tree);
        recorder.read("a").unwrap();
        let objects = Arc::new(vec![json!({"x": "y"})]);
        cache.built(at, commit, recorder.into_read_set(), objects, 1000);
    }

    const PLAIN: [u8; 32] = [0; 32];

    fn rendered() -> Arc<Rendered> {
        Arc::new(Rendered {
            objects: vec![json!({})],
            digest: "sha256:1".into(),
        })
    }

    #[test]
    fn a_commit_that_changes_nothing_that_was_read_is_not_built() {
        let cache = Cache::new(1 << 20);
        let first = tree("1", "1");
        assert!(matches!(
            cache.look_up(&place("p"), "c1", &first, &PLAIN),
            Ok(Known::Nothing)
        ));
        build(&cache, &place("p"), "c1", &first);
        assert!(matches!(
            cache.look_up(&place("p"), "c1", &first, &PLAIN),
            Ok(Known::Built(_, None))
        ));
        let objects = rendered();
        cache.finished(&place("p"), "c1", PLAIN, &objects);
        let other = tree("1", "2");
        assert!(matches!(
            cache.look_up(&place("p"), "c2", &other, &PLAIN),
            Ok(Known::Finished(_, Some(_)))
        ));
        assert!(matches!(
            cache.look_up(&place("p"), "c3", &tree("2", "1"), &PLAIN),
            Ok(Known::Nothing)
        ));
        drop(objects);
        let again = cache.look_up(&place("p"), "c2", &other, &PLAIN).unwrap();
        assert!(matches!(again, Known::Built(_, Some(digest)) if digest == "sha256:1"));
        assert!(matches!(
            cache.look_up(&place("q"), "c1", &first, &PLAIN),
            Ok(Known::Nothing)
        ));
        assert!(matches!(
            cache.look_up(&place("p"), "c1", &first, &[1; 32]),
            Ok(Known::Built(_, None))
        ));
    }

    #[test]
    fn going_back_finds_the_older_result() {
        let cache = Cache::new(1 << 20);
        build(&cache, &place("p"), "c1", &tree("1", ""));
        build(&cache, &place("p"), "c2", &tree("2", ""));
        assert!(matches!(
            cache.look_up(&place("p"), "c3", &tree("1", ""), &PLAIN),
            Ok(Known::Built(_, None))
        ));
        build(&cache, &place("p"), "c4", &tree("4", ""));
        assert!(matches!(
            cache.look_up(&place("p"), "c5", &tree("1", ""), &PLAIN),
            Ok(Known::Nothing)
        ));
    }

    #[test]
    fn memory_is_bounded_and_digests_stay() {
        let cache = Cache::new(2500);
        for n in 0..10 {
            let at = place(&n.to_string());
            build(&cache, &at, "c", &tree("1", ""));
            cache.finished(&at, "c", PLAIN, &rendered());
        }
        assert!(cache.weight() <= 2500 + 1200, "{}", cache.weight());
        let old = cache
            .look_up(&place("0"), "c", &tree("1", ""), &PLAIN)
            .unwrap();
        assert!(matches!(old, Known::Finished(digest, None) if digest == "sha256:1"));
        assert!(matches!(
            cache.look_up(&place("9"), "c", &tree("1", ""), &PLAIN),
            Ok(Known::Built(_, Some(_)))
        ));
    }
}
