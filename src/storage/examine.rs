//! Looks at the daemon's SQLite files without changing them: for `bitween doctor`, also while a daemon uses them.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::database::Kind;
use super::error::StorageError;
#[cfg(feature = "local")]
use super::neighbors;
use super::{account_facts, resume, torrent_list};

/// One of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Database {
    /// The list of torrents.
    Torrents,
    /// What is known of their pieces.
    Resume,
    /// What was learned of accounts.
    Accounts,
    /// Accepted neighbours.
    #[cfg(feature = "local")]
    Neighbors,
}

impl Database {
    const fn kind(self) -> &'static Kind {
        match self {
            Self::Torrents => &torrent_list::LIST,
            Self::Resume => &resume::RESUME,
            Self::Accounts => &account_facts::FACTS,
            #[cfg(feature = "local")]
            Self::Neighbors => &neighbors::NEIGHBORS,
        }
    }

    /// What is in it, such as "the list of torrents".
    #[must_use]
    pub const fn what(self) -> &'static str {
        self.kind().what
    }

    /// Opens the file for reading, and checks that it is whole and of a version that this program understands.
    ///
    /// # Errors
    /// [`StorageError`]: as the daemon would say it at its start.
    pub fn examine(self, path: &Path) -> Result<(), StorageError> {
        let kind = self.kind();
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| kind.sort(path, "open", error))?;
        kind.check(&connection, path).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_file_passes_and_is_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.sqlite");
        assert!(Database::Torrents.examine(&path).is_err(), "none there");
        assert!(!path.exists(), "and none is made");
        let open = Database::Torrents.kind().open(&path).unwrap();
        Database::Torrents.examine(&path).unwrap();
        drop(open);
        let before = std::fs::read(&path).unwrap();
        Database::Torrents.examine(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn newer_foreign_and_damaged_files_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.sqlite");
        let said = |text: &str| {
            let error = Database::Resume.examine(&path).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("CREATE TABLE t (n)").unwrap();
        said("another program's");
        connection.execute_batch("PRAGMA user_version = 999").unwrap();
        said("newer");
        drop(connection);
        std::fs::write(&path, "no database at all, but long enough to look like one to somebody in a hurry").unwrap();
        said("damaged");
    }
}
