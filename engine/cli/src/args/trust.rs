//! Arguments of what has to do with trust: lock files, keys, signatures, attestations, the audit.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lockgate::wiring::lock::LockMode;

use super::{Format, StateArgs};

/// Whether plugins must be those of the lock file
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LockArgs {
    /// Refuse plugins that are not as `lockgate.lock` beside the pipeline has them [default: where CI is set, if there is such a file or
    /// the pipeline uses a plugin that is not `std:`]
    #[arg(long)]
    pub(crate) locked: bool,
    /// Do not look at the lock file
    #[arg(long, conflicts_with = "locked")]
    pub(crate) no_locked: bool,
    /// Ask no registry: plugins from there have to be pulled already [default: where LOCKGATE_OFFLINE is set]
    #[arg(long)]
    pub(crate) offline: bool,
}

impl LockArgs {
    /// When the lock file counts.
    pub(crate) const fn mode(&self) -> LockMode {
        match (self.locked, self.no_locked) {
            (_, true) => LockMode::Ignored,
            (true, false) => LockMode::Enforced,
            (false, false) => LockMode::Usual,
        }
    }

    /// Those of commands that do not look at the lock file.
    pub(crate) const fn none() -> Self {
        Self { locked: false, no_locked: true, offline: false }
    }
}

/// A private key
#[derive(Debug, Clone, Args)]
pub(crate) struct KeyArg {
    /// The private key's file, as `lockgate plugin keygen` writes it [default: what LOCKGATE_KEY names, or holds]
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
}

/// Whose signatures count
#[derive(Debug, Clone, Args)]
pub(crate) struct TrustArgs {
    /// A public key whose signatures count; may be repeated
    #[arg(long = "key", value_name = "FILE")]
    pub(crate) keys: Vec<PathBuf>,
    /// A policy, whose signers' signatures count, but for what it revokes
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
}

impl TrustArgs {
    /// Whether nobody is named.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.policy.is_none()
    }
}

/// Who vouches for what a run gave
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Attestation")]
pub(crate) struct AttestRunArgs {
    /// Write signed provenance of what the run exported (SLSA v1), once it succeeded
    #[arg(long, value_name = "FILE")]
    pub(crate) attest: Option<PathBuf>,
    /// The private key that signs it [default: what LOCKGATE_KEY names, or holds]
    #[arg(long, value_name = "FILE", requires = "attest")]
    pub(crate) attest_key: Option<PathBuf>,
}

/// `lockgate plugin lock`
#[derive(Debug, Args)]
pub(crate) struct LockCommandArgs {
    /// The pipeline files; each one's plugins are locked in `lockgate.lock` beside it
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Accept what changed of this plugin: its source as written (`path:scan.wasm`), or its name in the pipeline; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) update: Vec<String>,
    /// Set a parameter of the pipelines; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = super::key_value)]
    pub(crate) params: Vec<(String, String)>,
    /// The directory that the pipelines' paths are relative to [default: as for `run`]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
}

/// `lockgate plugin keygen`
#[derive(Debug, Args)]
pub(crate) struct KeygenArgs {
    /// Where the keys go: PREFIX.key, which only its owner can read, and PREFIX.pub. Neither is ever overwritten
    #[arg(long, value_name = "PREFIX")]
    pub(crate) output: PathBuf,
}

/// `lockgate plugin sign`
#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// The component's file
    pub(crate) component: PathBuf,
    #[command(flatten)]
    pub(crate) key: KeyArg,
    /// Until when the signature counts, as in `2027-01-01T00:00:00Z` [default: as long as the key does]
    #[arg(long, value_name = "TIME", value_parser = crate::time::parse_logical)]
    pub(crate) expires: Option<u64>,
    /// Where the signatures go; those that are there stay, unless they are of the same key or of another build [default: the
    /// component's file and `.dsse.json`]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// `lockgate plugin verify`
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The component's file
    pub(crate) component: PathBuf,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    /// Where the signatures are [default: the component's file and `.dsse.json`]
    #[arg(long, value_name = "FILE")]
    pub(crate) signatures: Option<PathBuf>,
}

/// `lockgate plugin seen`
#[derive(Debug, Args)]
pub(crate) struct SeenArgs {
    /// Forget the versions of this plugin, so that a lower one is accepted; may be repeated
    #[arg(long, value_name = "PLUGIN")]
    pub(crate) forget: Vec<String>,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// For whom to write; `json` is one version per line
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// `lockgate attest`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct AttestArgs {
    #[command(subcommand)]
    pub(crate) command: Option<AttestCommand>,
    /// The run, which must have succeeded: its id, the beginning of its id, or `last`
    #[arg(required = true)]
    pub(crate) run: Option<String>,
    #[command(flatten)]
    pub(crate) key: KeyArg,
    /// Where the attestations go [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

/// What to do with attestations.
#[derive(Debug, Subcommand)]
pub(crate) enum AttestCommand {
    /// Check signatures, and which subject each file or directory is; needs no network and no state directory
    #[command(
        after_help = "Example:\n  lockgate attest verify release.intoto.jsonl --key release.pub --artifact dist/app.tar.zst"
    )]
    Verify(AttestVerifyArgs),
}

/// `lockgate attest verify`
#[derive(Debug, Args)]
pub(crate) struct AttestVerifyArgs {
    /// The attestations
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    /// A file or directory that must be one of the subjects; may be repeated
    #[arg(long = "artifact", value_name = "PATH")]
    pub(crate) artifacts: Vec<PathBuf>,
}

/// What to do with the journal.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Sign the head of the journal: how many records there are, and the hash of the last one
    #[command(after_help = "Example:\n  lockgate audit sign --key audit.key --output /mnt/elsewhere/head.json")]
    Sign(AuditSignArgs),
    /// Check every record of the journal, and that it still begins with what was signed
    #[command(after_help = AUDIT_HELP)]
    Verify(AuditVerifyArgs),
}

const AUDIT_HELP: &str = "\
Examples:
  lockgate audit verify
  lockgate audit verify /mnt/elsewhere/head.json --key audit.pub

The journal alone shows every record that was altered, removed or moved by somebody who did not make all later hashes anew, and the
last ones removed with their number. A signed head that was kept elsewhere shows the rest. The first record that suffered is named, and
the exit code is 5; a head whose signature is not good is refused with 3.";

/// `lockgate audit sign`
#[derive(Debug, Args)]
pub(crate) struct AuditSignArgs {
    #[command(flatten)]
    pub(crate) key: KeyArg,
    /// Where the signed head goes [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}

/// `lockgate audit verify`
#[derive(Debug, Args)]
pub(crate) struct AuditVerifyArgs {
    /// Signed heads of this journal; the more of them, the narrower a rewritten part is known
    #[arg(value_name = "HEAD")]
    pub(crate) heads: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    #[command(flatten)]
    pub(crate) state: StateArgs,
}
