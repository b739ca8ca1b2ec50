//! What was written to a device and is not synced yet, and how much that may be.
//!
//! The system takes what is written as fast as it comes, as long as it has memory: on a slow disk that may be minutes'
//! worth, and nobody can break off a sync, not even by ending the process. So a device is synced whenever so much has come
//! together that it takes about half a second; how much that is, the syncs before it have told. A fast disk is hardly ever
//! synced for that reason, a slow one no sooner than it would have to write anyway.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

/// When to sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urge {
    /// When it is time to commit.
    Later,
    /// As soon as there is a thread for it.
    Soon,
    /// Before anything more is written.
    Now,
}

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

    /// What whoever has written has to do next. Says only once that it is to be soon.
    pub(super) fn urge(&self) -> Urge {
        let mut state = self.state();
        if state.unsynced < state.most {
            Urge::Later
        } else if state.unsynced >= state.most.saturating_mul(2) {
            Urge::Now
        } else if std::mem::replace(&mut state.asked, true) {
            Urge::Later
        } else {
            Urge::Soon
        }
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
    #[cfg(test)]
    pub(super) fn unsynced(&self) -> u64 {
        self.state().unsynced
    }

    fn state(&self) -> MutexGuard<'_, State> {
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
        assert_eq!(backlog.urge(), Urge::Later);
        backlog.wrote(1);
        assert_eq!((backlog.urge(), backlog.urge()), (Urge::Soon, Urge::Later), "one thread does it");
        backlog.wrote(8 * MIB);
        assert_eq!(backlog.urge(), Urge::Now, "faster than it can be written");
        backlog.synced(16 * MIB, Some(Duration::from_secs(4)));
        backlog.wrote(2 * MIB - 1);
        assert_eq!(backlog.urge(), Urge::Later);
        backlog.wrote(1);
        assert_eq!(backlog.urge(), Urge::Soon);
        backlog.synced(2 * MIB, Some(Duration::from_secs(60)));
        backlog.wrote(MIB);
        assert_eq!(backlog.urge(), Urge::Soon, "never less than one MiB");
    }

    #[test]
    fn a_fast_disk_is_synced_less_and_less() {
        let backlog = Backlog::default();
        let mut syncs = 0;
        for _ in 0..4096 {
            backlog.wrote(MIB);
            if backlog.urge() == Urge::Soon {
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
        assert_eq!(backlog.urge(), Urge::Later);
        backlog.wrote(2 * MIB);
        assert_eq!(backlog.urge(), Urge::Soon);
    }
}
