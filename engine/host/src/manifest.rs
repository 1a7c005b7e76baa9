//! The rules for manifests: from what `describe` says to what the rest of the engine relies on.

use std::collections::BTreeSet;

use lockgate_model::PortName;
use lockgate_model::manifest::{Manifest, Port, PortKind, Ports, World};
use lockgate_model::units::Bytes;

use crate::bindings::types;
use crate::contract::{Import, Meaning};
use crate::imports::short;

/// Most named ports of one direction: nobody reads a longer list.
const MAX_PORTS: usize = 100;
/// Most kinds of effects: there are four.
const MAX_EFFECTS: usize = 16;
/// Longest summary in characters: one line.
const MAX_SUMMARY: usize = 200;

/// Checks a manifest; says which rule it breaks.
pub(crate) fn check(
    manifest: types::Manifest,
    world: World,
    imports: &[Import],
    limit: Bytes,
) -> Result<Manifest, String> {
    if manifest.config_schema.len() as u64 >= limit.0 {
        return Err(format!("`config-schema` has {} or more", limit));
    }
    PortName::new(&manifest.name).map_err(|error| format!("`name`: failed to {error}"))?;
    if !is_version(&manifest.version) {
        return Err(format!("`version` is `{}`, not a version by semver such as `1.2.3`", short(&manifest.version)));
    }
    summary("summary", &manifest.summary)?;
    let schema: serde_json::Value = serde_json::from_str(&manifest.config_schema)
        .map_err(|error| format!("`config-schema` is no JSON: {error}"))?;
    if !schema.is_object() {
        return Err("`config-schema` is not a JSON object".into());
    }
    let inputs = ports("inputs", &manifest.inputs)?;
    let outputs = ports("outputs", &manifest.outputs)?;
    if manifest.effects.len() > MAX_EFFECTS {
        return Err(format!("`effects` has more than {MAX_EFFECTS} entries"));
    }
    let (mut named, mut optional) = (BTreeSet::new(), BTreeSet::new());
    for effect in &manifest.effects {
        let kind = effect.strip_suffix('?');
        let name = kind.unwrap_or(effect);
        PortName::new(name).map_err(|error| format!("`effects`: failed to {error}"))?;
        if kind.is_some() {
            optional.insert(name.to_owned());
        } else {
            named.insert(name.to_owned());
        }
    }
    if let Some(both) = named.intersection(&optional).next() {
        return Err(format!("`effects` has `{both}` and `{both}?`: it needs it, or can do without it"));
    }
    // The clock is there without a grant, so importing it asks for nothing; naming it does.
    let imported = imports.iter().filter(|import| import.needs == Meaning::Grant);
    let kinds = imported.filter_map(|import| import.kind().map(str::to_owned));
    let effects: BTreeSet<_> = kinds.chain(named).chain(optional.iter().cloned()).collect();
    Ok(Manifest {
        world,
        name: manifest.name,
        version: manifest.version,
        summary: manifest.summary,
        config_schema: schema,
        inputs,
        outputs,
        effects: effects.into_iter().collect(),
        optional_effects: optional.into_iter().collect(),
        reads_time: imports.iter().any(|import| import.needs == Meaning::Clock),
    })
}

fn ports(direction: &str, ports: &types::Ports) -> Result<Ports, String> {
    if ports.named.len() > MAX_PORTS {
        return Err(format!("`{direction}` has more than {MAX_PORTS} ports"));
    }
    let mut named = Vec::with_capacity(ports.named.len());
    let mut names = BTreeSet::new();
    for port in &ports.named {
        let name = PortName::new(&port.name).map_err(|error| format!("`{direction}`: failed to {error}"))?;
        summary(&format!("{direction}.{name}"), &port.summary)?;
        if !names.insert(name.clone()) {
            return Err(format!("`{direction}` has `{name}` twice"));
        }
        let kind = kind(&port.kind).ok_or_else(|| wrong_kind(&format!("{direction}.{name}"), &port.kind))?;
        named.push(Port { name, kind, optional: port.optional, summary: port.summary.clone() });
    }
    let open = match &ports.open {
        Some(text) => Some(kind(text).ok_or_else(|| wrong_kind(&format!("{direction}.open"), text))?),
        None => None,
    };
    Ok(Ports { named, open })
}

fn kind(text: &str) -> Option<PortKind> {
    [PortKind::Blob, PortKind::Tree, PortKind::Any].into_iter().find(|kind| kind.name() == text)
}

fn wrong_kind(place: &str, kind: &str) -> String {
    format!("`{place}` is of the kind `{}`: expected `blob`, `tree` or `any`", short(kind))
}

fn summary(place: &str, text: &str) -> Result<(), String> {
    if text.chars().count() > MAX_SUMMARY || text.contains(char::is_control) {
        return Err(format!("the summary of `{place}` is not one line of at most {MAX_SUMMARY} characters"));
    }
    Ok(())
}

/// Three numbers, then optionally `-` and `+` with identifiers.
fn is_version(text: &str) -> bool {
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (text, pre) = text.split_once('-').map_or((text, None), |(text, pre)| (text, Some(pre)));
    let identifiers = |part: Option<&str>| {
        let good = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        part.is_none_or(|part| part.len() <= 64 && part.split('.').all(good))
    };
    let number = |part: &str| {
        let digits = !part.is_empty() && part.len() <= 10 && part.bytes().all(|b| b.is_ascii_digit());
        digits && (part.len() == 1 || !part.starts_with('0'))
    };
    text.split('.').count() == 3 && text.split('.').all(number) && identifiers(pre) && identifiers(build)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> types::Manifest {
        let ports = || types::Ports { named: Vec::new(), open: None };
        types::Manifest {
            name: "x".into(),
            version: "1.0.0".into(),
            summary: "x".into(),
            config_schema: "{}".into(),
            inputs: ports(),
            outputs: ports(),
            effects: Vec::new(),
        }
    }

    fn port(name: &str, kind: &str) -> types::Port {
        types::Port { name: name.into(), kind: kind.into(), optional: false, summary: String::new() }
    }

    fn broken(change: impl Fn(&mut types::Manifest)) -> String {
        let mut manifest = manifest();
        change(&mut manifest);
        check(manifest, World::Stage, &[], Bytes(1000)).unwrap_err()
    }

    #[test]
    fn each_rule_names_what_breaks_it() {
        assert!(broken(|m| m.name = "a b".into()).contains("`name`"));
        assert!(broken(|m| m.version = "1".into()).contains("semver"));
        assert!(broken(|m| m.summary = "a\nb".into()).contains("one line"));
        assert!(broken(|m| m.config_schema = "{".into()).contains("no JSON"));
        assert!(broken(|m| m.config_schema = "[]".into()).contains("not a JSON object"));
        assert!(broken(|m| m.config_schema = " ".repeat(1000)).contains("or more"));
        assert!(broken(|m| m.inputs.named = vec![port("a", "blob"), port("a", "tree")]).contains("twice"));
        assert!(broken(|m| m.outputs.named = vec![port("a", "file")]).contains("`outputs.a`"));
        assert!(broken(|m| m.outputs.named = vec![port("", "blob")]).contains("empty name"));
        assert!(broken(|m| m.outputs.open = Some("all".into())).contains("`outputs.open`"));
        assert!(broken(|m| m.inputs.named = vec![port("a", "blob"); 101]).contains("more than 100"));
        assert!(broken(|m| m.effects = vec!["a b".into()]).contains("`effects`"));
        assert!(broken(|m| m.effects = vec!["http".into(); 17]).contains("more than 16"));
    }

    #[test]
    fn effects_are_those_named_and_those_imported() {
        let import = |name: &str| Import::find(&format!("lockgate:plugin/{name}@0.1.0")).unwrap();
        let mut named = manifest();
        named.effects = vec!["http".into(), "process".into()];
        let imports = [import("clock"), import("http"), import("log"), import("secrets")];
        let checked = check(named.clone(), World::Stage, &imports, Bytes(1000)).unwrap();
        assert_eq!(checked.effects, ["http", "process", "secrets"]);
        assert!(checked.optional_effects.is_empty());
        named.effects = vec!["http".into(), "secrets?".into(), "process?".into()];
        let checked = check(named.clone(), World::Stage, &imports, Bytes(1000)).unwrap();
        assert_eq!(checked.effects, ["http", "process", "secrets"]);
        assert_eq!(checked.optional_effects, ["process", "secrets"]);
        assert_eq!(checked.needed_effects().collect::<Vec<_>>(), ["http"]);
        named.effects.push("secrets".into());
        let error = check(named, World::Stage, &imports, Bytes(1000)).unwrap_err();
        assert!(error.contains("`secrets` and `secrets?`"), "{error}");
        assert!(checked.reads_time);
    }

    #[test]
    fn versions_are_semver() {
        for good in ["0.1.0", "1.2.3-rc.1", "1.2.3+build.5", "10.20.30-a-b+c"] {
            assert!(is_version(good), "{good}");
        }
        for bad in ["", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.x", "1.2.3-", "1.2.3-a..b", "v1.2.3"] {
            assert!(!is_version(bad), "{bad}");
        }
    }
}
