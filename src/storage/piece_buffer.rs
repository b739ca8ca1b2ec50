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
/// needed, least recently used first. A buffer that is being sent stays until it is: letting go of it frees nothing.
#[derive(Debug)]
pub struct PieceBuffer {
    budget: u64,
    /// Bytes in windows that are being received or verified.
    reserved: u64,
    /// Bytes in windows that are on their way into memory, for uploads.
    coming: u64,
    /// Bytes in `reads`.
    cached: u64,
    /// ... and those of them that are in buffers and not in the pages of files.
    buffered: u64,
    /// ... and those that were fetched ahead and not used yet.
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

impl Entry {
    fn is_free(&self) -> bool {
        !(self.window.is_buffered() && self.window.is_shared())
    }
}

/// Share of the budget that windows being received leave to others: one part in so many. Without it downloads could
/// keep everything, and whoever asks us for a piece would wait for their end.
const READ_SHARE: u64 = 4;

impl PieceBuffer {
    /// An empty buffer of `budget` bytes.
    #[must_use]
    pub fn new(budget: u64) -> Self {
        let (reads, by_use) = (HashMap::new(), BTreeMap::new());
        Self { budget, reserved: 0, coming: 0, cached: 0, buffered: 0, unread: 0, reads, by_use, uses: 0 }
    }

    /// From now on there are so many bytes. What is too much then goes with the next [`PieceBuffer::make_room`].
    pub const fn set_budget(&mut self, budget: u64) {
        self.budget = budget;
    }

    /// Counts a window of `len` bytes that is about to be opened for receiving. False, and nothing counted, if there is
    /// no room for it; the first one is always granted, however large. Finished pieces that nobody is being sent do not
    /// stand in the way: take them out with [`PieceBuffer::make_room`] after a grant.
    #[must_use]
    pub fn reserve_write(&mut self, len: u32) -> bool {
        let most = self.write_budget();
        let granted = self.reserved == 0 || (self.reserved + u64::from(len) <= most && self.has_room(len));
        if granted {
            self.reserved = self.reserved.saturating_add(u64::from(len));
        }
        granted
    }

    /// Takes back what [`PieceBuffer::reserve_write`] counted: the piece was given up, or became a finished one.
    pub const fn release_write(&mut self, len: u32) {
        self.reserved = self.reserved.saturating_sub(len as u64);
    }

    /// Counts a finished piece of `len` bytes that is about to be brought into memory, as
    /// [`PieceBuffer::reserve_write`] does for others. One is always granted if no other one is in memory of our own.
    #[must_use]
    pub fn reserve_read(&mut self, len: u32) -> bool {
        let none = || self.coming == 0 && self.staying() == 0;
        let granted = self.has_room(len) || none();
        if granted {
            self.coming = self.coming.saturating_add(u64::from(len));
        }
        granted
    }

    /// Takes back what [`PieceBuffer::reserve_read`] counted: it is there, or cannot be had.
    pub const fn release_read(&mut self, len: u32) {
        self.coming = self.coming.saturating_sub(len as u64);
    }

    /// Would so many bytes more fit, if all windows went that can?
    fn has_room(&self, len: u32) -> bool {
        let wanted = self.reserved + self.coming + u64::from(len);
        // Looking who stays costs more than a sum: only if it matters.
        wanted + self.buffered <= self.budget || (wanted <= self.budget && wanted + self.staying() <= self.budget)
    }

    /// Bytes in finished pieces that cannot go, because they are being sent from memory of our own.
    fn staying(&self) -> u64 {
        let staying = self.reads.values().filter(|entry| !entry.is_free());
        staying.map(|entry| u64::from(entry.window.len())).sum()
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
        self.buffered += if window.is_buffered() { len } else { 0 };
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
        let mut after = 0;
        while self.used() > self.budget {
            let mut rest = self.by_use.range(after..);
            let free = rest.find(|(_, key)| self.reads.get(key).is_none_or(Entry::is_free));
            let Some((used, key)) = free.map(|(used, key)| (*used, *key)) else { break };
            after = used + 1;
            evicted.extend(self.take(key));
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
        self.reserved + self.coming + self.cached
    }

    /// Bytes that windows being received may have.
    #[must_use]
    pub const fn write_budget(&self) -> u64 {
        self.budget.saturating_sub(self.budget / READ_SHARE)
    }

    /// Bytes in finished pieces that are on their way into memory.
    #[must_use]
    pub const fn coming(&self) -> u64 {
        self.coming
    }

    /// Bytes in windows that are being received or verified.
    #[must_use]
    pub const fn receiving(&self) -> u64 {
        self.reserved
    }

    /// Bytes of finished pieces that take memory of our own: those in buffers, and those on their way. Pages of files
    /// are the system's, which takes them back when it wants.
    #[must_use]
    pub const fn serving(&self) -> u64 {
        self.coming + self.buffered
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
        self.buffered = self.buffered.saturating_sub(if entry.window.is_buffered() { len } else { 0 });
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
        assert!(!buffer.reserve_write(16), "a quarter is for others");
        assert!(buffer.reserve_write(15));
        assert_eq!(lens(&buffer.insert_read(key(1), test_window(26))), [26], "no room left for it");
        buffer.release_write(60);
        assert_eq!(buffer.used(), 15);
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

    #[test]
    fn a_buffer_that_is_being_sent_stays_and_counts() {
        let mut buffer = PieceBuffer::new(100);
        let sent = test_window(60);
        assert!(buffer.insert_read(key(0), sent.clone()).is_empty());
        assert!(buffer.insert_read(key(1), test_window(30)).is_empty());
        assert!(!buffer.reserve_read(41), "the first one cannot go");
        assert!(buffer.reserve_read(40));
        assert_eq!(lens(&buffer.make_room()), [30]);
        assert_eq!((buffer.serving(), buffer.used()), (100, 100));
        buffer.release_read(40);
        assert_eq!(lens(&buffer.insert_read(key(2), test_window(50))), [50]);
        drop(sent);
        assert!(buffer.reserve_write(75));
        assert_eq!(lens(&buffer.make_room()), [60]);
        assert_eq!((buffer.receiving(), buffer.serving()), (75, 0));
    }

    #[test]
    fn one_piece_for_uploads_is_always_possible() {
        let mut buffer = PieceBuffer::new(100);
        assert!(buffer.reserve_write(1000));
        assert!(buffer.reserve_read(1000));
        assert!(!buffer.reserve_read(1));
        buffer.release_read(1000);
        let sent = test_window(1000);
        assert!(buffer.insert_read(key(0), sent.clone()).is_empty());
        assert!(!buffer.reserve_read(1000));
        drop(sent);
        assert!(buffer.reserve_read(1000), "the last one was sent and makes room");
        assert_eq!(lens(&buffer.make_room()), [1000]);
    }

    #[test]
    fn a_smaller_budget_takes_effect_with_the_next_look() {
        let mut buffer = PieceBuffer::new(100);
        assert!(buffer.insert_read(key(0), test_window(50)).is_empty());
        assert!(buffer.insert_read(key(1), test_window(40)).is_empty());
        buffer.set_budget(45);
        assert_eq!(lens(&buffer.make_room()), [50]);
        assert_eq!(buffer.used(), 40);
    }
}
