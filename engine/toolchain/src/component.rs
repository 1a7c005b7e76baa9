//! One core module to a component: shorter function names, then `wit-component`.

use std::collections::HashMap;

use wasm_encoder::{NameMap, NameSection, RawSection, Section as _};
use wasmparser::{BinaryReaderError, KnownCustom, Name, Parser, Payload};

use crate::ToolchainError;

/// The longest function name that is kept, in bytes: enough to know a function by, with the end of it, which says most.
const LONGEST_NAME: usize = 40;

/// Makes a component of a core module, and checks that it is valid.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>, ToolchainError> {
    componentize_with(module, &[])
}

/// The same with adapters: modules that stand for imports of these names.
pub(crate) fn componentize_with(module: &[u8], adapters: &[(&str, &[u8])]) -> Result<Vec<u8>, ToolchainError> {
    let failed = |reason: String| ToolchainError::Module { reason };
    let module = shorten_names(module).map_err(|error| failed(error.to_string()))?;
    let mut encoder = wit_component::ComponentEncoder::default().validate(true).module(&module);
    for (name, adapter) in adapters {
        encoder = encoder.and_then(|encoder| encoder.adapter(name, adapter));
    }
    encoder.and_then(|mut encoder| encoder.encode()).map_err(|error| failed(format!("{error:#}")))
}

/// Takes out of a component what nothing of its behaviour depends on: debug information, who produced it, documentation. Function
/// names stay where they are short, because a trap's backtrace without them helps nobody.
pub fn strip(component: &[u8]) -> Result<Vec<u8>, ToolchainError> {
    let failed = |error: BinaryReaderError| ToolchainError::Module { reason: error.to_string() };
    stripped(component, true).map_err(failed)
}

/// The largest section with names that is kept, in bytes: that of an interpreter is not the author's.
const MOST_NAMES: usize = 32 << 10;

/// One level of a component, or a module; modules and components inside of it likewise.
fn stripped(bytes: &[u8], is_component: bool) -> Result<Vec<u8>, BinaryReaderError> {
    // The header: magic number, version and layer.
    let mut out = bytes.get(..8).unwrap_or(bytes).to_vec();
    let mut parser = Parser::new(0);
    let mut rest = bytes;
    let mut offset = 0;
    loop {
        let (consumed, payload) = match parser.parse(rest, true)? {
            wasmparser::Chunk::Parsed { consumed, payload } => (consumed, payload),
            wasmparser::Chunk::NeedMoreData(_) => return Ok(out),
        };
        let inner = match &payload {
            Payload::ModuleSection { unchecked_range, .. } => Some((unchecked_range.clone(), false)),
            Payload::ComponentSection { unchecked_range, .. } => Some((unchecked_range.clone(), true)),
            _ => None,
        };
        if let Some((range, is_component)) = inner {
            let (start, end) = (range.start, range.end);
            let data = stripped(&bytes[start..end], is_component)?;
            let id = if is_component { 4 } else { 1 };
            RawSection { id, data: &data }.append_to(&mut out);
            offset = end;
            rest = &bytes[offset..];
            continue;
        }
        match &payload {
            Payload::CustomSection(section) => {
                let is_small = section.data().len() <= MOST_NAMES;
                if !is_component && section.name() == "name" && is_small {
                    let data = &bytes[section.range().start..section.range().end];
                    RawSection { id: 0, data }.append_to(&mut out);
                }
            }
            Payload::End(_) => return Ok(out),
            payload => {
                if let Some((id, range)) = payload.as_section() {
                    RawSection { id, data: &bytes[range.start..range.end] }.append_to(&mut out);
                }
            }
        }
        offset += consumed;
        rest = &bytes[offset..];
    }
}

/// Writes the module anew with demangled and cut function names, and without the names of anything else.
fn shorten_names(module: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
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

fn function_names(reader: wasmparser::NameSectionReader<'_>) -> Result<NameMap, BinaryReaderError> {
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

#[cfg(all(test, feature = "projects"))]
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
    fn what_is_inside_of_a_component_is_stripped_and_the_rest_stays() {
        let text = "(component (core module $m (func (export \"f\")) (@custom \"producers\" \"somebody\"))
            (component (core module (@custom \".debug_info\" \"long\")))
            (core instance $i (instantiate $m)) (@custom \"package-docs\" \"much\"))";
        let before = wat::parse_str(text).unwrap();
        let after = strip(&before).unwrap();
        wasmparser::Validator::new().validate_all(&after).unwrap();
        let has = |bytes: &[u8], word: &str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
        for word in ["somebody", "long", "much"] {
            assert!(has(&before, word) && !has(&after, word), "{word}");
        }
        assert_eq!(strip(&after).unwrap(), after);
        assert!(strip(b"no component").is_err());
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
