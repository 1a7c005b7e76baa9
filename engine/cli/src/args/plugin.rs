//! `lockgate plugin`: its commands and options.

use clap::{Args, Subcommand};
use std::path::PathBuf;

use super::author::{BUILD_HELP, BuildArgs, NEW_HELP, NewArgs};
use super::cases::{
    CHECK_HELP, InspectArgs, PROFILE_HELP, PluginCheckArgs, PluginDiffArgs, ProfileArgs, TEST_HELP, TestArgs,
};
use super::registry::{PULL_HELP, PUSH_HELP};
use super::{
    Format, KeygenArgs, LockCommandArgs, PolicyArgs, PullArgs, PushArgs, SeenArgs, SignArgs, VerifyArgs, key_value,
};

/// What to do with a plugin.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Begin a plugin: a folder that builds at once
    #[command(after_help = NEW_HELP)]
    New(NewArgs),
    /// Build the plugin of a folder, whatever it is written in
    #[command(after_help = BUILD_HELP)]
    Build(BuildArgs),
    /// Show a component's manifest, world, digest, signers, and every import with what it means
    #[command(
        after_help = "Examples:\n  lockgate plugin inspect std:pack\n  lockgate plugin inspect target/scan.wasm --format markdown > scan.md"
    )]
    Inspect(InspectArgs),
    /// Show what changed from one component to another: config, ports, effects, world
    #[command(
        after_help = "Example:\n  lockgate plugin diff scan-1.4.0.wasm target/lockgate/scan.wasm\n\nThe exit code is 0 whatever changed."
    )]
    Diff(PluginDiffArgs),
    /// Say whether pipelines that use an older component would work with this one
    #[command(after_help = CHECK_HELP)]
    Check(PluginCheckArgs),
    /// Write down what the plugins of pipelines are and ask for, so that nothing else runs where it counts
    #[command(after_help = LOCK_HELP)]
    Lock(LockCommandArgs),
    /// Put a component into a registry, with its signatures
    #[command(after_help = PUSH_HELP)]
    Push(PushArgs),
    /// Take a component out of a registry, with its signatures
    #[command(after_help = PULL_HELP)]
    Pull(PullArgs),
    /// Make a pair of keys
    #[command(after_help = "Example:\n  lockgate plugin keygen --output acme")]
    Keygen(KeygenArgs),
    /// Vouch for a component
    #[command(after_help = "Example:\n  lockgate plugin sign scan.wasm --key acme.key --expires 2027-01-01T00:00:00Z")]
    Sign(SignArgs),
    /// Check who vouches for a component
    #[command(after_help = "Example:\n  lockgate plugin verify scan.wasm --key acme.pub")]
    Verify(VerifyArgs),
    /// List the highest version of each signed plugin that a run accepted; lower ones are refused
    #[command(after_help = "Examples:\n  lockgate plugin seen\n  lockgate plugin seen --forget scan")]
    Seen(SeenArgs),
    /// Run a plugin's cases in the sandbox, and hold what comes of them against golden files
    #[command(after_help = TEST_HELP)]
    Test(TestArgs),
    /// Show where the fuel of a call goes: a flame graph, a table of functions, the memory in use
    #[command(after_help = PROFILE_HELP)]
    Profile(Box<ProfileArgs>),
    /// Run one component alone: JSON and files in, JSON and files out
    #[command(after_help = CALL_EXAMPLES)]
    Call(Box<CallArgs>),
}

const LOCK_HELP: &str = "\
Examples:
  lockgate plugin lock pipelines/*.toml
  lockgate plugin lock pipelines/release.toml --update scan

What is locked stays, unless --update names it: a changed component, or one that asks for more, is shown and refused with exit code 3.";

const CALL_EXAMPLES: &str = "\
Examples:
  lockgate plugin call std:pack --config '{\"format\":\"zip\"}' --input src=. --output out
  lockgate plugin call std:http-probe --config @probe.json --grant-http 'GET http://127.0.0.1:8080/health'
  lockgate plugin call std:threshold --input observation=samples.json

What it says (status, verdict, findings, outputs) is one JSON document on stdout; its log goes to stderr.";

/// What a call by hand is given.
#[derive(Debug, Args)]
pub(crate) struct GivenArgs {
    /// The config: a JSON object, or `@` and a file that holds one
    #[arg(long, value_name = "JSON|@FILE", default_value = "{}")]
    pub(crate) config: String,
    /// An input: a file becomes a blob, a directory a tree; may be repeated
    #[arg(long = "input", value_name = "NAME=PATH", value_parser = key_value)]
    pub(crate) inputs: Vec<(String, String)>,
    /// An input that is a blob with this JSON; may be repeated
    #[arg(long = "input-json", value_name = "NAME=JSON", value_parser = key_value)]
    pub(crate) json_inputs: Vec<(String, String)>,
    /// A variable of the declared environment; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = key_value)]
    pub(crate) env: Vec<(String, String)>,
}

/// `lockgate plugin call`
#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// A component's file, `std:<name>`, or `oci:<host>/<name>:<tag>`
    pub(crate) component: String,
    #[command(flatten)]
    pub(crate) given: GivenArgs,
    /// Write the outputs into this directory; without it they are only listed
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Grant an HTTP exchange: method and URL, whose path is a prefix; may be repeated
    #[arg(long = "grant-http", value_name = "'METHOD URL'")]
    pub(crate) grant_http: Vec<String>,
    /// Grant a server to connect to; may be repeated
    #[arg(long = "grant-tcp", value_name = "HOST:PORT")]
    pub(crate) grant_tcp: Vec<String>,
    /// Grant a program: its name or absolute path, then a pattern for each argument, all between blanks; may be repeated
    #[arg(long = "grant-process", value_name = "'PROGRAM PATTERN ...'")]
    pub(crate) grant_process: Vec<String>,
    /// Grant a secret, whose value is in an environment variable; may be repeated
    #[arg(long = "grant-secret", value_name = "NAME=VARIABLE")]
    pub(crate) grant_secret: Vec<String>,
    /// Grant the real clock
    #[arg(long)]
    pub(crate) grant_clock: bool,
    /// Let imports that the component cannot have trap when they are called, instead of refusing it
    #[arg(long)]
    pub(crate) trap_missing_imports: bool,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// Fuel for the call, as in `500M`
    #[arg(long, value_name = "FUEL")]
    pub(crate) fuel: Option<lockgate_model::units::Fuel>,
    /// Memory, as in `256MiB`
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory: Option<lockgate_model::units::Bytes>,
    /// Wall time, as in `60s`
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<lockgate_model::units::Millis>,
    /// The time that the plugin sees: as in `2026-11-01T12:00:00Z`, or milliseconds since 1970
    #[arg(long, value_name = "TIME", value_parser = crate::time::parse_logical)]
    pub(crate) logical_time: Option<u64>,
    /// For whom to write
    #[arg(long, value_enum, default_value_t = Format::Json)]
    pub(crate) format: Format,
}
