//! The contract's types for TypeScript, made of its WIT: one declared module for each interface, as `componentize-qjs` names and
//! shapes them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use wit_parser::{Function, FunctionKind, Handle, Interface, Resolve, Type, TypeDefKind, TypeId, WorldItem};

use crate::ToolchainError;
use crate::contract::Contract;

/// The file, relative to the project.
pub const FILE: &str = "types/lockgate.d.ts";

/// Writes the declarations of a plugin's contract into its project.
pub fn write(contract: &Contract, project: &Path) -> Result<(), ToolchainError> {
    let path = project.join(FILE);
    let text = declare(contract);
    if fs::read_to_string(&path).is_ok_and(|before| before == text) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(ToolchainError::writing(folder))?;
    }
    fs::write(&path, text).map_err(ToolchainError::writing(path))
}

/// The declarations as text.
pub fn declare(contract: &Contract) -> String {
    let Contract { resolve, world, .. } = contract;
    let mut text = String::from("// Made of the contract by `lockgate plugin build`, each time: changes are lost.\n");
    for (key, item) in &resolve.worlds[*world].imports {
        if let WorldItem::Interface { id, .. } = item {
            let name = resolve.name_world_key(key);
            interface(&mut text, resolve, &name, &resolve.interfaces[*id]);
        }
    }
    text
}

fn interface(text: &mut String, resolve: &Resolve, name: &str, interface: &Interface) {
    docs(text, "", interface.docs.contents.as_deref());
    let _ = writeln!(text, "declare module \"{name}\" {{");
    let mut names: Vec<&str> = Vec::new();
    for (name, id) in &interface.types {
        let kind = &resolve.types[*id];
        docs(text, "    ", kind.docs.contents.as_deref());
        match &kind.kind {
            TypeDefKind::Record(record) => {
                let _ = writeln!(text, "    export interface {} {{", pascal(name));
                for field in &record.fields {
                    docs(text, "        ", field.docs.contents.as_deref());
                    let _ = writeln!(text, "        {}: {};", camel(&field.name), of(resolve, &field.ty));
                }
                text.push_str("    }\n");
            }
            TypeDefKind::Resource => {
                let _ = writeln!(text, "    export class {} {{\n        private constructor();", pascal(name));
                for function in methods(interface, *id) {
                    docs(text, "        ", function.docs.contents.as_deref());
                    let own = function.name.rsplit('.').next().unwrap_or(&function.name);
                    let _ = writeln!(text, "        {}{};", camel(own), signature(resolve, function, true));
                }
                text.push_str("        [Symbol.dispose](): void;\n    }\n");
            }
            _ => {
                let _ = writeln!(text, "    export type {} = {};", pascal(name), shape(resolve, *id));
            }
        }
    }
    for function in interface.functions.values().filter(|function| matches!(function.kind, FunctionKind::Freestanding))
    {
        docs(text, "    ", function.docs.contents.as_deref());
        let _ = writeln!(text, "    export function {}{};", camel(&function.name), signature(resolve, function, false));
        names.push(&function.name);
    }
    text.push_str("}\n");
}

fn methods(interface: &Interface, resource: TypeId) -> impl Iterator<Item = &Function> {
    interface
        .functions
        .values()
        .filter(move |function| matches!(function.kind, FunctionKind::Method(id) if id == resource))
}

/// Parameters and result. A result's error is thrown, so it is not in the type.
fn signature(resolve: &Resolve, function: &Function, is_method: bool) -> String {
    let parameters = function.params.iter().skip(usize::from(is_method));
    let parameters: Vec<String> =
        parameters.map(|param| format!("{}: {}", camel(&param.name), of(resolve, &param.ty))).collect();
    let result = match &function.result {
        None => "void".to_owned(),
        Some(Type::Id(id)) => match &resolve.types[*id].kind {
            TypeDefKind::Result(result) => result.ok.as_ref().map_or("void".to_owned(), |ok| of(resolve, ok)),
            _ => of(resolve, &Type::Id(*id)),
        },
        Some(kind) => of(resolve, kind),
    };
    format!("({}): {result}", parameters.join(", "))
}

fn of(resolve: &Resolve, kind: &Type) -> String {
    match kind {
        Type::Bool => "boolean".into(),
        Type::Char | Type::String => "string".into(),
        Type::Id(id) => match &resolve.types[*id].name {
            Some(name) => pascal(name),
            None => shape(resolve, *id),
        },
        _ => "number".into(),
    }
}

/// A type that has no name, as `componentize-qjs` maps it.
fn shape(resolve: &Resolve, id: TypeId) -> String {
    match &resolve.types[id].kind {
        TypeDefKind::Type(kind) => of(resolve, kind),
        TypeDefKind::List(Type::U8) => "Uint8Array".into(),
        TypeDefKind::List(element) => format!("Array<{}>", of(resolve, element)),
        TypeDefKind::Option(inner) => format!("{} | null", of(resolve, inner)),
        TypeDefKind::Tuple(tuple) => {
            format!("[{}]", tuple.types.iter().map(|kind| of(resolve, kind)).collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Handle(Handle::Own(id) | Handle::Borrow(id)) => of(resolve, &Type::Id(*id)),
        TypeDefKind::Result(result) => {
            let part = |kind: &Option<Type>| kind.as_ref().map_or("undefined".to_owned(), |kind| of(resolve, kind));
            format!("{{ tag: \"ok\", val: {} }} | {{ tag: \"err\", val: {} }}", part(&result.ok), part(&result.err))
        }
        // The contract has no others, and a test looks.
        _ => "unknown".into(),
    }
}

fn docs(text: &mut String, indent: &str, docs: Option<&str>) {
    let Some(docs) = docs else { return };
    let _ = writeln!(text, "{indent}/**");
    for line in docs.lines() {
        let _ = writeln!(text, "{indent} * {}", line.trim());
    }
    let _ = writeln!(text, "{indent} */");
}

fn camel(name: &str) -> String {
    let mut words = name.split('-');
    words.next().unwrap_or_default().to_owned() + &words.map(capital).collect::<String>()
}

fn pascal(name: &str) -> String {
    name.split('-').map(capital).collect()
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use lockgate_model::manifest::World;

    use super::*;

    #[test]
    fn every_type_of_the_contract_has_a_declaration() {
        for world in [World::Stage, World::HealthCheck, World::CanaryEvaluator] {
            let text = declare(&Contract::whole(world).unwrap());
            assert!(!text.contains("unknown"), "{text}");
            assert!(text.contains("declare module \"lockgate:plugin/http@0.1.0\" {"), "{text}");
        }
    }

    #[test]
    fn names_and_results_are_those_of_javascript() {
        let text = declare(&Contract::narrow(World::Stage, &["artifacts".into()]).unwrap());
        assert!(text.contains("export function openBlob(name: string): Reader;"), "{text}");
        assert!(text.contains("read(max: number): Uint8Array;"), "{text}");
        assert!(text.contains("lookup(path: string): Entry | null;"), "{text}");
        assert!(text.contains("configSchema: string;"), "{text}");
        assert!(!text.contains("plugin/http"), "{text}");
    }
}
