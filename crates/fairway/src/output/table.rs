//! Tables as kubectl prints them: columns padded with three spaces, no lines.

/// A table with a header line.
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new<S: Into<String>>(header: impl IntoIterator<Item = S>) -> Self {
        Self {
            header: header.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; a cell's line breaks become spaces so that a row stays a line.
    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(
            cells
                .into_iter()
                .map(|cell| one_line(&cell.into()))
                .collect(),
        );
    }

    /// Whether there is nothing but the header.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, each line ended.
    pub(crate) fn render(&self, with_header: bool) -> String {
        let lines = || {
            with_header
                .then_some(&self.header)
                .into_iter()
                .chain(&self.rows)
        };
        let mut widths = vec![0; self.header.len()];
        for line in lines() {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for line in lines() {
            let mut out = String::new();
            for (width, cell) in widths.iter().zip(line) {
                out.push_str(cell);
                out.extend(std::iter::repeat_n(' ', width + 3 - cell.chars().count()));
            }
            text.push_str(out.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Control characters can't move the cursor of whoever reads the table.
fn one_line(cell: &str) -> String {
    cell.chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn pads_columns_and_keeps_a_row_on_a_line() {
        let mut table = Table::new(["NAME", "READY"]);
        table.row(["a-long-name", "True"]);
        table.row(["b", "two\nlines"]);
        assert_eq!(
            table.render(true),
            "NAME          READY\na-long-name   True\nb             two lines\n"
        );
        assert_eq!(
            table.render(false),
            "a-long-name   True\nb             two lines\n"
        );
    }
}
