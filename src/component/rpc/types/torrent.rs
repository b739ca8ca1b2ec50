//! What the methods answer of own torrents and their peers.

use serde::{Deserialize, Serialize};

use super::Why;

/// `bt.get_torrents`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Torrents {
    /// All torrents.
    pub torrents: Vec<Torrent>,
}

/// One torrent in `bt.get_torrents`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Torrent {
    /// Info hash, 40 hexadecimal digits.
    pub hash: String,
    /// Its name; the hash while the metadata is missing.
    pub name: String,
    /// Bytes, without padding.
    pub total_size: u64,
    /// Verified bytes on disk.
    pub done: u64,
    /// Files; empty while the metadata is missing.
    pub files: Vec<TorrentFile>,
}

/// One file of a torrent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct TorrentFile {
    /// Path with the torrent's name in front, `/` between the parts.
    pub path: String,
    /// Bytes.
    #[serde(default)]
    pub size: u64,
}

/// `bt.status`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct TorrentStatuses {
    /// All torrents, or the one asked for.
    pub torrents: Vec<TorrentStatus>,
}

/// What a torrent is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TorrentState {
    /// Looking for the metadata (magnet, or a contact's hash).
    Metadata,
    /// Checking what is on disk.
    Checking,
    /// Fetching.
    Downloading,
    /// Complete, serving others.
    Seeding,
    /// Stopped by the user.
    Paused,
    /// Stopped by a fault; `error` says which.
    Error,
    /// A state this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl TorrentState {
    /// The word that is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Checking => "checking",
            Self::Downloading => "downloading",
            Self::Seeding => "seeding",
            Self::Paused => "paused",
            Self::Error => "error",
            Self::Unknown => "unknown",
        }
    }
}

/// One torrent in `bt.status`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct TorrentStatus {
    /// Info hash.
    pub hash: String,
    /// Its name; the hash while the metadata is missing.
    pub name: String,
    /// What it is doing.
    pub state: TorrentState,
    /// Why, when the state is "error".
    pub error: Option<String>,
    /// Bytes, without padding; 0 while the metadata is missing.
    pub total_size: u64,
    /// Verified bytes on disk. While checking: bytes looked at so far.
    pub done: u64,
    /// Is every byte verified on disk?
    pub complete: bool,
    /// Is it announced to contacts?
    pub shared: bool,
    /// The folder that holds the torrent's top-level name.
    pub save_path: String,
    /// Bytes per second, received.
    pub download_rate: u64,
    /// Bytes per second, sent.
    pub upload_rate: u64,
    /// Bytes received in all.
    pub downloaded: u64,
    /// Bytes sent in all.
    pub uploaded: u64,
    /// Connected peers.
    pub peers: u64,
    /// Connected peers that have everything.
    pub seeds: u64,
    /// Seconds until complete at the present rate; absent when nobody can tell.
    pub eta: Option<u64>,
    /// While it waits for peers: why it cannot be had from the contacts that share it, as far as is known.
    pub why: Option<Why>,
}

/// `bt.peers`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Peers {
    /// Connected peers.
    pub peers: Vec<Peer>,
}

/// One connected peer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Peer {
    /// "ip:port", IPv6 in brackets.
    pub address: String,
    /// The program, if it said.
    pub client: Option<String>,
    /// Bare JID, if the address is one of a contact.
    pub contact: Option<String>,
    /// Did it connect to us?
    pub incoming: bool,
    /// Share of the torrent it has, 0 to 1.
    pub progress: f64,
    /// Bytes per second, received.
    pub download_rate: u64,
    /// Bytes per second, sent.
    pub upload_rate: u64,
    /// Bytes received in all.
    pub downloaded: u64,
    /// Bytes sent in all.
    pub uploaded: u64,
    /// Does it keep us waiting?
    pub choking_us: bool,
    /// Do we keep it waiting?
    pub choked: bool,
}

/// `bt.add_torrent`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Added {
    /// Info hash.
    pub hash: String,
    /// Its name, if it is known already.
    #[serde(default)]
    pub name: Option<String>,
    /// Was it there before? Then only its peers and trackers grew.
    #[serde(default)]
    pub existing: bool,
    /// Why it cannot be fetched now, as far as is known. It is as soon as it can.
    #[serde(default)]
    pub why: Option<Why>,
}
