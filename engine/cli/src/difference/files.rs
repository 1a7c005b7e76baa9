//! Which files of two trees differ.

use lockgate_model::Digest;
use lockgate_store::{Change, Store};
use schemars::JsonSchema;
use serde::Serialize;

use crate::exit::one_line;

/// Paths of one tree that are counted, and of those the ones that are named.
const COUNTED: usize = 100_000;
const NAMED: usize = 1_000;

/// Which paths of two trees differ; a directory that only one of them has is one path. At most 1,000 are named.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Files {
    /// Paths that only the newer tree has.
    pub(crate) added: Vec<String>,
    /// Paths that only the older tree has.
    pub(crate) removed: Vec<String>,
    /// Paths whose content, mode or kind differs.
    pub(crate) changed: Vec<String>,
    /// How many there are in all, up to 100,000.
    pub(crate) count: u64,
    /// Why the trees could not be compared, if they could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl Files {
    /// The paths in which two trees differ.
    pub(crate) fn between(store: &Store, before: Digest, after: Digest) -> Self {
        let mut files = Self::default();
        match store.changes(&before, &after, COUNTED) {
            Ok(changes) => {
                files.count = changes.len() as u64;
                for (path, change) in changes.into_iter().take(NAMED) {
                    match change {
                        Change::Added => files.added.push(path),
                        Change::Removed => files.removed.push(path),
                        Change::Changed => files.changed.push(path),
                    }
                }
            }
            Err(error) => files.error = Some(one_line(&error)),
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use lockgate_model::artifact::{DirEntry, Directory, EntryKind};

    use super::super::tests::store;
    use super::*;

    fn tree(store: &Store, files: &[(&str, &str)]) -> Digest {
        let entry = |(name, content): &(&str, &str)| {
            let (digest, size) = (Digest::of(content.as_bytes()), content.len() as u64);
            DirEntry { name: (*name).into(), kind: EntryKind::File, digest, size }
        };
        store.put_directory(&Directory::new(files.iter().map(entry).collect()).unwrap()).unwrap()
    }

    #[test]
    fn paths_are_sorted_by_what_became_of_them() {
        let (_dir, store) = store();
        let before = tree(&store, &[("a", "1"), ("b", "1"), ("same", "1")]);
        let after = tree(&store, &[("a", "2"), ("c", "1"), ("same", "1")]);
        let files = Files::between(&store, before, after);
        assert_eq!((files.changed, files.added, files.removed), (vec!["a".into()], vec!["c".into()], vec!["b".into()]));
        assert_eq!((files.count, files.error), (3, None));
        assert_eq!(Files::between(&store, after, after), Files::default());
    }

    #[test]
    fn a_tree_that_is_gone_is_said_to_be() {
        let (_dir, store) = store();
        let here = tree(&store, &[("x", "1")]);
        assert!(Files::between(&store, here, Digest::of(b"nowhere")).error.is_some());
    }
}
