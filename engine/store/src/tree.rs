//! Trees: directory objects under their tree digest, and walks over them that end whatever the tree says.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lockgate_model::Digest;
use lockgate_model::artifact::{
    ArtifactKind, ArtifactRef, DirEntry, Directory, EntryKind, MAX_DEPTH, MAX_PATH, TreeError,
};

use crate::pending::Space;
use crate::state::{Store, StoreError, lock};

/// Most entries of one tree: a large monorepo has a third of it.
pub const MAX_TREE_ENTRIES: u64 = 1_000_000;
/// Largest encoding of one directory: a million entries with names of the longest kind.
const MAX_OBJECT: u64 = 350 << 20;
/// Entries of directories kept in memory, about 10 MiB: what is walked twice is read once.
const CACHED_ENTRIES: usize = 65_536;

/// Directories read lately. Emptied when full: walks have no favourites that a cleverer order would keep.
#[derive(Default)]
pub(crate) struct DirectoryCache {
    known: HashMap<Digest, Arc<Directory>>,
    entries: usize,
}

impl DirectoryCache {
    fn insert(&mut self, digest: Digest, directory: Arc<Directory>) {
        let size = directory.entries().len() + 1;
        if size > CACHED_ENTRIES {
            return;
        }
        if self.entries + size > CACHED_ENTRIES {
            *self = Self::default();
        }
        if self.known.insert(digest, directory).is_none() {
            self.entries += size;
        }
    }
}

impl Store {
    /// Stores a directory object; its digest. What it names must be stored before a record names it.
    pub fn put_directory(&self, directory: &Directory) -> Result<Digest, StoreError> {
        self.put_object(Space::Tree, directory.encode().as_bytes())
    }

    /// Reads a directory object.
    pub fn directory(&self, digest: &Digest) -> Result<Arc<Directory>, StoreError> {
        if let Some(directory) = lock(&self.inner.directories).known.get(digest) {
            return Ok(directory.clone());
        }
        let directory = self.read_directory(digest)?;
        lock(&self.inner.directories).insert(*digest, directory.clone());
        Ok(directory)
    }

    /// Reads a directory object from where it is stored.
    pub(crate) fn read_directory(&self, digest: &Digest) -> Result<Arc<Directory>, StoreError> {
        let bytes = self.read_object((Space::Tree, *digest), MAX_OBJECT)?;
        let text = String::from_utf8(bytes).map_err(|_| StoreError::Damaged(*digest))?;
        let directory = Directory::decode(&text).map_err(|source| StoreError::Tree { digest: *digest, source })?;
        Ok(Arc::new(directory))
    }

    /// Walks a tree: each entry with its path, ordered by the bytes of the paths, a directory before what is in it. Ends with an
    /// error after a million entries, below 128 directories, or at a path longer than 4096 bytes.
    pub fn walk(&self, tree: &Digest) -> Walk {
        let start = Step { path: String::new(), depth: 0, what: What::Expand(*tree) };
        Walk { store: self.clone(), tree: *tree, steps: vec![start], entries: 0 }
    }

    /// The reference to a stored tree; its size is the sum of its files' sizes as its directories state them.
    pub fn tree(&self, digest: &Digest) -> Result<ArtifactRef, StoreError> {
        let (size, _) = self.measure(digest)?;
        Ok(ArtifactRef { kind: ArtifactKind::Tree, digest: *digest, size })
    }

    /// Bytes and entries of a tree that is neither too large nor nested too deep.
    pub(crate) fn measure(&self, digest: &Digest) -> Result<(u64, u64), StoreError> {
        let (size, entries) = self.measure_below(digest, 0, &mut HashMap::new())?;
        if entries > MAX_TREE_ENTRIES {
            return Err(StoreError::TreeTooLarge(*digest));
        }
        Ok((size, entries))
    }

    /// Bytes and entries. A directory that occurs many times is counted each time, but read once.
    fn measure_below(
        &self,
        digest: &Digest,
        depth: usize,
        known: &mut HashMap<Digest, (u64, u64)>,
    ) -> Result<(u64, u64), StoreError> {
        if let Some(found) = known.get(digest) {
            return Ok(*found);
        }
        if depth > MAX_DEPTH {
            return Err(StoreError::TreeTooLarge(*digest));
        }
        let (mut size, mut entries) = (0u64, 0u64);
        for entry in self.directory(digest)?.entries() {
            entries = entries.saturating_add(1);
            match entry.kind {
                EntryKind::File | EntryKind::Executable => size = size.saturating_add(entry.size),
                EntryKind::Symlink => {}
                EntryKind::Directory => {
                    let below = self.measure_below(&entry.digest, depth + 1, known)?;
                    size = size.saturating_add(below.0);
                    entries = entries.saturating_add(below.1);
                }
            }
        }
        known.insert(*digest, (size, entries));
        Ok((size, entries))
    }
}

/// Entries of a tree with their paths; made by [`Store::walk`].
pub struct Walk {
    store: Store,
    tree: Digest,
    /// What is still to do, the next last.
    steps: Vec<Step>,
    entries: u64,
}

struct Step {
    path: String,
    depth: usize,
    what: What,
}

enum What {
    Show(DirEntry),
    Expand(Digest),
}

impl Walk {
    /// Puts the entries of one directory on the stack. A directory is two steps, its entry at `name` and its content at `name/`:
    /// sorted by these keys, what comes out is sorted by whole paths (`a`, `a.b`, `a/x`).
    fn expand(&mut self, path: &str, depth: usize, digest: &Digest) -> Result<(), StoreError> {
        if depth > MAX_DEPTH {
            return Err(StoreError::TreeTooLarge(self.tree));
        }
        let directory = self.store.directory(digest)?;
        let mut steps = Vec::with_capacity(directory.entries().len());
        for entry in directory.entries() {
            let path = format!("{path}{}", entry.name);
            if path.len() > MAX_PATH {
                let reason = "it is longer than 4096 bytes";
                let source = TreeError::Path { path: path.chars().take(200).collect(), reason };
                return Err(StoreError::Tree { digest: self.tree, source });
            }
            if entry.kind == EntryKind::Directory {
                steps.push(Step { path: format!("{path}/"), depth: depth + 1, what: What::Expand(entry.digest) });
            }
            steps.push(Step { path, depth, what: What::Show(entry.clone()) });
        }
        steps.sort_by(|a, b| b.path.as_bytes().cmp(a.path.as_bytes()));
        self.steps.append(&mut steps);
        Ok(())
    }
}

impl Iterator for Walk {
    type Item = Result<(String, DirEntry), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(step) = self.steps.pop() {
            match step.what {
                What::Expand(digest) => {
                    if let Err(error) = self.expand(&step.path, step.depth, &digest) {
                        self.steps.clear();
                        return Some(Err(error));
                    }
                }
                What::Show(entry) => {
                    self.entries += 1;
                    if self.entries > MAX_TREE_ENTRIES {
                        self.steps.clear();
                        return Some(Err(StoreError::TreeTooLarge(self.tree)));
                    }
                    return Some(Ok((step.path, entry)));
                }
            }
        }
        None
    }
}

/// The first link of a tree that leaves it, when links on its way are followed too: `a -> b/../..` does, where `b` is a link
/// to a directory further up. `links` maps the paths of links to their targets.
pub(crate) fn leaving_link(links: &BTreeMap<String, String>) -> Option<&str> {
    links.iter().find(|(path, target)| leaves(path, target, links)).map(|(path, _)| path.as_str())
}

/// Links followed on one way at most, as Linux has it: a longer way leads nowhere, for any program.
const MAX_LINKS: usize = 40;

fn leaves(path: &str, target: &str, links: &BTreeMap<String, String>) -> bool {
    let mut at: Vec<String> = path.split('/').map(str::to_owned).collect();
    at.pop();
    let mut todo: Vec<String> = target.split('/').rev().map(str::to_owned).collect();
    let mut followed = 0;
    if target.starts_with('/') {
        return true;
    }
    while let Some(part) = todo.pop() {
        match part.as_str() {
            "" | "." => {}
            ".." if at.pop().is_none() => return true,
            ".." => {}
            _ => {
                at.push(part);
                if let Some(target) = links.get(&at.join("/")) {
                    followed += 1;
                    if followed > MAX_LINKS {
                        return false;
                    }
                    if target.starts_with('/') {
                        return true;
                    }
                    at.pop();
                    todo.extend(target.split('/').rev().map(str::to_owned));
                }
            }
        }
    }
    false
}
