//! What the BitTorrent thread is told at its start.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::engine::TorrentOptions;
use crate::reactor::MEMORY_PATIENCE;
use crate::storage::{BackendChoice, default_file_windows, default_memory_limit, default_piece_buffer};
use crate::types::PeerId;

/// Options of the BitTorrent thread and its disk threads.
#[derive(Clone, Debug)]
pub struct BtOptions {
    /// Addresses to listen on, all with the same port.
    pub bind: Vec<IpAddr>,
    /// Address families to connect in.
    pub families: Families,
    /// TCP port; 0 lets the system pick one.
    pub port: u16,
    /// Tried first when `port` is 0: the port of the last run, so that contacts' lists stay true. 0 for none.
    pub last_port: u16,
    /// Bytes of pieces that may be in memory at once, being received or served; less if `memory_limit` leaves less. One
    /// piece may always be, however large.
    pub piece_buffer: u64,
    /// Bytes of finished pieces that may be mapped from their files, to be served: pages that the system takes back when
    /// it needs them, which `piece_buffer` and `memory_limit` do not count.
    pub file_windows: u64,
    /// Bytes that all buffers may take together: pieces, what of a message has come, what waits to be sent, descriptions
    /// on their way. At least [`MIN_MEMORY_LIMIT`](crate::types::MIN_MEMORY_LIMIT).
    pub memory_limit: u64,
    /// How long connections wait for memory before those that hold most of it are closed.
    pub memory_patience: Duration,
    /// How files are read and written.
    pub storage: BackendChoice,
    /// Threads that hash, sync and open files.
    pub disk_threads: usize,
    /// SQLite file with the resume data; without one everything is checked again at the next start.
    pub state: Option<PathBuf>,
    /// Connections of all torrents together.
    pub max_connections: usize,
    /// Connections of one torrent.
    pub max_peers: usize,
    /// Connections of one torrent with one IPv4 address, or with one IPv6 /64. Loopback and contacts are excepted.
    pub max_peers_per_host: usize,
    /// Peers of one torrent that are served at the same time.
    pub upload_slots: usize,
    /// Blocks asked of one peer at once at most; the real depth follows the measured rate.
    pub max_requests: u32,
    /// Ask trackers on this machine also when it was a torrent that named them. Those named by hand are asked always.
    pub allow_loopback_trackers: bool,
}

impl BtOptions {
    /// Limits of one torrent; `own_id` is the peer id that all of them use.
    pub(super) fn of_torrent(&self, own_id: PeerId) -> TorrentOptions {
        TorrentOptions {
            max_peers: self.max_peers,
            max_peers_per_host: self.max_peers_per_host,
            upload_slots: self.upload_slots,
            max_requests: self.max_requests,
            max_open_pieces_bytes: self.piece_buffer / OPEN_SHARE,
            // As many as the threads hash at once, two each. Measured: what waits beyond that makes nothing faster.
            max_verifying_pieces: u32::try_from(self.disk_threads).unwrap_or(1).saturating_mul(2),
            own_id: Some(own_id),
            ..TorrentOptions::default()
        }
    }
}

/// Share of the piece buffer that one torrent's pieces in progress may take. The rest serves finished ones.
const OPEN_SHARE: u64 = 2;

/// Which address families are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

impl Families {
    /// May this address be connected to?
    #[must_use]
    pub fn reach(self, addr: SocketAddr) -> bool {
        if addr.ip().to_canonical().is_ipv4() { self.v4 } else { self.v6 }
    }
}

impl Default for Families {
    fn default() -> Self {
        Self { v4: true, v6: true }
    }
}

impl Default for BtOptions {
    fn default() -> Self {
        let memory_limit = default_memory_limit();
        Self {
            bind: vec![IpAddr::from([0, 0, 0, 0]), IpAddr::from([0u16; 8])],
            families: Families::default(),
            port: 0,
            last_port: 0,
            piece_buffer: default_piece_buffer(memory_limit),
            file_windows: default_file_windows(memory_limit),
            memory_limit,
            memory_patience: MEMORY_PATIENCE,
            storage: BackendChoice::Auto,
            disk_threads: std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4)),
            state: None,
            max_connections: 500,
            max_peers: 60,
            max_peers_per_host: 8,
            upload_slots: 8,
            // 8 MiB, enough for 1 GB/s at 8 ms.
            max_requests: 512,
            allow_loopback_trackers: false,
        }
    }
}
