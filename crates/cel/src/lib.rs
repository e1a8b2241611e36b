//! CEL expressions as Flux and Kubernetes evaluate them.
//!
//! ```text
//!   text ──▶ read ──▶ infer ──────────────▶ meter ───────────────▶ run
//!            limits   types of variables    counts what it costs   with a budget
//! ```
//!
//! The language is that of Kubernetes: the standard library and macros, comparisons across number types, optional values
//! (`a.?b`), and the extensions for strings, sets and lists. What an expression may cost is bounded: its length, its
//! depth, and at run time the elements and bytes that it touches (see [`meter`]).
//!
//! [`Expression`] is what Flux's fields hold, over objects of which nothing is known:
//!
//! ```
//! use fairway_cel::Expression;
//! use serde_json::json;
//!
//! let ready = Expression::parse("status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')")?;
//! let object = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
//! assert!(ready.is_true_of(&object)?);
//!
//! let expression = Expression::compile("dep.metadata.labels.tier == self.metadata.labels.tier", &["self", "dep"])?;
//! let (a, b) = (json!({"metadata": {"labels": {"tier": "web"}}}), json!({"metadata": {"labels": {"tier": "db"}}}));
//! assert!(!expression.is_true(&[("self", &a), ("dep", &b)])?);
//! # Ok::<(), fairway_cel::Error>(())
//! ```
//!
//! [`Program`] is what admission policies and the rules of custom resources hold, over variables of known types:
//!
//! ```
//! use fairway_cel::{Answer, Budget, Environment, Type, Value, Variables};
//! use serde_json::json;
//!
//! let environment = Environment::default().with("self", Type::map(Type::Int));
//! let program = environment.compile("self.min <= self.max").unwrap();
//! assert_eq!(program.output(), &Type::Bool);
//! let variables = Variables::default().with("self", Value::of(&json!({"min": 3, "max": 2})));
//! assert_eq!(program.run(&variables, &mut Budget::default()), Ok(Answer::Bool(false)));
//!
//! let wrong = environment.compile("self.min <= 'x'").unwrap_err();
//! assert!(wrong.starts_with("ERROR: <input>:1:10: found no matching overload for '_<=_' applied to '(int, string)'"));
//! ```

mod check;
mod declarations;
mod environment;
mod expression;
mod infer;
mod library;
mod meter;
mod program;
mod read;
mod sets;
mod types;
mod values;

pub use expression::{Error, Expression};
pub use library::authorization::{Authorizer, Decision, Question, Subject};
pub use program::{Answer, Budget, Environment, Failure, Program, Variables};
pub use types::{Field, Object, Type, escape};
pub use values::Value;
