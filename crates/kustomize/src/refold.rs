//! What becomes of texts of several lines on their way through kustomize.
//!
//! kustomize writes a resource as YAML once more before it turns it into JSON, and yaml.v3 does not write all blocks so that
//! the same comes out again. Where it folds a text (`>`), it looks at the start of the whole text where it should look at
//! the next line, so that a line that is indented deeper gets an empty one before it. And a block that starts with a tab
//! cannot be read again at all.

use std::borrow::Cow;

use fairway_yaml::{Kind, Node, Style};

use crate::error::{Error, Result};
use crate::node;

/// Writes and reads the texts of an object.
pub(crate) fn refold(node: &mut Node) -> Result<()> {
    match &mut node.kind {
        Kind::Scalar(scalar) => {
            let quoted = matches!(scalar.style, Style::SingleQuoted | Style::DoubleQuoted);
            let is_block = |text: &str| scalar.style != Style::Plain || text.contains('\n');
            if scalar.text.starts_with('\t')
                && !quoted
                && is_block(&scalar.text)
                && can_be_block(&scalar.text)
            {
                return Err(Error::invalid(
                    "found a tab character where an indentation space is expected",
                )
                .hint("kustomize cannot hold a text of several lines that starts with a tab"));
            }
            if scalar.style == Style::Folded
                && let Cow::Owned(text) = refolded(&scalar.text)
            {
                scalar.text = text;
            }
            Ok(())
        }
        Kind::Seq(items) => items.iter_mut().try_for_each(refold),
        Kind::Map(entries) => entries.iter_mut().try_for_each(|(key, value)| {
            refold(value).map_err(|error| error.in_field(node::text(key).to_owned()))
        }),
    }
}

/// The text after it was written in the folded style and read again.
fn refolded(text: &str) -> Cow<'_, str> {
    // Without inner lines there is nothing to fold, and what cannot be folded is written in quotes.
    if !text.trim_end_matches('\n').contains('\n') && !text.ends_with("\n\n") || !can_be_block(text)
    {
        return Cow::Borrowed(text);
    }
    let leading = text.len() - text.trim_start_matches('\n').len();
    let starts_with_text = !text[leading..].starts_with([' ', '\t']);
    let body = text[leading..].trim_end_matches('\n');
    let trailing = text.len() - leading - body.len();
    let mut out = text[..leading].to_owned();
    let mut rest = body;
    // Each line, and how many line breaks stand between it and the next one.
    loop {
        let end = rest.find('\n').unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        let deeper = line.starts_with([' ', '\t']);
        out.push_str(line);
        let next = after.trim_start_matches('\n');
        let breaks = after.len() - next.len();
        let written = breaks + usize::from(!deeper && starts_with_text);
        if next.is_empty() {
            // Only a text that keeps its empty lines shows the one more.
            let kept = match trailing {
                0 | 1 => trailing,
                more => more + usize::from(!deeper && starts_with_text),
            };
            out.push_str(&"\n".repeat(kept));
            return Cow::Owned(out);
        }
        match written {
            _ if deeper || next.starts_with([' ', '\t']) => out.push_str(&"\n".repeat(written)),
            1 => out.push(' '),
            more => out.push_str(&"\n".repeat(more - 1)),
        }
        rest = next;
    }
}

/// `yaml_emitter_analyze_scalar`: whether the text may stand in a block.
fn can_be_block(text: &str) -> bool {
    let printable = |c: char| matches!(c, '\n' | '\t' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..);
    !text.is_empty() && !text.ends_with(' ') && !text.contains(" \n") && text.chars().all(printable)
}

#[cfg(test)]
mod tests {
    use super::refolded;

    #[test]
    fn a_deeper_line_gets_an_empty_one_before_it() {
        assert_eq!(refolded("a\n  b\nc\n"), "a\n\n  b\nc\n");
        assert_eq!(refolded("a\n\tb\n"), "a\n\n\tb\n");
    }

    #[test]
    fn plain_lines_stay() {
        for text in ["a\n", "a b\n\nc", "a\nb\n", "\n\na\nb\n", "", "one line"] {
            assert_eq!(refolded(text), text);
        }
    }

    #[test]
    fn kept_line_breaks_become_more() {
        assert_eq!(refolded("a\n\n"), "a\n\n\n");
    }

    #[test]
    fn a_text_that_starts_with_a_blank_is_folded_once_more() {
        assert_eq!(refolded(" a\nb\nc\n"), " a\nb c\n");
    }

    #[test]
    fn what_must_be_quoted_stays() {
        assert_eq!(refolded("a \n  b\n"), "a \n  b\n");
    }
}
