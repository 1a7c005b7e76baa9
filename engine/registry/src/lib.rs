//! Components in OCI registries (<https://github.com/opencontainers/distribution-spec>): found by version, pulled by digest, pushed with
//! what vouches for them. It knows nothing of runs, pipelines or the state directory. Modules in reading order:
//!
//! - `layout` — how a component lies in a registry: manifests, descriptors, media types
//! - `config` — which registries have mirrors, or other certificates
//! - `login` — user names, passwords, tokens
//! - `client` — the requests of the distribution specification
//! - `registry` — what is asked of registries: the highest version, a component, its signatures, a push
//! - `cache` — components that were pulled once

mod cache;
mod client;
mod config;
mod error;
mod layout;
mod login;
mod registry;

pub use cache::{Cache, Cached};
pub use config::{ConfigError, Registries};
pub use error::RegistryError;
pub use layout::{ATTESTATION_TYPE, About, SIGNATURE_TYPE};
pub use registry::{Attachment, Component, Pushed, Registry, Resolved, Which};
