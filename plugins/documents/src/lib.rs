//! TOML, JSON and YAML as one kind of document that knows its places. A library for plugins that read such files; each component
//! carries only the readers that it calls.
//!
//! In reading order: [`document`] (the common form), [`read`] (the formats' readers), [`toml`] (the tables of one of them).

pub mod document;
pub mod read;
pub mod toml;

pub use document::{Document, Number, Place, Problem, Value};
pub use read::{Format, Limits};
