//! Python: `componentize-py` puts the source into CPython.

use std::process::Command;

use super::{Made, install, prepare, taken};
use crate::ToolchainError;
use crate::program::{Happening, Progress, find, run};
use crate::project::{Plan, Project};

/// Where a virtual environment of the project has its programs.
const PROGRAMS: &str = ".venv/bin";

pub(super) fn build(project: &Project, plan: &Plan, progress: &mut Progress<'_>) -> Result<Made, ToolchainError> {
    let componentize = find(&project.programs(PROGRAMS), &["componentize-py"]);
    let componentize = componentize.ok_or_else(|| ToolchainError::Missing {
        what: "`componentize-py` in .venv or the path".into(),
        install: install(project, "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"),
    })?;
    let (work, _) = prepare(project, plan)?;
    progress(Happening::Step("putting it into CPython"));
    let made = work.join("component.wasm");
    let source = project.directory.join(&plan.source);
    let (folder, module) = (source.parent(), source.file_stem());
    let mut command = Command::new(componentize);
    command.current_dir(&project.directory).arg("-d").arg(work.join("wit")).args(["-w", plan.world.name()]);
    command.arg("componentize").arg("--stub-wasi").arg("--python-path").arg(folder.unwrap_or(&project.directory));
    command.arg("--output").arg(&made).args(module);
    run(&mut command, progress)?;
    Ok(Made { name: plan.name.clone(), component: taken(&made)? })
}
