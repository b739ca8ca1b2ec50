//! Reading within the account of memory: whose input is taken, how much of it, and who waits.
//!
//! A message that is not whole is counted with the length it will have, from its first byte on: whoever has begun one
//! can finish it, so memory comes back by itself, and there is no dead-lock. To begin one, a connection needs room for
//! the longest message it may send. Without that its input stays in the kernel and the peer is slowed down by TCP. Those
//! who wait are read again, first come first served, as soon as there is room; nothing is polled meanwhile.
//!
//! Peers that begin messages and never finish them, or ask and never listen, could keep all memory. So when nobody of
//! those who wait was read for a while, whoever holds most is closed, and so on until half of it is free or nobody waits.
//! Who listens and sends whole messages holds next to nothing, and goes on.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::conn::{Conn, Counted};
use super::net::Net;
use super::timers::Deadline;
use crate::types::{MemoryClass, PeerKey, sort_by};

/// How long others wait before whoever holds most memory is closed, if nobody says otherwise. Taste: a block at 3 KiB/s.
pub const MEMORY_PATIENCE: Duration = Duration::from_secs(5);

/// Room beyond which nothing is thrifty: what one connection's turn may bring.
const PLENTY: u64 = 1024 * 1024;

/// Room that is enough to begin a message, whatever it is. Only bitfields of huge torrents are longer, and come once.
const LONG_MESSAGE: usize = 256 * 1024;

/// Room that is left for what is answered to messages: see the limits of the out-queue; a buffer that grows doubles.
const ANSWERS: usize = 128 * 1024;

/// Who waits for memory.
#[derive(Debug)]
pub(super) struct Starved {
    /// In the order of their coming. May hold connections that are gone.
    queue: VecDeque<PeerKey>,
    /// Since when nobody of them was read.
    since: Option<Instant>,
    armed: bool,
    /// How long they wait before somebody is closed.
    pub(super) patience: Duration,
}

impl Default for Starved {
    fn default() -> Self {
        Self { queue: VecDeque::new(), since: None, armed: false, patience: MEMORY_PATIENCE }
    }
}

impl<T> Conn<T> {
    /// Bytes that the input kept here takes, or will take when its message is whole.
    fn incoming_bytes(&self) -> usize {
        let kept = self.partial.bytes.get(self.partial.parsed..).unwrap_or_default();
        let longest = self.session.max_input_len();
        let need = match kept.split_first_chunk::<4>() {
            _ if kept.is_empty() => 0,
            Some((prefix, _)) if self.session.is_established() => {
                let whole = (u32::from_be_bytes(*prefix) as usize).saturating_add(prefix.len());
                // Whole messages wait for their turn, and what comes behind them is not known.
                if whole <= kept.len() { longest } else { whole.min(longest) }
            }
            _ => longest,
        };
        self.partial.bytes.capacity().max(need)
    }

    fn room_to_begin(&self) -> u64 {
        // Behind a handshake may come anything.
        let longest = if self.session.is_established() { self.session.max_input_len() } else { LONG_MESSAGE };
        longest.min(LONG_MESSAGE).saturating_add(ANSWERS) as u64
    }
}

impl<T> Net<T> {
    /// True if memory that is not used right now should be given back.
    pub(super) fn is_tight(&self) -> bool {
        self.memory.room_for_messages() < PLENTY
    }

    /// How many bytes may be read from this connection, of whose input `kept` bytes are there already. `None`: it has to
    /// wait, and is read again when its time comes.
    pub(super) fn read_allowance(&mut self, key: PeerKey, kept: usize) -> Option<usize> {
        if !self.is_tight() {
            return Some(usize::MAX);
        }
        let room = self.memory.room_for_messages();
        let now = self.now;
        let conn = self.conn_mut(key)?;
        // What was counted for the message that has begun.
        let own = if kept == 0 { 0 } else { conn.counted.incoming.saturating_sub(kept).max(1) };
        if room >= conn.room_to_begin() {
            let usable = usize::try_from(room).unwrap_or(usize::MAX).saturating_sub(ANSWERS);
            return Some(usable.saturating_add(own));
        }
        if own > 0 {
            return Some(own);
        }
        if !std::mem::replace(&mut conn.starved, true) {
            self.starved.queue.push_back(key);
            self.starved.since.get_or_insert(now);
            self.arm_starved();
        }
        None
    }

    /// Brings the account up to date with what this connection takes.
    pub(super) fn recount(&mut self, key: PeerKey) {
        let Some(conn) = self.conn_mut(key) else { return };
        let counted = Counted { incoming: conn.incoming_bytes(), outgoing: conn.out.memory() };
        let before = std::mem::replace(&mut conn.counted, counted);
        self.memory.resize(MemoryClass::Incoming, before.incoming, counted.incoming);
        self.memory.resize(MemoryClass::Outgoing, before.outgoing, counted.outgoing);
    }

    /// A connection that took so much is gone.
    pub(super) fn discount(&mut self, counted: Counted) {
        self.memory.resize(MemoryClass::Incoming, counted.incoming, 0);
        self.memory.resize(MemoryClass::Outgoing, counted.outgoing, 0);
    }

    /// Lets as many of those who wait be read as there is room for.
    pub(super) fn feed_starved(&mut self) {
        if self.starved.queue.is_empty() {
            return;
        }
        let mut room = self.memory.room_for_messages();
        while let Some(key) = self.starved.queue.front().copied() {
            if let Some(conn) = self.conn_mut(key) {
                let wanted = conn.room_to_begin();
                if room < wanted {
                    break;
                }
                room -= wanted;
                conn.starved = false;
                let ready = std::mem::replace(&mut conn.ready, true);
                if !ready {
                    self.ready.push(key);
                }
                self.starved.since = Some(self.now);
            }
            self.starved.queue.pop_front();
        }
        if self.starved.queue.is_empty() {
            self.starved.since = None;
        }
    }

    fn arm_starved(&mut self) {
        if let (Some(since), false) = (self.starved.since, self.starved.armed) {
            self.starved.armed = true;
            self.timers.arm(since + self.starved.patience, Deadline::Starved);
        }
    }

    /// The deadline has come. If nobody of those who wait was read since it was set: whom to close so that more of them
    /// can be.
    pub(super) fn greediest(&mut self) -> Vec<PeerKey> {
        self.starved.armed = false;
        let (now, Some(since)) = (self.now, self.starved.since) else { return Vec::new() };
        let patient = now < since + self.starved.patience;
        if !patient {
            self.starved.since = Some(now);
        }
        self.arm_starved();
        if patient {
            return Vec::new();
        }
        let waiting = self.starved.queue.iter().filter_map(|key| self.conn(*key));
        let wanted: u64 = waiting.map(Conn::room_to_begin).sum();
        let holders = self.conns.iter().map(|(slot, conn)| (conn.counted.incoming + conn.counted.outgoing, slot));
        let mut holders: Vec<_> = holders.filter(|(held, _)| *held > 0).collect();
        let held: usize = holders.iter().map(|(held, _)| held).sum();
        // Half of it at most: who holds little is not to blame.
        let mut missing = wanted.saturating_sub(self.memory.room_for_messages()).min(held as u64 / 2);
        sort_by(&mut holders, |a, b| b.cmp(a));
        let enough = holders.into_iter().take_while(|(held, _)| {
            let more = missing > 0;
            missing = missing.saturating_sub(*held as u64);
            more
        });
        enough.map(|(_, slot)| self.key_of(slot)).collect()
    }
}

#[cfg(test)]
mod tests;
