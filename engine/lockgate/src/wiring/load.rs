//! From a file to a checked pipeline: read, parse, find and load its plugins, check the nodes against their manifests, look whether
//! the directories and files it reads are there. `check`, `plan`, `run` and `graph` all go this one way, as far as each needs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_host::{CodeCache, Host, HostOptions, LoadError, Missing, NoCache, Plugin};
use lockgate_model::graph::Graph;
use lockgate_model::limits::ComponentLimits;
use lockgate_model::manifest::{Manifest, World};
use lockgate_model::pipeline::{InputSource, MAX_FILE, Pipeline, PluginSource};
use lockgate_model::policy::Decision;
use lockgate_model::units::Bytes;
use lockgate_model::{Digest, PluginAlias};
use lockgate_store::Store;
use lockgate_syntax::{Inputs, Parsed, Problem};

use crate::error::{Class, Error, load_class};
use crate::node_kind::{Kinds, Native};
use crate::wiring::child::Helper;
use crate::wiring::compiler::ChildCompiler;
use crate::wiring::executor::StoreCode;
use crate::wiring::place;
use crate::wiring::policy::Policies;
use crate::wiring::registry::{Depot, Finder, Reference};
use crate::wiring::std_plugins;
use crate::wiring::text::clean_line;
use crate::wiring::text::one_line;
use crate::wiring::vouched::Vouched;

/// A pipeline file as far as it was read.
pub struct Loaded {
    /// The file as the user named it.
    pub name: String,
    /// The root, absolute.
    pub root: PathBuf,
    /// What the file says.
    pub parsed: Parsed,
    /// Its plugins, those that could be loaded.
    pub plugins: BTreeMap<PluginAlias, Arc<Plugin>>,
    /// Its node kinds of this program.
    pub natives: BTreeMap<PluginAlias, Arc<Native>>,
    /// The node kinds that this program has.
    pub(crate) kinds: Kinds,
    /// The versions under which commands lie in registries: they have no manifest that could say it.
    pub versions: BTreeMap<String, String>,
    /// What is known of who vouches for them.
    pub vouched: Vouched,
    /// Every problem so far.
    pub problems: Vec<Problem>,
    /// The worst exit code of problems that are not simply wrong: a refused digest, an engine that failed.
    severe: Severe,
}

#[derive(Debug, Clone, Copy, Default)]
struct Severe {
    refused: usize,
    infrastructure: bool,
}

/// Why a plugin cannot be used, and what to do next.
#[derive(Debug, Clone)]
struct Unusable {
    message: String,
    hint: Option<String>,
    /// Whether nothing is wrong with it, but with which one it is.
    refused: bool,
}

impl Unusable {
    fn new(message: String, hint: Option<String>) -> Self {
        Self { message, hint, refused: false }
    }
}

/// A pipeline without a problem.
pub struct Ready {
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    /// Its graph.
    pub graph: Arc<Graph>,
}

/// Reads and parses a file, with these parameters. `root`: the directory that its paths are relative to, where it is said.
pub fn read(file: &Path, root: Option<&Path>, given: &[(String, String)]) -> Result<Loaded, Error> {
    let root = place::root_of_file(file, root)?;
    let bytes = read_file(file)?;
    parse(file.display().to_string(), &bytes, root, given)
}

/// Parses a pipeline, wherever its text comes from. `name` is what people know it by; the root is absolute.
pub fn parse(name: String, bytes: &[u8], root: PathBuf, given: &[(String, String)]) -> Result<Loaded, Error> {
    let mut params = BTreeMap::new();
    for (param, value) in given {
        if params.insert(param.clone(), value.clone()).is_some() {
            return Err(Error::new(Class::Wrong, anyhow::anyhow!("set parameter `{param}`: it is given twice")));
        }
    }
    let inputs = Inputs {
        params: &params,
        env: &|name| std::env::var(name).ok(),
        git: &|| lockgate_store::git_facts(&root).map_err(|error| one_line(&error)),
    };
    let mut parsed = lockgate_syntax::parse_bytes(&name, bytes, &inputs);
    let problems = std::mem::take(&mut parsed.problems);
    Ok(Loaded {
        name,
        root,
        parsed,
        plugins: BTreeMap::new(),
        natives: BTreeMap::new(),
        kinds: Kinds::new(),
        versions: BTreeMap::new(),
        vouched: Vouched::default(),
        problems,
        severe: Severe::default(),
    })
}

/// A file up to one byte beyond the limit, so that a larger one is a problem of its own.
fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |error| place::file_error(path, error);
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(failed(std::io::ErrorKind::IsADirectory.into()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// A host for runs at the same time, each with so many executions at once. With a helper it compiles what does not come with the engine, and starts programs, in
/// processes of their own; without one it compiles in this process, and starts none.
pub fn host(slots: usize, runs: usize, helper: Option<&Helper>) -> Result<Arc<Host>, Error> {
    let launcher = helper.and_then(Helper::launcher);
    let compiler = helper.map(|helper| Arc::new(ChildCompiler::new(helper.clone())) as _);
    Ok(Arc::new(Host::new(HostOptions { slots, runs, launcher, compiler, ..HostOptions::default() })?))
}

/// The code cache of a state directory. A directory that cannot be used only costs time here.
pub fn code_cache(state: &Path) -> Arc<dyn CodeCache> {
    match Store::open(state).or_else(|_| Store::open_to_read(state)) {
        Ok(store) => Arc::new(StoreCode(store)),
        Err(_) => Arc::new(NoCache),
    }
}

impl Loaded {
    /// Loads the plugins and checks the nodes against them; looks for directories and files. Every problem is kept.
    pub fn check(&mut self, host: &Host, cache: &Arc<dyn CodeCache>, registries: &Finder<'_>) {
        // Two aliases of one component, with or without a digest, load it once.
        let mut known: BTreeMap<(String, Missing), Result<Arc<Plugin>, Unusable>> = BTreeMap::new();
        let sources: Vec<_> =
            self.parsed.plugins().iter().map(|(alias, source)| (alias.clone(), source.clone())).collect();
        for (alias, source) in sources {
            if let PluginSource::App { name } = &source {
                match app(&self.kinds, name) {
                    Ok(native) => drop(self.natives.insert(alias, native)),
                    Err(Unusable { message, hint, .. }) => {
                        self.problems.push(self.parsed.plugin_problem(&alias, message, hint));
                    }
                }
                continue;
            }
            let key = match &source {
                // Which one is meant depends on these, too.
                PluginSource::Oci { version, digest, .. } => format!("{source} {version} {digest:?}"),
                source => source.to_string(),
            };
            let missing = if self.parsed.terms(&alias).trap_missing { Missing::Trap } else { Missing::Refuse };
            let load = || self.load(&alias, &source, missing, host, cache, registries);
            let loaded = known.entry((key, missing)).or_insert_with(load).clone();
            match loaded {
                Ok(plugin) => self.accept(alias, plugin, source.digest()),
                Err(Unusable { message, hint, refused }) => {
                    let problem = self.parsed.plugin_problem(&alias, message, hint);
                    self.problems.push(problem);
                    self.severe.refused += usize::from(refused);
                }
            }
        }
        let manifests: BTreeMap<PluginAlias, Manifest> =
            self.manifests().map(|(alias, manifest)| (alias.clone(), manifest.clone())).collect();
        let more = self.parsed.check_manifests(&manifests);
        self.problems.extend(more);
        self.look_for_sources();
    }

    /// The manifests of its plugins, those that could be loaded.
    fn manifests(&self) -> impl Iterator<Item = (&PluginAlias, &Manifest)> {
        let plugins = self.plugins.iter().map(|(alias, plugin)| (alias, plugin.manifest()));
        plugins.chain(self.natives.iter().map(|(alias, native)| (alias, native.manifest())))
    }

    fn accept(&mut self, alias: PluginAlias, plugin: Arc<Plugin>, demanded: Option<Digest>) {
        match demanded {
            Some(demanded) if demanded != plugin.digest() => {
                let message = format!("refused: the component has the digest `{}`, not `{demanded}`", plugin.digest());
                let hint = "somebody changed the component; look at it with `lockgate plugin inspect` before you change the digest".to_owned();
                let problem = self.parsed.plugin_problem(&alias, message, Some(hint));
                self.refuse(problem);
            }
            _ => {
                self.plugins.insert(alias, plugin);
            }
        }
    }

    /// Loads a plugin's manifest. Its code is loaded only when it is called: a run whose nodes are all cached needs none.
    fn load(
        &mut self,
        alias: &PluginAlias,
        source: &PluginSource,
        missing: Missing,
        host: &Host,
        cache: &Arc<dyn CodeCache>,
        registries: &Finder<'_>,
    ) -> Result<Arc<Plugin>, Unusable> {
        let mut wanted = None;
        let loaded = match source {
            PluginSource::Oci { name, version, digest } => {
                let found = registries.find(alias.as_str(), name, version, *digest).map_err(|error| {
                    self.severe.infrastructure |= error.class() == Class::Infrastructure;
                    let refused = error.class() == Class::Refused;
                    let message = format!("{}failed to {}", if refused { "refused: " } else { "" }, error.one_line());
                    Unusable { message, hint: error.hint_text().map(str::to_owned), refused }
                })?;
                wanted = found.version;
                host.load_lazily_with(found.bytes.into(), cache.clone(), missing)
            }
            PluginSource::Std { name, .. } => match std_plugins::find(name) {
                Ok(embedded) => host.load_lazily_with(embedded.bytes.into(), cache.clone(), missing),
                Err(error) => return Err(Unusable::new(failed(&error), Some(error.hint()))),
            },
            PluginSource::App { name } => return Err(no_app(&Kinds::new(), name)),
            PluginSource::Path { path, .. } => match read_component(&self.root.join(path)) {
                Ok(bytes) => host.load_lazily_with(bytes.into(), cache.clone(), missing),
                Err(error) => {
                    self.severe.infrastructure |= error.class() == Class::Infrastructure;
                    let message = format!("failed to read the component `{path}`: {}", one_line(&error));
                    return Err(Unusable::new(message, error.hint()));
                }
            },
        };
        let plugin = loaded.map_err(|error| {
            self.severe.infrastructure |= load_class(&error) == Class::Infrastructure;
            Unusable::new(failed(&error), error.hint().map(str::to_owned))
        })?;
        if plugin.world() == World::Command {
            self.versions.extend(wanted.take().map(|version| (source.to_string(), version)));
        }
        match wanted.filter(|wanted| *wanted != plugin.manifest().version) {
            None => Ok(plugin),
            Some(wanted) => {
                let version = clean_line(&plugin.manifest().version);
                let message =
                    format!("failed to use `{source}`: it lies there as {wanted}, but is {version} by its manifest");
                let hint = "whoever pushed it has to push it under its own version".to_owned();
                Err(Unusable::new(message, Some(hint)))
            }
        }
    }

    /// Holds the pipeline against the policies in force: what they refuse is a problem, and defaults of limits are lowered to what they
    /// allow.
    pub fn judge(&mut self, policies: &Policies) {
        let known = |(alias, plugin): (&PluginAlias, &Arc<Plugin>)| {
            (alias.clone(), self.vouched.complete(alias, policies.known(plugin)))
        };
        let native = |(alias, native): (&PluginAlias, &Arc<Native>)| {
            (alias.clone(), self.vouched.complete(alias, native.known()))
        };
        let known = self.plugins.iter().map(known).chain(self.natives.iter().map(native)).collect();
        let judged = self.parsed.judge(policies.files(), &known);
        self.severe.refused += judged.problems.len();
        self.problems.extend(judged.problems);
    }

    /// What the policies say to a node with a plugin, with everything that they look at.
    pub fn decision(&self, policies: &Policies, node: usize) -> Option<Decision> {
        let alias = self.parsed.pipeline.as_ref()?.nodes.get(node)?.plugin.as_ref()?;
        let asks = self.manifests().find(|(of, _)| *of == alias).map(|(_, manifest)| manifest.effects.as_slice());
        self.parsed.decision(policies.files(), node, asks)
    }

    /// Directories and files of the host that the pipeline reads: a missing one is found before anything runs.
    fn look_for_sources(&mut self) {
        for source in self.parsed.pipeline.as_deref().map(host_sources).unwrap_or_default() {
            let (path, wanted) = match &source {
                InputSource::Dir(spec) => (spec.dir.as_str(), "directory"),
                InputSource::File { path } => (path.as_str(), "file"),
                InputSource::Output { .. } | InputSource::Input { .. } => continue,
            };
            let full = self.root.join(path);
            let wrong = match full.metadata() {
                Ok(meta) if wanted == "directory" && !meta.is_dir() => format!("`{path}` is not a directory"),
                Ok(meta) if wanted == "file" && !meta.is_file() => format!("`{path}` is not a regular file"),
                Ok(_) => continue,
                Err(error) => format!("failed to find the {wanted} `{path}`: {}", one_line(&error)),
            };
            let hint = format!("paths are relative to the root, `{}`", self.root.display());
            let problem = self.parsed.source_problem(&source, wrong, Some(hint));
            self.problems.push(problem);
        }
    }

    /// Keeps a problem for which nothing is wrong, but somebody does not want it.
    pub fn refuse(&mut self, problem: Problem) {
        self.severe.refused += 1;
        self.problems.push(problem);
    }

    /// Whose the problems are, if there are any: refused or infrastructure only if nothing else is wrong.
    pub fn class(&self) -> Option<Class> {
        match self.problems.len() {
            0 => None,
            _ if self.severe.infrastructure => Some(Class::Infrastructure),
            number if number == self.severe.refused => Some(Class::Refused),
            _ => Some(Class::Wrong),
        }
    }

    /// The pipeline, if there is no problem.
    pub fn ready(&self) -> Option<Ready> {
        if !self.problems.is_empty() {
            return None;
        }
        let (pipeline, graph) = (self.parsed.pipeline.as_ref()?, self.parsed.graph.as_ref()?);
        Some(Ready { pipeline: Arc::clone(pipeline), graph: Arc::clone(graph) })
    }
}

/// A node kind of this program.
fn app(kinds: &Kinds, name: &str) -> Result<Arc<Native>, Unusable> {
    kinds.get(name).cloned().ok_or_else(|| no_app(kinds, name))
}

fn no_app(kinds: &Kinds, name: &str) -> Unusable {
    let message = format!(
        "`app:{name}` is a node kind of the program that embeds Lockgate, and this program has none of that name"
    );
    let near = std_plugins::nearest(name, kinds.keys().map(String::as_str));
    let hint = match near {
        Some(near) => format!("did you mean `app:{near}`?"),
        None => "run the pipeline with the program that it is made for".to_owned(),
    };
    Unusable::new(message, Some(hint))
}

/// What the pipeline reads of the host, each once, in the order of their kinds and paths.
pub fn host_sources(pipeline: &Pipeline) -> Vec<InputSource> {
    let all = pipeline.nodes.iter().flat_map(|node| node.inputs.values()).filter(|source| source.node().is_none());
    let distinct: std::collections::BTreeSet<_> = all.cloned().collect();
    distinct.into_iter().collect()
}

fn failed(error: &dyn std::error::Error) -> String {
    format!("failed to {}", one_line(error))
}

/// Why a component's file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not a regular file: a directory, a device, a pipe.
    #[error("it is not a regular file")]
    NotAFile,
    /// Larger than any component may be; found without reading it.
    #[error("it is {size}; at most {limit} are permitted")]
    TooLarge {
        /// Its size.
        size: Bytes,
        /// The limit.
        limit: Bytes,
    },
    /// The file system.
    #[error("{0}")]
    Io(std::io::Error),
}

impl ReadError {
    /// Whose problem it is.
    pub fn class(&self) -> Class {
        use std::io::ErrorKind;
        match self {
            Self::NotAFile | Self::TooLarge { .. } => Class::Wrong,
            Self::Io(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::NotADirectory => Class::Wrong,
                _ => Class::Infrastructure,
            },
        }
    }

    /// What to do next.
    fn hint(&self) -> Option<String> {
        match self {
            Self::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Some("build it first; paths are relative to the pipeline's root".to_owned())
            }
            _ => None,
        }
    }
}

/// A component's bytes.
pub fn read_component(path: &Path) -> Result<Vec<u8>, ReadError> {
    let limit = ComponentLimits::default().size;
    // Looked at before it is opened: opening a pipe would wait for a writer.
    let meta = path.metadata().map_err(ReadError::Io)?;
    if !meta.is_file() {
        return Err(ReadError::NotAFile);
    }
    if meta.len() > limit.0 {
        return Err(ReadError::TooLarge { size: Bytes(meta.len()), limit });
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit.0 + 1).read_to_end(&mut bytes)).map_err(ReadError::Io)?;
    Ok(bytes)
}

/// A component named on the command line: a file, `std:<name>`, or `oci:` and what a registry has.
pub fn component(name: &str) -> Result<std::borrow::Cow<'static, [u8]>, Error> {
    if name.starts_with("oci:") {
        let reference: Reference =
            name.parse().map_err(|error| Error::new(Class::Wrong, anyhow::anyhow!("{error}")))?;
        return Ok(Depot::open(false)?.named(&reference)?.1.bytes.into());
    }
    if let Some(name) = name.strip_prefix("std:") {
        return Ok(std_plugins::find(name)?.bytes.into());
    }
    match read_component(Path::new(name)) {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => {
            let wrong = Error::new(error.class(), error).context(format!("read the component `{name}`"));
            let known = std_plugins::find(name).is_ok();
            Err(if known { wrong.hint(format!("the standard plugin is called `std:{name}`")) } else { wrong })
        }
    }
}

/// What a component that cannot be used is told with: its name, and where it may come from.
pub fn load_failed(name: &str, error: LoadError) -> Error {
    Error::from(error).context(format!("use the component `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_looked_at_before_they_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wasm");
        assert!(matches!(read_component(&path), Err(ReadError::Io(_))));
        assert!(matches!(read_component(dir.path()), Err(ReadError::NotAFile)));
        let file = File::create(&path).unwrap();
        file.set_len(200_000_000).unwrap();
        assert!(matches!(read_component(&path), Err(ReadError::TooLarge { size: Bytes(200_000_000), .. })));
        file.set_len(3).unwrap();
        assert_eq!(read_component(&path).unwrap(), [0; 3]);
    }

    #[test]
    fn a_file_beyond_the_limit_is_read_no_further() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.toml");
        File::create(&path).unwrap().set_len(MAX_FILE * 2).unwrap();
        assert_eq!(read_file(&path).unwrap().len() as u64, MAX_FILE + 1);
        assert_eq!(read_file(dir.path()).unwrap_err().class(), Class::Wrong);
    }
}
