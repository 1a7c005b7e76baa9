//! Compiling, off the caller's thread, and the cache of compiled code.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use lockgate_model::Digest;
use wasmtime::component::Component;

use super::LoadError;
use crate::engine::WASMTIME;
use crate::host::Host;
use crate::ports::CodeCache;

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
    /// Compiled code for a component, from the cache or by compiling it.
    pub(super) fn component(
        &self,
        bytes: &[u8],
        digest: Digest,
        cache: &dyn CodeCache,
    ) -> Result<Component, LoadError> {
        let key = self.code_key(digest);
        if let Some(code) = cache.get(&key) {
            // SAFETY: `deserialize` asks for bytes that `Component::serialize` of this very version made, unaltered. The key
            // names wasmtime's full version and the hash of all its settings; only the `put` below stores under such a key;
            // and a `CodeCache` answers only bytes that were put there, verified by their digest, from where nobody else
            // writes.
            match unsafe { Component::deserialize(&self.engine, &code) } {
                Ok(component) => return Ok(component),
                Err(error) => tracing::warn!("compiled code of {digest} is of no use, compiling again: {error:#}"),
            }
        }
        let component = self.compile(bytes)?;
        match component.serialize() {
            Ok(code) => cache.put(&key, &code),
            Err(error) => tracing::warn!("compiled code of {digest} cannot be cached: {error:#}"),
        }
        Ok(component)
    }

    fn code_key(&self, digest: Digest) -> String {
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
    /// until it ends; so hostile components cannot take more than the turns there are.
    fn compile(&self, bytes: &[u8]) -> Result<Component, LoadError> {
        let limit = self.limits.compile_time;
        let patience = Duration::from_millis(limit.0);
        let turn = self.turn()?;
        let (sender, receiver) = mpsc::sync_channel(1);
        let (engine, bytes) = (self.engine.clone(), bytes.to_vec());
        let compile = move || {
            let result = Component::from_binary(&engine, &bytes);
            drop(turn);
            // Nobody waits any more: nobody needs it.
            let _ = sender.send(result);
        };
        let spawned = thread::Builder::new().name("lockgate-compile".into()).stack_size(STACK).spawn(compile);
        spawned.map_err(|error| LoadError::Engine(error.into()))?;
        match receiver.recv_timeout(patience) {
            Ok(Ok(component)) => Ok(component),
            Ok(Err(error)) => Err(LoadError::Invalid { reason: format!("{error:#}") }),
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
