//! Traps in place of imports that a component has and cannot have.
//!
//! Not wasmtime's own, which also put a resource of their own in place of each that an interface only takes over from another one: then
//! what is there does not fit any more.

use wasmtime::component::types::{ComponentItem, ResourceType as Type};
use wasmtime::component::{Component, InstancePre, Linker, LinkerInstance, ResourceType};

use crate::contract::{Import, Meaning};
use crate::imports::Kinds;
use crate::state::{State, Stop};

/// Links a component; what is not offered, or is of WASI and not granted, traps when it is called. Interfaces of the contract are not
/// among that: a node without their grants is refused before.
pub(super) fn link(
    linker: &Linker<State>,
    component: &Component,
    kinds: Kinds,
) -> wasmtime::Result<InstancePre<State>> {
    let (kind, engine) = (component.component_type(), component.engine());
    let lacks = |name: &str| match Import::find(name) {
        None => true,
        Some(import) => import.is_wasi() && import.needs == Meaning::Grant && !kinds.has_http(),
    };
    if !kind.imports(engine).any(|(name, _)| lacks(name)) {
        return linker.instantiate_pre(component);
    }
    let mut linker = linker.clone();
    // In the order of the imports: where a resource stands first it is defined, everywhere else it is taken over.
    let mut defined: Vec<Type> = Vec::new();
    for (name, item) in kind.imports(engine) {
        match item.ty {
            ComponentItem::ComponentInstance(instance) => {
                let missing = lacks(name);
                for (inner, item) in instance.exports(engine) {
                    match item.ty {
                        ComponentItem::ComponentFunc(_) if missing => {
                            trap(&mut linker.instance(name)?, inner, format!("{name}#{inner}"))?;
                        }
                        ComponentItem::Resource(resource) if !defined.contains(&resource) => {
                            defined.push(resource);
                            if missing {
                                linker.instance(name)?.resource(inner, ResourceType::host::<()>(), |_, _| Ok(()))?;
                            }
                        }
                        _ => {}
                    }
                }
            }
            ComponentItem::ComponentFunc(_) if lacks(name) => trap(&mut linker.root(), name, name.to_owned())?,
            _ => {}
        }
    }
    linker.instantiate_pre(component)
}

fn trap(instance: &mut LinkerInstance<'_, State>, name: &str, shown: String) -> wasmtime::Result<()> {
    instance.func_new(name, move |_, _, _, _| {
        let shown = crate::imports::short(&shown);
        Err(Stop::Misuse(format!("it called the import `{shown}`, which is not offered or not granted")).into())
    })
}
