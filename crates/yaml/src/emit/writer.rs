//! The text so far and the little state that go-yaml's emitter keeps about its end.

use serde_json::Value;

/// Lines are folded behind this column.
pub(super) const WIDTH: usize = 80;

const SPACES: &str = "                                                                ";

pub(super) struct Writer<'v> {
    out: String,
    /// The entries of the open mappings, innermost last.
    pub(super) entries: Vec<(&'v str, &'v Value)>,
    /// Characters on the last line.
    pub(super) column: usize,
    /// Columns before a new line of the open collection; -1 outside all.
    pub(super) indent: isize,
    /// Whether the last character is white space, so that no other is needed.
    pub(super) whitespace: bool,
    /// Whether the last line holds nothing but indentation and indicators.
    pub(super) indention: bool,
}

impl Writer<'_> {
    pub(super) fn new(out: String) -> Self {
        Writer {
            out,
            entries: Vec::new(),
            column: 0,
            indent: -1,
            whitespace: true,
            indention: true,
        }
    }

    pub(super) fn into_text(self) -> String {
        self.out
    }

    /// `yaml_emitter_write_indent`: goes to a fresh line unless on one, and indents it.
    pub(super) fn indent_line(&mut self) {
        let indent = usize::try_from(self.indent).unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.line_break();
        }
        let mut missing = indent.saturating_sub(self.column);
        self.column += missing;
        while missing > 0 {
            let some = missing.min(SPACES.len());
            self.out.push_str(&SPACES[..some]);
            missing -= some;
        }
        self.whitespace = true;
        self.indention = true;
    }

    pub(super) fn line_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    /// `yaml_emitter_write_indicator`, after which white space is needed.
    pub(super) fn indicator(&mut self, text: &str, need_whitespace: bool, indention: bool) {
        if need_whitespace {
            self.space();
        }
        self.ascii(text);
        self.whitespace = false;
        self.indention = self.indention && indention;
    }

    /// A space, unless the last character is one.
    pub(super) fn space(&mut self) {
        if !self.whitespace {
            self.out.push(' ');
            self.column += 1;
        }
    }

    /// A plain scalar that needs no care.
    pub(super) fn word(&mut self, text: &str) {
        self.space();
        self.ascii(text);
        self.whitespace = false;
        self.indention = false;
    }

    /// Text of one-byte characters.
    pub(super) fn ascii(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.len();
    }

    /// Text without line breaks.
    pub(super) fn text(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    pub(super) fn char(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    /// Runs with the indentation that continuation lines of a scalar have.
    pub(super) fn with_indent(&mut self, write: impl FnOnce(&mut Self)) {
        let outer = self.indent;
        self.indent = if outer < 0 { 2 } else { outer + 2 };
        write(self);
        self.indent = outer;
    }
}
