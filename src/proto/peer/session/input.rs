//! The receiving half of a session: is this message allowed now, and does it fit the torrent?

use super::super::ext::metadata::MetadataMessage;
use super::super::ext::{self, handshake::ExtendedHandshake};
use super::super::message::{Message, Range, check_len, id};
use super::super::{Event, HANDSHAKE_LEN, Handshake, MAX_REQUEST_LEN, Step, WireError};
use super::early::{Announced, MAX_EARLY_BITFIELD_LEN};
use super::{Session, Stage, Torrent, bitfield_len, named_piece};
use crate::types::{Bitfield, BitfieldError, Block};

impl Session {
    #[cold]
    pub(super) fn step_handshake<'b>(&mut self, input: &[u8]) -> Result<Step<'b>, WireError> {
        if self.stage == Stage::Accept {
            return Ok(Step::NeedMore(input.len().saturating_add(1)));
        }
        let Some(peer) = Handshake::decode(input)? else { return Ok(Step::NeedMore(HANDSHAKE_LEN)) };
        match self.info_hash {
            Some(expected) if expected != peer.info_hash => {
                return Err(WireError::WrongInfoHash { expected, found: peer.info_hash });
            }
            Some(_) => {
                self.stage = Stage::Established;
                self.facts_due = peer.features.extended;
            }
            None => self.stage = Stage::Accept,
        }
        self.info_hash = Some(peer.info_hash);
        self.peer = Some(peer);
        Ok(Step::Message { consumed: HANDSHAKE_LEN, event: Event::Handshake(peer) })
    }

    /// Refuses a message that cannot be right before the rest of it is waited for.
    pub(super) fn check_beginning(&self, len: u32, begun: &[u8]) -> Result<(), WireError> {
        let Some(&id) = begun.first() else { return Ok(()) };
        check_len(id, len)?;
        if id == id::BITFIELD {
            self.check_bitfield(len as usize - 1)?;
        }
        Ok(())
    }

    fn check_bitfield(&self, found: usize) -> Result<(), WireError> {
        match &self.torrent {
            Torrent::Known(geometry) => {
                let expected = bitfield_len(geometry) as usize;
                if found == expected { Ok(()) } else { Err(BitfieldError::Length { expected, found }.into()) }
            }
            Torrent::Unknown(_) if found <= MAX_EARLY_BITFIELD_LEN as usize => Ok(()),
            Torrent::Unknown(_) => {
                let len = u32::try_from(found).unwrap_or(u32::MAX).saturating_add(1);
                Err(WireError::MessageTooLong { len, max: MAX_EARLY_BITFIELD_LEN + 1 })
            }
        }
    }

    #[inline]
    pub(super) fn event<'b>(&mut self, message: Message<'b>) -> Result<Event<'b>, WireError> {
        match message {
            Message::Piece { piece, begin, data } => {
                // The codec has limited the length to MAX_REQUEST_LEN.
                let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
                let block = self.block(id::PIECE, Range { piece, begin, len })?;
                Ok(Event::Block { block, data })
            }
            Message::KeepAlive => Ok(Event::KeepAlive),
            Message::Port(port) => Ok(Event::Port(port)),
            Message::Unknown => Ok(Event::Ignored),
            Message::Extended { id, payload } => self.extended(id, payload),
            Message::Bitfield(bits) => self.bitfield(bits),
            Message::HaveAll => self.have_all_or_none(id::HAVE_ALL),
            Message::HaveNone => self.have_all_or_none(id::HAVE_NONE),
            other => self.plain(other),
        }
    }

    /// The messages that carry nothing but an index or a range, or not even that.
    #[inline]
    fn plain<'b>(&mut self, message: Message<'_>) -> Result<Event<'b>, WireError> {
        Ok(match message {
            Message::Choke => Event::Choked,
            Message::Unchoke => Event::Unchoked,
            Message::Interested => Event::Interested,
            Message::NotInterested => Event::NotInterested,
            Message::Have(raw) => self.have(raw)?,
            Message::Request(range) => Event::Requested(self.requested(id::REQUEST, range)?),
            Message::Cancel(range) => Event::Cancelled(self.requested(id::CANCEL, range)?),
            Message::Reject(range) => {
                self.check_fast(id::REJECT)?;
                Event::Rejected(self.requested(id::REJECT, range)?)
            }
            Message::AllowedFast(raw) => {
                self.check_fast(id::ALLOWED_FAST)?;
                self.allowed_fast(raw)?
            }
            Message::Suggest(raw) => {
                self.check_fast(id::SUGGEST)?;
                self.suggested(raw)?
            }
            _ => Event::Ignored,
        })
    }

    fn have<'b>(&mut self, raw: u32) -> Result<Event<'b>, WireError> {
        match &mut self.torrent {
            Torrent::Known(geometry) => named_piece(geometry, id::HAVE, raw).map(Event::Have),
            Torrent::Unknown(early) => early.have(raw).map(|()| Event::Ignored),
        }
    }

    fn allowed_fast<'b>(&mut self, raw: u32) -> Result<Event<'b>, WireError> {
        match &mut self.torrent {
            Torrent::Known(geometry) => named_piece(geometry, id::ALLOWED_FAST, raw).map(Event::AllowedFast),
            Torrent::Unknown(early) => early.allowed_fast(raw).map(|()| Event::Ignored),
        }
    }

    /// A hint for the moment: not worth keeping until the metadata is known.
    fn suggested<'b>(&self, raw: u32) -> Result<Event<'b>, WireError> {
        match &self.torrent {
            Torrent::Known(geometry) => named_piece(geometry, id::SUGGEST, raw).map(Event::Suggested),
            Torrent::Unknown(_) => Ok(Event::Ignored),
        }
    }

    fn bitfield<'b>(&mut self, bits: &[u8]) -> Result<Event<'b>, WireError> {
        self.check_bitfield(bits.len())?;
        match &mut self.torrent {
            Torrent::Known(geometry) => Ok(Event::Bitfield(Bitfield::from_wire(bits, geometry)?)),
            Torrent::Unknown(early) => {
                early.bitfield(Announced::Bits(bits.to_vec()));
                Ok(Event::Ignored)
            }
        }
    }

    fn have_all_or_none<'b>(&mut self, id: u8) -> Result<Event<'b>, WireError> {
        self.check_fast(id)?;
        let all = id == id::HAVE_ALL;
        match &mut self.torrent {
            Torrent::Known(geometry) => {
                let count = geometry.piece_count();
                Ok(Event::Bitfield(if all { Bitfield::full(count) } else { Bitfield::empty(count) }))
            }
            Torrent::Unknown(early) => {
                early.bitfield(if all { Announced::All } else { Announced::None });
                Ok(Event::Ignored)
            }
        }
    }

    fn extended<'b>(&mut self, id: u8, payload: &'b [u8]) -> Result<Event<'b>, WireError> {
        match id {
            _ if !self.features().extended => Err(WireError::UnknownExtension { id }),
            ext::HANDSHAKE_ID => {
                let peer = ExtendedHandshake::decode(payload)?;
                self.peer_metadata_id = peer.metadata_id.unwrap_or(self.peer_metadata_id);
                Ok(Event::ExtendedHandshake(peer))
            }
            ext::METADATA_ID => Ok(match MetadataMessage::decode(payload)? {
                MetadataMessage::Request { piece } => Event::MetadataRequested(piece),
                MetadataMessage::Data { piece, total_size, data } => Event::MetadataPiece { piece, total_size, data },
                MetadataMessage::Reject { piece } => Event::MetadataRejected(piece),
                MetadataMessage::Unknown => Event::Ignored,
            }),
            _ => Err(WireError::UnknownExtension { id }),
        }
    }

    fn requested(&self, id: u8, range: Range) -> Result<Block, WireError> {
        if range.len > MAX_REQUEST_LEN {
            return Err(WireError::RequestTooLong { id, len: range.len });
        }
        self.block(id, range)
    }

    #[inline]
    fn block(&self, id: u8, range: Range) -> Result<Block, WireError> {
        let Torrent::Known(geometry) = &self.torrent else { return Err(WireError::BeforeMetadata { id }) };
        let Range { piece, begin, len } = range;
        geometry.check_block(piece, begin, len).ok_or(WireError::NoSuchBlock { id, piece, begin, len })
    }

    fn check_fast(&self, id: u8) -> Result<(), WireError> {
        if self.features().fast { Ok(()) } else { Err(WireError::FastNotAgreed { id }) }
    }
}
