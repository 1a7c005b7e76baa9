//! What the end-to-end tests and the benchmarks share: the real `lockgate` binary, projects in temporary directories, loopback
//! servers that misbehave, and components made by hand. The tests themselves live in `e2e/`, the guests in `guests/`.
//!
//! In reading order: [`binary`] finds what was built, [`project`] runs it, [`done`] looks at what came of it, [`server`] is the
//! other end of `http`, [`registry`] keeps components, [`browser`] looks at pages, [`book`] follows those of `docs`, [`tools`] compilers of other languages, [`bundle`] alters past runs, [`otlp`] what a collector understands, [`handmade`] are components that no SDK would make, [`graph`] is what engines are measured with, [`usage`]
//! how, [`hostile`] are the plugins that try everything, [`embedded`] is the engine as a library, [`fuzz`] what reads bytes
//! of others.
//!
//! How to add a case: a mistake in a pipeline file is a line of the table in `e2e/files.rs`, a way in which a guest misbehaves an arm
//! of `guests/misbehave` and a line of the table in `e2e/guests.rs`, a wrong component a few lines of [`handmade`] in
//! `e2e/components.rs`. Every case asserts exit code, message and [`Project::assert_usable`]: nothing lost.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends by panicking")]

pub mod binary;
pub mod book;
pub mod browser;
pub mod bundle;
pub mod done;
pub mod embedded;
#[path = "../fuzz/mod.rs"]
pub mod fuzz;
pub mod graph;
pub mod handmade;
#[path = "../hostile/mod.rs"]
pub mod hostile;
pub mod otlp;
pub mod project;
pub mod registry;
pub mod server;
pub mod tools;
pub mod usage;

pub use bundle::Bundle;
pub use done::Done;
pub use project::{Project, Running};
pub use server::{Answer, Server};
