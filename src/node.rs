//! BitTorrent alone, without XMPP and HTTP: the front door for programs that embed bitween.
//!
//! An [`Engine`] owns its threads (reactor, disks, trackers), its sockets and its piece buffer; there is no global state,
//! so a process may run several. Dropping one stops it in order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::bus::Subscriber;
use crate::component::ask::{SOON, ask};
use crate::component::bt::{BtError, BtOptions, BtThread};
use crate::component::event::{Bus, ControlError, Event, NewTorrent, Topic, TorrentControl};
use crate::component::snapshot::{Contacts, MemoryUsage, Published, TorrentStatus, Torrents};
use crate::component::tracker::{TrackerOptions, TrackerThreads};
use crate::engine::{PeerStats, Source};
use crate::types::InfoHash;

/// Removing a torrent with its files may take a while on a slow disk.
const REMOVE_PATIENCE: Duration = Duration::from_secs(60);

/// Why an [`Engine`] could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Sockets, database or threads.
    #[error(transparent)]
    Bt(#[from] BtError),
    /// The tracker threads.
    #[error("cannot start the tracker threads: {0}")]
    Tracker(#[from] io::Error),
}

/// A running BitTorrent client.
#[derive(Debug)]
pub struct Engine {
    bus: Bus,
    // Dropped in this order: the last announces need the tracker threads.
    bt: BtThread,
    tracker: TrackerThreads,
    contacts: Published<Contacts>,
}

impl Engine {
    /// Opens the sockets and the resume database and starts the threads.
    ///
    /// # Errors
    /// [`EngineError`] if a port is taken, a database damaged, or the system has no threads left.
    pub fn start(options: BtOptions) -> Result<Self, EngineError> {
        Self::start_on(options, Bus::new(), Published::default(), Published::default())
    }

    /// Like [`start`](Self::start), over a bus and snapshots that others use too and that outlive it: for a supervisor.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_on(
        options: BtOptions,
        bus: Bus,
        contacts: Published<Contacts>,
        torrents: Published<Torrents>,
    ) -> Result<Self, EngineError> {
        let allow_loopback = options.allow_loopback_trackers;
        let tracker =
            TrackerThreads::start(TrackerOptions { allow_loopback, ..TrackerOptions::default() }, bus.clone())?;
        let bt = BtThread::start(options, bus.clone(), contacts.clone(), torrents)?;
        Ok(Self { bus, bt, tracker, contacts })
    }

    /// Downloads or seeds a torrent. Returns as soon as it is in the list.
    ///
    /// # Errors
    /// [`ControlError::AlreadyHere`], or [`ControlError::NoAnswer`] if the engine is stopping.
    pub fn add(&self, torrent: NewTorrent) -> Result<InfoHash, ControlError> {
        let torrent = Arc::new(torrent);
        ask(&self.bus, "the network thread", SOON, |reply| Event::AddTorrent { torrent, reply })
    }

    /// How a torrent is doing; at most half a second old. `None` if there is no such torrent.
    #[must_use]
    pub fn status(&self, info_hash: InfoHash) -> Option<Arc<TorrentStatus>> {
        self.bt.torrents().read().list.get(&info_hash).cloned()
    }

    /// How all torrents are doing; at most half a second old.
    #[must_use]
    pub fn torrents(&self) -> Arc<Torrents> {
        self.bt.torrents().read()
    }

    /// Tells of addresses where a torrent may be had. Nothing happens if it is not here.
    pub fn add_peers(&self, info_hash: InfoHash, addrs: &[SocketAddr]) {
        let event = Event::AddPeers { info_hash, addrs: addrs.into(), source: Source::Manual };
        if self.bus.publish(event).is_err() {
            debug!("the network thread takes no peers any more");
        }
    }

    /// The peers of a torrent.
    ///
    /// # Errors
    /// [`ControlError::UnknownTorrent`], or no answer.
    pub fn peers(&self, info_hash: InfoHash) -> Result<Vec<PeerStats>, ControlError> {
        ask(&self.bus, "the network thread", SOON, |reply| Event::QueryPeers { info_hash, reply })
    }

    /// What memory is used for, and how long the network thread's turns take.
    ///
    /// # Errors
    /// No answer.
    pub fn memory(&self) -> Result<MemoryUsage, ControlError> {
        ask(&self.bus, "the network thread", SOON, |reply| Event::QueryMemory { reply })
    }

    /// Pauses, resumes or checks a torrent.
    ///
    /// # Errors
    /// [`ControlError::UnknownTorrent`], or no answer.
    pub fn control(&self, info_hash: InfoHash, what: TorrentControl) -> Result<(), ControlError> {
        ask(&self.bus, "the network thread", REMOVE_PATIENCE, |reply| Event::ControlTorrent { info_hash, what, reply })
    }

    /// Forgets a torrent, with its files if `with_data`.
    ///
    /// # Errors
    /// [`ControlError::UnknownTorrent`]; [`ControlError::Storage`] if a file could not be removed; or no answer.
    pub fn remove(&self, info_hash: InfoHash, with_data: bool) -> Result<(), ControlError> {
        ask(&self.bus, "the network thread", REMOVE_PATIENCE, |reply| Event::DelTorrent { info_hash, with_data, reply })
    }

    /// Hears of every step in the torrents' lives: added, started, completed, failed, removed.
    #[must_use]
    pub fn events(&self) -> Subscriber<Event> {
        self.bus.subscribe("events", &[Topic::Lifecycle], 4096)
    }

    /// The TCP port that peers connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.bt.port()
    }

    /// The bus its threads talk over.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Where contacts' shares are published for the engine to connect to.
    #[must_use]
    pub fn contacts(&self) -> &Published<Contacts> {
        &self.contacts
    }

    /// Where the torrents' state is published.
    #[must_use]
    pub fn published(&self) -> &Published<Torrents> {
        self.bt.torrents()
    }

    /// True while its threads run.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.bt.is_running() && self.tracker.is_running()
    }

    /// Tells trackers, writes the resume data and ends all threads. Takes under five seconds; what a disk or tracker
    /// has not done by then is given up.
    pub fn stop(&mut self) {
        self.bt.stop();
        self.tracker.stop();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}
