//! Whether somebody who is trusted vouches for a component: signatures against trust roots, their ends, and what was revoked.
//!
//! Whether a version is lower than one seen before is decided by [`lowered`]: what was seen is kept by others.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_model::Digest;
use lockgate_model::time::rfc3339;
use semver::Version;

use crate::dsse::Envelope;
use crate::key::{KeyId, PublicKey};
use crate::plugin::{Claimed, PluginId};
use crate::statement::{SHA256, StatementError};

/// Somebody whose signature counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Their name.
    pub name: String,
    /// Their key.
    pub key: PublicKey,
    /// Until when it counts, in milliseconds since 1970; none: until it is revoked.
    pub until: Option<u64>,
}

/// What counts no longer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revoked {
    /// Keys, whoever has them.
    pub keys: BTreeSet<KeyId>,
    /// Components, whoever signed them.
    pub digests: BTreeSet<Digest>,
}

/// A signature of a plugin that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Whose it is.
    pub signer: String,
    /// The key.
    pub key: KeyId,
    /// Until when it counts, in milliseconds since 1970: the earlier end of signature and signer.
    pub until: Option<u64>,
}

/// Why a signature does not count, or a component is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The component is on the list.
    #[error("the component `{0}` was revoked")]
    RevokedComponent(Digest),
    /// There is no signature at all.
    #[error("it is not signed")]
    Unsigned,
    /// There are signatures, but none of those that are trusted.
    #[error("no signature is by {}; there are signatures by {}", list(trusted), list(claimed))]
    Unknown {
        /// Whose signatures would count.
        trusted: Vec<String>,
        /// Keys that the signatures name, the first digits of their ids.
        claimed: Vec<String>,
    },
    /// The key is on the list.
    #[error("the key {key} of `{signer}` was revoked")]
    RevokedKey {
        /// Whose key.
        signer: String,
        /// Its id.
        key: KeyId,
    },
    /// The signer's time is over.
    #[error("signatures of `{signer}` counted until {}", rfc3339(*until))]
    SignerEnded {
        /// Who.
        signer: String,
        /// Until when, in milliseconds since 1970.
        until: u64,
    },
    /// The signature's time is over.
    #[error("the signature of `{signer}` expired at {}", rfc3339(*at))]
    Expired {
        /// Whose.
        signer: String,
        /// When, in milliseconds since 1970.
        at: u64,
    },
    /// The signature is over another component.
    #[error(
        "the signature of `{signer}` is for the component `{found}`, not for `{wanted}`: one of both files was changed"
    )]
    OtherComponent {
        /// Whose.
        signer: String,
        /// What it is for.
        found: String,
        /// What is there.
        wanted: Digest,
    },
    /// The signature names another plugin than the component does.
    #[error("the signature of `{signer}` is for `{found}`, but the component calls itself `{wanted}`")]
    OtherPlugin {
        /// Whose.
        signer: String,
        /// Name and version by the signature.
        found: String,
        /// Name and version by the manifest.
        wanted: String,
    },
    /// What a trusted key signed is something else.
    #[error("the signature of `{signer}` is not one of a plugin: failed to {reason}")]
    NotAPlugin {
        /// Whose.
        signer: String,
        /// Why not.
        reason: String,
    },
}

/// `a`, `b`.
fn list(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        _ => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

/// Who of `signers` vouches for a component, in their order; if nobody does, every reason.
pub fn verify_plugin(
    plugin: &PluginId,
    envelopes: &[Envelope],
    signers: &[Signer],
    revoked: &Revoked,
    now: u64,
) -> Result<Vec<Accepted>, Vec<Refusal>> {
    if revoked.digests.contains(&plugin.digest) {
        return Err(vec![Refusal::RevokedComponent(plugin.digest)]);
    }
    let (mut accepted, mut refusals) = (Vec::new(), Vec::new());
    for signer in signers {
        let mut good = None;
        let mut reasons = Vec::new();
        // Verified before anything of it is believed.
        for envelope in envelopes.iter().filter(|envelope| envelope.is_signed_by(&signer.key)) {
            match check(plugin, envelope, signer, revoked, now) {
                Ok(found) => good = Some(found),
                Err(refusal) => reasons.push(refusal),
            }
        }
        match good {
            Some(found) => accepted.push(found),
            None => refusals.extend(reasons),
        }
    }
    if !accepted.is_empty() {
        return Ok(accepted);
    }
    if refusals.is_empty() {
        let trusted = signers.iter().map(|signer| signer.name.clone()).collect();
        let keys: BTreeSet<String> = envelopes.iter().flat_map(Envelope::claimed_keys).map(shown_key).collect();
        let claimed = keys.into_iter().take(5).collect();
        refusals.push(if envelopes.is_empty() { Refusal::Unsigned } else { Refusal::Unknown { trusted, claimed } });
    }
    Err(refusals)
}

/// What a signature says of its key is anything.
fn shown_key(claimed: &str) -> String {
    let shown: String = claimed.chars().filter(char::is_ascii_graphic).take(16).collect();
    if shown.is_empty() { "a key without an id".to_owned() } else { shown }
}

fn check(
    plugin: &PluginId,
    envelope: &Envelope,
    signer: &Signer,
    revoked: &Revoked,
    now: u64,
) -> Result<Accepted, Refusal> {
    let (name, key) = (signer.name.clone(), signer.key.id());
    if revoked.keys.contains(&key) {
        return Err(Refusal::RevokedKey { signer: name, key });
    }
    if let Some(until) = signer.until.filter(|until| *until <= now) {
        return Err(Refusal::SignerEnded { signer: name, until });
    }
    let claimed = match Claimed::of(envelope) {
        Ok(claimed) => claimed,
        Err(error) => return Err(Refusal::NotAPlugin { signer: name, reason: chain(&error) }),
    };
    if claimed.statement.find(SHA256, plugin.digest).is_none() {
        let first = claimed.statement.subject.first().and_then(|subject| subject.digest(SHA256));
        let found = first.map_or_else(|| "none".to_owned(), |digest| digest.to_string());
        return Err(Refusal::OtherComponent { signer: name, found, wanted: plugin.digest });
    }
    if claimed.name != plugin.name || claimed.version != plugin.version {
        let found = format!("{} {}", claimed.name, claimed.version);
        return Err(Refusal::OtherPlugin {
            signer: name,
            found,
            wanted: format!("{} {}", plugin.name, plugin.version),
        });
    }
    if let Some(at) = claimed.expires.filter(|at| *at <= now) {
        return Err(Refusal::Expired { signer: name, at });
    }
    let until = [signer.until, claimed.expires].into_iter().flatten().min();
    Ok(Accepted { signer: name, key, until })
}

fn chain(error: &StatementError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

/// A signer who vouched for a higher version before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("version {version} of `{plugin}` is lower than {seen}, which was accepted from `{signer}` before")]
pub struct Lowered {
    /// The plugin's name.
    pub plugin: String,
    /// Who.
    pub signer: String,
    /// The version that is there.
    pub version: Version,
    /// The highest one that was accepted before.
    pub seen: Version,
}

/// Whether one of those who vouch for a plugin vouched for a higher version of it before. `seen`: by signer. All count: else somebody who
/// signed old versions only would be a way back to them.
pub fn lowered(plugin: &PluginId, accepted: &[Accepted], seen: &BTreeMap<String, Version>) -> Option<Lowered> {
    accepted.iter().find_map(|accepted| {
        let seen = seen.get(&accepted.signer).filter(|seen| seen.cmp_precedence(&plugin.version).is_gt())?;
        let (plugin, version) = (plugin.name.clone(), plugin.version.clone());
        Some(Lowered { plugin, signer: accepted.signer.clone(), version, seen: seen.clone() })
    })
}

/// Whether a version is higher than another, both as text. One that cannot be read gives way.
pub fn is_higher(version: &str, than: &str) -> bool {
    match (version.parse::<Version>(), than.parse::<Version>()) {
        (Ok(version), Ok(than)) => version.cmp_precedence(&than).is_gt(),
        (readable, _) => readable.is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsse;
    use crate::key::SecretKey;
    use crate::plugin::sign;
    use crate::statement::{Resource, Statement};

    const NOW: u64 = 1_800_000_000_000;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed(&[seed; 32])
    }

    fn plugin(version: &str) -> PluginId {
        PluginId::new(Digest::of(b"component"), "scan", version).unwrap()
    }

    fn signer(name: &str, seed: u8, until: Option<u64>) -> Signer {
        Signer { name: name.into(), key: key(seed).public().unwrap(), until }
    }

    fn signed(plugin: &PluginId, expires: Option<u64>, seed: u8) -> Vec<Envelope> {
        let mut envelopes = Vec::new();
        sign(&mut envelopes, "scan.wasm", plugin, expires, &key(seed)).unwrap();
        dsse::read(dsse::write(&envelopes).as_bytes()).unwrap()
    }

    fn why(result: Result<Vec<Accepted>, Vec<Refusal>>) -> String {
        result.unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_good_signature_counts_until_its_earlier_end() {
        let plugin = plugin("1.0.0");
        let envelopes = signed(&plugin, Some(NOW + 1_000), 1);
        let none = Revoked::default();
        let signers = [signer("other", 2, None), signer("acme", 1, Some(NOW + 5_000))];
        let accepted = verify_plugin(&plugin, &envelopes, &signers, &none, NOW).unwrap();
        let expected = Accepted { signer: "acme".into(), key: signers[1].key.id(), until: Some(NOW + 1_000) };
        assert_eq!(accepted, [expected]);
        assert!(verify_plugin(&plugin, &envelopes, &signers, &none, NOW + 999).is_ok());
        assert!(
            why(verify_plugin(&plugin, &envelopes, &signers, &none, NOW + 1_000)).contains("expired at 2027-01-15")
        );
    }

    #[test]
    fn every_refusal_has_its_reason() {
        let right = plugin("1.0.0");
        let none = Revoked::default();
        let verify = |envelopes: &[Envelope], signer: Signer, revoked: &Revoked| {
            why(verify_plugin(&right, envelopes, &[signer], revoked, NOW))
        };
        let acme = || signer("acme", 1, None);
        let good = signed(&right, None, 1);
        assert_eq!(verify(&[], acme(), &none), "it is not signed");
        let unknown = verify(&signed(&right, None, 9), acme(), &none);
        let id = key(9).public().unwrap().id().short();
        assert_eq!(unknown, format!("no signature is by `acme`; there are signatures by `{id}`"));
        let revoked = Revoked { digests: [right.digest].into(), ..Revoked::default() };
        assert!(verify(&good, acme(), &revoked).contains("was revoked"));
        let revoked = Revoked { keys: [acme().key.id()].into(), ..Revoked::default() };
        assert!(verify(&good, acme(), &revoked).contains("of `acme` was revoked"));
        assert!(verify(&good, signer("acme", 1, Some(NOW)), &none).contains("counted until"));
        let other = PluginId { digest: Digest::of(b"other"), ..right.clone() };
        assert!(verify(&signed(&other, None, 1), acme(), &none).contains("one of both files was changed"));
        let renamed = PluginId { name: "lint".into(), ..right.clone() };
        assert!(verify(&signed(&renamed, None, 1), acme(), &none).contains("is for `lint 1.0.0`"));
        assert!(verify(&signed(&plugin("1.0.1"), None, 1), acme(), &none).contains("is for `scan 1.0.1`"));
        // A trusted key signs other things, too: none of them is a plugin.
        let head = crate::head::Head { records: 1, first: right.digest, time: "2026-11-21T00:00:00Z".into() };
        let statement = Statement::new(vec![Resource::new("scan.wasm", SHA256, right.digest)], &head);
        assert!(verify(&[statement.sign(&key(1)).unwrap()], acme(), &none).contains("not one of a plugin"));
    }

    #[test]
    fn a_bad_signature_does_not_spoil_a_good_one() {
        let right = plugin("1.0.0");
        let mut envelopes = signed(&right, Some(NOW - 1), 1);
        envelopes.extend(signed(&right, None, 1));
        assert_eq!(
            verify_plugin(&right, &envelopes, &[signer("acme", 1, None)], &Revoked::default(), NOW).unwrap().len(),
            1
        );
    }

    #[test]
    fn a_signature_by_the_wrong_key_under_the_right_id_is_none() {
        let right = plugin("1.0.0");
        let line = dsse::write(&signed(&right, None, 9));
        let forged = line.replace(&key(9).public().unwrap().id().hex(), &key(1).public().unwrap().id().hex());
        let envelopes = dsse::read(forged.as_bytes()).unwrap();
        assert!(verify_plugin(&right, &envelopes, &[signer("acme", 1, None)], &Revoked::default(), NOW).is_err());
    }

    #[test]
    fn lower_versions_are_known() {
        let accepted = |name: &str| Accepted { signer: name.into(), key: key(1).public().unwrap().id(), until: None };
        let seen = BTreeMap::from([("acme".to_owned(), Version::new(1, 10, 0))]);
        let lowered = |version: &str, by: &str| lowered(&plugin(version), &[accepted("new"), accepted(by)], &seen);
        assert_eq!(lowered("1.10.0", "acme"), None);
        assert_eq!(lowered("1.11.0", "acme"), None);
        assert_eq!(lowered("1.9.0", "other"), None);
        let text = lowered("1.9.0", "acme").unwrap().to_string();
        assert_eq!(text, "version 1.9.0 of `scan` is lower than 1.10.0, which was accepted from `acme` before");
        assert!(lowered("1.10.0-rc.1", "acme").is_some(), "what comes before a release is lower");
        assert!(lowered("1.10.0+build.2", "acme").is_none(), "a build is no version");
        assert!(is_higher("1.10.0", "1.9.0") && !is_higher("1.9.0", "1.10.0") && !is_higher("1.9.0", "1.9.0+b"));
        assert!(is_higher("1.0.0", "x") && !is_higher("x", "1.0.0"));
    }
}
