//! Which torrent of this process uses which files, so that none writes where another one reads or writes.
//!
//! Reading together is fine: two torrents may serve the same file. A torrent that finds others at its files when it is
//! opened may not write; it does well enough if it is complete. One that only reads waits until nobody writes there.
//! Files are told apart by their path below the real path of the download folder. Called by disk threads, when a
//! torrent is opened or closed; the lock is held for look-ups in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::StorageError;
use super::torrent::Torrent;
use crate::types::{InfoHash, TorrentKey};

/// What all torrents of the process use.
#[derive(Default)]
pub(super) struct Claims(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    claims: HashMap<TorrentKey, Arc<Claim>>,
    /// Who has something at, or below, a path. A torrent's top-level names only: thousands of files are looked through
    /// only where those meet.
    tops: BTreeMap<Arc<Path>, Vec<TorrentKey>>,
}

struct Claim {
    torrent: Arc<Torrent>,
    /// Real path of its folder.
    dir: Arc<Path>,
    tops: Box<[Arc<Path>]>,
}

impl Claims {
    /// Claims the torrent's files below `dir`, the real path of its folder. Answers with the reason if it may not write
    /// to them or, for one that only reads, may not be opened.
    pub(super) fn claim(&self, torrent: &Arc<Torrent>, dir: &Arc<Path>) -> Option<StorageError> {
        let top = |path: &Path| path.iter().next().map(|name| Arc::from(dir.join(name)));
        let files = torrent.place.layout.files().iter().filter(|file| !file.pad);
        // One name for all its files, mostly; at worst each has its own.
        let mut tops: Vec<Arc<Path>> = files.filter_map(|file| top(&file.path)).collect();
        tops.sort_unstable();
        tops.dedup();
        let claim = Arc::new(Claim { torrent: Arc::clone(torrent), dir: Arc::clone(dir), tops: tops.into() });
        let mut inner = self.lock();
        inner.release(torrent.key);
        let others: Vec<_> = inner.neighbours(&claim).into_iter().filter(|other| claim.collides(other)).collect();
        for top in &claim.tops {
            inner.tops.entry(Arc::clone(top)).or_insert_with(|| Vec::with_capacity(1)).push(torrent.key);
        }
        inner.claims.insert(torrent.key, Arc::clone(&claim));
        drop(inner);
        claim.in_use_by(&others)
    }

    /// Before a torrent that has claimed its files writes to them: why it must not, since somebody came to read them.
    pub(super) fn reader(&self, torrent: TorrentKey) -> Option<StorageError> {
        let inner = self.lock();
        let claim = Arc::clone(inner.claims.get(&torrent)?);
        let is_reader = |other: &Arc<Claim>| other.torrent.key != torrent && !other.torrent.create;
        let readers: Vec<_> = inner.neighbours(&claim).into_iter().filter(is_reader).collect();
        drop(inner);
        claim.in_use_by(&readers)
    }

    /// The files of this torrent that another one uses as well, by their path in the torrent, each with one of those.
    pub(super) fn in_common(&self, torrent: TorrentKey) -> HashMap<PathBuf, InfoHash> {
        let inner = self.lock();
        let Some(claim) = inner.claims.get(&torrent).cloned() else { return HashMap::new() };
        let others = inner.neighbours(&claim);
        drop(inner);
        let others = others.iter().filter(|other| other.torrent.key != torrent);
        let used: HashMap<_, _> =
            others.flat_map(|other| other.files().map(|path| (path, other.torrent.info_hash))).collect();
        let mine = claim.torrent.place.layout.files().iter().filter(|file| !file.pad);
        mine.filter_map(|file| Some((file.path.clone(), *used.get(&claim.dir.join(&file.path))?))).collect()
    }

    /// The torrent uses its files no longer.
    pub(super) fn release(&self, torrent: TorrentKey) {
        self.lock().release(torrent);
    }

    /// No panic can happen under the lock.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn release(&mut self, torrent: TorrentKey) {
        let Some(claim) = self.claims.remove(&torrent) else { return };
        for top in &claim.tops {
            if let Some(keys) = self.tops.get_mut(top) {
                keys.retain(|key| *key != torrent);
                if keys.is_empty() {
                    self.tops.remove(top);
                }
            }
        }
    }

    /// Torrents whose top-level names are the same as the claim's, above or below them.
    fn neighbours(&self, claim: &Claim) -> Vec<Arc<Claim>> {
        let mut keys = BTreeSet::new();
        for top in &claim.tops {
            keys.extend(top.ancestors().filter_map(|path| self.tops.get(path)).flatten());
            // What is below a path comes right behind it in this order.
            let below = self.tops.range(top.clone()..).take_while(|(path, _)| path.starts_with(top));
            keys.extend(below.flat_map(|(_, keys)| keys));
        }
        keys.iter().filter_map(|key| self.claims.get(key).cloned()).collect()
    }
}

impl Claim {
    /// True if the two must not use the same file, this one being the newer.
    fn collides(&self, other: &Self) -> bool {
        // One that is still being opened may turn out to be complete, and is asked itself if it is not.
        let writes = other.torrent.create && other.torrent.opened().is_ok() && !other.torrent.is_complete();
        self.torrent.create || writes
    }

    /// Two lists of files are compared here: not to be called under the lock.
    fn in_use_by(&self, others: &[Arc<Self>]) -> Option<StorageError> {
        others.iter().find_map(|other| {
            let path = self.common_file(other)?;
            Some(StorageError::InUse { path, by: other.torrent.info_hash })
        })
    }

    fn common_file(&self, other: &Self) -> Option<PathBuf> {
        let mine: HashSet<PathBuf> = self.files().collect();
        other.files().find(|path| mine.contains(path))
    }

    fn files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let files = self.torrent.place.layout.files().iter().filter(|file| !file.pad);
        files.map(|file| self.dir.join(&file.path))
    }
}
