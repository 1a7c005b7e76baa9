//! The lock: which component each plugin source of a pipeline is, and what it asks for. Its text form stands in `lockgate-syntax`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::digest::Digest;
use crate::manifest::World;

/// Name of the lock file beside pipelines.
pub const LOCK_FILE: &str = "lockgate.lock";
/// Largest lock file that is read, in bytes: some 2,000 plugins.
pub const MAX_LOCK: u64 = 1 << 20;

/// What a lock file says: plugins by their source as a pipeline writes it, `std:pack`, `path:scan.wasm` or `oci:ghcr.io/acme/scan`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// The plugins.
    pub plugins: BTreeMap<String, Locked>,
}

/// A plugin as it was locked, or as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// Digest of its component.
    pub digest: Digest,
    /// Its name by its manifest.
    pub name: String,
    /// Its version by its manifest.
    pub version: String,
    /// The version of the contract that it is built for.
    pub contract: String,
    /// The world that it exports.
    pub world: World,
    /// The interfaces that it imports, types aside.
    pub imports: BTreeSet<String>,
    /// The kinds of effects that it asks for.
    pub effects: BTreeSet<String>,
}

/// One thing in which a plugin is not as it was locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The component.
    Digest(Digest, Digest),
    /// Name or version: which, before, now.
    Text(&'static str, String, String),
    /// It imports this or asks for this effect, which it did not.
    More(&'static str, String),
    /// It does so no longer.
    Less(&'static str, String),
}

impl Change {
    /// Whether the plugin can do more than what was locked.
    pub const fn widens(&self) -> bool {
        matches!(self, Self::More(..))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(before, now) => write!(f, "digest {before} is now {now}"),
            Self::Text(what, before, now) => write!(f, "{what} `{before}` is now `{now}`"),
            Self::More(what, name) => write!(f, "it asks for more: {what} `{name}`"),
            Self::Less(what, name) => write!(f, "it asks for less: no {what} `{name}`"),
        }
    }
}

impl Locked {
    /// In what a plugin differs now, the widest first. Empty: it is the one that was locked.
    pub fn changes(&self, now: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (what, before, now) in [("effect", &self.effects, &now.effects), ("import", &self.imports, &now.imports)] {
            changes.extend(now.difference(before).map(|name| Change::More(what, name.clone())));
            changes.extend(before.difference(now).map(|name| Change::Less(what, name.clone())));
        }
        changes.sort_by_key(|change| !change.widens());
        let texts = [
            ("name", &*self.name, &*now.name),
            ("version", &self.version, &now.version),
            ("contract", &self.contract, &now.contract),
            ("world", self.world.name(), now.world.name()),
        ];
        let differs = texts.into_iter().filter(|(_, before, now)| before != now);
        changes.extend(differs.map(|(what, before, now)| Change::Text(what, before.to_owned(), now.to_owned())));
        if self.digest != now.digest {
            changes.push(Change::Digest(self.digest, now.digest));
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_told_the_wider_request_first() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let one = Locked {
            digest: Digest::of(b"1"),
            name: "scan".into(),
            version: "1.0.0".into(),
            contract: "0.1.0".into(),
            world: World::Stage,
            imports: set(&["artifacts", "log"]),
            effects: set(&["clock"]),
        };
        assert!(one.changes(&one).is_empty());
        let two = Locked {
            digest: Digest::of(b"2"),
            name: "scam".into(),
            version: "1.0.1".into(),
            contract: "0.2.0".into(),
            world: World::HealthCheck,
            imports: set(&["artifacts", "http"]),
            effects: set(&["http"]),
        };
        let told: Vec<_> = one.changes(&two).iter().map(ToString::to_string).collect();
        let expected = [
            "it asks for more: effect `http`".to_owned(),
            "it asks for more: import `http`".to_owned(),
            "it asks for less: no effect `clock`".to_owned(),
            "it asks for less: no import `log`".to_owned(),
            "name `scan` is now `scam`".to_owned(),
            "version `1.0.0` is now `1.0.1`".to_owned(),
            "contract `0.1.0` is now `0.2.0`".to_owned(),
            "world `stage` is now `health-check`".to_owned(),
            format!("digest {} is now {}", one.digest, two.digest),
        ];
        assert_eq!(told, expected);
    }
}
