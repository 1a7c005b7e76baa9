//! `lockgate show`: what became of a run or of one of its nodes, out of the journal.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{self, BufWriter};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lockgate::wiring::components::Shelf;
use lockgate::wiring::executor::StoreBlobs;
use lockgate_model::artifact::ArtifactRef;
use lockgate_model::event::Event;
use lockgate_model::outcome::Status;
use lockgate_model::run::NodeState;
use lockgate_model::units::{Bytes, Fuel, Millis};
use lockgate_model::{NodeId, PortName, canonical_json};
use lockgate_store::{Record, Store};
use serde_json::json;

use super::Ended;
use super::run::options;
use crate::args::{Format, ShowArgs, StateArgs};
use crate::difference::Difference;
use crate::exit::{CliError, Exit};
use crate::past::{self, PastRun};
use crate::place;
use crate::render::difference;
use crate::render::json::{self, Worst};
use crate::render::output::Output;
use crate::render::plan::source_text;
use crate::render::report::{self, LOG_LINES, short};
use crate::render::style::{Style, clean_line};
use crate::time::{duration, rfc3339};

/// Nodes that did not end which are named; the others are counted.
const UNFINISHED: usize = 20;
/// Effects of one node that are listed; `--format json` has all.
const EFFECTS: usize = 100;

/// Shows a run or a node.
pub(crate) fn show(args: &ShowArgs, output: &Output) -> Ended {
    args.reports.check()?;
    let store = place::open_existing(&args.state)?;
    let run = past::find(&store, &args.run)?;
    let node = args.node.as_deref().map(|node| run.node(node)).transpose()?;
    if let Some(file) = &args.bundle {
        let bundled = bundle(&store, &run, &args.state, file)?;
        if !output.quiet {
            output.note(&bundled);
        }
    } else if args.reports.any() {
        args.reports.write(&run, &store)?;
    } else if args.receipts {
        output.data(&receipts(&run, node.as_ref()));
    } else if args.format == Format::Json {
        let worst = past::worst_fuel(&store, &run.summary.name)?;
        output.data(&records(&run, node.as_ref(), &worst));
    } else if let Some(node) = &node {
        let worst = past::worst_fuel(&store, &run.summary.name)?;
        output.data(&node_text(&run, node, store, output.out, worst.get(node)));
    } else {
        let worst = past::worst_fuel(&store, &run.summary.name)?;
        let since = since_last_good(&store, &run, output.out)?;
        let held = store.is_held(&run.summary.id)?;
        output.data(&run_text(&run, &StoreBlobs(store), output.out, output.verbose, (&since, held), &worst));
        if !held && !output.quiet {
            output.note(
                &output.err.dim(&to_go_on(&run, &options(args.state.state.as_deref(), args.state.root.as_deref()))),
            );
        }
    }
    Ok(Exit::Succeeded)
}

/// One document that leads from receipts to the run digest, as ARCHITECTURE.md tells: canonical JSON, so that a receipt's bytes
/// can be cut out of it as they are hashed. Nothing in it depends on where or when the run was made.
fn receipts(run: &PastRun, node: Option<&NodeId>) -> String {
    let wanted = run.ended.iter().filter(|(id, _)| node.is_none_or(|node| node == *id));
    let receipts: Vec<_> =
        wanted.map(|(_, ended)| json!({ "digest": ended.receipt.digest(), "receipt": ended.receipt })).collect();
    let pipeline = run.records.first().and_then(|record| match &record.event {
        Event::RunStarted { pipeline_digest, .. } => Some(pipeline_digest),
        _ => None,
    });
    canonical_json(&json!({ "digest": run.summary.digest, "pipeline_digest": pipeline, "receipts": receipts })) + "\n"
}

/// Writes the bundle, whole or not at all.
fn bundle(store: &Store, run: &PastRun, state: &StateArgs, file: &Path) -> Result<String, CliError> {
    let shown = file.display().to_string();
    let failed =
        |error: io::Error| CliError::new(Exit::Infrastructure, error).context(format!("write the bundle `{shown}`"));
    let root = super::replay::root(state, store, run);
    let shelf = Shelf { store, root: root.as_deref(), sources: &run.pipeline.plugins };
    if let Some(Event::RunStarted { components, .. }) = run.records.first().map(|record| &record.event) {
        for (alias, component) in components {
            shelf.bytes(alias, component)?;
        }
    }
    let parent = file.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let mut options = tempfile::Builder::new();
    // Narrowed by the umask, like any file that a program writes.
    options.prefix(".lockgate-").permissions(Permissions::from_mode(0o666));
    let temporary = options.tempfile_in(parent).map_err(failed)?;
    let entries = store
        .write_bundle(&run.summary.id, BufWriter::new(temporary.as_file()))
        .map_err(|error| CliError::from(error).context(format!("write the bundle `{shown}`")))?;
    temporary.as_file().sync_all().map_err(failed)?;
    let size = temporary.as_file().metadata().map_err(failed)?.len();
    temporary.persist(file).map_err(|error| failed(error.error))?;
    Ok(format!("wrote {shown}: {}, {entries} entries\n", Bytes(size)))
}

fn records(run: &PastRun, node: Option<&NodeId>, worst: &BTreeMap<NodeId, Worst>) -> String {
    let wanted = run.records.iter().filter(|record| node.is_none_or(|node| record.event.node() == Some(node)));
    let of = json::Line { run: run.summary.id.clone(), trace: None };
    let worst = |record: &Record| record.event.node().and_then(|node| worst.get(node)).cloned();
    wanted.map(|record| json::line(&of, record.time_ms, &record.event, worst(record))).collect()
}

/// A line with a dim name in front.
fn field(style: Style, name: &str, value: &str) -> String {
    format!("  {}{value}\n", style.dim(&format!("{name:<10}")))
}

/// What goes into the run that did not go into the last good one, in a line.
fn since_last_good(store: &Store, run: &PastRun, style: Style) -> Result<String, CliError> {
    let Some(good) = past::last_good(store, &run.summary)? else { return Ok(String::new()) };
    let id = good.id.clone();
    // That another run cannot be read does not keep this one from being shown.
    let Ok(good) = past::read(store, good) else {
        return Ok(field(style, "last good", &format!("{id}, which cannot be read")));
    };
    let changes = difference::short_text(&Difference::new(store, run, &good));
    Ok(field(style, "last good", &format!("{id}; since then: {changes}")))
}

/// What finishes a run that ended early, and what its approvals wait for.
pub(super) fn to_go_on(run: &PastRun, options: &str) -> String {
    if matches!(run.state.over(), Some((Status::Succeeded, _))) {
        return String::new();
    }
    let id = &run.summary.id;
    let asks = |index: &usize| {
        let waits = matches!(run.state.state(*index), NodeState::Waiting { attempt: None, .. });
        waits && run.pipeline.nodes[*index].approval.is_some() && run.state.said(*index).is_none()
    };
    let asked = (0..run.pipeline.nodes.len()).filter(asks).take(UNFINISHED);
    let answers = asked.map(|index| {
        format!("to answer: lockgate approve {id} {}{options}, or reject\n", run.pipeline.nodes[index].id)
    });
    let mut text: String = answers.collect();
    if (0..run.pipeline.nodes.len()).any(|index| run.state.is_in_doubt(index)) {
        text +=
            &format!("to go on: lockgate resume {id}{options} --assume done    (it took place), or --assume repeat\n");
    } else {
        text += &format!("to go on: lockgate resume {id}{options}\n");
    }
    text
}

fn run_text(
    run: &PastRun,
    blobs: &StoreBlobs,
    style: Style,
    verbose: bool,
    (since, held): (&str, bool),
    worst: &BTreeMap<NodeId, Worst>,
) -> String {
    let summary = &run.summary;
    let status = match summary.status {
        Some(status) => style.status(status).trim_end().to_owned(),
        None if held => style.bold("running"),
        None if run.state.is_paused() => style.bold("waiting"),
        None => style.warn("unfinished: it was killed"),
    };
    let mut text = format!("run {} {status}\n", style.bold(summary.id.as_str()));
    text += &field(style, "pipeline", &format!("{} ({})", clean_line(&summary.name), clean_line(&summary.file)));
    if let Some(digest) = summary.digest {
        text += &field(style, "digest", &digest.to_string());
    }
    if let Some(part) = run.selection() {
        text += &field(style, "part", &format!("{part}; it has no run digest"));
    }
    let took =
        summary.finished_ms.map(|end| format!(", took {}", duration(end.saturating_sub(summary.started_ms) * 1_000)));
    text += &field(style, "started", &(rfc3339(summary.started_ms) + &took.unwrap_or_default()));
    if let Some(Event::RunStarted { sources, engine, determinism, logical_time, policies, .. }) =
        run.records.first().map(|r| &r.event)
    {
        text += &field(
            style,
            "engine",
            &format!("lockgate {}, determinism {}", clean_line(engine), clean_line(determinism)),
        );
        text += &field(style, "clock", &format!("{} for plugins (logical time)", rfc3339(*logical_time)));
        for policy in policies {
            text += &field(style, "policy", &policy.to_string());
        }
        for source in sources {
            text +=
                &field(style, "source", &format!("{}: {}", source_text(&source.source), artifact(&source.artifact)));
        }
    }
    text += since;
    let ended: Vec<report::Ended> =
        run.pipeline.nodes.iter().filter_map(|node| run.ended.get(&node.id)).cloned().collect();
    for node in ended.iter().filter(|node| node.is_bad() || node.receipt.verdict.is_some() || verbose) {
        let log_lines = if node.is_bad() || verbose { LOG_LINES } else { 0 };
        let details = node.details(blobs, style, report::FINDINGS, log_lines);
        if !details.is_empty() {
            text += &format!(
                "\n  {} {}\n{details}",
                style.status(node.receipt.status),
                style.bold(node.receipt.node.as_str())
            );
        }
    }
    let table = report::summary(&ended, style, worst);
    if !table.is_empty() {
        text += &format!("\n{table}");
    }
    text += &unfinished(run, style);
    text + &format!("\n{}{}\n", report::totals(&ended, run.pipeline.nodes.len(), 0), report::reused(&ended))
}

fn unfinished(run: &PastRun, style: Style) -> String {
    let open = |index: &usize| !matches!(run.state.state(*index), NodeState::Finished { .. });
    let open: Vec<usize> = (0..run.pipeline.nodes.len()).filter(open).collect();
    let mut text = String::new();
    for &index in open.iter().take(UNFINISHED) {
        let state = run.state.state(index).name();
        text += &format!("  {} {}\n", style.warn(&format!("{state:<9}")), run.pipeline.nodes[index].id);
    }
    if open.len() > UNFINISHED {
        text += &format!("  and {} more that did not end\n", open.len() - UNFINISHED);
    }
    text
}

fn node_text(run: &PastRun, id: &NodeId, store: Store, style: Style, worst: Option<&Worst>) -> String {
    let blobs = StoreBlobs(store);
    let mut text = match run.ended.get(id) {
        Some(ended) => ended.line(style, 0).trim_start().to_owned(),
        None => format!("{} {}\n", style.warn("unfinished"), style.bold(id.as_str())),
    };
    if let Some(node) = run.pipeline.nodes.iter().find(|node| node.id == *id) {
        let plugin = crate::render::graph::plugin_name(&run.pipeline, node);
        text += &plugin.map(|plugin| field(style, "plugin", &plugin)).unwrap_or_default();
    }
    if let Some(ended) = run.ended.get(id) {
        let receipt = &ended.receipt;
        text += &receipt.component.map(|digest| field(style, "component", &digest.to_string())).unwrap_or_default();
        text += &receipt.key.map(|key| field(style, "key", &key.to_string())).unwrap_or_default();
        if let Some(origin) = &ended.facts.taken_from {
            text += &field(style, "executed", &format!("in run {}, {}", origin.run, rfc3339(origin.time)));
        }
        text += &field(style, "receipt", &receipt.digest().to_string());
        if let Some(fuel) = receipt.fuel {
            let share = report::percent(fuel, ended.facts.fuel_limit);
            text += &field(style, "fuel", &format!("{} of {}, {share}", Fuel(fuel), Fuel(ended.facts.fuel_limit)));
        }
        if let Some(worst) = worst.filter(|worst| worst.runs > 1) {
            let share = report::percent_text(worst.percent);
            text += &field(
                style,
                "worst",
                &format!("{share} of the budget, in {}, the most of {} runs", worst.run, worst.runs),
            );
        }
        if ended.facts.peak_memory > 0 {
            text += &field(style, "memory", &Bytes(ended.facts.peak_memory).to_string());
        }
    }
    text += &history(run, id, style);
    if let Some(ended) = run.ended.get(id) {
        text += &ports(&ended.receipt.outputs, "output", style);
        text += &ended.details(&blobs, style, usize::MAX, LOG_LINES);
        if let Some(blob) = &ended.receipt.effects {
            text += &effects(&blobs.0, blob, style);
        }
    }
    text
}

/// Attempts, looks and what they began with.
fn history(run: &PastRun, id: &NodeId, style: Style) -> String {
    let mut text = String::new();
    let mut inputs: Option<&BTreeMap<PortName, ArtifactRef>> = None;
    for (time, event) in run.events_of(id) {
        let when = style.dim(&rfc3339(time));
        match event {
            Event::AttemptStarted { attempt, inputs: given, .. } => {
                if *attempt > 1 {
                    text += &field(style, "attempt", &format!("{attempt} {when}"));
                }
                inputs = Some(given);
            }
            Event::AttemptFailed { attempt, failure, next_in, .. } => {
                let message = short(&failure.message);
                let kind = failure.kind.name();
                text += &field(
                    style,
                    "attempt",
                    &format!("{attempt} failed {when} {kind}: {message}; next in {}", Millis(*next_in)),
                );
            }
            Event::LookTaken { look, verdict, failure, .. } => {
                let said = match (verdict, failure) {
                    (Some(verdict), _) => {
                        let reason = verdict.reasons.first().map(|reason| format!(": {}", short(reason)));
                        clean_line(&verdict.word) + &reason.unwrap_or_default()
                    }
                    (None, Some(failure)) => format!("{}: {}", failure.kind.name(), short(&failure.message)),
                    (None, None) => String::new(),
                };
                text += &field(style, "look", &format!("{} {when} {said}", u64::from(*look) + 1));
            }
            Event::NodeWaiting { until, .. } => {
                let until = until.map_or(String::new(), |until| format!(" until {}", rfc3339(until)));
                text += &field(style, "waits", &format!("since {when}{until}"));
            }
            Event::Signalled { signal, by, comment, .. } => {
                let comment = comment.as_ref().map_or(String::new(), |comment| format!(": {}", short(comment)));
                text += &field(style, "said", &format!("{} {when} by {}{comment}", signal.name(), short(by)));
            }
            Event::RunStarted { .. }
            | Event::GraphProved { .. }
            | Event::GraphServed { .. }
            | Event::RunWaiting { .. }
            | Event::RunResumed { .. }
            | Event::EffectIntended { .. }
            | Event::EffectFinished { .. }
            | Event::NodeFinished { .. }
            | Event::RunFinished { .. } => {}
        }
    }
    inputs.map(|inputs| ports(inputs, "input", style)).unwrap_or_default() + &text
}

fn ports(ports: &BTreeMap<PortName, ArtifactRef>, word: &str, style: Style) -> String {
    ports.iter().map(|(name, reference)| field(style, word, &format!("{name}: {}", artifact(reference)))).collect()
}

fn artifact(artifact: &ArtifactRef) -> String {
    format!("{} of {}, {}", artifact.kind.name(), Bytes(artifact.size), artifact.digest)
}

fn effects(store: &Store, blob: &ArtifactRef, style: Style) -> String {
    match past::effects(store, blob) {
        Ok(records) => {
            let mut text = String::new();
            for record in records.iter().take(EFFECTS) {
                let what = format!("{} {} {}", record.sequence, clean_line(&record.kind), short(&record.summary));
                text += &field(style, "effect", &what);
            }
            if records.len() > EFFECTS {
                text += &field(style, "effects", &format!("{} in all", records.len()));
            }
            text
        }
        Err(error) => field(style, "effects", &format!("cannot be read: {error}")),
    }
}
