//! Asking a component what it is: `describe`, under a budget of its own and without any import.

use lockgate_model::limits::Limits;
use lockgate_model::manifest::World;
use lockgate_model::units::Bytes;
use wasmtime::component::{Component, Instance, Linker};
use wasmtime::{Store, Trap};

use super::LoadError;
use super::error::words;
use crate::bindings::{Health, evaluation, types};
use crate::contract::{DESCRIBE, WORLDS};
use crate::host::Host;
use crate::state::{Stop, Usage};

/// Handles of resources that `describe` may hold.
const HANDLES: usize = 100;

impl Host {
    /// Calls `describe` twice in one instance: a plugin that answers otherwise the second time is none to trust. Also checks
    /// the type of the world's other export.
    pub(super) fn describe(&self, component: &Component, world: World) -> Result<types::Manifest, LoadError> {
        let limits = Limits::default();
        let failed = |error: wasmtime::Error| LoadError::Describe { reason: reason(&error, self.limits.manifest) };
        let mut store = Store::new(&self.engine, Usage::of(self.limits.describe_memory, limits.table_elements));
        store.limiter(|usage| usage);
        store.set_hostcall_fuel(usize::try_from(self.limits.manifest.0).unwrap_or(usize::MAX));
        store.set_max_component_handles(HANDLES);
        let mut linker = Linker::new(&self.engine);
        linker.define_unknown_imports_as_traps(component).map_err(LoadError::Engine)?;
        store.set_fuel(limits.start_fuel.0).map_err(LoadError::Engine)?;
        let instance = linker.instantiate(&mut store, component).map_err(failed)?;
        check_entry(&mut store, instance, world)?;
        let describe = instance.get_typed_func::<(), (types::Manifest,)>(&mut store, DESCRIBE);
        let describe = describe.map_err(|error| wrong_type(DESCRIBE, &error))?;
        let mut ask = || {
            store.set_fuel(self.limits.describe_fuel.0)?;
            describe.call(&mut store, ())
        };
        let (first,) = ask().map_err(failed)?;
        let (second,) = ask().map_err(failed)?;
        match difference(&first, &second) {
            Some(field) => Err(LoadError::Unstable { field: field.into() }),
            None => Ok(first),
        }
    }
}

fn check_entry(store: &mut Store<Usage>, instance: Instance, world: World) -> Result<(), LoadError> {
    let (_, export) = WORLDS[world as usize];
    let checked = match world {
        World::Stage => instance
            .get_typed_func::<(String,), (Result<Vec<types::Finding>, types::Failure>,)>(store, export)
            .map(drop),
        World::HealthCheck => {
            instance.get_typed_func::<(String, types::Look), (Result<Health, types::Failure>,)>(store, export).map(drop)
        }
        World::CanaryEvaluator => {
            type Params = (String, evaluation::Observation, types::Look, Option<Vec<u8>>);
            instance.get_typed_func::<Params, (Result<evaluation::Verdict, types::Failure>,)>(store, export).map(drop)
        }
    };
    checked.map_err(|error| wrong_type(export, &error))
}

fn wrong_type(export: &str, error: &wasmtime::Error) -> LoadError {
    LoadError::Export { export: export.to_owned(), reason: words(error) }
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
