//! An embedded Kubernetes-compatible API server with simulated workloads.
//!
//! `fairway demo` must run on a machine that has nothing but git and this binary, and tests need fleets of clusters in
//! milliseconds: that is what this is for. It is real HTTPS and the real Kubernetes API, as far as the engine, kube-rs
//! and everyday kubectl need it; anything else gets an honest 404, 405 or 501. Workloads are simulated.
//!
//! ```text
//!   kubectl, kube-rs ──HTTPS──▶ http ──▶ discovery
//!                                 │
//!                                 └────▶ rest ──▶ writer ──▶ store ──▶ watches, log
//!                                                   ▲
//!                           controllers (simulated) ┘
//! ```
//!
//! ```
//! use fairway_apiserver::{Config, Server};
//!
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # runtime.block_on(async {
//! let server = Server::start(Config { clusters: vec!["dev".into()], ..Config::default() }).await?;
//! assert!(server.kubeconfig().contains("current-context: dev"));
//! server.shutdown().await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod admission;
pub mod auth;
pub mod authz;
mod cluster;
pub mod controllers;
mod crd;
mod defaults;
mod discovery;
mod faults;
mod http;
mod kubeconfig;
pub mod resources;
mod rest;
mod server;
pub mod status;
pub mod store;
mod table;
mod tls;
mod validate;
pub mod writer;

pub use cluster::RequestCounts;
pub use faults::{FaultSpec, Faults};
pub use server::{Config, Error, MANAGEMENT, Server};
pub use tls::TlsError;
