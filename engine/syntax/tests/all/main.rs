//! Tests of the crate from outside: golden pairs, the JSON Schema, manifests, hostile files.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

mod fixtures;
mod golden;
mod hostile;
mod schema;
