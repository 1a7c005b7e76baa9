//! Bundles: one run with everything that replaying it needs, as one file, for another machine or another year.
//!
//! A bundle, version 1, is a tar archive (GNU headers) compressed as one zstd frame with a checksum. It holds regular files
//! only, each once, in exactly this order:
//!
//! ```text
//! bundle.json      {"engine":ENGINE,"format":"lockgate-bundle","records":COUNT,"run":RUN,"version":1}, canonical JSON
//! records.jsonl    the run's journal records in order, one a line:
//!                  {"body":BODY,"hash":"sha256:HASH","prev":"sha256:PREV","run":RUN,"seq":SEQ,"time":TIME,"version":1}
//! blobs/HEX        each blob that the records name, also from inside of trees and effects, sorted by its digest
//! trees/HEX        each directory object that they name, likewise
//! ```
//!
//! Nothing in it tells where or when it was made: one run gives the same bytes each time. A record's hash is that of
//! [`crate::record`]; what lies between two of its records in the journal of the machine belongs to other runs and is not there.
//!
//! Reading one trusts nothing: names are compared with what must come, never used as paths; every digest is computed again;
//! what no record names is refused, and so is a bundle that lacks something.

mod read;
mod references;
#[cfg(test)]
mod tests;
mod write;

use lockgate_model::RunId;
use serde::{Deserialize, Serialize};

use crate::state::StoreError;

/// Version of the format.
const VERSION: u32 = 1;
/// What `format` says.
const FORMAT: &str = "lockgate-bundle";
/// Names of the entries.
const HEAD: &str = "bundle.json";
const RECORDS: &str = "records.jsonl";

/// The first entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
    run: RunId,
    engine: String,
    records: u64,
}

/// How much a bundle may hold. What a hostile one can make the reader write to disk or keep in memory ends here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleLimits {
    /// Bytes of all entries, uncompressed. Default 64 GiB: sources and outputs of a large release, several times.
    pub bytes: u64,
    /// Entries. Default 4 million: four trees of the largest permitted size without one file in common.
    pub entries: u64,
    /// Bytes of the records, which stand in memory. Default 512 MiB: a run of 100,000 nodes has a fifth of it.
    pub records: u64,
}

impl Default for BundleLimits {
    fn default() -> Self {
        Self { bytes: 64 << 30, entries: 4_000_000, records: 512 << 20 }
    }
}

/// Why a bundle is not written or not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The state directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file that is written.
    #[error("write the bundle")]
    Write(#[source] std::io::Error),
    /// It is no bundle at all.
    #[error("use it as a bundle: {0}")]
    NotABundle(String),
    /// A newer engine wrote it.
    #[error("use the bundle: it has version {found}, this lockgate knows versions up to {VERSION}")]
    Newer {
        /// Its version.
        found: u32,
    },
    /// Something in it is not as it must be: torn, altered, hostile.
    #[error("accept the bundle: {0}")]
    Refused(String),
}
