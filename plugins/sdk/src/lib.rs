//! What makes a Lockgate plugin in Rust short.
//!
//! A plugin is a type that implements [`Stage`], [`HealthCheck`] or [`CanaryEvaluator`], and one line that exports it. This is
//! a complete one:
//!
//! ```
//! use lockgate_sdk::prelude::*;
//!
//! /// What may stand in the sources.
//! #[config]
//! #[serde(default)]
//! struct Config {
//!     /// Marks that are found.
//!     marks: Vec<String>,
//! }
//!
//! impl Default for Config {
//!     fn default() -> Self {
//!         Self { marks: vec!["FIXME".into()] }
//!     }
//! }
//!
//! struct Marks;
//!
//! impl Stage for Marks {
//!     type Config = Config;
//!     const ABOUT: About = about!("Finds marks in a source tree.").inputs(&[Port::tree("src", "where to look")]);
//!
//!     fn run(config: Config) -> Result<Findings> {
//!         let (tree, mut findings) = (input("src")?.tree()?, Findings::new());
//!         for file in tree.files() {
//!             for (line, text) in tree.read_text(&file.path)?.lines().enumerate() {
//!                 for mark in config.marks.iter().filter(|mark| text.contains(mark.as_str())) {
//!                     findings.push(Finding::warning(format!("`{mark}`")).at(&file.path, line + 1));
//!                 }
//!             }
//!         }
//!         Ok(findings)
//!     }
//! }
//!
//! export_stage!(Marks);
//!
//! # fn main() {
//! let outcome = lockgate_sdk::testing::Harness::new().tree("src", [("a.rs", "fine\n// FIXME\n")]).run::<Marks>("{}");
//! assert_eq!(outcome.findings()[0].line, Some(2));
//! # }
//! ```
//!
//! The same function runs natively in `cargo test`: see [`testing`]. A plugin imports exactly the host interfaces whose
//! functions it calls, and so asks for exactly those.
//!
//! Modules in reading order: [`plugin`] (traits, manifest, export macros), [`error`](mod@error), [`finding`], [`artifact`] (inputs and
//! outputs), [`http`], [`tcp`], [`process`], [`secrets`], [`clock`], [`env`](mod@env), [`log`](mod@log), [`evaluation`] (observations and verdicts), [`json`] (a parser that
//! knows places), [`testing`].

pub mod artifact;
pub mod clock;
mod config;
pub mod env;
pub mod error;
pub mod evaluation;
pub mod finding;
#[cfg(all(target_arch = "wasm32", feature = "heap"))]
mod heap;
pub mod http;
pub mod json;
pub mod log;
pub mod plugin;
pub mod process;
pub mod secrets;
pub mod tcp;

#[cfg(not(target_arch = "wasm32"))]
#[path = "native.rs"]
mod backend;
#[cfg(target_arch = "wasm32")]
#[path = "guest.rs"]
mod backend;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

// `#[config]` writes `::lockgate_sdk`, here too.
extern crate self as lockgate_sdk;

pub use lockgate_sdk_macros::config;
#[doc(hidden)]
pub use {schemars, serde, serde_json};

pub use artifact::{Entry, EntryKind, Input, Kind, Output, Reader, Tree, TreeBuilder, Writer, input, inputs, output};
pub use error::{Context, Error, Result};
pub use evaluation::{Figure, Judgement, Observation, Sample, State, Verdict};
pub use finding::{Finding, Findings, Severity};
pub use plugin::{About, CanaryEvaluator, Health, HealthCheck, HealthStatus, Look, Port, PortKind, Stage};

/// Stands for an effect's idempotency key in what is sent: in values of headers, in bodies, over connections. The engine puts the key in its
/// place when it sends; the same one where it sends again after a crash, so that the other side can tell.
pub const IDEMPOTENCY_KEY: &str = "{{lockgate:idempotency-key}}";

/// What a plugin usually needs.
pub mod prelude {
    pub use crate::artifact::{Entry, EntryKind, Input, Kind, Output, Reader, Tree, TreeBuilder, Writer};
    pub use crate::artifact::{input, inputs, output};
    pub use crate::error::{Context, Error, Result};
    pub use crate::evaluation::{Figure, Judgement, Observation, Sample, State, Verdict};
    pub use crate::finding::{Finding, Findings, Severity};
    pub use crate::plugin::{About, CanaryEvaluator, Health, HealthCheck, HealthStatus, Look, Port, PortKind, Stage};
    pub use crate::{about, bail, config, debug, ensure, error, info, trace, warn};
    pub use crate::{export_canary_evaluator, export_health_check, export_stage};
    pub use std::io::{BufRead, Read, Write};
}
