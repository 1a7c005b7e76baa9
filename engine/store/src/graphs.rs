//! Graphs whose results are known as a whole: which record proved them, and what a record that serves them stands for.
//!
//! The table `graphs` is an index of the journal, as `actions` is: key -> number of the record. What the nodes gave is a blob (see
//! [`lockgate_model::graph_results`]). A run that is served with it has one record in place of two for each node; readers get the
//! records that it stands for, with its number and time, behind it.
//!
//! Where any result turns out not to be reproducible, no graph counts as known any more: which of them it is in would be dear to know,
//! and it happens rarely. Nor does one that is proved later by a run which had begun before: that may have been served with it. So the
//! last such record stands in the table, too, under [`DISPROVED`].

use std::collections::BTreeMap;

use lockgate_model::Digest;
use lockgate_model::artifact::ArtifactRef;
use lockgate_model::event::Event;
use lockgate_model::graph_results::{MAX_GRAPH_RESULTS, artifacts, events};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::journal::{RECORD_COLUMNS, read_row};
use crate::record::{Record, RecordProblem};
use crate::state::{Store, StoreError};

impl Store {
    /// What the nodes of the graph with this key gave, and the text of that; none where it is not known, or where an artifact that one
    /// of its receipts names is not there any more or damaged (see [`Store::is_whole`]).
    pub fn graph(&self, key: &Digest) -> Result<Option<(ArtifactRef, String)>, StoreError> {
        if self.inner.version < 5 {
            return Ok(None);
        }
        let found = self.inner.read(|connection| {
            let failed = || self.inner.db_error("read");
            let sql =
                format!("SELECT {RECORD_COLUMNS} FROM records WHERE seq = (SELECT seq FROM graphs WHERE key = ?1)");
            let mut statement = connection.prepare_cached(&sql).map_err(failed())?;
            statement.query_row(params![key.as_bytes()], read_row).optional().map_err(failed())
        })?;
        // A damaged record proves nothing; whoever reads its run hears of it.
        let results = match found.map(|row| row.check().map(|record| record.event)) {
            Some(Ok(Event::GraphProved { key: proved, results })) if proved == *key => results,
            _ => return Ok(None),
        };
        if !self.is_whole(&results)? {
            return Ok(None);
        }
        let bytes = self.read_blob(&results.digest, MAX_GRAPH_RESULTS)?;
        let Ok(text) = String::from_utf8(bytes) else { return Ok(None) };
        let Ok(named) = artifacts(&text) else { return Ok(None) };
        for artifact in &named {
            if !self.is_whole(artifact)? {
                return Ok(None);
            }
        }
        Ok(Some((results, text)))
    }

    /// Records, each that serves a graph with those that it stands for behind it.
    pub(crate) fn unfolded(&self, records: Vec<Record>) -> Result<Vec<Record>, StoreError> {
        if !records.iter().any(|record| matches!(record.event, Event::GraphServed { .. })) {
            return Ok(records);
        }
        let mut all = Vec::new();
        for record in records {
            let (seq, time_ms) = (record.seq, record.time_ms);
            let served = match &record.event {
                Event::GraphServed { results, .. } => Some(results.digest),
                _ => None,
            };
            all.push(record);
            if let Some(results) = served {
                let text = self.read_blob(&results, MAX_GRAPH_RESULTS)?;
                let events = events(&String::from_utf8_lossy(&text));
                let events = events.map_err(|error| RecordProblem::Unknown(error.to_string()).at(seq))?;
                all.extend(events.into_iter().map(|event| Record { seq, time_ms, event }));
            }
        }
        Ok(all)
    }
}

/// The key under which stands the last record that says of a result that it is not reproducible. No graph has it.
const DISPROVED: [u8; 32] = [0; 32];

/// Takes a record into the index, if it says anything of graphs. `first` is the first record of its run.
pub(crate) fn insert(connection: &Connection, (first, seq): (u64, u64), event: &Event) -> rusqlite::Result<()> {
    let key = if event.disproves().is_some() {
        connection.prepare_cached("DELETE FROM graphs")?.execute([])?;
        DISPROVED
    } else if let Event::GraphProved { key, .. } = event {
        let mut statement = connection.prepare_cached("SELECT seq FROM graphs WHERE key = ?1")?;
        let disproved = statement.query_row([DISPROVED], |row| row.get::<_, i64>(0)).optional()?;
        if disproved.is_some_and(|seq| seq.cast_unsigned() > first) {
            return Ok(());
        }
        *key.as_bytes()
    } else {
        return Ok(());
    };
    let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO graphs VALUES (?1, ?2)")?;
    statement.execute(params![key, seq.cast_signed()]).map(drop)
}

/// Takes in what [`insert`] takes into the table.
pub(crate) fn gather(graphs: &mut BTreeMap<[u8; 32], u64>, (first, seq): (u64, u64), event: &Event) {
    if event.disproves().is_some() {
        graphs.clear();
        graphs.insert(DISPROVED, seq);
    } else if let Event::GraphProved { key, .. } = event
        && graphs.get(&DISPROVED).is_none_or(|disproved| *disproved < first)
    {
        graphs.insert(*key.as_bytes(), seq);
    }
}

/// Makes the index anew.
pub(crate) fn rebuild(connection: &Connection, proved: &BTreeMap<[u8; 32], u64>) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM graphs", [])?;
    let mut statement = connection.prepare_cached("INSERT INTO graphs VALUES (?1, ?2)")?;
    proved.iter().try_for_each(|(key, seq)| statement.execute(params![key, seq.cast_signed()]).map(drop))
}

/// Every entry, by key; also that of [`DISPROVED`].
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<(Digest, u64)>> {
    crate::actions::entries(connection, "SELECT key, seq FROM graphs ORDER BY key")
}

/// Graphs whose results are not among those that are `needed`, or cannot be known any more.
pub(crate) fn unneeded(connection: &Connection, needed: impl Fn(Digest) -> bool) -> rusqlite::Result<Vec<Digest>> {
    let mut found = Vec::new();
    for (key, seq) in all(connection)?.into_iter().filter(|(key, _)| *key.as_bytes() != DISPROVED) {
        if !results_of(connection, seq)?.is_some_and(&needed) {
            found.push(key);
        }
    }
    Ok(found)
}

/// What the record of an entry names; none where it is damaged.
fn results_of(connection: &Connection, seq: u64) -> rusqlite::Result<Option<Digest>> {
    let sql = format!("SELECT {RECORD_COLUMNS} FROM records WHERE seq = ?1");
    let row = connection.prepare_cached(&sql)?.query_row([seq.cast_signed()], read_row).optional()?;
    Ok(match row.map(|row| row.check().map(|record| record.event)) {
        Some(Ok(Event::GraphProved { results, .. })) => Some(results.digest),
        _ => None,
    })
}

/// What records of served runs stand for: as much part of the journal as these.
pub(crate) fn served(connection: &Connection) -> rusqlite::Result<Vec<Digest>> {
    let sql = format!("SELECT {RECORD_COLUMNS} FROM records WHERE kind = 'graph-served'");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = Vec::new();
    for row in statement.query_map([], read_row)? {
        if let Ok(Event::GraphServed { results, .. }) = row?.check().map(|record| record.event) {
            found.push(results.digest);
        }
    }
    Ok(found)
}
