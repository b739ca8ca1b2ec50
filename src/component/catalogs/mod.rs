//! The thread that makes the catalog of the own shares, and fetches those of contacts.
//!
//! A list that is too long for XMPP is announced as a torrent (see [`catalog`]). `own.rs` writes it
//! when the shares change and has it served, and the accounts' threads announce it. `fetch.rs` looks in the snapshot which
//! contacts announce one that is not here, has it fetched from the addresses of that very resource, and tells `people`
//! what is in it. Both kinds of torrents are hidden: they are in no list.
//!
//! It waits for disks, and for the network thread's answers to its commands.

mod fetch;
mod own;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::fetch::Fetches;
use self::own::Own;
use super::ask::{SOON, ask};
use super::event::{Bus, ControlError, Event, NewTorrent, Part, Topic};
use super::running::Running;
use super::snapshot::{Contacts, OwnCatalog, Published, Torrents};
use crate::bus::{Clock, RecvError, Subscriber, SystemClock};
use crate::share::catalog;
use crate::storage::CatalogFiles;
use crate::types::InfoHash;

/// Messages of one topic that may wait for this thread.
const INBOX: usize = 4096;

const TOPICS: &[Topic] =
    &[Topic::PublishShares, Topic::RecheckHandles, Topic::HiddenLifecycle, Topic::BtReady, Topic::StopCatalogs];

/// A thread with nothing to wait for looks around all the same.
const LOOK_ANYWAY: Duration = Duration::from_secs(3600);

const NETWORK: &str = "the network thread";

/// What the thread is told at its start.
#[derive(Clone, Debug)]
pub struct CatalogOptions {
    /// Folder for catalogs, which nobody else uses.
    pub dir: PathBuf,
    /// Time between two catalogs of a very long list: contacts fetch each of them. Of others there may be more.
    pub pause: Duration,
    /// If nobody has answered for so long, the user is told.
    pub patience: Duration,
}

impl CatalogOptions {
    /// As it should be, with this folder.
    #[must_use]
    pub const fn new(dir: PathBuf) -> Self {
        Self { dir, pause: Duration::from_secs(30), patience: Duration::from_secs(30) }
    }
}

/// The running thread, as its owner sees it.
#[derive(Debug)]
pub struct CatalogsThread(Running);

impl CatalogsThread {
    /// Starts the thread, which says in `own` which is the catalog of the own shares.
    ///
    /// # Errors
    /// If the system has no threads left.
    pub fn start(
        options: CatalogOptions,
        bus: Bus,
        contacts: Published<Contacts>,
        torrents: Published<Torrents>,
        own: Published<OwnCatalog>,
    ) -> io::Result<Self> {
        let inbox = bus.subscribe("catalogs", TOPICS, INBOX);
        let files = CatalogFiles::new(options.dir, catalog::FILE_NAME);
        let worker = move |bus: Bus| Worker {
            inbox,
            // Read after the subscription was made, so that nothing falls between the two.
            shares: Arc::clone(&torrents.read().shares),
            own: Own::new(files.clone(), options.pause, bus.clone(), own),
            fetches: Fetches::new(files.clone(), options.patience, bus, contacts, torrents),
            files,
        };
        let run = {
            let bus = bus.clone();
            move || worker(bus).run()
        };
        Ok(Self(Running::start("catalogs", Part::Catalogs, bus, run)?))
    }

    /// True while the thread runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.0.is_alive()
    }

    /// Ends the thread.
    pub fn stop(&mut self) {
        self.0.stop();
    }
}

struct Worker {
    inbox: Subscriber<Event>,
    shares: Arc<[crate::types::Share]>,
    own: Own,
    fetches: Fetches,
    files: CatalogFiles,
}

impl Worker {
    fn run(mut self) {
        self.sweep();
        self.own.set_shares(SystemClock.now(), Arc::clone(&self.shares));
        self.fetches.look();
        loop {
            let now = SystemClock.now();
            self.own.tend(now);
            self.fetches.tend(now, self.own.current());
            let due = [self.own.poll_timeout(), self.fetches.poll_timeout(now)].into_iter().flatten().min();
            let pause = due.map_or(LOOK_ANYWAY, |due| due.saturating_duration_since(SystemClock.now()));
            match self.inbox.recv_timeout(pause) {
                Ok(Event::Stop(Part::Catalogs)) | Err(RecvError::Closed) => return,
                Ok(event) => self.hear(event),
                Err(_) => {}
            }
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::PublishShares(shares) => self.own.set_shares(SystemClock.now(), shares),
            Event::RecheckHandles => self.fetches.look(),
            Event::HiddenLifecycle { info_hash, change } => {
                self.fetches.hear(SystemClock.now(), info_hash, &change);
            }
            // The network thread was started anew, and knows nothing of what it was told before.
            Event::BtReady => {
                self.own.serve_again();
                self.fetches.begin_again();
            }
            _ => {}
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a component is where real time comes in")]
    fn sweep(&self) {
        self.files.sweep(std::time::SystemTime::now());
    }
}

fn add(bus: &Bus, torrent: NewTorrent) -> Result<(), ControlError> {
    let torrent = Arc::new(torrent);
    ask(bus, NETWORK, SOON, |reply| Event::AddTorrent { torrent, reply }).map(drop)
}

/// Its files stay.
fn remove(bus: &Bus, info_hash: InfoHash) {
    if let Err(error) = ask(bus, NETWORK, SOON, |reply| Event::DelTorrent { info_hash, with_data: false, reply }) {
        debug!("catalog {info_hash}: {error}");
    }
}

/// The earlier of two times.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
