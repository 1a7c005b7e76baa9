//! `lockgate runs`: the runs in the journal, newest first.

use lockgate_model::event::{Event, Selection};
use lockgate_model::outcome::Status;
use lockgate_model::run::NOT_SELECTED;
use lockgate_model::{Digest, NodeId, RunId};
use lockgate_store::{RunSummary, Store};
use schemars::JsonSchema;
use serde::Serialize;

use super::Ended;
use super::run::options;
use crate::args::{Format, RunStatus, RunsArgs};
use crate::exit::{CliError, Exit};
use crate::past;
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
    /// Where it stands, of a run that is not over.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<Open>,
    /// Which part of its pipeline it is of; absent: all of it, or the list would have to read too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    selection: Option<Selection>,
    /// Its run digest.
    digest: Option<Digest>,
    /// How its nodes ended; absent where the list would have to read too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Nodes>,
}

/// Where a run stands that is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Open {
    /// A process drives it.
    Running,
    /// Only waiting nodes are left, and nobody drives it.
    Waiting,
    /// Nobody drives it: it was killed.
    Unfinished,
}

impl Open {
    const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Unfinished => "unfinished",
        }
    }
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
    let runs = store.runs(if filtered { usize::MAX } else { args.limit })?;
    let mut room = RECORDS;
    let mut lines: Vec<Line> = Vec::new();
    for run in runs.iter().filter(|run| args.pipeline.as_ref().is_none_or(|name| *name == run.name)) {
        let open = if run.status.is_none() { Some(open(&store, &run.id)?) } else { None };
        if lines.len() < args.limit && wanted(&args.status, run.status, open) {
            lines.push(line(run, open, read(&store, run, &mut room)));
        }
    }
    match args.format {
        Format::Json => {
            let json = |line: &Line| serde_json::to_string(line).map(|line| line + "\n").unwrap_or_default();
            output.data(&lines.iter().map(json).collect::<String>());
        }
        Format::Human if lines.is_empty() => {
            output.note(if filtered { "no such run\n" } else { "no runs yet\n" });
        }
        Format::Human => {
            output.data(&table(&lines, output.out));
            let killed = lines.iter().find(|line| line.state == Some(Open::Unfinished));
            if let Some(line) = killed.filter(|_| !output.quiet) {
                let options = options(args.state.state.as_deref(), args.state.root.as_deref());
                let text = format!("to finish what was killed: lockgate resume {}{options}\n", line.run);
                output.note(&output.err.dim(&text));
            }
        }
    }
    Ok(Exit::Succeeded)
}

/// Where a run stands that is not over.
fn open(store: &Store, run: &RunId) -> Result<Open, CliError> {
    Ok(if store.is_held(run)? {
        Open::Running
    } else if store.is_waiting(run)? {
        Open::Waiting
    } else {
        Open::Unfinished
    })
}

fn wanted(wanted: &[RunStatus], status: Option<Status>, open: Option<Open>) -> bool {
    let found = match (status, open) {
        (Some(Status::Succeeded | Status::Skipped), _) => RunStatus::Succeeded,
        (Some(Status::Failed), _) => RunStatus::Failed,
        (Some(Status::Errored), _) => RunStatus::Errored,
        (Some(Status::Cancelled), _) => RunStatus::Cancelled,
        (None, Some(Open::Running)) => RunStatus::Running,
        (None, Some(Open::Waiting)) => RunStatus::Waiting,
        (None, Some(Open::Unfinished) | None) => RunStatus::Unfinished,
    };
    wanted.is_empty() || wanted.contains(&found)
}

/// What stands in a run's records, while there is room to read them: how its nodes ended, and which part of its pipeline it is of. A
/// damaged run is listed all the same; `show` names the damage.
fn read(store: &Store, run: &RunSummary, room: &mut u64) -> Option<(Nodes, Option<Selection>)> {
    *room = room.checked_sub(run.records)?;
    let mut nodes = Nodes::default();
    let records = store.records(&run.id).ok()?;
    let selection = past::selection(&records).cloned();
    for record in records {
        let Event::NodeFinished { receipt, reason, facts, .. } = record.event else { continue };
        if receipt.status == Status::Skipped && reason.as_deref() == Some(NOT_SELECTED) {
            continue;
        }
        nodes.finished += 1;
        nodes.succeeded += u64::from(receipt.status == Status::Succeeded);
        nodes.cached += u64::from(facts.cached);
        if matches!(receipt.status, Status::Failed | Status::Errored) && nodes.failed.len() < NAMED {
            nodes.failed.push(receipt.node.clone());
        }
    }
    Some((nodes, selection))
}

fn line(run: &RunSummary, state: Option<Open>, read: Option<(Nodes, Option<Selection>)>) -> Line {
    let (nodes, selection) = read.map_or((None, None), |(nodes, selection)| (Some(nodes), selection));
    Line {
        schema: 1,
        run: run.id.clone(),
        name: run.name.clone(),
        file: run.file.clone(),
        started: run.started_ms,
        finished: run.finished_ms,
        status: run.status,
        state,
        selection,
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
        ("digest, part or failed nodes", Align::Left),
    ]);
    for run in runs {
        let took = run.finished.map(|end| duration(end.saturating_sub(run.started) * 1_000)).unwrap_or_default();
        let cached = run.nodes.as_ref().filter(|nodes| nodes.cached > 0);
        let failed = run.nodes.as_ref().map_or(&[][..], |nodes| &nodes.failed);
        let last = match run.digest {
            // What failed says more than what the whole came to; of a run that succeeded it was allowed to.
            _ if run.status != Some(Status::Succeeded) && !failed.is_empty() => some_of(failed),
            Some(digest) => digest.short(),
            None => run.selection.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        table.row(vec![
            run.run.as_str().into(),
            status(run.status, run.state, style),
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

fn status(status: Option<Status>, open: Option<Open>, style: Style) -> Cell {
    match (status, open) {
        (Some(status), _) => Cell::painted(status.name(), |_| style.status(status).trim_end().to_owned()),
        (None, open) => Cell::painted(open.unwrap_or(Open::Unfinished).name(), |text| style.warn(text)),
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
        let selection = Selection { only: [node("b")].into(), from: [node("c")].into() };
        let part = Some((Nodes::default(), Some(selection)));
        let lines = [
            line(&run("r01jd74vjm00000006", None), Some(Open::Running), None),
            line(&run("r01jd74vjm00000005", None), Some(Open::Waiting), None),
            line(&run("r01jd74vjm00000004", None), Some(Open::Unfinished), None),
            line(&RunSummary { digest: None, ..run("r01jd74vjm00000003", Some(Status::Succeeded)) }, None, part),
            line(&run("r01jd74vjm00000002", Some(Status::Failed)), None, Some((failed, None))),
            line(&run("r01jd74vjm00000001", Some(Status::Succeeded)), None, Some((Nodes::default(), None))),
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
        let chosen = |text: &str, status, open| wanted(&args(text).status, status, open);
        let (good, killed) = ((Some(Status::Succeeded), None), (None, Some(Open::Unfinished)));
        assert!(chosen("lockgate runs", good.0, good.1) && chosen("lockgate runs", killed.0, killed.1));
        let text = "lockgate runs --status unfinished --status failed";
        assert!(!chosen(text, good.0, good.1) && chosen(text, killed.0, killed.1));
        assert!(chosen(text, Some(Status::Failed), None) && !chosen(text, None, Some(Open::Waiting)));
        let text = "lockgate runs --status waiting";
        assert!(chosen(text, None, Some(Open::Waiting)) && !chosen(text, None, Some(Open::Running)));
    }
}
