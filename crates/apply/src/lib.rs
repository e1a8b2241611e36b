//! Keeps one cluster equal to a set of objects: staged server-side apply, inventory, prune, health and drift.
//!
//! ```text
//!   desired objects ─┐                    ┌─▶ engine: dry-run, take over, apply ─▶ new inventory, changes
//!                    ├─▶ plan (pure) ─────┤
//!   last inventory ──┘   stages, order    └─▶ prune: delete what we own and no longer want
//!
//!   cluster ──watch──▶ observe ──▶ health (pure): kstatus rules  ─▶ wait
//!                              └─▶ drift  (pure): what others changed ─▶ back-off planner
//! ```
//!
//! Everything reaches the cluster through one [`Connection`]: HTTP/2 with HTTP/1.1 as fallback, one pool for a
//! cluster whoever is impersonated, watches on connections of their own. Writes are done by a
//! [`Session`], which says who is impersonated.
//!
//! Identities are Flux's (field manager, owner labels, inventory ids), so that a cluster can be taken over
//! from Flux, and handed back, without a write.
//!
//! The parts that decide are pure and can be called alone:
//!
//! ```
//! use fairway_apply::{Owner, health, plan};
//! use fairway_types::{Inventory, InventoryEntry};
//! use serde_json::json;
//!
//! let owner = Owner { name: "apps".into(), namespace: "flux-system".into() };
//! let previous = Inventory { entries: vec![InventoryEntry { id: "shop_old__ConfigMap".into(), v: "v1".into() }] };
//! let desired = vec![
//!     json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new", "namespace": "shop"}}),
//!     json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
//! ];
//! let settings = plan::Settings { owner: &owner, force: false, allow_empty: false };
//! let plan = plan::plan(desired, &previous, settings)?;
//! let order: Vec<_> = plan.objects().map(|desired| desired.id.subject()).collect();
//! assert_eq!(order, ["Namespace/shop", "ConfigMap/shop/new"]);
//! assert_eq!(plan.stale[0].id, "shop_old__ConfigMap");
//!
//! let job = json!({"apiVersion": "batch/v1", "kind": "Job", "status": {"conditions": [{"type": "Failed", "status": "True"}]}});
//! assert_eq!(health::of(&job, jiff::Timestamp::UNIX_EPOCH).status, health::Status::Failed);
//! # Ok::<(), plan::PlanError>(())
//! ```

pub mod api;
pub mod connection;
pub mod difference;
pub mod drift;
pub mod engine;
pub mod error;
pub mod health;
pub mod managed;
pub mod mapper;
pub mod observe;
pub mod order;
pub mod plan;
pub mod prune;
mod transport;
pub mod wait;
pub mod witness;

pub use api::Session;
pub use connection::{Bearer, Connection, ConnectionError, Impersonation, Strictness};
pub use error::RequestError;
pub use mapper::{Mapper, Resource};
pub use observe::Observer;
pub use plan::Owner;
