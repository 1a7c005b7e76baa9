//! The names of the contract: its package, its interfaces and what each means to people, the exports of each world.

use lockgate_model::grant::Grants;
use lockgate_model::manifest::World;
use serde::{Deserialize, Serialize};

use crate::wasi;

/// The package and its version, as imports name them: `lockgate:plugin/<interface>@0.1.0`.
pub(crate) const PACKAGE: &str = "lockgate:plugin/";
pub(crate) const VERSION: &str = "@0.1.0";
/// The version of the contract that components are built for.
pub const CONTRACT: &str = "0.1.0";
/// The export that every world has.
pub(crate) const DESCRIBE: &str = "describe";

/// All worlds, with the export that does their work.
pub(crate) const WORLDS: [(World, &str); 3] =
    [(World::Stage, "run"), (World::HealthCheck, "check"), (World::CanaryEvaluator, "evaluate")];

/// What an interface needs before a guest may have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meaning {
    /// Only types: nothing can be called.
    Types,
    /// Harmless: always there.
    Harmless,
    /// Harmless in its logical form; the grant gives the real thing.
    Clock,
    /// Only with a grant.
    Grant,
    /// Not at all: it traps.
    Missing,
}

/// All interfaces: name, what it needs, what it means.
const INTERFACES: &[(&str, Meaning, &str)] = &[
    ("types", Meaning::Types, "types only"),
    ("evaluation", Meaning::Types, "types only"),
    ("log", Meaning::Harmless, "writes to the node's log"),
    ("environment", Meaning::Harmless, "reads the environment variables that the pipeline declares for the node"),
    ("artifacts", Meaning::Harmless, "reads the node's inputs and writes its outputs"),
    ("http", Meaning::Grant, "sends HTTP requests, those that `grants.http` of the node permits"),
    ("clock", Meaning::Clock, "reads the time: the run's logical time, or the real one with `grants.clock`"),
    ("tcp", Meaning::Grant, "connects to servers, those that `grants.tcp` of the node permits"),
    ("process", Meaning::Grant, "runs programs of the host, those that `grants.process` of the node permits"),
    ("secrets", Meaning::Grant, "has the secrets of `grants.secrets` placed into what it sends, without seeing them"),
];

/// One import of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// Its full name, as in `lockgate:plugin/http@0.1.0`.
    pub name: String,
    /// What it needs.
    pub needs: Meaning,
    /// What it lets the plugin do, for people.
    pub meaning: String,
}

impl Import {
    /// The import of this name, if the contract or WASI as it is offered has it.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let known = || {
            let short = name.strip_prefix(PACKAGE)?.strip_suffix(VERSION)?;
            let (_, needs, meaning) = INTERFACES.iter().find(|(known, ..)| *known == short)?;
            Some((*needs, *meaning))
        };
        let (needs, meaning) = known().or_else(|| wasi::find(name))?;
        Some(Self { name: name.to_owned(), needs, meaning: meaning.to_owned() })
    }

    /// An import that is not offered.
    pub(crate) fn missing(name: &str) -> Self {
        let meaning = wasi::meaning_of_missing(name).to_owned();
        Self { name: name.to_owned(), needs: Meaning::Missing, meaning }
    }

    /// Whether it is one of the contract.
    pub(crate) fn is_contract(&self) -> bool {
        self.name.starts_with(PACKAGE) && self.needs != Meaning::Missing
    }

    /// Whether it is one of WASI.
    pub fn is_wasi(&self) -> bool {
        self.name.starts_with("wasi:")
    }

    /// The kind of grant that it needs or can use, if it is one of those.
    pub fn kind(&self) -> Option<&str> {
        match self.needs {
            Meaning::Types | Meaning::Harmless | Meaning::Missing => None,
            Meaning::Clock => Some("clock"),
            Meaning::Grant if self.is_wasi() => Some("http"),
            Meaning::Grant => Some(self.interface()),
        }
    }

    /// The interface's name without package and version.
    pub fn interface(&self) -> &str {
        self.name.strip_prefix(PACKAGE).and_then(|name| name.strip_suffix(VERSION)).unwrap_or(&self.name)
    }

    /// Whether a node with these grants has it.
    pub(crate) fn is_granted(&self, grants: &Grants) -> bool {
        match self.needs {
            Meaning::Types | Meaning::Harmless | Meaning::Clock => true,
            Meaning::Grant => self.kind().is_some_and(|kind| grants.kinds().contains(&kind)),
            Meaning::Missing => false,
        }
    }
}

/// The names of all interfaces, for messages.
pub(crate) fn interfaces() -> String {
    INTERFACES
        .iter()
        .filter(|(_, needs, _)| *needs != Meaning::Types)
        .map(|(name, ..)| *name)
        .collect::<Vec<_>>()
        .join(", ")
}
