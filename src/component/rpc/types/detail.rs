//! What the methods answer of one torrent in detail, of what changed since the last question, and of the past.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::TorrentStatus;

/// `bt.changes`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Changes {
    /// What to ask for the next changes with.
    pub at: String,
    /// Are these all torrents, because nobody remembers what was there before?
    pub all: bool,
    /// Those that are new or changed.
    pub torrents: Vec<TorrentStatus>,
    /// Info hashes of those that are gone.
    pub gone: Vec<String>,
}

/// `bt.details`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Details {
    /// Info hash.
    pub hash: String,
    /// Its name; the hash while the metadata is missing.
    pub name: String,
    /// The link that fetches it.
    pub magnet: String,
    /// What its maker wrote into it.
    pub comment: Option<String>,
    /// The program that made it.
    pub created_by: Option<String>,
    /// When that was, in Unix seconds, as far as one can believe it.
    pub creation_date: Option<u64>,
    /// Are its peers those of its trackers only?
    pub private: bool,
    /// Bytes of a piece.
    pub piece_length: u64,
    /// Number of pieces.
    pub pieces: u64,
    /// Number of files, without padding.
    pub files: u64,
    /// When it was added, in Unix seconds.
    pub added: Option<u64>,
    /// When it became complete, in Unix seconds.
    pub completed: Option<u64>,
    /// Bytes that were received for nothing.
    pub wasted: u64,
    /// Addresses that can still be tried.
    pub candidates: u64,
    /// The folder that holds the torrent's top-level name.
    pub save_path: String,
    /// How fast it may be.
    pub limits: Limits,
}

/// How fast a torrent may be, in bytes per second; 0 = as fast as it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Limits {
    /// For what it receives.
    pub download: u64,
    /// For what it sends.
    pub upload: u64,
}

/// `bt.files`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Files {
    /// One page, in the order of the torrent.
    pub files: Vec<FileProgress>,
    /// Rows of all pages.
    pub total: u64,
}

/// How much of a file is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct FileProgress {
    /// Path below the torrent's folder, with `/` between the parts.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Verified bytes on disk.
    pub done: u64,
}

/// `bt.pieces`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Pieces {
    /// Number of pieces.
    pub count: u64,
    /// Which are there: one bit a piece in BEP 3's order, in base64.
    pub have: String,
    /// Those that are on their way.
    pub open: Vec<u32>,
    /// Copies of the rarest one among the connected peers.
    pub rarest_copies: u64,
}

/// `bt.trackers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Trackers {
    /// Tier by tier.
    pub trackers: Vec<Tracker>,
}

/// One tracker of a torrent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Tracker {
    /// Those of the lowest tier are asked first.
    pub tier: u64,
    /// Scheme, host and port. Never the rest of the address: it may hold a passkey.
    pub origin: String,
    /// "waiting", "asking", "ok" or "failed".
    pub state: String,
    /// What it said, if it failed or warned.
    pub message: Option<String>,
    /// Complete peers that it knows.
    pub seeds: Option<u64>,
    /// Peers that it told.
    pub peers: Option<u64>,
    /// Seconds until it is asked again.
    pub next: Option<u64>,
}

/// `bt.events`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct TorrentEvents {
    /// What happened to this torrent since the start of the daemon, the oldest first.
    pub events: Vec<TorrentEvent>,
}

/// Something that happened to a torrent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct TorrentEvent {
    /// Unix seconds.
    pub time: u64,
    /// One sentence.
    pub text: String,
}

/// `Api.rates`: how fast it was, in bytes per second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Rates {
    /// Seconds between two values.
    pub step: u64,
    /// When the last value was taken, in Unix seconds.
    pub end: u64,
    /// Received; the oldest first.
    pub down: Vec<u64>,
    /// Sent.
    pub up: Vec<u64>,
}

/// `bt.fetched`: who fetched what from us.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Fetched {
    /// By info hash.
    pub fetched: BTreeMap<String, Vec<FetchedBy>>,
}

/// How much of a torrent somebody fetched from us.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct FetchedBy {
    /// Bare JID.
    pub contact: String,
    /// Bytes in all.
    pub bytes: u64,
    /// How often the whole of it.
    pub times: u64,
    /// When last, in Unix seconds.
    pub last: u64,
}

/// `Api.statistics`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Statistics {
    /// Days on which something was sent or received, the oldest first.
    pub days: Vec<Day>,
    /// When the counting began, in Unix seconds.
    pub since: u64,
}

/// One day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Day {
    /// Such as "2026-11-23".
    pub day: String,
    /// Bytes received from everybody.
    pub down: u64,
    /// Bytes sent to everybody.
    pub up: u64,
    /// The same by bare JID.
    pub contacts: BTreeMap<String, Exchanged>,
}

/// Bytes that went each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Exchanged {
    /// Received.
    pub down: u64,
    /// Sent.
    pub up: u64,
}
