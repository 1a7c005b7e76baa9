//! Why a component cannot be used.

use std::borrow::Cow;

use lockgate_model::units::{Bytes, Millis};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a component cannot be used. Each is the user's to mend, except [`LoadError::Engine`].
#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
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
        "load it as a component: it is a core module, and neither a program (it has no `_start`) nor built for a world of WIT. Make a \
         component of it with `cargo xtask plugins`, `lockgate plugin build` or `wasm-tools component new`"
    )]
    CoreModule,
    /// A core module that cannot be adapted.
    #[error("make a component of the core module, which was built for WASI preview 1: {reason}")]
    Adapt {
        /// Why not.
        reason: String,
    },
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
    /// Compilation took too much processor time.
    #[error("compile the component within {limit} of processor time: it is too complicated")]
    CompileCpu {
        /// The limit.
        limit: Millis,
    },
    /// Compilation took too much memory.
    #[error("compile the component within {limit} of memory: it is too complicated")]
    CompileMemory {
        /// The limit.
        limit: Bytes,
    },
    /// The process that compiled it ended without an answer.
    #[error("compile the component: the process that compiles it {how}")]
    CompileCrash {
        /// How, as the rest of a sentence.
        how: String,
    },
    /// It exports none of the worlds.
    #[error("find a Lockgate world in the component: it exports {found}; {lacks}")]
    World {
        /// Its exports, for people.
        found: String,
        /// What it lacks, or has too much, as a sentence.
        lacks: String,
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
    #[error(
        "link the import{} {}: Lockgate 0.1.0 offers {offered}, and WASI 0.2 without sockets",
        if .names.len() == 1 { "" } else { "s" }, list(.names)
    )]
    UnknownImport {
        /// Their names.
        names: Vec<String>,
        /// What there is.
        offered: String,
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
        what: Cow<'static, str>,
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
        field: Cow<'static, str>,
    },
    /// A manifest that breaks a rule.
    #[error("accept the plugin's manifest: {reason}")]
    Manifest {
        /// Which.
        reason: String,
    },
    /// The engine itself failed: infrastructure.
    #[error("load the component: {0:#}")]
    Engine(#[serde(serialize_with = "to_text", deserialize_with = "from_text")] wasmtime::Error),
}

impl LoadError {
    /// The compiler's words, cut: names of a component may be as long as the component.
    pub(super) fn invalid(error: &wasmtime::Error) -> Self {
        Self::Invalid { reason: words(error) }
    }

    /// What to do next, where more can be said than what is wrong.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::CoreModule => Some(
                "for a module whose toolchain knows nothing of components: `wasm-tools component embed wit/0.1.0 --world stage core.wasm \
                 -o embedded.wasm`, then `wasm-tools component new embedded.wasm -o plugin.wasm`",
            ),
            Self::World { .. } | Self::Export { .. } | Self::ImportType { .. } => Some(
                "generate its bindings anew from `wit/0.1.0` of this engine's sources, and build it again: `lockgate plugin build`",
            ),
            Self::CompileTime { .. }
            | Self::CompileCpu { .. }
            | Self::CompileMemory { .. }
            | Self::CompileCrash { .. } => Some(
                "components that people write compile within seconds; do not use it unless you know what is in it, or make it smaller",
            ),
            Self::UnknownImport { .. } => Some(
                "build it without them; or, if it imports them without ever calling them, as some languages always do, say \
                 `missing_imports = \"trap\"` beside its path in `[plugins]`, or `--trap-missing-imports` on the command line",
            ),
            _ => None,
        }
    }

    /// Whether the engine's surroundings are to blame, not the component.
    pub fn is_infrastructure(&self) -> bool {
        matches!(self, Self::Engine(_))
    }
}

/// Longest reason in characters.
const MAX_REASON: usize = 2_000;

/// An error's own words, cut.
pub(super) fn words(error: &wasmtime::Error) -> String {
    let mut text = format!("{error:#}");
    if let Some((end, _)) = text.char_indices().nth(MAX_REASON) {
        text.truncate(end);
        text += " ...";
    }
    text
}

fn to_text<S: Serializer>(error: &wasmtime::Error, serializer: S) -> Result<S::Ok, S::Error> {
    words(error).serialize(serializer)
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<wasmtime::Error, D::Error> {
    String::deserialize(deserializer).map(wasmtime::Error::msg)
}

fn list(names: &[String]) -> String {
    let shown: Vec<_> =
        names.iter().take(10).map(|name| format!("`{}`", name.chars().take(100).collect::<String>())).collect();
    let rest = names.len().saturating_sub(10);
    shown.join(", ") + &if rest > 0 { format!(" and {rest} more") } else { String::new() }
}
