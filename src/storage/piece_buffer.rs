//! The reactor's account of the windows it holds: bytes against a budget, finished pieces least recently used first.
//!
//! There are two budgets. One is for memory of our own: what is being received, and finished pieces in buffers. The other
//! is for finished pieces that are mappings of their files. Those take no memory that the system could not have back at
//! any time, but to make and to unmap one costs more than to send what is in it: so there may be many more of them.
//!
//! Pure bookkeeping on the reactor thread. It maps and unmaps nothing: windows that have to go are handed back to the
//! caller, who sends them to a disk thread ([`Job::Release`](super::Job::Release)).

use std::collections::HashMap;

use super::mapping::ReadWindow;
use crate::types::{PieceIndex, SortedMap, TorrentKey};

/// Names a piece of some torrent.
type Key = (TorrentKey, PieceIndex);

/// Windows in use, in bytes. What is being received is reserved and stays; what is kept for uploads goes when room is
/// needed, least recently used first. A buffer that is being sent stays until it is: letting go of it frees nothing.
#[derive(Debug)]
pub struct PieceBuffer {
    budget: u64,
    /// The same for windows that are pages of files.
    mapped_budget: u64,
    /// Bytes in windows that are being received or verified.
    reserved: u64,
    /// Bytes in windows that are on their way into memory, for uploads.
    coming: u64,
    reads: HashMap<Key, Entry>,
    /// Those of `reads` that are in buffers.
    buffered: Kept,
    /// Those of `reads` that are pages of files.
    mapped: Kept,
    /// Bytes in those of `reads` that were fetched ahead and not used yet.
    unread: u64,
    uses: u64,
    /// The last use before [`PieceBuffer::take_unused`] was called.
    marked: u64,
}

/// Finished pieces of one kind.
#[derive(Debug, Default)]
struct Kept {
    bytes: u64,
    /// Last use to key; uses are numbered, so the first entry is the least recently used.
    by_use: SortedMap<u64, Key>,
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
    /// An empty buffer of `budget` bytes, and `mapped_budget` bytes for windows that are pages of files.
    #[must_use]
    pub fn new(budget: u64, mapped_budget: u64) -> Self {
        Self {
            budget,
            mapped_budget,
            reserved: 0,
            coming: 0,
            reads: HashMap::new(),
            buffered: Kept::default(),
            mapped: Kept::default(),
            unread: 0,
            uses: 0,
            marked: 0,
        }
    }

    /// From now on there are so many bytes of memory. What is too much then goes with the next [`PieceBuffer::make_room`].
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
        wanted + self.buffered.bytes <= self.budget || (wanted <= self.budget && wanted + self.staying() <= self.budget)
    }

    /// Bytes in finished pieces that cannot go, because they are being sent from memory of our own.
    fn staying(&self) -> u64 {
        let buffered = self.buffered.by_use.values().filter_map(|key| self.reads.get(key));
        let staying = buffered.filter(|entry| !entry.is_free());
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
        let (last_use, len) = (self.uses, u64::from(window.len()));
        let kept = self.kept(&window);
        kept.bytes += len;
        kept.by_use.insert(last_use, key);
        self.unread += if unread { len } else { 0 };
        self.reads.insert(key, Entry { window, last_use, unread });
        evicted.extend(self.make_room());
        evicted
    }

    /// Takes out finished pieces, least recently used first, until everything fits the budgets again.
    #[must_use]
    pub fn make_room(&mut self) -> Vec<ReadWindow> {
        let mut evicted = Vec::new();
        while self.mapped.bytes > self.mapped_budget
            && let Some((_, key)) = self.mapped.by_use.first_key_value()
        {
            evicted.extend(self.take(*key));
        }
        let mut after = 0;
        while self.used() > self.budget {
            let mut rest = self.buffered.by_use.range_from(&after);
            let free = rest.find(|(_, key)| self.reads.get(key).is_none_or(Entry::is_free));
            let Some((used, key)) = free.map(|(used, key)| (*used, *key)) else { break };
            after = used + 1;
            evicted.extend(self.take(key));
        }
        evicted
    }

    /// Takes out the windows over files that were not used since the last call.
    #[must_use]
    pub fn take_unused(&mut self) -> Vec<ReadWindow> {
        let unused: Vec<Key> =
            self.mapped.by_use.iter().take_while(|(used, _)| **used <= self.marked).map(|(_, key)| *key).collect();
        self.marked = self.uses;
        unused.into_iter().filter_map(|key| self.take(key)).collect()
    }

    /// A finished piece, if it is still here; this counts as a use.
    #[must_use]
    pub fn read(&mut self, key: (TorrentKey, PieceIndex)) -> Option<ReadWindow> {
        let entry = self.reads.get_mut(&key)?;
        self.uses += 1;
        let kept = if entry.window.is_buffered() { &mut self.buffered } else { &mut self.mapped };
        kept.by_use.remove(&entry.last_use);
        kept.by_use.insert(self.uses, key);
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

    /// Bytes of memory of our own: windows being received, and finished pieces on their way and in buffers.
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.reserved + self.serving()
    }

    /// Bytes of finished pieces that are pages of files.
    #[must_use]
    pub const fn mapped(&self) -> u64 {
        self.mapped.bytes
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
        self.coming + self.buffered.bytes
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
        let len = u64::from(entry.window.len());
        let kept = self.kept(&entry.window);
        kept.by_use.remove(&entry.last_use);
        kept.bytes = kept.bytes.saturating_sub(len);
        self.unread = self.unread.saturating_sub(if entry.unread { len } else { 0 });
        Some(entry.window)
    }

    /// Where a window belongs.
    fn kept(&mut self, window: &ReadWindow) -> &mut Kept {
        if window.is_buffered() { &mut self.buffered } else { &mut self.mapped }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mapping::{test_mapped_window, test_window};
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
        let mut buffer = PieceBuffer::new(100, 0);
        assert!(buffer.insert_read(key(0), test_window(30)).is_empty());
        assert!(buffer.insert_read(key(1), test_window(31)).is_empty());
        assert!(buffer.insert_read(key(2), test_window(32)).is_empty());
        assert!(buffer.read(key(0)).is_some());
        assert_eq!(lens(&buffer.insert_read(key(3), test_window(60))), [31, 32]);
        assert_eq!(buffer.used(), 90);
        assert!(buffer.read(key(1)).is_none());
        assert_eq!(lens(&buffer.remove_torrent(TorrentKey(1))).len(), 2);
        assert_eq!(buffer.used(), 0);
        assert!(buffer.buffered.by_use.is_empty());
    }

    #[test]
    fn what_is_being_received_pushes_finished_pieces_out() {
        let mut buffer = PieceBuffer::new(100, 0);
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
        let mut buffer = PieceBuffer::new(100, 0);
        assert!(buffer.reserve_write(1000));
        assert!(!buffer.reserve_write(1));
        buffer.release_write(1000);
        assert!(buffer.reserve_write(1));
    }

    #[test]
    fn what_was_fetched_ahead_counts_until_it_is_used_or_goes() {
        let mut buffer = PieceBuffer::new(100, 0);
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
        let mut buffer = PieceBuffer::new(100, 0);
        assert!(buffer.insert_read(key(0), test_window(30)).is_empty());
        assert_eq!(lens(&buffer.insert_read(key(0), test_window(40))), [30]);
        assert_eq!(buffer.used(), 40);
    }

    #[test]
    fn a_buffer_that_is_being_sent_stays_and_counts() {
        let mut buffer = PieceBuffer::new(100, 0);
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
        let mut buffer = PieceBuffer::new(100, 0);
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
    fn windows_over_files_have_a_budget_of_their_own() {
        let mut buffer = PieceBuffer::new(100, 1000);
        for piece in 0..3 {
            assert!(buffer.insert_read(key(piece), test_mapped_window(300 + piece)).is_empty());
        }
        assert_eq!((buffer.used(), buffer.mapped()), (0, 903));
        assert!(buffer.reserve_write(75) && buffer.reserve_read(25));
        assert!(buffer.make_room().is_empty(), "they take no memory that others could have");
        buffer.release_read(25);
        assert!(buffer.insert_read(key(3), test_window(25)).is_empty());
        assert!(buffer.read(key(0)).is_some());
        assert_eq!(lens(&buffer.insert_read(key(4), test_mapped_window(100))), [301]);
        assert_eq!((buffer.used(), buffer.mapped()), (100, 702));
        assert_eq!(buffer.remove_torrent(TorrentKey(1)).len(), 4);
        assert_eq!((buffer.used(), buffer.mapped()), (75, 0));
    }

    #[test]
    fn windows_over_files_go_when_nobody_uses_them() {
        let mut buffer = PieceBuffer::new(100, 1000);
        assert!(buffer.insert_read(key(0), test_mapped_window(30)).is_empty());
        assert!(buffer.insert_ahead(key(1), test_mapped_window(31)).is_empty());
        assert!(buffer.insert_read(key(2), test_window(32)).is_empty());
        assert!(buffer.take_unused().is_empty(), "all are new");
        assert!(buffer.read(key(0)).is_some());
        assert_eq!(lens(&buffer.take_unused()), [31]);
        assert_eq!(buffer.unread(), 0);
        assert_eq!(lens(&buffer.take_unused()), [30]);
        assert!(buffer.take_unused().is_empty() && buffer.holds(key(2)), "to read it again would cost more");
    }

    #[test]
    fn a_smaller_budget_takes_effect_with_the_next_look() {
        let mut buffer = PieceBuffer::new(100, 0);
        assert!(buffer.insert_read(key(0), test_window(50)).is_empty());
        assert!(buffer.insert_read(key(1), test_window(40)).is_empty());
        buffer.set_budget(45);
        assert_eq!(lens(&buffer.make_room()), [50]);
        assert_eq!(buffer.used(), 40);
    }
}
