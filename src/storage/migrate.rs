//! Bringing a database of an earlier version forwards: all of it or nothing, and what it was is kept beside it.
//!
//! The copy gets its name when it is whole, and before anything is changed: an earlier program can go on with it. All
//! steps are one transaction, so a process that is killed, or a disk that is full, leaves the version that was there.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, TransactionBehavior};

use super::database::{Kind, beside, one_at_a_time, version_of, write_private};
use super::error::StorageError;

/// Where a file says its `user_version` (SQLite's file format, 1.3).
const USER_VERSION: u64 = 60;

/// One step from a version to the next.
#[derive(Debug)]
pub(super) struct Migration {
    /// The version that it begins with; the next one is higher by 1.
    pub(super) from: i64,
    /// Statements that change the tables.
    pub(super) statements: &'static str,
}

impl Kind {
    /// Is there a way from this version to the present one?
    pub(super) fn can_migrate(&self, version: i64) -> bool {
        version < self.version && (version..self.version).all(|from| self.step(from).is_some())
    }

    fn step(&self, from: i64) -> Option<&Migration> {
        self.migrations.iter().find(|migration| migration.from == from)
    }

    /// Brings the tables to the present version and keeps a copy of what they were. Does nothing if somebody was faster.
    pub(super) fn migrate(&self, path: &Path, connection: &mut Connection) -> Result<(), StorageError> {
        let _one_at_a_time = one_at_a_time();
        let failed = |error| self.sort(path, "bring forwards", error);
        let version = version_of(connection).map_err(failed)?;
        if version == self.version {
            return Ok(());
        }
        let copy = self.keep_copy(path, connection, version)?;
        self.advance(connection).map_err(failed)?;
        let (what, path, to) = (self.what, path.display(), self.version);
        log::info!("brought {what} in {path} from version {version} to {to}; {} is what it was", copy.display());
        Ok(())
    }

    fn advance(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Asked again now that nobody else can write.
        let mut version = version_of(&transaction)?;
        while let Some(step) = self.step(version) {
            transaction.execute_batch(step.statements)?;
            version += 1;
            transaction.pragma_update(None, "user_version", version)?;
        }
        transaction.commit()
    }

    /// Writes all of the database into a file beside it: `NAME.v1`. One of an earlier attempt is replaced.
    fn keep_copy(&self, path: &Path, connection: &Connection, version: i64) -> Result<PathBuf, StorageError> {
        let copy = beside(path, &format!(".v{version}"));
        let half = beside(path, &format!(".v{version}-{}", std::process::id()));
        let failed = |error| StorageError::io(&copy, "create", error);
        let named = self.write_copy(path, connection, &half).and_then(|()| {
            // Another process may have brought it forwards by now; then the copy is there already.
            if version_in(&half).map_err(failed)? == version {
                fs::rename(&half, &copy).map_err(failed)
            } else {
                Ok(())
            }
        });
        let _ = fs::remove_file(&half);
        named.map(|()| copy)
    }

    fn write_copy(&self, path: &Path, connection: &Connection, to: &Path) -> Result<(), StorageError> {
        let failed = |error: io::Error| StorageError::io(to, "create", error);
        // Left behind by a process that had this number and was killed.
        let _ = fs::remove_file(to);
        // SQLite takes a file that is there and empty, and with it that only its owner can read it.
        write_private(to, &[]).map_err(failed)?;
        let name = ToSqlOutput::Borrowed(ValueRef::Text(to.as_os_str().as_bytes()));
        connection.execute("VACUUM INTO ?1", [name]).map_err(|error| self.sort(path, "copy", error))?;
        File::open(to).and_then(|file| file.sync_all()).map_err(failed)
    }
}

/// Version of the tables, as the head of the file tells it.
fn version_in(path: &Path) -> io::Result<i64> {
    let mut version = [0; 4];
    File::open(path)?.read_exact_at(&mut version, USER_VERSION)?;
    Ok(i32::from_be_bytes(version).into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const WHAT: &str = "the test's data";
    const V1: Kind =
        Kind { what: WHAT, schema: "CREATE TABLE t (n); PRAGMA user_version = 1;", version: 1, migrations: &[] };
    const V3: Kind = Kind {
        what: WHAT,
        schema: "CREATE TABLE t (n, twice, note DEFAULT 'none'); PRAGMA user_version = 3;",
        version: 3,
        migrations: &[
            Migration { from: 1, statements: "ALTER TABLE t ADD COLUMN twice; UPDATE t SET twice = 2 * n;" },
            Migration { from: 2, statements: "ALTER TABLE t ADD COLUMN note DEFAULT 'none';" },
        ],
    };

    /// A folder with a database of version 1 that holds 1, 2, .. `rows`, the last of them in the WAL only.
    fn old(rows: i64) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.sqlite");
        let connection = V1.open(&path).unwrap();
        for n in 1..=rows {
            connection.execute("INSERT INTO t VALUES (?1)", [n]).unwrap();
        }
        (dir, path)
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn sum(connection: &Connection, column: &str) -> i64 {
        connection.query_row(&format!("SELECT sum({column}) FROM t"), [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_old_one_is_brought_forwards_through_all_versions_and_a_copy_is_kept() {
        let (dir, path) = old(10);
        let connection = V3.open(&path).unwrap();
        assert_eq!((sum(&connection, "n"), sum(&connection, "twice")), (55, 110));
        assert_eq!(version_of(&connection), Ok(3));
        drop(connection);
        assert_eq!(names(dir.path()), ["data.sqlite", "data.sqlite.v1"]);
        let copy = beside(&path, ".v1");
        assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(sum(&V1.open(&copy).unwrap(), "n"), 55, "the old program can go on with the copy");
        let before = fs::metadata(&copy).unwrap().modified().unwrap();
        V3.open(&path).unwrap();
        assert_eq!(fs::metadata(&copy).unwrap().modified().unwrap(), before, "once is enough");
    }

    #[test]
    fn the_copy_of_somebody_who_was_slower_does_not_replace_the_one_of_before() {
        let (dir, path) = old(3);
        let slow = Connection::open(&path).unwrap();
        V3.open(&path).unwrap();
        V3.keep_copy(&path, &slow, 1).unwrap();
        drop(slow);
        assert_eq!(names(dir.path()), ["data.sqlite", "data.sqlite.v1"]);
        assert_eq!(version_in(&beside(&path, ".v1")).unwrap(), 1);
    }

    #[test]
    fn what_is_in_the_wal_of_a_killed_process_comes_along() {
        let (dir, path) = old(3);
        let killed = V1.open(&path).unwrap();
        killed.execute("INSERT INTO t VALUES (4)", []).unwrap();
        let elsewhere = dir.path().join("elsewhere.sqlite");
        for companion in ["", "-wal"] {
            fs::copy(beside(&path, companion), beside(&elsewhere, companion)).unwrap();
        }
        assert_eq!(sum(&V3.open(&elsewhere).unwrap(), "twice"), 20);
        assert_eq!(sum(&V1.open(&beside(&elsewhere, ".v1")).unwrap(), "n"), 10);
    }

    #[test]
    fn a_folder_whose_name_is_no_text_is_as_good_as_any() {
        let (dir, path) = old(3);
        let folder = dir.path().join(std::ffi::OsStr::from_bytes(b"d\xe9j\xe0 'vu'"));
        fs::create_dir(&folder).unwrap();
        let moved = folder.join("data.sqlite");
        fs::rename(path, &moved).unwrap();
        assert_eq!(sum(&V3.open(&moved).unwrap(), "twice"), 12);
        assert_eq!(names(&folder), ["data.sqlite", "data.sqlite.v1"]);
    }

    #[test]
    fn a_step_that_fails_leaves_everything_as_it_was() {
        const BROKEN: Kind = Kind {
            migrations: &[
                Migration { from: 1, statements: "ALTER TABLE t ADD COLUMN twice;" },
                Migration { from: 2, statements: "ALTER TABLE nowhere ADD COLUMN note;" },
            ],
            ..V3
        };
        let (dir, path) = old(3);
        for _ in 0..2 {
            let error = BROKEN.open(&path).unwrap_err().to_string();
            assert!(error.contains("bring forwards") && error.contains("nowhere"), "{error}");
            assert_eq!(names(dir.path()), ["data.sqlite", "data.sqlite.v1"]);
        }
        let connection = V1.open(&path).unwrap();
        assert_eq!((version_of(&connection), sum(&connection, "n")), (Ok(1), 6));
    }

    #[test]
    fn nothing_is_changed_where_no_copy_can_be_made() {
        let (dir, path) = old(3);
        fs::create_dir(beside(&path, ".v1")).unwrap();
        assert!(V3.open(&path).is_err());
        assert_eq!(names(dir.path()), ["data.sqlite", "data.sqlite.v1"]);
        assert_eq!(version_of(&V1.open(&path).unwrap()), Ok(1));
    }

    #[test]
    fn one_that_is_too_old_or_too_new_is_named_and_left_alone() {
        const V4: Kind = Kind { version: 4, migrations: &[Migration { from: 2, statements: "" }], ..V3 };
        let (dir, path) = old(3);
        let error = V4.open(&path).unwrap_err().to_string();
        assert!(error.contains(WHAT) && error.contains("version 1"), "{error}");
        drop(V3.open(&path).unwrap());
        let error = V1.open(&path).unwrap_err();
        assert!(matches!(error, StorageError::StateTooNew { version: 3, known: 1, .. }), "{error}");
        assert_eq!(names(dir.path()), ["data.sqlite", "data.sqlite.v1"]);
    }

    #[test]
    fn programs_that_find_an_old_one_at_the_same_time_bring_it_forwards_once() {
        for _ in 0..10 {
            let (dir, path) = old(10);
            let connections: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| V3.open(&path).unwrap())).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(connections.iter().all(|connection| sum(connection, "twice") == 110));
            drop(connections);
            assert_eq!(names(dir.path()), ["data.sqlite", "data.sqlite.v1"]);
            assert_eq!(version_in(&beside(&path, ".v1")).unwrap(), 1);
        }
    }
}
