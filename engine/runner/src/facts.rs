//! Reads the JSON outputs that a node's `when` looks into.

use std::sync::Arc;

use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::expr::MAX_FACT;
use lockgate_model::outcome::{Failure, FailureKind};
use lockgate_model::run::RunState;
use lockgate_model::{NodeId, PortName};

use crate::attempt::chain;
use crate::blocking;
use crate::plan::JsonOutputs;
use crate::ports::{BlobError, Blobs};

/// Which output, and its artifact.
pub(crate) type Wanted = ((NodeId, PortName), ArtifactRef);

/// The outputs that a node's `when` looks into and that exist; the others are `null` to it.
pub(crate) fn wanted(node: usize, state: &RunState) -> Vec<Wanted> {
    let outputs = state.pipeline().nodes[node].when.iter().flat_map(|when| when.outputs());
    let find = |(node, output): (NodeId, PortName)| {
        let receipt = state.receipt(state.position(node.as_str())?)?;
        let artifact = *receipt.outputs.get(&output)?;
        Some(((node, output), artifact))
    };
    outputs.filter_map(find).collect()
}

/// Reads them.
pub(crate) async fn read(wanted: Vec<Wanted>, blobs: Arc<dyn Blobs>) -> Result<JsonOutputs, Failure> {
    let reading = blocking::spawn(move || read_now(wanted, &*blobs));
    let panicked = |_| Failure { kind: FailureKind::Infrastructure, message: "reading an output panicked".to_owned() };
    reading.await.map_err(panicked)?
}

/// Reads them here and now; may block.
pub(crate) fn read_now(wanted: Vec<Wanted>, blobs: &dyn Blobs) -> Result<JsonOutputs, Failure> {
    wanted.into_iter().map(|wanted| read_one(wanted, blobs)).collect()
}

fn read_one((name, artifact): Wanted, blobs: &dyn Blobs) -> Result<((NodeId, PortName), serde_json::Value), Failure> {
    let failure = |kind, why: String| {
        let message = format!("failed to decide `when`: output `{}` of node `{}`: {why}", name.1, name.0);
        Failure { kind, message }
    };
    if artifact.kind == ArtifactKind::Tree {
        return Err(failure(FailureKind::Error, "it is a tree, not JSON".to_owned()));
    }
    let bytes = blobs.read(artifact.digest, MAX_FACT).map_err(|error| match error {
        BlobError::TooLarge { .. } => failure(FailureKind::Error, format!("it is larger than {MAX_FACT} bytes")),
        BlobError::Store(_) => failure(FailureKind::Infrastructure, chain(&error)),
    })?;
    let value = serde_json::from_slice(&bytes)
        .map_err(|error| failure(FailureKind::Error, format!("it is not JSON: {error}")))?;
    Ok((name, value))
}
