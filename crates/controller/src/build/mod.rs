//! From a tree of files to the objects that a cluster shall have.

mod glob;
pub mod substitute;
