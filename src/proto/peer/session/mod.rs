//! The state of one peer connection (BEP 3, 6, 9, 10), the same for incoming and outgoing once the handshakes are done.
//!
//! The caller owns socket, clock and buffers. It calls [`Session::step`] on what it has received until that says
//! `NeedMore`, [`Session::send`] for what is to be said, and [`Session::handle_timeout`] when
//! [`Session::poll_timeout`] has come (ask anew after every other call). [`Session::step`] has no output buffer: what
//! the session itself owes the peer, its extended handshake, goes out in front of the next command, or with the
//! timeout, which then is due at once.
//!
//! Not here: which blocks were asked for. A block or a reject nobody asked for is the engine's matter.

mod early;
mod input;
mod output;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use self::early::{Early, MAX_EARLY_BITFIELD_LEN};
use super::ext::handshake::ExtendedHandshake;
use super::message::{MAX_PIECE_MESSAGE_LEN, Message, PREFIX_LEN};
use super::{Event, Features, HANDSHAKE_LEN, Handshake, Step, WireError};
use crate::types::{Geometry, InfoHash, PeerId, PieceIndex};

/// What we tell a peer about ourselves, and what we know of the torrent.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Our name in the handshake.
    pub peer_id: PeerId,
    /// TCP port on which we can be reached.
    pub listen_port: Option<u16>,
    /// `None` as long as the metadata is not known.
    pub geometry: Option<Geometry>,
    /// Bytes of the raw info dictionary, if we have it and serve it.
    pub metadata_size: Option<u32>,
    /// Requests of the peer that we keep without dropping any.
    pub request_queue: u32,
    /// Name and version of this program, e.g. `bitween/0.1.0`.
    pub client: String,
    /// The peer's address, which it is told.
    pub remote_ip: Option<IpAddr>,
}

/// One peer connection. See the module for how it is driven.
#[derive(Debug)]
pub struct Session {
    stage: Stage,
    /// Known from the beginning in an outgoing session, from the peer's handshake in an incoming one.
    info_hash: Option<InfoHash>,
    peer: Option<Handshake>,
    torrent: Torrent,
    /// Largest length prefix that is accepted.
    max_message: u32,
    /// Extended id under which the peer takes metadata messages; 0 if it takes none.
    peer_metadata_id: u8,
    /// Our extended handshake.
    facts: ExtendedHandshake,
    /// Our extended handshake is still to be sent, or to be sent again.
    facts_due: bool,
    started: Instant,
    last_heard: Instant,
    last_sent: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waiting for the peer's handshake.
    Handshake,
    /// Waiting for the caller's [`Session::accept`].
    Accept,
    /// Both handshakes are done.
    Established,
}

#[derive(Debug)]
enum Torrent {
    Known(Geometry),
    Unknown(Early),
}

/// Silence after which we say that we are alive. Peers close after two minutes (BEP 3).
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(100);

/// Time a peer has to complete its handshake, and the caller to accept it. Taste.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// Silence after which a peer counts as dead: two minutes (BEP 3) and some delay.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(150);

impl Session {
    /// An outgoing connection, just established: appends our handshake to `out`.
    #[must_use]
    pub fn initiator(now: Instant, info_hash: InfoHash, options: SessionOptions, out: &mut Vec<u8>) -> Self {
        let mut session = Self::responder(now);
        session.info_hash = Some(info_hash);
        session.introduce(info_hash, options, out);
        session
    }

    /// An incoming connection, just accepted. Nothing is sent before [`Session::accept`].
    #[must_use]
    pub fn responder(now: Instant) -> Self {
        Self {
            stage: Stage::Handshake,
            info_hash: None,
            peer: None,
            torrent: Torrent::Unknown(Early::default()),
            max_message: max_message(None),
            peer_metadata_id: 0,
            facts: ExtendedHandshake::default(),
            facts_due: false,
            started: now,
            last_heard: now,
            last_sent: now,
        }
    }

    /// Answers the handshake of an incoming connection: appends our handshake and extended handshake to `out`. Call
    /// [`Session::step`] again afterwards, the input may hold more. Does nothing if no answer is due.
    pub fn accept(&mut self, now: Instant, options: SessionOptions, out: &mut Vec<u8>) {
        let (Stage::Accept, Some(info_hash)) = (self.stage, self.info_hash) else { return };
        self.introduce(info_hash, options, out);
        self.stage = Stage::Established;
        self.last_sent = now;
        self.flush(now, out);
    }

    /// Decodes at most one message from the front of `input`. Never copies block data. Call it whenever bytes came in:
    /// a call counts as a sign of life.
    ///
    /// # Errors
    /// [`WireError`] if the peer broke the protocol; the session is then finished.
    #[inline]
    pub fn step<'b>(&mut self, now: Instant, input: &'b [u8]) -> Result<Step<'b>, WireError> {
        self.last_heard = now;
        if self.stage != Stage::Established {
            return self.step_handshake(input);
        }
        let Some((prefix, rest)) = input.split_first_chunk() else { return Ok(Step::NeedMore(PREFIX_LEN)) };
        let len = u32::from_be_bytes(*prefix);
        if len > self.max_message {
            return Err(WireError::MessageTooLong { len, max: self.max_message });
        }
        let whole = PREFIX_LEN + len as usize;
        let Some(message) = rest.get(..len as usize) else {
            self.check_beginning(len, rest)?;
            return Ok(Step::NeedMore(whole));
        };
        let event = self.event(Message::decode(message)?)?;
        Ok(Step::Message { consumed: whole, event })
    }

    /// The metadata is known now: checks what the peer announced before, and hands it out. The peer is told that we
    /// have the metadata if `metadata_size` is given. Does nothing if the geometry was known already.
    ///
    /// # Errors
    /// [`WireError`] if an announcement does not fit the torrent; the session is then finished.
    pub fn set_geometry(
        &mut self,
        geometry: Geometry,
        metadata_size: Option<u32>,
    ) -> Result<Vec<Event<'static>>, WireError> {
        let Torrent::Unknown(early) = &mut self.torrent else { return Ok(Vec::new()) };
        let early = std::mem::take(early);
        self.torrent = Torrent::Known(geometry);
        self.max_message = max_message(Some(&geometry));
        self.facts.metadata_size = metadata_size;
        self.facts_due |= metadata_size.is_some() && self.is_established() && self.features().extended;
        early.check(&geometry)
    }

    /// What the peer supports; nothing before its handshake. We support all but the DHT ourselves, so this is also what
    /// both can use.
    #[must_use]
    pub fn features(&self) -> Features {
        self.peer.map(|peer| peer.features).unwrap_or_default()
    }

    /// The peer's name, once its handshake is there. It is ours if we connected to ourselves.
    #[must_use]
    pub fn peer_id(&self) -> Option<PeerId> {
        self.peer.map(|peer| peer.peer_id)
    }

    /// The torrent; `None` in an incoming session before the peer's handshake.
    #[must_use]
    pub const fn info_hash(&self) -> Option<InfoHash> {
        self.info_hash
    }

    /// True once both handshakes are done.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.stage == Stage::Established
    }

    /// True in an incoming session between the peer's handshake and [`Session::accept`]: input is not looked at.
    #[must_use]
    pub fn awaits_accept(&self) -> bool {
        self.stage == Stage::Accept
    }

    /// True if the peer takes metadata messages (BEP 9) at the moment.
    #[must_use]
    pub const fn takes_metadata(&self) -> bool {
        self.peer_metadata_id != 0
    }

    /// Bytes of input that hold any message this session accepts, prefix included. It changes with the stage and the
    /// geometry only.
    #[must_use]
    pub fn max_input_len(&self) -> usize {
        if self.is_established() { PREFIX_LEN + self.max_message as usize } else { HANDSHAKE_LEN }
    }
}

fn named_piece(geometry: &Geometry, id: u8, raw: u32) -> Result<PieceIndex, WireError> {
    geometry.piece(raw).ok_or(WireError::NoSuchPiece { id, piece: raw })
}

const fn bitfield_len(geometry: &Geometry) -> u32 {
    geometry.piece_count().div_ceil(8)
}

/// Largest length prefix that makes sense for a torrent.
fn max_message(geometry: Option<&Geometry>) -> u32 {
    let bitfield = geometry.map_or(MAX_EARLY_BITFIELD_LEN, bitfield_len);
    bitfield.saturating_add(1).max(MAX_PIECE_MESSAGE_LEN)
}
