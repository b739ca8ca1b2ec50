//! What a session says ([`Event`]) and what it is told to say ([`Command`]).
//!
//! Both name pieces and blocks by checked types only. Events borrow block and metadata bytes from the input.

use super::ext::handshake::ExtendedHandshake;
use super::handshake::Handshake;
use crate::types::{Bitfield, Block, PieceIndex};

/// What one call to [`Session::step`](super::Session::step) found at the front of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'b> {
    /// Nothing complete yet: call again once the input has at least this many bytes.
    NeedMore(usize),
    /// One message. Drop the first `consumed` bytes of the input before the next call.
    Message {
        /// Bytes that the message took.
        consumed: usize,
        /// What it said.
        event: Event<'b>,
    },
}

/// Something the peer said, checked against the torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// The peer's handshake (BEP 3). An incoming session now waits for
    /// [`accept`](super::Session::accept); an outgoing one is established.
    Handshake(Handshake),
    /// What the peer supports and is called (BEP 10). May come again at any time.
    ExtendedHandshake(ExtendedHandshake),
    /// The peer is alive.
    KeepAlive,
    /// The peer will not serve requests (but for its allowed-fast pieces).
    Choked,
    /// The peer will serve requests.
    Unchoked,
    /// The peer wants something we have.
    Interested,
    /// The peer wants nothing we have.
    NotInterested,
    /// The peer has one more piece.
    Have(PieceIndex),
    /// All the pieces the peer has, also from have-all and have-none (BEP 6). BEP 3 wants it
    /// right after the handshake, yet aria2 sends it instead of many haves at any time.
    Bitfield(Bitfield),
    /// The peer asks for a block.
    Requested(Block),
    /// The peer no longer wants a block it asked for.
    Cancelled(Block),
    /// A block's bytes.
    Block {
        /// Which one. `block.len()` is the length of `data`.
        block: Block,
        /// The bytes, borrowed from the input.
        data: &'b [u8],
    },
    /// The peer will not send a block we asked for (BEP 6).
    Rejected(Block),
    /// The peer serves this piece even while it chokes us (BEP 6).
    AllowedFast(PieceIndex),
    /// The peer proposes to fetch this piece (BEP 6).
    Suggested(PieceIndex),
    /// UDP port of the peer's DHT node (BEP 5).
    Port(u16),
    /// The peer asks for a piece of the metadata (BEP 9). The number is as the peer sent it.
    MetadataRequested(u32),
    /// A piece of the metadata (BEP 9). Its length fits `piece` and `total_size`.
    MetadataPiece {
        /// Number of the piece, in units of [`METADATA_PIECE_LEN`](super::METADATA_PIECE_LEN).
        piece: u32,
        /// Size of all the metadata in bytes, as the peer says; at most
        /// [`MAX_METADATA_LEN`](super::MAX_METADATA_LEN).
        total_size: u32,
        /// The bytes, borrowed from the input.
        data: &'b [u8],
    },
    /// The peer will not send that piece of the metadata (BEP 9).
    MetadataRejected(u32),
    /// A message that is kept for later, or unknown and skipped.
    Ignored,
}

/// Something to say to the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// We will not serve requests (but for allowed-fast pieces).
    Choke,
    /// We will serve requests.
    Unchoke,
    /// The peer has something we want.
    Interested,
    /// The peer has nothing we want.
    NotInterested,
    /// We have one more piece.
    Have(PieceIndex),
    /// What we have. The first command of a session, if at all. The session picks have-all, have-none or a bitfield,
    /// and says nothing if that is allowed and means the same.
    Bitfield(Bitfield),
    /// We want this block.
    Request(Block),
    /// We no longer want this block.
    Cancel(Block),
    /// The header of a block; its `len()` bytes of data follow, appended by the caller.
    Block(Block),
    /// We will not send this block (BEP 6). Nothing is sent to a peer without the fast extension.
    Reject(Block),
    /// We serve this piece even while we choke the peer (BEP 6). Nothing is sent without the fast extension.
    AllowedFast(PieceIndex),
    /// We want this piece of the metadata (BEP 9). This and the next two send nothing to a peer that did not announce
    /// the metadata extension.
    MetadataRequest(u32),
    /// A piece of the metadata (BEP 9).
    MetadataPiece {
        /// Number of the piece.
        piece: u32,
        /// Size of all the metadata in bytes.
        total_size: u32,
        /// The piece's bytes.
        data: Vec<u8>,
    },
    /// We will not send that piece of the metadata (BEP 9).
    MetadataReject(u32),
}
