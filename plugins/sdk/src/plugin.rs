//! What a plugin is: the traits of the three worlds, the manifest, and the macros that export a plugin.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::error::{Context, Result};
use crate::evaluation::{Observation, State, Verdict};
use crate::finding::Findings;

/// Makes outputs of inputs.
pub trait Stage {
    /// Its config; see [`config`](macro@crate::config). `()` takes none.
    type Config: DeserializeOwned + JsonSchema;
    /// What it is; see [`about!`](crate::about).
    const ABOUT: About;

    /// Does the work.
    fn run(config: Self::Config) -> Result<Findings>;
}

/// Says whether something is healthy.
pub trait HealthCheck {
    /// Its config.
    type Config: DeserializeOwned + JsonSchema;
    /// What it is.
    const ABOUT: About;

    /// Takes one look. A service that does not answer is [`HealthStatus::Unhealthy`], not an error.
    fn check(config: Self::Config, look: Look) -> Result<Health>;
}

/// Judges an observation of a baseline and a canary.
pub trait CanaryEvaluator {
    /// Its config.
    type Config: DeserializeOwned + JsonSchema;
    /// What it is.
    const ABOUT: About;

    /// Judges. `state` is what the look before left in its verdict.
    fn evaluate(config: Self::Config, observation: Observation, look: Look, state: State) -> Result<Verdict>;
}

/// What a plugin is and needs, its config apart.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Name; the package's, without a leading `lockgate-`.
    pub name: &'static str,
    /// Version; the package's.
    pub version: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// What it reads.
    pub inputs: &'static [Port],
    /// Kind of the inputs with other names that it takes too, if it does.
    pub open_inputs: Option<PortKind>,
    /// What it makes.
    pub outputs: &'static [Port],
    /// Kind of the outputs with other names that it makes too, if it does.
    pub open_outputs: Option<PortKind>,
    /// Kinds of effects that it asks for: `http`, `tcp`, `process`, `secrets`, `clock`; with a `?` behind those that it can do without.
    pub effects: &'static [&'static str],
    /// The JSON Schema of its config, where it does not derive it each time; see [`About::schema`].
    pub schema: Option<&'static str>,
}

impl About {
    /// A plugin without ports and effects.
    pub const fn new(name: &'static str, version: &'static str, summary: &'static str) -> Self {
        let (inputs, outputs): (&[Port], &[Port]) = (&[], &[]);
        Self {
            name,
            version,
            summary,
            inputs,
            open_inputs: None,
            outputs,
            open_outputs: None,
            effects: &[],
            schema: None,
        }
    }

    /// Names its inputs.
    pub const fn inputs(mut self, ports: &'static [Port]) -> Self {
        self.inputs = ports;
        self
    }

    /// Takes inputs of any name besides.
    pub const fn open_inputs(mut self, kind: PortKind) -> Self {
        self.open_inputs = Some(kind);
        self
    }

    /// Names its outputs.
    pub const fn outputs(mut self, ports: &'static [Port]) -> Self {
        self.outputs = ports;
        self
    }

    /// Makes outputs of any name besides.
    pub const fn open_outputs(mut self, kind: PortKind) -> Self {
        self.open_outputs = Some(kind);
        self
    }

    /// Names the kinds of effects that it asks for. A node has to grant them, but those with a `?` behind them (`secrets?`): without a
    /// grant, calls of these are refused, and the plugin sees that.
    pub const fn effects(mut self, kinds: &'static [&'static str]) -> Self {
        self.effects = kinds;
        self
    }

    /// Takes the config's schema from a file beside the code, `.schema(include_str!("../schema.json"))`, so that the component
    /// does not carry what derives it (more than 80 kB). [`testing::check_schema`](crate::testing::check_schema) keeps it true.
    pub const fn schema(mut self, json: &'static str) -> Self {
        self.schema = Some(json);
        self
    }

    /// The name as the manifest has it.
    pub fn plugin_name(&self) -> &'static str {
        self.name.strip_prefix("lockgate-").unwrap_or(self.name)
    }
}

/// An [`About`] with the name and the version of the package that it stands in.
#[macro_export]
macro_rules! about {
    ($summary:expr) => {
        $crate::About::new(::core::env!("CARGO_PKG_NAME"), ::core::env!("CARGO_PKG_VERSION"), $summary)
    };
}

/// One named port.
#[derive(Debug, Clone, Copy)]
pub struct Port {
    /// Its name.
    pub name: &'static str,
    /// What it carries.
    pub kind: PortKind,
    /// Whether it may be missing.
    pub optional: bool,
    /// One line for people.
    pub summary: &'static str,
}

impl Port {
    /// A port for bytes.
    pub const fn blob(name: &'static str, summary: &'static str) -> Self {
        Self { name, kind: PortKind::Blob, optional: false, summary }
    }

    /// A port for a directory.
    pub const fn tree(name: &'static str, summary: &'static str) -> Self {
        Self { name, kind: PortKind::Tree, optional: false, summary }
    }

    /// A port for either.
    pub const fn any(name: &'static str, summary: &'static str) -> Self {
        Self { name, kind: PortKind::Any, optional: false, summary }
    }

    /// The port may be missing.
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

/// What a port carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortKind {
    /// Bytes.
    Blob,
    /// A directory.
    Tree,
    /// Either.
    Any,
}

impl PortKind {
    /// The kind's name in the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Tree => "tree",
            Self::Any => "any",
        }
    }
}

/// Which of several looks over time this is. The engine repeats and waits, never the plugin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// Number of the look, from 0.
    pub index: u32,
    /// Milliseconds since the first look, by the engine's schedule.
    pub elapsed_ms: u64,
    /// Step of a rollout, from 0, where there is one.
    pub step: Option<u32>,
}

/// What a health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthStatus {
    /// All is well.
    Healthy,
    /// It works, but not well.
    Degraded,
    /// It does not work.
    Unhealthy,
}

impl HealthStatus {
    /// The status's name in the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What one look saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What is said.
    pub status: HealthStatus,
    /// Why, in one sentence.
    pub reason: String,
    /// Anything more, as JSON text; may be empty.
    pub details: String,
}

impl Health {
    /// A health without details.
    pub fn new(status: HealthStatus, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), details: String::new() }
    }

    /// All is well.
    pub fn healthy(reason: impl Into<String>) -> Self {
        Self::new(HealthStatus::Healthy, reason)
    }

    /// It works, but not well.
    pub fn degraded(reason: impl Into<String>) -> Self {
        Self::new(HealthStatus::Degraded, reason)
    }

    /// It does not work.
    pub fn unhealthy(reason: impl Into<String>) -> Self {
        Self::new(HealthStatus::Unhealthy, reason)
    }

    /// Adds details as JSON. What cannot be written as JSON is left out.
    pub fn details(mut self, details: &impl serde::Serialize) -> Self {
        self.details = serde_json::to_string(details).unwrap_or_default();
        self
    }
}

/// JSON Schema (2020-12) of a config, as the manifest carries it.
pub fn config_schema<C: JsonSchema>() -> String {
    let mut schema = schemars::schema_for!(C).to_value();
    if schema.get("type").is_some_and(|kind| kind == "null") {
        // `()`: a plugin without a config takes the empty object only.
        schema = serde_json::json!({"type": "object", "additionalProperties": false});
    }
    schema.to_string()
}

/// Reads a config. The empty object becomes `()` where that is the config.
fn config<C: DeserializeOwned>(text: &str) -> Result<C> {
    match crate::config::read(text) {
        Err(_) if text.trim() == "{}" => crate::config::read("null"),
        result => result,
    }
    .context("the config is not what the schema says")
}

pub(crate) fn run<S: Stage>(config_text: &str) -> Result<Findings> {
    S::run(config(config_text)?)
}

pub(crate) fn check<H: HealthCheck>(config_text: &str, look: Look) -> Result<Health> {
    H::check(config(config_text)?, look)
}

pub(crate) fn evaluate<E: CanaryEvaluator>(
    config_text: &str,
    observation: Observation,
    look: Look,
    state: State,
) -> Result<Verdict> {
    E::evaluate(config(config_text)?, observation, look, state)
}

/// Exports a type that implements [`Stage`] as the plugin of this crate.
#[macro_export]
macro_rules! export_stage {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::bindings::StagePlugin<$plugin>;
    $crate::bindings::stage::export_stage_world!(Exported with_types_in $crate::bindings::stage);
        };
    };
}

/// Exports a type that implements [`HealthCheck`] as the plugin of this crate.
#[macro_export]
macro_rules! export_health_check {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::bindings::HealthCheckPlugin<$plugin>;
            $crate::bindings::health_check::export_health_check_world!(Exported with_types_in $crate::bindings::health_check);
        };
    };
}

/// Exports a type that implements [`CanaryEvaluator`] as the plugin of this crate.
#[macro_export]
macro_rules! export_canary_evaluator {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::bindings::CanaryEvaluatorPlugin<$plugin>;
            $crate::bindings::canary_evaluator::export_canary_evaluator_world!(
                Exported with_types_in $crate::bindings::canary_evaluator
            );
        };
    };
}
