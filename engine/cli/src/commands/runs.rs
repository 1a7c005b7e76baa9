//! `lockgate runs`: the runs in the journal, newest first.

use lockgate_model::outcome::Status;
use lockgate_store::{RunSummary, Store};
use serde_json::json;

use super::Ended;
use crate::args::{Format, RunsArgs};
use crate::exit::Exit;
use crate::place;
use crate::render::output::Output;
use crate::render::style::{Style, clean_line};
use crate::render::table::{Align, Cell, Table};
use crate::time::{duration, rfc3339};

/// Lists the runs.
pub(crate) fn runs(args: &RunsArgs, output: &Output) -> Ended {
    // A directory without a state directory has no runs; only looking must not make one.
    let dir = place::state_here(&args.state)?;
    let runs = if dir.is_dir() { Store::open_to_read(&dir)?.runs(args.limit)? } else { Vec::new() };
    match args.format {
        Format::Json => output.data(&runs.iter().map(json_line).collect::<String>()),
        Format::Human if runs.is_empty() => output.note("no runs yet\n"),
        Format::Human => output.data(&table(&runs, output.out)),
    }
    Ok(Exit::Succeeded)
}

fn json_line(run: &RunSummary) -> String {
    let line = json!({
        "schema": 1,
        "run": run.id,
        "name": run.name,
        "file": run.file,
        "started": run.started_ms,
        "finished": run.finished_ms,
        "status": run.status,
        "digest": run.digest,
    });
    line.to_string() + "\n"
}

fn table(runs: &[RunSummary], style: Style) -> String {
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("status", Align::Left),
        ("started", Align::Left),
        ("time", Align::Right),
        ("pipeline", Align::Left),
        ("digest", Align::Left),
    ]);
    for run in runs {
        let took = run.finished_ms.map(|end| duration(end.saturating_sub(run.started_ms) * 1_000)).unwrap_or_default();
        table.row(vec![
            run.id.as_str().into(),
            status(run.status, style),
            rfc3339(run.started_ms).into(),
            took.into(),
            clean_line(&run.name).into(),
            run.digest.map(|digest| digest.short()).unwrap_or_default().into(),
        ]);
    }
    table.render(style, 0)
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
    use lockgate_model::{Digest, RunId};

    use super::*;

    #[test]
    fn runs_are_listed() {
        let run = |id: &str, status: Option<Status>| RunSummary {
            id: RunId::new(id).unwrap(),
            name: "release".into(),
            file: "pipelines/release.toml".into(),
            started_ms: 1_763_710_463_000,
            finished_ms: status.map(|_| 1_763_710_465_500),
            status,
            digest: status.map(|_| Digest::of(b"")),
            records: 7,
        };
        let runs = [run("r01jd74vjm00000002", None), run("r01jd74vjm00000001", Some(Status::Succeeded))];
        insta::assert_snapshot!(table(&runs, Style::PLAIN) + &json_line(&runs[1]));
    }
}
