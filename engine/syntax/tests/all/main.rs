//! Tests of the crate from outside: golden pairs, the JSON Schema, manifests, hostile files.

mod fixtures;
mod golden;
mod hostile;
mod schema;
