//! Lock files: golden pairs `tests/ui/lock/*.lock` beside the exact diagnostics in `*.txt`, and that what is printed is read.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_model::Digest;
use lockgate_model::lock::{Lock, Locked};
use lockgate_model::manifest::World;
use lockgate_syntax::{Code, lock};
use proptest::prelude::*;

use crate::fixtures::{files, ui};
use crate::golden::{compare, render};

#[test]
fn every_wrong_lock_gets_its_exact_diagnostic() {
    let mut wrong = Vec::new();
    for path in files(ui().join("lock"), "lock") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let problems = lock::parse(name, &std::fs::read(&path).unwrap()).unwrap_err();
        let text: Vec<_> = problems.iter().map(render).collect();
        wrong.extend(compare(&path, "txt", &text.join("\n")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn locked(name: &str) -> Locked {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Locked {
        digest: Digest::of(name.as_bytes()),
        name: name.into(),
        version: "1.0.0".into(),
        contract: "0.1.0".into(),
        world: World::Stage,
        imports: set(&["log", "artifacts"]),
        effects: set(&["http"]),
    }
}

#[test]
fn a_lock_is_always_the_same_bytes() {
    let plugins = [("std:pack", "pack"), ("path:scan.wasm", "scan")];
    let lock = Lock { plugins: plugins.iter().map(|(source, name)| ((*source).to_owned(), locked(name))).collect() };
    let expected = format!(
        "\
# What the plugins of the pipelines beside this file are, and what they ask for. Written by `lockgate plugin lock`: keep it
# under version control, and let that command change it.
schema = 1

[[plugin]]
source = \"path:scan.wasm\"
digest = \"{}\"
name = \"scan\"
version = \"1.0.0\"
contract = \"0.1.0\"
world = \"stage\"
imports = [\"artifacts\", \"log\"]
effects = [\"http\"]

[[plugin]]
source = \"std:pack\"
digest = \"{}\"
name = \"pack\"
version = \"1.0.0\"
contract = \"0.1.0\"
world = \"stage\"
imports = [\"artifacts\", \"log\"]
effects = [\"http\"]
",
        Digest::of(b"scan"),
        Digest::of(b"pack")
    );
    assert_eq!(lock::print(&lock), expected);
    assert_eq!(lock::parse("lockgate.lock", expected.as_bytes()).unwrap(), lock);
    assert_eq!(lock::parse("lockgate.lock", lock::print(&Lock::default()).as_bytes()).unwrap(), Lock::default());
}

#[test]
fn a_lock_beyond_the_limit_is_read_no_further() {
    let problems = lock::parse("lockgate.lock", &vec![b'#'; (1 << 20) + 1]).unwrap_err();
    assert_eq!(problems[0].code, Code::TooLarge);
}

proptest! {
    #[test]
    fn what_plugins_say_of_themselves_comes_back(name: String, version: String, imports in prop::collection::btree_set(any::<String>(), 0..4)) {
        let entry = lock::normal(Locked { name, version, imports: imports.clone(), effects: BTreeSet::new(), ..locked("x") });
        let lock = Lock { plugins: BTreeMap::from([("path:a \"b\\.wasm".to_owned(), entry)]) };
        let again = lock::parse("lockgate.lock", lock::print(&lock).as_bytes());
        prop_assert_eq!(again.map_err(|problems| problems[0].message.clone()), Ok(lock));
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = lock::parse("lockgate.lock", &bytes);
    }

    #[test]
    fn nearly_right_locks_are_answered(at: prop::sample::Index, byte: u8) {
        let lock = Lock { plugins: BTreeMap::from([("std:pack".to_owned(), locked("pack"))]) };
        let mut bytes = lock::print(&lock).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        for problem in lock::parse("lockgate.lock", &bytes).err().unwrap_or_default() {
            prop_assert!(render(&problem).len() < 100_000);
        }
    }
}
