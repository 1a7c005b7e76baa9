//! What is hostile before it runs: components that are none, that lie about themselves, and that are made to be hard to compile.

use std::fmt::Write as _;

use super::Case;
use super::case::Expect::{Fails, Harmless, Refused};
use super::guest::{Guest, component_of};

fn text(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}"))
}

/// A stage with these items in its module.
fn with(item: &str) -> Vec<u8> {
    Guest::stage().item(item).body("(call $ok)").component()
}

/// Appends a section to a component.
fn section(component: &mut Vec<u8>, id: u8, content: &[u8]) {
    component.push(id);
    number(component, content.len() as u64);
    component.extend_from_slice(content);
}

/// LEB128.
fn number(to: &mut Vec<u8>, mut value: u64) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        to.push(if value == 0 { byte } else { byte | 0x80 });
        if value == 0 {
            return;
        }
    }
}

/// The component whose only content is this one, and so on.
fn nested(levels: usize) -> Vec<u8> {
    const HEAD: [u8; 8] = [0, b'a', b's', b'm', 13, 0, 1, 0];
    let mut inner = HEAD.to_vec();
    for _ in 0..levels {
        let mut outer = HEAD.to_vec();
        section(&mut outer, 4, &inner);
        inner = outer;
    }
    inner
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = files();
    cases.extend(manifests());
    cases.extend(imports());
    cases.extend(bombs());
    cases
}

fn files() -> Vec<Case> {
    let refused = |name, tries, message, make: fn() -> Vec<u8>| {
        Case::new(name, tries, "the check of the first bytes", Refused(message), move |_| make())
    };
    vec![
        refused("empty-file", "is an empty file", "it is empty", Vec::new),
        refused("native-program", "is a native program", "it is a native program", || {
            b"\x7fELF\x02\x01\x01\0".to_vec()
        }),
        refused("core-module", "is a core module", "it is a core module", || text("(module)")),
        refused("strange-version", "is of a version that does not exist", "it has the unknown version", || {
            b"\0asm\xff\0\x01\0".to_vec()
        }),
        Case::new(
            "cut-file",
            "is the first half of a component",
            "the validator",
            Refused("compile the component"),
            |_| {
                let whole = with("");
                whole[..whole.len() / 2].to_vec()
            },
        ),
        Case::new(
            "too-large",
            "is a file of 65 MiB",
            "component.size",
            Refused("at most 64 MiB are permitted"),
            |_| {
                let mut bytes = text("(component)");
                section(&mut bytes, 0, &[0; 65 << 20]);
                bytes
            },
        ),
        Case::new(
            "section-of-4-gib",
            "announces a section of 4 GiB",
            "the validator",
            Refused("compile the component"),
            |_| {
                let mut bytes = text("(component)");
                bytes.push(1);
                number(&mut bytes, u64::from(u32::MAX));
                bytes
            },
        ),
        Case::new(
            "count-of-4-billion",
            "announces four billion types",
            "the validator",
            Refused("compile the component"),
            |_| {
                let mut bytes = text("(component)");
                section(&mut bytes, 7, &[0xff, 0xff, 0xff, 0xff, 0x0f]);
                bytes
            },
        ),
    ]
}

fn manifests() -> Vec<Case> {
    const BY: &str = "the rules for manifests";
    fn says(change: fn(&mut super::guest::Says)) -> Vec<u8> {
        Guest::stage().pages(60).body("(call $ok)").says(change).component()
    }
    let case = |name, tries, message, change: fn(&mut super::guest::Says)| {
        Case::new(name, tries, BY, Refused(message), move |_| says(change))
    };
    vec![
        Case::new(
            "manifest-that-changes",
            "says something else each time that it is asked",
            BY,
            Refused("must answer the same each time, and its name differs"),
            |_| {
                let lie = "(global.set $n (i32.add (global.get $n) (i32.const 1)))
                (i32.store offset=4 $manifest (i32.sub (i32.const 5) (global.get $n))) $manifest";
                Guest::stage().body("(call $ok)").item("(global $n (mut i32) (i32.const 0))").describe(lie).component()
            },
        ),
        Case::new(
            "manifest-that-lies",
            "asks for no effect and sends requests",
            "imports count, whatever it says",
            Refused("http"),
            |_| Guest::stage().import(&["send"]).body("(call $ok)").component(),
        ),
        case("manifest-of-2-mb", "has a schema of two megabytes", "answered with too much, more than 1 MiB", |says| {
            says.schema = " ".repeat(2 << 20)
        }),
        case(
            "json-bomb-in-schema",
            "has a schema of a hundred thousand brackets",
            "`config-schema` is no JSON",
            |says| says.schema = "[".repeat(100_000),
        ),
        case("name-with-escapes", "has a name that drives a terminal", "`name`", |says| says.name = "\u{1b}[2Jpwned"),
        case("ports-without-end", "has 101 inputs", "more than 100 ports", |says| {
            says.inputs = vec![("a", "blob", true); 101]
        }),
        case("ports-twice", "has two outputs of one name", "twice", |says| {
            says.outputs = vec![("a", "blob", false), ("a", "tree", true)]
        }),
        case("effects-made-up", "asks for 17 effects", "more than 16", |says| says.effects = vec!["http"; 17]),
        Case::new(
            "name-not-utf-8",
            "has a name that is not UTF-8",
            "the component model's rules",
            Refused("`describe` failed"),
            |_| {
                let spoil = "(i32.store8 (i32.load $manifest) (i32.const 255)) $manifest";
                Guest::stage().body("(call $ok)").describe(spoil).component()
            },
        ),
        Case::new(
            "host-call-in-describe",
            "calls the host when it is asked what it is",
            "imports trap until the call",
            Refused("log"),
            |_| {
                let mut guest = Guest::stage().import(&["log"]).body("(call $ok)");
                let (level, said) = (guest.text("info"), guest.text("hello"));
                guest.describe(&format!("(call $log {level} {said}) $manifest")).component()
            },
        ),
        Case::new(
            "host-call-in-start",
            "calls the host in its start function",
            "imports trap until the call",
            Refused("it called the import `clock` before"),
            |_| {
                let start = "(func $s (drop (call $now-ms))) (start $s)";
                Guest::stage().import(&["now-ms"]).item(start).body("(call $ok)").component()
            },
        ),
        Case::new(
            "schema-of-another-host",
            "has a schema that refers to a server",
            "schemas refer to nothing outside",
            Refused("schema"),
            |_| says(|says| says.schema = r#"{"$ref":"http://127.0.0.1:1/schema.json"}"#.into()),
        ),
        Case::new(
            "schema-of-a-file",
            "has a schema that refers to `/etc/passwd`",
            "schemas refer to nothing outside",
            Refused("schema"),
            |_| says(|says| says.schema = r#"{"$ref":"file:///etc/passwd"}"#.into()),
        ),
        Case::new(
            "schema-that-multiplies",
            "has a schema that doubles with each reference",
            "20,000 sub-schemas",
            Refused("it has more than 20000"),
            |_| {
                Guest::stage()
                    .pages(60)
                    .body("(call $ok)")
                    .says(|says| {
                        let mut defs = String::from(r#""d0":{"type":"string"}"#);
                        for n in 1..40 {
                            let _ = write!(
                                defs,
                                r##","d{n}":{{"allOf":[{{"$ref":"#/$defs/d{0}"}},{{"$ref":"#/$defs/d{0}"}}]}}"##,
                                n - 1
                            );
                        }
                        says.schema = format!(r##"{{"$defs":{{{defs}}},"$ref":"#/$defs/d39"}}"##);
                    })
                    .component()
            },
        ),
        Case::new(
            "regex-bomb-in-schema",
            "has a schema whose pattern takes for ever in other engines",
            "patterns are matched in linear time",
            Refused("does not match"),
            |_| says(|says| says.schema = r#"{"properties":{"x":{"pattern":"^(a+)+$"}}}"#.into()),
        )
        .node("config.x = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\""),
        Case::new(
            "large-regex-in-schema",
            "has a schema with a pattern of a billion repetitions",
            "256 KiB of a pattern",
            Refused("regex"),
            |_| says(|says| says.schema = r#"{"properties":{"x":{"pattern":"((a{1000}){1000}){1000}"}}}"#.into()),
        ),
    ]
}

fn imports() -> Vec<Case> {
    let stage = "export describe: func(); export run: func();";
    let module = |import: &str| {
        format!(r#"(module {import} (memory (export "memory") 1) (func (export "describe")) (func (export "run")))"#)
    };
    let of = move |package: &str, interface: &str, name: &str| {
        let wit = format!(
            "package {package}; interface {interface} {{ {name}: func(); }} world w {{ import {interface}; {stage} }}"
        );
        let (path, version) =
            package.split_once('@').map_or((package, String::new()), |(path, version)| (path, format!("@{version}")));
        component_of(&wit, "w", &module(&format!(r#"(import "{path}/{interface}{version}" "{name}" (func))"#)))
    };
    vec![
        Case::new(
            "import-unknown",
            "imports what nobody offers",
            "the linker",
            Refused("link the import `evil:host/shell`"),
            move |_| of("evil:host", "shell", "exec"),
        ),
        Case::new(
            "import-wasi-files",
            "imports the files of WASI with another type",
            "the linker",
            Refused("get-directories"),
            move |_| of("wasi:filesystem@0.2.0", "preopens", "get-directories"),
        ),
        Case::new(
            "import-wasi-sockets",
            "imports the sockets of WASI",
            "the linker",
            Refused("link the import `wasi:sockets/network@0.2.0`"),
            move |_| of("wasi:sockets@0.2.0", "network", "open"),
        ),
        Case::new(
            "import-newer",
            "imports a newer version of the contract",
            "the linker",
            Refused("link the import `lockgate:plugin/log@0.2.0`"),
            move |_| of("lockgate:plugin@0.2.0", "log", "log"),
        ),
        Case::new(
            "import-another-function",
            "imports a function that an interface of the contract does not have",
            "the linker",
            Refused("shout"),
            move |_| of("lockgate:plugin@0.1.0", "log", "shout"),
        ),
        Case::new(
            "import-modules",
            "imports a core module",
            "the rules for components",
            Refused("it imports modules or components"),
            |_| text(r#"(component (import "m" (core module $m)) (core instance (instantiate $m)))"#),
        ),
        Case::new(
            "ten-thousand-imports",
            "has ten thousand imports",
            "the linker",
            Refused("and 9990 more"),
            move |_| {
                let mut wat = String::from("(component ");
                for n in 0..10_000 {
                    let _ = write!(wat, r#"(import "evil{n}" (func))"#);
                }
                wat += r#"(core module $m (func (export "f")))(core instance $i (instantiate $m))
                (func (export "describe") (canon lift (core func $i "f")))(func (export "run") (canon lift (core func $i "f"))))"#;
                text(&wat)
            },
        ),
        Case::new(
            "two-thousand-interfaces",
            "imports two thousand interfaces",
            "the validator's limits",
            Refused("instances count exceeds limit of 1000"),
            move |_| {
                let mut wat = String::from("(component ");
                for n in 0..2_000 {
                    let _ = write!(wat, r#"(import "evil:i{n}/x" (instance (export "f" (func))))"#);
                }
                text(&(wat + ")"))
            },
        ),
    ]
}

fn bombs() -> Vec<Case> {
    const VALIDATOR: &str = "the validator's limits";
    let invalid = |name, tries, message, make: fn() -> Vec<u8>| {
        Case::new(name, tries, VALIDATOR, Refused(message), move |_| make())
    };
    vec![
        Case::new(
            "a-hundred-thousand-functions",
            "has a hundred thousand functions",
            "nothing: it compiles within the limits",
            Harmless(""),
            |_| with(&"(func)".repeat(100_000)),
        )
        .peak(1 << 30)
        .slow(),
        Case::new(
            "ten-thousand-functions",
            "has ten thousand functions",
            "nothing: it compiles within the limits",
            Harmless(""),
            |_| with(&"(func)".repeat(10_000)),
        ),
        invalid("a-million-types", "has more types than may be", "compile the component", || {
            let mut bytes = text("(component)");
            // A million and one definitions of the type `u8`.
            let mut types = Vec::new();
            number(&mut types, 1_000_001);
            types.extend(std::iter::repeat_n(0x7d, 1_000_001));
            section(&mut bytes, 7, &types);
            bytes
        }),
        invalid("type-that-doubles", "has a type that doubles forty times", "effective type size", || {
            let mut wat = String::from("(component (type $t0 (tuple u8 u8))");
            for n in 1..40 {
                let _ = write!(wat, "(type $t{n} (tuple $t{0} $t{0}))", n - 1);
            }
            text(&(wat + ")"))
        }),
        Case::new(
            "components-in-components",
            "nests components ten thousand deep",
            "component.compile_memory",
            Refused("within 2 GiB of memory"),
            |_| nested(10_000),
        )
        .peak(2_100 << 20),
        invalid("locals-without-end", "has a function of four billion locals", "compile the component", || {
            let mut module = text("(module (func))");
            // The code section is the last: one body with one group of 2^32-1 locals.
            module.truncate(module.len() - 6);
            let body = [0x01, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, 0x0b];
            let mut code = vec![1, body.len() as u8];
            code.extend(body);
            section(&mut module, 10, &code);
            let mut bytes = text("(component)");
            section(&mut bytes, 1, &module);
            bytes
        }),
        invalid("thousand-parameters", "has a function type of 1,001 parameters", "compile the component", || {
            text(&format!("(component (core module (type (func (param{})))))", " i32".repeat(1_001)))
        }),
        Case::new(
            "blocks-in-blocks",
            "nests twenty thousand blocks",
            "nothing: it compiles within the limits",
            Harmless(""),
            |_| {
                let flat = format!("(func {} {})", "block ".repeat(20_000), "end ".repeat(20_000));
                with(&flat)
            },
        ),
        Case::new(
            "wide-switch",
            "jumps to a hundred thousand places",
            "nothing: it compiles within the limits",
            Harmless(""),
            |_| {
                let targets = " 0".repeat(60_000);
                with(&format!("(func (param i32) block block (br_table{targets} 1 (local.get 0)) end end)"))
            },
        ),
        Case::new(
            "long-function",
            "has a function of two hundred thousand operators",
            "nothing: it compiles within the limits",
            Harmless(""),
            |_| {
                let step = "(local.set 0 (i32.rotl (i32.mul (local.get 0) (i32.const 2654435761)) (i32.const 5)))";
                with(&format!("(func (param i32) {})", step.repeat(30_000)))
            },
        ),
        Case::new(
            "nine-hundred-instances",
            "makes 900 instances of a module",
            "128 core instances of a component",
            Refused("describe"),
            |_| {
                let mut bytes = with("");
                let module = text("(module)");
                section(&mut bytes, 1, &module);
                // The instances are of the last module: the others are those that the encoder made.
                let modules = count_modules(&bytes);
                let mut instances = Vec::new();
                number(&mut instances, 900);
                for _ in 0..900 {
                    instances.push(0);
                    number(&mut instances, modules - 1);
                    instances.push(0);
                }
                section(&mut bytes, 2, &instances);
                bytes
            },
        ),
        Case::new(
            "threads",
            "shares a memory between threads",
            "features that are off",
            Refused("threads must be enabled"),
            |_| with("(memory 1 2 shared)"),
        ),
        Case::new("memory-of-64-bits", "has a memory of 64 bits", "features that are off", Refused("memory64"), |_| {
            with("(memory i64 1)")
        }),
        Case::new(
            "name-of-1-mb",
            "imports a name of a megabyte",
            "the validator's limits",
            Refused("compile the component"),
            |_| text(&format!("(component (import \"{}\" (func)))", "x".repeat(1 << 20))),
        ),
        Case::new(
            "traps-by-data",
            "writes its data behind the end of its memory",
            "the trap",
            Refused("out of bounds memory access"),
            |_| with("(data (i32.const 100000000) \"x\")"),
        ),
    ]
    .into_iter()
    .chain([Case::new(
        "unreachable",
        "traps at once",
        "the trap, which ends the node",
        Fails("trap", "unreachable"),
        |_| Guest::stage().body("(unreachable)").component(),
    )])
    .collect()
}

/// Core modules of a component: sections of the kind 1 at its top level.
fn count_modules(component: &[u8]) -> u64 {
    let (mut at, mut modules) = (8, 0);
    while let Some(id) = component.get(at) {
        modules += u64::from(*id == 1);
        at += 1;
        let (mut size, mut shift) = (0_usize, 0);
        while let Some(byte) = component.get(at) {
            at += 1;
            size |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        at += size;
    }
    modules
}
