//! Lockgate as a library: delivery pipelines that are built, checked and run from a Rust program.
//!
//! ```no_run
//! # async fn example() -> Result<(), lockgate::Error> {
//! let engine = lockgate::Engine::builder().on_event(|event| println!("{event}")).build()?;
//! let pipeline = engine.load("pipeline.toml").param("environment", "prod").check()?;
//! let report = engine.run(&pipeline).await?;
//! println!("{} {}", report.status, report.digest.unwrap_or_default());
//! # Ok(())
//! # }
//! ```
//!
//! What holds for `lockgate run` holds here: nothing that was not granted, a limit on everything, a journal from which an interrupted
//! run goes on. The same policies are in force (the machine's own, and the one that `LOCKGATE_POLICY` or
//! [`EngineBuilder::policy`] names), the lock file beside a pipeline counts by the same rules, and runs stand in the same state
//! directory, so that `lockgate show`, `approve`, `resume` and `replay` know them. Only nodes that
//! the program itself executes cannot be replayed there.
//!
//! In reading order:
//!
//! - [`Engine`], [`EngineBuilder`] — what runs pipelines, and with what
//! - [`Draft`], [`Checked`] — a pipeline from a file or from a [`Pipeline`], before and after every check
//! - [`Report`] — what came of a run
//! - [`Event`], [`What`] — what is told while it goes on
//! - [`node_kind`] — nodes that the program itself executes, `plugin = "app:<name>"`
//! - [`Pipeline`], [`Stage`] — pipelines built in Rust, with the checks of files
//! - [`Error`], [`Class`], [`Problem`] — what went wrong
//!
//! **Processes.** The engine compiles components of strangers, executes what is repeated, and starts granted programs in processes of
//! their own, for which it needs a `lockgate` binary. An embedding program names one by [`EngineBuilder::helper`]. Without it
//! components are compiled in this process, without its limits of memory and processor time; repetitions are executed in this process;
//! and a node whose grants name programs fails and says that there is nothing to start them with.
//!
//! [`wiring`] is what the `lockgate` binary is made of. It is not covered by semver.

mod builder;
mod engine;
mod error;
mod event;
pub mod node_kind;
mod pipeline;
mod report;
pub mod wiring;

pub use builder::{Approval, Canary, HealthCheck, Input, Pipeline, Stage, Wait};
pub use engine::{Assumed, Cancel, Engine, EngineBuilder};
pub use error::{Class, Error, Problem};
pub use event::{Event, What};
pub use node_kind::NodeKind;
pub use pipeline::{Checked, Draft};
pub use report::{Exported, NodeReport, Report, Status};
