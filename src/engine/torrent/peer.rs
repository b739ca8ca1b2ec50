//! What a torrent knows about one connected peer. State only; decisions are made beside it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use super::action::PeerInfo;
use crate::engine::requests::Pipeline;
use crate::engine::stats::PeerStats;
use crate::types::{Bitfield, Block, BytesPerSec, PeerKey, PieceIndex, RateMeter};

/// A connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub info: PeerInfo,
    pub joined: Instant,
    /// When it joined, or last gave us a block we could use or took one.
    pub useful_at: Instant,
    /// Where it can be connected to, once that is known.
    pub listens_at: Option<SocketAddr>,
    pub client: Option<String>,

    /// What it has.
    pub pieces: Bitfield,
    /// `pieces` was full when the picker was told.
    pub counted_as_seed: bool,
    /// How many of its pieces we lack. We are interested exactly when there are any.
    pub useful: u32,
    /// Pieces that it serves even while it chokes us (BEP 6).
    pub allowed_fast: Vec<PieceIndex>,

    pub am_interested: bool,
    pub peer_interested: bool,
    pub am_choking: bool,
    pub peer_choking: bool,

    pub requests: Pipeline,
    /// The piece it works on.
    pub current: Option<PieceIndex>,
    /// The picker's version when nothing was found for this peer.
    pub dry: Option<u64>,
    /// When it last began to serve us.
    pub unchoked_at: Option<Instant>,
    /// How often it has done so in quick succession.
    pub flutter: u32,
    /// It refused a request, or flutters: ask for nothing until then.
    pub rest_until: Option<Instant>,

    /// Blocks it asked for that were handed out for sending, oldest first.
    pub uploads: VecDeque<Block>,
    pub upload_meter: RateMeter,
    /// Since when it is served, or interested and not served.
    pub turn_since: Instant,
    /// Bytes sent to it since then.
    pub turn_bytes: u64,
    /// Bytes sent to it since the choker's last round.
    pub round_bytes: u64,
    /// Requests refused since one was accepted.
    pub refused: u32,
}

impl Peer {
    pub fn new(now: Instant, info: PeerInfo, piece_count: u32, max_requests: u32) -> Self {
        Self {
            info,
            joined: now,
            useful_at: now,
            listens_at: (!info.incoming).then_some(info.addr),
            client: None,
            pieces: Bitfield::empty(piece_count),
            counted_as_seed: false,
            useful: 0,
            allowed_fast: Vec::new(),
            am_interested: false,
            peer_interested: false,
            am_choking: true,
            peer_choking: true,
            requests: Pipeline::new(now, max_requests),
            current: None,
            dry: None,
            unchoked_at: None,
            flutter: 0,
            rest_until: None,
            uploads: VecDeque::new(),
            upload_meter: RateMeter::new(now),
            turn_since: now,
            turn_bytes: 0,
            round_bytes: 0,
            refused: 0,
        }
    }

    /// All addresses it is known by.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        std::iter::once(self.info.addr).chain(self.listens_at).collect()
    }

    /// It takes requests for this piece and can be relied upon.
    pub fn can_deliver(&self, piece: PieceIndex) -> bool {
        !self.peer_choking && !self.requests.is_snubbed() && self.pieces.contains(piece)
    }

    pub fn upload_rate(&self, now: Instant) -> BytesPerSec {
        self.upload_meter.clone().rate(now)
    }

    pub fn stats(&self, now: Instant, key: PeerKey) -> PeerStats {
        PeerStats {
            key,
            addr: self.info.addr,
            incoming: self.info.incoming,
            peer_id: self.info.peer_id,
            client: self.client.clone(),
            connected_for: now.saturating_duration_since(self.joined),
            pieces: self.pieces.count_ones(),
            useful_pieces: self.useful,
            downloaded: self.requests.downloaded(),
            uploaded: self.upload_meter.total(),
            download_rate: self.requests.rate(now),
            upload_rate: self.upload_rate(now),
            am_interested: self.am_interested,
            peer_interested: self.peer_interested,
            am_choking: self.am_choking,
            peer_choking: self.peer_choking,
            snubbed: self.requests.is_snubbed(),
            requested: self.requests.len(),
            pipeline_depth: self.requests.depth(),
        }
    }
}
