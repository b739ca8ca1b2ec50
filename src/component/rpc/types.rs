//! What the methods answer, as it stands in JSON. The server writes these types and the command line reads them.
//!
//! The first five follow the original program's shapes; keys may be added, never changed. Sizes are bytes, rates bytes
//! per second, times seconds. Every field that is not in an older daemon's answer has a default, so clients and daemons
//! of different versions understand each other. Names come from other people: clean them before showing them.

mod people;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use people::{Account, AccountState, Accounts, Contact, Contacts, Local};

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

/// `xmpp.get_hashes`: every hash that a contact shares, and where it can be fetched.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Hashes {
    /// Info hash to `[ip, port]` pairs.
    pub hashes: BTreeMap<String, Vec<(IpAddr, u16)>>,
}

/// `xmpp.get_shares`: bare JID to resource to what it shares.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Shares {
    /// By bare JID, then by resource.
    pub shares: BTreeMap<String, BTreeMap<String, ResourceShares>>,
}

/// What one resource of a contact shares, and its addresses.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ResourceShares {
    /// IPv4 addresses with ports.
    pub ip_v4: Vec<(IpAddr, u16)>,
    /// IPv6 addresses with ports.
    pub ip_v6: Vec<(IpAddr, u16)>,
    /// By info hash.
    pub shares: BTreeMap<String, Share>,
    /// Is that resource online?
    #[serde(default)]
    pub online: bool,
}

/// One share in `xmpp.get_shares`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Share {
    /// Info hash.
    pub hash: String,
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Paths, as far as they are known; the original never filled this.
    pub files: Vec<String>,
}

/// `xmpp.list_shares` and `xmpp.search`: the shares of contacts, one row per torrent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ShareList {
    /// One page: of a list sorted by name, of a search the best first.
    pub shares: Vec<ShareEntry>,
    /// Rows of all pages.
    #[serde(default)]
    pub total: u64,
    /// There is more than `total` says.
    #[serde(default)]
    pub more: bool,
}

/// One torrent that contacts share.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ShareEntry {
    /// Info hash.
    pub hash: String,
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Number of files, if the contact told it.
    #[serde(default)]
    pub file_count: Option<u64>,
    /// Can it be fetched now, that is, is an owner online?
    pub available: bool,
    /// Do we have or fetch it already?
    #[serde(default)]
    pub mine: bool,
    /// Our copy, if we have or fetch it.
    #[serde(default)]
    pub own: Option<OwnCopy>,
    /// Who shares it.
    pub owners: Vec<ShareOwner>,
    /// Why it cannot be fetched from any of them, as far as is known.
    #[serde(default)]
    pub why: Option<Why>,
}

/// Why something cannot be fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Why {
    /// The kind of cause, for programs: "offline", "left", "no_address", "no_common_family", "loopback",
    /// "unusable_address", "blocked", "low_port", "private_address", "no_route", "no_answer_nearby", "no_answer",
    /// "refused", "not_bittorrent", "not_served".
    pub code: String,
    /// One sentence, for people.
    pub text: String,
}

/// How much of a share we have ourselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct OwnCopy {
    /// What it is doing.
    pub state: TorrentState,
    /// Verified bytes on disk.
    pub done: u64,
    /// Bytes, without padding; 0 while the metadata is missing.
    pub total_size: u64,
    /// Is every byte verified on disk?
    pub complete: bool,
}

impl From<&TorrentStatus> for OwnCopy {
    fn from(status: &TorrentStatus) -> Self {
        let TorrentStatus { state, done, total_size, complete, .. } = *status;
        Self { state, done, total_size, complete }
    }
}

/// A contact's resource that shares a torrent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ShareOwner {
    /// Bare JID.
    pub jid: String,
    /// Resource.
    pub resource: String,
    /// Is it online?
    pub online: bool,
    /// Why it cannot be fetched from there, as far as is known.
    #[serde(default)]
    pub why: Option<Why>,
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

/// `Api.memory`: what memory is used for, and how long the network thread's turns take.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Memory {
    /// Bytes that all buffers may take together (`memory_limit`).
    pub limit: u64,
    /// Bytes that they take.
    pub used: u64,
    /// The most they ever took together.
    pub highest: u64,
    /// The same by class.
    pub classes: Vec<MemoryClass>,
    /// Bytes of files kept mapped for those who ask for their pieces. The system takes them back when it wants, so they
    /// do not count against the limit.
    pub mapped: u64,
    /// Bytes of memory of the whole process, shared pages and pages of files included, if the system tells.
    pub resident: Option<u64>,
    /// Bytes of memory of the whole process that belong to no file, if the system tells.
    pub anonymous: Option<u64>,
    /// Turns of the network thread's loop so far.
    pub reactor_turns: u64,
    /// The longest one, in milliseconds: so long every peer had to wait.
    pub reactor_longest_turn_ms: f64,
    /// The longest one of the last minute, in milliseconds.
    pub reactor_longest_turn_last_minute_ms: f64,
}

/// One class of memory in `Api.memory`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct MemoryClass {
    /// What for: "receiving" (pieces being received or verified), "serving" (finished pieces in buffers, to be sent),
    /// "idle" (buffers that wait for the next piece), "incoming" (messages of which a part has come), "outgoing" (messages
    /// that wait to be sent), "metadata" (descriptions of torrents on their way).
    pub name: String,
    /// Bytes.
    pub now: u64,
    /// The most there ever were.
    pub highest: u64,
    /// Bytes that it may have at the moment: the first three share a limit, and so do the next two.
    pub limit: u64,
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

/// `bt.share`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ShareJob {
    /// Number to ask `bt.share_progress` with.
    pub job: u64,
}

/// Where the making of a share stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ShareStage {
    /// The files are being read.
    #[default]
    Hashing,
    /// The torrent is made, contacts are being told.
    Announcing,
    /// Done: it is served, and announced if there is an account online.
    Done,
    /// Failed; `error` says why.
    Failed,
}

/// `bt.share_progress`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ShareProgress {
    /// The job's number.
    pub job: u64,
    /// What is shared, absolute.
    pub path: String,
    /// Where it stands.
    pub stage: ShareStage,
    /// Bytes hashed.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
    /// Info hash, once it is known.
    pub hash: Option<String>,
    /// Were contacts told? `false` without an account or while it is offline; they will be when it comes online.
    pub announced: bool,
    /// Why it failed.
    pub error: Option<String>,
    /// What is left out of the share, once the files are found.
    pub skipped: Skipped,
}

/// What a share leaves out of its folder: sockets, devices, pipes and links that lead nowhere or in a circle.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Skipped {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Vec<SkippedPath>,
}

/// One thing that a share leaves out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct SkippedPath {
    /// Where it is, relative to what is shared.
    pub path: String,
    /// Why it is left out, in a few words.
    pub reason: String,
}

/// `Api.status`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct DaemonStatus {
    /// Version of bitween.
    pub version: String,
    /// Process.
    pub pid: u32,
    /// Seconds since the start.
    pub uptime: u64,
    /// Data folder.
    pub data_dir: String,
    /// Folder for fetched torrents.
    pub download_dir: String,
    /// BitTorrent port, TCP and UDP.
    pub port: u16,
    /// Own addresses that are published, "ip:port".
    pub addresses: Vec<String>,
    /// The first account.
    pub account: Account,
    /// All accounts.
    pub accounts: Vec<Account>,
    /// This node in the local network; null if that is switched off.
    pub local: Option<Local>,
    /// Number of torrents.
    pub torrents: u64,
    /// Connected peers of all torrents.
    pub peers: u64,
    /// Bytes per second, received.
    pub download_rate: u64,
    /// Bytes per second, sent.
    pub upload_rate: u64,
    /// What a person should know: a component that restarts, a full disk, ...
    pub problems: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_originals_shapes_are_kept() {
        let torrents = Torrents {
            torrents: vec![Torrent {
                hash: "a1".into(),
                name: "n".into(),
                total_size: 3,
                done: 1,
                files: vec![TorrentFile { path: "n/f".into(), size: 3 }],
            }],
        };
        assert_eq!(
            serde_json::to_value(torrents).unwrap(),
            json!({"torrents": [{"hash": "a1", "name": "n", "total_size": 3, "done": 1, "files": [{"path": "n/f", "size": 3}]}]})
        );
        let address = ("192.0.2.1".parse().unwrap(), 7);
        let hashes = Hashes { hashes: [("a1".to_owned(), vec![address])].into() };
        assert_eq!(serde_json::to_value(hashes).unwrap(), json!({"hashes": {"a1": [["192.0.2.1", 7]]}}));
        let share = Share { hash: "a1".into(), name: "n".into(), size: 3, files: vec![] };
        let resource = ResourceShares {
            ip_v4: vec![address],
            shares: [("a1".to_owned(), share)].into(),
            ..ResourceShares::default()
        };
        let shares = Shares { shares: [("a@b".to_owned(), [("r".to_owned(), resource)].into())].into() };
        assert_eq!(
            serde_json::to_value(shares).unwrap(),
            json!({"shares": {"a@b": {"r": {"ip_v4": [["192.0.2.1", 7]], "ip_v6": [], "online": false,
                "shares": {"a1": {"hash": "a1", "name": "n", "size": 3, "files": []}}}}}})
        );
    }

    #[test]
    fn a_client_reads_states_and_keys_of_a_newer_daemon() {
        let status: TorrentStatus =
            serde_json::from_value(json!({"hash": "a", "state": "dreaming", "mood": 5})).unwrap();
        assert_eq!((status.hash.as_str(), status.state), ("a", TorrentState::Unknown));
    }
}
