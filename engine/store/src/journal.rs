//! The journal: appending events in one durable transaction, reading a run's records back, verifying the whole chain.
//!
//! The table `records` is the truth. `runs` and `actions` are indexes made of it, kept in the same transactions, rebuilt by
//! [`Store::verify`] where they differ; `runs` also tells when one of a run's records is missing. `head` names the last record.

use std::collections::BTreeMap;

use lockgate_model::event::Event;
use lockgate_model::outcome::Status;
use lockgate_model::{Digest, RunId};
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::actions;
use crate::graphs;
use crate::record::{Body, Chained, FIRST_PREV, MAX_TIME, Record, RecordProblem, Row};
use crate::state::{Inner, Store, StoreError};

/// One event for the journal.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The run it happened in.
    pub run: &'a RunId,
    /// When, in milliseconds since 1970, by the caller's clock.
    pub time_ms: u64,
    /// What happened.
    pub event: &'a Event,
}

/// What is known of a run without reading its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// Its id.
    pub id: RunId,
    /// Its pipeline's name.
    pub name: String,
    /// Its pipeline's file, as the user named it.
    pub file: String,
    /// When its first record was written, in milliseconds since 1970.
    pub started_ms: u64,
    /// When it ended; none: it is running, or was interrupted.
    pub finished_ms: Option<u64>,
    /// How it ended.
    pub status: Option<Status>,
    /// Its run digest; none after an infrastructure error or a cancellation.
    pub digest: Option<Digest>,
    /// Number of its records.
    pub records: u64,
}

/// Runs named by an ambiguous prefix that a message lists.
const CANDIDATES: usize = 5;
pub(crate) const RECORD_COLUMNS: &str = "seq, run, time_ms, kind, version, body, prev, hash";
/// Bounds of the numbers of run `?1`'s records, so that no others are looked at but those written meanwhile.
pub(crate) const OF_RUN: &str =
    "run = ?1 AND seq BETWEEN (SELECT first FROM runs WHERE run = ?1) AND (SELECT last FROM runs WHERE run = ?1)";
const RUN_COLUMNS: &str = "run, name, file, started_ms, finished_ms, status, digest, records, first, last";

impl Store {
    /// Appends events of one run, all of one time, in one transaction, durable at return. The numbers of their records.
    pub fn append(&self, run: &RunId, time_ms: u64, events: &[Event]) -> Result<Vec<u64>, StoreError> {
        let entries: Vec<_> = events.iter().map(|event| Entry { run, time_ms, event }).collect();
        self.append_many(&entries)
    }

    /// Appends events, in this order, in one transaction, durable at return together with every artifact put before. All or
    /// none of them. The numbers of their records.
    pub fn append_many(&self, entries: &[Entry<'_>]) -> Result<Vec<u64>, StoreError> {
        // Serialised before the transaction begins: other processes wait for it.
        let bodies: Result<Vec<_>, _> = entries.iter().map(|entry| Body::new(entry.run, entry.event)).collect();
        let bodies = bodies?;
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        self.inner.commit(|transaction| insert(transaction, entries, bodies).map_err(self.inner.db_error("append to")))
    }

    /// The newest runs, newest first, at most `limit`.
    pub fn runs(&self, limit: usize) -> Result<Vec<RunSummary>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = format!("SELECT {RUN_COLUMNS} FROM runs ORDER BY first DESC LIMIT ?1");
        let rows = self
            .inner
            .read(|connection| query_runs(connection, &sql, params![limit]).map_err(self.inner.db_error("read")))?;
        Ok(rows.into_iter().map(|row| row.summary).collect())
    }

    /// The run with this id, the only one whose id begins like this, or with `latest` the newest.
    pub fn find_run(&self, text: &str) -> Result<RunSummary, StoreError> {
        if text == "latest" {
            return self.runs(1)?.pop().ok_or_else(|| StoreError::UnknownRun(text.to_owned()));
        }
        let sql = format!(
            "SELECT {RUN_COLUMNS} FROM runs WHERE substr(run, 1, length(?1)) = ?1 ORDER BY run = ?1 DESC, first DESC LIMIT ?2"
        );
        let mut rows = self.inner.read(|connection| {
            query_runs(connection, &sql, params![text, CANDIDATES as i64]).map_err(self.inner.db_error("read"))
        })?;
        match rows.len() {
            0 => Err(StoreError::UnknownRun(text.chars().take(80).collect())),
            _ if text.is_empty() => Err(StoreError::UnknownRun(String::new())),
            count if count == 1 || rows[0].summary.id.as_str() == text => Ok(rows.swap_remove(0).summary),
            _ => {
                let candidates = rows.iter().map(|row| row.summary.id.to_string()).collect();
                Err(StoreError::AmbiguousRun { text: text.to_owned(), candidates })
            }
        }
    }

    /// A run's records in order, each checked: its hash, its place in the chain, and that none is missing. Those that a
    /// [`Event::GraphServed`] stands for come behind it, with its number and time.
    pub fn records(&self, run: &RunId) -> Result<Vec<Record>, StoreError> {
        self.unfolded(self.chained_records(run)?.into_iter().map(|chained| chained.record).collect())
    }

    /// The same, with each one's place in the chain.
    pub(crate) fn chained_records(&self, run: &RunId) -> Result<Vec<Chained>, StoreError> {
        self.inner.read(|connection| self.read_records(connection, run))
    }

    fn read_records(&self, connection: &mut Connection, run: &RunId) -> Result<Vec<Chained>, StoreError> {
        let failed = || self.inner.db_error("read");
        // One transaction: another process may append between two statements.
        let transaction = connection.transaction().map_err(failed())?;
        let index =
            query_runs(&transaction, &format!("SELECT {RUN_COLUMNS} FROM runs WHERE run = ?1"), params![run.as_str()]);
        let index = index.map_err(failed())?.pop().ok_or_else(|| StoreError::UnknownRun(run.to_string()))?;
        let sql = format!(
            "SELECT {RECORD_COLUMNS}, (SELECT p.hash FROM records p WHERE p.seq = r.seq - 1),
                (SELECT n.prev FROM records n WHERE n.seq = r.seq + 1)
             FROM records r WHERE {OF_RUN} ORDER BY seq"
        );
        let mut statement = transaction.prepare_cached(&sql).map_err(failed())?;
        let mut rows = statement.query(params![run.as_str()]).map_err(failed())?;
        let mut records = Vec::new();
        while let Some(row) = rows.next().map_err(failed())? {
            let before = optional_digest(row, 8).map_err(failed())?;
            let after = optional_digest(row, 9).map_err(failed())?;
            let row = read_row(row).map_err(failed())?;
            let (seq, prev, hash) = (row.seq, row.prev, row.hash);
            records.push(Chained { record: row.check()?, prev, hash });
            match before {
                None if seq > 1 => return Err(RecordProblem::Missing.at(seq - 1)),
                None if prev != FIRST_PREV => return Err(RecordProblem::Unchained.at(seq)),
                Some(before) if before != prev => return Err(RecordProblem::Unchained.at(seq)),
                _ => {}
            }
            if after.is_some_and(|after| after != hash) {
                return Err(RecordProblem::Unchained.at(seq + 1));
            }
        }
        if records.len() as u64 != index.summary.records
            || records.last().map(|last| last.record.seq) != Some(index.last)
        {
            // Something is missing or belongs to another run now: the walk names it.
            walk(&transaction, index.first, index.last, |_, _, _| ()).map_err(|error| error.into_store(&self.inner))?;
            return Err(RecordProblem::Missing.at(index.last));
        }
        Ok(records)
    }

    /// Whether the last process that drove a run left because only waiting nodes were left.
    pub fn is_waiting(&self, run: &RunId) -> Result<bool, StoreError> {
        let sql = format!("SELECT kind FROM records WHERE {OF_RUN} AND kind <> 'signalled' ORDER BY seq DESC LIMIT 1");
        let last = self.inner.read(|connection| {
            let mut statement = connection.prepare_cached(&sql).map_err(self.inner.db_error("read"))?;
            let kind = statement.query_row(params![run.as_str()], |row| row.get::<_, String>(0)).optional();
            kind.map_err(self.inner.db_error("read"))
        })?;
        Ok(last.as_deref() == Some("run-waiting"))
    }

    /// What was said from outside about a run ([`Event::Signalled`]) in records behind number `after`, in order, and the number of
    /// the journal's last record. Each record is checked by itself.
    pub fn signals(&self, run: &RunId, after: u64) -> Result<(Vec<Record>, u64), StoreError> {
        self.inner.read(|connection| {
            let transaction = connection.transaction().map_err(self.inner.db_error("read"))?;
            let (last, _) = read_head(&transaction).map_err(self.inner.db_error("read"))?;
            let sql = format!(
                "SELECT {RECORD_COLUMNS} FROM records WHERE {OF_RUN} AND seq > ?2 AND kind = 'signalled' ORDER BY seq"
            );
            let query = || {
                let mut statement = transaction.prepare_cached(&sql)?;
                let rows = statement.query_map(params![run.as_str(), after as i64], read_row)?;
                rows.collect::<rusqlite::Result<Vec<_>>>()
            };
            let rows = query().map_err(self.inner.db_error("read"))?;
            let records: Result<_, _> = rows.into_iter().map(Row::check).collect();
            Ok((records?, last))
        })
    }

    /// At most so many records of a run behind number `after`, in order, each checked by itself: for those who follow a run. Those
    /// that one stands for come besides, see [`Store::records`].
    pub fn records_after(&self, run: &RunId, after: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let sql = format!("SELECT {RECORD_COLUMNS} FROM records WHERE {OF_RUN} AND seq > ?2 ORDER BY seq LIMIT ?3");
        let rows = self.inner.read(|connection| {
            let query = || {
                let mut statement = connection.prepare_cached(&sql)?;
                let rows = statement.query_map(params![run.as_str(), after as i64, limit as i64], read_row)?;
                rows.collect::<rusqlite::Result<Vec<_>>>()
            };
            query().map_err(self.inner.db_error("read"))
        })?;
        self.unfolded(rows.into_iter().map(Row::check).collect::<Result<_, _>>()?)
    }

    /// Walks the whole journal and checks each record, the chain and the last record's number. Rebuilds the index of runs and that
    /// of proved results where they differ from the records. The number of records.
    pub fn verify(&self) -> Result<u64, StoreError> {
        let failed = || self.inner.db_error("read");
        let (last, found, known) = self.inner.read(|connection| {
            let transaction = connection.transaction().map_err(failed())?;
            let (last, found) = self.walk_all(&transaction)?;
            let sql = format!("SELECT {RUN_COLUMNS} FROM runs ORDER BY run");
            // An index that cannot be read differs, too.
            let runs = query_runs(&transaction, &sql, []).ok();
            let actions = if self.inner.version < 2 { Some(Vec::new()) } else { actions::all(&transaction).ok() };
            let graphs = if self.inner.version < 5 { Some(Vec::new()) } else { graphs::all(&transaction).ok() };
            Ok((last, found, (runs, actions, graphs)))
        })?;
        let entry = |(key, seq): (&[u8; 32], &u64)| (Digest::from_bytes(*key), *seq);
        // Entries that a collection removed come back. That is no harm: they count only as long as their artifacts are there.
        let same = known.0.is_some_and(|runs| runs.iter().eq(found.runs.values()))
            && known.1.is_some_and(|actions| actions.into_iter().eq(found.proved.iter().map(entry)))
            && known.2.is_some_and(|graphs| graphs.into_iter().eq(found.graphs.iter().map(entry)));
        if !same {
            self.inner.commit(|transaction| {
                let (_, found) = self.walk_all(transaction)?;
                rebuild(transaction, &found).map_err(self.inner.db_error("write the indexes to"))
            })?;
        }
        Ok(last)
    }

    /// What the records say: the number of the last one, and the indexes.
    fn walk_all(&self, connection: &Connection) -> Result<(u64, Indexes), StoreError> {
        let head = read_head(connection).map_err(self.inner.db_error("read"))?;
        let mut indexes = Indexes::default();
        let last = walk(connection, 1, i64::MAX as u64, |run, record, _| {
            let entry = indexes.runs.entry(run.as_str().to_owned());
            let row = entry.or_insert_with(|| RunRow::new(run, record.time_ms, record.seq));
            row.take(record.time_ms, record.seq, &record.event);
            let first = row.first;
            if let Some(key) = record.event.proves() {
                indexes.proved.insert(*key.as_bytes(), record.seq);
            }
            if let Some(key) = record.event.disproves() {
                indexes.proved.remove(key.as_bytes());
            }
            graphs::gather(&mut indexes.graphs, (first, record.seq), &record.event);
        })
        .map_err(|error| error.into_store(&self.inner))?;
        let (last_seq, last_hash) = last.unwrap_or((0, FIRST_PREV));
        match head.0.cmp(&last_seq) {
            std::cmp::Ordering::Greater => Err(RecordProblem::Missing.at(last_seq + 1)),
            std::cmp::Ordering::Less => Err(RecordProblem::Unchained.at(head.0 + 1)),
            std::cmp::Ordering::Equal if head.1 != last_hash => Err(RecordProblem::Altered.at(last_seq)),
            std::cmp::Ordering::Equal => Ok((last_seq, indexes)),
        }
    }
}

/// What is made of the records.
#[derive(Default)]
struct Indexes {
    runs: BTreeMap<String, RunRow>,
    /// The last record that proves the result of each action key.
    proved: BTreeMap<[u8; 32], u64>,
    /// The last record that proves the results of each graph.
    graphs: BTreeMap<[u8; 32], u64>,
}

/// A row of the index of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RunRow {
    summary: RunSummary,
    first: u64,
    last: u64,
}

impl RunRow {
    fn new(run: &RunId, time_ms: u64, seq: u64) -> Self {
        let summary = RunSummary {
            id: run.clone(),
            name: String::new(),
            file: String::new(),
            started_ms: time_ms.min(MAX_TIME),
            finished_ms: None,
            status: None,
            digest: None,
            records: 0,
        };
        Self { summary, first: seq, last: seq }
    }

    /// Takes in the run's next record.
    fn take(&mut self, time_ms: u64, seq: u64, event: &Event) {
        self.last = seq;
        self.summary.records += 1;
        match event {
            Event::RunStarted { name, file, .. } => {
                self.summary.name.clone_from(name);
                self.summary.file.clone_from(file);
            }
            Event::RunResumed { .. } => {
                self.summary.finished_ms = None;
                self.summary.status = None;
                self.summary.digest = None;
            }
            Event::RunFinished { status, digest } => {
                self.summary.finished_ms = Some(time_ms.min(MAX_TIME));
                self.summary.status = Some(*status);
                self.summary.digest = *digest;
            }
            _ => {}
        }
    }
}

fn insert(transaction: &Transaction<'_>, entries: &[Entry<'_>], bodies: Vec<Body>) -> rusqlite::Result<Vec<u64>> {
    let (mut seq, mut prev) = read_head(transaction)?;
    // Each with whether the index has it.
    let mut runs: BTreeMap<&str, (RunRow, bool)> = BTreeMap::new();
    let mut numbers = Vec::with_capacity(entries.len());
    let mut statement = transaction.prepare_cached("INSERT INTO records VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    for (entry, body) in entries.iter().zip(bodies) {
        seq += 1;
        let row = Row::new(seq, entry.run, entry.time_ms, body, prev);
        statement.execute(params![
            row.seq as i64,
            row.run,
            row.time_ms as i64,
            row.kind,
            row.version,
            row.body,
            row.prev.as_bytes(),
            row.hash.as_bytes()
        ])?;
        actions::insert(transaction, seq, entry.event)?;
        prev = row.hash;
        numbers.push(seq);
        let (run, _) = match runs.entry(entry.run.as_str()) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(vacant) => {
                let sql = format!("SELECT {RUN_COLUMNS} FROM runs WHERE run = ?1");
                let known = query_runs(transaction, &sql, params![entry.run.as_str()])?.pop();
                let is_known = known.is_some();
                vacant.insert((known.unwrap_or_else(|| RunRow::new(entry.run, entry.time_ms, seq)), is_known))
            }
        };
        run.take(entry.time_ms, seq, entry.event);
        graphs::insert(transaction, (run.first, seq), entry.event)?;
    }
    let mut statement = transaction.prepare_cached("INSERT OR REPLACE INTO head VALUES (1, ?1, ?2)")?;
    statement.execute(params![seq as i64, prev.as_bytes()])?;
    for (row, is_known) in runs.values() {
        if *is_known { update_run(transaction, row)? } else { insert_run(transaction, row)? }
    }
    Ok(numbers)
}

/// Writes only what records change, none of which is in an index: a replaced row would write a page of each.
fn update_run(connection: &Connection, row: &RunRow) -> rusqlite::Result<()> {
    let run = &row.summary;
    let sql = "UPDATE runs SET name = ?2, file = ?3, finished_ms = ?4, status = ?5, digest = ?6, records = ?7, last = ?8 WHERE run = ?1";
    connection.prepare_cached(sql)?.execute(params![
        run.id.as_str(),
        run.name,
        run.file,
        run.finished_ms.map(|time| time as i64),
        run.status.map(Status::name),
        run.digest.as_ref().map(Digest::as_bytes),
        run.records as i64,
        row.last as i64
    ])?;
    Ok(())
}

fn insert_run(connection: &Connection, row: &RunRow) -> rusqlite::Result<()> {
    let run = &row.summary;
    let sql = format!("INSERT INTO runs({RUN_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)");
    connection.prepare_cached(&sql)?.execute(params![
        run.id.as_str(),
        run.name,
        run.file,
        run.started_ms as i64,
        run.finished_ms.map(|time| time as i64),
        run.status.map(Status::name),
        run.digest.as_ref().map(Digest::as_bytes),
        run.records as i64,
        row.first as i64,
        row.last as i64
    ])?;
    Ok(())
}

fn rebuild(transaction: &Transaction<'_>, found: &Indexes) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM runs", [])?;
    found.runs.values().try_for_each(|row| insert_run(transaction, row))?;
    actions::rebuild(transaction, &found.proved)?;
    graphs::rebuild(transaction, &found.graphs)
}

/// Number and hash of the last record.
pub(crate) fn read_head(connection: &Connection) -> rusqlite::Result<(u64, Digest)> {
    let mut statement = connection.prepare_cached("SELECT seq, hash FROM head")?;
    let head = statement.query_row([], |row| Ok((number(row, 0)?, digest(row, 1)?))).optional()?;
    Ok(head.unwrap_or((0, FIRST_PREV)))
}

/// Why a walk ended early.
pub(crate) enum WalkError {
    Store(StoreError),
    Database(rusqlite::Error),
}

impl WalkError {
    pub(crate) fn into_store(self, inner: &Inner) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::Database(error) => inner.db_error("read")(error),
        }
    }
}

impl From<rusqlite::Error> for WalkError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// Checks all records from number `first` to `last`, without gaps and chained. Number and hash of the last one found.
pub(crate) fn walk(
    connection: &Connection,
    first: u64,
    last: u64,
    mut visit: impl FnMut(&RunId, &Record, Digest),
) -> Result<Option<(u64, Digest)>, WalkError> {
    let sql = format!("SELECT {RECORD_COLUMNS} FROM records WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![first as i64, last as i64])?;
    let mut expected = first;
    let mut prev = (first == 1).then_some(FIRST_PREV);
    let mut found = None;
    while let Some(row) = rows.next()? {
        let row = read_row(row)?;
        let (seq, hash, before) = (row.seq, row.hash, row.prev);
        if seq != expected {
            return Err(WalkError::Store(RecordProblem::Missing.at(expected)));
        }
        let run = RunId::new(&row.run);
        let record = row.check().map_err(WalkError::Store)?;
        if prev.is_some_and(|prev| prev != before) {
            return Err(WalkError::Store(RecordProblem::Unchained.at(seq)));
        }
        if let Ok(run) = run {
            visit(&run, &record, hash);
        }
        (expected, prev, found) = (seq + 1, Some(hash), Some((seq, hash)));
    }
    Ok(found)
}

fn query_runs(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<Vec<RunRow>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params, |row| {
        let id: String = row.get(0)?;
        let status: Option<String> = row.get(5)?;
        let status = status.map(|name| serde_json::from_value(name.into())).transpose();
        Ok(RunRow {
            summary: RunSummary {
                id: RunId::new(&id).map_err(|error| conversion(0, Type::Text, error))?,
                name: row.get(1)?,
                file: row.get(2)?,
                started_ms: number(row, 3)?,
                finished_ms: row.get::<_, Option<i64>>(4)?.map(|time| time.max(0) as u64),
                status: status.map_err(|error| conversion(5, Type::Text, error))?,
                digest: optional_digest(row, 6)?,
                records: number(row, 7)?,
            },
            first: number(row, 8)?,
            last: number(row, 9)?,
        })
    })?;
    rows.collect()
}

/// A record as it is, whatever its columns hold: what no engine writes fails the record's hash, which names the record.
pub(crate) fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        seq: number(row, 0)?,
        run: text(row, 1)?,
        time_ms: number(row, 2)?,
        kind: text(row, 3)?,
        version: u32::try_from(number(row, 4)?).unwrap_or(u32::MAX),
        body: text(row, 5)?,
        prev: digest(row, 6)?,
        hash: digest(row, 7)?,
    })
}

/// Integers are written from `u64` below 2^53; a damaged one may be any other.
fn number(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<u64> {
    match row.get_ref(index)? {
        ValueRef::Integer(number) => Ok(number.cast_unsigned()),
        _ => Ok(u64::MAX),
    }
}

fn text(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<String> {
    match row.get_ref(index)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        _ => Ok(String::new()),
    }
}

/// A digest of another length than 32 bytes is damaged; as zeros it fails every comparison.
fn digest(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Digest> {
    Ok(optional_digest(row, index)?.unwrap_or(FIRST_PREV))
}

fn optional_digest(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<Option<Digest>> {
    Ok(match row.get_ref(index)? {
        ValueRef::Null => None,
        ValueRef::Blob(bytes) => Some(bytes.try_into().map_or(FIRST_PREV, Digest::from_bytes)),
        _ => Some(FIRST_PREV),
    })
}

fn conversion(index: usize, kind: Type, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, kind, Box::new(error))
}
