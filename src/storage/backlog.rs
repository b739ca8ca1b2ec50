//! What was written to a device and is not synced yet, and how much that may be.
//!
//! The system takes what is written as fast as it comes, as long as it has memory: on a slow disk that may be minutes'
//! worth, and nobody can break off a sync, not even by ending the process. So a device is synced whenever so much has come
//! together that it takes about half a second; how much that is, the syncs before it have told. A fast disk is hardly ever
//! synced for that reason, a slow one no sooner than it would have to write anyway. One torrent is synced at a time, the one
//! with most to write; and until that is done nothing more is written to a disk that does not keep up.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::torrent::Torrent;

/// How long a sync should take.
const TARGET: Duration = Duration::from_millis(500);

/// Bytes that may wait before anything is known of a device, or in any case; what is less tells nothing about its speed.
const START: u64 = 8 << 20;
const LEAST: u64 = 1 << 20;

/// The most by which one sync may raise the bound: part of its bytes may have been written already.
const GROWTH: u64 = 8;

/// The account of one device.
#[derive(Debug)]
pub(super) struct Backlog(Mutex<State>);

#[derive(Debug)]
struct State {
    unsynced: u64,
    /// So much may wait.
    most: u64,
    /// Somebody was told to sync and has not yet.
    asked: bool,
}

/// The torrents that have written to a device.
#[derive(Default)]
pub(super) struct Writers(Mutex<Vec<Weak<Torrent>>>);

impl Default for Backlog {
    fn default() -> Self {
        Self(Mutex::new(State { unsynced: 0, most: START, asked: false }))
    }
}

impl Backlog {
    /// So many bytes more were written.
    pub(super) fn wrote(&self, bytes: u64) {
        let mut state = self.state();
        state.unsynced = state.unsynced.saturating_add(bytes);
    }

    /// True if whoever has written has to see to it that something is synced. Says so only once.
    pub(super) fn is_due(&self) -> bool {
        let mut state = self.state();
        state.unsynced >= state.most && !std::mem::replace(&mut state.asked, true)
    }

    /// True if nothing more should be written before the sync that somebody was told of is through.
    pub(super) fn is_full(&self) -> bool {
        let state = self.state();
        state.asked && state.unsynced >= state.most.saturating_mul(2)
    }

    /// Whoever was told to sync could not.
    pub(super) fn given_up(&self) {
        self.state().asked = false;
    }

    /// So many bytes wait no more: a sync took so long, or they are lost.
    pub(super) fn synced(&self, bytes: u64, took: Option<Duration>) {
        let mut state = self.state();
        state.unsynced = state.unsynced.saturating_sub(bytes);
        state.asked = false;
        if let Some(took) = took.filter(|_| bytes >= LEAST) {
            let in_time = u128::from(bytes) * TARGET.as_nanos() / took.as_nanos().max(1);
            let most = state.most.saturating_mul(GROWTH);
            state.most = u64::try_from(in_time).unwrap_or(u64::MAX).clamp(LEAST, most.max(LEAST));
        }
    }

    /// Bytes that wait.
    #[cfg(all(test, feature = "resume"))]
    pub(super) fn unsynced(&self) -> u64 {
        self.state().unsynced
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writers {
    /// Notes one that has written.
    pub(super) fn note(&self, torrent: &Arc<Torrent>) {
        let mut writers = self.lock();
        if !writers.iter().any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(torrent))) {
            writers.retain(|known| known.strong_count() > 0);
            writers.push(Arc::downgrade(torrent));
        }
    }

    /// The one with most bytes that wait to be synced, of those that are not about to be closed.
    pub(super) fn largest(&self) -> Option<Arc<Torrent>> {
        let mut writers = self.lock();
        writers.retain(|known| known.upgrade().is_some_and(|torrent| torrent.unsynced() > 0));
        let open = writers.iter().filter_map(Weak::upgrade).filter(|torrent| !torrent.closing.load(Ordering::Relaxed));
        open.max_by_key(|torrent| torrent.unsynced())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Torrent>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_slow_disk_is_synced_in_portions_of_half_a_second() {
        let backlog = Backlog::default();
        backlog.wrote(8 * MIB - 1);
        assert!(!backlog.is_due());
        backlog.wrote(1);
        assert_eq!((backlog.is_due(), backlog.is_due()), (true, false), "one thread does it");
        backlog.wrote(8 * MIB - 1);
        assert!(!backlog.is_full());
        backlog.wrote(1);
        assert!(backlog.is_full(), "faster than it can be written");
        backlog.synced(16 * MIB, Some(Duration::from_secs(4)));
        assert!(!backlog.is_full());
        backlog.wrote(2 * MIB - 1);
        assert!(!backlog.is_due());
        backlog.wrote(1);
        assert!(backlog.is_due());
        backlog.synced(2 * MIB, Some(Duration::from_secs(60)));
        backlog.wrote(MIB);
        assert!(backlog.is_due(), "never less than one MiB");
    }

    #[test]
    fn nobody_waits_for_a_sync_that_nobody_was_told_of() {
        let backlog = Backlog::default();
        backlog.wrote(64 * MIB);
        assert!(!backlog.is_full());
        assert!(backlog.is_due() && backlog.is_full());
        backlog.synced(8 * MIB, None);
        assert!(!backlog.is_full(), "one torrent of several");
        assert!(backlog.is_due() && backlog.is_full());
        backlog.given_up();
        assert!(!backlog.is_full() && backlog.is_due());
    }

    #[test]
    fn a_fast_disk_is_synced_less_and_less() {
        let backlog = Backlog::default();
        let mut syncs = 0;
        for _ in 0..4096 {
            backlog.wrote(MIB);
            if backlog.is_due() {
                syncs += 1;
                backlog.synced(8 * MIB, Some(Duration::from_micros(10)));
            }
        }
        assert!((2..6).contains(&syncs), "{syncs}");
    }

    #[test]
    fn a_few_bytes_tell_nothing_and_lost_ones_do_not_wait() {
        let backlog = Backlog::default();
        backlog.wrote(9 * MIB);
        backlog.synced(1000, Some(Duration::from_secs(1)));
        backlog.synced(2 * MIB, None);
        assert!(!backlog.is_due());
        backlog.wrote(2 * MIB);
        assert!(backlog.is_due());
    }
}
