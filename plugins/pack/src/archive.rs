//! The forms of archives, over the crates that write them: what is fixed in each so that the bytes are the same each time.

use std::io::{self, Write};

use lockgate_sdk::prelude::*;
use structured_zstd::encoding::{CompressionLevel, StreamingEncoder};
use tar::{EntryType, Header};

use crate::Format;
use crate::deflate::Gzip;
use crate::matcher::{DoubleFast, Effort};
use crate::zip::ZipArchive;

/// A checked compression level.
#[derive(Debug, Clone, Copy)]
pub struct Level(u8);

impl Level {
    /// Checks a level for a format; none is the format's usual one.
    pub fn new(format: Format, level: Option<u8>) -> Result<Self> {
        let (usual, highest) = match format {
            Format::TarZst => (3, Effort::LEVELS),
            Format::TarGz | Format::Zip => (6, 9),
        };
        let level = level.unwrap_or(usual);
        ensure!((1..=highest).contains(&level), "there is no level {level} for this format: 1 to {highest}");
        Ok(Self(level))
    }
}

impl From<Level> for u8 {
    fn from(level: Level) -> Self {
        level.0
    }
}

impl From<Level> for i32 {
    fn from(level: Level) -> Self {
        level.0.into()
    }
}

/// An archive that is being written.
pub trait Form {
    /// Adds a directory.
    fn directory(&mut self, path: &str) -> Result<()>;
    /// Adds a symbolic link.
    fn symlink(&mut self, path: &str, target: &str) -> Result<()>;
    /// Adds a file of a known size.
    fn file(&mut self, path: &str, executable: bool, size: u64, content: &mut Reader) -> Result<()>;
    /// Ends the archive and the output.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// The mode of a file.
const fn mode(executable: bool) -> u32 {
    if executable { 0o755 } else { 0o644 }
}

/// A compressor that ends by giving the output back.
pub trait Compressor: Write {
    /// Writes what is left.
    fn end(self: Box<Self>) -> Result<Writer>;
}

/// The zstd encoder with our match finder.
type Zstd = StreamingEncoder<Writer, DoubleFast>;

impl Compressor for Zstd {
    fn end(self: Box<Self>) -> Result<Writer> {
        Ok((*self).finish()?)
    }
}

/// A compressed tar archive: GNU form, owner 0, time 0.
///
/// The `tar` crate makes the headers; its builder would bring the standard library's paths along, a tenth of the component.
pub struct TarArchive {
    compressor: Box<dyn Compressor>,
}

impl TarArchive {
    /// Compresses with zstd, with a checksum of the content.
    pub fn zstd(writer: Writer, level: Level) -> Result<Self> {
        let matcher = DoubleFast::new(Effort::of(level.0));
        let level = CompressionLevel::from_level(level.0.into());
        let mut compressor = StreamingEncoder::new_with_matcher(matcher, writer, level);
        compressor.set_content_checksum(true)?;
        Ok(Self { compressor: Box::new(compressor) })
    }

    /// Compresses with gzip.
    pub fn gzip(writer: Writer, level: Level) -> Result<Self> {
        Ok(Self { compressor: Box::new(Gzip::new(writer, level)?) })
    }
}

/// Bytes of a tar block: headers and contents begin at multiples of it.
const BLOCK: usize = 512;

/// The name of an entry that carries a name too long for a header, as GNU tar writes it.
const LONG_LINK: &str = "././@LongLink";

/// What an entry is.
#[derive(Clone, Copy)]
struct Kind {
    kind: EntryType,
    mode: u32,
    size: u64,
}

impl TarArchive {
    /// Writes the header of an entry; before it, names that do not fit into one.
    fn header(&mut self, entry: Kind, path: &str, target: &str) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_size(entry.size);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        if let Some(gnu) = header.as_gnu_mut() {
            for (field, text, kind) in
                [(&mut gnu.linkname, target, EntryType::GNULongLink), (&mut gnu.name, path, EntryType::GNULongName)]
            {
                // A name that fills the field has no zero at its end, and is well-formed all the same.
                let fits = text.len().min(field.len());
                field[..fits].copy_from_slice(&text.as_bytes()[..fits]);
                if fits < text.len() {
                    self.long(kind, text)?;
                }
            }
        }
        header.set_cksum();
        Ok(self.compressor.write_all(header.as_bytes())?)
    }

    /// Writes an entry that carries a long name for the next one.
    fn long(&mut self, kind: EntryType, text: &str) -> Result<()> {
        self.header(Kind { kind, mode: 0o644, size: text.len() as u64 + 1 }, LONG_LINK, "")?;
        self.compressor.write_all(text.as_bytes())?;
        self.compressor.write_all(&[0])?;
        self.pad(text.len() as u64 + 1)
    }

    /// Fills up to the next block after so many bytes.
    fn pad(&mut self, size: u64) -> Result<()> {
        let rest = (size % BLOCK as u64) as usize;
        if rest > 0 {
            self.compressor.write_all(&[0; BLOCK][rest..])?;
        }
        Ok(())
    }
}

impl Form for TarArchive {
    fn directory(&mut self, path: &str) -> Result<()> {
        self.header(Kind { kind: EntryType::Directory, mode: 0o755, size: 0 }, &format!("{path}/"), "")
    }

    fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        self.header(Kind { kind: EntryType::Symlink, mode: 0o777, size: 0 }, path, target)
    }

    fn file(&mut self, path: &str, executable: bool, size: u64, content: &mut Reader) -> Result<()> {
        self.header(Kind { kind: EntryType::Regular, mode: mode(executable), size }, path, "")?;
        let copied = copy(content, |piece| self.compressor.write_all(piece))?;
        ensure!(copied == size, "it has {copied} bytes and not {size}");
        self.pad(size)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.compressor.write_all(&[0; 2 * BLOCK])?;
        self.compressor.end()?.finish()
    }
}

/// Hands the reader's own buffers on, and says how many bytes there were.
fn copy(content: &mut Reader, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let mut copied = 0;
    loop {
        let piece = content.fill_buf()?;
        let length = piece.len();
        if length == 0 {
            return Ok(copied);
        }
        write(piece)?;
        content.consume(length);
        copied += length as u64;
    }
}

impl Form for ZipArchive {
    fn directory(&mut self, path: &str) -> Result<()> {
        self.add(&format!("{path}/"), 0o040_755, 0, None)
    }

    fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        let size = target.len() as u64;
        self.add(path, 0o120_777, size, Some(&mut |write| write(target.as_bytes()).map(|()| size)))
    }

    fn file(&mut self, path: &str, executable: bool, size: u64, content: &mut Reader) -> Result<()> {
        self.add(path, 0o100_000 | mode(executable) as u16, size, Some(&mut |write| copy(content, write)))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.end()?.finish()
    }
}
