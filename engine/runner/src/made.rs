//! Events and receipts that are made without executing anything. What drives a run makes them, and what foretells one makes the same.

use lockgate_model::Digest;
use lockgate_model::artifact::ArtifactRef;
use lockgate_model::event::Event;
use lockgate_model::outcome::{Failure, Status};
use lockgate_model::receipt::Receipt;
use lockgate_model::run::{NodeState, RunState};

use crate::inputs;
use crate::plan::End;
use crate::spec::{DriveError, RunSpec};

/// The first event of a run.
pub(crate) fn started_event(spec: &RunSpec, pipeline: ArtifactRef, pipeline_digest: Digest) -> Event {
    Event::RunStarted {
        pipeline,
        pipeline_digest,
        name: spec.pipeline.name.clone(),
        file: spec.file.clone(),
        root: spec.root.clone(),
        components: spec.components.clone(),
        sources: spec.sources.clone(),
        logical_time: spec.logical_time,
        engine: spec.engine.clone(),
        determinism: spec.determinism.clone(),
        selection: spec.selection.clone(),
        commit: spec.commit.clone(),
        policies: spec.policies.clone(),
    }
}

/// The receipt of a node that ends without being executed, and why it was skipped, if it was.
pub(crate) fn ended_receipt(
    spec: &RunSpec,
    state: &RunState,
    node: usize,
    end: End,
) -> Result<(Receipt, Option<String>), DriveError> {
    let (status, failure, reason, decision) = match end {
        End::Skipped(reason) => (Status::Skipped, None, Some(reason), None),
        End::Failed(failure) => (status_of(Some(&failure)), Some(failure), None, None),
        End::Waited(decision, failure) => (status_of(failure.as_ref()), failure, None, decision),
    };
    // A node that had begun ends with the key of its attempt.
    let key = match state.state(node) {
        NodeState::Running(attempt)
        | NodeState::WaitingForLook(attempt)
        | NodeState::Waiting { attempt: Some(attempt), .. }
            if status != Status::Skipped =>
        {
            Some(attempt.key)
        }
        _ => None,
    };
    let node = &spec.pipeline.nodes[node];
    let component = inputs::component(spec, node)?.map(|(component, _)| component.digest);
    let receipt = Receipt {
        node: node.id.clone(),
        component,
        key,
        status,
        failure,
        outputs: Default::default(),
        findings: None,
        verdict: None,
        decision,
        log: None,
        effects: None,
        fuel: None,
    };
    Ok((receipt, reason))
}

/// How a node ends with this failure, or without one.
pub(crate) fn status_of(failure: Option<&Failure>) -> Status {
    match failure {
        None => Status::Succeeded,
        Some(failure) if failure.kind.is_infrastructure() => Status::Errored,
        Some(_) => Status::Failed,
    }
}
