//! The rule for versions: in a range, and not older than what is there.

use fairway_git::Range;
use fairway_types::check::SemverCheck;
use semver::Version;

use super::judge::{Sample, Seen};

/// Holds a version against the rule. `from` is what runs now; empty where nothing does.
pub(super) fn sample(check: &SemverCheck, version: &str, from: &str) -> Sample {
    let range = match check.range.as_deref().map(Range::parse).transpose() {
        Ok(range) => range,
        Err(error) => return Sample::Invalid(error.to_string()),
    };
    let failed = |message: String| Sample::Failed(Seen::new(message).with_value(version));
    let Some(wanted) = parse(version) else {
        return failed(format!("'{version}' is no semantic version"));
    };
    if let (Some(range), Some(text)) = (&range, &check.range)
        && !range.matches(&wanted)
    {
        return failed(format!("{version} is not in the range '{text}'"));
    }
    if check.allow_downgrade || from.is_empty() {
        return Sample::Passed(Seen::new(accepted(check, version)).with_value(version));
    }
    // Build metadata has no order: 1.0.0+b is not older than 1.0.0+a.
    match parse(from) {
        Some(present) if wanted.cmp_precedence(&present).is_lt() => failed(format!(
            "{version} is older than {from}, which runs now\nhint: allowDowngrade lets it pass"
        )),
        // What is there has no order with what comes.
        _ => Sample::Passed(Seen::new(accepted(check, version)).with_value(version)),
    }
}

fn accepted(check: &SemverCheck, version: &str) -> String {
    match &check.range {
        Some(range) => format!("{version} is in the range '{range}'"),
        None => format!("{version} is a semantic version"),
    }
}

/// A tag as a version: strict, but for a leading `v`.
fn parse(tag: &str) -> Option<Version> {
    Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(range: Option<&str>, downgrade: bool, version: &str, from: &str) -> String {
        let check = SemverCheck {
            range: range.map(str::to_owned),
            allow_downgrade: downgrade,
        };
        match sample(&check, version, from) {
            Sample::Passed(_) => "passed".to_owned(),
            Sample::Failed(seen) => seen.message,
            Sample::Inconclusive(seen) => seen.message,
            Sample::Invalid(message) => format!("invalid: {message}"),
        }
    }

    #[test]
    fn versions_are_held_against_range_and_present() {
        for (range, downgrade, version, from) in [
            (None, false, "1.2.3", ""),
            (None, false, "v1.2.3", "1.2.2"),
            (None, false, "1.2.3+build.2", "1.2.3+build.1"),
            (None, false, "1.2.3+build.1", "1.2.3+build.2"),
            (None, true, "1.2.3", "2.0.0"),
            (None, false, "1.2.3", "latest"),
            (Some(">=1.0.0 <2.0.0"), false, "v1.9.9", "1.0.0"),
            (Some("^1.2.0-0"), false, "1.3.0-rc.1", "1.2.0"),
        ] {
            assert_eq!(
                judged(range, downgrade, version, from),
                "passed",
                "{version} {from}"
            );
        }
        for (range, version, from, message) in [
            (None, "latest", "", "'latest' is no semantic version"),
            (None, "1.2", "", "'1.2' is no semantic version"),
            (
                None,
                "sha256:abc",
                "",
                "'sha256:abc' is no semantic version",
            ),
            (Some("1.x"), "2.0.0", "", "2.0.0 is not in the range '1.x'"),
            (
                Some("1.x"),
                "1.0.0-rc.1",
                "",
                "1.0.0-rc.1 is not in the range '1.x'",
            ),
            (
                None,
                "1.0.0-rc.1",
                "1.0.0",
                "1.0.0-rc.1 is older than 1.0.0, which runs now\nhint: allowDowngrade lets it pass",
            ),
        ] {
            assert_eq!(judged(range, false, version, from), message);
        }
        assert!(judged(Some(">>1"), false, "1.0.0", "").starts_with("invalid: "));
    }
}
