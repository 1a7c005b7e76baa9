//! `lockgate secret`: its commands and options.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lockgate_model::grant::SecretName;

use super::Format;

/// What stands behind the help of every command of the store.
const STORE: &str = "\
The store is a directory of age files (https://age-encryption.org), one for each environment: --store, else
LOCKGATE_SECRETS, else `lockgate/secrets` in XDG_CONFIG_HOME or ~/.config. The private key that opens them is
the file LOCKGATE_IDENTITY, else the one beside the directory with its name and `.identity`. The first `set`
makes both. Keep a copy of the key in a safe place: without it the secrets are lost.";

const SET_HELP: &str = "\
Examples:
  lockgate secret set token --environment staging < token.txt
  lockgate secret set session-key --generate 32

The value comes from stdin, never from the command line; on a terminal it is asked for and not shown. One line
break at its end is dropped. It has 8 bytes to 64 KiB. The newest 10 versions are kept, and the newest one of
them is in use: `secret rm NAME --version N` takes a bad one back.

A pipeline uses it with `[secrets]` `token = { store = \"token\", environment = \"staging\" }`.";

const ROTATE_HELP: &str = "\
Examples:
  lockgate secret rotate token --environment staging < token.txt
  lockgate secret rotate session-key --generate 32
  lockgate secret rotate --identity

With --identity everything is encrypted to a new private key, which takes the old one's place; copies of the
store that were made before still need the old one. If it is cut off, do it again: nothing is lost.";

/// What to do with the store of secrets.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Add a secret, or another version of it; its value comes from stdin
    #[command(after_help = SET_HELP, after_long_help = format!("{SET_HELP}\n\n{STORE}"))]
    Set(SecretSetArgs),
    /// List secrets with their versions and dates, never their values
    #[command(
        after_help = "Example:\n  lockgate secret list --environment staging",
        after_long_help = format!("Example:\n  lockgate secret list --environment staging\n\n{STORE}")
    )]
    List(SecretListArgs),
    /// Add another version of a secret that is there, or change the private key
    #[command(after_help = ROTATE_HELP, after_long_help = format!("{ROTATE_HELP}\n\n{STORE}"))]
    Rotate(SecretRotateArgs),
    /// Remove a secret with all its versions, or one version of it
    #[command(
        after_help = "Examples:\n  lockgate secret rm token --environment staging\n  lockgate secret rm token --version 3"
    )]
    Rm(SecretRmArgs),
}

/// Where the store of secrets is.
#[derive(Debug, Clone, Args)]
pub(crate) struct StoreArgs {
    /// The directory of the store [default: LOCKGATE_SECRETS, else `lockgate/secrets` in XDG_CONFIG_HOME or ~/.config]
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
}

/// Whose secret it is.
#[derive(Debug, Clone, Args)]
pub(crate) struct EnvironmentArgs {
    /// The environment whose secret it is, as in `staging`
    #[arg(long, short, value_name = "ENVIRONMENT", value_parser = name, default_value = "default")]
    pub(crate) environment: SecretName,
}

/// `lockgate secret set`
#[derive(Debug, Args)]
pub(crate) struct SecretSetArgs {
    /// The secret: letters, digits, `_` and `-`
    #[arg(value_parser = name)]
    pub(crate) name: SecretName,
    #[command(flatten)]
    pub(crate) environment: EnvironmentArgs,
    /// Take as many random bytes, 16 to 1024, written in base64 for URLs, instead of reading a value
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(16..=1024))]
    pub(crate) generate: Option<u16>,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// `lockgate secret list`
#[derive(Debug, Args)]
pub(crate) struct SecretListArgs {
    /// Only the secrets of this environment
    #[arg(long, short, value_name = "ENVIRONMENT", value_parser = name)]
    pub(crate) environment: Option<SecretName>,
    /// For whom to write; `json` is one document
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// `lockgate secret rotate`
#[derive(Debug, Args)]
pub(crate) struct SecretRotateArgs {
    /// The secret
    #[arg(value_parser = name, required_unless_present = "identity")]
    pub(crate) name: Option<SecretName>,
    #[command(flatten)]
    pub(crate) environment: EnvironmentArgs,
    /// Take as many random bytes, 16 to 1024, written in base64 for URLs, instead of reading a value
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(16..=1024))]
    pub(crate) generate: Option<u16>,
    /// Encrypt all secrets of all environments to a new private key
    #[arg(long, conflicts_with_all = ["name", "environment", "generate"])]
    pub(crate) identity: bool,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// `lockgate secret rm`
#[derive(Debug, Args)]
pub(crate) struct SecretRmArgs {
    /// The secret
    #[arg(value_parser = name)]
    pub(crate) name: SecretName,
    #[command(flatten)]
    pub(crate) environment: EnvironmentArgs,
    /// Only this version; the newest one that is left is in use then
    #[arg(long, value_name = "N")]
    pub(crate) version: Option<u32>,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

fn name(text: &str) -> Result<SecretName, String> {
    SecretName::new(text).map_err(|error| error.to_string())
}
