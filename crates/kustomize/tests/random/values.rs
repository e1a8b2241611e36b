//! Scalars, labels and names as people write them, the odd ones included.

use crate::dice::Dice;

pub(crate) const NAMES: [&str; 5] = ["web", "db", "api", "web-2", "a.b"];
pub(crate) const NAMESPACES: [&str; 3] = ["shop", "default", "ops"];

/// A scalar as the source has it, on one line.
pub(crate) fn scalar(dice: &mut Dice) -> &'static str {
    dice.pick(&[
        "plain", "two words", "12", "-3", "1.5", "1.50", "1e3", "0644", "0o17", "0x1F", "true", "yes", "y", "n", "on",
        "No", "null", "~", "''", "\"\"", "'quoted'", "\"12\"", "'true'", "\"a\\nb\"", "2024-02-29", "\"2024-02-29\"",
        "12:30:45", "1_000", "+1", ".5", "a:b", "'a: b'", "'# no comment'", "value # comment", "$(VAR)", "\"\\u00e9\"", "ü",
        "'it''s'", "\"tab\\there\"", "'*star'", "'&and'", "'!bang'", "'- dash'", "-dash", "'@at'", "'%percent'", "http://x/y?z=1",
        "'trailing '", "' leading'", "\"1.20\"", "99999999999", "1e100", "'<a&b>'", "[]", "{}",
        "a very long text that goes on and on and on until it has passed the eightieth column and is folded by the emitter there",
        "'a very long quoted text: it goes on and on and on until it has passed the eightieth column and is folded there too'",
    ])
}

/// A scalar that is a string to everybody.
pub(crate) fn text(dice: &mut Dice) -> &'static str {
    dice.pick(&[
        "plain",
        "two words",
        "'12'",
        "\"true\"",
        "'yes'",
        "x-1",
        "'a: b'",
        "''",
        "\"é\"",
        "'1.0'",
        "\"null\"",
        "a/b:c@d",
    ])
}

/// A value of any shape, in flow style.
pub(crate) fn value(dice: &mut Dice, depth: usize) -> String {
    match dice.below(if depth == 0 { 1 } else { 4 }) {
        2 => {
            let items: Vec<String> = (0..dice.below(4))
                .map(|_| flow(&value(dice, depth - 1)))
                .collect();
            format!("[{}]", items.join(", "))
        }
        3 => {
            let keys = ["a", "b", "a2", "a10", "name", "B"];
            let count = dice.below(4);
            let entries: Vec<String> = keys
                .iter()
                .skip(dice.below(3))
                .take(count)
                .map(|key| format!("{key}: {}", flow(&value(dice, depth - 1))))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        _ => scalar(dice).to_owned(),
    }
}

/// What can stand inside of brackets.
fn flow(text: &str) -> String {
    let bad = text.contains(" #") || text.contains(',') || text.contains("?z");
    if bad {
        "'in flow'".to_owned()
    } else {
        text.to_owned()
    }
}

/// A block of labels or annotations below a key.
pub(crate) fn pairs(dice: &mut Dice, indent: &str) -> String {
    let keys = [
        "app",
        "tier",
        "example.org/owner",
        "version",
        "app.kubernetes.io/name",
    ];
    let skip = dice.below(4);
    let count = 1 + dice.below(3);
    keys.iter()
        .skip(skip)
        .take(count)
        .map(|key| format!("{indent}{key}: {}\n", text(dice)))
        .collect::<Vec<_>>()
        .concat()
}

/// An image.
pub(crate) fn image(dice: &mut Dice) -> &'static str {
    dice.pick(&[
        "nginx",
        "nginx:1.25",
        "nginx@sha256:abc",
        "host:5000/nginx:1",
        "redis:7@sha256:00",
        "redis",
        "\"busybox:1\"",
        "nginx-x:1",
    ])
}
