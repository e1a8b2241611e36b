//! What promotions and rollbacks write to Git.
//!
//! ```text
//!   Edit ──▶ plan (pure: a commit's files in) ──▶ Plan ──▶ Workspace::apply ──▶ Committed
//!   image, reference,    image, reference, field:          on the head, checked, signed,
//!   paths, restore,      only the bytes that must          pushed; found again by its
//!   put back             change, proved by reading         trailers (message)
//!                        the text again
//! ```
//!
//! One entry point: [`Workspace::apply`] brings a [`ChangeSet`] onto a branch exactly once, whatever goes wrong between, and
//! says what it set ([`ChangedValue`](fairway_types::promotion::ChangedValue)); [`Edit::PutBack`] takes exactly that back.
//! [`Workspace::propose`] does the same on a branch of its own, for a pull request. The state is in Git alone: a process
//! that dies at any point leaves either nothing or the commit, and the next one finds out which.
//!
//! ```no_run
//! # async fn example(mirror: std::sync::Arc<fairway_git::Mirror>, message: fairway_controller::change::Message)
//! # -> Result<(), fairway_controller::change::Error> {
//! use fairway_controller::change::{ChangeSet, Edit, Request, Workspace};
//! use fairway_git::Signature;
//!
//! let workspace = Workspace::new(mirror, "main");
//! let fairway = Signature::new("Fairway", "fairway@example.org", 1_700_000_000);
//! let set = ChangeSet::Edits(vec![Edit::Image {
//!     folder: "apps/myapp/overlays/prod".into(),
//!     name: "ghcr.io/acme/myapp".into(),
//!     version: "1.2.3".into(),
//!     from: None,
//! }]);
//! let request = Request { set: &set, message: &message, author: &fairway, committer: &fairway, key: None, since: None };
//! let committed = workspace.apply(&request, |attempt| std::time::Duration::from_millis(50 * u64::from(attempt))).await?;
//! println!("{} set {:?}", committed.sha, committed.changes);
//! # Ok(()) }
//! ```

mod error;
mod fault;
mod field;
pub mod image;
mod make;
mod message;
mod plan;
pub mod reference;
mod snapshot;
mod value;
mod workspace;

pub use error::{Error, Stands};
pub use fault::Fault;
pub use field::Field;
pub(crate) use message::one_line;
pub use message::{Mark, Message, Trailers};
pub use plan::{ChangeSet, Edit, Plan, plan};
pub use snapshot::Snapshot;
pub use value::Set;
pub use workspace::{Committed, Outcome, Preview, Request, TRIES, Workspace};
