//! What goes into and comes out of a [`Torrent`](super::Torrent): plain data, nothing decided here.

use std::net::SocketAddr;

use crate::proto::peer::{Command, Features};
use crate::types::{Block, Geometry, PeerId, PeerKey, PieceIndex};

/// Limits of one torrent.
#[derive(Clone, Debug)]
pub struct TorrentOptions {
    /// Peers connected or being connected at most.
    pub max_peers: usize,
    /// Peers of one [`Host`](crate::types::Host) at most. Loopback and peers that are known to the user are excepted.
    pub max_peers_per_host: usize,
    /// Connections being made at the same time at most.
    pub max_connecting: usize,
    /// Interested peers that are served at the same time, the optimistic one included.
    pub upload_slots: usize,
    /// Blocks asked of one peer at once at most, whatever its rate.
    pub max_requests: u32,
    /// Bytes of pieces that may be open for writing (or verifying) at the same time. One piece always may.
    pub max_open_pieces_bytes: u64,
    /// While so many bytes of pieces wait for their hash, no other piece is started: a network that is faster than the
    /// disks would fill memory.
    pub max_verifying_bytes: u64,
    /// So many pieces may wait for their hash, however large they are.
    pub max_verifying_pieces: u32,
    /// False: serve what is there and fetch nothing, whatever is missing.
    pub download: bool,
    /// Our own peer id. With it, two peers that connect to each other at the same moment agree on which of the two
    /// connections stays.
    pub own_id: Option<PeerId>,
}

impl TorrentOptions {
    /// Bytes of pieces that may wait for their hash.
    pub(super) fn max_verifying(&self, geometry: &Geometry) -> u64 {
        let pieces = u64::from(geometry.piece_length()) * u64::from(self.max_verifying_pieces);
        self.max_verifying_bytes.max(pieces)
    }
}

impl Default for TorrentOptions {
    fn default() -> Self {
        Self {
            max_peers: 60,
            max_peers_per_host: 8,
            max_connecting: 15,
            upload_slots: 8,
            max_requests: 512,
            max_open_pieces_bytes: 32 * 1024 * 1024,
            max_verifying_bytes: 4 * 1024 * 1024,
            max_verifying_pieces: 4,
            download: true,
            own_id: None,
        }
    }
}

/// A peer whose handshake is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// The other end of the connection. For an outgoing one exactly the address of [`Action::Connect`].
    pub addr: SocketAddr,
    /// The peer made the connection, so the port of `addr` is not where it listens.
    pub incoming: bool,
    /// From its handshake.
    pub peer_id: PeerId,
    /// From its handshake.
    pub features: Features,
    /// Comes from where a contact is: strangers make room for it. Whom the engine was told to connect to by the user or
    /// for a contact counts as known anyway.
    pub known: bool,
}

/// What to do with a block that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockVerdict {
    /// Copy it into the piece's open window, before the next action is polled.
    Store,
    /// Nobody asked for it or it is there already.
    Discard,
}

/// Whether a piece matched its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceOutcome {
    /// It did; everyone may read it now.
    Good,
    /// It did not. Its window stays open, for another look or for new blocks.
    Bad,
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// It sent bytes that failed a piece's hash, or comes from an address that did.
    Banned,
    /// There is another connection to the same peer.
    Duplicate,
    /// There are as many peers as the options allow, and each of them is of use.
    TooManyPeers,
    /// There are as many peers of its host as the options allow.
    CrowdedHost,
    /// Neither gave nor took anything for a while, and somebody else wants its place.
    Replaced,
    /// Both sides have everything.
    NothingToShare,
    /// It promised to serve us and never did, while others wait.
    Stuck,
    /// It goes on asking for what it was refused.
    Deaf,
    /// The torrent was paused.
    Paused,
}

/// What the owner of a [`Torrent`](super::Torrent) has to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect. Answered by exactly one of `peer_joined` (outgoing, same address) and `connect_failed`.
    Connect(SocketAddr),
    /// Close the connection. The engine has forgotten the peer already; a `peer_left` is not needed and does no harm.
    Close {
        /// Which.
        peer: PeerKey,
        /// Why, for the log.
        reason: CloseReason,
    },
    /// Say this to the peer.
    Send {
        /// To whom.
        peer: PeerKey,
        /// What.
        command: Command,
    },
    /// Make room for the piece, then call `window_opened` or `window_failed`.
    OpenWindow(PieceIndex),
    /// All blocks are stored: hash the piece, then call `piece_verified`.
    Verify {
        /// Which.
        piece: PieceIndex,
        /// Also make one digest per block (any fast 64-bit hash, the same one every time), so that two attempts can be
        /// compared.
        digests: bool,
    },
    /// The piece was given up, its window is not needed any more.
    CloseWindow(PieceIndex),
    /// Read the block and send it, then call `block_sent`.
    Upload {
        /// To whom.
        peer: PeerKey,
        /// What.
        block: Block,
    },
    /// The peer no longer wants this block. If it has not been sent, drop it and answer with a reject (the session knows
    /// whether the peer understands that).
    CancelUpload {
        /// Whose.
        peer: PeerKey,
        /// What.
        block: Block,
    },
    /// The peer was choked: drop all blocks not sent yet and answer each with a reject, as above.
    DropUploads {
        /// Whose.
        peer: PeerKey,
    },
    /// The swarm ran dry: ask whoever knows peers. At most every 30 seconds.
    NeedPeers,
    /// The last missing piece is there.
    Completed,
}
