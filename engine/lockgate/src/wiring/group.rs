//! Concurrency groups: of the runs of one group, on one state directory, one goes on at a time.

use std::time::Duration;

use lockgate_model::RunId;
use lockgate_model::event::{Event, Signal};
use lockgate_model::pipeline::{Concurrency, OnConflict};
use lockgate_runner::{Clock as _, Interrupt, SystemClock};
use lockgate_store::{GroupHold, Hold, Store};

use super::notices::Notices;
use super::text::clean_line;
use crate::error::Error;

/// How often a group is asked for. A lock of the file system tells nobody when it is given back.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Takes the group of a run, when it is free; before, says for whom it waits, and cancels that run where the pipeline says so.
/// None: interrupted meanwhile.
pub async fn hold(
    store: &Store,
    run: &RunId,
    concurrency: &Concurrency,
    interrupt: &Interrupt,
    notices: &dyn Notices,
) -> Result<Option<Hold>, Error> {
    let mut told: Option<RunId> = None;
    loop {
        match store.hold_group(&concurrency.group, run)? {
            GroupHold::Held(hold) => return Ok(Some(hold)),
            GroupHold::Busy(Some(other)) if told.as_ref() != Some(&other) && begun(store, &other) => {
                let group = clean_line(&concurrency.group);
                notices.waiting(&format!("waiting for run {other} of group `{group}`"));
                if concurrency.on_conflict == OnConflict::CancelOlder {
                    let by = format!("run {run} of the same group");
                    let event = Event::Signalled { node: None, signal: Signal::Cancel, by, comment: None };
                    store.append(&other, SystemClock::default().now_ms(), &[event])?;
                }
                told = Some(other);
            }
            GroupHold::Busy(_) => {}
        }
        let interrupted = tokio::select! {
            () = interrupt.raised() => true,
            () = tokio::time::sleep(ASK_EVERY) => false,
        };
        if interrupted {
            return Ok(None);
        }
    }
}

/// Whether a run has records: only then something can be said about it.
fn begun(store: &Store, run: &RunId) -> bool {
    store.find_run(run.as_str()).is_ok_and(|summary| summary.id == *run)
}
