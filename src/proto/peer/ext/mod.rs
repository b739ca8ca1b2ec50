//! Extended messages (BEP 10): one message id for all, and under it ids that each side hands out in its extended
//! handshake.
//!
//! We hand out one, for the metadata extension (BEP 9). A message with any other id is an error of the peer.

pub mod handshake;
pub mod metadata;

use crate::proto::bencode::Limits;

/// Longest extended message in bytes, ids included. Taste: four times a metadata piece with its dictionary.
pub const MAX_EXTENDED_LEN: u32 = 64 * 1024;

/// Extended id of the extended handshake itself (BEP 10).
pub const HANDSHAKE_ID: u8 = 0;

/// The extended id under which peers send us metadata messages. Any number but 0 would do.
pub const METADATA_ID: u8 = 1;

/// What a dictionary in an extended message may cost. Taste: the largest ones seen have some 40 values.
const LIMITS: Limits = Limits { depth: 8, values: 500 };
