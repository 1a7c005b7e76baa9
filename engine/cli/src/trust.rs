//! Whether plugins are those of the lock file, and who vouches for them: checked after components are loaded, before anything runs.
//! Also keys and envelopes as files.

mod files;
mod lock;
mod vouched;

use std::path::Path;

use lockgate_store::Seen;

pub(crate) use files::{MAX_SIGNATURES, public_keys, read_envelopes, secret_key, signatures_beside, write_envelopes};
pub(crate) use lock::{lock_of, lock_path, read_lock};
pub(crate) use vouched::{Vouched, trust_roots};

use crate::args::LockArgs;
use crate::exit::CliError;
use crate::load::Loaded;
use crate::policy::Policies;
use crate::render::output::Output;

/// Looks at the plugins of a pipeline before the policies judge it: whether the lock file has them, and who vouches for them. What is
/// refused is a problem of the pipeline.
pub(crate) fn look(
    loaded: &mut Loaded,
    file: &Path,
    lock: &LockArgs,
    policies: &Policies,
    seen: &[Seen],
    output: &Output,
) -> Result<(), CliError> {
    let pinned = lock::check_lock(loaded, file, lock, output)?;
    let sources = loaded.parsed.plugins();
    let plugins =
        loaded.plugins.iter().filter_map(|(alias, plugin)| Some((alias, sources.get(alias)?, plugin.as_ref())));
    let mut vouched = Vouched::of(plugins, &loaded.root, policies, seen, output)?;
    vouched.pin(pinned);
    for (alias, lowered) in vouched.lowered() {
        let hint = Some(Vouched::accept_lowered(lowered));
        let problem = loaded.parsed.plugin_problem(alias, format!("refused: {lowered}"), hint);
        loaded.refuse(problem);
    }
    loaded.vouched = vouched;
    Ok(())
}
