//! Every hostile plugin, the table that says what becomes of them, and the process that compiles what nobody vouches for.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use lockgate_host::{LoadError, decode};
use lockgate_model::limits::ComponentLimits;
use lockgate_model::units::{Bytes, Millis};
use lockgate_tests::handmade::Handmade;
use lockgate_tests::hostile::table;
use lockgate_tests::{Project, binary};

#[test]
fn every_hostile_plugin_ends_as_the_table_says() {
    let outcomes = table::attempt_all("", false);
    assert!(outcomes.len() >= 60);
    let path = binary::repository().join("tests/hostile/README.md");
    let now = table::markdown(&outcomes);
    if std::env::var_os("LOCKGATE_UPDATE").is_some() {
        std::fs::write(&path, now).unwrap();
        return;
    }
    let before = std::fs::read_to_string(&path).unwrap();
    assert!(before == now, "{} is not what this run gives; LOCKGATE_UPDATE=1 writes it:\n{now}", path.display());
    println!("{}", table::report(&outcomes));
}

/// What a compiling process under these limits makes of a component: its answer, or its signal and its complaint.
fn compiled(limits: &ComponentLimits, component: &[u8]) -> Result<Result<String, LoadError>, (Option<i32>, String)> {
    let mut command = Command::new(binary::lockgate());
    command.arg("compile-component").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let head = serde_json::to_string(limits).unwrap();
    // A child that ended does not read.
    let _ = stdin.write_all(format!("{head}\n").as_bytes()).and_then(|()| stdin.write_all(component));
    drop(stdin);
    let (mut answer, mut complaint) = (Vec::new(), String::new());
    child.stdout.take().unwrap().read_to_end(&mut answer).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    let status = child.wait().unwrap();
    if !status.success() {
        return Err((status.signal(), complaint));
    }
    let decoded = decode(&answer).expect("an answer that can be read");
    Ok(decoded.map(|prepared| format!("{prepared:?}").chars().take(200).collect()))
}

/// A stage with a function of so many steps: some are quick to write and slow to compile.
fn slow(steps: usize) -> Vec<u8> {
    let step = "(local.set 0 (i32.rotl (i32.mul (local.get 0) (i32.const 2654435761)) (i32.load (local.get 0))))";
    Handmade::stage().import(&format!("(func (param i32) {})", step.repeat(steps))).build()
}

#[test]
fn each_limit_of_compiling_ends_the_process_that_compiles() {
    let limits = ComponentLimits::default();
    let answer = compiled(&limits, &Handmade::stage().build()).unwrap().unwrap();
    assert!(answer.contains("handmade"), "{answer}");
    let error = compiled(&limits, b"no component").unwrap().unwrap_err();
    assert!(matches!(error, LoadError::NotWasm { .. }), "{error}");
    let size = ComponentLimits { size: Bytes(100), ..limits.clone() };
    assert!(matches!(compiled(&size, &slow(1)), Ok(Err(LoadError::TooLarge { .. }))));
    let time = ComponentLimits { compile_time: Millis(1), ..limits.clone() };
    assert!(matches!(compiled(&time, &slow(10_000)), Ok(Err(LoadError::CompileTime { limit: Millis(1) }))));
    let memory = ComponentLimits { compile_memory: Bytes(64 << 20), ..limits.clone() };
    let (signal, complaint) = compiled(&memory, &slow(20_000)).unwrap_err();
    assert!(
        signal == Some(rustix::process::Signal::ABORT.as_raw()) && complaint.contains("memory allocation of"),
        "{signal:?} {complaint}"
    );
    let cpu = ComponentLimits { compile_cpu: Millis(1), ..limits };
    let (signal, _) = compiled(&cpu, &slow(80_000)).unwrap_err();
    assert_eq!(signal, Some(rustix::process::Signal::XCPU.as_raw()));
}

#[test]
fn what_the_cache_has_is_not_compiled_again() {
    let project = Project::with_pipeline("plugins.it.path = \"it.wasm\"\n[[stage]]\nid = \"a\"\nplugin = \"it\"\n");
    project.file("it.wasm", Handmade::stage().build());
    project.run::<&str>([]).code(0);
    // What is put into the cache is another file each time, what is found there stays the file that it was.
    let files = || {
        let files = std::fs::read_dir(project.join(".lockgate/code")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().ino()).collect::<BTreeSet<_>>()
    };
    let before = files();
    assert!(before.len() >= 2, "code and manifest");
    project.run(["--no-cache"]).code(0).node_is("a", "succeeded");
    assert_eq!(files(), before);
}

#[test]
fn patterns_of_lint_take_linear_time() {
    let schema = r#"{"type":"object","properties":{"x":{"type":"string","pattern":"^(a+)+$"}}}"#;
    let project = Project::with_pipeline(
        "[[stage]]\nid = \"lint\"\nplugin = \"std:lint\"\ninputs.src = { dir = \"files\" }\n\
         config = { schemas = [{ files = [\"a.json\"], schema = \"schema.json\" }] }\n",
    );
    project.file("files/schema.json", schema).file("files/a.json", format!("{{\"x\":\"{}!\"}}", "a".repeat(5_000)));
    project.run::<&str>([]).code(1).node_failed("lint", "error", "");
}
