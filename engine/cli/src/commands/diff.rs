//! `lockgate diff`: what differs between two runs.

use super::Ended;
use crate::args::{DiffArgs, Format};
use crate::difference::Difference;
use crate::exit::{CliError, Exit};
use crate::render::output::Output;
use crate::{past, place, render};

/// Compares two runs, or a run with the last good one before it.
pub(crate) fn diff(args: &DiffArgs, output: &Output) -> Ended {
    let store = place::open_existing(&args.state)?;
    let run = past::find(&store, &args.run)?;
    let other = match &args.other {
        Some(other) => past::find(&store, other)?,
        None => match past::last_good(&store, &run.summary)? {
            Some(good) => past::read(&store, good)?,
            None => {
                let summary = &run.summary;
                let error = anyhow::anyhow!("find a run of `{}` that succeeded before `{}`", summary.name, summary.id);
                return Err(CliError::new(Exit::Wrong, error).hint("name the run to compare with"));
            }
        },
    };
    let difference = Difference::new(&store, &run, &other);
    match args.format {
        Format::Json => {
            let json =
                serde_json::to_string(&difference).map_err(|error| CliError::new(Exit::Infrastructure, error))?;
            output.data(&(json + "\n"));
        }
        Format::Human => output.data(&render::difference::text(&difference, output.out, output.verbose)),
    }
    Ok(Exit::Succeeded)
}
