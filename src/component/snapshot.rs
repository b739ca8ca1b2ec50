//! What a thread publishes for others to read: an immutable value behind an `Arc`, replaced as a whole.
//!
//! Reading never waits for the owner's work and never disturbs it.

mod torrent_list;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use crate::proto::account::is_same_account;
use crate::proto::metainfo::Metainfo;
use crate::reactor::TurnStats;
use crate::share::{AddressFilter, Attempts, ContactShares, Refused};
use crate::types::{
    AccountKey, BytesPerSec, Catalog, Endpoint, InfoHash, MemoryClass, Nothing, Rare, Share, Usage, Via,
};
pub use torrent_list::TorrentList;

/// The place of one snapshot: the owner replaces it, everybody else reads the newest.
#[derive(Debug)]
pub struct Published<T>(Arc<RwLock<Arc<T>>>);

impl<T> Clone for Published<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Default> Default for Published<T> {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(Arc::new(T::default()))))
    }
}

impl<T> Published<T> {
    /// The newest value.
    #[must_use]
    pub fn read(&self) -> Arc<T> {
        // The lock is held for a pointer's copy only; a poisoned one still holds a whole value.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the value.
    pub fn publish(&self, value: Arc<T>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

/// All torrents of this process.
#[derive(Clone, Debug, Default)]
pub struct Torrents {
    /// One entry a torrent.
    pub list: TorrentList,
    /// Port on which peers can reach us; 0 before the listeners are open.
    pub port: u16,
    /// The own shares, as last said by [`Event::PublishShares`](super::event::Event::PublishShares).
    pub shares: Arc<[Share]>,
    /// Where contacts were looked for in vain.
    pub attempts: Arc<Attempts>,
}

/// The catalog of the own shares, if there are so many that they need one.
#[derive(Clone, Debug, Default)]
pub struct OwnCatalog {
    /// The shares that are in it.
    pub shares: Arc<[Share]>,
    /// It, once it is made.
    pub catalog: Option<Catalog>,
    /// It could not be made.
    pub failed: bool,
}

/// What memory is used for, and how long the loop's turns take.
#[derive(Clone, Debug)]
pub struct MemoryUsage {
    /// Bytes that all buffers may take together.
    pub limit: u64,
    /// Bytes that they take.
    pub total: Usage,
    /// The same by class, in the order in which they are shown.
    pub classes: Vec<ClassUsage>,
    /// Bytes of windows for uploads that are pages of files. The system takes them back when it wants, so they do not
    /// count against the limit, only against the piece buffer.
    pub file_windows: u64,
    /// The network thread's turns.
    pub turns: TurnStats,
}

/// One class of memory.
#[derive(Clone, Copy, Debug)]
pub struct ClassUsage {
    /// Which.
    pub class: MemoryClass,
    /// Bytes.
    pub usage: Usage,
    /// Bytes that it may have at the moment, together with the others of its group.
    pub limit: u64,
}

/// How one torrent is doing.
#[derive(Clone, Debug)]
pub struct TorrentStatus {
    /// Its info hash.
    pub info_hash: InfoHash,
    /// Its name, or the magnet link's, or the info hash in hex.
    pub name: Arc<str>,
    /// [`name_key`](crate::proto::metainfo::path::name_key) of its name.
    pub name_key: u32,
    /// Bytes in all; 0 while the description is not known.
    pub total_size: u64,
    /// Bytes verified on disk.
    pub done: u64,
    /// What it does.
    pub state: TorrentState,
    /// What peers give and take.
    pub traffic: Rare<Traffic>,
    /// Folder that holds its top-level name.
    pub dir: Arc<Path>,
    /// Announced to contacts.
    pub shared: bool,
    /// The description, once known.
    pub metainfo: Option<Arc<Metainfo>>,
    /// The last trouble that does not stop it, such as a tracker's refusal.
    pub warning: Option<Arc<str>>,
}

/// Peers, and what was and is transferred. Most of thousands of torrents have none, and never had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Payload bytes received and sent since it was added to this process.
    pub downloaded: u64,
    /// See `downloaded`.
    pub uploaded: u64,
    /// Received but thrown away: failed pieces and double blocks, in bytes.
    pub wasted: u64,
    /// Payload rates.
    pub download_rate: BytesPerSec,
    /// See `download_rate`.
    pub upload_rate: BytesPerSec,
    /// Connected peers.
    pub peers: usize,
    /// Connected peers that have all of it.
    pub seeds: usize,
    /// Known addresses that are not connected.
    pub candidates: usize,
}

impl Nothing for Traffic {
    const NOTHING: &'static Self = &Self {
        downloaded: 0,
        uploaded: 0,
        wasted: 0,
        download_rate: BytesPerSec(0),
        upload_rate: BytesPerSec(0),
        peers: 0,
        seeds: 0,
        candidates: 0,
    };

    fn is_nothing(&self) -> bool {
        self == Self::NOTHING
    }
}

impl TorrentStatus {
    /// True when every byte is verified on disk.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.metainfo.is_some() && self.done == self.total_size && !matches!(self.state, TorrentState::Checking { .. })
    }

    /// True if both say the same. The description counts as the same only if it is the same one in memory.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let numbers = |s: &Self| (s.total_size, s.done, s.shared);
        numbers(self) == numbers(other)
            && *self.traffic == *other.traffic
            && self.state == other.state
            && (&self.name, &self.dir, &self.warning) == (&other.name, &other.dir, &other.warning)
            && self.metainfo.as_ref().map(Arc::as_ptr) == other.metainfo.as_ref().map(Arc::as_ptr)
    }

    /// Time left at the present rate, in seconds.
    #[must_use]
    pub fn seconds_left(&self) -> Option<u64> {
        let left = self.total_size.checked_sub(self.done)?;
        left.checked_div(self.traffic.download_rate.0)
    }
}

/// What a torrent does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TorrentState {
    /// Asks peers for the description.
    Metadata,
    /// Hashes what is on disk: so many of so many bytes.
    Checking {
        /// Bytes hashed.
        checked: u64,
        /// Bytes to hash.
        total: u64,
    },
    /// Fetches what is missing.
    Downloading,
    /// Has everything and serves it.
    Seeding,
    /// Stopped by the user.
    Paused,
    /// Stopped by a machine's fault; the text says which. It can be resumed.
    Error(String),
}

impl TorrentState {
    /// One word, as lists and JSON show it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Checking { .. } => "checking",
            Self::Downloading => "downloading",
            Self::Seeding => "seeding",
            Self::Paused => "paused",
            Self::Error(_) => "error",
        }
    }
}

/// Contacts, what they share, and the accounts. What can be long is shared between one snapshot and the next, so that a
/// change costs what it changes.
#[derive(Clone, Debug, Default)]
pub struct Contacts {
    /// What contacts announce.
    pub shares: ContactShares,
    /// Which announced addresses may be connected to.
    pub filter: AddressFilter,
    /// The accounts that are in use, in the order of their places.
    pub accounts: Vec<AccountStatus>,
    /// The rosters, by road and bare JID.
    pub roster: Arc<[RosterEntry]>,
    /// People who ask to see our shares.
    pub requests: Vec<ContactRequest>,
    /// Who is blocked, by road: bare JIDs, or domains.
    pub blocked: Arc<[(Via, String)]>,
    /// Where those can be met.
    pub refused: Arc<Refused>,
    /// How this node can be reached, as contacts are told.
    pub endpoint: Arc<Endpoint>,
    /// Own shares whose announcement the servers of all accounts that are online have confirmed, except those that have
    /// never confirmed anything. A fresh share is announced when it is in here.
    pub announced: Arc<HashSet<InfoHash>>,
    /// What accounts that were left have announced and still stands on their servers, one line each.
    pub remains: Vec<String>,
    /// The last warnings for the user, newest last; bounded.
    pub warnings: Vec<String>,
    /// How things stand in the local network; `None` if that is switched off.
    pub local: Option<Arc<LocalStatus>>,
}

impl Contacts {
    /// The first account, if there is one.
    #[must_use]
    pub fn account(&self) -> Option<&AccountStatus> {
        self.accounts.first()
    }

    /// The account with this bare JID.
    #[must_use]
    pub fn account_of(&self, jid: &str) -> Option<&AccountStatus> {
        self.accounts.iter().find(|account| is_same_account(account.bare(), jid))
    }

    /// Own addresses, as contacts are told.
    pub fn own_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.endpoint.addresses.iter().map(|address| address.socket)
    }
}

/// This node in the local network, and its neighbours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalStatus {
    /// What this node is called: `user@machine.local`.
    pub name: String,
    /// TCP port for neighbours' streams.
    pub port: u16,
    /// SHA-256 of this node's certificate.
    pub fingerprint: String,
    /// By name.
    pub neighbors: Vec<NeighborStatus>,
}

/// A neighbour: found, met, or accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeighborStatus {
    /// `user@machine.local`.
    pub jid: String,
    /// The user has accepted it.
    pub accepted: bool,
    /// Its user has accepted this node, as far as it said.
    pub accepts_us: bool,
    /// The other end of the stream with it, while there is one.
    pub address: Option<SocketAddr>,
    /// SHA-256 of the certificate that was accepted, or that it has shown last.
    pub fingerprint: Option<String>,
    /// What is wrong, in one line.
    pub problem: Option<String>,
}

/// How an account's connection is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountStatus {
    /// Its place.
    pub key: AccountKey,
    /// The full JID: the one asked for, and once bound the one given.
    pub jid: String,
    /// How far it is.
    pub state: AccountState,
    /// Why it is not online, in one line.
    pub problem: Option<String>,
}

impl AccountStatus {
    /// The bare JID.
    #[must_use]
    pub fn bare(&self) -> &str {
        self.jid.split_once('/').map_or(&self.jid, |(bare, _)| bare)
    }
}

/// How far an account's connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccountState {
    /// The first attempt is on its way.
    Connecting,
    /// Logged in.
    Online,
    /// Not connected; it is tried again by itself.
    Offline,
    /// Refused in a way that only the user can mend.
    Failed,
}

/// Somebody asks to become a contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactRequest {
    /// Which account was asked.
    pub via: Via,
    /// Who asks: a bare JID.
    pub jid: String,
}

/// One contact of a roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterEntry {
    /// Whose roster.
    pub via: Via,
    /// Bare JID.
    pub jid: String,
    /// The name the user gave it.
    pub name: Option<String>,
    /// The groups the user put it in.
    pub groups: Vec<String>,
    /// `none`, `to`, `from` or `both` (RFC 6121 section 2.1.2.5).
    pub subscription: String,
    /// We asked and wait for an answer.
    pub pending: bool,
    /// Its resources that are online.
    pub resources: Vec<String>,
}
