//! Components made by hand: a core module as text, with a manifest laid out by the canonical ABI, wrapped by `wit-component`. They
//! are what no SDK would make: a wrong manifest, imports that do not exist, a `describe` that never ends.

use std::fmt::Write as _;

use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

use crate::binary;

/// Where the manifest's record lies in the guest's memory; its strings follow it.
const MANIFEST: u32 = 1024;
/// Bytes of the record `manifest`, by the canonical ABI: four strings, two `ports` of 20 bytes, one list.
const MANIFEST_SIZE: u32 = 80;

/// A stage in the making.
#[derive(Debug, Clone)]
pub struct Handmade {
    name: String,
    version: String,
    schema: String,
    describe: String,
    run: String,
    imports: String,
    extra: String,
}

impl Handmade {
    /// A stage that has no ports, takes any config and succeeds.
    pub fn stage() -> Self {
        let text = str::to_owned;
        Self {
            name: text("handmade"),
            version: text("1.0.0"),
            schema: text("{}"),
            describe: String::new(),
            run: String::new(),
            imports: String::new(),
            extra: String::new(),
        }
    }

    /// Claims this name.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Claims this version.
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// Gives this text as the schema of its config.
    pub fn schema(mut self, schema: &str) -> Self {
        schema.clone_into(&mut self.schema);
        self
    }

    /// Does this, in WebAssembly text, before it describes itself.
    pub fn describe(mut self, code: &str) -> Self {
        code.clone_into(&mut self.describe);
        self
    }

    /// Does this, in WebAssembly text, before it succeeds. `$config` and `$length` are the config's place.
    pub fn run(mut self, code: &str) -> Self {
        code.clone_into(&mut self.run);
        self
    }

    /// Imports a core function: `(import "lockgate:plugin/log@0.1.0" "log" (func $log ...))`.
    pub fn import(mut self, import: &str) -> Self {
        self.imports += import;
        self
    }

    /// Adds to its world: WIT of imports.
    pub fn world(mut self, wit: &str) -> Self {
        self.extra += wit;
        self
    }

    /// The core module.
    pub fn module(&self) -> Vec<u8> {
        let (manifest, strings) = self.manifest();
        let Self { describe, run, imports, .. } = self;
        let text = format!(
            r#"(module
  {imports}
  (memory (export "memory") 32)
  (global $heap (mut i32) (i32.const 1048576))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (local.get $at))
  (data (i32.const {MANIFEST}) "{}")
  (data (i32.const {}) "{}")
  (func $deeper (param i32) (result i32) (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
  (func (export "describe") (result i32)
    {describe}
    (i32.const {MANIFEST}))
  (func (export "run") (param $config i32) (param $length i32) (result i32)
    {run}
    (i32.const 512)))"#,
            escaped(&manifest),
            MANIFEST + MANIFEST_SIZE,
            escaped(&strings),
        );
        wat::parse_str(text).expect("WebAssembly text without mistakes")
    }

    /// The component.
    pub fn build(&self) -> Vec<u8> {
        let mut module = self.module();
        let mut resolve = Resolve::default();
        resolve.push_dir(binary::repository().join("wit/0.1.0")).expect("the contract can be read");
        let package = resolve
            .push_str(
                "handmade.wit",
                &format!(
                    "package acme:made;\n\
                     interface missing {{ conjure: func(); }}\n\
                     world made {{ include lockgate:plugin/stage@0.1.0; {} }}",
                    self.extra
                ),
            )
            .expect("WIT without mistakes");
        let world = resolve.select_world(&[package], Some("made")).expect("the world above");
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .expect("metadata can be embedded");
        let mut encoder = ComponentEncoder::default().module(&module).expect("a module that fits its world");
        encoder.encode().expect("a component")
    }

    /// The record and the strings behind it.
    fn manifest(&self) -> (Vec<u8>, Vec<u8>) {
        let mut strings = Vec::new();
        let mut record = Vec::new();
        for text in [&self.name, &self.version, &"made by hand".to_owned(), &self.schema] {
            let at = MANIFEST + MANIFEST_SIZE + strings.len() as u32;
            record.extend(at.to_le_bytes());
            record.extend((text.len() as u32).to_le_bytes());
            strings.extend(text.as_bytes());
        }
        // No ports, none open, no effects: zeroes.
        record.resize(MANIFEST_SIZE as usize, 0);
        (record, strings)
    }
}

/// A component of a world that is none of ours: it exports one function and no more.
pub fn other_world() -> Vec<u8> {
    let text = r#"(component
  (core module $m (func (export "greet") (result i32) (i32.const 42)))
  (core instance $i (instantiate $m))
  (func (export "greet") (result u32) (canon lift (core func $i "greet"))))"#;
    wat::parse_str(text).expect("WebAssembly text without mistakes")
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 3), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "\\{byte:02x}");
        text
    })
}
