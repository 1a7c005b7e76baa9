//! `wasi:filesystem`: descriptors over the file system of [`super::vfs`].

use lockgate_model::limits::MAX_CHUNK;
use wasmtime::component::{ComponentNamedList, Lift, Linker, LinkerInstance, Lower, Resource};

use super::streams::{InputStream, IoError, OutputStream};
use super::types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode, MetadataHash, NewTimestamp,
    OpenFlags, PathFlags,
};
use super::vfs::{self, Id, Kind, Outcome, ROOT};
use super::{call, done, instance, resource};
use crate::imports::{broken_handle, push};
use crate::schedule::{Call, PER_ENTRY};
use crate::state::{State, Stop};

/// An open file or directory.
pub(crate) struct Descriptor {
    id: Id,
    flags: DescriptorFlags,
}

/// A listing, and the last name that it gave.
pub(crate) struct Listing {
    id: Id,
    after: Option<String>,
}

type Open = Resource<Descriptor>;

/// Links it.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut preopens = instance(linker, "filesystem/preopens")?;
    call(&mut preopens, "get-directories", Call::Small, |state, (): ()| {
        if !state.wasi.vfs.is_mounted() {
            return Ok(Vec::new());
        }
        let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
        vfs::hold(state, ROOT)?;
        Ok(vec![(push(state, Descriptor { id: ROOT, flags })?, "/".to_owned())])
    })?;

    let mut types = instance(linker, "filesystem/types")?;
    resource::<Descriptor>(&mut types, "descriptor", |state, descriptor| vfs::release(state, descriptor.id))?;
    resource::<Listing>(&mut types, "directory-entry-stream", |state, listing| vfs::release(state, listing.id))?;
    files(&mut types)?;
    directories(&mut types)?;
    call(&mut types, "filesystem-error-code", Call::Small, |state, (error,): (Resource<IoError>,)| {
        Ok(match state.table.get(&error).map_err(broken_handle)? {
            IoError::File(code) => Some(*code),
            IoError::Http(_) => None,
        })
    })
}

/// Links a method that may fail with a code.
fn method<P, R, F>(types: &mut LinkerInstance<'_, State>, name: &'static str, cost: Call, f: F) -> wasmtime::Result<()>
where
    P: ComponentNamedList + Lift + Send + 'static,
    R: Lower + Lift + Send + 'static,
    F: Fn(&mut State, P) -> Outcome<R> + Copy + Send + Sync + 'static,
{
    call(types, name, cost, move |state, params: P| done(f(state, params)))
}

fn get(state: &State, descriptor: &Open) -> Result<(Id, DescriptorFlags), Stop> {
    let descriptor = state.table.get(descriptor).map_err(broken_handle)?;
    Ok((descriptor.id, descriptor.flags))
}

/// The file behind a descriptor, if it may be read, or written to.
fn file(state: &State, descriptor: &Open, right: DescriptorFlags) -> Outcome<Id> {
    let (id, flags) = get(state, descriptor)?;
    match state.wasi.vfs.kind(id)? {
        Kind::Directory { .. } => Err(ErrorCode::IsDirectory.into()),
        _ if flags.contains(right) => Ok(id),
        _ => Err(ErrorCode::BadDescriptor.into()),
    }
}

fn files(types: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    method(types, "[method]descriptor.read-via-stream", Call::Small, |state, (open, offset): (Open, u64)| {
        let id = file(state, &open, DescriptorFlags::READ)?;
        vfs::hold(state, id)?;
        Ok(push(state, InputStream::File(id, offset))?)
    })?;
    method(types, "[method]descriptor.write-via-stream", Call::Small, |state, (open, offset): (Open, u64)| {
        let id = file(state, &open, DescriptorFlags::WRITE)?;
        vfs::hold(state, id)?;
        Ok(push(state, OutputStream::File(id, Some(offset)))?)
    })?;
    method(types, "[method]descriptor.append-via-stream", Call::Small, |state, (open,): (Open,)| {
        let id = file(state, &open, DescriptorFlags::WRITE)?;
        vfs::hold(state, id)?;
        Ok(push(state, OutputStream::File(id, None))?)
    })?;
    type Advised = (Open, u64, u64, Advice);
    method(types, "[method]descriptor.advise", Call::Small, |_, _: Advised| Ok(()))?;
    method(types, "[method]descriptor.sync-data", Call::Small, |_, (_,): (Open,)| Ok(()))?;
    method(types, "[method]descriptor.sync", Call::Small, |_, (_,): (Open,)| Ok(()))?;
    method(types, "[method]descriptor.get-flags", Call::Small, |state, (open,): (Open,)| Ok(get(state, &open)?.1))?;
    method(types, "[method]descriptor.get-type", Call::Small, |state, (open,): (Open,)| {
        let (id, _) = get(state, &open)?;
        Ok::<DescriptorType, _>(state.wasi.vfs.descriptor_type(id)?)
    })?;
    method(types, "[method]descriptor.set-size", Call::Open, |state, (open, size): (Open, u64)| {
        let id = file(state, &open, DescriptorFlags::WRITE)?;
        vfs::resize(state, id, size)
    })?;
    type Times = (Open, NewTimestamp, NewTimestamp);
    method(types, "[method]descriptor.set-times", Call::Small, |state, (open, accessed, modified): Times| {
        let (id, _) = get(state, &open)?;
        vfs::set_times(state, id, accessed, modified)
    })?;
    method(types, "[method]descriptor.read", Call::Small, |state, (open, length, offset): (Open, u64, u64)| {
        let id = file(state, &open, DescriptorFlags::READ)?;
        let bytes = vfs::read(state, id, offset, length.min(MAX_CHUNK.into()))?;
        let end = offset.saturating_add(bytes.len() as u64) >= vfs::stat(state, id)?.size;
        Ok((bytes, end))
    })?;
    method(types, "[method]descriptor.write", Call::Small, |state, (open, bytes, offset): (Open, Vec<u8>, u64)| {
        let id = file(state, &open, DescriptorFlags::WRITE)?;
        state.spend_bytes(bytes.len() as u64)?;
        vfs::write(state, id, Some(offset), &bytes)?;
        Ok(bytes.len() as u64)
    })?;
    method(types, "[method]descriptor.stat", Call::Small, |state, (open,): (Open,)| {
        let (id, _) = get(state, &open)?;
        Ok::<DescriptorStat, _>(vfs::stat(state, id)?)
    })?;
    method(types, "[method]descriptor.metadata-hash", Call::Small, |state, (open,): (Open,)| {
        let (id, _) = get(state, &open)?;
        Ok::<MetadataHash, _>(vfs::number(state, id)?)
    })?;
    call(types, "[method]descriptor.is-same-object", Call::Small, |state, (one, other): (Open, Open)| {
        Ok(get(state, &one)?.0 == get(state, &other)?.0)
    })
}

/// Where a path leads from an open directory.
fn at(state: &mut State, open: &Open, flags: PathFlags, path: &str) -> Outcome<vfs::Found> {
    let (id, _) = get(state, open)?;
    vfs::resolve(state, id, path, flags.contains(PathFlags::SYMLINK_FOLLOW))
}

fn directories(types: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    let stay = PathFlags::empty();
    method(types, "[method]descriptor.read-directory", Call::Open, |state, (open,): (Open,)| {
        let (id, _) = get(state, &open)?;
        // An error where it is none.
        vfs::next(state, id, None)?;
        vfs::hold(state, id)?;
        Ok(push(state, Listing { id, after: None })?)
    })?;
    type Stream = (Resource<Listing>,);
    method(types, "[method]directory-entry-stream.read-directory-entry", Call::Small, |state, (listing,): Stream| {
        state.spend(PER_ENTRY)?;
        let found = state.table.get_mut(&listing).map_err(broken_handle)?;
        let (id, after) = (found.id, found.after.take());
        let entry = vfs::next(state, id, after.as_deref())?;
        let name = entry.as_ref().map(|(name, ..)| name.clone());
        state.spend_bytes(name.as_ref().map_or(0, |name| name.len() as u64))?;
        state.table.get_mut(&listing).map_err(broken_handle)?.after = name.or(after);
        Ok(entry.map(|(name, _, kind)| DirectoryEntry { kind, name }))
    })?;
    method(
        types,
        "[method]descriptor.create-directory-at",
        Call::Small,
        move |state, (open, path): (Open, String)| {
            let found = at(state, &open, stay, &path)?;
            vfs::create_directory(state, &found)
        },
    )?;
    type Path = (Open, PathFlags, String);
    method(types, "[method]descriptor.stat-at", Call::Small, |state, (open, flags, path): Path| {
        let id = at(state, &open, flags, &path)?.existing()?;
        Ok::<DescriptorStat, _>(vfs::stat(state, id)?)
    })?;
    method(types, "[method]descriptor.metadata-hash-at", Call::Small, |state, (open, flags, path): Path| {
        let id = at(state, &open, flags, &path)?.existing()?;
        Ok::<MetadataHash, _>(vfs::number(state, id)?)
    })?;
    type Times = (Open, PathFlags, String, NewTimestamp, NewTimestamp);
    method(types, "[method]descriptor.set-times-at", Call::Small, |state, (open, flags, path, a, m): Times| {
        let id = at(state, &open, flags, &path)?.existing()?;
        vfs::set_times(state, id, a, m)
    })?;
    type Linked = (Open, PathFlags, String, Open, String);
    method(types, "[method]descriptor.link-at", Call::Small, |_, _: Linked| -> Outcome<()> {
        Err(ErrorCode::Unsupported.into())
    })?;
    type Opened = (Open, PathFlags, String, OpenFlags, DescriptorFlags);
    method(types, "[method]descriptor.open-at", Call::Open, |state, (open, follow, path, how, flags): Opened| {
        let found = at(state, &open, follow, &path)?;
        let id = open_at(state, &found, how, flags)?;
        vfs::hold(state, id)?;
        Ok(push(state, Descriptor { id, flags })?)
    })?;
    method(types, "[method]descriptor.readlink-at", Call::Small, move |state, (open, path): (Open, String)| {
        let id = at(state, &open, stay, &path)?.existing()?;
        vfs::target(state, id)
    })?;
    method(
        types,
        "[method]descriptor.remove-directory-at",
        Call::Small,
        move |state, (open, path): (Open, String)| {
            let found = at(state, &open, stay, &path)?;
            vfs::remove_directory(state, &found)
        },
    )?;
    type Renamed = (Open, String, Open, String);
    method(types, "[method]descriptor.rename-at", Call::Small, move |state, (from, path, to, new): Renamed| {
        let (from, to) = (at(state, &from, stay, &path)?, at(state, &to, stay, &new)?);
        vfs::rename(state, &from, &to)
    })?;
    method(
        types,
        "[method]descriptor.symlink-at",
        Call::Small,
        move |state, (open, target, path): (Open, String, String)| {
            state.spend_bytes(target.len() as u64)?;
            let found = at(state, &open, stay, &path)?;
            vfs::create_link(state, &found, &target)
        },
    )?;
    method(types, "[method]descriptor.unlink-file-at", Call::Small, move |state, (open, path): (Open, String)| {
        let found = at(state, &open, stay, &path)?;
        vfs::unlink(state, &found)
    })
}

/// Opens what a path leads to, or makes it.
fn open_at(state: &mut State, found: &vfs::Found, how: OpenFlags, flags: DescriptorFlags) -> Outcome<Id> {
    let writes = flags.contains(DescriptorFlags::WRITE) || how.contains(OpenFlags::TRUNCATE);
    let Ok(id) = found.existing() else {
        return match how.contains(OpenFlags::CREATE) {
            true if how.contains(OpenFlags::DIRECTORY) => Err(ErrorCode::Invalid.into()),
            true => vfs::create_file(state, found),
            false => Err(ErrorCode::NoEntry.into()),
        };
    };
    if how.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE) {
        return Err(ErrorCode::Exist.into());
    }
    let kind = state.wasi.vfs.descriptor_type(id)?;
    match kind {
        DescriptorType::SymbolicLink => return Err(ErrorCode::Loop.into()),
        DescriptorType::Directory if writes => return Err(ErrorCode::IsDirectory.into()),
        DescriptorType::Directory => return Ok(id),
        _ if how.contains(OpenFlags::DIRECTORY) => return Err(ErrorCode::NotDirectory.into()),
        _ => {}
    }
    if how.contains(OpenFlags::TRUNCATE) {
        vfs::resize(state, id, 0)?;
    } else if writes && !vfs::is_writable(state, id)? {
        return Err(ErrorCode::ReadOnly.into());
    }
    Ok(id)
}
