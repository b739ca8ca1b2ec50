//! What the interface asks of the daemon: one function per method, typed, no HTTP and no JSON.
//!
//! The daemon implements [`Interface`] over the bus, in four parts; tests implement it with a list of canned answers.
//! Functions are called by several worker threads at once and may block for as long as an answer takes, up to [`CALL_TIMEOUT`].

mod access;
mod details;
mod error;
mod settings;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::share::Page;
use crate::types::InfoHash;

use super::types::{
    Account, Accounts, Added, Contacts, DaemonStatus, Memory, Peers, ResourceShares, ShareEntry, ShareJob,
    ShareProgress, Torrent, TorrentStatus,
};

pub use access::Access;
pub use details::{Details, StatisticsQuery};
use error::not_offered;
pub use error::{ControlError, ErrorCode};
pub use settings::{LogQuery, Settings};

/// How long an implementation should wait for another thread's answer before it gives up with [`ErrorCode::Busy`].
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Among which hashes a shortened one is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashScope {
    /// Our own torrents.
    Own,
    /// Our own torrents and everything that contacts share.
    All,
}

/// Where a torrent comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TorrentSource {
    /// Content of a torrent file.
    File(Vec<u8>),
    /// Magnet link.
    Magnet(String),
    /// Info hash alone: contacts are the peers.
    Hash(InfoHash),
}

/// The arguments of `xmpp.add_contact`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewContact {
    /// Bare JID.
    pub jid: String,
    /// Name for the roster.
    pub name: Option<String>,
    /// Groups for the roster; none: those it is in.
    pub groups: Vec<String>,
}

/// What can be done with somebody who is a contact, or asks to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContactChange {
    /// Say no to their request, or do not let them see our shares any more.
    Refuse,
    /// Out of the roster, both consents withdrawn; also refuses a request.
    Remove,
    /// Another name in the roster; none if it is empty.
    Rename(String),
    /// These groups and no others.
    SetGroups(Vec<String>),
    /// Neither hear nor be heard by them, and be no contact of theirs.
    Block,
    /// End that.
    Unblock,
}

/// The arguments of `bt.add_torrent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddTorrent {
    /// Where it comes from.
    pub source: TorrentSource,
    /// Folder for it; `None` = the download folder. Absolute.
    pub save_path: Option<PathBuf>,
    /// Add it without starting.
    pub paused: bool,
    /// Peers to try.
    pub peers: Vec<SocketAddr>,
}

/// The arguments of `xmpp.set_account`. Without `Debug`: it would show the password.
#[derive(Clone)]
pub struct NewAccount {
    /// The JID, not checked yet.
    pub jid: String,
    /// Its password.
    pub password: zeroize::Zeroizing<String>,
    /// "host:port" instead of SRV look-ups, not checked yet.
    pub server: Option<String>,
    /// "starttls" or "direct", not checked yet.
    pub tls: Option<String>,
    /// File with the roots to trust. Absolute.
    pub ca_file: Option<PathBuf>,
}

/// A list that may be long: its rows are made one by one, while the answer is sent.
pub struct List<T> {
    /// Number of rows.
    pub len: usize,
    /// Makes the row with this number, counted from 0: each time the same. Takes no lock and waits for nothing.
    pub row: Box<dyn Fn(usize) -> Option<T> + Send>,
}

impl<T> List<T> {
    /// One row for each of the items.
    pub fn new<I: Send + 'static>(items: Vec<I>, row: impl Fn(&I) -> T + Send + 'static) -> Self {
        Self { len: items.len(), row: Box::new(move |number| items.get(number).map(&row)) }
    }
}

/// The members of an object that may be long, each a name and a value.
pub type Members<T> = List<(String, T)>;

/// One page of a list that is too long for one answer.
pub struct Paged<T> {
    /// The rows of this page.
    pub rows: List<T>,
    /// Rows of all pages.
    pub total: usize,
    /// There is more than `total` says: too much to be looked at.
    pub more: bool,
}

impl<T: Clone + Send + 'static> From<Vec<T>> for List<T> {
    fn from(rows: Vec<T>) -> Self {
        Self::new(rows, T::clone)
    }
}

/// All that the interface asks of the daemon.
pub trait Interface: Control + Access + Settings + Details {}

impl<T: Control + Access + Settings + Details> Interface for T {}

/// The daemon, as the interface sees it: torrents, shares, people and accounts. Hashes are whole: shortened ones were resolved with [`Control::hashes`].
///
/// # Errors
/// Every function fails with a [`ControlError`]; `Busy` and `Stopping` may come from any of them.
pub trait Control: Send + Sync {
    /// The hashes in `range`, each once, at most `most`: among them shortened ones are looked up.
    fn hashes(&self, scope: HashScope, range: &RangeInclusive<InfoHash>, most: usize) -> Vec<InfoHash>;

    /// `Api.versions`: names of program and libraries, with versions.
    fn versions(&self) -> BTreeMap<String, String> {
        [("bitween".to_owned(), env!("CARGO_PKG_VERSION").to_owned())].into()
    }
    /// `Api.status`.
    fn status(&self) -> Result<DaemonStatus, ControlError>;
    /// `Api.memory`.
    fn memory(&self) -> Result<Memory, ControlError>;
    /// `Api.exit`: begins to stop and returns at once; the answer is still sent.
    fn exit(&self) -> Result<(), ControlError>;

    /// `bt.get_torrents`.
    fn torrents(&self) -> Result<List<Torrent>, ControlError>;
    /// `bt.status`, of all torrents.
    fn torrent_statuses(&self) -> Result<List<TorrentStatus>, ControlError>;
    /// `bt.status`, of one torrent.
    fn torrent_status(&self, hash: InfoHash) -> Result<TorrentStatus, ControlError>;
    /// `bt.peers`.
    fn peers(&self, hash: InfoHash) -> Result<Peers, ControlError>;
    /// `bt.share` and `bt.add_path`: checks that the path can be read, begins to hash it and returns. Absolute path.
    fn share(&self, path: &Path) -> Result<ShareJob, ControlError>;
    /// `bt.share_progress`. A finished job is remembered for at least a minute.
    fn share_progress(&self, job: u64) -> Result<ShareProgress, ControlError>;
    /// `bt.add_torrent` and `bt.add_torrent_by_hash`.
    fn add_torrent(&self, torrent: AddTorrent) -> Result<Added, ControlError>;
    /// `bt.add_peer`.
    fn add_peer(&self, hash: InfoHash, address: SocketAddr) -> Result<(), ControlError>;
    /// `bt.pause`; pausing what is paused is fine.
    fn pause(&self, hash: InfoHash) -> Result<(), ControlError>;
    /// `bt.resume`; also tries again what is in the error state.
    fn resume(&self, hash: InfoHash) -> Result<(), ControlError>;
    /// `bt.remove` and `bt.del_torrent`: forgets the torrent and withdraws the share; `with_data` deletes its files too.
    fn remove(&self, hash: InfoHash, with_data: bool) -> Result<(), ControlError>;

    /// `xmpp.get_hashes`: each hash with its addresses.
    fn contact_hashes(&self) -> Result<Members<Vec<(IpAddr, u16)>>, ControlError>;
    /// `xmpp.get_shares`: each bare JID with its resources.
    fn contact_shares(&self) -> Result<Members<BTreeMap<String, ResourceShares>>, ControlError>;
    /// `xmpp.list_shares`, by name; `contact` is a bare JID.
    fn list_shares(&self, contact: Option<&str>, page: Page) -> Result<Paged<ShareEntry>, ControlError>;
    /// `xmpp.search`: shares whose name holds every word of the term, whatever the case; best first.
    fn search(&self, term: &str, page: Page) -> Result<Paged<ShareEntry>, ControlError>;
    /// `xmpp.contacts`.
    fn contacts(&self) -> Result<Contacts, ControlError>;
    /// `xmpp.add_contact`: into the roster, and asks for their consent. `account` is the bare JID of the account to do it
    /// with, here and below; without one it is the one that knows the contact, else the first.
    fn add_contact(&self, new: NewContact, account: Option<&str>) -> Result<(), ControlError>;
    /// `xmpp.accept_contact`: consents, and asks for theirs if that is missing.
    fn accept_contact(&self, jid: &str, account: Option<&str>) -> Result<(), ControlError>;
    /// `xmpp.refuse_contact`, `xmpp.remove_contact`, `xmpp.rename_contact`, `xmpp.set_groups`,
    /// `xmpp.block_contact`, `xmpp.unblock_contact`. Without `account` with every
    /// account that knows them; somebody unknown is blocked with all.
    fn change_contact(&self, jid: &str, change: ContactChange, account: Option<&str>) -> Result<(), ControlError>;
    /// `xmpp.account`: the first one.
    fn account(&self) -> Result<Account, ControlError>;
    /// `xmpp.accounts`.
    fn accounts(&self) -> Result<Accounts, ControlError>;
    /// `xmpp.set_account`: connects and stores it, instead of the account with the same JID or of the only one. Waits for the log-in to succeed or fail, at most [`CALL_TIMEOUT`];
    /// what was refused is an error ([`ErrorCode::AccountRefused`]) and not stored. When the server could not be asked or
    /// takes longer the account is stored all the same, and the answer's `error` says so.
    fn set_account(&self, account: NewAccount) -> Result<Account, ControlError>;
    /// `xmpp.add_account`: as `xmpp.set_account`, beside the accounts that there are.
    fn add_account(&self, account: NewAccount) -> Result<Account, ControlError>;
    /// `xmpp.remove_account`: takes everything off the server, disconnects, forgets it. `false` = there was none. Without a
    /// JID it is the only account.
    fn remove_account(&self, jid: Option<&str>) -> Result<bool, ControlError>;
}
