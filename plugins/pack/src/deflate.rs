//! Deflate by `miniz_oxide`, gzip around it, and the checksum that gzip and zip share.
//!
//! The `flate2` crate would bring another checksum with tables of 16 kB.

use std::io::{self, Write};

use crc::{CRC_32_ISO_HDLC, Crc, Digest};
use lockgate_sdk::prelude::*;
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress_to_output, create_comp_flags_from_zip_params,
};

use crate::archive::{Compressor, Level};

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// A deflate stream, its checksum and its size.
pub struct Deflate {
    compressor: Box<CompressorOxide>,
    checksum: Digest<'static, u32>,
    size: u64,
    /// Bytes that came out of it.
    compressed: u64,
}

impl Deflate {
    /// A stream of this level, from 1 to 9.
    pub fn new(level: Level) -> Self {
        // A negative window is deflate without a zlib header; 0 is the usual strategy.
        let flags = create_comp_flags_from_zip_params(level.into(), -15, 0);
        Self { compressor: Box::new(CompressorOxide::new(flags)), checksum: CRC.digest(), size: 0, compressed: 0 }
    }

    /// Compresses bytes.
    pub fn push(&mut self, bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
        self.checksum.update(bytes);
        self.size += bytes.len() as u64;
        self.compress(bytes, TDEFLFlush::None, out)
    }

    /// Ends the stream: the checksum, the size before and the size after. Another stream may follow.
    pub fn end(&mut self, out: &mut impl Write) -> io::Result<(u32, u64, u64)> {
        self.compress(&[], TDEFLFlush::Finish, out)?;
        self.compressor.reset();
        let checksum = std::mem::replace(&mut self.checksum, CRC.digest()).finalize();
        Ok((checksum, std::mem::take(&mut self.size), std::mem::take(&mut self.compressed)))
    }

    fn compress(&mut self, bytes: &[u8], flush: TDEFLFlush, out: &mut impl Write) -> io::Result<()> {
        let (mut result, compressed) = (Ok(()), &mut self.compressed);
        let (status, read) = compress_to_output(&mut self.compressor, bytes, flush, |piece| {
            *compressed += piece.len() as u64;
            result = out.write_all(piece);
            result.is_ok()
        });
        result?;
        match (status, read == bytes.len()) {
            (TDEFLStatus::Okay | TDEFLStatus::Done, true) => Ok(()),
            _ => Err(io::Error::other("deflate does not go on")),
        }
    }
}

/// A gzip file: no name, time 0.
pub struct Gzip {
    deflate: Deflate,
    writer: Writer,
}

impl Gzip {
    /// Begins a file.
    pub fn new(mut writer: Writer, level: Level) -> Result<Self> {
        let speed = match u8::from(level) {
            1 => 4,
            9 => 2,
            _ => 0,
        };
        // Magic, deflate, no flags, time, how hard it was compressed; 255 is "unknown" among gzip's operating systems.
        writer.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, speed, 255])?;
        Ok(Self { deflate: Deflate::new(level), writer })
    }
}

impl Write for Gzip {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.deflate.push(bytes, &mut self.writer)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Compressor for Gzip {
    fn end(mut self: Box<Self>) -> Result<Writer> {
        let (checksum, size, _) = self.deflate.end(&mut self.writer)?;
        self.writer.write_all(&checksum.to_le_bytes())?;
        // The size modulo 2^32.
        self.writer.write_all(&(size as u32).to_le_bytes())?;
        Ok(self.writer)
    }
}
