//! Opening a SQLite file of ours: checked, versioned, in WAL mode; and sorting what can go wrong with it.
//!
//! `synchronous=NORMAL`: a power cut may lose the last rows, never the file.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::error::StorageError;

/// How long to wait for another process that uses the same file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the file, or makes it with `schema`, which has to set `user_version` to `version`.
pub(super) fn open(path: &Path, schema: &str, version: i64) -> Result<Connection, StorageError> {
    let failed = |error| sort(path, "open", error);
    let connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if verdict != "ok" {
        return Err(StorageError::StateDamaged { path: path.to_path_buf(), reason: verdict });
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
    // Two processes may make the file at once: look and make under one write lock.
    connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    match found {
        0 if tables == 0 => connection.execute_batch(schema).map_err(failed)?,
        0 => {
            let reason = "it is another program's database".to_owned();
            return Err(StorageError::StateDamaged { path: path.to_path_buf(), reason });
        }
        found if found == version => {}
        version => return Err(StorageError::StateTooNew { path: path.to_path_buf(), version }),
    }
    connection.execute_batch("COMMIT").map_err(failed)?;
    Ok(connection)
}

/// Tells a damaged file from a disk or a lock that says no.
pub(super) fn sort(path: &Path, action: &'static str, error: rusqlite::Error) -> StorageError {
    let path = path.to_path_buf();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StorageError::StateDamaged { path, reason: error.to_string() }
        }
        _ => StorageError::State { path, action, source: error },
    }
}
