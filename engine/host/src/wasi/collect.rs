//! What a command left in `/out` becomes its outputs: a file a blob, a directory a tree.

use lockgate_model::artifact::{ArtifactKind, ArtifactRef, DirEntry, Directory, EntryKind, link_stays_inside};
use lockgate_model::command::CommandConfig;
use lockgate_model::manifest::PortKind;

use super::vfs::{self, Fail, Id, Kind};
use crate::imports::{claim_output, short};
use crate::schedule::{Call, PER_ENTRY};
use crate::state::{Output, State, Stop};

/// Takes all that stands in `/out`. What is not declared, or of another kind than declared, breaks the contract.
pub(crate) fn outputs(state: &mut State, config: &CommandConfig) -> Result<(), Stop> {
    let out = state.wasi.vfs.top("out")?;
    let mut after: Option<String> = None;
    while let Some((name, id, _)) = next(state, out, after.as_deref())? {
        output(state, config, &name, id)?;
        after = Some(name);
    }
    for (name, kind) in &config.outputs {
        if !state.outputs.contains_key(name) {
            state.breach(format!(
                "it did not write `/out/{name}`, the {} that `outputs` of the node declares",
                kind.name()
            ));
        }
    }
    Ok(())
}

fn output(state: &mut State, config: &CommandConfig, name: &str, id: Id) -> Result<(), Stop> {
    let kind = match state.wasi.vfs.kind(id)? {
        Kind::File { .. } => ArtifactKind::Blob,
        Kind::Directory { .. } => ArtifactKind::Tree,
        Kind::Link { .. } => {
            state.breach(format!("it left a symbolic link at `/out/{}`, which can be no output", short(name)));
            return Ok(());
        }
    };
    let declared: Option<PortKind> = config.outputs.get(name).copied();
    let Some(declared) = declared else {
        state.breach(format!(
            "it wrote `/out/{0}`, which the node does not declare; add `outputs.{0} = \"{1}\"` to it",
            short(name),
            kind.name()
        ));
        return Ok(());
    };
    if !declared.takes(kind) {
        let (found, declared) = (kind.name(), declared.name());
        state.breach(format!(
            "it wrote `/out/{name}` as a {found}, which `outputs` of the node declares as a {declared}"
        ));
        return Ok(());
    }
    // What is declared has a name that fits.
    let Ok(port) = claim_output(state, name, kind) else { return Ok(()) };
    let (digest, size) = match kind {
        ArtifactKind::Blob => {
            state.add_entries(1)?;
            let size = vfs::stat(state, id)?.size;
            (vfs::digest(state, id)?, size)
        }
        ArtifactKind::Tree => match tree(state, id, "")? {
            Ok(stored) => stored,
            Err(message) => {
                state.breach(format!("`/out/{name}` cannot be an output: {message}"));
                return Ok(());
            }
        },
    };
    state.outputs.insert(port, Output::Done(ArtifactRef { kind, digest, size }));
    Ok(())
}

type Stored = (lockgate_model::Digest, u64);

/// Stores a directory with all below it. Recursion as deep as paths may be: 128.
fn tree(state: &mut State, id: Id, path: &str) -> Result<Result<Stored, String>, Stop> {
    let (mut entries, mut total) = (Vec::new(), 0_u64);
    let mut after: Option<String> = None;
    while let Some((name, id, _)) = next(state, id, after.as_deref())? {
        state.spend(PER_ENTRY)?;
        state.add_entries(1)?;
        let below = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        if let Err(error) = lockgate_model::artifact::check_path(&below) {
            return Ok(Err(format!("failed to {error}")));
        }
        enum Leaf {
            File(EntryKind),
            Link,
            Directory,
        }
        let leaf = match state.wasi.vfs.kind(id)? {
            Kind::File { executable: true, .. } => Leaf::File(EntryKind::Executable),
            Kind::File { executable: false, .. } => Leaf::File(EntryKind::File),
            Kind::Link { .. } => Leaf::Link,
            Kind::Directory { .. } => Leaf::Directory,
        };
        let (kind, digest, size) = match leaf {
            Leaf::File(kind) => {
                let size = vfs::stat(state, id)?.size;
                total = total.saturating_add(size);
                (kind, vfs::digest(state, id)?, size)
            }
            Leaf::Link => {
                let target = done(vfs::target(state, id))?;
                if !link_stays_inside(&below, &target) {
                    return Ok(Err(format!("the link `{}` to `{}` leaves it", short(&below), short(&target))));
                }
                let size = target.len() as u64;
                state.write(size)?;
                let stored = state.artifacts.put_blob(target.as_bytes());
                let digest = stored.map_err(|error| Stop::artifacts("store an output", &error))?;
                (EntryKind::Symlink, digest, size)
            }
            Leaf::Directory => match tree(state, id, &below)? {
                Ok((digest, size)) => {
                    total = total.saturating_add(size);
                    (EntryKind::Directory, digest, 0)
                }
                Err(message) => return Ok(Err(message)),
            },
        };
        entries.push(DirEntry { name: name.clone(), kind, digest, size });
        after = Some(name);
    }
    let directory = match Directory::new(entries) {
        Ok(directory) => directory,
        Err(error) => return Ok(Err(format!("failed to {error}"))),
    };
    state.spend(Call::Open.fuel())?;
    let stored = state.artifacts.put_directory(&directory);
    let digest = stored.map_err(|error| Stop::artifacts("store a directory of an output", &error))?;
    Ok(Ok((digest, total)))
}

type Next = Option<(String, Id, super::types::DescriptorType)>;

fn next(state: &mut State, id: Id, after: Option<&str>) -> Result<Next, Stop> {
    done(vfs::next(state, id, after))
}

/// What cannot fail otherwise than by ending the call.
fn done<T>(outcome: vfs::Outcome<T>) -> Result<T, Stop> {
    outcome.map_err(|fail| match fail {
        Fail::Stop(stop) => stop,
        Fail::Code(code) => Stop::Infrastructure(format!("failed to read back what it wrote: {code:?}")),
    })
}
