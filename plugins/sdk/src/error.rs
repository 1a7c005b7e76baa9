//! The error of a plugin: a message for the user, and findings to keep although it failed.
//!
//! `?` works on every standard error, so plugins need no error type of their own.

use std::fmt;

use crate::finding::{Finding, Findings};

/// A plugin's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a plugin failed. Any standard error becomes one by `?`: its message, then those of its sources, joined by `: `.
pub struct Error {
    message: String,
    findings: Vec<Finding>,
}

impl Error {
    /// An error with this message: what happened and, where known, what to do.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), findings: Vec::new() }
    }

    /// Keeps findings although the plugin failed.
    pub fn with_findings(mut self, findings: Findings) -> Self {
        self.findings.extend(findings);
        self
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The findings that it keeps.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Some errors print their source as well: say nothing twice.
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = cause.source();
        }
        Self::new(message)
    }
}

/// Says what was being done when an error came, or a value was missing.
pub trait Context<T> {
    /// Puts `what` and `: ` in front of the message.
    fn context(self, what: impl fmt::Display) -> Result<T>;

    /// Like [`Context::context`], with a text made only in case of an error.
    fn with_context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.with_context(|| what)
    }

    fn with_context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| {
            let mut error = error.into();
            error.message = format!("{}: {}", what(), error.message);
            error
        })
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.ok_or_else(|| Error::new(what.to_string()))
    }

    fn with_context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.ok_or_else(|| Error::new(what().to_string()))
    }
}

/// Returns an [`Error`] with a formatted message.
#[macro_export]
macro_rules! bail {
    ($($argument:tt)+) => {
        return ::core::result::Result::Err($crate::Error::new(::std::format!($($argument)+)))
    };
}

/// Returns an [`Error`] with a formatted message unless a condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($argument:tt)+) => {
        if !$condition {
            $crate::bail!($($argument)+);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("read the count")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn sources_and_context_are_in_the_message() {
        let error = || "x".parse::<u8>().map_err(Outer);
        assert_eq!(Error::from(error().unwrap_err()).message(), "read the count: invalid digit found in string");
        let with = error().context("while starting").unwrap_err();
        assert_eq!(with.message(), "while starting: read the count: invalid digit found in string");
        assert_eq!(None::<u8>.context("no count").unwrap_err().message(), "no count");
    }

    #[test]
    fn bail_and_ensure_return() {
        fn check(n: u8) -> Result<u8> {
            ensure!(n < 3, "{n} is too much");
            if n == 2 {
                bail!("not two");
            }
            Ok(n)
        }
        assert_eq!(check(1).unwrap(), 1);
        assert_eq!(check(2).unwrap_err().message(), "not two");
        assert_eq!(check(3).unwrap_err().message(), "3 is too much");
    }
}
