//! Resume data: which pieces are on disk for certain, in a SQLite file of its own.
//!
//! One row per torrent and folder. `have` only ever names pieces whose files were synced before. `clean` says that
//! nothing was written since, and then `files` has each file's length and time of change, by which the next open sees
//! that nobody else wrote either. A row that is not clean says that a download is writing there: see `ownership`. It may be
//! doubted: bytes were lost, so its pieces count for nothing until they are hashed.
//!
//! A power cut may lose the last rows (see `database`). An older row names fewer pieces, so it costs hashing, never
//! truth. Any disk thread may call; the connection's lock is held for one statement.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};

use super::database::Kind;
use super::error::StorageError;
use super::files::FileStamp;
use super::record::Record;
use crate::types::{Bitfield, InfoHash};

/// Version of the tables below, kept in the file's `user_version`.
const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE resume (
        info_hash BLOB NOT NULL,
        dir       BLOB NOT NULL, -- absolute path, raw bytes
        have      BLOB NOT NULL, -- bitfield in wire order
        clean     INTEGER NOT NULL,
        files     BLOB NOT NULL, -- per file: length u64, time of change i64 (ns), little endian; if not clean, empty, or
                                 -- one byte if doubted
        PRIMARY KEY (info_hash, dir)
    ) WITHOUT ROWID;
    PRAGMA user_version = 1;";

pub(super) const RESUME: Kind =
    Kind { what: "the resume data", schema: SCHEMA, version: SCHEMA_VERSION, migrations: &[] };

/// Bytes of one file's stamp in the `files` column.
const STAMP_LEN: usize = 16;

/// What stands in the `files` column of a row that is doubted.
const DOUBTED: &[u8] = &[0];

/// Length that stands for a file that is not there.
const NO_FILE: u64 = u64::MAX;

/// The open database.
pub(super) struct ResumeDb {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl ResumeDb {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, StorageError> {
        let connection = RESUME.open(path)?;
        Ok(Self { path: path.to_path_buf(), connection: Mutex::new(connection) })
    }

    /// What is remembered; `None` also if it does not fit the torrent's `pieces` and `files`.
    pub(super) fn load(
        &self,
        info_hash: &InfoHash,
        dir: &Path,
        pieces: u32,
        files: usize,
    ) -> Result<Option<Record>, StorageError> {
        let connection = self.lock();
        let failed = |error| RESUME.sort(&self.path, "read", error);
        let mut select = connection
            .prepare("SELECT have, clean, files FROM resume WHERE info_hash = ?1 AND dir = ?2")
            .map_err(failed)?;
        let row = select.query_row(params![info_hash.as_bytes(), dir.as_os_str().as_bytes()], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, bool>(1)?, row.get::<_, Vec<u8>>(2)?))
        });
        let Some((have, clean, stamps)) = row.optional().map_err(failed)? else { return Ok(None) };
        let Ok(have) = Bitfield::from_bytes(&have, pieces) else { return Ok(None) };
        let doubted = !clean && !stamps.is_empty();
        let clean = (clean && stamps.len() == files.saturating_mul(STAMP_LEN)).then(|| decode_stamps(&stamps));
        Ok(Some(Record { have, clean, doubted }))
    }

    /// Remembers this in place of what was.
    pub(super) fn save(&self, info_hash: &InfoHash, dir: &Path, record: &Record) -> Result<(), StorageError> {
        let unclean = if record.doubted { DOUBTED } else { &[] };
        let stamps = record.clean.as_deref().map_or_else(|| unclean.to_vec(), encode_stamps);
        self.execute(
            "INSERT OR REPLACE INTO resume (info_hash, dir, have, clean, files) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                info_hash.as_bytes(),
                dir.as_os_str().as_bytes(),
                record.have.as_bytes(),
                record.clean.is_some(),
                stamps
            ],
        )
    }

    /// Remembers that the files are being written.
    pub(super) fn mark_unclean(&self, info_hash: &InfoHash, dir: &Path) -> Result<(), StorageError> {
        self.execute(
            "UPDATE resume SET clean = 0, files = x'' WHERE info_hash = ?1 AND dir = ?2 AND clean <> 0",
            params![info_hash.as_bytes(), dir.as_os_str().as_bytes()],
        )
    }

    /// Remembers that the files are being written, and that none of their pieces is certain any more.
    pub(super) fn mark_doubted(&self, info_hash: &InfoHash, dir: &Path) -> Result<(), StorageError> {
        self.execute(
            "UPDATE resume SET clean = 0, files = ?3 WHERE info_hash = ?1 AND dir = ?2",
            params![info_hash.as_bytes(), dir.as_os_str().as_bytes(), DOUBTED],
        )
    }

    /// Forgets the torrent in this folder.
    pub(super) fn remove(&self, info_hash: &InfoHash, dir: &Path) -> Result<(), StorageError> {
        self.execute(
            "DELETE FROM resume WHERE info_hash = ?1 AND dir = ?2",
            params![info_hash.as_bytes(), dir.as_os_str().as_bytes()],
        )
    }

    fn execute(&self, statement: &str, values: &[&dyn rusqlite::ToSql]) -> Result<(), StorageError> {
        let connection = self.lock();
        let done = connection.prepare(statement).and_then(|mut statement| statement.execute(values));
        done.map(drop).map_err(|error| RESUME.sort(&self.path, "write", error))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode_stamps(stamps: &[Option<FileStamp>]) -> Vec<u8> {
    let nothing = FileStamp { size: NO_FILE, mtime_ns: 0 };
    let stamps = stamps.iter().map(|stamp| stamp.unwrap_or(nothing));
    stamps.flat_map(|stamp| stamp.size.to_le_bytes().into_iter().chain(stamp.mtime_ns.to_le_bytes())).collect()
}

fn decode_stamps(bytes: &[u8]) -> Vec<Option<FileStamp>> {
    let (words, _) = bytes.as_chunks::<8>();
    let (stamps, _) = words.as_chunks::<2>();
    let decode = |[size, mtime]: &[[u8; 8]; 2]| {
        let size = u64::from_le_bytes(*size);
        (size != NO_FILE).then_some(FileStamp { size, mtime_ns: i64::from_le_bytes(*mtime) })
    };
    stamps.iter().map(decode).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::types::Geometry;

    const HASH: InfoHash = InfoHash::new([7; 20]);

    fn record(clean: bool) -> Record {
        let mut have = Bitfield::empty(12);
        have.insert(Geometry::new(12, 1).unwrap().piece(9).unwrap());
        let stamps = vec![Some(FileStamp { size: 1 << 40, mtime_ns: -5 }), None];
        Record { have, clean: clean.then_some(stamps), doubted: false }
    }

    #[test]
    fn a_record_survives_closing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resume.sqlite");
        let db = ResumeDb::open(&path).unwrap();
        db.save(&HASH, Path::new("/a"), &record(true)).unwrap();
        db.save(&HASH, Path::new("/b"), &record(false)).unwrap();
        drop(db);
        let db = ResumeDb::open(&path).unwrap();
        assert_eq!(db.load(&HASH, Path::new("/a"), 12, 2).unwrap(), Some(record(true)));
        assert_eq!(db.load(&HASH, Path::new("/b"), 12, 2).unwrap(), Some(record(false)));
        assert_eq!(db.load(&HASH, Path::new("/a"), 99, 2).unwrap(), None, "another number of pieces");
        db.mark_unclean(&HASH, Path::new("/a")).unwrap();
        assert_eq!(db.load(&HASH, Path::new("/a"), 12, 2).unwrap(), Some(record(false)));
        db.mark_doubted(&HASH, Path::new("/a")).unwrap();
        let doubted = Record { doubted: true, ..record(false) };
        assert_eq!(db.load(&HASH, Path::new("/a"), 12, 2).unwrap().as_ref(), Some(&doubted));
        db.mark_unclean(&HASH, Path::new("/a")).unwrap();
        assert_eq!(db.load(&HASH, Path::new("/a"), 12, 2).unwrap().as_ref(), Some(&doubted), "still");
        db.save(&HASH, Path::new("/c"), &doubted).unwrap();
        assert_eq!(db.load(&HASH, Path::new("/c"), 12, 2).unwrap(), Some(doubted));
        db.remove(&HASH, Path::new("/a")).unwrap();
        assert_eq!(db.load(&HASH, Path::new("/a"), 12, 2).unwrap(), None);
    }

    #[test]
    fn a_file_that_is_no_database_is_reported_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resume.sqlite");
        fs::write(&path, "not a database, but long enough to be looked at as one").unwrap();
        let error = ResumeDb::open(&path).err().unwrap();
        assert!(matches!(error, StorageError::StateDamaged { .. }), "{error}");
        assert!(error.to_string().contains("resume.sqlite"), "{error}");
        assert!(fs::read(&path).unwrap().starts_with(b"not a database"));
    }

    #[test]
    fn damaged_pages_are_found_at_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resume.sqlite");
        let db = ResumeDb::open(&path).unwrap();
        for n in 0..200 {
            db.save(&HASH, Path::new(&format!("/{n}")), &record(true)).unwrap();
        }
        drop(db);
        let mut bytes = fs::read(&path).unwrap();
        assert!(bytes.len() > 3 * 4096, "the test needs some pages");
        bytes[4096 + 8..].fill(0x5a);
        fs::write(&path, &bytes).unwrap();
        let error = ResumeDb::open(&path).err().unwrap();
        assert!(matches!(error, StorageError::StateDamaged { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn other_versions_and_other_databases_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let newer = dir.path().join("newer");
        Connection::open(&newer).unwrap().execute_batch("PRAGMA user_version = 9").unwrap();
        assert!(matches!(ResumeDb::open(&newer), Err(StorageError::StateTooNew { version: 9, .. })));
        let other = dir.path().join("other");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE x (y)").unwrap();
        assert!(matches!(ResumeDb::open(&other), Err(StorageError::StateDamaged { .. })));
    }
}
