//! `artifacts`, the part with trees: reading them lazily, directory by directory, and building them.

mod building;
mod cursor;

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use lockgate_model::Digest;
use lockgate_model::artifact::{
    ArtifactKind, ArtifactRef, DirEntry, EntryKind, MAX_PATH, check_path, link_stays_inside,
};
use wasmtime::component::{LinkerInstance, Resource};

pub(crate) use self::building::TreeFile;
use self::building::{Building, Item};
use self::cursor::Cursor;
use super::blobs::{Reader, Writer};
use super::{Answer, Context, broken_handle, claim_output, error, input, push, resource, short, sync};
use crate::bindings::artifacts::{Entry, Error};
use crate::schedule::{Call, PER_ENTRY};
use crate::state::{Output, State, Stop, charge, charge_bytes};

/// Most entries that one call answers.
const MAX_ENTRIES: u32 = 4096;

/// An input tree that is open.
pub(crate) struct Tree {
    root: Digest,
    /// Where the last listing ended: a guest that pages through N entries costs N steps in all.
    cursor: Option<Cursor>,
}

/// An output tree that is being built.
pub(crate) struct TreeBuilder {
    port: lockgate_model::PortName,
    building: Arc<Mutex<Building>>,
}

impl TreeBuilder {
    /// The tree so far. Nothing panics while it is locked, so a poisoned lock is as good as any.
    fn lock(&self) -> std::sync::MutexGuard<'_, Building> {
        self.building.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Links the trees' part of the interface.
pub(crate) fn link(artifacts: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    resource::<Tree>(artifacts, "tree", |_, _| ())?;
    resource::<TreeBuilder>(artifacts, "tree-builder", dropped)?;
    sync(artifacts, "open-tree", Call::Open, open_tree)?;
    sync(artifacts, "create-tree", Call::Open, create_tree)?;
    sync(artifacts, "[method]tree.entries", Call::Small, entries)?;
    sync(artifacts, "[method]tree.lookup", Call::Small, lookup)?;
    sync(artifacts, "[method]tree.open", Call::Open, open)?;
    sync(artifacts, "[method]tree-builder.file", Call::Open, file)?;
    sync(artifacts, "[method]tree-builder.copy", Call::Open, copy)?;
    sync(artifacts, "[method]tree-builder.symlink", Call::Open, symlink)?;
    sync(artifacts, "[method]tree-builder.directory", Call::Small, directory)?;
    sync(artifacts, "[method]tree-builder.finish", Call::Open, finish)
}

fn open_tree(store: &mut Context<'_>, (name,): (String,)) -> Answer<Resource<Tree>> {
    charge_bytes(store, name.len() as u64)?;
    let state = store.data_mut();
    match input(state, &name, ArtifactKind::Tree) {
        Ok((root, _)) => push(state, Tree { root, cursor: None }).map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

fn entries(store: &mut Context<'_>, (tree, start, max): (Resource<Tree>, u64, u32)) -> Result<Vec<Entry>, Stop> {
    let max = max.min(MAX_ENTRIES) as usize;
    let handle = store.data_mut().table.get_mut(&tree).map_err(broken_handle)?;
    let root = handle.root;
    let mut cursor = match handle.cursor.take() {
        Some(cursor) if cursor.position() == start => cursor,
        _ => {
            let mut cursor = Cursor::new(store.data_mut().directory(root)?);
            while cursor.position() < start {
                charge(store, PER_ENTRY)?;
                if cursor.next(store.data_mut())?.is_none() {
                    break;
                }
            }
            cursor
        }
    };
    let mut entries = Vec::new();
    while entries.len() < max {
        charge(store, PER_ENTRY)?;
        let Some((path, entry)) = cursor.next(store.data_mut())? else { break };
        let entry = show(store.data(), path, &entry)?;
        charge_bytes(store, entry_bytes(&entry))?;
        entries.push(entry);
    }
    store.data_mut().table.get_mut(&tree).map_err(broken_handle)?.cursor = Some(cursor);
    Ok(entries)
}

fn lookup(store: &mut Context<'_>, (tree, path): (Resource<Tree>, String)) -> Result<Option<Entry>, Stop> {
    charge_bytes(store, path.len() as u64)?;
    let root = store.data().table.get(&tree).map_err(broken_handle)?.root;
    let Some(found) = find(store, root, &path)? else { return Ok(None) };
    let entry = show(store.data(), path, &found)?;
    charge_bytes(store, entry_bytes(&entry))?;
    Ok(Some(entry))
}

fn open(store: &mut Context<'_>, (tree, path): (Resource<Tree>, String)) -> Answer<Resource<Reader>> {
    charge_bytes(store, path.len() as u64)?;
    let root = store.data().table.get(&tree).map_err(broken_handle)?.root;
    let Some(found) = find(store, root, &path)? else {
        return Ok(Err(error("no-such-path", format!("there is no `{}` in the tree", short(&path)))));
    };
    if !matches!(found.kind, EntryKind::File | EntryKind::Executable) {
        return Ok(Err(error("wrong-kind", format!("`{}` is a {}, not a file", short(&path), kind_name(found.kind)))));
    }
    let state = store.data_mut();
    let (source, size) =
        state.artifacts.open_blob(found.digest).map_err(|error| Stop::artifacts("open a file of an input", &error))?;
    push(state, Reader::new(source, size)).map(Ok)
}

/// The entry at a path; none where there is none, or the path is no path.
fn find(store: &mut Context<'_>, root: Digest, path: &str) -> Result<Option<DirEntry>, Stop> {
    if check_path(path).is_err() {
        return Ok(None);
    }
    let mut digest = root;
    let mut names = path.split('/').peekable();
    while let Some(name) = names.next() {
        charge(store, PER_ENTRY)?;
        let directory = store.data_mut().directory(digest)?;
        let entries = directory.entries();
        let Ok(at) = entries.binary_search_by(|entry| entry.name.as_bytes().cmp(name.as_bytes())) else {
            return Ok(None);
        };
        if names.peek().is_none() {
            return Ok(Some(entries[at].clone()));
        }
        if entries[at].kind != EntryKind::Directory {
            return Ok(None);
        }
        digest = entries[at].digest;
    }
    Ok(None)
}

/// An entry as the guest sees it.
fn show(state: &State, path: String, entry: &DirEntry) -> Result<Entry, Stop> {
    let is_file = matches!(entry.kind, EntryKind::File | EntryKind::Executable);
    let target = match entry.kind {
        EntryKind::Symlink => Some(link_target(state, entry)?),
        _ => None,
    };
    Ok(Entry {
        path,
        kind: kind_name(entry.kind).to_owned(),
        executable: entry.kind == EntryKind::Executable,
        size: if is_file { entry.size } else { 0 },
        digest: is_file.then(|| entry.digest.to_string()),
        target,
    })
}

fn entry_bytes(entry: &Entry) -> u64 {
    (entry.path.len() + entry.target.as_ref().map_or(0, String::len) + 100) as u64
}

const fn kind_name(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File | EntryKind::Executable => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symlink",
    }
}

/// Where a symbolic link of an input points to.
fn link_target(state: &State, entry: &DirEntry) -> Result<String, Stop> {
    let failed = |error| Stop::artifacts("read a symbolic link of an input", &error);
    let (source, _) = state.artifacts.open_blob(entry.digest).map_err(failed)?;
    let mut target = String::new();
    source.take(MAX_PATH as u64 + 1).read_to_string(&mut target).map_err(failed)?;
    Ok(target)
}

fn create_tree(store: &mut Context<'_>, (name,): (String,)) -> Answer<Resource<TreeBuilder>> {
    charge_bytes(store, name.len() as u64)?;
    let state = store.data_mut();
    match claim_output(state, &name, ArtifactKind::Tree) {
        Ok(port) => push(state, TreeBuilder { port, building: Arc::default() }).map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

/// The tree that a builder builds, if the path may be in it and the builder is not finished.
fn at(store: &Context<'_>, builder: &Resource<TreeBuilder>, path: &str) -> Answer<Arc<Mutex<Building>>> {
    let builder = store.data().table.get(builder).map_err(broken_handle)?;
    if builder.lock().is_closed() {
        return Ok(Err(error("closed", "the tree was finished already")));
    }
    Ok(match check_path(path) {
        Ok(()) => Ok(builder.building.clone()),
        Err(wrong) => Err(error("bad-path", format!("failed to {wrong}"))),
    })
}

/// Puts one item into a tree.
fn add(store: &mut Context<'_>, building: &Mutex<Building>, path: &str, item: Item) -> Answer<()> {
    let mut building = building.lock().unwrap_or_else(PoisonError::into_inner);
    building.put(store, path, item)
}

fn file(
    store: &mut Context<'_>,
    (builder, path, executable): (Resource<TreeBuilder>, String, bool),
) -> Answer<Resource<Writer>> {
    charge_bytes(store, path.len() as u64)?;
    let building = match at(store, &builder, &path)? {
        Ok(building) => building,
        Err(error) => return Ok(Err(error)),
    };
    let kind = if executable { EntryKind::Executable } else { EntryKind::File };
    if let Err(error) = add(store, &building, &path, Item::Open(kind))? {
        return Ok(Err(error));
    }
    Writer::for_tree(store.data_mut(), TreeFile { building, path }).map(Ok)
}

fn symlink(store: &mut Context<'_>, (builder, path, target): (Resource<TreeBuilder>, String, String)) -> Answer<()> {
    charge_bytes(store, (path.len() + target.len()) as u64)?;
    let building = match at(store, &builder, &path)? {
        Ok(building) => building,
        Err(error) => return Ok(Err(error)),
    };
    if !link_stays_inside(&path, &target) {
        let message = format!("a link at `{}` to `{}` would leave the tree", short(&path), short(&target));
        return Ok(Err(error("bad-path", message)));
    }
    let size = target.len() as u64;
    store.data_mut().write(size)?;
    let stored = store.data().artifacts.put_blob(target.as_bytes());
    let digest = stored.map_err(|error| Stop::artifacts("store an output", &error))?;
    add(store, &building, &path, Item::Leaf { kind: EntryKind::Symlink, digest, size })
}

fn directory(store: &mut Context<'_>, (builder, path): (Resource<TreeBuilder>, String)) -> Answer<()> {
    charge_bytes(store, path.len() as u64)?;
    match at(store, &builder, &path)? {
        Ok(building) => add(store, &building, &path, Item::Directory(Default::default())),
        Err(error) => Ok(Err(error)),
    }
}

fn copy(
    store: &mut Context<'_>,
    (builder, name, from, to): (Resource<TreeBuilder>, String, String, String),
) -> Answer<()> {
    charge_bytes(store, (name.len() + from.len() + to.len()) as u64)?;
    // Into the root itself goes any path that is a path.
    let building = match at(store, &builder, if to.is_empty() { "root" } else { &to })? {
        Ok(building) => building,
        Err(error) => return Ok(Err(error)),
    };
    let root = match input(store.data(), &name, ArtifactKind::Tree) {
        Ok((root, _)) => root,
        Err(error) => return Ok(Err(error)),
    };
    let found = match from.as_str() {
        "" => Some(DirEntry { name: String::new(), kind: EntryKind::Directory, digest: root, size: 0 }),
        path => find(store, root, path)?,
    };
    let Some(found) = found else {
        return Ok(Err(error(
            "no-such-path",
            format!("there is no `{}` in the input `{}`", short(&from), short(&name)),
        )));
    };
    if let Err(error) = measure(store, &found, &to)? {
        return Ok(Err(error));
    }
    match (to.is_empty(), found.kind) {
        (true, EntryKind::Directory) => {
            let directory = store.data_mut().directory(found.digest)?;
            let mut building = building.lock().unwrap_or_else(PoisonError::into_inner);
            for entry in directory.entries() {
                if let Err(error) = building.put(store, &entry.name, Item::stored(entry))? {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        }
        (true, _) => Ok(Err(error("bad-path", "a file needs a path to be copied to"))),
        (false, _) => add(store, &building, &to, Item::stored(&found)),
    }
}

/// Counts what is below an entry of an input that is copied to a path, and checks that it may be there: paths may become too
/// long or too deep, and links may leave the tree.
fn measure(store: &mut Context<'_>, entry: &DirEntry, to: &str) -> Answer<()> {
    let is_directory = entry.kind == EntryKind::Directory;
    let mut cursor = match is_directory {
        true => Some(Cursor::new(store.data_mut().directory(entry.digest)?)),
        false => None,
    };
    // The entry itself is counted where it is put.
    let mut next = (!is_directory).then(|| (String::new(), entry.clone()));
    loop {
        charge(store, PER_ENTRY)?;
        let (below, entry) = match (next.take(), &mut cursor) {
            (Some(first), _) => first,
            (None, Some(cursor)) => match cursor.next(store.data_mut())? {
                Some(next) => {
                    store.data_mut().add_entries(1)?;
                    next
                }
                None => return Ok(Ok(())),
            },
            (None, None) => return Ok(Ok(())),
        };
        let path = match (to.is_empty(), below.is_empty()) {
            (_, true) => to.to_owned(),
            (true, false) => below,
            (false, false) => format!("{to}/{below}"),
        };
        if let Err(wrong) = check_path(&path) {
            return Ok(Err(error("bad-path", format!("failed to {wrong}"))));
        }
        if entry.kind == EntryKind::Symlink {
            let target = link_target(store.data(), &entry)?;
            if !link_stays_inside(&path, &target) {
                let message = format!("the link to `{}` would leave the tree at `{}`", short(&target), short(&path));
                return Ok(Err(error("bad-path", message)));
            }
        }
    }
}

fn finish(store: &mut Context<'_>, (builder,): (Resource<TreeBuilder>,)) -> Answer<()> {
    let (port, building) = {
        let builder = store.data().table.get(&builder).map_err(broken_handle)?;
        (builder.port.clone(), builder.building.clone())
    };
    let mut building = building.lock().unwrap_or_else(PoisonError::into_inner);
    if building.is_closed() {
        return Ok(Err(error("closed", "the tree was finished already")));
    }
    let (digest, size) = building.finish(store)?;
    let artifact = ArtifactRef { kind: ArtifactKind::Tree, digest, size };
    store.data_mut().outputs.insert(port, Output::Done(artifact));
    Ok(Ok(()))
}

/// Leaves nothing behind of a tree that was not finished.
#[expect(clippy::needless_pass_by_value, reason = "what every `dropped` gets")]
fn dropped(state: &mut State, builder: TreeBuilder) {
    let mut building = builder.lock();
    if !building.is_closed() {
        building.close();
        state.outputs.remove(&builder.port);
    }
}

/// An error for a path that is taken.
fn duplicate(path: &str) -> Error {
    error("duplicate", format!("there is something at `{}` already", short(path)))
}
