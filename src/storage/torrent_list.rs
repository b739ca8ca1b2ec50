//! The daemon's list of torrents, in a SQLite file of its own: what to start again at the next start.
//!
//! One row a torrent. Pieces and files are not its matter (see `resume`). Called from one thread.

use std::cell::Cell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use super::database::Kind;
use super::error::StorageError;
use crate::types::InfoHash;

/// Version of the table below, kept in the file's `user_version`.
const SCHEMA_VERSION: i64 = 1;

pub(super) const LIST: Kind =
    Kind { what: "the list of torrents", schema: SCHEMA, version: SCHEMA_VERSION, migrations: &[] };

const SCHEMA: &str = "
    CREATE TABLE torrent (
        info_hash BLOB PRIMARY KEY,
        position  INTEGER NOT NULL, -- order in which they were added
        metainfo  BLOB,             -- the torrent file; NULL while only the link is known
        magnet    TEXT,             -- the link; NULL if it came as a file
        dir       BLOB NOT NULL,    -- folder that holds its top-level name, raw bytes
        seed      INTEGER NOT NULL, -- the files were there before: never create or extend one
        paused    INTEGER NOT NULL,
        shared    INTEGER NOT NULL  -- announced to contacts
    );
    PRAGMA user_version = 1;";

/// One torrent of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTorrent {
    /// Its info hash.
    pub info_hash: InfoHash,
    /// The torrent file's bytes, once known.
    pub metainfo: Option<Vec<u8>>,
    /// The magnet link it was added by.
    pub magnet: Option<String>,
    /// Folder that holds its top-level name.
    pub dir: PathBuf,
    /// Its files were there before it was added.
    pub seed: bool,
    /// Stopped by the user.
    pub paused: bool,
    /// Announced to contacts.
    pub shared: bool,
}

/// The open list.
#[derive(Debug)]
pub struct TorrentList {
    path: PathBuf,
    connection: Connection,
    /// Where the next torrent is listed: behind all others.
    next_position: Cell<i64>,
}

impl TorrentList {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`StorageError::StateDamaged`], [`StorageError::StateTooNew`] or [`StorageError::State`]; the file is left as
    /// it is.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let connection = LIST.open(path)?;
        let last = connection.query_row("SELECT coalesce(max(position), 0) FROM torrent", [], |row| row.get(0));
        let last: i64 = last.map_err(|error| LIST.sort(path, "read", error))?;
        Ok(Self { path: path.to_path_buf(), connection, next_position: Cell::new(last.saturating_add(1)) })
    }

    /// Hands out every torrent in the order in which they were added, one after the other: thousands of descriptions
    /// need not be in memory at the same time.
    ///
    /// # Errors
    /// [`StorageError::State`] if the file cannot be read; some may have been handed out before.
    pub fn for_each(&self, mut hand_out: impl FnMut(ListedTorrent)) -> Result<(), StorageError> {
        let failed = |error| LIST.sort(&self.path, "read", error);
        // The order first, without the descriptions: they would all be sorted with it.
        let mut order = self.connection.prepare("SELECT info_hash FROM torrent ORDER BY position").map_err(failed)?;
        let order = order.query_map([], |row| row.get::<_, [u8; 20]>(0)).map_err(failed)?;
        let order = order.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let sql = "SELECT metainfo, magnet, dir, seed, paused, shared FROM torrent WHERE info_hash = ?1";
        let mut select = self.connection.prepare(sql).map_err(failed)?;
        for info_hash in order {
            let torrent = select.query_row([info_hash], |row| {
                Ok(ListedTorrent {
                    info_hash: InfoHash::new(info_hash),
                    metainfo: row.get(0)?,
                    magnet: row.get(1)?,
                    dir: PathBuf::from(OsStr::from_bytes(&row.get::<_, Vec<u8>>(2)?)),
                    seed: row.get(3)?,
                    paused: row.get(4)?,
                    shared: row.get(5)?,
                })
            });
            hand_out(torrent.map_err(failed)?);
        }
        Ok(())
    }

    /// Adds a torrent, or replaces what is known of it.
    ///
    /// # Errors
    /// [`StorageError::State`] if it cannot be written.
    pub fn save(&self, torrent: &ListedTorrent) -> Result<(), StorageError> {
        // Not asked of the table: that would look through all of it for each torrent.
        let position = self.next_position.get();
        self.next_position.set(position.saturating_add(1));
        self.execute(
            "INSERT INTO torrent (info_hash, position, metainfo, magnet, dir, seed, paused, shared)
             VALUES (?1, ?8, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (info_hash) DO UPDATE SET metainfo = coalesce(?2, metainfo), magnet = coalesce(?3, magnet),
             dir = ?4, seed = ?5, paused = ?6, shared = ?7",
            params![
                torrent.info_hash.as_bytes(),
                torrent.metainfo,
                torrent.magnet,
                torrent.dir.as_os_str().as_bytes(),
                torrent.seed,
                torrent.paused,
                torrent.shared,
                position
            ],
        )
    }

    /// Writes everything that `write` writes in one transaction: a thousand torrents take little longer than one.
    ///
    /// # Errors
    /// [`StorageError::State`] if it cannot be written, or what `write` answers with; then nothing of it is.
    pub fn together(&self, write: impl FnOnce() -> Result<(), StorageError>) -> Result<(), StorageError> {
        let failed = |error| LIST.sort(&self.path, "write", error);
        self.connection.execute_batch("BEGIN").map_err(failed)?;
        let written = write().and_then(|()| self.connection.execute_batch("COMMIT").map_err(failed));
        if written.is_err() {
            // It may be over already: some errors end it.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        written
    }

    /// Lets every attempt to write this torrent fail.
    #[cfg(test)]
    pub(crate) fn refuse(&self, info_hash: InfoHash) {
        let hash: String = info_hash.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let sql = format!(
            "CREATE TEMP TRIGGER refuse BEFORE INSERT ON torrent WHEN new.info_hash = x'{hash}'
             BEGIN SELECT raise(ROLLBACK, 'refused'); END"
        );
        self.connection.execute_batch(&sql).unwrap();
    }

    /// Remembers a description that has come.
    ///
    /// # Errors
    /// [`StorageError::State`] if it cannot be written.
    pub fn set_metainfo(&self, info_hash: InfoHash, metainfo: &[u8]) -> Result<(), StorageError> {
        let sql = "UPDATE torrent SET metainfo = ?2 WHERE info_hash = ?1";
        self.execute(sql, params![info_hash.as_bytes(), metainfo])
    }

    /// Remembers whether the user stopped it.
    ///
    /// # Errors
    /// [`StorageError::State`] if it cannot be written.
    pub fn set_paused(&self, info_hash: InfoHash, paused: bool) -> Result<(), StorageError> {
        self.execute("UPDATE torrent SET paused = ?2 WHERE info_hash = ?1", params![info_hash.as_bytes(), paused])
    }

    /// Forgets a torrent.
    ///
    /// # Errors
    /// [`StorageError::State`] if it cannot be written.
    pub fn remove(&self, info_hash: InfoHash) -> Result<(), StorageError> {
        self.execute("DELETE FROM torrent WHERE info_hash = ?1", params![info_hash.as_bytes()])
    }

    fn execute(&self, sql: &str, params: &[&dyn rusqlite::ToSql]) -> Result<(), StorageError> {
        let changed = self.connection.prepare(sql).and_then(|mut statement| statement.execute(params));
        changed.map(drop).map_err(|error| LIST.sort(&self.path, "write", error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn torrent(byte: u8) -> ListedTorrent {
        ListedTorrent {
            info_hash: InfoHash::new([byte; 20]),
            metainfo: None,
            magnet: Some("magnet:?".to_owned()),
            dir: PathBuf::from(OsStr::from_bytes(b"/tmp/not \xff utf-8")),
            seed: false,
            paused: false,
            shared: true,
        }
    }

    fn all(list: &TorrentList) -> Vec<ListedTorrent> {
        let mut all = Vec::new();
        list.for_each(|torrent| all.push(torrent)).unwrap();
        all
    }

    #[test]
    fn the_list_keeps_its_order_and_its_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("torrents.sqlite");
        let list = TorrentList::open(&path).unwrap();
        list.save(&torrent(2)).unwrap();
        list.save(&torrent(1)).unwrap();
        list.set_metainfo(InfoHash::new([2; 20]), b"d4:infode").unwrap();
        list.set_paused(InfoHash::new([1; 20]), true).unwrap();
        drop(list);
        let list = TorrentList::open(&path).unwrap();
        list.save(&torrent(3)).unwrap();
        let two = ListedTorrent { metainfo: Some(b"d4:infode".to_vec()), ..torrent(2) };
        assert_eq!(all(&list), [two, ListedTorrent { paused: true, ..torrent(1) }, torrent(3)]);
    }

    #[test]
    fn what_is_written_together_is_written_or_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("torrents.sqlite");
        let list = TorrentList::open(&path).unwrap();
        list.together(|| [1, 2].iter().try_for_each(|byte| list.save(&torrent(*byte)))).unwrap();
        list.together(|| list.remove(InfoHash::new([2; 20]))).unwrap();
        list.refuse(InfoHash::new([4; 20]));
        assert!(list.together(|| [3, 4].iter().try_for_each(|byte| list.save(&torrent(*byte)))).is_err());
        assert_eq!(all(&TorrentList::open(&path).unwrap()), [torrent(1)]);
    }

    #[test]
    fn a_removed_torrent_is_gone_and_a_saved_one_keeps_its_description() {
        let folder = tempfile::tempdir().unwrap();
        let list = TorrentList::open(&folder.path().join("torrents.sqlite")).unwrap();
        list.save(&ListedTorrent { metainfo: Some(vec![1]), ..torrent(1) }).unwrap();
        list.save(&torrent(1)).unwrap();
        assert_eq!(all(&list).first().and_then(|torrent| torrent.metainfo.clone()), Some(vec![1]));
        list.remove(InfoHash::new([1; 20])).unwrap();
        assert_eq!(all(&list), []);
    }

    #[test]
    fn a_damaged_file_is_reported_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("torrents.sqlite");
        std::fs::write(&path, "this is no database, but it is long enough to be taken for one".repeat(100)).unwrap();
        assert!(matches!(TorrentList::open(&path), Err(StorageError::StateDamaged { .. })));
        assert!(path.exists());
    }
}
