//! The journal: order, durability of what records name, damage of every kind, several processes.

use lockgate_model::outcome::Status;
use lockgate_model::{Digest, canonical_json};
use rusqlite::Connection;

use super::{Fixture, child, effect, finished, run, started};
use crate::{Entry, RecordProblem, Store, StoreError};

fn database(fixture: &Fixture) -> Connection {
    Connection::open(fixture.store.dir().join("state.db")).unwrap()
}

/// Two runs, interleaved: records 1, 2, 4, 6 of `ra`, 3, 5 of `rb`.
fn two_runs() -> Fixture {
    let fixture = Fixture::new();
    let (a, b) = (run("ra-000000000000"), run("rb-000000000000"));
    fixture.store.append(&a, 10, &[started("a"), effect(0)]).unwrap();
    fixture.store.append(&b, 20, &[started("b")]).unwrap();
    let (effect, finished) = (effect(1), finished());
    let entry = |run, event| Entry { run, time_ms: 30, event };
    let numbers = fixture.store.append_many(&[entry(&a, &effect), entry(&b, &effect), entry(&a, &finished)]).unwrap();
    assert_eq!(numbers, [4, 5, 6]);
    fixture
}

fn problem(error: StoreError) -> (u64, RecordProblem) {
    match error {
        StoreError::Record { seq, problem } => (seq, problem),
        other => panic!("{other:?}"),
    }
}

#[test]
fn events_come_back_in_order_and_runs_are_summarised() {
    let fixture = two_runs();
    let records = fixture.store.records(&run("ra-000000000000")).unwrap();
    let seen: Vec<_> = records.iter().map(|record| (record.seq, record.time_ms, record.event.clone())).collect();
    assert_eq!(seen, [(1, 10, started("a")), (2, 10, effect(0)), (4, 30, effect(1)), (6, 30, finished())]);
    let runs = fixture.store.runs(10).unwrap();
    assert_eq!(runs.iter().map(|run| run.name.as_str()).collect::<Vec<_>>(), ["b", "a"], "newest first");
    assert_eq!((runs[0].status, runs[0].records, runs[0].finished_ms), (None, 2, None));
    assert_eq!((runs[1].status, runs[1].started_ms, runs[1].finished_ms), (Some(Status::Succeeded), 10, Some(30)));
    assert_eq!((runs[1].digest, runs[1].file.as_str()), (Some(Digest::of(b"run")), "a.toml"));
    assert_eq!(fixture.store.runs(1).unwrap().len(), 1);
    assert_eq!(fixture.store.verify().unwrap(), 6);
    assert_eq!(fixture.store.append(&run("rc"), 0, &[]).unwrap(), [0u64; 0]);
}

#[test]
fn runs_are_found_by_prefix() {
    let fixture = two_runs();
    let find = |text: &str| fixture.store.find_run(text);
    assert_eq!(find("ra").unwrap().name, "a");
    assert_eq!(find("rb-000000000000").unwrap().name, "b");
    assert_eq!(find("latest").unwrap().name, "b");
    assert!(matches!(find("r"), Err(StoreError::AmbiguousRun { candidates, .. }) if candidates.len() == 2));
    for text in ["", "x", "ra%", "ra*", "ra-0000000000000"] {
        assert!(matches!(find(text), Err(StoreError::UnknownRun(_))), "{text}");
    }
    fixture.store.append(&run("ra"), 40, &[started("short")]).unwrap();
    assert_eq!(find("ra").unwrap().name, "short", "a whole id before a prefix");
    assert!(matches!(fixture.store.records(&run("nobody")), Err(StoreError::UnknownRun(_))));
}

/// The format as the documentation of `record` gives it, computed by other means.
#[test]
fn the_hash_is_the_documented_one() {
    let fixture = two_runs();
    let database = database(&fixture);
    let mut statement =
        database.prepare("SELECT seq, run, time_ms, body, version, hash FROM records ORDER BY seq").unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut prev = Digest::from_bytes([0; 32]);
    while let Some(row) = rows.next().unwrap() {
        let body: String = row.get(3).unwrap();
        let text = canonical_json(&serde_json::json!({
            "seq": row.get::<_, i64>(0).unwrap(),
            "run": row.get::<_, String>(1).unwrap(),
            "time": row.get::<_, i64>(2).unwrap(),
            "version": row.get::<_, i64>(4).unwrap(),
            "body": serde_json::from_str::<serde_json::Value>(&body).unwrap(),
            "prev": prev.to_string(),
        }));
        prev = Digest::of(&[b"lockgate-record-v1\0", text.as_bytes()].concat());
        assert_eq!(row.get::<_, Vec<u8>>(5).unwrap(), prev.as_bytes());
    }
    // Fixed: another value here means that journals of before cannot be read.
    assert_eq!(prev.to_string(), "sha256:0fd11057e9aead29b219ceb48d1d5cc11133dad2ded397b27d32ceb202da4e90");
}

#[test]
fn every_alteration_is_named_to_the_record() {
    let cases = [
        ("UPDATE records SET body = replace(body, 'probe', 'prope') WHERE seq = 4", 4, RecordProblem::Altered),
        ("UPDATE records SET time_ms = 31 WHERE seq = 4", 4, RecordProblem::Altered),
        ("UPDATE records SET run = 'rb-000000000000' WHERE seq = 4", 4, RecordProblem::Altered),
        ("UPDATE records SET kind = 'run-finished' WHERE seq = 4", 4, RecordProblem::Altered),
        ("UPDATE records SET hash = zeroblob(32) WHERE seq = 4", 4, RecordProblem::Altered),
        ("UPDATE records SET hash = x'00' WHERE seq = 4", 4, RecordProblem::Altered),
        ("UPDATE records SET version = 2 WHERE seq = 4", 4, RecordProblem::Version(2)),
        ("DELETE FROM records WHERE seq = 4", 4, RecordProblem::Missing),
        ("DELETE FROM records WHERE seq = 2", 2, RecordProblem::Missing),
        ("DELETE FROM records WHERE seq = 1", 1, RecordProblem::Missing),
        ("DELETE FROM records WHERE seq = 6", 6, RecordProblem::Missing),
        ("DELETE FROM records WHERE seq >= 4", 4, RecordProblem::Missing),
    ];
    for (sql, seq, expected) in cases {
        let fixture = two_runs();
        assert!(database(&fixture).execute(sql, []).unwrap() > 0, "{sql}");
        assert_eq!(problem(fixture.store.verify().unwrap_err()), (seq, expected.clone()), "verify after {sql}");
        let read = problem(fixture.store.records(&run("ra-000000000000")).unwrap_err());
        // Cut off at the end, a single run's reader knows only its own last record.
        let seq = if sql.contains(">=") { 6 } else { seq };
        assert_eq!(read, (seq, expected), "records after {sql}");
        let message = StoreError::Record { seq, problem: read.1 }.to_string();
        assert!(message.contains(&format!("record {seq} ")), "{message}");
    }
}

#[test]
fn a_record_that_was_forged_with_its_hash_breaks_the_chain() {
    let fixture = two_runs();
    let forged = two_runs_with_another_answer();
    let database = database(&fixture);
    database.execute("ATTACH ?1 AS other", [forged.store.dir().join("state.db").to_str().unwrap()]).unwrap();
    database
        .execute_batch(
            "UPDATE records SET (body, hash) = (SELECT body, hash FROM other.records o WHERE o.seq = 2) WHERE seq = 2",
        )
        .unwrap();
    assert_eq!(problem(fixture.store.verify().unwrap_err()), (3, RecordProblem::Unchained));
    let read = problem(fixture.store.records(&run("ra-000000000000")).unwrap_err());
    assert_eq!(read, (3, RecordProblem::Unchained));
}

fn two_runs_with_another_answer() -> Fixture {
    let fixture = Fixture::new();
    fixture.store.append(&run("ra-000000000000"), 10, &[started("a"), effect(7)]).unwrap();
    fixture
}

#[test]
fn an_event_of_an_unknown_kind_is_named() {
    let fixture = two_runs();
    // Written by an engine that forgot to count its version up: hash and chain are right.
    let database = database(&fixture);
    let body = r#"{"event":"from-the-future"}"#;
    let head: Vec<u8> = database.query_row("SELECT hash FROM head", [], |row| row.get(0)).unwrap();
    let prev = Digest::from_bytes(head.clone().try_into().unwrap());
    let text = format!(r#"{{"body":{body},"prev":"{prev}","run":"ra-000000000000","seq":7,"time":1,"version":1}}"#);
    let hash = Digest::tagged("lockgate-record-v1", text.as_bytes());
    let row = rusqlite::params![body, head, hash.as_bytes()];
    let sql = "INSERT INTO records VALUES (7, 'ra-000000000000', 1, 'from-the-future', 1, ?1, ?2, ?3)";
    database.execute(sql, row).unwrap();
    database.execute("UPDATE runs SET last = 7, records = records + 1 WHERE run = 'ra-000000000000'", []).unwrap();
    let (seq, problem) = problem(fixture.store.records(&run("ra-000000000000")).unwrap_err());
    assert!(seq == 7 && matches!(problem, RecordProblem::Unknown(_)), "{problem}");
}

#[test]
fn the_index_of_runs_is_rebuilt_from_the_records() {
    let fixture = two_runs();
    let runs = fixture.store.runs(10).unwrap();
    database(&fixture).execute_batch("UPDATE runs SET status = 'failed'; DELETE FROM runs WHERE name = 'b'").unwrap();
    assert_eq!(fixture.store.verify().unwrap(), 6);
    assert_eq!(fixture.store.runs(10).unwrap(), runs);
}

#[test]
fn an_event_that_cannot_be_read_back_is_refused_with_all_beside_it() {
    let fixture = two_runs();
    let huge = lockgate_model::event::Event::EffectFinished {
        node: "n".parse().unwrap(),
        attempt: 1,
        sequence: u64::MAX,
        answer: serde_json::Value::Null,
    };
    let error = fixture.store.append(&run("ra-000000000000"), 50, &[effect(9), huge]).unwrap_err();
    assert!(matches!(error, StoreError::Event { .. }), "{error}");
    assert_eq!(fixture.store.verify().unwrap(), 6);
}

#[test]
fn what_a_record_names_is_there_for_others_once_it_is() {
    let fixture = Fixture::new();
    let digests = [fixture.store.put_blob(b"small").unwrap(), fixture.store.put_blob(&[1; 100_000]).unwrap()];
    let other = Store::open(fixture.store.dir()).unwrap();
    assert!(digests.iter().all(|digest| !other.has_blob(digest).unwrap()), "still waiting");
    fixture.store.append(&run("ra"), 1, &[started("a")]).unwrap();
    assert!(digests.iter().all(|digest| other.has_blob(digest).unwrap()));
}

const WRITERS: usize = 3;
const APPENDS: usize = 20;

#[test]
fn several_processes_append_to_one_journal() {
    let fixture = Fixture::new();
    let spawn = |number: usize| {
        let mut command = child("journals::append_as_a_process_of_its_own");
        command.env("LOCKGATE_TEST_STATE", fixture.store.dir()).env("LOCKGATE_TEST_RUN", format!("r{number}"));
        command.stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut children: Vec<_> = (0..WRITERS).map(spawn).collect();
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    assert_eq!(fixture.store.verify().unwrap(), (WRITERS * APPENDS * 2) as u64);
    for number in 0..WRITERS {
        let records = fixture.store.records(&run(&format!("r{number}"))).unwrap();
        let times: Vec<_> = records.iter().map(|record| record.time_ms).collect();
        assert_eq!(times, (0..APPENDS as u64).flat_map(|time| [time, time]).collect::<Vec<_>>());
    }
}

#[test]
#[ignore = "a child of `several_processes_append_to_one_journal`"]
fn append_as_a_process_of_its_own() {
    let store = Store::open(std::env::var_os("LOCKGATE_TEST_STATE").unwrap().as_ref()).unwrap();
    let run = run(&std::env::var("LOCKGATE_TEST_RUN").unwrap());
    for time in 0..APPENDS as u64 {
        store.put_blob(&time.to_le_bytes()).unwrap();
        store.append(&run, time, &[effect(time), effect(time)]).unwrap();
    }
}

#[test]
fn several_processes_create_one_state_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/state");
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || Store::open(&path).map(|_| ()))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
}
