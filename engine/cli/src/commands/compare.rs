//! `lockgate plugin diff` and `lockgate plugin check --against`: two components beside each other.

use lockgate::wiring::load;
use lockgate_host::Inspection;
use lockgate_syntax::contract::{Change, Obstacle, changes, compatible};
use serde_json::json;

use super::Ended;
use crate::args::{Format, PluginCheckArgs, PluginDiffArgs};
use crate::exit::{CliError, Exit};
use crate::render::diagnostics::count;
use crate::render::output::Output;
use crate::render::style::{Style, clean_line};

/// Longest value that is shown, in characters.
const SHOWN: usize = 200;

/// Shows what changed.
pub(crate) fn diff(args: &PluginDiffArgs, output: &Output) -> Ended {
    let (old, new) = both(&args.old, &args.new)?;
    let mut found = changes(&old.manifest, &new.manifest);
    let imports = |inspection: &Inspection| {
        let names: Vec<_> = inspection.imports.iter().map(|import| import.name.clone()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    for (path, before, after) in [
        ("imports", imports(&old), imports(&new)),
        ("size", old.size.to_string(), new.size.to_string()),
        ("digest", old.digest.to_string(), new.digest.to_string()),
    ] {
        if before != after {
            found.push(Change { path: path.to_owned(), what: "", before: Some(before), after: Some(after) });
        }
    }
    match args.format {
        Format::Human => output.data(&human(&found, output.out)),
        Format::Json => {
            let list: Vec<_> = found
                .iter()
                .map(|change| json!({ "path": change.path, "what": change.what, "before": change.before, "after": change.after }))
                .collect();
            let document = json!({
                "schema": 1,
                "old": old.digest,
                "new": new.digest,
                "changes": list,
                "compatible": compatible(&old.manifest, &new.manifest).is_empty(),
            });
            output.data(&format!("{document:#}\n"));
        }
    }
    Ok(Exit::Succeeded)
}

/// Says whether a component can take another's place.
pub(crate) fn check(args: &PluginCheckArgs, output: &Output) -> Ended {
    let (old, new) = both(&args.against, &args.component)?;
    let found = compatible(&old.manifest, &new.manifest);
    let breaks = found.iter().filter(|obstacle| obstacle.breaks).count();
    match args.format {
        Format::Human => {
            output.data(&obstacles(&found, output.out));
            let (new, old) = (clean_line(&args.component), clean_line(&args.against));
            let end = match (found.len(), breaks) {
                (0, _) => output.err.good(&format!("pipelines that use {old} work with {new}")),
                (_, 0) => output.err.warn(&format!("whether pipelines that use {old} work with {new} cannot be told")),
                (_, _) => output
                    .err
                    .bad(&format!("pipelines that use {old} may break with {new}: {}", count(breaks, "place"))),
            };
            if !output.quiet {
                output.note(&(end + "\n"));
            }
        }
        Format::Json => {
            let list: Vec<_> = found
                .iter()
                .map(|obstacle| json!({ "path": obstacle.path, "reason": obstacle.reason, "breaks": obstacle.breaks }))
                .collect();
            let word = match (found.len(), breaks) {
                (0, _) => "compatible",
                (_, 0) => "unknown",
                _ => "breaks",
            };
            let document =
                json!({ "schema": 1, "old": old.digest, "new": new.digest, "result": word, "obstacles": list });
            output.data(&format!("{document:#}\n"));
        }
    }
    Ok(if found.is_empty() { Exit::Succeeded } else { Exit::Failed })
}

fn both(old: &str, new: &str) -> Result<(Inspection, Inspection), CliError> {
    let host = super::host(1)?;
    let inspect = |name: &str| {
        let bytes = load::component(name)?;
        host.inspect(&bytes).map_err(|error| load::load_failed(name, error))
    };
    Ok((inspect(old)?, inspect(new)?))
}

fn shown(text: &str) -> String {
    let text = clean_line(text);
    if text.chars().count() > SHOWN { text.chars().take(SHOWN).chain(['…']).collect() } else { text }
}

fn human(changes: &[Change], style: Style) -> String {
    if changes.is_empty() {
        return "nothing differs\n".to_owned();
    }
    let line = |change: &Change| {
        let what = if change.what.is_empty() { String::new() } else { format!(" {}", change.what) };
        let path = style.bold(&clean_line(&change.path));
        match (&change.before, &change.after) {
            (Some(before), Some(after)) => {
                format!("{} {path}{what}: {} -> {}\n", style.warn("~"), shown(before), shown(after))
            }
            (Some(before), None) => format!("{} {path}{what}: {}\n", style.bad("-"), shown(before)),
            (None, after) => {
                format!("{} {path}{what}: {}\n", style.good("+"), shown(after.as_deref().unwrap_or_default()))
            }
        }
    };
    changes.iter().map(line).collect()
}

fn obstacles(found: &[Obstacle], style: Style) -> String {
    let line = |obstacle: &Obstacle| {
        let word = if obstacle.breaks { style.bad("breaks     ") } else { style.warn("cannot tell") };
        format!("{word}  {} {}\n", style.bold(&clean_line(&obstacle.path)), clean_line(&obstacle.reason))
    };
    found.iter().map(line).collect()
}
