//! How the crates of the engine are joined, for the `lockgate` binary and the engine's own tests. Not covered by semver: it changes
//! with them. Programs that embed Lockgate use what stands in the crate's root. Modules in reading order:
//!
//! - [`place`], [`load`], [`std_plugins`] — from a file to a checked pipeline with its plugins; [`prepare`] — to a run
//! - [`registry`] — components from registries: where they are kept, which one is meant
//! - [`trust`], [`lock`], [`vouched`], [`signatures`] — whether plugins are those of the lock file, and who vouches for them
//! - [`policy`] — what the operator allows
//! - [`executor`] — what joins runner, host and store; [`child`] — executions in another process, [`compiler`] — compiling there;
//!   [`components`] — their bytes
//! - [`secrets`] — the values of secrets, [`secret_store`] — those that lie encrypted on this machine
//! - [`past`] — runs out of the journal; [`resume`], [`mend`] — what going on with one takes; [`inbox`] — what is said about one
//! - [`group`] — of the runs of one group one goes on at a time
//! - [`export`] — what goes out at the end
//! - [`notices`], [`text`] — what is told meanwhile, and how

pub mod child;
pub mod compiler;
pub mod components;
pub mod executor;
pub mod export;
pub mod group;
pub mod inbox;
pub mod load;
pub mod lock;
pub mod mend;
pub mod notices;
pub mod past;
pub mod place;
pub mod policy;
pub mod prepare;
pub mod registry;
pub mod resume;
pub mod secret_store;
pub mod secrets;
pub mod signatures;
pub mod std_plugins;
pub mod text;
pub mod trust;
pub mod vouched;
