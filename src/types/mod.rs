//! Vocabulary of the whole crate (layer 0): hashes, indices, piece arithmetic, bitfields, rates.
//!
//! Standard library only; no I/O, no clock, no thread. Everything above may import from here.

mod bitfield;
mod geometry;
mod hash;
mod key;
mod peer_id;
mod rate;

pub use bitfield::{Bitfield, BitfieldError};
pub use geometry::{BLOCK_LEN, Block, Geometry, GeometryError, MAX_PIECE_LENGTH, PieceIndex};
pub use hash::{HashParseError, InfoHash, InfoHashV2, PieceHash};
pub use key::{PeerKey, TorrentKey};
pub use peer_id::PeerId;
pub use rate::{BytesPerSec, RateMeter};
