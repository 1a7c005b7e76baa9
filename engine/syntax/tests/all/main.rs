//! Tests of the crate from outside: golden pairs, the JSON Schemas, manifests, policies, hostile files.

#![expect(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

mod cases;
mod contract;
mod fixtures;
mod golden;
mod hostile;
mod locked;
mod policies;
mod schema;
