//! What events are about: the topics that threads listen to, and what happens when one is slow.

use crate::bus::{self, WhenFull};
use crate::types::AccountKey;

/// What an event is about; decides who hears it and what happens when a listener is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Topic {
    /// The BitTorrent thread takes torrents now.
    BtReady,
    /// The port on which peers can reach us changed.
    SetPort,
    /// The list of own shares changed.
    PublishShares,
    /// Contacts' shares or addresses changed: running torrents may have new sources.
    RecheckHandles,
    /// Stop everything.
    Exit,
    /// The supervisor is to look after the threads.
    Health,
    /// The BitTorrent thread is to end.
    StopBt,
    /// The tracker threads are to end.
    StopTracker,
    /// The library thread is to end.
    StopLibrary,
    /// The XMPP thread of this account is to end.
    StopXmpp(AccountKey),
    /// Fetch what a contact shares.
    AddHash,
    /// Make a torrent of a file or folder and share it.
    GenerateTorrent,
    /// Forget a torrent.
    DelTorrent,
    /// Connect to these peers.
    AddPeer,
    /// Download or seed a torrent.
    AddTorrent,
    /// Pause, resume, check again.
    ControlTorrent,
    /// Questions whose answer is not in the snapshot.
    Query,
    /// Ask a tracker.
    Announce,
    /// A tracker answered.
    Announced,
    /// A torrent came, changed its state or went.
    Lifecycle,
    /// The same of a hidden one, which is nobody's business but that of whoever added it.
    HiddenLifecycle,
    /// The catalog of the own shares changed.
    PublishCatalog,
    /// The thread that makes and fetches catalogs is to end.
    StopCatalogs,
    /// Wait until the list of torrents is written down.
    SyncLibrary,
    /// The contacts of this account, and the account itself.
    Contacts(AccountKey),
    /// A place for one more account.
    Accounts,
    /// What was heard of contacts, for the thread that knows them all.
    People,
    /// How this node can be reached changed.
    PublishEndpoint,
    /// Somebody sees this machine at some address.
    Observed,
    /// The thread that knows all contacts is to end.
    StopPeople,
    /// Neighbours in the local network.
    Neighbors,
    /// The thread of the local network is to end.
    StopLocal,
}

impl bus::Topic for Topic {
    fn when_full(self) -> WhenFull {
        match self {
            // The newest says it all, or will be said again.
            Self::BtReady
            | Self::SetPort
            | Self::PublishShares
            | Self::PublishEndpoint
            | Self::PublishCatalog
            | Self::RecheckHandles
            | Self::Observed
            | Self::Exit
            | Self::Health => WhenFull::DropOldest,
            _ => WhenFull::Refuse,
        }
    }
}
