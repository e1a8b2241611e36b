//! The timestamps that go-yaml knows: four layouts of Go's `time.Parse`.

/// Reads a timestamp and writes it as Go's JSON encoder does (RFC 3339, nanoseconds without trailing
/// zeros); `None` if the text is not one.
pub(crate) fn parse(text: &str) -> Option<String> {
    let mut rest = Cursor(text);
    let year = rest.year()?;
    rest.expect(b'-')?;
    let month = rest.number(1, 12)?;
    rest.expect(b'-')?;
    let day = rest.number(1, days(year, month))?;
    if rest.0.is_empty() {
        return Some(format!("{year:04}-{month:02}-{day:02}T00:00:00Z"));
    }
    let zoned = match rest.0.as_bytes()[0] {
        b'T' | b't' => {
            rest.0 = &rest.0[1..];
            true
        }
        b' ' => {
            rest.0 = rest.0.trim_start_matches(' ');
            false
        }
        _ => return None,
    };
    let hour = rest.number(0, 23)?;
    rest.expect(b':')?;
    let minute = rest.number(0, 59)?;
    rest.expect(b':')?;
    let second = rest.number(0, 59)?;
    let fraction = rest.fraction();
    let zone = if zoned {
        rest.zone()?
    } else {
        String::from("Z")
    };
    if !rest.0.is_empty() {
        return None;
    }
    Some(format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}"
    ))
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    fn digits(&self) -> usize {
        self.0.bytes().take_while(u8::is_ascii_digit).count()
    }

    fn take(&mut self, count: usize) -> Option<u32> {
        let number = self.0.get(..count)?.parse().ok()?;
        self.0 = &self.0[count..];
        Some(number)
    }

    fn year(&mut self) -> Option<u32> {
        if self.digits() == 4 {
            self.take(4)
        } else {
            None
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        if self.0.as_bytes().first() != Some(&byte) {
            return None;
        }
        self.0 = &self.0[1..];
        Some(())
    }

    /// One or two digits.
    fn number(&mut self, low: u32, high: u32) -> Option<u32> {
        let number = match self.digits() {
            0 => return None,
            count => self.take(count.min(2))?,
        };
        (low..=high).contains(&number).then_some(number)
    }

    /// A fraction of a second, empty if there is none or it is zero.
    fn fraction(&mut self) -> String {
        let bytes = self.0.as_bytes();
        if !matches!(bytes.first(), Some(b'.' | b','))
            || !bytes.get(1).is_some_and(u8::is_ascii_digit)
        {
            return String::new();
        }
        self.0 = &self.0[1..];
        let count = self.digits();
        let digits = self.0[..count.min(9)].trim_end_matches('0');
        self.0 = &self.0[count..];
        if digits.is_empty() {
            String::new()
        } else {
            format!(".{digits}")
        }
    }

    /// `Z` or an offset; the offset zero is UTC.
    fn zone(&mut self) -> Option<String> {
        if self.0.starts_with('Z') {
            self.0 = &self.0[1..];
            return Some("Z".into());
        }
        let sign = match self.0.as_bytes().first()? {
            b'+' => '+',
            b'-' => '-',
            _ => return None,
        };
        self.0 = &self.0[1..];
        let two = |cursor: &mut Self| (cursor.digits() == 2).then(|| cursor.take(2)).flatten();
        let hours = two(self)?;
        self.expect(b':')?;
        let minutes = two(self)?;
        match (hours, minutes) {
            (0, 0) => Some("Z".into()),
            // Go reads 60 minutes for an hour, and has no JSON for offsets of a day.
            (0..=22, 60) => Some(format!("{sign}{:02}:00", hours + 1)),
            (0..=23, 0..=59) => Some(format!("{sign}{hours:02}:{minutes:02}")),
            _ => None,
        }
    }
}
