//! Compressed bytes as readers that check what they are told: checksums, sizes, windows, and how much comes out of how little.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use crc::{CRC_32_ISO_HDLC, Crc, Digest};
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// A checksum as gzip and zip have it.
pub fn checksum() -> Digest<'static, u32> {
    CRC.digest()
}

/// How many bytes may still come out.
pub struct Budget {
    most: u64,
    grown: u64,
    ratio: u64,
    used: Cell<u64>,
}

impl Budget {
    /// At most `most` bytes, and at most `grown`, which is the archive's size times `ratio`.
    pub const fn new(most: u64, grown: u64, ratio: u64) -> Self {
        Self { most, grown, ratio, used: Cell::new(0) }
    }

    /// Begins another pass over the same bytes.
    pub fn restart(&self) {
        self.used.set(0);
    }

    /// Takes bytes.
    pub fn take(&self, bytes: u64) -> io::Result<()> {
        let used = self.used.get().saturating_add(bytes);
        self.used.set(used);
        let Self { most, grown, ratio, .. } = self;
        if used > *most {
            return wrong(format!("it unpacks to more than {most} bytes: raise `max_bytes` if that is right"));
        }
        if used > *grown {
            return wrong(format!(
                "it unpacks to more than {ratio} times its size, as a bomb does: raise `max_ratio` if that is right"
            ));
        }
        Ok(())
    }
}

/// An error of these words.
pub fn wrong<T>(message: impl Into<String>) -> io::Result<T> {
    Err(io::Error::other(message.into()))
}

/// What is said of an archive that ends before its end.
pub const CUT: &str = "the archive is cut off: it ends before its content does";

/// Reads so many bytes, or says that the archive is cut off.
pub fn exactly(source: &mut dyn Read, into: &mut [u8]) -> io::Result<()> {
    source.read_exact(into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other(CUT),
        _ => error,
    })
}

/// A stream of deflate.
pub struct Inflate<R> {
    pub source: R,
    state: Box<InflateState>,
    ended: bool,
}

impl<R: BufRead> Inflate<R> {
    pub fn new(source: R) -> Self {
        Self { source, state: InflateState::new_boxed(DataFormat::Raw), ended: false }
    }

    /// Begins another stream behind the one that ended.
    fn restart(&mut self) {
        self.state.reset(DataFormat::Raw);
        self.ended = false;
    }
}

impl<R: BufRead> Read for Inflate<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !into.is_empty() {
            let bytes = self.source.fill_buf()?;
            let end = bytes.is_empty();
            let done = inflate(&mut self.state, bytes, into, MZFlush::None);
            self.source.consume(done.bytes_consumed);
            match done.status {
                Ok(MZStatus::StreamEnd) => self.ended = true,
                Ok(_) => {}
                Err(MZError::Buf) if !end || done.bytes_written > 0 => {}
                Err(MZError::Buf) => return wrong(CUT),
                Err(_) => return wrong("what is compressed by deflate is damaged"),
            }
            if done.bytes_written > 0 {
                return Ok(done.bytes_written);
            }
            if end && !self.ended {
                return wrong(CUT);
            }
        }
        Ok(0)
    }
}

/// A gzip file of one or several members (RFC 1952).
pub struct Gunzip<R> {
    inflate: Inflate<R>,
    checksum: Digest<'static, u32>,
    size: u32,
    budget: Rc<Budget>,
    inside: bool,
    ended: bool,
}

impl<R: BufRead> Gunzip<R> {
    pub fn new(source: R, budget: Rc<Budget>) -> Self {
        Self { inflate: Inflate::new(source), checksum: checksum(), size: 0, budget, inside: false, ended: false }
    }

    fn header(&mut self) -> io::Result<()> {
        let source = &mut self.inflate.source;
        let mut head = [0; 10];
        exactly(source, &mut head)?;
        let [0x1f, 0x8b, method, flags, ..] = head else { return wrong("this is no gzip file") };
        if method != 8 || flags & 0xe0 != 0 {
            return wrong("this gzip file is of a kind that nobody has defined");
        }
        if flags & 4 != 0 {
            let mut length = [0; 2];
            exactly(source, &mut length)?;
            skip(source, u16::from_le_bytes(length).into())?;
        }
        for text in [8, 16] {
            // Name and comment end with a zero.
            if flags & text != 0 {
                let mut byte = [1];
                while byte != [0] {
                    exactly(source, &mut byte)?;
                }
            }
        }
        if flags & 2 != 0 {
            skip(source, 2)?;
        }
        (self.inside, self.checksum, self.size) = (true, checksum(), 0);
        self.inflate.restart();
        Ok(())
    }

    fn trailer(&mut self) -> io::Result<()> {
        let mut trailer = [0; 8];
        exactly(&mut self.inflate.source, &mut trailer)?;
        let found = std::mem::replace(&mut self.checksum, checksum()).finalize();
        if trailer[..4] != found.to_le_bytes() || trailer[4..] != self.size.to_le_bytes() {
            return wrong("the checksum of the gzip file is another: it is damaged");
        }
        self.inside = false;
        Ok(())
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !into.is_empty() {
            if !self.inside {
                let first = self.inflate.source.fill_buf()?.first().copied();
                if self.inflate.ended {
                    // Behind a member: another one, the end, or zeros that fill up a block of a tape.
                    match first {
                        None => self.ended = true,
                        Some(0) => {
                            only_zeros(&mut self.inflate.source)?;
                            self.ended = true;
                        }
                        Some(_) => self.header()?,
                    }
                } else {
                    self.header()?;
                }
                continue;
            }
            let count = self.inflate.read(into)?;
            if count == 0 {
                self.trailer()?;
                continue;
            }
            self.checksum.update(&into[..count]);
            // The size is modulo 2^32.
            self.size = self.size.wrapping_add(count as u32);
            self.budget.take(count as u64)?;
            return Ok(count);
        }
        Ok(0)
    }
}

/// One or several frames of zstd (RFC 8878).
pub struct Unzstd<R> {
    source: R,
    decoder: FrameDecoder,
    budget: Rc<Budget>,
    max_window: u64,
    inside: bool,
    ended: bool,
}

impl<R: BufRead> Unzstd<R> {
    pub fn new(source: R, max_window: u64, budget: Rc<Budget>) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(max_window);
        Self { source, decoder, budget, max_window, inside: false, ended: false }
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.source.fill_buf()?.is_empty() {
            self.ended = true;
            return Ok(());
        }
        match self.decoder.init(&mut self.source) {
            Ok(()) => self.inside = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                skip(&mut self.source, length.into())?;
            }
            Err(FrameDecoderError::WindowSizeTooBig { requested, .. }) => {
                return wrong(format!(
                    "its zstd frame asks for a window of {requested} bytes; `max_window` permits {}",
                    self.max_window
                ));
            }
            Err(FrameDecoderError::DictNotProvided { .. }) => {
                return wrong("its zstd frame needs a dictionary, which nobody has");
            }
            Err(_) => return wrong("its zstd frame has no header that can be read"),
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.inside = false;
        match self.decoder.get_checksum_from_data() {
            Some(told) if self.decoder.get_calculated_checksum() != Some(told) => {
                wrong("the checksum of the zstd frame is another: it is damaged")
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Unzstd<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !into.is_empty() {
            if !self.inside {
                self.begin()?;
                continue;
            }
            if self.decoder.can_collect() == 0 {
                if self.decoder.is_finished() {
                    self.end()?;
                    continue;
                }
                let one = BlockDecodingStrategy::UptoBlocks(1);
                if self.decoder.decode_blocks(&mut self.source, one).is_err() {
                    let cut = self.source.fill_buf()?.is_empty();
                    return wrong(if cut { CUT } else { "what is compressed by zstd is damaged" });
                }
                continue;
            }
            let count = self.decoder.read(into)?;
            self.budget.take(count as u64)?;
            return Ok(count);
        }
        Ok(0)
    }
}

/// Skips so many bytes.
pub fn skip(source: &mut impl BufRead, mut count: u64) -> io::Result<()> {
    while count > 0 {
        let there = source.fill_buf()?.len() as u64;
        if there == 0 {
            return wrong(CUT);
        }
        let now = there.min(count);
        source.consume(now as usize);
        count -= now;
    }
    Ok(())
}

/// Reads to the end, where nothing but zeros may stand.
pub fn only_zeros(source: &mut dyn Read) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = source.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        if buffer[..count].iter().any(|byte| *byte != 0) {
            return wrong("something stands behind the end of the archive");
        }
    }
}
