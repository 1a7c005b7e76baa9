//! A tree while it is built: nested maps, of which copied directories stay what they are until something is put into them.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::sync::{Arc, Mutex, PoisonError};

use lockgate_model::Digest;
use lockgate_model::artifact::{DirEntry, Directory, EntryKind};

use super::super::{Answer, Context};
use super::duplicate;
use crate::schedule::PER_ENTRY;
use crate::state::{Stop, charge};

/// Entries of one directory by name.
pub(crate) type Entries = BTreeMap<String, Item>;

/// One entry.
pub(crate) enum Item {
    /// A file whose writer is not finished.
    Open(EntryKind),
    /// A file or link.
    Leaf {
        /// Never a directory.
        kind: EntryKind,
        /// Of its content.
        digest: Digest,
        /// Of its content.
        size: u64,
    },
    /// A directory that is stored already.
    Stored(Digest),
    /// A directory.
    Directory(Entries),
}

impl Item {
    /// An entry of an input.
    pub(crate) fn stored(entry: &DirEntry) -> Self {
        match entry.kind {
            EntryKind::Directory => Self::Stored(entry.digest),
            kind => Self::Leaf { kind, digest: entry.digest, size: entry.size },
        }
    }
}

/// A tree that is being built, shared by its builder and the writers of its files.
#[derive(Default)]
pub(crate) struct Building {
    root: Entries,
    closed: bool,
}

impl Building {
    /// Whether it was finished or given up.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Gives it up.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.root.clear();
    }

    /// Puts an item at a path, which was checked. Directories above come by themselves; a directory that is there may be
    /// put again.
    pub(crate) fn put(&mut self, store: &mut Context<'_>, path: &str, item: Item) -> Answer<()> {
        let (above, name) = path.rsplit_once('/').map_or((None, path), |(above, name)| (Some(above), name));
        let mut entries = &mut self.root;
        for name in above.into_iter().flat_map(|above| above.split('/')) {
            charge(store, PER_ENTRY)?;
            let below = match entries.entry(name.to_owned()) {
                btree_map::Entry::Vacant(vacant) => {
                    store.data_mut().add_entries(1)?;
                    vacant.insert(Item::Directory(Entries::new()))
                }
                btree_map::Entry::Occupied(occupied) => occupied.into_mut(),
            };
            open_up(store, below)?;
            entries = match below {
                Item::Directory(entries) => entries,
                _ => return Ok(Err(duplicate(path))),
            };
        }
        match entries.entry(name.to_owned()) {
            btree_map::Entry::Vacant(vacant) => {
                store.data_mut().add_entries(1)?;
                vacant.insert(item);
                Ok(Ok(()))
            }
            btree_map::Entry::Occupied(occupied) => match (occupied.get(), &item) {
                (Item::Directory(_) | Item::Stored(_), Item::Directory(new)) if new.is_empty() => Ok(Ok(())),
                _ => Ok(Err(duplicate(path))),
            },
        }
    }

    /// Stores all directories and gives the tree's digest and the bytes of its files. Files whose writers are not finished
    /// are not in it.
    pub(crate) fn finish(&mut self, store: &mut Context<'_>) -> Result<(Digest, u64), Stop> {
        let root = std::mem::take(&mut self.root);
        self.closed = true;
        store_entries(store, root)
    }

    fn at(&mut self, path: &str) -> Option<btree_map::OccupiedEntry<'_, String, Item>> {
        let (above, name) = path.rsplit_once('/').map_or((None, path), |(above, name)| (Some(above), name));
        let mut entries = &mut self.root;
        for name in above.into_iter().flat_map(|above| above.split('/')) {
            entries = match entries.get_mut(name)? {
                Item::Directory(entries) => entries,
                _ => return None,
            };
        }
        match entries.entry(name.to_owned()) {
            btree_map::Entry::Occupied(occupied) => Some(occupied),
            btree_map::Entry::Vacant(_) => None,
        }
    }
}

/// Makes a stored directory one that things can be put into.
fn open_up(store: &mut Context<'_>, item: &mut Item) -> Result<(), Stop> {
    if let Item::Stored(digest) = item {
        let directory = store.data_mut().directory(*digest)?;
        charge(store, PER_ENTRY.saturating_mul(directory.entries().len() as u64))?;
        let entries = directory.entries().iter().map(|entry| (entry.name.clone(), Item::stored(entry)));
        *item = Item::Directory(entries.collect());
    }
    Ok(())
}

/// Recursion as deep as paths may be: 128.
fn store_entries(store: &mut Context<'_>, entries: Entries) -> Result<(Digest, u64), Stop> {
    let mut list = Vec::with_capacity(entries.len());
    let mut total = 0_u64;
    for (name, item) in entries {
        charge(store, PER_ENTRY)?;
        let (kind, digest, size) = match item {
            Item::Open(_) => continue,
            Item::Leaf { kind, digest, size } => {
                if kind != EntryKind::Symlink {
                    total = total.saturating_add(size);
                }
                (kind, digest, size)
            }
            Item::Stored(digest) => {
                total = total.saturating_add(size_of(store, digest)?);
                (EntryKind::Directory, digest, 0)
            }
            Item::Directory(entries) => {
                let (digest, size) = store_entries(store, entries)?;
                total = total.saturating_add(size);
                (EntryKind::Directory, digest, 0)
            }
        };
        list.push(DirEntry { name, kind, digest, size });
    }
    let wrong = |error| Stop::Infrastructure(format!("failed to {error}"));
    let directory = Directory::new(list).map_err(wrong)?;
    let stored = store.data().artifacts.put_directory(&directory);
    let digest = stored.map_err(|error| Stop::artifacts("store a directory of an output", &error))?;
    Ok((digest, total))
}

/// Bytes of all files below a stored directory.
fn size_of(store: &mut Context<'_>, digest: Digest) -> Result<u64, Stop> {
    let directory = store.data_mut().directory(digest)?;
    let mut total = 0_u64;
    for entry in directory.entries() {
        charge(store, PER_ENTRY)?;
        let size = match entry.kind {
            EntryKind::Directory => size_of(store, entry.digest)?,
            EntryKind::File | EntryKind::Executable => entry.size,
            EntryKind::Symlink => 0,
        };
        total = total.saturating_add(size);
    }
    Ok(total)
}

/// The place of a file in a tree, for its writer.
pub(crate) struct TreeFile {
    pub(crate) building: Arc<Mutex<Building>>,
    pub(crate) path: String,
}

impl TreeFile {
    /// Whether its tree was finished.
    pub(crate) fn is_closed(&self) -> bool {
        self.building.lock().unwrap_or_else(PoisonError::into_inner).closed
    }

    /// The file's content is stored.
    pub(crate) fn fill(&self, digest: Digest, size: u64) {
        let mut building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut entry) = building.at(&self.path)
            && let Item::Open(kind) = *entry.get()
        {
            entry.insert(Item::Leaf { kind, digest, size });
        }
    }

    /// The file is given up: its path is free again.
    pub(crate) fn forget(&self) {
        let mut building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = building.at(&self.path)
            && matches!(entry.get(), Item::Open(_))
        {
            entry.remove();
        }
    }
}
