//! Reads zip (PKWARE's APPNOTE 6.3.9): stored and deflated entries, zip64.
//!
//! The directory at the end says what there is. The archive is read from front to back, up to three times: for the end, for the
//! directory, for the contents. Entries must not overlap, and what stands in front of each content must agree with the directory,
//! so that every reader finds the same.

use std::io::{self, BufRead, Read};

use lockgate_sdk::prelude::*;

use crate::compressed::{Inflate, checksum, exactly, skip, wrong};
use crate::place::{Kind, Part, Place, drain, shown};

/// How much of the end is looked at: the last record, its longest comment, and those of zip64.
const TAIL: u64 = 22 + 65_535 + 20 + 56;
/// The most bytes of names in the directory.
const NAMES: usize = 16 << 20;
/// A number of 32 bits that says: zip64 has it.
const MOST: u64 = u32::MAX as u64;

/// An entry as the directory has it.
struct Entry {
    name: String,
    begin: u64,
    compressed: u64,
    size: u64,
    checksum: u32,
    method: u16,
    flags: u16,
    mode: Mode,
}

/// What the attributes say that an entry is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    File { executable: bool },
    Directory,
    Symlink,
    Special,
}

/// Numbers of a record, little-endian; 0 beyond its end.
#[derive(Clone, Copy)]
struct Record<'a>(&'a [u8]);

impl Record<'_> {
    fn number<const N: usize>(self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        if let Some(found) = self.0.get(at..at + N) {
            bytes[..N].copy_from_slice(found);
        }
        u64::from_le_bytes(bytes)
    }

    fn two(self, at: usize) -> u16 {
        self.number::<2>(at) as u16
    }

    fn four(self, at: usize) -> u64 {
        self.number::<4>(at)
    }

    fn eight(self, at: usize) -> u64 {
        self.number::<8>(at)
    }
}

/// Unpacks an archive.
pub fn read(archive: &Input, place: &mut Place<'_>) -> Result<()> {
    let mut entries = directory(archive)?;
    entries.sort_by_key(|entry| entry.begin);
    let (mut source, mut at) = (archive.blob()?, 0);
    for entry in &entries {
        ensure!(entry.begin >= at, "{} overlaps the entry before it, as in a bomb", shown(&entry.name));
        skip(&mut source, entry.begin - at)?;
        at = one(&mut source, entry, place)?;
    }
    Ok(())
}

/// Reads the directory.
fn directory(archive: &Input) -> Result<Vec<Entry>> {
    let size = archive.size;
    let mut reader = archive.blob()?;
    let from = size.saturating_sub(TAIL);
    skip(&mut reader, from)?;
    let mut tail = Vec::new();
    reader.read_to_end(&mut tail)?;
    let (count, begin, length) = end(&tail, from)?;
    let mut reader = archive.blob()?;
    skip(&mut reader, begin)?;
    let mut source = reader.take(length);
    let (mut entries, mut names) = (Vec::new(), 0);
    for number in 0..count {
        let entry = listed(&mut source).with_context(|| format!("read entry {number} of the zip's directory"))?;
        names += entry.name.len();
        ensure!(names <= NAMES, "the names of all entries together are longer than {NAMES} bytes");
        ensure!(entry.begin < begin, "{} begins behind the end of all entries", shown(&entry.name));
        entries.push(entry);
    }
    ensure!(source.limit() == 0, "the zip's directory is longer than its {count} entries");
    Ok(entries)
}

/// Finds the end record in what an archive ends with: number of entries, place and length of the directory.
fn end(tail: &[u8], from: u64) -> Result<(u64, u64, u64)> {
    let found = (0..tail.len().saturating_sub(21)).rev().find(|at| {
        let record = Record(&tail[*at..]);
        tail[*at..].starts_with(b"PK\x05\x06") && at + 22 + usize::from(record.two(20)) == tail.len()
    });
    let at = found.context("the archive has no zip directory at its end: it is cut off, or no zip")?;
    let record = Record(&tail[at..]);
    let (disk, disks) = (record.two(4), record.two(6));
    let (mut count, mut length, mut begin) = (record.two(10).into(), record.four(12), record.four(16));
    let mut behind = from + at as u64;
    let locator = at.checked_sub(20).filter(|at| tail[*at..].starts_with(b"PK\x06\x07"));
    if let Some(locator) = locator {
        let large = Record(&tail[locator..]).eight(8);
        let at = large.checked_sub(from).and_then(|at| usize::try_from(at).ok()).filter(|at| *at < locator);
        let record = at.and_then(|at| tail.get(at..locator)).filter(|bytes| bytes.starts_with(b"PK\x06\x06"));
        let record = Record(record.context("the archive's zip64 records do not lead to each other")?);
        (count, length, begin) = (record.eight(32), record.eight(40), record.eight(48));
        behind = large;
    } else {
        ensure!(disk == 0 && disks == 0, "the archive is one of several volumes, which is not supported");
    }
    ensure!(
        begin.checked_add(length) == Some(behind),
        "the zip's directory is not where its end says: the archive is cut off, or something stands in front of it"
    );
    // Each entry has at least 46 bytes.
    ensure!(count <= length / 46, "the zip's directory has no room for {count} entries");
    Ok((count, begin, length))
}

/// Reads one entry of the directory.
fn listed(source: &mut dyn Read) -> Result<Entry> {
    let mut head = [0; 46];
    exactly(source, &mut head)?;
    ensure!(head.starts_with(b"PK\x01\x02"), "it is none");
    let record = Record(&head);
    let lengths = [28, 30, 32].map(|at| usize::from(record.two(at)));
    let mut rest = vec![0; lengths.iter().sum()];
    exactly(source, &mut rest)?;
    let (name, extra) = rest.split_at(lengths[0]);
    let Ok(name) = std::str::from_utf8(name) else {
        bail!("the name {} is not UTF-8", shown(&String::from_utf8_lossy(name)));
    };
    let (mut compressed, mut size, mut begin) = (record.four(20), record.four(24), record.four(42));
    large(&extra[..lengths[1]], &mut [&mut size, &mut compressed, &mut begin])
        .with_context(|| format!("read the zip64 numbers of {}", shown(name)))?;
    // The upper half of the attributes is a Unix mode if it was made there.
    let unix = matches!(head[5], 3 | 19);
    let mode = if unix { (record.four(38) >> 16) as u32 } else { 0 };
    let mode = match mode & 0o170_000 {
        _ if name.ends_with('/') => Mode::Directory,
        0o040_000 => Mode::Directory,
        0o120_000 => Mode::Symlink,
        0 | 0o100_000 => Mode::File { executable: mode & 0o100 != 0 },
        _ => Mode::Special,
    };
    Ok(Entry {
        name: name.to_owned(),
        begin,
        compressed,
        size,
        checksum: record.four(16) as u32,
        method: record.two(10),
        flags: record.two(8),
        mode,
    })
}

/// Takes numbers that do not fit from the extra field of zip64, where they stand in this order.
fn large(mut extra: &[u8], numbers: &mut [&mut u64]) -> Result<()> {
    while extra.len() >= 4 {
        let (kind, length) = (Record(extra).two(0), usize::from(Record(extra).two(2)));
        let field = extra.get(4..4 + length).context("an extra field is cut off")?;
        if kind == 1 {
            let mut at = 0;
            for number in numbers.iter_mut().filter(|number| ***number == MOST) {
                ensure!(at + 8 <= field.len(), "one of them is missing");
                **number = Record(field).eight(at);
                at += 8;
            }
            return Ok(());
        }
        extra = &extra[4 + length..];
    }
    Ok(())
}

/// Unpacks one entry, and says where its content ended.
fn one(source: &mut Reader, entry: &Entry, place: &mut Place<'_>) -> Result<u64> {
    let failed = || format!("unpack {}", shown(&entry.name));
    let mut head = [0; 30];
    exactly(source, &mut head).with_context(failed)?;
    let record = Record(&head);
    let (name, extra) = (usize::from(record.two(26)), usize::from(record.two(28)));
    let mut rest = vec![0; name + extra];
    exactly(source, &mut rest).with_context(failed)?;
    let begins = head.starts_with(b"PK\x03\x04") && rest[..name] == *entry.name.as_bytes();
    ensure!(begins, "{} has another name before its content than in the directory", shown(&entry.name));
    let same = record.two(8) == entry.method && (record.two(6) ^ entry.flags) & 1 == 0;
    // With bit 3 sizes and checksum come behind the content.
    let (mut compressed, mut size) = (record.four(18), record.four(22));
    large(&rest[name..], &mut [&mut size, &mut compressed]).with_context(failed)?;
    let told = (record.four(14) as u32, compressed, size) == (entry.checksum, entry.compressed, entry.size);
    ensure!(
        same && (told || record.two(6) & 8 != 0),
        "{} has other sizes before its content than in the directory",
        shown(&entry.name)
    );
    ensure!(entry.flags & 0x41 == 0, "{} is encrypted, which is not supported", shown(&entry.name));
    // A backslash separates directories for some readers only.
    ensure!(!entry.name.contains('\\'), "{} holds a backslash", shown(&entry.name));
    content(source, entry, place)?;
    let end = entry.begin.checked_add(30 + (name + extra) as u64).and_then(|at| at.checked_add(entry.compressed));
    end.with_context(failed)
}

fn content(source: &mut Reader, entry: &Entry, place: &mut Place<'_>) -> Result<()> {
    place.take(entry.size).with_context(|| format!("unpack {}", shown(&entry.name)))?;
    let part = io::BufReader::new(Part { source, left: entry.compressed });
    let mut content = match entry.method {
        0 => Content::new(Form::Stored(part), entry),
        8 => Content::new(Form::Deflated(Inflate::new(part)), entry),
        other => bail!("{} is packed by method {other}: only 0 (stored) and 8 (deflate) are known", shown(&entry.name)),
    };
    let mut target = String::new();
    if entry.mode == Mode::Symlink {
        let read = (&mut content).take(4097).read_to_string(&mut target);
        read.with_context(|| format!("read where {} leads", shown(&entry.name)))?;
    }
    let kind = match entry.mode {
        Mode::File { executable } => Kind::File { executable },
        Mode::Directory => Kind::Directory,
        Mode::Symlink => Kind::Symlink { target: &target },
        Mode::Special => Kind::Special,
    };
    ensure!(
        entry.mode != Mode::Directory || entry.size == 0,
        "{} is a directory and has a content of {} bytes",
        shown(&entry.name),
        entry.size
    );
    place.add(&entry.name, kind, &mut content)?;
    content.end().with_context(|| format!("unpack {}", shown(&entry.name)))
}

enum Form<'a> {
    Stored(io::BufReader<Part<'a>>),
    Deflated(Inflate<io::BufReader<Part<'a>>>),
}

/// A content that must be what the directory says of it.
struct Content<'a> {
    form: Form<'a>,
    left: u64,
    told: u32,
    checksum: crc::Digest<'static, u32>,
}

impl<'a> Content<'a> {
    fn new(form: Form<'a>, entry: &Entry) -> Self {
        Self { form, left: entry.size, told: entry.checksum, checksum: checksum() }
    }

    /// Reads what nobody read, and checks all of it.
    fn end(mut self) -> Result<()> {
        drain(&mut self)?;
        let mut part = match self.form {
            Form::Stored(part) => part,
            Form::Deflated(inflate) => inflate.source,
        };
        ensure!(part.fill_buf()?.is_empty(), "its content is longer than the directory says");
        Ok(())
    }
}

impl Read for Content<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        let count = match &mut self.form {
            Form::Stored(part) => part.read(into)?,
            Form::Deflated(inflate) => inflate.read(into)?,
        };
        let Some(left) = self.left.checked_sub(count as u64) else {
            return wrong("its content is longer than the directory says");
        };
        self.left = left;
        self.checksum.update(&into[..count]);
        if count == 0 {
            if left > 0 {
                return wrong("its content is shorter than the directory says");
            }
            if self.checksum.clone().finalize() != self.told {
                return wrong("the checksum of its content is another: it is damaged");
            }
        }
        Ok(count)
    }
}
