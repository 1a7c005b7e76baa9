//! The same result everywhere: the run digest does not depend on the number of jobs, the directory, the file's layout or an
//! earlier run, and it does depend on everything that counts.

use lockgate_tests::Project;

const PIPELINE: &str = r#"
[plugins]
say = { path = "say.wasm" }

[[stage]]
id = "text"
plugin = "say"
config = { text = "hello", log = ["one", "two"], files = { "a/b.txt" = "b" } }

[[stage]]
id = "pack"
plugin = "std:pack"
inputs.src = { dir = "src" }

[[stage]]
id = "sums"
plugin = "std:checksum"
inputs.tree = "text.tree"
inputs.archive = "pack.archive"

[[stage]]
id = "fails"
plugin = "say"
config = { fail = "as it should" }
allow_failure = true

[[stage]]
id = "skipped"
plugin = "say"
inputs.x = "fails.out"

[[stage]]
id = "many"
plugin = "std:noop"
config = { n = "${matrix.n}" }
[stage.matrix]
n = [1, 2, 3, 4, 5, 6, 7, 8]
"#;

fn project(text: &str) -> Project {
    let project = Project::with_pipeline(text);
    project.guest("say").file("src/a.txt", "a").file("src/deep/b.sh", "#!/bin/sh\n");
    project
}

#[test]
fn jobs_and_directories_do_not_matter() {
    let (here, there) = (project(PIPELINE), project(PIPELINE));
    let digest = here.run(["--jobs", "1"]).code(0).digest();
    for jobs in ["1", "2", "16"] {
        assert_eq!(here.run(["--jobs", jobs]).code(0).digest(), digest, "{jobs} jobs");
        assert_eq!(there.run(["--jobs", jobs]).code(0).digest(), digest, "{jobs} jobs in another directory");
    }
    let receipts = |project: &Project| project.lockgate(["show", "last", "--receipts"]).code(0).stdout;
    assert_eq!(receipts(&here), receipts(&there), "the same bytes");
    // From elsewhere, with another state directory.
    let elsewhere = Project::new();
    let file = there.join("pipeline.toml");
    let args = ["run", file.to_str().unwrap(), "--state", "state", "--format", "json"];
    assert_eq!(elsewhere.lockgate(args).code(0).digest(), digest);
}

#[test]
fn layout_and_comments_do_not_matter_but_content_does() {
    let project = project(PIPELINE);
    let digest = project.run::<&str>([]).code(0).digest();
    project.pipeline(&format!("# a comment\n{}", PIPELINE.replace(" = ", "   =   ")));
    assert_eq!(project.run::<&str>([]).code(0).digest(), digest);
    project.pipeline(&PIPELINE.replace("hello", "hullo"));
    assert_ne!(project.run::<&str>([]).code(0).digest(), digest);
    project.pipeline(PIPELINE);
    project.file("src/a.txt", "A");
    assert_ne!(project.run::<&str>([]).code(0).digest(), digest);
    project.file("src/a.txt", "a");
    assert_eq!(project.run::<&str>([]).code(0).digest(), digest);
}

#[test]
fn modification_times_and_owners_do_not_matter() {
    let project = project(PIPELINE);
    let digest = project.run::<&str>([]).code(0).digest();
    let file = std::fs::File::options().append(true).open(project.join("src/a.txt")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    std::fs::set_permissions(project.join("src/a.txt"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(project.run::<&str>([]).code(0).digest(), digest);
    std::fs::set_permissions(project.join("src/a.txt"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_ne!(project.run::<&str>([]).code(0).digest(), digest, "whether a file can be executed matters");
}

#[test]
fn a_failed_run_has_a_digest_too() {
    let project = project(&PIPELINE.replace("allow_failure = true", ""));
    let digest = project.run(["--jobs", "1"]).code(1).digest();
    assert_eq!(project.run(["--jobs", "8"]).code(1).digest(), digest);
}

/// Nodes that look for chance in all that they can reach, one of them with a tree, and one that is repeated in other processes.
const DICE: &str = r#"
plugins.dice.path = "dice.wasm"

[[stage]]
id = "dice"
plugin = "dice"
repeat = 3
inputs.src = { dir = "src" }
inputs.file = { file = "src/a.txt" }
env = ["LANG"]

[[stage]]
id = "again"
plugin = "dice"
inputs.a = "dice.tree"
inputs.b = "dice.out"

[[stage]]
id = "many"
plugin = "dice"
config.n = "${matrix.n}"
matrix.n = [1, 2, 3, 4, 5, 6]
"#;

#[test]
fn chance_finds_no_way_in() {
    let project = |order: &[&str]| {
        let project = Project::with_pipeline(DICE);
        project.guest("dice");
        // Directories list their entries in the order in which they were made, on some file systems.
        for name in order {
            project.file(format!("src/{name}"), name);
        }
        project
    };
    let names: Vec<String> = (0..40).map(|n| format!("{}/f{n}", n * 7 % 11)).chain(["a.txt".to_owned()]).collect();
    let forward: Vec<&str> = names.iter().map(String::as_str).collect();
    let backward: Vec<&str> = names.iter().rev().map(String::as_str).collect();
    let (here, there) = (project(&forward), project(&backward));
    let run = |project: &Project, jobs: &str, more: &[&str]| {
        let mut command = project
            .command([&["run", "pipeline.toml", "--no-cache", "--format", "json", "--jobs", jobs], more].concat());
        command.env("LANG", "C").env("NOISE", jobs).env("TZ", if jobs == "1" { "UTC" } else { "Asia/Tokyo" });
        lockgate_tests::project::finish(command).code(0).digest()
    };
    let digest = run(&here, "1", &[]);
    for (project, jobs, more) in [
        (&here, "16", &[][..]),
        (&there, "2", &[]),
        (&there, "16", &["--check-determinism"]),
        (&here, "2", &["--check-determinism", "--state", "elsewhere"]),
    ] {
        assert_eq!(run(project, jobs, more), digest, "{jobs} jobs, {more:?}");
    }
    // And what the log says of it is what the record gives again.
    there.lockgate(["replay", "last", "--jobs", "3"]).code(0);
    let log = here.lockgate(["logs", "last", "dice"]).code(0);
    assert!(log.stdout.contains("at 946684800000 after"), "{}", log.all());
}

#[test]
fn random_pipelines_of_real_components_have_one_digest() {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    let node = (proptest::collection::vec(0u8..4, 12), 0u8..8);
    let shape = proptest::collection::vec(node, 1..12);
    // Its own directory for all of them, so that components are compiled once.
    let (here, there) = (Project::new(), Project::new());
    here.guest("say");
    there.guest("say");
    let mut runner = TestRunner::new(Config { cases: 8, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&shape, |shape| {
        let mut text = "plugins.say.path = \"say.wasm\"\n".to_owned();
        for (number, (edges, fate)) in shape.iter().enumerate() {
            text += &format!("[[stage]]\nid = \"n{number}\"\nplugin = \"say\"\nallow_failure = {}\n", fate % 2 == 0);
            let fail = if *fate < 2 { ", fail = \"told to\"" } else { "" };
            text += &format!("config = {{ text = \"{number}\", inputs = true, log = [\"{number}\"]{fail} }}\n");
            let needs = |kind| edges.iter().enumerate().take(number).filter(move |(_, edge)| **edge == kind);
            needs(1).for_each(|(need, _)| text += &format!("inputs.i{need} = \"n{need}.out\"\n"));
            let after: Vec<_> = needs(2).map(|(need, _)| format!("\"n{need}\"")).collect();
            text += &format!("after = [{}]\n", after.join(", "));
        }
        here.pipeline(&text);
        there.pipeline(&text);
        let digest = |project: &Project, jobs| {
            let done = project.run(["--jobs", jobs, "--no-cache"]);
            prop_assert!(matches!(done.exit, Some(0 | 1)), "{}\n{text}", done.all());
            Ok(done.digest())
        };
        let one = digest(&here, "1")?;
        prop_assert_eq!(&digest(&there, "2")?, &one);
        prop_assert_eq!(&digest(&here, "16")?, &one);
        let replayed = here.lockgate(["replay", "last"]);
        prop_assert_eq!(replayed.exit, Some(0), "{}", replayed.all());
        Ok(())
    });
    checked.unwrap();
}
