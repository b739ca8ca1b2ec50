//! The reactor thread: sockets, swarms and storage brought together.
//!
//! `Bt` is the reactor's handler. It carries messages between three parts that do not know each other: peers' events
//! to the torrent's engine, the engine's actions to connections and disk threads, and what the disk threads did back to
//! the engine. It decides nothing about pieces and peers itself, and never waits: not for a disk, not for a tracker,
//! not for another thread.

mod actions;
mod announce;
mod attempts;
mod commands;
mod disk;
mod door;
mod memory;
mod metadata;
mod options;
mod peers;
mod room;
mod status;
mod torrent;
mod uploads;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use options::{BtOptions, Families};

use self::peers::Peer;
use self::room::Room;
use self::torrent::Torrent;
use self::uploads::Coming;
use super::event::{Bus, Event, Part, Topic};
use super::running::Running;
use super::snapshot::{Contacts, Published, Torrents};
use crate::bus::Subscriber;
use crate::engine::TorrentOptions;
use crate::proto::peer;
use crate::reactor::{CloseCause, Handler, Net, Reactor};
use crate::share::{Attempts, Refused};
use crate::storage::{Disk, DiskOptions, PieceBuffer, StorageError};
use crate::types::{InfoHash, MIN_MEMORY_LIMIT, Memory, PeerId, PeerKey, PieceIndex, SortedMap, TorrentKey};

/// Bus messages handled per turn of the loop, so that peers are not kept waiting by a flood of them.
const MESSAGES_PER_TURN: usize = 256;

/// Answers of disk threads handled per turn; thousands come at once when as many torrents are opened.
const ANSWERS_PER_TURN: usize = 256;

/// Commands that may wait for this thread.
const INBOX: usize = 4096;

/// How long an orderly stop waits for torrents to be closed; what is not committed then is checked at the next start.
const STOP_DEADLINE: Duration = Duration::from_secs(4);
/// How long it waits for disk threads to end after that.
const DISK_PATIENCE: Duration = Duration::from_millis(500);

/// Why the BitTorrent thread could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BtError {
    /// No listening socket could be opened.
    #[error("cannot listen on port {} of {}: {error}{}", addr.port(), addr.ip(), hint(*addr, error))]
    Listen {
        /// The address that could not be had; its port is the one that was asked for.
        addr: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The resume database or the disk threads failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The limit for buffers is too small to work with.
    #[error("a memory limit of {wanted} bytes is too small: at least {MIN_MEMORY_LIMIT} bytes are needed")]
    MemoryLimit {
        /// What was asked for.
        wanted: u64,
    },
    /// The system refused a poll or a thread.
    #[error("cannot start the network thread: {0}")]
    System(#[from] io::Error),
}

fn hint(addr: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("; another program uses it: choose another port than {}, or 0 for any", addr.port())
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege: choose a higher one".to_owned(),
        io::ErrorKind::AddrNotAvailable => "; it is no address of this machine".to_owned(),
        _ => String::new(),
    }
}

/// The running thread, as its owner sees it.
#[derive(Debug)]
pub struct BtThread {
    running: Running,
    torrents: Published<Torrents>,
    port: u16,
}

impl BtThread {
    /// Opens the listening sockets and the resume database, then starts the thread, which publishes the state of all
    /// torrents in `torrents`.
    ///
    /// # Errors
    /// [`BtError`]; nothing is left running then.
    pub fn start(
        options: BtOptions,
        bus: Bus,
        contacts: Published<Contacts>,
        torrents: Published<Torrents>,
    ) -> Result<Self, BtError> {
        if options.memory_limit < MIN_MEMORY_LIMIT {
            return Err(BtError::MemoryLimit { wanted: options.memory_limit });
        }
        let mut reactor = Reactor::with_memory(Memory::new(options.memory_limit))?;
        reactor.set_memory_patience(options.memory_patience);
        let port = listen(&mut reactor, &options)?;
        let wake = reactor.wake_hook();
        let disk = Disk::start(
            &DiskOptions { threads: options.disk_threads, backend: options.storage, state: options.state.clone() },
            reactor.lenient_wake_hook(),
        )?;
        let inbox = bus.subscribe_with_wake("bt", TOPICS, INBOX, wake);
        let bt = Bt::new(options, port, bus.clone(), inbox, disk, torrents.clone(), contacts);
        let running = Running::start("reactor", Part::Bt, bus, move || bt.run(reactor))?;
        Ok(Self { running, torrents, port })
    }

    /// The TCP port that peers connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the state of all torrents is to be read.
    #[must_use]
    pub fn torrents(&self) -> &Published<Torrents> {
        &self.torrents
    }

    /// True while the thread runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running.is_alive()
    }

    /// Tells trackers, writes the resume data and ends the thread.
    pub fn stop(&mut self) {
        self.running.stop();
    }
}

const TOPICS: &[Topic] = &[
    Topic::AddTorrent,
    Topic::DelTorrent,
    Topic::ControlTorrent,
    Topic::AddPeer,
    Topic::Query,
    Topic::Announced,
    Topic::RecheckHandles,
    Topic::StopBt,
];

/// Listens on all addresses with one port. An address that this machine lacks is left out, if there is another one.
fn listen(reactor: &mut Reactor<Peer>, options: &BtOptions) -> Result<u16, BtError> {
    let mut wanted = if options.port == 0 { options.last_port } else { options.port };
    let mut attempts = if options.port == 0 { 10 } else { 0 };
    loop {
        match listen_on(reactor, &options.bind, wanted) {
            Ok((port, missing)) => {
                for (ip, error) in missing {
                    // "Any address" of a family that is switched off here is no mistake of anybody's.
                    let level = if ip.is_unspecified() { log::Level::Info } else { log::Level::Warn };
                    record!(level, "not listening on {ip}: {error}");
                }
                return Ok(port);
            }
            // With a port of the system's choice, the other family may find it taken: choose anew.
            Err((_, error)) if attempts > 0 && !is_missing(&error) => {
                attempts -= 1;
                wanted = 0;
            }
            Err((addr, error)) => return Err(BtError::Listen { addr, error }),
        }
    }
}

type Missing = Vec<(IpAddr, io::Error)>;

/// The port, and the addresses that were left out. Fails if any other one cannot be had, or none.
fn listen_on(
    reactor: &mut Reactor<Peer>,
    bind: &[IpAddr],
    port: u16,
) -> Result<(u16, Missing), (SocketAddr, io::Error)> {
    let mut chosen = port;
    let mut missing = Missing::new();
    for ip in bind {
        let addr = SocketAddr::new(*ip, chosen);
        match reactor.listen(addr) {
            Ok(addr) => chosen = addr.port(),
            Err(error) if is_missing(&error) => missing.push((*ip, error)),
            Err(error) => {
                reactor.stop_listening();
                return Err((addr, error));
            }
        }
    }
    match missing.pop() {
        Some((ip, error)) if missing.len() + 1 == bind.len() => Err((SocketAddr::new(ip, port), error)),
        last => {
            missing.extend(last);
            Ok((chosen, missing))
        }
    }
}

/// This machine lacks the address, or its whole family.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT))
}

/// The reactor's handler: everything the thread owns but the connections.
pub(super) struct Bt {
    options: BtOptions,
    /// Every torrent's.
    limits: Arc<TorrentOptions>,
    port: u16,
    peer_id: PeerId,
    /// By which trackers know us again when our address changes.
    tracker_key: u32,
    bus: Bus,
    inbox: Subscriber<Event>,
    disk: Disk,
    buffer: PieceBuffer,
    // Boxed: a table has up to twice as many places as torrents.
    torrents: HashMap<TorrentKey, Box<Torrent>>,
    /// A tree: a table has up to twice as many places as torrents.
    by_hash: SortedMap<InfoHash, TorrentKey>,
    next_key: u64,
    /// Who has, and who waits for, room in the piece buffer to receive pieces.
    room: Room,
    /// Received pieces that are with the disk threads.
    verifying: usize,
    /// Whose piece was the last of these.
    receiving: Option<TorrentKey>,
    /// Pieces being brought into memory, and who waits for them.
    populating: HashMap<(TorrentKey, PieceIndex), Coming>,
    /// Peers that asked for blocks since `pump_asking`.
    asking: Vec<PeerKey>,
    /// Torrents whose descriptions wait for memory.
    waiting_metadata: Vec<TorrentKey>,
    /// Memory of a description became free.
    metadata_freed: bool,
    published: Published<Torrents>,
    contacts: Published<Contacts>,
    contact_hosts: door::ContactHosts,
    /// Where those are who are blocked.
    refused: Arc<Refused>,
    /// Where contacts were looked for in vain.
    attempts: Arc<Attempts>,
    /// What contacts announced when torrents were last told of all that was new in it.
    rechecked: Option<Arc<Contacts>>,
    /// Torrents whose published status is out of date.
    stale: HashSet<TorrentKey>,
    /// When the snapshot is published next.
    status_due: Option<Instant>,
    /// Torrents that are gone and still published.
    gone: Vec<InfoHash>,
    published_at: Option<Instant>,
    /// The list of shares is to be published with the next snapshot.
    shares_changed: bool,
    /// When the list of shares was published last because of a torrent that was opened.
    shares_published_at: Option<Instant>,
    /// A torrent's state has changed, which is not to wait for the usual time.
    state_changed: bool,
    /// The timer for those who wait for room is armed.
    room_armed: bool,
    /// Waiting windows are being opened.
    opening: bool,
    /// Room has become free since those who wait were looked at.
    room_freed: bool,
    /// The timer for idle buffers is armed.
    idle_armed: bool,
    /// Nobody has needed one for a while.
    idle_unwanted: bool,
    /// A window was made since that timer was last looked at.
    window_made: bool,
    /// Set when the thread is to end: at this time at the latest.
    stopping: Option<Instant>,
}

impl Bt {
    fn new(
        options: BtOptions,
        port: u16,
        bus: Bus,
        inbox: Subscriber<Event>,
        disk: Disk,
        published: Published<Torrents>,
        contacts: Published<Contacts>,
    ) -> Self {
        let mut random = [0; 12];
        if getrandom::fill(&mut random).is_err() {
            random.iter_mut().for_each(|byte| *byte = fastrand::u8(..));
        }
        published.publish(Arc::new(Torrents { port, ..Torrents::default() }));
        let peer_id = PeerId::ours(random);
        Self {
            limits: Arc::new(options.of_torrent(peer_id)),
            buffer: PieceBuffer::new(options.piece_buffer, options.file_windows),
            port,
            peer_id,
            tracker_key: fastrand::u32(..),
            bus,
            inbox,
            disk,
            torrents: HashMap::new(),
            by_hash: SortedMap::new(),
            next_key: 1,
            room: Room::default(),
            verifying: 0,
            receiving: None,
            populating: HashMap::new(),
            asking: Vec::new(),
            waiting_metadata: Vec::new(),
            metadata_freed: false,
            published,
            contacts,
            contact_hosts: door::ContactHosts::default(),
            refused: Arc::default(),
            attempts: Arc::default(),
            rechecked: None,
            stale: HashSet::new(),
            status_due: None,
            gone: Vec::new(),
            published_at: None,
            shares_changed: false,
            shares_published_at: None,
            state_changed: false,
            room_armed: false,
            opening: false,
            room_freed: false,
            idle_armed: false,
            idle_unwanted: false,
            window_made: false,
            stopping: None,
            options,
        }
    }

    fn run(mut self, mut reactor: Reactor<Peer>) {
        let _ = self.bus.publish(Event::SetPort(self.port));
        let _ = self.bus.publish(Event::BtReady);
        log::info!("listening for peers on port {}", self.port);
        while !self.is_stopped(reactor.net().now()) {
            if let Err(error) = reactor.turn(&mut self) {
                log::error!("the network thread cannot go on: {error}");
                break;
            }
        }
        self.disk.stop(DISK_PATIENCE);
    }

    fn is_stopped(&self, now: Instant) -> bool {
        self.stopping.is_some_and(|deadline| self.torrents.is_empty() || now >= deadline)
    }

    fn torrent_of(&mut self, info_hash: InfoHash) -> Option<&mut Torrent> {
        let key = self.by_hash.get(&info_hash)?;
        self.torrents.get_mut(key).map(Box::as_mut)
    }
}

impl Handler for Bt {
    type Data = Peer;

    fn incoming(&mut self, net: &mut Net<Peer>, addr: SocketAddr) -> Option<Peer> {
        let welcome = self.stopping.is_none() && self.admit(net, addr);
        if !welcome {
            debug!("refused the connection of {addr}: there are {} already", net.len());
        }
        welcome.then(Peer::incoming)
    }

    fn event(&mut self, net: &mut Net<Peer>, key: PeerKey, event: peer::Event<'_>) {
        self.peer_event(net, key, event);
    }

    fn burst_end(&mut self, net: &mut Net<Peer>, key: PeerKey) {
        if let Some(torrent) = net.data(key).and_then(|peer| peer.torrent) {
            self.drain(net, torrent);
            self.expect(net, torrent, key);
        }
    }

    fn sent(&mut self, net: &mut Net<Peer>, key: PeerKey, _payload: usize) {
        let spent = net.take_spent();
        self.release(spent);
        self.pump_uploads(net, key);
        self.populate_waiting(net);
    }

    fn closed(&mut self, net: &mut Net<Peer>, key: PeerKey, addr: SocketAddr, data: Peer, why: CloseCause) {
        self.peer_closed(net, key, addr, &data, &why);
        self.settle_memory(net);
    }

    fn woken(&mut self, net: &mut Net<Peer>) {
        self.inbox.rearm();
        let more_answers = self.disk_answers(net);
        self.settle_memory(net);
        for _ in 0..MESSAGES_PER_TURN {
            let Some(event) = self.inbox.try_recv() else { break };
            self.command(net, event);
        }
        if more_answers || self.inbox.has_messages() {
            net.call_again();
        }
    }

    fn timer(&mut self, net: &mut Net<Peer>, id: u64) {
        self.deadline(net, id);
        self.settle_memory(net);
    }

    /// What disk threads say of received pieces can wait until more of the same torrent has come. Not so while others are
    /// brought into memory, for which peers wait.
    fn awaits_input(&self) -> bool {
        let engine = || self.torrents.get(self.receiving.as_ref()?)?.engine();
        self.verifying > 0 && self.populating.is_empty() && engine().is_some_and(|engine| engine.awaits_blocks())
    }
}

#[cfg(test)]
mod tests;
