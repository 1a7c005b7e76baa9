//! A clock that was set back: records keep their order and their chain, and a collection takes nothing that is young.

use lockgate_model::outcome::Status;

use super::{Fixture, blob, finished, proved, run, started};
use crate::{GcOptions, Store};
use lockgate_model::Digest;

const HOUR: u64 = 3_600_000;
const TEN_YEARS: u64 = 315_576_000_000;

#[test]
fn records_that_go_back_in_time_keep_their_order() {
    for back in [HOUR, TEN_YEARS] {
        let fixture = Fixture::new();
        let now = 2 * TEN_YEARS;
        let key = Digest::of(b"key");
        let (first, second) = (blob(&fixture.store, b"first"), blob(&fixture.store, b"second"));
        let events = |output| [started("a"), proved("n", key, &[("out", output)]), finished()];
        fixture.store.append(&run("ra"), now, &events(first)[..2]).unwrap();
        fixture.store.append(&run("ra"), now - back, &[finished()]).unwrap();
        fixture.store.append(&run("rb"), now - back, &events(second)).unwrap();
        fixture.store.append(&run("rc"), 0, &[started("c")]).unwrap();
        let store = Store::open(fixture.store.dir()).unwrap();
        assert_eq!(store.verify().unwrap(), 7);
        let seen: Vec<_> = store.runs(9).unwrap().into_iter().map(|run| run.id.to_string()).collect();
        assert_eq!(seen, ["rc", "rb", "ra"], "the newest is the one written last");
        assert_eq!(store.find_run("latest").unwrap().id, run("rc"));
        let ended = store.find_run("ra").unwrap();
        assert_eq!((ended.status, ended.finished_ms), (Some(Status::Succeeded), Some(now - back)));
        // The proof written last counts, whatever it says of its time.
        assert_eq!(store.action(&key).unwrap().unwrap().run, run("rb"));
    }
}

#[test]
fn a_collection_with_a_clock_set_back_keeps_more_and_never_less() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let now = 2 * TEN_YEARS;
    for (name, time) in [("rold", now - 10 * HOUR), ("ryoung", now)] {
        let output = blob(store, &[name.len() as u8; 30_000]);
        let proof = proved("n", Digest::of(name.as_bytes()), &[("out", output)]);
        store.append(&run(name), time, &[started(name), proof, finished()]).unwrap();
    }
    let keep = |now_ms: u64| {
        let options = GcOptions { now_ms, keep_since_ms: now_ms.saturating_sub(2 * HOUR), ..GcOptions::default() };
        store.gc(&GcOptions { dry_run: true, ..options }).unwrap().kept_runs
    };
    assert_eq!([keep(now), keep(now - 9 * HOUR), keep(now - TEN_YEARS), keep(0)], [1, 2, 2, 2]);
    // It really runs, and says that it was then.
    let options = GcOptions { now_ms: 0, keep_since_ms: 0, ..GcOptions::default() };
    assert_eq!(store.gc(&options).unwrap().artifacts, 0);
    assert_eq!(store.verify().unwrap(), 6);
}
