//! The operator's policy: what pipelines may have at most, whatever they say themselves. Data and decisions; its text form stands in
//! `lockgate-syntax`, and who reads which file in the command line.
//!
//! One rule holds for all of it: **what a policy does not name it does not allow, and what it does not demand is not demanded.** So
//! an empty policy allows pure nodes of `std:` plugins with any limits, and nothing else. Where several policies are in force,
//! each decides for itself and all must allow: adding one never allows more (`decide.rs`).
//!
//! To add a field: here, in the table of keys of `lockgate-syntax` (`policy/shape.rs`), in [`Rule`], in the decision, and in the test
//! `every_line_bites` beside it, which takes this type apart. Modules in reading order:

pub mod decide;
pub mod grants;
pub mod limit;
pub mod pattern;

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::grant::address::Network;
use crate::policy::grants::ProcessRule;
use crate::policy::limit::Limit;
use crate::policy::pattern::{HttpPattern, Root, SecretPattern, SourcePattern, TcpPattern, WordPattern};

pub use decide::{Decision, GrantDecision, LimitDecision, NodeFacts, PluginFacts, Refusal, SetBy, Standing, Subject};

/// Largest policy file in bytes: far more than an operator writes, and read at every start.
pub const MAX_FILE: u64 = 1 << 20;

/// One policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Its name, for people.
    pub name: String,
    /// What plugins must be.
    pub plugins: PluginRules,
    /// Trust roots by name: whose signatures count, see [`PluginRules::signed`].
    pub signers: BTreeMap<String, Signer>,
    /// What is no longer trusted.
    pub revoked: Revoked,
    /// Highest limits, each in the smallest unit. A higher one in a pipeline is refused, a higher default is lowered.
    pub limits: BTreeMap<Limit, u64>,
    /// What pipelines may grant at most.
    pub grants: GrantRules,
    /// What nodes may know of the environment.
    pub environment: EnvironmentRules,
    /// Where results may go.
    pub exports: ExportRules,
}

/// What plugins must be. `std:` plugins are part of the engine's binary: only `sources` and [`Revoked::digests`] speak of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRules {
    /// Where they may come from. Default: `std` alone.
    pub sources: Vec<SourcePattern>,
    /// Whether each must be pinned by a digest, in the pipeline or by the lock file. Default: no.
    pub digests_required: bool,
    /// Signers of which one must have signed each. Empty, the default: no signature is demanded.
    pub signed: BTreeSet<String>,
}

impl Default for PluginRules {
    fn default() -> Self {
        Self { sources: vec![SourcePattern::std()], digests_required: false, signed: BTreeSet::new() }
    }
}

/// A trust root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The public key as text: PEM, as `lockgate plugin keygen` writes it. Read where signatures are checked.
    pub key: String,
    /// Until when its signatures count, in milliseconds since 1970; none: for ever.
    pub until: Option<u64>,
}

/// What is no longer trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revoked {
    /// Ids of keys: sha-256 of the public key in hex. Their signatures do not count, whoever's they are.
    pub keys: BTreeSet<String>,
    /// Components, `std:` ones too. They are refused, whoever signed them.
    pub digests: BTreeSet<Digest>,
}

/// What pipelines may grant at most. Empty, the default: nothing of that kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrantRules {
    /// Exchanges over HTTP.
    pub http: Vec<HttpPattern>,
    /// The real clock.
    pub clock: bool,
    /// Node kinds of the program that embeds the engine.
    pub app: bool,
    /// Programs of the host.
    pub process: Vec<ProcessRule>,
    /// Where secrets may come from, whatever a pipeline calls them.
    pub secrets: Vec<SecretPattern>,
    /// Those of them that may stand in URLs, which servers and proxies write into their logs.
    pub secrets_in_urls: Vec<SecretPattern>,
    /// Exchanges over bare connections.
    pub tcp: Vec<TcpPattern>,
    /// Networks that are not public, which grants of `http` and `tcp` may name.
    pub networks: Vec<Network>,
}

/// What nodes may know of the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvironmentRules {
    /// Names that they may declare in `env`.
    pub variables: Vec<WordPattern>,
    /// Environments whose secrets may be taken from the store.
    pub names: Vec<WordPattern>,
}

/// Where results may go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportRules {
    /// Directories that exports must be at or below.
    pub roots: Vec<Root>,
}

/// A line of a policy that can refuse something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// `plugins.sources`
    Sources,
    /// `plugins.digests`
    Digests,
    /// `plugins.signed`, with what it stands on: `signers` and `revoked.keys`.
    Signed,
    /// `revoked.digests`
    RevokedDigests,
    /// `limits.<name>`
    Limit(Limit),
    /// `grants.http`
    Http,
    /// `grants.app`
    App,
    /// `grants.clock`
    Clock,
    /// `grants.process`
    Process,
    /// `grants.secrets`
    Secrets,
    /// `grants.secrets_in_urls`
    SecretsInUrls,
    /// `grants.tcp`
    Tcp,
    /// `grants.networks`
    Networks,
    /// `environment.variables`
    Variables,
    /// `environment.names`
    Environments,
    /// `exports.roots`
    Roots,
}

impl Rule {
    /// All rules, in the order of a policy file.
    pub const ALL: [Self; 15 + Limit::ALL.len()] = {
        let mut all = [Self::Sources; 15 + Limit::ALL.len()];
        let before = [Self::Sources, Self::Digests, Self::Signed, Self::RevokedDigests];
        let after = [
            Self::Http,
            Self::App,
            Self::Clock,
            Self::Process,
            Self::Secrets,
            Self::SecretsInUrls,
            Self::Tcp,
            Self::Networks,
            Self::Variables,
            Self::Environments,
            Self::Roots,
        ];
        let mut i = 0;
        while i < all.len() {
            all[i] = match i.checked_sub(before.len()) {
                None => before[i],
                Some(at) if at < Limit::ALL.len() => Self::Limit(Limit::ALL[at]),
                Some(at) => after[at - Limit::ALL.len()],
            };
            i += 1;
        }
        all
    };

    /// The path of its key in a policy file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sources => "plugins.sources",
            Self::Digests => "plugins.digests",
            Self::Signed => "plugins.signed",
            Self::RevokedDigests => "revoked.digests",
            Self::Limit(limit) => limit.path(),
            Self::Http => "grants.http",
            Self::App => "grants.app",
            Self::Clock => "grants.clock",
            Self::Process => "grants.process",
            Self::Secrets => "grants.secrets",
            Self::SecretsInUrls => "grants.secrets_in_urls",
            Self::Tcp => "grants.tcp",
            Self::Networks => "grants.networks",
            Self::Variables => "environment.variables",
            Self::Environments => "environment.names",
            Self::Roots => "exports.roots",
        }
    }
}

impl Rule {
    /// What a policy says on this line, one text each, as it could stand in the file; empty: nothing.
    pub fn says(self, policy: &Policy) -> Vec<String> {
        fn texts<T: ToString>(all: impl IntoIterator<Item = T>) -> Vec<String> {
            all.into_iter().map(|one| one.to_string()).collect()
        }
        match self {
            Self::Sources => texts(&policy.plugins.sources),
            Self::Digests => texts(policy.plugins.digests_required.then_some("required")),
            Self::Signed => texts(&policy.plugins.signed),
            Self::RevokedDigests => texts(&policy.revoked.digests),
            Self::Limit(limit) => policy.limits.get(&limit).map(|number| limit.show(*number)).into_iter().collect(),
            Self::Http => texts(&policy.grants.http),
            Self::App => texts(policy.grants.app.then_some("true")),
            Self::Clock => texts(policy.grants.clock.then_some("true")),
            Self::Process => texts(&policy.grants.process),
            Self::Secrets => texts(&policy.grants.secrets),
            Self::SecretsInUrls => texts(&policy.grants.secrets_in_urls),
            Self::Tcp => texts(&policy.grants.tcp),
            Self::Networks => texts(&policy.grants.networks),
            Self::Variables => texts(&policy.environment.variables),
            Self::Environments => texts(&policy.environment.names),
            Self::Roots => texts(&policy.exports.roots),
        }
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
