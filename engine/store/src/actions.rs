//! The action cache: which record proved the result of an action key.
//!
//! The table `actions` is an index of the journal and nothing besides: key -> number of the record with the receipt. It is kept in
//! the transactions of the journal, so an entry cannot be without its record, and it is looked up through the record, whose hash is
//! checked. Nobody else can put a result into it. A record that says that a key's results differ takes the entry out.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_model::event::{AttemptFacts, Event};
use lockgate_model::outcome::Status;
use lockgate_model::receipt::Receipt;
use lockgate_model::{Digest, RunId};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::journal::{OF_RUN, RECORD_COLUMNS, read_row};
use crate::state::{Store, StoreError};

/// What an earlier execution proved for an action key.
#[derive(Debug, Clone, PartialEq)]
pub struct Proof {
    /// The run in which it was executed.
    pub run: RunId,
    /// The number of its record.
    pub seq: u64,
    /// When it was recorded, in milliseconds since 1970.
    pub time_ms: u64,
    /// The receipt. It names the node of that run.
    pub receipt: Receipt,
    /// Facts of the execution.
    pub facts: AttemptFacts,
}

impl Store {
    /// What is proved for each of these keys; none where nothing is, or where an artifact that the receipt names is not there any
    /// more or damaged (see [`Store::is_whole`]). All are looked up in one transaction.
    pub fn actions(&self, keys: &[Digest]) -> Result<Vec<Option<Proof>>, StoreError> {
        if self.inner.version < 2 {
            return Ok(vec![None; keys.len()]);
        }
        let found = self.inner.read(|connection| {
            let transaction = connection.transaction().map_err(self.inner.db_error("read"))?;
            keys.iter().map(|key| self.proof(&transaction, key)).collect::<Result<Vec<_>, _>>()
        })?;
        found.into_iter().map(|proof| self.if_whole(proof)).collect()
    }

    /// What is proved for one key, see [`Store::actions`].
    pub fn action(&self, key: &Digest) -> Result<Option<Proof>, StoreError> {
        Ok(self.actions(std::slice::from_ref(key))?.pop().flatten())
    }

    /// How nodes with grants ended in the newest runs of the pipeline with this name, the last end first, in at most so many records:
    /// where they were executed and said yes or no. A damaged record is left out.
    pub fn ends_with_grants(&self, name: &str, mut records: u64) -> Result<Vec<Proof>, StoreError> {
        let failed = || self.inner.db_error("read");
        let mut runs: Vec<_> = self.runs(usize::MAX)?.into_iter().filter(|run| run.name == name).collect();
        runs.retain(|run| {
            let room = records.checked_sub(run.records);
            records = room.unwrap_or(0);
            room.is_some()
        });
        let sql =
            format!("SELECT {RECORD_COLUMNS} FROM records WHERE {OF_RUN} AND kind = 'node-finished' ORDER BY seq DESC");
        let mut ends = self.inner.read(|connection| {
            let mut statement = connection.prepare_cached(&sql).map_err(failed())?;
            let mut ends = Vec::new();
            for run in &runs {
                let rows = statement.query_map(params![run.id.as_str()], read_row).map_err(failed())?;
                for row in rows {
                    let Ok(record) = row.map_err(failed())?.check() else { continue };
                    let (seq, time_ms) = (record.seq, record.time_ms);
                    let Event::NodeFinished { receipt, facts, .. } = record.event else { continue };
                    let answered = matches!(receipt.status, Status::Succeeded | Status::Failed);
                    if answered && receipt.key.is_some() && !facts.pure && !facts.cached {
                        ends.push(Proof {
                            run: run.id.clone(),
                            seq,
                            time_ms,
                            receipt: Arc::unwrap_or_clone(receipt),
                            facts,
                        });
                    }
                }
            }
            Ok(ends)
        })?;
        // A run that began earlier may have ended a node later.
        ends.sort_by_key(|end| std::cmp::Reverse(end.seq));
        Ok(ends)
    }

    /// Whether every artifact that a receipt names is there, see [`Store::is_whole`].
    pub fn has_all_of(&self, receipt: &Receipt) -> Result<bool, StoreError> {
        let Receipt { outputs, findings, log, effects, .. } = receipt;
        let mut named = outputs.values().chain(findings).chain(log).chain(effects);
        named.try_fold(true, |whole, artifact| Ok(whole && self.is_whole(artifact)?))
    }

    fn proof(&self, connection: &Connection, key: &Digest) -> Result<Option<Proof>, StoreError> {
        let failed = || self.inner.db_error("read");
        let sql = format!("SELECT {RECORD_COLUMNS} FROM records WHERE seq = (SELECT seq FROM actions WHERE key = ?1)");
        let mut statement = connection.prepare_cached(&sql).map_err(failed())?;
        let row = statement.query_row(params![key.as_bytes()], read_row).optional().map_err(failed())?;
        let Some(row) = row else { return Ok(None) };
        let Ok(run) = RunId::new(&row.run) else { return Ok(None) };
        // A damaged record proves nothing; whoever reads its run hears of it.
        let Ok(record) = row.check() else { return Ok(None) };
        if record.event.proves() != Some(*key) {
            return Ok(None);
        }
        let Event::NodeFinished { receipt, facts, .. } = record.event else { return Ok(None) };
        Ok(Some(Proof { run, seq: record.seq, time_ms: record.time_ms, receipt: Arc::unwrap_or_clone(receipt), facts }))
    }

    fn if_whole(&self, proof: Option<Proof>) -> Result<Option<Proof>, StoreError> {
        let Some(proof) = proof else { return Ok(None) };
        Ok(self.has_all_of(&proof.receipt)?.then_some(proof))
    }
}

/// Takes a record into the index, if it proves anything. A later proof takes the place of an earlier one; what a record disproves is
/// served to nobody any more.
pub(crate) fn insert(connection: &Connection, seq: u64, event: &Event) -> rusqlite::Result<()> {
    if let Some(key) = event.disproves() {
        let mut statement = connection.prepare_cached("DELETE FROM actions WHERE key = ?1")?;
        return statement.execute(params![key.as_bytes()]).map(drop);
    }
    let Some(key) = event.proves() else { return Ok(()) };
    let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO actions VALUES (?1, ?2)")?;
    statement.execute(params![key.as_bytes(), seq.cast_signed()]).map(drop)
}

/// Makes the index anew.
pub(crate) fn rebuild(connection: &Connection, proved: &BTreeMap<[u8; 32], u64>) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM actions", [])?;
    let mut statement = connection.prepare_cached("INSERT INTO actions VALUES (?1, ?2)")?;
    proved.iter().try_for_each(|(key, seq)| statement.execute(params![key, seq.cast_signed()]).map(drop))
}

/// Every entry, by key.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<(Digest, u64)>> {
    entries(connection, "SELECT key, seq FROM actions ORDER BY key")
}

/// Keys with numbers of records.
pub(crate) fn entries(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<(Digest, u64)>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let key = row.get::<_, Vec<u8>>(0)?.try_into().map_or(Digest::from_bytes([0; 32]), Digest::from_bytes);
        Ok((key, row.get::<_, i64>(1)?.max(0) as u64))
    })?;
    rows.collect()
}
