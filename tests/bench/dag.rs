//! The layered graph of nodes that do nothing, each with its own config, against its peers; and how its cost grows.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use lockgate_tests::{Project, graph};

use crate::bare::Bare;
use crate::measure::{Cost, line, median, ms, ratio, run};

/// Nodes of the comparison.
const NODES: usize = 10_000;
/// Repetitions of each.
const TIMES: usize = 5;
/// Sizes between which growth is looked at.
const GROWTH: [usize; 4] = [1, 1_000, 10_000, 100_000];
/// What a run may take whatever its size, in KiB.
const FIXED: u64 = 80 << 10;

pub(crate) fn bench() {
    let project = Project::new();
    for nodes in GROWTH {
        project.file(format!("n{nodes}.toml"), graph::pipeline(nodes));
    }
    run(project.command(["run", "n1.toml", "--state", "code"]));
    let fresh = |name: &str| {
        // Compiled code is taken along, the journal is not.
        run_in(&project, "n1.toml", name, true);
    };
    let bare = Bare::new();
    let ninja = Ninja::find(&project);
    let (mut scheduled, mut executed, mut cached) = (Vec::new(), Vec::new(), Vec::new());
    let (mut forks, mut idle) = (Vec::new(), Vec::new());
    for number in 0..TIMES {
        let (state, file) = (format!("state{number}"), format!("n{NODES}.toml"));
        fresh(&state);
        scheduled.push(bare.scheduled(NODES, 2));
        executed.push(run_in(&project, &file, &state, false).wall);
        cached.push(run_in(&project, &file, &state, true).wall);
        if let Some(ninja) = &ninja {
            forks.push(ninja.build("true"));
            idle.push(ninja.build("touch"));
        }
    }
    let (scheduled, executed, cached) = (median(scheduled), median(executed), median(cached));
    line(&format!("{NODES} calls by tokio, petgraph, wasmtime; no journal"), &ms(scheduled), "");
    line(&format!("`lockgate run --no-cache` of {NODES} nodes"), &ms(executed), "");
    line("  against the bare loop", &ratio(executed, scheduled), "at most 2 x");
    line(&format!("`lockgate run` of the same, all cached: {NODES} nodes"), &ms(cached), "");
    if ninja.is_some() {
        let (forks, idle) = (median(forks), median(idle));
        line(&format!("ninja, {NODES} times `true`, 2 jobs"), &ms(forks), "");
        line("  `lockgate run --no-cache` against it", &ratio(executed, forks), "at most 0.1 x");
        line("ninja, nothing to do", &ms(idle), "");
        line("  `lockgate run`, all cached, against it", &ratio(cached, idle), "at most 3 x");
    } else {
        line("ninja", "not found", "install ninja-build");
    }
    growth(&project, fresh);
}

fn growth(project: &Project, fresh: impl Fn(&str)) {
    let mut one = Duration::ZERO;
    for nodes in GROWTH {
        let times = if nodes > NODES { 1 } else { TIMES };
        let costs: Vec<Cost> = (0..times)
            .map(|number| {
                let state = format!("growth{nodes}-{number}");
                fresh(&state);
                run_in(project, &format!("n{nodes}.toml"), &state, false)
            })
            .collect();
        let (wall, peak) = (median(costs.iter().map(|cost| cost.wall)), median(costs.iter().map(|cost| cost.peak)));
        if nodes == 1 {
            one = wall;
            line("`lockgate run --no-cache` of 1 node", &ms(wall), "");
            continue;
        }
        let each = wall.saturating_sub(one).as_secs_f64() * 1e6 / nodes as f64;
        let goal = if nodes == 1_000 { "under 150 ms" } else { "" };
        line(&format!("  {nodes} nodes: more than that by"), &ms(wall.saturating_sub(one)), goal);
        line(
            "    for each node",
            &format!("{each:.1} us"),
            if nodes == 100_000 { "no more than of 1,000" } else { "" },
        );
        let memory = peak.saturating_sub(FIXED) as f64 * 1.024 / nodes as f64;
        line("    memory for each node beyond 80 MiB", &format!("{memory:.2} kB"), "under 3 kB");
    }
}

fn run_in(project: &Project, file: &str, state: &str, cache: bool) -> Cost {
    let mut command = project.command(["run", file, "--quiet", "--state", state]);
    if !cache {
        command.arg("--no-cache");
    }
    run(command)
}

/// ninja with the same graph, if the machine has it.
struct Ninja<'p>(&'p Project);

impl<'p> Ninja<'p> {
    fn find(project: &'p Project) -> Option<Self> {
        Command::new("ninja").arg("--version").output().ok()?;
        let ninja = Self(project);
        for (kind, command) in [("true", "true"), ("touch", "touch $out")] {
            let mut text = format!("rule r\n  command = {command}\n");
            for node in 0..NODES {
                let needs: Vec<_> = graph::needs(node).map(|need| format!("o/{kind}{need}")).collect();
                let _ = writeln!(text, "build o/{kind}{node}: r {}", needs.join(" "));
            }
            project.file(format!("ninja/{kind}.ninja"), text);
        }
        // What `touch` makes is there from now on.
        ninja.build("touch");
        Some(ninja)
    }

    fn build(&self, kind: &str) -> Duration {
        let mut command = Command::new("ninja");
        command.args(["-j2", "-f", &format!("{kind}.ninja")]).current_dir(self.0.join("ninja"));
        run(command).wall
    }
}
