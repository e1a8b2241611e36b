//! What happened to objects, as events and logs have it.

use std::fmt;

use fairway_types::ObjectId;

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// It was made.
    Created,
    /// It was changed.
    Configured,
    /// It was as desired.
    Unchanged,
    /// It was left alone on purpose.
    Skipped,
    /// It was deleted.
    Deleted,
}

impl Action {
    /// The word that Flux uses for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Skipped => "skipped",
            Self::Deleted => "deleted",
        }
    }

    /// Whether the cluster is different now.
    pub const fn is_change(self) -> bool {
        matches!(self, Self::Created | Self::Configured | Self::Deleted)
    }
}

/// One line of a change list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Change {
    /// The object.
    pub id: ObjectId,
    /// What happened to it.
    pub action: Action,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id.subject(), self.action.as_str())
    }
}

/// The changes as an event has them: one line for each, what did not change left out.
pub fn change_log(changes: &[Change]) -> String {
    let lines: Vec<_> = changes
        .iter()
        .filter(|change| change.action.is_change())
        .map(|change| change.to_string())
        .collect();
    lines.join("\n")
}
