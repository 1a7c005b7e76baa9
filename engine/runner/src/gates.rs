//! Rules of nodes without a plugin: until when they wait, and how their waiting ends.

use lockgate_model::event::Signal;
use lockgate_model::outcome::{Decision, Failure, FailureKind};
use lockgate_model::pipeline::{Node, OnDeadline, Wait};
use lockgate_model::run::Said;

use crate::plan::End;

/// Until when a node that begins to wait now (milliseconds since 1970) does.
pub(crate) fn until(node: &Node, now: u64) -> Option<u64> {
    match (&node.approval, &node.wait) {
        (Some(approval), _) => Some(now.saturating_add(approval.deadline.0)),
        (None, Some(Wait::For(span))) => Some(now.saturating_add(span.0)),
        (None, Some(Wait::Until(moment))) => Some(*moment),
        (None, None) => None,
    }
}

/// How a waiting node ends by what somebody said.
pub(crate) fn answered(node: &Node, said: &Said) -> End {
    let word = match said.signal {
        Signal::Approve => "approved",
        Signal::Reject => "rejected",
        Signal::Cancel | Signal::AssumeDone | Signal::AssumeRepeat => "cancelled",
    };
    let failure = (said.signal != Signal::Approve).then(|| {
        let comment = said.comment.as_ref().map_or(String::new(), |comment| format!(": {comment}"));
        Failure { kind: FailureKind::Verdict, message: format!("{word} by {}{comment}", said.by) }
    });
    let decision = Decision { word: word.to_owned(), by: Some(said.by.clone()), comment: said.comment.clone() };
    End::Waited(node.approval.is_some().then_some(decision), failure)
}

/// How a waiting node ends at its deadline.
pub(crate) fn expired(node: &Node) -> End {
    let Some(approval) = &node.approval else { return End::Waited(None, None) };
    let decision = Decision { word: "expired".to_owned(), by: None, comment: None };
    let failure = (approval.on_deadline == OnDeadline::Reject).then(|| Failure {
        kind: FailureKind::Verdict,
        message: format!("nobody decided within {}", approval.deadline),
    });
    End::Waited(Some(decision), failure)
}
