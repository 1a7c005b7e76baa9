//! The same small stage in each language, as `lockgate plugin new` begins it: from nothing to passing cases, then what its component
//! costs, against the one in Rust. A language whose tools are not there (`cargo xtask tools`) is left out, and named.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockgate::wiring::executor::{StoreArtifacts, StoreCode};
use lockgate_host::{Host, NoCache, NoEffects, Plugin};
use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::outcome::Completion;
use lockgate_store::Store;
use lockgate_tests::embedded;
use lockgate_tests::{Project, tools};

use crate::measure::{median, ms, run};

/// Calls of each component.
const CALLS: usize = 50;
/// Loads of each component from the cache.
const LOADS: usize = 20;
/// What the stage counts the lines of.
const TEXT: &str = "a line of some words\n";

/// What one language's component costs.
struct Costs {
    language: &'static str,
    /// From `plugin new` to passing cases, where the language's tools and dependencies are there.
    begun: Duration,
    size: usize,
    compile: Duration,
    load: Duration,
    call: Duration,
    fuel: u64,
    memory: u64,
    /// Whether all calls gave the same, fuel included.
    same: bool,
}

pub(crate) fn bench() {
    println!(
        "  {:<11} {:>10} {:>9} {:>10} {:>11} {:>13} {:>7} {:>10} {:>8}  same",
        "language", "new..test", "size", "compile", "from cache", "instant.+call", "x Rust", "fuel", "memory"
    );
    let mut of_rust = None;
    for language in ["rust", "c", "js", "ts", "go", "python"] {
        if !tools::has(language) {
            println!("  {language:<11} left out: `cargo xtask tools` installs what it needs");
            continue;
        }
        let costs = measure(language);
        let of_rust = *of_rust.get_or_insert(costs.call);
        let Costs { language, begun, size, compile, load, call, fuel, memory, same } = costs;
        println!(
            "  {language:<11} {:>8.1} s {:>6} kB {:>10} {:>11} {:>13} {:>7.1} {fuel:>10} {:>4} MiB  {}",
            begun.as_secs_f64(),
            size / 1000,
            ms(compile),
            ms(load),
            ms(call),
            call.as_secs_f64() / of_rust.as_secs_f64(),
            memory >> 20,
            if same { "yes" } else { "NO" }
        );
    }
    println!("  (goals: Rust from new to test under 60 s; JavaScript under 2,000 kB and from the cache in under 5 ms)");
}

fn measure(language: &'static str) -> Costs {
    // Once for the dependencies, which are to be warm.
    from_new_to_test(language);
    let start = Instant::now();
    let project = from_new_to_test(language);
    let begun = start.elapsed();
    let component = project.bytes("made/target/lockgate/made.wasm");

    let host = embedded::host(2, 1);
    let start = Instant::now();
    host.load(&component, &NoCache).unwrap();
    let compile = start.elapsed();
    let store = Store::open(&project.join("store")).unwrap();
    let cache = StoreCode(store.clone());
    let plugin = host.load(&component, &cache).unwrap();
    let load = median((0..LOADS).map(|_| {
        let start = Instant::now();
        let plugin = host.load(&component, &cache).unwrap();
        let took = start.elapsed();
        // Unmapping it is no part of a start.
        drop(plugin);
        took
    }));

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let calls: Vec<(Duration, Completion)> = (0..CALLS)
        .map(|_| {
            let start = Instant::now();
            let completion = runtime.block_on(call(&host, &plugin, &store));
            (start.elapsed(), completion)
        })
        .collect();
    let said = |completion: &Completion| (completion.fuel.unwrap(), completion.outputs.clone(), completion.peak_memory);
    let first = said(&calls[0].1);
    Costs {
        language,
        begun,
        size: component.len(),
        compile,
        load,
        call: median(calls.iter().map(|(time, _)| *time)),
        fuel: first.0,
        memory: first.2,
        same: calls.iter().all(|(_, completion)| said(completion) == first),
    }
}

/// What an author does first: `plugin new`, `plugin build`, `plugin test`.
fn from_new_to_test(language: &str) -> Project {
    let project = Project::new();
    run(project.command(["plugin", "new", "made", "--lang", language]));
    tools::install(&project, "made", language);
    for words in [["plugin", "build"], ["plugin", "test"]] {
        let mut command: Command = project.command(words);
        tools::cargo(command.current_dir(project.join("made")));
        run(command);
    }
    project
}

async fn call(host: &Host, plugin: &Plugin, store: &Store) -> Completion {
    let text = TEXT.repeat(10);
    let digest = store.put_blob(text.as_bytes()).unwrap();
    let mut task = embedded::task(plugin);
    let text = ArtifactRef { kind: ArtifactKind::Blob, digest, size: text.len() as u64 };
    task.inputs.insert("text".parse().unwrap(), text);
    let completion =
        host.call(plugin, task, Arc::new(StoreArtifacts(store.clone())), Arc::new(NoEffects::default())).await;
    assert!(completion.failure.is_none(), "{:?}", completion.failure);
    completion
}
