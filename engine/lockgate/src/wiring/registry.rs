//! Components from registries: where this machine keeps them, and which one a pipeline means. What speaks to registries is
//! `lockgate-registry`.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lockgate_model::Digest;
use lockgate_model::limits::ComponentLimits;
use lockgate_model::lock::Lock;
use lockgate_model::oci::{OciName, VersionRange};
use lockgate_model::pipeline::PluginSource;
use lockgate_registry::{Cache, Cached, Component, Registries, Registry, Which};

use crate::error::{Class, Error};
use crate::wiring::lock::{lock_path, read_lock};
use crate::wiring::signatures::MAX_SIGNATURES;
use crate::wiring::text::clean_line;

/// Names the file about registries.
pub const REGISTRIES_VARIABLE: &str = "LOCKGATE_REGISTRIES";
/// Names the directory of pulled components.
pub const CACHE_VARIABLE: &str = "LOCKGATE_CACHE";
/// Says that no registry is asked.
pub const OFFLINE_VARIABLE: &str = "LOCKGATE_OFFLINE";

/// Where pulled components are, or would be.
pub fn cache() -> Result<Cache, Error> {
    let dir = dir_by(CACHE_VARIABLE, "XDG_CACHE_HOME", ".cache", "lockgate/components", |name| std::env::var_os(name));
    dir.map(Cache::new).ok_or_else(|| {
        let error = anyhow::anyhow!(
            "find the directory of pulled components: none of {CACHE_VARIABLE}, XDG_CACHE_HOME and HOME is set"
        );
        Error::new(Class::Wrong, error).hint(format!("name it with `{CACHE_VARIABLE}`"))
    })
}

/// The file about registries, and whether it has to be there.
pub fn registries_file() -> Option<(PathBuf, bool)> {
    let get = |name: &str| std::env::var_os(name);
    let named = get(REGISTRIES_VARIABLE).is_some_and(|value| !value.is_empty());
    let file = dir_by(REGISTRIES_VARIABLE, "XDG_CONFIG_HOME", ".config", "lockgate/registries.toml", get);
    file.map(|file| (file, named))
}

fn dir_by(
    own: &str,
    xdg: &str,
    below_home: &str,
    rest: &str,
    get: impl Fn(&str) -> Option<OsString>,
) -> Option<PathBuf> {
    let path = |name: &str| get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // Relative ones are to be ignored, says the XDG Base Directory Specification.
    let base = || path(xdg).filter(|dir| dir.is_absolute()).or_else(|| path("HOME").map(|home| home.join(below_home)));
    path(own).or_else(|| base().map(|base| base.join(rest)))
}

/// Registries, and what was pulled from them.
pub struct Depot {
    /// What is asked.
    pub registry: Registry,
    /// What was pulled.
    pub cache: Cache,
}

impl Depot {
    /// As this machine has them.
    pub fn open(offline: bool) -> Result<Self, Error> {
        let said =
            std::env::var_os(OFFLINE_VARIABLE).is_some_and(|value| !matches!(value.to_str(), Some("" | "0" | "false")));
        let registries = match registries_file() {
            Some((path, needed)) => Registries::read(&path, needed)?,
            None => Registries::default(),
        };
        Ok(Self { registry: Registry::new(registries, offline || said), cache: cache()? })
    }

    /// A component by its digest: as it was pulled, or from a registry. Its signatures are found by the tag of its version.
    pub fn pinned(&self, name: &OciName, digest: Digest, version: Option<&str>) -> Result<Cached, Error> {
        if let Some(cached) = self.cache.find(digest)? {
            return Ok(cached);
        }
        let tagged = version.map(|version| self.registry.look(name, &Which::Tag(tag_of(version))));
        // A tag that was moved or removed is no reason not to take what the digest names.
        let manifest = tagged.and_then(Result::ok).filter(|found| found.digest == digest).map(|found| found.manifest);
        self.take(name, digest, manifest)
    }

    /// Pulls a component, unless it was pulled before, with the signatures that it has now.
    pub fn pull(&self, name: &OciName, component: &Component) -> Result<Cached, Error> {
        let limit = ComponentLimits::default().size;
        if component.size > limit.0 {
            let size = lockgate_model::units::Bytes(component.size);
            let error = anyhow::anyhow!("pull `{name}`: it is {size}; at most {limit} are permitted");
            return Err(Error::new(Class::Wrong, error));
        }
        self.take(name, component.digest, Some(component.manifest))
    }

    /// What the command line names: the highest version where it names none.
    pub fn named(&self, reference: &Reference) -> Result<(Component, Cached), Error> {
        let name = &reference.name;
        let which = match &reference.which {
            Some(which) => which.clone(),
            None => Which::Tag(self.registry.resolve(name, &VersionRange::default())?.tag),
        };
        let component = self.registry.look(name, &which)?;
        let cached = self.pull(name, &component)?;
        Ok((component, cached))
    }

    fn take(&self, name: &OciName, digest: Digest, manifest: Option<Digest>) -> Result<Cached, Error> {
        let bytes = match self.cache.find(digest)? {
            Some(cached) => cached.bytes,
            None => self.registry.component(name, digest, ComponentLimits::default().size.0)?,
        };
        let signatures = match manifest {
            Some(manifest) => self.registry.signatures(name, manifest, MAX_SIGNATURES as u64)?,
            None => Vec::new(),
        };
        Ok(self.cache.keep(bytes, &signatures)?)
    }
}

/// A version as a tag: tags hold no `+`.
pub fn tag_of(version: &str) -> String {
    version.replace('+', "_")
}

/// A component that a pipeline means.
pub struct Found {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The version that it has to be, where one is known.
    pub version: Option<String>,
}

/// Which components of registries a pipeline means.
pub struct Finder<'a> {
    path: PathBuf,
    offline: bool,
    /// Plugins to look for anew, by name or source; without it nothing is looked for that the lock file does not have.
    update: Option<&'a [String]>,
    lock: OnceCell<Lock>,
    depot: OnceCell<Depot>,
}

impl<'a> Finder<'a> {
    /// As the lock file beside a pipeline has them.
    pub fn locked(file: &Path, offline: bool) -> Self {
        Self { path: lock_path(file), offline, update: None, lock: OnceCell::new(), depot: OnceCell::new() }
    }

    /// As the lock file has them, but new ones, and those that `update` names, as registries have them now.
    pub fn newest(file: &Path, update: &'a [String]) -> Self {
        Self { update: Some(update), ..Self::locked(file, false) }
    }

    /// Finds one. `alias` is its name in the pipeline.
    pub fn find(
        &self,
        alias: &str,
        name: &OciName,
        range: &VersionRange,
        demanded: Option<Digest>,
    ) -> Result<Found, Error> {
        let source = PluginSource::Oci { name: name.clone(), version: range.clone(), digest: None }.to_string();
        let asked = |update: &&[String]| update.iter().any(|name| *name == source || name == alias);
        let anew = self.update.filter(asked).is_some();
        let locked = self.lock()?.plugins.get(&source).filter(|_| !anew);
        let depot = self.depot()?;
        let shown = self.path.display();
        match (locked, demanded, self.update) {
            // What the pipeline demands counts; whether the lock file has the same is looked at with all plugins.
            (_, Some(digest), _) => {
                let version = locked.filter(|locked| locked.digest == digest).map(|locked| locked.version.clone());
                Ok(Found { bytes: depot.pinned(name, digest, version.as_deref())?.bytes, version })
            }
            (Some(locked), None, update) => {
                let fits = locked.version.parse().is_ok_and(|version| range.fits(&version));
                if !fits {
                    let version = clean_line(&locked.version);
                    let error =
                        anyhow::anyhow!("use version {version} of `{name}`, which `{shown}` has: `{range}` is wanted");
                    let how = if update.is_some() { "" } else { "lockgate plugin lock PIPELINE " };
                    return Err(Error::new(Class::Refused, error)
                        .hint(format!("take the highest that fits: {how}--update {source}")));
                }
                let version = Some(locked.version.clone());
                Ok(Found { bytes: depot.pinned(name, locked.digest, version.as_deref())?.bytes, version })
            }
            (None, None, Some(_)) => {
                let resolved = depot.registry.resolve(name, range)?;
                let component = depot.registry.look(name, &Which::Tag(resolved.tag))?;
                Ok(Found { bytes: depot.pull(name, &component)?.bytes, version: Some(resolved.version.to_string()) })
            }
            (None, None, None) => {
                let error = anyhow::anyhow!("know which version of `{name}` is meant: `{shown}` does not have it");
                Err(Error::new(Class::Refused, error)
                    .hint("write it down: lockgate plugin lock PIPELINE; or pin it by `digest = \"sha256:...\"`"))
            }
        }
    }

    fn lock(&self) -> Result<&Lock, Error> {
        if let Some(lock) = self.lock.get() {
            return Ok(lock);
        }
        let lock = match read_lock(&self.path)? {
            None => Lock::default(),
            Some(Ok(lock)) => lock,
            Some(Err(problems)) => {
                let first = problems.first().map(ToString::to_string).unwrap_or_default();
                let error = anyhow::anyhow!("read the lock file `{}`: {first}", self.path.display());
                return Err(Error::new(Class::Wrong, error));
            }
        };
        Ok(self.lock.get_or_init(|| lock))
    }

    fn depot(&self) -> Result<&Depot, Error> {
        if let Some(depot) = self.depot.get() {
            return Ok(depot);
        }
        let depot = Depot::open(self.offline)?;
        Ok(self.depot.get_or_init(|| depot))
    }
}

/// A component as the command line names it: `ghcr.io/acme/scan`, with `:1.2.3` or `@sha256:...` of its manifest behind it, or with
/// `oci:` in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Its name.
    pub name: OciName,
    /// The tag or the digest of its manifest, where one is named.
    pub which: Option<Which>,
}

impl std::str::FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix("oci:").unwrap_or(text);
        let name = |text: &str| text.parse::<OciName>().map_err(|error| error.to_string());
        if let Some((before, digest)) = text.split_once('@') {
            let digest = digest.parse().map_err(|error| format!("{error}"))?;
            return Ok(Self { name: name(before)?, which: Some(Which::Manifest(digest)) });
        }
        // A colon before the first slash is that of a port.
        let slash = text.find('/').unwrap_or(0);
        match text[slash..].split_once(':') {
            None => Ok(Self { name: name(text)?, which: None }),
            Some((path, tag)) => {
                let letters = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
                if tag.is_empty() || tag.len() > 128 || tag.starts_with(['.', '-']) || !tag.chars().all(letters) {
                    return Err(format!(
                        "use `{}` as a tag: letters, digits, `.`, `_` and `-`, at most 128",
                        clean_line(tag)
                    ));
                }
                Ok(Self { name: name(&text[..slash + path.len()])?, which: Some(Which::Tag(tag.to_owned())) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_name_a_tag_or_a_digest() {
        let read = |text: &str| text.parse::<Reference>();
        let name: OciName = "localhost:5000/a/b".parse().unwrap();
        let digest = Digest::of(b"x");
        let with = |which| Ok(Reference { name: name.clone(), which });
        assert_eq!(read("localhost:5000/a/b"), with(None));
        assert_eq!(read("oci:localhost:5000/a/b:1.2.3"), with(Some(Which::Tag("1.2.3".into()))));
        assert_eq!(read(&format!("localhost:5000/a/b@{digest}")), with(Some(Which::Manifest(digest))));
        for text in
            ["", "a/b", "localhost:5000/a:", "localhost:5000/a:x:y", "localhost/a@sha256:0", "localhost/a:-x", "x"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn directories_follow_the_environment() {
        let at = |vars: &[(&str, &str)]| {
            dir_by("OWN", "XDG", ".cache", "lockgate", |name| {
                vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
            })
        };
        assert_eq!(at(&[("HOME", "/h")]), Some("/h/.cache/lockgate".into()));
        assert_eq!(at(&[("HOME", "/h"), ("XDG", "/x")]), Some("/x/lockgate".into()));
        assert_eq!(at(&[("HOME", "/h"), ("XDG", "x")]), Some("/h/.cache/lockgate".into()));
        assert_eq!(at(&[("HOME", "/h"), ("OWN", "/o")]), Some("/o".into()));
        assert_eq!(at(&[]), None);
    }
}
