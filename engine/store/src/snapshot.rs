//! Snapshots: a directory of the host becomes a tree that no longer depends on it.
//!
//! The walk goes by directory handles (cap-std), never by paths, and follows no link: whoever swaps a directory for a link
//! while it runs gets an error, not another tree. Times and owners are dropped, modes become 644 or 755, names are sorted.
//! Everything that cannot be taken is collected and reported together.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use cap_fs_ext::{DirExt as _, MetadataExt as _};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, FileType, FileTypeExt as _, Metadata};
use lockgate_model::Digest;
use lockgate_model::artifact::{
    ArtifactKind, ArtifactRef, DirEntry, Directory, EntryKind, MAX_DEPTH, MAX_PATH, is_entry_name, link_stays_inside,
};
use lockgate_model::pipeline::SnapshotSpec;

use crate::files::FileState;
use crate::filter::{Filter, Taken, below, read_options};
use crate::state::{Store, StoreError};
use crate::tree::{MAX_TREE_ENTRIES, leaving_link};

/// Problems that a message lists; the rest is counted.
const LISTED: usize = 20;
/// Bytes read at a time.
const BUFFER: usize = 256 << 10;

/// What keeps a snapshot from being taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Nothing is there.
    #[error("take a snapshot of `{0}`: there is no such file or directory")]
    NotFound(String),
    /// Something else is there.
    #[error("take a snapshot of `{path}`: it is not a {wanted}")]
    WrongKind {
        /// The path as given.
        path: String,
        /// `file` or `directory`.
        wanted: &'static str,
    },
    /// A path, or a link on it, leads out of the pipeline's root.
    #[error("take a snapshot of `{0}`: it is outside of the pipeline's root")]
    Outside(String),
    /// It holds the state directory or an export, and nothing else can be in it.
    #[error("take a snapshot of `{0}`: it is the state directory or the target of an export, or inside of one")]
    LeftOut(String),
    /// A glob that is none.
    #[error("take a snapshot of `{dir}`")]
    Glob {
        /// The directory.
        dir: String,
        /// What is wrong.
        source: globset::Error,
    },
    /// More entries than a tree may have.
    #[error(
        "take a snapshot of `{0}`: it has more than {MAX_TREE_ENTRIES} entries; leave some out by `include`, `exclude` or `.lockgateignore`"
    )]
    TooMany(String),
    /// Entries that cannot be taken.
    #[error("take a snapshot of `{dir}`:{}", Listing(problems, *more))]
    Problems {
        /// The directory.
        dir: String,
        /// The first 20 of them, in order of the walk.
        problems: Vec<SnapshotProblem>,
        /// How many more there are.
        more: usize,
    },
    /// The file or directory cannot be opened or read.
    #[error("take a snapshot of `{path}`")]
    Io {
        /// The path as given.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One entry that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotProblem {
    /// Its path inside the snapshot's directory; bytes that are no UTF-8 are shown as `\xNN`.
    pub path: String,
    /// Why not.
    pub reason: Reason,
}

/// Why an entry cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It is a named pipe, a socket or a device: the word says which.
    Special(&'static str),
    /// Its name is no UTF-8.
    NotUtf8,
    /// Its name holds a line break.
    Name,
    /// A link whose target lies outside of the snapshot's directory.
    LinkLeaves(String),
    /// It could not be read, by this error of the system.
    Unreadable(String),
    /// It changed while it was read.
    Changed,
    /// Its path is nested too deep or too long.
    TooDeep,
}

impl fmt::Display for SnapshotProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ", self.path)?;
        match &self.reason {
            Reason::Special(kind) => write!(f, "is a {kind}"),
            Reason::NotUtf8 => f.write_str("has a name that is not UTF-8"),
            Reason::Name => f.write_str("has a line break in its name"),
            Reason::LinkLeaves(target) => write!(f, "is a link that leaves the directory: `{target}`"),
            Reason::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Reason::Changed => f.write_str("changed while it was read"),
            Reason::TooDeep => {
                write!(f, "is nested deeper than {MAX_DEPTH} directories or longer than {MAX_PATH} bytes")
            }
        }
    }
}

struct Listing<'a>(&'a [SnapshotProblem], usize);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))?;
        if self.1 > 0 { write!(f, "\n  and {} more", self.1) } else { Ok(()) }
    }
}

impl Store {
    /// Takes a snapshot of a directory below `root` as a tree. Left out are `.git`, the state directory, `leave_out` (absolute,
    /// or relative to `root`; nothing needs to be there), what ignore files name, and what the globs leave.
    pub fn snapshot(
        &self,
        root: &Path,
        spec: &SnapshotSpec,
        leave_out: &[PathBuf],
    ) -> Result<ArtifactRef, SnapshotError> {
        self.snapshot_watched(root, spec, leave_out, &mut |_| {})
    }

    /// Takes a snapshot and tells `watch` the path of each file between opening and reading it, so that tests can interfere.
    pub(crate) fn snapshot_watched(
        &self,
        root: &Path,
        spec: &SnapshotSpec,
        leave_out: &[PathBuf],
        watch: &mut dyn FnMut(&str),
    ) -> Result<ArtifactRef, SnapshotError> {
        self.look_at_clock();
        let (root_dir, root) = open_root(root)?;
        let failed = |error| open_error(&spec.dir, error, "directory");
        let base = root_dir.canonicalize(&spec.dir).map_err(failed)?;
        // Of the root itself cap-std says `.`.
        let base: PathBuf = base.components().filter(|part| *part != std::path::Component::CurDir).collect();
        let dir = root_dir.open_dir(&spec.dir).map_err(failed)?;
        let left_out: HashSet<PathBuf> =
            leave_out.iter().map(PathBuf::as_path).chain([self.dir()]).filter_map(|path| below(&root, path)).collect();
        let glob = |source| SnapshotError::Glob { dir: spec.dir.clone(), source };
        let mut filter = Filter::new(spec, base.clone(), left_out).map_err(glob)?;
        if filter.leaves_out_base() {
            return Err(SnapshotError::LeftOut(spec.dir.clone()));
        }
        let mut problems = Problems::default();
        let above: Vec<_> = base.ancestors().skip(1).collect();
        for folder in above.into_iter().rev() {
            let dir =
                root_dir.open_dir(if folder == Path::new("") { Path::new(".") } else { folder }).map_err(failed)?;
            if let Err((name, error)) = filter.enter(&dir, folder) {
                problems.add(folder.join(name).display().to_string(), Reason::Unreadable(error.to_string()));
            }
        }
        let buffer = vec![0; BUFFER];
        let mut taker =
            Taker { store: self, spec, filter, problems, entries: 0, size: 0, links: BTreeMap::new(), buffer, watch };
        let built = taker.directory(&dir, "", 0)?;
        if let Some(path) = leaving_link(&taker.links) {
            let reason = Reason::LinkLeaves(taker.links[path].clone());
            taker.problems.add(path.to_owned(), reason);
        }
        let Problems { listed: problems, more } = taker.problems;
        if !problems.is_empty() {
            return Err(SnapshotError::Problems { dir: spec.dir.clone(), problems, more });
        }
        Ok(ArtifactRef { kind: ArtifactKind::Tree, digest: built.digest, size: taker.size })
    }

    /// Reads one file below `root` as a blob. Links are followed as long as they stay below `root`.
    pub fn snapshot_file(&self, root: &Path, path: &str) -> Result<ArtifactRef, SnapshotError> {
        self.look_at_clock();
        let (root, _) = open_root(root)?;
        let failed = |error| open_error(path, error, "file");
        let mut options = read_options();
        cap_fs_ext::OpenOptionsFollowExt::follow(&mut options, cap_fs_ext::FollowSymlinks::Yes);
        let mut file = root.open_with(path, &options).map_err(failed)?;
        let before = file.metadata().map_err(failed)?;
        if !before.is_file() {
            return Err(SnapshotError::WrongKind { path: path.to_owned(), wanted: "file" });
        }
        let state = FileState::of(&before);
        if let Some((state, digest)) = self.unchanged(state)? {
            return Ok(ArtifactRef { kind: ArtifactKind::Blob, digest, size: state.size });
        }
        match self.take_file(&mut file, &before, &mut vec![0; BUFFER])? {
            Ok((digest, size)) => Ok(ArtifactRef { kind: ArtifactKind::Blob, digest, size }),
            Err(Reason::Unreadable(error)) => Err(failed(io::Error::other(error))),
            Err(reason) => {
                let problems = vec![SnapshotProblem { path: path.to_owned(), reason }];
                Err(SnapshotError::Problems { dir: path.to_owned(), problems, more: 0 })
            }
        }
    }

    /// A file that did not change since it was hashed, with its digest.
    fn unchanged(&self, state: Option<FileState>) -> Result<Option<(FileState, Digest)>, StoreError> {
        let Some(state) = state else { return Ok(None) };
        Ok(self.known_file(&state)?.map(|digest| (state, digest)))
    }

    /// Stores an open file, if it stays as it was. The outer error is the store's, the inner one the file's.
    fn take_file(
        &self,
        file: &mut File,
        before: &Metadata,
        buffer: &mut [u8],
    ) -> Result<Result<(Digest, u64), Reason>, StoreError> {
        let mut writer = self.blob_writer();
        loop {
            match file.read(buffer) {
                Ok(0) => break,
                Ok(count) => {
                    writer.write_all(&buffer[..count]).map_err(StoreError::io("write an artifact to", self.dir()))?
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Err(Reason::Unreadable(error.to_string()))),
            }
            // It grows: following it might never end.
            if writer.size() > before.len() {
                return Ok(Err(Reason::Changed));
            }
        }
        match file.metadata() {
            Ok(after) if writer.size() == before.len() && stamp(&after) == stamp(before) => {
                let (digest, size) = writer.finish()?;
                if let Some(state) = FileState::of(before) {
                    self.remember_file(&state, digest);
                }
                Ok(Ok((digest, size)))
            }
            Ok(_) => Ok(Err(Reason::Changed)),
            Err(error) => Ok(Err(Reason::Unreadable(error.to_string()))),
        }
    }
}

/// The root's handle, and its path without links.
fn open_root(root: &Path) -> Result<(Dir, PathBuf), SnapshotError> {
    let failed = |error| open_error(&root.display().to_string(), error, "directory");
    let path = root.canonicalize().map_err(failed)?;
    Ok((Dir::open_ambient_dir(&path, ambient_authority()).map_err(failed)?, path))
}

fn open_error(path: &str, error: io::Error, wanted: &'static str) -> SnapshotError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => SnapshotError::NotFound(path),
        io::ErrorKind::NotADirectory => SnapshotError::WrongKind { path, wanted },
        // What cap-std says of a way out; it carries no code of the system, a lack of rights does.
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => SnapshotError::Outside(path),
        _ => SnapshotError::Io { path, source: error },
    }
}

/// What changes when a file or directory does.
fn stamp(metadata: &Metadata) -> impl PartialEq + use<> {
    use cap_std::fs::MetadataExt as _;
    (metadata.len(), (metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec()))
}

#[derive(Default)]
struct Problems {
    listed: Vec<SnapshotProblem>,
    more: usize,
}

impl Problems {
    fn add(&mut self, path: String, reason: Reason) {
        match self.listed.len() < LISTED {
            true => self.listed.push(SnapshotProblem { path, reason }),
            false => self.more += 1,
        }
    }
}

/// One snapshot being taken.
struct Taker<'a> {
    store: &'a Store,
    spec: &'a SnapshotSpec,
    filter: Filter,
    problems: Problems,
    entries: u64,
    size: u64,
    links: BTreeMap<String, String>,
    buffer: Vec<u8>,
    watch: &'a mut dyn FnMut(&str),
}

/// An entry as it was listed.
#[derive(Debug, Clone)]
struct Listed {
    name: String,
    path: String,
    kind: FileType,
    included: bool,
    id: (u64, u64),
    executable: bool,
    state: Option<FileState>,
}

/// A directory as it was stored.
struct Built {
    digest: Digest,
    /// It has entries in the snapshot.
    filled: bool,
    /// Entries were left out.
    narrowed: bool,
}

impl Taker<'_> {
    fn directory(&mut self, dir: &Dir, path: &str, depth: usize) -> Result<Built, SnapshotError> {
        if let Err(error) = dir.entries() {
            self.problems.add(folder(path), Reason::Unreadable(error.to_string()));
            return Ok(Built { digest: Directory::default().digest(), filled: false, narrowed: false });
        }
        if let Err((name, error)) = self.filter.enter_inside(dir, path) {
            self.problems.add(join(path, name), Reason::Unreadable(error.to_string()));
        }
        let built = self.entries(dir, path, depth);
        self.filter.leave();
        built
    }

    fn entries(&mut self, dir: &Dir, path: &str, depth: usize) -> Result<Built, SnapshotError> {
        let before = dir.dir_metadata().ok();
        let (listed, mut narrowed) = self.list(dir, path, true)?;
        let mut entries = Vec::with_capacity(listed.len());
        for item in &listed {
            let entry = if item.kind.is_dir() {
                self.subdirectory(dir, item, depth, &mut narrowed)?
            } else if item.kind.is_file() {
                self.file(dir, item)?
            } else if item.kind.is_symlink() {
                self.link(dir, item)?
            } else {
                self.problems.add(item.path.clone(), Reason::Special(special(&item.kind)));
                None
            };
            entries.extend(entry);
        }
        // Other names than those that were taken: the tree is one that never was. What is left out may come and go.
        if before.as_ref().map(stamp) != dir.dir_metadata().ok().as_ref().map(stamp) {
            let (again, _) = self.list(dir, path, false)?;
            let same = |a: &Listed, b: &Listed| a.name == b.name && a.kind == b.kind;
            if again.len() != listed.len() || !again.iter().zip(&listed).all(|(a, b)| same(a, b)) {
                self.problems.add(folder(path), Reason::Changed);
            }
        }
        let filled = !entries.is_empty();
        let directory =
            Directory::new(entries).map_err(|source| StoreError::Tree { digest: Digest::of(&[]), source })?;
        Ok(Built { digest: self.store.put_directory(&directory)?, filled, narrowed })
    }

    /// Entries that are taken or must be looked into, sorted; and whether any were left out.
    fn list(&mut self, dir: &Dir, path: &str, report: bool) -> Result<(Vec<Listed>, bool), SnapshotError> {
        let mut found = Vec::new();
        let mut narrowed = false;
        match dir.entries() {
            Ok(iterator) => {
                for entry in iterator {
                    if let Err(problem) = self.look_at(entry, path, &mut found, &mut narrowed)
                        && report
                    {
                        self.problems.add(problem.path, problem.reason);
                    }
                    if self.entries + found.len() as u64 > MAX_TREE_ENTRIES {
                        break;
                    }
                }
            }
            Err(error) => self.problems.add(folder(path), Reason::Unreadable(error.to_string())),
        }
        if report {
            self.entries += found.len() as u64;
        }
        if self.entries > MAX_TREE_ENTRIES {
            return Err(SnapshotError::TooMany(self.spec.dir.clone()));
        }
        found.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        Ok((found, narrowed))
    }

    fn look_at(
        &self,
        entry: io::Result<cap_std::fs::DirEntry>,
        path: &str,
        found: &mut Vec<Listed>,
        narrowed: &mut bool,
    ) -> Result<(), SnapshotProblem> {
        let at = |path: &str, error: io::Error| {
            // Listed a moment ago, and gone.
            let reason = match error.kind() {
                io::ErrorKind::NotFound => Reason::Changed,
                _ => Reason::Unreadable(error.to_string()),
            };
            SnapshotProblem { path: path.to_owned(), reason }
        };
        let entry = entry.map_err(|error| at(path, error))?;
        let raw = entry.file_name();
        let shown = join(path, &shown(&raw));
        let kind = entry.file_type().map_err(|error| at(&shown, error))?;
        let taken = self.filter.takes(&Path::new(path).join(&raw), kind.is_dir());
        if taken == Taken::No || taken == Taken::NotIncluded && !kind.is_dir() {
            *narrowed = true;
            return Ok(());
        }
        let Some(name) = raw.to_str() else {
            return Err(SnapshotProblem { path: shown, reason: Reason::NotUtf8 });
        };
        if !is_entry_name(name) {
            return Err(SnapshotProblem { path: shown, reason: Reason::Name });
        }
        if shown.len() > MAX_PATH {
            return Err(SnapshotProblem { path: shown.chars().take(200).collect(), reason: Reason::TooDeep });
        }
        let metadata = entry.metadata().map_err(|error| at(&shown, error))?;
        found.push(Listed {
            name: name.to_owned(),
            path: shown,
            kind: metadata.file_type(),
            included: taken == Taken::Yes,
            id: (metadata.dev(), metadata.ino()),
            executable: is_executable(&metadata),
            state: FileState::of(&metadata),
        });
        Ok(())
    }

    fn subdirectory(
        &mut self,
        dir: &Dir,
        item: &Listed,
        depth: usize,
        narrowed: &mut bool,
    ) -> Result<Option<DirEntry>, SnapshotError> {
        if depth + 1 >= MAX_DEPTH {
            self.problems.add(item.path.chars().take(200).collect(), Reason::TooDeep);
            return Ok(None);
        }
        let below = match dir.open_dir_nofollow(&item.name) {
            Ok(below) => below,
            Err(error) => {
                self.problems.add(item.path.clone(), open_problem(error));
                return Ok(None);
            }
        };
        if below.dir_metadata().map(|found| (found.dev(), found.ino())).ok() != Some(item.id) {
            self.problems.add(item.path.clone(), Reason::Changed);
            return Ok(None);
        }
        let built = self.directory(&below, &item.path, depth + 1)?;
        *narrowed |= built.narrowed;
        // A directory that is empty only because all that is in it was left out is of no interest; and the first export into a
        // new directory must not change the next run's digest.
        if !built.filled && (!item.included || built.narrowed) {
            *narrowed = true;
            return Ok(None);
        }
        Ok(Some(DirEntry { name: item.name.clone(), kind: EntryKind::Directory, digest: built.digest, size: 0 }))
    }

    fn file(&mut self, dir: &Dir, item: &Listed) -> Result<Option<DirEntry>, SnapshotError> {
        if let Some((state, digest)) = self.store.unchanged(item.state)? {
            self.size = self.size.saturating_add(state.size);
            return Ok(Some(file_entry(item, item.executable, digest, state.size)));
        }
        let opened = dir.open_with(&item.name, &read_options()).and_then(|file| Ok((file.metadata()?, file)));
        let (before, mut file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.problems.add(item.path.clone(), open_problem(error));
                return Ok(None);
            }
        };
        (self.watch)(&item.path);
        let taken = match before.is_file() && (before.dev(), before.ino()) == item.id {
            true => self.store.take_file(&mut file, &before, &mut self.buffer)?,
            false => Err(Reason::Changed),
        };
        match taken {
            Ok((digest, size)) => {
                self.size = self.size.saturating_add(size);
                Ok(Some(file_entry(item, is_executable(&before), digest, size)))
            }
            Err(reason) => {
                self.problems.add(item.path.clone(), reason);
                Ok(None)
            }
        }
    }

    fn link(&mut self, dir: &Dir, item: &Listed) -> Result<Option<DirEntry>, SnapshotError> {
        let target = match dir.read_link_contents(&item.name) {
            Ok(target) => target,
            Err(error) => {
                self.problems.add(item.path.clone(), open_problem(error));
                return Ok(None);
            }
        };
        let Some(target) = target.to_str().filter(|target| link_stays_inside(&item.path, target)) else {
            self.problems.add(item.path.clone(), Reason::LinkLeaves(shown(target.as_os_str())));
            return Ok(None);
        };
        self.links.insert(item.path.clone(), target.to_owned());
        let digest = self.store.put_blob(target.as_bytes())?;
        Ok(Some(DirEntry { name: item.name.clone(), kind: EntryKind::Symlink, digest, size: target.len() as u64 }))
    }
}

fn is_executable(metadata: &Metadata) -> bool {
    cap_std::fs::MetadataExt::mode(metadata) & 0o111 != 0
}

fn file_entry(item: &Listed, executable: bool, digest: Digest, size: u64) -> DirEntry {
    let kind = if executable { EntryKind::Executable } else { EntryKind::File };
    DirEntry { name: item.name.clone(), kind, digest, size }
}

/// What opening an entry that was just listed can say: gone, or another kind of thing now, or out of reach.
fn open_problem(error: io::Error) -> Reason {
    let loops = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Reason::Changed,
        _ if loops => Reason::Changed,
        _ => Reason::Unreadable(error.to_string()),
    }
}

fn special(kind: &FileType) -> &'static str {
    if kind.is_fifo() {
        "named pipe"
    } else if kind.is_socket() {
        "socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "device"
    } else {
        "special file"
    }
}

/// A directory's path for people.
fn folder(path: &str) -> String {
    if path.is_empty() { ".".to_owned() } else { path.to_owned() }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// A name for people: what is no UTF-8 as `\xNN`.
fn shown(name: &std::ffi::OsStr) -> String {
    let mut text = String::new();
    for chunk in std::os::unix::ffi::OsStrExt::as_bytes(name).utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02X}")));
    }
    text
}
