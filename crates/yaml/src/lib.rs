//! Read, emit and edit YAML the way kubectl and kustomize do.
//!
//! General YAML crates read `defaultMode: 0644` as 644 and write `yes` without quotes. A cluster sees
//! another value then, or a diff never ends. Here a text is read by the rules of yaml.v3 (kustomize's
//! resources) or of sigs.k8s.io/yaml (kubectl, and kustomize's own configuration), is written byte for byte
//! as sigs.k8s.io/yaml writes it, and is edited without touching a byte that need not change.
//!
//! ```text
//!                                      by Dialect
//!              parse            Node::to_json, into_json            emit::to_string
//!  YAML, JSON ───────▶ Document ────────────────────────▶ JSON value ───────────────▶ YAML
//!      │    anchors, merge keys,   types, null, numbers,      │       key order, quotes,
//!      │    duplicates, limits,    dates, keys                │       blocks, folding
//!      │    lines and columns                                 └──▶ de::from_str: a Rust type
//!      │
//!      └── edit::set_scalar, insert_key ──▶ the same text but for one value, proved by parsing it again
//! ```
//!
//! ```
//! use fairway_yaml::{Dialect, emit, parse};
//!
//! let text = "\
//! mode: 0644
//! ratio: 1.50
//! list: [y, on]
//! created: 2024-02-29
//! ";
//! let document = &parse(text)?[0];
//!
//! // As kustomize reads a resource, and as `kustomize build` prints it:
//! assert_eq!(
//!     emit::to_string(&document.root.to_json()?),
//!     "created: \"2024-02-29T00:00:00Z\"\nlist:\n- \"y\"\n- \"on\"\nmode: 420\nratio: 1.5\n",
//! );
//! // As kubectl reads a manifest:
//! assert_eq!(
//!     emit::to_string(&document.root.to_json_as(Dialect::Kubectl)?),
//!     "created: \"2024-02-29\"\nlist:\n- true\n- true\nmode: 420\nratio: 1.5\n",
//! );
//! # Ok::<(), fairway_yaml::Error>(())
//! ```
//!
//! Where it differs from the real libraries, on purpose: the syntax is that of YAML 1.2, so that U+0085,
//! U+2028 and U+2029 break no lines; a key that stands twice is an error unless
//! [`DuplicateKeys::LastWins`] is asked for; U+0085 in a string is written as `\N` and not lost.

pub mod de;
pub mod edit;
pub mod emit;
mod json;
mod mapping;
mod node;
mod number;
mod parse;
mod resolve;
mod timestamp;

pub use de::{from_node, from_str};
pub use json::Dialect;
pub use node::{Document, Error, Kind, Node, Scalar, Span, Style};
pub use parse::{DuplicateKeys, Options, parse, parse_bytes, parse_with};
pub use resolve::Resolved;
