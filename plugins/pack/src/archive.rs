//! The forms of archives, over the crates that write them: what is fixed in each so that the bytes are the same each time.

use std::io::{self, Write};

use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, Crc, GzBuilder};
use lockgate_sdk::prelude::*;
use rawzip::time::UtcDateTime;
use rawzip::{CompressionMethod, DataDescriptorOutput, ZipArchiveWriter};
use structured_zstd::encoding::{CompressionLevel, StreamingEncoder};
use tar::{EntryType, Header};

use crate::Format;
use crate::matcher::{DoubleFast, Effort};

/// 1980-01-01, the first time that zip knows, in seconds since 1970.
const ZIP_EPOCH: i64 = 315_532_800;

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

/// An archive that is being written.
pub trait Form {
    /// Adds a directory.
    fn directory(&mut self, path: &str) -> Result<()>;
    /// Adds a symbolic link.
    fn symlink(&mut self, path: &str, target: &str) -> Result<()>;
    /// Adds a file of a known size.
    fn file(&mut self, path: &str, executable: bool, size: u64, content: &mut Reader) -> Result<()>;
    /// Ends the archive and the output.
    fn finish(self) -> Result<()>;
}

/// The mode of a file.
const fn mode(executable: bool) -> u32 {
    if executable { 0o755 } else { 0o644 }
}

/// A compressor that ends by giving the output back.
pub trait Compressor: Write {
    /// Writes what is left.
    fn end(self) -> Result<Writer>;
}

/// The zstd encoder with our match finder.
type Zstd = StreamingEncoder<Writer, DoubleFast>;

impl Compressor for Zstd {
    fn end(self) -> Result<Writer> {
        Ok(self.finish()?)
    }
}

impl Compressor for GzEncoder<Writer> {
    fn end(self) -> Result<Writer> {
        Ok(self.finish()?)
    }
}

/// A compressed tar archive: GNU form, owner 0, time 0.
///
/// The `tar` crate makes the headers; its builder would bring the standard library's paths along, a tenth of the component.
pub struct TarArchive<C: Compressor> {
    compressor: C,
}

impl TarArchive<Zstd> {
    /// Compresses with zstd, with a checksum of the content.
    pub fn zstd(writer: Writer, level: Level) -> Result<Self> {
        let matcher = DoubleFast::new(Effort::of(level.0));
        let level = CompressionLevel::from_level(level.0.into());
        let mut compressor = StreamingEncoder::new_with_matcher(matcher, writer, level);
        compressor.set_content_checksum(true)?;
        Ok(Self { compressor })
    }
}

impl TarArchive<GzEncoder<Writer>> {
    /// Compresses with gzip: no name, time 0.
    pub fn gzip(writer: Writer, level: Level) -> Self {
        // 255 is "unknown" among gzip's operating systems.
        let builder = GzBuilder::new().mtime(0).operating_system(255);
        Self { compressor: builder.write(writer, Compression::new(level.0.into())) }
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

impl<C: Compressor> TarArchive<C> {
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

impl<C: Compressor> Form for TarArchive<C> {
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

    fn finish(mut self) -> Result<()> {
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

/// A zip archive: deflate, time 1980-01-01, Unix modes. It is never read back: sizes follow the content.
pub struct ZipArchive {
    zip: ZipArchiveWriter<Writer>,
    level: Compression,
}

impl ZipArchive {
    /// Begins an archive.
    pub fn new(writer: Writer, level: Level) -> Self {
        Self { zip: ZipArchiveWriter::new(writer), level: Compression::new(level.0.into()) }
    }

    /// Writes one entry; `content` hands its bytes to the function that it gets.
    fn deflate(
        &mut self,
        path: &str,
        mode: u32,
        content: impl FnOnce(&mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64>,
    ) -> Result<()> {
        let file = self.zip.new_file(path).compression_method(CompressionMethod::DEFLATE);
        let (mut entry, _) = file.last_modified(UtcDateTime::from_unix(ZIP_EPOCH)).unix_permissions(mode).start()?;
        let mut encoder = DeflateEncoder::new(&mut entry, self.level);
        let mut crc = Crc::new();
        let size = content(&mut |piece| {
            crc.update(piece);
            encoder.write_all(piece)
        })?;
        encoder.finish()?;
        entry.finish(DataDescriptorOutput::new(crc.sum(), size))?;
        Ok(())
    }
}

impl Form for ZipArchive {
    fn directory(&mut self, path: &str) -> Result<()> {
        let directory = self.zip.new_dir(format!("{path}/")).last_modified(UtcDateTime::from_unix(ZIP_EPOCH));
        directory.unix_permissions(0o040_755).create()?;
        Ok(())
    }

    fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        self.deflate(path, 0o120_777, |write| write(target.as_bytes()).map(|()| target.len() as u64))
    }

    fn file(&mut self, path: &str, executable: bool, _size: u64, content: &mut Reader) -> Result<()> {
        self.deflate(path, 0o100_000 | mode(executable), |write| copy(content, write))
    }

    fn finish(self) -> Result<()> {
        self.zip.finish()?.finish()
    }
}
