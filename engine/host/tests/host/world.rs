//! What a host needs around it, in memory: artifacts, a cache, a record of effects; and tasks.

use std::collections::HashMap;
use std::io::{self, Cursor, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lockgate_host::{Artifacts, BlobWriter, CodeCache, Effects, EffectsError, Host, HostOptions, Plugin};
use lockgate_model::artifact::{ArtifactKind, ArtifactRef, DirEntry, Directory, EntryKind};
use lockgate_model::effect::{self, Begun, EffectRecord};
use lockgate_model::outcome::{Completion, FailureKind};
use lockgate_model::task::{Look, Task};
use lockgate_model::{Digest, NodeId, PortName, RunId};

use crate::guest::Guest;

/// Artifacts in memory, with counters, and able to fail.
#[derive(Default)]
pub struct Memory {
    pub blobs: Mutex<HashMap<Digest, Arc<[u8]>>>,
    pub directories: Mutex<HashMap<Digest, Arc<Directory>>>,
    /// How often a directory was read.
    pub directory_reads: AtomicUsize,
    /// Writers fail, like a full disk.
    pub full: bool,
    /// Opening a blob panics, like a fault of the engine.
    pub panics: bool,
}

struct MemoryWriter(Arc<Memory>, Vec<u8>);

impl Write for MemoryWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.full {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left"));
        }
        self.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for MemoryWriter {
    fn finish(self: Box<Self>) -> io::Result<(Digest, u64)> {
        let size = self.1.len() as u64;
        Ok((self.0.put(&self.1), size))
    }
}

impl Memory {
    pub fn put(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.blobs.lock().unwrap().insert(digest, bytes.into());
        digest
    }

    pub fn get(&self, digest: Digest) -> Vec<u8> {
        self.blobs.lock().unwrap()[&digest].to_vec()
    }

    pub fn blob(&self, bytes: &[u8]) -> ArtifactRef {
        ArtifactRef { kind: ArtifactKind::Blob, digest: self.put(bytes), size: bytes.len() as u64 }
    }

    /// A tree of paths: text is a file, `None` an empty directory, `-> x` a link.
    pub fn tree(&self, files: &[(&str, Option<&str>)]) -> ArtifactRef {
        let (digest, size) = self.level(files);
        ArtifactRef { kind: ArtifactKind::Tree, digest, size }
    }

    fn level(&self, files: &[(&str, Option<&str>)]) -> (Digest, u64) {
        let mut below: std::collections::BTreeMap<&str, Vec<(&str, Option<&str>)>> = Default::default();
        let (mut entries, mut total) = (Vec::new(), 0);
        for (path, content) in files {
            match (path.split_once('/'), content) {
                (Some((directory, rest)), _) => below.entry(directory).or_default().push((rest, *content)),
                (None, None) => drop(below.entry(path).or_default()),
                (None, Some(content)) => {
                    let link = content.strip_prefix("-> ");
                    let bytes = link.unwrap_or(content).as_bytes();
                    let kind = if link.is_some() { EntryKind::Symlink } else { EntryKind::File };
                    total += if link.is_some() { 0 } else { bytes.len() as u64 };
                    entries.push(DirEntry {
                        name: (*path).into(),
                        kind,
                        digest: self.put(bytes),
                        size: bytes.len() as u64,
                    });
                }
            }
        }
        for (name, files) in below {
            let (digest, size) = self.level(&files);
            total += size;
            entries.push(DirEntry { name: name.into(), kind: EntryKind::Directory, digest, size: 0 });
        }
        let directory = Directory::new(entries).unwrap();
        (self.put_directory(&directory).unwrap(), total)
    }

    /// All paths of a tree with their contents, as [`Memory::tree`] takes them.
    pub fn list(&self, tree: Digest) -> Vec<(String, Option<String>)> {
        let directory = self.directories.lock().unwrap()[&tree].clone();
        let mut all = Vec::new();
        for entry in directory.entries() {
            let text = |digest| String::from_utf8(self.get(digest)).unwrap();
            match entry.kind {
                EntryKind::File => all.push((entry.name.clone(), Some(text(entry.digest)))),
                EntryKind::Executable => all.push((entry.name.clone() + "*", Some(text(entry.digest)))),
                EntryKind::Symlink => all.push((entry.name.clone(), Some(format!("-> {}", text(entry.digest))))),
                EntryKind::Directory => {
                    let below = self.list(entry.digest);
                    if below.is_empty() {
                        all.push((entry.name.clone(), None));
                    }
                    all.extend(below.into_iter().map(|(path, content)| (format!("{}/{path}", entry.name), content)));
                }
            }
        }
        all
    }
}

impl Artifacts for Memory2 {
    fn open_blob(&self, digest: Digest) -> io::Result<(Box<dyn Read + Send>, u64)> {
        assert!(!self.0.panics, "a fault of the engine, on purpose");
        let bytes = self.0.blobs.lock().unwrap().get(&digest).cloned();
        let bytes = bytes.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such blob"))?;
        let size = bytes.len() as u64;
        Ok((Box::new(Cursor::new(bytes)), size))
    }

    fn blob_writer(&self) -> io::Result<Box<dyn BlobWriter>> {
        Ok(Box::new(MemoryWriter(self.0.clone(), Vec::new())))
    }

    fn put_blob(&self, bytes: &[u8]) -> io::Result<Digest> {
        Ok(self.0.put(bytes))
    }

    fn directory(&self, digest: Digest) -> io::Result<Arc<Directory>> {
        self.0.directory_reads.fetch_add(1, Ordering::Relaxed);
        let found = self.0.directories.lock().unwrap().get(&digest).cloned();
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such directory"))
    }

    fn put_directory(&self, directory: &Directory) -> io::Result<Digest> {
        self.0.put_directory(directory)
    }

    fn lay(&self, artifact: &ArtifactRef, dir: &Path, path: &str) -> io::Result<()> {
        assert_eq!(artifact.kind, ArtifactKind::Blob, "trees are laid by the store, which has tests of its own");
        let to = dir.join(path);
        std::fs::create_dir_all(to.parent().unwrap())?;
        std::fs::write(to, self.0.get(artifact.digest))
    }

    fn take(&self, dir: &Path, path: &str) -> io::Result<Option<ArtifactRef>> {
        match std::fs::symlink_metadata(dir.join(path)) {
            Ok(found) if found.is_file() => Ok(Some(self.0.blob(&std::fs::read(dir.join(path))?))),
            Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file")),
            Err(_) => Ok(None),
        }
    }
}

impl Memory {
    fn put_directory(&self, directory: &Directory) -> io::Result<Digest> {
        let digest = directory.digest();
        self.directories.lock().unwrap().insert(digest, Arc::new(directory.clone()));
        Ok(digest)
    }
}

/// The trait's side of [`Memory`]: writers share it.
pub struct Memory2(pub Arc<Memory>);

/// A cache in memory that counts.
#[derive(Default)]
pub struct Cache {
    pub entries: Mutex<HashMap<String, Vec<u8>>>,
    pub hits: AtomicUsize,
}

impl CodeCache for Cache {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        let found = self.entries.lock().unwrap().get(key).cloned();
        self.hits.fetch_add(usize::from(found.is_some()), Ordering::Relaxed);
        found
    }

    fn put(&self, key: &str, code: &[u8]) {
        self.entries.lock().unwrap().insert(key.into(), code.into());
    }
}

/// A record of effects in order: `intent 0 http GET ...`, `outcome 0 {...}`.
#[derive(Default)]
pub struct Recorded {
    pub lines: Mutex<Vec<String>>,
    pub broken: bool,
    /// What is answered instead of being issued.
    pub before: effect::Recorded,
}

#[async_trait]
impl Effects for Recorded {
    async fn intent(&self, sequence: u64, kind: &str, request: Digest, summary: &str) -> Result<Begun, EffectsError> {
        if self.broken {
            return Err(EffectsError::Record("disk full".into()));
        }
        let begun = self.before.begin(sequence, kind, request, summary)?;
        if begun == Begun::Issue {
            self.lines.lock().unwrap().push(format!("intent {sequence} {kind} {summary}"));
        }
        Ok(begun)
    }

    fn has_waited(&self, next: u64) -> bool {
        self.before.reaches(next)
    }

    async fn outcome(&self, sequence: u64, answer: &serde_json::Value) -> Result<(), EffectsError> {
        self.lines.lock().unwrap().push(format!("outcome {sequence} {answer}"));
        Ok(())
    }
}

/// A host with everything around it.
pub struct Lab {
    pub host: Host,
    pub store: Arc<Memory>,
    pub effects: Arc<Recorded>,
}

impl Lab {
    pub fn new() -> Self {
        Self::with(HostOptions { slots: 2, ..HostOptions::default() })
    }

    pub fn with(options: HostOptions) -> Self {
        Self { host: Host::new(options).unwrap(), store: Arc::default(), effects: Arc::default() }
    }

    pub fn load(&self, guest: Guest) -> Arc<Plugin> {
        self.host.load(&guest.component(), &lockgate_host::NoCache).unwrap()
    }

    pub async fn call(&self, plugin: &Plugin, task: Task) -> Completion {
        self.host.call(plugin, task, Arc::new(Memory2(self.store.clone())), self.effects.clone()).await
    }

    /// Calls answer from these effects from now on.
    pub fn recorded(&mut self, records: impl IntoIterator<Item = EffectRecord>) {
        self.effects = Arc::new(Recorded { before: effect::Recorded::new(records), ..Recorded::default() });
    }

    /// Loads a guest and runs it for a task that `change` prepares.
    pub async fn run(&self, guest: Guest, change: impl FnOnce(&mut Task)) -> Completion {
        let plugin = self.load(guest);
        let mut task = task(&plugin);
        change(&mut task);
        self.call(&plugin, task).await
    }

    pub fn text(&self, artifact: Option<ArtifactRef>) -> String {
        artifact.map(|artifact| String::from_utf8(self.store.get(artifact.digest)).unwrap()).unwrap_or_default()
    }
}

/// A plain task for a plugin.
pub fn task(plugin: &Plugin) -> Task {
    Task {
        run: RunId::new("r1").unwrap(),
        node: NodeId::new("n").unwrap(),
        attempt: 1,
        component: plugin.digest(),
        world: plugin.world(),
        config: "{}".into(),
        inputs: Default::default(),
        env: Default::default(),
        limits: Default::default(),
        grants: Default::default(),
        logical_time: 946_684_800_000,
        look: Look::default(),
        state: None,
        first_sequence: 0,
    }
}

pub fn port(name: &str) -> PortName {
    PortName::new(name).unwrap()
}

/// Kind and message of a failure.
pub fn failure(completion: &Completion) -> (FailureKind, &str) {
    let failure = completion.failure.as_ref().expect("it should fail");
    assert!(completion.outputs.is_empty(), "a failure has no outputs");
    (failure.kind, &failure.message)
}

/// Holds a failure against its kind and a part of its message.
#[track_caller]
pub fn fails(completion: &Completion, kind: FailureKind, part: &str) {
    let (found, message) = failure(completion);
    assert_eq!(found, kind, "{message}");
    assert!(message.contains(part), "{message}");
}
