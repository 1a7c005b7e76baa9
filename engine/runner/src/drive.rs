//! The driver.

use std::sync::Arc;

use crate::executor::Executor;
use crate::spec::{DriveError, DriveOptions, RunReport, RunSpec, Surroundings};

/// Drives a run from its start to its end.
pub async fn drive(
    spec: RunSpec,
    executor: Arc<dyn Executor>,
    surroundings: Surroundings,
    options: DriveOptions,
) -> Result<RunReport, DriveError> {
    let _ = (spec, executor, surroundings, options);
    Err(DriveError::WriterGone)
}
