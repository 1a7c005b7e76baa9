//! Runs a pipeline: a pure planner decides, a thin driver does. How a node is executed, it knows only as a trait.
//!
//! What this crate never does: it names no wasmtime, prints nothing, and asks no clock but the one that it is given. Entry:
//! [`drive()`]. Modules in reading order:

mod attempt;
mod blocking;
mod compare;
mod drive;
pub mod executor;
mod facts;
mod flight;
mod forecast;
mod gates;
mod inputs;
mod judge;
mod made;
mod part;
pub mod plan;
pub mod ports;
mod recover;
pub mod replay;
mod run_id;
pub mod spec;
mod stored;
#[cfg(test)]
mod tests;
mod whole;
mod writer;

pub use compare::{Difference, differences};
pub use drive::{drive, resume};
pub use executor::{EffectSink, Executor, SinkError};
pub use forecast::{Foreseen, Prospect, Sources, forecast, forecast_resumed};
pub use part::{Absent, Taken};
pub use ports::{
    BlobError, Blobs, Cache, Cached, Clock, Earlier, Interrupt, JournalError, JournalSink, LastEnd, NoObserver, Notice,
    Observer, Stamped, SystemClock,
};
pub use recover::{Recovered, recover};
pub use replay::{Left, Past, Replayed, Replayer};
pub use run_id::{entropy, run_id};
pub use spec::{DriveError, DriveOptions, RunReport, RunSpec, Surroundings};
pub use stored::EarlierRuns;
