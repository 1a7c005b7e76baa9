//! The policies in force: which files they are, and what they say to what is about to run.
//!
//! The machine's own policy holds for everybody who runs the engine there: one that somebody names beside it can only narrow it. Each
//! decides for itself, and everything must pass both.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_host::Plugin;
use lockgate_model::grant::{SecretName, SecretSource};
use lockgate_model::pipeline::{Node, Pipeline};
use lockgate_model::policy::limit::Limit;
use lockgate_model::policy::{MAX_FILE, NodeFacts, PluginFacts, Refusal, decide};
use lockgate_model::task::Task;
use lockgate_model::{Digest, PluginAlias};
use lockgate_syntax::policy::{PluginKnown, PolicyFile, parse_policy};

use crate::error::{Class, Error};
use crate::wiring::notices::Notices;
use crate::wiring::text::{clean_line, count};

/// The machine's own policy, which the operator writes.
const SYSTEM: &str = "/etc/lockgate/policy.toml";
/// The variable that names a policy where `--policy` does not.
pub const VARIABLE: &str = "LOCKGATE_POLICY";
/// Refusals of a recorded run that are shown; more say nothing new.
const SHOWN: usize = 20;

/// Why a policy is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It is the machine's own.
    System,
    /// `--policy` names it.
    Option,
    /// `LOCKGATE_POLICY` names it.
    Variable,
    /// It is named to be looked at, as by `policy test FILE`.
    Named,
}

impl Origin {
    /// The word for people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "the machine's own",
            Self::Option => "--policy",
            Self::Variable => VARIABLE,
            Self::Named => "named",
        }
    }
}

/// The policies in force, the machine's own first. None: everything is allowed.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    files: Arc<[PolicyFile]>,
    origins: Vec<Origin>,
}

impl Policies {
    /// Reads the policies in force. What is wrong with one is printed.
    pub fn load(option: Option<&Path>, output: &dyn Notices) -> Result<Self, Error> {
        let variable = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        Self::of(option, variable.as_deref(), Path::new(SYSTEM), output)
    }

    /// One file alone, whatever is in force.
    pub fn named(file: &Path, output: &dyn Notices) -> Result<Self, Error> {
        Ok(Self { files: [read(file, output)?].into(), origins: vec![Origin::Named] })
    }

    fn of(option: Option<&Path>, variable: Option<&Path>, system: &Path, output: &dyn Notices) -> Result<Self, Error> {
        let given = option.map(|path| (path, Origin::Option)).or(variable.map(|path| (path, Origin::Variable)));
        let own = match system.symlink_metadata() {
            Ok(_) => Some((system, Origin::System)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
            // Whoever may not even look cannot know what the operator forbids.
            Err(error) => return Err(unreadable(system, error)),
        };
        // Named again, it is the same one.
        let same = |path: &Path| own.is_some() && path.canonicalize().ok() == system.canonicalize().ok();
        let chosen: Vec<_> = own.into_iter().chain(given.filter(|(path, _)| !same(path))).collect();
        let files = chosen.iter().map(|(path, _)| read(path, output)).collect::<Result<_, _>>()?;
        Ok(Self { files, origins: chosen.into_iter().map(|(_, origin)| origin).collect() })
    }

    /// The files.
    pub fn files(&self) -> &[PolicyFile] {
        &self.files
    }

    /// The files, each with why it is in force.
    pub fn with_origins(&self) -> impl Iterator<Item = (&PolicyFile, Origin)> {
        self.files.iter().zip(self.origins.iter().copied())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Their digests, for the journal.
    pub fn digests(&self) -> Vec<Digest> {
        self.files.iter().map(|file| file.digest).collect()
    }

    /// What is known of a plugin. Who signed it and whether a lock file pins it is what comes in here from where that is checked;
    /// what nobody checked counts as unsigned and unpinned.
    pub fn known(&self, plugin: &Plugin) -> PluginKnown {
        let asks = Some(plugin.manifest().effects.clone());
        PluginKnown { digest: Some(plugin.digest()), asks, locked: false, signers: Vec::new() }
    }

    /// What they say to a plugin and a node outside of a pipeline file; the first refusals make the error.
    pub fn permit(
        &self,
        what: &str,
        plugin: Option<&PluginFacts<'_>>,
        node: &NodeFacts<'_>,
    ) -> Result<lockgate_model::limits::Limits, Error> {
        let mut refusals = plugin.map(|facts| decide::plugin(&self.files, facts)).unwrap_or_default();
        let (limits, more) = decide::check(&self.files, node);
        refusals.extend(more);
        match self.refused(what, refusals.iter().map(|refusal| (None, refusal)).collect()) {
            Some(error) => Err(error),
            None => Ok(limits),
        }
    }

    /// What they say to a run that another process left: to the nodes that it would still execute, their plugins, and the exports.
    pub fn permit_recorded(
        &self,
        what: &str,
        pipeline: &Pipeline,
        open: &[&Node],
        known: &BTreeMap<PluginAlias, PluginKnown>,
    ) -> Result<(), Error> {
        if self.is_empty() {
            return Ok(());
        }
        let mut refusals = Vec::new();
        let used: BTreeSet<_> = open.iter().filter_map(|node| node.plugin.as_ref()).collect();
        let nothing = PluginKnown::default();
        for alias in used {
            let Some(source) = pipeline.plugins.get(alias) else { continue };
            let PluginKnown { digest, locked, signers, .. } = known.get(alias).unwrap_or(&nothing);
            let facts = PluginFacts { source, digest: *digest, locked: *locked, signers };
            refusals.extend(decide::plugin(&self.files, &facts).into_iter().map(|refusal| (None, refusal)));
        }
        // What the record says of a limit is part of what it proves: it is not lowered any more.
        let said = Limit::ALL.into();
        for node in open {
            let variables: Vec<_> = node.env.keys().map(String::as_str).collect();
            let (grants, secrets, limits) = (&node.grants, &pipeline.secrets, &node.limits);
            let facts = NodeFacts { grants, secrets, asks: None, limits, said: &said, variables: &variables };
            let found = decide::check(&self.files, &facts).1;
            refusals.extend(found.into_iter().map(|refusal| (Some(node.id.as_str()), refusal)));
        }
        let exports = decide::exports(&self.files, pipeline.exports.iter());
        refusals.extend(exports.into_iter().map(|refusal| (None, refusal)));
        let refusals = refusals.iter().map(|(node, refusal)| (*node, refusal)).collect();
        self.refused(what, refusals).map_or(Ok(()), Err)
    }

    fn refused(&self, what: &str, refusals: Vec<(Option<&str>, &Refusal)>) -> Option<Error> {
        let line = |(node, refusal): &(Option<&str>, &Refusal)| {
            let node = node.map(|node| format!("node `{node}`: ")).unwrap_or_default();
            let because = self.files.get(refusal.policy).map(|file| file.because(refusal)).unwrap_or_default();
            format!("{node}{} ({because})", refusal.message)
        };
        let mut lines: Vec<_> = refusals.iter().take(SHOWN).map(line).collect();
        if refusals.len() > SHOWN {
            lines.push(format!("and {} more", refusals.len() - SHOWN));
        }
        // One below the other, as causes are printed.
        let last = anyhow::anyhow!(lines.pop()?);
        let policies = if self.files.len() > 1 { "policies refuse" } else { "policy refuses" };
        let top = format!("{what}: the {policies} {}", count(refusals.len(), "thing"));
        let error = lines.into_iter().rev().fold(last, anyhow::Error::context).context(top);
        Some(Error::new(Class::Refused, error).hint("`lockgate policy show` prints what is allowed"))
    }

    /// What stands between these policies and the host, for a pipeline with these secrets.
    pub fn guard(&self, secrets: &BTreeMap<SecretName, SecretSource>) -> Guard {
        Guard { files: self.files.clone(), secrets: secrets.clone() }
    }
}

/// The last look at a task before the host executes it. What was decided before the run is not changed by it: it makes sure that
/// nothing reaches the host that was not decided.
#[derive(Debug, Clone)]
pub struct Guard {
    files: Arc<[PolicyFile]>,
    secrets: BTreeMap<SecretName, SecretSource>,
}

impl Guard {
    /// The task with no more than the policies allow.
    pub fn within(&self, mut task: Task) -> Task {
        for PolicyFile { policy, .. } in &*self.files {
            task.grants = policy.within(task.grants, &self.secrets);
            for (limit, highest) in &policy.limits {
                let lower = limit.of(&task.limits).min(*highest);
                limit.set(&mut task.limits, lower);
            }
        }
        task
    }
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let wrong = [
        ErrorKind::NotFound,
        ErrorKind::PermissionDenied,
        ErrorKind::IsADirectory,
        ErrorKind::NotADirectory,
        ErrorKind::InvalidInput,
    ];
    let exit = if wrong.contains(&error.kind()) { Class::Wrong } else { Class::Infrastructure };
    Error::new(exit, error).context(format!("read the policy `{}`", path.display()))
}

fn read(path: &Path, output: &dyn Notices) -> Result<PolicyFile, Error> {
    let failed = |error| unreadable(path, error);
    let meta = path.metadata().map_err(failed)?;
    if !meta.is_file() {
        // Opening a pipe would wait for a writer.
        return Err(failed(std::io::Error::new(ErrorKind::InvalidInput, "it is not a regular file")));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)).map_err(failed)?;
    let name = path.display().to_string();
    let parsed = parse_policy(&name, &bytes);
    parsed.policy.ok_or_else(|| {
        output.problems(&parsed.problems);
        let problems = count(parsed.problems.len(), "problem");
        let error = anyhow::anyhow!("use the policy `{}`: it has {problems}", clean_line(&name));
        Error::new(Class::Wrong, error).hint("nothing runs under a policy that cannot be read")
    })
}

#[cfg(test)]
mod tests {
    use lockgate_model::grant::{Grants, HttpGrant};
    use lockgate_model::limits::Limits;

    use super::*;
    use crate::wiring::notices::Silent;

    fn policy(text: &str) -> String {
        format!("schema = 1\nname = 'x'\n{text}")
    }

    fn files(policies: &Policies) -> Vec<(String, Origin)> {
        let name = |file: &PolicyFile| Path::new(&file.file).file_name().unwrap().to_str().unwrap().to_owned();
        policies.with_origins().map(|(file, origin)| (name(file), origin)).collect()
    }

    #[test]
    fn the_first_that_is_given_counts_and_the_machines_own_always() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["a", "b"] {
            std::fs::write(path(name), policy("")).unwrap();
        }
        let (a, b, system) = (path("a"), path("b"), path("etc"));
        let of = |option: Option<&Path>, variable: Option<&Path>| {
            Policies::of(option, variable, &system, &Silent).map_err(|error| error.class())
        };
        assert_eq!(files(&of(None, None).unwrap()), []);
        assert_eq!(files(&of(Some(&a), Some(&b)).unwrap()), [("a".to_owned(), Origin::Option)]);
        assert_eq!(files(&of(None, Some(&b)).unwrap()), [("b".to_owned(), Origin::Variable)]);
        assert_eq!(of(Some(&path("none")), None).unwrap_err(), Class::Wrong);
        assert_eq!(of(None, Some(dir.path())).unwrap_err(), Class::Wrong);
        std::fs::write(&system, policy("")).unwrap();
        let own = ("etc".to_owned(), Origin::System);
        assert_eq!(files(&of(None, None).unwrap()), std::slice::from_ref(&own));
        assert_eq!(files(&of(Some(&a), None).unwrap()), [own.clone(), ("a".to_owned(), Origin::Option)]);
        // The same one, however it is named.
        assert_eq!(files(&of(Some(&dir.path().join("./etc")), None).unwrap()), [own]);
        // One that is there and cannot be read is no absent one.
        std::fs::write(&system, "nonsense").unwrap();
        assert_eq!(of(Some(&a), None).unwrap_err(), Class::Wrong);
        std::fs::remove_file(&system).unwrap();
        std::os::unix::fs::symlink("nowhere", &system).unwrap();
        assert_eq!(of(None, None).unwrap_err(), Class::Wrong);
    }

    #[test]
    fn nothing_beyond_a_policy_reaches_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.toml");
        std::fs::write(&file, policy("grants.http = ['GET https://a.example/']\nlimits.fuel = 100")).unwrap();
        let policies = Policies::named(&file, &Silent).unwrap();
        let grant = |text: &str| HttpGrant::parse(text).unwrap();
        let task = Task {
            run: "r".parse().unwrap(),
            node: "n".parse().unwrap(),
            attempt: 1,
            component: Digest::of(b""),
            world: lockgate_model::manifest::World::Stage,
            config: "{}".to_owned(),
            inputs: BTreeMap::new(),
            env: BTreeMap::new(),
            limits: Limits::default(),
            grants: Grants {
                http: vec![grant("GET https://a.example/x"), grant("GET https://b.example/")],
                clock: true,
                ..Grants::default()
            },
            logical_time: 0,
            look: Default::default(),
            state: None,
            first_sequence: 0,
        };
        let within = policies.guard(&BTreeMap::new()).within(task.clone());
        assert_eq!(within.grants, Grants { http: vec![grant("GET https://a.example/x")], ..Grants::default() });
        let mut limits = Limits::default();
        limits.fuel.0 = 100;
        assert_eq!(within.limits, limits);
        assert_eq!(Policies::default().guard(&BTreeMap::new()).within(task.clone()), task);
    }
}
