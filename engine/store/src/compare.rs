//! What differs between two trees: paths, found by going down only where digests differ.

use lockgate_model::Digest;
use lockgate_model::artifact::{DirEntry, Directory, EntryKind, MAX_DEPTH};

use crate::state::{Store, StoreError};

/// How an entry differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its content, kind or mode is another one.
    Changed,
}

impl Change {
    /// The change as one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

impl Store {
    /// Paths that differ between two trees, in order, at most `limit`; a directory that is only in one is one path.
    pub fn changes(&self, before: &Digest, after: &Digest, limit: usize) -> Result<Vec<(String, Change)>, StoreError> {
        let mut found = Vec::new();
        self.changes_below(String::new(), before, after, limit, 0, &mut found)?;
        Ok(found)
    }

    fn changes_below(
        &self,
        path: String,
        before: &Digest,
        after: &Digest,
        limit: usize,
        depth: usize,
        found: &mut Vec<(String, Change)>,
    ) -> Result<(), StoreError> {
        if before == after || depth > MAX_DEPTH {
            return Ok(());
        }
        let (before, after) = (self.directory(before)?, self.directory(after)?);
        let mut before = Directory::entries(&before).iter().peekable();
        let mut after = Directory::entries(&after).iter().peekable();
        let join = |entry: &DirEntry| format!("{path}{}", entry.name);
        while found.len() < limit {
            let order = match (before.peek(), after.peek()) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(a), Some(b)) => a.name.as_bytes().cmp(b.name.as_bytes()),
            };
            let old = if order.is_le() { before.next() } else { None };
            let new = if order.is_ge() { after.next() } else { None };
            match (old, new) {
                (Some(old), Some(new)) if old == new => {}
                (Some(old), Some(new)) if old.kind == EntryKind::Directory && new.kind == EntryKind::Directory => {
                    self.changes_below(join(old) + "/", &old.digest, &new.digest, limit, depth + 1, found)?;
                }
                (Some(old), Some(_)) => found.push((join(old), Change::Changed)),
                (Some(old), None) => found.push((join(old), Change::Removed)),
                (None, Some(new)) => found.push((join(new), Change::Added)),
                (None, None) => {}
            }
        }
        Ok(())
    }
}
