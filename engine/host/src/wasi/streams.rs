//! `wasi:io/error` and `wasi:io/streams`: where bytes come from and go to.

use wasmtime::component::{Linker, Resource};

use super::http::BodyId;
use super::poll::Pollable;
use super::types::{ErrorCode, StreamError};
use super::vfs::{self, Fail, Id};
use super::{Stream, call, done, instance, resource};
use crate::imports::{broken_handle, push};
use crate::schedule::Call;
use crate::state::{State, Stop};

/// Most bytes that one write takes: what a read gives at most.
const ROOM: u64 = lockgate_model::limits::MAX_CHUNK as u64;

/// What went wrong with a stream.
pub(crate) enum IoError {
    File(ErrorCode),
    Http(String),
}

/// Where bytes come from.
pub(crate) enum InputStream {
    Empty,
    Blob(super::content::Content, u64),
    File(Id, u64),
    Body(BodyId, u64),
}

/// Where bytes go.
pub(crate) enum OutputStream {
    Captured(Stream),
    /// At an offset; none: at its end.
    File(Id, Option<u64>),
    Body(BodyId),
}

type Answer<T> = Result<Result<T, StreamError>, Stop>;

/// Links both.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut error = instance(linker, "io/error")?;
    resource::<IoError>(&mut error, "error", |_, _| Ok(()))?;
    call(&mut error, "[method]error.to-debug-string", Call::Small, to_debug_string)?;

    let mut streams = instance(linker, "io/streams")?;
    resource::<InputStream>(&mut streams, "input-stream", |state, stream| match stream {
        InputStream::File(id, _) => vfs::release(state, id),
        InputStream::Blob(mut content, _) => {
            content.forget(state);
            Ok(())
        }
        InputStream::Empty | InputStream::Body(..) => Ok(()),
    })?;
    resource::<OutputStream>(&mut streams, "output-stream", |state, stream| match stream {
        OutputStream::File(id, _) => vfs::release(state, id),
        OutputStream::Captured(_) | OutputStream::Body(_) => Ok(()),
    })?;
    for name in ["[method]input-stream.read", "[method]input-stream.blocking-read"] {
        call(&mut streams, name, Call::Small, read)?;
    }
    for name in ["[method]input-stream.skip", "[method]input-stream.blocking-skip"] {
        call(&mut streams, name, Call::Small, skip)?;
    }
    call(&mut streams, "[method]input-stream.subscribe", Call::Small, |state, (_,): (Resource<InputStream>,)| {
        push(state, Pollable::Ready)
    })?;
    call(&mut streams, "[method]output-stream.check-write", Call::Small, |_, (_,): (Resource<OutputStream>,)| {
        Ok(Ok::<_, StreamError>(ROOM))
    })?;
    for name in ["[method]output-stream.write", "[method]output-stream.blocking-write-and-flush"] {
        call(&mut streams, name, Call::Small, |state, (stream, bytes): (Resource<OutputStream>, Vec<u8>)| {
            write(state, &stream, &bytes)
        })?;
    }
    for name in ["[method]output-stream.flush", "[method]output-stream.blocking-flush"] {
        call(&mut streams, name, Call::Small, |_, (_,): (Resource<OutputStream>,)| Ok(Ok::<(), StreamError>(())))?;
    }
    call(&mut streams, "[method]output-stream.subscribe", Call::Small, |state, (_,): (Resource<OutputStream>,)| {
        push(state, Pollable::Ready)
    })?;
    for name in ["[method]output-stream.write-zeroes", "[method]output-stream.blocking-write-zeroes-and-flush"] {
        call(&mut streams, name, Call::Small, |state, (stream, length): (Resource<OutputStream>, u64)| {
            if length > ROOM {
                return Err(Stop::Misuse(format!("it wrote {length} zeros at once: at most {ROOM} were permitted")));
            }
            // At most 1 MiB, so it fits.
            write(state, &stream, &vec![0; length as usize])
        })?;
    }
    for name in ["[method]output-stream.splice", "[method]output-stream.blocking-splice"] {
        call(&mut streams, name, Call::Small, splice)?;
    }
    Ok(())
}

fn to_debug_string(state: &mut State, (error,): (Resource<IoError>,)) -> Result<String, Stop> {
    Ok(match state.table.get(&error).map_err(broken_handle)? {
        IoError::File(code) => format!("{code:?}"),
        IoError::Http(message) => message.clone(),
    })
}

/// The next bytes; none at the end.
fn take(state: &mut State, stream: &Resource<InputStream>, max: u64) -> Answer<Vec<u8>> {
    // Out of the table, so that reading may change the state.
    let mut taken = std::mem::replace(state.table.get_mut(stream).map_err(broken_handle)?, InputStream::Empty);
    let read = match &mut taken {
        InputStream::Empty => Ok(Vec::new()),
        InputStream::Blob(content, position) => {
            content.read(state, *position, max).map_err(Fail::Stop).inspect(|bytes| {
                *position += bytes.len() as u64;
            })
        }
        InputStream::File(id, position) => vfs::read(state, *id, *position, max).inspect(|bytes| {
            *position += bytes.len() as u64;
        }),
        InputStream::Body(id, position) => {
            super::http::read_body(state, *id, *position, max).map_err(Fail::Stop).inspect(|bytes| {
                *position += bytes.len() as u64;
            })
        }
    };
    *state.table.get_mut(stream).map_err(broken_handle)? = taken;
    match read {
        Ok(bytes) => Ok(Ok(bytes)),
        Err(Fail::Stop(stop)) => Err(stop),
        Err(Fail::Code(code)) => Ok(Err(StreamError::LastOperationFailed(push(state, IoError::File(code))?))),
    }
}

fn read(state: &mut State, (stream, length): (Resource<InputStream>, u64)) -> Answer<Vec<u8>> {
    if length == 0 {
        return Ok(Ok(Vec::new()));
    }
    Ok(take(state, &stream, length)?.and_then(|bytes| match bytes.is_empty() {
        true => Err(StreamError::Closed),
        false => Ok(bytes),
    }))
}

fn skip(state: &mut State, (stream, length): (Resource<InputStream>, u64)) -> Answer<u64> {
    Ok(read(state, (stream, length))?.map(|bytes| bytes.len() as u64))
}

/// Writes bytes to a stream.
fn write(state: &mut State, stream: &Resource<OutputStream>, bytes: &[u8]) -> Answer<()> {
    state.spend_bytes(bytes.len() as u64)?;
    let (file, offset) = match state.table.get(stream).map_err(broken_handle)? {
        OutputStream::Captured(stream) => {
            let stream = *stream;
            return super::stdio::capture(state, stream, bytes).map(Ok);
        }
        OutputStream::Body(id) => {
            let id = *id;
            return Ok(match super::http::write_body(state, id, bytes)? {
                Ok(()) => Ok(()),
                Err(message) => Err(StreamError::LastOperationFailed(push(state, IoError::Http(message))?)),
            });
        }
        OutputStream::File(id, offset) => (*id, *offset),
    };
    match done(vfs::write(state, file, offset, bytes))? {
        Ok(next) => {
            if let OutputStream::File(_, Some(position)) = state.table.get_mut(stream).map_err(broken_handle)? {
                *position = next;
            }
            Ok(Ok(()))
        }
        Err(code) => Ok(Err(StreamError::LastOperationFailed(push(state, IoError::File(code))?))),
    }
}

fn splice(state: &mut State, (to, from, length): (Resource<OutputStream>, Resource<InputStream>, u64)) -> Answer<u64> {
    let bytes = match read(state, (from, length))? {
        Ok(bytes) => bytes,
        Err(error) => return Ok(Err(error)),
    };
    Ok(write(state, &to, &bytes)?.map(|()| bytes.len() as u64))
}
