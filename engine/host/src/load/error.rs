//! Why a component cannot be used.

use lockgate_model::units::{Bytes, Millis};

/// Why a component cannot be used. Each is the user's to mend, except [`LoadError::Engine`].
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// More bytes than permitted.
    #[error("load a component of {size}: at most {limit} are permitted")]
    TooLarge {
        /// Its size.
        size: Bytes,
        /// The limit.
        limit: Bytes,
    },
    /// Not WebAssembly at all.
    #[error("load it as a component: it is no WebAssembly ({found})")]
    NotWasm {
        /// What its first bytes look like.
        found: String,
    },
    /// A core module.
    #[error(
        "load it as a component: it is a core module. Make a component of it with `cargo xtask plugins`, \
         `lockgate plugin build` or `wasm-tools component new`"
    )]
    CoreModule,
    /// Broken or unsupported WebAssembly, a cut file for instance.
    #[error("compile the component: {reason}")]
    Invalid {
        /// The compiler's words.
        reason: String,
    },
    /// Compilation took too long.
    #[error("compile the component within {limit}: it is too complicated")]
    CompileTime {
        /// The limit.
        limit: Millis,
    },
    /// It exports none of the worlds.
    #[error(
        "find a Lockgate world in the component: it exports {found}; expected `describe` and one of `run`, `check`, `evaluate`"
    )]
    World {
        /// Its exports, for people.
        found: String,
    },
    /// An export of a world has another type.
    #[error("use the export `{export}`: {reason}")]
    Export {
        /// Its name.
        export: String,
        /// What differs.
        reason: String,
    },
    /// It imports what the contract does not have.
    #[error("link the import{} {}: Lockgate 0.1.0 offers {offered}", if .names.len() == 1 { "" } else { "s" }, list(.names))]
    UnknownImport {
        /// Their names.
        names: Vec<String>,
        /// What there is.
        offered: String,
    },
    /// It imports WASI.
    #[error(
        "link the WASI import{} {}: plugins that use WASI come with a later version. Build it without, for \
         `wasm32-unknown-unknown` for instance, or stub WASI out", if .names.len() == 1 { "" } else { "s" }, list(.names)
    )]
    Wasi {
        /// Their names.
        names: Vec<String>,
    },
    /// It imports something of the contract with another type.
    #[error("link the component's imports: {reason}")]
    ImportType {
        /// What differs.
        reason: String,
    },
    /// It needs more instances, memories or tables than any component may have.
    #[error("load a component with {count} {what}: at most {limit} are permitted")]
    TooMany {
        /// `core instances`, `memories` or `tables`.
        what: &'static str,
        /// How many.
        count: u64,
        /// The limit.
        limit: u64,
    },
    /// `describe` did not answer.
    #[error("ask the plugin what it is: `describe` {reason}")]
    Describe {
        /// How it ended.
        reason: String,
    },
    /// `describe` gave two answers.
    #[error(
        "ask the plugin what it is: `describe` must answer the same each time, and its {field} differs from one call to the next"
    )]
    Unstable {
        /// What differs.
        field: &'static str,
    },
    /// A manifest that breaks a rule.
    #[error("accept the plugin's manifest: {reason}")]
    Manifest {
        /// Which.
        reason: String,
    },
    /// The engine itself failed: infrastructure.
    #[error("load the component: {0:#}")]
    Engine(wasmtime::Error),
}

impl LoadError {
    /// Whether the engine's surroundings are to blame, not the component.
    pub fn is_infrastructure(&self) -> bool {
        matches!(self, Self::Engine(_))
    }
}

fn list(names: &[String]) -> String {
    let shown: Vec<_> =
        names.iter().take(10).map(|name| format!("`{}`", name.chars().take(100).collect::<String>())).collect();
    let rest = names.len().saturating_sub(10);
    shown.join(", ") + &if rest > 0 { format!(" and {rest} more") } else { String::new() }
}
