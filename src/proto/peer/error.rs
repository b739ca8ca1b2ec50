//! What a peer can do wrong on the wire, and how much it is to blame.
//!
//! After any [`WireError`] the session is finished: the caller closes the connection and asks
//! [`fault`](WireError::fault) what to remember of the peer.

use crate::types::{BitfieldError, InfoHash};

/// What to remember of a peer whose session ended with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It breaks the protocol in a way no honest client does: do not talk to this address again.
    Ban,
    /// It does not fit us: close, and count it as a failed try.
    Drop,
    /// Nobody's fault: close, hold nothing against it.
    Ignore,
}

/// The peer broke the protocol, or was silent for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The first bytes are no BitTorrent handshake: another protocol, or an encrypted handshake.
    #[error("no BitTorrent handshake")]
    NotBitTorrent,
    /// The peer answered for another torrent than it was asked for.
    #[error("handshake for {found}, expected {expected}")]
    WrongInfoHash {
        /// The torrent that was asked for.
        expected: InfoHash,
        /// The torrent in the answer.
        found: InfoHash,
    },
    /// No complete handshake in time.
    #[error("no handshake in time")]
    HandshakeTimeout,
    /// Not a byte for too long in an established session.
    #[error("silent for too long")]
    Silent,
    /// A length prefix above the limit of this torrent.
    #[error("message of {len} bytes, at most {max} are allowed")]
    MessageTooLong {
        /// The length in the prefix.
        len: u32,
        /// The limit for this torrent.
        max: u32,
    },
    /// A message whose length does not fit its kind.
    #[error("message {id} with a length of {len} bytes")]
    WrongLength {
        /// The message id.
        id: u8,
        /// The length in the prefix (id included).
        len: u32,
    },
    /// A piece index beyond the torrent.
    #[error("message {id} names piece {piece}, which the torrent does not have")]
    NoSuchPiece {
        /// The message id.
        id: u8,
        /// The index.
        piece: u32,
    },
    /// A range of bytes that is empty or not inside one piece.
    #[error("message {id} names bytes {begin}+{len} of piece {piece}, which the torrent does not have")]
    NoSuchBlock {
        /// The message id.
        id: u8,
        /// Index of the piece.
        piece: u32,
        /// First byte, counted from the start of the piece.
        begin: u32,
        /// Number of bytes.
        len: u32,
    },
    /// A request (or its cancel or reject) above [`MAX_REQUEST_LEN`](super::MAX_REQUEST_LEN).
    #[error("message {id} names a block of {len} bytes")]
    RequestTooLong {
        /// The message id.
        id: u8,
        /// Number of bytes.
        len: u32,
    },
    /// A bitfield that does not fit the torrent.
    #[error(transparent)]
    Bitfield(#[from] BitfieldError),
    /// A message of the fast extension (BEP 6) that was not agreed on.
    #[error("message {id} without the fast extension")]
    FastNotAgreed {
        /// The message id.
        id: u8,
    },
    /// An extended message (BEP 10) with an id that we did not announce.
    #[error("extended message {id}, which was not announced")]
    UnknownExtension {
        /// The extended message id.
        id: u8,
    },
    /// The dictionary of an extended handshake (BEP 10) is broken.
    #[error("broken extended handshake")]
    BadExtendedHandshake,
    /// The dictionary of a metadata message (BEP 9) is broken.
    #[error("broken metadata message")]
    BadMetadataMessage,
    /// A metadata piece (BEP 9) whose length does not fit its number and the total size.
    #[error("metadata piece {piece} of {total_size} bytes in all has {found} bytes")]
    MetadataPieceLength {
        /// Number of the piece.
        piece: u32,
        /// Size of all the metadata, as the peer says.
        total_size: u32,
        /// Bytes that came.
        found: u32,
    },
    /// A message that makes no sense as long as we do not know the torrent's metadata (and never said we have a piece).
    #[error("message {id} before the metadata is known")]
    BeforeMetadata {
        /// The message id.
        id: u8,
    },
    /// More announcements than are kept until the metadata is known.
    #[error("too many announcements before the metadata is known")]
    TooManyEarly,
}

impl WireError {
    /// How much the peer is to blame.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::MessageTooLong { .. }
            | Self::WrongLength { .. }
            | Self::NoSuchPiece { .. }
            | Self::NoSuchBlock { .. }
            | Self::Bitfield(_)
            | Self::MetadataPieceLength { .. } => Fault::Ban,
            Self::NotBitTorrent
            | Self::WrongInfoHash { .. }
            | Self::HandshakeTimeout
            | Self::RequestTooLong { .. }
            | Self::FastNotAgreed { .. }
            | Self::UnknownExtension { .. }
            | Self::BadExtendedHandshake
            | Self::BadMetadataMessage
            | Self::BeforeMetadata { .. } => Fault::Drop,
            Self::Silent | Self::TooManyEarly => Fault::Ignore,
        }
    }
}
