//! Changes of a text: of its bytes, of its lines, and with what is known to be hard.

/// What readers of YAML, patches and paths fall over.
const HARD: [&str; 52] = [
    "&a",
    "*a",
    "<<: *a",
    "!!binary",
    "!!int",
    "!<tag:x>",
    "? ",
    ": ",
    "- ",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
    "|\n",
    ">+\n",
    "|9\n",
    "\t",
    "\r\n",
    "\u{feff}",
    "\0",
    "\u{85}",
    "{",
    "}",
    "[",
    "]",
    "{a: ",
    "[[[[",
    "\"",
    "'",
    "\\",
    "#",
    "null",
    "~",
    "$patch: delete",
    "$patch: replace",
    "$(VAR)",
    "-1",
    "99999999999999999999",
    "1e999",
    ".inf",
    "0x",
    "*",
    "[name=a]",
    "[=]",
    ".-.",
    "../",
    "/",
    "a.b.c.*.[x=y]",
    "(",
    "[a-",
    "{x: *x}",
    "create: true",
    "delimiter: ''",
];

pub(crate) struct Changer<'t> {
    state: u64,
    others: &'t [&'t [u8]],
}

impl<'t> Changer<'t> {
    pub(crate) fn new(seed: u64, others: &'t [&'t [u8]]) -> Self {
        Self {
            state: seed,
            others,
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut out = self.state;
        out = (out ^ (out >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        out = (out ^ (out >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        out ^ (out >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Makes one to four changes.
    pub(crate) fn change(&mut self, text: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            self.once(text);
            text.truncate(1 << 20);
        }
    }

    fn once(&mut self, text: &mut Vec<u8>) {
        let at = self.below(text.len() + 1);
        match self.below(12) {
            0 if at < text.len() => text[at] ^= 1 << self.below(8),
            1 => {
                let end = (at + self.below(16)).min(text.len());
                text.drain(at..end);
            }
            2 | 3 => {
                let hard = HARD[self.below(HARD.len())];
                text.splice(at..at, hard.bytes());
            }
            4 => {
                // The same again and again: deep, long, many.
                let hard = HARD[self.below(HARD.len())];
                let many = hard.repeat(1 << self.below(12));
                text.splice(at..at, many.bytes());
            }
            5 | 6 => self.lines(text),
            7 => {
                let other = self.others[self.below(self.others.len())];
                let from = self.below(other.len() + 1);
                let until = (from + self.below(200)).min(other.len());
                text.splice(at..at, other[from..until].iter().copied());
            }
            8 => self.number(text),
            9 => text.truncate(at),
            10 => {
                // What makes readers of aliases explode.
                let mut bomb = vec!["x0: &x0 [a, a, a, a, a, a, a, a, a]\n".to_owned()];
                for level in 1..=self.below(12) {
                    let below = format!("*x{}, ", level - 1).repeat(9);
                    bomb.push(format!("x{level}: &x{level} [{below}]\n"));
                }
                text.extend(bomb.concat().bytes());
            }
            _ => {
                let line = text[..at]
                    .iter()
                    .rposition(|byte| *byte == b'\n')
                    .map_or(0, |at| at + 1);
                let spaces = vec![b' '; self.below(5)];
                text.splice(line..line, spaces);
            }
        }
    }

    /// Doubles, drops or swaps whole lines.
    fn lines(&mut self, text: &mut Vec<u8>) {
        let mut lines: Vec<Vec<u8>> = text
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        let (a, b) = (self.below(lines.len()), self.below(lines.len()));
        match self.below(3) {
            0 => {
                let again = lines[a].clone();
                lines.insert(b, again);
            }
            1 => drop(lines.remove(a)),
            _ => lines.swap(a, b),
        }
        *text = lines.join(&b'\n');
    }

    /// Puts another value in the place of one.
    fn number(&mut self, text: &mut Vec<u8>) {
        let places: Vec<usize> = (0..text.len())
            .filter(|at| text[*at..].starts_with(b": "))
            .collect();
        if places.is_empty() {
            return;
        }
        let start = places[self.below(places.len())] + 2;
        let end = text[start..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(text.len(), |at| start + at);
        let value = [
            "-1",
            "[]",
            "{}",
            "null",
            "''",
            "1e9",
            "true",
            "[a, {b: c}]",
            "{a: {b: [c]}}",
            "18446744073709551616",
        ];
        let value = value[self.below(value.len())];
        text.splice(start..end, value.bytes());
    }
}
