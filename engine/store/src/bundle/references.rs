//! What a run's records name, followed to the last blob: what a bundle holds, and what a collector of garbage must keep.

use std::collections::BTreeSet;

use lockgate_model::Digest;
use lockgate_model::artifact::{ArtifactKind, ArtifactRef, EntryKind, MAX_DEPTH};
use lockgate_model::effect;
use lockgate_model::event::{AttemptFacts, Event};
use lockgate_model::receipt::Receipt;
use serde_json::Value;

use crate::record::Record;
use crate::state::{Store, StoreError};
use crate::tree::MAX_TREE_ENTRIES;

/// Largest record of a node's effects that is looked into: as large as the runner lets one become.
const MAX_EFFECTS: u64 = 64 << 20;

/// Artifacts by digest, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct References {
    pub blobs: BTreeSet<Digest>,
    pub trees: BTreeSet<Digest>,
}

impl References {
    /// Everything that the records of a run name. Fails where a tree or a record of effects cannot be read.
    pub fn of(store: &Store, records: &[Record]) -> Result<Self, StoreError> {
        let mut gathered = Gathering { store, found: Self::default(), effects: BTreeSet::new(), entries: 0 };
        for record in records {
            gathered.event(&record.event)?;
        }
        Ok(gathered.found)
    }
}

struct Gathering<'a> {
    store: &'a Store,
    found: References,
    /// Records of effects that were looked into.
    effects: BTreeSet<Digest>,
    entries: u64,
}

impl Gathering<'_> {
    fn event(&mut self, event: &Event) -> Result<(), StoreError> {
        match event {
            Event::RunStarted { pipeline, components, sources, .. } => {
                self.artifact(pipeline)?;
                self.found.blobs.extend(components.values().map(|component| component.digest));
                sources.iter().try_for_each(|source| self.artifact(&source.artifact))
            }
            Event::AttemptStarted { inputs, .. } => inputs.values().try_for_each(|input| self.artifact(input)),
            Event::EffectFinished { answer, .. } => {
                self.answer(answer);
                Ok(())
            }
            Event::AttemptFailed { facts, .. } => self.facts(facts),
            Event::NodeFinished { receipt, facts, .. } => {
                self.receipt(receipt)?;
                self.facts(facts)
            }
            // What is served stands behind it; what is proved, the run itself has.
            Event::GraphServed { results, .. } | Event::GraphProved { results, .. } => self.artifact(results),
            Event::EffectIntended { .. }
            | Event::LookTaken { .. }
            | Event::NodeWaiting { .. }
            | Event::Signalled { .. }
            | Event::RunWaiting { .. }
            | Event::RunResumed { .. }
            | Event::RunFinished { .. } => Ok(()),
        }
    }

    fn facts(&mut self, facts: &AttemptFacts) -> Result<(), StoreError> {
        facts.log.iter().try_for_each(|log| self.artifact(log))
    }

    fn receipt(&mut self, receipt: &Receipt) -> Result<(), StoreError> {
        let Receipt { outputs, findings, log, effects, .. } = receipt;
        outputs.values().chain(findings).chain(log).chain(effects).try_for_each(|artifact| self.artifact(artifact))?;
        match effects {
            Some(effects) if self.effects.insert(effects.digest) => {
                let bytes = self.store.read_blob(&effects.digest, MAX_EFFECTS)?;
                let text = String::from_utf8(bytes).map_err(|_| StoreError::Damaged(effects.digest))?;
                let records = effect::decode(&text).map_err(|_| StoreError::Damaged(effects.digest))?;
                records.iter().for_each(|record| self.answer(&record.answer));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Bodies of answers that are blobs of their own: `{"blob": DIGEST, ...}` wherever it stands.
    fn answer(&mut self, answer: &Value) {
        match answer {
            Value::Object(map) => {
                let blob: Option<Digest> =
                    map.get("blob").and_then(Value::as_str).and_then(|digest| digest.parse().ok());
                self.found.blobs.extend(blob);
                map.values().for_each(|value| self.answer(value));
            }
            Value::Array(values) => values.iter().for_each(|value| self.answer(value)),
            _ => {}
        }
    }

    fn artifact(&mut self, artifact: &ArtifactRef) -> Result<(), StoreError> {
        match artifact.kind {
            ArtifactKind::Blob => {
                self.found.blobs.insert(artifact.digest);
                Ok(())
            }
            ArtifactKind::Tree => self.tree(artifact.digest, artifact.digest, 0),
        }
    }

    /// Each directory is read once, however often it occurs.
    fn tree(&mut self, tree: Digest, directory: Digest, depth: usize) -> Result<(), StoreError> {
        if !self.found.trees.insert(directory) {
            return Ok(());
        }
        let directory = self.store.directory(&directory)?;
        self.entries = self.entries.saturating_add(directory.entries().len() as u64);
        if depth > MAX_DEPTH || self.entries > MAX_TREE_ENTRIES.saturating_mul(4) {
            return Err(StoreError::TreeTooLarge(tree));
        }
        for entry in directory.entries() {
            match entry.kind {
                EntryKind::Directory => self.tree(tree, entry.digest, depth + 1)?,
                EntryKind::File | EntryKind::Executable | EntryKind::Symlink => {
                    self.found.blobs.insert(entry.digest);
                }
            }
        }
        Ok(())
    }
}
