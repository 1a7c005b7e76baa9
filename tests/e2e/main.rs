//! The end-to-end tests: the real binary, real components, real files. One test binary, so that they are linked once.
//!
//! In reading order: [`files`] pipelines that are wrong, [`components`] plugins that are no plugins, [`guests`] plugins that
//! misbehave, [`hostile`] those that mean it, [`hostile_inputs`] inputs that do, [`fair`] what that costs others, [`smith`] random ones, [`fuzzed`] bytes that somebody
//! altered, [`verdicts`] health checks and canaries that do, [`inputs`] and [`exports`] the host's files, [`ports`] servers that
//! misbehave, [`effects`] programs and connections, [`secrets`] what nobody may see, [`semantics`], [`looks`] and [`signals`] what a run
//! does when, [`resume`] how it goes on, [`faults`] engines that are killed
//! and disks that rot, [`digests`] the same result everywhere, [`replay`] the same
//! result again, [`cache`] what is not executed again, [`parts`] what is not selected, [`traces`] what collectors get, [`plugins`] the
//! standard ones, [`supply`] those around releases, [`tools`] those for data and people, [`wasi`] programs that know nothing of Lockgate,
//! [`jobs`] the repository's own pipelines, [`secret_store`] secrets that lie
//! encrypted on the machine, [`doctor`] what the machine gives, [`reports`] what CI services see,
//! [`history`] questions about several runs, [`policies`] what operators allow, [`locks`] and [`signatures`] whose plugins run,
//! [`embed`] programs that embed the engine, [`interface`] what they rely on, [`authors`] how plugins are begun and built,
//! [`attests`] and [`audits`] who vouches for runs and journals, [`commands`] the rest of the command line, [`repository`] what README and
//! ARCHITECTURE claim, [`book`] what the book does.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends by panicking")]

mod attests;
mod audits;
mod authors;
mod book;
mod cache;
mod cases;
mod commands;
mod components;
mod digests;
mod doctor;
mod effects;
mod embed;
mod exports;
mod fair;
mod faults;
mod files;
mod fuzzed;
mod guests;
mod history;
mod hostile;
mod hostile_inputs;
mod inputs;
mod interface;
mod jobs;
mod locks;
mod looks;
mod parts;
mod plugins;
mod policies;
mod ports;
mod registries;
mod replay;
mod reports;
mod repository;
mod resume;
mod secret_store;
mod secrets;
mod semantics;
mod signals;
mod signatures;
mod smith;
mod supply;
mod tools;
mod traces;
mod verdicts;
mod wasi;
mod wholes;

/// The text of this file, to find what it forgets.
const MODULES: &str = include_str!("main.rs");

#[test]
fn no_module_is_forgotten() {
    let dir = lockgate_tests::binary::repository().join("tests/e2e");
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(name == "main" || MODULES.contains(&format!("\nmod {name};\n")), "{} is not compiled", path.display());
    }
}

#[test]
fn every_guest_was_built() {
    let dir = lockgate_tests::binary::repository().join("tests/guests");
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.path().join("Cargo.toml").is_file() {
            lockgate_tests::binary::guest(entry.file_name().to_str().unwrap());
        }
    }
}
