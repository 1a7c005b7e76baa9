//! What reads bytes that somebody else wrote, as functions of bytes: they may refuse them, and must neither panic nor hang nor take
//! memory without bound. `tests/e2e/fuzzed.rs` calls them with seeds and altered seeds in each test run; `tests/fuzz/cargo-fuzz` is
//! the crate that has libFuzzer call them, where a nightly toolchain is: `cd tests/fuzz/cargo-fuzz && cargo +nightly fuzz run pipeline`.
//!
//! To add one: a function here, a line in [`TARGETS`], seeds below `tests/fuzz/seeds`, and a file in `cargo-fuzz/fuzz_targets`.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use lockgate::wiring::executor::StoreArtifacts;
use lockgate_host::{Effects, EffectsError, Host, HostOptions, NoCache, NoEffects, Plugin};
use lockgate_model::effect::Begun;
use lockgate_model::event::Event;
use lockgate_model::grant::HttpGrant;
use lockgate_model::limits::ComponentLimits;
use lockgate_model::observation::Observation;
use lockgate_model::oci::OciName;
use lockgate_model::units::Millis;
use lockgate_model::{Digest, effect};
use lockgate_registry::{Registries, Registry, Which};
use lockgate_runner::NoObserver;
use lockgate_store::{BundleLimits, Store};
use lockgate_syntax::Inputs;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::embedded;
use crate::handmade::Handmade;
use crate::{binary, hostile};

/// A function of bytes, with what its seeds are.
pub struct Target {
    /// Its name: also that of the folder of its seeds, and of its file in the cargo-fuzz crate.
    pub name: &'static str,
    /// Reads the bytes.
    pub read: fn(&[u8]),
    /// Seeds that are made, because they are no text.
    pub made: fn() -> Vec<Vec<u8>>,
    /// How many altered seeds a test run tries.
    pub cases: u32,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "pipeline", read: pipeline, made: Vec::new, cases: 2_000 },
    Target { name: "policy", read: policy, made: Vec::new, cases: 500 },
    Target { name: "lock", read: lock, made: Vec::new, cases: 1_000 },
    Target { name: "case", read: case, made: Vec::new, cases: 1_000 },
    Target { name: "registries", read: registries, made: Vec::new, cases: 500 },
    Target { name: "registry", read: registry, made: Vec::new, cases: 150 },
    Target { name: "envelope", read: envelope, made: envelopes, cases: 500 },
    Target { name: "component", read: component, made: components, cases: 300 },
    Target { name: "bundle", read: bundle, made: bundles, cases: 200 },
    Target { name: "http", read: http, made: Vec::new, cases: 150 },
    Target { name: "effects", read: effects, made: Vec::new, cases: 1_000 },
    Target { name: "journal", read: journal, made: journals, cases: 100 },
];

/// A pipeline file.
pub fn pipeline(bytes: &[u8]) {
    let (params, env, git) = (std::collections::BTreeMap::new(), |_: &str| None, || Err("no git".to_owned()));
    let parsed = lockgate_syntax::parse_bytes("fuzz.toml", bytes, &Inputs { params: &params, env: &env, git: &git });
    assert!(parsed.pipeline.is_some() || !parsed.problems.is_empty(), "a file is right, or something is wrong with it");
}

/// A policy file, whose own tests are run if it is right.
pub fn policy(bytes: &[u8]) {
    let parsed = lockgate_syntax::policy::parse_policy("lockgate-policy.toml", bytes);
    assert!(parsed.policy.is_some() || !parsed.problems.is_empty(), "a policy is right, or something is wrong with it");
    if let Some(policy) = parsed.policy {
        for test in policy.tests.iter().take(10) {
            let _ = policy.run(test);
        }
    }
}

/// A lock file: what is read is printed as a text that reads the same.
pub fn lock(bytes: &[u8]) {
    let Ok(lock) = lockgate_syntax::lock::parse("lockgate.lock", bytes) else { return };
    let text = lockgate_syntax::lock::print(&lock);
    let again = lockgate_syntax::lock::parse("lockgate.lock", text.as_bytes()).expect("what was printed can be read");
    assert_eq!(lockgate_syntax::lock::print(&again), text);
}

/// A case of a plugin.
pub fn case(bytes: &[u8]) {
    let parsed = lockgate_syntax::case::parse_case("case.toml", bytes);
    assert!(parsed.case.is_some() || !parsed.problems.is_empty(), "a case is right, or something is wrong with it");
}

/// What is known of registries: read, and asked for a component without a network.
pub fn registries(bytes: &[u8]) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("write a file");
    if let Ok(known) = Registries::read(file.path(), true) {
        let name: OciName = "ghcr.io/acme/scan".parse().expect("a name");
        Registry::new(known, true).look(&name, &Which::Tag("1.0.0".to_owned())).expect_err("no registry may be asked");
    }
}

/// A document of a registry, which answers everything with it: a list of tags, a manifest, an index, a blob.
pub fn registry(bytes: &[u8]) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind a loopback port");
    let address = listener.local_addr().expect("a bound address");
    let over = AtomicBool::new(false);
    let (name, digest) = (format!("{address}/acme/scan").parse::<OciName>().expect("a name"), Digest::of(b"scan"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for mut stream in listener.incoming().flatten().take_while(|_| !over.load(Ordering::SeqCst)) {
                let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", bytes.len());
                // Requests that only read fit into one packet.
                let _ = stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(&[head.as_bytes(), bytes].concat()));
            }
        });
        let registry = Registry::new(Registries::default(), false);
        let _ = registry.resolve(&name, &"1".parse().expect("a range"));
        let _ = registry.look(&name, &Which::Tag("1.0.0".to_owned()));
        assert!(registry.look(&name, &Which::Manifest(digest)).is_err(), "its digest is another");
        let _ = registry.signatures(&name, digest, 1 << 20);
        let blob = registry.component(&name, digest, 1 << 20);
        assert!(blob.is_err() || bytes == b"scan", "a component of another digest");
        over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(address);
    });
}

/// A file of signatures: nothing that was altered counts as signed.
pub fn envelope(bytes: &[u8]) {
    let key = signing_key().public().expect("a public key");
    for envelope in lockgate_trust::dsse::read(bytes).unwrap_or_default() {
        let _ = lockgate_trust::Statement::of(&envelope);
        let _ = lockgate_trust::head::SignedHead::of(&envelope);
        assert!(!envelope.is_signed_by(&key) || envelope.payload() == PAYLOAD, "another payload counts as signed");
    }
}

/// What the seed of [`envelope`] signs.
const PAYLOAD: &[u8] = b"{\"_type\":\"https://in-toto.io/Statement/v1\",\"subject\":[]}";

fn signing_key() -> lockgate_trust::SecretKey {
    lockgate_trust::SecretKey::from_seed(&[7; 32])
}

fn envelopes() -> Vec<Vec<u8>> {
    let mut envelope = lockgate_trust::Envelope::new("application/vnd.in-toto+json", PAYLOAD.to_vec());
    envelope.sign(&signing_key()).expect("sign");
    vec![lockgate_trust::dsse::write(&[envelope]).into_bytes()]
}

fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let limits = ComponentLimits { compile_time: Millis(30_000), ..ComponentLimits::default() };
        Host::new(HostOptions { slots: 2, limits, pooling: false, ..HostOptions::default() })
            .expect("set up the engine")
    })
}

/// A component: loaded, compiled, asked what it is, and, if it is a stage, run.
pub fn component(bytes: &[u8]) {
    let Ok(plugin) = host().load(bytes, &NoCache) else { return };
    if plugin.world() == lockgate_model::manifest::World::Stage && plugin.imports().is_empty() {
        let mut task = embedded::task(&plugin);
        task.limits.fuel.0 = 1_000_000;
        let (_dir, store) = store();
        runtime().block_on(host().call(&plugin, task, Arc::new(StoreArtifacts(store)), Arc::new(NoEffects::default())));
    }
}

/// A bundle, taken into an empty state directory.
pub fn bundle(bytes: &[u8]) {
    let (_dir, store) = store();
    let limits = BundleLimits { bytes: 16 << 20, entries: 1_000, records: 1 << 20 };
    if let Ok(run) = store.read_bundle(bytes, limits) {
        store.records(&run).expect("what was taken in can be read");
        store.verify().expect("what was taken in is whole");
    }
}

/// The bytes that a server answers a request with.
pub fn http(bytes: &[u8]) {
    static SENDER: OnceLock<(TcpListener, Arc<Plugin>)> = OnceLock::new();
    let (listener, plugin) = SENDER.get_or_init(|| {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind a loopback port");
        let address = listener.local_addr().expect("a bound address");
        (listener, embedded::load(host(), &hostile::sender(&format!("http://{address}/"))))
    });
    let address = listener.local_addr().expect("a bound address");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let _ = stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(bytes));
            let _ = stream.shutdown(Shutdown::Write);
            // Until the other side has what it wants.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        });
        let mut task = embedded::task(plugin);
        task.grants.http = vec![HttpGrant::parse(&format!("GET http://{address}/")).expect("a grant")];
        let (_dir, store) = store();
        runtime().block_on(host().call(plugin, task, Arc::new(StoreArtifacts(store)), Arc::new(NoEffects::default())));
    });
}

/// Recorded effects, events and observations; the first effect of a record is also answered to a guest.
pub fn effects(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Event>(bytes);
    let _ = Observation::from_json(bytes);
    let text = String::from_utf8_lossy(bytes);
    let records = effect::decode(&text);
    let answer = match &records {
        Ok(records) => records.first().map(|record| record.answer.clone()),
        Err(_) => serde_json::from_slice(bytes).ok(),
    };
    if let Ok(records) = records {
        let encoded = effect::encode(&records);
        assert_eq!(effect::decode(&encoded).expect("what was written can be read"), records);
    }
    let Some(answer) = answer else { return };
    static SENDER: OnceLock<Arc<Plugin>> = OnceLock::new();
    let plugin = SENDER.get_or_init(|| embedded::load(host(), &hostile::sender("http://recorded.test/")));
    let mut task = embedded::task(plugin);
    task.grants.http = vec![HttpGrant::parse("GET http://recorded.test/").expect("a grant")];
    let (_dir, store) = store();
    runtime().block_on(host().call(plugin, task, Arc::new(StoreArtifacts(store)), Arc::new(Answers(answer))));
}

/// Answers each effect from a record.
struct Answers(Value);

#[async_trait]
impl Effects for Answers {
    async fn intent(&self, _: u64, _: &str, _: Digest, _: &str) -> Result<Begun, EffectsError> {
        Ok(Begun::Answered(self.0.clone()))
    }

    async fn outcome(&self, _: u64, _: &Value) -> Result<(), EffectsError> {
        Err(EffectsError::Record("nothing is issued".to_owned()))
    }
}

/// The file that holds the journal.
pub fn journal(bytes: &[u8]) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join(JOURNAL), bytes).expect("write a file");
    for store in [Store::open_to_read(dir.path()), Store::open(dir.path())].into_iter().flatten() {
        let _ = store.verify();
        for run in store.runs(100).unwrap_or_default() {
            let _ = store.records(&run.id);
        }
    }
}

/// Name of the journal's file in a state directory.
const JOURNAL: &str = "state.db";

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    })
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(&dir.path().join("state")).expect("an empty state directory");
    (dir, store)
}

/// The texts below `tests/fuzz/seeds` for a target, and what is made for it.
///
/// # Panics
/// If they cannot be read.
pub fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let dir = binary::repository().join("tests/fuzz/seeds").join(target.name);
    let mut paths: Vec<_> =
        std::fs::read_dir(dir).map(|all| all.flatten().map(|entry| entry.path()).collect()).unwrap_or_default();
    paths.sort();
    let texts = paths.iter().map(|path| {
        let text = std::fs::read(path).expect("read a seed");
        match path.extension().is_some_and(|extension| extension == "wat") {
            true => wat::parse_bytes(&text).expect("WebAssembly text").into_owned(),
            false => text,
        }
    });
    texts.chain((target.made)()).collect()
}

fn components() -> Vec<Vec<u8>> {
    vec![Handmade::stage().build(), Handmade::stage().run("(drop (call $deeper (i32.const 0)))").build()]
}

/// A state directory with a run in it.
fn run() -> (tempfile::TempDir, Store) {
    let (dir, store) = store();
    let plugin = embedded::load(host(), &Handmade::stage().build());
    let pipeline =
        "schema = 1\nname = \"seed\"\n[[stage]]\nid = \"a\"\nplugin = \"it\"\n[plugins]\nit = { path = \"it.wasm\" }\n";
    // Bundles hold the component.
    store.put_blob(&Handmade::stage().build()).expect("store a blob");
    let host = embedded::host(1, 1);
    runtime().block_on(embedded::drive(host, plugin, store.clone(), pipeline, 1, Arc::new(NoObserver)));
    (dir, store)
}

fn bundles() -> Vec<Vec<u8>> {
    let (_dir, store) = run();
    let run = store.runs(1).expect("read the journal").remove(0).id;
    let mut bytes = Vec::new();
    store.write_bundle(&run, &mut bytes).expect("write a bundle");
    vec![bytes]
}

fn journals() -> Vec<Vec<u8>> {
    let (dir, store) = run();
    // The last connection that closes brings everything into the one file.
    drop(store);
    vec![std::fs::read(dir.path().join("state").join(JOURNAL)).expect("read the journal")]
}
