//! Any tree: snapshot, walk, export and snapshot again give the same.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};

use lockgate_model::artifact::EntryKind;
use proptest::prelude::*;

use super::Fixture;

#[derive(Debug, Clone)]
enum Item {
    File(usize, u8, bool),
    Directory,
    Link(String),
}

fn items() -> impl Strategy<Value = BTreeMap<String, Item>> {
    let name = "[a-zA-Z0-9 ._äß-]{1,6}".prop_filter("no name", |name| name != "." && name != ".." && name != ".git");
    let path = prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
    let size = prop_oneof![0..100usize, Just(16 << 10), Just((16 << 10) + 1), Just(70_000)];
    let file =
        (size, any::<u8>(), any::<bool>()).prop_map(|(size, byte, executable)| Item::File(size, byte, executable));
    let item = prop_oneof![4 => file, 1 => Just(Item::Directory), 1 => "[a-z/]{1,8}".prop_map(Item::Link)];
    prop::collection::btree_map(path, item, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn trees_survive(items in items()) {
        let fixture = Fixture::new();
        let root = fixture.root().join("src");
        std::fs::create_dir(&root).unwrap();
        for (path, item) in &items {
            let path = root.join(path);
            // Where one item stands in the way of another, there is simply less.
            if std::fs::create_dir_all(path.parent().unwrap()).is_err() || path.symlink_metadata().is_ok() {
                continue;
            }
            match item {
                Item::File(size, byte, executable) => {
                    std::fs::write(&path, vec![*byte; *size]).unwrap();
                    std::fs::set_permissions(&path, PermissionsExt::from_mode(if *executable { 0o750 } else { 0o640 })).unwrap();
                }
                Item::Directory => std::fs::create_dir(&path).unwrap(),
                Item::Link(target) => {
                    let target = target.trim_start_matches('/');
                    symlink(if target.is_empty() { "x" } else { target }, &path).unwrap();
                }
            }
        }
        let mut spec = super::spec("src");
        spec.ignore = false;
        let tree = fixture.store.snapshot(fixture.root(), &spec, &[]).unwrap();
        let mut paths = Vec::new();
        let mut size = 0;
        for entry in fixture.store.walk(&tree.digest) {
            let (path, entry) = entry.unwrap();
            match entry.kind {
                EntryKind::File | EntryKind::Executable => {
                    let content = std::fs::read(root.join(&path)).unwrap();
                    prop_assert_eq!(&fixture.store.read_blob(&entry.digest, u64::MAX).unwrap(), &content);
                    size += entry.size;
                }
                EntryKind::Directory => prop_assert!(root.join(&path).is_dir()),
                EntryKind::Symlink => {
                    let target = std::fs::read_link(root.join(&path)).unwrap().into_os_string().into_string().unwrap();
                    prop_assert_eq!(fixture.store.read_blob(&entry.digest, 4096).unwrap(), target.into_bytes());
                }
            }
            paths.push(path);
        }
        prop_assert_eq!(size, tree.size);
        prop_assert!(paths.is_sorted());
        let exported = fixture.store.export(&tree, fixture.root(), "out", &[]).unwrap();
        prop_assert_eq!(exported.bytes, tree.size);
        spec.dir = "out".into();
        prop_assert_eq!(fixture.store.snapshot(fixture.root(), &spec, &[]).unwrap(), tree);
    }
}
