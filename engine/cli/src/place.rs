//! Where things are, as the command line says it.

use std::path::{Path, PathBuf};

use lockgate::wiring::place;
pub(crate) use lockgate::wiring::place::STATE;
use lockgate_store::Store;

use crate::args::{FileArgs, StateArgs};
use crate::exit::CliError;

/// The state directory of a pipeline file.
pub(crate) fn state_of_file(args: &FileArgs, root: &Path) -> PathBuf {
    args.state.clone().unwrap_or_else(|| root.join(STATE))
}

/// The state directory for commands without a pipeline file.
pub(crate) fn state_here(args: &StateArgs) -> Result<PathBuf, CliError> {
    Ok(place::state_here(args.state.as_deref(), args.root.as_deref())?)
}

/// Opens the state directory to read from it. It must exist already: there is nothing to show otherwise.
pub(crate) fn open_existing(args: &StateArgs) -> Result<Store, CliError> {
    Ok(place::open_existing(state_here(args)?)?)
}

/// The state directory, which must exist already.
pub(crate) fn existing(args: &StateArgs) -> Result<PathBuf, CliError> {
    Ok(place::existing(state_here(args)?)?)
}
