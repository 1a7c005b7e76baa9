//! Judgements that are rules, not state: whether a completion is a failure, whether a look is the last one, whether an attempt
//! is followed by another.

use lockgate_model::outcome::{Completion, Failure, FailureKind, Verdict};
use lockgate_model::pipeline::{Node, NodeKind, Poll, Retry};
use lockgate_model::run::Rows;

/// Why an execution fails its node, if it does: its own failure, or a verdict that the node does not accept.
pub(crate) fn judge(node: &Node, completion: &Completion) -> Option<Failure> {
    if let Some(failure) = &completion.failure {
        return Some(failure.clone());
    }
    match (&completion.verdict, node.kind) {
        (Some(verdict), _) if accepts(node, verdict) => None,
        (Some(verdict), _) => {
            let mut message = format!("the verdict is `{}`", verdict.word);
            if let Some(reason) = verdict.reasons.first() {
                message += ": ";
                message += reason;
            }
            Some(Failure { kind: FailureKind::Verdict, message })
        }
        (None, NodeKind::Stage | NodeKind::Approval | NodeKind::Wait) => None,
        (None, NodeKind::HealthCheck | NodeKind::Canary) => {
            Some(Failure { kind: FailureKind::Contract, message: "it returned without a verdict".to_owned() })
        }
    }
}

fn accepts(node: &Node, verdict: &Verdict) -> bool {
    verdict.is_good() || node.accept.contains(&verdict.word)
}

/// Whether a look decides: by its rows (itself included), because the span is over, or because what it says cannot be
/// outweighed by others.
pub(crate) fn is_last_look(kind: NodeKind, poll: &Poll, look: u32, rows: Rows, failure: Option<&Failure>) -> bool {
    // An infrastructure error says nothing that a receipt could prove, and a difference is a fact whatever comes after it.
    let final_failure =
        failure.is_some_and(|failure| failure.kind.is_infrastructure() || failure.kind == FailureKind::NotReproducible);
    let good = match (poll.healthy, kind) {
        (Some(row), _) => Some(row),
        (None, NodeKind::Canary) => None,
        (None, _) => Some(1),
    };
    final_failure
        || good.is_some_and(|row| rows.good >= row.max(1))
        || rows.bad >= poll.unhealthy.unwrap_or(1).max(1)
        || look >= last_look(poll)
}

/// Number of the last look of a span, from 0: looks are at 0, `every`, ... up to and including the span's end. It counts the
/// schedule, not the clock: a slow look moves those behind it and takes none away.
pub(crate) fn last_look(poll: &Poll) -> u32 {
    u32::try_from(poll.span.0 / poll.every.0.max(1)).unwrap_or(u32::MAX)
}

/// Milliseconds until the next attempt, if there is one after this failure.
pub(crate) fn retry_after(retry: &Retry, attempt: u32, failure: &Failure) -> Option<u64> {
    (attempt < retry.attempts && retry.on.contains(&failure.kind)).then(|| retry.pause_after(attempt).0)
}
