//! `registries.toml`: mirrors of registries, their certificates, and those that speak no TLS.
//!
//! ```toml
//! schema = 1
//!
//! [registry."ghcr.io"]
//! mirrors = ["mirror.example:5000/ghcr"]   # asked first for what is named by digest
//! mirror_tags = true                       # and for tags: whoever runs the mirror then says which versions there are
//!
//! [registry."mirror.example:5000"]
//! certificates = "/etc/ssl/mirror.pem"     # trusted besides those of the machine
//! insecure = false                         # true: plain HTTP, which is what loopback addresses speak anyway
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use lockgate_model::oci::OciName;
use serde::Deserialize;

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Why the file does not do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("read `{}`: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It says something that cannot be.
    #[error("read `{}`: {why}", .path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        why: String,
    },
}

/// What is known of registries besides their names.
#[derive(Debug, Clone, Default)]
pub struct Registries {
    by_host: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    mirrors: Vec<String>,
    #[serde(default)]
    mirror_tags: bool,
    #[serde(default)]
    certificates: Option<PathBuf>,
    #[serde(default)]
    insecure: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: u32,
    #[serde(default)]
    registry: BTreeMap<String, Entry>,
}

impl Registries {
    /// Reads a file. One that is not there says nothing, unless it is `needed`.
    pub fn read(path: &Path, needed: bool) -> Result<Self, ConfigError> {
        let failed = |error| ConfigError::Read { path: path.to_owned(), error };
        let text = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !needed => return Ok(Self::default()),
            Err(error) => return Err(failed(error)),
            Ok(meta) if meta.len() > MAX_FILE => {
                let why = format!("it has more than {MAX_FILE} bytes");
                return Err(ConfigError::Wrong { path: path.to_owned(), why });
            }
            Ok(_) => fs::read_to_string(path).map_err(failed)?,
        };
        Self::parse(&text).map_err(|why| ConfigError::Wrong { path: path.to_owned(), why })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        if file.schema != 1 {
            return Err(format!("its `schema` is {}, and this version of lockgate reads 1", file.schema));
        }
        for (host, entry) in &file.registry {
            format!("{host}/x").parse::<OciName>().map_err(|error| error.to_string())?;
            for mirror in &entry.mirrors {
                format!("{mirror}/x").parse::<OciName>().map_err(|error| error.to_string())?;
            }
        }
        let by_host = file.registry.into_iter().map(|(host, entry)| (host.to_ascii_lowercase(), entry)).collect();
        Ok(Self { by_host })
    }

    /// Where a component may be, in the order in which it is asked for: mirrors, then the registry itself.
    pub(crate) fn places(&self, name: &OciName, by_digest: bool) -> Vec<OciName> {
        let entry = self.by_host.get(name.registry());
        let mirrors = entry.filter(|entry| by_digest || entry.mirror_tags).map(|entry| &entry.mirrors[..]);
        let mirrors = mirrors.unwrap_or_default().iter();
        // A mirror's path with the name's behind it may be too long for a name: then it cannot be there.
        let mut places: Vec<_> = mirrors.filter_map(|at| format!("{at}/{}", name.path()).parse().ok()).collect();
        places.push(name.clone());
        places
    }

    /// Whether it speaks plain HTTP: only where somebody said so, or where nobody can listen.
    pub(crate) fn is_plain(&self, registry: &str) -> bool {
        self.by_host.get(registry).and_then(|entry| entry.insecure).unwrap_or_else(|| is_loopback(registry))
    }

    /// More certificates to trust for it.
    pub(crate) fn certificates(&self, registry: &str) -> Option<&Path> {
        self.by_host.get(registry)?.certificates.as_deref()
    }
}

fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => registry.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(places: Vec<OciName>) -> Vec<String> {
        places.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn mirrors_are_asked_first_for_what_is_named_by_digest() {
        let name: OciName = "ghcr.io/acme/scan".parse().unwrap();
        let text = "schema = 1\n[registry.\"GHCR.io\"]\nmirrors = [\"m.example:5000/gh\", \"n.example\"]\n";
        let registries = Registries::parse(text).unwrap();
        assert_eq!(
            shown(registries.places(&name, true)),
            ["m.example:5000/gh/acme/scan", "n.example/acme/scan", "ghcr.io/acme/scan"]
        );
        assert_eq!(shown(registries.places(&name, false)), ["ghcr.io/acme/scan"]);
        let registries = Registries::parse(&format!("{text}mirror_tags = true\n")).unwrap();
        assert_eq!(registries.places(&name, false).len(), 3);
    }

    #[test]
    fn plain_http_is_for_loopback_and_where_it_is_said() {
        let registries = Registries::parse(
            "schema = 1\n[registry.\"a.example\"]\ninsecure = true\n[registry.\"localhost:1\"]\ninsecure = false\n",
        )
        .unwrap();
        for (registry, plain) in [
            ("a.example", true),
            ("b.example", false),
            ("localhost:1", false),
            ("localhost:2", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("10.0.0.1:5000", false),
            ("localhost.example", false),
            ("127.0.0.1.example:80", false),
        ] {
            assert_eq!(registries.is_plain(registry), plain, "{registry}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_file_is_said() {
        let wrong = |text: &str| Registries::parse(text).unwrap_err();
        assert!(wrong("schema = 2").contains("`schema` is 2"));
        assert!(wrong("schema = 1\n[registry.\"a.example\"]\nmirror = []").contains("unknown field `mirror`"));
        assert!(wrong("schema = 1\n[registry.acme]").contains("begin with a host"));
        assert!(wrong("schema = 1\n[registry.\"a.example\"]\nmirrors = [\"https://b\"]").contains("https:"));
        let dir = tempfile::tempdir().unwrap();
        assert!(Registries::read(&dir.path().join("none.toml"), false).is_ok());
        assert!(Registries::read(&dir.path().join("none.toml"), true).is_err());
    }
}
