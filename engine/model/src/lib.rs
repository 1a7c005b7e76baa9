//! Data and pure transitions of Lockgate: ids, pipelines, graphs, artifacts, receipts, run states.
//!
//! What this crate never does: no I/O, no async runtime, no wasmtime, no clock, no randomness. Everything else may depend
//! on it. Modules in reading order:

pub mod artifact;
pub mod canonical;
pub mod command;
pub mod digest;
pub mod effect;
pub mod event;
pub mod expr;
pub mod grant;
pub mod graph;
pub mod graph_results;
pub mod id;
pub mod key;
pub mod limits;
pub mod lock;
pub mod manifest;
pub mod observation;
pub mod oci;
pub mod outcome;
pub mod pipeline;
pub mod policy;
pub mod receipt;
pub mod run;
pub mod task;
mod text;
pub mod time;
pub mod units;

pub use canonical::canonical_json;
pub use digest::Digest;
pub use id::{NodeId, PluginAlias, PortName, RunId};
