//! `lockgate plugin push` and `pull`: their options.

use std::path::PathBuf;

use clap::Args;
use lockgate::wiring::registry::Reference;

use super::Format;

/// What stands behind the help of both.
pub(super) const PUSH_HELP: &str = "\
Examples:
  lockgate plugin push scan.wasm ghcr.io/acme/scan
  lockgate plugin push scan.wasm ghcr.io/acme/scan --attestation scan.intoto.jsonl

The tag is the version in the component's manifest. Its signatures, from `<component>.dsse.json`, go along. The login is taken from
docker's configuration (`docker login`), the layout is the one for WebAssembly that other tools read.";

pub(super) const PULL_HELP: &str = "\
Examples:
  lockgate plugin pull ghcr.io/acme/scan
  lockgate plugin pull ghcr.io/acme/scan:1.2.3 --output scan.wasm

Without a tag it is the highest version. What was pulled is used without a network from then on: it lies in LOCKGATE_CACHE, else
`lockgate/components` in XDG_CACHE_HOME or ~/.cache. Mirrors stand in the file LOCKGATE_REGISTRIES, else
`lockgate/registries.toml` in XDG_CONFIG_HOME or ~/.config.";

/// `lockgate plugin push`
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// The component's file
    pub(crate) component: PathBuf,
    /// Where to: a registry's host and a name there, as in `ghcr.io/acme/scan`; `:TAG` behind it has to be the component's version
    #[arg(value_name = "HOST/NAME")]
    pub(crate) to: Reference,
    /// The signatures that go along [default: the component's file with `.dsse.json` behind its name, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) signatures: Option<PathBuf>,
    /// A file of envelopes that goes along, such as provenance; may be repeated
    #[arg(long = "attestation", value_name = "FILE")]
    pub(crate) attestations: Vec<PathBuf>,
    /// Replace what is there under this version
    #[arg(long)]
    pub(crate) force: bool,
}

/// `lockgate plugin pull`
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// What: a registry's host and a name there, with `:TAG` or `@` and the digest of a manifest behind it
    #[arg(value_name = "HOST/NAME[:TAG]")]
    pub(crate) from: Reference,
    /// Write it here, with its signatures beside it
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// For whom to write
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}
