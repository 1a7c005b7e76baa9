//! Removing what is not needed: first everything that leads to it, in one transaction, then the files.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use lockgate_model::Digest;
use rusqlite::{Connection, params};

use super::mark::{Marker, Place, list};
use super::{GcOptions, GcReport, GcStep};
use crate::actions;
use crate::disk::At;
use crate::graphs;
use crate::pending::{Key, Space, sweep as sweep_temporary};
use crate::state::{Store, StoreError, lock};
use crate::whole::DAMAGED;

/// A file of compiled code.
struct Code {
    path: PathBuf,
    size: u64,
    /// When it was last used, in milliseconds since 1970.
    used_ms: u64,
}

/// Removes, or counts what would be.
pub(super) fn sweep(
    store: &Store,
    options: &GcOptions,
    marker: Marker<'_>,
    report: &mut GcReport,
    watch: &mut dyn FnMut(GcStep) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let Marker { stored, needed, needed_bytes, keys, .. } = marker;
    let mut going: Vec<(Key, u64, Place)> = stored
        .iter()
        .filter(|(key, _)| !needed.contains(*key))
        .map(|(key, (size, place))| (*key, *size, *place))
        .collect();
    // Trees before what they name: an interruption leaves none with something missing.
    going.sort_by_key(|((space, digest), ..)| (*space == Space::Blob, *digest.as_bytes()));
    report.artifacts = going.len() as u64;
    report.artifact_bytes = going.iter().map(|(_, size, _)| size).sum();
    let (code, code_left) = code(store, options, needed_bytes)?;
    report.code = code.len() as u64;
    report.code_bytes = code.iter().map(|code| code.size).sum();
    report.left_bytes = needed_bytes + code_left;
    if options.dry_run {
        return store.inner.read(|connection| {
            let counted = count(connection, &keys, &needed, report);
            counted.map_err(store.inner.db_error("read"))
        });
    }
    store.inner.commit(|transaction| {
        let failed = || store.inner.db_error("remove artifacts from");
        count(transaction, &keys, &needed, report).map_err(failed())?;
        remove(transaction, &keys, &needed, &going, options.now_ms).map_err(failed())?;
        watch(GcStep::Commit)
    })?;
    lock(&store.inner.whole).clear();
    *lock(&store.inner.directories) = Default::default();
    let files = going.iter().filter(|(.., place)| *place == Place::File).map(|(key, ..)| store.inner.object_path(key));
    let damaged = store.inner.dir.join(DAMAGED);
    let damaged = list(&damaged)?.into_iter().map(|(name, _)| damaged.join(name));
    for path in files.chain(damaged).chain(code.into_iter().map(|code| code.path)) {
        watch(GcStep::Unlink)?;
        match store.inner.disk.remove_file(At::Path(&path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(StoreError::io("remove", path)(error)),
            _ => {}
        }
    }
    sweep_temporary(&*store.inner.disk, &store.inner.dir.join("tmp"));
    store.inner.compact()
}

/// Counts entries that go.
fn count(
    connection: &Connection,
    keys: &HashSet<Digest>,
    needed: &HashSet<Key>,
    report: &mut GcReport,
) -> rusqlite::Result<()> {
    let actions = actions::all(connection)?.iter().filter(|(key, _)| !keys.contains(key)).count();
    report.actions = (actions + unneeded_graphs(connection, needed)?.len()) as u64;
    report.files = unneeded_files(connection, needed)?.len() as u64;
    Ok(())
}

/// Graphs whose results go.
fn unneeded_graphs(connection: &Connection, needed: &HashSet<Key>) -> rusqlite::Result<Vec<Digest>> {
    graphs::unneeded(connection, |results| needed.contains(&(Space::Blob, results)))
}

fn unneeded_files(connection: &Connection, needed: &HashSet<Key>) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare_cached("SELECT id, digest FROM files")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    let mut found = Vec::new();
    for row in rows {
        let (id, digest) = row?;
        let digest = digest.try_into().map(Digest::from_bytes);
        if !digest.is_ok_and(|digest| needed.contains(&(Space::Blob, digest))) {
            found.push(id);
        }
    }
    Ok(found)
}

fn remove(
    connection: &Connection,
    keys: &HashSet<Digest>,
    needed: &HashSet<Key>,
    going: &[(Key, u64, Place)],
    now_ms: u64,
) -> rusqlite::Result<()> {
    for (key, _) in actions::all(connection)? {
        if !keys.contains(&key) {
            connection.prepare_cached("DELETE FROM actions WHERE key = ?1")?.execute(params![key.as_bytes()])?;
        }
    }
    for key in unneeded_graphs(connection, needed)? {
        connection.prepare_cached("DELETE FROM graphs WHERE key = ?1")?.execute(params![key.as_bytes()])?;
    }
    for id in unneeded_files(connection, needed)? {
        connection.prepare_cached("DELETE FROM files WHERE id = ?1")?.execute([id])?;
    }
    let now = i64::try_from(now_ms).unwrap_or(i64::MAX);
    for ((space, digest), _, place) in going {
        let at = params![space.number(), digest.as_bytes()];
        if *place == Place::Row {
            connection.prepare_cached("DELETE FROM objects WHERE space = ?1 AND digest = ?2")?.execute(at)?;
        }
        connection.prepare_cached("INSERT OR REPLACE INTO removed VALUES (?1, ?2, ?3)")?.execute(params![
            space.number(),
            digest.as_bytes(),
            now
        ])?;
    }
    Ok(())
}

/// Compiled code that goes: what was not used for as long as runs are kept, or, where all may have a size, the longest unused as
/// long as all is larger. And the bytes of what stays.
fn code(store: &Store, options: &GcOptions, needed_bytes: u64) -> Result<(Vec<Code>, u64), StoreError> {
    let dir = store.inner.dir.join("code");
    let mut all = Vec::new();
    for (name, size) in list(&dir)? {
        let path = dir.join(&name);
        if let Ok(found) = fs::symlink_metadata(&path)
            && found.is_file()
            && name != "CACHEDIR.TAG"
        {
            let used_ms = u64::try_from(found.mtime().saturating_mul(1_000)).unwrap_or(0);
            all.push(Code { path, size, used_ms });
        }
    }
    all.sort_by_key(|code| code.used_ms);
    let mut left: u64 = all.iter().map(|code| code.size).sum();
    let mut going = Vec::new();
    for code in all {
        let goes = match options.max_bytes {
            Some(max) => needed_bytes.saturating_add(left) > max,
            None => code.used_ms < options.keep_since_ms,
        };
        if goes {
            left -= code.size;
            going.push(code);
        }
    }
    Ok((going, left))
}
