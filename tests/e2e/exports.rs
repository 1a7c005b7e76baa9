//! Exports: only after success, atomically, and never out of the root. What was there before stays until the new is whole.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use lockgate_tests::project::{finish, without_override};
use lockgate_tests::{Done, Project};

/// A pipeline whose output `out` goes to `to`.
fn pipeline(text: &str, to: &str, more: &str) -> String {
    format!(
        "schema = 1\nname = \"test\"\n[plugins]\nsay = {{ path = \"say.wasm\" }}\n[[stage]]\nid = \"a\"\nplugin = \"say\"\n\
         config = {{ text = \"{text}\", files = {{ \"x/y.txt\" = \"y\" }} }}\n[[export]]\nfrom = \"a.out\"\nto = \"{to}\"\n{more}"
    )
}

fn project(text: &str, to: &str, more: &str) -> Project {
    let project = Project::new();
    project.guest("say").file("pipeline.toml", pipeline(text, to, more));
    project
}

#[test]
fn blobs_and_trees_go_out_after_success() {
    let project = project("hello", "dist/deep/hello.txt", "[[export]]\nfrom = \"a.tree\"\nto = \"dist/tree\"\n");
    let done = project.run::<&str>([]).code(0);
    assert_eq!(project.read("dist/deep/hello.txt"), "hello");
    assert_eq!(project.read("dist/tree/x/y.txt"), "y");
    assert_eq!(done.events("exported").count(), 2, "{}", done.all());
    assert_eq!(done.events.last().unwrap()["event"], "run-finished");
    // Again, over what is there.
    project.file("dist/tree/old.txt", "old");
    project.file(
        "pipeline.toml",
        pipeline("again", "dist/deep/hello.txt", "[[export]]\nfrom = \"a.tree\"\nto = \"dist/tree\"\n"),
    );
    project.run::<&str>([]).code(0);
    assert_eq!(project.read("dist/deep/hello.txt"), "again");
    assert!(!project.has("dist/tree/old.txt"), "an exported tree is exactly its tree");
}

#[test]
fn a_failed_run_exports_nothing_and_leaves_what_was_there() {
    let project = project("new", "dist/a.txt", "[[stage]]\nid = \"b\"\nplugin = \"say\"\nconfig.fail = \"no\"\n");
    project.file("dist/a.txt", "old");
    project.run::<&str>([]).code(1);
    assert_eq!(project.read("dist/a.txt"), "old");
    project.assert_usable();
}

#[test]
fn an_export_of_a_skipped_node_is_no_failure_of_others() {
    let project = project("x", "a.txt", "");
    let text = project.read("pipeline.toml").replace("id = \"a\"", "id = \"a\"\nwhen = \"1 == 2\"");
    project.file("pipeline.toml", text);
    project.run::<&str>([]).code(0).node_is("a", "skipped");
    assert!(!project.has("a.txt"));
}

#[test]
fn exports_never_leave_the_root() {
    let outside = Project::new();
    let target = outside.join("x.txt");
    for to in ["../x.txt", "a/../../x.txt", target.to_str().unwrap()] {
        let project = project("x", to, "");
        for command in ["check", "run"] {
            let done = project.lockgate([command, "pipeline.toml"]);
            // An absolute path can only be judged where `--allow-export` can be given.
            let checked = command == "check" && to.starts_with('/') && done.exit == Some(0);
            // 3: it is well written, but nobody permitted it.
            let code = if to.starts_with('/') { 3 } else { 2 };
            assert!(checked || done.exit == Some(code), "{}", done.all());
            if !checked {
                done.says(to);
            }
        }
        project.assert_usable();
    }
    assert!(!target.exists());
}

#[test]
fn links_do_not_lead_exports_out_of_the_root() {
    let outside = Project::new();
    outside.file("x.txt", "untouched");
    let project = project("x", "dist/x.txt", "");
    symlink(outside.path(), project.join("dist")).unwrap();
    let done = project.run::<&str>([]);
    assert!(matches!(done.exit, Some(2 | 5)), "{}", done.all());
    done.says("dist");
    assert_eq!(outside.read("x.txt"), "untouched");
    // A link at the target itself is replaced or refused, never followed.
    fs::remove_file(project.join("dist")).unwrap();
    fs::create_dir(project.join("dist")).unwrap();
    symlink(outside.join("x.txt"), project.join("dist/x.txt")).unwrap();
    project.run::<&str>([]);
    assert_eq!(outside.read("x.txt"), "untouched");
    project.assert_usable();
}

#[test]
fn an_absolute_path_needs_permission() {
    let outside = Project::new();
    let dir = outside.path().canonicalize().unwrap();
    let project = project("x", dir.join("deep/x.txt").to_str().unwrap(), "");
    project.run(["--allow-export", dir.join("other").to_str().unwrap()]).code(3).says("--allow-export");
    assert!(!outside.has("deep"));
    project.run(["--allow-export", dir.to_str().unwrap()]).code(0);
    assert_eq!(outside.read("deep/x.txt"), "x");
}

#[test]
fn a_full_disk_loses_nothing() {
    // A file system of 64 KiB in a mount namespace of its own, where an archive of random bytes does not fit.
    let project = Project::with_pipeline(
        "[[stage]]\nid = \"a\"\nplugin = \"std:pack\"\nconfig.format = \"tar.gz\"\ninputs.src = { dir = \"src\" }\n\
         [[export]]\nfrom = \"a.archive\"\nto = \"dist/a.tar.gz\"\n",
    );
    project.file("src/noise.bin", noise(1 << 20)).file("dist/kept.txt", "kept");
    let full = |then: &str| {
        let script = format!(
            "mount -t tmpfs -o size=64k tmpfs dist && echo old > dist/a.tar.gz && {{ \"$0\" \"$@\"; code=$?; }}; {then}; exit $code"
        );
        let wrapper = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &script];
        finish(project.wrapped(&wrapper, ["run", "pipeline.toml", "--format", "json"]))
    };
    // After the failure: what was there before is still whole, and no half file lies beside it.
    let done: Done = full("cat dist/a.tar.gz >&2; ls -A dist | wc -l >&2");
    let done = done.code(5).node_is("a", "succeeded").says("old").says("dist/a.tar.gz");
    assert_eq!(done.events("export-failed").count(), 1, "{}", done.all());
    let done = done.says_any(&["No space left", "disk is full", "StorageFull", "no storage space"]);
    assert!(done.stderr.trim_end().ends_with('1'), "half a file was left: {}", done.all());
    // Nothing was lost: the same run on a disk with room exports.
    project.assert_usable();
    project.run::<&str>([]).code(0);
    assert!(project.bytes("dist/a.tar.gz").len() > 1 << 20);
    assert_eq!(project.read("dist/kept.txt"), "kept");
}

#[test]
fn a_full_disk_under_the_state_is_infrastructure() {
    let project = Project::with_pipeline(
        "[[stage]]\nid = \"a\"\nplugin = \"std:pack\"\nconfig.format = \"tar.gz\"\ninputs.src = { dir = \"src\" }\n",
    );
    project.file("src/noise.bin", noise(16 << 20));
    fs::create_dir(project.join("state")).unwrap();
    let script = "mount -t tmpfs -o size=12m tmpfs state && { \"$0\" \"$@\"; code=$?; }; \
                  rm -rf state/blobs; \"$0\" runs --state state >&2; echo \"then $?\" >&2; exit $code";
    let wrapper = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script];
    let done =
        finish(project.wrapped(&wrapper, ["run", "pipeline.toml", "--state", "state", "--format", "json"])).code(5);
    done.says_any(&["No space left", "disk is full", "StorageFull", "no storage space", "full"]).says("then 0");
}

#[test]
fn a_directory_that_may_not_be_written_is_named() {
    let project = project("x", "dist/x.txt", "");
    project.file("dist/x.txt", "old");
    fs::set_permissions(project.join("dist"), fs::Permissions::from_mode(0o555)).unwrap();
    let mut command = project.command(["run", "pipeline.toml"]);
    without_override(&mut command);
    finish(command).code(5).says("dist/x.txt").says("ermission denied");
    fs::set_permissions(project.join("dist"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(project.read("dist/x.txt"), "old");
    project.assert_usable();
}

#[test]
fn two_exports_to_one_place_are_a_mistake() {
    let project = project("x", "dist/x.txt", "[[export]]\nfrom = \"a.tree\"\nto = \"dist/x.txt\"\n");
    project.check().code(2).says("lockgate::duplicate-export");
}

#[test]
fn an_export_does_not_hit_the_state() {
    let project = project("x", ".lockgate/state.db", "");
    project.check().code(2).says("lockgate::path").says(".lockgate");
    project.assert_usable();
}

/// Bytes that no compression makes smaller: a xorshift generator, the same each time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(word).flatten().take(length).collect()
}
