//! The seam to whatever executes a node: the host in this process, later others on other machines.

use lockgate_model::Digest;
use lockgate_model::effect::{Begun, Differs};
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

/// Takes the record of a task's effects, durably, or answers from one.
#[async_trait::async_trait]
pub trait EffectSink: Send + Sync {
    /// Records that an effect is about to start; returns when the intent is durable. `sequence` begins at the task's
    /// `first_sequence` and is used once; `summary` is for people. [`Begun::Answered`] is given to the guest instead of issuing
    /// the effect, and has no outcome to record.
    async fn intent(&self, sequence: u64, kind: &str, request: Digest, summary: &str) -> Result<Begun, SinkError>;

    /// Records how it ended; returns when that is durable. Only then may the guest see the answer.
    async fn outcome(&self, sequence: u64, answer: &serde_json::Value) -> Result<(), SinkError>;

    /// Whether waiting is over already where the effect of this number comes next, as a record reaches that far.
    fn has_waited(&self, next: u64) -> bool {
        let _ = next;
        false
    }
}

/// Why an effect must not start, or its answer not be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// The journal takes no more: the run is ending.
    #[error("record an effect: the run is ending")]
    Ending,
    /// Another effect is recorded in its place: the node is not reproducible.
    #[error(transparent)]
    Differs(#[from] Differs),
}
