//! Power cuts: what was acknowledged is there afterwards, whatever of the rest the disk kept, lost, tore or reordered.

use std::time::Instant;

use super::disk::{FaultyDisk, Full, Random};
use super::scenario::{self, Fact};
use crate::Store;

/// Cuts at each place where there can be one.
const CUTS: usize = 4;

#[test]
fn a_power_cut_at_any_change_loses_nothing_that_was_acknowledged() {
    let begun = Instant::now();
    let seed = 0x6c6f_636b;
    let mut random = Random(seed);
    let (dir, mut facts) = (scenario::quick_dir(), Vec::new());
    let root = dir.path().canonicalize().unwrap();
    scenario::prepare(&root);
    let disk = FaultyDisk::new(&root, &root.join(".lockgate"), Full::Never);
    {
        let store = Store::open_on(disk.clone(), &root.join(".lockgate")).unwrap();
        scenario::play(&store, &root, "ra", &mut |fact| facts.push((disk.changes(), fact))).unwrap();
        assert!(scenario::is_served(&store));
    }
    let all: Vec<Fact> = facts.iter().map(|(_, fact)| fact.clone()).collect();
    let (mut cuts, mut lost, mut again) = (0, Vec::new(), 0);
    for at in 0..=disk.changes() {
        for number in 0..CUTS {
            let early = number % 2 == 1 && disk.commits_before(at);
            let before = random.clone();
            let copy = scenario::quick_dir();
            let root = copy.path().canonicalize().unwrap();
            disk.cut(at, early, &mut random, &root);
            // A fact counts from the change on before which it was said.
            let promised = facts.iter().take_while(|(changes, _)| if early { *changes < at } else { *changes <= at });
            let promised: Vec<Fact> = promised.map(|(_, fact)| fact.clone()).collect();
            let result = survive(&root, &promised, &all, number == 0 && at % 8 == 0, &mut again);
            if let Err(error) = result {
                lost.push(format!("cut before change {at}{}, {before:?}: {error}", if early { ", early" } else { "" }));
            }
            cuts += 1;
        }
    }
    let seconds = begun.elapsed().as_secs_f32();
    eprintln!(
        "{cuts} cuts at {} changes, seed {seed:#x}: {} lost, {again} went on; {seconds:.1} s",
        disk.changes(),
        lost.len()
    );
    assert!(lost.is_empty(), "{}", lost[..lost.len().min(5)].join("\n"));
    assert!(cuts > 500 && again > 20, "{cuts} {again}");
}

/// Looks at what a cut left, as the next process finds it, and plays on in it.
fn survive(
    root: &std::path::Path,
    promised: &[Fact],
    all: &[Fact],
    goes_on: bool,
    again: &mut u32,
) -> Result<(), String> {
    let dir = root.join(".lockgate");
    if !dir.is_dir() {
        return match promised {
            [] => Ok(()),
            _ => Err("the state directory is gone".to_owned()),
        };
    }
    let store = Store::open(&dir).map_err(|error| scenario::chain(&error))?;
    scenario::check(&store, root, promised, all)?;
    if goes_on {
        let mut facts = Vec::new();
        scenario::play(&store, root, "rb", &mut |fact| facts.push(fact)).map_err(|error| scenario::chain(&*error))?;
        drop(store);
        let store = Store::open(&dir).map_err(|error| scenario::chain(&error))?;
        scenario::check(&store, root, &facts, &facts).map_err(|error| format!("played again: {error}"))?;
        *again += 1;
    }
    Ok(())
}
