//! C: bindings by wit-bindgen, clang or zig for code without a C library, the linker of LLVM.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wit_bindgen_core::Files;

use super::{Made, Options, prepare, taken};
use crate::ToolchainError;
use crate::component::componentize;
use crate::contract::Contract;
use crate::program::{Happening, Progress, answer, find, run};
use crate::project::{Plan, Project};

/// Newest first: the plain name is what the machine's owner chose.
const CLANG: [&str; 9] =
    ["clang", "clang-22", "clang-21", "clang-20", "clang-19", "clang-18", "clang-17", "clang-16", "clang-15"];
const LINKER: [&str; 9] = [
    "wasm-ld",
    "wasm-ld-22",
    "wasm-ld-21",
    "wasm-ld-20",
    "wasm-ld-19",
    "wasm-ld-18",
    "wasm-ld-17",
    "wasm-ld-16",
    "wasm-ld-15",
];
/// Where a virtual environment has its programs: zig comes from PyPI, too.
const PROGRAMS: &str = ".venv/bin";
/// What the generated bindings are called, whatever the world.
const BINDINGS: &str = "plugin";

/// A compiler and a linker.
struct Tools {
    compile: Vec<OsString>,
    link: Vec<OsString>,
    name: &'static str,
}

pub(super) fn build(
    project: &Project,
    plan: &Plan,
    options: &Options,
    progress: &mut Progress<'_>,
) -> Result<Made, ToolchainError> {
    let tools = tools(project)?;
    let (work, mut contract) = prepare(project, plan)?;
    let bindings = work.join("bindings");
    generate(&mut contract, &bindings)?;
    let mut sources = sources(project, plan)?;
    let generated = Path::new(crate::project::BUILT).join("work/bindings");
    sources.extend([format!("{BINDINGS}.c"), "linked.c".to_owned()].map(|name| generated.join(name)));
    progress(Happening::Step(&format!("compiling {} files by {}", sources.len(), tools.name)));
    let mut objects = Vec::new();
    for source in &sources {
        let object = work.join(format!("{}.o", objects.len()));
        let mut command = command(project, &tools.compile);
        command.args([
            "-c",
            "-std=c17",
            "-Wall",
            "-Wextra",
            "-ffreestanding",
            "-nostdinc",
            "-fno-builtin",
            "-mcpu=generic",
        ]);
        command.args(["-fno-sanitize=undefined", "-fno-ident", if options.debug { "-O0" } else { "-Os" }]);
        // What is generated is not the author's to mend.
        command.args(source.starts_with(crate::project::BUILT).then_some("-w"));
        // Paths are relative to the project, so that the machine's own do not get into the component.
        command.args(["-Iinclude", "-Itarget/lockgate/work/bindings"]).arg(source).arg("-o").arg(&object);
        run(&mut command, progress)?;
        objects.push(object);
    }
    progress(Happening::Step("linking and making a component of it"));
    let module = work.join("module.wasm");
    let mut command = command(project, &tools.link);
    command.args(["--no-entry", "--gc-sections", "--strip-debug", "-z", "stack-size=65536", "--stack-first"]);
    command.args(&objects).arg("-o").arg(&module);
    run(&mut command, progress)?;
    let mut module = taken(&module)?;
    let embedded = wit_component::embed_component_metadata(
        &mut module,
        &contract.resolve,
        contract.world,
        wit_component::StringEncoding::UTF8,
    );
    embedded.map_err(|error| ToolchainError::Module { reason: format!("{error:#}") })?;
    Ok(Made { name: plan.name.clone(), component: componentize(&module)? })
}

fn command(project: &Project, words: &[OsString]) -> Command {
    let (program, arguments) = words.split_first().map_or((OsString::new(), &[][..]), |(p, a)| (p.clone(), a));
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&project.directory);
    command
}

/// clang with its linker, if both are there and know the target, or else zig.
fn tools(project: &Project) -> Result<Tools, ToolchainError> {
    let knows = |clang: &Path| answer(clang, &["--print-targets"]).is_some_and(|targets| targets.contains("wasm32"));
    let clang = find(&[], &CLANG).filter(|clang| knows(clang));
    if let (Some(clang), Some(linker)) = (clang, find(&[], &LINKER)) {
        let compile = vec![clang.into(), "--target=wasm32-unknown-unknown".into()];
        return Ok(Tools { compile, link: vec![linker.into()], name: "clang" });
    }
    if let Some(zig) = find(&project.programs(PROGRAMS), &["zig", "python-zig"]) {
        let zig = OsString::from(zig);
        let compile = vec![zig.clone(), "cc".into(), "-target".into(), "wasm32-freestanding".into()];
        return Ok(Tools { compile, link: vec![zig, "wasm-ld".into()], name: "zig" });
    }
    let venv = "python3 -m venv .venv && .venv/bin/pip install ziglang";
    Err(ToolchainError::Missing {
        what: "a C compiler and a linker for wasm32".into(),
        install: format!(
            "apt-get install clang-19 lld-19\nor\n{}=={}",
            super::install(project, venv),
            crate::pins::ZIG
        ),
    })
}

/// Bindings without long names: `artifacts_open_blob`, `plugin_string_t`.
fn generate(contract: &mut Contract, bindings: &Path) -> Result<(), ToolchainError> {
    let short = |name: &String| (format!("lockgate:plugin/{name}@{}", crate::contract::VERSION), name.clone());
    let types = ["types".to_owned()];
    let rename = contract.imports().iter().chain(&types).map(short).collect();
    let options = wit_bindgen_c::Opts {
        no_object_file: true,
        rename,
        rename_world: Some(BINDINGS.into()),
        ..wit_bindgen_c::Opts::default()
    };
    let mut files = Files::default();
    let generated = options.build().generate(&mut contract.resolve, contract.world, &mut files);
    generated.map_err(|error| ToolchainError::Wrong(format!("generate bindings for C: {error:#}")))?;
    fs::create_dir_all(bindings).map_err(ToolchainError::writing(bindings))?;
    // What the object file that is left out would define: the component's type is put into the module after linking.
    let link = format!(
        "void __component_type_object_force_link_{BINDINGS}(void);\nvoid __component_type_object_force_link_{BINDINGS}(void) {{}}\n"
    );
    files.push("linked.c", link.as_bytes());
    for (name, content) in files.iter() {
        let path = bindings.join(name);
        fs::write(&path, content).map_err(ToolchainError::writing(path))?;
    }
    Ok(())
}

/// All C files of the source's folder, sorted, relative to the project.
fn sources(project: &Project, plan: &Plan) -> Result<Vec<PathBuf>, ToolchainError> {
    let folder = plan.source.parent().unwrap_or(Path::new(""));
    let place = project.directory.join(folder);
    let mut sources = Vec::new();
    for entry in fs::read_dir(&place).map_err(ToolchainError::reading(&place))? {
        let name = entry.map_err(ToolchainError::reading(&place))?.file_name();
        let path = folder.join(name);
        if path.extension().is_some_and(|extension| extension == "c") {
            sources.push(path);
        }
    }
    sources.sort();
    Ok(sources)
}
