//! `lockgate plugin test`, `profile`, `inspect`, `diff` and `check`: their options.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

use super::{Format, GivenArgs};

pub(super) const TEST_HELP: &str = "\
Examples:
  lockgate plugin test
  lockgate plugin test plugins/scan --case empty --update
  lockgate plugin test plugins/pack=std:pack --junit cases.xml

A case is a folder `cases/<name>` with a `case.toml`, which may be empty; `lockgate schema case` prints its schema. Files and directories
of its folder `inputs` are inputs, those of `expected/outputs` are outputs as they must be, `expected/result.json` is the rest of the
result. Each case runs twice in the sandbox, with recorded answers and without a network.

The exit code is 1 if a case is not as expected, 4 if two executions of one differ, and 2 if a case cannot be read.";

/// `lockgate plugin test`
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// A plugin's folder, with its component in `target/lockgate`; a component's file below such a folder; or FOLDER=COMPONENT
    #[arg(value_name = "TARGET", default_value = ".")]
    pub(crate) targets: Vec<String>,
    /// Only this case; may be repeated
    #[arg(long = "case", value_name = "NAME")]
    pub(crate) cases: Vec<String>,
    /// Make the golden files say what comes of the cases now; look at the difference before you keep it
    #[arg(long)]
    pub(crate) update: bool,
    /// Write a JUnit report to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// For whom to write
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

pub(super) const PROFILE_HELP: &str = "\
Examples:
  lockgate plugin profile plugins/scan --case large
  lockgate plugin profile std:pack --input src=. --output pack.svg
  lockgate plugin profile scan.wasm --config @config.json --format json | jq '.functions[:5]'

Sampled is by fuel, not by time: the same call gives the same profile on every machine. Written are a flame graph, and beside it, as
FILE.memory.svg, the memory in use over the fuel spent. Names come from the component's name section: build it without stripping them.
Nothing is sent: a plugin that asks for effects is profiled by a case with recorded answers.";

/// `lockgate plugin profile`
#[derive(Debug, Args)]
pub(crate) struct ProfileArgs {
    /// With --case what `plugin test` takes; else a component's file, or `std:<name>`
    #[arg(value_name = "TARGET", default_value = ".")]
    pub(crate) target: String,
    /// The case that is executed
    #[arg(long, value_name = "NAME", conflicts_with_all = ["config", "inputs", "json_inputs", "env", "fuel", "memory"])]
    pub(crate) case: Option<String>,
    #[command(flatten)]
    pub(crate) given: GivenArgs,
    /// Fuel for the call, as in `500M`
    #[arg(long, value_name = "FUEL")]
    pub(crate) fuel: Option<lockgate_model::units::Fuel>,
    /// Memory, as in `256MiB`
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory: Option<lockgate_model::units::Bytes>,
    /// Fuel between two samples, as in `10K` [default: what gives some thousand samples]
    #[arg(long, value_name = "FUEL")]
    pub(crate) interval: Option<lockgate_model::units::Fuel>,
    /// Where the flame graph goes
    #[arg(long, value_name = "FILE", default_value = "profile.svg")]
    pub(crate) output: PathBuf,
    /// For whom to write
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// For whom a component is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InspectFormat {
    /// For people.
    Human,
    /// JSON for programs.
    Json,
    /// Markdown for documentation.
    Markdown,
}

/// `lockgate plugin inspect`
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A component's file, `std:<name>`, or `oci:<host>/<name>:<tag>`
    pub(crate) component: String,
    /// For whom to write
    #[arg(long, value_enum, default_value_t = InspectFormat::Human)]
    pub(crate) format: InspectFormat,
}

/// `lockgate plugin diff`
#[derive(Debug, Args)]
pub(crate) struct PluginDiffArgs {
    /// The older component: a file, or `std:<name>`
    pub(crate) old: String,
    /// The newer one
    pub(crate) new: String,
    /// For whom to write
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

pub(super) const CHECK_HELP: &str = "\
Example:
  lockgate plugin check target/lockgate/scan.wasm --against scan-1.4.0.wasm

Compared are the config's schema (whatever the older one takes must be taken), inputs, outputs, the effects asked for and the world. The
exit code is 1 if a pipeline that uses the older plugin could break, and also if that cannot be told; each place is named.";

/// `lockgate plugin check`
#[derive(Debug, Args)]
pub(crate) struct PluginCheckArgs {
    /// The component: a file, or `std:<name>`
    pub(crate) component: String,
    /// The one whose place it takes
    #[arg(long, value_name = "OLD")]
    pub(crate) against: String,
    /// For whom to write
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}
