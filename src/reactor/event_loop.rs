//! Poll, dispatch, wake-ups: one turn of the loop at a time.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::event::Event as Readiness;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};

use super::conn::{CloseCause, Phase};
use super::listener::{self, Accepted};
use super::net::Net;
use super::timers::Deadline;
use crate::proto::peer::{Event, Step};
use crate::types::PeerKey;

/// Token of the waker.
const WAKER: Token = Token(usize::MAX);
/// Tokens of listeners count down from here; those of connections are slab slots and count up.
const FIRST_LISTENER: usize = usize::MAX - 1;
/// Listeners that can be told apart from connections.
const MAX_LISTENERS: usize = 64;

/// Bytes read from one connection before the others get their turn.
const READ_BUDGET: usize = 1024 * 1024;
/// Size of the scratch buffer that all connections read into.
const SCRATCH: usize = 256 * 1024;
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
}

/// The loop: a poll, the listeners and the connections.
pub struct Reactor<T> {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    /// The wake hook was called and the handler has not been told yet.
    woken: Arc<AtomicBool>,
    listeners: Vec<TcpListener>,
    /// Listeners that used their accept budget up.
    crowded: Vec<usize>,
    scratch: Vec<u8>,
    net: Net<T>,
}

impl<T> Reactor<T> {
    /// A loop without listeners and connections.
    ///
    /// # Errors
    /// If the system has no file descriptors left.
    #[expect(clippy::disallowed_methods, reason = "the reactor is where the clock is read")]
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let registry = poll.registry().try_clone()?;
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            waker,
            woken: Arc::default(),
            listeners: Vec::new(),
            crowded: Vec::new(),
            scratch: vec![0; SCRATCH],
            net: Net::new(registry, Instant::now()),
        })
    }

    /// A function for other threads that makes the loop call [`Handler::woken`] soon. Several calls may lead to one.
    #[must_use]
    pub fn wake_hook(&self) -> Arc<dyn Fn() + Send + Sync> {
        let (waker, woken) = (Arc::clone(&self.waker), Arc::clone(&self.woken));
        Arc::new(move || {
            // Only the first of several calls costs a system call.
            if woken.swap(true, Ordering::AcqRel) {
                return;
            }
            if let Err(error) = waker.wake() {
                log::error!("cannot wake the reactor: {error}");
            }
        })
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
        let wait = self.wait();
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            other => other?,
        }
        self.net.now = Instant::now();
        let mut woken = false;
        // Taken before the events, which add to it for the next turn.
        let crowded = std::mem::take(&mut self.crowded);
        // Taken out so that the handler may use the rest of the reactor; put back below.
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            match event.token() {
                WAKER => woken = true,
                Token(n) if n > FIRST_LISTENER - MAX_LISTENERS => self.accept(handler, FIRST_LISTENER - n),
                Token(slot) => self.connection_ready(handler, slot, event),
            }
        }
        self.events = events;
        for index in crowded {
            self.accept(handler, index);
        }
        for key in std::mem::take(&mut self.net.ready) {
            if let Some(conn) = self.net.conn_mut(key) {
                conn.ready = false;
                self.read(handler, key);
            }
        }
        if woken {
            // Cleared before the handler looks: what comes while it does wakes again.
            self.woken.store(false, Ordering::Release);
            handler.woken(&mut self.net);
        }
        self.fire(handler);
        self.flush(handler);
        Ok(())
    }

    fn wait(&self) -> Option<Duration> {
        if !self.net.ready.is_empty() || !self.net.dirty.is_empty() || !self.crowded.is_empty() {
            return Some(Duration::ZERO);
        }
        #[expect(clippy::disallowed_methods, reason = "the reactor is where the clock is read")]
        let now = Instant::now();
        self.net.timers.next().map(|at| at.saturating_duration_since(now))
    }

    fn connection_ready<H: Handler<Data = T>>(&mut self, handler: &mut H, slot: usize, event: &Readiness) {
        let key = self.net.key_of(slot);
        let Some(conn) = self.net.conn_mut(key) else { return };
        if matches!(conn.phase, Phase::Connecting { .. }) {
            match conn.finish_connect() {
                Ok(false) => return,
                Ok(true) => {}
                Err(why) => return self.lose(handler, key, why),
            }
        }
        // The end came in the same event as the last bytes: it will not be announced again.
        conn.ending |= event.is_read_closed() || event.is_error();
        if event.is_writable() {
            conn.writable = true;
            if !conn.dirty && !conn.out.is_empty() {
                conn.dirty = true;
                self.net.dirty.push(key);
            }
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(handler, key);
        }
        self.net.rearm(key);
    }

    /// Reads one connection until it has no more or its budget is used up, and hands every message out.
    fn read<H: Handler<Data = T>>(&mut self, handler: &mut H, key: PeerKey) {
        let Some(conn) = self.net.conn_mut(key) else { return };
        let mut filled = conn.partial.len();
        if self.scratch.len() < filled + SCRATCH / 2 {
            self.scratch.resize(filled + SCRATCH, 0);
        }
        if let Some(front) = self.scratch.get_mut(..filled) {
            front.copy_from_slice(&conn.partial);
        }
        conn.partial.clear();
        let mut budget = READ_BUDGET;
        let mut ended = None;
        if std::mem::take(&mut conn.held) {
            match self.hand_out(handler, key, &mut filled) {
                Ok(true) => {}
                Ok(false) => return,
                Err(why) => return self.lose(handler, key, why),
            }
        }
        loop {
            let Some(conn) = self.net.conn_mut(key) else { return };
            if !conn.takes_input() {
                conn.held = true; // Read on when `flush` finds that it does again.
                break;
            }
            let room = self.scratch.get_mut(filled..).unwrap_or_default();
            let wanted = room.len();
            match conn.stream.read(room) {
                Ok(0) => ended = Some(CloseCause::Eof),
                Ok(n) => {
                    filled += n;
                    budget = budget.saturating_sub(n);
                    match self.hand_out(handler, key, &mut filled) {
                        Ok(true) => {}
                        Ok(false) => return,
                        Err(why) => ended = Some(why),
                    }
                    // A short read has emptied the socket: the next byte or the end brings a new event (epoll(7)).
                    let more = n == wanted || self.net.conn(key).is_some_and(|conn| conn.ending);
                    if ended.is_none() && more && budget > 0 {
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
        self.end_burst(handler, key, filled, ended);
    }

    /// Keeps what is left of a partial message and tells the handler that the burst is over.
    fn end_burst<H: Handler<Data = T>>(
        &mut self,
        handler: &mut H,
        key: PeerKey,
        filled: usize,
        ended: Option<CloseCause>,
    ) {
        if let Some(why) = ended {
            return self.lose(handler, key, why);
        }
        if let Some(conn) = self.net.conn_mut(key) {
            conn.partial.extend_from_slice(self.scratch.get(..filled).unwrap_or_default());
            handler.burst_end(&mut self.net, key);
        }
        // A listening peer's time-outs moved later, which the heap finds out by itself; only a session that was just
        // accepted may have an earlier one.
        self.net.rearm(key);
    }

    /// Hands out the messages in the first `filled` bytes of the scratch buffer and moves the rest to its front.
    /// `Ok(false)`: the handler closed the connection.
    fn hand_out<H: Handler<Data = T>>(
        &mut self,
        handler: &mut H,
        key: PeerKey,
        filled: &mut usize,
    ) -> Result<bool, CloseCause> {
        let mut at = 0;
        let need = loop {
            let now = self.net.now;
            let Some(conn) = self.net.conn_mut(key) else { return Ok(false) };
            if !conn.takes_input() {
                conn.held = true;
                break 0;
            }
            let input = self.scratch.get(at..*filled).unwrap_or_default();
            match conn.session.step(now, input)? {
                Step::NeedMore(need) => break need,
                Step::Message { consumed, event } => {
                    at += consumed;
                    let greeted = matches!(event, Event::Handshake(_));
                    handler.event(&mut self.net, key, event);
                    if greeted {
                        self.net.flush_session(key);
                    }
                }
            }
        };
        if at > 0 {
            self.scratch.copy_within(at..*filled, 0);
            *filled -= at;
        }
        // The session has checked the length against its limit.
        if self.scratch.len() < need {
            self.scratch.resize(need + SCRATCH / 2, 0);
        }
        Ok(true)
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
        if let Some(conn) = self.net.remove(key) {
            handler.closed(&mut self.net, key, conn.addr, conn.data, why);
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
            }
        }
    }

    /// Writes to every connection that has something to write, until nobody can take more.
    fn flush<H: Handler<Data = T>>(&mut self, handler: &mut H) {
        for _ in 0..8 {
            if self.net.dirty.is_empty() {
                return;
            }
            for key in std::mem::take(&mut self.net.dirty) {
                let Some(conn) = self.net.conn_mut(key) else { continue };
                conn.dirty = false;
                match conn.flush() {
                    Ok(payload) => {
                        if conn.held && conn.takes_input() {
                            self.read_later(key);
                        }
                        if payload > 0 {
                            handler.sent(&mut self.net, key, payload);
                        }
                    }
                    Err(why) => self.lose(handler, key, why),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts who comes and takes nobody.
    #[derive(Default)]
    struct Door(usize);

    impl Handler for Door {
        type Data = ();

        fn incoming(&mut self, _: &mut Net<()>, _: SocketAddr) -> Option<()> {
            self.0 += 1;
            None
        }
        fn event(&mut self, _: &mut Net<()>, _: PeerKey, _: Event<'_>) {}
        fn burst_end(&mut self, _: &mut Net<()>, _: PeerKey) {}
        fn sent(&mut self, _: &mut Net<()>, _: PeerKey, _: usize) {}
        fn closed(&mut self, _: &mut Net<()>, _: PeerKey, _: SocketAddr, (): (), _: CloseCause) {}
        fn woken(&mut self, _: &mut Net<()>) {}
        fn timer(&mut self, _: &mut Net<()>, _: u64) {}
    }

    #[test]
    fn a_crowd_at_the_door_gets_in_over_several_turns() {
        let mut reactor = Reactor::new().unwrap();
        let addr = reactor.listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let crowd: Vec<_> = (0..ACCEPT_BUDGET * 3).map(|_| std::net::TcpStream::connect(addr).unwrap()).collect();
        let mut door = Door::default();
        while door.0 < crowd.len() {
            let before = door.0;
            reactor.turn(&mut door).unwrap();
            assert!((1..=ACCEPT_BUDGET).contains(&(door.0 - before)), "{} in one turn", door.0 - before);
        }
    }
}
