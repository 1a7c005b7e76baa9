//! Exit codes, and the one error type of the commands: what is printed, and which code it gives. Every kind of error of the other
//! crates is mapped here, exhaustively, so that a new kind cannot be forgotten.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

use lockgate_host::{HostError, LoadError};
use lockgate_model::run::ExitClass;
use lockgate_runner::DriveError;
use lockgate_store::{BundleError, Reason, SnapshotError, StoreError};
use lockgate_toolchain::ToolchainError;

use crate::render::style::{Style, clean_line};
use crate::std_plugins::StdPluginError;

/// How the program ends. The codes are documented in `lockgate --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well.
    Succeeded,
    /// A node said no.
    Failed,
    /// The command or the pipeline is wrong; nothing ran.
    Wrong,
    /// A component does not have the digest that was demanded, a signature is missing or not good, or a bundle was altered.
    Refused,
    /// `repeat`, `--check-determinism`, `--check-cache` or `replay` found a difference.
    NotReproducible,
    /// Disk, network, damaged state, timeouts, memory of the host.
    Infrastructure,
    /// Only waiting nodes are left.
    Waiting,
    /// Interrupted.
    Interrupted,
}

impl Exit {
    /// The code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Succeeded => 0,
            Self::Failed => 1,
            Self::Wrong => 2,
            Self::Refused => 3,
            Self::NotReproducible => 4,
            Self::Infrastructure => 5,
            Self::Waiting => 6,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

impl From<ExitClass> for Exit {
    fn from(class: ExitClass) -> Self {
        match class {
            ExitClass::Succeeded => Self::Succeeded,
            ExitClass::Failed => Self::Failed,
            ExitClass::NotReproducible => Self::NotReproducible,
            ExitClass::Infrastructure => Self::Infrastructure,
            ExitClass::Waiting => Self::Waiting,
            ExitClass::Interrupted => Self::Interrupted,
        }
    }
}

/// Why a command did not do what it should.
#[derive(Debug)]
pub(crate) struct CliError {
    /// The code that it gives.
    pub(crate) exit: Exit,
    error: anyhow::Error,
    hint: Option<String>,
}

impl CliError {
    /// An error whose text fits after "failed to".
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), hint: None }
    }

    /// The same with what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with what was being done in front.
    pub(crate) fn context(mut self, context: impl std::fmt::Display + Send + Sync + 'static) -> Self {
        self.error = self.error.context(context);
        self
    }

    /// What to do next.
    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The error and its causes on one line.
    pub(crate) fn one_line(&self) -> String {
        one_line(self.error.as_ref())
    }

    /// The error for people: what failed, why, and what to do.
    pub(crate) fn render(&self, style: Style) -> String {
        let mut chain = self.error.chain();
        let first = chain.next().map(|error| clean_line(&error.to_string())).unwrap_or_default();
        let mut text = format!("{} failed to {first}\n", style.bad("error:"));
        for cause in chain {
            let _ = writeln!(text, "  {} {}", style.dim("because:"), clean_line(&cause.to_string()));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "  {} {hint}", style.good("hint:"));
        }
        text
    }
}

/// An error and its sources on one line, for places that hold one line.
pub(crate) fn one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    clean_line(&text)
}

impl From<HostError> for CliError {
    fn from(error: HostError) -> Self {
        let exit = match &error {
            HostError::Engine(_) => Exit::Infrastructure,
        };
        Self::new(exit, error)
    }
}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> Self {
        let (exit, hint) = (load_exit(&error), error.hint());
        let error = Self::new(exit, error);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// The code of a component that cannot be used.
pub(crate) const fn load_exit(error: &LoadError) -> Exit {
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
        | LoadError::Manifest { .. } => Exit::Wrong,
        LoadError::Engine(_) => Exit::Infrastructure,
    }
}

impl From<StdPluginError> for CliError {
    fn from(error: StdPluginError) -> Self {
        let exit = match &error {
            StdPluginError::NoneEmbedded { .. } | StdPluginError::Unknown { .. } => Exit::Wrong,
        };
        let hint = error.hint();
        Self::new(exit, error).hint(hint)
    }
}

/// The code of a snapshot that cannot be taken: what the user named is wrong, or the disk is.
pub(crate) fn snapshot_exit(error: &SnapshotError) -> Exit {
    match error {
        SnapshotError::NotFound(_)
        | SnapshotError::WrongKind { .. }
        | SnapshotError::Outside(_)
        | SnapshotError::LeftOut(_)
        | SnapshotError::Glob { .. }
        | SnapshotError::TooMany(_) => Exit::Wrong,
        SnapshotError::Problems { problems, .. } => {
            let disk = |reason: &Reason| matches!(reason, Reason::Unreadable(_) | Reason::Changed);
            if problems.iter().any(|problem| disk(&problem.reason)) { Exit::Infrastructure } else { Exit::Wrong }
        }
        // The enum is open; what comes later is not the user's fault until it is listed above.
        SnapshotError::Io { .. } | SnapshotError::Store(_) | _ => Exit::Infrastructure,
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        if error.is_unknown_run() {
            return Self::new(Exit::Wrong, error).hint("`lockgate runs` lists the runs");
        }
        let hint = match &error {
            StoreError::ReadOnly(_) => Some("make it writable, or name another one with `--state`"),
            StoreError::Unsynced(_) => Some("look at the disk and its log, then go on with `lockgate resume`"),
            StoreError::InUse(_) => Some("try again when no run is under way, or wait for that with `--wait`"),
            _ => None,
        };
        let error = Self::new(Exit::Infrastructure, error);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl From<BundleError> for CliError {
    fn from(error: BundleError) -> Self {
        let hint = match &error {
            BundleError::NotABundle(_) => Some("`lockgate show RUN --bundle FILE` writes one"),
            BundleError::Newer { .. } => Some("use a newer lockgate"),
            BundleError::Refused(_) => Some("fetch it again; if it stays so, somebody altered it"),
            _ => None,
        };
        let error = match error {
            BundleError::Store(error) => Self::from(error),
            BundleError::NotABundle(_) | BundleError::Newer { .. } => Self::new(Exit::Wrong, error),
            BundleError::Refused(_) => Self::new(Exit::Refused, error),
            // The enum is open; what comes later is not the user's fault until it is listed above.
            BundleError::Write(_) | _ => Self::new(Exit::Infrastructure, error),
        };
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl From<ToolchainError> for CliError {
    fn from(error: ToolchainError) -> Self {
        let exit = match &error {
            ToolchainError::Missing { .. }
            | ToolchainError::Install { .. }
            | ToolchainError::Program { .. }
            | ToolchainError::Module { .. }
            | ToolchainError::Contract { .. }
            | ToolchainError::Folder { .. }
            | ToolchainError::Wrong(_) => Exit::Wrong,
            ToolchainError::Io { .. } => Exit::Infrastructure,
        };
        let hint = error.hint();
        let error = Self::new(exit, error);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl From<DriveError> for CliError {
    fn from(error: DriveError) -> Self {
        Self::new(error.exit().into(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_runs_have_their_documented_codes() {
        let classes = [
            (ExitClass::Succeeded, 0),
            (ExitClass::Failed, 1),
            (ExitClass::NotReproducible, 4),
            (ExitClass::Infrastructure, 5),
            (ExitClass::Waiting, 6),
            (ExitClass::Interrupted, 130),
        ];
        for (class, code) in classes {
            assert_eq!(Exit::from(class).code(), code);
            assert_eq!(class.code(), code);
        }
    }

    #[test]
    fn errors_show_causes_and_hints_and_no_escapes() {
        let error = CliError::new(Exit::Wrong, std::io::Error::other("disk \x1b[1m gone"))
            .context("read `a.wasm`")
            .hint("look at the disk");
        assert_eq!(
            error.render(Style::PLAIN),
            "error: failed to read `a.wasm`\n  because: disk \\u{1b}[1m gone\n  hint: look at the disk\n"
        );
    }

    #[test]
    fn components_that_cannot_be_used_are_wrong() {
        assert_eq!(CliError::from(LoadError::CoreModule).exit, Exit::Wrong);
        assert_eq!(
            CliError::from(crate::std_plugins::StdPluginError::NoneEmbedded { name: "x".into() }).exit,
            Exit::Wrong
        );
        assert_eq!(CliError::from(DriveError::WriterGone).exit, Exit::Infrastructure);
    }
}
