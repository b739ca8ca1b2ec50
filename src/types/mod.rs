//! Vocabulary of the whole crate (layer 0): hashes, indices, piece arithmetic, bitfields, rates.
//!
//! Standard library only; no I/O, no clock, no thread. Everything above may import from here.

mod bitfield;
mod gather;
mod geometry;
mod hash;
mod host;
mod ip;
mod key;
mod memory;
mod peer_id;
mod piece_hashes;
mod printable;
mod rare;
mod rate;
mod share;
mod sort;
mod sorted;
mod via;
mod witness;

pub use bitfield::{Bitfield, BitfieldError};
pub use gather::gather;
pub use geometry::{BLOCK_LEN, Block, Geometry, GeometryError, MAX_PIECE_LENGTH, PieceIndex};
pub use hash::{HashParseError, InfoHash, InfoHashV2, PieceHash};
pub use host::Host;
pub use ip::embedded_v4;
pub use key::{PeerKey, TorrentKey};
pub use memory::{MIN_MEMORY_LIMIT, Memory, MemoryClass, Usage};
pub use peer_id::PeerId;
pub use piece_hashes::PieceHashes;
pub use printable::{Printable, is_unprintable};
pub use rare::{Nothing, Rare};
pub use rate::{BytesPerSec, RateMeter};
pub use share::{
    Address, AddressKind, Announcement, Catalog, Endpoint, MAX_ADDRESSES_PER_CONTACT, MAX_ADDRESSES_PER_RESOURCE,
    MAX_INLINE_SHARES, MAX_LABEL_LEN, MAX_NAME_BYTES_PER_CONTACT, MAX_NAME_LEN, MAX_RESOURCES_PER_CONTACT, MAX_SHARES,
    MAX_SHARES_PER_CONTACT, ResourceEntry, Share, display_name,
};
pub use sort::{sort, sort_by};
pub use sorted::{SortedMap, SortedSet};
pub use via::{AccountKey, Via};
pub use witness::Witness;
