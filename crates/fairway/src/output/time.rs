//! Times for people.

use std::time::Duration;

/// How long ago something was, as kubectl prints it; `-` where that is not known, `0s` where it lies ahead.
pub(crate) fn age_since(at: Option<jiff::Timestamp>, now: jiff::Timestamp) -> String {
    at.map_or_else(
        || "-".into(),
        |at| {
            let since = now.duration_since(at).as_secs();
            age(Duration::from_secs(u64::try_from(since).unwrap_or(0)))
        },
    )
}

/// An age as kubectl prints it: `5s`, `3m12s`, `2h5m`, `4d3h`.
fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let two = |large: u64, l: &str, small: u64, s: &str| {
        if small == 0 {
            format!("{large}{l}")
        } else {
            format!("{large}{l}{small}{s}")
        }
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(seconds / 60, "m", seconds % 60, "s"),
        600..10_800 => format!("{}m", seconds / 60),
        10_800..28_800 => two(seconds / 3600, "h", seconds / 60 % 60, "m"),
        28_800..172_800 => format!("{}h", seconds / 3600),
        172_800..691_200 => two(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A short time with one decimal: `3.4 s`.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_as_kubectl_prints_them() {
        let at = |seconds| age(Duration::from_secs(seconds));
        assert_eq!(at(5), "5s");
        assert_eq!(at(119), "119s");
        assert_eq!(at(192), "3m12s");
        assert_eq!(at(180), "3m");
        assert_eq!(at(3600), "60m");
        assert_eq!(at(4 * 3600 + 300), "4h5m");
        assert_eq!(at(90_000), "25h");
        assert_eq!(at(3 * 86_400), "3d");
    }

    #[test]
    fn what_is_not_known_or_lies_ahead_has_an_age_too() {
        let at = |seconds| jiff::Timestamp::from_second(seconds).unwrap();
        assert_eq!(age_since(Some(at(10)), at(15)), "5s");
        assert_eq!(age_since(Some(at(15)), at(10)), "0s");
        assert_eq!(age_since(None, at(10)), "-");
    }
}
