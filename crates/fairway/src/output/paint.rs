//! Colours and width, as far as the terminal has them.

use std::io::IsTerminal as _;

/// What standard output can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint {
    is_coloured: bool,
    width: Option<usize>,
}

/// A colour with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// Under way, or waiting.
    Busy,
    /// Less important.
    Dim,
    /// More important.
    Bold,
}

impl Paint {
    /// No colours, and lines as long as they are.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self {
        is_coloured: false,
        width: None,
    };

    /// What standard output is. `NO_COLOR` is honoured (no-color.org), and so is `CLICOLOR_FORCE`.
    pub(crate) fn of_stdout() -> Self {
        if !std::io::stdout().is_terminal() {
            return Self {
                is_coloured: std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
                width: None,
            };
        }
        let terminal = console::Term::stdout();
        Self {
            is_coloured: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                && terminal.features().colors_supported(),
            width: terminal
                .size_checked()
                .map(|(_, columns)| usize::from(columns).max(40)),
        }
    }

    /// The same with another width.
    #[cfg(test)]
    pub(crate) fn with_width(self, width: usize) -> Self {
        Self {
            width: Some(width),
            ..self
        }
    }

    /// The same with colours.
    #[cfg(test)]
    pub(crate) fn coloured(self) -> Self {
        Self {
            is_coloured: true,
            ..self
        }
    }

    /// The text in a colour.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.is_coloured || text.is_empty() {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Busy => "33",
            Tone::Dim => "2",
            Tone::Bold => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// How many characters of a text fit after `used` ones; all of them where there is no terminal.
    pub(crate) fn room(self, used: usize) -> usize {
        self.width
            .map_or(usize::MAX, |width| width.saturating_sub(used + 1).max(20))
    }
}

#[cfg(test)]
mod tests {
    use super::{Paint, Tone};

    #[test]
    fn plain_is_plain() {
        assert_eq!(Paint::PLAIN.paint(Tone::Bad, "x"), "x");
        assert_eq!(Paint::PLAIN.room(70), usize::MAX);
        assert_eq!(
            Paint::PLAIN.coloured().paint(Tone::Bad, "x"),
            "\x1b[31mx\x1b[0m"
        );
        assert_eq!(Paint::PLAIN.with_width(80).room(10), 69);
        assert_eq!(Paint::PLAIN.with_width(80).room(79), 20);
    }
}
