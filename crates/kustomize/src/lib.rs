//! `kustomize build` as a library: a tree of files in, objects out. No network, no processes, no clock.
//!
//! A build comes out as kustomize 5.8.1's, byte for byte: the same scalars, the same names and hashes, the same order.
//! Helm charts, remote bases and plugins that would have to be executed are refused with a message that says so.
//!
//! ```text
//!  FileTree ──▶ Loader ──▶ Kustomization ──▶ Target ─────────── accumulate ───────────┐
//!  (Memory,     (what may   (the file,        resources ─▶ generators ─▶ components    │
//!   Disk, Git)   be read)    checked)             │                          │         │ nested
//!     │                                           ▼                          ▼         │ targets
//!     ▼                                     Resources + TransformerConfig + vars ◀─────┘
//!  Recorder ─▶ ReadSet                            │ transformers, in kustomize's order
//!  (does another commit                           ▼
//!   give the same build?)      hashes ─▶ name references ─▶ vars ─▶ order ─▶ Build
//! ```
//!
//! ```
//! use fairway_kustomize::{MemoryTree, Options, build};
//!
//! let tree: MemoryTree = [
//!     ("base/kustomization.yaml", "resources: [service.yaml]"),
//!     ("base/service.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: web}"),
//!     ("prod/kustomization.yaml", "resources: [../base]\nnamespace: shop\nnamePrefix: eu-"),
//! ]
//! .into_iter()
//! .collect();
//!
//! let built = build(&tree, "prod", &Options::default())?;
//! assert_eq!(
//!     built.to_yaml(),
//!     "apiVersion: v1\nkind: Service\nmetadata:\n  name: eu-web\n  namespace: shop\n"
//! );
//! # Ok::<(), fairway_kustomize::Error>(())
//! ```
//!
//! Where a file is wrong, the error says where and what to do:
//!
//! ```
//! # use fairway_kustomize::{MemoryTree, Options, build};
//! let tree: MemoryTree = [("kustomization.yaml", "resources: []\nnamePreffix: a-\n")].into_iter().collect();
//! let error = build(&tree, "", &Options::default()).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "kustomization.yaml:2:1: namePreffix: unknown field \"namePreffix\"; did you mean \"namePrefix\"?"
//! );
//! ```
//!
//! # Where kustomize's behaviour is odd, so is this
//!
//! Fleets depend on what kustomize does, so its quirks are kept, and marked where they are: a number that replaces a
//! quoted string stays a string, a label added to several fields is one value that a patch changes everywhere, a
//! JSON patch turns numbers into floating point ones, list items with the same merge key become one.

mod accumulate;
mod bases;
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
mod parallel;
mod parts;
mod pattern;
mod plugins;
mod read;
mod refold;
mod resource;
mod resources;
mod selector;
mod target;
mod transform;
mod transformations;
pub mod tree;

pub use bases::Bases;
pub use build::{Build, Rendered, Resource, build, build_with, render};
pub use error::{Error, ErrorKind};
pub use options::{Image, LoadRestrictor, Options, Order, Patch, RootEdits, Selector};
pub use tree::{
    DiskTree, EntryKind, FileTree, Fingerprint, MemoryTree, ReadSet, Recorder, TreeError,
};
