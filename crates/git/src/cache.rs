//! A bounded cache in two generations: what is used stays, what is not is dropped half a cache later.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

pub(crate) struct Cache<K, V> {
    /// The weight of one generation.
    limit: usize,
    generations: Mutex<Generations<K, V>>,
}

struct Generations<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    weight: usize,
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    /// A cache for about `limit` units of weight.
    pub(crate) fn new(limit: usize) -> Self {
        let generations = Generations {
            young: HashMap::new(),
            old: HashMap::new(),
            weight: 0,
        };
        Self {
            limit: limit / 2,
            generations: Mutex::new(generations),
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((value, _)) = generations.young.get(key) {
            return Some(value.clone());
        }
        let (value, weight) = generations.old.remove(key)?;
        generations.insert(key.clone(), value.clone(), weight, self.limit);
        Some(value)
    }

    /// Keeps `value`, unless it alone would fill a generation.
    pub(crate) fn insert(&self, key: K, value: V, weight: usize) {
        if weight <= self.limit {
            let mut generations = self
                .generations
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            generations.insert(key, value, weight, self.limit);
        }
    }
}

impl<K: Eq + Hash, V> Generations<K, V> {
    fn insert(&mut self, key: K, value: V, weight: usize, limit: usize) {
        if self.weight + weight > limit {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        if let Some((_, replaced)) = self.young.insert(key, (value, weight)) {
            self.weight -= replaced;
        }
        self.weight += weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays() {
        let cache = Cache::new(20);
        for i in 0..100 {
            cache.insert(i, i, 1);
            assert_eq!(cache.get(&0), Some(0), "after {i}");
        }
        assert_eq!(cache.get(&50), None);
        assert_eq!(cache.get(&99), Some(99));
        cache.insert(1000, 1, 11);
        assert_eq!(cache.get(&1000), None);
    }
}
