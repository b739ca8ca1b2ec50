//! Where catalogs lie: the own one, and of each resource that announces one the last that is whole.
//!
//! `own/HASH/catalog` and `SHA1_OF_JID_AND_RESOURCE/HASH/catalog`. Nobody else has files there, and nothing there is
//! believed: whoever reads a catalog compares it with its hash.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha1::{Digest, Sha1};

use super::StorageError;
use crate::types::{InfoHash, SortedSet, sort};

/// Folder of the own catalog.
const OWN: &str = "own";
/// What nobody has announced for so long goes.
const KEPT: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// The folder of all catalogs.
#[derive(Clone, Debug)]
pub struct CatalogFiles {
    dir: PathBuf,
    file_name: &'static str,
}

impl CatalogFiles {
    /// Every catalog is one file of this name, in a folder of its own below `dir`.
    #[must_use]
    pub const fn new(dir: PathBuf, file_name: &'static str) -> Self {
        Self { dir, file_name }
    }

    /// Folder with the own catalogs.
    #[must_use]
    pub fn own(&self) -> PathBuf {
        self.dir.join(OWN)
    }

    /// Folder with the catalogs of a resource of somebody.
    #[must_use]
    pub fn of(&self, jid: &str, resource: &str) -> PathBuf {
        let name: [u8; InfoHash::LEN] = Sha1::digest(format!("{jid}/{resource}")).into();
        self.dir.join(InfoHash::new(name).to_string())
    }

    /// Folder of one catalog in such a folder.
    #[must_use]
    pub fn folder(whose: &Path, info_hash: &InfoHash) -> PathBuf {
        whose.join(info_hash.to_string())
    }

    /// Writes one, so that it is there as a whole or not at all.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn write(&self, whose: &Path, info_hash: &InfoHash, bytes: &[u8]) -> Result<(), StorageError> {
        let folder = Self::folder(whose, info_hash);
        fs::create_dir_all(&folder).map_err(|error| StorageError::io(&folder, "create", error))?;
        let (path, beside) = (folder.join(self.file_name), folder.join("new"));
        fs::write(&beside, bytes).map_err(|error| StorageError::io(&beside, "write", error))?;
        fs::rename(&beside, &path).map_err(|error| StorageError::io(&path, "write", error))
    }

    /// The bytes of one, if there is a file of this size.
    #[must_use]
    pub fn read(&self, whose: &Path, info_hash: &InfoHash, size: u64) -> Option<Vec<u8>> {
        let path = Self::folder(whose, info_hash).join(self.file_name);
        let is_there = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && found.len() == size);
        fs::read(path).ok().filter(|bytes| is_there && bytes.len() as u64 == size)
    }

    /// Puts a copy of another catalog of this size in the place of one that is about to be fetched: most of its pieces will
    /// be the same. What was fetched of it before stays.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn prepare(&self, whose: &Path, info_hash: &InfoHash, size: u64) -> Result<(), StorageError> {
        let folder = Self::folder(whose, info_hash);
        let path = folder.join(self.file_name);
        fs::create_dir_all(&folder).map_err(|error| StorageError::io(&folder, "create", error))?;
        if fs::symlink_metadata(&path).is_ok_and(|found| found.len() == size) {
            return Ok(());
        }
        remove_file(&path)?;
        let before = self.all(whose).into_iter().filter(|(_, len, _)| *len == size).max_by_key(|(_, _, when)| *when);
        if let Some((before, ..)) = before {
            fs::copy(&before, &path).map_err(|error| StorageError::io(&path, "write", error))?;
        }
        Ok(())
    }

    /// Removes all catalogs in a folder but one.
    pub fn keep_only(&self, whose: &Path, kept: Option<&InfoHash>) {
        let kept = kept.map(|kept| Self::folder(whose, kept));
        for folder in folders(whose).into_iter().filter(|folder| Some(folder) != kept.as_ref()) {
            remove_folder(&folder);
        }
    }

    /// Removes one.
    pub fn remove(&self, whose: &Path, info_hash: &InfoHash) {
        remove_folder(&Self::folder(whose, info_hash));
    }

    /// Bytes of the newest in a folder.
    #[must_use]
    pub fn newest_size(&self, whose: &Path) -> Option<u64> {
        self.all(whose).into_iter().max_by_key(|(_, _, when)| *when).map(|(_, len, _)| len)
    }

    /// Removes what has lain here for longest, as long as all takes more than so many bytes, but not what is needed.
    pub fn shrink(&self, most: u64, needed: &SortedSet<PathBuf>) {
        let size = |whose: &Path| self.all(whose).iter().map(|(_, len, _)| *len).sum::<u64>();
        let mut total: u64 = folders(&self.dir).iter().map(|whose| size(whose)).sum();
        let own = self.own();
        let dispensable = folders(&self.dir).into_iter().filter(|whose| *whose != own && !needed.contains(whose));
        let changed = |whose: PathBuf| Some((fs::symlink_metadata(&whose).ok()?.modified().ok()?, whose));
        let mut dispensable: Vec<_> = dispensable.filter_map(changed).collect();
        sort(&mut dispensable);
        for (_, whose) in dispensable {
            if total <= most {
                break;
            }
            total = total.saturating_sub(size(&whose));
            remove_folder(&whose);
        }
    }

    /// Removes the catalogs of people of whom nothing was heard for long.
    pub fn sweep(&self, now: SystemTime) {
        let own = self.own();
        for whose in folders(&self.dir).into_iter().filter(|folder| *folder != own) {
            let changed = fs::symlink_metadata(&whose).and_then(|found| found.modified());
            if changed.is_ok_and(|changed| now.duration_since(changed).is_ok_and(|age| age > KEPT)) {
                remove_folder(&whose);
            }
        }
    }

    /// Every file in a folder, with its size and its time of change.
    fn all(&self, whose: &Path) -> Vec<(PathBuf, u64, SystemTime)> {
        let file = |folder: PathBuf| {
            let path = folder.join(self.file_name);
            let found = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
            Some((path, found.len(), found.modified().ok()?))
        };
        folders(whose).into_iter().filter_map(file).collect()
    }
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

fn remove_file(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::io(path, "remove", error)),
        _ => Ok(()),
    }
}

fn remove_folder(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        log::warn!("{} is not needed any more and cannot be removed: {error}", folder.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u8) -> InfoHash {
        InfoHash::new([n; InfoHash::LEN])
    }

    #[test]
    fn what_is_fetched_begins_as_what_was_there_before() {
        let dir = tempfile::tempdir().unwrap();
        let files = CatalogFiles::new(dir.path().join("catalog"), "catalog");
        let bob = files.of("bob@x", "r");
        assert_ne!(bob, files.of("bob@x", "s"));
        files.prepare(&bob, &hash(1), 3).unwrap();
        assert_eq!(files.read(&bob, &hash(1), 3), None, "there is nothing to begin with");
        files.write(&bob, &hash(1), b"old").unwrap();
        files.prepare(&bob, &hash(2), 3).unwrap();
        assert_eq!(files.read(&bob, &hash(2), 3).unwrap(), b"old");
        files.write(&bob, &hash(2), b"new").unwrap();
        files.prepare(&bob, &hash(2), 3).unwrap();
        assert_eq!(files.read(&bob, &hash(2), 3).unwrap(), b"new", "what was fetched stays");
        files.prepare(&bob, &hash(3), 4).unwrap();
        assert_eq!(files.read(&bob, &hash(3), 4), None, "another length has no piece in common");
        assert_eq!(files.read(&bob, &hash(2), 4), None);
        files.keep_only(&bob, Some(&hash(2)));
        assert_eq!((folders(&bob).len(), files.newest_size(&bob)), (1, Some(3)));
    }

    #[test]
    fn what_nobody_has_announced_for_long_goes() {
        let dir = tempfile::tempdir().unwrap();
        let files = CatalogFiles::new(dir.path().to_path_buf(), "catalog");
        let bob = files.of("bob@x", "r");
        files.write(&bob, &hash(1), b"bob's").unwrap();
        files.write(&files.own(), &hash(2), b"own").unwrap();
        let written = fs::metadata(&bob).unwrap().modified().unwrap();
        files.sweep(written + KEPT);
        assert!(files.read(&bob, &hash(1), 5).is_some());
        files.sweep(written + 2 * KEPT);
        assert!(files.read(&bob, &hash(1), 5).is_none() && files.read(&files.own(), &hash(2), 3).is_some());
    }
}
