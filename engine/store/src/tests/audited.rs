//! The audit: whatever is done to a journal, the first record that suffered is named.

use lockgate_model::Digest;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::{Fixture, effect, finished, run, started};
use crate::{Audit, AuditProblem, Expected, RecordProblem, Seen, Store};

/// Six records of two runs.
fn journal() -> Fixture {
    let fixture = Fixture::new();
    fixture.store.append(&run("ra-000000000000"), 10, &[started("a"), effect(0)]).unwrap();
    fixture.store.append(&run("rb-000000000000"), 20, &[started("b")]).unwrap();
    fixture.store.append(&run("ra-000000000000"), 30, &[effect(1), effect(2), finished()]).unwrap();
    fixture
}

fn database(fixture: &Fixture) -> Connection {
    let connection = Connection::open(fixture.store.dir().join("state.db")).unwrap();
    // What a test does to it need not last.
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    connection
}

fn expected(audit: &Audit) -> Expected {
    Expected { first: audit.first.unwrap(), records: audit.records, last: audit.last.unwrap() }
}

fn record(seq: u64, problem: RecordProblem) -> Option<AuditProblem> {
    Some(AuditProblem::Record { seq, problem })
}

const COLUMNS: [&str; 8] = ["seq", "run", "time_ms", "kind", "version", "body", "prev", "hash"];

/// A value with one byte changed; integers by one of their bits.
fn altered(value: &Value, at: usize) -> Option<Value> {
    let flip = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        *bytes.get_mut(at)? ^= 1;
        Some(bytes)
    };
    match value {
        Value::Integer(number) => (at < 8).then(|| Value::Integer(number ^ 1 << (8 * at))),
        Value::Text(text) => Some(Value::Text(String::from_utf8(flip(text.as_bytes())?).unwrap())),
        Value::Blob(bytes) => flip(bytes).map(Value::Blob),
        other => panic!("{other:?}"),
    }
}

/// Each byte of each column of each record, one at a time: the record is named.
#[test]
fn every_altered_byte_of_every_record_is_named() {
    let fixture = journal();
    let database = database(&fixture);
    let clean = fixture.store.audit(&[]).unwrap();
    assert_eq!((clean.records, clean.problem.clone()), (6, None));
    let head = expected(&clean);
    let mut tried = 0;
    for seq in 1..=6_u64 {
        for column in COLUMNS {
            let select = format!("SELECT {column} FROM records WHERE seq = ?1");
            let original: Value = database.query_row(&select, [seq as i64], |row| row.get(0)).unwrap();
            for at in 0.. {
                let Some(value) = altered(&original, at) else { break };
                let update = format!("UPDATE records SET {column} = ?1 WHERE seq = ?2");
                // Another record has that number already: it cannot be.
                if database.execute(&update, (&value, seq as i64)).is_err() {
                    assert_eq!(column, "seq");
                    continue;
                }
                tried += 1;
                let problem = fixture.store.audit(&[head]).unwrap().problem;
                let named = match &problem {
                    Some(AuditProblem::Record { seq, .. }) => *seq,
                    other => panic!("{column} of record {seq}, byte {at}: {other:?}"),
                };
                // A record that is now before all others is named where it is missing, or as one that does not belong there.
                assert!(named == seq, "{column} of record {seq}, byte {at}: {problem:?}");
                let now = if let (Value::Integer(now), "seq") = (&value, column) { *now } else { seq as i64 };
                database
                    .execute(&format!("UPDATE records SET {column} = ?1 WHERE seq = ?2"), (&original, now))
                    .unwrap();
            }
        }
    }
    assert!(tried > 6 * 200, "{tried}");
    assert_eq!(fixture.store.audit(&[head]).unwrap(), clean, "all is as it was");
    assert_eq!(fixture.store.verify().unwrap(), 6);
}

#[test]
fn removed_moved_and_added_records_are_named() {
    use RecordProblem::{Altered, Missing, Moved, Unchained};
    let swap = |one: u64, two: u64| {
        format!(
            "UPDATE records SET seq = -1 WHERE seq = {one}; UPDATE records SET seq = {one} WHERE seq = {two};
             UPDATE records SET seq = {two} WHERE seq = -1;"
        )
    };
    let cut = "UPDATE head SET (seq, hash) = (SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1)";
    let cases = [
        ("DELETE FROM records WHERE seq = 1".to_owned(), 1, Missing),
        ("DELETE FROM records WHERE seq = 3".to_owned(), 3, Missing),
        ("DELETE FROM records WHERE seq = 6".to_owned(), 6, Missing),
        ("DELETE FROM records".to_owned(), 1, Missing),
        (swap(2, 3), 2, Moved(3)),
        (swap(1, 6), 1, Moved(6)),
        (swap(2, 5), 2, Moved(5)),
        ("DELETE FROM records WHERE seq = 3; UPDATE records SET seq = seq - 1 WHERE seq > 3".to_owned(), 3, Moved(4)),
        (
            "INSERT INTO records SELECT 7, run, time_ms, kind, version, body, hash, hash FROM records WHERE seq = 6"
                .to_owned(),
            7,
            Altered,
        ),
        (
            "INSERT INTO records SELECT 0, run, time_ms, kind, version, body, prev, hash FROM records WHERE seq = 6"
                .to_owned(),
            0,
            Unchained,
        ),
        ("UPDATE head SET seq = 5".to_owned(), 6, Unchained),
        ("UPDATE head SET hash = zeroblob(32)".to_owned(), 6, Altered),
        // With a head beside it that was made to fit.
        (format!("DELETE FROM records WHERE seq > 4; {cut}"), 5, Missing),
    ];
    for (sql, seq, problem) in cases {
        let fixture = journal();
        let head = expected(&fixture.store.audit(&[]).unwrap());
        database(&fixture).execute_batch(&sql).unwrap();
        assert_eq!(fixture.store.audit(&[head]).unwrap().problem, record(seq, problem), "{sql}");
    }
}

#[test]
fn what_was_cut_off_at_the_end_is_known_by_the_head_alone() {
    let fixture = journal();
    let head = expected(&fixture.store.audit(&[]).unwrap());
    database(&fixture)
        .execute_batch(
            "DELETE FROM records WHERE seq > 4;
             UPDATE head SET (seq, hash) = (SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1)",
        )
        .unwrap();
    assert_eq!(fixture.store.audit(&[]).unwrap().problem, None, "nothing in the journal tells it");
    assert_eq!(fixture.store.audit(&[head]).unwrap().problem, record(5, RecordProblem::Missing));
}

/// Somebody who makes all hashes anew is found by what was kept, and the more was kept, the narrower.
#[test]
fn a_rewritten_journal_is_found_by_its_heads() {
    let original = Fixture::new();
    let append = |fixture: &Fixture, time: u64, number: u64| {
        fixture.store.append(&run("ra-000000000000"), time, &[effect(number)]).unwrap();
        expected(&fixture.store.audit(&[]).unwrap())
    };
    let heads: Vec<_> = (0..5).map(|number| append(&original, number, number)).collect();
    let forged = Fixture::new();
    for number in 0..5 {
        append(&forged, number, if number == 2 { 7 } else { number });
    }
    let problem = |heads: &[Expected]| forged.store.audit(heads).unwrap().problem;
    assert_eq!(problem(&[]), None);
    assert_eq!(problem(&heads[..2]), None, "the two records before it are those of then");
    assert_eq!(problem(&heads[4..]), Some(AuditProblem::Rewritten { from: 1, to: 5 }));
    assert_eq!(problem(&[heads[4], heads[0]]), Some(AuditProblem::Rewritten { from: 2, to: 5 }));
    assert_eq!(problem(&heads), Some(AuditProblem::Rewritten { from: 3, to: 3 }));
    assert_eq!(journal().store.audit(&heads).unwrap().problem, Some(AuditProblem::Other));
    let empty = Fixture::new();
    assert_eq!(empty.store.audit(&heads).unwrap().problem, record(1, RecordProblem::Missing));
    assert_eq!(empty.store.audit(&[]).unwrap(), Audit { records: 0, first: None, last: None, problem: None });
}

#[test]
fn a_journal_that_grew_is_the_one_that_was_signed() {
    let fixture = journal();
    let head = expected(&fixture.store.audit(&[]).unwrap());
    fixture.store.append(&run("rc"), 40, &[started("c")]).unwrap();
    let audit = fixture.store.audit(&[head]).unwrap();
    assert_eq!((audit.records, audit.problem), (7, None));
}

#[test]
fn the_highest_versions_are_kept() {
    let fixture = Fixture::new();
    let seen = |signer: &str, version: &str| Seen {
        signer: signer.into(),
        plugin: "scan".into(),
        version: version.into(),
        digest: Digest::of(version.as_bytes()),
        time_ms: 5,
    };
    let longer = |new: &str, known: &str| new.len() > known.len();
    fixture.store.remember(&[seen("a", "22"), seen("b", "1")], longer).unwrap();
    fixture.store.remember(&[seen("a", "3"), seen("b", "333")], longer).unwrap();
    let again = Store::open(fixture.store.dir()).unwrap();
    assert_eq!(again.seen().unwrap(), [seen("a", "22"), seen("b", "333")]);
    assert_eq!(again.forget("lint").unwrap(), 0);
    assert_eq!(again.forget("scan").unwrap(), 2);
    assert!(again.seen().unwrap().is_empty());
}
