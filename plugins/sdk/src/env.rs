//! The declared environment: the names in the pipeline's `env`, with the values of this run.

use crate::backend;

/// The value of a name; none where the pipeline does not declare it or it was not set.
pub fn var(name: &str) -> Option<String> {
    variables().into_iter().find(|(candidate, _)| candidate == name).map(|(_, value)| value)
}

/// All names and values, sorted by name.
pub fn variables() -> Vec<(String, String)> {
    backend::variables()
}
