//! The sandbox: components, limits, grants, effects. The only crate that knows wasmtime.
//!
//! [`Host::load`] makes a [`Plugin`] of a component's bytes, [`Host::call`] runs it once, in a store of its own. What this
//! crate never does: it opens no file but those of the directories that programs work in, prints nothing, and gives a guest nothing that is not in its task. Modules in reading
//! order:

mod bindings;
mod call;
mod contract;
mod engine;
mod exchange;
mod host;
mod imports;
mod load;
mod manifest;
mod outcome;
mod ports;
mod process;
mod profile;
mod schedule;
mod secret;
mod state;
mod turns;
mod wasi;

pub use contract::{CONTRACT, Import, Meaning};
pub use engine::determinism;
pub use host::{Host, HostError, HostOptions};
pub use load::{Inspection, LoadError, Missing, Plugin, Prepared, decode, encode};
pub use ports::{
    Artifacts, Asked, AskedHttp, AskedProcess, AskedTcp, BlobWriter, CodeCache, Compiler, Effects, EffectsError,
    NoCache, NoEffects, Scratch,
};
pub use process::{Launcher, Support, confine, support};
pub use profile::Profile;
pub use secret::{SecretError, Secrets};
pub use state::Log;
