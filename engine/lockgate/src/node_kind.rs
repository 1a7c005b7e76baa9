//! Node kinds of an embedding program: what a node does, written in Rust instead of as a component.
//!
//! A pipeline names one as `plugin = "app:<name>"`. It is checked like a plugin, against what it declares; its attempts, effects and
//! receipts are journaled like a plugin's, its panics and timeouts end the node and not the run. But it is native code of the
//! program: **outside of the sandbox and of fuel**, and nothing keeps it from doing what it does not declare.
//!
//! In receipts and action keys it is named by the digest of its [`Declaration`]. So **raise the version whenever its behaviour
//! changes**: a result of a pure node that is in the cache counts as long as the declaration stays the same. A node kind counts as one
//! with effects, which is never cached and needs `grants.app = true`, unless it declares itself [`pure`](Declaration::pure).

mod call;
mod native;

use async_trait::async_trait;
use lockgate_model::PortName;
use lockgate_model::manifest::{self, Manifest, World};
use serde_json::{Value, json};

pub use self::call::{Call, Input, InputFile, OutputWriter};
pub(crate) use self::native::{Kinds, Native};
use crate::error::{Class, Error};

/// What a node does, natively.
///
/// [`NodeKind::run`] is called on the runtime of the run, once for each attempt or look. It may be dropped at any await, when the time
/// is over or the run is interrupted; code that never awaits is not stopped, but its node ends in time all the same.
#[async_trait]
pub trait NodeKind: Send + Sync + 'static {
    /// What it is. Asked once, when the engine is built.
    fn declare(&self) -> Declaration;

    /// Does one node's work. What it writes and logs on the way goes through `call`.
    async fn run(&self, call: &mut Call) -> Result<Answer, NodeFailure>;
}

/// What a node kind is: the same as a plugin's manifest.
#[derive(Debug, Clone)]
pub struct Declaration {
    name: String,
    version: String,
    summary: String,
    world: World,
    config_schema: Value,
    inputs: Vec<(String, Carries, bool)>,
    outputs: Vec<(String, Carries, bool)>,
    open_inputs: bool,
    pure: bool,
}

/// What an input or output carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// Bytes.
    Blob,
    /// Files by path.
    Tree,
    /// Either.
    Any,
}

impl Carries {
    const fn kind(self) -> manifest::PortKind {
        match self {
            Self::Blob => manifest::PortKind::Blob,
            Self::Tree => manifest::PortKind::Tree,
            Self::Any => manifest::PortKind::Any,
        }
    }
}

impl Declaration {
    /// Declares a stage: it makes outputs of inputs. `name` is what stands behind `app:` in pipelines; `version` is one by semver.
    pub fn stage(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            summary: String::new(),
            world: World::Stage,
            config_schema: json!({ "type": "object" }),
            inputs: Vec::new(),
            outputs: Vec::new(),
            open_inputs: false,
            pure: false,
        }
    }

    /// Declares a health check: it says `healthy`, `degraded` or `unhealthy`, see [`Answer::verdict`].
    pub fn health_check(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { world: World::HealthCheck, ..Self::stage(name, version) }
    }

    /// Declares a canary evaluator: it reads its input `observation`, and says `promote`, `hold`, `rollback` or `inconclusive`.
    pub fn canary(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { world: World::CanaryEvaluator, ..Self::stage(name, version) }
    }

    /// Adds one line for people.
    #[must_use]
    pub fn summary(self, summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), ..self }
    }

    /// Sets the JSON Schema of its config, which is always an object. Default: any object.
    #[must_use]
    pub fn config_schema(self, schema: Value) -> Self {
        Self { config_schema: schema, ..self }
    }

    /// Adds an input that a node must have.
    #[must_use]
    pub fn input(mut self, name: impl Into<String>, carries: Carries) -> Self {
        self.inputs.push((name.into(), carries, false));
        self
    }

    /// Adds an input that a node may have.
    #[must_use]
    pub fn optional_input(mut self, name: impl Into<String>, carries: Carries) -> Self {
        self.inputs.push((name.into(), carries, true));
        self
    }

    /// Takes inputs of any name besides.
    #[must_use]
    pub fn any_inputs(self) -> Self {
        Self { open_inputs: true, ..self }
    }

    /// Adds an output that it always writes.
    #[must_use]
    pub fn output(mut self, name: impl Into<String>, carries: Carries) -> Self {
        self.outputs.push((name.into(), carries, false));
        self
    }

    /// Adds an output that it may write.
    #[must_use]
    pub fn optional_output(mut self, name: impl Into<String>, carries: Carries) -> Self {
        self.outputs.push((name.into(), carries, true));
        self
    }

    /// Promises that what it gives is a function of config, inputs and declared environment alone, and that it does nothing else:
    /// then it needs no grant, and its results are cached. Nothing checks the promise but `repeat`, which executes a node twice.
    #[must_use]
    pub fn pure(self) -> Self {
        Self { pure: true, ..self }
    }

    /// What the rest of the engine knows of it.
    fn manifest(&self) -> Result<Manifest, Error> {
        let wrong = |what: String| {
            let error = anyhow::anyhow!("use the node kind `{}`: {what}", crate::wiring::text::clean_line(&self.name));
            Error::new(Class::Wrong, error).hint("correct what its `declare` gives")
        };
        PortName::new(&self.name).map_err(|error| wrong(format!("failed to {error}")))?;
        if let Err(error) = semver::Version::parse(&self.version) {
            return Err(wrong(format!("its version is none by semver: {error}")));
        }
        if !self.config_schema.is_object() {
            return Err(wrong("its JSON Schema is not an object".to_owned()));
        }
        let ports = |ports: &[(String, Carries, bool)]| {
            let port = |(name, carries, optional): &(String, Carries, bool)| {
                let name = PortName::new(name).map_err(|error| wrong(format!("failed to {error}")))?;
                Ok(manifest::Port { name, kind: carries.kind(), optional: *optional, summary: String::new() })
            };
            let named: Vec<_> = ports.iter().map(port).collect::<Result<_, Error>>()?;
            let mut names: Vec<_> = named.iter().map(|port| &port.name).collect();
            names.sort_unstable();
            match names.windows(2).find(|pair| pair[0] == pair[1]) {
                Some(pair) => Err(wrong(format!("it declares `{}` twice", pair[0]))),
                None => Ok(named),
            }
        };
        Ok(Manifest {
            world: self.world,
            name: self.name.clone(),
            version: self.version.clone(),
            summary: self.summary.clone(),
            config_schema: self.config_schema.clone(),
            inputs: manifest::Ports {
                named: ports(&self.inputs)?,
                open: self.open_inputs.then_some(manifest::PortKind::Any),
            },
            outputs: manifest::Ports { named: ports(&self.outputs)?, open: None },
            effects: if self.pure { Vec::new() } else { vec!["app".to_owned()] },
            optional_effects: Vec::new(),
            reads_time: false,
        })
    }
}

/// What a node kind answers where all went well.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub(crate) verdict: Option<lockgate_model::outcome::Verdict>,
    pub(crate) state: Option<Vec<u8>>,
}

impl Answer {
    /// The answer of a stage: what it wrote is its result.
    pub fn done() -> Self {
        Self::default()
    }

    /// The answer of a health check or canary: one of the words of its world, and the reasons, most important first.
    pub fn verdict(word: impl Into<String>, reasons: impl IntoIterator<Item = String>) -> Self {
        let reasons = reasons.into_iter().collect();
        let verdict =
            lockgate_model::outcome::Verdict { word: word.into(), reasons, figures: Vec::new(), details: None };
        Self { verdict: Some(verdict), state: None }
    }

    /// The same with details of any kind.
    #[must_use]
    pub fn details(mut self, details: Value) -> Self {
        if let Some(verdict) = &mut self.verdict {
            verdict.details = Some(details);
        }
        self
    }

    /// The same with what a canary evaluator gets back at its next look, at most 1 MiB.
    #[must_use]
    pub fn state(self, state: Vec<u8>) -> Self {
        Self { state: Some(state), ..self }
    }
}

/// Why a node kind did not do its work. The node fails; `retry` may try it again.
///
/// Every error becomes one by `?`, with its causes in the message.
#[derive(Debug)]
pub struct NodeFailure(pub(crate) Failed);

#[derive(Debug)]
pub(crate) enum Failed {
    /// The node kind says so.
    Said(String),
    /// The engine does.
    Engine(lockgate_model::outcome::FailureKind, String),
}

impl NodeFailure {
    /// A failure with this message. It stands in the receipt, so it should be the same each time: no addresses, no times.
    pub fn new(message: impl Into<String>) -> Self {
        Self(Failed::Said(message.into()))
    }

    pub(crate) fn engine(kind: lockgate_model::outcome::FailureKind, message: impl Into<String>) -> Self {
        Self(Failed::Engine(kind, message.into()))
    }
}

impl<E: std::error::Error> From<E> for NodeFailure {
    fn from(error: E) -> Self {
        Self::new(crate::wiring::text::one_line(&error))
    }
}
