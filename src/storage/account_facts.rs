//! What was learned of accounts and outlives the process: how strongly each has logged in, what its server puts up with.
//!
//! One SQLite file, one row a fact; keys are the business of whoever keeps them. Nothing secret is in it. Every
//! account's thread has a connection of its own; what they say of different accounts does not meet.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};

use super::database::Kind;
use super::error::StorageError;

pub(super) const FACTS: Kind = Kind { what: "the facts about accounts", schema: SCHEMA, version: 1, migrations: &[] };

const SCHEMA: &str = "
    CREATE TABLE facts (
        jid   TEXT NOT NULL, -- bare
        key   TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (jid, key)
    ) WITHOUT ROWID;
    PRAGMA user_version = 1;";

/// The open file.
#[derive(Debug)]
pub struct AccountFacts {
    path: PathBuf,
    connection: Connection,
}

impl AccountFacts {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`StorageError::StateDamaged`], [`StorageError::StateTooNew`] or [`StorageError::State`]; the file is left as
    /// it is.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        Ok(Self { path: path.to_path_buf(), connection: FACTS.open(path)? })
    }

    /// What is known.
    ///
    /// # Errors
    /// [`StorageError::State`] if the file cannot be read.
    pub fn get(&self, jid: &str, key: &str) -> Result<Option<String>, StorageError> {
        let sql = "SELECT value FROM facts WHERE jid = ?1 AND key = ?2";
        let value = self.connection.query_row(sql, [jid, key], |row| row.get(0)).optional();
        value.map_err(|error| FACTS.sort(&self.path, "read", error))
    }

    /// Keeps a fact instead of the one before it.
    ///
    /// # Errors
    /// [`StorageError::State`] if it cannot be written.
    pub fn set(&self, jid: &str, key: &str, value: &str) -> Result<(), StorageError> {
        self.write("INSERT OR REPLACE INTO facts (jid, key, value) VALUES (?1, ?2, ?3)", params![jid, key, value])
    }

    /// Forgets one fact.
    ///
    /// # Errors
    /// [`StorageError::State`] if it cannot be written.
    pub fn forget(&self, jid: &str, key: &str) -> Result<(), StorageError> {
        self.write("DELETE FROM facts WHERE jid = ?1 AND key = ?2", params![jid, key])
    }

    fn write(&self, sql: &str, values: impl rusqlite::Params) -> Result<(), StorageError> {
        self.connection.execute(sql, values).map(|_| ()).map_err(|error| FACTS.sort(&self.path, "write", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_kept_for_each_account_until_they_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("accounts.sqlite");
        let facts = AccountFacts::open(&path).unwrap();
        assert_eq!(facts.get("a@x", "login").unwrap(), None);
        facts.set("a@x", "login", "PLAIN").unwrap();
        facts.set("a@x", "login", "SCRAM-SHA-1").unwrap();
        facts.set("b@x", "login", "PLAIN").unwrap();
        drop(facts);
        let facts = AccountFacts::open(&path).unwrap();
        assert_eq!(facts.get("a@x", "login").unwrap().as_deref(), Some("SCRAM-SHA-1"));
        facts.set("a@x", "other", "1").unwrap();
        facts.forget("a@x", "login").unwrap();
        assert_eq!(facts.get("a@x", "other").unwrap().as_deref(), Some("1"));
        assert_eq!(facts.get("a@x", "login").unwrap(), None);
        assert_eq!(facts.get("b@x", "login").unwrap().as_deref(), Some("PLAIN"));
    }
}
