//! The log: records for people, kept in order with the node. What was found in an input is a [`Finding`](crate::Finding)
//! instead.

use crate::backend;

/// Writes one record. The macros `error!`, `warn!`, `info!`, `debug!` and `trace!` call this.
pub fn log(level: &str, message: &str) {
    backend::log(level, message);
}

/// Writes a formatted record of level `error` to the log.
#[macro_export]
macro_rules! error {
    ($($argument:tt)+) => {
        $crate::log::log("error", &::std::format!($($argument)+))
    };
}

/// Writes a formatted record of level `warn` to the log.
#[macro_export]
macro_rules! warn {
    ($($argument:tt)+) => {
        $crate::log::log("warn", &::std::format!($($argument)+))
    };
}

/// Writes a formatted record of level `info` to the log.
#[macro_export]
macro_rules! info {
    ($($argument:tt)+) => {
        $crate::log::log("info", &::std::format!($($argument)+))
    };
}

/// Writes a formatted record of level `debug` to the log.
#[macro_export]
macro_rules! debug {
    ($($argument:tt)+) => {
        $crate::log::log("debug", &::std::format!($($argument)+))
    };
}

/// Writes a formatted record of level `trace` to the log.
#[macro_export]
macro_rules! trace {
    ($($argument:tt)+) => {
        $crate::log::log("trace", &::std::format!($($argument)+))
    };
}
