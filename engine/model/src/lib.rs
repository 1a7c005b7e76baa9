//! Data and pure transitions of Lockgate: ids, pipelines, graphs, artifacts, receipts, run states.
//!
//! What this crate never does: no I/O, no async runtime, no wasmtime, no clock, no randomness. Everything else may depend
//! on it. Modules in reading order:

pub mod digest;
pub mod id;
pub mod units;
pub mod limits;
pub mod grant;
pub mod expr;
pub mod manifest;
pub mod pipeline;
pub mod graph;
pub mod artifact;
pub mod observation;
pub mod outcome;
pub mod task;
pub mod key;
pub mod receipt;
pub mod effect;
pub mod event;
pub mod run;

pub use digest::{Digest, canonical_json};
pub use id::{NodeId, PluginAlias, PortName, RunId};
