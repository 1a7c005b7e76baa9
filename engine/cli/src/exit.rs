//! Exit codes, and the one error type of the commands: what is printed, and which code it gives. Every kind of error of the other
//! crates is mapped here, exhaustively, so that a new kind cannot be forgotten.

use std::fmt::Write as _;
use std::process::ExitCode;

use lockgate::Class;
use lockgate::wiring::std_plugins::StdPluginError;
pub(crate) use lockgate::wiring::text::one_line;
use lockgate_host::{HostError, LoadError};
use lockgate_model::run::ExitClass;
use lockgate_registry::{ConfigError, RegistryError};
use lockgate_runner::DriveError;
use lockgate_secrets::{SecretStoreError, ValueError};
use lockgate_store::{BundleError, SnapshotError, StoreError};
use lockgate_toolchain::ToolchainError;

use crate::render::style::{Style, clean_line};

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

impl From<Class> for Exit {
    fn from(class: Class) -> Self {
        match class {
            Class::Wrong => Self::Wrong,
            Class::Refused => Self::Refused,
            Class::NotReproducible => Self::NotReproducible,
            // The enum is open; what comes later is not the user's fault until it is listed above.
            Class::Infrastructure | _ => Self::Infrastructure,
        }
    }
}

impl From<lockgate::Error> for CliError {
    fn from(error: lockgate::Error) -> Self {
        let (exit, hint) = (error.class().into(), error.hint_text().map(str::to_owned));
        Self { exit, error: error.into(), hint }
    }
}

/// Errors of the other crates that the library knows what to do about.
macro_rules! by_the_library {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                lockgate::Error::from(error).into()
            }
        })+
    };
}

by_the_library!(
    HostError,
    LoadError,
    StdPluginError,
    SnapshotError,
    StoreError,
    RegistryError,
    ConfigError,
    SecretStoreError,
    DriveError
);

impl From<ValueError> for CliError {
    fn from(error: ValueError) -> Self {
        let hint = match error {
            ValueError::Empty => "pipe it in, as in `lockgate secret set NAME < FILE`",
            ValueError::Short => "`--generate 32` makes one that nobody can guess",
            ValueError::Long => "a secret is a key or a password; larger files are inputs",
        };
        Self::new(Exit::Wrong, error).hint(hint)
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
}
