//! `lockgate plugin test`: the cases of plugins, in the sandbox.

use std::time::Instant;

use lockgate::wiring::load;

use super::Ended;
use crate::args::{Format, StateArgs, TestArgs};
use crate::cases::{Bench, Project, Ran};
use crate::exit::{CliError, Exit};
use crate::place;
use crate::render::cases::{self, Report, Word};
use crate::render::diagnostics::{self, count};
use crate::render::output::Output;

/// Runs the cases of plugins.
pub(crate) fn test(args: &TestArgs, output: &Output) -> Ended {
    if let Some(path) = args.junit.as_deref().filter(|path| path.is_dir()) {
        let error = anyhow::anyhow!("write a JUnit report to `{}`: it is a directory", path.display());
        return Err(CliError::new(Exit::Wrong, error).hint("name a file"));
    }
    let mut problems = Vec::new();
    let mut projects = Vec::new();
    for target in &args.targets {
        projects.push(Project::find(target, &args.cases, &mut problems)?);
    }
    if !problems.is_empty() {
        output.note(&diagnostics::human(&problems, output.err, output.width));
        let problems = count(problems.len(), "problem");
        output.note(&format!("{} {problems} in the cases; nothing ran\n", output.err.bad("error:")));
        return Ok(Exit::Wrong);
    }
    let bench = Bench::new(super::host(1)?)?;
    // Compiled code is taken from and kept in the state directory of the place one is in, if it has one.
    let here = place::state_here(&StateArgs { root: None, state: None })?;
    let cache = load::code_cache(if here.is_dir() { &here } else { bench.store.dir() });
    let begun = Instant::now();
    let mut reports: Vec<Report> = Vec::new();
    for project in &projects {
        let plugin =
            bench.host.load(&project.bytes, &*cache).map_err(|error| load::load_failed(&project.component, error))?;
        if args.format == Format::Human {
            output.data(&cases::heading(project, &plugin, output.out));
        }
        let width = project.cases.iter().map(|case| case.name.chars().count()).max().unwrap_or_default();
        for case in &project.cases {
            let ran: Ran = bench.run(&plugin, case, args.update)?;
            let report = Report::new(project, case, &plugin, ran);
            output.data(&match args.format {
                Format::Human => report.human(output.out, width, output.verbose),
                Format::Json => report.json(),
            });
            reports.push(report);
        }
    }
    let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    if let Some(path) = &args.junit {
        cases::junit(&reports, micros).and_then(|text| super::put(path, text.as_bytes())).map_err(|error| {
            CliError::new(Exit::Infrastructure, error).context(format!("write a JUnit report to `{}`", path.display()))
        })?;
    }
    match args.format {
        Format::Json => output.data(&cases::end_line(&reports, micros)),
        Format::Human if !output.quiet => output.note(&cases::end(&reports, micros, output.err)),
        Format::Human => {}
    }
    Ok(exit(reports.iter().map(Report::word)))
}

/// What is worst says it: surroundings that failed tell nothing of the plugin, and one that is not reproducible has no result.
fn exit(words: impl Iterator<Item = Word>) -> Exit {
    let exits = words.map(|word| match word {
        Word::Passed => Exit::Succeeded,
        Word::Failed => Exit::Failed,
        Word::Unstable => Exit::NotReproducible,
        Word::Broken => Exit::Infrastructure,
    });
    exits.max_by_key(|exit| exit.code()).unwrap_or(Exit::Succeeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_case_decides() {
        let all = [Word::Passed, Word::Failed, Word::Unstable, Word::Broken];
        let codes = [1, 2, 3, 4].map(|number| exit(all[..number].iter().copied()).code());
        assert_eq!(codes, [0, 1, 4, 5]);
        assert_eq!(exit(std::iter::empty()).code(), 0);
    }
}
