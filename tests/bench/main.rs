//! Benchmarks, as ratios to a peer in the same run: `cargo run --release -p lockgate-tests --bin bench -- [NAME...]`. Without a
//! name all of them run.
//!
//! | name | what | goal |
//! |---|---|---|
//! | `start` | from the start of the process to its end: `--version`, one no-op stage | 5 ms, 30 ms |
//! | `nodes` | 1,000 no-op nodes against a bare loop of wasmtime calls of the same component, and their memory | 3x, 150 MiB |
//! | `artifacts` | 1 GiB through the contract against a plain copy and sha-256 | 2x |
//! | `dag` | 10,000 no-op nodes, executed and cached, against tokio, petgraph and wasmtime alone, and against ninja; growth to 100,000 | 2x, a tenth, 3x |
//! | `resume` | the rest of a run of 1,000 nodes of 10 ms that was killed at half, against all of it | 60 % |
//! | `effects` | commits of effects, against single commits of SQLite | half |
//! | `guard` | 1,000 no-op nodes under a policy, locked and signed, against the same without | 1.2x |
//! | `languages` | a small stage in each language: from `plugin new` to passing cases, size, compiling, start, fuel, against Rust's | 60 s; JavaScript 2 MB, 5 ms |
//! | `pack` | 200 MB of mixed files by `std:pack` against `tar \| zstd` | 3x |
//!
//! Interleaved, medians; on a shared machine differences under 15 % say nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on ends by panicking")]
#![allow(clippy::print_stdout, reason = "its results")]

mod artifacts;
mod bare;
mod dag;
mod effects;
mod guard;
mod languages;
mod measure;
mod nodes;
mod pack;
mod resume;
mod start;

fn main() {
    let all: [(&str, fn()); 9] = [
        ("start", start::bench),
        ("nodes", nodes::bench),
        ("dag", dag::bench),
        ("resume", resume::bench),
        ("effects", effects::bench),
        ("artifacts", artifacts::bench),
        ("guard", guard::bench),
        ("languages", languages::bench),
        ("pack", pack::bench),
    ];
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = chosen.iter().find(|name| !all.iter().any(|(known, _)| known == name)) {
        println!("there is no benchmark `{unknown}`; there are: {}", all.map(|(name, _)| name).join(", "));
        std::process::exit(2);
    }
    for (name, bench) in all {
        if chosen.is_empty() || chosen.iter().any(|c| c == name) {
            println!("\n{name}");
            bench();
        }
    }
}
