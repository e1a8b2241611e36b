//! Texts for people.

/// The first `most` characters, with an ellipsis where something is left out; control characters become spaces.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let clean = |character: char| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    };
    let mut short: String = text.chars().take(most).map(clean).collect();
    if text.chars().nth(most).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn long_texts_end_with_an_ellipsis() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "abc…");
        assert_eq!(cut("a\x1bc", 3), "a c");
    }
}
