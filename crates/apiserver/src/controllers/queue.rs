//! What is to be looked at, now or later; each thing at most once.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;

use jiff::Timestamp;

/// A queue of things that are due and an agenda of those that will be.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    due: VecDeque<T>,
    waiting: HashSet<T>,
    agenda: BTreeSet<(Timestamp, T)>,
    times: HashMap<T, Timestamp>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            due: VecDeque::new(),
            waiting: HashSet::new(),
            agenda: BTreeSet::new(),
            times: HashMap::new(),
        }
    }
}

impl<T: Clone + Eq + Ord + Hash> Queue<T> {
    /// Puts the thing in line, unless it waits there already.
    pub(crate) fn push(&mut self, thing: T) {
        if self.waiting.insert(thing.clone()) {
            self.due.push_back(thing);
        }
    }

    /// Puts the thing in line at that time, or not at all; what was arranged for it before is dropped.
    pub(crate) fn arrange(&mut self, thing: T, at: Option<Timestamp>) {
        if let Some(known) = self.times.remove(&thing) {
            self.agenda.remove(&(known, thing.clone()));
        }
        if let Some(at) = at {
            self.times.insert(thing.clone(), at);
            self.agenda.insert((at, thing));
        }
    }

    /// Puts the thing in line at that time, unless a time is arranged for it already.
    pub(crate) fn arrange_once(&mut self, thing: T, at: Timestamp) {
        if !self.times.contains_key(&thing) {
            self.arrange(thing, Some(at));
        }
    }

    /// The next thing that is due.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<T> {
        while let Some((at, _)) = self.agenda.first() {
            if *at > now {
                break;
            }
            if let Some((_, thing)) = self.agenda.pop_first() {
                self.times.remove(&thing);
                self.push(thing);
            }
        }
        let thing = self.due.pop_front()?;
        self.waiting.remove(&thing);
        Some(thing)
    }

    /// When the next thing of the agenda is due.
    pub(crate) fn next_time(&self) -> Option<Timestamp> {
        self.agenda.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn things_wait_once_and_in_order() {
        let mut queue = Queue::default();
        queue.push("a");
        queue.push("b");
        queue.push("a");
        assert_eq!(
            [queue.pop(at(0)), queue.pop(at(0)), queue.pop(at(0))],
            [Some("a"), Some("b"), None]
        );
    }

    #[test]
    fn the_agenda_keeps_the_latest_arrangement() {
        let mut queue = Queue::default();
        queue.arrange("a", Some(at(5)));
        queue.arrange("a", Some(at(3)));
        queue.arrange("b", Some(at(4)));
        queue.arrange("b", None);
        assert_eq!(queue.next_time(), Some(at(3)));
        assert_eq!(queue.pop(at(2)), None);
        assert_eq!(queue.pop(at(9)), Some("a"));
        assert_eq!(queue.pop(at(9)), None);
        assert_eq!(queue.next_time(), None);
    }
}
