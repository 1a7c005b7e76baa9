//! What runs need: every artifact that their records name, and what those hold.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use lockgate_model::artifact::{Directory, EntryKind};
use lockgate_model::effect;
use lockgate_model::event::Event;
use lockgate_model::{Digest, RunId};

use crate::graphs;
use crate::journal::RunSummary;
use crate::pending::{Key, Space};
use crate::state::{Inner, Store, StoreError};

/// Largest record of effects that is looked into: the runner joins no more.
const MAX_EFFECTS: u64 = 64 << 20;
/// Length of a digest's hex digits.
const HEX: usize = 64;

/// Where an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In SQLite.
    Row,
    /// A file of its own.
    File,
}

/// Everything that is stored, and what of it is needed.
pub(super) struct Marker<'a> {
    store: &'a Store,
    /// All artifacts with their sizes.
    pub stored: HashMap<Key, (u64, Place)>,
    pub needed: HashSet<Key>,
    pub needed_bytes: u64,
    /// Action keys of the nodes of kept runs.
    pub keys: HashSet<Digest>,
}

impl<'a> Marker<'a> {
    /// Counts everything.
    pub fn new(store: &'a Store) -> Result<Self, StoreError> {
        let mut stored = store.inner.rows()?;
        for space in [Space::Blob, Space::Tree] {
            store.inner.files_of(space, &mut stored)?;
        }
        Ok(Self { store, stored, needed: HashSet::new(), needed_bytes: 0, keys: HashSet::new() })
    }

    /// Keeps what records of runs stand for, whether these are kept or not: their records are.
    pub fn keep_served(&mut self) -> Result<(), StoreError> {
        let served = self.store.inner.read(|connection| {
            let found = if self.store.inner.version < 5 { Ok(Vec::new()) } else { graphs::served(connection) };
            found.map_err(self.store.inner.db_error("read"))
        })?;
        let mut found = Found::default();
        served.into_iter().for_each(|digest| self.need((Space::Blob, digest), &mut found));
        self.take(found);
        Ok(())
    }

    /// Keeps what a run needs, whatever it is.
    pub fn keep(&mut self, run: &RunId) -> Result<(), StoreError> {
        let found = self.find(run)?;
        self.take(found);
        Ok(())
    }

    /// Keeps what a run needs if all that is needed then has at most so many bytes. A run that is damaged is not kept.
    pub fn keep_if_at_most(&mut self, run: &RunId, max: u64) -> Result<bool, StoreError> {
        let found = match self.find(run) {
            Ok(found) => found,
            Err(StoreError::Record { .. }) => return Ok(true),
            Err(error) => return Err(error),
        };
        let more: u64 = found.artifacts.iter().map(|key| self.stored[key].0).sum();
        let fits = self.needed_bytes.saturating_add(more) <= max;
        if fits {
            self.take(found);
        }
        Ok(fits)
    }

    fn take(&mut self, found: Found) {
        self.needed_bytes =
            found.artifacts.iter().fold(self.needed_bytes, |sum, key| sum.saturating_add(self.stored[key].0));
        self.needed.extend(found.artifacts);
        self.keys.extend(found.keys);
    }

    /// What a run needs beyond what is needed already.
    fn find(&self, run: &RunId) -> Result<Found, StoreError> {
        let mut found = Found::default();
        for record in self.store.records(run)? {
            let text = serde_json::to_string(&record.event).unwrap_or_default();
            self.digests(&text, &mut found);
            if let Event::NodeFinished { receipt, .. } = &record.event {
                found.keys.extend(receipt.key);
                if let Some(effects) = &receipt.effects {
                    self.effects(&effects.digest, &mut found);
                }
            }
        }
        Ok(found)
    }

    /// Bodies of exchanges are blobs that only the record of effects names.
    fn effects(&self, digest: &Digest, found: &mut Found) {
        let bytes = self.store.read_blob(digest, MAX_EFFECTS).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        // Only what is one is looked into: any other blob may name digests by chance.
        if effect::decode(&text).is_ok() {
            self.digests(&text, found);
        }
    }

    /// Every digest in a text.
    fn digests(&self, text: &str, found: &mut Found) {
        for (at, _) in text.match_indices("sha256:") {
            let end = at + "sha256:".len() + HEX;
            let Some(digest) = text.get(at..end).and_then(|text| text.parse::<Digest>().ok()) else { continue };
            self.need((Space::Blob, digest), found);
            self.need((Space::Tree, digest), found);
        }
    }

    /// An artifact, and all that it holds. Depth needs no stack: what is to do waits in a list.
    fn need(&self, key: Key, found: &mut Found) {
        let mut todo = vec![key];
        while let Some(key) = todo.pop() {
            if !self.stored.contains_key(&key) || self.needed.contains(&key) || !found.artifacts.insert(key) {
                continue;
            }
            if key.0 == Space::Tree
                && let Ok(directory) = self.store.directory(&key.1)
            {
                todo.extend(Directory::entries(&directory).iter().map(|entry| match entry.kind {
                    EntryKind::Directory => (Space::Tree, entry.digest),
                    EntryKind::File | EntryKind::Executable | EntryKind::Symlink => (Space::Blob, entry.digest),
                }));
            }
        }
    }
}

#[derive(Default)]
struct Found {
    artifacts: HashSet<Key>,
    keys: HashSet<Digest>,
}

impl Store {
    /// All runs with the time of their last record, the one with the newest record first.
    pub(super) fn runs_by_age(&self) -> Result<Vec<(RunSummary, u64)>, StoreError> {
        let runs = self.runs(usize::MAX)?;
        let times = self.inner.read(|connection| {
            let failed = || self.inner.db_error("read");
            let sql = "SELECT r.run, r.last, l.time_ms FROM runs r LEFT JOIN records l ON l.seq = r.last";
            let mut statement = connection.prepare(sql).map_err(failed())?;
            let rows = statement.query_map([], |row| {
                let time = row.get::<_, Option<i64>>(2)?.unwrap_or(i64::MAX);
                Ok((row.get::<_, String>(0)?, (row.get::<_, i64>(1)?, time.max(0) as u64)))
            });
            rows.and_then(Iterator::collect::<rusqlite::Result<HashMap<_, _>>>).map_err(failed())
        })?;
        let mut runs: Vec<_> = runs
            .into_iter()
            .map(|run| {
                let (last, time) = times.get(run.id.as_str()).copied().unwrap_or((i64::MAX, i64::MAX as u64));
                (last, run, time)
            })
            .collect();
        runs.sort_by_key(|(last, ..)| std::cmp::Reverse(*last));
        Ok(runs.into_iter().map(|(_, run, time)| (run, time)).collect())
    }
}

impl Inner {
    /// Number of runs.
    pub(super) fn count_runs(&self) -> Result<u64, StoreError> {
        self.read(|connection| {
            let count = connection.query_row("SELECT count(*) FROM runs", [], |row| row.get::<_, i64>(0));
            Ok(count.map_err(self.db_error("read"))?.max(0) as u64)
        })
    }

    /// Artifacts in SQLite.
    fn rows(&self) -> Result<HashMap<Key, (u64, Place)>, StoreError> {
        self.read(|connection| {
            let failed = || self.db_error("read");
            let mut statement =
                connection.prepare("SELECT space, digest, length(bytes) FROM objects").map_err(failed())?;
            let rows = statement.query_map([], |row| {
                let space = if row.get::<_, i64>(0)? == Space::Tree.number() { Space::Tree } else { Space::Blob };
                let digest =
                    row.get::<_, Vec<u8>>(1)?.try_into().map_or(Digest::from_bytes([0; 32]), Digest::from_bytes);
                Ok(((space, digest), (row.get::<_, i64>(2)?.max(0) as u64, Place::Row)))
            });
            rows.and_then(Iterator::collect).map_err(failed())
        })
    }

    /// Artifacts that are files.
    fn files_of(&self, space: Space, stored: &mut HashMap<Key, (u64, Place)>) -> Result<(), StoreError> {
        let folder = self.dir.join(space.folder());
        for part in list(&folder)? {
            for (name, size) in list(&folder.join(&part.0))? {
                if let Ok(digest) = format!("sha256:{name}").parse() {
                    stored.insert((space, digest), (size, Place::File));
                }
            }
        }
        Ok(())
    }
}

/// Names and sizes in a directory; nothing where there is none.
pub(super) fn list(dir: &Path) -> Result<Vec<(String, u64)>, StoreError> {
    let failed = || StoreError::io("list", dir);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed()(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed())?;
        let size = entry.metadata().map_err(failed())?.len();
        found.push((entry.file_name().to_string_lossy().into_owned(), size));
    }
    Ok(found)
}
