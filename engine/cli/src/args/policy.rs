//! `lockgate policy`, and which policy other commands are under.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Format, RunFormat, key_value};

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show which policies are in force, why, and what each allows
    #[command(after_help = POLICY_FILES)]
    Show(PolicyShowArgs),
    /// Check pipelines against the policies in force; the exit code is 3 if something is refused
    #[command(
        after_help = "Example:\n  lockgate policy check pipelines/*.toml --policy lockgate-policy.toml --format github"
    )]
    Check(PolicyCheckArgs),
    /// Run the tests inside of a policy; the exit code is 1 if one fails
    #[command(after_help = "Example:\n  lockgate policy test lockgate-policy.toml")]
    Test(PolicyTestArgs),
}

const POLICY_FILES: &str = "\
A policy says what pipelines may have at most; what it does not name it does not allow. It is the file that --policy names,
else the one that LOCKGATE_POLICY names. The machine's own, /etc/lockgate/policy.toml, is in force besides, if it is there:
then everything must pass both.";

/// Which policy is in force
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PolicyArgs {
    /// The operator's policy [default: the file that LOCKGATE_POLICY names]; /etc/lockgate/policy.toml is in force besides, if it
    /// is there
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
}

/// `lockgate policy show`
#[derive(Debug, Args)]
pub(crate) struct PolicyShowArgs {
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// For whom to write
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `lockgate policy check`
#[derive(Debug, Args)]
pub(crate) struct PolicyCheckArgs {
    /// The pipeline files
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Set a parameter of the pipelines; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = key_value)]
    pub(crate) params: Vec<(String, String)>,
    /// The directory that the pipelines' paths are relative to [default: as `lockgate check` finds it]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// For whom to write; `json` is one problem per line, `github` are annotations
    #[arg(long, value_enum, default_value_t = RunFormat::Human)]
    pub(crate) format: RunFormat,
}

/// `lockgate policy test`
#[derive(Debug, Args)]
pub(crate) struct PolicyTestArgs {
    /// The policy file [default: those in force]
    #[arg(value_name = "POLICY", conflicts_with = "policy")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    /// For whom to write; `json` is one test per line
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}
