//! Git: fetch, read trees by object id, commit and push. No checkout, ever.
//!
//! ```text
//!                    git program (fetch, ls-remote, push)
//!   Remote ◀───────────────────────────────────────────────▶ Mirror
//!   URL + Credentials     program.rs, the only module         │  one per (URL, credential)
//!                         that starts processes               ▼
//!                                                         Repository ── refs, holds, edit, revert
//!                                                             │  object database, read in process
//!                                                             ▼
//!                                            TreeView: kind, read, list, blob_id
//!                                            (what Flux's artifact of the commit would hold)
//! ```
//!
//! The network side is the `git` program, as it is the only client that does all of ssh, proxies,
//! TLS options, protocol v2 and push as users know them. Objects are read in process by `gix-odb`:
//! of the candidates it is the leanest that is fast (measured for the decision, debug build on two
//! shared cores: `gix-odb` + `gix-object` 17 gix crates, 29 s; `gix` without network 39 gix crates,
//! 53 s; `git2` 29 s of C, no sharing of one handle between threads, and a second zlib).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use fairway_git::{Change, Credentials, Mirror, Reference, Remote, Repository, Signature, ViewOptions};
//!
//! let dir = tempfile::tempdir()?;
//! let origin = Repository::init(&dir.path().join("origin.git"), "main").await?;
//! let author = Signature::new("Ann", "ann@example.org", 1_700_000_000);
//! let commit = origin.edit(None, &[Change::write("apps/a.yaml", "a: 1\n")], "Add a", &author, &author)?;
//! origin.update_ref("refs/heads/main", commit, Some(None)).await?;
//!
//! let remote = Remote::new(&origin.directory().display().to_string(), Credentials::none())?;
//! let mirror = Mirror::open(&dir.path().join("mirror"), remote).await?;
//! let revision = mirror.fetch(&Reference::Branch("main".into()), Duration::from_secs(60)).await?;
//! assert_eq!(revision.as_str(), format!("main@sha1:{commit}"));
//! let files = mirror.view(revision.commit(), &ViewOptions::default())?;
//! assert_eq!(&*files.read("apps/a.yaml")?, b"a: 1\n");
//! # Ok(()) }
//! ```

mod archive;
mod cache;
mod checkout;
mod commit;
mod complaint;
mod compose;
mod credentials;
mod edit;
mod entries;
mod error;
mod history;
mod host_keys;
mod ignore;
mod mirror;
mod objects;
mod oid;
mod program;
mod push;
mod range;
mod reference;
mod remote;
mod repository;
#[cfg(feature = "serve")]
pub mod serve;
mod store;
mod submodules;
mod tree;
mod verify;

pub use archive::{ArchiveError, Limits};
pub use checkout::{Checkout, identity};
pub use commit::{Commit, Draft, Signature};
pub use compose::Composition;
pub use credentials::{Credentials, Renewed};
pub use edit::Change;
pub use entries::{Changed, TreeEntry};
pub use error::Error;
pub use host_keys::host_keys;
pub use ignore::IGNORE_FILE;
pub use mirror::{Mirror, Mirrors};
pub use objects::MAX_BLOB;
pub use oid::{InvalidOid, Oid};
pub use program::{MINIMUM_GIT, check_version};
pub use push::Push;
pub use range::Range;
pub use reference::{Reference, Revision};
pub use remote::Remote;
pub use repository::Repository;
pub use submodules::{Submodule, submodules};
pub use tree::{EntryKind, Symlinks, TreeError, TreeView, ViewOptions};
pub use verify::{SigningKey, SigningKeyError, Tag, TrustedKeys, VerifyError};
