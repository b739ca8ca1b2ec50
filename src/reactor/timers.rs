//! Deadlines of the loop: one heap, lazily kept.
//!
//! A deadline that moves later is not moved in the heap: it fires early, its owner says when it really is due, and it
//! is armed again. So a busy connection, whose time-outs move with every message, costs the heap nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use crate::types::PeerKey;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deadline {
    /// A connection's keep-alive or time-out.
    Peer(PeerKey),
    /// The handler's own, by a number of its choice.
    Handler(u64),
    /// A listener that was paused after an error.
    Listener(usize),
    /// Connections have been waiting for memory.
    Starved,
    /// Connections that are read in portions may have paused.
    Portions,
}

#[derive(Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, Deadline)>>,
}

impl Timers {
    pub(super) fn arm(&mut self, at: Instant, what: Deadline) {
        self.heap.push(Reverse((at, what)));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next deadline that has passed.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, Deadline)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}
