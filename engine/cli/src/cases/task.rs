//! What a case is executed as: the grants that it has, why a pipeline like it would be refused, the task.

use std::collections::BTreeMap;

use lockgate_host::Plugin;
use lockgate_model::artifact::ArtifactRef;
use lockgate_model::grant::{Grants, HttpGrant, ProcessGrant, TcpGrant};
use lockgate_model::key::DEFAULT_LOGICAL_TIME;
use lockgate_model::manifest::{Port, PortKind, Ports, World};
use lockgate_model::task::{Look, Task};
use lockgate_model::{NodeId, PortName, RunId, canonical_json};
use lockgate_syntax::case::{CaseFile, Connection, Exchange, Execution};

use super::recorded::Derived;
use crate::exit::{CliError, Exit};

/// The input that every evaluator has.
const OBSERVATION: &str = "observation";
/// Grants that nothing in a case falls under, so that a plugin that asks for a kind of effect can be called where none is expected.
const NOBODY: &str = "GET http://nobody.invalid/";
const NO_PROGRAM: &str = "nobody";
const NO_SERVER: &str = "nobody.invalid:1";

/// The kinds of effects that a plugin asks for and a case does not grant itself: their grants follow from what is recorded.
pub(super) fn derived(plugin: &Plugin, grants: &Grants) -> Derived {
    let asks = |name: &str| plugin.manifest().effects.iter().any(|kind| kind == name);
    Derived {
        http: grants.http.is_empty() && asks("http"),
        process: grants.process.is_empty() && asks("process"),
        tcp: grants.tcp.is_empty() && asks("tcp"),
    }
}

/// The grants of a case: its own, and for kinds that it has none of those that follow from what is recorded. Nothing is sent and no
/// program is run in any case.
pub(super) fn grants(plugin: &Plugin, file: &CaseFile) -> Grants {
    let mut grants = file.grants.clone();
    let derived = derived(plugin, &grants);
    if derived.http {
        let origin = |exchange: &Exchange| {
            let url = url::Url::parse(&exchange.url).ok()?;
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            HttpGrant::parse(&format!("{} {}://{}{port}/", exchange.method, url.scheme(), url.host_str()?)).ok()
        };
        grants.http = file.http.iter().filter_map(origin).collect();
        if grants.http.is_empty() {
            grants.http.extend(HttpGrant::parse(NOBODY));
        }
    }
    if derived.process {
        let program = |execution: &Execution| {
            let (program, arguments) = execution.run.split_first()?;
            // As patterns these permit themselves, and what else they permit is compared with what is recorded anyway.
            Some(ProcessGrant { arguments: arguments.to_vec(), ..ProcessGrant::new(program).ok()? })
        };
        grants.process = file.process.iter().filter_map(program).collect();
        if grants.process.is_empty() {
            grants.process.extend(ProcessGrant::new(NO_PROGRAM));
        }
    }
    if derived.tcp {
        let server =
            |connection: &Connection| TcpGrant::parse(&format!("{}:{}", connection.host, connection.port)).ok();
        grants.tcp = file.tcp.iter().filter_map(server).collect();
        if grants.tcp.is_empty() {
            grants.tcp.extend(TcpGrant::parse(NO_SERVER));
        }
    }
    grants
}

/// Why a pipeline with this config, these inputs and grants would be refused: the word of `expect.kind`, and the reason.
pub(super) fn refused(
    plugin: &Plugin,
    file: &CaseFile,
    inputs: &BTreeMap<PortName, ArtifactRef>,
    grants: &Grants,
) -> Result<(), (&'static str, String)> {
    let manifest = plugin.manifest();
    let problems = lockgate_syntax::check_config(&file.config, manifest);
    if !problems.is_empty() {
        let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        return Err(("invalid-config", messages.join("; ")));
    }
    let ports = input_ports(plugin);
    for (name, artifact) in inputs {
        let message = match ports.kind(name.as_str()) {
            None => format!("the plugin has no input `{name}`"),
            Some(kind) if !kind.takes(artifact.kind) => {
                format!("the input `{name}` is a {}, the plugin takes a {}", artifact.kind.name(), kind.name())
            }
            Some(_) => continue,
        };
        return Err(("invalid-input", message));
    }
    if let Some(port) = ports.named.iter().find(|port| !port.optional && !inputs.contains_key(&port.name)) {
        return Err(("invalid-input", format!("the input `{}` is missing", port.name)));
    }
    let granted = grants.kinds();
    // Without a grant a clock is the logical one, which is harmless.
    match manifest.needed_effects().find(|kind| *kind != "clock" && !granted.contains(kind)) {
        Some(kind) => Err(("missing-grant", format!("the plugin asks for `{kind}`, which the case does not grant"))),
        None => Ok(()),
    }
}

/// The plugin's input ports; an evaluator has its observation besides, which no manifest names.
fn input_ports(plugin: &Plugin) -> Ports {
    let mut ports = plugin.manifest().inputs.clone();
    if plugin.world() == World::CanaryEvaluator
        && ports.kind(OBSERVATION).is_none()
        && let Ok(name) = PortName::new(OBSERVATION)
    {
        ports.named.push(Port { name, kind: PortKind::Blob, optional: false, summary: String::new() });
    }
    ports
}

/// The task of a case; inputs, look and state are each look's own.
pub(super) fn task(plugin: &Plugin, file: &CaseFile, grants: Grants) -> Result<Task, CliError> {
    let wrong = |error| CliError::new(Exit::Wrong, error);
    Ok(Task {
        run: RunId::new("case").map_err(wrong)?,
        node: NodeId::new("case").map_err(wrong)?,
        attempt: 1,
        component: plugin.digest(),
        world: plugin.world(),
        config: canonical_json(&file.config),
        inputs: BTreeMap::new(),
        env: file.env.clone(),
        limits: file.limits.clone(),
        grants,
        logical_time: file.logical_time.unwrap_or(DEFAULT_LOGICAL_TIME),
        look: Look::default(),
        state: None,
        first_sequence: 0,
    })
}
