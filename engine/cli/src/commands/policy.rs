//! `lockgate policy`: which policies are in force, pipelines held against them, and their own tests.

use lockgate::wiring::policy::{Origin, Policies};
use lockgate_model::policy::Rule;
use lockgate_syntax::policy::{CaseEnd, Expectation, PolicyFile};
use serde_json::{Value, json};

use super::Ended;
use super::check::checked;
use crate::args::{FileArgs, Format, LockArgs, PolicyCheckArgs, PolicyShowArgs, PolicyTestArgs, RunFormat};
use crate::exit::{CliError, Exit};
use crate::render::diagnostics::{self, count};
use crate::render::github;
use crate::render::output::Output;
use crate::render::style::{Style, clean_line};

/// Prints the policies in force.
pub(crate) fn show(args: &PolicyShowArgs, output: &Output) -> Ended {
    let policies = Policies::load(args.policy.policy.as_deref(), output)?;
    match args.format {
        Format::Json => {
            let files: Vec<_> = policies.with_origins().map(|(file, origin)| json_policy(file, origin)).collect();
            output.data(&(json!({ "schema": 1, "policies": files }).to_string() + "\n"));
        }
        Format::Human if policies.is_empty() => {
            output.data("no policy is in force: pipelines have what they grant\n");
        }
        Format::Human => {
            let files = policies.with_origins().map(|(file, origin)| human_policy(file, origin, output.out));
            output.data(&files.collect::<Vec<_>>().join("\n"));
        }
    }
    Ok(Exit::Succeeded)
}

fn human_policy(file: &PolicyFile, origin: Origin, style: Style) -> String {
    let mut text =
        format!("{} {} ({})\n", style.bold(&clean_line(&file.policy.name)), clean_line(&file.file), origin.name());
    let mut line = |name: &str, value: String| {
        text.push_str(&format!("  {} {value}\n", style.dim(&format!("{name:<22}"))));
    };
    line("digest", file.digest.to_string());
    for rule in Rule::ALL {
        let says = rule.says(&file.policy);
        let is_limit = matches!(rule, Rule::Limit(_));
        let demands = matches!(rule, Rule::Digests | Rule::Signed | Rule::RevokedDigests);
        match says.split_first() {
            Some((first, more)) => {
                line(rule.name(), format!("{}{}", if is_limit { "at most " } else { "" }, clean_line(first)));
                more.iter().for_each(|more| line("", clean_line(more)));
            }
            None if is_limit || demands => {}
            None => line(rule.name(), style.dim("nothing")),
        }
    }
    for (name, signer) in &file.policy.signers {
        let until = signer.until.map(|until| format!(" until {}", crate::time::rfc3339(until)));
        line("signer", format!("{name}{}", until.unwrap_or_default()));
    }
    file.policy.revoked.keys.iter().for_each(|key| line("revoked.keys", key.clone()));
    line("tests", file.tests.len().to_string());
    text
}

fn json_policy(file: &PolicyFile, origin: Origin) -> Value {
    let rules: serde_json::Map<_, _> = Rule::ALL
        .into_iter()
        .map(|rule| (rule.name().to_owned(), json!({ "says": rule.says(&file.policy), "line": file.line(rule) })))
        .collect();
    let signers: serde_json::Map<_, _> = file
        .policy
        .signers
        .iter()
        .map(|(name, signer)| (name.clone(), json!({ "until": signer.until.map(crate::time::rfc3339) })))
        .collect();
    json!({
        "name": file.policy.name,
        "file": file.file,
        "origin": origin.name(),
        "digest": file.digest,
        "rules": rules,
        "signers": signers,
        "revoked_keys": file.policy.revoked.keys,
        "tests": file.tests.len(),
    })
}

/// Checks pipelines against the policies in force.
pub(crate) fn check(args: &PolicyCheckArgs, output: &Output) -> Ended {
    let policies = Policies::load(args.policy.policy.as_deref(), output)?;
    if policies.is_empty() {
        let error = anyhow::anyhow!("check against a policy: none is in force");
        return Err(CliError::new(Exit::Wrong, error).hint("name one with `--policy FILE` or LOCKGATE_POLICY"));
    }
    let mut worst = Exit::Succeeded;
    for file in &args.files {
        let (params, root) = (args.params.clone(), args.root.clone());
        let loaded = match checked(
            &FileArgs { file: file.clone(), params, root, state: None },
            &LockArgs::default(),
            &policies,
            output,
        ) {
            Ok(loaded) => loaded,
            // The others are looked at all the same.
            Err(error) => {
                output.error(&error);
                worst = worse(worst, error.exit);
                continue;
            }
        };
        worst = worse(worst, super::exit_of(&loaded));
        match args.format {
            RunFormat::Json => output.data(
                &loaded.problems.iter().map(|problem| diagnostics::json(problem, &loaded.name)).collect::<String>(),
            ),
            RunFormat::Github => {
                let problems = loaded.problems.iter().map(|problem| github::problem(problem, &loaded.name));
                output.data(&problems.collect::<String>());
            }
            RunFormat::Human => {
                output.note(&diagnostics::human(&loaded.problems, output.err, output.width));
                if loaded.problems.is_empty() && !output.quiet {
                    output.note(&format!("{} {}: allowed\n", output.err.good("ok"), clean_line(&loaded.name)));
                } else if !loaded.problems.is_empty() {
                    let problems = count(loaded.problems.len(), "problem");
                    let name = clean_line(&loaded.name);
                    output.note(&format!("{} {problems} in {name}\n", output.err.bad("error:")));
                }
            }
        }
    }
    Ok(worst)
}

/// The one that says more: infrastructure tells nothing of the pipelines, a wrong one nothing of what it would be allowed.
fn worse(one: Exit, other: Exit) -> Exit {
    let rank = |exit: &Exit| match exit {
        Exit::Succeeded => 0,
        Exit::Refused => 1,
        Exit::Wrong => 2,
        _ => 3,
    };
    std::cmp::max_by_key(one, other, rank)
}

/// Runs the tests inside of policies.
pub(crate) fn test(args: &PolicyTestArgs, output: &Output) -> Ended {
    let policies = match &args.file {
        Some(file) => Policies::named(file, output)?,
        None => Policies::load(args.policy.policy.as_deref(), output)?,
    };
    if policies.is_empty() {
        let error = anyhow::anyhow!("test a policy: none is named, and none is in force");
        return Err(CliError::new(Exit::Wrong, error).hint("name one: lockgate policy test lockgate-policy.toml"));
    }
    let (mut passed, mut failed) = (0, 0);
    for file in policies.files() {
        for test in &file.tests {
            let end = file.run(test);
            match &end {
                CaseEnd::Passed => passed += 1,
                CaseEnd::Failed(_) => failed += 1,
            }
            match args.format {
                Format::Json => {
                    let (expect, because) = match test.expect {
                        Expectation::Allowed => ("allowed", None),
                        Expectation::Refused(rule) => ("refused", rule),
                    };
                    let why = match &end {
                        CaseEnd::Passed => None,
                        CaseEnd::Failed(why) => Some(why),
                    };
                    let line = json!({
                        "schema": 1,
                        "file": file.file,
                        "line": test.line,
                        "test": test.name,
                        "expect": expect,
                        "because": because.map(Rule::name),
                        "passed": why.is_none(),
                        "why": why,
                    });
                    output.data(&(line.to_string() + "\n"));
                }
                Format::Human => output.data(&match &end {
                    CaseEnd::Passed => format!("{} {}\n", output.out.good("ok    "), clean_line(&test.name)),
                    CaseEnd::Failed(why) => format!(
                        "{} {} ({}:{})\n       {}\n",
                        output.out.bad("FAILED"),
                        clean_line(&test.name),
                        clean_line(&file.file),
                        test.line,
                        clean_line(why)
                    ),
                }),
            }
        }
    }
    if args.format == Format::Human && !output.quiet {
        output.note(&format!("{} passed, {failed} failed\n", count(passed, "test")));
    }
    Ok(if failed == 0 { Exit::Succeeded } else { Exit::Failed })
}
