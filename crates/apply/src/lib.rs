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
pub use connection::{Connection, ConnectionError, Impersonation, Strictness};
pub use error::RequestError;
pub use mapper::{Mapper, Resource};
pub use observe::Observer;
pub use plan::Owner;
