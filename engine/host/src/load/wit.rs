//! What a component's imports and exports are beside the contract's, in the notation of WIT, for authors: which function differs, what
//! was expected, what was found. Looked at only where something does not fit.

use wasmtime::component::Type as Found;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wit_parser::{Function, Handle, InterfaceId, Resolve, Type, TypeDefKind, TypeId, TypeOwner, WorldItem};

use crate::contract::{PACKAGE, VERSION};

/// The contract's text.
const CONTRACT: [&str; 2] =
    [include_str!("../../../../wit/0.1.0/types.wit"), include_str!("../../../../wit/0.1.0/worlds.wit")];
/// Deepest type that is written out.
const MAX_DEPTH: usize = 20;
/// Longest type that is shown, in characters.
const MAX_SHOWN: usize = 600;

/// The contract, read.
struct Wit(Resolve);

/// The first place where two types differ.
struct Difference {
    place: String,
    expected: String,
    found: String,
}

fn contract() -> Option<Wit> {
    let mut resolve = Resolve::default();
    // The text is the one that the bindings are made of.
    resolve.push_str("lockgate.wit", &CONTRACT.concat()).ok()?;
    Some(Wit(resolve))
}

/// The WIT of a world's function.
pub(super) fn expected(world: &str, export: &str) -> Option<String> {
    let wit = contract()?;
    let function = wit.export(world, export)?;
    Some(wit.function(export, function))
}

/// How an export differs from that of the world; none where no difference is seen.
pub(super) fn export_differs(world: &str, export: &str, found: &ComponentItem) -> Option<String> {
    let wit = contract()?;
    let function = wit.export(world, export)?;
    match found {
        ComponentItem::ComponentFunc(found) => wit.differs(export, function, found),
        _ => Some(format!("expected `{}`, found no function", wit.function(export, function))),
    }
}

/// How an imported interface differs from that of the contract; none where no difference is seen.
pub(super) fn import_differs(name: &str, item: &ComponentItem, engine: &wasmtime::Engine) -> Option<String> {
    let wit = contract()?;
    let short = name.strip_prefix(PACKAGE)?.strip_suffix(VERSION)?;
    let interface = wit.interface(short)?;
    let ComponentItem::ComponentInstance(instance) = item else {
        return Some(format!("`{name}` is an interface, and no function by itself"));
    };
    let known = &wit.0.interfaces[interface].functions;
    for (function, item) in instance.exports(engine) {
        let ComponentItem::ComponentFunc(found) = &item.ty else { continue };
        let Some(expected) = known.get(function) else {
            let all: Vec<_> = known.keys().map(|name| format!("`{name}`")).collect();
            return Some(format!("`{name}` has no function `{function}`; it has {}", all.join(", ")));
        };
        if let Some(differs) = wit.differs(function, expected, found) {
            return Some(format!("`{function}` of `{name}`: {differs}"));
        }
    }
    None
}

impl Wit {
    fn export(&self, world: &str, export: &str) -> Option<&Function> {
        let (_, world) = self.0.worlds.iter().find(|(_, found)| found.name == world)?;
        world.exports.values().find_map(|item| match item {
            WorldItem::Function(function) if function.name == export => Some(function),
            _ => None,
        })
    }

    fn interface(&self, name: &str) -> Option<InterfaceId> {
        self.0.interfaces.iter().find(|(_, found)| found.name.as_deref() == Some(name)).map(|(id, _)| id)
    }

    fn function(&self, name: &str, function: &Function) -> String {
        let params: Vec<_> =
            function.params.iter().map(|param| format!("{}: {}", param.name, self.named(&param.ty))).collect();
        let result = function.result.as_ref().map(|result| format!(" -> {}", self.named(result))).unwrap_or_default();
        format!("{name}: func({}){result}", params.join(", "))
    }

    fn differs(&self, name: &str, expected: &Function, found: &ComponentFunc) -> Option<String> {
        let whole = |more: &str| {
            let params: Vec<_> = found.params().map(|(name, ty)| format!("{name}: {}", written(&ty, 0))).collect();
            let result = found.results().next().map(|ty| format!(" -> {}", written(&ty, 0))).unwrap_or_default();
            let found = cut(&format!("{name}: func({}){result}", params.join(", ")));
            format!("expected `{}`, found `{found}`{more}", self.function(name, expected))
        };
        if found.params().len() != expected.params.len()
            || found.results().len() != usize::from(expected.result.is_some())
        {
            return Some(whole(""));
        }
        let mut pairs: Vec<(String, &Type, Found)> = Vec::new();
        for (param, (_, ty)) in expected.params.iter().zip(found.params()) {
            pairs.push((format!("parameter `{}`", param.name), &param.ty, ty));
        }
        if let (Some(result), Some(ty)) = (&expected.result, found.results().next()) {
            pairs.push(("result".to_owned(), result, ty));
        }
        let Difference { place, expected, found } =
            pairs.into_iter().find_map(|(place, expected, found)| self.type_differs(place, expected, &found, 0))?;
        Some(whole(&format!("; {place}: expected `{expected}`, found `{found}`")))
    }

    /// A type by its name, where it has one.
    fn named(&self, ty: &Type) -> String {
        match ty {
            Type::Id(id) => self.id(*id),
            Type::Bool => "bool".into(),
            Type::U8 => "u8".into(),
            Type::U16 => "u16".into(),
            Type::U32 => "u32".into(),
            Type::U64 => "u64".into(),
            Type::S8 => "s8".into(),
            Type::S16 => "s16".into(),
            Type::S32 => "s32".into(),
            Type::S64 => "s64".into(),
            Type::F32 => "f32".into(),
            Type::F64 => "f64".into(),
            Type::Char => "char".into(),
            Type::String => "string".into(),
            Type::ErrorContext => "error-context".into(),
        }
    }

    fn id(&self, id: TypeId) -> String {
        let def = &self.0.types[id];
        if let Some(name) = def.name.as_ref().filter(|_| def.owner != TypeOwner::None) {
            return name.clone();
        }
        let or = |ty: &Option<Type>| ty.as_ref().map_or("_".to_owned(), |ty| self.named(ty));
        match &def.kind {
            TypeDefKind::List(inner) => format!("list<{}>", self.named(inner)),
            TypeDefKind::Option(inner) => format!("option<{}>", self.named(inner)),
            TypeDefKind::Result(result) => match (&result.ok, &result.err) {
                (None, None) => "result".into(),
                (ok, None) => format!("result<{}>", or(ok)),
                (ok, err) => format!("result<{}, {}>", or(ok), or(err)),
            },
            TypeDefKind::Tuple(tuple) => {
                let types: Vec<_> = tuple.types.iter().map(|ty| self.named(ty)).collect();
                format!("tuple<{}>", types.join(", "))
            }
            TypeDefKind::Handle(Handle::Own(id)) => self.id(*id),
            TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", self.id(*id)),
            TypeDefKind::Type(inner) => self.named(inner),
            kind => kind.as_str().to_owned(),
        }
    }

    /// The first place where a type is not as expected.
    fn type_differs(&self, place: String, expected: &Type, found: &Found, depth: usize) -> Option<Difference> {
        if depth > MAX_DEPTH {
            return None;
        }
        let other =
            |place: String| Some(Difference { place, expected: self.named(expected), found: cut(&written(found, 0)) });
        let inner = |name: &str| format!("{place}, {name}");
        let next = depth + 1;
        let kind = match expected {
            Type::Id(id) => &self.0.types[*id].kind,
            plain => return if self.named(plain) == written(found, 0) { None } else { other(place) },
        };
        match (kind, found) {
            (TypeDefKind::Type(alias), found) => self.type_differs(place, alias, found, next),
            (TypeDefKind::List(expected), Found::List(found)) => {
                self.type_differs(inner("element"), expected, &found.ty(), next)
            }
            (TypeDefKind::Option(expected), Found::Option(found)) => {
                self.type_differs(place, expected, &found.ty(), next)
            }
            (TypeDefKind::Result(expected), Found::Result(found)) => {
                let sides = [("ok", &expected.ok, found.ok()), ("error", &expected.err, found.err())];
                for (name, expected, found) in sides {
                    match (expected, found) {
                        (Some(expected), Some(found)) => {
                            let differs = self.type_differs(inner(name), expected, &found, next);
                            if differs.is_some() {
                                return differs;
                            }
                        }
                        (None, None) => {}
                        _ => return other(place),
                    }
                }
                None
            }
            (TypeDefKind::Tuple(expected), Found::Tuple(found)) if expected.types.len() == found.types().len() => {
                let mut pairs = expected.types.iter().zip(found.types());
                pairs.find_map(|(expected, found)| self.type_differs(place.clone(), expected, &found, next))
            }
            (TypeDefKind::Record(expected), Found::Record(found)) => {
                let (mut ours, mut theirs) = (expected.fields.iter(), found.fields());
                loop {
                    match (ours.next(), theirs.next()) {
                        (None, None) => return None,
                        (Some(ours), Some(theirs)) if ours.name == theirs.name => {
                            let field = inner(&format!("field `{}`", ours.name));
                            let differs = self.type_differs(field, &ours.ty, &theirs.ty, next);
                            if differs.is_some() {
                                return differs;
                            }
                        }
                        (ours, theirs) => {
                            // Fields are told apart by their order.
                            let name = |name: Option<&str>| name.map_or("no more fields".to_owned(), ToOwned::to_owned);
                            let expected = name(ours.map(|field| field.name.as_str()));
                            let found = name(theirs.map(|field| field.name));
                            return Some(Difference { place: inner("fields"), expected, found });
                        }
                    }
                }
            }
            (TypeDefKind::Handle(Handle::Own(_)), Found::Own(_))
            | (TypeDefKind::Handle(Handle::Borrow(_)), Found::Borrow(_)) => None,
            _ => other(place),
        }
    }
}

fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN).collect();
    if shown.len() < text.len() {
        shown += " ...";
    }
    shown
}

/// A component's type in the notation of WIT, in which records have no names any more.
fn written(ty: &Found, depth: usize) -> String {
    let inner = |ty: &Found| if depth > MAX_DEPTH { "...".to_owned() } else { written(ty, depth + 1) };
    let or = |ty: Option<Found>| ty.map_or("_".to_owned(), |ty| inner(&ty));
    let list = |names: Vec<String>| names.join(", ");
    match ty {
        Found::Bool => "bool".into(),
        Found::S8 => "s8".into(),
        Found::U8 => "u8".into(),
        Found::S16 => "s16".into(),
        Found::U16 => "u16".into(),
        Found::S32 => "s32".into(),
        Found::U32 => "u32".into(),
        Found::S64 => "s64".into(),
        Found::U64 => "u64".into(),
        Found::Float32 => "f32".into(),
        Found::Float64 => "f64".into(),
        Found::Char => "char".into(),
        Found::String => "string".into(),
        Found::List(found) => format!("list<{}>", inner(&found.ty())),
        Found::Option(found) => format!("option<{}>", inner(&found.ty())),
        Found::Result(found) => match (found.ok(), found.err()) {
            (None, None) => "result".into(),
            (ok, None) => format!("result<{}>", or(ok)),
            (ok, err) => format!("result<{}, {}>", or(ok), or(err)),
        },
        Found::Tuple(found) => format!("tuple<{}>", list(found.types().map(|ty| inner(&ty)).collect())),
        Found::Record(found) => {
            let field = |field: wasmtime::component::types::Field<'_>| format!("{}: {}", field.name, inner(&field.ty));
            format!("record {{ {} }}", list(found.fields().map(field).collect()))
        }
        Found::Variant(found) => {
            let case = |case: wasmtime::component::types::Case<'_>| match &case.ty {
                Some(ty) => format!("{}({})", case.name, inner(ty)),
                None => case.name.to_owned(),
            };
            format!("variant {{ {} }}", list(found.cases().map(case).collect()))
        }
        Found::Enum(found) => format!("enum {{ {} }}", list(found.names().map(str::to_owned).collect())),
        Found::Flags(found) => format!("flags {{ {} }}", list(found.names().map(str::to_owned).collect())),
        Found::Own(_) => "own<resource>".into(),
        Found::Borrow(_) => "borrow<resource>".into(),
        Found::Map(_) => "map".into(),
        Found::Future(_) => "future".into(),
        Found::Stream(_) => "stream".into(),
        Found::ErrorContext => "error-context".into(),
        Found::FixedLengthList(_) => "list of a fixed length".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{DESCRIBE, WORLDS};

    #[test]
    fn the_contract_is_read_and_written() {
        assert_eq!(expected("stage", "run").unwrap(), "run: func(config: string) -> result<list<finding>, failure>");
        assert_eq!(
            expected("health-check", "check").unwrap(),
            "check: func(config: string, look: look) -> result<health, failure>"
        );
        for (world, export) in WORLDS {
            assert!(expected(world.name(), export).is_some() && expected(world.name(), DESCRIBE).is_some());
        }
        assert_eq!(expected("stage", "check"), None);
    }
}
