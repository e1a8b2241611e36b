//! What was set: from what, to what.

use fairway_types::promotion::ChangedValue;

use super::field::Field;

/// One value of a text that was set; without the file it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Which.
    pub field: Field,
    /// What was there; none where nothing was.
    pub from: Option<String>,
    /// What is there now; none where it was taken away.
    pub to: Option<String>,
}

impl Set {
    pub(super) fn new(field: Field, from: Option<&str>, to: Option<&str>) -> Self {
        Self {
            field,
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
        }
    }

    /// With the file, as a Promotion's status has it.
    pub fn in_file(self, path: &str) -> ChangedValue {
        ChangedValue {
            path: path.to_owned(),
            field: self.field.to_string(),
            from: self.from,
            to: self.to,
        }
    }
}
