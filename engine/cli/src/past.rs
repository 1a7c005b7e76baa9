//! Runs out of the journal: the records of one run, folded by the one transition function, and what people ask about them.

use std::collections::BTreeMap;
use std::ops::Deref;
#[cfg(test)]
use std::sync::Arc;

use lockgate::wiring::past;
pub(crate) use lockgate::wiring::past::{MAX_PIPELINE, selection};
use lockgate::wiring::text::one_line;
use lockgate_model::NodeId;
use lockgate_model::artifact::ArtifactRef;
use lockgate_model::effect::EffectRecord;
use lockgate_model::event::Event;
use lockgate_model::outcome::Status;
#[cfg(test)]
use lockgate_model::pipeline::Pipeline;
#[cfg(test)]
use lockgate_store::Record;
use lockgate_store::{RunSummary, Store};

use crate::exit::CliError;
use crate::render::findings::SourceDirs;
use crate::render::json::{Worst, percent};
use crate::render::report::Ended;

/// Largest record of effects that is read back: 1,000 exchanges by default, their larger bodies elsewhere.
const MAX_EFFECTS: u64 = 64 << 20;

/// Runs that are looked at for the worst case, and records of them all together: a second's work.
const COMPARED: usize = 50;
const COMPARED_RECORDS: u64 = 100_000;

/// A run out of the journal, with what people ask about its nodes.
pub(crate) struct PastRun {
    /// Its records, and where they lead.
    pub(crate) run: past::PastRun,
    /// The final nodes, by id.
    pub(crate) ended: BTreeMap<NodeId, Ended>,
}

/// Finds a run by its id, the beginning of its id, or `last`.
pub(crate) fn find(store: &Store, text: &str) -> Result<PastRun, CliError> {
    Ok(PastRun::of(past::find(store, text)?))
}

/// Reads a run out of the journal.
pub(crate) fn read(store: &Store, summary: RunSummary) -> Result<PastRun, CliError> {
    Ok(PastRun::of(past::read(store, summary)?))
}

impl PastRun {
    fn of(run: past::PastRun) -> Self {
        let mut run = Self::new(run);
        // What was final before a resume, and begins again, is not final now.
        let Self { run: past::PastRun { state, .. }, ended } = &mut run;
        ended.retain(|id, _| state.position(id.as_str()).is_some_and(|index| state.receipt(index).is_some()));
        run
    }

    fn new(run: past::PastRun) -> Self {
        let dirs = SourceDirs::new(&run.pipeline);
        let mut ended = BTreeMap::new();
        for record in &run.records {
            if let Event::NodeFinished { receipt, attempt, reason, facts, .. } = &record.event {
                let (reason, facts) = (reason.clone(), facts.clone());
                let dir = receipt.findings.and_then(|_| dirs.of(&receipt.node));
                ended.insert(
                    receipt.node.clone(),
                    Ended { receipt: receipt.clone(), attempt: *attempt, reason, facts, dir },
                );
            }
        }
        Self { run, ended }
    }

    /// A run of records that need not follow each other.
    #[cfg(test)]
    pub(crate) fn unchecked(
        summary: RunSummary,
        records: Vec<Record>,
        pipeline: Pipeline,
        graph: lockgate_model::graph::Graph,
    ) -> Self {
        let mut state = lockgate_model::run::RunState::new(Arc::new(pipeline), Arc::new(graph));
        for record in &records {
            let _ = state.apply(&record.event);
        }
        let pipeline = state.pipeline().clone();
        Self::new(past::PastRun { summary, records, state, pipeline })
    }

    /// The final nodes, in the pipeline's order.
    pub(crate) fn in_order(&self) -> Vec<&Ended> {
        self.pipeline.nodes.iter().filter_map(|node| self.ended.get(&node.id)).collect()
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

impl Deref for PastRun {
    type Target = past::PastRun;

    fn deref(&self) -> &past::PastRun {
        &self.run
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
            let most = most.entry(receipt.node.clone()).or_default();
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
