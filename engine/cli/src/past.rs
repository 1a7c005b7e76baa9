//! Runs out of the journal: the records of one run, folded by the one transition function, and what people ask about them.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_model::NodeId;
use lockgate_model::artifact::ArtifactRef;
use lockgate_model::effect::EffectRecord;
use lockgate_model::event::{Event, Selection};
use lockgate_model::graph::Graph;
use lockgate_model::outcome::Status;
use lockgate_model::pipeline::Pipeline;
use lockgate_model::run::RunState;
use lockgate_store::{Record, RunSummary, Store, StoreError};

use crate::exit::{CliError, Exit, one_line};
use crate::render::findings::SourceDirs;
use crate::render::json::{Worst, percent};
use crate::render::report::Ended;

/// Largest resolved pipeline that is read back: 100,000 nodes of 5 kB each.
pub(crate) const MAX_PIPELINE: u64 = 512 << 20;
/// Largest record of effects that is read back: 1,000 exchanges by default, their larger bodies elsewhere.
const MAX_EFFECTS: u64 = 64 << 20;

/// Runs that are looked at for the worst case, and records of them all together: a second's work.
const COMPARED: usize = 50;
const COMPARED_RECORDS: u64 = 100_000;

/// A run out of the journal.
pub(crate) struct PastRun {
    /// What `lockgate runs` shows of it.
    pub(crate) summary: RunSummary,
    /// Its records.
    pub(crate) records: Vec<Record>,
    /// Where its nodes stand.
    pub(crate) state: RunState,
    /// The pipeline.
    pub(crate) pipeline: Arc<Pipeline>,
    /// The final nodes, by id.
    pub(crate) ended: BTreeMap<NodeId, Ended>,
}

/// Finds a run by its id, the beginning of its id, or `last`.
pub(crate) fn find(store: &Store, text: &str) -> Result<PastRun, CliError> {
    let found = store.find_run(if text == "last" { "latest" } else { text }).map_err(|error| match error {
        // As it was asked for.
        StoreError::UnknownRun(unknown) if unknown == "latest" => StoreError::UnknownRun(text.to_owned()),
        error => error,
    });
    read(store, found?)
}

/// Reads a run out of the journal.
pub(crate) fn read(store: &Store, summary: RunSummary) -> Result<PastRun, CliError> {
    let records = store.records(&summary.id)?;
    let run = summary.id.clone();
    let damaged = |error: anyhow::Error| {
        CliError::new(Exit::Infrastructure, error.context(format!("read run `{run}` out of the journal")))
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
    let mut run = PastRun::new(summary, records, state);
    // What was final before a resume, and begins again, is not final now.
    let PastRun { state, ended, .. } = &mut run;
    ended.retain(|id, _| state.position(id.as_str()).is_some_and(|index| state.receipt(index).is_some()));
    Ok(run)
}

impl PastRun {
    fn new(summary: RunSummary, records: Vec<Record>, state: RunState) -> Self {
        let pipeline = state.pipeline().clone();
        let dirs = SourceDirs::new(&pipeline);
        let mut ended = BTreeMap::new();
        for record in &records {
            if let Event::NodeFinished { receipt, attempt, reason, facts, .. } = &record.event {
                let (reason, facts) = (reason.clone(), facts.clone());
                let dir = receipt.findings.and_then(|_| dirs.of(&receipt.node));
                ended.insert(
                    receipt.node.clone(),
                    Ended { receipt: receipt.clone(), attempt: *attempt, reason, facts, dir },
                );
            }
        }
        Self { summary, records, state, pipeline, ended }
    }

    /// A run of records that need not follow each other.
    #[cfg(test)]
    pub(crate) fn unchecked(summary: RunSummary, records: Vec<Record>, pipeline: Pipeline, graph: Graph) -> Self {
        let mut state = RunState::new(Arc::new(pipeline), Arc::new(graph));
        for record in &records {
            let _ = state.apply(&record.event);
        }
        Self::new(summary, records, state)
    }

    /// Which part of its pipeline it is of; none: all of it.
    pub(crate) fn selection(&self) -> Option<&Selection> {
        selection(&self.records)
    }

    /// The final nodes, in the pipeline's order.
    pub(crate) fn in_order(&self) -> Vec<&Ended> {
        self.pipeline.nodes.iter().filter_map(|node| self.ended.get(&node.id)).collect()
    }

    /// How long it took in microseconds, if it is over.
    pub(crate) fn micros(&self) -> Option<u64> {
        self.summary.finished_ms.map(|end| end.saturating_sub(self.summary.started_ms).saturating_mul(1_000))
    }

    /// Checks that the pipeline has this node; else names the nearest one.
    pub(crate) fn node(&self, text: &str) -> Result<NodeId, CliError> {
        let ids = || self.pipeline.nodes.iter().map(|node| node.id.as_str());
        if let Some(node) = self.pipeline.nodes.iter().find(|node| node.id.as_str() == text) {
            return Ok(node.id.clone());
        }
        let shown: String = text.chars().take(200).collect();
        let error = CliError::new(Exit::Wrong, anyhow::anyhow!("find node `{shown}` in run `{}`", self.summary.id));
        Err(match crate::std_plugins::nearest(text, ids()) {
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
    pub(crate) fn events_of<'a>(&'a self, node: &'a NodeId) -> impl Iterator<Item = (u64, &'a Event)> {
        self.records
            .iter()
            .filter(move |record| record.event.node() == Some(node))
            .map(|record| (record.time_ms, &record.event))
    }

    /// The log of a node's last attempt, if it wrote any.
    pub(crate) fn log_of(&self, node: &NodeId) -> Option<ArtifactRef> {
        match self.ended.get(node) {
            Some(ended) => ended.receipt.log.or(ended.facts.log),
            None => self.records.iter().rev().find_map(|record| match &record.event {
                Event::AttemptFailed { node: failed, facts, .. } if failed == node => facts.log,
                _ => None,
            }),
        }
    }
}

/// Which part of its pipeline a run with these records is of.
pub(crate) fn selection(records: &[Record]) -> Option<&Selection> {
    match &records.first()?.event {
        Event::RunStarted { selection, .. } => selection.as_ref(),
        _ => None,
    }
}

/// The newest run before this one that succeeded, of the same pipeline: of that name, since files are moved, and named differently from
/// elsewhere. One of a part has no digest, and says nothing about the whole.
pub(crate) fn last_good(store: &Store, run: &RunSummary) -> Result<Option<RunSummary>, CliError> {
    let newest_first = store.runs(usize::MAX)?;
    let before = newest_first.into_iter().skip_while(|other| other.id != run.id).skip(1);
    Ok(before
        .into_iter()
        .find(|other| other.name == run.name && other.digest.is_some() && other.status == Some(Status::Succeeded)))
}

/// For each node the most of its budget that it used, over the newest runs of the same pipeline. A run that cannot be read is left
/// out: what is asked for here is a figure about others.
pub(crate) fn worst_fuel(store: &Store, name: &str) -> Result<BTreeMap<NodeId, Worst>, CliError> {
    let mut worst: BTreeMap<NodeId, Worst> = BTreeMap::new();
    let mut room = COMPARED_RECORDS;
    for run in store.runs(usize::MAX)?.into_iter().filter(|run| run.name == name).take(COMPARED) {
        let Some(left) = room.checked_sub(run.records) else { break };
        room = left;
        // A resumed run may have two receipts of a node.
        let mut most: BTreeMap<NodeId, f64> = BTreeMap::new();
        for record in store.records(&run.id).unwrap_or_default() {
            let Event::NodeFinished { receipt, facts, .. } = record.event else { continue };
            let Some(used) = receipt.fuel.and_then(|fuel| percent(fuel, facts.fuel_limit)) else { continue };
            let most = most.entry(receipt.node).or_default();
            *most = most.max(used);
        }
        for (node, used) in most {
            let entry = worst.entry(node).or_insert_with(|| Worst { percent: used, run: run.id.clone(), runs: 0 });
            entry.runs += 1;
            if used > entry.percent {
                (entry.percent, entry.run) = (used, run.id.clone());
            }
        }
    }
    Ok(worst)
}

/// The recorded effects of a node.
pub(crate) fn effects(store: &Store, blob: &ArtifactRef) -> Result<Vec<EffectRecord>, String> {
    let bytes = store.read_blob(&blob.digest, MAX_EFFECTS).map_err(|error| one_line(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| one_line(&error))?;
    lockgate_model::effect::decode(&text).map_err(|error| one_line(&error))
}
