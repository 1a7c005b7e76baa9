//! Writing a bundle.

use std::io::{self, Write};

use lockgate_model::event::Event;
use lockgate_model::{Digest, RunId, canonical_json};
use serde_json::json;
use structured_zstd::encoding::{CompressionLevel, StreamingEncoder};
use tar::{EntryType, Header};

use super::references::References;
use super::{BundleError, FORMAT, HEAD, Head, RECORDS, VERSION};
use crate::blob::BlobReader;
use crate::pending::Space;
use crate::record::Chained;
use crate::state::{Store, StoreError};

/// Where the gain of higher levels no longer pays for their time.
const LEVEL: CompressionLevel = CompressionLevel::Default;

impl Store {
    /// Writes the bundle of a run; the number of its entries. Everything that the run's records name must be stored, components
    /// included; fails with [`StoreError::Missing`] or [`StoreError::Damaged`] for what is not, and then what `to` got is no
    /// bundle.
    pub fn write_bundle(&self, run: &RunId, to: impl Write) -> Result<u64, BundleError> {
        let records = self.chained_records(run)?;
        let (chain, records): (Vec<_>, Vec<_>) =
            records.into_iter().map(|Chained { record, prev, hash }| ((prev, hash), record)).unzip();
        let references = References::of(self, &self.unfolded(records.clone())?)?;
        let engine = match records.first().map(|record| &record.event) {
            Some(Event::RunStarted { engine, .. }) => engine.clone(),
            _ => String::new(),
        };
        let count = records.len() as u64;
        let head = Head { format: FORMAT.to_owned(), version: VERSION, run: run.clone(), engine, records: count };
        let mut lines = String::new();
        for (record, (prev, hash)) in records.iter().zip(chain) {
            let line = json!({
                "body": record.event, "hash": hash, "prev": prev, "run": run, "seq": record.seq, "time": record.time_ms,
                "version": lockgate_model::event::RECORD_VERSION,
            });
            lines += &canonical_json(&line);
            lines.push('\n');
        }

        let mut encoder = StreamingEncoder::new(to, LEVEL);
        encoder.set_content_checksum(true).map_err(BundleError::Write)?;
        let mut archive = Archive(tar::Builder::new(encoder));
        archive.add(HEAD, canonical_json(&head).as_bytes())?;
        archive.add(RECORDS, lines.as_bytes())?;
        for digest in &references.blobs {
            archive.stored(Space::Blob, digest, self.open_object((Space::Blob, *digest))?)?;
        }
        for digest in &references.trees {
            archive.stored(Space::Tree, digest, self.open_object((Space::Tree, *digest))?)?;
        }
        let encoder = archive.0.into_inner().map_err(BundleError::Write)?;
        encoder.finish().and_then(|mut to| to.flush()).map_err(BundleError::Write)?;
        Ok((references.blobs.len() + references.trees.len()) as u64 + 2)
    }
}

/// The name of an artifact's entry.
pub(super) fn name(space: Space, digest: &Digest) -> String {
    format!("{}/{}", space.folder(), digest.hex())
}

struct Archive<W: Write>(tar::Builder<W>);

impl<W: Write> Archive<W> {
    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
        let mut header = header(bytes.len() as u64);
        self.0.append_data(&mut header, name, bytes).map_err(BundleError::Write)
    }

    fn stored(&mut self, space: Space, digest: &Digest, reader: BlobReader) -> Result<(), BundleError> {
        let mut header = header(reader.size());
        match self.0.append_data(&mut header, name(space, digest), reader) {
            Ok(()) => Ok(()),
            // A damaged artifact says so by the error of its reader.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(StoreError::Damaged(*digest).into()),
            Err(error) => Err(BundleError::Write(error)),
        }
    }
}

/// A header that says nothing of this machine.
fn header(size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header
}
