//! What people read: tables, times and conditions.

mod changes;
mod conditions;
mod paint;
mod table;
mod text;
mod time;

pub(crate) use changes::field_changes;
pub(crate) use conditions::{Readiness, readiness, short_revision};
pub(crate) use paint::{Paint, Tone};
pub(crate) use table::Table;
pub(crate) use text::cut;
pub(crate) use time::{age_since, seconds};
