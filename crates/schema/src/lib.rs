//! What Fairway knows about the shape of Kubernetes objects, without any I/O.
//!
//! ```text
//!   data/types.tsv ──▶ builtin ─┐                       ┌─▶ structural: validate, default, prune, strict decoding
//!                               ├─▶ structural::Schema ─┼─▶ merge: server-side apply, managedFields (over typed, fields)
//!   CRD openAPIV3Schema ────────┘                       └─▶ strategic: strategic merge patch
//!   data/kinds.tsv ───▶ kinds: discovery of the built-in resources
//! ```
//!
//! One model serves built-in types and custom resources. The two data files are made by `cargo xtask schemas` from
//! what Kubernetes publishes; a type is decoded when it is first asked for.
//!
//! ```
//! use fairway_schema::{builtin, fields::FieldSet, typed};
//! use serde_json::json;
//!
//! let deployment = builtin::schema("apps", "v1", "Deployment").expect("a built-in type");
//! let object = json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "web", "image": "web:1"}]}}}});
//! assert!(typed::validate(deployment, &object, typed::Duplicates::Refuse).is_ok());
//!
//! let owned = typed::field_set(deployment, &object);
//! let text = r#"{"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":
//!     {"k:{\"name\":\"web\"}":{".":{},"f:image":{},"f:name":{}}}}}}}"#;
//! assert_eq!(owned, FieldSet::from_json(&serde_json::from_str(text)?)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod builtin;
pub mod fields;
pub mod kinds;
pub mod merge;
pub mod strategic;
pub mod structural;
pub mod typed;
