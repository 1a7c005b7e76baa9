//! Reading a bundle into a state directory, which should be a fresh one.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write as _};

use lockgate_model::event::RECORD_VERSION;
use lockgate_model::{Digest, RunId, canonical_json};
use serde::Deserialize;
use serde_json::Value;
use structured_zstd::decoding::{ContentChecksum, FrameDecoder, StreamingDecoder};

use super::references::References;
use super::write::name;
use super::{BundleError, BundleLimits, FORMAT, HEAD, Head, RECORDS, VERSION};
use crate::journal::Entry;
use crate::pending::Space;
use crate::record::{Record, Row};
use crate::state::{Store, StoreError};

/// Largest first entry: 200 bytes and some room.
const MAX_HEAD: u64 = 4 << 10;
/// The largest window that the decoder keeps, in bytes: four times what the writer's level uses. A frame that asks for more is
/// refused.
const WINDOW: u64 = 8 << 20;
/// Zeros that may follow the archive's end inside of the frame.
const MAX_PADDING: u64 = 1 << 20;
const BUFFER: usize = 256 << 10;
/// How a zstd frame begins.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A line of `records.jsonl`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    body: Value,
    hash: Digest,
    prev: Digest,
    run: RunId,
    seq: u64,
    time: u64,
    version: u32,
}

impl Store {
    /// Takes in a bundle: checks it whole, stores its artifacts and appends its records to the journal, under new numbers; the
    /// run's id. The artifacts of one that is refused may be stored already, its records never are.
    ///
    /// What it checks: form and order of the archive, the digest of every artifact, the hash and the chain of the records, that
    /// all of what they name is there and nothing else. That the records are a legal run shows when they are folded.
    pub fn read_bundle(&self, from: impl Read, limits: BundleLimits) -> Result<RunId, BundleError> {
        let mut from = BufReader::new(from);
        let start = from.fill_buf().map_err(|error| torn(&error))?;
        if !start.starts_with(&MAGIC) {
            return Err(BundleError::NotABundle("it does not begin like a zstd file".to_owned()));
        }
        let mut frames = FrameDecoder::new();
        frames.set_content_checksum(ContentChecksum::Verify);
        frames.set_max_window_size(WINDOW).map_err(|error| refused(error.to_string()))?;
        let decoder = StreamingDecoder::new_with_decoder(from, frames);
        // Headers and padding make up to 1 KiB an entry.
        let most = limits.bytes.saturating_add(limits.entries.saturating_mul(1024)).saturating_add(MAX_PADDING);
        let mut archive = tar::Archive::new(decoder.take(most));
        let mut entries = Entries { limits, bytes: 0, count: 0 };
        let taken = self.take_entries(&mut archive, &mut entries)?;
        end(archive.into_inner().into_inner())?;

        let (run, records, stored) = taken;
        let unfolded = self.unfolded(records.clone());
        let needed = unfolded.and_then(|records| References::of(self, &records)).map_err(|error| match error {
            StoreError::Missing(digest) => lacks(&digest),
            error @ (StoreError::Damaged(_) | StoreError::Tree { .. } | StoreError::TreeTooLarge(_)) => {
                refused(format!("its records name what cannot be used: failed to {error}"))
            }
            error => error.into(),
        })?;
        compare(&needed.blobs, &stored.blobs)?;
        compare(&needed.trees, &stored.trees)?;
        let entries: Vec<_> =
            records.iter().map(|record| Entry { run: &run, time_ms: record.time_ms, event: &record.event }).collect();
        self.append_many(&entries)?;
        Ok(run)
    }

    fn take_entries<R: Read>(
        &self,
        archive: &mut tar::Archive<R>,
        limits: &mut Entries,
    ) -> Result<(RunId, Vec<Record>, References), BundleError> {
        // Raw: long names and other extensions would be read into memory, and no name here is long.
        let mut entries = archive.entries().map_err(|error| torn(&error))?.raw(true);
        let mut next = |wanted: &str| match entries.next() {
            Some(entry) => entry.map_err(|error| torn(&error)),
            None => Err(BundleError::NotABundle(format!("it ends before `{wanted}`"))),
        };
        let mut entry = next(HEAD)?;
        if limits.enter(&entry, MAX_HEAD)? != HEAD {
            return Err(BundleError::NotABundle(format!("its first entry is not `{HEAD}`")));
        }
        let head = head(&read_all(&mut entry)?)?;
        let mut entry = next(RECORDS)?;
        if limits.enter(&entry, limits.limits.records)? != RECORDS {
            return Err(refused(format!("its second entry is not `{RECORDS}`")));
        }
        let records = records(&head, BufReader::new(&mut entry))?;
        let mut stored = References::default();
        let mut last = String::new();
        for entry in entries {
            let mut entry = entry.map_err(|error| torn(&error))?;
            let name = limits.enter(&entry, u64::MAX)?;
            let (space, digest) = artifact(&name)?;
            if name <= last {
                return Err(refused(format!("its entry `{name}` is not in order")));
            }
            self.store_entry(space, digest, &mut entry)?;
            match space {
                Space::Blob => stored.blobs.insert(digest),
                Space::Tree => stored.trees.insert(digest),
            };
            last = name;
        }
        Ok((head.run, records, stored))
    }

    fn store_entry(&self, space: Space, digest: Digest, entry: &mut impl Read) -> Result<(), BundleError> {
        let mut writer = self.writer(space);
        let mut buffer = vec![0; BUFFER];
        loop {
            match entry.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    writer.write_all(&buffer[..count]).map_err(StoreError::io("write an artifact to", self.dir()))?
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(torn(&error)),
            }
        }
        let (found, _) = writer.finish()?;
        if found != digest {
            return Err(refused(format!("its entry `{}` has the digest {found}", name(space, &digest))));
        }
        Ok(())
    }
}

/// Counts what the entries hold, before any of it is read.
struct Entries {
    limits: BundleLimits,
    bytes: u64,
    count: u64,
}

impl Entries {
    /// The name of an entry, if it is a plain file within the limits.
    fn enter<R: Read>(&mut self, entry: &tar::Entry<'_, R>, most: u64) -> Result<String, BundleError> {
        let path = entry.path_bytes();
        let name: String = String::from_utf8_lossy(&path).chars().take(200).flat_map(char::escape_debug).collect();
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(refused(format!("its entry `{name}` is no regular file")));
        }
        let size = entry.header().entry_size().map_err(|error| torn(&error))?;
        self.count += 1;
        self.bytes = self.bytes.saturating_add(size);
        let BundleLimits { bytes, entries, .. } = self.limits;
        if size > most || self.bytes > bytes || self.count > entries {
            return Err(refused(format!(
                "its entry `{name}` of {size} bytes is too much: at most {most} are taken for it, {bytes} and {entries} \
                 entries for all"
            )));
        }
        Ok(name)
    }
}

fn head(bytes: &[u8]) -> Result<Head, BundleError> {
    let no = |error: serde_json::Error| BundleError::NotABundle(format!("`{HEAD}` cannot be read: {error}"));
    // The version first: what else stands there may be new.
    let value: Value = serde_json::from_slice(bytes).map_err(no)?;
    if value.get("format").and_then(Value::as_str) != Some(FORMAT) {
        return Err(BundleError::NotABundle(format!("`{HEAD}` does not name the format `{FORMAT}`")));
    }
    match value.get("version").and_then(Value::as_u64) {
        Some(found) if found > u64::from(VERSION) => {
            return Err(BundleError::Newer { found: u32::try_from(found).unwrap_or(u32::MAX) });
        }
        _ => {}
    }
    let head: Head = serde_json::from_value(value).map_err(no)?;
    if head.version != VERSION {
        return Err(BundleError::NotABundle(format!("there is no version {} of the format", head.version)));
    }
    Ok(head)
}

/// Reads and checks the records: each one's hash, their order, and the chain where they follow each other.
fn records(head: &Head, from: impl BufRead) -> Result<Vec<Record>, BundleError> {
    let mut records: Vec<Record> = Vec::new();
    let mut before = None;
    for line in from.lines() {
        let line = line.map_err(|error| torn(&error))?;
        let number = records.len() + 1;
        let Line { body, hash, prev, run, seq, time, version } = serde_json::from_str(&line)
            .map_err(|error| refused(format!("line {number} of `{RECORDS}` cannot be read: {error}")))?;
        let wrong = |what: &str| Err(refused(format!("record {seq} {what}")));
        if run != head.run {
            return wrong("belongs to another run");
        }
        if version > RECORD_VERSION {
            return Err(StoreError::Record { seq, problem: crate::RecordProblem::Version(version) }.into());
        }
        match before {
            Some((last, _)) if seq <= last => return wrong("is not in order"),
            Some((last, hash)) if seq == last + 1 && prev != hash => return wrong("does not follow the one before it"),
            _ => {}
        }
        let kind = body.get("event").and_then(Value::as_str).unwrap_or_default().to_owned();
        let run = run.as_str().to_owned();
        let row = Row { seq, run, time_ms: time, kind, version, body: canonical_json(&body), prev, hash };
        records.push(row.check().map_err(|error| refused(format!("it holds a wrong record: failed to {error}")))?);
        before = Some((seq, hash));
    }
    if records.len() as u64 != head.records {
        return Err(refused(format!("it holds {} records, not {}", records.len(), head.records)));
    }
    Ok(records)
}

/// What an entry's name says.
fn artifact(found: &str) -> Result<(Space, Digest), BundleError> {
    let parsed = found.split_once('/').and_then(|(folder, hex)| {
        let space = [Space::Blob, Space::Tree].into_iter().find(|space| space.folder() == folder)?;
        Some((space, format!("sha256:{hex}").parse().ok()?))
    });
    // Upper-case digits would name one artifact twice.
    let parsed: Option<(Space, Digest)> = parsed.filter(|(space, digest)| name(*space, digest) == found);
    parsed.ok_or_else(|| refused(format!("its entry `{found}` has no place in a bundle")))
}

fn read_all(entry: &mut impl Read) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(|error| torn(&error))?;
    Ok(bytes)
}

/// Reads the frame to its end, where its checksum is; nothing but zeros may follow.
fn end(decoder: impl Read) -> Result<(), BundleError> {
    let mut padding = Vec::new();
    decoder.take(MAX_PADDING + 1).read_to_end(&mut padding).map_err(|error| torn(&error))?;
    if padding.len() as u64 > MAX_PADDING || padding.iter().any(|byte| *byte != 0) {
        return Err(refused("something stands behind its last entry".to_owned()));
    }
    Ok(())
}

fn compare(needed: &BTreeSet<Digest>, stored: &BTreeSet<Digest>) -> Result<(), BundleError> {
    match (needed.difference(stored).next(), stored.difference(needed).next()) {
        (Some(digest), _) => Err(lacks(digest)),
        (None, Some(digest)) => Err(refused(format!("it holds {digest}, which none of its records names"))),
        (None, None) => Ok(()),
    }
}

fn lacks(digest: &Digest) -> BundleError {
    refused(format!("it lacks {digest}, which its records name"))
}

fn refused(reason: String) -> BundleError {
    BundleError::Refused(reason)
}

/// The archive or the compression does not go on as it must.
fn torn(error: &io::Error) -> BundleError {
    refused(format!("it is torn or damaged: {error}"))
}
