//! What a [`Handler`](super::Handler) may do with the connections: open, send, close, set deadlines.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use slab::Slab;

use super::Handler;
use super::conn::{CloseCause, Conn, Counted, Partial, Phase};
use super::out_queue::OutQueue;
use super::portions::Portions;
use super::starved::Starved;
use super::timers::{Deadline, Timers};
use super::turns::{TurnStats, Turns};
use crate::proto::peer::{Command, Event, Session, SessionOptions, Step, WireError};
use crate::storage::ReadWindow;
use crate::types::{Block, Geometry, InfoHash, Memory, PeerKey};

/// How long a connection may take to be made. Taste: a SYN is sent again after 1, 3 and 7 seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What was found in some input.
#[derive(Default)]
pub(super) struct HandedOut {
    /// Bytes of the messages that were handed out.
    pub(super) consumed: usize,
    /// Bytes of the message that comes next, if it is not whole yet.
    pub(super) need: usize,
}

/// The reactor's connections, as its handler sees them. `T` is what the handler keeps with each.
pub struct Net<T> {
    pub(super) conns: Slab<Conn<T>>,
    /// How often each slot was used.
    pub(super) generations: Vec<u32>,
    /// Connections there have been.
    opened: u64,
    pub(super) registry: Registry,
    pub(super) timers: Timers,
    pub(super) now: Instant,
    /// Connections with something to write.
    pub(super) dirty: Vec<PeerKey>,
    /// Connections that used their read budget up.
    pub(super) ready: Vec<PeerKey>,
    /// Windows that were sent and that nobody else holds.
    pub(super) spent: Vec<ReadWindow>,
    /// [`Net::call_again`] was called.
    pub(super) again: bool,
    /// Connections whose input waits for memory.
    pub(super) starved: Starved,
    pub(super) portions: Portions,
    pub(super) memory: Memory,
    pub(super) turns: Turns,
}

impl<T> Net<T> {
    pub(super) fn new(registry: Registry, now: Instant, memory: Memory) -> Self {
        Self {
            conns: Slab::new(),
            generations: Vec::new(),
            opened: 0,
            registry,
            timers: Timers::default(),
            now,
            dirty: Vec::new(),
            ready: Vec::new(),
            spent: Vec::new(),
            again: false,
            starved: Starved::default(),
            portions: Portions::default(),
            memory,
            turns: Turns::new(now),
        }
    }

    /// The handler has more to do than one turn should take: [`Handler::woken`](super::Handler::woken) is called in the
    /// next one.
    pub fn call_again(&mut self) {
        self.again = true;
    }

    /// The account of memory: connections count their part, the handler counts its own.
    pub fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// How long the turns of the loop took, but for the present one.
    pub fn turns(&mut self) -> TurnStats {
        self.turns.stats(self.now)
    }

    /// The time at which this turn of the loop began.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Number of connections, half-open ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    /// True if there is no connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    /// Begins to connect. What becomes of it arrives as an event or as a close.
    ///
    /// # Errors
    /// If the system refuses at once, for instance for want of a route or of file descriptors.
    pub fn connect(
        &mut self,
        addr: SocketAddr,
        info_hash: InfoHash,
        options: SessionOptions,
        data: T,
    ) -> io::Result<PeerKey> {
        let stream = TcpStream::connect(addr)?;
        let mut out = OutQueue::default();
        let session = out.append(|bytes| Session::initiator(self.now, info_hash, options, bytes));
        let phase = Phase::Connecting { until: self.now + CONNECT_TIMEOUT };
        self.insert(stream, addr, phase, session, out, data)
    }

    /// Takes an accepted connection in.
    pub(super) fn adopt(&mut self, stream: TcpStream, addr: SocketAddr, data: T) -> io::Result<PeerKey> {
        let session = Session::responder(self.now);
        self.insert(stream, addr, Phase::Open, session, OutQueue::default(), data)
    }

    fn insert(
        &mut self,
        mut stream: TcpStream,
        addr: SocketAddr,
        phase: Phase,
        session: Session,
        out: OutQueue,
        data: T,
    ) -> io::Result<PeerKey> {
        // Requests are small and wait for nothing; without this they would wait for the peer's acknowledgements.
        let _ = stream.set_nodelay(true);
        let entry = self.conns.vacant_entry();
        let slot = entry.key();
        // Edge-triggered: an interest costs nothing while nothing changes. But with both of them, data that is read as soon
        // as it is there ends the next wait, too, only to say that the socket is still writable.
        let connecting = phase != Phase::Open;
        self.registry.register(&mut stream, Token(slot), interest(connecting))?;
        self.opened += 1;
        entry.insert(Conn {
            stream,
            serial: self.opened,
            addr,
            incoming: phase == Phase::Open,
            phase,
            session,
            partial: Partial::default(),
            out,
            writable: !connecting,
            watched: connecting,
            dirty: false,
            ready: false,
            held: false,
            starved: false,
            counted: Counted::default(),
            expected: 0,
            ending: false,
            armed: None,
            data,
        });
        if self.generations.len() <= slot {
            self.generations.resize(slot + 1, 0);
        }
        let key = self.key_of(slot);
        self.rearm(key);
        Ok(key)
    }

    /// Whether an event is to tell that a connection can be written to. If it can already, that is told at once.
    pub(super) fn watch(&mut self, key: PeerKey, writable: bool) -> io::Result<()> {
        let Some(conn) = self.conns.get_mut(key.slot as usize).filter(|conn| conn.watched != writable) else {
            return Ok(());
        };
        conn.watched = writable;
        self.registry.reregister(&mut conn.stream, Token(key.slot as usize), interest(writable))
    }

    /// Hands out the messages at the front of `input`, at most `budget` of them, which is lowered by their number. `None`:
    /// the handler closed the connection.
    pub(super) fn hand_out<H: Handler<Data = T>>(
        &mut self,
        handler: &mut H,
        key: PeerKey,
        input: &[u8],
        budget: &mut usize,
    ) -> Result<Option<HandedOut>, CloseCause> {
        let mut out = HandedOut::default();
        let tight = self.is_tight();
        while *budget > 0 {
            let now = self.now;
            let Some(conn) = self.conn_mut(key) else { return Ok(None) };
            if !conn.takes_input(tight) {
                conn.held = true;
                break;
            }
            match conn.session.step(now, input.get(out.consumed..).unwrap_or_default())? {
                Step::NeedMore(need) => {
                    out.need = need;
                    break;
                }
                Step::Message { consumed, event } => {
                    out.consumed += consumed;
                    *budget -= 1;
                    let greeted = matches!(event, Event::Handshake(_));
                    handler.event(self, key, event);
                    if greeted {
                        self.flush_session(key);
                    }
                }
            }
        }
        Ok(self.conn(key).is_some().then_some(out))
    }

    /// Answers the handshake of an incoming connection.
    pub fn accept(&mut self, key: PeerKey, options: SessionOptions) {
        let now = self.now;
        self.with_out(key, |session, out| session.accept(now, options, out));
    }

    /// Queues a message. Nothing happens if the connection is gone.
    pub fn send(&mut self, key: PeerKey, command: &Command) {
        let now = self.now;
        self.with_out(key, |session, out| session.send(now, command, out));
    }

    /// Queues a block; its payload leaves straight from the window.
    pub fn send_block(&mut self, key: PeerKey, block: Block, window: ReadWindow) {
        self.send(key, &Command::Block(block));
        if let Some(conn) = self.conn_mut(key) {
            conn.out.append_payload(window, block.begin()..block.begin() + block.len());
        }
    }

    fn with_out<R>(&mut self, key: PeerKey, run: impl FnOnce(&mut Session, &mut Vec<u8>) -> R) -> Option<R> {
        let conn = self.conn_mut(key)?;
        let Conn { session, out, .. } = conn;
        let result = out.append(|bytes| run(session, bytes));
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(key);
        }
        Some(result)
    }

    /// Tells the session the torrent's size, learnt from its metadata. What the peer had announced before is handed to
    /// the caller.
    ///
    /// # Errors
    /// [`WireError`] if that does not fit the torrent; close the connection then.
    pub fn set_geometry(
        &mut self,
        key: PeerKey,
        geometry: Geometry,
        metadata_size: u32,
    ) -> Result<Vec<Event<'static>>, WireError> {
        let Some(conn) = self.conn_mut(key) else { return Ok(Vec::new()) };
        let events = conn.session.set_geometry(geometry, Some(metadata_size))?;
        self.flush_session(key);
        Ok(events)
    }

    /// Sends what the session wants to say by itself.
    pub(super) fn flush_session(&mut self, key: PeerKey) {
        let now = self.now;
        self.with_out(key, |session, out| session.flush(now, out));
    }

    /// Closes the connection. The handler is not told again.
    pub fn close(&mut self, key: PeerKey) -> Option<T> {
        self.remove(key).map(|conn| conn.data)
    }

    pub(super) fn remove(&mut self, key: PeerKey) -> Option<Conn<T>> {
        self.conn_mut(key)?;
        let mut conn = self.conns.try_remove(key.slot as usize)?;
        let _ = self.registry.deregister(&mut conn.stream);
        self.discount(conn.counted);
        if let Some(generation) = self.generations.get_mut(key.slot as usize) {
            *generation = generation.wrapping_add(1);
        }
        Some(conn)
    }

    /// What the handler keeps with the connection. `None` if it is gone.
    #[must_use]
    pub fn data(&mut self, key: PeerKey) -> Option<&mut T> {
        self.conn_mut(key).map(|conn| &mut conn.data)
    }

    /// The addresses of all connections.
    pub fn addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.conns.iter().map(|(_, conn)| conn.addr)
    }

    /// The incoming connection that has been waited for longest without a whole handshake, of those whose address is
    /// meant.
    #[must_use]
    pub fn longest_silent(&self, is_meant: impl Fn(SocketAddr) -> bool) -> Option<PeerKey> {
        let silent = self.conns.iter().filter(|(_, conn)| conn.incoming && conn.session.peer_id().is_none());
        let meant = silent.filter(|(_, conn)| is_meant(conn.addr));
        meant.min_by_key(|(_, conn)| conn.serial).map(|(slot, _)| self.key_of(slot))
    }

    /// The peer's address.
    #[must_use]
    pub fn addr(&self, key: PeerKey) -> Option<SocketAddr> {
        self.conn(key).map(|conn| conn.addr)
    }

    /// True if the peer connected to us.
    #[must_use]
    pub fn is_incoming(&self, key: PeerKey) -> bool {
        self.conn(key).is_some_and(|conn| conn.incoming)
    }

    /// The local address of the connection, once it is open.
    #[must_use]
    pub fn local_addr(&self, key: PeerKey) -> Option<SocketAddr> {
        self.conn(key).and_then(|conn| conn.stream.local_addr().ok())
    }

    /// The session, to ask for features and ids.
    #[must_use]
    pub fn session(&self, key: PeerKey) -> Option<&Session> {
        self.conn(key).map(|conn| &conn.session)
    }

    /// Windows whose last block has left and that nobody else holds, to be dropped where that may take its time.
    pub fn take_spent(&mut self) -> Vec<ReadWindow> {
        std::mem::take(&mut self.spent)
    }

    /// Payload bytes that wait to be sent to this peer.
    #[must_use]
    pub fn queued_payload(&self, key: PeerKey) -> usize {
        self.conn(key).map_or(0, |conn| conn.out.payload())
    }

    /// Keys of all connections.
    #[must_use]
    pub fn keys(&self) -> Vec<PeerKey> {
        self.conns.iter().map(|(slot, _)| self.key_of(slot)).collect()
    }

    /// Calls [`Handler::timer`](super::Handler::timer) with `id` at `at` or soon after. A deadline cannot be taken
    /// back: the handler ignores one that no longer matters.
    pub fn arm(&mut self, id: u64, at: Instant) {
        self.timers.arm(at, Deadline::Handler(id));
    }

    pub(super) fn conn(&self, key: PeerKey) -> Option<&Conn<T>> {
        (self.generations.get(key.slot as usize) == Some(&key.generation)).then_some(())?;
        self.conns.get(key.slot as usize)
    }

    pub(super) fn conn_mut(&mut self, key: PeerKey) -> Option<&mut Conn<T>> {
        (self.generations.get(key.slot as usize) == Some(&key.generation)).then_some(())?;
        self.conns.get_mut(key.slot as usize)
    }

    pub(super) fn key_of(&self, slot: usize) -> PeerKey {
        let generation = self.generations.get(slot).copied().unwrap_or(0);
        // Slots are bounded by the number of file descriptors.
        PeerKey { slot: u32::try_from(slot).unwrap_or(u32::MAX), generation }
    }

    /// Puts the connection's next deadline into the heap unless an earlier one stands there.
    pub(super) fn rearm(&mut self, key: PeerKey) {
        let Some(conn) = self.conn_mut(key) else { return };
        let at = conn.deadline();
        if conn.armed.is_none_or(|armed| at < armed) {
            conn.armed = Some(at);
            self.timers.arm(at, Deadline::Peer(key));
        }
    }

    /// A connection's deadline in the heap has come.
    pub(super) fn peer_deadline(&mut self, key: PeerKey, fired: Instant) -> Result<(), CloseCause> {
        let now = self.now;
        let Some(conn) = self.conn_mut(key) else { return Ok(()) };
        if conn.armed != Some(fired) {
            return Ok(());
        }
        conn.armed = None;
        if conn.deadline() <= now {
            if matches!(conn.phase, Phase::Connecting { .. }) {
                return Err(CloseCause::Connect(io::ErrorKind::TimedOut.into()));
            }
            self.with_out(key, |session, out| session.handle_timeout(now, out)).unwrap_or(Ok(()))?;
            if let Some(conn) = self.conn_mut(key) {
                conn.out.shrink();
                conn.partial.bytes.shrink_to_fit();
            }
            self.recount(key);
        }
        self.rearm(key);
        Ok(())
    }
}

const fn interest(writable: bool) -> Interest {
    if writable { Interest::READABLE.add(Interest::WRITABLE) } else { Interest::READABLE }
}
