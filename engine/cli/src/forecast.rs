//! What a run would do, and why: the runner's forecast, told against the runs before.

use std::sync::Arc;

use lockgate::wiring::executor::StoreBlobs;
use lockgate::wiring::load::{Loaded, Ready};
use lockgate_model::RunId;
use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::event::Selection;
use lockgate_model::key::{ActionKey, Difference, Part};
use lockgate_model::outcome::Status;
use lockgate_model::pipeline::Node;
use lockgate_runner::{
    Absent, Blobs, Clock as _, EarlierRuns, Foreseen, Prospect, Recovered, RunSpec, Sources, SystemClock, Taken, run_id,
};
use lockgate_store::{Change, Store, StoreError};
use serde_json::{Value, json};

use crate::exit::{CliError, Exit};
use crate::history::{History, Nearest};
use crate::place;
use crate::render::diagnostics::count;
use crate::render::style::clean_line;
use lockgate::wiring::prepare::{run_spec, snapshots};

/// Changed files of an input that are named.
const FILES: usize = 5;
/// Nodes without a result that are named.
const NAMED: usize = 20;
/// Longest value that is shown, in characters.
const VALUE: usize = 60;

/// What a run of a pipeline would do.
pub(crate) struct Forecast {
    /// What the run would be made of.
    pub(crate) spec: RunSpec,
    prospects: Vec<Prospect>,
    taken: Taken,
    history: History,
    /// Where the snapshots are.
    snapshots: Store,
    /// Holds the snapshots where the state directory takes none.
    _temporary: Option<tempfile::TempDir>,
}

/// What a forecast is of.
pub(crate) enum Of<'a> {
    /// A run from its start.
    Start,
    /// A run that another process left.
    Resumed(&'a Recovered),
}

/// Takes the snapshots and foresees the run; none where a snapshot cannot be taken: then the problems say why.
pub(crate) fn forecast(
    loaded: &mut Loaded,
    ready: &Ready,
    args: &crate::args::FileArgs,
    logical_time: Option<u64>,
    selection: Option<Selection>,
) -> Result<Result<Forecast, Exit>, CliError> {
    let state = place::state_of_file(args, &loaded.root);
    let (store, taken, temporary) = match Store::open(&state) {
        Ok(store) => (store.clone(), store, None),
        Err(StoreError::ReadOnly(_)) => {
            let failed = |error| CliError::new(Exit::Infrastructure, error).context("make a temporary directory");
            let temporary = tempfile::tempdir().map_err(failed)?;
            let taken = Store::open(&temporary.path().join("state"))?;
            (Store::open_to_read(&state)?, taken, Some(temporary))
        }
        Err(error) => return Err(error.into()),
    };
    let sources = match snapshots(loaded, &ready.pipeline, &taken) {
        Ok(sources) => sources,
        Err(class) => return Ok(Err(class.into())),
    };
    let spec = RunSpec { selection, ..run_spec(loaded, ready, run_id(0, 0), sources, logical_time) };
    let mut forecast = Forecast::new(spec, &Of::Start, &store, false)?;
    (forecast.snapshots, forecast._temporary) = (taken, temporary);
    Ok(Ok(forecast))
}

impl Forecast {
    /// Foresees a run. `fresh`: its nodes are executed whatever the cache has.
    pub(crate) fn new(spec: RunSpec, of: &Of<'_>, store: &Store, fresh: bool) -> Result<Self, CliError> {
        let blobs: Arc<dyn Blobs> = Arc::new(StoreBlobs(store.clone()));
        let earlier = EarlierRuns::new(store.clone(), spec.pipeline.name.clone());
        let now = SystemClock::default().now_ms();
        let sources = Sources { cache: store, fresh, earlier: &earlier, blobs: &blobs, now };
        let Foreseen { prospects, taken } = match of {
            Of::Start => lockgate_runner::forecast(&spec, &sources)?,
            Of::Resumed(recovered) => lockgate_runner::forecast_resumed(&spec, recovered, &sources)?,
        };
        let history = History::read(store, &spec.pipeline.name);
        Ok(Self { spec, prospects, taken, history, snapshots: store.clone(), _temporary: None })
    }

    /// What the nodes get that a part does not select; or why it cannot be run, each node named.
    pub(crate) fn taken(&self) -> Result<Taken, CliError> {
        let order = self.spec.graph.order().iter().copied();
        let absent: Vec<(usize, &Absent)> = order
            .filter_map(|node| match &self.prospects[node] {
                Prospect::Absent(absent) => Some((node, absent)),
                _ => None,
            })
            .collect();
        if absent.is_empty() {
            return Ok(self.taken.clone());
        }
        let id = |node: usize| &self.spec.pipeline.nodes[node].id;
        let shown = absent.iter().take(NAMED);
        let mut lines: Vec<_> =
            shown.map(|(node, why)| format!("`{}`: {}", id(*node), self.absent(*node, why))).collect();
        if absent.len() > NAMED {
            lines.push(format!("and {} more", absent.len() - NAMED));
        }
        let top = format!(
            "run a part of the pipeline: {} that it needs and does not select {} no earlier result",
            count(absent.len(), "node"),
            if absent.len() == 1 { "has" } else { "have" }
        );
        // One below the other, as causes are printed.
        let last = anyhow::anyhow!(lines.pop().unwrap_or_default());
        let error = lines.into_iter().rev().fold(last, anyhow::Error::context).context(top);
        // What only waits for another one's inputs comes by itself.
        let first: Vec<_> = absent
            .iter()
            .filter(|(_, why)| !matches!(why, Absent::Inputs(_)))
            .take(3)
            .map(|(node, _)| format!("`--from {}`", id(*node)))
            .collect();
        Err(CliError::new(Exit::Wrong, error).hint(format!("run the whole pipeline once, or add {}", first.join(", "))))
    }

    fn absent(&self, index: usize, absent: &Absent) -> String {
        let nodes = &self.spec.pipeline.nodes;
        match absent {
            Absent::Unknown(key) => match self.nearest(&nodes[index], key) {
                Some(nearest) => self.told(&nearest),
                None => "no earlier run of it is known".to_owned(),
            },
            Absent::Gone(run) => format!("it succeeded in run {run}, but what it made there is removed or damaged"),
            Absent::Failed(run) => format!("it failed in run {run}, which was the last time that it was executed"),
            Absent::Stale { run, age } => {
                let age = crate::time::duration(age.saturating_mul(1_000));
                let max = nodes[index].max_age.map_or(String::new(), |max| format!(", and its `max_age` is {max}"));
                format!("what it said in run {run} is {age} old{max}")
            }
            Absent::Inputs(needs) => {
                let needs: Vec<_> = needs.iter().take(FILES).map(|need| format!("`{}`", nodes[*need].id)).collect();
                format!("its inputs are not known before {}", needs.join(", "))
            }
            Absent::Between(node) => {
                let id = &nodes[*node].id;
                format!("it comes after `{id}`, which is selected: what it said before is not about that")
            }
        }
    }

    /// What would become of a node.
    pub(crate) fn prospect(&self, node: usize) -> &Prospect {
        &self.prospects[node]
    }

    /// The earlier run whose key of a node is nearest to this one.
    pub(crate) fn nearest(&self, node: &Node, key: &ActionKey) -> Option<Nearest<'_>> {
        self.history.nearest(&node.id, key)
    }

    /// How many nodes would end how, for people.
    pub(crate) fn summary(&self) -> String {
        let words = self.prospects.iter().map(|prospect| match prospect {
            Prospect::Cached { .. } => 0,
            Prospect::Runs { .. } => 1,
            Prospect::Skipped(_) => 2,
            Prospect::Fails(_) => 3,
            Prospect::Open(_) => 4,
            Prospect::Waits => 5,
            Prospect::Taken { .. } => 6,
            Prospect::Absent(_) => 7,
        });
        let mut counts = [0; 8];
        words.for_each(|word| counts[word] += 1);
        let names = [
            "cached",
            "would run",
            "would be skipped",
            "would fail",
            "open",
            "would wait",
            "from earlier runs",
            "without a result",
        ];
        let some = counts.iter().zip(names).filter(|(count, _)| **count > 0);
        some.map(|(count, name)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
    }

    /// What would become of a node, for people: `cached: run r1f3...`, `runs: config.prefix ...`.
    pub(crate) fn text(&self, index: usize) -> String {
        match &self.prospects[index] {
            Prospect::Cached { run, .. } => format!("cached: executed in run {run}"),
            Prospect::Runs { key, shares } => format!("runs: {}", self.why(index, key, *shares)),
            Prospect::Skipped(reason) => format!("skipped: {}", clean_line(reason)),
            Prospect::Fails(failure) => format!("fails: {}", clean_line(&failure.message)),
            Prospect::Open(needs) if needs.is_empty() => "open: it comes after all others".to_owned(),
            Prospect::Open(needs) => format!("open: {}", self.open(index, needs)),
            Prospect::Waits => "waits for something outside".to_owned(),
            Prospect::Taken { run, .. } => format!("not selected: gets its result of run {run}"),
            Prospect::Absent(absent) => format!("no result: {}", self.absent(index, absent)),
        }
    }

    fn open(&self, index: usize, needs: &[usize]) -> String {
        let nodes = &self.spec.pipeline.nodes;
        let reads = |need: usize| {
            let input = nodes[index].inputs.iter().find(|(_, source)| source.node() == Some(&nodes[need].id));
            let id = &nodes[need].id;
            let what = match input {
                Some((name, _)) => format!("input {name} is made by `{id}`"),
                None => format!("it comes after `{id}`"),
            };
            match &self.prospects[need] {
                Prospect::Runs { .. } => format!("{what}, which would run"),
                Prospect::Cached { .. } | Prospect::Taken { .. } => format!("{what}, which comes after others"),
                Prospect::Absent(_) => format!("{what}, which has no result"),
                _ => format!("{what}, which is open itself"),
            }
        };
        needs.iter().take(FILES).map(|need| reads(*need)).collect::<Vec<_>>().join("; ")
    }

    fn why(&self, index: usize, key: &ActionKey, shares: Option<usize>) -> String {
        let node = &self.spec.pipeline.nodes[index];
        if !node.grants.is_empty() {
            return "it has grants, so its result is never reused".to_owned();
        }
        if node.repeat > 1 {
            return "it says `repeat`, so it is always executed".to_owned();
        }
        if let Some(first) = shares {
            return format!("together with `{}`, which has the same key", self.spec.pipeline.nodes[first].id);
        }
        let Some(nearest) = self.nearest(node, key) else { return "no earlier run of it is known".to_owned() };
        self.told(&nearest)
    }

    /// What keeps the result of the nearest earlier run from being used.
    pub(crate) fn told(&self, nearest: &Nearest<'_>) -> String {
        let run = nearest.run;
        match (nearest.differences.as_slice(), nearest.known.status) {
            ([], Status::Succeeded) if nearest.known.pure => {
                format!("its key is that of run {run}, but that result is removed, damaged or not accepted")
            }
            ([], Status::Succeeded) => format!("its key is that of run {run}, which did not record it as pure"),
            ([], status) => format!("its key is that of run {run}, where it {}", status.name()),
            (differences, _) => {
                let parts: Vec<_> = differences.iter().map(|difference| self.difference(difference)).collect();
                format!("since run {run}: {}", parts.join("; "))
            }
        }
    }

    /// One difference, for people.
    pub(crate) fn difference(&self, difference: &Difference) -> String {
        let Difference { part, before, after } = difference;
        match (part, before, after) {
            (Part::Input(name), Some(before), Some(after)) => match self.files(before, after) {
                Some(files) if !files.is_empty() => {
                    let more = if files.len() > FILES { ", ..." } else { "" };
                    let named = files.iter().take(FILES).map(|(path, change)| {
                        let mark = if *change == Change::Changed { "" } else { change.name() };
                        format!("{mark}{}`{}`", if mark.is_empty() { "" } else { " " }, clean_line(path))
                    });
                    format!("input {name} changed: {}{more}", named.collect::<Vec<_>>().join(", "))
                }
                _ => format!("input {name} changed"),
            },
            (part, None, _) => format!("{part} is new"),
            (part, _, None) => format!("{part} is gone"),
            (Part::Component, ..) => "the component changed".to_owned(),
            (part, Some(before), Some(after)) => format!("{part} is {}, was {}", value(after), value(before)),
        }
    }

    /// Files that changed between two inputs, where both are trees and there still.
    fn files(&self, before: &Value, after: &Value) -> Option<Vec<(String, Change)>> {
        let tree = |value: &Value| {
            let artifact: ArtifactRef = serde_json::from_value(value.clone()).ok()?;
            (artifact.kind == ArtifactKind::Tree).then_some(artifact.digest)
        };
        self.snapshots.changes(&tree(before)?, &tree(after)?, FILES + 1).ok()
    }

    /// What would become of a node, for programs.
    pub(crate) fn json(&self, index: usize) -> Value {
        let node = &self.spec.pipeline.nodes[index];
        let ids = |nodes: &[usize]| nodes.iter().map(|node| &self.spec.pipeline.nodes[*node].id).collect::<Vec<_>>();
        let mut found = match &self.prospects[index] {
            Prospect::Cached { key, run } => json!({ "state": "cached", "key": key.digest(), "run": run }),
            Prospect::Runs { key, shares } => {
                let mut found = json!({ "state": "runs", "key": key.digest() });
                if let Some(first) = shares {
                    found["shares"] = json!(self.spec.pipeline.nodes[*first].id);
                }
                if let Some(nearest) = self.nearest(node, key) {
                    found["nearest"] = self.nearest_json(&nearest);
                }
                found
            }
            Prospect::Skipped(_) => json!({ "state": "skipped" }),
            Prospect::Fails(_) => json!({ "state": "fails" }),
            Prospect::Open(needs) => json!({ "state": "open", "needs": ids(needs) }),
            Prospect::Waits => json!({ "state": "waits" }),
            Prospect::Taken { key, run } => json!({ "state": "taken", "key": key.digest(), "run": run }),
            Prospect::Absent(Absent::Unknown(key)) => {
                let mut found = json!({ "state": "absent", "key": key.digest() });
                if let Some(nearest) = self.nearest(node, key) {
                    found["nearest"] = self.nearest_json(&nearest);
                }
                found
            }
            Prospect::Absent(_) => json!({ "state": "absent" }),
        };
        found["text"] = self.text(index).into();
        found
    }

    /// An earlier run and what changed since, for programs.
    pub(crate) fn nearest_json(&self, nearest: &Nearest<'_>) -> Value {
        let differences = nearest.differences.iter().map(|difference| {
            let Difference { part, before, after } = difference;
            let mut found = json!({ "part": part.to_string(), "before": before, "after": after });
            if let (Part::Input(_), Some(before), Some(after)) = (part, before, after)
                && let Some(files) = self.files(before, after)
            {
                let files = files.iter().map(|(path, change)| json!({ "path": path, "change": change.name() }));
                found["files"] = files.collect();
            }
            found
        });
        json!({
            "run": nearest.run,
            "status": nearest.known.status,
            "differences": differences.collect::<Vec<_>>(),
        })
    }

    /// The runs that proved results of this one.
    pub(crate) fn run_of(&self, index: usize) -> Option<&RunId> {
        match &self.prospects[index] {
            Prospect::Cached { run, .. } | Prospect::Taken { run, .. } => Some(run),
            _ => None,
        }
    }
}

/// A value of a key, cut.
fn value(value: &Value) -> String {
    let text = clean_line(&value.to_string());
    if text.chars().count() > VALUE { text.chars().take(VALUE).chain(['…']).collect() } else { text }
}
