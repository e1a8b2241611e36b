//! The string formats that the API server checks; others are ignored, as it ignores them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use regex::Regex;

/// Whether the text has the format. Unknown formats take anything.
pub(super) fn matches(format: &str, text: &str) -> bool {
    match format.replace('-', "").as_str() {
        "datetime" => date_time(text),
        "date" => text.parse::<jiff::civil::Date>().is_ok() && text.len() == "2006-01-02".len(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.contains(':') && text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => cidr(text),
        "mac" => regex(&MAC, text),
        "uuid" => regex(&UUID, text),
        "uuid3" => regex(&UUID, text) && hex_digit(text, 12) == Some('3'),
        "uuid4" => regex(&UUID, text) && hex_digit(text, 12) == Some('4') && variant(text),
        "uuid5" => regex(&UUID, text) && hex_digit(text, 12) == Some('5') && variant(text),
        "uri" => uri(text),
        "email" => email(text),
        "hostname" => text.len() <= 255 && regex(&HOSTNAME, text),
        "byte" => regex(&BASE64, text) && text.len().is_multiple_of(4),
        "duration" => duration(text),
        "hexcolor" => regex(&HEX_COLOR, text),
        "k8sshortname" => text.len() <= 63 && regex(&SHORT_NAME, text),
        "k8slongname" => text.len() <= 253 && text.split('.').all(|part| regex(&SHORT_NAME, part)),
        _ => true,
    }
}

type Lazy = LazyLock<Option<Regex>>;

static MAC: Lazy = Lazy::new(|| {
    Regex::new("^(([0-9a-fA-F]{2}[:-]){5}|([0-9a-fA-F]{2}[:-]){7}|([0-9a-fA-F]{2}[:-]){19})[0-9a-fA-F]{2}$").ok()
});
static UUID: Lazy = Lazy::new(|| {
    Regex::new("(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$").ok()
});
static HOSTNAME: Lazy = Lazy::new(|| {
    Regex::new(r"^[a-zA-Z0-9\p{L}]([a-zA-Z0-9\p{L}-]{0,61}[a-zA-Z0-9\p{L}])?(\.[a-zA-Z0-9\p{L}]([a-zA-Z0-9\p{L}-]{0,61}[a-zA-Z0-9\p{L}])?)*$").ok()
});
static BASE64: Lazy = Lazy::new(|| Regex::new("^[A-Za-z0-9+/]*={0,2}$").ok());
static HEX_COLOR: Lazy = Lazy::new(|| Regex::new("^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$").ok());
static SHORT_NAME: Lazy = Lazy::new(|| Regex::new("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$").ok());
static DURATION: Lazy =
    Lazy::new(|| Regex::new(r"^[-+]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$").ok());
static SCALA_DURATION: Lazy = Lazy::new(|| {
    Regex::new(r"^[0-9]+\s*(ns|nanos?|nanoseconds?|us|µs|micros?|microseconds?|ms|millis?|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)$").ok()
});

fn regex(pattern: &Lazy, text: &str) -> bool {
    pattern
        .as_ref()
        .is_some_and(|pattern| pattern.is_match(text))
}

fn date_time(text: &str) -> bool {
    text.len() >= "2006-01-02T15:04:05Z".len() && text.parse::<jiff::Timestamp>().is_ok()
}

fn cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let Ok(bits) = bits.parse::<u8>() else {
        return false;
    };
    address.parse::<Ipv4Addr>().is_ok() && bits <= 32
        || address.parse::<Ipv6Addr>().is_ok() && bits <= 128
}

fn hex_digit(text: &str, index: usize) -> Option<char> {
    text.chars().filter(|letter| *letter != '-').nth(index)
}

fn variant(text: &str) -> bool {
    hex_digit(text, 16)
        .is_some_and(|digit| matches!(digit.to_ascii_lowercase(), '8' | '9' | 'a' | 'b'))
}

fn uri(text: &str) -> bool {
    if text.is_empty()
        || text
            .chars()
            .any(|letter| letter.is_ascii_control() || letter == ' ')
    {
        return false;
    }
    let scheme = text.split_once(':').map(|(scheme, _)| scheme);
    text.starts_with('/')
        || scheme.is_some_and(|scheme| {
            scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
                && scheme
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
        })
}

fn email(text: &str) -> bool {
    let address = match (text.rfind('<'), text.strip_suffix('>')) {
        (Some(start), Some(_)) => &text[start + 1..text.len() - 1],
        _ => text,
    };
    address.rsplit_once('@').is_some_and(|(user, host)| {
        !user.is_empty()
            && !host.is_empty()
            && !address.contains(|letter: char| letter.is_whitespace() || "<>,;".contains(letter))
    })
}

fn duration(text: &str) -> bool {
    text == "0" || regex(&DURATION, text) || regex(&SCALA_DURATION, text)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn formats_take_what_they_are_for() {
        for (format, good, bad) in [
            ("date-time", "2014-12-15T19:30:20.000Z", "2014-12-15"),
            ("date", "2014-12-15", "2014-13-15"),
            ("ipv4", "10.0.0.1", "10.0.0"),
            ("ipv6", "fe80::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("mac", "00:00:5e:00:53:01", "00:00"),
            (
                "uuid4",
                "7e9a4a1c-8f0e-4d6b-9c6a-2b1f0f4a7f10",
                "7e9a4a1c-8f0e-1d6b-9c6a-2b1f0f4a7f10",
            ),
            ("uri", "https://example.org/x", "no scheme"),
            ("email", "a@example.org", "a.example.org"),
            ("hostname", "web.example.org", "-web"),
            ("byte", "YWJj", "YWJ*"),
            ("duration", "1h30m", "1x"),
            ("k8s-short-name", "web-1", "Web"),
        ] {
            assert!(matches(format, good), "{format} {good}");
            assert!(!matches(format, bad), "{format} {bad}");
        }
        assert!(matches("some-future-format", "anything"));
    }
}
