//! What the methods answer of shares: those of contacts, and how far a new one of ours has come.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{TorrentState, TorrentStatus};

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
