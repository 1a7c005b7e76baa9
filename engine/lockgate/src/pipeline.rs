//! Pipelines before and after every check.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lockgate_store::Store;
use lockgate_syntax::Problem as Found;

use crate::builder::Built;
use crate::engine::Inner;
use crate::error::{Class, Error, Problem};
use crate::wiring::load::{self, Loaded, Ready};
use crate::wiring::registry::Finder;
use crate::wiring::{place, trust};

/// A pipeline that is yet to be checked.
#[must_use = "nothing is read before `check`"]
pub struct Draft<'e> {
    engine: &'e Inner,
    from: From,
    params: Vec<(String, String)>,
    root: Option<PathBuf>,
}

enum From {
    File(PathBuf),
    Built(Result<Built, Error>),
}

/// A pipeline without a problem: read, its plugins found and asked what they are, its nodes held against them, the lock file and the
/// policies in force.
#[derive(Clone)]
pub struct Checked {
    pub(crate) parts: Arc<Parts>,
}

pub(crate) struct Parts {
    loaded: Mutex<Loaded>,
    pub(crate) ready: Ready,
    pub(crate) root: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) built: Option<Built>,
}

impl<'e> Draft<'e> {
    pub(crate) fn file(engine: &'e Inner, file: &Path) -> Self {
        Self { engine, from: From::File(file.to_owned()), params: Vec::new(), root: None }
    }

    pub(crate) fn built(engine: &'e Inner, built: Result<Built, Error>) -> Self {
        Self { engine, from: From::Built(built), params: Vec::new(), root: None }
    }

    /// Sets a parameter, as `--param NAME=VALUE` does.
    pub fn param(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.params.push((name.into(), value.to_string()));
        self
    }

    /// Sets the directory that the pipeline's paths are relative to. Default: for a file as for `lockgate run`, the nearest directory
    /// above it that holds `.git` or `.lockgate-root`, else its own; for a pipeline built in Rust the current directory.
    pub fn root(self, root: impl Into<PathBuf>) -> Self {
        Self { root: Some(root.into()), ..self }
    }

    /// Checks everything that can be checked before a run. All problems are found at once: [`Error::problems`].
    ///
    /// May block for as long as compiling plugins takes that nobody compiled before.
    pub fn check(self) -> Result<Checked, Error> {
        let Self { engine, from, params, root } = self;
        let (mut loaded, file, built) = match from {
            From::File(file) => (load::read(&file, root.as_deref(), &params)?, file, None),
            From::Built(built) => {
                let (built, root) = (built?, place::given_root(&root.unwrap_or_else(|| ".".into()))?);
                let loaded = load::parse(built.name.clone(), built.text.as_bytes(), root.clone(), &params)?;
                (loaded, root.join(&built.name), Some(built))
            }
        };
        loaded.kinds = engine.kinds.clone();
        let root = loaded.root.clone();
        let state = engine.state.clone().unwrap_or_else(|| root.join(place::STATE));
        let store = Store::open(&state)?;
        let cache = engine.code(&store);
        loaded.check(&engine.host, &cache, &Finder::locked(&file, engine.offline));
        trust::look(&mut loaded, &file, engine.lock, &engine.policies, &store.seen()?, engine)?;
        loaded.judge(&engine.policies);
        match loaded.ready() {
            Some(ready) => {
                Ok(Checked { parts: Arc::new(Parts { loaded: Mutex::new(loaded), ready, root, state, built }) })
            }
            None => Err(problems(&loaded, built.as_ref(), loaded.class())),
        }
    }
}

/// The problems of a pipeline as an error.
pub(crate) fn problems(loaded: &Loaded, built: Option<&Built>, class: Option<Class>) -> Error {
    let one = |found: &Found| {
        let line = found.place().map(|place| place.line);
        Problem {
            code: found.code.name(),
            message: found.message.clone(),
            hint: found.hint.clone(),
            line,
            place: built.zip(line).and_then(|(built, line)| built.place(line)),
        }
    };
    Error::of_pipeline(class.unwrap_or(Class::Wrong), &loaded.name, loaded.problems.iter().map(one).collect())
}

impl Checked {
    /// The pipeline's name.
    pub fn name(&self) -> &str {
        &self.parts.ready.pipeline.name
    }

    /// The ids of its nodes, matrices unfolded, in the file's order.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.parts.ready.pipeline.nodes.iter().map(|node| node.id.as_str())
    }

    /// The pipeline's digest, which is part of every run digest of it.
    pub fn digest(&self) -> String {
        self.parts.ready.pipeline.digest().to_string()
    }
}

impl Parts {
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Loaded) -> T) -> T {
        work(&mut self.loaded.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
