//! Opening a SQLite file of ours: private, checked, versioned, in WAL mode; and sorting what can go wrong with it.
//!
//! `synchronous=NORMAL`: a power cut may lose the last rows, never the file. A new file gets its name only when its
//! tables are in it, so an empty one has lost what was in it, and is reported like any other damaged one. A damaged file
//! is never repaired or removed.

use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, MAIN_DB};

use super::error::StorageError;
use super::migrate::Migration;

/// How long to wait for another process that uses the same file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages kept in memory, in KiB if negative. Rows are read once, at the start; the system has the file in memory anyway.
const CACHE_SIZE: i32 = -64;

/// Readable for its owner only: names of files and of people are in it. SQLite gives its other files the same mode.
const PRIVATE: u32 = 0o600;

/// What SQLite keeps beside a file.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// Where a file says who may write and read it (SQLite's file format, 1.3.3), and what it says there in WAL mode.
const FORMAT_VERSIONS: Range<usize> = 18..20;
const FORMAT_WAL: u8 = 2;

/// Threads that find the same file missing, or old, would take each other's half-made one away, and the WAL of whoever was
/// faster.
static MAKING: Mutex<()> = Mutex::new(());

/// A kind of database.
#[derive(Debug)]
pub(super) struct Kind {
    /// What is in it, as messages say it: "the resume data".
    pub(super) what: &'static str,
    /// Statements that make its tables and set `user_version` to `version`.
    pub(super) schema: &'static str,
    /// Version of the tables.
    pub(super) version: i64,
    /// The ways from earlier versions to the next ones.
    pub(super) migrations: &'static [Migration],
}

impl Kind {
    /// Opens the file, or makes it.
    pub(super) fn open(&self, path: &Path) -> Result<Connection, StorageError> {
        self.find_or_make(path)?;
        keep_private(path);
        let failed = |error| self.sort(path, "open", error);
        let mut connection = Connection::open(path).map_err(failed)?;
        connection.pragma_update(None, "cache_size", CACHE_SIZE).map_err(failed)?;
        let version = self.check(&connection, path)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
        if version < self.version {
            self.migrate(path, &mut connection)?;
        }
        Ok(connection)
    }

    /// Its version, if it is whole, ours, and of one that is understood: this one, or an older one that can be migrated.
    pub(super) fn check(&self, connection: &Connection, path: &Path) -> Result<i64, StorageError> {
        let failed = |error| self.sort(path, "open", error);
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
        if verdict != "ok" {
            return Err(self.damaged(path, &verdict));
        }
        match version_of(connection).map_err(failed)? {
            0 => Err(self.damaged(path, "it is another program's database")),
            version if version > self.version => {
                let (path, what, known) = (path.to_path_buf(), self.what, self.version);
                Err(StorageError::StateTooNew { path, what, version, known })
            }
            version if version == self.version || self.can_migrate(version) => Ok(version),
            version => Err(self.damaged(path, &format!("nobody knows how to read version {version}"))),
        }
    }

    fn find_or_make(&self, path: &Path) -> Result<(), StorageError> {
        let _one_at_a_time = one_at_a_time();
        match fs::metadata(path) {
            Ok(meta) if meta.is_file() && meta.len() == 0 => Err(self.damaged(path, "it is empty")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make(path),
            _ => Ok(()),
        }
    }

    /// Makes the file under another name first, so that nobody ever sees a half-made one.
    fn make(&self, path: &Path) -> Result<(), StorageError> {
        let failed = |error| StorageError::io(path, "create", error);
        let image = self.image().map_err(|error| self.sort(path, "create", error))?;
        let fresh = beside(path, &format!(".new-{}", std::process::id()));
        let _ = fs::remove_file(&fresh);
        let written = write_private(&fresh, &image).map_err(failed);
        let named = written.and_then(|()| {
            for companion in COMPANIONS {
                // Left behind by a file that was moved away: it would be taken for a part of the new one.
                let _ = fs::rename(beside(path, companion), beside(path, &format!("{companion}.old")));
            }
            match fs::hard_link(&fresh, path) {
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                // Not every file system has links.
                Err(_) => fs::rename(&fresh, path).map_err(failed),
                Ok(()) => Ok(()),
            }
        });
        let _ = fs::remove_file(&fresh);
        named
    }

    /// What a new file has in it. Made in memory: SQLite would sync a file on the disk ten times on the way, and most of
    /// a first start was that.
    fn image(&self) -> rusqlite::Result<Vec<u8>> {
        let mut connection = Connection::open_in_memory()?;
        connection.execute_batch(self.schema)?;
        let mut image = connection.serialize(MAIN_DB)?.to_vec();
        if let Some(versions) = image.get_mut(FORMAT_VERSIONS) {
            versions.fill(FORMAT_WAL);
        }
        Ok(image)
    }

    /// Tells a damaged file from a disk or a lock that says no.
    pub(super) fn sort(&self, path: &Path, action: &'static str, source: rusqlite::Error) -> StorageError {
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => self.damaged(path, &source.to_string()),
            _ => StorageError::State { path: path.to_path_buf(), what: self.what, action, source },
        }
    }

    fn damaged(&self, path: &Path, reason: &str) -> StorageError {
        // SQLite may say more than one line, the first of them a headline.
        let lines = reason.lines().filter(|line| !line.starts_with("***") && !line.is_empty());
        let reason = lines.collect::<Vec<_>>().join("; ");
        StorageError::StateDamaged { path: path.to_path_buf(), what: self.what, reason }
    }
}

/// Held by whoever makes a file or brings one forwards.
pub(super) fn one_at_a_time() -> MutexGuard<'static, ()> {
    MAKING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Version of the tables; 0 in a file that nobody gave one.
pub(super) fn version_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Writes a new file that only its owner can read, and syncs it.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Closes a file of an earlier version to everybody else. It may be another user's to do so.
fn keep_private(path: &Path) {
    for path in [path.to_path_buf()].into_iter().chain(COMPANIONS.map(|companion| beside(path, companion))) {
        if fs::metadata(&path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
            && let Err(error) = fs::set_permissions(&path, Permissions::from_mode(PRIVATE))
        {
            log::warn!("others can read {}: {error}", path.display());
        }
    }
}

/// The path with something behind its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind {
        what: "the test's data",
        schema: "CREATE TABLE t (n); PRAGMA user_version = 3;",
        version: 3,
        migrations: &[],
    };

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.sqlite");
        for _ in 0..2 {
            let connection = KIND.open(&path).unwrap();
            connection.execute_batch("INSERT INTO t VALUES (1)").unwrap();
            for path in [path.clone(), beside(&path, "-wal"), beside(&path, "-shm")] {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
            }
            drop(connection);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
            // As an earlier version left it.
            fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        }
    }

    #[test]
    fn a_new_file_is_sound_and_in_wal_mode_from_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.sqlite");
        KIND.make(&path).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        assert_eq!(mode(&path), 0o600);
        let connection = Connection::open(&path).unwrap();
        let ask = |what: &str| -> String { connection.query_row(what, [], |row| row.get(0)).unwrap() };
        assert_eq!(ask("PRAGMA journal_mode"), "wal");
        assert_eq!(ask("PRAGMA integrity_check"), "ok");
        assert_eq!(ask("SELECT CAST(count(*) AS TEXT) FROM t"), "0");
    }

    #[test]
    fn threads_that_find_no_file_at_the_same_time_get_the_same_one() {
        const THREADS: usize = 8;
        for _ in 0..10 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("data.sqlite");
            let start = std::sync::Barrier::new(THREADS);
            let open = || {
                start.wait();
                let connection = KIND.open(&path).unwrap();
                connection.execute_batch("INSERT INTO t VALUES (1)").unwrap();
                connection
            };
            let connections: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(open)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            drop(connections);
            let rows = KIND.open(&path).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0));
            assert_eq!(rows.unwrap(), i64::try_from(THREADS).unwrap());
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        }
    }

    #[test]
    fn an_empty_file_is_a_damaged_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.sqlite");
        fs::write(&path, "").unwrap();
        let error = KIND.open(&path).unwrap_err().to_string();
        assert!(error.contains("the test's data in") && error.contains("damaged (it is empty)"), "{error}");
        assert_eq!(fs::metadata(&path).unwrap().len(), 0, "left as it is");
    }

    #[test]
    fn what_a_file_that_was_moved_away_left_behind_is_not_taken_for_the_new_ones() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("data.sqlite"), dir.path().join("old"));
        let connection = KIND.open(&path).unwrap();
        connection.execute_batch("INSERT INTO t VALUES (1)").unwrap();
        fs::rename(&path, &old).unwrap();
        let fresh = KIND.open(&path).unwrap();
        assert_eq!(fresh.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    }

    #[test]
    fn a_message_has_one_line() {
        let error = KIND.damaged(Path::new("/x"), "*** in database main ***\nTree 2 page 2: bad\nTree 3: worse");
        assert_eq!(
            error.to_string(),
            "the test's data in /x is damaged (Tree 2 page 2: bad; Tree 3: worse); move the file away to start without it"
        );
    }
}
