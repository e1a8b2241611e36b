//! The audit log: a Git ref of its own, one commit an entry.
//!
//! ```text
//!   Promotion.status.audit ──▶ Entry ──▶ AuditLog::append ──▶ refs/fairway/audit   2026/11/22/153000Z-<id>.json
//!                                         compare-and-swap      │ one commit an entry, each on the one before
//!                                                               ├──▶ read: the folders of the days since
//!   the branch's promotion commits (trailers) ──────────────────┴──▶ verify: chain, and both ways round
//! ```
//!
//! Two writers can't fork it: a push says where it expects the ref, and who is late appends again behind the other's. An entry
//! has an id and a time, which make its path, so appending it again does nothing. Where a host takes no ref of that name, the
//! log is the branch `fairway-audit`; what holds it once holds it for good.

mod entry;
mod log;
mod verify;

pub use entry::{Approval, Commit, Entry, Gate, InvalidEntry};
pub use log::{Appended, AuditError, AuditLog, BRANCH, REF, Writer};
pub use verify::{Against, Finding, Report};
