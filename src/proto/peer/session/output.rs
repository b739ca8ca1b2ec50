//! The sending half of a session: commands to bytes, our handshakes, and the timers.

use std::time::Instant;

use super::super::ext::metadata::MetadataMessage;
use super::super::ext::{self, handshake::ExtendedHandshake};
use super::super::message::{Message, encode_block_header};
use super::super::{Command, Features, Handshake, WireError};
use super::{
    HANDSHAKE_TIMEOUT, KEEP_ALIVE_INTERVAL, SILENCE_TIMEOUT, Session, SessionOptions, Stage, Torrent, max_message,
};
use crate::types::{Bitfield, InfoHash};

impl Session {
    /// Appends what the command says to `out`. For [`Command::Block`] that is the header only: the caller appends the
    /// block's bytes. Nothing is appended before the session is established, nor what the peer could not understand.
    pub fn send(&mut self, now: Instant, command: &Command, out: &mut Vec<u8>) {
        if !self.is_established() {
            return;
        }
        self.flush(now, out);
        let before = out.len();
        self.encode(command, out);
        if out.len() > before {
            self.last_sent = now;
        }
    }

    /// Appends what the session itself owes the peer. [`Session::send`] and [`Session::handle_timeout`] do so too.
    pub fn flush(&mut self, now: Instant, out: &mut Vec<u8>) {
        if self.facts_due && self.is_established() {
            Message::Extended { id: ext::HANDSHAKE_ID, payload: &self.facts.encode() }.encode(out);
            self.facts_due = false;
            self.last_sent = now;
        }
    }

    /// When [`Session::handle_timeout`] is to be called. May lie in the past, and may change after any other call.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        if !self.is_established() {
            return self.started + HANDSHAKE_TIMEOUT;
        }
        if self.facts_due {
            return self.last_sent;
        }
        (self.last_sent + KEEP_ALIVE_INTERVAL).min(self.last_heard + SILENCE_TIMEOUT)
    }

    /// Does what is due: appends our extended handshake or a keep-alive to `out`, or gives the peer up. Harmless when
    /// called early.
    ///
    /// # Errors
    /// [`WireError::HandshakeTimeout`], [`WireError::Silent`]; the session is then finished.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<u8>) -> Result<(), WireError> {
        if !self.is_established() {
            let late = now >= self.started + HANDSHAKE_TIMEOUT;
            return if late { Err(WireError::HandshakeTimeout) } else { Ok(()) };
        }
        if now >= self.last_heard + SILENCE_TIMEOUT {
            return Err(WireError::Silent);
        }
        self.flush(now, out);
        if now >= self.last_sent + KEEP_ALIVE_INTERVAL {
            Message::KeepAlive.encode(out);
            self.last_sent = now;
        }
        Ok(())
    }

    /// Sends our handshake and remembers what the extended handshake will say.
    pub(super) fn introduce(&mut self, info_hash: InfoHash, options: SessionOptions, out: &mut Vec<u8>) {
        Handshake { info_hash, peer_id: options.peer_id, features: Features::OURS }.encode(out);
        self.facts = ExtendedHandshake {
            client: Some(options.client),
            listen_port: options.listen_port,
            request_queue: Some(options.request_queue),
            metadata_size: options.metadata_size,
            your_ip: options.remote_ip.map(|ip| ip.to_canonical()),
            metadata_id: Some(ext::METADATA_ID),
        };
        self.facts_due = self.stage == Stage::Accept && self.features().extended;
        if let Some(geometry) = options.geometry {
            self.max_message = max_message(Some(&geometry));
            self.torrent = Torrent::Known(geometry);
        }
    }

    fn encode(&self, command: &Command, out: &mut Vec<u8>) {
        let fast = self.features().fast;
        match command {
            Command::Choke => Message::Choke.encode(out),
            Command::Unchoke => Message::Unchoke.encode(out),
            Command::Interested => Message::Interested.encode(out),
            Command::NotInterested => Message::NotInterested.encode(out),
            Command::Have(piece) => Message::Have(piece.get()).encode(out),
            Command::Bitfield(bits) => self.encode_bitfield(bits, out),
            Command::Request(block) => Message::Request((*block).into()).encode(out),
            Command::Cancel(block) => Message::Cancel((*block).into()).encode(out),
            Command::Block(block) => encode_block_header(*block, out),
            Command::Reject(block) if fast => Message::Reject((*block).into()).encode(out),
            Command::AllowedFast(piece) if fast => Message::AllowedFast(piece.get()).encode(out),
            Command::Reject(_) | Command::AllowedFast(_) => {}
            Command::MetadataRequest(piece) => self.encode_metadata(MetadataMessage::Request { piece: *piece }, out),
            Command::MetadataPiece { piece, total_size, data } => {
                self.encode_metadata(MetadataMessage::Data { piece: *piece, total_size: *total_size, data }, out);
            }
            Command::MetadataReject(piece) => self.encode_metadata(MetadataMessage::Reject { piece: *piece }, out),
        }
    }

    fn encode_bitfield(&self, bits: &Bitfield, out: &mut Vec<u8>) {
        match (self.features().fast, bits.count_ones()) {
            (true, 0) => Message::HaveNone.encode(out),
            (false, 0) => {}
            (true, _) if bits.is_full() => Message::HaveAll.encode(out),
            _ => Message::Bitfield(bits.as_bytes()).encode(out),
        }
    }

    fn encode_metadata(&self, message: MetadataMessage<'_>, out: &mut Vec<u8>) {
        if self.takes_metadata() {
            let mut payload = Vec::new();
            message.encode(&mut payload);
            Message::Extended { id: self.peer_metadata_id, payload: &payload }.encode(out);
        }
    }
}
