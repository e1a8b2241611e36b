//! Read, emit and edit YAML the way kubectl and kustomize do.

pub mod de;
pub mod edit;
pub mod emit;
pub mod json;
mod node;
mod number;
mod parse;
mod resolve;
mod timestamp;

pub use de::from_str;
pub use json::Dialect;
pub use node::{Document, Error, Kind, Node, Scalar, Span, Style};
pub use parse::{DuplicateKeys, Options, parse, parse_bytes, parse_with};
pub use resolve::Resolved;
