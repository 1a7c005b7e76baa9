//! Artifacts by digest, snapshots, exports and the journal: the only crate that knows a disk.
//!
//! What a state directory (`.lockgate/`) holds:
//!
//! ```text
//! state.db            SQLite, WAL: journal, its indexes (runs, action cache, graphs), artifacts of at most 16 KiB, hashes of the host's files,
//!                     highest versions of signed plugins
//! blobs/ab/<hex>      larger blobs, under the sha-256 of their bytes
//! trees/ab/<hex>      larger directory objects, under their tree digest
//! code/<hex>          compiled components and manifests: a cache, each file with its own checksum
//! locks/<name>         locked by the process that drives a run, or has a group
//! damaged/<hex>       artifacts that were found damaged
//! gc.lock             locked shared by those who write, exclusively by the one who collects garbage
//! tmp/<name>/         unfinished files, one directory a process, locked while it lives
//! ```
//!
//! What this crate never does: read a clock, run a guest, follow a link out of a root, hand out bytes that do not have the
//! digest they are known by. Modules in reading order:

mod actions;
mod audit;
mod blob;
mod bundle;
mod code;
mod compare;
mod disk;
mod export;
mod files;
mod filter;
mod gc;
mod git;
mod graphs;
mod hold;
mod journal;
mod pending;
mod record;
mod schema;
mod seen;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod tree;
mod whole;

pub use actions::Proof;
pub use audit::{Audit, AuditProblem, Expected};
pub use blob::{BlobReader, BlobWriter};
pub use bundle::{BundleError, BundleLimits};
pub use compare::Change;
pub use export::{ExportError, Exported};
pub use gc::{GcOptions, GcReport};
pub use git::{GitError, git_facts};
pub use hold::{GroupHold, Hold};
pub use journal::{Entry, RunSummary};
pub use record::{Record, RecordProblem};
pub use seen::Seen;
pub use snapshot::{Reason, SnapshotError, SnapshotProblem};
pub use state::{Store, StoreError};
pub use tree::{MAX_TREE_ENTRIES, Walk};
