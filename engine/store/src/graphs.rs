//! Graphs whose results are known as a whole: which record proved them, and what a record that serves them stands for.
//!
//! The table `graphs` is an index of the journal, as `actions` is: key -> number of the record. What the nodes gave is a blob (see
//! [`lockgate_model::graph_results`]). A run that is served with it has one record in place of two for each node; readers get the
//! records that it stands for, with its number and time, behind it. Where any result turns out not to be reproducible, no graph counts
//! as known any more: which of them it is in would be dear to know, and it happens rarely.

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

/// Takes a record into the index, if it says anything of graphs.
pub(crate) fn insert(connection: &Connection, seq: u64, event: &Event) -> rusqlite::Result<()> {
    if event.disproves().is_some() {
        return connection.prepare_cached("DELETE FROM graphs")?.execute([]).map(drop);
    }
    let Event::GraphProved { key, .. } = event else { return Ok(()) };
    let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO graphs VALUES (?1, ?2)")?;
    statement.execute(params![key.as_bytes(), seq.cast_signed()]).map(drop)
}

/// Takes in what [`insert`] takes into the table.
pub(crate) fn gather(graphs: &mut BTreeMap<[u8; 32], u64>, seq: u64, event: &Event) {
    if event.disproves().is_some() {
        graphs.clear();
    }
    if let Event::GraphProved { key, .. } = event {
        graphs.insert(*key.as_bytes(), seq);
    }
}

/// Makes the index anew.
pub(crate) fn rebuild(connection: &Connection, proved: &BTreeMap<[u8; 32], u64>) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM graphs", [])?;
    let mut statement = connection.prepare_cached("INSERT INTO graphs VALUES (?1, ?2)")?;
    proved.iter().try_for_each(|(key, seq)| statement.execute(params![key, seq.cast_signed()]).map(drop))
}

/// Every entry, by key.
pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<(Digest, u64)>> {
    crate::actions::entries(connection, "SELECT key, seq FROM graphs ORDER BY key")
}

/// What the record of an entry names; none where it is damaged.
pub(crate) fn results_of(connection: &Connection, seq: u64) -> rusqlite::Result<Option<Digest>> {
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
