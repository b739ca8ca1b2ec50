//! Waking the loop from other threads, with a system call only if it sleeps.
//!
//! Two flags: the hook sets `called` and looks whether the loop is asleep; the loop sets `asleep` and looks whether it
//! was called. Each sets its own before it looks at the other's, so whoever is second sees what the first has done, and
//! no call is missed. A busy loop finds calls by itself, once a turn.

use std::sync::atomic::{AtomicBool, Ordering};

use mio::Waker;

/// What the wake hook and the loop know of each other.
pub(super) struct Wake {
    waker: Waker,
    /// The hook was called and the handler has not been told yet.
    called: AtomicBool,
    /// The loop waits, or is about to.
    asleep: AtomicBool,
}

impl Wake {
    pub(super) const fn new(waker: Waker) -> Self {
        Self { waker, called: AtomicBool::new(false), asleep: AtomicBool::new(false) }
    }

    /// For other threads. Of several calls only the first may cost a system call.
    pub(super) fn call(&self) {
        if self.called.swap(true, Ordering::SeqCst) || !self.asleep.load(Ordering::SeqCst) {
            return;
        }
        if let Err(error) = self.waker.wake() {
            log::error!("cannot wake the reactor: {error}");
        }
    }

    /// The loop is about to wait. False if it was called already: then it must not.
    pub(super) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        !self.called.load(Ordering::SeqCst)
    }

    /// The wait is over.
    pub(super) fn awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// Whether it was called since this was asked last. To be asked before looking for what the caller wants: what comes
    /// meanwhile is a new call.
    pub(super) fn take_call(&self) -> bool {
        self.called.swap(false, Ordering::SeqCst)
    }
}
