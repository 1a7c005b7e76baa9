//! Concurrency groups: of the runs of one group, on one state directory, one goes on at a time.

use std::time::Duration;

use lockgate_model::RunId;
use lockgate_model::event::{Event, Signal};
use lockgate_model::pipeline::{Concurrency, OnConflict};
use lockgate_runner::{Clock as _, Interrupt, SystemClock};
use lockgate_store::{GroupHold, Hold, Store};
use tokio::runtime::Runtime;

use crate::exit::CliError;
use crate::render::output::Output;
use crate::render::style::clean_line;

/// How often a group is asked for. A lock of the file system tells nobody when it is given back.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Takes the group of a run, when it is free; before, says for whom it waits, and cancels that run where the pipeline says so.
/// None: interrupted meanwhile.
pub(super) fn hold(
    store: &Store,
    run: &RunId,
    concurrency: &Concurrency,
    runtime: &Runtime,
    interrupt: &Interrupt,
    output: &Output,
) -> Result<Option<Hold>, CliError> {
    let mut told: Option<RunId> = None;
    loop {
        match store.hold_group(&concurrency.group, run)? {
            GroupHold::Held(hold) => return Ok(Some(hold)),
            GroupHold::Busy(Some(other)) if told.as_ref() != Some(&other) && begun(store, &other) => {
                let group = clean_line(&concurrency.group);
                output.note(&format!("waiting for run {other} of group `{group}`\n"));
                if concurrency.on_conflict == OnConflict::CancelOlder {
                    let by = format!("run {run} of the same group");
                    let event = Event::Signalled { node: None, signal: Signal::Cancel, by, comment: None };
                    store.append(&other, SystemClock::default().now_ms(), &[event])?;
                }
                told = Some(other);
            }
            GroupHold::Busy(_) => {}
        }
        let interrupted = runtime.block_on(async {
            tokio::select! {
                () = interrupt.raised() => true,
                () = tokio::time::sleep(ASK_EVERY) => false,
            }
        });
        if interrupted {
            return Ok(None);
        }
    }
}

/// Whether a run has records: only then something can be said about it.
fn begun(store: &Store, run: &RunId) -> bool {
    store.find_run(run.as_str()).is_ok_and(|summary| summary.id == *run)
}
