//! Versions in Git: which line of which overlay says what runs, and committing a change of it.

mod author;
mod overlay;
mod place;
mod reading;
mod stages;

pub(crate) use overlay::{Overlay, path};
pub(crate) use place::{NewCommit, Place};
pub(crate) use reading::Reading;
pub(crate) use stages::before;
