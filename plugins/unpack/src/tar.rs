//! Reads tar: the forms of POSIX (ustar, pax) and of GNU, with bounds on what stands in front of an entry.

use std::borrow::Cow;
use std::io::{self, Read};

use lockgate_sdk::prelude::*;
use tar::{EntryType, Header};

use crate::compressed::{CUT, only_zeros};
use crate::place::{Kind, Part, Place, drain, shown};

/// Bytes of a block: headers and contents begin at multiples of it.
const BLOCK: usize = 512;
/// The longest record in front of an entry: pax attributes or a long name. Paths in a tree are at most 4096 bytes.
const RECORD: u64 = 64 << 10;

/// What records in front of an entry say of it.
#[derive(Default)]
struct Ahead {
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
    /// It is a sparse file by pax attributes.
    sparse: bool,
}

/// Whether these bytes begin with a header.
pub fn is_header(bytes: &[u8]) -> bool {
    let header = bytes.get(..BLOCK).map(Header::from_byte_slice);
    header.is_some_and(|header| !header.as_bytes().iter().all(|byte| *byte == 0) && intact(header))
}

/// Whether a header's checksum is right.
fn intact(header: &Header) -> bool {
    let bytes = header.as_bytes();
    let others = bytes[..148].iter().chain(&bytes[156..]);
    let sum: u32 = others.map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
    header.cksum().is_ok_and(|told| told == sum)
}

/// Reads an archive to its end.
pub fn read(source: &mut dyn Read, place: &mut Place<'_>) -> Result<()> {
    let (mut ahead, mut entries) = (Ahead::default(), 0_u64);
    while let Some(header) = next_header(source)? {
        entries += 1;
        ensure!(intact(&header), "entry {entries} has no intact header: the archive is damaged, or no tar");
        let kind = header.entry_type();
        match kind {
            EntryType::GNULongName | EntryType::GNULongLink => {
                let record = record(source, header.entry_size()?)?;
                let end = record.iter().position(|byte| *byte == 0).unwrap_or(record.len());
                let name = text(&record[..end])?.into_owned();
                let field = if kind == EntryType::GNULongName { &mut ahead.path } else { &mut ahead.link };
                *field = Some(name);
            }
            EntryType::XHeader => attributes(&record(source, header.entry_size()?)?, &mut ahead)?,
            EntryType::XGlobalHeader => {
                // git writes its commit into one. What would rename or resize every entry is nobody's.
                let mut all = Ahead::default();
                attributes(&record(source, header.entry_size()?)?, &mut all)?;
                let harmless = all.path.is_none() && all.link.is_none() && all.size.is_none() && !all.sparse;
                ensure!(harmless, "the archive sets a path or a size for all of its entries");
            }
            _ => {
                entry(source, &header, std::mem::take(&mut ahead), place)?;
                continue;
            }
        }
    }
    ensure!(ahead.path.is_none() && ahead.link.is_none(), "{CUT}");
    Ok(only_zeros(source)?)
}

/// The next header; none at the end, which a block of zeros marks.
fn next_header(source: &mut dyn Read) -> Result<Option<Header>> {
    let mut header = Header::new_old();
    let bytes = header.as_mut_bytes();
    let mut filled = 0;
    while filled < BLOCK {
        match source.read(&mut bytes[filled..])? {
            // Some writers leave the blocks at the end out.
            0 if filled == 0 => return Ok(None),
            0 => bail!("{CUT}"),
            count => filled += count,
        }
    }
    Ok(bytes.iter().any(|byte| *byte != 0).then_some(header))
}

fn text(bytes: &[u8]) -> Result<Cow<'_, str>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) => bail!("the name {} is not UTF-8", shown(&String::from_utf8_lossy(bytes))),
    }
}

/// A whole record in front of an entry.
fn record(source: &mut dyn Read, size: u64) -> Result<Vec<u8>> {
    ensure!(size <= RECORD, "{size} bytes stand in front of an entry: at most {RECORD} are read");
    let mut bytes = Vec::with_capacity(size as usize);
    Part { source, left: size }.read_to_end(&mut bytes)?;
    pad(source, size)?;
    Ok(bytes)
}

/// Skips to the next block after so many bytes.
fn pad(source: &mut dyn Read, size: u64) -> io::Result<()> {
    let rest = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    drain(&mut Part { source, left: rest })
}

/// Reads pax attributes: lines of a length, a key and a value.
fn attributes(mut bytes: &[u8], ahead: &mut Ahead) -> Result<()> {
    while !bytes.is_empty() {
        let line = (|| {
            let space = bytes.iter().position(|byte| *byte == b' ')?;
            let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
            let line = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
            let equals = line.iter().position(|byte| *byte == b'=')?;
            Some((length, &line[..equals], &line[equals + 1..]))
        })();
        let (length, key, value) = line.context("an entry has pax attributes that cannot be read")?;
        match key {
            b"path" => ahead.path = Some(text(value)?.into_owned()),
            b"linkpath" => ahead.link = Some(text(value)?.into_owned()),
            b"size" => {
                let size = text(value)?.parse().ok();
                ahead.size = Some(size.context("an entry has a size in its pax attributes that is no number")?);
            }
            _ if key.starts_with(b"GNU.sparse.") => ahead.sparse = true,
            _ => {}
        }
        bytes = &bytes[length..];
    }
    Ok(())
}

fn entry(source: &mut dyn Read, header: &Header, ahead: Ahead, place: &mut Place<'_>) -> Result<()> {
    let path = match ahead.path {
        Some(path) => path,
        None => text(&header.path_bytes())?.into_owned(),
    };
    let kind = header.entry_type();
    let sparse = ahead.sparse || kind == EntryType::GNUSparse;
    ensure!(!sparse, "{} is a sparse file, which is not supported: pack it without `--sparse`", shown(&path));
    let link = match (ahead.link, header.link_name_bytes()) {
        (Some(link), _) => link,
        (None, Some(link)) => text(&link)?.into_owned(),
        (None, None) => String::new(),
    };
    let told = header.entry_size().ok();
    let size = ahead.size.or(told).with_context(|| format!("the size of {} is no number", shown(&path)))?;
    let executable = header.mode().is_ok_and(|mode| mode & 0o100 != 0);
    let kind = match kind {
        // Before POSIX a directory was a file whose name ends with `/`.
        EntryType::Regular | EntryType::Continuous if path.ends_with('/') => Kind::Directory,
        EntryType::Regular | EntryType::Continuous => Kind::File { executable },
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink { target: &link },
        EntryType::Link => Kind::HardLink { target: &link },
        EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Special,
        other => bail!("{} is of the kind `{}`, which nobody knows", shown(&path), other.as_byte().escape_ascii()),
    };
    // Only files have a content; what others claim to have is skipped by nobody's rule alike, and so a way to hide entries.
    let has = matches!(kind, Kind::File { .. });
    ensure!(has || size == 0, "{} is no file and has a content of {size} bytes", shown(&path));
    let mut content = Part { source, left: size };
    place.add(&path, kind, &mut content)?;
    drain(&mut content)?;
    Ok(pad(source, size)?)
}
