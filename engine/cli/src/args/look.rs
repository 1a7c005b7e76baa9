//! Commands that look at graphs, past runs and the machine.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{FileArgs, Format, ReportArgs, StoreArgs};

/// How to draw a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// Graphviz.
    Dot,
    /// Mermaid, as many Markdown viewers draw it.
    Mermaid,
    /// A picture.
    Svg,
}

/// `lockgate graph`
#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// How to draw it
    #[arg(long, value_enum, default_value_t = GraphFormat::Dot)]
    pub(crate) format: GraphFormat,
}

/// Where the journal of past runs is.
#[derive(Debug, Clone, Args)]
pub(crate) struct StateArgs {
    /// The root of the pipelines [default: the nearest directory from here upwards that holds `.lockgate`, `.git` or
    /// `.lockgate-root`]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Where the engine keeps its state [default: `.lockgate` in the root]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// `lockgate runs`
#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// The most runs to list
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    /// Only runs that ended like this, or stand there; may be repeated
    #[arg(long, value_enum, value_name = "STATUS")]
    pub(crate) status: Vec<RunStatus>,
    /// Only runs of the pipeline with this name
    #[arg(long, value_name = "NAME")]
    pub(crate) pipeline: Option<String>,
    /// For whom to write; `json` is one run per line
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunStatus {
    /// All that counts succeeded.
    Succeeded,
    /// A node said no.
    Failed,
    /// Infrastructure kept a node from saying anything.
    Errored,
    /// It was interrupted.
    Cancelled,
    /// It waits for an approval, a time, or an answer about an effect in doubt.
    Waiting,
    /// A process drives it.
    Running,
    /// It was killed.
    Unfinished,
}

/// `lockgate diff`
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// A run: its id, the beginning of its id, or `last`
    pub(crate) run: String,
    /// Another run [default: the last good one of the same pipeline before it]
    pub(crate) other: Option<String>,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// For whom to write; `json` is one document
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `lockgate doctor`
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) state: StateArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// For whom to write; `json` is one document
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `lockgate completions`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// `lockgate show`
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The run: its id, the beginning of its id, or `last`
    pub(crate) run: String,
    /// One node of it
    pub(crate) node: Option<String>,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// Print the receipts instead, ordered by node, each with its digest, and the digests of pipeline and run: one document of
    /// canonical JSON
    #[arg(long, conflicts_with = "format")]
    pub(crate) receipts: bool,
    /// Write the run with everything that replaying it needs into one file, for `lockgate replay FILE` on another machine
    #[arg(long, value_name = "FILE", conflicts_with_all = ["format", "receipts", "node"])]
    pub(crate) bundle: Option<PathBuf>,
    /// For whom to write; `json` is one journal record per line
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) reports: ReportArgs,
}

/// `lockgate logs`
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The run: its id, the beginning of its id, or `last`
    pub(crate) run: String,
    /// One node of it [default: all, each line with its node in front]
    pub(crate) node: Option<String>,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}
