//! The server: one thread (`rpc`) polls listener and connections, a few workers (`rpc-worker-N`) run the calls.
//!
//! The polling thread never runs a method, so a slow call delays nobody's reading, and a slow client holds no worker.
//! When all connection slots are taken, the one that has kept us waiting longest makes room: a thousand silent
//! connections cannot lock anybody out. [`RpcServer::stop`] sends the answers that are due and returns within a second.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use crate::bus::spawn;
use crate::proto::http::{Limits, Response};

use super::super::control::Interface;
use super::connection::{Admitted, Connection, Progress, Timing};
use super::guard::Guard;
use super::routes;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
/// How long answers may still be sent when the server stops.
const STOP_GRACE: Duration = Duration::from_millis(400);
/// How long stopping waits for workers; one that hangs in a call is left behind.
const WORKER_GRACE: Duration = Duration::from_millis(200);
/// Requests that hold no more than this are not refused because others hold much.
const SMALL_REQUEST: usize = 64 << 10;
/// Pause after the system refuses a connection (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How the server is set up. Without `Debug`: it would show the token.
#[derive(Clone)]
pub struct ServerOptions {
    /// Where to listen; port 0 = any.
    pub bind: SocketAddr,
    /// Further names the daemon is called by.
    pub allowed_hosts: Vec<String>,
    /// What callers must show; needed unless `bind` is a loopback address.
    pub token: Option<String>,
    /// Largest request.
    pub limits: Limits,
    /// Most connections at the same time; at least 1.
    pub max_connections: usize,
    /// Worker threads; at least 1.
    pub workers: usize,
    /// Time limits.
    pub timing: Timing,
}

impl ServerOptions {
    /// Four workers, 64 connections, default limits, no token.
    #[must_use]
    pub fn new(bind: SocketAddr) -> Self {
        Self {
            bind,
            allowed_hosts: Vec::new(),
            token: None,
            limits: Limits::default(),
            max_connections: 64,
            workers: 4,
            timing: Timing::default(),
        }
    }
}

/// The server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RpcError {
    /// Others could reach it without showing anything.
    #[error(
        "{0} can be reached from other machines, so the interface needs a token there: set `token_file` in section [api] of the configuration, or listen on 127.0.0.1"
    )]
    TokenNeeded(IpAddr),
    /// The address cannot be had.
    #[error(
        "cannot listen on {address} for the interface: {source}; choose another with `bind` and `port` in section [api] of the configuration, or --bind and --port"
    )]
    Listen {
        /// Where it should have listened.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no more threads, file descriptors, ...
    #[error("cannot start the interface: {0}")]
    System(#[from] io::Error),
}

/// A running server. Dropping it stops it.
pub struct RpcServer {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl RpcServer {
    /// Listens and starts the threads.
    ///
    /// # Errors
    /// [`RpcError`]; nothing is left running.
    pub fn start(options: ServerOptions, control: Arc<dyn Interface>) -> Result<Self, RpcError> {
        if options.token.is_none() && !options.bind.ip().is_loopback() {
            return Err(RpcError::TokenNeeded(options.bind.ip()));
        }
        let listen = |source| RpcError::Listen { address: options.bind, source };
        let mut listener = TcpListener::bind(options.bind).map_err(listen)?;
        let address = listener.local_addr()?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let stopping = Arc::new(AtomicBool::new(false));
        let guard = Guard::new(options.bind.ip(), &options.allowed_hosts, options.token.as_deref());
        let workers = Workers::start(&options, control, &waker)?;
        let stop_flag = Arc::clone(&stopping);
        let event_loop = EventLoop {
            poll,
            going_on: Vec::new(),
            listener,
            accept_after: None,
            connections: Slab::new(),
            generation: 0,
            guard: Arc::new(guard),
            options,
            workers,
        };
        let thread = spawn("rpc", move || event_loop.run(&stop_flag))?;
        Ok(Self { address, stopping, waker, thread: Some(thread) })
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// True while the thread runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Stops it: no new calls, answers that are due are sent, all within a second. A second stop does nothing.
    pub fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.stopping.store(true, Ordering::Release);
        if let Err(e) = self.waker.wake() {
            log::error!("cannot wake the interface to stop it: {e}");
        }
        if thread.join().is_err() {
            log::error!("the interface's thread panicked");
        }
    }
}

impl Drop for RpcServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Which connection a job belongs to; stale once that slot has another generation.
#[derive(Clone, Copy)]
struct ConnectionKey {
    slot: usize,
    generation: u64,
}

struct Job {
    key: ConnectionKey,
    admitted: Box<Admitted>,
}

struct Workers {
    jobs: Sender<Job>,
    answers: Receiver<(ConnectionKey, Response)>,
    threads: Vec<JoinHandle<()>>,
    /// Disconnects when the last worker is gone.
    gone: Receiver<()>,
}

impl Workers {
    fn start(options: &ServerOptions, control: Arc<dyn Interface>, waker: &Arc<Waker>) -> io::Result<Self> {
        // Each connection has at most one call under way, so this queue cannot overflow.
        let (jobs, job_queue) = bounded::<Job>(options.max_connections.max(1));
        let (answer_queue, answers) = unbounded();
        let (alive, gone) = bounded::<()>(0);
        let work = move |waker: Arc<Waker>, alive: Sender<()>| {
            let (jobs, answers) = (job_queue.clone(), answer_queue.clone());
            let control = Arc::clone(&control);
            move || {
                for Job { key, admitted } in jobs {
                    let response = routes::answer(control.as_ref(), admitted.caller.as_ref(), &admitted.request);
                    if answers.send((key, response)).is_err() || waker.wake().is_err() {
                        break;
                    }
                }
                drop(alive);
            }
        };
        let threads = (0..options.workers.max(1))
            .map(|n| {
                let worker = work(Arc::clone(waker), alive.clone());
                spawn(format!("rpc-worker-{n}"), worker)
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { jobs, answers, threads, gone })
    }

    /// Lets the workers end; one that hangs in a call is left to end by itself.
    fn stop(self) {
        drop(self.jobs);
        drop(self.answers);
        // Nothing is ever sent: this returns when the last worker drops its end, or too late.
        let late = self.gone.recv_timeout(WORKER_GRACE) == Err(RecvTimeoutError::Timeout);
        for thread in self.threads {
            if late && !thread.is_finished() {
                log::warn!(
                    "{} still waits for an answer; it is left behind",
                    thread.thread().name().unwrap_or("a worker")
                );
            } else if thread.join().is_err() {
                log::error!("a worker of the interface panicked");
            }
        }
    }
}

struct EventLoop {
    poll: Poll,
    /// Connections whose sockets would take more than their part of a turn.
    going_on: Vec<ConnectionKey>,
    listener: TcpListener,
    accept_after: Option<Instant>,
    connections: Slab<Connection>,
    generation: u64,
    guard: Arc<Guard>,
    options: ServerOptions,
    workers: Workers,
}

impl EventLoop {
    fn run(mut self, stopping: &AtomicBool) {
        let mut events = Events::with_capacity(256);
        let mut stop_at = None;
        loop {
            let turn = now();
            if stopping.load(Ordering::Acquire) {
                let end = *stop_at.get_or_insert(turn + STOP_GRACE);
                if turn >= end || !self.connections.iter().any(|(_, connection)| connection.is_busy()) {
                    break;
                }
            }
            let deadlines = self.connections.iter().filter_map(|(_, connection)| connection.deadline());
            let next = deadlines.chain(self.accept_after).chain(stop_at).min();
            let timeout = if self.going_on.is_empty() {
                next.map(|next| next.saturating_duration_since(turn))
            } else {
                Some(Duration::ZERO)
            };
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    log::error!("the interface stops, it cannot wait for its sockets: {e}");
                    break;
                }
            }
            self.turn(&events, stop_at.is_some());
        }
        drop(self.connections);
        drop(self.listener);
        self.workers.stop();
    }

    fn turn(&mut self, events: &Events, stopping: bool) {
        let now = now();
        let mut accepts = self.accept_after.is_some_and(|after| after <= now);
        let going_on = std::mem::take(&mut self.going_on);
        for event in events {
            match event.token() {
                LISTENER => accepts = true,
                WAKER => {}
                // One turn for each, and those with long answers come last.
                Token(slot) if going_on.iter().any(|key| key.slot == slot) => {}
                Token(slot) => {
                    if let Some(connection) = self.connections.get_mut(slot) {
                        let progress = connection.advance(now);
                        self.follow(slot, progress, stopping);
                        self.shed(now, stopping);
                    }
                }
            }
        }
        while let Ok((key, response)) = self.workers.answers.try_recv() {
            if let Some(connection) = self.fresh(key) {
                let progress = connection.respond(now, response, stopping);
                self.follow(key.slot, progress, stopping);
            }
        }
        for key in going_on {
            if let Some(connection) = self.fresh(key) {
                let progress = connection.advance(now);
                self.follow(key.slot, progress, stopping);
                self.shed(now, stopping);
            }
        }
        if accepts && !stopping {
            self.accept(now);
        }
        self.expire(now, stopping);
    }

    /// The connection, unless its slot has another one now.
    fn fresh(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        self.connections.get_mut(key.slot).filter(|connection| connection.generation == key.generation)
    }

    fn follow(&mut self, slot: usize, progress: Progress, stopping: bool) {
        match progress {
            Progress::Wait => {}
            Progress::GoOn => {
                let generation = self.connections.get(slot).map(|connection| connection.generation);
                self.going_on.extend(generation.map(|generation| ConnectionKey { slot, generation }));
            }
            Progress::Close => drop(self.connections.try_remove(slot)),
            Progress::Request(_) if stopping => drop(self.connections.try_remove(slot)),
            Progress::Request(admitted) => {
                let Some(connection) = self.connections.get_mut(slot) else { return };
                let key = ConnectionKey { slot, generation: connection.generation };
                let job = Job { key, admitted };
                if self.workers.jobs.try_send(job).is_err() {
                    let busy = Response::text(503, "too many calls at once; try again").with_header("Retry-After", "1");
                    if matches!(connection.respond(now(), busy, true), Progress::Close) {
                        self.connections.try_remove(slot);
                    }
                }
            }
        }
    }

    /// Bounds what all requests hold together, whatever the number of connections: one largest request a worker. The
    /// largest that is still coming in makes room, so that slow ones cannot keep others from being heard.
    fn shed(&mut self, now: Instant, stopping: bool) {
        let budget = self.options.limits.body.saturating_mul(self.options.workers.max(1));
        loop {
            let held = self.connections.iter().fold(0_usize, |sum, (_, c)| sum.saturating_add(c.held()));
            if held <= budget {
                return;
            }
            let large = self.connections.iter().filter(|(_, c)| c.may_be_shed(SMALL_REQUEST));
            let Some(slot) = large.max_by_key(|(_, c)| c.held()).map(|(slot, _)| slot) else { return };
            let Some(connection) = self.connections.get_mut(slot) else { return };
            debug!("a large call is refused: calls hold {held} bytes together");
            let progress = connection.shed(now);
            self.follow(slot, progress, stopping);
        }
    }

    fn accept(&mut self, now: Instant) {
        self.accept_after = None;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.add(now, stream),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {}
                Err(e) => {
                    log::warn!("the interface cannot take connections for a moment: {e}");
                    self.accept_after = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn add(&mut self, now: Instant, stream: mio::net::TcpStream) {
        if self.connections.len() >= self.options.max_connections.max(1) {
            let waiting = self.connections.iter().filter_map(|(slot, c)| c.waiting_since().map(|since| (since, slot)));
            let Some((_, slot)) = waiting.min() else { return };
            debug!("the connection that has been silent longest makes room for a new one");
            self.connections.try_remove(slot);
        }
        // Answers are small and written at once: waiting to fill a segment only delays them.
        let _ = stream.set_nodelay(true);
        self.generation += 1;
        let guard = Arc::clone(&self.guard);
        let connection = Connection::new(now, stream, self.generation, guard, self.options.limits, self.options.timing);
        let slot = self.connections.insert(connection);
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(e) = self.poll.registry().register(&mut connection.stream, Token(slot), interest) {
            log::warn!("dropped a connection: {e}");
            self.connections.try_remove(slot);
        }
    }

    fn expire(&mut self, now: Instant, stopping: bool) {
        let late = |connection: &Connection| connection.deadline().is_some_and(|deadline| deadline <= now);
        let slots: Vec<_> = self.connections.iter().filter(|(_, c)| late(c)).map(|(slot, _)| slot).collect();
        for slot in slots {
            if let Some(connection) = self.connections.get_mut(slot) {
                let progress = connection.expire(now);
                self.follow(slot, progress, stopping);
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this thread owns the clock of its connections")]
fn now() -> Instant {
    Instant::now()
}
