//! Bytes that somebody altered, read by everything that reads bytes of others. The same in each run: one number makes all cases.
//! `LOCKGATE_FUZZ_SEED` sets it, `LOCKGATE_FUZZ_TIMES` multiplies the number of cases.

use std::time::{Duration, Instant};

use lockgate_tests::fuzz::{TARGETS, Target, seeds};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// No input may take longer to read, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// One change of some bytes.
#[derive(Debug, Clone)]
enum Edit {
    Set(Index, u8),
    Flip(Index, u8),
    Cut(Index, usize),
    Repeat(Index, usize, usize),
    Insert(Index, Vec<u8>),
    End(Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let odd = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..9),
        Just(b"\xff\xff\xff\xff\x0f".to_vec()),
        Just(b"\xed\xa0\x80".to_vec()),
        Just(b"[[[[[[[[{{{{{{{{".to_vec()),
        Just(b"\r\n\r\n".to_vec()),
        Just(b"99999999999999999999999".to_vec()),
    ];
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        4 => (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        2 => (any::<Index>(), 1..64_usize).prop_map(|(at, length)| Edit::Cut(at, length)),
        2 => (any::<Index>(), 1..64_usize, 1..200_usize).prop_map(|(at, length, times)| Edit::Repeat(at, length, times)),
        2 => (any::<Index>(), odd).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        1 => any::<Index>().prop_map(Edit::End),
    ]
}

fn altered(seed: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for edit in edits {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match edit {
            Edit::Set(at, byte) => bytes[at.index(length)] = *byte,
            Edit::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Edit::Cut(at, size) => drop(bytes.drain(at.index(length)..(at.index(length) + size).min(length))),
            Edit::Repeat(at, size, times) => {
                let at = at.index(length);
                let part = bytes[at..(at + size).min(length)].repeat(*times);
                bytes.splice(at..at, part);
            }
            Edit::Insert(at, more) => drop(bytes.splice(at.index(length)..at.index(length), more.iter().copied())),
            Edit::End(at) => bytes.truncate(at.index(length)),
        }
    }
    bytes
}

#[track_caller]
fn fuzz(name: &str) {
    let target: &Target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u32>().expect("a number"));
    let (seed, times) = (number("LOCKGATE_FUZZ_SEED").unwrap_or(1), number("LOCKGATE_FUZZ_TIMES").unwrap_or(1));
    let seeds = seeds(target);
    assert!(!seeds.is_empty());
    for seed in &seeds {
        (target.read)(seed);
    }
    let mut random = [0; 32];
    random[..4].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: target.cases * times, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &random));
    let cases = (any::<Index>(), prop::collection::vec(edit(), 1..6));
    let result = runner.run(&cases, |(from, edits)| {
        let bytes = altered(&seeds[from.index(seeds.len())], &edits);
        let begun = Instant::now();
        (target.read)(&bytes);
        prop_assert!(begun.elapsed() < PATIENCE, "it took {:?}", begun.elapsed());
        Ok(())
    });
    if let Err(error) = result {
        panic!("LOCKGATE_FUZZ_SEED={seed} {name}: {error}");
    }
}

#[test]
fn altered_pipelines() {
    fuzz("pipeline");
}

#[test]
fn altered_policies() {
    fuzz("policy");
}

#[test]
fn altered_lock_files() {
    fuzz("lock");
}

#[test]
fn altered_cases() {
    fuzz("case");
}

#[test]
fn altered_files_about_registries() {
    fuzz("registries");
}

#[test]
fn altered_documents_of_registries() {
    fuzz("registry");
}

#[test]
fn altered_signatures() {
    fuzz("envelope");
}

#[test]
fn altered_components() {
    fuzz("component");
}

#[test]
fn altered_bundles() {
    fuzz("bundle");
}

#[test]
fn altered_answers_over_http() {
    fuzz("http");
}

#[test]
fn altered_effects() {
    fuzz("effects");
}

#[test]
fn altered_journals() {
    fuzz("journal");
}

#[test]
fn no_target_is_forgotten() {
    let own = include_str!("fuzzed.rs");
    for target in TARGETS {
        assert!(own.contains(&format!("fuzz(\"{}\")", target.name)), "{}", target.name);
        let file =
            lockgate_tests::binary::repository().join(format!("tests/fuzz/cargo-fuzz/fuzz_targets/{}.rs", target.name));
        assert!(file.is_file(), "{}", file.display());
    }
}
