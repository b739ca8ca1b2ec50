//! Everything said on the bus, on one page; what the messages carry stands beside it. Large payloads sit in an `Arc`, so a
//! clone is cheap.
//!
//! The names of the original's topics keep their meaning: `bt_ready`, `set_port`, `publish_shares`,
//! `recheck_handles`, `exit`, `add_hash`, `generate_torrent`, `del_torrent`, `add_peer`, `add_torrent`.

mod announce;
mod contacts;
#[cfg(feature = "xmpp")]
mod told;
mod topic;
mod torrent;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use super::snapshot::MemoryUsage;
use crate::bus::{self, Reply};
use crate::engine::{PeerStats, Source};
use crate::storage::StorageError;
#[cfg(feature = "xmpp")]
use crate::types::Via;
use crate::types::{AccountKey, Bitfield, Endpoint, InfoHash, Share, Witness};

pub use announce::{AnnounceError, AnnounceReply, AnnounceRequest};
pub use contacts::{Account, ContactCommand, NeighborCommand};
#[cfg(feature = "xmpp")]
pub use told::Told;
pub use topic::Topic;
pub use torrent::{HashProgress, Hidden, Lifecycle, NewTorrent, TorrentControl, TorrentSource};

/// The bus of one bitween process.
pub type Bus = bus::Bus<Event>;

/// One message between threads.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// See [`Topic::BtReady`].
    BtReady,
    /// Listening on this port, TCP.
    SetPort(u16),
    /// All own shares; replaces what was said before.
    PublishShares(Arc<[Share]>),
    /// See [`Topic::RecheckHandles`].
    RecheckHandles,
    /// Stop everything, in order.
    Exit,
    /// Look whether every thread still runs; said by the scheduler.
    Health,
    /// End this thread, in order; said by whoever started it.
    Stop(Part),
    /// Fetch what a contact shares into `dir` (default: the download folder).
    AddHash {
        /// Which torrent.
        info_hash: InfoHash,
        /// Where to put it.
        dir: Option<PathBuf>,
        /// What became of it.
        reply: Reply<Result<InfoHash, ControlError>>,
    },
    /// Hash this file or folder, share it, and answer when it is announced.
    GenerateTorrent {
        /// A file or folder on this machine.
        path: PathBuf,
        /// How far the hashing is, for whoever watches.
        progress: Arc<HashProgress>,
        /// The torrent's info hash.
        reply: Reply<Result<InfoHash, ControlError>>,
    },
    /// Stop and forget this torrent.
    DelTorrent {
        /// Which torrent.
        info_hash: InfoHash,
        /// Also delete its files.
        with_data: bool,
        /// Done, or why not.
        reply: Reply<Result<(), ControlError>>,
    },
    /// Addresses where this torrent may be had.
    AddPeers {
        /// Which torrent.
        info_hash: InfoHash,
        /// Where.
        addrs: Arc<[SocketAddr]>,
        /// Who says so.
        source: Source,
    },
    /// Download or seed.
    AddTorrent {
        /// What and how.
        torrent: Arc<NewTorrent>,
        /// Answered as soon as it is in the list; checking and downloading follow.
        reply: Reply<Result<InfoHash, ControlError>>,
    },
    /// Change how a torrent runs.
    ControlTorrent {
        /// Which torrent.
        info_hash: InfoHash,
        /// What to do.
        what: TorrentControl,
        /// Done, or why not.
        reply: Reply<Result<(), ControlError>>,
    },
    /// Who is connected.
    QueryPeers {
        /// Which torrent.
        info_hash: InfoHash,
        /// One entry a peer, or why not.
        reply: Reply<Result<Vec<PeerStats>, ControlError>>,
    },
    /// Which pieces are there.
    QueryPieces {
        /// Which torrent.
        info_hash: InfoHash,
        /// One bit a piece.
        reply: Reply<Result<Bitfield, ControlError>>,
    },
    /// What memory is used for, and how long the loop's turns take.
    QueryMemory {
        /// The answer.
        reply: Reply<Result<MemoryUsage, ControlError>>,
    },
    /// Ask a tracker.
    Announce(Arc<AnnounceRequest>),
    /// A tracker answered, or did not.
    Announced(Arc<AnnounceReply>),
    /// A torrent came, changed or went.
    Lifecycle {
        /// Which torrent.
        info_hash: InfoHash,
        /// What happened.
        change: Lifecycle,
    },
    /// A hidden torrent came, changed or went.
    HiddenLifecycle {
        /// Which torrent.
        info_hash: InfoHash,
        /// What happened.
        change: Lifecycle,
    },
    /// The catalog of the own shares is another one now; it is in the snapshot.
    PublishCatalog,
    /// Answered when all that was said before this is in the list on disk.
    SyncLibrary {
        /// Done.
        reply: Reply<Result<(), ControlError>>,
    },
    /// Something to do with the contacts of an account, or with the account.
    Contacts {
        /// Whose.
        account: AccountKey,
        /// What to do.
        command: ContactCommand,
    },
    /// Something to do with a neighbour.
    Neighbor(NeighborCommand),
    /// Make a place for one more account.
    PlaceAccount {
        /// The place, in which there is no account.
        reply: Reply<Result<AccountKey, ControlError>>,
    },
    /// What was heard through one of the roads to contacts.
    #[cfg(feature = "xmpp")]
    Told {
        /// Which road.
        via: Via,
        /// What.
        told: Told,
    },
    /// Somebody sees this machine at this address.
    Observed {
        /// Who says so.
        witness: Witness,
        /// Where.
        ip: IpAddr,
    },
    /// How contacts are told that this node can be reached; replaces what was said before.
    PublishEndpoint(Arc<Endpoint>),
}

impl bus::Event for Event {
    type Topic = Topic;

    fn topic(&self) -> Topic {
        match self {
            Self::BtReady => Topic::BtReady,
            Self::SetPort(_) => Topic::SetPort,
            Self::PublishShares(_) => Topic::PublishShares,
            Self::RecheckHandles => Topic::RecheckHandles,
            Self::Exit => Topic::Exit,
            Self::Health => Topic::Health,
            Self::Stop(Part::Bt) => Topic::StopBt,
            Self::Stop(Part::Tracker) => Topic::StopTracker,
            Self::Stop(Part::Library) => Topic::StopLibrary,
            Self::Stop(Part::Xmpp(account)) => Topic::StopXmpp(*account),
            Self::Stop(Part::People) => Topic::StopPeople,
            Self::Stop(Part::Catalogs) => Topic::StopCatalogs,
            Self::Stop(Part::Local) => Topic::StopLocal,
            Self::AddHash { .. } => Topic::AddHash,
            Self::GenerateTorrent { .. } => Topic::GenerateTorrent,
            Self::DelTorrent { .. } => Topic::DelTorrent,
            Self::AddPeers { .. } => Topic::AddPeer,
            Self::AddTorrent { .. } => Topic::AddTorrent,
            Self::ControlTorrent { .. } => Topic::ControlTorrent,
            Self::QueryPeers { .. } | Self::QueryPieces { .. } | Self::QueryMemory { .. } => Topic::Query,
            Self::Announce(_) => Topic::Announce,
            Self::Announced(_) => Topic::Announced,
            Self::Lifecycle { .. } => Topic::Lifecycle,
            Self::HiddenLifecycle { .. } => Topic::HiddenLifecycle,
            Self::PublishCatalog => Topic::PublishCatalog,
            Self::SyncLibrary { .. } => Topic::SyncLibrary,
            Self::Contacts { account, .. } => Topic::Contacts(*account),
            Self::Neighbor(_) => Topic::Neighbors,
            Self::PlaceAccount { .. } => Topic::Accounts,
            #[cfg(feature = "xmpp")]
            Self::Told { .. } => Topic::People,
            Self::Observed { .. } => Topic::Observed,
            Self::PublishEndpoint(_) => Topic::PublishEndpoint,
        }
    }
}

/// The threads that are stopped one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The reactor and its disk threads.
    Bt,
    /// The tracker threads.
    Tracker,
    /// The list of torrents.
    Library,
    /// The XMPP thread of this account.
    Xmpp(AccountKey),
    /// The thread that knows all contacts.
    People,
    /// The thread that makes and fetches catalogs.
    Catalogs,
    /// The thread of the local network.
    Local,
}

/// Why a command was not carried out. The text is for the user: one line that says what and how to mend it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// There is no such torrent here.
    #[error("no torrent with the info hash {0} here")]
    UnknownTorrent(InfoHash),
    /// It is here already.
    #[error("the torrent {0} is already here")]
    AlreadyHere(InfoHash),
    /// Nobody is known to have it.
    #[error("no contact shares {0} now")]
    NoSource(InfoHash),
    /// The disk said no.
    #[error(transparent)]
    Storage(Arc<StorageError>),
    /// There is no account to do this with.
    #[error("no XMPP account is set up; set one with `bitween account set JID`")]
    NoAccount,
    /// The account is not connected.
    #[error("not connected to the XMPP server: {0}")]
    Offline(String),
    /// Anything else the user has to know.
    #[error("{0}")]
    Refused(String),
    /// The component that should have answered did not.
    #[error("{0} did not answer in time")]
    NoAnswer(&'static str),
}
