//! Where work goes that may block: to threads beside the runtime's own. One place for all of it, because the simulation of the tests
//! keeps it on its only thread, where a seed decides what comes first.

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Does something that may block.
pub(crate) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    #[cfg(test)]
    if let Some(time) = crate::tests::simulation::under_way() {
        return tokio::spawn(time.jitter(async move { work() }));
    }
    tokio::task::spawn_blocking(work)
}

/// Drives a future that blocks wherever it likes, on a thread of its own.
pub(crate) fn drive(work: impl Future<Output = ()> + Send + 'static) {
    #[cfg(test)]
    if let Some(time) = crate::tests::simulation::under_way() {
        tokio::spawn(time.jitter(work));
        return;
    }
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(work));
}
