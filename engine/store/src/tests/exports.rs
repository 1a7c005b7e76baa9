//! Exports: what arrives, what is replaced, what is refused.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use lockgate_model::artifact::{ArtifactKind, ArtifactRef, DirEntry, Directory, EntryKind};

use super::Fixture;
use crate::ExportError;

fn blob(fixture: &Fixture, content: &[u8]) -> ArtifactRef {
    let digest = fixture.store.put_blob(content).unwrap();
    ArtifactRef { kind: ArtifactKind::Blob, digest, size: content.len() as u64 }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_blob_replaces_a_file_and_makes_its_directories() {
    let fixture = Fixture::new();
    for content in [&b"one"[..], &[7; 3 << 20]] {
        let exported = fixture.store.export(&blob(&fixture, content), fixture.root(), "dist/deep/a.bin", &[]).unwrap();
        assert_eq!(exported.bytes, content.len() as u64);
        assert_eq!(exported.path, fixture.root().canonicalize().unwrap().join("dist/deep/a.bin"));
        assert_eq!(std::fs::read(&exported.path).unwrap(), content);
        assert_eq!(mode(&exported.path), 0o644);
        assert_eq!(names(exported.path.parent().unwrap()), ["a.bin"], "nothing else stays");
    }
}

#[test]
fn a_tree_replaces_a_whole_directory() {
    let fixture = Fixture::new();
    fixture.write("src/run", "x");
    fixture.write("src/below/file", "y");
    std::fs::create_dir(fixture.root().join("src/empty")).unwrap();
    std::fs::set_permissions(fixture.root().join("src/run"), PermissionsExt::from_mode(0o755)).unwrap();
    symlink("below/file", fixture.root().join("src/link")).unwrap();
    let tree = fixture.snapshot("src").unwrap();
    fixture.write("dist/out/old", "gone after it");
    let exported = fixture.store.export(&tree, fixture.root(), "dist/out", &[]).unwrap();
    assert_eq!(exported.bytes, 2);
    assert_eq!(names(&fixture.root().join("dist")), ["out"]);
    assert_eq!(names(&exported.path), ["below", "empty", "link", "run"]);
    assert_eq!(std::fs::read_link(exported.path.join("link")).unwrap(), Path::new("below/file"));
    assert_eq!(
        [mode(&exported.path), mode(&exported.path.join("run")), mode(&exported.path.join("below/file"))],
        [0o755, 0o755, 0o644]
    );
    assert_eq!(fixture.snapshot("dist/out").unwrap(), tree);
}

#[test]
fn nothing_leaves_the_root_unless_allowed() {
    let fixture = Fixture::new();
    let other = tempfile::tempdir().unwrap();
    let elsewhere = other.path().canonicalize().unwrap();
    symlink(&elsewhere, fixture.root().join("way-out")).unwrap();
    let blob = blob(&fixture, b"x");
    let export = |to: &str, allow: &[std::path::PathBuf]| fixture.store.export(&blob, fixture.root(), to, allow);
    let absolute = elsewhere.join("sub/file").display().to_string();
    for to in ["../x", "a/../../x", "way-out/x", "way-out/deep/x", "", absolute.as_str()] {
        let error = export(to, &[]).unwrap_err();
        let refused = matches!(error, ExportError::Outside(_) | ExportError::Protected { .. });
        assert!(refused, "{to}: {error:?}");
    }
    assert!(matches!(export(&absolute, &[elsewhere.join("su")]), Err(ExportError::Outside(_))), "whole names only");
    assert!(matches!(
        export(&format!("{}/../x", elsewhere.display()), std::slice::from_ref(&elsewhere)),
        Err(ExportError::Outside(_))
    ));
    assert_eq!(names(&elsewhere), Vec::<String>::new());
    assert_eq!(export(&absolute, std::slice::from_ref(&elsewhere)).unwrap().path, elsewhere.join("sub/file"));
    assert!(export(&absolute, &[elsewhere.join("sub/file")]).is_ok(), "allowed by its own name");
    // A link out of the allowed directory is no way either.
    symlink("/", elsewhere.join("sub/up")).unwrap();
    let up = elsewhere.join("sub/up/tmp/x").display().to_string();
    assert!(matches!(export(&up, &[elsewhere.join("sub")]), Err(ExportError::Outside(_))));
    // A link at the target's own place is replaced, not followed.
    symlink(elsewhere.join("sub/file"), fixture.root().join("link")).unwrap();
    let exported = export("link", &[]).unwrap();
    assert!(!exported.path.is_symlink());
}

#[test]
fn what_no_export_may_replace() {
    let fixture = Fixture::new();
    let file = blob(&fixture, b"x");
    let tree = fixture.store.put_directory(&Directory::default()).unwrap();
    let tree = ArtifactRef { kind: ArtifactKind::Tree, digest: tree, size: 0 };
    fixture.write("dir/x", "");
    fixture.write("file", "");
    fixture.write("repo/.git/config", "");
    let cases = [
        (&file, "dir"),
        (&file, ".git/hooks/pre-commit"),
        (&file, ".lockgate/state.db"),
        (&file, ".lockgate"),
        (&tree, "file"),
        (&tree, "."),
        (&tree, "repo"),
        (&tree, ".lockgate/blobs"),
    ];
    for (artifact, to) in cases {
        let error = fixture.store.export(artifact, fixture.root(), to, &[]).unwrap_err();
        assert!(matches!(error, ExportError::Protected { .. }), "{to}: {error:?}");
    }
    let root = fixture.root().canonicalize().unwrap();
    let parent = root.parent().unwrap().to_owned();
    let error = fixture.store.export(&tree, &root, root.to_str().unwrap(), &[parent]).unwrap_err();
    assert!(matches!(error, ExportError::Protected { .. }), "{error:?}");
    assert_eq!(names(&root.join("dir")), ["x"]);
}

#[test]
fn links_of_a_tree_that_leave_it_are_refused() {
    let fixture = Fixture::new();
    let link = |target: &str| {
        let digest = fixture.store.put_blob(target.as_bytes()).unwrap();
        DirEntry { name: "link".into(), kind: EntryKind::Symlink, digest, size: target.len() as u64 }
    };
    for target in ["../x", "/etc/passwd", ""] {
        let digest = fixture.store.put_directory(&Directory::new(vec![link(target)]).unwrap()).unwrap();
        let tree = ArtifactRef { kind: ArtifactKind::Tree, digest, size: 0 };
        let error = fixture.store.export(&tree, fixture.root(), "out", &[]).unwrap_err();
        assert!(matches!(&error, ExportError::Link { link, .. } if link == "link"), "{error:?}");
        assert_eq!(names(fixture.root()), [".lockgate"], "no part of it stays");
    }
}

#[test]
fn a_damaged_artifact_leaves_the_old_target() {
    let fixture = Fixture::new();
    let content = vec![1; 2 << 20];
    let blob = blob(&fixture, &content);
    let hex = blob.digest.hex();
    std::fs::write(fixture.store.dir().join("blobs").join(&hex[..2]).join(&hex), "damaged").unwrap();
    fixture.write("dist/a", "old");
    let error = fixture.store.export(&blob, fixture.root(), "dist/a", &[]).unwrap_err();
    assert!(error.to_string().contains(&hex), "{error}");
    assert_eq!(std::fs::read(fixture.root().join("dist/a")).unwrap(), b"old");
    assert_eq!(names(&fixture.root().join("dist")), ["a"]);
}
