//! What can be done with a store. Who changes it holds its lock, reads a whole environment, and puts another file in its place; who
//! reads waits for that. So nothing is lost where several do it at once, and a crash leaves the old file or the new one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use lockgate_model::grant::SecretName;

use crate::disk;
use crate::identity::{Identities, NoKeys};
use crate::sealed::{Environment, MAX_FILE, MAX_TEXT, NotOpened, NotSealed, Secret, Value};

type Error = SecretStoreError;

/// What stands behind the name of an environment in the name of its file.
const ENDING: &str = "age";

/// A store of secrets: a directory, and the file of the identity that opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretStore {
    dir: PathBuf,
    identity: PathBuf,
}

/// A version that was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Its number.
    pub version: u32,
    /// The oldest versions that went for it.
    pub dropped: Vec<u32>,
    /// The identity, if it was made for this.
    pub made: Option<Made>,
}

/// An identity that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its public half, `age1...`.
    pub public: String,
    /// How many environments were encrypted to it.
    pub environments: usize,
}

/// A secret's current value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The number of its version.
    pub version: u32,
    /// The value.
    pub value: Value,
}

/// What became of a secret by a removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The versions that went, from old to new.
    pub gone: Vec<u32>,
    /// The version that is in use now, if one is left.
    pub current: Option<u32>,
}

/// A secret without its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its environment.
    pub environment: String,
    /// Its name.
    pub name: String,
    /// Its versions from old to new, at least one. The last one is in use.
    pub versions: Vec<Version>,
}

/// A version without its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Its number.
    pub number: u32,
    /// When it was added, in milliseconds since 1970.
    pub created_ms: u64,
}

/// What opens a store, as far as anybody may know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyring {
    /// The public half of the key that is encrypted to.
    pub public: String,
    /// How many keys there are; more than one where a change of the identity did not come to its end.
    pub keys: usize,
}

/// Why something could not be done. Texts fit after "failed to", and never show a value or a private key.
#[derive(Debug, thiserror::Error)]
pub enum SecretStoreError {
    /// There is no such directory.
    #[error("find the store of secrets: there is no directory `{}`", .0.display())]
    NoStore(PathBuf),
    /// Others may change the directory or a file.
    #[error("trust the store of secrets: others than its owner may write to `{}` (mode {mode:03o})", .path.display())]
    Writable {
        /// The directory or file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// There is a store, but nothing to open it with.
    #[error("open the store of secrets: there is no identity `{}`", .0.display())]
    NoIdentity(PathBuf),
    /// Others may read the identity.
    #[error("use the identity `{}`: others than its owner may read or change it (mode {mode:03o})", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The identity is none.
    #[error("use the identity `{}`: {reason}", .path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file was encrypted to another key.
    #[error("open `{}`: the identity `{}` is not the one that it was encrypted to", .file.display(), .identity.display())]
    OtherIdentity {
        /// The file.
        file: PathBuf,
        /// The identity.
        identity: PathBuf,
    },
    /// A file is not what was written.
    #[error("open `{}`: it is damaged: {reason}", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A later engine wrote a file.
    #[error("open `{}`: it is of version {version}, which this engine does not know", .file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its version.
        version: u32,
    },
    /// There is no such secret.
    #[error("find a secret: there is no `{name}` in the environment `{environment}`")]
    Unknown {
        /// The name.
        name: String,
        /// The environment.
        environment: String,
        /// The names that the environment has.
        known: Vec<String>,
    },
    /// There is no such version.
    #[error("find version {version} of `{name}` in the environment `{environment}`: there are only {}", numbers(.known))]
    UnknownVersion {
        /// The secret.
        name: String,
        /// Its environment.
        environment: String,
        /// The version.
        version: u32,
        /// The versions that there are.
        known: Vec<u32>,
    },
    /// An environment holds too much.
    #[error("write `{}`: all values of an environment with their versions may take {} MiB", .0.display(), MAX_TEXT >> 20)]
    Full(PathBuf),
    /// A file could not be encrypted.
    #[error("encrypt `{}`: {reason}", .file.display())]
    Encryption {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// The disk or its permissions.
    #[error("{doing} `{}`", .path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl SecretStore {
    /// A store in this directory, which need not exist yet, with this file as its identity; without one, it is the file beside the
    /// directory that has its name and `.identity`.
    pub fn new(dir: &Path, identity: Option<&Path>) -> Self {
        let beside = || match dir.file_name() {
            Some(name) => {
                let mut name = name.to_owned();
                name.push(".identity");
                dir.with_file_name(name)
            }
            // As in `..`.
            None => dir.join("identity"),
        };
        Self { dir: dir.to_owned(), identity: identity.map_or_else(beside, Path::to_owned) }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The identity's file.
    pub fn identity(&self) -> &Path {
        &self.identity
    }

    /// Adds a version of a secret; the first one of all makes directory and identity. With `known`, the secret must be there.
    pub fn set(
        &self,
        environment: &SecretName,
        name: &SecretName,
        value: Value,
        known: bool,
        now_ms: u64,
    ) -> Result<Added, Error> {
        if !known {
            disk::make_private(&self.dir).map_err(|error| io_error("make the directory", &self.dir, error))?;
        }
        let _lock = self.lock_to_write()?;
        let files = self.environments()?;
        let (identities, made) = match Identities::load(&self.identity) {
            // A new key would not open what is there.
            Err(NoKeys::Missing) if files.is_empty() && !known => {
                let new = Identities::generate();
                if let Some(dir) = self.identity.parent().filter(|dir| !dir.as_os_str().is_empty()) {
                    disk::make_private(dir).map_err(|error| io_error("make the directory", dir, error))?;
                }
                new.save(&self.identity, now_ms)
                    .map_err(|error| io_error("write the identity", &self.identity, error))?;
                let made = Made { public: new.public(), environments: 0 };
                (new, Some(made))
            }
            loaded => (loaded.map_err(|error| self.no_keys(error))?, None),
        };
        let found = self.open_if_there(environment.as_str(), &identities)?;
        if found.is_none()
            && let Some(other) = files.first()
        {
            // One store, one key: otherwise nobody could read all of it.
            self.open(other, &identities)?;
        }
        let mut content = found.unwrap_or_else(|| Environment::new(environment.as_str()));
        if known {
            current(&content, name.as_str())?;
        }
        let secret = content.secrets.entry(name.as_str().to_owned()).or_default();
        let (version, dropped) =
            secret.add(value, now_ms).ok_or_else(|| Error::Full(self.file(environment.as_str())))?;
        self.write(&content, &identities)?;
        Ok(Added { version, dropped, made })
    }

    /// The current value of a secret.
    pub fn read(&self, environment: &str, name: &str) -> Result<Found, Error> {
        let _lock = self.lock_to_read()?;
        let content = self.open_or_none(environment, name)?;
        let secret = current(&content, name)?;
        match secret.versions.last() {
            Some(version) => Ok(Found { version: version.number, value: version.value.clone() }),
            None => Err(unknown(&content, name)),
        }
    }

    /// Whether there is such a secret.
    pub fn check(&self, environment: &str, name: &str) -> Result<(), Error> {
        self.read(environment, name).map(drop)
    }

    /// All secrets of one environment or of all, by environment and name.
    pub fn list(&self, environment: Option<&str>) -> Result<Vec<Listed>, Error> {
        let _lock = self.lock_to_read()?;
        let files = match environment {
            Some(environment) => vec![environment.to_owned()],
            None => self.environments()?,
        };
        let mut listed = Vec::new();
        if files.is_empty() {
            return Ok(listed);
        }
        let identities = self.identities()?;
        for file in files {
            let Some(content) = self.open_if_there(&file, &identities)? else { continue };
            for (name, secret) in content.secrets {
                let version =
                    |stored: &crate::sealed::Stored| Version { number: stored.number, created_ms: stored.created };
                let versions: Vec<_> = secret.versions.iter().map(version).collect();
                if !versions.is_empty() {
                    listed.push(Listed { environment: file.clone(), name, versions });
                }
            }
        }
        Ok(listed)
    }

    /// Removes a secret with all its versions, or one version of it. Its numbers are not given again.
    pub fn remove(&self, environment: &str, name: &str, version: Option<u32>) -> Result<Removed, Error> {
        let _lock = self.lock_to_write()?;
        let identities = self.identities()?;
        let mut content = self
            .open_if_there(environment, &identities)?
            .ok_or_else(|| unknown(&Environment::new(environment), name))?;
        let known: Vec<u32> = current(&content, name)?.versions.iter().map(|version| version.number).collect();
        if let Some(version) = version.filter(|version| !known.contains(version)) {
            let (name, environment) = (name.to_owned(), environment.to_owned());
            return Err(Error::UnknownVersion { name, environment, version, known });
        }
        let goes = |number: u32| version.is_none_or(|version| version == number);
        if let Some(secret) = content.secrets.get_mut(name) {
            secret.versions.retain(|version| !goes(version.number));
        }
        self.write(&content, &identities)?;
        let (gone, left): (Vec<u32>, Vec<u32>) = known.into_iter().partition(|number| goes(*number));
        Ok(Removed { gone, current: left.last().copied() })
    }

    /// Encrypts everything to a new key. Whenever this is cut off, the identity opens all of the store, and a repetition ends it.
    pub fn rotate_identity(&self, now_ms: u64) -> Result<Made, Error> {
        let _lock = self.lock_to_write()?;
        let old = self.identities()?;
        let files = self.environments()?;
        let contents = files.iter().map(|file| self.open(file, &old)).collect::<Result<Vec<_>, _>>()?;
        let new = Identities::generate();
        let save = |identities: &Identities| {
            identities
                .save(&self.identity, now_ms)
                .map_err(|error| io_error("write the identity", &self.identity, error))
        };
        // The new key goes first, so that a change in between is encrypted to it; the old ones stay until nothing needs them.
        save(&old.behind(&new))?;
        for content in &contents {
            self.write(content, &new)?;
        }
        save(&new)?;
        Ok(Made { public: new.public(), environments: contents.len() })
    }

    /// Looks at the identity alone.
    pub fn keyring(&self) -> Result<Keyring, Error> {
        let identities = self.identities()?;
        Ok(Keyring { public: identities.public(), keys: identities.keys().count() })
    }

    fn lock_to_write(&self) -> Result<File, Error> {
        self.trusted_dir()?;
        let lock = disk::lock_to_write(&self.dir).map_err(|error| io_error("lock", &self.dir, error))?;
        disk::clean(&self.dir).map_err(|error| io_error("clean up", &self.dir, error))?;
        Ok(lock)
    }

    fn lock_to_read(&self) -> Result<Option<File>, Error> {
        self.trusted_dir()?;
        disk::lock_to_read(&self.dir).map_err(|error| io_error("lock", &self.dir, error))
    }

    /// Who may put files there could put an old one, or one of their own, in a file's place.
    fn trusted_dir(&self) -> Result<(), Error> {
        match fs::metadata(&self.dir) {
            Ok(metadata) if metadata.is_dir() => trusted(&self.dir, &metadata),
            Ok(_) => Err(Error::NoStore(self.dir.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NoStore(self.dir.clone())),
            Err(error) => Err(io_error("open the store of secrets", &self.dir, error)),
        }
    }

    fn identities(&self) -> Result<Identities, Error> {
        Identities::load(&self.identity).map_err(|error| self.no_keys(error))
    }

    fn no_keys(&self, error: NoKeys) -> Error {
        let path = self.identity.clone();
        match error {
            NoKeys::Missing => Error::NoIdentity(path),
            NoKeys::Exposed(mode) => Error::Exposed { path, mode },
            NoKeys::Wrong(reason) => Error::Identity { path, reason },
            NoKeys::Io(error) => io_error("read the identity", &path, error),
        }
    }

    /// Names of the environments that have a file, sorted.
    fn environments(&self) -> Result<Vec<String>, Error> {
        let failed = |error| io_error("read the directory", &self.dir, error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|ending| ending == ENDING)
                && let Some(name) = path.file_stem().and_then(|name| name.to_str())
                && SecretName::new(name).is_ok()
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn file(&self, environment: &str) -> PathBuf {
        self.dir.join(format!("{environment}.{ENDING}"))
    }

    /// An environment, which is empty where it has no file. What cannot be its name has none.
    fn open_or_none(&self, environment: &str, name: &str) -> Result<Environment, Error> {
        if SecretName::new(environment).is_err() || !self.file(environment).exists() {
            return Err(unknown(&Environment::new(environment), name));
        }
        self.open(environment, &self.identities()?)
    }

    fn open(&self, environment: &str, identities: &Identities) -> Result<Environment, Error> {
        let found = self.open_if_there(environment, identities)?;
        found.ok_or_else(|| {
            io_error("open", &self.file(environment), io::Error::new(io::ErrorKind::NotFound, "it is gone"))
        })
    }

    fn open_if_there(&self, environment: &str, identities: &Identities) -> Result<Option<Environment>, Error> {
        let file = self.file(environment);
        let read = disk::read(&file, MAX_FILE).map_err(|error| io_error("read", &file, error))?;
        let Some((metadata, bytes)) = read else { return Ok(None) };
        trusted(&file, &metadata)?;
        let opened = Environment::open(&bytes, environment, identities).map_err(|error| match error {
            NotOpened::OtherKeys => Error::OtherIdentity { file, identity: self.identity.clone() },
            NotOpened::Newer(version) => Error::Newer { file, version },
            NotOpened::Damaged(reason) => Error::Damaged { file, reason },
        })?;
        Ok(Some(opened))
    }

    fn write(&self, content: &Environment, identities: &Identities) -> Result<(), Error> {
        let file = self.file(&content.environment);
        let bytes = content.seal(identities).map_err(|error| match error {
            NotSealed::Full => Error::Full(file.clone()),
            NotSealed::Encryption(reason) => Error::Encryption { file: file.clone(), reason },
        })?;
        disk::replace(&file, &bytes).map_err(|error| io_error("write", &file, error))
    }
}

fn trusted(path: &Path, metadata: &fs::Metadata) -> Result<(), Error> {
    match disk::others_may(metadata, 0o022) {
        Some(mode) => Err(Error::Writable { path: path.to_owned(), mode }),
        None => Ok(()),
    }
}

/// A secret that has a version.
fn current<'e>(content: &'e Environment, name: &str) -> Result<&'e Secret, Error> {
    content.secrets.get(name).filter(|secret| !secret.versions.is_empty()).ok_or_else(|| unknown(content, name))
}

fn unknown(content: &Environment, name: &str) -> Error {
    let known = content.secrets.iter().filter(|(_, secret)| !secret.versions.is_empty());
    Error::Unknown {
        name: name.to_owned(),
        environment: content.environment.clone(),
        known: known.map(|(name, _)| name.clone()).collect(),
    }
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { doing, path: path.to_owned(), source }
}

fn numbers(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
