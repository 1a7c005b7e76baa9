//! How components are made: what compiles them, what makes components of core modules, how a project for one begins. Shared by
//! `cargo xtask`, which builds the guests of this repository, and by `lockgate plugin`, which builds those of others.
//!
//! It prints nothing: what is going on is told to a callback, [`Progress`]. It knows no wasmtime and runs no component. Modules in
//! reading order: [`error`] what goes wrong, [`program`] other programs, [`rust`] compilers for Rust, [`component`] from a core
//! module to a component, [`pins`] versions of tools; and for projects, by the feature `projects`: `contract` what a component is held
//! against, `project` a plugin's folder, `build` from there to a component, `declarations` types for TypeScript, `scaffold` new folders
//! with the SDK by `sdk`, `watch` what is saved.

#[cfg(feature = "projects")]
pub mod build;
pub mod component;
#[cfg(feature = "projects")]
pub mod contract;
#[cfg(feature = "projects")]
pub mod declarations;
pub mod error;
pub mod pins;
pub mod program;
#[cfg(feature = "projects")]
pub mod project;
pub mod rust;
#[cfg(feature = "projects")]
pub mod scaffold;
#[cfg(feature = "projects")]
mod sdk;
#[cfg(feature = "projects")]
pub mod watch;

pub use error::ToolchainError;
pub use program::{Happening, Progress};
