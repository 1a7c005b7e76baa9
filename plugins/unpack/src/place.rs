//! Where entries go: the rules for their names, what was there before, where links lead, and the tree that is built.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::rc::Rc;

use lockgate_sdk::prelude::*;

use crate::compressed::{Budget, CUT};
use crate::{Config, Links, Special};

/// Bytes of all names together: they are the one thing that is kept of each entry. A third of a node's default memory.
const NAMES: usize = 16 << 20;
/// The longest path, and the longest name in one, that a tree may have.
const LONGEST: (usize, usize) = (4096, 255);
/// Bytes that go from the archive to the tree at once.
const BUFFER: usize = 32 << 10;
/// The deepest path that a tree may have.
const DEEPEST: usize = 128;
/// How many links may be followed on the way to one place, as in Linux.
const HOPS: usize = 40;
/// How many hard links one file may have besides its first name: they are written at once, with a buffer each.
const HARD_LINKS: usize = 32;

/// What an entry is.
#[derive(Clone, Copy)]
pub enum Kind<'a> {
    File {
        executable: bool,
    },
    Directory,
    Symlink {
        target: &'a str,
    },
    HardLink {
        target: &'a str,
    },
    /// A device, a pipe or a socket.
    Special,
}

/// Which entries are taken, under which names.
pub struct Rules<'c> {
    config: &'c Config,
    prefix: Vec<&'c str>,
}

impl<'c> Rules<'c> {
    pub fn new(config: &'c Config) -> Result<Self> {
        let prefix = config.strip_prefix.trim_end_matches('/');
        let prefix: Vec<&str> = if prefix.is_empty() { Vec::new() } else { prefix.split('/').collect() };
        ensure!(
            prefix.is_empty() || config.strip == 0,
            "`strip` and `strip_prefix` say the same in two ways: use one of them"
        );
        let plain = prefix.iter().all(|part| !matches!(*part, "" | "." | ".."));
        ensure!(plain, "`strip_prefix` is `{}`, which is no path inside an archive", config.strip_prefix);
        Ok(Self { config, prefix })
    }

    /// The names of a path, or why it may not be in a tree.
    fn parts(path: &str) -> Result<Vec<&str>> {
        ensure!(!path.starts_with('/'), "it is absolute");
        ensure!(path.len() <= LONGEST.0, "it is longer than {} bytes", LONGEST.0);
        // Archives write `./a`, and some `a//b`.
        let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        ensure!(!parts.contains(&".."), "it holds `..`, which leads out of the tree");
        ensure!(parts.len() <= DEEPEST, "it is nested deeper than {DEEPEST} directories");
        for part in &parts {
            ensure!(part.len() <= LONGEST.1, "one of its names is longer than {} bytes", LONGEST.1);
            ensure!(!part.contains(['\0', '\n', '\r']), "it holds NUL or a line break");
        }
        Ok(parts)
    }

    /// The path in the tree; none for what is left out.
    fn place(&self, parts: &[&str], directory: bool) -> Result<Option<String>> {
        let strip = match self.prefix.len() {
            0 => self.config.strip as usize,
            length => {
                let shared = parts.iter().zip(&self.prefix).take_while(|(a, b)| a == b).count();
                let above = directory && shared == parts.len();
                ensure!(shared == length || above, "it is not in `{}`, which is stripped", self.prefix.join("/"));
                length
            }
        };
        if parts.len() <= strip {
            ensure!(directory, "nothing would be left of its name: it has no {strip} directories to strip");
            return Ok(None);
        }
        let path = parts[strip..].join("/");
        let config = self.config;
        let any = |patterns: &[String]| patterns.iter().any(|pattern| fast_glob::glob_match(pattern, &path));
        let wanted = (config.include.is_empty() || any(&config.include)) && !any(&config.exclude);
        // A directory that is not asked for comes by what is in it.
        Ok(wanted.then_some(path))
    }
}

/// What stands at a path.
enum There {
    File,
    Directory,
    Symlink(String),
}

/// How much there was.
#[derive(Default)]
pub struct Counts {
    files: u64,
    directories: u64,
    links: u64,
    skipped: u64,
    bytes: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, directories, links, skipped, bytes } = self;
        write!(f, "{files} files of {bytes} bytes, {directories} directories, {links} links; {skipped} left out")
    }
}

/// Hard links, whose contents a second pass writes.
#[derive(Default)]
struct HardLinks {
    /// By the name in the archive that has the content: paths in the tree.
    wanted: BTreeMap<String, Vec<(String, bool)>>,
    /// By its own name: the name in the archive that has the content.
    original: BTreeMap<String, String>,
    /// The second pass has begun.
    pass: bool,
}

/// The tree that is built.
pub struct Place<'c> {
    rules: Rules<'c>,
    tree: TreeBuilder,
    budget: Rc<Budget>,
    /// By path.
    there: BTreeMap<String, There>,
    /// By path in lower case: the path.
    twins: BTreeMap<String, String>,
    /// Files by their names in the archive, for hard links: whether they are executable.
    files: BTreeMap<String, bool>,
    names: usize,
    entries: u64,
    hard: HardLinks,
    counts: Counts,
    findings: Findings,
    /// What contents go through; kept, because making one costs as much as a small file.
    buffer: Vec<u8>,
}

impl<'c> Place<'c> {
    pub fn new(rules: Rules<'c>, tree: TreeBuilder, budget: Rc<Budget>) -> Self {
        let (there, twins, files) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (hard, counts, findings) = (HardLinks::default(), Counts::default(), Findings::new());
        Self {
            rules,
            tree,
            budget,
            there,
            twins,
            files,
            names: 0,
            entries: 0,
            hard,
            counts,
            findings,
            buffer: vec![0; BUFFER],
        }
    }

    /// Takes bytes that come out of an archive without a compressor around all of it.
    pub fn take(&self, bytes: u64) -> io::Result<()> {
        self.budget.take(bytes)
    }

    /// Adds an entry. The content is what the archive holds for it, to its end; of a file only.
    pub fn add(&mut self, name: &str, kind: Kind<'_>, content: &mut dyn Read) -> Result<()> {
        if self.hard.pass {
            return self.add_again(name, content).with_context(|| format!("unpack {}", shown(name)));
        }
        self.entries += 1;
        let most = self.rules.config.max_entries;
        ensure!(self.entries <= most, "it has more than {most} entries: raise `max_entries` if that is right");
        self.add_new(name, kind, content).with_context(|| format!("unpack {}", shown(name)))
    }

    fn add_new(&mut self, name: &str, kind: Kind<'_>, content: &mut dyn Read) -> Result<()> {
        let parts = Rules::parts(name)?;
        let directory = matches!(kind, Kind::Directory);
        if parts.is_empty() {
            ensure!(directory, "it has no name");
            return Ok(());
        }
        let original = parts.join("/");
        if let Kind::File { executable } = kind {
            self.remember(&original)?;
            ensure!(self.files.insert(original.clone(), executable).is_none(), "it is in the archive twice");
        }
        let Some(path) = self.rules.place(&parts, directory)? else {
            if let Kind::HardLink { target } = kind {
                let target = self.content_of(target)?;
                self.hard.original.insert(original, target);
            }
            self.counts.skipped += u64::from(!directory);
            return Ok(());
        };
        match kind {
            Kind::Directory => {
                if !matches!(self.there.get(&path), Some(There::Directory)) {
                    self.claim(&path, There::Directory)?;
                    self.counts.directories += 1;
                }
                Ok(self.tree.directory(&path)?)
            }
            Kind::File { executable } => {
                self.claim(&path, There::File)?;
                self.counts.files += 1;
                let mut writer = self.tree.file(&path, executable)?;
                self.counts.bytes += copy(content, &mut self.buffer, |piece| writer.write_all(piece))?;
                writer.finish()
            }
            Kind::Symlink { target } => self.link(&path, target),
            Kind::HardLink { target } => {
                let target = self.content_of(target)?;
                self.claim(&path, There::File)?;
                self.counts.files += 1;
                let executable = self.files.get(&target).copied().unwrap_or_default();
                self.hard.original.insert(original, target.clone());
                let links = self.hard.wanted.entry(target).or_default();
                ensure!(links.len() < HARD_LINKS, "it is one of more than {HARD_LINKS} hard links to one file");
                links.push((path, executable));
                Ok(())
            }
            Kind::Special => match self.rules.config.special {
                Special::Refuse => {
                    bail!("it is a device, a pipe or a socket: `special = \"skip\"` leaves such entries out")
                }
                Special::Skip => {
                    self.counts.skipped += 1;
                    let finding = Finding::warning("a device, a pipe or a socket was left out");
                    self.found(finding.rule("special").path(&path));
                    Ok(())
                }
            },
        }
    }

    /// The name of the file that has the content of a hard link to this name.
    fn content_of(&self, target: &str) -> Result<String> {
        let parts = Rules::parts(target).with_context(|| format!("its hard link leads to {}", shown(target)))?;
        let name = parts.join("/");
        if self.files.contains_key(&name) {
            return Ok(name);
        }
        let original = self.hard.original.get(&name).cloned();
        original.with_context(|| format!("its hard link leads to {}, which is no file before it", shown(target)))
    }

    fn link(&mut self, path: &str, target: &str) -> Result<()> {
        match self.rules.config.symlinks {
            Links::Refuse => bail!("it is a symbolic link: `symlinks` permits none"),
            Links::Skip => {
                self.counts.skipped += 1;
                return Ok(());
            }
            Links::Keep => {}
        }
        ensure!(!target.is_empty(), "its link leads nowhere");
        ensure!(!target.starts_with('/'), "its link leads to {}, which is absolute", shown(target));
        let plain = target.len() <= LONGEST.0 && !target.contains(['\0', '\n', '\r', '\\']);
        ensure!(plain, "its link leads to {}, which is no path inside a tree", shown(target));
        let depth = target.split('/').try_fold(path.matches('/').count(), |depth, part| match part {
            "" | "." => Some(depth),
            ".." => depth.checked_sub(1),
            _ => Some(depth + 1),
        });
        ensure!(depth.is_some(), "its link leads to {}, out of the tree", shown(target));
        self.names += target.len();
        self.claim(path, There::Symlink(target.to_owned()))?;
        self.counts.links += 1;
        self.tree.symlink(path, target)
    }

    /// Takes a path, and the directories above it.
    fn claim(&mut self, path: &str, what: There) -> Result<()> {
        for (slash, _) in path.match_indices('/') {
            let above = &path[..slash];
            match self.there.get(above) {
                Some(There::Directory) => {}
                Some(There::File) => bail!("`{above}` is a file, and cannot hold it"),
                Some(There::Symlink(_)) => bail!("`{above}` is a symbolic link: nothing is written through links"),
                None => self.note(above, There::Directory)?,
            }
        }
        ensure!(!self.there.contains_key(path), "another entry unpacks to `{path}` too");
        self.note(path, what)
    }

    fn note(&mut self, path: &str, what: There) -> Result<()> {
        if !self.rules.config.case_twins {
            self.remember(path)?;
            if let Some(twin) = self.twins.insert(path.to_lowercase(), path.to_owned())
                && twin != path
            {
                bail!(
                    "`{path}` and `{twin}` differ in upper and lower case alone: some file systems take them for one; `case_twins = true` permits that"
                );
            }
        }
        self.remember(path)?;
        self.there.insert(path.to_owned(), what);
        Ok(())
    }

    /// Counts a name that is kept.
    fn remember(&mut self, name: &str) -> Result<()> {
        self.names += name.len();
        ensure!(self.names <= NAMES, "the names of all entries together are longer than {NAMES} bytes");
        Ok(())
    }

    fn found(&mut self, finding: Finding) {
        // A tenth of what a node may have: the log has the number of all.
        if self.findings.len() < 1_000 {
            self.findings.push(finding);
        }
    }

    /// Whether a second pass has to bring the contents of hard links; it begins.
    pub fn begin_links(&mut self) -> bool {
        self.hard.pass = true;
        !self.hard.wanted.is_empty()
    }

    fn add_again(&mut self, name: &str, content: &mut dyn Read) -> Result<()> {
        let Some(links) = self.hard.wanted.remove(&Rules::parts(name)?.join("/")) else { return Ok(()) };
        let writers: Result<Vec<Writer>> =
            links.iter().map(|(path, executable)| self.tree.file(path, *executable)).collect();
        let (mut writers, budget) = (writers?, &self.budget);
        self.counts.bytes += copy(content, &mut self.buffer, |piece| {
            // What is written more than once has come out of the archive more than once.
            budget.take((piece.len() * writers.len()) as u64)?;
            writers.iter_mut().try_for_each(|writer| writer.write_all(piece))
        })? * writers.len() as u64;
        writers.into_iter().try_for_each(Writer::finish)
    }

    /// Checks where links lead, and ends the tree.
    pub fn finish(self) -> Result<(Counts, Findings)> {
        for (path, there) in &self.there {
            if matches!(there, There::Symlink(_)) {
                self.follow(path).with_context(|| format!("unpack {}", shown(path)))?;
            }
        }
        self.tree.finish()?;
        Ok((self.counts, self.findings))
    }

    /// Follows a link through all others. One by one they stay inside; put together they need not: `a/up -> ..` and
    /// `out -> a/up/..` lead out.
    fn follow(&self, path: &str) -> Result<()> {
        let mut ahead: Vec<&str> = path.split('/').rev().collect();
        let (mut at, mut hops) = (Vec::new(), 0);
        while let Some(part) = ahead.pop() {
            match part {
                "" | "." => continue,
                ".." => {
                    ensure!(at.pop().is_some(), "its link leads out of the tree by way of other links");
                    continue;
                }
                _ => at.push(part),
            }
            if let Some(There::Symlink(target)) = self.there.get(&at.join("/")) {
                hops += 1;
                // A loop leads nowhere, which is no way out.
                if hops > HOPS {
                    return Ok(());
                }
                at.pop();
                ahead.extend(target.split('/').rev());
                ensure!(ahead.len() <= 64 * DEEPEST, "its link leads through too many directories");
            }
        }
        Ok(())
    }
}

/// A name as it can be shown: archives may hold control characters in them.
pub fn shown(name: &str) -> String {
    let text: String = name.chars().take(200).flat_map(char::escape_debug).collect();
    format!("`{text}`")
}

/// Hands a content on to its end, and says how long it was.
fn copy(content: &mut dyn Read, buffer: &mut [u8], mut write: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let mut copied = 0;
    loop {
        let count = content.read(buffer)?;
        if count == 0 {
            return Ok(copied);
        }
        write(&buffer[..count])?;
        copied += count as u64;
    }
}

/// Reads a content to its end.
pub fn drain(content: &mut dyn Read) -> io::Result<()> {
    let mut buffer = [0; 512];
    while content.read(&mut buffer)? > 0 {}
    Ok(())
}

/// The part of a stream that belongs to one entry: it must all be there.
pub struct Part<'a> {
    pub source: &'a mut dyn Read,
    pub left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.source.read(&mut into[..most])?;
        if count == 0 {
            return Err(io::Error::other(CUT));
        }
        self.left -= count as u64;
        Ok(count)
    }
}
