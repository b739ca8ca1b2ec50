//! Keys under which connections and torrents are known between the layers.

use std::fmt;

/// One peer connection: a slot in the reactor's slab plus a generation, so that a stale key never names a later
/// connection in the same slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey {
    /// Slot in the slab.
    pub slot: u32,
    /// Counts the connections that used this slot before.
    pub generation: u32,
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// One torrent of this process, for its whole run. Never used again after the torrent was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TorrentKey(pub u64);
