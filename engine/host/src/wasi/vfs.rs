//! The files that a command sees: `/in/<name>` with its inputs, to be read; `/out`, from which its outputs are taken; `/tmp`, in
//! memory. Nothing of it is the host's: it is made of artifacts, directory by directory as it is looked at.
//!
//! Names are sorted by their bytes, times stand still unless the guest sets them, and a file's number depends on its path, or on when it
//! was made. A path never leaves the directory that it begins at, neither by `..` nor by a link; links of an input that would leave its
//! tree do not exist. Every entry counts to the node's limit of memory.

use std::collections::BTreeMap;
use std::io::Read as _;

use lockgate_model::Digest;
use lockgate_model::artifact::{ArtifactKind, DirEntry, EntryKind, MAX_DEPTH, MAX_PATH, is_entry_name};

use super::content::Content;
use super::types::{Datetime, DescriptorStat, DescriptorType, ErrorCode, MetadataHash, NewTimestamp};
use crate::schedule::{self, Call, PER_ENTRY};
use crate::state::{State, Stop};

/// Bytes of memory that an entry counts as, besides its name.
const ENTRY: u64 = 256;
/// Most links on the way of one path, as Linux has it.
const MAX_LINKS: usize = 40;
/// The time of every file that nobody gave another: 2000-01-01, the default of logical time.
const TIME: Datetime = Datetime { seconds: lockgate_model::key::DEFAULT_LOGICAL_TIME / 1000, nanoseconds: 0 };

/// Names a node of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id(usize);

/// The directory of everything.
pub(crate) const ROOT: Id = Id(0);

/// Which part of the file system something is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mount {
    /// The directories above the others.
    Root,
    In,
    Out,
    Tmp,
}

impl Mount {
    fn is_writable(self) -> bool {
        matches!(self, Self::Out | Self::Tmp)
    }
}

/// Why an operation gives nothing: the guest gets a code, or the call ends.
pub(crate) enum Fail {
    Code(ErrorCode),
    Stop(Stop),
}

impl From<ErrorCode> for Fail {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

impl From<Stop> for Fail {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// What an operation gives.
pub(crate) type Outcome<T> = Result<T, Fail>;

pub(crate) enum Kind {
    Directory {
        entries: BTreeMap<String, Id>,
        /// A directory of an input that nobody looked into yet.
        unread: Option<Digest>,
    },
    File {
        content: Content,
        executable: bool,
    },
    Link {
        target: Target,
        size: u64,
    },
}

pub(crate) enum Target {
    Text(String),
    Stored(Digest),
}

struct Node {
    kind: Kind,
    parent: Id,
    name: String,
    mount: Mount,
    /// Of what the guest made: how many it had made before.
    serial: Option<u64>,
    /// Descriptors and streams that hold it.
    open: u32,
    /// Whether it has no name any more.
    removed: bool,
    accessed: Datetime,
    modified: Datetime,
}

/// The file system of one call.
#[derive(Default)]
pub(crate) struct Vfs {
    nodes: Vec<Option<Node>>,
    free: Vec<usize>,
    made: u64,
}

/// What a path names.
pub(crate) struct Found {
    /// The directory that it is in, and its name there; none for a directory that is named by `.` or `..`.
    place: Option<(Id, String)>,
    /// What is there.
    node: Option<Id>,
    /// Whether the path ends with `/`, so that it names a directory.
    directory: bool,
}

impl Vfs {
    /// `/in`, `/out` and `/tmp`, with the inputs of the task.
    pub(crate) fn mounted(state: &mut State) -> Result<(), Stop> {
        state.wasi.vfs = Self::default();
        add(state, ROOT, "", Mount::Root, directory())?;
        let inside = add(state, ROOT, "in", Mount::Root, directory())?;
        add(state, ROOT, "out", Mount::Out, directory())?;
        add(state, ROOT, "tmp", Mount::Tmp, directory())?;
        for (name, input) in state.task.inputs.clone() {
            let kind = match input.kind {
                ArtifactKind::Blob => {
                    Kind::File { content: Content::stored(input.digest, input.size), executable: false }
                }
                ArtifactKind::Tree => Kind::Directory { entries: BTreeMap::new(), unread: Some(input.digest) },
            };
            add(state, inside, name.as_str(), Mount::In, kind)?;
        }
        Ok(())
    }

    /// Whether there is a file system at all.
    pub(crate) fn is_mounted(&self) -> bool {
        !self.nodes.is_empty()
    }

    fn node(&self, id: Id) -> Result<&Node, Stop> {
        self.nodes.get(id.0).and_then(Option::as_ref).ok_or_else(gone)
    }

    fn node_mut(&mut self, id: Id) -> Result<&mut Node, Stop> {
        self.nodes.get_mut(id.0).and_then(Option::as_mut).ok_or_else(gone)
    }

    pub(crate) fn kind(&self, id: Id) -> Result<&Kind, Stop> {
        Ok(&self.node(id)?.kind)
    }

    pub(crate) fn descriptor_type(&self, id: Id) -> Result<DescriptorType, Stop> {
        Ok(type_of(&self.node(id)?.kind))
    }

    /// The directory of this name below the root.
    pub(crate) fn top(&self, name: &str) -> Result<Id, Stop> {
        match &self.node(ROOT)?.kind {
            Kind::Directory { entries, .. } => entries.get(name).copied().ok_or_else(gone),
            Kind::File { .. } | Kind::Link { .. } => Err(gone()),
        }
    }
}

/// A node that the code around rules out.
fn gone() -> Stop {
    Stop::Infrastructure("failed to find a file that the guest has open".into())
}

fn directory() -> Kind {
    Kind::Directory { entries: BTreeMap::new(), unread: None }
}

fn type_of(kind: &Kind) -> DescriptorType {
    match kind {
        Kind::Directory { .. } => DescriptorType::Directory,
        Kind::File { .. } => DescriptorType::RegularFile,
        Kind::Link { .. } => DescriptorType::SymbolicLink,
    }
}

/// Puts a node into a directory; the root is its own.
fn add(state: &mut State, parent: Id, name: &str, mount: Mount, kind: Kind) -> Result<Id, Stop> {
    state.hold(ENTRY + name.len() as u64)?;
    let vfs = &mut state.wasi.vfs;
    let serial = (mount.is_writable()).then_some(vfs.made);
    vfs.made += u64::from(mount.is_writable());
    let node = Node {
        kind,
        parent,
        name: name.to_owned(),
        mount,
        serial,
        open: 0,
        removed: false,
        accessed: TIME,
        modified: TIME,
    };
    let id = match vfs.free.pop() {
        Some(at) => {
            vfs.nodes[at] = Some(node);
            Id(at)
        }
        None => {
            vfs.nodes.push(Some(node));
            Id(vfs.nodes.len() - 1)
        }
    };
    if id != ROOT {
        insert(state, parent, name, id)?;
    }
    Ok(id)
}

fn insert(state: &mut State, parent: Id, name: &str, id: Id) -> Result<(), Stop> {
    match &mut state.wasi.vfs.node_mut(parent)?.kind {
        Kind::Directory { entries, .. } => {
            entries.insert(name.to_owned(), id);
            Ok(())
        }
        Kind::File { .. } | Kind::Link { .. } => Err(gone()),
    }
}

/// Takes a node out of its directory; it is gone once nobody has it open.
fn detach(state: &mut State, id: Id) -> Result<(), Stop> {
    let node = state.wasi.vfs.node(id)?;
    let (parent, name) = (node.parent, node.name.clone());
    if let Kind::Directory { entries, .. } = &mut state.wasi.vfs.node_mut(parent)?.kind {
        entries.remove(&name);
    }
    let node = state.wasi.vfs.node_mut(id)?;
    node.removed = true;
    if node.open == 0 { free(state, id) } else { Ok(()) }
}

fn free(state: &mut State, id: Id) -> Result<(), Stop> {
    let Some(node) = state.wasi.vfs.nodes.get_mut(id.0).and_then(Option::take) else { return Ok(()) };
    state.wasi.vfs.free.push(id.0);
    state.usage.release(ENTRY + node.name.len() as u64);
    match node.kind {
        Kind::File { mut content, .. } => content.forget(state),
        Kind::Link { target: Target::Text(text), .. } => state.usage.release(text.len() as u64),
        Kind::Link { .. } | Kind::Directory { .. } => {}
    }
    Ok(())
}

/// Somebody holds a node.
pub(crate) fn hold(state: &mut State, id: Id) -> Result<(), Stop> {
    let node = state.wasi.vfs.node_mut(id)?;
    node.open += 1;
    Ok(())
}

/// Somebody lets a node go.
pub(crate) fn release(state: &mut State, id: Id) -> Result<(), Stop> {
    let node = state.wasi.vfs.node_mut(id)?;
    node.open = node.open.saturating_sub(1);
    if node.open > 0 {
        return Ok(());
    }
    if node.removed {
        return free(state, id);
    }
    with_content(state, id, |content, state, mount| content.settle(state, mount))
}

/// Does something with the content of a file; nothing with anything else.
fn with_content<T: Default>(
    state: &mut State,
    id: Id,
    work: impl FnOnce(&mut Content, &mut State, Mount) -> Result<T, Stop>,
) -> Result<T, Stop> {
    let node = state.wasi.vfs.node_mut(id)?;
    let mount = node.mount;
    let Kind::File { content, .. } = &mut node.kind else { return Ok(T::default()) };
    let mut taken = std::mem::take(content);
    let done = work(&mut taken, state, mount);
    if let Kind::File { content, .. } = &mut state.wasi.vfs.node_mut(id)?.kind {
        *content = taken;
    }
    done
}

/// Reads of a file.
pub(crate) fn read(state: &mut State, id: Id, offset: u64, max: u64) -> Outcome<Vec<u8>> {
    match state.wasi.vfs.kind(id)? {
        Kind::File { .. } => Ok(with_content(state, id, |content, state, _| content.read(state, offset, max))?),
        Kind::Directory { .. } => Err(ErrorCode::IsDirectory.into()),
        Kind::Link { .. } => Err(ErrorCode::Invalid.into()),
    }
}

/// Writes to a file; none: at its end. Where the next byte goes.
pub(crate) fn write(state: &mut State, id: Id, offset: Option<u64>, bytes: &[u8]) -> Outcome<u64> {
    let node = state.wasi.vfs.node(id)?;
    if !node.mount.is_writable() {
        return Err(ErrorCode::ReadOnly.into());
    }
    Ok(with_content(state, id, |content, state, mount| {
        let offset = offset.unwrap_or_else(|| content.size());
        content.write(state, mount, offset, bytes)?;
        Ok(offset.saturating_add(bytes.len() as u64))
    })?)
}

/// Cuts a file, or adds zeros.
pub(crate) fn resize(state: &mut State, id: Id, size: u64) -> Outcome<()> {
    let node = state.wasi.vfs.node(id)?;
    match (&node.kind, node.mount.is_writable()) {
        (Kind::Directory { .. }, _) => Err(ErrorCode::IsDirectory.into()),
        (_, false) => Err(ErrorCode::ReadOnly.into()),
        _ => Ok(with_content(state, id, |content, state, mount| content.resize(state, mount, size))?),
    }
}

/// Stores a file and gives its digest.
pub(crate) fn digest(state: &mut State, id: Id) -> Result<Digest, Stop> {
    let digest = with_content(state, id, |content, state, _| content.digest(state).map(Some))?;
    digest.ok_or_else(gone)
}

/// What is in a directory, read from its artifact the first time. Links that leave the tree never come into being.
fn list(state: &mut State, id: Id) -> Outcome<&BTreeMap<String, Id>> {
    let unread = match &mut state.wasi.vfs.node_mut(id)?.kind {
        Kind::Directory { unread, .. } => unread.take(),
        Kind::File { .. } | Kind::Link { .. } => return Err(ErrorCode::NotDirectory.into()),
    };
    if let Some(digest) = unread {
        state.spend(Call::Open.fuel())?;
        let directory = state.directory(digest)?;
        state.spend(PER_ENTRY.saturating_mul(directory.entries().len() as u64))?;
        for DirEntry { name, kind, digest, size } in directory.entries() {
            let kind = match kind {
                EntryKind::File => Kind::File { content: Content::stored(*digest, *size), executable: false },
                EntryKind::Executable => Kind::File { content: Content::stored(*digest, *size), executable: true },
                EntryKind::Directory => Kind::Directory { entries: BTreeMap::new(), unread: Some(*digest) },
                EntryKind::Symlink => Kind::Link { target: Target::Stored(*digest), size: *size },
            };
            add(state, id, name, Mount::In, kind)?;
        }
    }
    match &state.wasi.vfs.node(id)?.kind {
        Kind::Directory { entries, .. } => Ok(entries),
        Kind::File { .. } | Kind::Link { .. } => Err(ErrorCode::NotDirectory.into()),
    }
}

/// The first entry of a directory behind a name.
pub(crate) fn next(state: &mut State, id: Id, after: Option<&str>) -> Outcome<Option<(String, Id, DescriptorType)>> {
    use std::ops::Bound;
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let found = list(state, id)?.range::<str, _>((from, Bound::Unbounded)).next();
    let Some((name, id)) = found.map(|(name, id)| (name.clone(), *id)) else { return Ok(None) };
    Ok(Some((name, id, state.wasi.vfs.descriptor_type(id)?)))
}

/// Where a link points to.
pub(crate) fn target(state: &mut State, id: Id) -> Outcome<String> {
    let (digest, size) = match &state.wasi.vfs.node(id)?.kind {
        Kind::Link { target: Target::Text(text), .. } => {
            let text = text.clone();
            state.spend(schedule::moving(text.len() as u64))?;
            return Ok(text);
        }
        Kind::Link { target: Target::Stored(digest), size } => (*digest, *size),
        Kind::File { .. } | Kind::Directory { .. } => return Err(ErrorCode::Invalid.into()),
    };
    state.spend(Call::Open.fuel() + schedule::moving(size))?;
    let failed = |error| Stop::artifacts("read a symbolic link of an input", &error);
    let (source, _) = state.artifacts.open_blob(digest).map_err(failed)?;
    let mut text = String::new();
    source.take(MAX_PATH as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// Follows a path from a directory; the last name only if it is to be followed where it is a link.
pub(crate) fn resolve(state: &mut State, base: Id, path: &str, follow: bool) -> Outcome<Found> {
    state.spend(schedule::moving(path.len() as u64))?;
    if path.is_empty() {
        return Err(ErrorCode::NoEntry.into());
    }
    if path.len() > MAX_PATH {
        return Err(ErrorCode::NameTooLong.into());
    }
    if path.starts_with('/') {
        return Err(ErrorCode::NotPermitted.into());
    }
    let mut above = vec![base];
    let mut directory = path.ends_with('/');
    // What is still to be walked, the next name last.
    let mut rest: Vec<String> = path.split('/').rev().filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let mut links = 0;
    loop {
        let Some(name) = rest.pop() else {
            // The path ended in `.` or `..`, or was a link to such a thing.
            return Ok(Found { place: None, node: above.last().copied(), directory: true });
        };
        state.spend(PER_ENTRY)?;
        let here = above.last().copied().ok_or(ErrorCode::NotPermitted)?;
        match name.as_str() {
            "." => continue,
            ".." => {
                above.pop();
                if above.is_empty() {
                    return Err(ErrorCode::NotPermitted.into());
                }
                continue;
            }
            _ => {}
        }
        let found = list(state, here)?.get(&name).copied();
        let is_last = rest.is_empty();
        let Some(found) = found else {
            return match is_last {
                true => Ok(Found { place: Some((here, name)), node: None, directory }),
                false => Err(ErrorCode::NoEntry.into()),
            };
        };
        match state.wasi.vfs.kind(found)? {
            Kind::Link { .. } if !is_last || follow || directory => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(ErrorCode::Loop.into());
                }
                let target = target(state, found)?;
                if target.starts_with('/') {
                    return Err(ErrorCode::NotPermitted.into());
                }
                if rest.iter().map(|name| name.len() + 1).sum::<usize>() + target.len() > MAX_PATH {
                    return Err(ErrorCode::NameTooLong.into());
                }
                directory |= is_last && target.ends_with('/');
                rest.extend(target.split('/').rev().filter(|name| !name.is_empty()).map(str::to_owned));
            }
            Kind::Directory { .. } if !is_last => above.push(found),
            _ if is_last => {
                if directory && !matches!(state.wasi.vfs.kind(found)?, Kind::Directory { .. }) {
                    return Err(ErrorCode::NotDirectory.into());
                }
                return Ok(Found { place: Some((here, name)), node: Some(found), directory });
            }
            _ => return Err(ErrorCode::NotDirectory.into()),
        }
    }
}

impl Found {
    /// What is there.
    pub(crate) fn existing(&self) -> Outcome<Id> {
        self.node.ok_or_else(|| ErrorCode::NoEntry.into())
    }
}

/// The place for something new.
fn vacant<'f>(state: &State, found: &'f Found) -> Outcome<(Id, Mount, &'f str)> {
    let Some((parent, name)) = &found.place else { return Err(ErrorCode::Exist.into()) };
    let above = state.wasi.vfs.node(*parent)?;
    if !above.mount.is_writable() {
        return Err(ErrorCode::ReadOnly.into());
    }
    if found.node.is_some() {
        return Err(ErrorCode::Exist.into());
    }
    if above.removed {
        return Err(ErrorCode::NoEntry.into());
    }
    if !is_entry_name(name) {
        let long = name.len() > lockgate_model::artifact::MAX_ENTRY_NAME;
        return Err(if long { ErrorCode::NameTooLong } else { ErrorCode::IllegalByteSequence }.into());
    }
    if depth(state, *parent)? > MAX_DEPTH {
        return Err(ErrorCode::NameTooLong.into());
    }
    Ok((*parent, above.mount, name))
}

/// How many directories are above what is in a directory.
fn depth(state: &State, mut id: Id) -> Result<usize, Stop> {
    let mut depth = 0;
    while id != ROOT {
        id = state.wasi.vfs.node(id)?.parent;
        depth += 1;
    }
    Ok(depth)
}

/// Makes an empty file.
pub(crate) fn create_file(state: &mut State, found: &Found) -> Outcome<Id> {
    let (parent, mount, name) = vacant(state, found)?;
    if found.directory {
        return Err(ErrorCode::IsDirectory.into());
    }
    let name = name.to_owned();
    Ok(add(state, parent, &name, mount, Kind::File { content: Content::default(), executable: false })?)
}

/// Makes an empty directory.
pub(crate) fn create_directory(state: &mut State, found: &Found) -> Outcome<()> {
    let (parent, mount, name) = vacant(state, found)?;
    let name = name.to_owned();
    add(state, parent, &name, mount, directory())?;
    Ok(())
}

/// Makes a symbolic link.
pub(crate) fn create_link(state: &mut State, found: &Found, target: &str) -> Outcome<()> {
    let (parent, mount, name) = vacant(state, found)?;
    if target.is_empty() || target.contains(['\0', '\n', '\r']) {
        return Err(ErrorCode::Invalid.into());
    }
    if target.len() > MAX_PATH {
        return Err(ErrorCode::NameTooLong.into());
    }
    // As elsewhere in WASI: a path of the host means nothing here.
    if target.starts_with('/') {
        return Err(ErrorCode::NotPermitted.into());
    }
    let (name, size) = (name.to_owned(), target.len() as u64);
    state.hold(size)?;
    add(state, parent, &name, mount, Kind::Link { target: Target::Text(target.to_owned()), size })?;
    Ok(())
}

/// Whether what is there may be taken away: none of the mounts, nothing of an input.
fn removable(state: &State, found: &Found) -> Outcome<Id> {
    let id = found.existing()?;
    let Some((parent, _)) = &found.place else { return Err(ErrorCode::Invalid.into()) };
    match state.wasi.vfs.node(*parent)?.mount.is_writable() {
        true => Ok(id),
        false => Err(ErrorCode::ReadOnly.into()),
    }
}

/// Takes away a file or link.
pub(crate) fn unlink(state: &mut State, found: &Found) -> Outcome<()> {
    let id = removable(state, found)?;
    if matches!(state.wasi.vfs.kind(id)?, Kind::Directory { .. }) {
        return Err(ErrorCode::IsDirectory.into());
    }
    Ok(detach(state, id)?)
}

/// Takes away an empty directory.
pub(crate) fn remove_directory(state: &mut State, found: &Found) -> Outcome<()> {
    let id = removable(state, found)?;
    match state.wasi.vfs.kind(id)? {
        Kind::Directory { entries, .. } if entries.is_empty() => Ok(detach(state, id)?),
        Kind::Directory { .. } => Err(ErrorCode::NotEmpty.into()),
        Kind::File { .. } | Kind::Link { .. } => Err(ErrorCode::NotDirectory.into()),
    }
}

/// Gives something another name, in place of what has it.
pub(crate) fn rename(state: &mut State, from: &Found, to: &Found) -> Outcome<()> {
    let id = removable(state, from)?;
    let Some((parent, name)) = &to.place else { return Err(ErrorCode::Invalid.into()) };
    let (mount, into) = (state.wasi.vfs.node(id)?.mount, state.wasi.vfs.node(*parent)?.mount);
    if !into.is_writable() {
        return Err(ErrorCode::ReadOnly.into());
    }
    // `/tmp` is memory, `/out` is not: programs copy where they are told that these are two devices.
    if mount != into {
        return Err(ErrorCode::CrossDevice.into());
    }
    let mut above = *parent;
    while above != ROOT {
        if above == id {
            return Err(ErrorCode::Invalid.into());
        }
        above = state.wasi.vfs.node(above)?.parent;
    }
    let is_directory = matches!(state.wasi.vfs.kind(id)?, Kind::Directory { .. });
    match to.node {
        Some(there) if there == id => return Ok(()),
        Some(there) => match (state.wasi.vfs.kind(there)?, is_directory) {
            (Kind::Directory { entries, .. }, true) if entries.is_empty() => detach(state, there)?,
            (Kind::Directory { .. }, true) => return Err(ErrorCode::NotEmpty.into()),
            (Kind::Directory { .. }, false) => return Err(ErrorCode::IsDirectory.into()),
            (_, true) => return Err(ErrorCode::NotDirectory.into()),
            (_, false) => detach(state, there)?,
        },
        None => {
            vacant(state, to)?;
            if to.directory && !is_directory {
                return Err(ErrorCode::NotDirectory.into());
            }
        }
    }
    let node = state.wasi.vfs.node(id)?;
    let (old_parent, old_name) = (node.parent, node.name.clone());
    state.usage.release(old_name.len() as u64);
    state.hold(name.len() as u64)?;
    if let Kind::Directory { entries, .. } = &mut state.wasi.vfs.node_mut(old_parent)?.kind {
        entries.remove(&old_name);
    }
    let node = state.wasi.vfs.node_mut(id)?;
    node.parent = *parent;
    node.name.clone_from(name);
    Ok(insert(state, *parent, name, id)?)
}

/// What is known of a node.
pub(crate) fn stat(state: &State, id: Id) -> Result<DescriptorStat, Stop> {
    let node = state.wasi.vfs.node(id)?;
    let size = match &node.kind {
        Kind::Directory { .. } => 0,
        Kind::File { content, .. } => content.size(),
        Kind::Link { size, .. } => *size,
    };
    Ok(DescriptorStat {
        kind: type_of(&node.kind),
        link_count: u64::from(!node.removed),
        size,
        accessed: Some(node.accessed),
        modified: Some(node.modified),
        changed: Some(TIME),
    })
}

/// Sets the times of a node.
pub(crate) fn set_times(state: &mut State, id: Id, accessed: NewTimestamp, modified: NewTimestamp) -> Outcome<()> {
    let node = state.wasi.vfs.node_mut(id)?;
    if !node.mount.is_writable() {
        return Err(ErrorCode::ReadOnly.into());
    }
    for (time, new) in [(&mut node.accessed, accessed), (&mut node.modified, modified)] {
        match new {
            NewTimestamp::NoChange => {}
            // Times stand still.
            NewTimestamp::Now => *time = TIME,
            NewTimestamp::Timestamp(new) => *time = new,
        }
    }
    Ok(())
}

/// The number of a node, by which programs tell whether two paths are one file.
pub(crate) fn number(state: &State, id: Id) -> Result<MetadataHash, Stop> {
    let node = state.wasi.vfs.node(id)?;
    let name = match node.serial {
        Some(serial) => format!("made {serial}"),
        None => {
            let mut path = String::new();
            let mut at = id;
            while at != ROOT {
                let node = state.wasi.vfs.node(at)?;
                path = format!("/{}{path}", node.name);
                at = node.parent;
            }
            format!("at {path}")
        }
    };
    let hash = Digest::tagged("lockgate-inode-v1", name.as_bytes());
    let half = |at: usize| {
        let bytes = hash.as_bytes().get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        u64::from_le_bytes(bytes.unwrap_or_default())
    };
    Ok(MetadataHash { lower: half(0), upper: half(8) })
}

/// Whether a file may be written to.
pub(crate) fn is_writable(state: &State, id: Id) -> Result<bool, Stop> {
    Ok(state.wasi.vfs.node(id)?.mount.is_writable())
}
