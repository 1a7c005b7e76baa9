//! Keys, signatures and statements: who vouches for a plugin, a run, a journal.
//!
//! Everything is an in-toto statement in a DSSE envelope, signed with ed25519, so that tools of others can read it. What this crate
//! never does: no I/O, no clock, no randomness; times, seeds and bytes are arguments. What is read of others has limits, and the
//! worst that it can be is an error. Modules in reading order:

pub mod key;

pub mod dsse;
pub mod statement;

pub mod plugin;
pub mod roots;

pub mod provenance;
pub mod rebuild;

pub mod head;

pub use dsse::Envelope;
pub use key::{KeyId, PublicKey, SecretKey};
pub use roots::{Accepted, Refusal, Revoked, Signer};
pub use statement::Statement;
