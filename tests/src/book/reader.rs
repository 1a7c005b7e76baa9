//! Somebody who follows a page: a home of their own, `lockgate` on the PATH, and a shell.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::page::{Page, Use};
use super::{compare, sources};
use crate::registry::Registry;
use crate::{Project, binary, tools};

/// Whose home it is, in all that is printed.
const HOME: &str = "/home/ann";
/// Seconds that no command needs: the first plugin in Rust on a busy machine compiles what all others share.
const PATIENCE: &str = "900";
/// The folder in which a page begins.
const FOLDER: &str = "shop";

/// Does what a page says.
///
/// # Panics
/// Where something else is printed than stands there; with `LOCKGATE_UPDATE=1` the page is changed instead.
pub fn follow(page: &str) {
    let path = sources().join(page);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    let page = Page::parse(Path::new(page), text).unwrap_or_else(|wrong| panic!("{wrong}"));
    let mut reader = Reader::new();
    let mut wrong = Vec::new();
    for block in &page.blocks {
        let place = format!("{}:{}", page.name, block.line);
        let content = page.content(block);
        match &block.what {
            Use::Show | Use::Covered(_) | Use::Ignored(_) => {}
            Use::File(name) => reader.write(name, &included(&path, content)),
            Use::Check => reader.check(&place, content),
            Use::Npm(folder) => tools::install(&reader.root, &reader.below(folder), "js"),
            Use::Python(folder, program) => tools::python(&reader.root, &reader.below(folder), program),
            Use::Program(name) => {
                let to = reader.folder().join(format!("{name}.wasm"));
                fs::copy(binary::program(name), to).expect("copy a program");
            }
            Use::Console { unordered } => {
                for step in steps(content) {
                    let (printed, code) = reader.run(&place, &step.command);
                    assert_eq!(
                        code, step.code,
                        "{place}: the exit code of `{}`, which prints\n{printed}",
                        step.command
                    );
                    let at = block.content.start + step.printed.start..block.content.start + step.printed.end;
                    if !compare::same(&page.text[at.clone()], &printed, *unordered) {
                        wrong.push((place.clone(), step.command, at, printed));
                    }
                }
            }
        }
    }
    if wrong.is_empty() {
        return;
    }
    if std::env::var_os("LOCKGATE_UPDATE").is_some() {
        update(&path, &page.text, &wrong);
        return;
    }
    let told = wrong.iter().map(|(place, command, at, printed)| {
        let (said, printed) = (compare::lines(&page.text[at.clone()]), compare::lines(printed));
        format!("{place}: `{command}`\n--- the book\n{}\n--- what it prints\n{}\n", said.join("\n"), printed.join("\n"))
    });
    panic!("{}LOCKGATE_UPDATE=1 writes the page anew\n", told.collect::<String>());
}

/// Puts what was printed where something else stands; from the end, so that places before it stay.
fn update(path: &Path, text: &str, wrong: &[(String, String, Range<usize>, String)]) {
    let mut text = text.to_owned();
    for (_, _, at, printed) in wrong.iter().rev() {
        let lines: Vec<&str> = printed.trim_end().lines().map(str::trim_end).collect();
        let mut lines = lines.join("\n");
        if !lines.is_empty() {
            lines.push('\n');
        }
        text.replace_range(at.clone(), &lines);
    }
    fs::write(path, text).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
}

/// A command, and what it is said to do.
struct Step {
    command: String,
    code: i32,
    /// Where in the block that stands.
    printed: Range<usize>,
}

/// The commands of a block.
fn steps(content: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut at, mut goes_on) = (0, false);
    for line in content.split_inclusive('\n') {
        let end = at + line.len();
        let shown = line.trim_end();
        match (shown.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => {
                steps.push(Step { command: command.to_owned(), code: 0, printed: end..end });
                goes_on = shown.ends_with('\\');
            }
            (None, Some(step)) if goes_on => {
                step.command.push('\n');
                step.command.push_str(shown.trim_start_matches("> "));
                step.printed = end..end;
                goes_on = shown.ends_with('\\');
            }
            (None, Some(step)) => step.printed.end = end,
            (None, None) => panic!("a block for a console begins with `$ `, not with `{shown}`"),
        }
        at = end;
    }
    for step in &mut steps {
        let code =
            step.command.rsplit_once("# exit ").map(|(before, code)| (before.trim().to_owned(), code.trim().parse()));
        if let Some((command, Ok(code))) = code {
            (step.command, step.code) = (command, code);
        }
    }
    steps
}

/// The text of a block with the files that it includes.
fn included(page: &Path, content: &str) -> String {
    let Some((before, rest)) = content.split_once("{{#include ") else { return content.to_owned() };
    let Some((name, after)) = rest.split_once("}}") else { return content.to_owned() };
    let path = page.parent().unwrap_or(Path::new("")).join(name.trim());
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    format!("{before}{}{}", text.trim_end(), included(page, after))
}

struct Reader {
    root: Project,
    /// What the page calls a host and port, and what it is.
    ports: Vec<(String, String)>,
    /// `kill %N` ends the one at N, counted from 1.
    services: Vec<Child>,
    registries: Vec<Registry>,
}

impl Reader {
    fn new() -> Self {
        let root = Project::new();
        for dir in ["bin".to_owned(), format!(".{HOME}/{FOLDER}")] {
            fs::create_dir_all(root.join(dir)).expect("make directories");
        }
        std::os::unix::fs::symlink(binary::lockgate(), root.join("bin/lockgate")).expect("make a link");
        std::os::unix::fs::symlink(binary::service(), root.join("bin/service")).expect("make a link");
        Self { root, ports: Vec::new(), services: Vec::new(), registries: Vec::new() }
    }

    /// A path of the page's folder, below the root.
    fn below(&self, path: &str) -> String {
        format!("{}/{FOLDER}/{path}", HOME.trim_start_matches('/'))
    }

    fn folder(&self) -> PathBuf {
        self.root.join(self.below(""))
    }

    /// A text of the page as it has to be for this machine.
    fn for_here(&self, text: &str) -> String {
        self.ports.iter().fold(text.to_owned(), |text, (shown, real)| text.replace(shown, real))
    }

    /// What was printed here, as the page has it.
    fn for_page(&self, text: &str) -> String {
        let text = text.replace(&self.root.path().display().to_string(), "");
        self.ports.iter().fold(text, |text, (shown, real)| text.replace(real, shown))
    }

    fn write(&self, name: &str, content: &str) {
        self.root.file(self.below(name), self.for_here(content));
    }

    /// A pipeline without a problem, whatever lies in the page's folder.
    fn check(&mut self, place: &str, content: &str) {
        let mut text = content.to_owned();
        if !text.lines().any(|line| line.starts_with("schema = ")) {
            text = format!("schema = 1\nname = \"page\"\n{text}");
        }
        self.write("checked.toml", &text);
        let (printed, code) = self.run(place, "lockgate check checked.toml");
        assert_eq!(code, 0, "{place}: the pipeline has problems:\n{printed}");
        fs::remove_file(self.folder().join("checked.toml")).expect("remove a file");
    }

    /// A command for the shell.
    fn command(&self, program: &str) -> Command {
        let mut command = self.root.program_like_lockgate(program);
        let path = std::env::var("PATH").unwrap_or_default();
        command.current_dir(self.folder()).env("PATH", format!("{}:{path}", self.root.join("bin").display()));
        let home = std::env::var("HOME").unwrap_or_default();
        for (variable, folder) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            if std::env::var_os(variable).is_none() {
                command.env(variable, Path::new(&home).join(folder));
            }
        }
        command.env("HOME", self.root.join(HOME.trim_start_matches('/'))).env("USER", "ann").env("LOGNAME", "ann");
        tools::cargo(&mut command);
        command
    }

    /// What it prints, on stdout and stderr, and its exit code.
    fn run(&mut self, place: &str, line: &str) -> (String, i32) {
        if let Some(service) = line.strip_suffix(" &") {
            return (self.start(place, service), 0);
        }
        if let Some(number) = line.strip_prefix("kill %") {
            let number = number.parse::<usize>().ok().and_then(|number| self.services.get_mut(number.wrapping_sub(1)));
            let service = number.unwrap_or_else(|| panic!("{place}: there is no service to `{line}`"));
            service.kill().and_then(|()| service.wait()).expect("end a service");
            return (String::new(), 0);
        }
        let mut command = self.command("timeout");
        command.args([PATIENCE, "sh", "-c", &self.for_here(line)]);
        let (mut reader, writer) = std::io::pipe().expect("make a pipe");
        let second = writer.try_clone().expect("make a pipe");
        let mut child = command.stdout(writer).stderr(second).spawn().expect("start a shell");
        // It holds the pipe's other end; without this what it prints would never end.
        drop(command);
        let mut printed = Vec::new();
        reader.read_to_end(&mut printed).expect("read a pipe");
        let status = child.wait().expect("wait for a shell");
        let printed = String::from_utf8_lossy(&printed).into_owned();
        assert!(!printed.contains("panicked at"), "{place}: `{line}` panicked:\n{printed}");
        (self.for_page(&printed), status.code().unwrap_or(-1))
    }

    /// Starts a service on a free port, and says what its first line says.
    fn start(&mut self, place: &str, line: &str) -> String {
        if line.starts_with("docker-registry ") {
            let registry = Registry::start();
            self.ports.push(("127.0.0.1:5000".to_owned(), registry.host()));
            self.registries.push(registry);
            return String::new();
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(shown) = words.iter().find(|word| word.starts_with("127.0.0.1:")) else {
            panic!("{place}: `{line} &` names no port of 127.0.0.1");
        };
        // One that takes the place of another listens where that did, because runs know that address.
        let known = self.ports.iter().find(|(earlier, _)| earlier == shown).map(|(_, real)| real.clone());
        let address = known.unwrap_or_else(|| "127.0.0.1:0".to_owned());
        let mut command = self.command("sh");
        command.args(["-c", &format!("exec {}", line.replace(shown, &address))]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("start a service");
        let mut first = String::new();
        let out = child.stdout.take().expect("a pipe was asked for");
        self.services.push(child);
        BufReader::new(out).read_line(&mut first).expect("read a pipe");
        let real = first.split_once("http://").map(|(_, address)| address.trim().to_owned());
        let real = real.unwrap_or_else(|| panic!("{place}: `{line}` says no address: {first}"));
        self.ports.retain(|(earlier, _)| earlier != shown);
        self.ports.push(((*shown).to_owned(), real));
        self.for_page(&first)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for service in &mut self.services {
            let _ = service.kill();
            let _ = service.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_codes_and_lines_that_go_on() {
        let text = "$ one # exit 3\nout\nmore\n$ two \\\n    --three\n$ four # a comment\n";
        let steps = steps(text);
        let told: Vec<_> =
            steps.iter().map(|step| (step.command.as_str(), step.code, &text[step.printed.clone()])).collect();
        assert_eq!(told, [("one", 3, "out\nmore\n"), ("two \\\n    --three", 0, ""), ("four # a comment", 0, "")]);
    }
}
