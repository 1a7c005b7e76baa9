//! Everything that cannot be loaded, with its message; the cache; the manifest.

use std::sync::atomic::Ordering;

use lockgate_host::{HostOptions, LoadError, Meaning, NoCache};
use lockgate_model::limits::ComponentLimits;
use lockgate_model::manifest::World;
use lockgate_model::units::{Bytes, Millis};

use crate::guest::{Guest, component_of};
use crate::world::{Cache, Lab, task};

/// Loads bytes that cannot be, and holds the message against a part of it.
#[track_caller]
fn refused(lab: &Lab, bytes: &[u8], part: &str) -> LoadError {
    let error = lab.host.load(bytes, &NoCache).expect_err(part);
    assert!(error.to_string().contains(part), "{error}");
    error
}

#[test]
fn what_is_no_component() {
    let lab = Lab::new();
    refused(&lab, b"", "it is empty");
    refused(&lab, b"hello", "it looks like text");
    refused(&lab, b"(component)", "WebAssembly text");
    refused(&lab, b"\x7fELF\x02\x01", "native program");
    refused(&lab, b"\x1f\x8b\x08", "gzip");
    refused(&lab, b"\xff\xfe\x00\x01", "does not begin with `\\0asm`");
    refused(&lab, b"\0asm", "ends within its first 8 bytes");
    refused(&lab, b"\0asm\x09\0\0\0", "unknown version");
    let core = wat::parse_str("(module)").unwrap();
    assert!(matches!(refused(&lab, &core, "it is a core module, and neither a program"), LoadError::CoreModule));
    let whole = Guest::stage().body("(call $ok)").component();
    for cut in [8, 20, whole.len() / 2, whole.len() - 1] {
        assert!(lab.host.load(&whole[..cut], &NoCache).is_err(), "{cut} of {} bytes", whole.len());
    }
    let mut garbage = whole.clone();
    garbage[whole.len() / 2..].fill(0xff);
    assert!(matches!(refused(&lab, &garbage, "compile the component"), LoadError::Invalid { .. }));
}

#[test]
fn what_is_too_large_or_slow_to_compile() {
    let small = |limits| Lab::with(HostOptions { slots: 1, limits, ..HostOptions::default() });
    let lab = small(ComponentLimits { size: Bytes(100), ..ComponentLimits::default() });
    refused(&lab, &[0; 101], "load a component of 101 B: at most 100 B are permitted");
    let lab = small(ComponentLimits { compile_time: Millis(0), ..ComponentLimits::default() });
    refused(&lab, &Guest::stage().body("(call $ok)").component(), "compile the component within 0 ms");
}

#[test]
fn another_world() {
    let lab = Lab::new();
    let wit = "package a:b; world w { export hello: func(); }";
    let hello = component_of(wit, "w", r#"(module (func (export "hello")))"#);
    refused(&lab, &hello, "it exports `hello`; it lacks `describe: func() -> manifest` and one of `run: func(");
    let empty = component_of("package a:b; world w {}", "w", "(module)");
    refused(&lab, &empty, "it exports nothing");
    let wit = "package a:b; world w { export describe: func(); export run: func(); }";
    let wrong = component_of(wit, "w", r#"(module (func (export "describe")) (func (export "run")))"#);
    assert!(matches!(refused(&lab, &wrong, "use the export `run`"), LoadError::Export { .. }));
}

#[test]
fn imports_that_do_not_exist() {
    let lab = Lab::new();
    let with = |wit: &str, module: &str| component_of(&format!("package x:y; {wit}"), "w", module);
    let strange = with("interface i { f: func(); } world w { import i; }", r#"(module (import "x:y/i" "f" (func)))"#);
    let error = refused(&lab, &strange, "export");
    assert!(matches!(error, LoadError::World { .. }), "without a world that is said first: {error}");

    let describe = r#"(memory (export "memory") 1) (func (export "describe")) (func (export "run"))"#;
    let exports = "export describe: func(); export run: func();";
    let strange = with(
        &format!("interface i {{ f: func(); }} world w {{ import i; {exports} }}"),
        &format!(r#"(module (import "x:y/i" "f" (func)) {describe})"#),
    );
    let error = refused(
        &lab,
        &strange,
        "link the import `x:y/i`: Lockgate 0.1.0 offers log, environment, artifacts, http, clock",
    );
    assert!(matches!(error, LoadError::UnknownImport { .. }));

    let newer = "package lockgate:plugin@0.2.0; interface log { log: func(level: string); }";
    let newer = component_of(
        &format!("{newer} world w {{ import log; {exports} }}"),
        "w",
        &format!(r#"(module (import "lockgate:plugin/log@0.2.0" "log" (func (param i32 i32))) {describe})"#),
    );
    refused(&lab, &newer, "`lockgate:plugin/log@0.2.0`");

    let wasi = "package wasi:cli@0.2.0; interface environment { f: func(); }";
    let wasi = component_of(
        &format!("{wasi} world w {{ import environment; {exports} }}"),
        "w",
        &format!(r#"(module (import "wasi:cli/environment@0.2.0" "f" (func)) {describe})"#),
    );
    assert!(matches!(refused(&lab, &wasi, "wasi:cli/environment@0.2.0"), LoadError::ImportType { .. }));

    let sockets = "package wasi:sockets@0.2.0; interface tcp { f: func(); }";
    let sockets = component_of(
        &format!("{sockets} world w {{ import tcp; {exports} }}"),
        "w",
        &format!(r#"(module (import "wasi:sockets/tcp@0.2.0" "f" (func)) {describe})"#),
    );
    refused(&lab, &sockets, "link the import `wasi:sockets/tcp@0.2.0`");

    let other = "package lockgate:plugin@0.1.0; interface log { shout: func(); }";
    let other = component_of(
        &format!("{other} world w {{ import log; {exports} }}"),
        "w",
        &format!(r#"(module (import "lockgate:plugin/log@0.1.0" "shout" (func)) {describe})"#),
    );
    assert!(matches!(refused(&lab, &other, "shout"), LoadError::ImportType { .. }));
}

/// The whole message and the hint for each way in which a component does not fit, as an author reads them.
#[test]
fn components_that_do_not_fit_are_told_what_they_should_be() {
    const CODE: &str = r#"(memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (unreachable))"#;
    let lab = Lab::new();
    let text = |component: &[u8]| {
        let error = lab.host.load(component, &NoCache).unwrap_err();
        let hint = error.hint().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        format!("failed to {error}{hint}\n")
    };
    let world = |items: &str, code: &str| {
        let wit = format!("package a:b; world w {{ {items} }}");
        text(&component_of(&wit, "w", &format!("(module {CODE} {code})")))
    };
    let import = |interface: &str, function: &str| {
        let wit = format!(
            "package lockgate:plugin@0.1.0; {interface} world w {{ import log; export describe: func(); export run: func(); }}"
        );
        let code = format!("{function} {CODE} (func (export \"describe\")) (func (export \"run\"))");
        text(&component_of(&wit, "w", &format!("(module {code})")))
    };
    let describe = r#"(func (export "describe"))"#;
    let all = [
        ("another world", world("export hello: func();", r#"(func (export "hello"))"#)),
        ("no work", world("export describe: func();", describe)),
        ("no describe", world("export check: func();", r#"(func (export "check"))"#)),
        (
            "two worlds",
            world(
                "export describe: func(); export run: func(); export check: func();",
                &format!(r#"{describe} (func (export "run")) (func (export "check"))"#),
            ),
        ),
        (
            "no function",
            world("export describe: func(); export run: func();", &format!(r#"{describe} (func (export "run"))"#)),
        ),
        (
            "another parameter",
            world(
                "record failure { message: string } record finding { severity: string, message: u32 } \
                 export describe: func(); export run: func(config: u32) -> result<list<finding>, failure>;",
                &format!(r#"{describe} (func (export "run") (param i32) (result i32) (unreachable))"#),
            ),
        ),
        (
            "another field",
            world(
                "record failure { message: string } record finding { severity: string, message: u32 } \
                 export describe: func(); export run: func(config: string) -> result<list<finding>, failure>;",
                &format!(r#"{describe} (func (export "run") (param i32 i32) (result i32) (unreachable))"#),
            ),
        ),
        (
            "an import without such a function",
            import("interface log { shout: func(); }", r#"(import "lockgate:plugin/log@0.1.0" "shout" (func))"#),
        ),
        (
            "an import of another type",
            import(
                "interface log { log: func(level: u32, message: string); }",
                r#"(import "lockgate:plugin/log@0.1.0" "log" (func (param i32 i32 i32)))"#,
            ),
        ),
        ("a core module", text(&wat::parse_str("(module)").unwrap())),
    ];
    let found: String = all.iter().map(|(name, text)| format!("# {name}\n{text}\n")).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/host/misfits.txt");
    if std::env::var_os("LOCKGATE_UPDATE").is_some() {
        std::fs::write(path, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(path).unwrap_or_default(), "LOCKGATE_UPDATE=1 writes {path}");
}

#[test]
fn proposals_that_are_off() {
    let lab = Lab::new();
    for item in [
        "(memory 1 2 shared)",
        "(memory i64 1)",
        "(func (result v128) (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0)))",
        "(tag $t) (func (throw $t))",
        "(type (struct))",
    ] {
        let component = component_of("package a:b; world w {}", "w", &format!("(module {item})"));
        assert!(matches!(refused(&lab, &component, "compile the component"), LoadError::Invalid { .. }), "{item}");
    }
}

#[test]
fn too_many_memories_and_tables() {
    let lab = Lab::new();
    let many = |item: &str, count| Guest::stage().body("(call $ok)").item(&item.repeat(count)).component();
    refused(&lab, &many("(memory 1)", 8), "9 memories: at most 8");
    refused(&lab, &many("(table 1 funcref)", 33), "tables: at most 32");
    assert!(lab.host.load(&many("(memory 1)", 7), &NoCache).is_ok());
}

#[test]
fn describe_that_does_not_answer() {
    let lab = Lab::new();
    let describe = |body: &str| Guest::stage().body("(call $ok)").describe(body);
    let looping = "(loop $l (br $l)) (unreachable)";
    refused(&lab, &describe(looping).component(), "`describe` spent its budget of fuel");
    refused(&lab, &describe("(unreachable)").component(), "`describe` trapped: wasm `unreachable`");
    let start = Guest::stage().body("(call $ok)").item(&format!("(func $s {looping}) (start $s)"));
    refused(&lab, &start.component(), "spent its budget of fuel");
    let growing = "(loop $l (drop (memory.grow (i32.const 16))) (br $l)) (unreachable)";
    refused(&lab, &describe(growing).component(), "was stopped: it needs more than 64 MiB of memory");
    refused(&lab, &describe("(i32.const -8)").component(), "`describe` failed");
    let mut calling = Guest::stage().import(&["log"]).body("(call $ok)");
    let (level, text) = (calling.text("info"), calling.text("hello"));
    let calling = calling.describe(&format!("(call $log {level} {text}) $manifest"));
    refused(&lab, &calling.component(), "log");
    let starting = Guest::stage().import(&["sleep-ms"]).body("(call $ok)");
    let starting = starting.item("(func $s (call $sleep-ms (i32.const 1))) (start $s)");
    refused(&lab, &starting.component(), "it called the import `clock` before");
}

#[test]
fn describe_that_lies() {
    let lab = Lab::new();
    // The first word of a manifest is its name's address: the second time it is shorter by one character.
    let lie = "(global.set $n (i32.add (global.get $n) (i32.const 1)))
        (i32.store offset=4 $manifest (i32.sub (i32.const 5) (global.get $n))) $manifest";
    let guest = Guest::stage().body("(call $ok)").item("(global $n (mut i32) (i32.const 0))").describe(lie);
    refused(&lab, &guest.component(), "must answer the same each time, and its name differs");
}

#[test]
fn manifests_that_break_a_rule() {
    let lab = Lab::new();
    let guest = |change: fn(&mut crate::guest::Says)| Guest::stage().body("(call $ok)").says(change).component();
    refused(&lab, &guest(|says| says.schema = "{garbage".into()), "`config-schema` is no JSON");
    refused(&lab, &guest(|says| says.name = "no name"), "accept the plugin's manifest: `name`");
    refused(&lab, &guest(|says| says.outputs = vec![("a", "blob", false), ("a", "blob", true)]), "twice");
    let large = Guest::stage().pages(40).body("(call $ok)").says(|says| says.schema = " ".repeat(2 << 20));
    refused(&lab, &large.component(), "`describe` answered with too much, more than 1 MiB");
}

#[test]
fn a_plugin_knows_what_it_is() {
    let lab = Lab::new();
    let guest = Guest::new(World::HealthCheck).import(&["send", "log", "now-ms"]).body("(unreachable)");
    let guest = guest.says(|says| {
        says.inputs = vec![("in", "tree", true)];
        says.open_outputs = Some("any");
        says.effects = vec!["clock"];
    });
    let bytes = guest.component();
    let inspection = lab.host.inspect(&bytes).unwrap();
    assert_eq!(inspection.digest, lockgate_model::Digest::of(&bytes));
    assert_eq!(inspection.size, Bytes(bytes.len() as u64));
    let needs: Vec<_> = inspection.imports.iter().map(|import| (import.interface(), import.needs)).collect();
    assert_eq!(needs, [("clock", Meaning::Clock), ("http", Meaning::Grant), ("log", Meaning::Harmless)]);
    assert!(inspection.imports[1].meaning.contains("grants.http"));
    let manifest = inspection.manifest;
    assert_eq!((manifest.world, &*manifest.name, &*manifest.version), (World::HealthCheck, "test", "1.2.3"));
    assert_eq!(manifest.effects, ["clock", "http"]);
    assert!(manifest.reads_time && manifest.inputs.named[0].optional && manifest.outputs.open.is_some());
}

#[tokio::test]
async fn the_cache_spares_compiling_and_describing() {
    let lab = Lab::new();
    let cache = Cache::default();
    let bytes = Guest::stage().body("(call $ok)").component();
    let first = lab.host.load(&bytes, &cache).unwrap();
    assert_eq!(cache.hits.load(Ordering::Relaxed), 0);
    let keys: Vec<_> =
        cache.entries.lock().unwrap().keys().map(|key| key.split('-').next().unwrap().to_owned()).collect();
    assert_eq!(keys.len(), 2);
    assert!(cache.entries.lock().unwrap().keys().all(|key| key.len() <= 80));

    // No time at all to compile in: only the cache can serve this host.
    let limits = ComponentLimits { compile_time: Millis(0), ..ComponentLimits::default() };
    let other = Lab::with(HostOptions { slots: 1, limits, ..HostOptions::default() });
    let second = other.host.load(&bytes, &cache).unwrap();
    assert_eq!(cache.hits.load(Ordering::Relaxed), 2);
    assert_eq!(first.manifest(), second.manifest());
    assert_eq!(other.call(&second, task(&second)).await.fuel, lab.call(&first, task(&first)).await.fuel);

    // Lost or cut entries cost time only.
    for entry in cache.entries.lock().unwrap().values_mut() {
        entry.truncate(10);
    }
    let third = lab.host.load(&bytes, &cache).unwrap();
    assert_eq!(third.manifest(), first.manifest());
}

#[tokio::test]
async fn a_plugin_that_is_not_called_is_not_loaded() {
    let lab = Lab::new();
    let cache = std::sync::Arc::new(Cache::default());
    let bytes = Guest::stage().body("(call $ok)").component();
    let lazily = |lab: &Lab| lab.host.load_lazily(bytes.clone().into(), cache.clone()).unwrap();
    // Nothing is known of it: it is compiled and asked.
    let first = lazily(&lab);
    assert!(first.is_loaded());
    // No time at all to compile in, and no code but the cache's.
    let limits = ComponentLimits { compile_time: Millis(0), ..ComponentLimits::default() };
    let other = Lab::with(HostOptions { slots: 1, limits, ..HostOptions::default() });
    let second = lazily(&other);
    assert!(!second.is_loaded());
    assert_eq!((second.manifest(), second.imports()), (first.manifest(), first.imports()));
    assert_eq!(cache.hits.load(Ordering::Relaxed), 1, "only the manifest was read");
    let fuel = lab.call(&first, task(&first)).await.fuel;
    assert_eq!(other.call(&second, task(&second)).await.fuel, fuel);
    assert!(second.is_loaded());
    // Where the code is lost, it is compiled with the first call; where that fails, the node says so.
    cache.entries.lock().unwrap().retain(|key, _| key.starts_with("manifest"));
    let third = lazily(&other);
    let failure = other.call(&third, task(&third)).await.failure.unwrap();
    assert!(failure.kind.is_infrastructure() && failure.message.contains("compile the component"), "{failure:?}");
    let fourth = lazily(&lab);
    assert_eq!(lab.call(&fourth, task(&fourth)).await.fuel, fuel);
}
