//! The forms of archives, over the crates that write them: what is fixed in each so that the bytes are the same each time.

use std::io::{self, Write};

use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, GzBuilder};
use lockgate_sdk::prelude::*;
use structured_zstd::encoding::{CompressionLevel, StreamingEncoder};
use rawzip::time::UtcDateTime;
use rawzip::{CompressionMethod, ZipArchiveWriter};

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
pub struct TarArchive<C: Compressor> {
    builder: tar::Builder<C>,
}

impl TarArchive<Zstd> {
    /// Compresses with zstd, with a checksum of the content.
    pub fn zstd(writer: Writer, level: Level) -> Result<Self> {
        let matcher = DoubleFast::new(Effort::of(level.0));
        let level = CompressionLevel::from_level(level.0.into());
        let mut encoder = StreamingEncoder::new_with_matcher(matcher, writer, level);
        encoder.set_content_checksum(true)?;
        Ok(Self { builder: tar::Builder::new(encoder) })
    }
}

impl TarArchive<GzEncoder<Writer>> {
    /// Compresses with gzip: no name, time 0.
    pub fn gzip(writer: Writer, level: Level) -> Self {
        // 255 is "unknown" among gzip's operating systems.
        let encoder = GzBuilder::new().mtime(0).operating_system(255).write(writer, Compression::new(level.0.into()));
        Self { builder: tar::Builder::new(encoder) }
    }
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

impl<C: Compressor> Form for TarArchive<C> {
    fn directory(&mut self, path: &str) -> Result<()> {
        let mut header = header(tar::EntryType::Directory, 0o755, 0);
        Ok(self.builder.append_data(&mut header, format!("{path}/"), io::empty())?)
    }

    fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        Ok(self.builder.append_link(&mut header, path, target)?)
    }

    fn file(&mut self, path: &str, executable: bool, size: u64, content: &mut Reader) -> Result<()> {
        let mut header = header(tar::EntryType::Regular, mode(executable), size);
        Ok(self.builder.append_data(&mut header, path, content)?)
    }

    fn finish(self) -> Result<()> {
        self.builder.into_inner()?.end()?.finish()
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

    fn deflate(&mut self, path: &str, mode: u32, content: &mut dyn Read) -> Result<()> {
        let file = self.zip.new_file(path).compression_method(CompressionMethod::DEFLATE);
        let (mut entry, config) =
            file.last_modified(UtcDateTime::from_unix(ZIP_EPOCH)).unix_permissions(mode).start()?;
        let mut writer = config.wrap(DeflateEncoder::new(&mut entry, self.level));
        io::copy(content, &mut writer)?;
        let (encoder, descriptor) = writer.finish()?;
        encoder.finish()?;
        entry.finish(descriptor)?;
        Ok(())
    }
}

impl Form for ZipArchive {
    fn directory(&mut self, path: &str) -> Result<()> {
        let directory = self.zip.new_dir(path).last_modified(UtcDateTime::from_unix(ZIP_EPOCH));
        directory.unix_permissions(0o040_755).create()?;
        Ok(())
    }

    fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        self.deflate(path, 0o120_777, &mut target.as_bytes())
    }

    fn file(&mut self, path: &str, executable: bool, _size: u64, content: &mut Reader) -> Result<()> {
        self.deflate(path, 0o100_000 | mode(executable), content)
    }

    fn finish(self) -> Result<()> {
        self.zip.finish()?.finish()
    }
}
