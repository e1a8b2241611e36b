//! Which artifacts of an object are kept. Pure, by source-controller's rules.

use std::time::{Duration, SystemTime};

/// The files to remove, of those of one object (with their times): all that are older than `ttl`, and of the rest the
/// oldest until no more than `records` are left. The current one always stays.
pub(super) fn garbage<'a>(
    files: &'a [(String, SystemTime)],
    current: &str,
    now: SystemTime,
    ttl: Duration,
    records: usize,
) -> Vec<&'a str> {
    let mut kept: Vec<_> = files.iter().collect();
    kept.sort_by_key(|(_, made)| *made);
    let mut left = kept.len();
    let mut garbage = Vec::new();
    let is_old = |made: &SystemTime| now.duration_since(*made).is_ok_and(|age| age > ttl);
    kept.retain(|(name, made)| {
        let goes = name != current && is_old(made);
        if goes {
            left -= 1;
            garbage.push(name.as_str());
        }
        !goes
    });
    for (name, _) in kept {
        if left > records.max(1) && name != current {
            left -= 1;
            garbage.push(name);
        }
    }
    garbage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_or_too_much_goes() {
        let at = |second: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let files: Vec<_> = [("a", 10), ("b", 70), ("c", 80), ("d", 90)]
            .map(|(name, second)| (name.to_owned(), at(second)))
            .into();
        let of = |current, now, records| {
            garbage(&files, current, at(now), Duration::from_mins(1), records)
        };
        assert_eq!(of("d", 95, 2), ["a", "b"]);
        assert_eq!(of("d", 95, 9), ["a"]);
        assert_eq!(
            of("a", 95, 2),
            ["b", "c"],
            "the current one stays, however old"
        );
        assert_eq!(of("d", 1000, 9), ["a", "b", "c"]);
        assert_eq!(
            of("d", 0, 9),
            Vec::<&str>::new(),
            "a clock that was set back"
        );
        assert_eq!(of("d", 95, 0), ["a", "b", "c"]);
    }
}
