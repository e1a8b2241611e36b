//! Go durations, as every Flux `interval` and `timeout` is written: read `10m`, `1h30m`, `1.5h`; write `10m0s`.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The pattern that Flux's CRDs demand of an interval.
pub const PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";

/// The longest duration that Go can hold: 2⁶³−1 ns, about 292 years. Longer ones are read as this.
const MAX_NANOS: u128 = i64::MAX as u128;

/// A span of time, never negative, that reads and writes like Go's `time.Duration`.
///
/// An absurdly long value is read as the longest that there is instead of failing or wrapping: one strange
/// object must not break the list that it is in (CVE-2022-39272).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration(std::time::Duration);

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidDuration(String);

impl fmt::Display for InvalidDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid duration {:?}: expected numbers with a unit, such as 30s, 10m or 1h30m",
            self.0
        )
    }
}

impl std::error::Error for InvalidDuration {}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(std::time::Duration::ZERO);

    /// Whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// Whole minutes.
    pub const fn from_mins(minutes: u64) -> Self {
        Self::from_secs(minutes * 60)
    }

    /// The same span as the standard library's type.
    pub const fn get(self) -> std::time::Duration {
        self.0
    }

    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl From<std::time::Duration> for Duration {
    fn from(value: std::time::Duration) -> Self {
        Self(value)
    }
}

impl From<Duration> for std::time::Duration {
    fn from(value: Duration) -> Self {
        value.0
    }
}

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let invalid = || InvalidDuration(text.to_owned());
        if text == "0" {
            return Ok(Self::ZERO);
        }
        let mut rest = text.strip_prefix('+').unwrap_or(text);
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut nanos: u128 = 0;
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len());
            let (whole, after) = rest.split_at(digits);
            let (fraction, after) = match after.strip_prefix('.') {
                Some(tail) => tail.split_at(
                    tail.find(|c: char| !c.is_ascii_digit())
                        .unwrap_or(tail.len()),
                ),
                None => ("", after),
            };
            if whole.is_empty() && fraction.is_empty() {
                return Err(invalid());
            }
            let unit_len = after
                .find(|c: char| c.is_ascii_digit() || c == '.')
                .unwrap_or(after.len());
            let (unit, tail) = after.split_at(unit_len);
            let unit: u128 = match unit {
                "ns" => 1,
                "us" | "µs" | "μs" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                _ => return Err(invalid()),
            };
            let whole = whole.bytes().fold(0_u128, |n, digit| {
                n.saturating_mul(10)
                    .saturating_add(u128::from(digit - b'0'))
                    .min(MAX_NANOS)
            });
            nanos = nanos
                .saturating_add(whole.saturating_mul(unit))
                .min(MAX_NANOS);
            let mut scale = unit;
            for digit in fraction.bytes() {
                // Below a nanosecond nothing is kept; Go does the same.
                scale /= 10;
                nanos = nanos
                    .saturating_add(u128::from(digit - b'0').saturating_mul(scale))
                    .min(MAX_NANOS);
            }
            rest = tail;
        }
        let nanos = u64::try_from(nanos).expect("capped at i64::MAX");
        Ok(Self(std::time::Duration::from_nanos(nanos)))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        let fractional = |f: &mut fmt::Formatter<'_>, value: u128, unit: u128, suffix: &str| {
            let (whole, fraction) = (value / unit, value % unit);
            if fraction == 0 {
                return write!(f, "{whole}{suffix}");
            }
            let width = unit.ilog10() as usize;
            let digits = format!("{fraction:0width$}");
            write!(f, "{whole}.{}{suffix}", digits.trim_end_matches('0'))
        };
        match nanos {
            ..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => fractional(f, nanos, 1_000, "µs"),
            1_000_000..1_000_000_000 => fractional(f, nanos, 1_000_000, "ms"),
            _ => {
                let seconds = self.0.as_secs();
                let (hours, minutes) = (seconds / 3600, seconds % 3600 / 60);
                if hours > 0 {
                    write!(f, "{hours}h")?;
                }
                if hours > 0 || minutes > 0 {
                    write!(f, "{minutes}m")?;
                }
                fractional(f, nanos % 60_000_000_000, 1_000_000_000, "s")
            }
        }
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(text: &str) -> String {
        text.parse::<Duration>()
            .map_or_else(|error| error.to_string(), |duration| duration.to_string())
    }

    #[test]
    fn reads_and_writes_as_go_does() {
        for (text, printed) in [
            ("10m", "10m0s"),
            ("1h", "1h0m0s"),
            ("1h30m", "1h30m0s"),
            ("90s", "1m30s"),
            ("1.5h", "1h30m0s"),
            ("60s", "1m0s"),
            ("500ms", "500ms"),
            ("1500ms", "1.5s"),
            ("1m0.25s", "1m0.25s"),
            ("1.5us", "1.5µs"),
            ("0", "0s"),
            ("0s", "0s"),
            (".5s", "500ms"),
        ] {
            assert_eq!(print(text), printed, "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in ["", "10", "m", "1x", "-", "1h 30m", ".s", "-5m"] {
            assert!(text.parse::<Duration>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn an_absurd_duration_is_the_longest_one() {
        let longest = Duration::from(std::time::Duration::from_nanos(i64::MAX as u64));
        for text in [
            "99999999999999999999999999999999999999999999h",
            "2562048h",
            "1000000h2000000h",
        ] {
            assert_eq!(text.parse(), Ok(longest), "{text}");
        }
    }
}
