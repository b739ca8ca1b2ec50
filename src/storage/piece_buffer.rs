//! The reactor's account of the windows it holds: bytes against one budget, finished pieces least recently used first.
//!
//! Pure bookkeeping on the reactor thread. It maps and unmaps nothing: windows that have to go are handed back to the
//! caller, who sends them to a disk thread ([`Job::Release`](super::Job::Release)).

use std::collections::{BTreeMap, HashMap};

use super::mapping::ReadWindow;
use crate::types::{PieceIndex, TorrentKey};

/// Names a piece of some torrent.
type Key = (TorrentKey, PieceIndex);

/// Windows in use, in bytes. What is being received is reserved and stays; what is kept for uploads goes when room is
/// needed, least recently used first.
#[derive(Debug)]
pub struct PieceBuffer {
    budget: u64,
    /// Bytes in windows that are being received or verified.
    reserved: u64,
    /// Bytes in `reads`.
    cached: u64,
    /// Bytes of those among them that were fetched ahead and not used yet.
    unread: u64,
    reads: HashMap<Key, Entry>,
    /// Last use to key; uses are numbered, so the first entry is the least recently used.
    by_use: BTreeMap<u64, Key>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    window: ReadWindow,
    last_use: u64,
    unread: bool,
}

impl PieceBuffer {
    /// An empty buffer of `budget` bytes.
    #[must_use]
    pub fn new(budget: u64) -> Self {
        Self { budget, reserved: 0, cached: 0, unread: 0, reads: HashMap::new(), by_use: BTreeMap::new(), uses: 0 }
    }

    /// Counts a window of `len` bytes that is about to be opened for receiving. False, and nothing counted, if the
    /// windows being received already fill the budget; the first one is always granted, however large. Finished
    /// pieces do not stand in the way: take them out with [`PieceBuffer::make_room`] after a grant.
    #[must_use]
    pub const fn reserve_write(&mut self, len: u32) -> bool {
        let grown = self.reserved.saturating_add(len as u64);
        let granted = self.reserved == 0 || grown <= self.budget;
        if granted {
            self.reserved = grown;
        }
        granted
    }

    /// Takes back what [`PieceBuffer::reserve_write`] counted: the piece was given up, or became a finished one.
    pub const fn release_write(&mut self, len: u32) {
        self.reserved = self.reserved.saturating_sub(len as u64);
    }

    /// Keeps a finished piece for uploads and answers with those that had to go for it: the least recently used ones,
    /// or the new one itself if nothing of it fits.
    #[must_use]
    pub fn insert_read(&mut self, key: (TorrentKey, PieceIndex), window: ReadWindow) -> Vec<ReadWindow> {
        self.insert(key, window, false)
    }

    /// As [`PieceBuffer::insert_read`], for a piece whose turn has not come yet: see [`PieceBuffer::unread`].
    #[must_use]
    pub fn insert_ahead(&mut self, key: (TorrentKey, PieceIndex), window: ReadWindow) -> Vec<ReadWindow> {
        self.insert(key, window, true)
    }

    fn insert(&mut self, key: Key, window: ReadWindow, unread: bool) -> Vec<ReadWindow> {
        let mut evicted: Vec<ReadWindow> = self.take(key).into_iter().collect();
        self.uses += 1;
        let len = u64::from(window.len());
        self.cached += len;
        self.unread += if unread { len } else { 0 };
        self.by_use.insert(self.uses, key);
        self.reads.insert(key, Entry { window, last_use: self.uses, unread });
        evicted.extend(self.make_room());
        evicted
    }

    /// Takes out finished pieces, least recently used first, until everything fits the budget again.
    #[must_use]
    pub fn make_room(&mut self) -> Vec<ReadWindow> {
        let mut evicted = Vec::new();
        while self.used() > self.budget {
            let Some((_, key)) = self.by_use.first_key_value() else { break };
            evicted.extend(self.take(*key));
        }
        evicted
    }

    /// A finished piece, if it is still here; this counts as a use.
    #[must_use]
    pub fn read(&mut self, key: (TorrentKey, PieceIndex)) -> Option<ReadWindow> {
        let entry = self.reads.get_mut(&key)?;
        self.uses += 1;
        self.by_use.remove(&entry.last_use);
        self.by_use.insert(self.uses, key);
        entry.last_use = self.uses;
        if std::mem::take(&mut entry.unread) {
            self.unread = self.unread.saturating_sub(u64::from(entry.window.len()));
        }
        Some(entry.window.clone())
    }

    /// True if this finished piece is here. No use of it.
    #[must_use]
    pub fn holds(&self, key: (TorrentKey, PieceIndex)) -> bool {
        self.reads.contains_key(&key)
    }

    /// Takes out every finished piece of a torrent, to be released.
    #[must_use]
    pub fn remove_torrent(&mut self, torrent: TorrentKey) -> Vec<ReadWindow> {
        let keys: Vec<Key> = self.reads.keys().filter(|(key, _)| *key == torrent).copied().collect();
        keys.into_iter().filter_map(|key| self.take(key)).collect()
    }

    /// Bytes counted: windows being received and finished pieces.
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.reserved + self.cached
    }

    /// Bytes of finished pieces that were fetched ahead and that nobody has used yet.
    #[must_use]
    pub const fn unread(&self) -> u64 {
        self.unread
    }

    /// The budget in bytes.
    #[must_use]
    pub const fn budget(&self) -> u64 {
        self.budget
    }

    fn take(&mut self, key: Key) -> Option<ReadWindow> {
        let entry = self.reads.remove(&key)?;
        self.by_use.remove(&entry.last_use);
        let len = u64::from(entry.window.len());
        self.cached = self.cached.saturating_sub(len);
        self.unread = self.unread.saturating_sub(if entry.unread { len } else { 0 });
        Some(entry.window)
    }
}

#[cfg(test)]
mod tests {
    use super::super::mapping::test_window;
    use super::*;
    use crate::types::Geometry;

    fn key(piece: u32) -> Key {
        (TorrentKey(1), Geometry::new(1000, 100).unwrap().piece(piece).unwrap())
    }

    fn lens(windows: &[ReadWindow]) -> Vec<u32> {
        windows.iter().map(ReadWindow::len).collect()
    }

    #[test]
    fn the_least_recently_used_piece_goes_first() {
        let mut buffer = PieceBuffer::new(100);
        assert!(buffer.insert_read(key(0), test_window(30)).is_empty());
        assert!(buffer.insert_read(key(1), test_window(31)).is_empty());
        assert!(buffer.insert_read(key(2), test_window(32)).is_empty());
        assert!(buffer.read(key(0)).is_some());
        assert_eq!(lens(&buffer.insert_read(key(3), test_window(60))), [31, 32]);
        assert_eq!(buffer.used(), 90);
        assert!(buffer.read(key(1)).is_none());
        assert_eq!(lens(&buffer.remove_torrent(TorrentKey(1))).len(), 2);
        assert_eq!(buffer.used(), 0);
        assert!(buffer.by_use.is_empty());
    }

    #[test]
    fn what_is_being_received_pushes_finished_pieces_out() {
        let mut buffer = PieceBuffer::new(100);
        assert!(buffer.insert_read(key(0), test_window(80)).is_empty());
        assert!(buffer.reserve_write(60));
        assert_eq!(lens(&buffer.make_room()), [80]);
        assert!(!buffer.reserve_write(41), "the budget is for all");
        assert!(buffer.reserve_write(40));
        assert_eq!(lens(&buffer.insert_read(key(1), test_window(1))), [1], "no room left for it");
        buffer.release_write(60);
        assert_eq!(buffer.used(), 40);
    }

    #[test]
    fn one_piece_larger_than_the_budget_is_always_possible() {
        let mut buffer = PieceBuffer::new(100);
        assert!(buffer.reserve_write(1000));
        assert!(!buffer.reserve_write(1));
        buffer.release_write(1000);
        assert!(buffer.reserve_write(1));
    }

    #[test]
    fn what_was_fetched_ahead_counts_until_it_is_used_or_goes() {
        let mut buffer = PieceBuffer::new(100);
        assert!(buffer.insert_ahead(key(0), test_window(30)).is_empty());
        assert!(buffer.insert_ahead(key(1), test_window(31)).is_empty());
        assert!(buffer.insert_read(key(2), test_window(32)).is_empty());
        assert_eq!(buffer.unread(), 61);
        assert!(buffer.read(key(1)).is_some() && buffer.read(key(1)).is_some());
        assert_eq!(buffer.unread(), 30);
        assert_eq!(lens(&buffer.insert_read(key(3), test_window(20))), [30]);
        assert_eq!(buffer.unread(), 0);
    }

    #[test]
    fn a_piece_inserted_twice_counts_once() {
        let mut buffer = PieceBuffer::new(100);
        assert!(buffer.insert_read(key(0), test_window(30)).is_empty());
        assert_eq!(lens(&buffer.insert_read(key(0), test_window(40))), [30]);
        assert_eq!(buffer.used(), 40);
    }
}
