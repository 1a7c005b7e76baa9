//! The command line: every command, option and help text. What is read here is typed; nothing is done here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lockgate::wiring::load::Loaded;
use lockgate_model::units::Millis;

mod author;
mod cases;
mod look;
mod plugin;
mod policy;
mod registry;
mod secret;
mod trust;

pub(crate) use self::author::{BuildArgs, NewArgs};
pub(crate) use self::cases::*;
pub(crate) use self::look::*;
pub(crate) use self::plugin::*;
pub(crate) use self::policy::*;
pub(crate) use self::registry::{PullArgs, PushArgs};
pub(crate) use self::secret::{
    EnvironmentArgs, SecretCommand, SecretListArgs, SecretRmArgs, SecretRotateArgs, SecretSetArgs, StoreArgs,
};
pub(crate) use self::trust::*;

const EXIT_CODES: &str = "\
Exit codes:
  0    succeeded
  1    the run failed: a stage, a health check or a canary said no
  2    the command or the pipeline is wrong; nothing ran
  3    refused: by a policy, or because a component does not have the digest that pipeline or lock file demand, a signature is missing
       or not good, or a bundle was altered
  4    not reproducible: `repeat`, `--check-determinism`, `--check-cache`, `replay` or `plugin test` found a difference
  5    infrastructure: disk, network, damaged state, a timeout, host out of memory
  6    waiting: for an approval, a time, or an answer about an effect in doubt; `resume` goes on
  130  interrupted

Data goes to stdout, everything else to stderr. Colour is used on terminals, unless NO_COLOR is set.";

/// Runs delivery pipelines: every stage, health check and canary as a WebAssembly component in its own sealed chamber, with a
/// fixed budget of fuel.
#[derive(Debug, Parser)]
#[command(name = "lockgate", version, after_help = EXIT_CODES, max_term_width = 100, propagate_version = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// When to colour what people read.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub(crate) color: ColorChoice,
    /// Say less: only problems, failures and results.
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more: started attempts, effects, outputs, logs of nodes that succeeded.
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Report every problem of a pipeline, without running it
    #[command(after_help = "Example:\n  lockgate check pipelines/release.toml --param version=1.2.3")]
    Check(CheckArgs),
    /// Show what is cached and what would run and why, with which inputs, grants and limits
    #[command(
        after_help = "Example:\n  lockgate plan pipelines/release.toml --format json | jq '.nodes[].limits.fuel'"
    )]
    Plan(PlanArgs),
    /// Run a pipeline
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Finish a run that was interrupted, waits, or failed
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(ResumeArgs),
    /// Say yes to an approval that a run waits for
    #[command(after_help = "Example:\n  lockgate approve last release-manager --comment 'after the freeze'\n  \
                            lockgate resume last")]
    Approve(SayArgs),
    /// Say no to an approval that a run waits for
    Reject(SayArgs),
    /// Stop a run, or let one of its waiting nodes fail
    #[command(after_help = "Examples:\n  lockgate cancel last\n  lockgate cancel r1f3 soak")]
    Cancel(CancelArgs),
    /// Execute the nodes of a past run again, offline, from its record, and compare
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayArgs),
    /// Execute one task from stdin: what a repeated execution starts in another process
    #[command(name = lockgate::wiring::child::COMMAND, hide = true)]
    ExecuteTask,
    /// Give up files, connections and privileges, and become a program: how programs of `grants.process` are started
    #[command(name = lockgate::wiring::child::CONFINE, hide = true)]
    Confine {
        /// What to give up and what to become, as JSON
        orders: String,
    },
    /// Compile one component from stdin, and ask it what it is: what an engine starts in another process
    #[command(name = lockgate::wiring::compiler::COMMAND, hide = true)]
    CompileComponent,
    /// Draw the graph of a pipeline
    #[command(after_help = "Examples:\n  lockgate graph pipelines/release.toml --format svg > release.svg\n  \
                            lockgate graph pipelines/release.toml --format dot | dot -Tpng > release.png")]
    Graph(GraphArgs),
    /// List the runs, newest first
    Runs(RunsArgs),
    /// Show what became of a run, or of one of its nodes
    #[command(after_help = "Examples:\n  lockgate show last\n  lockgate show last package\n  \
                            lockgate show r1f3 --receipts | jq '.receipts[].receipt.outputs'\n  \
                            lockgate show last --report run.html --sarif run.sarif\n  \
                            lockgate show last --bundle run.bundle\n\n\
                            RUN is a run's id, the beginning of one that fits no other, or `last`.")]
    Show(ShowArgs),
    /// Show what differs between two runs: parameters, components, files, and each node's end, outputs, fuel and time
    #[command(
        after_help = "Examples:\n  lockgate diff last\n  lockgate diff r1f3 r1f4 --format json | jq .sources\n\n\
                            RUN is a run's id, the beginning of one that fits no other, or `last`. The older of the two is \
                            `before`, in whichever order they are given."
    )]
    Diff(DiffArgs),
    /// Print the log of a run's nodes, or of one node
    #[command(after_help = "Example:\n  lockgate logs last package\n\n\
                            RUN is a run's id, the beginning of one that fits no other, or `last`.")]
    Logs(LogsArgs),
    /// Look into the action cache, and clean the state directory up
    Cache {
        #[command(subcommand)]
        command: CacheCommand,
    },
    /// Look into the policies in force, hold pipelines against them, and test them
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Keep secrets encrypted on this machine, for pipelines that name them
    Secret {
        #[command(subcommand)]
        command: SecretCommand,
    },
    /// Say what this machine gives to pipelines, and what is missing or broken
    #[command(
        after_help = "Examples:\n  lockgate doctor\n  lockgate doctor --format json | jq '.checks[] | select(.state != \"ok\")'\n\n\
                            The exit code is 5 if something is broken, else 0."
    )]
    Doctor(DoctorArgs),
    /// Print a JSON Schema: of pipeline and policy files, for editors, or of what `--format json` prints
    #[command(after_help = "Examples:\n  lockgate schema > lockgate.schema.json\n  lockgate schema events\n\n\
                            Editors that use Taplo take it by a first line `#:schema ./lockgate.schema.json`.")]
    Schema(SchemaArgs),
    /// Print what a shell needs to complete commands and options
    #[command(
        after_help = "Examples:\n  lockgate completions bash > ~/.local/share/bash-completion/completions/lockgate\n  \
                            lockgate completions zsh > \"${fpath[1]}/_lockgate\"\n  \
                            lockgate completions fish > ~/.config/fish/completions/lockgate.fish"
    )]
    Completions(CompletionsArgs),
    /// Sign where the results of a past run come from, as in-toto statements with SLSA provenance
    #[command(after_help = ATTEST_EXAMPLES)]
    Attest(AttestArgs),
    /// Sign the head of the journal, and find what was changed in it
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Begin and build plugins, look into them, try them by hand, lock, sign and verify them
    Plugin {
        #[command(subcommand)]
        command: PluginCommand,
    },
}

const RUN_EXAMPLES: &str = "\
Examples:
  lockgate run pipelines/release.toml --param version=1.2.3
  lockgate run pipelines/gate.toml --jobs 4 --fail-fast
  lockgate run pipelines/release.toml --only package --from checksums
  lockgate run pipelines/release.toml --format json | jq 'select(.event == \"node-finished\")'

With --only or --from nodes that are selected run as always, and so do approvals and waits before them. What else they need is not
executed: a node without grants gets what the cache has for its action key, another one its last receipt under that key, if that
succeeded and is not older than its `max_age`. Where there is none, nothing runs. Such a run has no digest, and exports what
selected nodes made.

The first interrupt (Ctrl-C) stops the running nodes and closes the run, the second one ends the engine at once.

With OTEL_EXPORTER_OTLP_ENDPOINT set, the run is sent there as an OpenTelemetry trace, below TRACEPARENT if that is set.";

const RESUME_EXAMPLES: &str = "\
Examples:
  lockgate resume last
  lockgate resume r1f3 --wait 1h
  lockgate resume last --assume repeat

Nodes that succeeded are not run again; those that failed or were skipped are. The run keeps the inputs that it
began with: what changed on disk since is named and not used. Verdicts older than their `max_age` are taken again.";

/// What to do with the cache.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Show a node's whole action key, and the earlier run that has it or comes nearest
    #[command(after_help = "Example:\n  lockgate cache explain pipelines/release.toml package --param version=1.2.3")]
    Explain(ExplainArgs),
    /// Remove artifacts, cached results and compiled code that no kept run needs
    #[command(after_help = GC_EXAMPLES)]
    Gc(GcArgs),
}

const GC_EXAMPLES: &str = "\
Examples:
  lockgate cache gc --keep 7d --dry-run
  lockgate cache gc --keep 7d --max 10GiB

Kept are runs younger than --keep, unfinished ones, and those named by --keep-run, with everything they need: inputs, outputs,
logs, effects. Records of the journal are never removed: what is gone of older runs is shown as removed. It waits for no run
that is under way, but fails; --wait waits.";

const REPLAY_EXAMPLES: &str = "\
Examples:
  lockgate replay last
  lockgate replay r1f3 package
  lockgate show last --bundle run.bundle && lockgate replay run.bundle

RUN is a run's id, the beginning of one that fits no other, or `last`; what holds a dot or a slash is a
bundle's file. Nothing is sent: answers of effects come from the record. What differs is named to the
first byte, line or effect, and the exit code is 4. Nodes that were skipped, or that infrastructure kept
from a result, are listed and left out.";

const ATTEST_EXAMPLES: &str = "\
Examples:
  lockgate attest last --key release.key --output release.intoto.jsonl
  lockgate attest verify release.intoto.jsonl --key release.pub --artifact dist/app.tar.zst

Written is one envelope a line: first the provenance of what the run exported, then for each node with `repeat` that its outputs were
made several times, in separate processes. RUN is a run's id, the beginning of one that fits no other, or `last`.";

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set or TERM is `dumb`.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// For whom to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// JSON for programs.
    Json,
}

/// For whom a run is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunFormat {
    /// For people.
    Human,
    /// One event per line.
    Json,
    /// For GitHub Actions: a group for each node, annotations, a summary of the job.
    Github,
}

/// What a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// Pipeline files.
    Pipeline,
    /// Policy files.
    Policy,
    /// Files of plugins' cases, `case.toml`.
    Case,
    /// A line of `run` and `show` with `--format json`.
    Events,
    /// A line of `runs --format json`.
    Runs,
    /// What `diff --format json` prints.
    Diff,
}

/// The pipeline file and what is put into it.
#[derive(Debug, Clone, Args)]
pub(crate) struct FileArgs {
    /// The pipeline file
    pub(crate) file: PathBuf,
    /// Set a parameter of the pipeline; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = key_value)]
    pub(crate) params: Vec<(String, String)>,
    /// The directory that the pipeline's paths are relative to [default: the nearest directory above the file that holds `.git` or
    /// `.lockgate-root`, else the file's own]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Where the engine keeps its state [default: `.lockgate` in the root]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

impl FileArgs {
    /// Reads and parses the file.
    pub(crate) fn read(&self) -> Result<Loaded, lockgate::Error> {
        lockgate::wiring::load::read(&self.file, self.root.as_deref(), &self.params)
    }
}

/// Which part of a pipeline
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Part of a pipeline")]
pub(crate) struct PartArgs {
    /// Only this node, and the approvals and waits before it; what else it needs gets its result of an earlier run. The name of a
    /// matrix means all its nodes; may be repeated
    #[arg(long, value_name = "NODE")]
    pub(crate) only: Vec<String>,
    /// This node and all that depends on it, likewise; may be repeated, also beside `--only`
    #[arg(long, value_name = "NODE")]
    pub(crate) from: Vec<String>,
}

/// `lockgate check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    #[command(flatten)]
    pub(crate) lock: LockArgs,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// For whom to write; `json` is one problem per line
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `lockgate plan`
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    #[command(flatten)]
    pub(crate) lock: LockArgs,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    #[command(flatten)]
    pub(crate) part: PartArgs,
    /// The run's logical time, see `lockgate run --help`
    #[arg(long, value_name = "TIME", value_parser = crate::time::parse_logical)]
    pub(crate) logical_time: Option<u64>,
    /// For whom to write
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `lockgate cache explain`
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// The node
    pub(crate) node: String,
    /// The run's logical time, see `lockgate run --help`
    #[arg(long, value_name = "TIME", value_parser = crate::time::parse_logical)]
    pub(crate) logical_time: Option<u64>,
    /// For whom to write
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `lockgate cache gc`
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// Keep runs younger than this, as in `7d` or `12h`
    #[arg(long, value_name = "AGE", default_value = "7d")]
    pub(crate) keep: lockgate_model::units::Millis,
    /// Keep this run, too: its id, the beginning of its id, or `last`; may be repeated
    #[arg(long = "keep-run", value_name = "RUN")]
    pub(crate) keep_run: Vec<String>,
    /// Keep older runs and compiled code, too, the newest first, as long as all is at most this large
    #[arg(long, value_name = "BYTES")]
    pub(crate) max: Option<lockgate_model::units::Bytes>,
    /// Only say what would go
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait until no run is under way
    #[arg(long)]
    pub(crate) wait: bool,
    /// For whom to write
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `lockgate run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    #[command(flatten)]
    pub(crate) lock: LockArgs,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    #[command(flatten)]
    pub(crate) part: PartArgs,
    #[command(flatten)]
    pub(crate) drive: DriveArgs,
    /// The time that plugins without the `clock` grant see at the start: as in `2026-11-01T12:00:00Z`, or milliseconds since 1970
    /// [default: 2000-01-01T00:00:00Z]
    #[arg(long, value_name = "TIME", value_parser = crate::time::parse_logical)]
    pub(crate) logical_time: Option<u64>,
}

/// How a run is driven, whether it begins or goes on.
#[derive(Debug, Clone, Args)]
pub(crate) struct DriveArgs {
    /// The most nodes that run at once, 1 to 1024 [default: the number of cores]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) jobs: Option<u32>,
    /// Start nothing new after a failure, except for `finally` nodes
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Execute every node, whatever earlier runs proved. What this run proves is kept for later ones
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Execute every node, and compare it with what the cache has: a difference fails the node, and takes that result out of the
    /// cache
    #[arg(long, conflicts_with = "no_cache")]
    pub(crate) check_cache: bool,
    /// Hash every file of the inputs and every artifact of cached results, even those that seem unchanged
    #[arg(long)]
    pub(crate) verify: bool,
    /// Stay this long while only waiting nodes are left, as in `10m`, instead of leaving at once with exit code 6
    #[arg(long, value_name = "TIME", value_parser = crate::time::parse_span, default_value = "0s")]
    pub(crate) wait: Millis,
    /// Execute each node without grants twice, uncached, the second time in another process; a difference fails it
    #[arg(long)]
    pub(crate) check_determinism: bool,
    /// Allow exports to absolute paths inside of this directory; may be repeated
    #[arg(long, value_name = "DIR")]
    pub(crate) allow_export: Vec<PathBuf>,
    /// For whom to write; `json` is one event per line on stdout
    #[arg(long, value_enum, default_value_t = RunFormat::Human)]
    pub(crate) format: RunFormat,
    #[command(flatten)]
    pub(crate) reports: ReportArgs,
    #[command(flatten)]
    pub(crate) attest: AttestRunArgs,
}

/// Files that tell what became of a run.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Reports")]
pub(crate) struct ReportArgs {
    /// Write a JUnit report: a test case for each node
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Write the findings of all nodes as a SARIF 2.1.0 log
    #[arg(long, value_name = "FILE")]
    pub(crate) sarif: Option<PathBuf>,
    /// Write one HTML page: graph, timeline, and each node's receipt, log, findings and figures
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

/// `lockgate schema`
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// What it describes
    #[arg(value_enum, default_value_t = SchemaOf::Pipeline)]
    pub(crate) of: SchemaOf,
}

/// `lockgate resume`
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The run: its id, the beginning of its id, or `last`
    #[arg(required_unless_present = "last")]
    pub(crate) run: Option<String>,
    /// The newest run
    #[arg(long, conflicts_with = "run")]
    pub(crate) last: bool,
    /// What to assume of effects in doubt: that they took place, or that they are to be issued again
    #[arg(long, value_enum)]
    pub(crate) assume: Option<Assume>,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    #[command(flatten)]
    pub(crate) drive: DriveArgs,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

/// What to assume of an effect whose outcome is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Assume {
    /// It took place; the plugin is told that the answer is lost
    Done,
    /// Issue it again, under the same idempotency key
    Repeat,
}

/// `lockgate approve` and `reject`
#[derive(Debug, Args)]
pub(crate) struct SayArgs {
    /// The run: its id, the beginning of its id, or `last`
    pub(crate) run: String,
    /// The approval
    pub(crate) node: String,
    #[command(flatten)]
    pub(crate) said: SaidArgs,
}

/// `lockgate cancel`
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// The run: its id, the beginning of its id, or `last`
    pub(crate) run: String,
    /// The waiting node [default: the whole run]
    pub(crate) node: Option<String>,
    #[command(flatten)]
    pub(crate) said: SaidArgs,
}

/// Who says something, and why.
#[derive(Debug, Args)]
pub(crate) struct SaidArgs {
    /// Who says it, for the receipt [default: the user's name]
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) by: Option<String>,
    /// What else to put into the receipt
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

/// `lockgate replay`
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The run: its id, the beginning of its id, or `last`; or the file of a bundle
    #[arg(value_name = "RUN|FILE")]
    pub(crate) run: String,
    /// One node of it
    pub(crate) node: Option<String>,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// The most nodes that run at once, 1 to 1024 [default: the number of cores]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) jobs: Option<u32>,
    /// For whom to write; `json` is one node per line
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// Reads `name=value`; the value may hold more `=`.
fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn values_may_hold_equal_signs() {
        assert_eq!(key_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(key_value("a="), Ok(("a".into(), String::new())));
        assert!(key_value("a").is_err());
        assert!(key_value("=a").is_err());
    }

    #[test]
    fn wrong_numbers_are_refused() {
        for jobs in ["0", "1025", "-1", "x"] {
            assert!(Cli::try_parse_from(["lockgate", "run", "f", "--jobs", jobs]).is_err(), "{jobs}");
        }
    }
}
