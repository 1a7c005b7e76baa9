//! What a plugin takes and gives, beyond one pipeline: its config as rows for people, what changed from one version to the next, and
//! whether pipelines that use the one could use the other. Modules in reading order: `plain` (a schema without references), `rows` (as a
//! table), `changes` (two plugins beside each other), `subsume` (whether a schema takes all that another takes), `compatible` (whether a
//! plugin can take another's place).

mod changes;
mod compatible;
mod plain;
mod rows;
mod subsume;

pub use changes::{Change, changes};
pub use compatible::compatible;
pub use rows::{Row, rows};
pub use subsume::subsumes;

/// Why what fits an old plugin may not fit a new one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Obstacle {
    /// Where: `config.format`, `input src`, `effects`, `world`.
    pub path: String,
    /// What, as a sentence without its subject: `is now required`.
    pub reason: String,
    /// Whether it is certain. Otherwise it cannot be told.
    pub breaks: bool,
}

impl Obstacle {
    fn breaks(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into(), breaks: true }
    }

    fn unknown(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into(), breaks: false }
    }
}
