//! UDP trackers (BEP 15, URL data of BEP 41): the packets, and one announce as a state machine.
//!
//! [`UdpAnnounce`] knows what to send and when to send it again; the caller owns the socket and the clock:
//! [`poll_transmit`](UdpAnnounce::poll_transmit) until it is empty, wait for a datagram or for
//! [`poll_timeout`](UdpAnnounce::poll_timeout), feed [`handle_input`](UdpAnnounce::handle_input), repeat. How long the
//! whole may take is the caller's decision; the schedule alone would go on for over two hours.

mod packet;

pub use packet::{Packet, PacketError, encode_announce, encode_connect};

use std::time::{Duration, Instant};

use super::{Announce, Announced, MAX_PEERS, bounded_intervals, compact_v4, compact_v6, is_possible_peer, readable};

/// One announce to one address of a tracker.
#[derive(Debug)]
pub struct UdpAnnounce {
    announce: Announce,
    /// Path and query of the tracker's URL (BEP 41).
    url_data: String,
    family: Family,
    connection: Option<Connection>,
    /// The request that is on its way, if one is.
    pending: Option<Pending>,
    /// Times that a request went unanswered: `n` of `15 * 2^n` seconds.
    unanswered: u32,
    /// The tracker has answered a connect request during this announce.
    connected_before: bool,
    rng: fastrand::Rng,
}

/// Which addresses a tracker's reply holds: those of the family through which it was asked (BEP 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Four bytes each.
    V4,
    /// Sixteen bytes each.
    V6,
}

/// The tracker's proof that our address is no forgery. Good for any number of announces from the same socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    id: u64,
    received: Instant,
}

/// Why an announce failed for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UdpError {
    /// The tracker refused, and says why.
    #[error("the tracker refused: {0}")]
    Refused(String),
    /// The tracker answers, but not in this protocol.
    #[error("the tracker's reply is malformed: {0}")]
    Malformed(#[from] PacketError),
    /// No answer to nine requests.
    #[error("the tracker does not answer")]
    NoAnswer,
}

impl Connection {
    /// Whether it may still be used (BEP 15: for a minute after it was received).
    #[must_use]
    pub fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.received) < CONNECTION_LIFETIME
    }
}

impl UdpAnnounce {
    /// Prepares an announce. `connection` may come from an earlier one through the same socket; `url_data` is path and
    /// query of the tracker's URL; `seed` makes the transaction ids, which must be hard to guess.
    #[must_use]
    pub fn new(
        announce: Announce,
        url_data: impl Into<String>,
        family: Family,
        connection: Option<Connection>,
        seed: u64,
    ) -> Self {
        Self {
            announce,
            url_data: url_data.into(),
            family,
            connection,
            pending: None,
            unanswered: 0,
            connected_before: false,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// The datagram to send now, if there is one.
    ///
    /// # Errors
    /// [`UdpError::NoAnswer`] when all attempts are used up.
    pub fn poll_transmit(&mut self, now: Instant) -> Result<Option<Vec<u8>>, UdpError> {
        if let Some(pending) = &self.pending {
            if now < pending.deadline {
                return Ok(None);
            }
            if self.unanswered >= MAX_N {
                return Err(UdpError::NoAnswer);
            }
            self.unanswered += 1;
        }
        let transaction = self.rng.u32(..);
        let connection = self.connection.filter(|connection| connection.is_fresh(now));
        let datagram = match connection {
            Some(connection) => encode_announce(connection.id, transaction, &self.announce, &self.url_data),
            None => encode_connect(transaction),
        };
        let deadline = now + FIRST_TIMEOUT * (1 << self.unanswered);
        self.pending = Some(Pending { transaction, connecting: connection.is_none(), deadline });
        Ok(Some(datagram))
    }

    /// When to call [`poll_transmit`](Self::poll_transmit) again; `None`: now.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.pending.as_ref().map(|pending| pending.deadline)
    }

    /// Takes a datagram from the tracker. `None` if it does not end the announce: it answered the connect request (so
    /// there is something to transmit now), or is no answer to what we asked last.
    ///
    /// # Errors
    /// [`UdpError`] if the tracker refused or broke the protocol.
    pub fn handle_input(&mut self, now: Instant, datagram: &[u8]) -> Result<Option<Announced>, UdpError> {
        let Some(pending) = self.pending.as_ref() else { return Ok(None) };
        // Before anything is believed: only the tracker knows the transaction id.
        if packet::transaction_of(datagram) != Some(pending.transaction) {
            return Ok(None);
        }
        match (Packet::parse(datagram)?, pending.connecting) {
            (Packet::Connect { connection_id, .. }, true) => {
                self.connection = Some(Connection { id: connection_id, received: now });
                self.pending = None;
                if !self.connected_before {
                    // It lives, so the announce starts with a short time-out; but only once, or a tracker that
                    // answers nothing but connect requests would be asked for ever.
                    self.connected_before = true;
                    self.unanswered = 0;
                }
                Ok(None)
            }
            (Packet::Announce { interval, leechers, seeders, peers, .. }, false) => {
                self.pending = None;
                Ok(Some(self.announced(interval, leechers, seeders, peers)))
            }
            (Packet::Error { message, .. }, connecting) => {
                // The connection id may be what it did not like: the next announce asks for a new one.
                self.connection = None;
                self.pending = None;
                let reason = readable(message);
                let unnamed = if connecting { "connect request refused" } else { "no reason given" };
                Err(UdpError::Refused(if reason.is_empty() { unnamed.to_owned() } else { reason }))
            }
            (Packet::Connect { .. }, false) | (Packet::Announce { .. }, true) => Ok(None),
        }
    }

    /// The connection for the next announce through the same socket.
    #[must_use]
    pub fn connection(&self) -> Option<Connection> {
        self.connection
    }

    fn announced(&self, interval: u32, leechers: u32, seeders: u32, peers: &[u8]) -> Announced {
        let (interval, min_interval) = bounded_intervals(Some(interval.into()), None);
        let peers = match self.family {
            Family::V4 => compact_v4(peers).filter(is_possible_peer).take(MAX_PEERS).collect(),
            Family::V6 => compact_v6(peers).filter(is_possible_peer).take(MAX_PEERS).collect(),
        };
        let (seeders, leechers) = (Some(seeders), Some(leechers));
        Announced { interval, min_interval, peers, seeders, leechers, ..Announced::default() }
    }
}

/// A request without an answer so far.
#[derive(Debug)]
struct Pending {
    transaction: u32,
    /// A connect request, otherwise an announce.
    connecting: bool,
    deadline: Instant,
}

/// Wait for the answer to a first request; doubles with each one that goes unanswered (BEP 15).
pub const FIRST_TIMEOUT: Duration = Duration::from_secs(15);
/// Largest `n` in `15 * 2^n` seconds (BEP 15).
const MAX_N: u32 = 8;
/// How long a connection id may be used after it was received (BEP 15).
pub const CONNECTION_LIFETIME: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
