//! Who of the local network was accepted, beyond the end of the process.
//!
//! One SQLite file, one row for each. Called from one thread.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use super::database::Kind;
use super::error::StorageError;

pub(super) const NEIGHBORS: Kind =
    Kind { what: "the list of accepted neighbours", schema: SCHEMA, version: 1, migrations: &[] };

const SCHEMA: &str = "
    CREATE TABLE neighbors (
        fingerprint BLOB PRIMARY KEY, -- SHA-256 of the certificate
        name        TEXT NOT NULL,    -- as it called itself last
        mutual      INTEGER NOT NULL, -- it has accepted this side too
        first_seen  INTEGER NOT NULL DEFAULT (unixepoch())
    ) WITHOUT ROWID;
    PRAGMA user_version = 1;";

/// One who was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighborRow {
    /// SHA-256 of its certificate.
    pub fingerprint: [u8; 32],
    /// What it called itself last.
    pub name: String,
    /// It has accepted this side too.
    pub mutual: bool,
}

/// The open file.
#[derive(Debug)]
pub struct NeighborList {
    path: PathBuf,
    connection: Connection,
}

impl NeighborList {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`StorageError::StateDamaged`], [`StorageError::StateTooNew`] or [`StorageError::State`]; the file is left as
    /// it is.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        Ok(Self { path: path.to_path_buf(), connection: NEIGHBORS.open(path)? })
    }

    /// All of them, the first who was accepted first.
    ///
    /// # Errors
    /// [`StorageError::State`] if the file cannot be read.
    pub fn all(&self) -> Result<Vec<NeighborRow>, StorageError> {
        let read = || -> rusqlite::Result<Vec<NeighborRow>> {
            let sql = "SELECT fingerprint, name, mutual FROM neighbors ORDER BY first_seen, name";
            let mut statement = self.connection.prepare(sql)?;
            let row = |row: &rusqlite::Row<'_>| {
                Ok(NeighborRow { fingerprint: row.get(0)?, name: row.get(1)?, mutual: row.get(2)? })
            };
            statement.query_map([], row)?.collect()
        };
        read().map_err(|error| NEIGHBORS.sort(&self.path, "read", error))
    }

    /// Keeps one, or what has changed of it.
    ///
    /// # Errors
    /// [`StorageError::State`] if it cannot be written.
    pub fn put(&self, row: &NeighborRow) -> Result<(), StorageError> {
        let sql = "INSERT INTO neighbors (fingerprint, name, mutual) VALUES (?1, ?2, ?3)
                   ON CONFLICT (fingerprint) DO UPDATE SET name = ?2, mutual = ?3";
        self.write(sql, params![row.fingerprint, row.name, row.mutual])
    }

    /// Forgets one.
    ///
    /// # Errors
    /// [`StorageError::State`] if it cannot be written.
    pub fn remove(&self, fingerprint: &[u8; 32]) -> Result<(), StorageError> {
        self.write("DELETE FROM neighbors WHERE fingerprint = ?1", params![fingerprint])
    }

    fn write(&self, sql: &str, values: impl rusqlite::Params) -> Result<(), StorageError> {
        self.connection.execute(sql, values).map(|_| ()).map_err(|error| NEIGHBORS.sort(&self.path, "write", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_accepted_is_known_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("neighbors.sqlite");
        let list = NeighborList::open(&path).unwrap();
        let row = |n, name: &str, mutual| NeighborRow { fingerprint: [n; 32], name: name.to_owned(), mutual };
        list.put(&row(1, "bob@b", false)).unwrap();
        list.put(&row(2, "eve@e", false)).unwrap();
        list.put(&row(1, "bob@box", true)).unwrap();
        drop(list);
        let list = NeighborList::open(&path).unwrap();
        assert_eq!(list.all().unwrap(), [row(1, "bob@box", true), row(2, "eve@e", false)]);
        list.remove(&[1; 32]).unwrap();
        assert_eq!(list.all().unwrap(), [row(2, "eve@e", false)]);
    }
}
