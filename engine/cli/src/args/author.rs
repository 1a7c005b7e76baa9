//! `lockgate plugin new` and `build`: from an idea to a component.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lockgate_model::manifest::World;
use lockgate_toolchain::project::Language;

use super::Format;

pub(super) const NEW_HELP: &str = "\
Examples:
  lockgate plugin new line-count --lang rust
  lockgate plugin new is-up --lang ts --world health-check --directory plugins/is-up

The folder has source, manifest, README, test cases and a pipeline, and builds at once with `lockgate plugin build`.";

pub(super) const BUILD_HELP: &str = "\
Examples:
  lockgate plugin build
  lockgate plugin build plugins/is-up --output is-up.wasm --format json
  lockgate plugin build --watch --run pipeline.toml

The component goes to target/lockgate/<name>.wasm, whatever the language. A tool that is missing is named with the command that installs
it (exit code 2).";

/// `lockgate plugin new`
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The plugin's name: lower-case letters, digits and `-`
    pub(crate) name: String,
    /// What to write it in
    #[arg(long, value_enum)]
    pub(crate) lang: Lang,
    /// What it is to be
    #[arg(long, value_enum, default_value_t = WorldName::Stage)]
    pub(crate) world: WorldName,
    /// Where to: a folder that does not exist or is empty [default: the name]
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Use the Rust SDK of this checkout of Lockgate instead of writing its sources into the project
    #[arg(long, value_name = "PATH")]
    pub(crate) sdk: Option<PathBuf>,
}

/// `lockgate plugin build`
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The plugin's folder
    #[arg(default_value = ".")]
    pub(crate) directory: PathBuf,
    /// Write the component here instead
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Compile quickly, for code that is slow and large (Rust and C)
    #[arg(long)]
    pub(crate) debug: bool,
    /// For whom to write
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// Build again when a file of the folder is saved, and run its cases, until interrupted
    #[arg(long)]
    pub(crate) watch: bool,
    /// Run this pipeline after each build whose cases passed
    #[arg(long, value_name = "FILE", requires = "watch")]
    pub(crate) run: Option<PathBuf>,
}

/// A language, as options name it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Lang {
    /// Rust, by cargo and the SDK
    Rust,
    /// JavaScript, in QuickJS
    Js,
    /// TypeScript, in QuickJS
    Ts,
    /// Python, in CPython
    Python,
    /// C, without a C library
    C,
    /// Go
    Go,
}

impl From<Lang> for Language {
    fn from(lang: Lang) -> Self {
        match lang {
            Lang::Rust => Self::Rust,
            Lang::Js => Self::JavaScript,
            Lang::Ts => Self::TypeScript,
            Lang::Python => Self::Python,
            Lang::C => Self::C,
            Lang::Go => Self::Go,
        }
    }
}

/// A world, as options name it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum WorldName {
    /// Makes outputs of inputs
    Stage,
    /// Says whether something is healthy
    HealthCheck,
    /// Judges an observation of a baseline and a canary
    CanaryEvaluator,
}

impl From<WorldName> for World {
    fn from(name: WorldName) -> Self {
        match name {
            WorldName::Stage => Self::Stage,
            WorldName::HealthCheck => Self::HealthCheck,
            WorldName::CanaryEvaluator => Self::CanaryEvaluator,
        }
    }
}
