//! The lock file beside a pipeline: what must hold, and what is said where it does not.
//!
//! Enforced with `--locked`, and by itself where `CI` is set to something true, if there is a lock file or the pipeline uses a plugin
//! that is not `std:`: those are part of the engine, so whoever pins the engine pins them. Elsewhere a difference is a warning, because
//! who builds a plugin changes it with every build.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use lockgate_host::{CONTRACT, Plugin};
use lockgate_model::PluginAlias;
use lockgate_model::lock::{LOCK_FILE, Lock, Locked, MAX_LOCK};
use lockgate_syntax::Problem;
use lockgate_syntax::lock::{normal, parse};

use super::signatures::read_limited;
use crate::error::Error;
use crate::wiring::load::Loaded;
use crate::wiring::notices::Notices;

/// When the lock file counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LockMode {
    /// Where `CI` is set, if there is one or the pipeline uses a plugin that is not `std:`; elsewhere a difference is a warning.
    #[default]
    Usual,
    /// Always.
    Enforced,
    /// Never.
    Ignored,
}

/// The lock file of a pipeline.
pub fn lock_path(file: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(LOCK_FILE)
}

/// Reads a lock file. None: there is none.
pub fn read_lock(path: &Path) -> Result<Option<Result<Lock, Vec<Problem>>>, Error> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // One byte beyond the limit, so that a larger one is a problem of its own.
        _ => Ok(Some(parse(&path.display().to_string(), &read_limited(path, MAX_LOCK as usize + 1)?))),
    }
}

/// A plugin as a lock file has it.
pub fn locked(plugin: &Plugin) -> Locked {
    let manifest = plugin.manifest();
    normal(Locked {
        digest: plugin.digest(),
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        contract: CONTRACT.to_owned(),
        world: manifest.world,
        imports: plugin.imports().iter().map(|import| import.interface().to_owned()).collect(),
        effects: manifest.effects.iter().cloned().collect(),
    })
}

/// The plugins of a pipeline as a lock file would have them, those that could be loaded, with the aliases of each source.
pub fn lock_of(loaded: &Loaded) -> (Lock, BTreeMap<String, BTreeSet<PluginAlias>>) {
    let (mut lock, mut aliases) = (Lock::default(), BTreeMap::<_, BTreeSet<_>>::new());
    for (alias, source) in loaded.parsed.plugins() {
        let Some(plugin) = loaded.plugins.get(alias) else { continue };
        let mut locked = locked(plugin);
        if let Some(version) = loaded.versions.get(&source.to_string()) {
            locked.version.clone_from(version);
        }
        lock.plugins.insert(source.to_string(), locked);
        aliases.entry(source.to_string()).or_default().insert(alias.clone());
    }
    (lock, aliases)
}

/// Whether `CI` says that nobody watches.
fn in_ci(value: Option<&str>) -> bool {
    let value = value.unwrap_or_default().trim().to_ascii_lowercase();
    !matches!(value.as_str(), "" | "0" | "false" | "no" | "off")
}

/// Compares the plugins of a pipeline with its lock file. What is refused is a problem of the pipeline. The aliases that the lock file pins as
/// they are.
pub fn check_lock(
    loaded: &mut Loaded,
    file: &Path,
    mode: LockMode,
    output: &dyn Notices,
) -> Result<BTreeSet<PluginAlias>, Error> {
    let mut pinned = BTreeSet::new();
    if mode == LockMode::Ignored {
        return Ok(pinned);
    }
    let path = lock_path(file);
    let found = read_lock(&path)?;
    let foreign = loaded.parsed.plugins().values().any(|source| !source.is_built_in());
    let ci = in_ci(std::env::var_os("CI").map(|value| value.to_string_lossy().into_owned()).as_deref());
    let enforced = mode == LockMode::Enforced || ci && (found.is_some() || foreign);
    let missing = found.is_none();
    let lock = match found {
        // Without a lock, and without a reason for one.
        None if !enforced => return Ok(pinned),
        None => Lock::default(),
        Some(Ok(lock)) => lock,
        Some(Err(problems)) => {
            loaded.problems.extend(problems);
            return Ok(pinned);
        }
    };
    let (now, aliases) = lock_of(loaded);
    for (source, is) in &now.plugins {
        let aliases: Vec<_> = aliases.get(source).into_iter().flatten().collect();
        let Some(alias) = aliases.first().copied() else { continue };
        let file = file.display();
        let (what, how) = match lock.plugins.get(source) {
            None if missing => (format!("there is no `{}`", path.display()), format!("lockgate plugin lock {file}")),
            None => (format!("it is not in `{}`", path.display()), format!("lockgate plugin lock {file}")),
            Some(locked) => {
                let changes = locked.changes(is);
                if changes.is_empty() {
                    pinned.extend(aliases.into_iter().cloned());
                    continue;
                }
                let told: Vec<_> = changes.iter().map(ToString::to_string).collect();
                let what = format!("it is not what `{}` has: {}", path.display(), told.join("; "));
                (what, format!("lockgate plugin lock {file} --update {source}"))
            }
        };
        if enforced {
            let why = if mode == LockMode::Enforced { "" } else { ", as CI is set" };
            let hint = format!("look at it, then accept it: {how}\nor run without the lock{why}: --no-locked");
            let problem =
                loaded.parsed.plugin_problem(alias, format!("refused: plugin `{source}`: {what}"), Some(hint));
            loaded.refuse(problem);
        } else {
            output.warning(&format!("plugin `{source}`: {what}; to accept it: {how}"));
        }
    }
    Ok(pinned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ci_is_what_says_something_true() {
        for value in ["true", "1", "TRUE", "woodpecker"] {
            assert!(in_ci(Some(value)), "{value}");
        }
        for value in [None, Some(""), Some("0"), Some("false"), Some(" False "), Some("no")] {
            assert!(!in_ci(value), "{value:?}");
        }
    }

    #[test]
    fn the_lock_stands_beside_the_pipeline() {
        assert_eq!(lock_path(Path::new("pipelines/a.toml")), Path::new("pipelines/lockgate.lock"));
        assert_eq!(lock_path(Path::new("a.toml")), Path::new("lockgate.lock"));
    }
}
