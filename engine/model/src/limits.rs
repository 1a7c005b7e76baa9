//! A limit on everything: what one attempt of a node may use up. Each has a finite default.

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Fuel, Millis};

/// What one attempt of one node may use. All of it is part of the action key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Fuel of the exported call, host calls included. Default 2G.
    pub fuel: Fuel,
    /// Fuel of instantiation and start functions: a budget of its own, because start-up fuel differs between platforms.
    /// Default 100M.
    pub start_fuel: Fuel,
    /// All linear memories of the node together. Default 64 MiB.
    pub memory: Bytes,
    /// Elements of all tables together. Default 100,000.
    pub table_elements: u64,
    /// Resources (open readers, writers and trees) alive at once. Default 1,000.
    pub handles: u64,
    /// Bytes that all host calls together move in and out of the guest. Default 8 GiB.
    pub call_bytes: Bytes,
    /// Bytes of log. Default 1 MiB. What is beyond is dropped, and the log says so at its end.
    pub log: Bytes,
    /// Bytes of all outputs together. Default 4 GiB.
    pub output: Bytes,
    /// Files, links and directories in all outputs together. Default 100,000.
    pub output_entries: u64,
    /// Findings. Default 10,000.
    pub findings: u64,
    /// Effects (exchanges over HTTP, readings of the clock, ...). Default 1,000.
    pub effects: u64,
    /// Wall time of one attempt. Default 30 s. An attempt that passes it is an infrastructure error.
    pub timeout: Millis,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: Fuel(2_000_000_000),
            start_fuel: Fuel(100_000_000),
            memory: Bytes(64 << 20),
            table_elements: 100_000,
            handles: 1_000,
            call_bytes: Bytes(8 << 30),
            log: Bytes(1 << 20),
            output: Bytes(4 << 30),
            output_entries: 100_000,
            findings: 10_000,
            effects: 1_000,
            timeout: Millis(30_000),
        }
    }
}

/// The longest text or list that one host call may carry: 16 MiB. Chunks of artifacts are capped at [`MAX_CHUNK`] anyway.
pub const MAX_HOST_CALL: u64 = 16 << 20;
/// The most that one read of an artifact answers: 1 MiB, so that a guest's buffer stays in cache.
pub const MAX_CHUNK: u32 = 1 << 20;

/// Limits on components, before any node runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentLimits {
    /// Size of a component's bytes. Default 64 MiB.
    pub size: Bytes,
    /// Wall time of compiling one. Default 120 s.
    pub compile_time: Millis,
    /// Processor time of compiling one that does not come with the engine. Default 240 s: two cores for as long as it may take.
    pub compile_cpu: Millis,
    /// Memory of compiling one that does not come with the engine, its bytes and compiled code included. Default 2 GiB.
    pub compile_memory: Bytes,
    /// How many are compiled at once; each uses all cores where it can. Default 2.
    pub compilations: u64,
    /// Fuel of `describe`, instantiation apart. Default 50M.
    pub describe_fuel: Fuel,
    /// Memory of `describe`. Default 64 MiB.
    pub describe_memory: Bytes,
    /// Size of a manifest, its schema included. Default 1 MiB.
    pub manifest: Bytes,
}

impl Default for ComponentLimits {
    fn default() -> Self {
        Self {
            size: Bytes(64 << 20),
            compile_time: Millis(120_000),
            compile_cpu: Millis(240_000),
            compile_memory: Bytes(2 << 30),
            compilations: 2,
            describe_fuel: Fuel(50_000_000),
            describe_memory: Bytes(64 << 20),
            manifest: Bytes(1 << 20),
        }
    }
}
