//! Asking a component what it is: `describe`, under a budget of its own and without any import of the contract. What of WASI is harmless
//! answers, without files, arguments or environment, and at a fixed time: libraries of languages initialise themselves by it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use lockgate_model::artifact::{ArtifactRef, Directory};
use lockgate_model::grant::Grants;
use lockgate_model::key::DEFAULT_LOGICAL_TIME;
use lockgate_model::limits::Limits;
use lockgate_model::manifest::World;
use lockgate_model::task::{Look, Task};
use lockgate_model::units::Bytes;
use lockgate_model::{Digest, NodeId, RunId};
use wasmtime::component::{Component, Instance, InstancePre};
use wasmtime::{Store, Trap};

use super::LoadError;
use crate::bindings::{Health, evaluation, types};
use crate::contract::{DESCRIBE, WORLDS};
use crate::host::Host;
use crate::ports::{Artifacts, BlobWriter, NoEffects};
use crate::state::{State, Stop};

/// Handles of resources that `describe` may hold.
const HANDLES: usize = 100;
/// The export of a command, for messages.
const COMMAND: &str = "wasi:cli/run@0.2";

impl Host {
    /// Calls `describe` twice in one instance: a plugin that answers otherwise the second time is none to trust. Also checks
    /// the type of the world's other export.
    ///
    /// A command has no `describe`: nothing comes back, and it is only instantiated.
    pub(super) fn describe(
        &self,
        component: &Component,
        linked: &InstancePre<State>,
        world: World,
    ) -> Result<Option<types::Manifest>, LoadError> {
        let memory = self.limits.describe_memory;
        let limits = Limits { memory, handles: HANDLES as u64, ..Limits::default() };
        let start_fuel = limits.start_fuel.0;
        let failed = |error: wasmtime::Error| LoadError::Describe { reason: reason(&error, self.limits.manifest) };
        let task = nobody(limits).ok_or_else(|| LoadError::Invalid { reason: "it cannot be asked".into() })?;
        let state = State::new(task, Arc::default(), Arc::new(Nothing), Arc::new(NoEffects::default()));
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.usage);
        store.set_hostcall_fuel(usize::try_from(self.limits.manifest.0).unwrap_or(usize::MAX));
        store.set_max_component_handles(HANDLES);
        // An engine for profiles ends what runs beyond its epoch, and nobody raises it here.
        store.set_epoch_deadline(1);
        store.set_fuel(start_fuel).map_err(LoadError::Engine)?;
        let instance = at_once(linked.instantiate_async(&mut store)).map_err(failed)?;
        check_entry(&mut store, component, instance, world)?;
        if world == World::Command {
            return Ok(None);
        }
        let describe = instance.get_typed_func::<(), (types::Manifest,)>(&mut store, DESCRIBE);
        let describe = describe.map_err(|error| wrong_type(component, world, DESCRIBE, &error))?;
        let mut ask = || {
            store.set_fuel(self.limits.describe_fuel.0)?;
            at_once(describe.call_async(&mut store, ()))
        };
        let (first,) = ask().map_err(failed)?;
        let (second,) = ask().map_err(failed)?;
        match difference(&first, &second) {
            Some(field) => Err(LoadError::Unstable { field: field.into() }),
            None => Ok(Some(first)),
        }
    }
}

/// The task of a call that is for nobody.
fn nobody(limits: Limits) -> Option<Task> {
    Some(Task {
        run: RunId::new("describe").ok()?,
        node: NodeId::new("describe").ok()?,
        attempt: 1,
        component: Digest::of(b""),
        world: World::Stage,
        config: "{}".to_owned(),
        inputs: BTreeMap::new(),
        env: BTreeMap::new(),
        limits,
        grants: Grants::default(),
        logical_time: DEFAULT_LOGICAL_TIME,
        look: Look::default(),
        state: None,
        first_sequence: 0,
    })
}

/// The artifacts of nobody.
struct Nothing;

fn nothing<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "there are no artifacts while a component is asked what it is"))
}

impl Artifacts for Nothing {
    fn open_blob(&self, _: Digest) -> io::Result<(Box<dyn io::Read + Send>, u64)> {
        nothing()
    }

    fn blob_writer(&self) -> io::Result<Box<dyn BlobWriter>> {
        nothing()
    }

    fn put_blob(&self, _: &[u8]) -> io::Result<Digest> {
        nothing()
    }

    fn directory(&self, _: Digest) -> io::Result<Arc<Directory>> {
        nothing()
    }

    fn put_directory(&self, _: &Directory) -> io::Result<Digest> {
        nothing()
    }

    fn lay(&self, _: &ArtifactRef, _: &Path, _: &str) -> io::Result<()> {
        nothing()
    }

    fn take(&self, _: &Path, _: &str) -> io::Result<Option<ArtifactRef>> {
        nothing()
    }
}

/// The result of a future that waits for nothing: here nothing is granted, so whatever is pending can go on at once.
fn at_once<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

fn check_entry(
    store: &mut Store<State>,
    component: &Component,
    instance: Instance,
    world: World,
) -> Result<(), LoadError> {
    let export = WORLDS.iter().find(|(known, _)| *known == world).map_or(COMMAND, |(_, export)| export);
    let checked = match world {
        World::Stage => instance
            .get_typed_func::<(String,), (Result<Vec<types::Finding>, types::Failure>,)>(store, export)
            .map(drop),
        World::HealthCheck => {
            instance.get_typed_func::<(String, types::Look), (Result<Health, types::Failure>,)>(store, export).map(drop)
        }
        World::Command => match super::find_entry(component, world) {
            Some(entry) => instance.get_typed_func::<(), (Result<(), ()>,)>(store, entry).map(drop),
            None => Err(wasmtime::Error::msg("it is missing")),
        },
        World::CanaryEvaluator => {
            type Params = (String, evaluation::Observation, types::Look, Option<Vec<u8>>);
            instance.get_typed_func::<Params, (Result<evaluation::Verdict, types::Failure>,)>(store, export).map(drop)
        }
    };
    checked.map_err(|error| wrong_type(component, world, export, &error))
}

fn wrong_type(component: &Component, world: World, export: &str, error: &wasmtime::Error) -> LoadError {
    LoadError::Export { export: export.to_owned(), reason: super::export_reason(component, world, export, error) }
}

/// How `describe` ended, as the rest of a sentence that begins with its name.
fn reason(error: &wasmtime::Error, most: Bytes) -> String {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return format!("was stopped: {}", stop.to_string().split(';').next().unwrap_or_default());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => "spent its budget of fuel".into(),
        Some(trap) => format!("trapped: {}", crate::outcome::trap_text(*trap)),
        // Only its text tells it apart.
        None if format!("{error:#}").contains("fuel allocated for hostcalls") => {
            format!("answered with too much, more than {most}")
        }
        None => format!("failed: {}", crate::outcome::first_lines(error)),
    }
}

fn difference(a: &types::Manifest, b: &types::Manifest) -> Option<&'static str> {
    let ports = |ports: &types::Ports| {
        let named: Vec<_> =
            ports.named.iter().map(|p| (p.name.clone(), p.kind.clone(), p.optional, p.summary.clone())).collect();
        (named, ports.open.clone())
    };
    let checks = [
        ("name", a.name == b.name),
        ("version", a.version == b.version),
        ("summary", a.summary == b.summary),
        ("config-schema", a.config_schema == b.config_schema),
        ("inputs", ports(&a.inputs) == ports(&b.inputs)),
        ("outputs", ports(&a.outputs) == ports(&b.outputs)),
        ("effects", a.effects == b.effects),
    ];
    checks.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
}
