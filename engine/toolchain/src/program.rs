//! Other programs: where they are, whether they work, what they print.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ToolchainError;

/// What is told while something is made.
#[derive(Debug, Clone, Copy)]
pub enum Happening<'a> {
    /// Something begins: one line for people.
    Step(&'a str),
    /// A program printed a line.
    Line(&'a str),
}

/// Who is told.
pub type Progress<'a> = dyn FnMut(Happening<'_>) + 'a;

/// The most of a program's output that is kept for an error, in bytes: its beginning, where compilers name the first mistake.
const KEPT: usize = 1 << 20;
/// The longest command line in a message, in characters.
const SHOWN: usize = 200;

/// Runs a program to its end; what it prints on either stream is told line by line, in order.
pub fn run(command: &mut Command, progress: &mut Progress<'_>) -> Result<String, ToolchainError> {
    let program = text(command);
    let failed = || ToolchainError::io(format!("start `{program}`"));
    let (reader, writer) = std::io::pipe().map_err(failed())?;
    let second = writer.try_clone().map_err(failed())?;
    let mut child = command.stdin(Stdio::null()).stdout(writer).stderr(second).spawn().map_err(failed())?;
    // The command holds the pipe's other end; without this the loop below would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut output = String::new();
    for line in BufReader::new(reader).split(b'\n') {
        // What came until a pipe broke is as much as there is.
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line);
        let line = line.strip_suffix('\r').unwrap_or(&line);
        progress(Happening::Line(line));
        if output.len() < KEPT {
            output.push_str(line);
            output.push('\n');
        }
    }
    let status = child.wait().map_err(ToolchainError::io(format!("wait for `{program}`")))?;
    if !status.success() {
        return Err(ToolchainError::Program { program, how: status.to_string(), output });
    }
    Ok(output)
}

/// Whether a program can be started and succeeds.
pub fn succeeds(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> bool {
    answer(program, arguments).is_some()
}

/// What a program prints on stdout, if it can be started and succeeds.
pub fn answer(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first of these programs that is there: in one of the folders, or else in the path.
pub fn find(folders: &[PathBuf], names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = folders.iter().cloned().chain(std::env::split_paths(&path)).collect();
    let candidates = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.into_iter().find(|candidate| is_program(candidate))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Cargo, as rustup picks it for a directory.
pub fn cargo(directory: &Path) -> Command {
    let mut command = Command::new("cargo");
    // What cargo set for this very process must not reach another workspace.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command.current_dir(directory);
    command
}

/// A command as people write it, cut.
fn text(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let text = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_are_told_in_order_and_an_end_is_named() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; printf three; exit 3"]);
        let error = run(&mut command, &mut |happening| {
            if let Happening::Line(line) = happening {
                lines.push(line.to_owned());
            }
        });
        assert_eq!(lines, ["one", "two", "three"]);
        let Err(ToolchainError::Program { program, how, output }) = error else { panic!("{error:?}") };
        assert!(program.starts_with("sh -c echo one"), "{program}");
        assert_eq!((how.as_str(), output.as_str()), ("exit status: 3", "one\ntwo\nthree\n"));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert!(find(&[], &["lockgate-has-no-such-program", "sh"]).is_some_and(|path| path.ends_with("sh")));
        assert_eq!(find(&[PathBuf::from("/")], &["lockgate-has-no-such-program"]), None);
        assert!(!succeeds("lockgate-has-no-such-program", &[]));
        let error = run(&mut Command::new("lockgate-has-no-such-program"), &mut |_| ()).unwrap_err();
        assert_eq!(error.to_string(), "start `lockgate-has-no-such-program`");
    }
}
