//! Secrets, where the pipeline grants them. A plugin never sees a value: it gets a placeholder, and in headers and bytes of a body that
//! [`http`](crate::http) sends, and in bytes that [`tcp`](crate::tcp) sends, the host puts the value in its place. In what comes back
//! values are masked as `***`.

use crate::backend;

/// A placeholder for the secret of this name; none where it is not granted.
pub fn placeholder(name: &str) -> Option<String> {
    backend::placeholder(name)
}
