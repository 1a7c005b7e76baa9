//! The root of a session: what it counts while the run goes on, and what it says at the end.

use std::collections::BTreeMap;

use lockgate_model::outcome::Status;
use lockgate_model::receipt::Receipt;
use lockgate_model::{Digest, NodeId};

use super::super::span::{Attributes, Events, SpanEvent, cut};
use super::super::words;
use super::UNFINISHED;

/// The run, while it goes on.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) start: u64,
    pub(super) events: Events,
    statuses: BTreeMap<&'static str, u64>,
    cached: u64,
    /// The first failure that counts: its class and its text; and how many there are.
    failed: Option<(&'static str, String)>,
    failures: u64,
}

impl Root {
    /// One that begins now.
    pub(super) fn new(start: u64) -> Self {
        Self { start, events: Events::default(), statuses: BTreeMap::new(), cached: 0, failed: None, failures: 0 }
    }

    /// Counts a receipt.
    pub(super) fn count(&mut self, receipt: &Receipt, allow_failure: bool, cached: bool) {
        *self.statuses.entry(receipt.status.name()).or_default() += 1;
        self.cached += u64::from(cached);
        if let Some(failure) = receipt.failure.as_ref().filter(|_| !allow_failure) {
            self.failures += 1;
            self.failed.get_or_insert_with(|| {
                (failure.kind.name(), cut(&format!("node `{}`: {}", receipt.node, failure.message)))
            });
        }
    }

    /// Keeps that a node was skipped.
    pub(super) fn skipped(&mut self, node: &NodeId, reason: Option<&str>, time: u64) {
        let mut attributes = Attributes::default();
        attributes.put("cicd.pipeline.task.name", node.as_str());
        if let Some(reason) = reason {
            attributes.put("lockgate.reason", reason);
        }
        self.events.push(SpanEvent { time, name: "lockgate.node.skipped", attributes });
    }

    /// What is known at the end; returns the text of the root's status, if it failed.
    pub(super) fn end(
        &self,
        attributes: &mut Attributes,
        status: Option<Status>,
        digest: Option<Digest>,
        nodes: usize,
    ) -> Option<String> {
        match status {
            Some(status) => attributes.put("cicd.pipeline.result", words::result(status, None)),
            // The run has no result yet.
            None => attributes.put("cicd.pipeline.run.state", "pending"),
        };
        if let Some(digest) = digest {
            attributes.put("lockgate.run.digest", digest.to_string());
        }
        attributes.put("lockgate.run.nodes", nodes as u64).put("lockgate.run.nodes.cached", self.cached);
        for (status, number) in &self.statuses {
            attributes.put(format!("lockgate.run.nodes.{status}"), *number);
        }
        let status = status?;
        let (class, text) = match (status, &self.failed) {
            (Status::Succeeded | Status::Skipped, _) => return None,
            (Status::Cancelled, _) => (Status::Cancelled.name(), "it was interrupted".to_owned()),
            (_, Some((class, text))) if self.failures > 1 => {
                (*class, format!("{text} (and {} more)", self.failures - 1))
            }
            (_, Some((class, text))) => (*class, text.clone()),
            (_, None) => (status.name(), UNFINISHED.to_owned()),
        };
        attributes.put("error.type", class);
        Some(text)
    }
}
