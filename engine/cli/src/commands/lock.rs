//! `lockgate plugin lock`: writes down what the plugins of pipelines are and ask for.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lockgate::wiring::lock::{lock_of, lock_path, read_lock};
use lockgate::wiring::policy::Policies;
use lockgate::wiring::registry::Finder;
use lockgate_model::PluginAlias;
use lockgate_model::lock::Lock;
use lockgate_syntax::lock::print;

use super::check::checked_with;
use super::reports::put;
use super::{Ended, report_problems};
use crate::args::{FileArgs, LockArgs, LockCommandArgs};
use crate::exit::{CliError, Exit};
use crate::render::diagnostics;
use crate::render::output::Output;
use crate::render::style::{Style, clean_line};

/// What becomes of one lock file.
#[derive(Default)]
struct Locking {
    before: Option<Lock>,
    after: Lock,
    /// What the pipelines have.
    now: Lock,
    /// Names under which pipelines speak of each source.
    aliases: BTreeMap<String, BTreeSet<PluginAlias>>,
}

/// Locks the plugins of pipelines: all files, or none.
pub(crate) fn lock(args: &LockCommandArgs, output: &Output) -> Ended {
    let mut locks: BTreeMap<PathBuf, Locking> = BTreeMap::new();
    for file in &args.files {
        let of = FileArgs { file: file.clone(), params: args.params.clone(), root: args.root.clone(), state: None };
        // Under no policy: what may run is another question.
        let registries = Finder::newest(file, &args.update);
        let loaded = checked_with(&of, &LockArgs::none(), &registries, &Policies::default(), output)?;
        if loaded.ready().is_none() {
            return Ok(report_problems(&loaded, output));
        }
        let locking = match locks.entry(lock_path(file)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(vacant) => {
                let locking = Locking::begin(vacant.key(), output)?;
                vacant.insert(locking)
            }
        };
        let (lock, aliases) = lock_of(&loaded);
        for (source, aliases) in aliases {
            locking.aliases.entry(source).or_default().extend(aliases);
        }
        for (source, is) in lock.plugins {
            if let Some(other) = locking.now.plugins.get(&source).filter(|other| other.digest != is.digest) {
                let (one, other) = (clean_line(&other.version), clean_line(&is.version));
                let error = anyhow::anyhow!("lock `{source}` as {one} and as {other}: there is one lock file for both");
                return Err(CliError::new(Exit::Wrong, error)
                    .hint("want one range of versions of it in all of these pipelines"));
            }
            locking.now.plugins.insert(source, is);
        }
    }
    check_names(args, &locks)?;
    let (mut refused, mut told) = (0, String::new());
    for locking in locks.values_mut() {
        refused += locking.take_over(&args.update, &mut told, output.err);
    }
    if !output.quiet || refused > 0 {
        output.note(&told);
    }
    if refused > 0 {
        let plugins = diagnostics::count(refused, "plugin");
        let error = anyhow::anyhow!("lock {plugins} that changed since; nothing was written");
        return Err(
            CliError::new(Exit::Refused, error).hint("look at what changed, then accept it with `--update NAME`")
        );
    }
    for (path, Locking { before, after, .. }) in &locks {
        let same = before.as_ref() == Some(after);
        if !same {
            put(path, print(after).as_bytes()).map_err(|error| {
                CliError::new(Exit::Infrastructure, error).context(format!("write the lock file `{}`", path.display()))
            })?;
        }
        if !output.quiet {
            let plugins = diagnostics::count(after.plugins.len(), "plugin");
            let same = if same { ", as before" } else { "" };
            output.note(&format!("{} {}: {plugins}{same}\n", output.err.good("ok"), path.display()));
        }
    }
    Ok(Exit::Succeeded)
}

impl Locking {
    /// Reads the lock file, if there is one.
    fn begin(path: &Path, output: &Output) -> Result<Self, CliError> {
        let before = match read_lock(path)? {
            None => None,
            Some(Ok(lock)) => Some(lock),
            Some(Err(problems)) => {
                output.note(&diagnostics::human(&problems, output.err, output.width));
                let error = anyhow::anyhow!("read the lock file `{}`", path.display());
                return Err(CliError::new(Exit::Wrong, error).hint("nothing was written"));
            }
        };
        let after = before.clone().unwrap_or_default();
        Ok(Self { before, after, ..Self::default() })
    }

    /// The names under which somebody may speak of a plugin.
    fn names<'l>(&'l self, source: &'l str) -> impl Iterator<Item = &'l str> {
        self.aliases.get(source).into_iter().flatten().map(PluginAlias::as_str).chain([source])
    }

    /// Takes over what the pipelines have; what changed only if `accepted` names it. How many plugins are refused.
    fn take_over(&mut self, accepted: &[String], told: &mut String, style: Style) -> usize {
        let (mut refused, mut after) = (0, self.after.clone());
        for (source, is) in &self.now.plugins {
            let wanted = self.names(source).any(|name| accepted.iter().any(|accepted| accepted == name));
            let changes = after.plugins.get(source).map(|locked| locked.changes(is));
            let word = match &changes {
                Some(changes) if changes.is_empty() => continue,
                Some(_) if !wanted => {
                    refused += 1;
                    style.bad("changed")
                }
                Some(_) => style.good("updated"),
                None => style.good("locked"),
            };
            let (source_shown, name, version) = (clean_line(source), clean_line(&is.name), clean_line(&is.version));
            *told += &format!("{word} {source_shown}: {name} {version}, {}\n", is.digest);
            for change in changes.iter().flatten() {
                let text = clean_line(&change.to_string());
                *told += &format!("  {}\n", if change.widens() { style.warn(&text) } else { text });
            }
            after.plugins.insert(source.clone(), is.clone());
        }
        self.after = after;
        refused
    }
}

/// Whether every name of `--update` is that of a plugin.
fn check_names(args: &LockCommandArgs, locks: &BTreeMap<PathBuf, Locking>) -> Result<(), CliError> {
    let sources = || locks.values().flat_map(|locking| locking.now.plugins.keys().map(move |source| (locking, source)));
    let known = |given: &str| sources().any(|(locking, source)| locking.names(source).any(|name| name == given));
    let Some(name) = args.update.iter().find(|name| !known(name)) else { return Ok(()) };
    let error = anyhow::anyhow!("update `{}`: no pipeline that is named here uses such a plugin", clean_line(name));
    let list: Vec<_> = sources().take(20).map(|(_, source)| format!("`{}`", clean_line(source))).collect();
    Err(CliError::new(Exit::Wrong, error).hint(format!("they use {}", list.join(", "))))
}
