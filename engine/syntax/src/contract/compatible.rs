//! Whether a plugin can take another's place in every pipeline that uses the other.

use lockgate_model::manifest::{Manifest, Port, PortKind};

use super::Obstacle;
use super::subsume::subsumes;

/// What keeps pipelines that use `old` from using `new` instead; nothing where all of them could.
pub fn compatible(old: &Manifest, new: &Manifest) -> Vec<Obstacle> {
    let mut found = Vec::new();
    if old.world != new.world {
        let reason = format!("is `{}`, was `{}`: nodes name their kind", new.world.name(), old.world.name());
        found.push(Obstacle::breaks("world", reason));
    }
    // What the old one could do without, pipelines may not grant.
    let before: Vec<_> = old.needed_effects().collect();
    for effect in new.needed_effects().filter(|effect| !before.contains(effect)) {
        // Without a grant a clock is the logical one, which every plugin may read.
        if effect != "clock" {
            found.push(Obstacle::breaks("effects", format!("asks for `{effect}`, which pipelines do not grant it")));
        }
    }
    inputs(old, new, &mut found);
    outputs(old, new, &mut found);
    found.extend(subsumes(&old.config_schema, &new.config_schema));
    found
}

/// Whether all that one kind of port takes goes through the other.
fn within(inner: PortKind, outer: PortKind) -> bool {
    outer == PortKind::Any || inner == outer
}

fn inputs(old: &Manifest, new: &Manifest, found: &mut Vec<Obstacle>) {
    let path = |port: &Port| format!("input {}", port.name);
    for port in &old.inputs.named {
        match new.inputs.kind(port.name.as_str()) {
            None => found.push(Obstacle::breaks(path(port), "is gone")),
            Some(kind) if !within(port.kind, kind) => {
                let reason = format!("takes {}, took {}", a(kind), a(port.kind));
                found.push(Obstacle::breaks(path(port), reason));
            }
            Some(_) => {}
        }
    }
    for port in &new.inputs.named {
        let before = old.inputs.named.iter().find(|known| known.name == port.name);
        if !port.optional && before.is_none_or(|before| before.optional) {
            let reason = if before.is_some() { "must be there now" } else { "is new, and must be there" };
            found.push(Obstacle::breaks(path(port), reason));
        } else if before.is_none()
            && let Some(kind) = old.inputs.open.filter(|kind| !within(*kind, port.kind))
        {
            let reason = format!("takes {}, and any other input took {}", a(port.kind), a(kind));
            found.push(Obstacle::breaks(path(port), reason));
        }
    }
    match (old.inputs.open, new.inputs.open) {
        (Some(_), None) => found.push(Obstacle::breaks("other inputs", "are no longer taken")),
        (Some(old), Some(new)) if !within(old, new) => {
            found.push(Obstacle::breaks("other inputs", format!("may be {}, were {}", a(new), a(old))));
        }
        _ => {}
    }
}

fn outputs(old: &Manifest, new: &Manifest, found: &mut Vec<Obstacle>) {
    let path = |port: &Port| format!("output {}", port.name);
    for port in &old.outputs.named {
        let after = new.outputs.named.iter().find(|known| known.name == port.name);
        match (after, new.outputs.open) {
            (None, None) => found.push(Obstacle::breaks(path(port), "is gone")),
            (None, Some(_)) if !port.optional => {
                found.push(Obstacle::breaks(path(port), "is no longer promised: it may be one of the open outputs"));
            }
            (after, open) => {
                let kind = after.map(|after| after.kind).or(open).unwrap_or(PortKind::Any);
                if !within(kind, port.kind) {
                    found.push(Obstacle::breaks(path(port), format!("is {}, was {}", a(kind), a(port.kind))));
                }
                if after.is_some_and(|after| after.optional) && !port.optional {
                    found.push(Obstacle::breaks(path(port), "may be missing now"));
                }
            }
        }
    }
    match (old.outputs.open, new.outputs.open) {
        (Some(_), None) => found.push(Obstacle::breaks("other outputs", "are no longer made")),
        (Some(old), Some(new)) if !within(new, old) => {
            found.push(Obstacle::breaks("other outputs", format!("may be {}, were {}", a(new), a(old))));
        }
        _ => {}
    }
}

/// A kind as a text has it.
fn a(kind: PortKind) -> &'static str {
    match kind {
        PortKind::Blob => "a blob",
        PortKind::Tree => "a tree",
        PortKind::Any => "either kind",
    }
}
