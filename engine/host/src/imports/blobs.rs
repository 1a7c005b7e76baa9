//! `artifacts`, the part with blobs: inputs, readers and writers. Trees are next door.

use std::io::{Read, Write};

use lockgate_model::PortName;
use lockgate_model::artifact::{ArtifactKind, ArtifactRef};
use lockgate_model::limits::MAX_CHUNK;
use wasmtime::component::{Linker, Resource, WasmList};

use super::trees::{self, TreeFile};
use super::{Answer, Context, broken_handle, claim_output, error, input, interface, push, resource, short, sync};
use crate::bindings::artifacts::{Error, Input};
use crate::ports::BlobWriter;
use crate::schedule::Call;
use crate::state::{Output, State, Stop, charge_bytes};

/// An open blob.
pub(crate) struct Reader {
    source: Box<dyn Read + Send>,
    size: u64,
    left: u64,
}

impl Reader {
    pub(crate) fn new(source: Box<dyn Read + Send>, size: u64) -> Self {
        Self { source, size, left: size }
    }
}

/// A blob that is being written, and where it goes.
pub(crate) struct Writer {
    /// None once it is finished.
    sink: Option<Box<dyn BlobWriter>>,
    target: Target,
}

/// Where a finished blob goes.
enum Target {
    Output(PortName),
    Tree(TreeFile),
}

/// Links the whole interface.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut artifacts = interface(linker, "artifacts")?;
    resource::<Reader>(&mut artifacts, "reader", |_, _| ())?;
    resource::<Writer>(&mut artifacts, "writer", Writer::dropped)?;
    sync(&mut artifacts, "inputs", Call::Small, inputs)?;
    sync(&mut artifacts, "open-blob", Call::Open, open_blob)?;
    sync(&mut artifacts, "create-blob", Call::Open, create_blob)?;
    sync(&mut artifacts, "forward", Call::Small, forward)?;
    sync(&mut artifacts, "[method]reader.read", Call::Small, read)?;
    sync(&mut artifacts, "[method]reader.size", Call::Small, size)?;
    sync(&mut artifacts, "[method]writer.write", Call::Small, write)?;
    sync(&mut artifacts, "[method]writer.finish", Call::Open, finish)?;
    trees::link(&mut artifacts)
}

fn inputs(store: &mut Context<'_>, (): ()) -> Result<Vec<Input>, Stop> {
    let list = |(name, artifact): (&PortName, &ArtifactRef)| Input {
        name: name.to_string(),
        kind: artifact.kind.name().to_owned(),
        digest: artifact.digest.to_string(),
        size: artifact.size,
    };
    let inputs: Vec<_> = store.data().task.inputs.iter().map(list).collect();
    charge_bytes(store, inputs.iter().map(|input| (input.name.len() + 100) as u64).sum())?;
    Ok(inputs)
}

fn open_blob(store: &mut Context<'_>, (name,): (String,)) -> Answer<Resource<Reader>> {
    charge_bytes(store, name.len() as u64)?;
    let state = store.data_mut();
    let digest = match input(state, &name, ArtifactKind::Blob) {
        Ok((digest, _)) => digest,
        Err(error) => return Ok(Err(error)),
    };
    let (source, size) = state.artifacts.open_blob(digest).map_err(|error| Stop::artifacts("open an input", &error))?;
    push(state, Reader::new(source, size)).map(Ok)
}

fn read(store: &mut Context<'_>, (reader, max): (Resource<Reader>, u32)) -> Answer<Vec<u8>> {
    let reader = store.data_mut().table.get_mut(&reader).map_err(broken_handle)?;
    let wanted = u64::from(max.min(MAX_CHUNK)).min(reader.left);
    // At most MAX_CHUNK, so it fits.
    let mut bytes = Vec::with_capacity(wanted as usize);
    let read = Read::by_ref(&mut reader.source).take(wanted).read_to_end(&mut bytes);
    read.map_err(|error| Stop::artifacts("read an artifact", &error))?;
    if (bytes.len() as u64) < wanted {
        return Err(Stop::Infrastructure("failed to read an artifact: it is shorter than its size says".into()));
    }
    reader.left -= wanted;
    charge_bytes(store, wanted)?;
    Ok(Ok(bytes))
}

fn size(store: &mut Context<'_>, (reader,): (Resource<Reader>,)) -> Result<u64, Stop> {
    Ok(store.data().table.get(&reader).map_err(broken_handle)?.size)
}

fn create_blob(store: &mut Context<'_>, (name,): (String,)) -> Answer<Resource<Writer>> {
    charge_bytes(store, name.len() as u64)?;
    let state = store.data_mut();
    match claim_output(state, &name, ArtifactKind::Blob) {
        Ok(port) => Writer::open(state, Target::Output(port)).map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

fn forward(store: &mut Context<'_>, (from, to): (String, String)) -> Answer<()> {
    charge_bytes(store, (from.len() + to.len()) as u64)?;
    let state = store.data_mut();
    let Some(artifact) = state.task.inputs.get(from.as_str()).copied() else {
        return Ok(Err(error("no-such-input", format!("there is no input `{}`", short(&from)))));
    };
    match claim_output(state, &to, artifact.kind) {
        Ok(port) => {
            state.outputs.insert(port, Output::Done(artifact));
            Ok(Ok(()))
        }
        Err(error) => Ok(Err(error)),
    }
}

/// Appends bytes straight from the guest's memory: the one copy is the store's own.
fn write(store: &mut Context<'_>, (writer, bytes): (Resource<Writer>, WasmList<u8>)) -> Answer<()> {
    let size = bytes.len() as u64;
    charge_bytes(store, size)?;
    store.data_mut().write(size)?;
    let Some(mut sink) = store.data_mut().table.get_mut(&writer).map_err(broken_handle)?.sink.take() else {
        return Ok(Err(closed()));
    };
    let written = sink.write_all(bytes.as_le_slice(&*store));
    written.map_err(|error| Stop::artifacts("write an output", &error))?;
    store.data_mut().table.get_mut(&writer).map_err(broken_handle)?.sink = Some(sink);
    Ok(Ok(()))
}

fn finish(store: &mut Context<'_>, (writer,): (Resource<Writer>,)) -> Answer<()> {
    let state = store.data_mut();
    let writer = state.table.get_mut(&writer).map_err(broken_handle)?;
    let Some(sink) = writer.sink.take() else {
        return Ok(Err(closed()));
    };
    if let Target::Tree(file) = &writer.target
        && file.is_closed()
    {
        return Ok(Err(error("closed", "its tree was finished before it")));
    }
    let (digest, size) = sink.finish().map_err(|error| Stop::artifacts("store an output", &error))?;
    match &writer.target {
        Target::Output(port) => {
            let artifact = ArtifactRef { kind: ArtifactKind::Blob, digest, size };
            state.outputs.insert(port.clone(), Output::Done(artifact));
        }
        Target::Tree(file) => file.fill(digest, size),
    }
    Ok(Ok(()))
}

fn closed() -> Error {
    error("closed", "the writer was finished already")
}

impl Writer {
    fn open(state: &mut State, target: Target) -> Result<Resource<Self>, Stop> {
        let sink = state.artifacts.blob_writer().map_err(|error| Stop::artifacts("begin an output", &error))?;
        push(state, Self { sink: Some(sink), target })
    }

    /// A writer for a file of a tree.
    pub(crate) fn for_tree(state: &mut State, file: TreeFile) -> Result<Resource<Self>, Stop> {
        Self::open(state, Target::Tree(file))
    }

    /// Leaves nothing behind of what was not finished.
    fn dropped(state: &mut State, writer: Self) {
        match (writer.sink, writer.target) {
            (None, _) => {}
            (Some(_), Target::Output(port)) => {
                state.outputs.remove(&port);
            }
            (Some(_), Target::Tree(file)) => file.forget(),
        }
    }
}
