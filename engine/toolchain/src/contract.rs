//! The contract that components are made for: the WIT that this crate carries, narrowed to what one plugin may call, and whether a
//! component keeps to it.

use std::path::Path;

use lockgate_model::manifest::World;
use wit_component::{DecodedWasm, WitPrinter};
use wit_parser::{PackageId, Resolve, WorldId, WorldItem, WorldKey};

use crate::ToolchainError;

/// The files of the contract, by their names.
pub const FILES: [(&str, &str); 2] = [
    ("types.wit", include_str!("../../../wit/0.1.0/types.wit")),
    ("worlds.wit", include_str!("../../../wit/0.1.0/worlds.wit")),
];
/// The version of the contract: a project keeps its files in `wit/<version>`.
pub const VERSION: &str = "0.1.0";
/// All worlds, with the export that does their work.
const WORLDS: [(World, &str); 3] =
    [(World::Stage, "run"), (World::HealthCheck, "check"), (World::CanaryEvaluator, "evaluate")];
/// What every component may name, because nothing of it can be called.
const TYPES: [&str; 2] = ["types", "evaluation"];

/// One world of the contract, with the interfaces that one plugin may call.
pub struct Contract {
    /// Everything that is known of the contract.
    pub(crate) resolve: Resolve,
    /// Its package.
    pub(crate) package: PackageId,
    /// The world, narrowed.
    pub(crate) world: WorldId,
}

impl Contract {
    /// A world with all of its interfaces.
    pub fn whole(world: World) -> Result<Self, ToolchainError> {
        let mut resolve = Resolve::default();
        let text: String = FILES.iter().map(|(_, text)| *text).collect();
        let bug = |error: anyhow::Error| ToolchainError::Wrong(format!("read the contract of this binary: {error:#}"));
        let package = resolve.push_source("lockgate.wit", &text).map_err(bug)?;
        let world = resolve.select_world(&[package], Some(world.name())).map_err(bug)?;
        Ok(Self { resolve, package, world })
    }

    /// A world with these interfaces alone; an error names one that the contract does not have.
    pub fn narrow(world: World, imports: &[String]) -> Result<Self, ToolchainError> {
        let mut contract = Self::whole(world)?;
        let offered = contract.imports();
        if let Some(unknown) = imports.iter().find(|name| !offered.contains(name)) {
            return Err(ToolchainError::Wrong(format!(
                "import `{unknown}`: the contract {VERSION} offers {}",
                offered.join(", ")
            )));
        }
        let Self { resolve, world, .. } = &mut contract;
        let names: Vec<(WorldKey, String)> = resolve.worlds[*world]
            .imports
            .keys()
            .map(|key| (key.clone(), short(&resolve.name_world_key(key))))
            .collect();
        for (key, name) in names {
            let is_type = matches!(resolve.worlds[*world].imports[&key], WorldItem::Type { .. });
            if !is_type && !TYPES.contains(&name.as_str()) && !imports.contains(&name) {
                resolve.worlds[*world].imports.shift_remove(&key);
            }
        }
        Ok(contract)
    }

    /// Adds what the other worlds import: the Rust SDK is one for all of them, and names their types in each.
    fn add_imports_of_all(&mut self) {
        let Self { resolve, world, .. } = self;
        let all = resolve.worlds.iter().flat_map(|(_, world)| world.imports.clone()).collect::<Vec<_>>();
        for (key, item) in all {
            resolve.worlds[*world].imports.entry(key).or_insert(item);
        }
    }

    /// The interfaces that can be called, by their short names, sorted.
    pub fn imports(&self) -> Vec<String> {
        let world = &self.resolve.worlds[self.world];
        let interfaces = world.imports.iter().filter(|(_, item)| matches!(item, WorldItem::Interface { .. }));
        let names = interfaces.map(|(key, _)| short(&self.resolve.name_world_key(key)));
        let mut names: Vec<String> = names.filter(|name| !TYPES.contains(&name.as_str())).collect();
        names.sort();
        names
    }

    /// Writes it as one WIT file, for tools that read such.
    pub fn write(&self, directory: &Path) -> Result<(), ToolchainError> {
        let mut printer = WitPrinter::default();
        let printed = printer.print(&self.resolve, self.package, &[]);
        printed.map_err(|error| ToolchainError::Wrong(format!("print the contract: {error:#}")))?;
        std::fs::create_dir_all(directory).map_err(ToolchainError::writing(directory))?;
        let file = directory.join("lockgate.wit");
        std::fs::write(&file, printer.output.to_string()).map_err(ToolchainError::writing(file))
    }
}

/// `lockgate:plugin/log@0.1.0` to `log`; a name of another package stays.
fn short(name: &str) -> String {
    let own = name.strip_prefix("lockgate:plugin/").and_then(|name| name.split('@').next());
    own.unwrap_or(name).to_owned()
}

/// What a component is, by its types alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The world that it exports.
    pub world: World,
    /// What it imports: short names of the contract's interfaces, full ones of others; sorted, without those that are types only.
    pub imports: Vec<String>,
}

/// Finds out what a component is and holds it against the contract: its exports and imports have the types of a world.
pub fn check(component: &[u8]) -> Result<Shape, ToolchainError> {
    let wrong = |reason: String| ToolchainError::Contract { reason };
    let (resolve, id) = match wit_component::decode(component) {
        Ok(DecodedWasm::Component(resolve, id)) => (resolve, id),
        Ok(DecodedWasm::WitPackage(..)) => return Err(wrong("it is a package of WIT, not a component".into())),
        Err(error) => return Err(wrong(format!("it cannot be read: {error:#}"))),
    };
    let names = |items: &wit_parser::IndexMap<WorldKey, WorldItem>| {
        let called = items.iter().filter(|(_, item)| !matches!(item, WorldItem::Type { .. }));
        called.map(|(key, _)| short(&resolve.name_world_key(key))).collect::<Vec<_>>()
    };
    let exports = names(&resolve.worlds[id].exports);
    let mut found = WORLDS.iter().filter(|(_, export)| exports.iter().any(|name| name == export));
    let (Some((world, _)), None) = (found.next(), found.next()) else {
        let exports = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
        return Err(wrong(format!(
            "it exports {exports}; expected `describe` and one of `run` (stage), `check` (health-check), `evaluate` \
             (canary-evaluator)"
        )));
    };
    let mut imports = names(&resolve.worlds[id].imports);
    imports.retain(|name| !TYPES.contains(&name.as_str()));
    imports.sort();
    // What is not of the contract is for the engine to judge: it may stand in for it.
    if imports.iter().all(|name| !name.contains(':')) {
        let mut contract = Contract::whole(*world)?;
        contract.add_imports_of_all();
        wit_component::targets(&contract.resolve, contract.world, component).map_err(|error| {
            wrong(format!("it is no `{}` of the contract {VERSION}: {}", world.name(), words(&error)))
        })?;
    }
    Ok(Shape { world: *world, imports })
}

/// The validator's words, on one line: from where to what does not fit.
fn words(error: &anyhow::Error) -> String {
    let text = error.root_cause().to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_world_has_what_was_asked_for_and_no_more() {
        let contract = Contract::narrow(World::Stage, &["log".into(), "artifacts".into()]).unwrap();
        assert_eq!(contract.imports(), ["artifacts", "log"]);
        let dir = tempfile::tempdir().unwrap();
        contract.write(dir.path()).unwrap();
        let text = std::fs::read_to_string(dir.path().join("lockgate.wit")).unwrap();
        let stage = text.split("world stage {").nth(1).unwrap().split('}').next().unwrap().to_owned();
        assert!(stage.contains("import artifacts;") && !stage.contains("import http;"), "{stage}");
        let mut again = Resolve::default();
        again.push_dir(dir.path()).unwrap();
    }

    #[test]
    fn an_interface_that_does_not_exist_is_named_with_those_that_do() {
        let error = Contract::narrow(World::Stage, &["logs".into()]).err().unwrap().to_string();
        let offered = "artifacts, clock, environment, http, log, process, secrets, tcp";
        assert_eq!(error, format!("import `logs`: the contract 0.1.0 offers {offered}"));
    }

    /// A component of this core module for this world, whose text is WIT.
    fn component(wit: &str, module: &str) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let package = resolve.push_source("test.wit", wit).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        let mut module = wat::parse_str(module).unwrap();
        wit_component::embed_component_metadata(&mut module, &resolve, world, Default::default()).unwrap();
        crate::component::componentize(&module).unwrap()
    }

    #[test]
    fn what_does_not_keep_to_the_contract_is_refused_with_the_reason() {
        let other = component("package a:b; world w { export go: func(); }", "(module (func (export \"go\")))");
        let error = check(&other).unwrap_err().to_string();
        assert!(error.contains("it exports go; expected `describe`"), "{error}");
        let wit = "package a:b; world w { export describe: func(); export run: func(); }";
        let wrong = component(wit, "(module (func (export \"describe\")) (func (export \"run\")))");
        let error = check(&wrong).unwrap_err().to_string();
        assert!(error.contains("it is no `stage` of the contract 0.1.0: "), "{error}");
        assert!(check(b"nothing").unwrap_err().to_string().contains("it cannot be read"));
    }
}
