//! JavaScript and TypeScript: `componentize-qjs` puts the source into QuickJS. TypeScript goes through its own compiler before.

use std::path::PathBuf;
use std::process::Command;

use super::{Made, install, prepare, taken};
use crate::program::{Happening, Progress, find, run};
use crate::project::{Language, Plan, Project};
use crate::{ToolchainError, declarations};

/// Where npm puts programs.
const PROGRAMS: &str = "node_modules/.bin";

pub(super) fn build(project: &Project, plan: &Plan, progress: &mut Progress<'_>) -> Result<Made, ToolchainError> {
    let componentize = tool(project, "componentize-qjs")?;
    let (work, contract) = prepare(project, plan)?;
    let source = if project.language == Language::TypeScript {
        declarations::write(&contract, &project.directory)?;
        transpile(project, plan, &work, progress)?
    } else {
        project.directory.join(&plan.source)
    };
    progress(Happening::Step("putting it into QuickJS"));
    let made = work.join("component.wasm");
    let mut command = Command::new(componentize);
    command.current_dir(&project.directory).arg("--wit").arg(work.join("wit")).args(["--world", plan.world.name()]);
    command.arg("--js").arg(&source).arg("--module-root").arg(&project.directory).arg("--output").arg(&made);
    // Without the component model's concurrency, which the engine keeps off, and without WASI: then a plugin imports what the
    // contract has, and no clock or random number can get into its results.
    command.args(["--sync", "--stub-wasi", "--opt-size"]);
    run(&mut command, progress)?;
    Ok(Made { name: plan.name.clone(), component: taken(&made)? })
}

/// Checks types, and writes JavaScript into the work folder; the path of what the source became.
fn transpile(
    project: &Project,
    plan: &Plan,
    work: &std::path::Path,
    progress: &mut Progress<'_>,
) -> Result<PathBuf, ToolchainError> {
    let compiler = tool(project, "tsc")?;
    progress(Happening::Step("checking types"));
    let out = work.join("js");
    let mut command = Command::new(compiler);
    command.current_dir(&project.directory).args(["--project", ".", "--noEmit", "false", "--rootDir", "."]);
    command.arg("--outDir").arg(&out);
    run(&mut command, progress)?;
    let mut source = out.join(&plan.source);
    source.set_extension(if plan.source.extension().is_some_and(|extension| extension == "mts") {
        "mjs"
    } else {
        "js"
    });
    Ok(source)
}

fn tool(project: &Project, name: &str) -> Result<PathBuf, ToolchainError> {
    if find(&[], &["node"]).is_none() {
        let install = "apt-get install nodejs npm\nor see https://nodejs.org".to_owned();
        return Err(ToolchainError::Missing { what: "node, which runs the tools for JavaScript".into(), install });
    }
    find(&project.programs(PROGRAMS), &[name]).ok_or_else(|| ToolchainError::Missing {
        what: format!("`{name}` in node_modules or the path"),
        install: install(project, "npm install"),
    })
}
