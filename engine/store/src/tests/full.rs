//! A full disk at every change: the error names the place, nothing acknowledged is lost, nothing half-made is visible, and with room
//! it goes on.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::disk::{FaultyDisk, Full};
use super::scenario::{self, Fact};
use crate::{Store, StoreError};

/// Plays until the disk is full, makes room, and plays again. Whether it became full.
fn fill(full: Full) -> Result<bool, String> {
    let dir = scenario::quick_dir();
    let root = dir.path().canonicalize().unwrap();
    scenario::prepare(&root);
    let state = root.join(".lockgate");
    let disk = FaultyDisk::new(&root, &state, full);
    let mut facts = Vec::new();
    let opened = Store::open_on(disk.clone(), &state);
    let played: Result<(), Box<dyn std::error::Error>> = match &opened {
        Ok(store) => scenario::play(store, &root, "ra", &mut |fact| facts.push(fact)),
        Err(_) => Ok(()),
    };
    let error = match (&opened, played) {
        (Err(error), _) => Some(scenario::names_a_place(error, &root)).map(|named| (named, scenario::chain(error))),
        (_, Err(error)) => Some((scenario::names_a_place(&*error, &root), scenario::chain(&*error))),
        _ => None,
    };
    if let Some((named, text)) = &error
        && (!named || !text.contains("No space left on device"))
    {
        return Err(format!("it does not say where or why: {text}"));
    }
    disk.make_room();
    let first: Vec<Fact> = facts.clone();
    if let Ok(store) = &opened {
        // The run that failed may have gone further than it said.
        scenario::check(store, &root, &facts, &whole().0).map_err(|error| format!("full: {error}"))?;
    }
    let store = match opened {
        Ok(store) if !is_unsynced(&store) => store,
        opened => {
            if let Ok(store) = &opened
                && !matches!(store.append(&super::run("rc"), 0, &[super::effect(0)]), Err(StoreError::Unsynced(_)))
            {
                return Err("it goes on after a sync that failed".to_owned());
            }
            drop(opened);
            reopened(&disk, &state)?
        }
    };
    let mut again = Vec::new();
    scenario::play(&store, &root, "rb", &mut |fact| again.push(fact))
        .map_err(|error| format!("with room: {}", scenario::chain(&*error)))?;
    drop(store);
    let store = Store::open(&state).map_err(|error| scenario::chain(&error))?;
    scenario::check(&store, &root, &again, &again).map_err(|error| format!("with room: {error}"))?;
    // The collection took what only the old run needed.
    let promised = first.into_iter().filter(|fact| matches!(fact, Fact::Appended(..)));
    let promised: Vec<Fact> = promised.chain([Fact::Collecting]).collect();
    scenario::check(&store, &root, &promised, &whole().0).map_err(|error| format!("before it: {error}"))?;
    drop(store);
    let left = std::fs::read_dir(state.join("tmp")).unwrap().count();
    // A directory that could not be removed is the next process's to remove.
    if left > usize::from(matches!(full, Full::Once(_))) {
        return Err(format!("{left} temporary directories are left"));
    }
    Ok(error.is_some())
}

fn is_unsynced(store: &Store) -> bool {
    store.inner.unsynced.load(std::sync::atomic::Ordering::Relaxed)
}

fn reopened(disk: &Arc<FaultyDisk>, state: &Path) -> Result<Store, String> {
    Store::open_on(disk.clone(), state).map_err(|error| format!("open with room: {}", scenario::chain(&error)))
}

/// Everything that the run acknowledges when nothing fails, and the number of changes.
fn whole() -> &'static (Vec<Fact>, usize) {
    static WHOLE: std::sync::OnceLock<(Vec<Fact>, usize)> = std::sync::OnceLock::new();
    WHOLE.get_or_init(|| {
        let dir = scenario::quick_dir();
        let root = dir.path().canonicalize().unwrap();
        scenario::prepare(&root);
        let disk = FaultyDisk::new(&root, &root.join(".lockgate"), Full::Never);
        let store = Store::open_on(disk.clone(), &root.join(".lockgate")).unwrap();
        let mut facts = Vec::new();
        scenario::play(&store, &root, "ra", &mut |fact| facts.push(fact)).unwrap();
        drop(store);
        (facts, disk.asked())
    })
}

fn fill_at_any_change(full: fn(usize) -> Full) {
    let begun = Instant::now();
    let mut wrong = Vec::new();
    let mut failed = 0;
    let end = whole().1;
    for at in 0..=end {
        match fill(full(at)) {
            Ok(true) => failed += 1,
            // Some need not succeed: sealing a file, cleaning up.
            Ok(false) => {}
            Err(error) => wrong.push(format!("{:?}: {error}", full(at))),
        }
    }
    let (tried, seconds) = (end + 1, begun.elapsed().as_secs_f32());
    eprintln!("{tried} disks full at one change each, {failed} errors, {} wrong; {seconds:.1} s", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong[..wrong.len().min(10)].join("\n"));
    assert!(failed > end / 2, "{failed}");
}

#[test]
fn a_disk_that_is_full_from_any_change_on_is_named_and_with_room_it_goes_on() {
    fill_at_any_change(Full::From);
}

#[test]
fn any_single_change_that_fails_is_named_and_the_next_try_goes_on() {
    fill_at_any_change(Full::Once);
}
