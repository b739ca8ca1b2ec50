//! Numbers about a torrent and its peers, for people and programs to read.
//!
//! Plain values, taken at one moment; nothing here changes anything. Rates are averages over about ten seconds.

use std::net::SocketAddr;
use std::time::Duration;

use crate::types::{BytesPerSec, PeerId, PeerKey};

/// One torrent at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TorrentStats {
    /// Bytes in the whole torrent.
    pub bytes_total: u64,
    /// Bytes in verified pieces.
    pub bytes_have: u64,
    /// Pieces in the whole torrent.
    pub pieces_total: u32,
    /// Verified pieces.
    pub pieces_have: u32,
    /// Block bytes that came from peers in this run, the useless ones too.
    pub downloaded: u64,
    /// Block bytes that went to peers in this run.
    pub uploaded: u64,
    /// Block bytes that came twice, unasked, or in a piece that failed its hash.
    pub wasted: u64,
    /// Block bytes that come in per second.
    pub download_rate: BytesPerSec,
    /// Block bytes that go out per second.
    pub upload_rate: BytesPerSec,
    /// Connected peers.
    pub peers: usize,
    /// Connected peers that have every piece.
    pub seeds: usize,
    /// Connections being made.
    pub connecting: usize,
    /// Addresses known and not connected.
    pub candidates: usize,
    /// Addresses and peer ids that are refused because bad data came from them.
    pub banned: usize,
    /// Peers we may download from now and want to.
    pub downloading_from: usize,
    /// Peers that may download from us now and want to.
    pub uploading_to: usize,
    /// Blocks asked for and not come yet.
    pub requested: usize,
    /// Bytes of pieces that are open for writing or being verified.
    pub open_bytes: u64,
    /// Pieces that failed their hash in this run.
    pub failed_pieces: u32,
    /// Copies of the rarest missing piece among the connected peers; 0 means that it must come from somebody new.
    pub rarest_copies: u32,
    /// No piece is missing.
    pub complete: bool,
    /// Stopped by the user.
    pub paused: bool,
    /// Every missing block has been asked for; the last ones are asked of several peers.
    pub endgame: bool,
}

impl TorrentStats {
    /// Bytes not verified yet.
    #[must_use]
    pub const fn bytes_left(&self) -> u64 {
        self.bytes_total.saturating_sub(self.bytes_have)
    }

    /// Time until the download is complete at the present rate. `None` when nothing comes in.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        let seconds = self.bytes_left().checked_div(self.download_rate.0)?;
        Some(Duration::from_secs(seconds))
    }
}

/// One connected peer at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerStats {
    /// Its connection.
    pub key: PeerKey,
    /// Its address as the connection sees it.
    pub addr: SocketAddr,
    /// The peer made the connection.
    pub incoming: bool,
    /// Its peer id.
    pub peer_id: PeerId,
    /// Name and version of its client, if it told (BEP 10).
    pub client: Option<String>,
    /// Time since it joined.
    pub connected_for: Duration,
    /// Pieces it has.
    pub pieces: u32,
    /// Pieces it has that we lack.
    pub useful_pieces: u32,
    /// Block bytes it sent us.
    pub downloaded: u64,
    /// Block bytes we sent it.
    pub uploaded: u64,
    /// Block bytes per second from it.
    pub download_rate: BytesPerSec,
    /// Block bytes per second to it.
    pub upload_rate: BytesPerSec,
    /// We want something it has.
    pub am_interested: bool,
    /// It wants something we have.
    pub peer_interested: bool,
    /// We do not serve it now.
    pub am_choking: bool,
    /// It does not serve us now.
    pub peer_choking: bool,
    /// It owes us blocks for too long.
    pub snubbed: bool,
    /// Blocks asked of it and not come yet.
    pub requested: usize,
    /// How many blocks may be asked of it at once.
    pub pipeline_depth: u32,
}
