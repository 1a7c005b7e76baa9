//! The highest version of each plugin that was accepted from each signer, so that nobody is brought back to an older one unseen.
//!
//! Which of two versions is higher is the caller's to say: here they are texts.

use lockgate_model::Digest;
use rusqlite::{OptionalExtension as _, params};

use crate::state::{Store, StoreError};

/// A version that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whose signature it had.
    pub signer: String,
    /// The plugin's name.
    pub plugin: String,
    /// The version.
    pub version: String,
    /// The component.
    pub digest: Digest,
    /// When it was accepted first, in milliseconds since 1970.
    pub time_ms: u64,
}

impl Store {
    /// The highest versions, by signer and plugin.
    pub fn seen(&self) -> Result<Vec<Seen>, StoreError> {
        // A state directory that is only read may be older.
        if self.inner.version < 3 {
            return Ok(Vec::new());
        }
        self.inner.read(|connection| {
            let query = || {
                let sql = "SELECT signer, plugin, version, digest, time_ms FROM seen ORDER BY signer, plugin";
                let mut statement = connection.prepare_cached(sql)?;
                let rows = statement.query_map([], |row| {
                    let digest = row.get::<_, Vec<u8>>(3)?.try_into().unwrap_or([0; 32]);
                    Ok(Seen {
                        signer: row.get(0)?,
                        plugin: row.get(1)?,
                        version: row.get(2)?,
                        digest: Digest::from_bytes(digest),
                        time_ms: row.get::<_, i64>(4)?.max(0).cast_unsigned(),
                    })
                })?;
                rows.collect::<rusqlite::Result<_>>()
            };
            query().map_err(self.inner.db_error("read"))
        })
    }

    /// Keeps versions that are `higher` than what is known of their signer and plugin (`higher(new, known)`), durable at return.
    pub fn remember(&self, accepted: &[Seen], higher: impl Fn(&str, &str) -> bool) -> Result<(), StoreError> {
        if accepted.is_empty() {
            return Ok(());
        }
        self.inner.commit(|transaction| {
            let work = || {
                let mut known =
                    transaction.prepare_cached("SELECT version FROM seen WHERE signer = ?1 AND plugin = ?2")?;
                let mut insert =
                    transaction.prepare_cached("INSERT OR REPLACE INTO seen VALUES (?1, ?2, ?3, ?4, ?5)")?;
                for Seen { signer, plugin, version, digest, time_ms } in accepted {
                    // Again, now that nobody else writes: two runs may begin at once.
                    let before: Option<String> =
                        known.query_row(params![signer, plugin], |row| row.get(0)).optional()?;
                    if before.is_none_or(|before| higher(version, &before)) {
                        insert.execute(params![signer, plugin, version, digest.as_bytes(), time_ms.cast_signed()])?;
                    }
                }
                Ok(())
            };
            work().map_err(self.inner.db_error("write to"))
        })
    }

    /// Forgets what is known of a plugin, from every signer. How many entries that were.
    pub fn forget(&self, plugin: &str) -> Result<usize, StoreError> {
        self.inner.commit(|transaction| {
            let done = transaction.execute("DELETE FROM seen WHERE plugin = ?1", params![plugin]);
            done.map_err(self.inner.db_error("write to"))
        })
    }
}
