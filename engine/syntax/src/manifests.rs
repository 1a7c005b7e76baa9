//! Nodes against the manifests of their plugins: world, config, ports, effects.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use lockgate_model::artifact::ArtifactKind;
use lockgate_model::command::CommandConfig;
use lockgate_model::manifest::{Manifest, Port, PortKind, Ports, World};
use lockgate_model::pipeline::{InputSource, NodeKind, PluginTerms};
use lockgate_model::{NodeId, PluginAlias, PortName};
use serde_json::{Map, Value};

use crate::config;
use crate::nodes::Placed;
use crate::plugins::Plugins;
use crate::problem::{Code, Problem, Source};
use crate::report::{Problems, suggest};
use crate::resolve::Resolved;
use crate::shape;
use crate::spans::Spans;

/// The input of every canary evaluator, whether its manifest lists it or not: the world's `evaluate` gets it.
const OBSERVATION: &str = "observation";
/// Longest chain of inputs that are inputs of others, when the kind of an artifact is looked for; a longer one is not checked.
const MAX_CHAIN: usize = 1_000;

struct Check<'a> {
    plugins: &'a Plugins,
    manifests: &'a BTreeMap<PluginAlias, Manifest>,
    by_id: HashMap<&'a NodeId, Placed<'a>>,
    problems: Problems,
}

/// Checks all nodes whose manifests are given.
pub(crate) fn check(resolved: &Resolved, manifests: &BTreeMap<PluginAlias, Manifest>) -> Vec<Problem> {
    let by_id = resolved.placed().map(|draft| (&draft.node.id, draft)).collect();
    let check =
        Check { plugins: &resolved.plugins, manifests, by_id, problems: Problems::new(resolved.source.clone()) };
    let mut validators = BTreeMap::new();
    for (alias, manifest) in manifests.iter().filter(|(alias, _)| resolved.plugins.used.contains_key(*alias)) {
        match config::validator(&manifest.config_schema) {
            Ok(validator) => {
                validators.insert(alias, validator);
            }
            Err(reason) => {
                let span = resolved.plugins.places.get(alias).cloned().unwrap_or(0..0);
                check.problems.push(schema_problem(manifest, &reason).at(&resolved.source, &span, ""));
            }
        }
    }
    for (alias, manifest) in manifests.iter().filter(|(alias, _)| resolved.plugins.used.contains_key(*alias)) {
        check.terms(alias, manifest);
    }
    for draft in resolved.placed() {
        for (node, output) in draft.node.when.iter().flat_map(|when| when.outputs()) {
            check.output(&node, &output, PortKind::Blob, &draft.places.when);
        }
        let Some(manifest) = check.manifest(draft) else { continue };
        let world = draft.node.kind.world();
        if (manifest.world == World::Command) != check.terms_of(draft).command {
            continue;
        }
        if let Some(wanted) = world.filter(|world| !world.takes(manifest.world)) {
            check.world(draft, manifest, wanted);
            continue;
        }
        let validator = draft.node.plugin.as_ref().and_then(|alias| validators.get(alias));
        if let Some(validator) = validator.filter(|_| draft.config_known) {
            let value = Value::Object(draft.node.config.clone());
            config::check(
                &value,
                &manifest.config_schema,
                validator,
                &draft.places.config,
                &manifest.name,
                &check.problems,
            );
        }
        check.inputs(draft, manifest);
        check.effects(draft, manifest);
    }
    for (export, span, _) in &resolved.exports {
        check.output(&export.node, &export.output, PortKind::Any, span);
    }
    check.problems.finish()
}

/// Checks a config that stands in no file.
pub(crate) fn check_config(values: &Map<String, Value>, manifest: &Manifest) -> Vec<Problem> {
    let validator = match config::validator(&manifest.config_schema) {
        Ok(validator) => validator,
        Err(reason) => return vec![schema_problem(manifest, &reason)],
    };
    let problems = Problems::new(Source::new("", ""));
    let value = Value::Object(values.clone());
    config::check(&value, &manifest.config_schema, &validator, &Spans::leaf(0..0), &manifest.name, &problems);
    problems.finish().into_iter().map(|problem| Problem::new(problem.code, problem.message, problem.hint)).collect()
}

fn schema_problem(manifest: &Manifest, reason: &str) -> Problem {
    let hint = "tell the plugin's author: a config schema is self-contained, finite and small".to_owned();
    let message = format!("failed to use the config schema of `{}`: {reason}", manifest.name);
    Problem::new(Code::ConfigSchema, message, Some(hint))
}

impl<'a> Check<'a> {
    fn manifest(&self, draft: Placed<'_>) -> Option<&'a Manifest> {
        self.manifests.get(draft.node.plugin.as_ref()?).filter(|_| draft.plugin_known)
    }

    /// As what a node's plugin is taken.
    fn terms_of(&self, draft: Placed<'_>) -> PluginTerms {
        draft.node.plugin.as_ref().map(|alias| self.plugins.terms(alias)).unwrap_or_default()
    }

    /// Whether a plugin is what the file takes it as.
    fn terms(&self, alias: &PluginAlias, manifest: &Manifest) {
        let says = self.plugins.terms(alias).command;
        let (message, hint) = match manifest.world == World::Command {
            is if is == says => return,
            true => (
                format!("`{alias}` is a WASI program, not a plugin of a world of Lockgate"),
                format!(
                    "to run it as a stage, say so: `{alias} = {{ path = \"...\", world = \"command\" }}`, with `args` at the stage"
                ),
            ),
            false => (
                format!("`{alias}` is a {}, not a WASI program", manifest.world.name()),
                "take away `world = \"command\"`".to_owned(),
            ),
        };
        let span = self.plugins.places.get(alias).cloned().unwrap_or(0..0);
        self.problems.report(Code::World, &span, "", message, Some(hint));
    }

    /// What a node makes.
    fn outputs(&self, draft: Placed<'_>, manifest: &Manifest) -> Ports {
        match manifest.world {
            World::Command => CommandConfig::outputs_of(&draft.node.config, manifest),
            _ => manifest.outputs.clone(),
        }
    }

    fn world(&self, draft: Placed<'_>, manifest: &Manifest, wanted: World) {
        let wanted = wanted.name();
        let message = format!("`{}` is a {}, but this node needs a {wanted}", manifest.name, manifest.world.name());
        let fits = |kind: &NodeKind| kind.world().is_some_and(|world| world.takes(manifest.world));
        let kind = shape::NODE_KINDS.into_iter().find(fits);
        let kind = kind.unwrap_or(NodeKind::Stage);
        let hint = format!("put it under `[[{}]]`, or name a plugin that is a {wanted}", kind.name());
        self.problems.report(Code::World, &draft.places.plugin, "", message, Some(hint));
    }

    fn inputs(&self, draft: Placed<'_>, manifest: &Manifest) {
        let ports = inputs_of(manifest);
        for (name, (key, value)) in &draft.places.inputs {
            let Some(kind) = ports.kind(name) else {
                let message = format!("`{}` has no input `{name}`", manifest.name);
                let hint = suggest(name, ports.named.iter().map(|port| port.name.as_str()));
                self.problems.report(
                    Code::UnknownPort,
                    key,
                    "",
                    message,
                    hint.or_else(|| Some("it takes no inputs".to_owned())),
                );
                continue;
            };
            let Some(source) = draft.node.inputs.get(name.as_str()) else { continue };
            match source {
                InputSource::Output { node, output } => self.output(node, output, kind, value),
                InputSource::Input { node, input } => self.input(node, input, kind, value),
                InputSource::Dir(_) => self.kind(kind, ArtifactKind::Tree, value, "a directory"),
                InputSource::File { .. } => self.kind(kind, ArtifactKind::Blob, value, "a file"),
            }
        }
        for port in
            ports.named.iter().filter(|port| !port.optional && !draft.places.inputs.contains_key(port.name.as_str()))
        {
            let message = format!(
                "the node `{}` lacks the input `{}`, which `{}` needs",
                draft.node.id, port.name, manifest.name
            );
            let example = match port.kind {
                PortKind::Tree => "{ dir = \"...\" }",
                PortKind::Blob | PortKind::Any => "\"<node>.<output>\"",
            };
            let summary = if port.summary.is_empty() { String::new() } else { format!(": {}", port.summary) };
            let hint = format!("`inputs.{} = {example}`{summary}", port.name);
            self.problems.report(Code::MissingInput, &draft.places.id, "", message, Some(hint));
        }
    }

    /// Whether a node has an output, and a port takes it.
    fn output(&self, node: &NodeId, output: &PortName, wanted: PortKind, span: &Range<usize>) {
        let Some(&other) = self.by_id.get(node) else { return };
        let Some(manifest) = self.manifest(other) else { return };
        let outputs = self.outputs(other, manifest);
        match outputs.kind(output.as_str()) {
            Some(kind) => self.port_kind(wanted, kind, span),
            None => {
                let message = format!("`{node}` has no output `{output}`");
                let known = outputs.named.iter().map(|port| port.name.as_str());
                let hint = match manifest.world {
                    World::Command => Some(format!("declare it at that node: `outputs.{output} = \"blob\"`")),
                    _ => suggest(output.as_str(), known),
                };
                let hint = hint.or_else(|| Some(format!("`{}` makes no outputs", manifest.name)));
                self.problems.report(Code::UnknownPort, span, "", message, hint);
            }
        }
    }

    /// Whether what another node gets as an input fits here, and is what the reference means.
    fn input(&self, node: &NodeId, input: &PortName, wanted: PortKind, span: &Range<usize>) {
        let Some(&other) = self.by_id.get(node) else { return };
        if let Some(manifest) = self.manifest(other)
            && self.outputs(other, manifest).named.iter().any(|port| port.name == *input)
        {
            let message = format!("`{node}.{input}` is an input of that node and an output of `{}`", manifest.name);
            let hint =
                "nothing says which is meant: take another output, or where the input is meant the input's own source"
                    .to_owned();
            self.problems.report(Code::Reference, span, "", message, Some(hint));
            return;
        }
        match self.origin(other, input) {
            Some(InputSource::Dir(_)) => self.kind(wanted, ArtifactKind::Tree, span, "a directory"),
            Some(InputSource::File { .. }) => self.kind(wanted, ArtifactKind::Blob, span, "a file"),
            Some(InputSource::Output { node, output }) => {
                let made = self
                    .by_id
                    .get(node)
                    .and_then(|draft| Some((*draft, self.manifest(*draft)?)))
                    .and_then(|(draft, made)| self.outputs(draft, made).kind(output.as_str()));
                if let Some(made) = made {
                    self.port_kind(wanted, made, span);
                }
            }
            _ => {}
        }
    }

    /// Where an input that may be an input of yet another node comes from.
    fn origin(&self, draft: Placed<'a>, input: &PortName) -> Option<&'a InputSource> {
        let mut source = draft.node.inputs.get(input)?;
        for _ in 0..MAX_CHAIN {
            let InputSource::Input { node, input } = source else { return Some(source) };
            source = self.by_id.get(node)?.node.inputs.get(input)?;
        }
        None
    }

    fn kind(&self, wanted: PortKind, found: ArtifactKind, span: &Range<usize>, what: &str) {
        if !wanted.takes(found) {
            let message = format!("this is {what}, a {}, but a {} is needed", found.name(), wanted.name());
            let hint = match wanted {
                PortKind::Tree => "name a directory: `{ dir = \"...\" }`",
                _ => "name one file: `{ file = \"...\" }`",
            };
            self.problems.report(Code::PortKind, span, "", message, Some(hint.to_owned()));
        }
    }

    fn port_kind(&self, wanted: PortKind, found: PortKind, span: &Range<usize>) {
        let clash = matches!((wanted, found), (PortKind::Blob, PortKind::Tree) | (PortKind::Tree, PortKind::Blob));
        if clash {
            let message = format!("this is a {}, but a {} is needed", found.name(), wanted.name());
            self.problems.report(
                Code::PortKind,
                span,
                "",
                message,
                Some("name another output, or another input".to_owned()),
            );
        }
    }

    fn effects(&self, draft: Placed<'_>, manifest: &Manifest) {
        let (granted, name) = (draft.node.grants.kinds(), &manifest.name);
        for effect in manifest.needed_effects().filter(|effect| !granted.contains(effect)) {
            let hint = match effect {
                // Without a grant it is the logical clock.
                "clock" => continue,
                // What its language imports and it never calls; an import of the contract is refused all the same.
                "http" if self.terms_of(draft).trap_missing => continue,
                "app" => "`grants.app = true`",
                "http" => "`grants.http = [\"GET https://example.org/path\"]`",
                "process" => "`grants.process = [{ program = \"git\", arguments = [\"describe\"] }]`",
                "secrets" => "`grants.secrets = [{ name = \"token\", to = [\"api.example.org\"] }]`",
                "tcp" => "`grants.tcp = [\"db.example.org:5432\"]`",
                other => {
                    let message = format!(
                        "`{name}` asks for `{}`, which this version of the engine cannot grant",
                        crate::problem::cut(other.to_owned(), 80)
                    );
                    let hint = "it grants `http`, `tcp`, `process`, `secrets`, `clock` and `app`".to_owned();
                    self.problems.report(Code::UnsupportedEffect, &draft.places.plugin, "", message, Some(hint));
                    continue;
                }
            };
            let message = format!("`{name}` asks for `{effect}`, which the node `{}` does not grant", draft.node.id);
            let hint = format!("add to the node, for what it may reach: {hint}");
            self.problems.report(Code::MissingGrant, &draft.places.id, "", message, Some(hint));
        }
        for kind in granted {
            let asked = manifest.effects.iter().any(|effect| effect == kind);
            if !(asked || kind == "clock" && manifest.reads_time) {
                let place = draft.places.grants.as_ref().and_then(|grants| grants.get(kind));
                let span = place.map_or(&draft.places.id, |place| &place.key);
                let message = format!("`{name}` does not ask for `{kind}`, so this grants nothing");
                self.problems.report(Code::UselessGrant, span, "", message, Some("take the grant away".to_owned()));
            }
        }
    }
}

fn inputs_of(manifest: &Manifest) -> Ports {
    let mut ports = manifest.inputs.clone();
    let listed = ports.named.iter().any(|port| port.name.as_str() == OBSERVATION);
    if let (World::CanaryEvaluator, false, Ok(name)) = (manifest.world, listed, PortName::new(OBSERVATION)) {
        ports.named.push(Port {
            name,
            kind: PortKind::Blob,
            optional: false,
            summary: "what was seen of both sides".to_owned(),
        });
    }
    ports
}
