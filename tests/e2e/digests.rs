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
