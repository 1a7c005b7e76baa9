//! Runs out of the journal: the records of one run, folded by the one transition function, and what people ask about them.

use std::sync::Arc;

use lockgate_model::NodeId;
use lockgate_model::event::{Event, Selection};
use lockgate_model::graph::Graph;
use lockgate_model::pipeline::Pipeline;
use lockgate_model::run::RunState;
use lockgate_store::{Record, RunSummary, Store, StoreError};

use crate::error::{Class, Error};

/// Largest resolved pipeline that is read back: 100,000 nodes of 5 kB each.
pub const MAX_PIPELINE: u64 = 512 << 20;

/// A run out of the journal.
pub struct PastRun {
    /// What `lockgate runs` shows of it.
    pub summary: RunSummary,
    /// Its records.
    pub records: Vec<Record>,
    /// Where its nodes stand.
    pub state: RunState,
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
}

/// Finds a run by its id, the beginning of its id, or `last`.
pub fn find(store: &Store, text: &str) -> Result<PastRun, Error> {
    let found = store.find_run(if text == "last" { "latest" } else { text }).map_err(|error| match error {
        // As it was asked for.
        StoreError::UnknownRun(unknown) if unknown == "latest" => StoreError::UnknownRun(text.to_owned()),
        error => error,
    });
    read(store, found?)
}

/// Reads a run out of the journal.
pub fn read(store: &Store, summary: RunSummary) -> Result<PastRun, Error> {
    let records = store.records(&summary.id)?;
    let run = summary.id.clone();
    let damaged = |error: anyhow::Error| {
        Error::new(Class::Infrastructure, error.context(format!("read run `{run}` out of the journal")))
    };
    let Some(Event::RunStarted { pipeline, .. }) = records.first().map(|record| &record.event) else {
        return Err(damaged(anyhow::anyhow!("it does not begin with `run-started`")));
    };
    let bytes = store.read_blob(&pipeline.digest, MAX_PIPELINE)?;
    let pipeline: Pipeline = serde_json::from_slice(&bytes).map_err(|error| damaged(error.into()))?;
    let pipeline = Arc::new(pipeline);
    let graph = Arc::new(Graph::new(&pipeline).map_err(|error| damaged(error.into()))?);
    let mut state = RunState::new(pipeline.clone(), graph);
    for record in &records {
        state
            .apply(&record.event)
            .map_err(|error| damaged(anyhow::Error::from(error).context(format!("at record {}", record.seq))))?;
    }
    Ok(PastRun { summary, records, state, pipeline })
}

impl PastRun {
    /// Which part of its pipeline it is of; none: all of it.
    pub fn selection(&self) -> Option<&Selection> {
        selection(&self.records)
    }

    /// How long it took in microseconds, if it is over.
    pub fn micros(&self) -> Option<u64> {
        self.summary.finished_ms.map(|end| end.saturating_sub(self.summary.started_ms).saturating_mul(1_000))
    }

    /// Checks that the pipeline has this node; else names the nearest one.
    pub fn node(&self, text: &str) -> Result<NodeId, Error> {
        let ids = || self.pipeline.nodes.iter().map(|node| node.id.as_str());
        if let Some(node) = self.pipeline.nodes.iter().find(|node| node.id.as_str() == text) {
            return Ok(node.id.clone());
        }
        let shown: String = text.chars().take(200).collect();
        let error = Error::new(Class::Wrong, anyhow::anyhow!("find node `{shown}` in run `{}`", self.summary.id));
        Err(match crate::wiring::std_plugins::nearest(text, ids()) {
            Some(nearest) => error.hint(format!("did you mean `{nearest}`?")),
            None => {
                let some: Vec<_> = ids().take(20).map(|id| format!("`{id}`")).collect();
                error.hint(format!(
                    "its nodes are {}{}",
                    some.join(", "),
                    if self.pipeline.nodes.len() > 20 { ", ..." } else { "" }
                ))
            }
        })
    }

    /// Events of one node, with their times.
    pub fn events_of<'a>(&'a self, node: &'a NodeId) -> impl Iterator<Item = (u64, &'a Event)> {
        self.records
            .iter()
            .filter(move |record| record.event.node() == Some(node))
            .map(|record| (record.time_ms, &record.event))
    }
}

/// Which part of its pipeline a run with these records is of.
pub fn selection(records: &[Record]) -> Option<&Selection> {
    match &records.first()?.event {
        Event::RunStarted { selection, .. } => selection.as_ref(),
        _ => None,
    }
}
