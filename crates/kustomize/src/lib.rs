//! kustomize build: a tree of files in, objects out.

mod accumulate;
mod build;
mod config;
mod error;
mod field_path;
mod field_spec;
mod flux;
mod generate;
mod id;
mod kustomization;
mod load;
mod merge_keys;
mod node;
mod options;
mod origin;
mod plugins;
mod read;
mod resource;
mod resources;
mod selector;
mod transform;
pub mod tree;

pub use build::{Build, Resource, build};
pub use error::{Error, ErrorKind};
pub use options::{Image, LoadRestrictor, Options, Order, Patch, RootEdits, Selector};
pub use tree::{
    DiskTree, EntryKind, FileTree, Fingerprint, MemoryTree, ReadSet, Recorder, TreeError,
};
