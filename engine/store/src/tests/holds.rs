//! A run and a group are had by one at a time.

use super::*;
use crate::{GroupHold, Hold};

fn group(store: &Store, run: &RunId) -> Result<Hold, Option<RunId>> {
    match store.hold_group("deploy", run).unwrap() {
        GroupHold::Held(hold) => Ok(hold),
        GroupHold::Busy(other) => Err(other),
    }
}

#[test]
fn a_run_is_held_once_and_given_back() {
    let fixture = Fixture::new();
    let (one, other) = (Store::open(fixture.store.dir()).unwrap(), &fixture.store);
    let run = RunId::new("r0123456789ab").unwrap();
    let hold = one.hold_run(&run).unwrap().unwrap();
    assert!(other.hold_run(&run).unwrap().is_none());
    assert!(other.hold_run(&RunId::new("r0123456789ac").unwrap()).unwrap().is_some());
    drop(hold);
    let hold = other.hold_run(&run).unwrap();
    assert!(hold.is_some() && one.hold_run(&run).unwrap().is_none());
    drop(hold);
    assert_eq!(std::fs::read_dir(one.dir().join("locks")).unwrap().count(), 0);
}

#[test]
fn a_group_says_which_run_has_it() {
    let fixture = Fixture::new();
    let (first, second) = (RunId::new("r0123456789ab").unwrap(), RunId::new("r0123456789ac").unwrap());
    let hold = group(&fixture.store, &first).unwrap();
    assert_eq!(group(&fixture.store, &second).unwrap_err(), Some(first));
    drop(hold);
    assert!(group(&fixture.store, &second).is_ok());
}
