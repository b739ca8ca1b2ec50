//! Poll, dispatch, wake-ups: one turn of the loop at a time.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event as Readiness;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};

use super::conn::{CloseCause, Conn, Partial, Phase};
use super::listener::{self, Accepted};
use super::net::{HandedOut, Net};
use super::pause::Pause;
use super::timers::Deadline;
use super::wake::{Call, Sleep, Wake};
use crate::proto::peer::Event;
use crate::types::{Memory, MemoryClass, PeerKey};

/// Token of the waker.
const WAKER: Token = Token(usize::MAX);
/// Tokens of listeners count down from here; those of connections are slab slots and count up.
const FIRST_LISTENER: usize = usize::MAX - 1;
/// Listeners that can be told apart from connections.
const MAX_LISTENERS: usize = 64;

/// Bytes read from one connection before the others get their turn.
const READ_BUDGET: usize = 1024 * 1024;
/// Messages of one connection handed out before the others get their turn: small ones cost far more than their bytes,
/// and what follows from them is carried out only after the last. Some milliseconds' worth; 64 MiB of blocks.
const MESSAGE_BUDGET: usize = 4096;
/// Bytes read from all connections together in one turn; whose turn does not come is read in the next one. Some
/// milliseconds' worth.
const TURN_READ_BUDGET: usize = 4 * 1024 * 1024;
/// A message counts as so many bytes of it, beside its own: what follows from a small one takes as long as to read so
/// much. So it is four floods of them per turn.
const MESSAGE_COST: usize = 256;
/// Payload bytes written to all connections together in one turn, roughly: what the kernel takes of a connection at once
/// is written. Some milliseconds' worth.
const TURN_WRITE_BUDGET: usize = 8 * 1024 * 1024;
/// Memory for the beginning of a message that a connection keeps between bursts. A block fits.
const KEPT_PARTIAL: usize = 32 * 1024;
/// Size of the scratch buffer that all connections read into.
const SCRATCH: usize = 256 * 1024;
/// What it grows to while a read fills it and memory is plenty: a whole budget in one system call. Measured: beyond that
/// nothing is saved, and half as much means a quarter more calls.
const MAX_SCRATCH: usize = READ_BUDGET;
/// Room for messages beyond which memory is plenty, in bytes.
const PLENTY: u64 = 8 * 1024 * 1024;
/// Connections taken from one listener per turn.
const ACCEPT_BUDGET: usize = 64;

/// Decides what the reactor's connections do. Called on the reactor's thread; must never wait for anything.
pub trait Handler {
    /// What is kept with each connection.
    type Data;

    /// Somebody connected. `None` closes the connection at once.
    fn incoming(&mut self, net: &mut Net<Self::Data>, addr: SocketAddr) -> Option<Self::Data>;
    /// A message came.
    fn event(&mut self, net: &mut Net<Self::Data>, key: PeerKey, event: Event<'_>);
    /// All that was there to read from this connection has been handed out: the time to ask for more.
    fn burst_end(&mut self, net: &mut Net<Self::Data>, key: PeerKey);
    /// So many payload bytes left for this peer: there is room for more.
    fn sent(&mut self, net: &mut Net<Self::Data>, key: PeerKey, payload: usize);
    /// The connection is gone, not by [`Net::close`].
    fn closed(&mut self, net: &mut Net<Self::Data>, key: PeerKey, peer: SocketAddr, data: Self::Data, why: CloseCause);
    /// Another thread called the wake hook.
    fn woken(&mut self, net: &mut Net<Self::Data>);
    /// A deadline set with [`Net::arm`] has passed.
    fn timer(&mut self, net: &mut Net<Self::Data>, id: u64);
    /// True if connections will be read again soon, and calls of [`Reactor::lenient_wake_hook`] may wait for that. Asked
    /// before each wait.
    fn awaits_input(&self) -> bool {
        false
    }
}

/// The loop: a poll, the listeners and the connections.
pub struct Reactor<T> {
    poll: Poll,
    events: Events,
    wake: Arc<Wake>,
    listeners: Vec<TcpListener>,
    /// Listeners that used their accept budget up.
    crowded: Vec<usize>,
    scratch: Vec<u8>,
    /// What is left of the turn's read budget.
    to_read: usize,
    /// The last wait was a doze, and nothing came.
    overslept: bool,
    net: Net<T>,
}

/// What became of the input that an earlier turn has left.
enum Resumed {
    /// So many bytes of it are at the front of the scratch buffer, and the socket may be read.
    ReadOn(usize),
    /// The budget is used up, or the peer has to wait: it stays where it is.
    Stop,
    /// The handler closed the connection.
    Gone,
}

impl<T> Reactor<T> {
    /// A loop without listeners and connections, whose memory has no limit.
    ///
    /// # Errors
    /// If the system has no file descriptors left.
    pub fn new() -> io::Result<Self> {
        Self::with_memory(Memory::new(u64::MAX))
    }

    /// A loop whose connections share this account of memory with its handler.
    ///
    /// # Errors
    /// If the system has no file descriptors left.
    #[expect(clippy::disallowed_methods, reason = "the reactor is where the clock is read")]
    pub fn with_memory(mut memory: Memory) -> io::Result<Self> {
        memory.resize(MemoryClass::Incoming, 0, SCRATCH);
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let registry = poll.registry().try_clone()?;
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            wake: Arc::new(Wake::new(waker)),
            listeners: Vec::new(),
            crowded: Vec::new(),
            scratch: vec![0; SCRATCH],
            to_read: TURN_READ_BUDGET,
            overslept: false,
            net: Net::new(registry, Instant::now(), memory),
        })
    }

    /// How long connections wait for memory before those that hold most of it are closed.
    pub const fn set_memory_patience(&mut self, patience: Duration) {
        self.net.starved.patience = patience;
    }

    /// A function for other threads that makes the loop call [`Handler::woken`] at once. Several calls may lead to one.
    #[must_use]
    pub fn wake_hook(&self) -> Arc<dyn Fn() + Send + Sync> {
        self.hook(Call::Now)
    }

    /// The same, but a call may wait for the next input, or some
    /// milliseconds, while [`Handler::awaits_input`] allows that.
    #[must_use]
    pub fn lenient_wake_hook(&self) -> Arc<dyn Fn() + Send + Sync> {
        self.hook(Call::Soon)
    }

    fn hook(&self, call: Call) -> Arc<dyn Fn() + Send + Sync> {
        let wake = Arc::clone(&self.wake);
        Arc::new(move || wake.call(call))
    }

    /// Listens on this address and says which port it got.
    ///
    /// # Errors
    /// If the port is taken, privileged, or the address is not this machine's.
    pub fn listen(&mut self, addr: SocketAddr) -> io::Result<SocketAddr> {
        if self.listeners.len() >= MAX_LISTENERS {
            return Err(io::Error::other("too many listening addresses"));
        }
        let mut listener = listener::listen(addr)?;
        let token = Token(FIRST_LISTENER - self.listeners.len());
        self.poll.registry().register(&mut listener, token, Interest::READABLE)?;
        let local = listener.local_addr()?;
        self.listeners.push(listener);
        Ok(local)
    }

    /// Stops listening. Connections stay.
    pub fn stop_listening(&mut self) {
        self.crowded.clear();
        for mut listener in self.listeners.drain(..) {
            let _ = self.poll.registry().deregister(&mut listener);
        }
    }

    /// The connections.
    pub fn net(&mut self) -> &mut Net<T> {
        &mut self.net
    }

    /// Waits for something to happen, at most until the next deadline, and handles all that did.
    ///
    /// # Errors
    /// If polling itself fails; there is nothing to go on with then.
    #[expect(clippy::disallowed_methods, reason = "the reactor is where the clock is read")]
    pub fn turn<H: Handler<Data = T>>(&mut self, handler: &mut H) -> io::Result<()> {
        let pause = self.pause(handler);
        let called = pause.sleep != Sleep::Awake && !self.wake.fall_asleep(pause.sleep);
        let polled = self.poll.poll(&mut self.events, if called { Some(Duration::ZERO) } else { pause.limit });
        self.wake.awake();
        self.overslept = pause.sleep == Sleep::Doze && !called && self.events.is_empty();
        match polled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            other => other?,
        }
        let now = Instant::now();
        self.net.turns.end(now);
        self.net.turns.begin(now);
        self.net.now = now;
        self.to_read = TURN_READ_BUDGET;
        let again = std::mem::take(&mut self.net.again);
        // Taken before the events, which add to it for the next turn.
        let crowded = std::mem::take(&mut self.crowded);
        // Taken out so that the handler may use the rest of the reactor; put back below.
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            match event.token() {
                WAKER => {} // Had nothing to do but end the wait.
                Token(n) if n > FIRST_LISTENER - MAX_LISTENERS => self.accept(handler, FIRST_LISTENER - n),
                Token(slot) => self.connection_ready(handler, slot, event),
            }
        }
        self.events = events;
        self.read_ready(handler);
        for index in crowded {
            self.accept(handler, index);
        }
        // Cleared before the handler looks: what comes while it does counts for the next turn.
        if self.wake.take_call() || again {
            handler.woken(&mut self.net);
        }
        self.fire(handler);
        self.flush(handler);
        self.net.feed_starved();
        Ok(())
    }

    /// Reads those who have waited for this turn, and then those that an event announced, each once. Who has to wait on
    /// stays before those that only begin to.
    fn read_ready<H: Handler<Data = T>>(&mut self, handler: &mut H) {
        let mut waiting = std::mem::take(&mut self.net.ready).into_iter();
        while self.to_read > 0
            && let Some(key) = waiting.next()
        {
            if let Some(conn) = self.net.conn_mut(key) {
                conn.ready = false;
                self.read(handler, key);
            }
        }
        let later = std::mem::take(&mut self.net.ready);
        self.net.ready = waiting.chain(later).collect();
    }

    fn pause<H: Handler<Data = T>>(&mut self, handler: &H) -> Pause {
        if self.net.again || !self.net.ready.is_empty() || !self.net.dirty.is_empty() || !self.crowded.is_empty() {
            return Pause::NONE;
        }
        #[expect(clippy::disallowed_methods, reason = "the reactor is where the clock is read")]
        let now = Instant::now();
        self.net.turns.end(now);
        let limit = self.net.timers.next().map(|at| at.saturating_duration_since(now));
        Pause::new(limit, !self.overslept && handler.awaits_input())
    }

    fn connection_ready<H: Handler<Data = T>>(&mut self, handler: &mut H, slot: usize, event: &Readiness) {
        let key = self.net.key_of(slot);
        let Some(conn) = self.net.conn_mut(key) else { return };
        let mut writable = event.is_writable();
        if matches!(conn.phase, Phase::Connecting { .. }) {
            match conn.finish_connect() {
                Ok(false) => return,
                Ok(true) => {
                    // What waited for the connection is sent, whichever event told of it.
                    writable = true;
                    if let Err(error) = self.net.watch(key, false) {
                        return self.lose(handler, key, CloseCause::Io(error));
                    }
                }
                Err(why) => return self.lose(handler, key, why),
            }
        }
        let Some(conn) = self.net.conn_mut(key) else { return };
        // The end came in the same event as the last bytes: it will not be announced again.
        conn.ending |= event.is_read_closed() || event.is_error();
        if writable {
            conn.writable = true;
            if !conn.dirty && !conn.out.is_empty() {
                conn.dirty = true;
                self.net.dirty.push(key);
            }
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read_later(key); // Still in this turn, if its budget allows.
        }
        self.net.rearm(key);
    }

    /// Reads one connection until it has no more or its budget is used up, and hands every message out.
    fn read<H: Handler<Data = T>>(&mut self, handler: &mut H, key: PeerKey) {
        if self.to_read == 0 {
            return self.read_later(key);
        }
        let mut messages = MESSAGE_BUDGET;
        self.read_some(handler, key, &mut messages);
        self.to_read = self.to_read.saturating_sub((MESSAGE_BUDGET - messages) * MESSAGE_COST);
    }

    fn read_some<H: Handler<Data = T>>(&mut self, handler: &mut H, key: PeerKey, messages: &mut usize) {
        let mut filled = match self.resume(handler, key, messages) {
            Ok(Resumed::ReadOn(filled)) => filled,
            Ok(Resumed::Stop) => return self.end_burst(handler, key, 0, (0, None)),
            Ok(Resumed::Gone) => return,
            Err(why) => return self.lose(handler, key, why),
        };
        let Some(mut allowance) = self.net.read_allowance(key, filled) else {
            return self.end_burst(handler, key, filled, (0, None));
        };
        let mut budget = READ_BUDGET;
        let (mut read, mut ended) = (0, None);
        loop {
            let tight = self.net.is_tight();
            let Some(conn) = self.net.conn_mut(key) else { return };
            if !conn.takes_input(tight) {
                conn.held = true; // Read on when `flush` finds that it does again.
                break;
            }
            let room = self.scratch.get_mut(filled..).unwrap_or_default();
            let wanted = room.len().min(allowance);
            let room = room.get_mut(..wanted).unwrap_or_default();
            match conn.stream.read(room) {
                Ok(0) => ended = Some(CloseCause::Eof),
                Ok(n) => {
                    filled += n;
                    read += n;
                    budget = budget.saturating_sub(n);
                    self.to_read = self.to_read.saturating_sub(n);
                    allowance = allowance.saturating_sub(n);
                    match self.hand_out_scratch(handler, key, &mut filled, messages) {
                        Ok(true) => {}
                        Ok(false) => return,
                        Err(why) => ended = Some(why),
                    }
                    // A short read has emptied the socket: the next byte or the end brings a new event (epoll(7)).
                    let more = n == wanted || *messages == 0 || self.net.conn(key).is_some_and(|conn| conn.ending);
                    if n == wanted {
                        self.widen_scratch();
                    }
                    if ended.is_none() && more && budget > 0 && allowance > 0 && *messages > 0 {
                        continue;
                    }
                    if ended.is_none() && more {
                        self.read_later(key);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => ended = Some(CloseCause::Io(error)),
            }
            break;
        }
        self.end_burst(handler, key, filled, (read, ended));
    }

    /// Begins with what an earlier turn has left: whole messages are handed out from where they lie, and the rest goes to
    /// the front of the scratch buffer.
    fn resume<H: Handler<Data = T>>(
        &mut self,
        handler: &mut H,
        key: PeerKey,
        messages: &mut usize,
    ) -> Result<Resumed, CloseCause> {
        let Some(conn) = self.net.conn_mut(key) else { return Ok(Resumed::Gone) };
        conn.held = false;
        let Partial { mut bytes, mut parsed } = std::mem::take(&mut conn.partial);
        let left = bytes.get(parsed..).filter(|left| !left.is_empty());
        let out = match left.map(|left| self.net.hand_out(handler, key, left, messages)).transpose()? {
            Some(None) => return Ok(Resumed::Gone),
            Some(Some(out)) => out,
            None => HandedOut::default(),
        };
        parsed += out.consumed;
        let Some(conn) = self.net.conn_mut(key) else { return Ok(Resumed::Gone) };
        if *messages == 0 || conn.held {
            conn.partial = Partial { bytes, parsed };
            if *messages == 0 {
                self.read_later(key);
            }
            return Ok(Resumed::Stop);
        }
        let left = bytes.get(parsed..).unwrap_or_default();
        let filled = left.len();
        // The session has checked the length of the message against its limit.
        let room = out.need.max(filled) + SCRATCH / 2;
        self.enlarge_scratch(room);
        if let Some(front) = self.scratch.get_mut(..filled) {
            front.copy_from_slice(left);
        }
        if bytes.capacity() <= KEPT_PARTIAL
            && !self.net.is_tight()
            && let Some(conn) = self.net.conn_mut(key)
        {
            bytes.clear();
            conn.partial.bytes = bytes;
        }
        Ok(Resumed::ReadOn(filled))
    }

    /// Keeps what is left of the input and tells the handler that the burst is over.
    fn end_burst<H: Handler<Data = T>>(
        &mut self,
        handler: &mut H,
        key: PeerKey,
        filled: usize,
        (read, ended): (usize, Option<CloseCause>),
    ) {
        if let Some(why) = ended {
            return self.lose(handler, key, why);
        }
        if let Some(conn) = self.net.conn_mut(key) {
            conn.partial.bytes.extend_from_slice(self.scratch.get(..filled).unwrap_or_default());
            self.net.recount(key);
            handler.burst_end(&mut self.net, key);
            if self.net.pace(key, read) {
                self.read_later(key);
            }
        }
        self.narrow_scratch();
        // A listening peer's time-outs moved later, which the heap finds out by itself; only a session that was just
        // accepted may have an earlier one.
        self.net.rearm(key);
    }

    /// Hands out the messages in the first `filled` bytes of the scratch buffer and moves the rest to its front.
    /// `Ok(false)`: the handler closed the connection.
    fn hand_out_scratch<H: Handler<Data = T>>(
        &mut self,
        handler: &mut H,
        key: PeerKey,
        filled: &mut usize,
        messages: &mut usize,
    ) -> Result<bool, CloseCause> {
        let input = self.scratch.get(..*filled).unwrap_or_default();
        let Some(HandedOut { consumed, need }) = self.net.hand_out(handler, key, input, messages)? else {
            return Ok(false);
        };
        if consumed > 0 {
            self.scratch.copy_within(consumed..*filled, 0);
            *filled -= consumed;
        }
        // The session has checked the length against its limit.
        if self.scratch.len() < need {
            self.enlarge_scratch(need + SCRATCH / 2);
        }
        Ok(true)
    }

    fn enlarge_scratch(&mut self, len: usize) {
        let before = self.scratch.len();
        if before < len {
            self.scratch.resize(len, 0);
            self.net.memory.resize(MemoryClass::Incoming, before, len);
        }
    }

    /// There was more to read than fits.
    fn widen_scratch(&mut self) {
        let len = self.scratch.len().saturating_mul(2).min(MAX_SCRATCH);
        if self.net.memory.room_for_messages() >= PLENTY {
            self.enlarge_scratch(len);
        }
    }

    /// Gives back what the scratch buffer has grown by, if memory is scarce. Only while nothing is in it.
    fn narrow_scratch(&mut self) {
        let before = self.scratch.len();
        if before > SCRATCH && self.net.is_tight() {
            self.scratch.truncate(SCRATCH);
            self.scratch.shrink_to_fit();
            self.net.memory.resize(MemoryClass::Incoming, before, SCRATCH);
        }
    }

    fn read_later(&mut self, key: PeerKey) {
        if let Some(conn) = self.net.conn_mut(key)
            && !conn.ready
        {
            conn.ready = true;
            self.net.ready.push(key);
        }
    }

    fn lose<H: Handler<Data = T>>(&mut self, handler: &mut H, key: PeerKey, why: CloseCause) {
        if let Some(Conn { addr, data, out, .. }) = self.net.remove(key) {
            // Before the handler looks who needs the windows that it holds.
            drop(out);
            handler.closed(&mut self.net, key, addr, data, why);
        }
    }

    fn accept<H: Handler<Data = T>>(&mut self, handler: &mut H, index: usize) {
        for _ in 0..ACCEPT_BUDGET {
            let Some(listener) = self.listeners.get(index) else { return };
            match listener::accept(listener) {
                Accepted::Peer(stream, addr) => {
                    let Some(data) = handler.incoming(&mut self.net, addr) else { continue };
                    if let Err(error) = self.net.adopt(stream, addr, data) {
                        log::warn!("cannot take the connection of {addr}: {error}");
                    }
                }
                Accepted::Empty => return,
                Accepted::Exhausted(error) => {
                    log::warn!("cannot accept connections, trying again in {:?}: {error}", listener::PAUSE);
                    return self.net.timers.arm(self.net.now + listener::PAUSE, Deadline::Listener(index));
                }
            }
        }
        // More may wait, and the edge is used up: the next turn goes on.
        self.crowded.push(index);
    }

    fn fire<H: Handler<Data = T>>(&mut self, handler: &mut H) {
        // Bounded, so that deadlines that arm themselves at once cannot hold the loop.
        for _ in 0..1024 {
            let Some((at, deadline)) = self.net.timers.pop_due(self.net.now) else { return };
            match deadline {
                Deadline::Handler(id) => handler.timer(&mut self.net, id),
                Deadline::Listener(index) => self.accept(handler, index),
                Deadline::Peer(key) => {
                    if let Err(why) = self.net.peer_deadline(key, at) {
                        self.lose(handler, key, why);
                    }
                }
                Deadline::Portions => {
                    for key in self.net.paused() {
                        self.read_later(key);
                    }
                }
                Deadline::Starved => {
                    for key in self.net.greediest() {
                        self.lose(handler, key, CloseCause::Memory);
                    }
                }
            }
        }
    }

    /// Writes to every connection that has something to write, once. What is left, and what the handler adds, leaves in
    /// the next turn, which looks first what has come: requests that are seen while blocks are leaving find their pieces
    /// in memory in time.
    fn flush<H: Handler<Data = T>>(&mut self, handler: &mut H) {
        let mut written = 0;
        let mut waiting = std::mem::take(&mut self.net.dirty).into_iter();
        while written < TURN_WRITE_BUDGET
            && let Some(key) = waiting.next()
        {
            let tight = self.net.is_tight();
            let Net { conns, spent, generations, .. } = &mut self.net;
            let Some(conn) = conns.get_mut(key.slot as usize) else { continue };
            if generations.get(key.slot as usize) != Some(&key.generation) {
                continue;
            }
            let mut flushed = conn.flush(spent);
            conn.dirty = conn.wants_write();
            let blocked = !conn.writable;
            let again = conn.held && conn.takes_input(tight);
            if tight {
                conn.out.shrink();
            }
            if conn.dirty {
                self.net.dirty.push(key);
            }
            self.net.recount(key);
            if blocked && let Err(error) = self.net.watch(key, true) {
                flushed = Err(CloseCause::Io(error));
            }
            match flushed {
                Ok(payload) => {
                    if again {
                        self.read_later(key);
                    }
                    written += payload;
                    if payload > 0 {
                        handler.sent(&mut self.net, key, payload);
                    }
                }
                Err(why) => self.lose(handler, key, why),
            }
        }
        // Whose turn did not come is first in the next one.
        let later = std::mem::take(&mut self.net.dirty);
        self.net.dirty = waiting.chain(later).collect();
    }
}

#[cfg(test)]
mod tests;
