//! Cycles among `dependsOn`: nothing in a cycle would ever become ready, so it is named instead of waited for.

use std::collections::{BTreeMap, BTreeSet};

/// A Kustomization: (namespace, name).
pub type Id = (String, String);

/// A cycle that `start` is part of, from `start` to `start`; the shortest one, so that the message stays readable.
pub fn find_cycle(start: &Id, depends_on: &dyn Fn(&Id) -> Vec<Id>) -> Option<Vec<Id>> {
    let mut came_from: BTreeMap<Id, Id> = BTreeMap::new();
    let mut seen = BTreeSet::from([start.clone()]);
    let mut level = vec![start.clone()];
    while !level.is_empty() {
        let mut next = Vec::new();
        for id in level {
            for dependency in depends_on(&id) {
                if dependency == *start {
                    let mut cycle = vec![start.clone()];
                    let mut at = id.clone();
                    while at != *start {
                        cycle.push(at.clone());
                        at = came_from.get(&at)?.clone();
                    }
                    cycle.push(start.clone());
                    cycle.reverse();
                    return Some(cycle);
                }
                if seen.insert(dependency.clone()) {
                    came_from.insert(dependency.clone(), id.clone());
                    next.push(dependency);
                }
            }
        }
        level = next;
    }
    None
}

/// `a/x -> a/y -> a/x`.
pub fn describe(cycle: &[Id]) -> String {
    cycle
        .iter()
        .map(|(namespace, name)| format!("{namespace}/{name}"))
        .collect::<Vec<_>>()
        .join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn graph(edges: &[(u8, u8)]) -> impl Fn(&Id) -> Vec<Id> + '_ {
        move |from| {
            edges
                .iter()
                .filter(|(a, _)| id(*a) == *from)
                .map(|(_, b)| id(*b))
                .collect()
        }
    }

    fn id(n: u8) -> Id {
        ("ns".into(), n.to_string())
    }

    #[test]
    fn names_the_cycle() {
        let cycle = find_cycle(&id(1), &graph(&[(1, 2), (2, 3), (3, 1), (2, 9)])).unwrap();
        assert_eq!(describe(&cycle), "ns/1 -> ns/2 -> ns/3 -> ns/1");
        assert_eq!(
            describe(&find_cycle(&id(4), &graph(&[(4, 4)])).unwrap()),
            "ns/4 -> ns/4"
        );
    }

    #[test]
    fn what_only_leads_to_a_cycle_is_not_in_it() {
        assert_eq!(find_cycle(&id(0), &graph(&[(0, 1), (1, 2), (2, 1)])), None);
    }

    proptest! {
        #[test]
        fn agrees_with_reachability(edges in proptest::collection::vec((0u8..7, 0u8..7), 0..20)) {
            for start in 0..7u8 {
                let mut reach = BTreeSet::new();
                let mut todo: Vec<u8> = edges.iter().filter(|(a, _)| *a == start).map(|(_, b)| *b).collect();
                while let Some(n) = todo.pop() {
                    if reach.insert(n) {
                        todo.extend(edges.iter().filter(|(a, _)| *a == n).map(|(_, b)| *b));
                    }
                }
                let cycle = find_cycle(&id(start), &graph(&edges));
                prop_assert_eq!(cycle.is_some(), reach.contains(&start));
                for pair in cycle.iter().flat_map(|c| c.windows(2)) {
                    prop_assert!(graph(&edges)(&pair[0]).contains(&pair[1]));
                }
            }
        }
    }
}
