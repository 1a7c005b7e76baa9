//! Graphs whose results are known as a whole: what makes an entry, what is served of it, and what stays of served runs.

use std::sync::Arc;

use lockgate_model::Digest;
use lockgate_model::artifact::ArtifactRef;
use lockgate_model::event::Event;
use lockgate_model::graph_results::{Encoder, NodeResult};
use lockgate_model::outcome::{Failure, FailureKind, Status};
use rusqlite::Connection;

use super::{Fixture, blob, finished, proved, run, started};
use crate::pending::Space;
use crate::{BundleLimits, GcOptions, RecordProblem, Store, StoreError};

fn key() -> Digest {
    Digest::of(b"graph")
}

/// A run of one node that proves its graph, and what it gave.
fn with_proof() -> (Fixture, ArtifactRef, ArtifactRef) {
    let fixture = Fixture::new();
    let store = &fixture.store;
    blob(store, b"{}");
    let output = blob(store, &[7; 50_000]);
    let end = proved("n", Digest::of(b"key"), &[("out", output)]);
    let Event::NodeFinished { receipt, digest, .. } = &end else { unreachable!() };
    let result = NodeResult {
        receipt: receipt.clone(),
        digest: *digest,
        inputs: Default::default(),
        findings: Default::default(),
        peak_memory: 1,
        fuel_limit: 100,
    };
    let mut encoder = Encoder::new([&*result.receipt].into_iter());
    encoder.add(&result);
    let results = blob(store, encoder.finish().as_bytes());
    let proof = Event::GraphProved { key: key(), results };
    store.append(&run("ra"), 1, &[started("a"), end, proof, finished()]).unwrap();
    (fixture, results, output)
}

/// A run that is served with it.
fn serve(store: &Store, results: ArtifactRef) {
    store.append(&run("rb"), 9, &[started("b"), Event::GraphServed { key: key(), results }, finished()]).unwrap();
}

/// The end of a node whose executions gave different results.
fn disproof() -> Event {
    let mut end = proved("n", Digest::of(b"key"), &[]);
    if let Event::NodeFinished { receipt, digest, .. } = &mut end {
        let receipt = Arc::make_mut(receipt);
        receipt.status = Status::Failed;
        receipt.failure = Some(Failure { kind: FailureKind::NotReproducible, message: "it differs".to_owned() });
        *digest = receipt.digest();
    }
    end
}

fn kinds(store: &Store, name: &str) -> Vec<(u64, &'static str)> {
    store.records(&run(name)).unwrap().iter().map(|record| (record.seq, record.event.kind())).collect()
}

#[test]
fn a_served_run_reads_as_if_each_node_had_its_records() {
    let (fixture, results, _) = with_proof();
    let (found, text) = fixture.store.graph(&key()).unwrap().unwrap();
    assert_eq!((found, text.len() as u64), (results, results.size));
    assert_eq!(fixture.store.graph(&Digest::of(b"other")).unwrap(), None);
    serve(&fixture.store, results);
    let unfolded =
        [(5, "run-started"), (6, "graph-served"), (6, "attempt-started"), (6, "node-finished"), (7, "run-finished")];
    assert_eq!(kinds(&fixture.store, "rb"), unfolded);
    let after = fixture.store.records_after(&run("rb"), 5, 1).unwrap();
    assert_eq!(after.iter().map(|record| (record.seq, record.time_ms)).collect::<Vec<_>>(), [(6, 9); 3]);
    assert_eq!(fixture.store.find_run("rb").unwrap().records, 3);
    assert_eq!(fixture.store.verify().unwrap(), 7);
    // Whoever gets its bundle gets all of it.
    let mut bundle = Vec::new();
    let error = fixture.store.write_bundle(&run("rb"), &mut bundle).err();
    assert!(error.is_none(), "{error:?}");
    let dir = tempfile::tempdir().unwrap();
    let other = Store::open(dir.path()).unwrap();
    other.read_bundle(&bundle[..], BundleLimits::default()).unwrap();
    assert_eq!(kinds(&other, "rb").len(), 5);
}

#[test]
fn what_is_not_whole_any_more_is_not_served() {
    let (fixture, _, output) = with_proof();
    std::fs::remove_file(fixture.store.inner.object_path(&(Space::Blob, output.digest))).unwrap();
    assert_eq!(Store::open(fixture.store.dir()).unwrap().graph(&key()).unwrap(), None);

    let (fixture, results, _) = with_proof();
    let database = Connection::open(fixture.store.dir().join("state.db")).unwrap();
    // Another record, and an altered one.
    database.execute_batch("UPDATE graphs SET seq = 2").unwrap();
    assert_eq!(fixture.store.graph(&key()).unwrap(), None);
    fixture.store.verify().unwrap();
    assert!(fixture.store.graph(&key()).unwrap().is_some());
    serve(&fixture.store, results);
    database
        .execute_batch(
            "UPDATE objects SET bytes = x'00' WHERE length(bytes) = (SELECT max(length(bytes)) FROM objects)",
        )
        .unwrap();
    assert_eq!(fixture.store.graph(&key()).unwrap(), None);
    assert!(matches!(fixture.store.records(&run("rb")), Err(StoreError::Damaged(_) | StoreError::Missing(_))));
}

#[test]
fn a_record_that_stands_for_nothing_is_named() {
    let (fixture, _, _) = with_proof();
    let results = blob(&fixture.store, b"something else");
    serve(&fixture.store, results);
    let error = fixture.store.records(&run("rb")).unwrap_err();
    assert!(matches!(error, StoreError::Record { seq: 6, problem: RecordProblem::Unknown(_) }), "{error}");
}

#[test]
fn no_graph_is_served_once_a_result_was_not_reproducible() {
    let (fixture, _, _) = with_proof();
    fixture.store.append(&run("rb"), 2, &[started("b"), disproof()]).unwrap();
    assert_eq!(fixture.store.graph(&key()).unwrap(), None);
    let database = Connection::open(fixture.store.dir().join("state.db")).unwrap();
    database.execute("INSERT INTO graphs VALUES (?1, 3)", [key().as_bytes()]).unwrap();
    fixture.store.verify().unwrap();
    assert_eq!(fixture.store.graph(&key()).unwrap(), None);
}

#[test]
fn a_run_that_began_before_a_result_was_disproved_proves_no_graph() {
    let (fixture, results, _) = with_proof();
    let store = &fixture.store;
    let proof = || Event::GraphProved { key: key(), results };
    store.append(&run("rold"), 2, &[started("old")]).unwrap();
    store.append(&run("rb"), 2, &[started("b"), disproof()]).unwrap();
    // It may have been served with what is disproved now.
    store.append(&run("rold"), 3, &[proof(), finished()]).unwrap();
    assert_eq!(store.graph(&key()).unwrap(), None);
    store.verify().unwrap();
    assert_eq!(store.graph(&key()).unwrap(), None);
    store.gc(&GcOptions { now_ms: 10, ..GcOptions::default() }).unwrap();
    store.append(&run("rold"), 4, &[proof()]).unwrap();
    assert_eq!(store.graph(&key()).unwrap(), None, "a collection forgets no such record");
    // One that began since was not.
    store.append(&run("rnew"), 5, &[started("new"), proof(), finished()]).unwrap();
    assert!(store.graph(&key()).unwrap().is_some());
    store.verify().unwrap();
    assert!(store.graph(&key()).unwrap().is_some());
}

#[test]
fn garbage_collection_keeps_what_records_stand_for() {
    let late = GcOptions { now_ms: 1_000, keep_since_ms: 1_000, ..GcOptions::default() };
    let (fixture, results, _) = with_proof();
    serve(&fixture.store, results);
    fixture.store.gc(&late).unwrap();
    assert_eq!(kinds(&fixture.store, "rb").len(), 5, "its records are kept, and this is one of them");
    assert_eq!(fixture.store.graph(&key()).unwrap(), None, "but not what its nodes gave");

    let (fixture, results, _) = with_proof();
    let report = fixture.store.gc(&late).unwrap();
    assert_eq!(report.actions, 2, "the node's entry, and that of the graph");
    assert!(!fixture.store.has_blob(&results.digest).unwrap());
    assert_eq!(fixture.store.graph(&key()).unwrap(), None);
}
