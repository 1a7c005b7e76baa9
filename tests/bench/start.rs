//! From the start of the process to its end.

use std::process::Command;

use lockgate_tests::{Project, binary};

use crate::measure::{line, median, ms, run};

/// Repetitions of each.
const TIMES: usize = 30;

pub(crate) fn bench() {
    let project = Project::with_pipeline("[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n");
    // The first run compiles and fills the cache.
    run(project.command(["run", "pipeline.toml"]));
    let (mut nothing, mut version, mut stage, mut cached) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TIMES {
        nothing.push(run(Command::new("true")).wall);
        version.push(run(project.command(["--version"])).wall);
        stage.push(run(project.command(["run", "pipeline.toml", "--no-cache"])));
        cached.push(run(project.command(["run", "pipeline.toml"])).wall);
    }
    let size = std::fs::metadata(binary::lockgate()).unwrap().len() / 1_000_000;
    line("size of the binary", &format!("{size} MB"), "");
    line("`true` (start and end of a process)", &ms(median(nothing)), "");
    line("`lockgate --version`", &ms(median(version)), "under 5 ms");
    line(
        "`lockgate run` of one no-op stage, compiled before",
        &ms(median(stage.iter().map(|cost| cost.wall))),
        "under 30 ms",
    );
    line("`lockgate run` of one cached stage", &ms(median(cached)), "under 20 ms");
    line("  processor time of the former", &ms(median(stage.iter().map(|cost| cost.cpu))), "");
}
