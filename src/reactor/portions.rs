//! Reading connections in full flow in larger portions.
//!
//! A connection that brings some hundred MB/s wakes the loop for every few segments. When a lot is on its way, the kernel
//! is told to wait until there is a portion worth reading (`SO_RCVLOWAT`): fewer waits and reads, and not a byte later in
//! the end. What could be held back by that is bounded twice: as soon as not much more is expected, which is before the
//! end of a download, every byte counts again; and a connection that was not read for a moment, since its peer paused or
//! had something else to say, is read, and its every byte counts, too. The end of a connection is told at once in any case.

use std::time::{Duration, Instant};

use nix::sys::socket::setsockopt;
use nix::{setsockopt_impl, sockopt_impl};

use super::net::Net;
use super::timers::Deadline;
use crate::types::PeerKey;

/// What is worth reading. Measured: half of it means some calls more, and twice as much saves next to nothing.
pub(super) const PORTION: usize = 256 * 1024;

/// Payload that must be expected of the peer at the beginning: while one portion is awaited and read, another one is on
/// its way. Later one portion is enough, or a pipeline that is just being filled again would end it time and again.
pub(super) const DEEP: usize = 2 * PORTION;

/// How long a portion may take, and up to twice that, since one timer looks after all. Whoever is slower than 25 MB/s needs
/// no larger ones.
pub(super) const PATIENCE: Duration = Duration::from_millis(10);

// The one `unsafe` call outside of `storage`: it is in the crate's macro, which knows the option's type.
sockopt_impl!(
    /// Bytes that make a socket readable.
    ReceiveLowWater,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_RCVLOWAT,
    libc::c_int
);

/// Connections that are read in portions, and when they were last read.
#[derive(Debug, Default)]
pub(super) struct Portions {
    conns: Vec<(PeerKey, Instant)>,
    armed: bool,
}

impl<T> Net<T> {
    /// So many bytes of payload are on their way from this peer, as far as the handler knows.
    pub fn expect(&mut self, key: PeerKey, payload: usize) {
        if let Some(conn) = self.conn_mut(key) {
            conn.expected = payload;
        }
    }

    /// So many bytes were read from this connection, and the handler has said what more it expects. True if every byte
    /// counts again: then it has to be read, since not every system tells that there is something already.
    pub(super) fn pace(&mut self, key: PeerKey, read: usize) -> bool {
        let now = self.now;
        let Some(expected) = self.conn(key).map(|conn| conn.expected) else { return false };
        match self.portions.conns.iter_mut().find(|(known, _)| *known == key) {
            Some((_, at)) if expected >= PORTION => *at = if read > 0 { now } else { *at },
            Some(_) => {
                self.portions.conns.retain(|(known, _)| *known != key);
                self.set_portion(key, 1);
                return true;
            }
            None if expected >= DEEP && read >= PORTION => {
                self.portions.conns.push((key, now));
                self.set_portion(key, PORTION);
                self.arm_portions();
            }
            None => {}
        }
        false
    }

    /// Every byte counts again of those that were not read for a while; they have to be read, as after [`Self::pace`].
    pub(super) fn paused(&mut self) -> Vec<PeerKey> {
        self.portions.armed = false;
        let now = self.now;
        let (paused, conns) = std::mem::take(&mut self.portions.conns)
            .into_iter()
            .filter(|(key, _)| self.conn(*key).is_some())
            .partition(|(_, at)| now.saturating_duration_since(*at) >= PATIENCE);
        self.portions.conns = conns;
        self.arm_portions();
        let paused: Vec<(PeerKey, Instant)> = paused;
        paused.iter().for_each(|(key, _)| self.set_portion(*key, 1));
        paused.into_iter().map(|(key, _)| key).collect()
    }

    fn arm_portions(&mut self) {
        if !self.portions.conns.is_empty() && !std::mem::replace(&mut self.portions.armed, true) {
            self.timers.arm(self.now + PATIENCE, Deadline::Portions);
        }
    }

    fn set_portion(&self, key: PeerKey, bytes: usize) {
        let (Some(conn), Ok(bytes)) = (self.conn(key), i32::try_from(bytes)) else { return };
        // Where that is not possible every byte goes on to count.
        let _ = setsockopt(&conn.stream, ReceiveLowWater, &bytes);
    }
}

#[cfg(test)]
mod tests;
