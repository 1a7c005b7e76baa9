//! What the key covers and what it doesn't: each part alone makes another key, and everything else leaves it as it is.

use serde_json::json;

use super::*;
use crate::artifact::ArtifactKind;
use crate::grant::HttpGrant;
use crate::id::NodeId;
use crate::outcome::FailureKind;
use crate::pipeline::{InputSource, NodeKind, Retry};
use crate::units::{Bytes, Fuel, Millis};

const DETERMINISM: &str = "1-48.0.8-0123456789ab";

fn artifact(text: &str) -> ArtifactRef {
    ArtifactRef { kind: ArtifactKind::Blob, digest: Digest::of(text.as_bytes()), size: text.len() as u64 }
}

fn port(name: &str) -> PortName {
    PortName::new(name).unwrap()
}

fn node() -> Node {
    let Ok(serde_json::Value::Object(config)) =
        serde_json::from_str(r#"{"format":"zip","files":{"a.txt":["x","y"],"deep":{"b":1}}}"#)
    else {
        panic!("it is an object")
    };
    Node {
        id: NodeId::new("package").unwrap(),
        kind: NodeKind::Stage,
        plugin: Some("pack".parse().unwrap()),
        config,
        inputs: [(port("src"), InputSource::File { path: "a".to_owned() })].into(),
        after: Default::default(),
        when: None,
        limits: Limits::default(),
        grants: Grants::default(),
        retry: Retry::default(),
        poll: None,
        accept: Default::default(),
        allow_failure: false,
        finally: false,
        repeat: 1,
        env: [("LANG".to_owned(), "C".to_owned())].into(),
        approval: None,
        wait: None,
        max_age: None,
    }
}

/// What was there before is of no interest.
fn ignore<T>(_: T) {}

/// Everything that a key is made of.
#[derive(Clone)]
struct Made {
    node: Node,
    component: Component,
    inputs: BTreeMap<PortName, ArtifactRef>,
    determinism: String,
    logical_time: u64,
}

impl Made {
    fn new() -> Self {
        let component = Component { digest: Digest::of(b"wasm"), name: "pack 1".to_owned(), reads_time: true };
        let inputs = [(port("src"), artifact("source")), (port("more"), artifact("more"))].into();
        Self { node: node(), component, inputs, determinism: DETERMINISM.to_owned(), logical_time: 5 }
    }

    fn key(&self) -> ActionKey {
        let world = self.node.kind.world().unwrap();
        let Self { node, component, inputs, determinism, logical_time } = self;
        let key = ActionKey::new(node, (component, world), inputs, determinism, *logical_time);
        // What runs take, and what is explained to people: whatever a test changes, they are one.
        let digest = ActionKey::digest_of(node, (component, world), inputs, determinism, *logical_time);
        assert_eq!(digest, key.digest());
        key
    }
}

type Change = (&'static str, fn(&mut Made));

/// A change of each component of the key, and what the difference is called.
const MISSES: [Change; 34] = [
    ("component", |made| made.component.digest = Digest::of(b"other")),
    ("world", |made| made.node.kind = NodeKind::HealthCheck),
    ("config.format", |made| ignore(made.node.config.insert("format".to_owned(), json!("tar")))),
    ("config.new", |made| ignore(made.node.config.insert("new".to_owned(), json!(null)))),
    ("config.format", |made| ignore(made.node.config.remove("format"))),
    (r#"config.files["a.txt"][1]"#, |made| made.node.config["files"]["a.txt"] = json!(["x", "z"])),
    (r#"config.files["a.txt"][2]"#, |made| made.node.config["files"]["a.txt"] = json!(["x", "y", "z"])),
    ("config.files.deep.b", |made| made.node.config["files"]["deep"]["b"] = json!("1")),
    ("input src", |made| ignore(made.inputs.insert(port("src"), artifact("changed")))),
    ("input src", |made| made.inputs.get_mut(&port("src")).unwrap().kind = ArtifactKind::Tree),
    ("input more", |made| ignore(made.inputs.remove(&port("more")))),
    ("input third", |made| ignore(made.inputs.insert(port("third"), artifact("source")))),
    ("limits.fuel", |made| made.node.limits.fuel = Fuel(7)),
    ("limits.start_fuel", |made| made.node.limits.start_fuel = Fuel(7)),
    ("limits.memory", |made| made.node.limits.memory = Bytes(7)),
    ("limits.table_elements", |made| made.node.limits.table_elements = 7),
    ("limits.handles", |made| made.node.limits.handles = 7),
    ("limits.call_bytes", |made| made.node.limits.call_bytes = Bytes(7)),
    ("limits.log", |made| made.node.limits.log = Bytes(7)),
    ("limits.output", |made| made.node.limits.output = Bytes(7)),
    ("limits.output_entries", |made| made.node.limits.output_entries = 7),
    ("limits.findings", |made| made.node.limits.findings = 7),
    ("limits.effects", |made| made.node.limits.effects = 7),
    ("limits.timeout", |made| made.node.limits.timeout = Millis(7)),
    ("grants", |made| made.node.grants.clock = true),
    ("grants", |made| made.node.grants.http = vec![HttpGrant::parse("GET http://127.0.0.1:1/").unwrap()]),
    ("poll", |made| made.node.poll = Some(poll())),
    ("env LANG", |made| ignore(made.node.env.insert("LANG".to_owned(), "de".to_owned()))),
    ("env LANG", |made| ignore(made.node.env.remove("LANG"))),
    ("env HOME", |made| ignore(made.node.env.insert("HOME".to_owned(), String::new()))),
    ("determinism version", |made| made.determinism = "2".to_owned()),
    ("logical time", |made| made.logical_time = 6),
    ("logical time", |made| made.component.reads_time = false),
    ("world", |made| made.node.kind = NodeKind::Canary),
];

fn poll() -> Poll {
    Poll { every: Millis(1), span: Millis(2), healthy: None, unhealthy: None }
}

/// Changes that leave the result as it is: of the node, of what stands around it, of what the component is called.
const HITS: [Change; 13] = [
    ("id", |made| made.node.id = NodeId::new("other").unwrap()),
    ("alias", |made| made.node.plugin = Some("other".parse().unwrap())),
    ("component's name", |made| made.component.name = "pack 2".to_owned()),
    ("after", |made| ignore(made.node.after.insert(NodeId::new("first").unwrap()))),
    ("where an input comes from", |made| {
        let from = InputSource::Output { node: NodeId::new("first").unwrap(), output: port("out") };
        made.node.inputs.insert(port("src"), from);
    }),
    ("when", |made| made.node.when = Some(crate::expr::Expr::Value(json!(true)))),
    ("retry", |made| {
        made.node.retry =
            Retry { attempts: 9, backoff: Millis(1), max_backoff: Millis(1), on: [FailureKind::Trap].into() }
    }),
    ("accept", |made| ignore(made.node.accept.insert("degraded".to_owned()))),
    ("allow_failure", |made| made.node.allow_failure = true),
    ("finally", |made| made.node.finally = true),
    ("max_age", |made| made.node.max_age = Some(Millis(1))),
    ("repeat", |made| made.node.repeat = 3),
    ("order of config and inputs", |made| {
        let config: Vec<_> = std::mem::take(&mut made.node.config).into_iter().rev().collect();
        made.node.config.extend(config);
    }),
];

#[test]
fn each_component_alone_makes_another_key() {
    let before = Made::new();
    for (name, change) in MISSES {
        let mut after = before.clone();
        change(&mut after);
        assert_ne!(after.key().digest(), before.key().digest(), "{name}");
        let differences = after.key().differences(&before.key());
        assert_eq!(differences.iter().map(|d| d.part.to_string()).collect::<Vec<_>>(), [name]);
        let back = before.key().differences(&after.key());
        assert_eq!((&back[0].before, &back[0].after), (&differences[0].after, &differences[0].before), "{name}");
    }
    // Of two poll settings, each figure counts.
    let mut polled = before.clone();
    polled.node.poll = Some(poll());
    let others = [
        Poll { every: Millis(3), ..poll() },
        Poll { span: Millis(3), ..poll() },
        Poll { healthy: Some(1), ..poll() },
        Poll { unhealthy: Some(1), ..poll() },
    ];
    for other in others {
        let mut changed = polled.clone();
        changed.node.poll = Some(other);
        assert_ne!(changed.key().digest(), polled.key().digest());
    }
}

#[test]
fn nothing_else_changes_the_key() {
    let before = Made::new();
    for (name, change) in HITS {
        let mut after = before.clone();
        change(&mut after);
        assert_eq!(after.key().digest(), before.key().digest(), "{name}");
        assert_eq!(after.key().differences(&before.key()), [], "{name}");
    }
    // The logical time counts only where it is read.
    let mut blind = before.clone();
    blind.component.reads_time = false;
    let mut later = blind.clone();
    later.logical_time = 6;
    assert_eq!(later.key().digest(), blind.key().digest());
}

#[test]
fn every_component_of_the_key_and_of_a_node_is_tried() {
    let members = |value: serde_json::Value| match value {
        serde_json::Value::Object(members) => members.into_iter().map(|(name, _)| name).collect::<Vec<_>>(),
        _ => panic!("it is an object"),
    };
    let mut full = Made::new();
    full.node.poll = Some(poll());
    let tried =
        |name: &str| MISSES.iter().any(|(miss, _)| miss.replace(' ', "_").starts_with(name.trim_end_matches('s')));
    for name in members(json!(full.key())) {
        assert!(tried(&name), "{name} of the key");
    }
    for name in members(json!(Limits::default())) {
        assert!(tried(&format!("limits.{name}")), "limits.{name}");
    }
    // Nodes without a plugin have no key.
    assert!([NodeKind::Approval, NodeKind::Wait].iter().all(|kind| kind.world().is_none()));
    let covered = ["kind", "config", "inputs", "limits", "grants", "poll", "env", "plugin"];
    for name in members(json!(full.node)) {
        let hit = HITS.iter().any(|(hit, _)| *hit == name);
        assert!(hit || covered.contains(&name.as_str()), "{name} of a node");
    }
}

#[test]
fn the_format_of_version_1_is_fixed() {
    let key = Made::new().key();
    let text = crate::canonical_json(&key);
    assert!(
        text.starts_with(r#"{"component":"sha256:"#) && text.ends_with(r#","logical_time":5,"world":"stage"}"#),
        "{text}"
    );
    assert_eq!(key.digest(), Digest::of(&[b"lockgate-action-v1\0", text.as_bytes()].concat()));
}
