//! What one call has in its store: its task, what it used of its limits, and what it made so far.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use lockgate_model::artifact::{ArtifactRef, Directory};
use lockgate_model::effect::EffectRecord;
use lockgate_model::limits::Limits;
use lockgate_model::manifest::Ports;
use lockgate_model::task::Task;
use lockgate_model::units::Bytes;
use lockgate_model::{Digest, PortName};
use wasmtime::component::ResourceTable;
use wasmtime::{AsContextMut, ResourceLimiter, StoreContextMut};

use crate::engine::MAX_TABLE_ELEMENTS;
use crate::ports::{Artifacts, Effects};
use crate::process::Launcher;
use crate::profile::{self, Profiler};
use crate::schedule::{self, Call};
use crate::secret::Secrets;
use crate::wasi::Wasi;

/// Entries of directories that one call keeps in memory, so that looking paths up does not read them again: about 30 MB.
const DIRECTORY_CACHE: usize = 200_000;

/// Why the host ends a call before it returns. Travels through wasmtime as an error and becomes the call's failure.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Stop {
    /// An import was called before the exported call began.
    #[error("it called the import `{0}` before its exported function was called")]
    TooEarly(&'static str),
    /// A host call cost more fuel than was left.
    #[error("the fuel is spent")]
    Fuel,
    /// A limit was passed.
    #[error("{0}")]
    Limit(String),
    /// It asked for another effect than the one that is recorded.
    #[error("{0}")]
    Differs(String),
    /// It used an import as nobody may.
    #[error("{0}")]
    Misuse(String),
    /// It ended itself.
    #[error("it ended itself by `exit`, with the code {0}")]
    Exit(u8),
    /// The surroundings failed.
    #[error("{0}")]
    Infrastructure(String),
}

impl Stop {
    /// A limit that the pipeline file can raise.
    pub(crate) fn limit(what: impl std::fmt::Display, key: &str) -> Self {
        Self::Limit(format!("{what}; raise `limits.{key}` of the node if it is right"))
    }

    /// A failure of the store of artifacts.
    pub(crate) fn artifacts(doing: &str, error: &io::Error) -> Self {
        Self::Infrastructure(format!("failed to {doing}: {error}"))
    }
}

/// An output that was begun.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Output {
    /// Its writer or builder is not finished.
    Open,
    /// It is stored.
    Done(ArtifactRef),
}

/// The data of a call's store.
pub(crate) struct State {
    pub(crate) task: Task,
    pub(crate) outputs_declared: Arc<Ports>,
    pub(crate) artifacts: Arc<dyn Artifacts>,
    pub(crate) effects: Arc<dyn Effects>,
    /// The run's secrets, to be placed and masked.
    pub(crate) secrets: Arc<Secrets>,
    /// How programs are started.
    pub(crate) launcher: Option<Launcher>,
    /// Whether the exported call has begun: until then, imports trap.
    pub(crate) running: bool,
    pub(crate) table: ResourceTable,
    /// What it has of WASI.
    pub(crate) wasi: Wasi,
    /// The fuel that is left, inside of a host call of WASI.
    pub(crate) fuel: u64,
    pub(crate) usage: Usage,
    /// The fuel that was left when the call last gave way to others inside of a host call.
    yielded_at: u64,
    /// Bytes that host calls have moved.
    moved: u64,
    /// Bytes and entries written to outputs.
    pub(crate) written: u64,
    pub(crate) entries: u64,
    pub(crate) outputs: BTreeMap<PortName, Output>,
    pub(crate) log: Log,
    /// The first breach of the contract that the guest was told of as an error.
    pub(crate) breach: Option<String>,
    /// The clock without a grant, in milliseconds since 1970.
    pub(crate) logical_time: u64,
    pub(crate) records: Vec<EffectRecord>,
    /// Effects begun, in this call.
    pub(crate) effect_count: u64,
    /// Who finds out where the fuel goes, where that is asked for.
    pub(crate) profiler: Option<Box<Profiler>>,
    directories: HashMap<Digest, Arc<Directory>>,
    directory_entries: usize,
}

impl State {
    pub(crate) fn new(
        task: Task,
        outputs: Arc<Ports>,
        artifacts: Arc<dyn Artifacts>,
        effects: Arc<dyn Effects>,
    ) -> Self {
        let mut table = ResourceTable::new();
        // Its being full is how the limit of handles is found.
        table.set_max_capacity(usize::try_from(task.limits.handles).unwrap_or(usize::MAX));
        Self {
            usage: Usage::new(&task.limits),
            logical_time: task.logical_time,
            yielded_at: task.limits.fuel.0,
            log: Log::new(task.limits.log),
            task,
            outputs_declared: outputs,
            artifacts,
            secrets: effects.secrets(),
            effects,
            launcher: None,
            running: false,
            wasi: Wasi::default(),
            fuel: 0,
            table,
            moved: 0,
            written: 0,
            entries: 0,
            outputs: BTreeMap::new(),
            breach: None,
            records: Vec::new(),
            effect_count: 0,
            profiler: None,
            directories: HashMap::new(),
            directory_entries: 0,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.task.limits
    }

    /// The number of the next effect.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.task.first_sequence.saturating_add(self.effect_count)
    }

    /// Keeps the first breach of the contract.
    pub(crate) fn breach(&mut self, what: String) {
        self.breach.get_or_insert(what);
    }

    /// Takes fuel, inside of a host call of WASI.
    pub(crate) fn spend(&mut self, fuel: u64) -> Result<(), Stop> {
        let enough = fuel <= self.fuel;
        self.fuel = self.fuel.saturating_sub(fuel);
        if enough { Ok(()) } else { Err(Stop::Fuel) }
    }

    /// Takes fuel for bytes that a host call of WASI moves in or out, and counts them.
    pub(crate) fn spend_bytes(&mut self, bytes: u64) -> Result<(), Stop> {
        self.spend(schedule::moving(bytes))?;
        self.count_moved(bytes)
    }

    fn count_moved(&mut self, bytes: u64) -> Result<(), Stop> {
        self.moved = self.moved.saturating_add(bytes);
        let limit = self.limits().call_bytes;
        if self.moved > limit.0 {
            return Err(Stop::limit(format_args!("its host calls move more than {limit}"), "call_bytes"));
        }
        Ok(())
    }

    /// Counts bytes that the host keeps in memory for the guest.
    pub(crate) fn hold(&mut self, bytes: u64) -> Result<(), Stop> {
        self.usage.hold(bytes)
    }

    /// Counts bytes written to outputs.
    pub(crate) fn write(&mut self, bytes: u64) -> Result<(), Stop> {
        self.written = self.written.saturating_add(bytes);
        let limit = self.limits().output;
        if self.written > limit.0 {
            return Err(Stop::limit(format_args!("its outputs are larger than {limit}"), "output"));
        }
        Ok(())
    }

    /// Counts entries of output trees.
    pub(crate) fn add_entries(&mut self, entries: u64) -> Result<(), Stop> {
        self.entries = self.entries.saturating_add(entries);
        let limit = self.limits().output_entries;
        if self.entries > limit {
            return Err(Stop::limit(format_args!("its output trees have more than {limit} entries"), "output_entries"));
        }
        Ok(())
    }

    /// A directory of a tree.
    pub(crate) fn directory(&mut self, digest: Digest) -> Result<Arc<Directory>, Stop> {
        if let Some(directory) = self.directories.get(&digest) {
            return Ok(directory.clone());
        }
        let directory = self
            .artifacts
            .directory(digest)
            .map_err(|error| Stop::artifacts("read a directory of an input", &error))?;
        if self.directory_entries > DIRECTORY_CACHE {
            self.directories.clear();
            self.directory_entries = 0;
        }
        self.directory_entries += directory.entries().len() + 1;
        self.directories.insert(digest, directory.clone());
        Ok(directory)
    }
}

/// Starts a host call: refuses it before the exported call began, and charges it.
pub(crate) fn begin(store: &mut StoreContextMut<'_, State>, name: &'static str, call: Call) -> Result<(), Stop> {
    if !store.data().running {
        return Err(Stop::TooEarly(name));
    }
    take(store, call.fuel(), Some(name))
}

/// Takes fuel.
pub(crate) fn charge(store: &mut StoreContextMut<'_, State>, fuel: u64) -> Result<(), Stop> {
    take(store, fuel, None)
}

/// Takes fuel; `began` is the host call that begins with this.
fn take(store: &mut StoreContextMut<'_, State>, fuel: u64, began: Option<&'static str>) -> Result<(), Stop> {
    let engine = |error: wasmtime::Error| Stop::Infrastructure(format!("failed to count fuel: {error}"));
    let left = store.get_fuel().map_err(engine)?;
    store.set_fuel(left.saturating_sub(fuel)).map_err(engine)?;
    if store.data().profiler.is_some() {
        profile::charged(store, fuel.min(left), began).map_err(engine)?;
    }
    if fuel > left { Err(Stop::Fuel) } else { Ok(()) }
}

/// Charges and counts bytes that a host call moves in or out.
pub(crate) fn charge_bytes(store: &mut StoreContextMut<'_, State>, bytes: u64) -> Result<(), Stop> {
    charge(store, schedule::moving(bytes))?;
    store.data_mut().count_moved(bytes)
}

/// Whether so much fuel went since the call last gave way that it should again: setting the fuel in each host call restarts
/// wasmtime's own interval, so a guest that does little but host calls would never reach its end.
pub(crate) fn should_yield(mut store: impl AsContextMut<Data = State>) -> bool {
    let mut store = store.as_context_mut();
    let Ok(left) = store.get_fuel() else { return false };
    let state = store.data_mut();
    let due = state.yielded_at.saturating_sub(left) >= schedule::YIELD_INTERVAL;
    if due {
        state.yielded_at = left;
    }
    due
}

/// Memories and tables of all instances of a call together, and what the host keeps in memory for them.
#[derive(Debug)]
pub(crate) struct Usage {
    memory: u64,
    /// The most memory that was in use.
    peak: u64,
    memory_limit: Bytes,
    elements: u64,
    element_limit: u64,
    growing: Option<u64>,
}

impl Usage {
    fn new(limits: &Limits) -> Self {
        Self::of(limits.memory, limits.table_elements)
    }

    /// Nothing in use yet, with these limits.
    pub(crate) fn of(memory_limit: Bytes, element_limit: u64) -> Self {
        Self { memory: 0, peak: 0, memory_limit, elements: 0, element_limit, growing: None }
    }

    /// Bytes of memory in use.
    pub(crate) fn memory(&self) -> u64 {
        self.memory
    }

    /// The most bytes of memory that were in use.
    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }

    /// Counts bytes that the host keeps.
    pub(crate) fn hold(&mut self, bytes: u64) -> Result<(), Stop> {
        let total = self.memory.saturating_add(bytes);
        if total > self.memory_limit.0 {
            let what = format_args!("it needs more than {} of memory, files included", self.memory_limit).to_string();
            return Err(Stop::limit(what, "memory"));
        }
        self.memory = total;
        self.peak = self.peak.max(total);
        Ok(())
    }

    /// What was held is free again.
    pub(crate) fn release(&mut self, bytes: u64) {
        self.memory = self.memory.saturating_sub(bytes);
    }
}

impl ResourceLimiter for Usage {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Beyond its own maximum a memory cannot grow: the guest sees -1, everywhere alike.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current) as u64;
        let total = self.memory.saturating_add(more);
        if total > self.memory_limit.0 {
            return Err(
                Stop::limit(format_args!("it needs more than {} of memory", self.memory_limit), "memory").into()
            );
        }
        self.memory = total;
        self.peak = self.peak.max(total);
        self.growing = Some(more);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // Only the host's lack of memory comes here with a growth that was permitted: never a result for the guest to see.
        match self.growing.take() {
            Some(_) => Err(Stop::Infrastructure(format!("failed to get memory from the host: {error}")).into()),
            None => Ok(()),
        }
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) && desired <= MAX_TABLE_ELEMENTS {
            return Ok(false);
        }
        let total = self.elements.saturating_add(desired.saturating_sub(current) as u64);
        if total > self.element_limit {
            let what = format_args!("its tables have more than {} elements", self.element_limit).to_string();
            return Err(Stop::limit(what, "table_elements").into());
        }
        if desired > MAX_TABLE_ELEMENTS {
            return Err(Stop::Limit(format!("one of its tables has more than {MAX_TABLE_ELEMENTS} elements")).into());
        }
        self.elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        crate::engine::MAX_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        crate::engine::MAX_TABLES as usize
    }

    fn memories(&self) -> usize {
        crate::engine::MAX_MEMORIES as usize
    }
}

/// The log of a call: one record a line, level and message.
#[derive(Debug)]
pub struct Log {
    text: String,
    limit: Bytes,
    cut: bool,
}

/// Longest level that is kept, in characters.
const LEVEL: usize = 16;

impl Log {
    /// An empty log of at most so many bytes.
    pub fn new(limit: Bytes) -> Self {
        Self { text: String::new(), limit, cut: false }
    }

    /// Adds a record. What is beyond the limit is dropped, from the first record on that does not fit.
    pub fn add(&mut self, level: &str, message: &str) {
        if self.cut {
            return;
        }
        let before = self.text.len();
        let level: String = level.chars().filter(|c| !c.is_whitespace()).take(LEVEL).collect();
        self.text += if level.is_empty() { "info" } else { &level };
        self.text.push(' ');
        for c in message.chars() {
            match c {
                '\n' => self.text += "\\n",
                '\r' => self.text += "\\r",
                '\\' => self.text += "\\\\",
                c => self.text.push(c),
            }
        }
        self.text.push('\n');
        if self.text.len() as u64 > self.limit.0 {
            self.text.truncate(before);
            self.cut = true;
        }
    }

    /// Whether anything that is added is dropped.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// The log as its blob has it; empty where nothing was logged.
    pub fn finish(self) -> String {
        let mut text = self.text;
        if self.cut {
            text += &format!("warn lockgate: the log ends here, at its limit of {} (`limits.log`)\n", self.limit);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_records_are_lines_and_the_limit_is_told() {
        let mut log = Log::new(Bytes(40));
        log.add("info", "one\ntwo\\");
        log.add("", "x");
        log.add("a level that is much too long", &"y".repeat(100));
        log.add("info", "z");
        assert_eq!(
            log.finish(),
            "info one\\ntwo\\\\\ninfo x\nwarn lockgate: the log ends here, at its limit of 40 B (`limits.log`)\n"
        );
        assert_eq!(Log::new(Bytes(10)).finish(), "");
    }

    #[test]
    fn memory_is_counted_over_all_memories() {
        let mut usage = Usage::of(Bytes(3 << 16), 10);
        assert!(usage.memory_growing(0, 1 << 16, None).unwrap());
        assert!(usage.memory_growing(0, 1 << 16, None).unwrap());
        assert!(!usage.memory_growing(1 << 16, 2 << 16, Some(1 << 16)).unwrap());
        assert!(usage.memory_growing(1 << 16, 2 << 16, None).unwrap());
        let error = usage.memory_growing(0, 1 << 16, None).unwrap_err();
        assert!(error.to_string().contains("limits.memory"), "{error}");
        assert_eq!(usage.peak(), 3 << 16);
        assert!(usage.memory_grow_failed(wasmtime::format_err!("mmap")).is_err(), "the host's lack is no result");
        assert!(usage.table_growing(0, 11, None).is_err());
    }
}
