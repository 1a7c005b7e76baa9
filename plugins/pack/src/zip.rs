//! Writes zip archives (PKWARE's APPNOTE 6.3.9): deflate, sizes after the content, zip64 where something is large.
//!
//! By hand, because the crates that write zip are larger than all of this, and most of what they know is of no use here: time,
//! modes and method are always the same.

use std::io::{self, Write};

use lockgate_sdk::prelude::*;

use crate::archive::Level;
use crate::deflate::Deflate;

/// 1980-01-01, midnight, in the form of MS-DOS: time, then date. No zip can be older.
const TIME: [u16; 2] = [0, 1 << 5 | 1];
/// What fits into 32 bits; a field with this value says that zip64 has the number.
const MOST: u64 = u32::MAX as u64;
/// Files from here on announce zip64 before their content: compressed, they may become a little larger.
const LARGE: u64 = MOST - MOST / 64;

/// A zip archive that is being written.
pub struct ZipArchive {
    writer: Writer,
    deflate: Deflate,
    /// Bytes written so far.
    offset: u64,
    /// The directory at the end, which grows beside the content.
    directory: Vec<u8>,
    entries: u64,
}

/// Takes the pieces of a content.
type Sink<'s> = dyn FnMut(&[u8]) -> io::Result<()> + 's;

/// Hands a content to a sink, and says how many bytes there were.
type Content<'c> = dyn FnMut(&mut Sink<'_>) -> io::Result<u64> + 'c;

/// What is known of a content that was written.
#[derive(Default)]
struct Written {
    checksum: u32,
    size: u64,
    compressed: u64,
}

/// Numbers in the order in which they stand in a record, little-endian.
struct Record(Vec<u8>);

impl Record {
    fn new(signature: &[u8; 4]) -> Self {
        Self(signature.to_vec())
    }

    fn two(mut self, numbers: &[u16]) -> Self {
        self.0.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        self
    }

    /// Numbers of 32 bits; larger ones say that zip64 has them.
    fn four(mut self, numbers: &[u64]) -> Self {
        self.0.extend(numbers.iter().flat_map(|number| ((*number).min(MOST) as u32).to_le_bytes()));
        self
    }

    fn eight(mut self, numbers: &[u64]) -> Self {
        self.0.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
}

impl ZipArchive {
    /// Begins an archive.
    pub fn new(writer: Writer, level: Level) -> Self {
        Self { writer, deflate: Deflate::new(level), offset: 0, directory: Vec::new(), entries: 0 }
    }

    /// Adds an entry. `size` is what its content will have; `content` hands it over, where there is any.
    pub fn add(&mut self, path: &str, mode: u16, size: u64, content: Option<&mut Content<'_>>) -> Result<()> {
        ensure!(path.len() < usize::from(u16::MAX), "its path is too long for a zip");
        let begin = self.offset;
        let large = size >= LARGE;
        // Bit 3: checksum and sizes come after the content. Bit 11: the path is UTF-8.
        let flags = if content.is_some() { 1 << 3 } else { 0 } | if path.is_ascii() { 0 } else { 1 << 11 };
        let method = if content.is_some() { 8 } else { 0 };
        let version = if large { 45 } else { 20 };
        let name = path.len() as u16;

        let header = Record::new(b"PK\x03\x04").two(&[version, flags, method, TIME[0], TIME[1]]);
        let header = match large {
            false => header.four(&[0; 3]).two(&[name, 0]).bytes(path.as_bytes()),
            true => header.four(&[0, MOST, MOST]).two(&[name, 20]).bytes(path.as_bytes()).two(&[1, 16]).eight(&[0; 2]),
        };
        self.write(&header)?;
        let mut written = Written::default();
        if let Some(content) = content {
            let (deflate, writer) = (&mut self.deflate, &mut self.writer);
            content(&mut |piece| deflate.push(piece, writer))?;
            let (checksum, size, compressed) = deflate.end(writer)?;
            self.offset += compressed;
            ensure!(large || size.max(compressed) < MOST, "it has grown to {size} bytes");
            written = Written { checksum, size, compressed };
            let after = Record::new(b"PK\x07\x08").four(&[checksum.into()]);
            self.write(&if large { after.eight(&[compressed, size]) } else { after.four(&[compressed, size]) })?;
        }

        // In the directory zip64 has those numbers only that do not fit, in this order.
        let mut extra: Vec<u64> = [written.size, written.compressed, begin].into();
        extra.retain(|number| *number >= MOST);
        let length = if extra.is_empty() { 0 } else { 4 + 8 * extra.len() as u16 };
        let version = if large || length > 0 { 45 } else { 20 };
        // Made by Unix: the upper half of the attributes is the mode; 16 is MS-DOS's mark of a directory.
        let attributes = u64::from(mode) << 16 | if path.ends_with('/') { 16 } else { 0 };
        let record = Record::new(b"PK\x01\x02")
            .two(&[3 << 8 | version, version, flags, method, TIME[0], TIME[1]])
            .four(&[written.checksum.into(), written.compressed, written.size])
            .two(&[name, length, 0, 0, 0])
            .four(&[attributes, begin])
            .bytes(path.as_bytes());
        let record = if length > 0 { record.two(&[1, length - 4]).eight(&extra) } else { record };
        self.directory.extend(record.0);
        self.entries += 1;
        Ok(())
    }

    /// Writes the directory, and gives the output back.
    pub fn end(mut self) -> Result<Writer> {
        let (begin, size, entries) = (self.offset, self.directory.len() as u64, self.entries);
        let directory = Record(std::mem::take(&mut self.directory));
        self.write(&directory)?;
        if begin.max(size) >= MOST || entries >= u64::from(u16::MAX) {
            let place = self.offset;
            let end = Record::new(b"PK\x06\x06").eight(&[44]).two(&[3 << 8 | 45, 45]).four(&[0, 0]);
            self.write(&end.eight(&[entries, entries, size, begin]))?;
            self.write(&Record::new(b"PK\x06\x07").four(&[0]).eight(&[place]).four(&[1]))?;
        }
        let count = entries.min(u16::MAX.into()) as u16;
        self.write(&Record::new(b"PK\x05\x06").two(&[0, 0, count, count]).four(&[size, begin]).two(&[0]))?;
        Ok(self.writer)
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        self.offset += record.0.len() as u64;
        self.writer.write_all(&record.0)
    }
}
