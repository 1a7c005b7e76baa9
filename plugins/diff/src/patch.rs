//! One file's differences in the form of git, which `git apply` and `patch` take.

use std::io::Write;

use imara_diff::{Algorithm, Diff, InternedInput};
use lockgate_sdk::prelude::*;

/// One side of a difference.
pub struct Side {
    /// As git writes it: `100644`, `100755`, `120000`.
    pub mode: &'static str,
    /// The content; none where it is too large.
    pub bytes: Option<Vec<u8>>,
}

/// How far into a file a zero makes it binary, as in git.
const HEAD: usize = 8000;

/// A patch that is being written.
pub struct Patch {
    writer: Writer,
    context: u32,
    left: u64,
    cut: bool,
}

impl Patch {
    pub fn new(writer: Writer, context: u32, most: u64) -> Self {
        Self { writer, context, left: most, cut: false }
    }

    /// Adds a file's differences; says how many lines were added and removed, where lines were compared.
    pub fn add(&mut self, path: &str, old: Option<Side>, new: Option<Side>) -> Result<Option<(u64, u64)>> {
        if old.is_none() && new.is_none() {
            return Ok(None);
        }
        // What changes its kind goes and comes.
        if let (Some(before), Some(after)) = (&old, &new)
            && before.mode[..3] != after.mode[..3]
        {
            let removed = self.add(path, old, None)?;
            let added = self.add(path, None, new)?;
            return Ok(removed.zip(added).map(|((_, removed), (added, _))| (added, removed)));
        }
        let mut text = Vec::new();
        let (a, b) = (quoted("a/", path), quoted("b/", path));
        writeln!(text, "diff --git {a} {b}")?;
        match (&old, &new) {
            (None, Some(new)) => writeln!(text, "new file mode {}", new.mode)?,
            (Some(old), None) => writeln!(text, "deleted file mode {}", old.mode)?,
            (Some(old), Some(new)) if old.mode != new.mode => {
                writeln!(text, "old mode {}\nnew mode {}", old.mode, new.mode)?;
            }
            _ => {}
        }
        let bytes = |side: &Option<Side>| match side {
            None => Some(Vec::new()),
            Some(side) => side.bytes.clone(),
        };
        let lines = match (bytes(&old), bytes(&new)) {
            (Some(before), Some(after)) if !is_binary(&before) && !is_binary(&after) => {
                // A tab ends a name with spaces.
                let name = |there: bool, name: &str| match there {
                    true if name.contains(' ') => format!("{name}\t"),
                    true => name.to_owned(),
                    false => "/dev/null".to_owned(),
                };
                if before != after {
                    writeln!(text, "--- {}\n+++ {}", name(old.is_some(), &a), name(new.is_some(), &b))?;
                }
                Some(compare(&mut text, &before, &after, self.context)?)
            }
            _ => {
                writeln!(text, "Binary files {a} and {b} differ")?;
                None
            }
        };
        match self.left.checked_sub(text.len() as u64) {
            // A patch is cut between files: what there is of it can be applied.
            Some(left) if !self.cut => {
                self.left = left;
                self.writer.write_all(&text)?;
            }
            _ => self.cut = true,
        }
        Ok(lines)
    }

    /// Ends it, and says whether it was cut.
    pub fn finish(self) -> Result<bool> {
        self.writer.finish()?;
        Ok(self.cut)
    }
}

fn is_binary(bytes: &[u8]) -> bool {
    bytes[..bytes.len().min(HEAD)].contains(&0)
}

/// A name as git quotes it.
fn quoted(prefix: &str, path: &str) -> String {
    let plain = |character: char| !character.is_control() && !matches!(character, '"' | '\\');
    if path.chars().all(plain) {
        return format!("{prefix}{path}");
    }
    let mut text = format!("\"{prefix}");
    for character in path.chars() {
        match character {
            '"' | '\\' => {
                text.push('\\');
                text.push(character);
            }
            '\t' => text += "\\t",
            _ if character.is_control() => {
                let mut buffer = [0; 4];
                for byte in character.encode_utf8(&mut buffer).bytes() {
                    text += &format!("\\{byte:03o}");
                }
            }
            _ => text.push(character),
        }
    }
    text + "\""
}

/// Writes hunks, and counts lines that were added and removed.
fn compare(text: &mut Vec<u8>, before: &[u8], after: &[u8], context: u32) -> Result<(u64, u64)> {
    let lines = |bytes: &'_ [u8]| -> u32 { bytes.split_inclusive(|byte| *byte == b'\n').count() as u32 };
    let input = InternedInput::new(imara_diff::sources::byte_lines(before), imara_diff::sources::byte_lines(after));
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    let (old_length, new_length) = (lines(before), lines(after));
    let mut counts = (0, 0);
    let mut hunks = diff.hunks().peekable();
    while let Some(first) = hunks.next() {
        // Hunks whose contexts touch are one.
        let mut group = vec![first];
        while let Some(next) =
            hunks.next_if(|next| group.last().is_some_and(|last| next.before.start - last.before.end <= 2 * context))
        {
            group.push(next);
        }
        let (Some(head), Some(tail)) = (group.first(), group.last()) else { continue };
        let lead = head.before.start.min(context);
        let trail = (old_length - tail.before.end).min(context);
        let old = head.before.start - lead..tail.before.end + trail;
        let new = head.after.start - lead..(tail.after.end + trail).min(new_length);
        writeln!(text, "@@ -{} +{} @@", range(&old), range(&new))?;
        let mut at = old.start;
        let show = |text: &mut Vec<u8>, sign: u8, line: &[u8]| {
            text.push(sign);
            text.extend_from_slice(line);
            if !line.ends_with(b"\n") {
                text.extend_from_slice(b"\n\\ No newline at end of file\n");
            }
        };
        for hunk in &group {
            for line in at..hunk.before.start {
                show(text, b' ', input.interner[input.before[line as usize]]);
            }
            for line in hunk.before.clone() {
                show(text, b'-', input.interner[input.before[line as usize]]);
            }
            for line in hunk.after.clone() {
                show(text, b'+', input.interner[input.after[line as usize]]);
            }
            counts.0 += u64::from(hunk.after.end - hunk.after.start);
            counts.1 += u64::from(hunk.before.end - hunk.before.start);
            at = hunk.before.end;
        }
        for line in at..old.end {
            show(text, b' ', input.interner[input.before[line as usize]]);
        }
    }
    Ok(counts)
}

/// Lines as a hunk's head names them: the first, from 1, and how many, unless it is one. Where there are none, the line before.
fn range(lines: &std::ops::Range<u32>) -> String {
    match lines.end - lines.start {
        0 => format!("{},0", lines.start),
        1 => (lines.start + 1).to_string(),
        count => format!("{},{count}", lines.start + 1),
    }
}
