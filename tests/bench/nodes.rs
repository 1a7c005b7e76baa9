//! 1,000 nodes that do nothing, against a bare loop of wasmtime calls of the same component over the same graph.

use lockgate_tests::{Project, graph};

use crate::bare::Bare;
use crate::measure::{line, median, ms, ratio, run};

/// Nodes of the graph.
const NODES: usize = 1_000;
/// Repetitions of each.
const TIMES: usize = 15;

pub(crate) fn bench() {
    let project = Project::with_pipeline("[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\n");
    project.file("noop.toml", graph::pipeline(NODES));
    run(project.command(["run", "pipeline.toml"]));
    let bare = Bare::new();
    let (mut one, mut checked, mut loops, mut many, mut serial) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for number in 0..TIMES {
        // A state directory of its own for each, so that the journal does not grow; the compiled code is taken along.
        let state = format!("state{number}");
        run(project.command(["run", "pipeline.toml", "--no-cache", "--state", &state]));
        one.push(run(project.command(["run", "pipeline.toml", "--no-cache", "--state", &state])).wall);
        checked.push(run(project.command(["check", "noop.toml", "--state", &state])).wall);
        loops.push(bare.serial(NODES));
        many.push(run(project.command(["run", "noop.toml", "--no-cache", "--quiet", "--state", &state])));
        serial.push(
            run(project.command(["run", "noop.toml", "--no-cache", "--quiet", "--jobs", "1", "--state", &state])).wall,
        );
    }
    let (one, checked, bare, serial) = (median(one), median(checked), median(loops), median(serial));
    let wall = median(many.iter().map(|cost| cost.wall));
    line("bare loop: instantiate and call, one thread", &ms(bare), "");
    line(&format!("`lockgate run` of {NODES} nodes, start to exit"), &ms(wall), "");
    line("  against the bare loop", &ratio(wall, bare), "at most 3 x");
    line("  without what a run of one node takes, against the loop", &ratio(wall.saturating_sub(one), bare), "");
    let cpu = median(many.iter().map(|cost| cost.cpu));
    line("  its processor time", &ms(cpu), "");
    line("  against the bare loop, which does nothing but compute", &ratio(cpu, bare), "");
    line("  with --jobs 1", &ms(serial), "");
    line("`lockgate run` of one node", &ms(one), "");
    line(&format!("`lockgate check` of {NODES} nodes"), &ms(checked), "");
    line("peak memory", &format!("{} MiB", median(many.iter().map(|cost| cost.peak)) / 1024), "under 150 MiB");
}
