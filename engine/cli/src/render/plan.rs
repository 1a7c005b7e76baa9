//! What would run, for people: each node with its plugin, needs, inputs, grants, and every limit in force.

use lockgate_host::Plugin;
use lockgate_model::expr::{Compare, Expr, Step};
use lockgate_model::grant::{EnvValue, Grants, InDoubt, ProcessGrant, TcpGrant};
use lockgate_model::graph::{Edge, Graph};
use lockgate_model::limits::{ComponentLimits, Limits};
use lockgate_model::pipeline::{InputSource, Node, OnDeadline, Pipeline, Retry};
use lockgate_model::policy::Decision;
use lockgate_syntax::policy::PolicyFile;

use super::decision;
use super::graph::{plugin_name, wait_text};
use super::style::{Style, clean_line};

/// Longest config that is shown in full, in characters.
const CONFIG: usize = 200;

/// One node.
pub(crate) fn node(
    pipeline: &Pipeline,
    graph: &Graph,
    index: usize,
    plugin: Option<&Plugin>,
    cache: Option<&str>,
    policies: Option<(&Decision, &[PolicyFile])>,
    style: Style,
) -> String {
    let node = &pipeline.nodes[index];
    let mut text = format!("{} {}\n", style.dim(node.kind.name()), style.bold(node.id.as_str()));
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {}{value}\n", style.dim(&format!("{name:<10}"))));
        }
    };
    if node.plugin.is_some() {
        line("cache", cache.unwrap_or_default().to_owned());
        line("plugin", plugin_text(pipeline, node, plugin));
    }
    line("needs", needs(pipeline, graph, index));
    if let Some(approval) = &node.approval {
        line("asks", clean_line(&approval.message));
        let names: Vec<_> = approval.approvers.iter().map(|name| clean_line(name)).collect();
        let anybody = "anybody who may write the state directory".to_owned();
        line("approvers", if names.is_empty() { anybody } else { names.join(", ") });
        let end = match approval.on_deadline {
            OnDeadline::Reject => "rejected",
            OnDeadline::Approve => "approved",
        };
        line("deadline", format!("{} after it asked, then {end}", approval.deadline));
    }
    if let Some(wait) = node.wait {
        line("waits", wait_text(wait));
    }
    for (name, source) in &node.inputs {
        line("input", format!("{name} = {}", source_text(source)));
    }
    if !node.config.is_empty() {
        let config = clean_line(&serde_json::Value::Object(node.config.clone()).to_string());
        let cut =
            if config.chars().count() > CONFIG { config.chars().take(CONFIG).chain(['…']).collect() } else { config };
        line("config", cut);
    }
    if let Some(when) = &node.when {
        line("when", expression(when));
    }
    for (name, value) in &node.env {
        line("env", format!("{name} = {}", clean_line(value)));
    }
    if node.plugin.is_none() {
        line("also", also(node));
        return text;
    }
    line(
        "pure",
        if node.grants.is_empty() { "yes: a function of its inputs".into() } else { "no: it may have effects".into() },
    );
    for grant in grants(&node.grants) {
        line("grant", grant);
    }
    for effect in policies.map(|(decision, files)| decision::effects(decision, files)).unwrap_or_default() {
        line("effect", effect);
    }
    let by = |name| policies.and_then(|(decision, _)| decision::set_by(decision, name));
    for chunk in limits(&node.limits).chunks(4) {
        let shown = chunk.iter().map(|(name, value)| match by(name) {
            Some(by) => format!("{name} {value} ({by})"),
            None => format!("{name} {value}"),
        });
        line("limits", shown.collect::<Vec<_>>().join(", "));
    }
    line("also", also(node));
    text
}

fn plugin_text(pipeline: &Pipeline, node: &Node, plugin: Option<&Plugin>) -> String {
    let name = plugin_name(pipeline, node).unwrap_or_default();
    match plugin {
        Some(plugin) => {
            let manifest = plugin.manifest();
            format!("{name} ({} {}), {}", clean_line(&manifest.name), clean_line(&manifest.version), plugin.digest())
        }
        None => name,
    }
}

fn needs(pipeline: &Pipeline, graph: &Graph, index: usize) -> String {
    let mut needs: Vec<_> = graph.needs(index).collect();
    needs.sort_unstable();
    let name = |(other, edge): (usize, Edge)| {
        let id = &pipeline.nodes[other].id;
        if edge == Edge::Order { format!("{id} (order)") } else { id.to_string() }
    };
    let mut names: Vec<_> = needs.into_iter().map(name).collect();
    if pipeline.nodes[index].finally {
        names.push("all nodes without `finally` (whatever becomes of them)".into());
    }
    names.join(", ")
}

/// Where an input comes from.
pub(crate) fn source_text(source: &InputSource) -> String {
    match source {
        InputSource::Dir(spec) => {
            let mut text = format!("directory `{}`", clean_line(&spec.dir));
            for (word, globs) in [("include", &spec.include), ("exclude", &spec.exclude)] {
                if !globs.is_empty() {
                    text += &format!(", {word} {}", clean_line(&globs.join(" ")));
                }
            }
            text + if spec.ignore { "" } else { ", ignored files too" }
        }
        InputSource::File { path } => format!("file `{}`", clean_line(path)),
        InputSource::Output { node, output } => format!("output `{node}.{output}`"),
        InputSource::Input { node, input } => format!("input `{node}.{input}`"),
    }
}

/// Every limit of a node, by its name in pipeline files.
pub(crate) fn limits(limits: &Limits) -> Vec<(&'static str, String)> {
    // Taken apart, so that a new limit cannot be forgotten here.
    let Limits {
        fuel,
        start_fuel,
        memory,
        table_elements,
        handles,
        call_bytes,
        log,
        output,
        output_entries,
        findings,
        effects,
        timeout,
    } = limits;
    vec![
        ("fuel", fuel.to_string()),
        ("start_fuel", start_fuel.to_string()),
        ("memory", memory.to_string()),
        ("timeout", timeout.to_string()),
        ("table_elements", table_elements.to_string()),
        ("handles", handles.to_string()),
        ("call_bytes", call_bytes.to_string()),
        ("log", log.to_string()),
        ("output", output.to_string()),
        ("output_entries", output_entries.to_string()),
        ("findings", findings.to_string()),
        ("effects", effects.to_string()),
    ]
}

/// Every limit on components.
pub(crate) fn component_limits(limits: &ComponentLimits) -> Vec<(&'static str, String)> {
    let ComponentLimits {
        size,
        compile_time,
        compile_cpu,
        compile_memory,
        compilations,
        describe_fuel,
        describe_memory,
        manifest,
    } = limits;
    vec![
        ("size", size.to_string()),
        ("compile_time", compile_time.to_string()),
        ("compile_cpu", compile_cpu.to_string()),
        ("compile_memory", compile_memory.to_string()),
        ("compilations", compilations.to_string()),
        ("describe_fuel", describe_fuel.to_string()),
        ("describe_memory", describe_memory.to_string()),
        ("manifest", manifest.to_string()),
    ]
}

/// What differs from the ordinary.
fn also(node: &Node) -> String {
    let mut also = Vec::new();
    if node.retry.attempts > 1 {
        let Retry { attempts, backoff, max_backoff, on } = &node.retry;
        let kinds: Vec<_> = on.iter().map(|kind| kind.name()).collect();
        also.push(format!("{attempts} attempts after {} (pauses from {backoff} to {max_backoff})", kinds.join(", ")));
    }
    if let Some(poll) = &node.poll {
        also.push(format!("looks every {} for {}", poll.every, poll.span));
    }
    if !node.accept.is_empty() {
        also.push(format!("accepts {}", node.accept.iter().cloned().collect::<Vec<_>>().join(", ")));
    }
    if let Some(max_age) = node.max_age {
        also.push(format!("taken again on resume after {max_age}"));
    }
    if node.allow_failure {
        also.push("may fail".into());
    }
    if node.repeat > 1 {
        also.push(format!("executed {} times and compared", node.repeat));
    }
    also.join("; ")
}

/// An expression as one would write it, with everything put in.
pub(crate) fn expression(expr: &Expr) -> String {
    match expr {
        Expr::Value(serde_json::Value::String(text)) => format!("'{}'", clean_line(text)),
        Expr::Value(value) => clean_line(&value.to_string()),
        Expr::List(items) => format!("[{}]", items.iter().map(expression).collect::<Vec<_>>().join(", ")),
        Expr::Status(node) => format!("{node}.status"),
        Expr::Verdict(node) => format!("{node}.verdict"),
        Expr::Output { node, output, path } => {
            let step = |step: &Step| match step {
                Step::Key(key) => format!("[{}]", serde_json::Value::from(clean_line(key))),
                Step::Index(index) => format!("[{index}]"),
            };
            format!("{node}.{output}{}", path.iter().map(step).collect::<String>())
        }
        Expr::RunStatus => "run.status".into(),
        Expr::Not(inner) => format!("!{}", nested(inner)),
        Expr::And(left, right) => format!("{} && {}", nested(left), nested(right)),
        Expr::Or(left, right) => format!("{} || {}", nested(left), nested(right)),
        Expr::Compare(compare, left, right) => {
            let sign = match compare {
                Compare::Equal => "==",
                Compare::NotEqual => "!=",
                Compare::Less => "<",
                Compare::LessEqual => "<=",
                Compare::Greater => ">",
                Compare::GreaterEqual => ">=",
                Compare::In => "in",
            };
            format!("{} {sign} {}", nested(left), nested(right))
        }
    }
}

fn nested(expr: &Expr) -> String {
    match expr {
        Expr::And(..) | Expr::Or(..) | Expr::Compare(..) => format!("({})", expression(expr)),
        _ => expression(expr),
    }
}

/// Each grant with what it lets happen.
fn grants(grants: &Grants) -> Vec<String> {
    let Grants { http, clock, process, secrets, tcp, app } = grants;
    let doubt = |in_doubt, again: &'static str| match in_doubt {
        InDoubt::Repeat => again,
        InDoubt::Stop => "waits for an answer",
    };
    let networks = |networks: &[lockgate_model::grant::address::Network]| match networks {
        [] => String::new(),
        networks => format!(", also in {}", networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    let mut lines = Vec::new();
    for grant in http {
        let doubt = doubt(grant.in_doubt(), "sent again");
        lines.push(format!("http {grant}{} (in doubt: {doubt})", networks(&grant.networks)));
    }
    for grant in tcp {
        let said = grant.in_doubt.unwrap_or_else(|| TcpGrant::default_in_doubt(false));
        lines.push(format!("tcp {grant}{} (in doubt: {})", networks(&grant.networks), doubt(said, "sent again")));
    }
    for grant in process {
        let ProcessGrant { env, read, write, network, in_doubt, .. } = grant;
        let mut text = format!("process {grant}");
        for (name, value) in env {
            text += &match value {
                EnvValue::Text(value) => format!(", {name}={}", clean_line(value)),
                EnvValue::Secret(secret) => format!(", {name} is the secret {secret}"),
            };
        }
        for (word, paths) in [("reads", read), ("writes", write)] {
            if !paths.is_empty() {
                text += &format!(", {word} {}", clean_line(&paths.join(" ")));
            }
        }
        text += if *network { ", with network" } else { ", without network" };
        lines.push(format!("{text} (in doubt: {})", doubt(*in_doubt, "run again")));
    }
    lines.extend(secrets.iter().map(|grant| format!("secrets {grant}")));
    if *app {
        lines.push("app".to_owned());
    }
    if *clock {
        lines.push("clock".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use lockgate_model::grant::{HttpGrant, SecretGrant, SecretPlace};
    use lockgate_model::pipeline::{NodeKind, Wait};
    use lockgate_model::units::Millis;

    use super::super::graph::tests::{approval, node as graph_node, pipeline, sample, wait};
    use super::*;

    #[test]
    fn a_node_is_shown_with_all_its_limits() {
        let (mut pipeline, graph) = sample();
        pipeline.nodes[3].retry.attempts = 3;
        pipeline.nodes[3].accept = ["hold".to_owned()].into();
        let status = Box::new(Expr::Status(pipeline.nodes[2].id.clone()));
        let value = Box::new(Expr::Value("failed".into()));
        pipeline.nodes[3].when = Some(Expr::Not(Box::new(Expr::Compare(Compare::Equal, status, value))));
        insta::assert_snapshot!(
            node(&pipeline, &graph, 3, None, None, None, Style::PLAIN)
                + &node(&pipeline, &graph, 4, None, None, None, Style::PLAIN)
        );
    }

    #[test]
    fn nodes_that_wait_say_for_what() {
        let (mut pipeline, graph) = pipeline(vec![
            approval(&["bob", "alice"], "calm"),
            wait(Wait::Until(1_796_112_000_000), "up"),
            graph_node("up", NodeKind::HealthCheck, &[], &[]),
        ]);
        pipeline.nodes[0].allow_failure = true;
        let up = &mut pipeline.nodes[2];
        up.max_age = Some(Millis(600_000));
        for request in ["GET http://127.0.0.1:80/", "POST http://127.0.0.1:80/"] {
            up.grants.http.push(HttpGrant::parse(request).unwrap());
        }
        let up = node(&pipeline, &graph, 2, None, None, None, Style::PLAIN);
        let up: String = up.lines().filter(|line| !line.contains("limits")).map(|line| format!("{line}\n")).collect();
        insta::assert_snapshot!(
            node(&pipeline, &graph, 0, None, None, None, Style::PLAIN)
                + &node(&pipeline, &graph, 1, None, None, None, Style::PLAIN)
                + &up
        );
    }

    #[test]
    fn each_grant_says_what_it_lets_happen() {
        let mut git = ProcessGrant::new("git").unwrap();
        git.arguments = vec!["push".into(), "v *".into()];
        git.env = [
            ("LANG".to_owned(), EnvValue::Text("C".into())),
            ("TOKEN".to_owned(), EnvValue::Secret("token".parse().unwrap())),
        ]
        .into();
        git.read = vec!["/etc/ssl".into()];
        let mut cache = TcpGrant::parse("cache.test:6379").unwrap();
        cache.networks = vec!["10.0.0.0/8".parse().unwrap()];
        let all = Grants {
            http: vec![HttpGrant::parse("GET https://a.test/").unwrap()],
            tcp: vec![cache],
            process: vec![git, ProcessGrant { network: true, ..ProcessGrant::new("true").unwrap() }],
            secrets: vec![SecretGrant {
                name: "token".parse().unwrap(),
                to: vec!["a.test".into()],
                place: SecretPlace::Message,
            }],
            app: true,
            clock: true,
        };
        assert_eq!(
            grants(&all),
            [
                "http GET https://a.test:443/ (in doubt: sent again)",
                "tcp cache.test:6379, also in 10.0.0.0/8 (in doubt: waits for an answer)",
                "process git push \"v *\", LANG=C, TOKEN is the secret token, reads /etc/ssl, without network (in doubt: waits for an answer)",
                "process true, with network (in doubt: waits for an answer)",
                "secrets token to a.test",
                "app",
                "clock",
            ]
        );
        assert_eq!(grants(&Grants::default()), [""; 0]);
    }

    #[test]
    fn no_limit_is_missing() {
        let Ok(serde_json::Value::Object(all)) = serde_json::to_value(Limits::default()) else {
            panic!("limits are an object")
        };
        let shown = limits(&Limits::default());
        assert_eq!(shown.len(), all.len());
        assert!(shown.iter().all(|(name, _)| all.contains_key(*name)), "{shown:?}");
    }
}
