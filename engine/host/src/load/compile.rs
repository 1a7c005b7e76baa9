//! Compiling, off the caller's thread or in another process, and the cache of compiled code.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use lockgate_model::Digest;
use wasmtime::component::Component;

use super::{Facts, LoadError};
use crate::engine::WASMTIME;
use crate::host::Host;
use crate::ports::{CodeCache, Compiler};

/// Stack of a compiling thread in bytes: deeply nested code takes some.
const STACK: usize = 16 << 20;

/// Bounds how many components are compiled at once.
pub(crate) struct CompileGate(Arc<Gate>);

struct Gate {
    free: Mutex<usize>,
    changed: Condvar,
}

/// A turn at compiling, given back when dropped.
pub(super) struct Turn(Arc<Gate>);

impl CompileGate {
    pub(crate) fn new(turns: usize) -> Self {
        Self(Arc::new(Gate { free: Mutex::new(turns), changed: Condvar::new() }))
    }

    /// Waits for a turn, at most so long.
    fn enter(&self, patience: Duration) -> Option<Turn> {
        let free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.changed.wait_timeout_while(free, patience, |free| *free == 0);
        let (mut free, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return None;
        }
        *free -= 1;
        Some(Turn(self.0.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.changed.notify_one();
    }
}

impl Host {
    /// Compiled code for a component, from the cache or by compiling it, here or elsewhere.
    pub(super) fn component(
        &self,
        bytes: &[u8],
        digest: Digest,
        cache: &dyn CodeCache,
    ) -> Result<Component, LoadError> {
        match (self.cached(digest, cache), self.compiler_of(digest)) {
            (Some(component), _) => Ok(component),
            (None, Some(compiler)) => Ok(self.elsewhere(compiler, bytes, digest, cache)?.0),
            (None, None) => self.compiled(bytes, digest, cache),
        }
    }

    /// Compiled code that the cache has.
    pub(super) fn cached(&self, digest: Digest, cache: &dyn CodeCache) -> Option<Component> {
        let key = self.code_key(digest);
        // What both need: bytes that `Component::serialize` of this very version made, unaltered. The key names wasmtime's full version and
        // the hash of all its settings; only `compiled` and `elsewhere` below store under such a key; and a `CodeCache` answers only
        // bytes that were put there, verified, from where nobody else writes.
        let component = match cache.file(&key) {
            // SAFETY: as above; and the file stays so while it is mapped, because it is only ever replaced as a whole.
            Some(file) => unsafe { Component::deserialize_file(&self.engine, file) },
            // SAFETY: as above.
            None => unsafe { Component::deserialize(&self.engine, cache.get(&key)?) },
        };
        match component {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!("compiled code of {digest} is of no use, compiling again: {error:#}");
                None
            }
        }
    }

    /// Compiles in this process.
    pub(super) fn compiled(&self, bytes: &[u8], digest: Digest, cache: &dyn CodeCache) -> Result<Component, LoadError> {
        let component = self.compile(bytes)?;
        match component.serialize() {
            Ok(code) => cache.put(&self.code_key(digest), &code),
            Err(error) => tracing::warn!("compiled code of {digest} cannot be cached: {error:#}"),
        }
        Ok(component)
    }

    /// Who compiles a component outside of this process, if anybody does.
    pub(super) fn compiler_of(&self, digest: Digest) -> Option<&dyn Compiler> {
        self.compiler.as_deref().filter(|compiler| !compiler.is_trusted(digest))
    }

    /// Has a component compiled and examined by somebody else.
    pub(super) fn elsewhere(
        &self,
        compiler: &dyn Compiler,
        bytes: &[u8],
        digest: Digest,
        cache: &dyn CodeCache,
    ) -> Result<(Component, Facts), LoadError> {
        let turn = self.turn()?;
        let prepared = compiler.prepare(bytes, &self.limits)?;
        drop(turn);
        let key = self.code_key(digest);
        if prepared.key != key {
            let what = "what was compiled is another component, or of another engine";
            return Err(LoadError::Engine(wasmtime::Error::msg(what)));
        }
        // SAFETY: `deserialize` asks for bytes that `Component::serialize` of this very version made, unaltered. A `Compiler`
        // promises that they come from `Host::prepare` of this same program; the key, which names wasmtime's full version, the
        // hash of all its settings and the component, was made there beside them.
        let component = unsafe { Component::deserialize(&self.engine, &prepared.code) }.map_err(LoadError::Engine)?;
        cache.put(&key, &prepared.code);
        Ok((component, self.keep_facts(digest, prepared.facts, cache)))
    }

    pub(super) fn code_key(&self, digest: Digest) -> String {
        let mut hasher = DefaultHasher::new();
        self.engine.precompile_compatibility_hash().hash(&mut hasher);
        let parts = (digest, WASMTIME, format!("{:016x}", hasher.finish()), crate::determinism());
        format!("code-{}", Digest::of_json("lockgate-code-cache-v1", &parts).hex())
    }

    /// Waits for a turn at work that a component causes before it is known to be good.
    pub(super) fn turn(&self) -> Result<Turn, LoadError> {
        let limit = self.limits.compile_time;
        // Nobody who waits for longer than a compilation may take would be served soon after.
        self.compile.enter(Duration::from_millis(limit.0)).ok_or(LoadError::CompileTime { limit })
    }

    /// Compiles on a thread of its own. A compilation that takes too long cannot be stopped: it goes on, and keeps its turn,
    /// until it ends. So what nobody vouches for belongs into a process that can be ended.
    fn compile(&self, bytes: &[u8]) -> Result<Component, LoadError> {
        let limit = self.limits.compile_time;
        let patience = Duration::from_millis(limit.0);
        let turn = self.turn()?;
        let (sender, receiver) = mpsc::sync_channel(1);
        let (engine, bytes) = (self.engine.clone(), bytes.to_vec());
        let compile = move || {
            let component = crate::wasi::adapt::component(&bytes);
            let result = component
                .and_then(|bytes| Component::from_binary(&engine, &bytes).map_err(|error| LoadError::invalid(&error)));
            drop(turn);
            // Nobody waits any more: nobody needs it.
            let _ = sender.send(result);
        };
        let spawned = thread::Builder::new().name("lockgate-compile".into()).stack_size(STACK).spawn(compile);
        spawned.map_err(|error| LoadError::Engine(error.into()))?;
        match receiver.recv_timeout(patience) {
            Ok(Ok(component)) => Ok(component),
            Ok(Err(error)) => Err(error),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(LoadError::CompileTime { limit }),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                Err(LoadError::Invalid { reason: "the compiler failed on it".into() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_bounded_and_given_back() {
        let gate = CompileGate::new(1);
        let turn = gate.enter(Duration::ZERO).unwrap();
        assert!(gate.enter(Duration::ZERO).is_none());
        drop(turn);
        assert!(gate.enter(Duration::ZERO).is_some());
    }
}
