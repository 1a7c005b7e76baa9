//! The sandbox against real components: what loads and what does not, every limit, artifacts, HTTP, worlds, determinism.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests, outside of `#[test]` functions")]

mod artifacts;
mod determinism;
mod guest;
mod http;
mod limits;
mod load;
mod verdicts;
mod world;
