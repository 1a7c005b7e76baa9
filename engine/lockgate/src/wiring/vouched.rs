//! Who vouches for the plugins that are about to run, by the trust roots of the policies in force.
//!
//! Signatures are looked at only where a policy demands them; those of a file stand in `<file>.dsse.json`. Whether what was found is enough
//! is for the policies to say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lockgate_host::Plugin;
use lockgate_model::PluginAlias;
use lockgate_model::pipeline::PluginSource;
use lockgate_model::policy::Policy;
use lockgate_runner::{Clock as _, SystemClock};
use lockgate_store::{Seen, Store};
use lockgate_syntax::policy::PluginKnown;
use lockgate_trust::Envelope;
use lockgate_trust::key::PublicKey;
use lockgate_trust::plugin::PluginId;
use lockgate_trust::roots::{Lowered, Revoked, Signer, is_higher, lowered, verify_plugin};

use super::signatures::{MAX_SIGNATURES, read_envelopes, signatures_beside};
use crate::error::{Class, Error};
use crate::wiring::notices::Notices;
use crate::wiring::policy::Policies;
use crate::wiring::registry;
use crate::wiring::text::clean_line;

/// What is known of who vouches for plugins.
#[derive(Debug, Default)]
pub struct Vouched {
    /// Plugins that the lock file pins as they are.
    pinned: BTreeSet<PluginAlias>,
    /// For each plugin and policy, whose signatures are good.
    signers: BTreeMap<PluginAlias, Vec<BTreeSet<String>>>,
    /// Those of which their signer vouched for a higher version before.
    lowered: BTreeMap<PluginAlias, Lowered>,
    /// Versions that are accepted if the rest is.
    accepted: Vec<Seen>,
}

/// Whose signatures count by a policy, and what counts no longer. `names`: of these alone.
pub fn trust_roots(policy: &Policy, names: Option<&BTreeSet<String>>) -> Result<(Vec<Signer>, Revoked), Error> {
    let wrong = |what: String, error: anyhow::Error| {
        Error::new(Class::Wrong, error.context(format!("use {what} of the policy `{}`", clean_line(&policy.name))))
    };
    let mut signers = Vec::new();
    for (name, signer) in policy.signers.iter().filter(|(name, _)| names.is_none_or(|names| names.contains(*name))) {
        let key = PublicKey::parse(&signer.key)
            .map_err(|error| wrong(format!("the key of the signer `{}`", clean_line(name)), error.into()))?;
        signers.push(Signer { name: name.clone(), key, until: signer.until });
    }
    let keys = policy.revoked.keys.iter().map(|key| {
        key.parse()
            .map_err(|error: lockgate_trust::key::ParseKeyIdError| wrong("`revoked.keys`".to_owned(), error.into()))
    });
    Ok((signers, Revoked { keys: keys.collect::<Result<_, _>>()?, digests: policy.revoked.digests.clone() }))
}

impl Vouched {
    /// Looks at the signatures of plugins, where a policy demands any. What is wrong with them is a warning: whether it matters is for the
    /// policies to say.
    pub fn of<'p>(
        plugins: impl Iterator<Item = (&'p PluginAlias, &'p PluginSource, &'p Plugin)>,
        root: &Path,
        policies: &Policies,
        seen: &[Seen],
        output: &dyn Notices,
    ) -> Result<Self, Error> {
        let mut vouched = Self::default();
        if policies.files().iter().all(|file| file.policy.plugins.signed.is_empty()) {
            return Ok(vouched);
        }
        let now = SystemClock::default().now_ms();
        let roots = policies.files().iter().map(|file| trust_roots(&file.policy, Some(&file.policy.plugins.signed)));
        let roots: Vec<_> = roots.collect::<Result<_, _>>()?;
        for (alias, source, plugin) in plugins {
            let component = match source {
                PluginSource::Std { .. } | PluginSource::App { .. } => continue,
                PluginSource::Path { path, .. } => root.join(path),
                PluginSource::Oci { .. } => registry::cache()?.path(plugin.digest()),
            };
            let manifest = plugin.manifest();
            let id = match PluginId::new(plugin.digest(), &manifest.name, &manifest.version) {
                Ok(id) => id,
                Err(error) => {
                    output.warning(&format!("plugin `{alias}`: failed to {error}"));
                    continue;
                }
            };
            let envelopes = envelopes(&component, alias, output);
            let mut all = Vec::new();
            for (file, (signers, revoked)) in policies.files().iter().zip(&roots) {
                let mut good = BTreeSet::new();
                match verify_plugin(&id, &envelopes, signers, revoked, now) {
                    Ok(accepted) => {
                        vouched.compare(alias, &id, &accepted, seen, now);
                        good.extend(accepted.into_iter().map(|accepted| accepted.signer));
                    }
                    Err(refusals) if !file.policy.plugins.signed.is_empty() => {
                        for refusal in refusals {
                            output.warning(&format!("plugin `{alias}`, policy `{}`: {refusal}", file.policy.name));
                        }
                    }
                    Err(_) => {}
                }
                all.push(good);
            }
            vouched.signers.insert(alias.clone(), all);
        }
        Ok(vouched)
    }

    fn compare(
        &mut self,
        alias: &PluginAlias,
        id: &PluginId,
        accepted: &[lockgate_trust::Accepted],
        seen: &[Seen],
        now: u64,
    ) {
        let of_it = seen.iter().filter(|seen| seen.plugin == id.name);
        let known = of_it.filter_map(|seen| Some((seen.signer.clone(), seen.version.parse().ok()?))).collect();
        if let Some(lower) = lowered(id, accepted, &known) {
            self.lowered.insert(alias.clone(), lower);
        }
        self.accepted.extend(accepted.iter().map(|accepted| Seen {
            signer: accepted.signer.clone(),
            plugin: id.name.clone(),
            version: id.version.to_string(),
            digest: id.digest,
            time_ms: now,
        }));
    }

    /// Takes in what the lock file pins.
    pub(super) fn pin(&mut self, pinned: BTreeSet<PluginAlias>) {
        self.pinned = pinned;
    }

    /// Adds to what is known of a plugin.
    pub fn complete(&self, alias: &PluginAlias, known: PluginKnown) -> PluginKnown {
        let signers = self.signers.get(alias).cloned().unwrap_or_default();
        PluginKnown { locked: self.pinned.contains(alias), signers, ..known }
    }

    /// Plugins with a lower version than was accepted before.
    pub fn lowered(&self) -> impl Iterator<Item = (&PluginAlias, &Lowered)> {
        self.lowered.iter()
    }

    /// What to do about one that is meant.
    pub fn accept_lowered(lowered: &Lowered) -> String {
        format!("if it is meant, forget the higher one: lockgate plugin seen --forget {}", clean_line(&lowered.plugin))
    }

    /// Keeps the versions that were accepted.
    pub fn remember(&self, store: &Store) -> Result<(), Error> {
        Ok(store.remember(&self.accepted, is_higher)?)
    }
}

/// The signatures beside a component. Those that cannot be read count as none, and are named.
fn envelopes(component: &Path, alias: &PluginAlias, output: &dyn Notices) -> Vec<Envelope> {
    let path = signatures_beside(component);
    if path.symlink_metadata().is_err() {
        return Vec::new();
    }
    read_envelopes(&path, MAX_SIGNATURES).unwrap_or_else(|error| {
        output.warning(&format!("plugin `{alias}`: failed to {}", error.one_line()));
        Vec::new()
    })
}
