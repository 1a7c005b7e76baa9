//! The encrypted store of secrets: a directory with one age file (<https://age-encryption.org/v1>) for each environment, and beside it
//! the identity that opens them. It knows nothing of runs, pipelines or the state directory. Modules in reading order:
//!
//! - `store` — what can be done with a store: set, read, list, remove, change the identity
//! - `sealed` — what stands inside of a file, and its encryption
//! - `identity` — the private key's file
//! - `disk` — private directories, whole files or none, the lock

mod disk;
mod identity;
mod sealed;
mod store;

pub use sealed::{KEPT, MAX_VALUE, MIN_VALUE, Value, ValueError};
pub use store::{Added, Found, Keyring, Listed, Made, Removed, SecretStore, SecretStoreError, Version};
