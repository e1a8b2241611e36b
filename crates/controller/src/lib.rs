//! The reconcilers: sources, Kustomizations, clusters and fan-out.
//!
//! ```text
//!            ┌──────────────────────── home: the hub, and each cluster with spec.sync ────────────────────────┐
//!   Git ──▶  │ source: GitRepository ──revision──▶ build (cached) ──▶ kustomization ──apply──▶ target cluster │
//!            └───────────────────────────────────────────────────────────▲───────────────────────▲────────────┘
//!   fleet: FleetKustomization × Cluster ──one Kustomization each─────────┘                       │
//!   cluster: connections, reachability, Observer (drift, health) ────────────────────────────────┘
//!
//!   queue: when, in which order, how much at once      objects: what is known of each kind      events, status: what is told
//! ```
//!
//! The parts that decide are pure functions (`queue::schedule`, `build::substitute`, `fleet::plan`,
//! `kustomization::{cycle, depends, progress}`); the reconcilers around them read, call and write. There is no state but that
//! in Kubernetes: what is kept in memory only saves requests.
//!
//! ```no_run
//! # async fn example(hub: fairway_apply::Connection) -> Result<(), fairway_controller::StartError> {
//! use fairway_controller::{Engine, Options, Profile};
//!
//! let engine = Engine::start(hub, Options::new("/var/lib/fairway", Profile::Locked)).await?;
//! tokio::signal::ctrl_c().await.ok();
//! engine.shutdown().await;
//! # Ok(()) }
//! ```

pub mod artifact;
pub mod audit;
pub mod build;
pub mod change;
mod changes;
pub mod clock;
pub mod cluster;
pub mod context;
pub mod election;
pub mod engine;
pub mod events;
mod exposition;
pub mod fleet;
mod follow;
pub mod gates;
pub mod home;
pub mod hosts;
pub mod kustomization;
pub mod lease;
pub mod metrics;
pub mod notify;
pub mod objects;
pub mod options;
pub mod outbound;
pub mod pipeline;
mod probes;
pub mod promotion;
pub mod queue;
pub mod rollout;
pub mod source;
pub mod status;

pub use election::Conflict;
pub use engine::{Engine, Handle, StartError};
pub use metrics::Snapshot;
pub use options::{Controller, Options, Profile, Remotes};
