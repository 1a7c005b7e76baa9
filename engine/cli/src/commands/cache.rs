//! `lockgate cache`: what a node's key is made of, and cleaning up.

use lockgate::wiring::policy::Policies;
use lockgate_model::artifact::ArtifactRef;
use lockgate_model::key::ActionKey;
use lockgate_model::pipeline::Node;
use lockgate_model::units::Bytes;
use lockgate_model::{Digest, canonical_json};
use lockgate_runner::{Clock as _, Prospect, SystemClock};
use lockgate_store::{GcOptions, GcReport, Store};
use serde::Serialize;
use serde_json::json;

use super::check::checked;
use super::{Ended, report_problems};
use crate::args::{ExplainArgs, Format, GcArgs, LockArgs};
use crate::exit::{CliError, Exit};
use crate::forecast::{Forecast, forecast};
use crate::place;
use crate::render::diagnostics::count;
use crate::render::output::Output;
use crate::render::plan::limits;
use crate::render::style::{Style, clean_line};

/// Prints a node's action key.
pub(crate) fn explain(args: &ExplainArgs, output: &Output) -> Ended {
    let policies = Policies::load(args.policy.policy.as_deref(), output)?;
    let mut loaded = checked(&args.file, &LockArgs::none(), &policies, output)?;
    let Some(ready) = loaded.ready() else { return Ok(report_problems(&loaded, output)) };
    let ids = || ready.pipeline.nodes.iter().map(|node| node.id.as_str());
    let Some(index) = ids().position(|id| id == args.node) else {
        let error =
            CliError::new(Exit::Wrong, anyhow::anyhow!("find node `{}` in the pipeline", clean_line(&args.node)));
        return Err(match lockgate::wiring::std_plugins::nearest(&args.node, ids()) {
            Some(nearest) => error.hint(format!("did you mean `{nearest}`?")),
            None => error,
        });
    };
    let foreseen = match forecast(&mut loaded, &ready, &args.file, args.logical_time, None)? {
        Ok(foreseen) => foreseen,
        Err(exit) => {
            report_problems(&loaded, output);
            return Ok(exit);
        }
    };
    let node = &ready.pipeline.nodes[index];
    let key = match foreseen.prospect(index) {
        Prospect::Cached { key, .. } | Prospect::Runs { key, .. } => Some(&**key),
        Prospect::Skipped(_)
        | Prospect::Fails(_)
        | Prospect::Open(_)
        | Prospect::Waits
        | Prospect::Taken { .. }
        | Prospect::Absent(_) => None,
    };
    match (args.format, key) {
        (Format::Json, key) => {
            let value = json!({
                "schema": 1,
                "node": node.id,
                "key": key.map(ActionKey::digest),
                "parts": key,
                "canonical": key.map(canonical_json),
                "nearest": key.and_then(|key| foreseen.nearest(node, key)).map(|near| foreseen.nearest_json(&near)),
                "cache": foreseen.json(index),
            });
            output.data(&(value.to_string() + "\n"));
        }
        (Format::Human, Some(key)) => output.data(&key_text(&foreseen, index, node, key, output.out)),
        (Format::Human, None) => {
            output.data(&format!("{} has no key yet\n  {}\n", output.out.bold(node.id.as_str()), foreseen.text(index)));
        }
    }
    Ok(Exit::Succeeded)
}

fn key_text(foreseen: &Forecast, index: usize, node: &Node, key: &ActionKey, style: Style) -> String {
    // Taken apart, so that a new part cannot be forgotten here.
    let ActionKey { component, world, config, inputs, limits: given, grants, poll, determinism, env, logical_time } =
        key;
    let mut text = format!("{} {}\n", style.bold(node.id.as_str()), key.digest());
    let mut line = |name: &str, value: String| {
        text.push_str(&format!("  {}{value}\n", style.dim(&format!("{name:<14}"))));
    };
    let component_name = node.plugin.as_ref().and_then(|alias| foreseen.spec.components.get(alias));
    let component_name = component_name.map(|component| format!(" ({})", clean_line(&component.name)));
    line("component", format!("{component}{}", component_name.unwrap_or_default()));
    line("world", world.name().to_owned());
    line("config", part(config));
    for (name, artifact) in inputs {
        let ArtifactRef { kind, digest, size } = artifact;
        line("input", format!("{name} = {digest}, {} of {}", kind.name(), Bytes(*size)));
    }
    let shown: Vec<_> = limits(given).into_iter().map(|(name, value)| format!("{name} {value}")).collect();
    line("limits", format!("{} {}", digest_of(given), shown.join(", ")));
    line("grants", if grants.is_empty() { "none".to_owned() } else { part(grants) });
    if let Some(poll) = poll {
        line("poll", part(poll));
    }
    for (name, value) in env {
        line("env", format!("{name} = {}", part(value)));
    }
    line("determinism", clean_line(determinism));
    match logical_time {
        Some(time) => line("logical time", crate::time::rfc3339(*time)),
        None => line("logical time", "not read".to_owned()),
    }
    line("canonical", clean_line(&canonical_json(key)));
    let cache = foreseen.text(index);
    let nearest = foreseen.nearest(node, key).map(|nearest| foreseen.told(&nearest));
    line("cache", cache.clone());
    // Where something else is the reason, what changed is of interest all the same.
    if let Some(told) = nearest.filter(|told| foreseen.run_of(index).is_none() && !cache.ends_with(told.as_str())) {
        line("nearest", told);
    }
    text
}

/// A part of the key: the digest of its canonical JSON, and that itself.
fn part(value: &impl Serialize) -> String {
    format!("{} {}", digest_of(value), clean_line(&canonical_json(value)))
}

fn digest_of(value: &impl Serialize) -> String {
    Digest::of(canonical_json(value).as_bytes()).short()
}

/// Removes what no kept run needs.
pub(crate) fn gc(args: &GcArgs, output: &Output) -> Ended {
    let store = Store::open(&place::existing(&args.state)?)?;
    let now_ms = SystemClock::default().now_ms();
    let find = |text: &String| store.find_run(if text == "last" { "latest" } else { text }).map(|run| run.id);
    let options = GcOptions {
        now_ms,
        keep_since_ms: now_ms.saturating_sub(args.keep.0),
        keep_runs: args.keep_run.iter().map(find).collect::<Result<_, _>>()?,
        max_bytes: args.max.map(|max| max.0),
        dry_run: args.dry_run,
        wait: args.wait,
    };
    let report = store.gc(&options)?;
    match args.format {
        Format::Json => output.data(&(json_report(&report, args.dry_run).to_string() + "\n")),
        Format::Human => {
            output.data(&human_report(&report, args.dry_run));
            if let Some(max) = args.max.filter(|max| report.left_bytes > max.0) {
                let kept = count(usize::try_from(report.kept_runs).unwrap_or(usize::MAX), "kept run");
                let text = format!("{kept} need more than {max}; a shorter `--keep` keeps fewer");
                output.note(&format!("{} {text}\n", output.err.warn("note:")));
            }
        }
    }
    Ok(Exit::Succeeded)
}

fn json_report(report: &GcReport, dry_run: bool) -> serde_json::Value {
    let GcReport { kept_runs, other_runs, actions, artifacts, artifact_bytes, files, code, code_bytes, left_bytes } =
        report;
    json!({
        "schema": 1,
        "dry_run": dry_run,
        "runs": { "kept": kept_runs, "other": other_runs },
        "removed": {
            "results": actions,
            "artifacts": artifacts,
            "artifact_bytes": artifact_bytes,
            "file_hashes": files,
            "code": code,
            "code_bytes": code_bytes,
        },
        "left_bytes": left_bytes,
    })
}

fn human_report(report: &GcReport, dry_run: bool) -> String {
    let number = |number: u64, word: &str| count(usize::try_from(number).unwrap_or(usize::MAX), word);
    let verb = if dry_run { "would free" } else { "freed" };
    let mut text = format!("{verb} {}\n", Bytes(report.artifact_bytes + report.code_bytes));
    text += &format!("  {}, {}\n", number(report.artifacts, "artifact"), Bytes(report.artifact_bytes));
    text += &format!("  {} of compiled code, {}\n", number(report.code, "file"), Bytes(report.code_bytes));
    text += &format!("  {}, {}\n", number(report.actions, "cached result"), number(report.files, "remembered file"));
    let runs = number(report.kept_runs + report.other_runs, "run");
    text + &format!("kept what {} of {runs} need, {}\n", report.kept_runs, Bytes(report.left_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_freed_is_told() {
        let report = GcReport {
            kept_runs: 3,
            other_runs: 1,
            actions: 1,
            artifacts: 2,
            artifact_bytes: 3 << 20,
            files: 4,
            code: 1,
            code_bytes: 1 << 20,
            left_bytes: 5 << 30,
        };
        insta::assert_snapshot!(human_report(&report, false) + &human_report(&report, true));
        assert_eq!(json_report(&report, true)["removed"]["artifact_bytes"], 3 << 20);
    }
}
