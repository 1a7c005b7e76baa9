//! From bytes to a [`Plugin`]: checks, compilation, cache, `describe`.

mod compile;
mod describe;
mod error;
mod prepared;
mod traps;
mod wit;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lockgate_model::grant::Grants;
use lockgate_model::manifest::{Manifest, Ports, World};
use lockgate_model::units::Bytes;
use lockgate_model::{Digest, command};
use serde::{Deserialize, Serialize};
use wasmtime::component::types::{ComponentExtern, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

pub(crate) use self::compile::CompileGate;
pub use self::error::LoadError;
pub use self::prepared::{Prepared, decode, encode};
use crate::contract::{DESCRIBE, Import, Meaning, WORLDS, interfaces};
use crate::engine::{MAX_MEMORIES, MAX_TABLES};
use crate::host::Host;
use crate::imports::{self, Kinds};
use crate::ports::{CodeCache, NoCache};
use crate::state::State;
use crate::wasi;

/// Raised with any change of the rules for manifests, so that no cached one passes under older rules.
const MANIFEST_RULES: u32 = 2;

/// A component that was found good: it can be called.
pub struct Plugin {
    digest: Digest,
    size: Bytes,
    facts: Facts,
    missing: Missing,
    pub(crate) outputs: Arc<Ports>,
    code: OnceLock<Code>,
    /// From where the code comes when it is first needed; none where it is there.
    source: Mutex<Option<Source>>,
}

/// A component's compiled code.
pub(crate) struct Code {
    pub(crate) entry: ComponentExportIndex,
    component: Component,
    /// Linked, by the kinds that are granted; made when first needed.
    linked: [OnceLock<InstancePre<State>>; Kinds::SETS],
}

/// What happens to imports that are not offered or not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// A component that has one is refused.
    Refuse,
    /// Calling one of WASI or of strangers traps; interfaces of the contract need their grants all the same.
    Trap,
}

struct Source {
    bytes: Cow<'static, [u8]>,
    cache: Arc<dyn CodeCache>,
}

/// What is found out about a component once, and cached.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Facts {
    manifest: Manifest,
    imports: Vec<Import>,
}

impl Plugin {
    fn new(
        (digest, size): (Digest, usize),
        facts: Facts,
        missing: Missing,
        code: OnceLock<Code>,
        source: Option<Source>,
    ) -> Result<Self, LoadError> {
        let outputs = Arc::new(facts.manifest.outputs.clone());
        let plugin =
            Self { digest, size: Bytes(size as u64), facts, missing, outputs, code, source: Mutex::new(source) };
        let names = missing_of(&plugin.facts.imports);
        match missing == Missing::Refuse && !names.is_empty() {
            true => Err(LoadError::UnknownImport { names, offered: interfaces() }),
            false => Ok(plugin),
        }
    }

    /// Whether it may run although it has no more than these grants: what it lacks traps, or it is refused.
    pub(crate) fn lacks(&self, grants: &Grants) -> Option<&Import> {
        let traps = |import: &Import| self.missing == Missing::Trap && !import.is_contract();
        let optional = &self.facts.manifest.optional_effects;
        let refuses = |import: &Import| import.kind().is_some_and(|kind| optional.iter().any(|other| other == kind));
        self.facts.imports.iter().find(|import| !import.is_granted(grants) && !refuses(import) && !traps(import))
    }

    /// The kinds of effects whose interfaces are linked for a node with these grants: those of what it can do without, too. With
    /// nothing granted these refuse all that they are asked for, by the same checks.
    pub(crate) fn kinds(&self, grants: &Grants) -> Kinds {
        Kinds::of(grants).and(&self.facts.manifest.optional_effects)
    }

    /// Whether its code is loaded.
    pub fn is_loaded(&self) -> bool {
        self.code.get().is_some()
    }

    /// Digest of the component's bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What it says of itself, checked.
    pub fn manifest(&self) -> &Manifest {
        &self.facts.manifest
    }

    /// What it imports, sorted by name.
    pub fn imports(&self) -> &[Import] {
        &self.facts.imports
    }

    /// The world that it exports.
    pub fn world(&self) -> World {
        self.facts.manifest.world
    }

    /// The compiled code. Where it was not loaded yet this reads it, or compiles, and blocks for as long as that takes: next to
    /// nothing where the cache has it, as it nearly always does when it had the manifest.
    pub(crate) fn code(&self, host: &Host) -> Result<&Code, LoadError> {
        if let Some(code) = self.code.get() {
            return Ok(code);
        }
        // Under the lock, so that calls at the same time compile once.
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Source { bytes, cache }) = &*source {
            let component = host.component(bytes, self.digest, &**cache)?;
            let code = Code::new(component, self.facts.manifest.world)?;
            *source = None;
            return Ok(self.code.get_or_init(|| code));
        }
        // Taken by one that loaded it meanwhile.
        self.code.get().ok_or_else(|| LoadError::Invalid { reason: "its code was not loaded".into() })
    }
}

impl Code {
    fn new(component: Component, world: World) -> Result<Self, LoadError> {
        let entry = find_entry(&component, world)
            .ok_or_else(|| LoadError::World { found: exports(&component), lacks: "it is of another world".into() })?;
        Ok(Self { entry, component, linked: Default::default() })
    }

    /// Linked to everything that a node with these grants may have.
    pub(crate) fn linked(&self, host: &Host, kinds: Kinds) -> wasmtime::Result<&InstancePre<State>> {
        let cell = &self.linked[kinds.index()];
        if let Some(linked) = cell.get() {
            return Ok(linked);
        }
        let linked = traps::link(host.linker(kinds)?, &self.component, kinds)?;
        Ok(cell.get_or_init(|| linked))
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("digest", &self.digest).field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// Everything that can be said of a component, for `lockgate plugin inspect`.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Their number.
    pub size: Bytes,
    /// What it says of itself; its world is in it.
    pub manifest: Manifest,
    /// What it imports, sorted by name.
    pub imports: Vec<Import>,
}

impl Host {
    /// Makes a plugin of a component's bytes. Compiled code and manifest come from the cache where it has them; then nothing
    /// of the plugin runs.
    ///
    /// What the host has a [`Compiler`](crate::Compiler) for is compiled, examined and asked what it is by that one, unless it is
    /// trusted. Blocks, for as long as compiling takes, at most
    /// [`ComponentLimits::compile_time`](lockgate_model::limits::ComponentLimits) once to get a turn and once to compile: not for
    /// threads that poll futures.
    pub fn load(&self, bytes: &[u8], cache: &dyn CodeCache) -> Result<Arc<Plugin>, LoadError> {
        self.load_with(bytes, cache, Missing::Refuse)
    }

    /// Like [`Host::load`], and says what happens to imports that it cannot have.
    pub fn load_with(&self, bytes: &[u8], cache: &dyn CodeCache, missing: Missing) -> Result<Arc<Plugin>, LoadError> {
        let digest = checked(bytes, self.limits.size)?;
        let (component, facts) = match (self.cached(digest, cache), self.known_facts(digest, cache)) {
            (Some(component), Some(facts)) => (component, facts),
            (component, facts) => match self.compiler_of(digest) {
                // What is missing is made together with the rest, so that nothing of it is looked at here.
                Some(compiler) => self.elsewhere(compiler, bytes, digest, cache)?,
                None => {
                    let component = match component {
                        Some(component) => component,
                        None => self.compiled(bytes, digest, cache)?,
                    };
                    let facts = match facts {
                        Some(facts) => facts,
                        None => self.keep_facts(digest, self.examine(&component)?, cache),
                    };
                    (component, facts)
                }
            },
        };
        let code = Code::new(component, facts.manifest.world)?;
        Ok(Arc::new(Plugin::new((digest, bytes.len()), facts, missing, OnceLock::from(code), None)?))
    }

    /// Like [`Host::load`], but where the cache has the manifest, nothing else is read: the code is loaded with the first call. So
    /// a plugin that is never called costs no more than hashing its bytes.
    pub fn load_lazily(&self, bytes: Cow<'static, [u8]>, cache: Arc<dyn CodeCache>) -> Result<Arc<Plugin>, LoadError> {
        self.load_lazily_with(bytes, cache, Missing::Refuse)
    }

    /// Like [`Host::load_lazily`], and says what happens to imports that it cannot have.
    pub fn load_lazily_with(
        &self,
        bytes: Cow<'static, [u8]>,
        cache: Arc<dyn CodeCache>,
        missing: Missing,
    ) -> Result<Arc<Plugin>, LoadError> {
        let digest = checked(&bytes, self.limits.size)?;
        let Some(facts) = self.known_facts(digest, &*cache) else { return self.load_with(&bytes, &*cache, missing) };
        let size = bytes.len();
        Ok(Arc::new(Plugin::new((digest, size), facts, missing, OnceLock::new(), Some(Source { bytes, cache }))?))
    }

    fn known_facts(&self, digest: Digest, cache: &dyn CodeCache) -> Option<Facts> {
        serde_json::from_slice(&cache.get(&self.manifest_key(digest))?).ok()
    }

    fn keep_facts(&self, digest: Digest, facts: Facts, cache: &dyn CodeCache) -> Facts {
        cache.put(&self.manifest_key(digest), lockgate_model::canonical_json(&facts).as_bytes());
        facts
    }

    /// Everything that can be said of a component. Compiles it and runs its `describe`; blocks like [`Host::load`].
    pub fn inspect(&self, bytes: &[u8]) -> Result<Inspection, LoadError> {
        let plugin = self.load_with(bytes, &NoCache, Missing::Trap)?;
        Ok(Inspection {
            digest: plugin.digest,
            size: plugin.size,
            manifest: plugin.facts.manifest.clone(),
            imports: plugin.facts.imports.clone(),
        })
    }

    /// Finds out what a component is: its world, its imports, its manifest.
    fn examine(&self, component: &Component) -> Result<Facts, LoadError> {
        check_resources(component)?;
        let world = find_world(component)?;
        let imports = find_imports(component);
        let linker = self.linker(Kinds::ALL).map_err(LoadError::Engine)?;
        let linked = traps::link(linker, component, Kinds::ALL)
            .map_err(|error| LoadError::ImportType { reason: import_reason(component, &error) })?;
        // The pool has one slot for each turn besides those for calls.
        let turn = self.turn()?;
        let manifest = self.describe(component, &linked, world);
        drop(turn);
        let manifest = match manifest {
            Ok(manifest) => manifest,
            // What is missing explains more than how it failed without.
            Err(_) if imports.iter().any(|import| import.needs == Meaning::Missing) => {
                return Err(LoadError::UnknownImport { names: missing_of(&imports), offered: interfaces() });
            }
            Err(error) => return Err(error),
        };
        let Some(manifest) = manifest else {
            let reads_time = imports.iter().any(|import| import.needs == Meaning::Clock);
            let granted = imports.iter().filter(|import| import.needs == Meaning::Grant);
            let kinds: BTreeSet<_> = granted.filter_map(|import| import.kind().map(str::to_owned)).collect();
            return Ok(Facts { manifest: command::manifest(kinds.into_iter().collect(), reads_time), imports });
        };
        let manifest = crate::manifest::check(manifest, world, &imports, self.limits.manifest);
        let manifest = manifest.map_err(|reason| LoadError::Manifest { reason })?;
        Ok(Facts { manifest, imports })
    }

    fn manifest_key(&self, digest: Digest) -> String {
        let limits = &self.limits;
        let parts = (
            MANIFEST_RULES,
            digest,
            crate::determinism(),
            limits.describe_fuel,
            limits.describe_memory,
            limits.manifest,
        );
        format!("manifest-{}", Digest::of_json("lockgate-manifest-cache-v1", &parts).hex())
    }
}

/// The digest of a component that is small enough and begins like one.
fn checked(bytes: &[u8], limit: Bytes) -> Result<Digest, LoadError> {
    check_header(bytes, limit)?;
    Ok(Digest::of(bytes))
}

/// Size first, then what the first bytes say.
fn check_header(bytes: &[u8], limit: Bytes) -> Result<(), LoadError> {
    let size = Bytes(bytes.len() as u64);
    if size > limit {
        return Err(LoadError::TooLarge { size, limit });
    }
    let not_wasm = |found: &str| Err(LoadError::NotWasm { found: found.to_owned() });
    match bytes {
        [] => not_wasm("it is empty"),
        // Whether it can be adapted is found out where it is compiled.
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(()),
        // 13 and layer 1: the version of components.
        [0, b'a', b's', b'm', 13, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', rest @ ..] if rest.len() >= 4 => {
            Err(LoadError::Invalid { reason: format!("it has the unknown version {:02x?}", &rest[..4]) })
        }
        [0, b'a', b's', b'm', ..] => Err(LoadError::Invalid { reason: "it ends within its first 8 bytes".into() }),
        [0x1f, 0x8b, ..] => not_wasm("it is compressed by gzip"),
        [0x7f, b'E', b'L', b'F', ..] => not_wasm("it is a native program"),
        _ => match std::str::from_utf8(&bytes[..bytes.len().min(64)]) {
            Ok(text) if text.trim_start().starts_with('(') => {
                not_wasm("it looks like WebAssembly text: translate it with `wasm-tools parse`")
            }
            Ok(_) => not_wasm("it looks like text"),
            Err(_) => not_wasm("it does not begin with `\\0asm`"),
        },
    }
}

fn check_resources(component: &Component) -> Result<(), LoadError> {
    let Some(needed) = component.resources_required() else {
        return Err(LoadError::Invalid { reason: "it imports modules or components".into() });
    };
    let checks = [("memories", needed.num_memories, MAX_MEMORIES), ("tables", needed.num_tables, MAX_TABLES)];
    for (what, count, limit) in checks {
        if count > limit {
            return Err(LoadError::TooMany { what: what.into(), count: count.into(), limit: limit.into() });
        }
    }
    Ok(())
}

fn find_world(component: &Component) -> Result<World, LoadError> {
    let has = |name: &str| component.get_export_index(None, name).is_some();
    let mut worlds = WORLDS.iter().filter(|(_, export)| has(export));
    match (has(DESCRIBE), worlds.next(), worlds.next()) {
        (true, Some((world, _)), None) => Ok(*world),
        (false, None, None) if find_entry(component, World::Command).is_some() => Ok(World::Command),
        (described, one, another) => {
            let lacks = lacks(described, one.map(|(world, _)| *world), another.map(|(world, _)| *world));
            Err(LoadError::World { found: exports(component), lacks })
        }
    }
}

/// The export that does the work of a world.
fn find_entry(component: &Component, world: World) -> Option<ComponentExportIndex> {
    if let Some((_, export)) = WORLDS.iter().find(|(known, _)| *known == world) {
        return component.get_export_index(None, export);
    }
    let kind = component.component_type();
    let (name, _) = kind.exports(component.engine()).find(|(name, _)| name.starts_with(wasi::RUN))?;
    let run = component.get_export_index(None, name)?;
    component.get_export_index(Some(&run), "run")
}

/// What a component lacks, or has too much, to be of one world.
fn lacks(described: bool, one: Option<World>, another: Option<World>) -> String {
    let written = |world: World, export| wit::expected(world.name(), export).unwrap_or_else(|| export.to_owned());
    match (described, one, another) {
        (_, Some(one), Some(another)) => {
            let (one, another) = (one.name(), another.name());
            format!("that is of the worlds `{one}` and `{another}`: make a component of each")
        }
        (false, Some(world), None) => format!("it lacks `{}`", written(world, DESCRIBE)),
        (described, _, _) => {
            let worlds = WORLDS.map(|(world, export)| format!("`{}` ({})", written(world, export), world.name()));
            let describe =
                if described { String::new() } else { format!("`{}` and ", written(World::Stage, DESCRIBE)) };
            format!("it lacks {describe}one of {}, or `wasi:cli/run@0.2` alone (command)", worlds.join(", "))
        }
    }
}

/// Which import is of another type than the contract's.
fn import_reason(component: &Component, error: &wasmtime::Error) -> String {
    let kind = component.component_type();
    let mut imports = kind.imports(component.engine());
    let differs = imports.find_map(|(name, item)| wit::import_differs(name, &item.ty, component.engine()));
    differs.unwrap_or_else(|| error::words(error))
}

/// How the export of a world is of another type than the contract's.
fn export_reason(component: &Component, world: World, export: &str, error: &wasmtime::Error) -> String {
    let kind = component.component_type();
    let mut exports = kind.exports(component.engine());
    let found = exports.find(|(name, _)| *name == export);
    let differs = found.and_then(|(_, item)| wit::export_differs(world.name(), export, &item.ty));
    differs.unwrap_or_else(|| error::words(error))
}

/// A component's exports, for people.
fn exports(component: &Component) -> String {
    let kind = component.component_type();
    let names: Vec<_> =
        kind.exports(component.engine()).map(|(name, _)| format!("`{}`", imports::short(name))).collect();
    match names.len() {
        0 => "nothing".into(),
        1..=10 => names.join(", "),
        more => format!("{} and {} more", names[..10].join(", "), more - 10),
    }
}

/// The names of imports that are not offered.
fn missing_of(imports: &[Import]) -> Vec<String> {
    imports.iter().filter(|import| import.needs == Meaning::Missing).map(|import| import.name.clone()).collect()
}

/// What a component imports, types aside, sorted by name.
fn find_imports(component: &Component) -> Vec<Import> {
    let (kind, engine) = (component.component_type(), component.engine());
    let import = |(name, item): (&str, ComponentExtern<'_>)| {
        let mut import = Import::find(name).unwrap_or_else(|| Import::missing(name));
        // Interfaces that others only take types from ask for nothing.
        if let ComponentItem::ComponentInstance(instance) = item.ty
            && (import.is_wasi() || import.needs == Meaning::Missing)
            && !instance.exports(engine).any(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)))
        {
            import.needs = Meaning::Types;
        }
        import
    };
    let mut imports: Vec<_> = kind.imports(engine).map(import).collect();
    imports.retain(|import| import.needs != Meaning::Types);
    imports.sort_by(|a, b| a.name.cmp(&b.name));
    imports
}
