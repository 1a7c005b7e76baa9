//! Names of components in OCI registries, and ranges of their versions. No network: what answers them stands in `lockgate-registry`.

use std::fmt;
use std::str::FromStr;

use semver::{Version, VersionReq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::from_text;

/// Longest path of a repository, without its registry, as registries take it.
const MAX_PATH: usize = 255;
/// Longest host with its port.
const MAX_HOST: usize = 255 + 6;
/// Longest text of a range.
const MAX_RANGE: usize = 256;

/// A text that names no repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use `{text}` as the name of a component in a registry: {why}")]
pub struct OciNameError {
    text: String,
    why: &'static str,
}

/// A component in a registry, without tag and digest: `registry.example/acme/scan`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OciName {
    registry: String,
    path: String,
}

impl OciName {
    /// The host, with its port if it has one: `registry.example`, `127.0.0.1:5000`, `[::1]:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// What stands behind the host: `acme/scan`.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for OciName {
    type Err = OciNameError;

    /// The grammar of OCI's distribution specification, with a registry that has to be named: none is the default.
    fn from_str(text: &str) -> Result<Self, OciNameError> {
        let wrong = |why| OciNameError { text: text.chars().take(200).collect(), why };
        let (registry, path) =
            text.split_once('/').ok_or_else(|| wrong("it lacks a host, as in `ghcr.io/acme/scan`"))?;
        if text.contains('@') {
            return Err(wrong("a digest stands in `digest`, or in the lock file"));
        }
        if path.contains(':') {
            return Err(wrong("which version it is stands in `version`"));
        }
        if registry.len() > MAX_HOST || path.len() > MAX_PATH {
            return Err(wrong("it is too long"));
        }
        if !is_host(registry) {
            return Err(wrong("it has to begin with a host, as in `ghcr.io/acme/scan` or `localhost:5000/scan`"));
        }
        if !path.split('/').all(is_component) {
            return Err(wrong(
                "behind the host stand lower-case letters and digits, with `.`, `_`, `-` and `/` between them",
            ));
        }
        Ok(Self { registry: registry.to_ascii_lowercase(), path: path.to_owned() })
    }
}

/// A host that cannot be taken for a part of a path, because it holds a dot or a colon, or is `localhost`.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("localhost", port),
            _ => return false,
        },
        None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
    };
    let port_fits =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    port_fits && host.split('.').all(label) && (host.contains('.') || !port.is_empty() || host == "localhost")
}

/// Letters and digits, with one `.`, one or two `_`, or any number of `-` between them.
fn is_component(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let runs = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.bytes().all(|byte| letter(byte) || b"._-".contains(&byte))
        && text.bytes().next().is_some_and(letter)
        && text.bytes().last().is_some_and(letter)
        && runs
            .filter(|run| !run.is_empty())
            .all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|b| b == b'-'))
}

impl fmt::Display for OciName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.registry, self.path))
    }
}

/// Which versions will do, as Cargo writes it: `^1.2`, `>=1.2, <3`, `=1.2.3`, `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange {
    text: String,
    range: VersionReq,
}

impl VersionRange {
    /// Whether a version fits. One with a pre-release fits only a range that names a pre-release of the same version.
    pub fn fits(&self, version: &Version) -> bool {
        self.range.matches(version)
    }

    /// The highest version that fits.
    pub fn highest<'v>(&self, versions: impl IntoIterator<Item = &'v Version>) -> Option<&'v Version> {
        versions.into_iter().filter(|version| self.fits(version)).max()
    }
}

/// Any version but pre-releases.
impl Default for VersionRange {
    fn default() -> Self {
        Self { text: "*".to_owned(), range: VersionReq::STAR }
    }
}

impl FromStr for VersionRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > MAX_RANGE {
            return Err(format!("use a range of versions with more than {MAX_RANGE} bytes"));
        }
        let range = text.parse().map_err(|error| format!("use `{text}` as a range of versions: {error}"))?;
        Ok(Self { text: text.to_owned(), range })
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_text(deserializer, str::parse)
            }
        }
    };
}

as_text!(OciName);
as_text!(VersionRange);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_host_and_a_path() {
        for (text, registry, path) in [
            ("ghcr.io/acme/scan", "ghcr.io", "acme/scan"),
            ("localhost/scan", "localhost", "scan"),
            ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000", "a/b/c"),
            ("[::1]:5000/a", "[::1]:5000", "a"),
            ("Registry.Example/a.b_c__d--e", "registry.example", "a.b_c__d--e"),
        ] {
            let name: OciName = text.parse().unwrap();
            assert_eq!((name.registry(), name.path()), (registry, path));
        }
        for text in [
            "",
            "scan",
            "acme/scan",
            "/scan",
            "ghcr.io/",
            "ghcr.io/Acme",
            "ghcr.io//a",
            "ghcr.io/a/",
            "ghcr.io/a:1",
            "ghcr.io/a@sha256:b",
            "ghcr.io/../a",
            "ghcr.io/a/../b",
            "ghcr.io/.a",
            "ghcr.io/a___b",
            "ghcr.io/a..b",
            "ghcr.io:0/a",
            "ghcr.io:x/a",
            "gh cr.io/a",
            "user@ghcr.io/a",
            "[::1/a",
            "[x]/a",
            "-a.b/c",
            "ghcr.io/a?b",
            "ghcr.io/ä",
        ] {
            assert!(text.parse::<OciName>().is_err(), "{text}");
        }
        assert!(format!("ghcr.io/{}", "a".repeat(256)).parse::<OciName>().is_err());
    }

    #[test]
    fn the_highest_version_that_fits_is_taken() {
        let versions: Vec<Version> =
            ["1.0.0", "1.10.0", "1.9.0", "2.0.0-rc.1", "2.0.0"].iter().map(|text| text.parse().unwrap()).collect();
        let highest = |range: &str| range.parse::<VersionRange>().unwrap().highest(&versions).map(ToString::to_string);
        assert_eq!(highest("^1.2").as_deref(), Some("1.10.0"));
        assert_eq!(highest("*").as_deref(), Some("2.0.0"));
        assert_eq!(highest("<2.0.0").as_deref(), Some("1.10.0"));
        assert_eq!(highest(">=2.0.0-rc.1, <2.0.0").as_deref(), Some("2.0.0-rc.1"));
        assert_eq!(highest("^3"), None);
        assert!("one".parse::<VersionRange>().is_err());
    }
}
