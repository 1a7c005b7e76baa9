//! `lockgate runs`: the runs in the journal, newest first.

use lockgate_model::event::Event;
use lockgate_model::outcome::Status;
use lockgate_model::{Digest, NodeId, RunId};
use lockgate_store::{RunSummary, Store};
use schemars::JsonSchema;
use serde::Serialize;

use super::Ended;
use crate::args::{Format, RunStatus, RunsArgs};
use crate::exit::Exit;
use crate::place;
use crate::render::output::Output;
use crate::render::style::{Style, clean_line};
use crate::render::table::{Align, Cell, Table};
use crate::time::{duration, rfc3339};

/// Records of all listed runs together that are read to tell how their nodes ended: a second's work.
const RECORDS: u64 = 200_000;
/// Nodes that failed which a line names.
const NAMED: usize = 100;

/// A run, as `--format json` prints it.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Line {
    /// Version of this format: 1.
    schema: u32,
    /// Its id.
    run: RunId,
    /// Its pipeline's name.
    name: String,
    /// The file as the user named it.
    file: String,
    /// When it began, in milliseconds since 1970.
    started: u64,
    /// When it ended; null: it goes on, or was killed.
    finished: Option<u64>,
    /// How it ended; null likewise.
    status: Option<Status>,
    /// Its run digest.
    digest: Option<Digest>,
    /// How its nodes ended; absent where the list would have to read too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Nodes>,
}

/// How the nodes of a run ended.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Nodes {
    /// Nodes that are final.
    finished: u64,
    /// Of them: succeeded.
    succeeded: u64,
    /// Of them: out of the cache.
    cached: u64,
    /// Of them: failed or errored; at most 100 are named.
    failed: Vec<NodeId>,
}

/// Lists the runs.
pub(crate) fn runs(args: &RunsArgs, output: &Output) -> Ended {
    // A directory without a state directory has no runs; only looking must not make one.
    let dir = place::state_here(&args.state)?;
    if !dir.is_dir() {
        output.note("no runs yet\n");
        return Ok(Exit::Succeeded);
    }
    let store = Store::open_to_read(&dir)?;
    let filtered = !args.status.is_empty() || args.pipeline.is_some();
    let mut runs = store.runs(if filtered { usize::MAX } else { args.limit })?;
    runs.retain(|run| wanted(args, run));
    runs.truncate(args.limit);
    let mut room = RECORDS;
    let lines: Vec<Line> = runs.iter().map(|run| line(run, nodes(&store, run, &mut room))).collect();
    match args.format {
        Format::Json => {
            let json = |line: &Line| serde_json::to_string(line).map(|line| line + "\n").unwrap_or_default();
            output.data(&lines.iter().map(json).collect::<String>());
        }
        Format::Human if lines.is_empty() => {
            output.note(if filtered { "no such run\n" } else { "no runs yet\n" });
        }
        Format::Human => output.data(&table(&lines, output.out)),
    }
    Ok(Exit::Succeeded)
}

fn wanted(args: &RunsArgs, run: &RunSummary) -> bool {
    let status = match run.status {
        Some(Status::Succeeded | Status::Skipped) => RunStatus::Succeeded,
        Some(Status::Failed) => RunStatus::Failed,
        Some(Status::Errored) => RunStatus::Errored,
        Some(Status::Cancelled) => RunStatus::Cancelled,
        None => RunStatus::Unfinished,
    };
    (args.status.is_empty() || args.status.contains(&status))
        && args.pipeline.as_ref().is_none_or(|name| *name == run.name)
}

/// How a run's nodes ended, while there is room to read its records. A damaged run is listed all the same; `show` names the damage.
fn nodes(store: &Store, run: &RunSummary, room: &mut u64) -> Option<Nodes> {
    *room = room.checked_sub(run.records)?;
    let mut nodes = Nodes::default();
    for record in store.records(&run.id).ok()? {
        let Event::NodeFinished { receipt, facts, .. } = record.event else { continue };
        nodes.finished += 1;
        nodes.succeeded += u64::from(receipt.status == Status::Succeeded);
        nodes.cached += u64::from(facts.cached);
        if matches!(receipt.status, Status::Failed | Status::Errored) && nodes.failed.len() < NAMED {
            nodes.failed.push(receipt.node);
        }
    }
    Some(nodes)
}

fn line(run: &RunSummary, nodes: Option<Nodes>) -> Line {
    Line {
        schema: 1,
        run: run.id.clone(),
        name: run.name.clone(),
        file: run.file.clone(),
        started: run.started_ms,
        finished: run.finished_ms,
        status: run.status,
        digest: run.digest,
        nodes,
    }
}

fn table(runs: &[Line], style: Style) -> String {
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("status", Align::Left),
        ("started", Align::Left),
        ("time", Align::Right),
        ("cached", Align::Right),
        ("pipeline", Align::Left),
        ("digest or failed nodes", Align::Left),
    ]);
    for run in runs {
        let took = run.finished.map(|end| duration(end.saturating_sub(run.started) * 1_000)).unwrap_or_default();
        let cached = run.nodes.as_ref().filter(|nodes| nodes.cached > 0);
        let failed = run.nodes.as_ref().map_or(&[][..], |nodes| &nodes.failed);
        let last = match run.digest {
            // What failed says more than what the whole came to; of a run that succeeded it was allowed to.
            _ if run.status != Some(Status::Succeeded) && !failed.is_empty() => some_of(failed),
            Some(digest) => digest.short(),
            None => String::new(),
        };
        table.row(vec![
            run.run.as_str().into(),
            status(run.status, style),
            rfc3339(run.started).into(),
            took.into(),
            cached.map(|nodes| format!("{}/{}", nodes.cached, nodes.finished)).unwrap_or_default().into(),
            clean_line(&run.name).into(),
            last.into(),
        ]);
    }
    table.render(style, 0)
}

fn some_of(nodes: &[NodeId]) -> String {
    const SHOWN: usize = 2;
    let shown: Vec<&str> = nodes.iter().take(SHOWN).map(NodeId::as_str).collect();
    let more = if nodes.len() > SHOWN { format!(" and {} more", nodes.len() - SHOWN) } else { String::new() };
    shown.join(", ") + &more
}

fn status(status: Option<Status>, style: Style) -> Cell {
    match status {
        Some(status) => Cell::painted(status.name(), |_| style.status(status).trim_end().to_owned()),
        // Nobody can tell a run that goes on in another process from one that was killed.
        None => Cell::painted("unfinished", |text| style.warn(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::json::schema_of;

    fn run(id: &str, status: Option<Status>) -> RunSummary {
        RunSummary {
            id: RunId::new(id).unwrap(),
            name: "release".into(),
            file: "pipelines/release.toml".into(),
            started_ms: 1_763_710_463_000,
            finished_ms: status.map(|_| 1_763_710_465_500),
            status,
            digest: status.map(|_| Digest::of(b"")),
            records: 7,
        }
    }

    #[test]
    fn runs_are_listed() {
        let node = |id: &str| NodeId::new(id).unwrap();
        let failed = Nodes { finished: 9, succeeded: 6, cached: 4, failed: vec![node("a"), node("b"), node("c")] };
        let lines = [
            line(&run("r01jd74vjm00000003", None), None),
            line(&run("r01jd74vjm00000002", Some(Status::Failed)), Some(failed)),
            line(&run("r01jd74vjm00000001", Some(Status::Succeeded)), Some(Nodes::default())),
        ];
        let json: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
        insta::assert_snapshot!(table(&lines, Style::PLAIN) + &json);
        let validator = jsonschema::draft202012::new(&schema_of::<Line>("", "")).unwrap();
        lines.iter().for_each(|line| assert!(validator.is_valid(&serde_json::to_value(line).unwrap())));
    }

    #[test]
    fn runs_are_chosen() {
        use clap::Parser as _;
        let args = |text: &str| match crate::args::Cli::parse_from(text.split(' ')).command {
            crate::args::Command::Runs(args) => args,
            other => panic!("{other:?}"),
        };
        let (good, open) = (run("r1", Some(Status::Succeeded)), run("r2", None));
        let all = args("lockgate runs");
        assert!(wanted(&all, &good) && wanted(&all, &open));
        let unfinished = args("lockgate runs --status unfinished --status failed");
        assert!(!wanted(&unfinished, &good) && wanted(&unfinished, &open));
        assert!(wanted(&args("lockgate runs --pipeline release"), &good));
        assert!(!wanted(&args("lockgate runs --pipeline releases"), &good));
    }
}
