//! What is asked of registries.

use lockgate_model::Digest;
use lockgate_model::oci::{OciName, VersionRange};
use semver::Version;

use crate::client::Client;
use crate::config::Registries;
use crate::error::RegistryError;
use crate::layout::{self, About, Descriptor, MANIFEST, Manifest, NOTHING, SIGNATURE_TYPE, wasm_layer};

/// Most signatures of one component that are read.
const MAX_REFERRERS: usize = 100;
/// Versions that a message lists.
const LISTED: usize = 10;

/// Which of a repository's components is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// That of a tag.
    Tag(String),
    /// That of a manifest.
    Manifest(Digest),
}

/// A version that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The version.
    pub version: Version,
    /// Its tag.
    pub tag: String,
}

/// A component as it lies in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Digest of its manifest.
    pub manifest: Digest,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// What goes along with a component: lines of DSSE envelopes.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// [`SIGNATURE_TYPE`] or [`ATTESTATION_TYPE`](crate::ATTESTATION_TYPE).
    pub artifact_type: &'static str,
    /// The lines.
    pub envelopes: Vec<u8>,
}

/// What a push came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Digest of the component's manifest.
    pub manifest: Digest,
    /// Whether the tag was there with the same manifest.
    pub unchanged: bool,
}

/// The registries of the world, or only what was pulled from them.
pub struct Registry {
    client: Client,
    offline: bool,
}

impl Registry {
    /// Registries. `offline`: none is asked.
    pub fn new(registries: Registries, offline: bool) -> Self {
        Self { client: Client::new(registries), offline }
    }

    /// The highest version that fits. Tags that are no versions do not count; `+` of a version is `_` in its tag.
    pub fn resolve(&self, name: &OciName, range: &VersionRange) -> Result<Resolved, RegistryError> {
        let tags = self.anywhere(name, false, &format!("the versions of `{name}`"), |at| self.client.tags(at))?;
        let mut versions: Vec<_> = tags.into_iter().filter_map(|tag| Some((version_of(&tag)?, tag))).collect();
        versions.sort();
        match versions.iter().rfind(|(version, _)| range.fits(version)) {
            Some((version, tag)) => Ok(Resolved { version: version.clone(), tag: tag.clone() }),
            None => Err(RegistryError::NoVersion {
                name: name.clone(),
                range: range.clone(),
                found: versions.iter().rev().take(LISTED).map(|(version, _)| version.to_string()).collect(),
            }),
        }
    }

    /// Which component it is.
    pub fn look(&self, name: &OciName, which: &Which) -> Result<Component, RegistryError> {
        let (reference, by_digest) = match which {
            Which::Tag(tag) => (tag.clone(), false),
            Which::Manifest(digest) => (digest.to_string(), true),
        };
        let what = format!("`{name}` {reference}");
        self.anywhere(name, by_digest, &what, |at| {
            let (manifest, bytes) = self.client.manifest(at, &reference)?;
            let layer = self.layer(at, &manifest, &what)?;
            Ok(Component { manifest: Digest::of(&bytes), digest: layer.digest, size: layer.size })
        })
    }

    /// The bytes of a component, which are those of its digest: at most `limit`.
    pub fn component(&self, name: &OciName, digest: Digest, limit: u64) -> Result<Vec<u8>, RegistryError> {
        self.anywhere(name, true, &digest.to_string(), |at| self.client.blob(at, digest, limit))
    }

    /// Lines of envelopes that refer to a component's manifest as its signatures. Nothing of them was verified.
    pub fn signatures(&self, name: &OciName, manifest: Digest, limit: u64) -> Result<Vec<u8>, RegistryError> {
        self.anywhere(name, true, &format!("the signatures of {manifest}"), |at| {
            let mut lines = Vec::new();
            let referrers = self.client.referrers(at, manifest)?.manifests;
            let signatures =
                referrers.into_iter().filter(|found| found.artifact_type.as_deref() == Some(SIGNATURE_TYPE));
            for found in signatures.take(MAX_REFERRERS) {
                let (manifest, _) = self.client.manifest(at, &found.digest.to_string())?;
                for layer in &manifest.layers {
                    let left = limit.saturating_sub(lines.len() as u64);
                    lines.extend(self.client.blob(at, layer.digest, left)?);
                    if !lines.ends_with(b"\n") {
                        lines.push(b'\n');
                    }
                }
            }
            Ok(lines)
        })
    }

    /// Pushes a component under a tag, with what goes along. A tag that is there with another manifest is replaced only if `force` says so.
    pub fn push(
        &self,
        name: &OciName,
        tag: &str,
        component: &[u8],
        about: &About,
        attachments: &[Attachment],
        force: bool,
    ) -> Result<Pushed, RegistryError> {
        self.online(name, "taking a component")?;
        let (config, manifest) = layout::component(component, about);
        let manifest = self.document(name, &manifest)?;
        let digest = Digest::of(&manifest);
        let unchanged = match self.client.manifest(name, tag) {
            Ok((_, bytes)) if Digest::of(&bytes) == digest => true,
            Ok((_, bytes)) if !force => {
                return Err(RegistryError::Exists {
                    name: name.clone(),
                    tag: tag.to_owned(),
                    found: Digest::of(&bytes),
                });
            }
            Ok(_) | Err(RegistryError::Missing { .. }) => false,
            Err(error) => return Err(error),
        };
        if !unchanged {
            self.client.put_blob(name, &config)?;
            self.client.put_blob(name, component)?;
        }
        // What vouches for it comes before the tag by which others find it.
        let subject = Descriptor::of(MANIFEST, &manifest);
        if !attachments.is_empty() {
            if !unchanged {
                self.client.put_manifest(name, &digest.to_string(), MANIFEST, &manifest)?;
            }
            self.client.put_blob(name, NOTHING)?;
        }
        for Attachment { artifact_type, envelopes } in attachments {
            self.client.put_blob(name, envelopes)?;
            let bytes = self.document(name, &layout::attached(subject.clone(), artifact_type, envelopes))?;
            let mut referrer = Descriptor::of(MANIFEST, &bytes);
            let listed = self.client.put_manifest(name, &referrer.digest.to_string(), MANIFEST, &bytes)?;
            if !listed {
                referrer.artifact_type = Some((*artifact_type).to_owned());
                self.client.refer(name, digest, referrer)?;
            }
        }
        if !unchanged {
            self.client.put_manifest(name, tag, MANIFEST, &manifest)?;
        }
        Ok(Pushed { manifest: digest, unchanged })
    }

    fn online(&self, name: &OciName, what: &str) -> Result<(), RegistryError> {
        match self.offline {
            true => Err(RegistryError::Offline { registry: name.registry().to_owned(), what: what.to_owned() }),
            false => Ok(()),
        }
    }

    /// Asks mirrors, then the registry itself, whose error is the one that counts.
    fn anywhere<T>(
        &self,
        name: &OciName,
        by_digest: bool,
        what: &str,
        ask: impl Fn(&OciName) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        self.online(name, what)?;
        for place in self.client.registries.places(name, by_digest) {
            match ask(&place) {
                Err(error) if error.elsewhere() && place != *name => {}
                ended => return ended,
            }
        }
        // The last place is the name itself.
        Err(RegistryError::Missing { what: what.to_owned() })
    }

    fn layer<'m>(&self, name: &OciName, manifest: &'m Manifest, what: &str) -> Result<&'m Descriptor, RegistryError> {
        wasm_layer(manifest).map_err(|why| RegistryError::Answer {
            registry: name.registry().to_owned(),
            what: what.to_owned(),
            why,
        })
    }

    fn document(&self, name: &OciName, manifest: &Manifest) -> Result<Vec<u8>, RegistryError> {
        serde_json::to_vec(manifest).map_err(|error| RegistryError::Answer {
            registry: name.registry().to_owned(),
            what: "a manifest".to_owned(),
            why: error.to_string(),
        })
    }
}

/// The version that a tag says: `1.2.3`, or `v1.2.3`.
fn version_of(tag: &str) -> Option<Version> {
    tag.strip_prefix('v').unwrap_or(tag).replace('_', "+").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_may_be_versions() {
        for (tag, version) in [
            ("1.2.3", Some("1.2.3")),
            ("v1.2.3", Some("1.2.3")),
            ("1.2.3_build.5", Some("1.2.3+build.5")),
            ("1.2", None),
            ("latest", None),
            ("sha256-00", None),
        ] {
            assert_eq!(version_of(tag).map(|found| found.to_string()).as_deref(), version, "{tag}");
        }
    }

    #[test]
    fn offline_nothing_is_asked() {
        let registry = Registry::new(Registries::default(), true);
        let name: OciName = "127.0.0.1:1/a".parse().unwrap();
        let error = registry.resolve(&name, &VersionRange::default()).unwrap_err();
        assert!(matches!(error, RegistryError::Offline { .. }), "{error}");
        let error = registry.component(&name, Digest::of(b""), 1).unwrap_err();
        assert!(matches!(error, RegistryError::Offline { .. }), "{error}");
    }
}
