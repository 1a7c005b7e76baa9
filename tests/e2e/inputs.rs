//! Inputs that come from the host: what is missing, unreadable, of the wrong kind, outside of the root, or changing.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use lockgate_tests::project::{finish, without_override};
use lockgate_tests::{Done, Project};

const TREE: &str =
    "[[stage]]\nid = \"a\"\nplugin = \"std:pack\"\nconfig.format = \"tar.gz\"\ninputs.src = { dir = \"src\" }\n";

fn tree() -> Project {
    let project = Project::with_pipeline(TREE);
    project.file("src/a.txt", "a");
    project
}

/// Runs it and shows that the message names these, and that nothing was lost.
#[track_caller]
fn refused(project: &Project, code: i32, fragments: &[&str]) {
    let done = project.run::<&str>([]).code(code);
    fragments.iter().fold(done, |done, fragment| done.says(fragment));
    project.assert_usable();
}

#[test]
fn a_missing_directory_or_file_is_named() {
    let project = Project::with_pipeline(TREE);
    project.check().code(2).says("lockgate::source").says("src");
    refused(&project, 2, &["lockgate::source", "`src`", "pipeline.toml:7"]);
    project.pipeline("[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\ninputs.x = { file = \"x.json\" }\n");
    refused(&project, 2, &["lockgate::source", "`x.json`"]);
}

#[test]
fn a_file_is_no_directory_and_the_other_way_round() {
    let project = Project::with_pipeline(TREE);
    project.file("src", "a file");
    refused(&project, 2, &["`src`", "directory"]);
    project.file("x/y", "");
    project.pipeline("[[stage]]\nid = \"a\"\nplugin = \"std:noop\"\ninputs.x = { file = \"x\" }\n");
    refused(&project, 2, &["`x`", "file"]);
}

#[test]
fn an_unreadable_file_or_directory_is_named() {
    let project = tree();
    project.file("src/deep/secret.txt", "secret");
    let run = || {
        let mut command = project.command(["run", "pipeline.toml", "--format", "json"]);
        without_override(&mut command);
        finish(command)
    };
    run().code(0);
    let closed = |path: &str, mode| fs::set_permissions(project.join(path), fs::Permissions::from_mode(mode)).unwrap();
    closed("src/deep/secret.txt", 0o000);
    refused_with(run(), "secret.txt");
    closed("src/deep/secret.txt", 0o644);
    closed("src/deep", 0o000);
    refused_with(run(), "deep");
    closed("src/deep", 0o755);
    run().code(0);
    project.assert_usable();
}

#[track_caller]
fn refused_with(done: Done, name: &str) {
    assert!(matches!(done.exit, Some(2 | 5)), "{}", done.all());
    done.says(name).says_any(&["ermission denied", "not permitted"]);
}

#[test]
fn special_files_are_refused_by_name() {
    let project = tree();
    let socket = std::os::unix::net::UnixListener::bind(project.join("src/socket")).unwrap();
    refused(&project, 2, &["socket"]);
    drop(socket);
}

#[test]
fn a_name_that_is_not_utf8_is_reported() {
    let project = tree();
    fs::write(project.join("src").join(OsStr::from_bytes(b"caf\xe9.txt")), "x").unwrap();
    refused(&project, 2, &["caf", "UTF-8"]);
}

#[test]
fn links_do_not_leave_the_root() {
    let project = tree();
    let outside = Project::new();
    outside.file("secret.txt", "secret");
    for target in [outside.join("secret.txt").to_str().unwrap(), "../../secret.txt", "/etc/passwd"] {
        let _ = fs::remove_file(project.join("src/link"));
        symlink(target, project.join("src/link")).unwrap();
        refused(&project, 2, &["link"]);
    }
    // The directory itself may not be a way out, either.
    fs::remove_file(project.join("src/link")).unwrap();
    project.pipeline(&TREE.replace("dir = \"src\"", "dir = \"out\""));
    symlink(outside.path(), project.join("out")).unwrap();
    refused(&project, 2, &["out"]);
    for dir in ["..", "../x", "/etc"] {
        project.pipeline(&TREE.replace("dir = \"src\"", &format!("dir = \"{dir}\"")));
        project.check().code(2).says("lockgate::path").says(dir);
    }
}

#[test]
fn links_that_stay_inside_are_kept() {
    let project = tree();
    symlink("a.txt", project.join("src/link")).unwrap();
    project.pipeline(&format!("{TREE}[[export]]\nfrom = \"a.archive\"\nto = \"out.tar.gz\"\n"));
    project.run::<&str>([]).code(0);
    let listed = std::process::Command::new("tar").arg("tvzf").arg(project.join("out.tar.gz")).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("link -> a.txt"), "{listed:?}");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_reported() {
    let project = tree();
    // Large enough that hashing it lasts longer than some appends: the file changes as long as the engine looks at it.
    let path = project.join("src/growing.log");
    fs::File::create(&path).unwrap().set_len(256 << 20).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::File::options().append(true).open(&path).unwrap();
            while !over.load(Ordering::SeqCst) {
                file.write_all(b"more").unwrap();
            }
        });
        let done = project.run::<&str>([]);
        over.store(true, Ordering::SeqCst);
        assert!(matches!(done.exit, Some(2 | 5)), "{}", done.all());
        done.says("growing.log").says("changed");
    });
    fs::remove_file(&path).unwrap();
    project.run::<&str>([]).code(0);
    project.assert_usable();
}

#[test]
fn state_exports_and_ignored_files_are_left_out() {
    let project = Project::new();
    project.file("a.txt", "a").file(".gitignore", "*.tmp\n").file("b.tmp", "b");
    project.pipeline(
        "[[stage]]\nid = \"a\"\nplugin = \"std:pack\"\nconfig.format = \"tar.gz\"\ninputs.src = { dir = \".\" }\n\
         [[export]]\nfrom = \"a.archive\"\nto = \"out/all.tar.gz\"\n",
    );
    let first = project.run::<&str>([]).code(0);
    let again = project.run::<&str>([]).code(0);
    assert_eq!(first.digest(), again.digest(), "the first run's state or export came into the second one");
    let listed = std::process::Command::new("tar").arg("tzf").arg(project.join("out/all.tar.gz")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("a.txt") && !listed.contains("b.tmp") && !listed.contains(".lockgate"), "{listed}");
    project.pipeline(
        "[[stage]]\nid = \"a\"\nplugin = \"std:pack\"\nconfig.format = \"tar.gz\"\ninputs.src = { dir = \".\", ignore = false }\n",
    );
    assert_ne!(project.run::<&str>([]).code(0).output("a", "archive"), again.output("a", "archive"));
}

#[test]
fn globs_choose_what_is_taken() {
    let project = tree();
    project.file("src/b.md", "b").file("src/deep/c.txt", "c");
    let archive = |spec: &str| {
        project.pipeline(&TREE.replace("dir = \"src\"", &format!("dir = \"src\", {spec}")));
        project.run::<&str>([]).code(0).output("a", "archive").to_owned()
    };
    let all = archive("include = [\"**\"]");
    assert_ne!(all, archive("include = [\"*.md\"]"));
    assert_ne!(all, archive("exclude = [\"**/*.md\"]"));
    assert_eq!(archive("include = [\"**/*.txt\"]"), archive("exclude = [\"**/*.md\"]"));
}
