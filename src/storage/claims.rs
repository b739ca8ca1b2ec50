//! Which torrent of this process uses which files, so that none writes where another one reads or writes.
//!
//! Reading together is fine: two torrents may serve the same file. A torrent that finds others at its files when it is
//! opened may not write; it does well enough if it is complete. One that only reads waits until nobody writes there.
//! Files are told apart by their path below the real path of the download folder. Called by disk threads, when a
//! torrent is opened or closed; the lock is held for look-ups in memory.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::StorageError;
use super::torrent::Torrent;
use crate::types::{InfoHash, SortedMap, TorrentKey};

/// What all torrents of the process use.
#[derive(Default)]
pub(super) struct Claims {
    /// Makes names into numbers, in a way that nobody who names files can foresee.
    hasher: RandomState,
    folders: Mutex<Folders>,
}

/// Who has something in a folder, by its real path. Torrents' top-level names only: thousands of files are looked
/// through only where those meet.
type Folders = SortedMap<Arc<Path>, Tops>;

/// By the hash of a top-level name, which is all that is kept of it. Two names may have the same: the files are compared
/// after that.
type Tops = SortedMap<(u64, TorrentKey), Arc<Torrent>>;

/// Torrents that may use the same files as another one.
type Neighbours = SortedMap<TorrentKey, Arc<Torrent>>;

impl Claims {
    /// Claims the torrent's files below `dir`, the real path of its folder. Answers with the reason if it may not write
    /// to them or, for one that only reads, may not be opened.
    pub(super) fn claim(&self, torrent: &Arc<Torrent>, dir: &Arc<Path>) -> Option<StorageError> {
        let dir = torrent.claims_in(dir);
        let mut folders = self.lock();
        let mut others = self.neighbours(&folders, torrent, dir);
        let tops = folders.entry(Arc::clone(dir)).or_default();
        for name in top_names(torrent) {
            tops.insert((self.hasher.hash_one(name), torrent.key), Arc::clone(torrent));
        }
        drop(folders);
        others.retain(|_, other| collides(torrent, other));
        in_use_by(torrent, &others)
    }

    /// Before a torrent that has claimed its files writes to them: why it must not, since somebody came to read them.
    pub(super) fn reader(&self, torrent: &Torrent) -> Option<StorageError> {
        let dir = torrent.state_dir()?;
        let mut readers = self.neighbours(&self.lock(), torrent, dir);
        readers.retain(|_, other| !other.create);
        in_use_by(torrent, &readers)
    }

    /// The files of this torrent that another one uses as well, by their path in the torrent, each with one of those.
    pub(super) fn in_common(&self, torrent: &Torrent) -> HashMap<PathBuf, InfoHash> {
        let Some(dir) = torrent.state_dir() else { return HashMap::new() };
        let others = self.neighbours(&self.lock(), torrent, dir);
        let used: HashMap<_, _> =
            others.values().flat_map(|other| files(other).map(|path| (path, other.info_hash))).collect();
        let mine = torrent.place.layout.files().iter().filter(|file| !file.pad);
        mine.filter_map(|file| Some((file.path.clone(), *used.get(&dir.join(&file.path))?))).collect()
    }

    /// The torrent uses its files no longer.
    pub(super) fn release(&self, torrent: &Torrent) {
        let Some(dir) = torrent.state_dir() else { return };
        let mut folders = self.lock();
        let Some(tops) = folders.get_mut(dir) else { return };
        for name in top_names(torrent) {
            tops.remove(&(self.hasher.hash_one(name), torrent.key));
        }
        if tops.is_empty() {
            folders.remove(dir);
        }
    }

    /// Other torrents whose top-level names are the same as this one's, above or below them.
    fn neighbours(&self, folders: &Folders, torrent: &Torrent, dir: &Path) -> Neighbours {
        let mut found = Neighbours::new();
        let mut add = |tops: &Tops, name: Option<&OsStr>| {
            let hash = name.map(|name| self.hasher.hash_one(name));
            let named = tops.range_from(&(hash.unwrap_or(0), TorrentKey(0)));
            let named = named.take_while(|((other, _), _)| hash.is_none_or(|hash| hash == *other));
            let others = named.filter(|((_, key), _)| *key != torrent.key);
            found.extend(others.map(|((_, key), other)| (*key, Arc::clone(other))));
        };
        for above in dir.ancestors() {
            if let (Some(name), Some(tops)) = (above.file_name(), above.parent().and_then(|dir| folders.get(dir))) {
                add(tops, Some(name));
            }
        }
        let beside = folders.get(dir);
        for name in top_names(torrent) {
            if let Some(beside) = beside {
                add(beside, Some(name));
            }
            // What is below a path comes right behind it in this order.
            let top = dir.join(name);
            let behind = folders.range_from(&*top);
            behind.take_while(|(dir, _)| dir.starts_with(&top)).for_each(|(_, tops)| add(tops, None));
        }
        found
    }

    /// No panic can happen under the lock.
    fn lock(&self) -> MutexGuard<'_, Folders> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The names of a torrent in its folder: one for all its files, mostly; at worst each has its own.
fn top_names(torrent: &Torrent) -> HashSet<&OsStr> {
    let files = torrent.place.layout.files().iter().filter(|file| !file.pad);
    files.filter_map(|file| file.path.iter().next()).collect()
}

/// True if the two must not use the same file, the first being the newer.
fn collides(torrent: &Torrent, other: &Torrent) -> bool {
    // One that is still being opened may turn out to be complete, and is asked itself if it is not.
    let writes = other.create && other.opened().is_ok() && !other.is_complete();
    torrent.create || writes
}

/// Two lists of files are compared here: not to be called under the lock.
fn in_use_by(torrent: &Torrent, others: &Neighbours) -> Option<StorageError> {
    others.values().find_map(|other| {
        let mine: HashSet<PathBuf> = files(torrent).collect();
        let path = files(other).find(|path| mine.contains(path))?;
        Some(StorageError::InUse { path, by: other.info_hash })
    })
}

/// The files of a torrent that has claimed them.
fn files(torrent: &Torrent) -> impl Iterator<Item = PathBuf> + '_ {
    let files = torrent.place.layout.files().iter().filter(|file| !file.pad);
    torrent.state_dir().into_iter().flat_map(move |dir| files.clone().map(move |file| dir.join(&file.path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::files::FileCache;
    use crate::storage::layout::Place;
    use crate::storage::{CheckMode, Layout, LayoutFile, Writing};
    use crate::types::Geometry;

    fn torrent(number: u8, paths: &[&str]) -> Arc<Torrent> {
        let file = |path: &&str| LayoutFile { path: path.into(), len: 1, pad: false };
        let geometry = Geometry::new(paths.len() as u64, 1).unwrap();
        let layout = Layout::new(geometry, paths.iter().map(file).collect()).unwrap();
        let place = Place { dir: Path::new("/").into(), layout };
        let (key, info_hash) = (TorrentKey(number.into()), InfoHash::new([number; 20]));
        let mode = (CheckMode::TrustResume, Writing::Repair);
        let (hashes, files) = (std::iter::empty().collect(), Arc::new(FileCache::new()));
        Arc::new(Torrent::new(key, info_hash, place, hashes, mode, files))
    }

    #[test]
    fn the_same_file_is_found_wherever_its_path_is_cut_in_two() {
        let claims = Claims::default();
        let claim = |torrent: &Arc<Torrent>, dir: &str| match claims.claim(torrent, &Path::new(dir).into()) {
            Some(StorageError::InUse { path, by }) => Some((path, by)),
            other => other.map(|error| panic!("{error}")),
        };
        let (high, low) = (torrent(1, &["a/b/c"]), torrent(2, &["c", "x"]));
        assert_eq!(claim(&high, "/d"), None);
        assert_eq!(claim(&low, "/d/a/b"), Some(("/d/a/b/c".into(), high.info_hash)));
        let (later, beside) = (torrent(3, &["a/b/x"]), torrent(4, &["a/b/y", "ab"]));
        assert_eq!(claim(&later, "/d"), Some(("/d/a/b/x".into(), low.info_hash)));
        assert_eq!(claim(&beside, "/d"), None);
        assert_eq!(claims.in_common(&later), HashMap::from([("a/b/x".into(), low.info_hash)]));
        claims.release(&low);
        claims.release(&later);
        let again = torrent(5, &["x"]);
        assert_eq!(claim(&again, "/d/a/b"), None);
        [&high, &beside, &again].iter().for_each(|torrent| claims.release(torrent));
        assert!(claims.lock().is_empty());
    }
}
