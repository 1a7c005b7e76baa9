//! What is in a file: bytes in memory, a blob that grows at its end, a blob that is stored, or a scratch file.
//!
//! A file of `/out` begins in memory. Beyond [`IN_MEMORY`] it is a blob that is being written as long as the guest appends, as most
//! programs do, and costs no more than an output of the contract; a guest that goes back makes it a scratch file, once. When nobody
//! has it open any more it is stored. A file of an input is read from its blob from front to back; a guest that goes back makes a copy
//! of it, once for as long as it is open. Files of `/tmp` stay in memory. What is in memory counts to the node's limit of memory.

use std::io::Read;

use lockgate_model::Digest;
use lockgate_model::limits::MAX_CHUNK;

use super::vfs::Mount;
use crate::ports::{BlobWriter, Scratch};
use crate::schedule;
use crate::state::{State, Stop};

/// Most bytes of a file of `/out`, or of a copy of a file of `/in`, that are kept in memory: with the files that may be open at once
/// about as much as a node's memory by default.
const IN_MEMORY: u64 = 64 << 10;
/// Bytes that are copied at once.
const FRAME: usize = 256 << 10;

/// The bytes of a file.
pub(crate) enum Content {
    Memory(Vec<u8>),
    /// Grows at its end.
    Growing {
        writer: Box<dyn BlobWriter>,
        size: u64,
    },
    Stored {
        digest: Digest,
        size: u64,
        reading: Reading,
    },
    Scratch {
        file: Box<dyn Scratch>,
        size: u64,
    },
}

/// How a stored file is being read.
pub(crate) enum Reading {
    /// Nobody does.
    Closed,
    /// From front to back.
    Forward { source: Box<dyn Read + Send>, position: u64 },
    /// From a copy in memory.
    Memory(Vec<u8>),
    /// From a copy in a scratch file.
    Scratch(Box<dyn Scratch>),
}

impl Default for Content {
    fn default() -> Self {
        Self::Memory(Vec::new())
    }
}

impl Content {
    /// A blob.
    pub(crate) fn stored(digest: Digest, size: u64) -> Self {
        Self::Stored { digest, size, reading: Reading::Closed }
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Growing { size, .. } | Self::Stored { size, .. } | Self::Scratch { size, .. } => *size,
        }
    }

    /// At most so many of the bytes at an offset; fewer only at the end.
    pub(crate) fn read(&mut self, state: &mut State, offset: u64, max: u64) -> Result<Vec<u8>, Stop> {
        let wanted = max.min(MAX_CHUNK.into()).min(self.size().saturating_sub(offset));
        state.spend_bytes(wanted)?;
        // At most MAX_CHUNK, so it fits.
        let length = wanted as usize;
        if length == 0 {
            return Ok(Vec::new());
        }
        if let Self::Growing { .. } = self {
            self.store(state)?;
        }
        match self {
            Self::Memory(bytes) => Ok(slice(bytes, offset, length).to_vec()),
            Self::Scratch { file, .. } => read_scratch(&mut **file, offset, length),
            Self::Stored { digest, size, reading } => reading.read(state, (*digest, *size), offset, length),
            Self::Growing { .. } => Err(broken()),
        }
    }

    /// Writes bytes at an offset; what is between it and the end becomes zeros.
    pub(crate) fn write(&mut self, state: &mut State, mount: Mount, offset: u64, bytes: &[u8]) -> Result<(), Stop> {
        if bytes.is_empty() {
            return Ok(());
        }
        let Some(end) = offset.checked_add(bytes.len() as u64) else { return Err(too_long()) };
        let size = self.size();
        self.make_room(state, mount, size.max(end), offset == size)?;
        match self {
            Self::Memory(memory) => {
                // It is in memory up to the end, which the limit of memory permits.
                let (from, to) = (offset as usize, end as usize);
                if memory.len() < to {
                    memory.resize(to, 0);
                }
                memory[from..to].copy_from_slice(bytes);
                Ok(())
            }
            Self::Growing { writer, size } => {
                writer.write_all(bytes).map_err(|error| Stop::artifacts("write an output", &error))?;
                *size = end;
                Ok(())
            }
            Self::Scratch { file, size } => {
                file.write_at(offset, bytes).map_err(|error| scratch_failed(&error))?;
                *size = (*size).max(end);
                Ok(())
            }
            Self::Stored { .. } => Err(broken()),
        }
    }

    /// Cuts it, or adds zeros.
    pub(crate) fn resize(&mut self, state: &mut State, mount: Mount, new: u64) -> Result<(), Stop> {
        let old = self.size();
        if new == old {
            return Ok(());
        }
        if new == 0 {
            self.forget(state);
            *self = Self::default();
            return Ok(());
        }
        self.make_room(state, mount, new, false)?;
        match self {
            Self::Memory(memory) => {
                if new < old {
                    state.usage.release(old - new);
                }
                // In memory, so it fits.
                memory.resize(new as usize, 0);
                memory.shrink_to_fit();
                Ok(())
            }
            Self::Scratch { file, size } => {
                file.set_len(new).map_err(|error| scratch_failed(&error))?;
                *size = new;
                Ok(())
            }
            Self::Growing { .. } | Self::Stored { .. } => Err(broken()),
        }
    }

    /// Makes it what can be written to, with room for so many bytes, and counts those that are new.
    fn make_room(&mut self, state: &mut State, mount: Mount, new: u64, appends: bool) -> Result<(), Stop> {
        let old = self.size();
        let more = new.saturating_sub(old);
        if mount == Mount::Out {
            state.write(more)?;
        }
        let small = mount == Mount::Tmp || new <= IN_MEMORY;
        match self {
            Self::Memory(_) if small => {
                // Zeros in between, too.
                state.spend(schedule::moving(more))?;
                state.hold(more)
            }
            Self::Memory(memory) => {
                let bytes = std::mem::take(memory);
                if appends {
                    let mut writer = writer(state)?;
                    let written = writer.write_all(&bytes);
                    written.map_err(|error| Stop::artifacts("write an output", &error))?;
                    *self = Self::Growing { writer, size: old };
                } else {
                    let mut file = scratch(state)?;
                    file.write_at(0, &bytes).map_err(|error| scratch_failed(&error))?;
                    *self = Self::Scratch { file, size: old };
                }
                state.usage.release(old);
                Ok(())
            }
            Self::Growing { .. } if appends => Ok(()),
            Self::Growing { .. } => {
                self.store(state)?;
                self.open_up(state, new)
            }
            Self::Stored { .. } => self.open_up(state, new),
            Self::Scratch { .. } => Ok(()),
        }
    }

    /// Makes something that can be written to of what is stored.
    fn open_up(&mut self, state: &mut State, new: u64) -> Result<(), Stop> {
        let Self::Stored { digest, size, reading } = self else { return Ok(()) };
        let (digest, size) = (*digest, *size);
        reading.close(state);
        *self = if size <= IN_MEMORY && new <= IN_MEMORY {
            state.hold(new.max(size))?;
            Self::Memory(load(state, digest, size)?)
        } else {
            Self::Scratch { file: copy(state, digest, size)?, size }
        };
        Ok(())
    }

    /// Ends a blob that grows.
    fn store(&mut self, state: &mut State) -> Result<(), Stop> {
        let Self::Growing { .. } = self else { return Ok(()) };
        state.spend(schedule::Call::Open.fuel())?;
        let Self::Growing { writer, .. } = std::mem::take(self) else { return Ok(()) };
        let (digest, size) = writer.finish().map_err(|error| Stop::artifacts("store an output", &error))?;
        *self = Self::stored(digest, size);
        Ok(())
    }

    /// Nobody has it open any more: a file of `/out` is stored, and copies go.
    pub(crate) fn settle(&mut self, state: &mut State, mount: Mount) -> Result<(), Stop> {
        match self {
            Self::Stored { reading, .. } => reading.close(state),
            Self::Memory(_) | Self::Growing { .. } | Self::Scratch { .. } if mount == Mount::Out => {
                self.digest(state)?;
            }
            Self::Memory(_) | Self::Growing { .. } | Self::Scratch { .. } => {}
        }
        Ok(())
    }

    /// Stores it, whatever it is, and gives its digest.
    pub(crate) fn digest(&mut self, state: &mut State) -> Result<Digest, Stop> {
        let failed = |error: std::io::Error| Stop::artifacts("store an output", &error);
        let size = self.size();
        match self {
            Self::Growing { .. } => self.store(state)?,
            Self::Memory(bytes) => {
                state.spend(schedule::Call::Open.fuel() + schedule::moving(size))?;
                let digest = state.artifacts.put_blob(bytes).map_err(failed)?;
                state.usage.release(size);
                *self = Self::stored(digest, size);
            }
            Self::Scratch { file, .. } => {
                state.spend(schedule::Call::Open.fuel() + schedule::moving(size))?;
                let mut writer = state.artifacts.blob_writer().map_err(failed)?;
                let mut offset = 0;
                while offset < size {
                    let length = (size - offset).min(FRAME as u64) as usize;
                    writer.write_all(&read_scratch(&mut **file, offset, length)?).map_err(failed)?;
                    offset += length as u64;
                }
                let (digest, size) = writer.finish().map_err(failed)?;
                *self = Self::stored(digest, size);
            }
            Self::Stored { .. } => {}
        }
        match self {
            Self::Stored { digest, .. } => Ok(*digest),
            _ => Err(broken()),
        }
    }

    /// It is gone: what it held of memory is free.
    pub(crate) fn forget(&mut self, state: &mut State) {
        match self {
            Self::Memory(bytes) => state.usage.release(bytes.len() as u64),
            Self::Stored { reading, .. } => reading.close(state),
            Self::Growing { .. } | Self::Scratch { .. } => {}
        }
    }
}

impl Reading {
    fn close(&mut self, state: &mut State) {
        if let Self::Memory(bytes) = self {
            state.usage.release(bytes.len() as u64);
        }
        *self = Self::Closed;
    }

    fn read(
        &mut self,
        state: &mut State,
        (digest, size): (Digest, u64),
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, Stop> {
        match self {
            Self::Forward { position, .. } if *position <= offset => {}
            Self::Closed => {
                state.spend(schedule::Call::Open.fuel())?;
                let opened = state.artifacts.open_blob(digest);
                let (source, _) = opened.map_err(|error| Stop::artifacts("open a file of an input", &error))?;
                *self = Self::Forward { source, position: 0 };
            }
            Self::Forward { .. } => {
                // It goes back: from now on it may go anywhere.
                *self = match size <= IN_MEMORY {
                    true => {
                        state.hold(size)?;
                        Self::Memory(load(state, digest, size)?)
                    }
                    false => Self::Scratch(copy(state, digest, size)?),
                };
            }
            Self::Memory(_) | Self::Scratch(_) => {}
        }
        match self {
            Self::Memory(bytes) => Ok(slice(bytes, offset, length).to_vec()),
            Self::Scratch(file) => read_scratch(&mut **file, offset, length),
            Self::Forward { source, position } => {
                let skipped = offset - *position;
                if skipped > 0 {
                    state.spend(schedule::moving(skipped))?;
                    let moved = std::io::copy(&mut source.take(skipped), &mut std::io::sink());
                    whole(moved.map_err(|error| read_failed(&error))?, skipped)?;
                }
                let mut bytes = Vec::with_capacity(length);
                let read = Read::by_ref(source).take(length as u64).read_to_end(&mut bytes);
                whole(read.map_err(|error| read_failed(&error))? as u64, length as u64)?;
                *position = offset + length as u64;
                Ok(bytes)
            }
            Self::Closed => Err(broken()),
        }
    }
}

/// The bytes at an offset, as far as there are so many.
fn slice(bytes: &[u8], offset: u64, length: usize) -> &[u8] {
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    &bytes[from..from.saturating_add(length).min(bytes.len())]
}

fn writer(state: &mut State) -> Result<Box<dyn BlobWriter>, Stop> {
    state.spend(schedule::Call::Open.fuel())?;
    state.artifacts.blob_writer().map_err(|error| Stop::artifacts("begin an output", &error))
}

fn scratch(state: &mut State) -> Result<Box<dyn Scratch>, Stop> {
    state.spend(schedule::Call::Open.fuel())?;
    state.artifacts.scratch().map_err(|error| scratch_failed(&error))
}

/// Reads a small blob.
fn load(state: &mut State, digest: Digest, size: u64) -> Result<Vec<u8>, Stop> {
    state.spend(schedule::Call::Open.fuel() + schedule::moving(size))?;
    let (source, _) = state.artifacts.open_blob(digest).map_err(|error| read_failed(&error))?;
    let mut bytes = Vec::new();
    let read = source.take(size).read_to_end(&mut bytes).map_err(|error| read_failed(&error))?;
    whole(read as u64, size)?;
    Ok(bytes)
}

/// Copies a blob into a scratch file.
fn copy(state: &mut State, digest: Digest, size: u64) -> Result<Box<dyn Scratch>, Stop> {
    let mut file = scratch(state)?;
    state.spend(schedule::moving(size))?;
    let (mut source, _) = state.artifacts.open_blob(digest).map_err(|error| read_failed(&error))?;
    let (mut buffer, mut offset) = (vec![0; FRAME], 0);
    while offset < size {
        let count = source.read(&mut buffer).map_err(|error| read_failed(&error))?;
        if count == 0 {
            break;
        }
        file.write_at(offset, &buffer[..count]).map_err(|error| scratch_failed(&error))?;
        offset += count as u64;
    }
    whole(offset, size)?;
    Ok(file)
}

fn read_scratch(file: &mut dyn Scratch, offset: u64, length: usize) -> Result<Vec<u8>, Stop> {
    let mut bytes = vec![0; length];
    file.read_at(offset, &mut bytes).map_err(|error| scratch_failed(&error))?;
    Ok(bytes)
}

fn whole(found: u64, expected: u64) -> Result<(), Stop> {
    match found == expected {
        true => Ok(()),
        false => Err(Stop::Infrastructure("failed to read an artifact: it is shorter than its size says".into())),
    }
}

fn read_failed(error: &std::io::Error) -> Stop {
    Stop::artifacts("read an artifact", error)
}

fn scratch_failed(error: &std::io::Error) -> Stop {
    Stop::artifacts("use a scratch file", error)
}

fn too_long() -> Stop {
    Stop::Limit("it writes beyond the end of any file".into())
}

/// A state that the code around it rules out.
fn broken() -> Stop {
    Stop::Infrastructure("failed to use a file: it is in a state that it cannot be in".into())
}
