//! The rest of a run that was killed at half, against the whole run.

use std::time::{Duration, Instant};

use lockgate_tests::{Project, graph};
use rustix::process::Signal;

use crate::measure::{line, ms, ratio, run};

/// Nodes of the run, and what each takes.
const NODES: usize = 1_000;
const EACH: Duration = Duration::from_millis(10);
/// Rounds of the node that the machine's speed is found with.
const ROUNDS: u64 = 10_000_000;

pub(crate) fn bench() {
    let project = Project::new();
    project.guest("work");
    project.pipeline(&format!("{}{}", PLUGIN, stage(0, ROUNDS, &[])));
    // The first run compiles.
    project.run(["--no-cache"]).code(0);
    let micros = project.run(["--no-cache"]).code(0).node("n0")["facts"]["micros"].as_u64().unwrap().max(1);
    let rounds = ROUNDS * EACH.as_micros() as u64 / micros;
    let nodes: String = (0..NODES)
        .map(|node| {
            let needs: Vec<_> = graph::needs(node).map(|need| format!("\"n{need}\"")).collect();
            stage(node, rounds, &needs)
        })
        .collect();
    project.pipeline(&format!("{PLUGIN}{nodes}"));
    let whole = run(project.command(["run", "pipeline.toml", "--no-cache", "--quiet", "--jobs", "2"])).wall;
    let mut running = project.start(["--no-cache", "--jobs", "2"]);
    // One line for the beginning, two for each node.
    running.wait_for_lines(1 + NODES).signal(Signal::KILL);
    let killed = running.finish();
    assert!(killed.signal.is_some(), "it was killed");
    let start = Instant::now();
    run(project.command(["resume", "--last", "--no-cache", "--quiet", "--jobs", "2"]));
    let rest = start.elapsed();
    line(&format!("{NODES} nodes of {} ms by 2 jobs", EACH.as_millis()), &ms(whole), "");
    line("`lockgate resume` of one that was killed at half", &ms(rest), "");
    line("  against the whole", &ratio(rest, whole), "at most 0.6 x");
}

const PLUGIN: &str = "[plugins]\nwork = { path = \"work.wasm\" }\n";

fn stage(node: usize, rounds: u64, needs: &[String]) -> String {
    let needs = needs.join(", ");
    format!(
        "[[stage]]\nid = \"n{node}\"\nplugin = \"work\"\nconfig = {{ rounds = {rounds}, seed = {node} }}\nafter = [{needs}]\n\
         limits.fuel = \"1T\"\n"
    )
}
