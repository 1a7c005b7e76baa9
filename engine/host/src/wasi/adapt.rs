//! WASI preview 1: core modules become components by an adapter that speaks WASI 0.2 for them.
//!
//! The adapter comes with the engine, so it is no part of a component's digest: with another one results may differ, and
//! `DETERMINISM` in `engine.rs` has to be raised. A test here notices.

use std::borrow::Cow;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

use crate::load::LoadError;

/// The export of a program.
const START: &str = "_start";
/// What the custom sections of a module that was built for a world begin with.
const WORLD_SECTION: &str = "component-type";
/// Longest reason in characters.
const MAX_REASON: usize = 2_000;

/// A component as it is, or what becomes of a core module: a command of one with `_start`, else a component of the world that it was built for.
pub(crate) fn component(bytes: &[u8]) -> Result<Cow<'_, [u8]>, LoadError> {
    if !is_module(bytes) {
        return Ok(bytes.into());
    }
    let adapter = match look(bytes)? {
        Found { start: true, .. } => WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
        Found { world: true, .. } => WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        Found { .. } => return Err(LoadError::CoreModule),
    };
    let encoded = ComponentEncoder::default()
        .validate(true)
        .module(bytes)
        .and_then(|encoder| encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter))
        .and_then(|mut encoder| encoder.encode());
    encoded.map(Cow::Owned).map_err(|error| {
        let reason: String = format!("{error:#}").chars().take(MAX_REASON).collect();
        LoadError::Adapt { reason }
    })
}

/// Whether these bytes begin like a core module.
pub(crate) fn is_module(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0, b'a', b's', b'm', 1, 0, 0, 0])
}

#[derive(Default)]
struct Found {
    start: bool,
    world: bool,
}

/// What a module has, by its exports and the names of its custom sections.
fn look(bytes: &[u8]) -> Result<Found, LoadError> {
    let invalid = |error: wasmparser::BinaryReaderError| LoadError::Invalid { reason: error.to_string() };
    let mut found = Found::default();
    for payload in wasmparser::Parser::new(0).parse_all(bytes) {
        match payload.map_err(invalid)? {
            wasmparser::Payload::ExportSection(exports) => {
                for export in exports {
                    found.start |= export.map_err(invalid)?.name == START;
                }
            }
            wasmparser::Payload::CustomSection(section) => found.world |= section.name().starts_with(WORLD_SECTION),
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use lockgate_model::Digest;

    use super::*;

    #[test]
    fn adapters_are_those_that_results_were_made_with() {
        let adapters = [WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER];
        let digests = adapters.map(|adapter| Digest::of(adapter).short().to_string());
        assert_eq!(
            digests,
            ["77602970ea4c", "134b86dc09c6"],
            "with other adapters raise `DETERMINISM`, then put their digests here"
        );
    }
}
