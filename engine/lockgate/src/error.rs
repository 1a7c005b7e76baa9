//! The one error of the library: what could not be done, which kind of problem that is, and what to do next. Every kind of error of
//! the crates below is mapped here, exhaustively, so that a new kind cannot be forgotten.

use std::fmt;

use lockgate_host::{HostError, LoadError};
use lockgate_model::run::ExitClass;
use lockgate_registry::{ConfigError, RegistryError};
use lockgate_runner::DriveError;
use lockgate_secrets::SecretStoreError;
use lockgate_store::{Reason, SnapshotError, StoreError};

use crate::wiring::secret_store;
use crate::wiring::std_plugins::StdPluginError;
use crate::wiring::text::{clean_line, count, one_line};

/// Whose problem an error is. The `lockgate` binary ends with the exit codes 2, 3, 4 and 5 for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// What was asked for, or the pipeline, is wrong; nothing ran.
    Wrong,
    /// A policy, the lock file or a missing signature forbids it.
    Refused,
    /// What was executed again gave something else.
    NotReproducible,
    /// Disk, network, damaged state, memory of the host: nobody is to blame, and trying again may help.
    Infrastructure,
}

/// Why something was not done. Its text fits after "failed to"; the sources say why.
pub struct Error {
    class: Class,
    error: anyhow::Error,
    hint: Option<String>,
    problems: Vec<Problem>,
}

/// One problem of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// What kind of problem it is; the names are stable: `lockgate::unknown-key`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do next, where that is known.
    pub hint: Option<String>,
    /// The line of the file, or of the text that [`Pipeline::to_toml`](crate::Pipeline::to_toml) gives, from 1.
    pub line: Option<usize>,
    /// Of a pipeline that was built in Rust: which part of it, as in ``stage `pack`, `config` ``.
    pub place: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, self.line) {
            (Some(place), _) => write!(f, "{place}: ")?,
            (None, Some(line)) => write!(f, "line {line}: ")?,
            (None, None) => {}
        }
        write!(f, "{} [{}]", clean_line(&self.message), self.code)?;
        self.hint.iter().try_for_each(|hint| write!(f, " (hint: {})", clean_line(hint)))
    }
}

impl Error {
    /// Whose problem it is.
    pub fn class(&self) -> Class {
        self.class
    }

    /// What to do next, where that is known.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Every problem of a pipeline that has some; all of them stand in the error's text, too.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The error that a pipeline has these problems.
    pub(crate) fn of_pipeline(class: Class, name: &str, problems: Vec<Problem>) -> Self {
        let what = format!("use the pipeline `{}`: it has {}", clean_line(name), count(problems.len(), "problem"));
        let lines = problems.iter().rev().map(ToString::to_string);
        let error = lines.fold(None, |error: Option<anyhow::Error>, line| {
            Some(error.map_or_else(|| anyhow::anyhow!(line.clone()), |error| error.context(line.clone())))
        });
        let error = error.map_or_else(|| anyhow::anyhow!(what.clone()), |error| error.context(what.clone()));
        Self { problems, ..Self::new(class, error) }
    }

    /// The error and its causes on one line, without control characters.
    pub fn one_line(&self) -> String {
        one_line(self)
    }

    /// An error whose text fits after "failed to".
    pub(crate) fn new(class: Class, error: impl Into<anyhow::Error>) -> Self {
        Self { class, error: error.into(), hint: None, problems: Vec::new() }
    }

    /// The same with what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with what to do next, where that is known.
    fn hint_if(self, hint: Option<impl Into<String>>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// The same, with what was being done in front.
    pub(crate) fn context(mut self, context: impl fmt::Display + Send + Sync + 'static) -> Self {
        self.error = self.error.context(context);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}", self.one_line())?;
        self.hint.iter().try_for_each(|hint| write!(f, " (hint: {hint})"))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

#[doc(hidden)]
impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        let class = match &error {
            HostError::Engine(_) => Class::Infrastructure,
        };
        Self::new(class, error)
    }
}

#[doc(hidden)]
impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        let (class, hint) = (load_class(&error), error.hint());
        Self::new(class, error).hint_if(hint)
    }
}

/// The class of a component that cannot be used.
pub(crate) const fn load_class(error: &LoadError) -> Class {
    match error {
        LoadError::TooLarge { .. }
        | LoadError::NotWasm { .. }
        | LoadError::CoreModule
        | LoadError::Invalid { .. }
        | LoadError::CompileTime { .. }
        | LoadError::CompileCpu { .. }
        | LoadError::CompileMemory { .. }
        | LoadError::CompileCrash { .. }
        | LoadError::World { .. }
        | LoadError::Export { .. }
        | LoadError::UnknownImport { .. }
        | LoadError::Adapt { .. }
        | LoadError::ImportType { .. }
        | LoadError::TooMany { .. }
        | LoadError::Describe { .. }
        | LoadError::Unstable { .. }
        | LoadError::Manifest { .. } => Class::Wrong,
        LoadError::Engine(_) => Class::Infrastructure,
    }
}

#[doc(hidden)]
impl From<StdPluginError> for Error {
    fn from(error: StdPluginError) -> Self {
        let class = match &error {
            StdPluginError::NoneEmbedded { .. } | StdPluginError::Unknown { .. } => Class::Wrong,
        };
        let hint = error.hint();
        Self::new(class, error).hint(hint)
    }
}

/// The class of a snapshot that cannot be taken: what the user named is wrong, or the disk is.
pub(crate) fn snapshot_class(error: &SnapshotError) -> Class {
    match error {
        SnapshotError::NotFound(_)
        | SnapshotError::WrongKind { .. }
        | SnapshotError::Outside(_)
        | SnapshotError::LeftOut(_)
        | SnapshotError::Glob { .. }
        | SnapshotError::TooMany(_) => Class::Wrong,
        SnapshotError::Problems { problems, .. } => {
            let disk = |reason: &Reason| matches!(reason, Reason::Unreadable(_) | Reason::Changed);
            if problems.iter().any(|problem| disk(&problem.reason)) { Class::Infrastructure } else { Class::Wrong }
        }
        // The enum is open; what comes later is not the user's fault until it is listed above.
        SnapshotError::Io { .. } | SnapshotError::Store(_) | _ => Class::Infrastructure,
    }
}

#[doc(hidden)]
impl From<SnapshotError> for Error {
    fn from(error: SnapshotError) -> Self {
        Self::new(snapshot_class(&error), error)
    }
}

#[doc(hidden)]
impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        if error.is_unknown_run() {
            return Self::new(Class::Wrong, error).hint("`lockgate runs` lists the runs");
        }
        let hint = match &error {
            StoreError::ReadOnly(_) => Some("make it writable, or name another one with `--state`"),
            StoreError::Unsynced(_) => Some("look at the disk and its log, then go on with `lockgate resume`"),
            StoreError::InUse(_) => Some("try again when no run is under way, or wait for that with `--wait`"),
            _ => None,
        };
        Self::new(Class::Infrastructure, error).hint_if(hint)
    }
}

#[doc(hidden)]
impl From<RegistryError> for Error {
    fn from(error: RegistryError) -> Self {
        let class = match &error {
            RegistryError::Missing { .. } | RegistryError::NoVersion { .. } => Class::Wrong,
            RegistryError::Denied { .. } | RegistryError::Digest { .. } | RegistryError::Exists { .. } => {
                Class::Refused
            }
            RegistryError::Login { .. } | RegistryError::Offline { .. } => Class::Wrong,
            RegistryError::Unreachable { .. } | RegistryError::Answer { .. } | RegistryError::Disk { .. } => {
                Class::Infrastructure
            }
        };
        let hint = error.hint();
        Self::new(class, error).hint_if(hint)
    }
}

#[doc(hidden)]
impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::new(Class::Wrong, error)
    }
}

#[doc(hidden)]
impl From<SecretStoreError> for Error {
    fn from(error: SecretStoreError) -> Self {
        let (class, hint) = (secret_store::class(&error), secret_store::hint(&error));
        Self::new(class, error).hint_if(hint)
    }
}

#[doc(hidden)]
impl From<DriveError> for Error {
    fn from(error: DriveError) -> Self {
        let class = match error.exit() {
            ExitClass::NotReproducible => Class::NotReproducible,
            _ => Class::Infrastructure,
        };
        Self::new(class, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_causes_and_no_escapes() {
        let error = Error::new(Class::Wrong, std::io::Error::other("disk \x1b[1m gone"))
            .context("read `a.wasm`")
            .hint("look at the disk");
        assert_eq!(error.to_string(), "read `a.wasm`");
        assert_eq!(error.one_line(), "read `a.wasm`: disk \\u{1b}[1m gone");
        assert_eq!(format!("{error:?}"), "failed to read `a.wasm`: disk \\u{1b}[1m gone (hint: look at the disk)");
    }

    #[test]
    fn components_that_cannot_be_used_are_wrong() {
        assert_eq!(Error::from(LoadError::CoreModule).class(), Class::Wrong);
        assert_eq!(Error::from(StdPluginError::NoneEmbedded { name: "x".into() }).class(), Class::Wrong);
        assert_eq!(Error::from(DriveError::WriterGone).class(), Class::Infrastructure);
    }
}
