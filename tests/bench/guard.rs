//! 1,000 nodes that do nothing, by a plugin that is locked and signed, under a policy that demands both, against the same without: what
//! guarding costs an honest node.

use lockgate_tests::{Project, binary, graph};

use crate::measure::{line, median, ms, ratio, run};

/// Nodes of the graph.
const NODES: usize = 1_000;
/// Repetitions of each.
const TIMES: usize = 15;

pub(crate) fn bench() {
    let project = Project::new();
    project.file("noop.wasm", std::fs::read(binary::repository().join("plugins/dist/noop.wasm")).unwrap());
    let text = graph::pipeline(NODES).replace("\"std:noop\"", "\"noop\"");
    project.file("noop.toml", text + "\n[plugins]\nnoop = { path = \"noop.wasm\" }\n");
    for command in [
        &["plugin", "keygen", "--output", "acme"][..],
        &["plugin", "sign", "noop.wasm", "--key", "acme.key"],
        &["plugin", "lock", "noop.toml"],
    ] {
        run(project.command(command));
    }
    let key = project.read("acme.pub");
    project.file(
        "policy.toml",
        format!(
            "schema = 1\nname = \"bench\"\n[plugins]\nsources = [\"path:**\"]\ndigests = \"required\"\nsigned = [\"acme\"]\n\
             [signers.acme]\nkey = \"\"\"\n{key}\"\"\"\n[limits]\nfuel = \"100G\"\nmemory = \"1GiB\"\n"
        ),
    );
    let (mut plain, mut guarded) = (Vec::new(), Vec::new());
    for number in 0..TIMES {
        // A state directory of its own for each, so that the journal does not grow; the compiled code is taken along by one run before.
        let state = format!("state{number}");
        let bare = ["run", "noop.toml", "--no-cache", "--quiet", "--no-locked", "--state", &state];
        let guard =
            ["run", "noop.toml", "--no-cache", "--quiet", "--locked", "--policy", "policy.toml", "--state", &state];
        run(project.command(guard));
        plain.push(run(project.command(bare)));
        guarded.push(run(project.command(guard)));
    }
    let wall = |costs: &[crate::measure::Cost]| median(costs.iter().map(|cost| cost.wall));
    let cpu = |costs: &[crate::measure::Cost]| median(costs.iter().map(|cost| cost.cpu));
    line(&format!("`lockgate run` of {NODES} nodes"), &ms(wall(&plain)), "");
    line("  with policy, lock and signatures", &ms(wall(&guarded)), "");
    line("  against without", &ratio(wall(&guarded), wall(&plain)), "at most 1.2 x");
    line("  processor time against without", &ratio(cpu(&guarded), cpu(&plain)), "");
}
