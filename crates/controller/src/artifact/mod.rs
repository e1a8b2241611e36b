//! Artifacts: what a source found, as a file that other controllers can fetch, and such files of theirs.
//!
//! ```text
//!   TreeView ──▶ Storage (<data>/artifacts/gitrepository/<ns>/<name>/<commit>.tar.gz) ──▶ server ──▶ helm-controller, …
//!   status.artifact of somebody else ──▶ fetch (digest, limits) ──▶ TreeView ──▶ builds here
//! ```

pub mod digest;
pub mod fetch;
mod retention;
mod server;
pub mod storage;

pub use fetch::{FetchError, Fetcher};
pub use storage::Storage;

use std::time::Duration;

/// How artifacts are stored, served and fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactOptions {
    /// Where they are served (Flux's `--storage-addr`): `host:port`, or `:port` for all addresses. `None`: nowhere.
    pub address: Option<String>,
    /// The address that is told to others (Flux's `--storage-adv-addr`), with or without a scheme; else as Flux derives it
    /// from `address`.
    pub advertised: Option<String>,
    /// How long an artifact that is not the newest is kept (Flux's `--artifact-retention-ttl`).
    pub retention_ttl: Duration,
    /// How many artifacts of one object are kept at most (Flux's `--artifact-retention-records`).
    pub retention_records: usize,
    /// Bytes of somebody else's artifact, at most.
    pub max_download: u64,
    /// Bytes of somebody else's artifact once it is decompressed, at most.
    pub max_unpacked: u64,
}

impl Default for ArtifactOptions {
    /// On this machine only, on any port.
    fn default() -> Self {
        Self {
            address: Some("127.0.0.1:0".to_owned()),
            advertised: None,
            retention_ttl: Duration::from_mins(1),
            retention_records: 2,
            max_download: 512 << 20,
            max_unpacked: 1 << 30,
        }
    }
}
