//! What is permitted: by path, rule and fingerprint, in the config or in a list beside it.

use std::collections::BTreeMap;

use lockgate_sdk::prelude::*;
use sha2::{Digest, Sha256};

use crate::rules::Rules;
use crate::scan::Found;
use crate::{Allow, Config};

/// Permissions, and whether they were used.
pub struct Allowed<'c> {
    rules: &'c Rules,
    entries: Vec<(&'c Allow, bool)>,
    /// Fingerprints of the list: their lines, and whether they were used.
    baseline: BTreeMap<&'c str, (usize, bool)>,
    /// How often a context was there: equal lines of a file have fingerprints of their own.
    repeated: BTreeMap<[u8; 32], u32>,
}

impl<'c> Allowed<'c> {
    pub fn new(config: &'c Config, rules: &'c Rules, baseline: &'c str) -> Result<Self> {
        for allow in &config.allow {
            for id in &allow.rules {
                ensure!(rules.has(id), "`allow` speaks of `{id}`, which is no rule");
            }
            let all = allow.paths.is_empty() && allow.rules.is_empty() && allow.fingerprints.is_empty();
            ensure!(!all, "an entry of `allow` permits everything: name paths, rules or fingerprints");
            ensure!(!allow.reason.trim().is_empty(), "an entry of `allow` has no reason");
        }
        let mut lines = BTreeMap::new();
        for (number, line) in baseline.lines().enumerate() {
            let fingerprint = line.split('#').next().unwrap_or_default().trim();
            if !fingerprint.is_empty() {
                lines.insert(fingerprint, (number + 1, false));
            }
        }
        let entries = config.allow.iter().map(|allow| (allow, false)).collect();
        Ok(Self { rules, entries, baseline: lines, repeated: BTreeMap::new() })
    }

    /// Names what was found, wherever in its file it moves: rule, path, what stands before it on its line, and 12 bits of a hash of
    /// the value, so that another value does not pass under its permission. Of more bits a short password could be guessed.
    pub fn fingerprint(&mut self, path: &str, found: &Found) -> String {
        let mut hash = Sha256::new();
        for part in [self.rules.get(found.rule).id.as_bytes(), path.as_bytes(), &found.context] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let context: [u8; 32] = hash.finalize().into();
        let repeated = self.repeated.entry(context).or_default();
        let times = *repeated;
        *repeated += 1;
        let mut value = Sha256::new();
        value.update(context);
        value.update(times.to_le_bytes());
        let place: [u8; 32] = value.clone().finalize().into();
        value.update(&found.value);
        let value: [u8; 32] = value.finalize().into();
        let hex: String = place[..5].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{hex}{:03x}", u16::from_le_bytes([value[0], value[1]]) & 0xfff)
    }

    /// Whether it is permitted.
    pub fn permits(&mut self, path: &str, found: &Found, fingerprint: &str) -> bool {
        let id = &*self.rules.get(found.rule).id;
        let mut permitted = false;
        for (allow, used) in &mut self.entries {
            let fits = (allow.paths.is_empty()
                || allow.paths.iter().any(|pattern| fast_glob::glob_match(pattern, path)))
                && (allow.rules.is_empty() || allow.rules.iter().any(|rule| rule == id))
                && (allow.fingerprints.is_empty() || allow.fingerprints.iter().any(|known| known == fingerprint));
            *used |= fits;
            permitted |= fits;
        }
        if let Some((_, used)) = self.baseline.get_mut(fingerprint) {
            *used = true;
            permitted = true;
        }
        permitted
    }

    /// Permissions that nothing needs.
    pub fn unused(&self) -> Vec<Finding> {
        let entries = self.entries.iter().enumerate().filter(|(_, (_, used))| !used);
        let entries = entries
            .map(|(index, (allow, _))| format!("`allow[{index}]` permits nothing that is there: {}", allow.reason));
        let lines = self.baseline.values().filter(|(_, used)| !used);
        let lines = lines.map(|(line, _)| format!("line {line} of the baseline permits nothing that is there"));
        entries.chain(lines).take(100).map(|message| Finding::note(message).rule("unused-permission")).collect()
    }
}
