//! kustomize build: a tree of files in, objects out.

mod options;
pub mod tree;

pub use options::{Image, LoadRestrictor, Options, Order, Patch, RootEdits, Selector};
pub use tree::{DiskTree, EntryKind, FileTree, Fingerprint, MemoryTree, ReadSet, Recorder, TreeError};
