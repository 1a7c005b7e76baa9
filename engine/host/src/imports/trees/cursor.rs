//! Walks a nested tree in the order of its full paths, reading one directory at a time.

use std::sync::Arc;

use lockgate_model::artifact::{DirEntry, Directory, EntryKind};

use crate::state::{State, Stop};

/// A place in a walk over all entries of a tree, sorted by the bytes of their paths.
///
/// That is not depth first: `a`, `a-b`, `a/x` is sorted, for `-` comes before `/`. So within a directory each subdirectory
/// stands twice, as itself and, under its name with `/` behind, as what is in it.
pub(crate) struct Cursor {
    levels: Vec<Level>,
    position: u64,
}

struct Level {
    directory: Arc<Directory>,
    /// Path of the directory, with `/` behind; empty for the root.
    prefix: String,
    /// Indexes of entries in order; the flag marks what is in a directory.
    order: Vec<(u32, bool)>,
    next: usize,
}

impl Level {
    fn new(directory: Arc<Directory>, prefix: String) -> Self {
        let entries = directory.entries();
        // A directory of more than 2^32 entries does not fit into memory.
        let mut order: Vec<_> = (0..).zip(entries).map(|(index, _)| (index, false)).collect();
        let subdirectories = (0..).zip(entries).filter(|(_, entry)| entry.kind == EntryKind::Directory);
        order.extend(subdirectories.map(|(index, _)| (index, true)));
        if order.len() > entries.len() {
            let key = |&(index, inside): &(u32, bool)| {
                let name = entries[index as usize].name.bytes();
                name.chain(inside.then_some(b'/'))
            };
            order.sort_by(|a, b| key(a).cmp(key(b)));
        }
        Self { directory, prefix, order, next: 0 }
    }
}

impl Cursor {
    /// At the first entry of a tree.
    pub(crate) fn new(root: Arc<Directory>) -> Self {
        Self { levels: vec![Level::new(root, String::new())], position: 0 }
    }

    /// How many entries are behind.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next entry with its path; none at the end.
    pub(crate) fn next(&mut self, state: &mut State) -> Result<Option<(String, DirEntry)>, Stop> {
        while let Some(level) = self.levels.last_mut() {
            let Some(&(index, inside)) = level.order.get(level.next) else {
                self.levels.pop();
                continue;
            };
            level.next += 1;
            let entry = &level.directory.entries()[index as usize];
            let path = format!("{}{}", level.prefix, entry.name);
            if !inside {
                self.position += 1;
                let entry = entry.clone();
                return Ok(Some((path, entry)));
            }
            let directory = state.directory(entry.digest)?;
            self.levels.push(Level::new(directory, path + "/"));
        }
        Ok(None)
    }
}
