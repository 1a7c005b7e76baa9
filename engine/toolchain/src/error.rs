//! What goes wrong where plugins are made.

use std::path::PathBuf;

/// Why something was not built.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// A tool is not there.
    #[error("find {what}")]
    Missing {
        /// What is missing, and for what.
        what: String,
        /// What installs it: commands, each on a line.
        install: String,
    },
    /// A tool could not be installed.
    #[error("install {what}: {reason}")]
    Install {
        /// What.
        what: String,
        /// Why not.
        reason: String,
    },
    /// A program was started and did not end well. Everything that it printed was handed on.
    #[error("build it: `{program}` ended with {how}")]
    Program {
        /// The program and its arguments, cut.
        program: String,
        /// How it ended.
        how: String,
        /// What it printed, both streams in order.
        output: String,
    },
    /// A core module is not what a component can be made of.
    #[error("make a component of the core module: {reason}")]
    Module {
        /// Why.
        reason: String,
    },
    /// A component that does not keep to the contract.
    #[error("use the component as a plugin: {reason}")]
    Contract {
        /// Why.
        reason: String,
    },
    /// A folder that is not there.
    #[error("find a plugin in `{}`", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Something in the environment or the project is not as it must be.
    #[error("{0}")]
    Wrong(String),
    /// A file or a program of the machine fails.
    #[error("{what}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl ToolchainError {
    /// What to do next, where more can be said than what is wrong.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { install, .. } => Some(format!("install it: {}", install.replace('\n', " "))),
            Self::Folder { .. } => Some("`lockgate plugin new` begins one".to_owned()),
            _ => None,
        }
    }

    /// An error of the file system, or of starting a program.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// A file that cannot be read.
    pub fn reading(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        Self::io(format!("read `{}`", path.into().display()))
    }

    /// A file that cannot be written.
    pub fn writing(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        Self::io(format!("write `{}`", path.into().display()))
    }
}
