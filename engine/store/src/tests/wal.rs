//! SQLite's log, torn and reordered, and SQLite itself without room: what is left is a beginning of the journal, whole in its chain.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, OpenFlags};

use super::disk::Random;
use super::scenario::{chain, quick_dir};
use super::{effect, run, started};
use crate::record::Record;
use crate::{Store, StoreError};

/// Bytes of the log's head and of a frame's head, by <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.
const HEAD: usize = 32;
const FRAME: usize = 24 + 4096;

/// A database with records in it, and a log with more: length of the log, and number of records, at the end of each commit.
struct Logged {
    database: Vec<u8>,
    log: Vec<u8>,
    commits: Vec<(usize, u64)>,
    records: Vec<Record>,
}

fn logged() -> Logged {
    let dir = quick_dir();
    let (database, log) = (dir.path().join("state.db"), dir.path().join("state.db-wal"));
    let store = Store::open(dir.path()).unwrap();
    let run = run("ra");
    store.append(&run, 1, &[started("a"), effect(0)]).unwrap();
    let mut last = store.append(&run, 1, &[effect(1)]).unwrap()[0];
    store.inner.writer().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let mut commits = vec![(0, last)];
    let checkpointed = std::fs::read(&database).unwrap();
    for size in [1, 3, 40, 1, 120, 2, 7] {
        store.put_blob(format!("artifact {size}").repeat(size).as_bytes()).unwrap();
        let events: Vec<_> = (0..size as u64).map(effect).collect();
        last = *store.append(&run, 1, &events).unwrap().last().unwrap();
        commits.push((std::fs::metadata(&log).unwrap().len() as usize, last));
    }
    let (log, records) = (std::fs::read(&log).unwrap(), store.records(&run).unwrap());
    assert_eq!((log.len() - HEAD) % FRAME, 0);
    assert_eq!(std::fs::read(&database).unwrap(), checkpointed, "all of it is in the log");
    Logged { database: checkpointed, log, commits, records }
}

impl Logged {
    /// Opens a state directory with this log; fails unless it holds exactly the first `expected` records.
    fn open(&self, log: &[u8], expected: u64) -> Result<(), String> {
        let dir = quick_dir();
        std::fs::write(dir.path().join("state.db"), &self.database).unwrap();
        std::fs::write(dir.path().join("state.db-wal"), log).unwrap();
        let store = Store::open(dir.path()).map_err(|error| chain(&error))?;
        let verified = store.verify().map_err(|error| chain(&error))?;
        let found = store.records(&run("ra")).map_err(|error| chain(&error))?;
        if verified != expected || !self.records.starts_with(&found) || found.len() as u64 != expected {
            return Err(format!("{verified} records instead of {expected}"));
        }
        let next = store.append(&run("ra"), 2, &[effect(9)]).map_err(|error| chain(&error))?;
        if next != [expected + 1] { Err(format!("it went on with {next:?}")) } else { Ok(()) }
    }

    /// Records of the commits whose last byte is before this place.
    fn records_before(&self, place: usize) -> u64 {
        self.commits.iter().rev().find(|(end, _)| *end <= place).unwrap().1
    }
}

#[test]
fn a_log_cut_anywhere_gives_the_records_of_the_commits_before_the_cut() {
    let (begun, logged, mut random) = (Instant::now(), logged(), Random(1));
    let frames = (0..=(logged.log.len() - HEAD) / FRAME).map(|frame| HEAD + frame * FRAME);
    let around = frames.flat_map(|end| [end.saturating_sub(1), end, end + 1, end + 24]);
    let anywhere = std::iter::repeat_with(|| random.below(logged.log.len())).take(150);
    let cuts: Vec<usize> = around.chain(anywhere).chain(0..=HEAD).filter(|cut| *cut <= logged.log.len()).collect();
    for &cut in &cuts {
        logged
            .open(&logged.log[..cut], logged.records_before(cut))
            .unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
    }
    let seconds = begun.elapsed().as_secs_f32();
    eprintln!("{} cuts of a log of {} bytes, 0 records lost or invented; {seconds:.1} s", cuts.len(), logged.log.len());
}

#[test]
fn frames_that_were_zeroed_swapped_or_altered_end_the_log_there() {
    let (begun, logged, mut random) = (Instant::now(), logged(), Random(2));
    let count = (logged.log.len() - HEAD) / FRAME;
    let start = |frame: usize| HEAD + frame * FRAME;
    let mut tried = 0;
    for frame in 0..count {
        let damages: [&Damage<'_>; 4] = [
            &|log, _| {
                log[start(frame)..start(frame + 1)].fill(0);
                frame
            },
            // The page was written, its head was not.
            &|log, _| {
                log[start(frame)..start(frame) + 24].fill(0);
                frame
            },
            &|log, random| {
                let other = (frame + 1 + random.below(count - 1)) % count;
                let (low, high) = (frame.min(other), frame.max(other));
                let (head, tail) = log.split_at_mut(start(high));
                head[start(low)..start(low + 1)].swap_with_slice(&mut tail[..FRAME]);
                low
            },
            &|log, random| {
                log[start(frame) + random.below(FRAME)] ^= 1 << random.below(8);
                frame
            },
        ];
        for (number, damage) in damages.iter().enumerate() {
            let mut log = logged.log.clone();
            let first = damage(&mut log, &mut random);
            let expected = logged.records_before(start(first));
            logged.open(&log, expected).unwrap_or_else(|error| panic!("damage {number} of frame {frame}: {error}"));
            tried += 1;
        }
    }
    let seconds = begun.elapsed().as_secs_f32();
    eprintln!("{tried} damages of {count} frames, 0 records lost before them or invented; {seconds:.1} s");
}

/// Damages a log; the first frame that it hit.
type Damage<'a> = dyn Fn(&mut [u8], &mut Random) -> usize + 'a;

/// Lets the database grow by so many pages at most.
fn room(store: &Store, pages: i64) {
    let writer = store.inner.writer();
    let count: i64 = writer.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    writer.query_row(&format!("PRAGMA max_page_count = {}", count + pages), [], |_| Ok(())).unwrap();
}

#[test]
fn a_database_without_room_fails_each_append_whole_and_goes_on_with_room() {
    let begun = Instant::now();
    let dir = quick_dir();
    let store = Store::open(dir.path()).unwrap();
    let run = run("ra");
    let (mut last, mut appends, mut failures) = (store.append(&run, 1, &[started("a")]).unwrap()[0], 0, 0);
    for size in [3, 30, 200, 20, 400] {
        let events: Vec<_> = (0..size).map(effect).collect();
        let artifact = store.put_blob(&vec![size as u8; 15_000]).unwrap();
        for pages in 0.. {
            room(&store, pages);
            match store.append(&run, 1, &events) {
                Ok(numbers) => {
                    assert_eq!(numbers, (last + 1..=last + size).collect::<Vec<_>>());
                    last += size;
                    break;
                }
                Err(error) => {
                    assert!(matches!(error, StoreError::Database { .. }), "{error:?}");
                    let text = chain(&error);
                    assert!(text.contains("state.db") && text.contains("full"), "{text}");
                    // As another process sees it.
                    let other = Store::open_to_read(dir.path()).unwrap();
                    assert_eq!((other.verify().unwrap(), store.verify().unwrap()), (last, last));
                    assert_eq!(
                        store.read_blob(&artifact, 20_000).unwrap().len(),
                        15_000,
                        "it waits for the next append"
                    );
                    failures += 1;
                }
            }
        }
        appends += 1;
        assert_eq!(store.read_blob(&artifact, 20_000).unwrap().len(), 15_000);
    }
    room(&store, 1 << 20);
    store.append(&run, 1, &[effect(0)]).unwrap();
    drop(store);
    assert_eq!(Store::open(dir.path()).unwrap().verify().unwrap(), last + 1);
    let seconds = begun.elapsed().as_secs_f32();
    eprintln!(
        "{appends} appends, {failures} failures for want of pages, 0 of {} records lost; {seconds:.1} s",
        last + 1
    );
    assert!(failures > 20, "{failures}");
    assert!(is_sound(dir.path()));
}

/// What SQLite itself says of a database.
fn is_sound(dir: &Path) -> bool {
    let database = Connection::open_with_flags(dir.join("state.db"), OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    database.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap() == "ok"
}
