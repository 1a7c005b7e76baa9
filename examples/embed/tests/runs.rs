//! The program itself, run as its README says.

#![allow(clippy::expect_used, reason = "a test that cannot go on ends by panicking")]

use std::process::Command;

#[test]
fn it_runs_its_pipeline_and_exports() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("docs")).expect("a directory");
    std::fs::write(dir.path().join("docs/a.txt"), "two words\n").expect("a file");
    let mut program = Command::new(env!("CARGO_BIN_EXE_embed"));
    let output = program.arg(dir.path()).env_remove("LOCKGATE_POLICY").output().expect("the program");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.starts_with("run of `embedded` started\n"), "{said}");
    assert!(said.lines().last().is_some_and(|line| line.starts_with("succeeded: sha256:")), "{said}");
    let words = std::fs::read_to_string(dir.path().join("out/words.json")).expect("the export");
    assert_eq!(words, r#"{"files":1,"words":2}"#);
}
