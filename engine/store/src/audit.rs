//! The audit: walks the whole journal and names the first record that is not as it was written, alone and against what somebody else kept
//! of it. Reads only; what it finds it leaves as it is.
//!
//! The chain alone shows everything that was changed without making all later hashes anew. Whoever can do that is found by a hash that
//! was kept elsewhere ([`Expected`]): up to there the records are those of then, or the journal was rewritten.

use std::collections::BTreeMap;
use std::fmt;

use lockgate_model::Digest;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::journal::{RECORD_COLUMNS, WalkError, read_head, read_row, walk};
use crate::record::{FIRST_PREV, RecordProblem};
use crate::state::{Store, StoreError};

/// What is known of the journal from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Hash of record 1.
    pub first: Digest,
    /// Number of a record.
    pub records: u64,
    /// Its hash.
    pub last: Digest,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Records that are as they were written, from the first one on.
    pub records: u64,
    /// Hash of record 1; none: there is none.
    pub first: Option<Digest>,
    /// Hash of the last good one.
    pub last: Option<Digest>,
    /// The first thing that is wrong.
    pub problem: Option<AuditProblem>,
}

/// What is wrong with a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditProblem {
    /// This record was altered, removed or moved.
    Record {
        /// Its number.
        seq: u64,
        /// What is wrong with it.
        problem: RecordProblem,
    },
    /// It is another journal, or one that was written anew from record 1 on.
    Other,
    /// All is chained, but with other hashes than those that were kept: somebody wrote records anew.
    Rewritten {
        /// The first of the records among which the first altered one is.
        from: u64,
        /// The last of them.
        to: u64,
    },
}

impl fmt::Display for AuditProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record { seq, problem } => write!(f, "record {seq}: {problem}"),
            Self::Other => f.write_str(
                "record 1: it is not the one that was signed: another journal, or all of it was written anew",
            ),
            Self::Rewritten { from, to } if from == to => {
                write!(f, "record {to}: it was altered, and its hash made anew: it is not the one that was signed")
            }
            Self::Rewritten { from, to } => write!(
                f,
                "records {from} to {to}: one of them was altered, and the hashes from there on made anew: they are not those that were signed"
            ),
        }
    }
}

impl AuditProblem {
    /// The number at which it begins.
    fn at(&self) -> u64 {
        match self {
            Self::Record { seq, .. } => *seq,
            Self::Other => 1,
            Self::Rewritten { to, .. } => *to,
        }
    }
}

impl Store {
    /// Checks every record, the chain, the number of the last one, and what is expected.
    pub fn audit(&self, expected: &[Expected]) -> Result<Audit, StoreError> {
        self.inner.read(|connection| {
            let failed = || self.inner.db_error("read");
            // One transaction: another process may append meanwhile.
            let transaction = connection.transaction().map_err(failed())?;
            let mut hashes: BTreeMap<u64, Option<Digest>> =
                expected.iter().map(|expected| (expected.records, None)).chain([(1, None)]).collect();
            let (mut records, mut last) = (0, FIRST_PREV);
            let walked = walk(&transaction, 1, i64::MAX as u64, |_, record, hash| {
                (records, last) = (record.seq, hash);
                hashes.entry(record.seq).and_modify(|found| *found = Some(hash));
            });
            let chain = match walked.map_err(|error| into_problem(error, self)) {
                Err(Err(error)) => return Err(error),
                Err(Ok((seq, problem))) => {
                    let moved = moved(&transaction, seq).map_err(failed())?;
                    let problem = match (problem, moved) {
                        (RecordProblem::Altered, Some(from)) => RecordProblem::Moved(from),
                        (problem, _) => problem,
                    };
                    Some(AuditProblem::Record { seq, problem })
                }
                Ok(_) => {
                    let head = read_head(&transaction).map_err(failed())?;
                    after_the_end(&transaction, head, (records, last)).map_err(failed())?
                }
            };
            let kept = against(expected, &hashes, records);
            // Whatever comes first; what was kept tells less of one record than the record itself.
            let problem = [chain, kept].into_iter().flatten().min_by_key(AuditProblem::at);
            Ok(Audit {
                records,
                first: hashes.get(&1).copied().flatten(),
                last: (records > 0).then_some(last),
                problem,
            })
        })
    }
}

fn into_problem(error: WalkError, store: &Store) -> Result<(u64, RecordProblem), StoreError> {
    match error.into_store(&store.inner) {
        StoreError::Record { seq, problem } => Ok((seq, problem)),
        other => Err(other),
    }
}

/// The number of the record that stands at number `seq` and was moved there whole.
fn moved(connection: &Connection, seq: u64) -> rusqlite::Result<Option<u64>> {
    let sql = format!("SELECT {RECORD_COLUMNS} FROM records WHERE seq = ?1");
    let row = connection.query_row(&sql, params![seq.cast_signed()], read_row).optional()?;
    let Some(mut row) = row else { return Ok(None) };
    // The record that followed it names its hash; so does the head, of the last one.
    let sql = "SELECT seq - 1 FROM records WHERE prev = ?1 UNION SELECT seq FROM head WHERE hash = ?1";
    let mut statement = connection.prepare(sql)?;
    let numbers = statement.query_map(params![row.hash.as_bytes()], |found| found.get::<_, i64>(0))?;
    // Its neighbours too: where two were exchanged, the one that followed may itself stand elsewhere.
    let near = [seq.wrapping_sub(1), seq.wrapping_add(1)];
    for number in numbers.filter_map(Result::ok).map(i64::cast_unsigned).chain(near).filter(|number| *number != seq) {
        row.seq = number;
        if row.computed_hash() == row.hash {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// What stands where no record should, or is missing at the end.
fn after_the_end(
    connection: &Connection,
    head: (u64, Digest),
    last: (u64, Digest),
) -> rusqlite::Result<Option<AuditProblem>> {
    let before: bool =
        connection.query_row("SELECT EXISTS (SELECT 1 FROM records WHERE seq < 1)", [], |row| row.get(0))?;
    let problem = |seq, problem| Some(AuditProblem::Record { seq, problem });
    Ok(match head.0.cmp(&last.0) {
        _ if before => problem(0, RecordProblem::Unchained),
        std::cmp::Ordering::Greater => problem(last.0 + 1, RecordProblem::Missing),
        std::cmp::Ordering::Less => problem(head.0 + 1, RecordProblem::Unchained),
        std::cmp::Ordering::Equal if head.1 != last.1 => problem(last.0, RecordProblem::Altered),
        std::cmp::Ordering::Equal => None,
    })
}

/// The first of the kept hashes that the records do not have.
fn against(expected: &[Expected], hashes: &BTreeMap<u64, Option<Digest>>, records: u64) -> Option<AuditProblem> {
    let mut expected: Vec<_> = expected.iter().collect();
    expected.sort_by_key(|expected| expected.records);
    let mut good = 0;
    for Expected { first, records: number, last } in expected {
        let found = |number: &u64| hashes.get(number).copied().flatten();
        if found(&1).is_some_and(|found| found != *first) {
            return Some(AuditProblem::Other);
        }
        match found(number) {
            None => return Some(AuditProblem::Record { seq: records + 1, problem: RecordProblem::Missing }),
            Some(found) if found != *last => return Some(AuditProblem::Rewritten { from: good + 1, to: *number }),
            Some(_) => good = *number,
        }
    }
    None
}
