//! A disk that runs full, and one whose power is cut: it keeps what was done since each file and directory was last synced, and
//! makes a directory as a crash could leave it.
//!
//! What was synced is there. Of an unsynced file any beginning is, or zeros in place of bytes. Of unsynced names each change
//! happened or did not, by itself, in whatever order; a change that concerns two names happened to both. SQLite's files are as
//! they are at that moment: its transactions are durable when they return.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rustix::fs::Mode;

use crate::disk::{At, Disk, RealDisk};
use crate::state::lock;

/// SQLite's files.
const DATABASE: [&str; 2] = ["state.db", "state.db-wal"];
/// What a device writes at once.
const SECTOR: usize = 512;

/// Numbers without end, of a seed: splitmix64.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One below `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % (end as u64).max(1)) as usize
    }

    pub fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

/// Which changes fail for want of space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Never,
    /// The one with this number, from 0.
    Once(usize),
    /// All from this one on, but those that remove something.
    From(usize),
}

/// A file, link or directory since it was made; its number outlives its inode's.
type Id = usize;

#[derive(Debug, Clone)]
enum Node {
    File { bytes: Vec<u8>, mode: u32, modified: SystemTime },
    Link(PathBuf),
    Directory { names: BTreeMap<OsString, Id>, mode: u32 },
}

/// One change, as far as it happened.
#[derive(Debug, Clone)]
enum Change {
    /// What stands under these names afterwards; all at once.
    Names(Vec<(Id, OsString, Option<Id>)>),
    Write(Id, Vec<u8>),
    Mode(Id, u32),
    Modified(Id, SystemTime),
    Sync(Id),
    SyncAll,
}

#[derive(Debug)]
struct State {
    full: Full,
    /// Changes that were asked for.
    asked: usize,
    nodes: Vec<Node>,
    ids: HashMap<(u64, u64), Id>,
    changes: Vec<Change>,
    /// SQLite's files before each change: numbers in `databases`.
    at: Vec<usize>,
    databases: Vec<[Option<Arc<[u8]>>; 2]>,
}

/// Stands over a directory of the real disk.
#[derive(Debug)]
pub struct FaultyDisk {
    root: PathBuf,
    state_dir: PathBuf,
    /// Whether SQLite's files are kept, to be cut: not where the disk runs full.
    keeps: bool,
    state: Mutex<State>,
}

impl FaultyDisk {
    /// Over what is in `root` now, all of it durable.
    pub fn new(root: &Path, state_dir: &Path, full: Full) -> Arc<Self> {
        let mut state = State {
            full,
            asked: 0,
            nodes: Vec::new(),
            ids: HashMap::new(),
            changes: Vec::new(),
            at: Vec::new(),
            databases: vec![[None, None]],
        };
        state.take_in(root);
        Arc::new(Self {
            root: root.to_owned(),
            state_dir: state_dir.to_owned(),
            keeps: full == Full::Never,
            state: Mutex::new(state),
        })
    }

    /// From now on there is room.
    pub fn make_room(&self) {
        lock(&self.state).full = Full::Never;
    }

    /// How many changes were asked for.
    pub fn asked(&self) -> usize {
        lock(&self.state).asked
    }

    /// How many changes happened.
    pub fn changes(&self) -> usize {
        lock(&self.state).changes.len()
    }

    /// Counts a change and looks at SQLite's files before it.
    fn begin(&self, removes: bool) -> io::Result<std::sync::MutexGuard<'_, State>> {
        let mut state = lock(&self.state);
        let number = state.asked;
        state.asked += 1;
        self.look(&mut state);
        let fails = match state.full {
            Full::Never => false,
            Full::Once(at) => number == at,
            Full::From(at) => number >= at && !removes,
        };
        if fails { Err(rustix::io::Errno::NOSPC.into()) } else { Ok(state) }
    }

    fn look(&self, state: &mut State) {
        if !self.keeps {
            return;
        }
        let now = DATABASE.map(|name| fs::read(self.state_dir.join(name)).ok());
        let last = &state.databases[state.databases.len() - 1];
        if last.iter().zip(&now).any(|(last, now)| last.as_deref() != now.as_deref()) {
            state.databases.push(now.map(|bytes| bytes.map(Into::into)));
        }
    }

    /// Makes in `to` what is left when the power goes before change number `at`; `early`: before what SQLite did last before it.
    pub fn cut(&self, at: usize, early: bool, random: &mut Random, to: &Path) {
        let mut state = lock(&self.state);
        self.look(&mut state);
        let database = match early {
            true => state.at[at - 1],
            false => state.at.get(at).copied().unwrap_or(state.databases.len() - 1),
        };
        let nodes = state.left(at, random);
        materialise(&nodes, 0, to);
        let dir = to.join(self.state_dir.strip_prefix(&self.root).unwrap());
        if dir.is_dir() {
            for (name, bytes) in DATABASE.iter().zip(&state.databases[database]) {
                if let Some(bytes) = bytes {
                    fs::write(dir.join(name), bytes).unwrap();
                }
            }
        }
    }

    /// Whether SQLite wrote something between change number `at` and the one before.
    pub fn commits_before(&self, at: usize) -> bool {
        let state = lock(&self.state);
        at > 0 && state.at.get(at).copied().unwrap_or(state.databases.len() - 1) != state.at[at - 1]
    }
}

impl State {
    /// Takes in what is there already.
    fn take_in(&mut self, path: &Path) -> Id {
        let found = fs::symlink_metadata(path).unwrap();
        let id = self.nodes.len();
        self.ids.insert((found.dev(), found.ino()), id);
        self.nodes.push(Node::Link(PathBuf::new()));
        self.nodes[id] = if found.is_dir() {
            let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
            let names = entries.map(|entry| (entry.file_name(), self.take_in(&entry.path()))).collect();
            Node::Directory { names, mode: found.mode() }
        } else if found.is_symlink() {
            Node::Link(fs::read_link(path).unwrap())
        } else {
            let (bytes, modified) = (fs::read(path).unwrap(), found.modified().unwrap());
            Node::File { bytes, mode: found.mode(), modified }
        };
        id
    }

    fn id_of(&self, found: &rustix::fs::Stat) -> Id {
        let key = (found.st_dev, found.st_ino);
        self.ids.get(&key).copied().unwrap_or_else(|| panic!("an inode that nobody made: {key:?}"))
    }

    fn file(&self, file: &File) -> Id {
        self.id_of(&rustix::fs::fstat(file).unwrap())
    }

    /// The directory and the name of a place.
    fn name(&self, at: &At<'_>) -> (Id, OsString) {
        let (dir, path) = at.parts();
        let name = path.file_name().unwrap().to_owned();
        let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        (self.id_of(&rustix::fs::statat(dir, parent, rustix::fs::AtFlags::empty()).unwrap()), name)
    }

    /// What is at a place now.
    fn there(&self, at: &At<'_>) -> Id {
        let (dir, path) = at.parts();
        self.id_of(&rustix::fs::statat(dir, path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap())
    }

    /// Takes in what was made at a place just now.
    fn made(&mut self, at: &At<'_>, node: Node) {
        let (dir, path) = at.parts();
        let found = rustix::fs::statat(dir, path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
        let id = self.nodes.len();
        self.nodes.push(node);
        self.ids.insert((found.st_dev, found.st_ino), id);
        let (dir, name) = self.name(at);
        self.happened(Change::Names(vec![(dir, name, Some(id))]));
    }

    fn happened(&mut self, change: Change) {
        self.at.push(self.databases.len() - 1);
        self.changes.push(change);
    }

    /// Removes everything below a directory, what is in it first.
    fn emptied(&mut self, path: &Path, id: Id) {
        for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
            let found = fs::symlink_metadata(entry.path()).unwrap();
            if found.is_dir() {
                let below = self.ids[&(found.dev(), found.ino())];
                self.emptied(&entry.path(), below);
            }
            self.happened(Change::Names(vec![(id, entry.file_name(), None)]));
        }
    }

    /// What of the first `end` changes a crash leaves.
    fn left(&self, end: usize, random: &mut Random) -> Vec<Node> {
        let mut durable = vec![false; end];
        let (mut synced, mut all) = (HashSet::new(), false);
        for (number, change) in self.changes[..end].iter().enumerate().rev() {
            durable[number] = all
                || match change {
                    Change::Names(names) => names.iter().any(|(dir, ..)| synced.contains(dir)),
                    Change::Write(id, _) | Change::Mode(id, _) | Change::Modified(id, _) => synced.contains(id),
                    Change::Sync(_) | Change::SyncAll => true,
                };
            match change {
                Change::Sync(id) => drop(synced.insert(*id)),
                Change::SyncAll => all = true,
                _ => {}
            }
        }
        let mut nodes = self.nodes.clone();
        let mut torn: BTreeMap<Id, usize> = BTreeMap::new();
        // Crashes that lose all or nothing are as likely as mixtures.
        let happens = [0, 50, 50, 95, 100][random.below(5)];
        for (change, durable) in self.changes[..end].iter().zip(durable) {
            let mut happened = || durable || random.below(100) < happens;
            match change {
                Change::Names(names) => {
                    if happened() {
                        names.iter().for_each(|(dir, name, id)| set_name(&mut nodes[*dir], name, *id));
                    }
                }
                Change::Write(id, more) => {
                    let Node::File { bytes, .. } = &mut nodes[*id] else { panic!("no file was written to") };
                    if !durable {
                        torn.entry(*id).or_insert(bytes.len());
                    }
                    bytes.extend_from_slice(more);
                }
                Change::Mode(id, new) => {
                    if happened()
                        && let Node::File { mode, .. } | Node::Directory { mode, .. } = &mut nodes[*id]
                    {
                        *mode = *new;
                    }
                }
                Change::Modified(id, new) => {
                    if happened()
                        && let Node::File { modified, .. } = &mut nodes[*id]
                    {
                        *modified = *new;
                    }
                }
                Change::Sync(_) | Change::SyncAll => {}
            }
        }
        for (id, synced) in torn {
            if let Node::File { bytes, .. } = &mut nodes[id] {
                tear(bytes, synced, random);
            }
        }
        nodes
    }
}

fn set_name(node: &mut Node, name: &OsString, id: Option<Id>) {
    let Node::Directory { names, .. } = node else { panic!("`{}` is in no directory", name.display()) };
    match id {
        Some(id) => drop(names.insert(name.clone(), id)),
        None => drop(names.remove(name)),
    }
}

/// Does to bytes behind `synced` what a crash may do.
fn tear(bytes: &mut Vec<u8>, synced: usize, random: &mut Random) {
    let unsynced = bytes.len() - synced;
    match random.below(5) {
        0 => bytes.truncate(synced),
        1 => bytes.truncate(synced + random.below(unsynced + 1)),
        2 => {
            let from = synced + random.below(unsynced + 1);
            bytes[from..].fill(0);
        }
        3 => {
            for sector in bytes[synced..].chunks_mut(SECTOR) {
                if random.coin() {
                    sector.fill(0);
                }
            }
        }
        _ => {}
    }
}

fn materialise(nodes: &[Node], id: Id, path: &Path) {
    match &nodes[id] {
        Node::Directory { names, mode } => {
            fs::create_dir_all(path).unwrap();
            names.iter().for_each(|(name, id)| materialise(nodes, *id, &path.join(name)));
            fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o700)).unwrap();
        }
        Node::Link(target) => std::os::unix::fs::symlink(target, path).unwrap(),
        Node::File { bytes, mode, modified } => {
            fs::write(path, bytes).unwrap();
            let file = File::options().append(true).open(path).unwrap();
            file.set_modified(*modified).unwrap();
            file.set_permissions(fs::Permissions::from_mode(*mode)).unwrap();
        }
    }
}

/// A time that no finished file has.
fn unsealed() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

impl Disk for FaultyDisk {
    fn create(&self, at: At<'_>, mode: Mode) -> io::Result<File> {
        let mut state = self.begin(false)?;
        let file = RealDisk.create(at, mode)?;
        state.made(&at, Node::File { bytes: Vec::new(), mode: 0o600, modified: unsealed() });
        Ok(file)
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let begun = self.begin(false).map(drop);
        // What fits is written.
        let taken = if begun.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        RealDisk.write(file, taken)?;
        let mut state = lock(&self.state);
        let id = state.file(file);
        state.happened(Change::Write(id, taken.to_owned()));
        begun
    }

    fn set_mode(&self, file: &File, mode: u32) -> io::Result<()> {
        let mut state = self.begin(false)?;
        RealDisk.set_mode(file, mode)?;
        let id = state.file(file);
        state.happened(Change::Mode(id, mode));
        Ok(())
    }

    fn set_modified(&self, file: &File, time: SystemTime) -> io::Result<()> {
        let mut state = self.begin(false)?;
        RealDisk.set_modified(file, time)?;
        let id = state.file(file);
        state.happened(Change::Modified(id, time));
        Ok(())
    }

    /// Costs nothing: what it means stands in the list of changes.
    fn sync(&self, file: &File) -> io::Result<()> {
        let mut state = self.begin(false)?;
        let id = state.file(file);
        state.happened(Change::Sync(id));
        Ok(())
    }

    fn sync_all(&self, _: &File) -> io::Result<()> {
        self.begin(false)?.happened(Change::SyncAll);
        Ok(())
    }

    fn create_dir(&self, at: At<'_>, mode: Mode) -> io::Result<()> {
        let mut state = self.begin(false)?;
        RealDisk.create_dir(at, mode)?;
        state.made(&at, Node::Directory { names: BTreeMap::new(), mode: 0o700 });
        Ok(())
    }

    fn symlink(&self, target: &str, at: At<'_>) -> io::Result<()> {
        let mut state = self.begin(false)?;
        RealDisk.symlink(target, at)?;
        state.made(&at, Node::Link(target.into()));
        Ok(())
    }

    fn rename(&self, from: At<'_>, to: At<'_>) -> io::Result<()> {
        let mut state = self.begin(false)?;
        RealDisk.rename(from, to)?;
        let (id, (old, old_name), (new, new_name)) = (state.there(&to), state.name(&from), state.name(&to));
        state.happened(Change::Names(vec![(old, old_name, None), (new, new_name, Some(id))]));
        Ok(())
    }

    fn exchange(&self, one: At<'_>, other: At<'_>) -> io::Result<()> {
        let mut state = self.begin(false)?;
        RealDisk.exchange(one, other)?;
        let places = [one, other].map(|at| {
            let (dir, name) = state.name(&at);
            (dir, name, Some(state.there(&at)))
        });
        state.happened(Change::Names(places.to_vec()));
        Ok(())
    }

    fn remove_file(&self, at: At<'_>) -> io::Result<()> {
        let mut state = self.begin(true)?;
        RealDisk.remove_file(at)?;
        let (dir, name) = state.name(&at);
        state.happened(Change::Names(vec![(dir, name, None)]));
        Ok(())
    }

    fn remove_all(&self, at: At<'_>) -> io::Result<()> {
        let mut state = self.begin(true)?;
        let path = match at {
            At::Path(path) => path.to_owned(),
            At::In(dir, name) => {
                use std::os::fd::{AsFd as _, AsRawFd as _};
                PathBuf::from(format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd())).join(name)
            }
        };
        if path.is_dir() {
            let id = state.there(&at);
            state.emptied(&path, id);
            let (dir, name) = state.name(&at);
            state.happened(Change::Names(vec![(dir, name, None)]));
        }
        RealDisk.remove_all(at)
    }
}
