//! Snapshots: what is taken, what is left out, what is refused and how it is named.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::{Fixture, spec};
use crate::{Reason, SnapshotError};

/// The problems of a snapshot of `dir`, as `path: reason`.
fn problems(fixture: &Fixture, dir: &str) -> Vec<String> {
    match fixture.snapshot(dir) {
        Err(SnapshotError::Problems { problems, .. }) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn modes_are_normalised_times_dropped_and_empty_directories_kept() {
    let fixture = Fixture::new();
    fixture.write("src/b", "1");
    fixture.write("src/a/run.sh", "22");
    std::fs::create_dir(fixture.root().join("src/empty")).unwrap();
    symlink("a/run.sh", fixture.root().join("src/link")).unwrap();
    std::fs::set_permissions(fixture.root().join("src/a/run.sh"), PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::set_permissions(fixture.root().join("src/b"), PermissionsExt::from_mode(0o600)).unwrap();
    let tree = fixture.snapshot("src").unwrap();
    assert_eq!(fixture.paths(&tree), ["d a", "x a/run.sh", "f b", "d empty", "l link"]);
    assert_eq!(tree.size, 3);
    // Touched and with other rights: the same tree.
    std::fs::set_permissions(fixture.root().join("src/b"), PermissionsExt::from_mode(0o664)).unwrap();
    fixture.write("src/b", "1");
    assert_eq!(fixture.snapshot("src").unwrap(), tree);
    assert_eq!(fixture.snapshot("./src/").unwrap(), tree);
    assert_eq!(fixture.store.tree(&tree.digest).unwrap(), tree);
}

#[test]
fn the_state_directory_git_and_export_targets_are_left_out() {
    let fixture = Fixture::new();
    for path in ["a", ".git/config", "dist/old", "out.tar", "sub/.git/x", "sub/b"] {
        fixture.write(path, "");
    }
    let leave_out = [PathBuf::from("dist"), fixture.root().join("out.tar"), PathBuf::from("never/there")];
    let tree = fixture.store.snapshot(fixture.root(), &spec("."), &leave_out).unwrap();
    assert_eq!(fixture.paths(&tree), ["f a", "d sub", "f sub/b"]);
    let inside = fixture.store.snapshot(fixture.root(), &spec("dist"), &leave_out);
    assert!(matches!(inside, Err(SnapshotError::LeftOut(_))));
    assert!(matches!(fixture.snapshot(".lockgate/blobs"), Err(SnapshotError::LeftOut(_))));
}

#[test]
fn ignore_files_are_honoured_from_the_root_down() {
    let fixture = Fixture::new();
    fixture.write(".gitignore", "*.log\n/engine/target/\n!keep.log\n[\n");
    fixture.write("engine/.gitignore", "tmp/\n");
    fixture.write("engine/.lockgateignore", "!tmp/\nsecret\n");
    for path in
        ["a.log", "keep.log", "target/x", "tmp/x", "engine/b.log", "engine/target/x", "engine/tmp/y", "engine/secret"]
    {
        fixture.write(path, "");
    }
    let tree = fixture.snapshot(".").unwrap();
    let all = "f .gitignore|d engine|f engine/.gitignore|f engine/.lockgateignore|d engine/tmp|f engine/tmp/y|f keep.log|d target|f target/x|d tmp|f tmp/x";
    assert_eq!(fixture.paths(&tree).join("|"), all);
    let below = fixture.snapshot("engine").unwrap();
    assert_eq!(fixture.paths(&below), ["f .gitignore", "f .lockgateignore", "d tmp", "f tmp/y"]);
    let mut without = spec("engine");
    without.ignore = false;
    let without = fixture.store.snapshot(fixture.root(), &without, &[]).unwrap();
    assert!(fixture.paths(&without).contains(&"f b.log".to_owned()));
}

#[test]
fn globs_choose_and_drop_what_they_leave_empty() {
    let fixture = Fixture::new();
    for path in ["Cargo.toml", "engine/a.rs", "engine/deep/b.rs", "engine/deep/c.txt", "docs/x/y.md", "docs/z.md"] {
        fixture.write(path, "");
    }
    std::fs::create_dir_all(fixture.root().join("engine/empty")).unwrap();
    let take = |include: &[&str], exclude: &[&str]| {
        let mut spec = spec(".");
        spec.include = include.iter().map(ToString::to_string).collect();
        spec.exclude = exclude.iter().map(ToString::to_string).collect();
        let tree = fixture.store.snapshot(fixture.root(), &spec, &[]).unwrap();
        fixture.paths(&tree).join("|")
    };
    assert_eq!(
        take(&["engine/**", "Cargo.toml"], &[]),
        "f Cargo.toml|d engine|f engine/a.rs|d engine/deep|f engine/deep/b.rs|f engine/deep/c.txt|d engine/empty"
    );
    assert_eq!(take(&["engine"], &["engine/deep"]), "d engine|f engine/a.rs|d engine/empty");
    assert_eq!(take(&["**/*.rs"], &[]), "d engine|f engine/a.rs|d engine/deep|f engine/deep/b.rs");
    assert_eq!(take(&["docs/*"], &[]), "d docs|f docs/z.md", "`*` does not match `/`");
    assert_eq!(take(&["nothing/**"], &[]), "");
    assert_eq!(
        take(&[], &["**/*.rs", "docs/"]),
        "f Cargo.toml|d engine|d engine/deep|f engine/deep/c.txt|d engine/empty"
    );
    let mut wrong = spec(".");
    wrong.include = vec!["a[".into()];
    assert!(matches!(fixture.store.snapshot(fixture.root(), &wrong, &[]), Err(SnapshotError::Glob { .. })));
}

#[test]
fn a_directory_with_nothing_but_what_is_left_out_is_left_out_too() {
    let fixture = Fixture::new();
    fixture.write("a.rs", "");
    fixture.write(".gitignore", "*.o\n");
    std::fs::create_dir(fixture.root().join("empty")).unwrap();
    let take = || {
        let target = [PathBuf::from("dist/a.zip")];
        fixture.store.snapshot(fixture.root(), &spec("."), &target).unwrap().digest
    };
    let before = take();
    // The first export into a new directory, and what a build leaves behind.
    fixture.write("dist/a.zip", "exported");
    fixture.write("build/deep/a.o", "");
    assert_eq!(take(), before);
    fixture.write("dist/b.zip", "not ours");
    assert_ne!(take(), before);
}

#[test]
fn links_that_leave_are_refused_by_name_also_in_chains() {
    let fixture = Fixture::new();
    fixture.write("outside", "secret");
    fixture.write("src/a/b/file", "");
    let link = |target: &str, path: &str| symlink(target, fixture.root().join("src").join(path)).unwrap();
    link("b/file", "a/fine");
    link("../a", "a/also-fine");
    link("nowhere", "dangling");
    link("loop", "loop");
    assert!(fixture.snapshot("src").is_ok());
    link("../outside", "out");
    link("/etc/passwd", "absolute");
    assert_eq!(
        problems(&fixture, "src"),
        [
            "`absolute` is a link that leaves the directory: `/etc/passwd`",
            "`out` is a link that leaves the directory: `../outside`"
        ]
    );
    std::fs::remove_file(fixture.root().join("src/out")).unwrap();
    std::fs::remove_file(fixture.root().join("src/absolute")).unwrap();
    // Each inside by its text; together they lead out.
    link("../..", "a/b/up");
    link("a/b/up/../outside", "chain");
    assert_eq!(problems(&fixture, "src"), ["`chain` is a link that leaves the directory: `a/b/up/../outside`"]);
}

#[test]
fn a_directory_or_file_outside_of_the_root_is_refused() {
    let fixture = Fixture::new();
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("secret"), "").unwrap();
    symlink(other.path(), fixture.root().join("way-out")).unwrap();
    fixture.write("inside/x", "1");
    symlink("inside", fixture.root().join("alias")).unwrap();
    for dir in ["..", "way-out", "/etc", "inside/../.."] {
        assert!(matches!(fixture.snapshot(dir), Err(SnapshotError::Outside(_))), "{dir}: {:?}", fixture.snapshot(dir));
    }
    for path in ["../x", "way-out/secret", "/etc/passwd"] {
        let error = fixture.store.snapshot_file(fixture.root(), path).unwrap_err();
        assert!(matches!(error, SnapshotError::Outside(_)), "{path}: {error:?}");
    }
    assert_eq!(fixture.snapshot("alias").unwrap(), fixture.snapshot("inside").unwrap());
    assert_eq!(fixture.store.snapshot_file(fixture.root(), "alias/x").unwrap().size, 1);
    assert!(matches!(fixture.snapshot("absent"), Err(SnapshotError::NotFound(path)) if path == "absent"));
    assert!(matches!(fixture.snapshot("inside/x"), Err(SnapshotError::WrongKind { wanted: "directory", .. })));
    let error = fixture.store.snapshot_file(fixture.root(), "inside").unwrap_err();
    assert!(matches!(error, SnapshotError::WrongKind { wanted: "file", .. }));
}

#[test]
fn special_files_and_wrong_names_are_reported_together() {
    let fixture = Fixture::new();
    fixture.write("src/ok", "");
    let make = |name: &[u8]| fixture.root().join("src").join(OsStr::from_bytes(name));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        make(b"fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(make(b"socket")).unwrap();
    std::fs::write(make(b"bad\xff"), "").unwrap();
    std::fs::write(make(b"line\nbreak"), "").unwrap();
    let mut found = problems(&fixture, "src");
    found.sort();
    let expected = [
        "`bad\\xFF` has a name that is not UTF-8",
        "`fifo` is a named pipe",
        "`line\nbreak` has a line break in its name",
        "`socket` is a socket",
    ];
    assert_eq!(found, expected);
    // A named pipe given as a file does not block.
    let error = fixture.store.snapshot_file(fixture.root(), "src/fifo").unwrap_err();
    assert!(matches!(error, SnapshotError::WrongKind { .. }), "{error:?}");
    // Left out, they are no problem.
    let mut without = spec("src");
    without.include = vec!["ok".into()];
    assert!(fixture.store.snapshot(fixture.root(), &without, &[]).is_ok());
}

#[test]
fn twenty_problems_are_listed_and_the_rest_counted() {
    let fixture = Fixture::new();
    std::fs::create_dir(fixture.root().join("src")).unwrap();
    for number in 0..25 {
        symlink("/", fixture.root().join(format!("src/l{number:02}"))).unwrap();
    }
    let error = fixture.snapshot("src").unwrap_err();
    assert!(matches!(&error, SnapshotError::Problems { problems, more: 5, .. } if problems.len() == 20));
    assert!(error.to_string().ends_with("and 5 more"), "{error}");
}

#[test]
fn directories_nested_too_deep_are_reported() {
    let fixture = Fixture::new();
    std::fs::create_dir_all(fixture.root().join("src").join("d/".repeat(200))).unwrap();
    let found = problems(&fixture, "src");
    assert!(found.len() == 1 && found[0].contains("is nested deeper than 128"), "{found:?}");
}

#[test]
fn what_changes_while_it_is_read_is_named() {
    let fixture = Fixture::new();
    fixture.write("src/a", vec![b'x'; 100_000]);
    fixture.write("src/b", "1");
    let taken = |change: &mut dyn FnMut(&str)| {
        let result = fixture.store.snapshot_watched(fixture.root(), &spec("src"), &[], change);
        match result {
            Ok(_) => vec![],
            Err(SnapshotError::Problems { problems, .. }) => problems,
            Err(other) => panic!("{other:?}"),
        }
    };
    let named = |path: &str, problems: Vec<crate::SnapshotProblem>| {
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!((problem.path.as_str(), &problem.reason), (path, &Reason::Changed));
    };
    let path = |name: &str| fixture.root().join("src").join(name);
    // Grows, shrinks, is rewritten in place with the same length.
    named(
        "a",
        taken(&mut |at| {
            if at == "a" {
                fixture.write("src/a", vec![b'x'; 200_000])
            }
        }),
    );
    named(
        "a",
        taken(&mut |at| {
            if at == "a" {
                fixture.write("src/a", "short")
            }
        }),
    );
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    named(
        "a",
        taken(&mut |at| {
            if at == "a" {
                let file = std::fs::File::options().write(true).open(path("a")).unwrap();
                file.set_modified(later).unwrap();
            }
        }),
    );
    // Vanishes, is swapped for a link, another file appears: the directory is not what was listed.
    named(
        "b",
        taken(&mut |at| {
            if at == "a" {
                std::fs::remove_file(path("b")).unwrap()
            }
        })
        .into_iter()
        .take(1)
        .collect(),
    );
    fixture.write("src/b", "1");
    let swapped = taken(&mut |at| {
        if at == "a" {
            std::fs::remove_file(path("b")).unwrap();
            symlink("a", path("b")).unwrap();
        }
    });
    named("b", swapped.into_iter().take(1).collect());
    std::fs::remove_file(path("b")).unwrap();
    named(
        ".",
        taken(&mut |at| {
            if at == "a" {
                fixture.write("src/new", "1")
            }
        }),
    );
    // What is left out may come and go.
    fixture.write("src/.gitignore", "*.tmp\n");
    assert_eq!(
        taken(&mut |at| if at == "a" {
            fixture.write("src/x.tmp", "1")
        }),
        []
    );
}

#[test]
fn an_unreadable_file_is_named() {
    let fixture = Fixture::new();
    fixture.write("src/readable", "1");
    fixture.write("src/secret", "1");
    fixture.write("src/closed/x", "1");
    fixture.store.put_blob(&[0; 20_000]).unwrap();
    for (path, mode) in [("src/secret", 0), ("src/closed", 0), ("", 0o755), (".lockgate", 0o777)] {
        std::fs::set_permissions(fixture.root().join(path), PermissionsExt::from_mode(mode)).unwrap();
    }
    let found = match rustix::process::geteuid().is_root() {
        false => problems(&fixture, "src"),
        // Root reads everything; one thread without its rights does not.
        true => std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let nobody = rustix::process::Uid::from_raw(65_534);
                rustix::thread::set_thread_res_uid(None, nobody, None).unwrap();
                problems(&fixture, "src")
            });
            thread.join().unwrap()
        }),
    };
    std::fs::set_permissions(fixture.root().join("src/closed"), PermissionsExt::from_mode(0o755)).unwrap();
    let denied = "cannot be read: Permission denied (os error 13)";
    assert_eq!(found, [format!("`closed` {denied}"), format!("`secret` {denied}")]);
}

#[test]
fn what_differs_between_two_trees_is_named() {
    use crate::Change::{Added, Changed, Removed};
    let fixture = Fixture::new();
    for (path, content) in [("src/a", "a"), ("src/b/c", "c"), ("src/b/d", "d"), ("src/same/x", "x"), ("src/z", "z")] {
        fixture.write(path, content);
    }
    let before = fixture.snapshot("src").unwrap().digest;
    fixture.write("src/a", "A");
    fixture.write("src/b/c", "C");
    fixture.write("src/new/deep", "n");
    std::fs::remove_file(fixture.root().join("src/b/d")).unwrap();
    std::fs::remove_file(fixture.root().join("src/z")).unwrap();
    fixture.write("src/z/now-a-directory", "z");
    let after = fixture.snapshot("src").unwrap().digest;
    let found = fixture.store.changes(&before, &after, 100).unwrap();
    let named: Vec<_> = found.iter().map(|(path, change)| (path.as_str(), *change)).collect();
    assert_eq!(named, [("a", Changed), ("b/c", Changed), ("b/d", Removed), ("new", Added), ("z", Changed)]);
    assert_eq!(fixture.store.changes(&before, &after, 2).unwrap(), found[..2]);
    assert_eq!(fixture.store.changes(&after, &after, 9).unwrap(), []);
    assert_eq!(fixture.store.changes(&after, &before, 9).unwrap()[2], ("b/d".to_owned(), Added));
}
