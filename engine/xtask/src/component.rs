//! One core module to a component: shorter function names, then `wit-component`.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use wasm_encoder::{NameMap, NameSection, RawSection};
use wasmparser::{KnownCustom, Name, Parser, Payload};

/// The longest function name that is kept, in bytes: enough to know a function by, with the end of it, which says most.
const LONGEST_NAME: usize = 40;

/// Makes a component of a core module, and checks that it is valid.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>> {
    let module = shorten_names(module).context("failed to read the core module")?;
    let mut encoder = wit_component::ComponentEncoder::default().validate(true).module(&module)?;
    encoder.encode().context("failed to make a component of the core module")
}

/// Writes the module anew with demangled and cut function names, and without the names of anything else.
fn shorten_names(module: &[u8]) -> Result<Vec<u8>> {
    let mut out = wasm_encoder::Module::new();
    let mut names = None;
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if let Payload::CustomSection(section) = &payload {
            match section.as_known() {
                KnownCustom::Name(reader) => {
                    names = Some(function_names(reader)?);
                    continue;
                }
                // What the linker knows of the target's features tells a runtime nothing.
                _ if section.name() == "target_features" => continue,
                _ => {}
            }
        }
        if let Some((id, range)) = payload.as_section() {
            out.section(&RawSection { id, data: &module[range] });
        }
    }
    if let Some(functions) = names {
        let mut section = NameSection::new();
        section.functions(&functions);
        out.section(&section);
    }
    Ok(out.finish())
}

fn function_names(reader: wasmparser::NameSectionReader<'_>) -> Result<NameMap> {
    let mut functions = NameMap::new();
    for part in reader {
        if let Name::Function(map) = part? {
            let mut seen = HashMap::new();
            for naming in map {
                let naming = naming?;
                let name = short(naming.name);
                let times = seen.entry(name.clone()).or_insert(0_u32);
                *times += 1;
                functions.append(naming.index, &name);
            }
        }
    }
    Ok(functions)
}

/// `_ZN4core3fmt5write17h0123456789abcdefE` to `core::fmt::write`.
fn short(mangled: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(mangled));
    let Some(cut) = name.len().checked_sub(LONGEST_NAME) else {
        return name;
    };
    let mut start = cut + '…'.len_utf8();
    while !name.is_char_boundary(start) {
        start += 1;
    }
    format!("…{}", &name[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_demangled_and_cut_at_the_front() {
        assert_eq!(short("_ZN4core3fmt5write17h0123456789abcdefE"), "core::fmt::write");
        assert_eq!(short("memcpy"), "memcpy");
        let long = short(&format!("{}::the_end", "module::".repeat(20)));
        assert!(long.len() <= LONGEST_NAME && long.starts_with('…') && long.ends_with("module::::the_end"), "{long}");
    }

    #[test]
    fn a_module_keeps_its_code_and_its_names() {
        let mut names = NameMap::new();
        names.append(0, "_ZN3abc3def17h0123456789abcdefE");
        let mut section = NameSection::new();
        section.module("left out");
        section.functions(&names);
        let mut types = wasm_encoder::TypeSection::new();
        types.ty().function([], []);
        let mut functions = wasm_encoder::FunctionSection::new();
        functions.function(0);
        let mut body = wasm_encoder::Function::new([]);
        body.instructions().nop().end();
        let mut code = wasm_encoder::CodeSection::new();
        code.function(&body);
        let mut module = wasm_encoder::Module::new();
        module.section(&types).section(&functions).section(&code).section(&section);
        let before = module.finish();

        let after = shorten_names(&before).unwrap();
        wasmparser::validate(&after).unwrap();
        assert!(after.windows(8).any(|window| window == b"abc::def"));
        assert!(!after.windows(8).any(|window| window == b"left out"));
        assert!(shorten_names(b"no module").is_err());
    }
}
