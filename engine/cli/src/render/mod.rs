//! Everything that people and programs see. Pure text first, writers last. In reading order:
//!
//! - [`style`] — colour, and cleaning of text that a guest wrote
//! - [`table`] — columns
//! - [`diagnostics`] — problems of a pipeline file
//! - [`plan`] — what would run
//! - [`report`], [`verdict`], [`findings`], [`summary`] — what became of a node and of a run
//! - [`watch`], [`human`], [`live`], [`json`], [`github`] — a run while it goes on
//! - [`replay`] — what a replay came to
//! - [`step_summary`], [`junit`], [`sarif`], [`page`] — a run that is over, for CI services and browsers
//! - [`difference`] — two runs
//! - [`plugin`] — a component; [`cases`], [`profile`] — the tests of plugins, and where their fuel goes
//! - [`graph`], [`svg`] — the graph of a pipeline
//! - [`output`] — stdout and stderr

pub(crate) mod cases;
pub(crate) mod decision;
pub(crate) mod diagnostics;
pub(crate) mod difference;
pub(crate) mod findings;
pub(crate) mod github;
pub(crate) mod graph;
pub(crate) mod human;
pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod live;
pub(crate) mod output;
pub(crate) mod page;
pub(crate) mod plan;
pub(crate) mod plugin;
pub(crate) mod profile;
pub(crate) mod replay;
pub(crate) mod report;
#[cfg(test)]
pub(crate) mod samples;
pub(crate) mod sarif;
pub(crate) mod step_summary;
pub(crate) mod style;
pub(crate) mod summary;
pub(crate) mod svg;
pub(crate) mod table;
pub(crate) mod verdict;
pub(crate) mod watch;
