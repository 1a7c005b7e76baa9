//! What a signature of a plugin says: the predicate `urn:lockgate:plugin:v1` about a component's digest.
//!
//! ```text
//! {"expires":"2027-01-01T00:00:00Z","name":"scan","version":"1.2.3"}
//! ```
//!
//! Name and version are those of the component's manifest, the version by Semantic Versioning, so that a lower one is known when it
//! comes; `expires` (RFC 3339) may be left away. The statement's subjects are components by `sha256`.

use lockgate_model::Digest;
use lockgate_model::time::{parse_rfc3339, rfc3339};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::dsse::Envelope;
use crate::key::{KeyError, SecretKey};
use crate::statement::{Predicate, Resource, SHA256, Statement, StatementError};

/// Longest name or version that is read, in bytes.
const MAX_TEXT: usize = 200;

/// What is said of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginClaim {
    /// The plugin's name by its manifest.
    pub name: String,
    /// Its version by its manifest.
    pub version: String,
    /// Until when the signature counts, RFC 3339; none: as long as the key does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl Predicate for PluginClaim {
    const TYPE: &'static str = "urn:lockgate:plugin:v1";
}

/// A plugin with a version that cannot be compared, so nobody could tell a lower one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use version `{found}` of the plugin `{name}`: it is not one by Semantic Versioning ({reason})")]
pub struct VersionError {
    /// The plugin.
    pub name: String,
    /// Its version.
    pub found: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What is known of a component that is to be signed, or whose signatures are looked at: digest, and name and version by its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginId {
    /// Digest of the component.
    pub digest: Digest,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
}

impl PluginId {
    /// Takes name and version of a manifest.
    pub fn new(digest: Digest, name: &str, version: &str) -> Result<Self, VersionError> {
        let cut = |text: &str| text.chars().take(MAX_TEXT).collect::<String>();
        let parsed = if version.len() > MAX_TEXT { Err("it is too long".to_owned()) } else { parse(version) };
        let wrong = |reason| VersionError { name: cut(name), found: cut(version), reason };
        Ok(Self { digest, name: name.to_owned(), version: parsed.map_err(wrong)? })
    }
}

fn parse(version: &str) -> Result<Version, String> {
    version.parse().map_err(|error: semver::Error| error.to_string())
}

/// Signs a component: adds the key's signature to envelopes that there are. An earlier signature of the same key over this component is
/// replaced; one over another component (an earlier build, say) goes, as these envelopes stand beside one file.
pub fn sign(
    envelopes: &mut Vec<Envelope>,
    file: &str,
    plugin: &PluginId,
    expires: Option<u64>,
    key: &SecretKey,
) -> Result<(), KeyError> {
    let claim =
        PluginClaim { name: plugin.name.clone(), version: plugin.version.to_string(), expires: expires.map(rfc3339) };
    let statement = Statement::new(vec![Resource::new(file, SHA256, plugin.digest)], &claim);
    let public = key.public()?;
    envelopes.iter_mut().for_each(|envelope| envelope.remove(&public));
    let about_it = |envelope: &Envelope| {
        Statement::of(envelope).is_ok_and(|statement| statement.find(SHA256, plugin.digest).is_some())
    };
    envelopes.retain(|envelope| !envelope.is_unsigned() && about_it(envelope));
    let envelope = statement.envelope();
    match envelopes.iter_mut().find(|found| found.payload() == envelope.payload()) {
        Some(found) => found.sign(key),
        None => {
            envelopes.push(envelope);
            envelopes.last_mut().map_or(Ok(()), |envelope| envelope.sign(key))
        }
    }
}

/// What an envelope claims of components; nothing of it is true until a signature was verified.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Claimed {
    pub(crate) statement: Statement,
    pub(crate) name: String,
    pub(crate) version: Version,
    pub(crate) expires: Option<u64>,
}

impl Claimed {
    pub(crate) fn of(envelope: &Envelope) -> Result<Self, StatementError> {
        let statement = Statement::of(envelope)?;
        let claim: PluginClaim = statement.predicate()?;
        if claim.name.len() > MAX_TEXT || claim.version.len() > MAX_TEXT {
            return Err(StatementError::Value("its name or version is too long".to_owned()));
        }
        let version = parse(&claim.version)
            .map_err(|reason| StatementError::Value(format!("`{}` is no version ({reason})", claim.version)))?;
        let expires = match &claim.expires {
            None => None,
            Some(text) => {
                let wrong =
                    || StatementError::Value("`expires` is not a moment as in `2027-01-01T00:00:00Z`".to_owned());
                Some(parse_rfc3339(text).ok_or_else(wrong)?)
            }
        };
        Ok(Self { statement, name: claim.name, version, expires })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signing_adds_replaces_and_forgets_other_builds() {
        let key = |seed| SecretKey::from_seed(&[seed; 32]);
        let plugin = PluginId::new(Digest::of(b"one"), "scan", "1.0.0").unwrap();
        let mut envelopes = Vec::new();
        let mut sign = |plugin: &PluginId, seed, expires| {
            sign(&mut envelopes, "scan.wasm", plugin, expires, &key(seed)).unwrap();
            envelopes.iter().map(|envelope| envelope.claimed_keys().count()).collect::<Vec<_>>()
        };
        assert_eq!(sign(&plugin, 1, None), [1]);
        assert_eq!(sign(&plugin, 2, None), [2], "one envelope with two signatures");
        assert_eq!(sign(&plugin, 2, None), [2], "the same again");
        assert_eq!(sign(&plugin, 2, Some(5_000)), [1, 1], "another claim is another envelope");
        assert_eq!(sign(&plugin, 1, Some(5_000)), [2], "nothing without a signature stays");
        let next = PluginId::new(Digest::of(b"two"), "scan", "1.0.1").unwrap();
        assert_eq!(sign(&next, 1, None), [1], "of another build nothing stays");
        assert_eq!(Claimed::of(&envelopes[0]).unwrap().version.to_string(), "1.0.1");
    }

    #[test]
    fn versions_must_be_comparable() {
        for version in ["", "1", "1.0", "latest", "1.0.0.0", &"9".repeat(201)] {
            let error = PluginId::new(Digest::of(b""), "scan", version).unwrap_err();
            assert!(error.to_string().contains("Semantic Versioning"), "{error}");
        }
    }
}
