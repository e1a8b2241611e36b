//! Conflicts of server-side apply.

use std::fmt;

use super::managers::Identity;
use crate::fields::Path;

/// A field that another manager owns and the applied object would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Who owns it.
    pub manager: Identity,
    /// The field.
    pub path: Path,
}

impl Conflict {
    /// The text in `status.details.causes[].message`: `conflict with "kubectl" using apps/v1`.
    pub fn message(&self) -> String {
        format!("conflict with {}", self.manager)
    }
}

/// All conflicts of one apply, by manager; at least one. Displays as the API server's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

impl fmt::Display for Conflicts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = &self.0[..] {
            return write!(
                formatter,
                "Apply failed with 1 conflict: {}: {}",
                only.message(),
                only.path
            );
        }
        write!(formatter, "Apply failed with {} conflicts: ", self.0.len())?;
        let mut last = None;
        for conflict in &self.0 {
            if last != Some(&conflict.manager) {
                if last.is_some() {
                    formatter.write_str("\n")?;
                }
                write!(formatter, "conflicts with {}:", conflict.manager)?;
                last = Some(&conflict.manager);
            }
            write!(formatter, "\n- {}", conflict.path)?;
        }
        Ok(())
    }
}
