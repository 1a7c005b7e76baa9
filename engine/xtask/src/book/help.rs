//! The command line as pages: `--help` of every command.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// What a command says of itself, and the commands below it.
struct Help {
    words: Vec<String>,
    text: String,
    below: Vec<Help>,
}

/// The page.
pub fn page(lockgate: &Path) -> Result<String> {
    let all = ask(lockgate, &[])?;
    let mut page = "# The command line\n\nWhat `lockgate help` and `--help` of every command print.\n\n".to_owned();
    list(&all, &mut page);
    show(&all, &mut page);
    Ok(page)
}

/// Every command, with a link.
fn list(help: &Help, page: &mut String) {
    for one in &help.below {
        if one.below.is_empty() {
            let summary = one.text.lines().take_while(|line| !line.trim().is_empty()).collect::<Vec<_>>().join(" ");
            let name = one.words.join(" ");
            page.push_str(&format!("- [`lockgate {name}`](#lockgate-{}): {summary}\n", one.words.join("-")));
        }
        list(one, page);
    }
}

fn show(help: &Help, page: &mut String) {
    let name = std::iter::once("lockgate".to_owned()).chain(help.words.iter().cloned()).collect::<Vec<_>>().join(" ");
    // A fence longer than any in the text.
    page.push_str(&format!("\n## {name}\n\n````text\n{}\n````\n", help.text.trim_end()));
    for one in &help.below {
        show(one, page);
    }
}

/// Asks a command, and those below it.
fn ask(lockgate: &Path, words: &[String]) -> Result<Help> {
    let output = Command::new(lockgate).args(words).arg("--help").env("NO_COLOR", "1").output();
    let output = output.with_context(|| format!("failed to start `{}`", lockgate.display()))?;
    if !output.status.success() {
        bail!("`lockgate {} --help` ended with {}", words.join(" "), output.status);
    }
    let text = String::from_utf8(output.stdout).context("help is not UTF-8")?;
    let mut below = Vec::new();
    for name in commands(&text) {
        let words: Vec<String> = words.iter().cloned().chain([name]).collect();
        below.push(ask(lockgate, &words)?);
    }
    Ok(Help { words: words.to_vec(), text, below })
}

/// The names below `Commands:`, each after two spaces.
fn commands(text: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    let names = names.filter_map(|rest| rest.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_help() {
        let text = "Does it\n\nCommands:\n  check   Looks\n  diff    Shows\n            more\n  help    Helps\n\nOptions:\n  -q, --quiet\n";
        assert_eq!(commands(text), ["check", "diff"]);
        assert!(commands("Usage: x\n\nOptions:\n  -q\n").is_empty());
    }
}
