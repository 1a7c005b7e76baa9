//! Where work goes that may block: to threads beside the runtime's own.

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Does something that may block.
pub(crate) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

/// Drives a future that blocks wherever it likes, on a thread of its own.
pub(crate) fn drive(work: impl Future<Output = ()> + Send + 'static) {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(work));
}
