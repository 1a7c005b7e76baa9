//! A stage that breaks every rule, one at a time: `do` in its config says which. It speaks the contract's raw types, because the
//! SDK would not let it.

#![cfg(target_arch = "wasm32")]

use lockgate_sdk::bindings::stage::lockgate::plugin::types::{Port, Ports};
use lockgate_sdk::bindings::stage::lockgate::plugin::{artifacts, log};
use lockgate_sdk::bindings::stage::{Failure, Finding, Guest, Manifest};
use lockgate_sdk::serde_json::Value;

struct Misbehave;

/// One write, one log message.
const CHUNK: usize = 64 << 10;

impl Guest for Misbehave {
    fn describe() -> Manifest {
        let port = |name: &str, kind: &str, optional| Port {
            name: name.into(),
            kind: kind.into(),
            optional,
            summary: "something".into(),
        };
        Manifest {
            name: "misbehave".into(),
            version: "0.1.0".into(),
            summary: "Breaks every rule, one at a time.".into(),
            config_schema: r#"{"type":"object","required":["do"],"properties":{"do":{"type":"string"}}}"#.into(),
            inputs: Ports { named: vec![port("in", "blob", true)], open: None },
            outputs: Ports { named: vec![port("out", "blob", false), port("tree", "tree", true)], open: None },
            effects: Vec::new(),
        }
    }

    fn run(config: String) -> Result<Vec<Finding>, Failure> {
        let config: Value = lockgate_sdk::serde_json::from_str(&config).map_err(|error| failure(error.to_string()))?;
        let what = config["do"].as_str().unwrap_or_default();
        if !matches!(what, "no-output" | "unfinished" | "wrong-kind" | "output-twice") {
            write("out", b"fine")?;
        }
        misbehave(what)
    }
}

fn misbehave(what: &str) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    match what {
        "nothing" | "no-output" => {}
        "loop" => spin(),
        "recurse" => findings.push(finding("note", &format!("{}", deeper(1)))),
        "allocate" => hoard(),
        "trap" => stumble(),
        "error" => return Err(failure("the disk in the guest's head is full")),
        "error-with-findings" => {
            let findings = vec![Finding { line: Some(7), column: Some(3), ..finding("error", "seven is wrong") }];
            return Err(Failure { message: "one thing is wrong".into(), findings });
        }
        "error-huge" => return Err(failure("x".repeat(8 << 20))),
        "error-with-escapes" => return Err(failure("\u{1b}]0;owned\u{7}\u{1b}[2Jgone \u{9b}31m\r\nnext")),
        "findings" => {
            findings.push(Finding { path: Some("src/a.toml".into()), line: Some(2), ..finding("warning", "odd") })
        }
        "findings-garbage" => findings.push(Finding {
            path: Some("../../etc/passwd".into()),
            line: Some(0),
            column: Some(0),
            ..finding("catastrophe", "\u{1b}[2J\0")
        }),
        "findings-too-many" => findings.resize(20_000, finding("note", "again")),
        "findings-huge" => findings.resize(30, finding("note", &"x".repeat(1 << 20))),
        "write-too-much" => {
            let writer = tree_file()?;
            for _ in 0..1 << 20 {
                writer.write(&[7; CHUNK]).map_err(refused)?;
            }
        }
        "write-too-much-and-go-on" => {
            let writer = tree_file()?;
            while writer.write(&[7; CHUNK]).is_ok() {}
            let _ = writer.finish();
        }
        "write-too-many" => {
            let builder = artifacts::create_tree("tree").map_err(refused)?;
            for number in 0..1 << 20 {
                builder.directory(&format!("d{number}")).map_err(refused)?;
            }
        }
        "log-too-much" => (0..100).for_each(|_| log::log("info", &"x".repeat(CHUNK))),
        "log-huge" => log::log("info", &"x".repeat(20 << 20)),
        "log-with-escapes" => log::log("\u{1b}[31merror-that-is-long", "\u{1b}]0;owned\u{7}\u{1b}[2Jgone\r\nnext\0"),
        "log-and-trap" => {
            (0..30).for_each(|number| log::log("info", &format!("step {number}")));
            stumble();
        }
        "undeclared-output" => write("other", b"nobody knows me")?,
        "undeclared-output-and-go-on" => drop(write("other", b"nobody knows me")),
        "unfinished" => {
            let writer = artifacts::create_blob("out").map_err(refused)?;
            writer.write(b"half").map_err(refused)?;
        }
        "unfinished-and-leaked" => core::mem::forget(artifacts::create_tree("tree").map_err(refused)?),
        "wrong-kind" => drop(artifacts::create_tree("out").map_err(refused)?),
        "output-twice" => {
            write("out", b"one")?;
            write("out", b"two")?;
        }
        "bad-paths" => {
            let builder = artifacts::create_tree("tree").map_err(refused)?;
            let paths =
                ["", "/", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a\0b", "a\nb", &"x/".repeat(3000)];
            let taken = |path: &&&str| builder.file(path, false).is_ok() || builder.directory(path).is_ok();
            let taken: Vec<_> = paths.iter().filter(taken).collect();
            if !taken.is_empty() {
                return Err(failure(format!("the host took {taken:?}")));
            }
            for target in ["/etc/passwd", "../x", "a/../../x", ""] {
                if builder.symlink("link", target).is_ok() {
                    return Err(failure(format!("the host took a link to {target:?}")));
                }
            }
            builder.finish().map_err(refused)?;
        }
        "after-finish" => {
            let builder = artifacts::create_tree("tree").map_err(refused)?;
            let writer = builder.file("a", false).map_err(refused)?;
            writer.finish().map_err(refused)?;
            builder.finish().map_err(refused)?;
            writer.write(b"more").map_err(refused)?;
        }
        "many-handles" => {
            let mut held = Vec::new();
            let builder = artifacts::create_tree("tree").map_err(refused)?;
            for number in 0..1 << 20 {
                held.push(builder.file(&format!("f{number}"), false).map_err(refused)?);
            }
        }
        "missing-input" => drop(artifacts::open_blob("in").map_err(refused)?),
        "read-again-and-again" => loop {
            let reader = artifacts::open_blob("in").map_err(refused)?;
            while !reader.read(u32::MAX).map_err(refused)?.is_empty() {}
        },
        other => return Err(failure(format!("nobody taught me `{other}`"))),
    }
    Ok(findings)
}

fn spin() {
    let mut number = 0_u64;
    loop {
        number = core::hint::black_box(number.wrapping_add(1));
    }
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    let room = core::hint::black_box([depth; 16]);
    if core::hint::black_box(true) { deeper(depth + 1) + room[(depth % 16) as usize] } else { depth }
}

fn hoard() {
    let mut hoard = Vec::new();
    loop {
        hoard.push(core::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

#[inline(never)]
fn stumble() {
    // The instruction itself: a panic of Rust would say more than a guest in another language can.
    core::arch::wasm32::unreachable()
}

fn tree_file() -> Result<artifacts::Writer, Failure> {
    let builder = artifacts::create_tree("tree").map_err(refused)?;
    let writer = builder.file("big", false).map_err(refused);
    core::mem::forget(builder);
    writer
}

fn write(name: &str, bytes: &[u8]) -> Result<(), Failure> {
    let writer = artifacts::create_blob(name).map_err(refused)?;
    writer.write(bytes).map_err(refused)?;
    writer.finish().map_err(refused)
}

fn finding(severity: &str, message: &str) -> Finding {
    Finding { severity: severity.into(), message: message.into(), rule: None, path: None, line: None, column: None }
}

fn failure(message: impl Into<String>) -> Failure {
    Failure { message: message.into(), findings: Vec::new() }
}

fn refused(error: artifacts::Error) -> Failure {
    failure(format!("the host said `{}`: {}", error.code, error.message))
}

lockgate_sdk::bindings::stage::export_stage_world!(Misbehave with_types_in lockgate_sdk::bindings::stage);
