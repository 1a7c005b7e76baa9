//! `lockgate plugin build`: makes a component of a plugin's folder, whatever it is written in, and asks it what it is.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use lockgate::wiring::child::own_program;
use lockgate::wiring::{load, place};
use lockgate_host::Plugin;
use lockgate_model::units::Bytes;
use lockgate_toolchain::build::{Built, Options};
use lockgate_toolchain::project::Project;
use lockgate_toolchain::watch::Watch;
use lockgate_toolchain::{Happening, ToolchainError};
use serde_json::json;

use super::Ended;
use crate::args::{BuildArgs, Format};
use crate::cases::CASES;
use crate::exit::{CliError, Exit};
use crate::render::output::Output;
use crate::render::style::{Style, clean_line};

/// How often a watched folder is looked at.
const LOOKS: Duration = Duration::from_millis(200);

/// Builds once, or again and again.
pub(crate) fn build(args: &BuildArgs, output: &Output) -> Ended {
    if !args.watch {
        return once_and_show(args, output).map(|_| Exit::Succeeded);
    }
    let mut watch = Watch::begin(&Project::find(&args.directory)?.directory);
    loop {
        // What is wrong now may be right after the next save.
        if let Err(error) = once_and_show(args, output).and_then(|component| follow(args, &component, output)) {
            output.error(&error);
        }
        output.note(&format!("{} watching {}\n", output.err.dim("==>"), args.directory.display()));
        let mut changed = wait(&mut watch);
        // Editors write a file in several steps, and several files one after another.
        while let Some(path) = {
            thread::sleep(LOOKS);
            watch.changed()
        } {
            changed = path;
        }
        output.note(&format!("{} {} changed\n", output.err.dim("==>"), clean_line(&changed.display().to_string())));
    }
}

fn wait(watch: &mut Watch) -> PathBuf {
    loop {
        thread::sleep(LOOKS);
        if let Some(path) = watch.changed() {
            return path;
        }
    }
}

/// What comes after a build that succeeded: the cases, and if they pass the pipeline, in processes of their own. In this one they would
/// keep the handler of interrupts that runs install, and nothing would stop the watching any more.
fn follow(args: &BuildArgs, component: &Path, output: &Output) -> Result<(), CliError> {
    // It says itself how it ends, and whatever that is, the next save is waited for.
    let start = |words: &[&OsStr]| -> Result<bool, CliError> {
        let failed = |error: std::io::Error| CliError::new(Exit::Infrastructure, error).context("start what follows");
        let mut command = Command::new(own_program().map_err(failed)?);
        command.args(words).args(output.quiet.then_some("--quiet")).stdin(Stdio::null());
        Ok(command.status().map_err(failed)?.success())
    };
    let passed = if args.directory.join(CASES).is_dir() {
        let mut target = args.directory.clone().into_os_string();
        target.push("=");
        target.push(component);
        start(&["plugin".as_ref(), "test".as_ref(), &target])?
    } else {
        true
    };
    match &args.run {
        Some(file) if passed => start(&["run".as_ref(), file.as_os_str()]).map(drop),
        _ => Ok(()),
    }
}

/// Builds, and says what came of it. Returns the component's file.
fn once_and_show(args: &BuildArgs, output: &Output) -> Result<PathBuf, CliError> {
    let done = once(args, output)?;
    output.data(&match args.format {
        Format::Human => done.human(output.out),
        Format::Json => done.json(),
    });
    Ok(done.built.path)
}

/// A component that was built and is good.
struct Done {
    built: Built,
    plugin: Arc<Plugin>,
    millis: u64,
}

fn once(args: &BuildArgs, output: &Output) -> Result<Done, CliError> {
    let started = Instant::now();
    let project = Project::find(&args.directory)?;
    let options = Options { output: args.output.clone(), debug: args.debug };
    let mut progress = |happening: Happening<'_>| {
        if !output.quiet {
            match happening {
                Happening::Step(text) => output.note(&format!("{} {text}\n", output.err.dim("==>"))),
                Happening::Line(line) => output.note(&format!("{line}\n")),
            }
        }
    };
    let built = lockgate_toolchain::build::build(&project, &options, &mut progress);
    let built = built.inspect_err(|error| {
        // Without --quiet it was shown as it came.
        if let ToolchainError::Program { output: text, .. } = error
            && output.quiet
        {
            output.note(text);
        }
    })?;
    // The engine has the last word: it compiles the component and asks it what it is. Compiled code is kept where pipelines and cases
    // of this folder look for it.
    let name = built.path.display().to_string();
    let directory = project.directory.canonicalize().unwrap_or_else(|_| project.directory.clone());
    let cache = load::code_cache(&place::state_from(&directory));
    let plugin = super::host(1)?.load(&built.bytes, &*cache).map_err(|error| load::load_failed(&name, error))?;
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Done { built, plugin, millis })
}

impl Done {
    fn human(&self, style: Style) -> String {
        let Self { built, plugin, millis } = self;
        let manifest = plugin.manifest();
        let name = style.bold(&format!("{} {}", clean_line(&manifest.name), clean_line(&manifest.version)));
        let mut text = format!("{name}  {}\n", clean_line(&manifest.summary));
        let imports = if built.imports.is_empty() { "nothing".to_owned() } else { built.imports.join(", ") };
        let fields = [
            ("world", format!("{}, in {}", built.world.name(), built.language)),
            ("imports", imports),
            ("size", Bytes(built.bytes.len() as u64).to_string()),
            ("digest", plugin.digest().to_string()),
            ("file", built.path.display().to_string()),
            ("time", format!("{:.1} s", *millis as f64 / 1e3)),
        ];
        for (field, value) in fields {
            text += &format!("  {}{value}\n", style.dim(&format!("{field:<9}")));
        }
        text
    }

    fn json(&self) -> String {
        let Self { built, plugin, millis } = self;
        let document = json!({
            "schema": 1,
            "name": plugin.manifest().name,
            "version": plugin.manifest().version,
            "language": built.language.name(),
            "world": built.world,
            "imports": built.imports,
            "size": built.bytes.len(),
            "digest": plugin.digest(),
            "file": built.path,
            "millis": millis,
        });
        format!("{document}\n")
    }
}
