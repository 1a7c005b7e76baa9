//! `lockgate resume`: a run that another process left is finished from its records.

use lockgate::wiring::past;
use lockgate::wiring::policy::Policies;
use lockgate::wiring::resume::{self, Resumable, Resume};
use lockgate_model::event::Signal;
use lockgate_store::Store;

use super::attest::Attesting;
use super::run::{Begin, Going, Machine, allowed_exports, options, taken};
use super::say::user;
use super::{Ended, host};
use crate::args::{Assume, ResumeArgs};
use crate::exit::Exit;
use crate::forecast::Of;
use crate::place;
use crate::render::output::Output;

/// Finishes a run.
pub(crate) fn resume(args: &ResumeArgs, output: &Output) -> Ended {
    let attesting = Attesting::prepare(&args.drive.attest, output)?;
    let policies = Policies::load(args.policy.policy.as_deref(), output)?;
    let machine = Machine::start(&args.drive)?;
    let state = place::existing(&args.state)?;
    let store = Store::open(&state)?;
    let store = if args.drive.verify { store.thorough() } else { store };
    let text = args.run.as_deref().unwrap_or("last");
    let found = past::find(&store, text)?;
    let run = found.summary.id.clone();
    let _holds = match machine.hold(&store, &run, &found.pipeline, output)? {
        Some(holds) => holds,
        None => return Ok(Exit::Interrupted),
    };
    // Again, now that nobody else drives it.
    let found = past::find(&store, run.as_str())?;
    resume::check(&found)?;
    if let Some(assume) = args.assume {
        let signal = match assume {
            Assume::Done => Signal::AssumeDone,
            Assume::Repeat => Signal::AssumeRepeat,
        };
        resume::assume(&store, &found, signal, &user().unwrap_or_else(|| "resume".to_owned()))?;
    }
    let allowed = allowed_exports(&args.drive.allow_export)?;
    let host = host(machine.jobs.get())?;
    let ask = Resume {
        store: &store,
        found: &found,
        root: args.state.root.as_deref(),
        policies: &policies,
        allowed: &allowed,
        host: &host,
        natives: &[],
        runtime: machine.runtime.handle(),
        notices: output,
    };
    let Resumable { spec, records, recovered, root, plugins, secrets } = ask.prepare()?;
    let taken = taken(&spec, &Of::Resumed(&recovered), &store, &args.drive)?;
    let going = Going {
        args: &args.drive,
        output,
        options: options(args.state.state.as_deref(), args.state.root.as_deref()),
        root,
        pipeline: found.pipeline.clone(),
        plugins,
        secrets,
        store,
        host,
        allowed,
        policies,
        selection: spec.selection.clone(),
        attesting,
    };
    going.drive(machine, Begin { spec, taken, after: Some((recovered, records)) })
}
