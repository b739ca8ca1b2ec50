//! As much of BitTorrent v2 (BEP 52) as a v1 client needs.
//!
//! A hybrid torrent carries both formats and is read through its v1 part; its second hash is worked out for display. A
//! torrent without a v1 part is recognised, so that it can be refused with the right words. No merkle trees here.

use sha2::{Digest, Sha256};

use crate::proto::bencode::Node;
use crate::types::InfoHashV2;

/// Which formats an info dictionary carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Only v1 (BEP 3).
    V1,
    /// Both.
    Hybrid,
    /// Only v2 (BEP 52).
    V2,
}

impl Format {
    pub(super) fn of(info: &Node<'_>) -> Self {
        let v2 = info.get("file tree").is_some() || info.get("meta version").and_then(Node::as_int) == Some(2);
        match (info.get("pieces").is_some(), v2) {
            (true, true) => Self::Hybrid,
            (false, true) => Self::V2,
            _ => Self::V1,
        }
    }
}

/// SHA-256 over the raw info dictionary.
pub(super) fn info_hash_v2(raw_info: &[u8]) -> InfoHashV2 {
    InfoHashV2::new(Sha256::digest(raw_info).into())
}
