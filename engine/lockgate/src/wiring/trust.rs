//! Whether plugins are those of the lock file, and who vouches for them: checked after components are loaded, before anything runs.

use std::path::Path;

use lockgate_store::Seen;

use crate::error::Error;
use crate::wiring::load::Loaded;
use crate::wiring::lock::{LockMode, check_lock};
use crate::wiring::notices::Notices;
use crate::wiring::policy::Policies;
use crate::wiring::vouched::Vouched;

/// Looks at the plugins of a pipeline before the policies judge it: whether the lock file has them, and who vouches for them. What is
/// refused is a problem of the pipeline.
pub fn look(
    loaded: &mut Loaded,
    file: &Path,
    lock: LockMode,
    policies: &Policies,
    seen: &[Seen],
    output: &dyn Notices,
) -> Result<(), Error> {
    let pinned = check_lock(loaded, file, lock, output)?;
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
