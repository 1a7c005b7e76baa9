//! The seam to whatever executes a node: the host in this process, later others on other machines.

use lockgate_model::Digest;
use lockgate_model::outcome::Completion;
use lockgate_model::task::Task;

/// Executes tasks.
///
/// The future may be dropped at any point, when the run is interrupted: then whatever it does must end by itself. A panic in
/// it is an infrastructure failure of the node.
#[async_trait::async_trait]
pub trait Executor: Send + Sync + 'static {
    /// Executes one task. Everything that can go wrong is a [`Completion`] with a failure.
    async fn execute(&self, task: Task, effects: std::sync::Arc<dyn EffectSink>) -> Completion;
}

/// Takes the record of a task's effects, durably.
#[async_trait::async_trait]
pub trait EffectSink: Send + Sync {
    /// Records that an effect is about to start; returns when the intent is durable. `sequence` begins at the task's
    /// `first_sequence` and is used once; `summary` is for people.
    async fn intent(&self, sequence: u64, kind: &str, request: Digest, summary: &str) -> Result<(), SinkError>;

    /// Records how it ended; returns when that is durable. Only then may the guest see the answer.
    async fn outcome(&self, sequence: u64, answer: &serde_json::Value) -> Result<(), SinkError>;
}

/// The journal takes no more: the effect must not start, or its answer not be shown. The run is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("record an effect: the run is ending")]
pub struct SinkError;
