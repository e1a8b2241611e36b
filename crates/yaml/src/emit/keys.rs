//! The order of mapping keys in go-yaml v2: letters after everything else, numbers by their value.

use std::cmp::Ordering;

use serde_json::Value;

/// Sorts the entries of a mapping by key.
pub(super) fn natural_order(entries: &mut [(&str, &Value)]) {
    if !entries.is_sorted_by(|a, b| !less(b.0, a.0)) {
        merge_sort(entries);
    }
}

/// A sort that stays calm when the order contradicts itself, as Go's wrapping numbers make it do for
/// keys with runs of twenty digits; the standard library's may panic then.
fn merge_sort(entries: &mut [(&str, &Value)]) {
    if entries.len() <= 16 {
        for end in 1..entries.len() {
            let mut at = end;
            while at > 0 && less(entries[at].0, entries[at - 1].0) {
                entries.swap(at, at - 1);
                at -= 1;
            }
        }
        return;
    }
    let (left, right) = entries.split_at_mut(entries.len() / 2);
    merge_sort(left);
    merge_sort(right);
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut a, mut b) = (left.iter().peekable(), right.iter().peekable());
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        let next = if less(y.0, x.0) { b.next() } else { a.next() };
        merged.extend(next.copied());
    }
    merged.extend(a.copied());
    merged.extend(b.copied());
    entries.copy_from_slice(&merged);
}

/// `keyList.Less` of go-yaml v2.
pub(super) fn less(a: &str, b: &str) -> bool {
    let same = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    if let (Some(x), Some(y)) = (a.as_bytes().get(same), b.as_bytes().get(same))
        && x.is_ascii_alphabetic()
        && y.is_ascii_alphabetic()
    {
        return x < y;
    }
    // Both differ in the same character, of which `same` may point into the middle.
    let start = (0..=same)
        .rev()
        .find(|at| a.is_char_boundary(*at) && b.is_char_boundary(*at))
        .unwrap_or(0);
    let (Some(x), Some(y)) = (a[start..].chars().next(), b[start..].chars().next()) else {
        return a.len() < b.len();
    };
    match (is_letter(x), is_letter(y)) {
        (true, true) => return x < y,
        (false, false) => {}
        (_, y_is_letter) => return y_is_letter,
    }
    let mut seed = 0;
    if x == '0' || y == '0' {
        // A zero inside a number counts for more than one at its start.
        let before = a[..start].chars().rev().take_while(|c| is_digit(*c));
        seed = i64::from(before.into_iter().any(|c| c != '0'));
    }
    let (a_number, a_digits) = digits(&a[start..], seed);
    let (b_number, b_digits) = digits(&b[start..], seed);
    match a_number.cmp(&b_number).then(a_digits.cmp(&b_digits)) {
        Ordering::Less => true,
        Ordering::Greater => false,
        Ordering::Equal => x < y,
    }
}

fn digits(text: &str, seed: i64) -> (i64, usize) {
    text.chars()
        .take_while(|c| is_digit(*c))
        .fold((seed, 0), |(number, count), c| {
            let digit = i64::from(c as u32) - i64::from(b'0');
            (number.wrapping_mul(10).wrapping_add(digit), count + 1)
        })
}

/// Go's `unicode.IsLetter` is category L; Rust's `is_alphabetic` also takes letter numbers and marks,
/// which no key of a manifest has.
fn is_letter(c: char) -> bool {
    c.is_alphabetic()
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}
