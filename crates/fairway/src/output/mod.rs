//! What people read: tables, times and conditions.

mod conditions;
mod table;
mod time;

pub(crate) use conditions::{Readiness, readiness, short_revision};
pub(crate) use table::Table;
pub(crate) use time::{age, seconds};
