//! Facts about the git repository around the root, asked of the `git` program with an environment in which nothing of the
//! user's or the repository's configuration runs a program.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use lockgate_model::pipeline::GitFacts;

/// What keeps git facts from being known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// There is no such program.
    #[error("run `git`: it is not installed")]
    NotInstalled,
    /// It could not be started or read.
    #[error("run `git`")]
    Io(#[source] io::Error),
    /// The root is in no repository, or in one without a commit.
    #[error("ask git: {0}")]
    Failed(String),
}

/// Longest message of git that is passed on, in characters.
const MAX_MESSAGE: usize = 500;

/// Facts about the repository that holds `root`. Whether it is dirty looks at `root` and below only, as a pipeline does.
pub fn git_facts(root: &Path) -> Result<GitFacts, GitError> {
    let mut git = Git { root, trusted: Vec::new() };
    let commit = match git.line(&["rev-parse", "--verify", "HEAD^{commit}"]) {
        // The user's answer to that stands in a configuration that is otherwise not read.
        Err(GitError::Failed(message)) if message.contains("dubious ownership") => {
            git.trusted = git.trusted_directories()?;
            git.line(&["rev-parse", "--verify", "HEAD^{commit}"])?
        }
        other => other?,
    };
    let commit = commit.ok_or_else(|| GitError::Failed("it names no commit".into()))?;
    let branch = git.line(&["symbolic-ref", "--quiet", "HEAD"])?;
    let branch = branch.and_then(|name| name.strip_prefix("refs/heads/").map(str::to_owned));
    let tag = git.line(&[
        "for-each-ref",
        "--points-at=HEAD",
        "--sort=-version:refname",
        "--count=1",
        "--format=%(refname:lstrip=2)",
        "refs/tags",
    ])?;
    Ok(GitFacts { commit, branch, tag, dirty: git.is_dirty()? })
}

struct Git<'a> {
    root: &'a Path,
    /// Values for `safe.directory`.
    trusted: Vec<String>,
}

impl Git<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_OPTIONAL_LOCKS", "0")]);
        command.envs([("GIT_TERMINAL_PROMPT", "0"), ("GIT_PAGER", "cat"), ("LC_ALL", "C"), ("HOME", "/nonexistent")]);
        command.args(["--no-pager", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]);
        command.args(["-c", "core.untrackedCache=false", "-c", "core.quotePath=true"]);
        for directory in &self.trusted {
            command.arg("-c").arg(format!("safe.directory={directory}"));
        }
        command.arg("-C").arg(self.root).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Result<Output, GitError> {
        self.command().args(args).output().map_err(start_error)
    }

    /// The answer's first line; none where it is empty, also if git ends with 1 and says nothing: its way to say no.
    fn line(&self, args: &[&str]) -> Result<Option<String>, GitError> {
        let output = self.run(args)?;
        let says_no = output.status.code() == Some(1) && output.stderr.is_empty();
        if !output.status.success() && !says_no {
            return Err(GitError::Failed(message(&output.stderr)));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().next().map(str::to_owned).filter(|line| !line.is_empty()))
    }

    /// Reads the user's `safe.directory`, which runs nothing.
    fn trusted_directories(&self) -> Result<Vec<String>, GitError> {
        let mut command = Command::new("git");
        let keep: [&str; 3] = ["PATH", "HOME", "XDG_CONFIG_HOME"];
        let kept: Vec<(&str, OsString)> =
            keep.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))).collect();
        // Outside of any repository: only the system's and the user's configuration are read.
        command.env_clear().envs(kept).env("GIT_DIR", "/nonexistent").current_dir("/").stdin(Stdio::null());
        let output =
            command.args(["config", "--includes", "--get-all", "safe.directory"]).output().map_err(start_error)?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }

    /// The first byte of the answer tells; the rest may be long.
    fn is_dirty(&self) -> Result<bool, GitError> {
        let args = ["status", "--porcelain=v1", "--untracked-files=normal", "--ignore-submodules=dirty", "--", "."];
        let mut command = self.command();
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(start_error)?;
        let mut byte = [0];
        let count = match child.stdout.take() {
            Some(mut stdout) => stdout.read(&mut byte).map_err(GitError::Io)?,
            None => 0,
        };
        if count > 0 {
            // Its pipe is closed now, so it ends by itself.
            let _ = child.wait();
            return Ok(true);
        }
        match child.wait().map_err(GitError::Io)?.success() {
            true => Ok(false),
            false => Err(GitError::Failed("`git status` failed".into())),
        }
    }
}

fn start_error(error: io::Error) -> GitError {
    if error.kind() == io::ErrorKind::NotFound { GitError::NotInstalled } else { GitError::Io(error) }
}

fn message(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let text = text.trim().strip_prefix("fatal: ").unwrap_or(text.trim());
    text.chars().take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(root: &Path, args: &[&str]) {
        let mut command = Command::new("git");
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env_remove("GIT_DIR");
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"];
        let output = command.args(identity).arg("-C").arg(root).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
    }

    #[test]
    fn facts_follow_the_repository() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        git(root, &["init", "-q"]);
        assert!(matches!(git_facts(root), Err(GitError::Failed(_))), "no commit yet");
        std::fs::write(root.join("a"), "1").unwrap();
        git(root, &["add", "a"]);
        git(root, &["commit", "-qm", "one"]);
        let facts = git_facts(root).unwrap();
        assert_eq!(facts.commit.len(), 40);
        assert_eq!((facts.branch.as_deref(), facts.tag, facts.dirty), (Some("main"), None, false));
        for tag in ["v0.9.0", "v0.10.0"] {
            git(root, &["tag", tag]);
        }
        std::fs::write(root.join("a"), "2").unwrap();
        let facts = git_facts(root).unwrap();
        assert_eq!((facts.tag.as_deref(), facts.dirty), (Some("v0.10.0"), true));
        git(root, &["checkout", "-q", "--", "a"]);
        git(root, &["checkout", "-q", "--detach"]);
        std::fs::create_dir(root.join("below")).unwrap();
        std::fs::write(root.join("untracked"), "").unwrap();
        assert_eq!(git_facts(root).unwrap().branch, None);
        assert!(git_facts(root).unwrap().dirty);
        assert!(!git_facts(&root.join("below")).unwrap().dirty, "what is beside the root does not count");
    }

    #[test]
    fn configuration_of_the_repository_runs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        git(root, &["init", "-q"]);
        std::fs::write(root.join("a"), "1").unwrap();
        git(root, &["add", "a"]);
        git(root, &["commit", "-qm", "one"]);
        let script = root.join(".git/evil");
        std::fs::write(&script, "#!/bin/sh\ntouch \"$(dirname \"$0\")/ran\"\n").unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        git(root, &["config", "core.fsmonitor", script.to_str().unwrap()]);
        git(root, &["config", "core.pager", script.to_str().unwrap()]);
        git_facts(root).unwrap();
        assert!(!root.join(".git/ran").exists());
    }

    #[test]
    fn no_repository_is_an_error_that_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let error = git_facts(dir.path()).unwrap_err().to_string();
        assert!(error.contains("not a git repository"), "{error}");
    }
}
