//! Rust types of `wit/0.1.0`, and nothing else of it: the imports are linked by hand in [`crate::imports`], because each of
//! them must reach the fuel of its store and may give way to other nodes; the exports are called by hand in [`crate::call`].

#![allow(missing_docs, dead_code, clippy::all, reason = "generated code, of which only the types are used")]

/// All interfaces but `evaluation`.
mod stage {
    wasmtime::component::bindgen!({ path: "../../wit/0.1.0", world: "stage" });
}

/// The record `health`.
mod health_check {
    wasmtime::component::bindgen!({
        path: "../../wit/0.1.0",
        world: "health-check",
        with: {
            "lockgate:plugin/types": super::stage::lockgate::plugin::types,
            "lockgate:plugin/log": super::stage::lockgate::plugin::log,
            "lockgate:plugin/environment": super::stage::lockgate::plugin::environment,
            "lockgate:plugin/artifacts": super::stage::lockgate::plugin::artifacts,
            "lockgate:plugin/http": super::stage::lockgate::plugin::http,
            "lockgate:plugin/tcp": super::stage::lockgate::plugin::tcp,
            "lockgate:plugin/clock": super::stage::lockgate::plugin::clock,
            "lockgate:plugin/process": super::stage::lockgate::plugin::process,
            "lockgate:plugin/secrets": super::stage::lockgate::plugin::secrets,
        },
    });
}

/// The interface `evaluation`.
mod canary_evaluator {
    wasmtime::component::bindgen!({
        path: "../../wit/0.1.0",
        world: "canary-evaluator",
        with: {
            "lockgate:plugin/types": super::stage::lockgate::plugin::types,
            "lockgate:plugin/log": super::stage::lockgate::plugin::log,
            "lockgate:plugin/environment": super::stage::lockgate::plugin::environment,
            "lockgate:plugin/artifacts": super::stage::lockgate::plugin::artifacts,
            "lockgate:plugin/http": super::stage::lockgate::plugin::http,
            "lockgate:plugin/tcp": super::stage::lockgate::plugin::tcp,
            "lockgate:plugin/clock": super::stage::lockgate::plugin::clock,
            "lockgate:plugin/process": super::stage::lockgate::plugin::process,
            "lockgate:plugin/secrets": super::stage::lockgate::plugin::secrets,
        },
    });
}

pub use canary_evaluator::lockgate::plugin::evaluation;
pub use health_check::Health;
pub use stage::lockgate::plugin::{artifacts, http, process, tcp, types};
