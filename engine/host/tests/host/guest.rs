//! Components for tests: core modules in WAT, made components with the real contract by `wit-component`.
//!
//! A guest's memory holds an image (strings, the manifest, results) from 1024 on, a scratch area for answers at [`RET`], and a
//! heap for what the host hands in.

use std::fmt::Write as _;

use lockgate_model::manifest::World;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Where host functions write their answers.
pub const RET: u32 = 512;
const IMAGE: u32 = 1024;

/// Core signatures of the contract's functions: interface, name, parameters and results.
const FUNCTIONS: &[(&str, &str, &str)] = &[
    ("log", "log", "(param i32 i32 i32 i32)"),
    ("environment", "variables", "(param i32)"),
    ("clock", "now-ms", "(result i64)"),
    ("clock", "sleep-ms", "(param i32)"),
    ("secrets", "placeholder", "(param i32 i32 i32)"),
    ("http", "send", "(param i32 i32)"),
    ("http", "send-all", "(param i32 i32 i32 i32)"),
    ("artifacts", "inputs", "(param i32)"),
    ("artifacts", "open-blob", "(param i32 i32 i32)"),
    ("artifacts", "open-tree", "(param i32 i32 i32)"),
    ("artifacts", "create-blob", "(param i32 i32 i32)"),
    ("artifacts", "create-tree", "(param i32 i32 i32)"),
    ("artifacts", "forward", "(param i32 i32 i32 i32 i32)"),
    ("artifacts", "[method]reader.read", "(param i32 i32 i32)"),
    ("artifacts", "[method]reader.size", "(param i32) (result i64)"),
    ("artifacts", "[method]writer.write", "(param i32 i32 i32 i32)"),
    ("artifacts", "[method]writer.finish", "(param i32 i32)"),
    ("artifacts", "[method]tree.entries", "(param i32 i64 i32 i32)"),
    ("artifacts", "[method]tree.lookup", "(param i32 i32 i32 i32)"),
    ("artifacts", "[method]tree.open", "(param i32 i32 i32 i32)"),
    ("artifacts", "[method]tree-builder.file", "(param i32 i32 i32 i32 i32)"),
    ("artifacts", "[method]tree-builder.copy", "(param i32 i32 i32 i32 i32 i32 i32 i32)"),
    ("artifacts", "[method]tree-builder.symlink", "(param i32 i32 i32 i32 i32 i32)"),
    ("artifacts", "[method]tree-builder.directory", "(param i32 i32 i32 i32)"),
    ("artifacts", "[method]tree-builder.finish", "(param i32 i32)"),
    ("artifacts", "[resource-drop]reader", "(param i32)"),
    ("artifacts", "[resource-drop]writer", "(param i32)"),
    ("artifacts", "[resource-drop]tree-builder", "(param i32)"),
];

/// A manifest as the guest answers it.
#[derive(Clone)]
pub struct Says {
    pub name: &'static str,
    pub version: &'static str,
    pub schema: String,
    /// Name, kind, whether it may be missing.
    pub inputs: Vec<(&'static str, &'static str, bool)>,
    pub outputs: Vec<(&'static str, &'static str, bool)>,
    pub open_inputs: Option<&'static str>,
    pub open_outputs: Option<&'static str>,
    pub effects: Vec<&'static str>,
}

impl Default for Says {
    fn default() -> Self {
        Self {
            name: "test",
            version: "1.2.3",
            schema: "{}".into(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            open_inputs: None,
            open_outputs: None,
            effects: Vec::new(),
        }
    }
}

/// A guest under construction.
#[derive(Clone)]
pub struct Guest {
    world: World,
    image: Vec<u8>,
    imports: Vec<&'static str>,
    /// Everything else of the module.
    pub items: String,
    body: String,
    pub says: Says,
    describe: Option<String>,
    memory: u32,
}

impl Guest {
    pub fn new(world: World) -> Self {
        let mut guest = Self {
            world,
            image: Vec::new(),
            imports: Vec::new(),
            items: String::new(),
            body: String::new(),
            says: Says::default(),
            describe: None,
            memory: 2,
        };
        // The result that `$ok` answers: no findings. Its address is IMAGE.
        guest.words(&[0, 0, 0, 0, 0]);
        guest
    }

    pub fn stage() -> Self {
        Self::new(World::Stage)
    }

    /// Imports functions by name: `$log`, `$reader.read`, `$drop-writer`.
    pub fn import(mut self, names: &[&'static str]) -> Self {
        self.imports.extend(names);
        self
    }

    /// The body of `run`, `check` or `evaluate`: leaves the address of the result. `$ret` is a local, `$a`, `$b`, `$i` too.
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    /// The body of `describe` instead of one that answers `says`. `$manifest` in it is its address.
    pub fn describe(mut self, body: &str) -> Self {
        self.describe = Some(body.into());
        self
    }

    /// More items of the module.
    pub fn item(mut self, item: &str) -> Self {
        self.items += item;
        self
    }

    pub fn says(mut self, change: impl FnOnce(&mut Says)) -> Self {
        change(&mut self.says);
        self
    }

    /// Initial pages of memory.
    pub fn pages(mut self, pages: u32) -> Self {
        self.memory = pages;
        self
    }

    fn put(&mut self, bytes: &[u8]) -> u32 {
        while !self.image.len().is_multiple_of(8) {
            self.image.push(0);
        }
        let at = IMAGE + u32::try_from(self.image.len()).unwrap();
        self.image.extend_from_slice(bytes);
        at
    }

    /// Puts words into the image; gives their address.
    pub fn words(&mut self, words: &[u32]) -> u32 {
        let bytes: Vec<_> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.put(&bytes)
    }

    /// Puts bytes into the image; gives address and length.
    pub fn bytes(&mut self, bytes: &[u8]) -> [u32; 2] {
        [self.put(bytes), u32::try_from(bytes.len()).unwrap()]
    }

    /// Puts a text into the image; gives its address and length as two constants.
    pub fn text(&mut self, text: &str) -> String {
        let [at, len] = self.bytes(text.as_bytes());
        format!("(i32.const {at}) (i32.const {len})")
    }

    fn ports(&mut self, ports: &[(&str, &str, bool)], open: Option<&str>) -> [u32; 5] {
        let mut words = Vec::new();
        for (name, kind, optional) in ports {
            let name = self.bytes(name.as_bytes());
            let kind = self.bytes(kind.as_bytes());
            words.extend([name[0], name[1], kind[0], kind[1], u32::from(*optional), 0, 0]);
        }
        let at = self.words(&words);
        let open = open.map(|open| self.bytes(open.as_bytes()));
        let [text, len] = open.unwrap_or_default();
        [at, u32::try_from(ports.len()).unwrap(), u32::from(open.is_some()), text, len]
    }

    fn manifest(&mut self) -> u32 {
        let says = self.says.clone();
        let mut words = Vec::new();
        for text in [says.name, says.version, "a guest of a test", &says.schema] {
            words.extend(self.bytes(text.as_bytes()));
        }
        words.extend(self.ports(&says.inputs, says.open_inputs));
        words.extend(self.ports(&says.outputs, says.open_outputs));
        let effects: Vec<_> = says.effects.iter().flat_map(|effect| self.bytes(effect.as_bytes())).collect();
        words.extend([self.words(&effects), u32::try_from(says.effects.len()).unwrap()]);
        self.words(&words)
    }

    /// The core module as text.
    pub fn wat(mut self) -> String {
        let manifest = self.manifest();
        let mut imports = String::new();
        for name in &self.imports {
            let (interface, function, signature) = FUNCTIONS
                .iter()
                .find(|(_, function, _)| short(function) == *name)
                .unwrap_or_else(|| panic!("no function {name}"));
            writeln!(
                imports,
                "(import \"lockgate:plugin/{interface}@0.1.0\" \"{function}\" (func ${name} {signature}))"
            )
            .unwrap();
        }
        let (export, params) = match self.world {
            World::Stage => ("run", "(param $config i32) (param $config-len i32)"),
            World::HealthCheck => ("check", "(param i32 i32 i32 i64 i32 i32)"),
            World::Command => panic!("commands have no describe"),
            World::CanaryEvaluator => ("evaluate", "(param i32 i32 i32 i32 i32 i64 i32 i32 i32 i32 i32)"),
        };
        let image: String = self.image.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let heap = IMAGE + u32::try_from(self.image.len()).unwrap() + 64;
        let describe = self
            .describe
            .unwrap_or_else(|| "$manifest".into())
            .replace("$manifest", &format!("(i32.const {manifest})"));
        let (items, body, pages) = (self.items, self.body, self.memory);
        format!(
            r#"(module
            {imports}
            (memory (export "memory") {pages})
            (global $heap (mut i32) (i32.const {heap}))
            (data (i32.const {IMAGE}) "{image}")
            (func (export "cabi_realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
                (global.set $heap (i32.add (local.get $at) (local.get $size)))
                (block $fits
                    (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
                    (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1)))))
                (local.get $at))
            (func $ok (result i32) (i32.const {IMAGE}))
            ;; A failure with the code of the error at RET as its message.
            (func $fail (result i32)
                (i32.store (i32.const 480) (i32.const 1))
                (i32.store (i32.const 484) (i32.load (i32.const {code})))
                (i32.store (i32.const 488) (i32.load (i32.const {code_len})))
                (i32.store (i32.const 492) (i32.const 0))
                (i32.store (i32.const 496) (i32.const 0))
                (i32.const 480))
            ;; A failure with a message.
            (func $say (param $at i32) (param $len i32) (result i32)
                (i32.store (i32.const {code}) (local.get $at))
                (i32.store (i32.const {code_len}) (local.get $len))
                (call $fail))
            {items}
            (func (export "describe") (result i32) {describe})
            (func $main (export "{export}") {params} (result i32)
                (local $a i32) (local $b i32) (local $i i32) (local $n i64)
                {body})
            )"#,
            code = RET + 4,
            code_len = RET + 8,
        )
    }

    /// The component.
    pub fn component(self) -> Vec<u8> {
        let world = self.world;
        component(world.name(), &self.wat())
    }
}

/// `[method]reader.read` is `reader.read`, `[resource-drop]reader` is `drop-reader`.
fn short(function: &str) -> String {
    match function.strip_prefix("[resource-drop]") {
        Some(name) => format!("drop-{name}"),
        None => function.strip_prefix("[method]").unwrap_or(function).to_owned(),
    }
}

/// `(if RET is an error, fail with its code)`.
pub fn check() -> String {
    format!("(if (i32.load8_u (i32.const {RET})) (then (return (call $fail))))")
}

/// The first word of an answer: a handle, or the address of a list.
pub fn got() -> String {
    format!("(i32.load (i32.const {}))", RET + 4)
}

/// The second word of an answer: the length of a list.
pub fn got_len() -> String {
    format!("(i32.load (i32.const {}))", RET + 8)
}

/// The address for answers.
pub fn ret() -> String {
    format!("(i32.const {RET})")
}

/// The contract's directory: that of the repository that this crate is somewhere in.
fn contract() -> std::path::PathBuf {
    let above = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.map(|dir| dir.join("wit/0.1.0")).find(|dir| dir.is_dir()).expect("the repository has a contract")
}

/// A component of a core module in WAT and a world of the contract.
pub fn component(world: &str, wat: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(contract()).unwrap();
    encode(resolve, package, world, wat)
}

/// A component of a core module in WAT and a world of any WIT.
pub fn component_of(wit: &str, world: &str, wat: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", wit).unwrap();
    encode(resolve, package, world, wat)
}

fn encode(resolve: Resolve, package: wit_parser::PackageId, world: &str, wat: &str) -> Vec<u8> {
    let mut module = wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}
