//! One connection to a neighbour with the stream on it: carries bytes between the socket and the session.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::identity::Identity;
use super::link::{Link, Received};
use crate::proto::xmpp::framing::{Frame, Framer, Limits};
use crate::proto::xmpp::keepalive::{Due, Keepalive};
use crate::proto::xmpp::local::{LocalError, LocalEvent, LocalName, LocalSession, Role};
use crate::share::Fingerprint;

/// A connection has this long to be made.
const CONNECT: Duration = Duration::from_secs(4);
/// From then on the other side has this long to show who it is.
const LOGIN: Duration = Duration::from_secs(10);
/// Streams that are never encrypted are for a word or two.
const PLAIN: Duration = Duration::from_secs(120);
/// A goodbye that is not answered is one all the same.
const GOODBYE: Duration = Duration::from_millis(500);
/// Silence of the other side before it is asked for a sign of life, and how long that may take.
const SILENCE: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(20);

/// What bitween announces stays far below this.
const LIMITS: Limits = Limits { stanza_bytes: 128 * 1024, depth: 16, attributes: 32, nodes: 16_384 };

/// Bytes that may wait to be sent: all of the longest list.
const MAX_PENDING: usize = 2 * 1024 * 1024;

/// Stanzas that are read at once, and how long each takes to be earned again. What comes faster waits in the socket.
const BURST: u32 = 64;
const EVERY: Duration = Duration::from_millis(50);

/// What a stream has to say to whoever owns it.
#[derive(Debug)]
pub(super) enum Heard {
    /// The other side has proved to have this certificate.
    Met(LocalName, Fingerprint),
    /// See [`LocalEvent::Asks`] and [`LocalEvent::Announced`].
    Session(LocalEvent),
    /// The stream is over: why.
    Over(String),
}

/// How far the encryption is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    Plain,
    /// It begins when everything before it is sent.
    Wanted,
    Handshake,
    Encrypted,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) session: LocalSession,
    pub(super) role: Role,
    /// The other end.
    pub(super) address: SocketAddr,
    /// Whom this is, once that is proved.
    pub(super) fingerprint: Option<Fingerprint>,
    link: Link,
    framer: Framer,
    security: Security,
    connected: bool,
    begun: Instant,
    /// Who has not shown by then who it is, is not waited for.
    deadline: Option<Instant>,
    /// The goodbye is said, for this reason.
    ending: Option<String>,
    keepalive: Keepalive,
    heard: VecDeque<Heard>,
    /// There may be more to read.
    readable: bool,
    /// Stanzas that were read since, and not earned yet.
    stanzas: u32,
    since: Instant,
}

impl Stream {
    pub(super) fn new(now: Instant, socket: TcpStream, address: SocketAddr, session: LocalSession, role: Role) -> Self {
        let connected = role == Role::Called;
        Self {
            session,
            role,
            address,
            fingerprint: None,
            link: Link::new(socket),
            framer: Framer::new(LIMITS),
            security: Security::Plain,
            connected,
            begun: now,
            deadline: Some(now + if connected { LOGIN } else { CONNECT }),
            ending: None,
            keepalive: Keepalive::new(now, SILENCE, ANSWER),
            heard: VecDeque::new(),
            readable: true,
            stanzas: 0,
            since: now,
        }
    }

    pub(super) const fn socket(&mut self) -> &mut TcpStream {
        &mut self.link.socket
    }

    /// The socket has something, or takes something.
    pub(super) const fn woken(&mut self) {
        self.readable = true;
    }

    /// When [`Self::turn`] has something to do without the socket.
    pub(super) fn poll_timeout(&self) -> Instant {
        let next = self.deadline.map_or_else(|| self.keepalive.deadline(), |due| due.min(self.keepalive.deadline()));
        if self.readable && self.connected {
            next.min(self.since + EVERY * self.stanzas.saturating_sub(BURST - 1))
        } else {
            next
        }
    }

    /// What there is to tell, in order.
    pub(super) fn poll_heard(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    /// Says goodbye; what was written is still sent.
    pub(super) fn close(&mut self, now: Instant) {
        self.session.close();
        self.end(now, "closed".to_owned());
    }

    /// Ends the stream with an error.
    pub(super) fn fail(&mut self, now: Instant, condition: &str) {
        self.session.fail(condition);
        self.end(now, condition.to_owned());
    }

    /// Sends, receives and looks at the clock. `read` is false while nobody could hear what comes in.
    pub(super) fn turn(&mut self, now: Instant, identity: &Identity, read: bool, buffer: &mut [u8]) {
        if let Err(reason) = self.work(now, identity, read, buffer) {
            let reason = self.ending.take().unwrap_or(reason);
            self.heard.push_back(Heard::Over(reason));
        }
    }

    fn work(&mut self, now: Instant, identity: &Identity, read: bool, buffer: &mut [u8]) -> Result<(), String> {
        let in_words = |error: io::Error| error.to_string();
        if !self.connected && !self.is_connected(now).map_err(in_words)? {
            return self.check_time(now);
        }
        self.earn(now);
        loop {
            self.link.queue(self.session.out());
            let sent = self.link.flush().map_err(in_words)?;
            if self.link.pending() > MAX_PENDING {
                return Err("it does not read what it is told".to_owned());
            }
            if sent && self.security == Security::Wanted {
                if self.framer.has_unread() {
                    return Err("it sent plain text where encryption begins".to_owned());
                }
                self.link.start_tls(identity.handshake(self.role).map_err(|error| error.to_string())?);
                self.security = Security::Handshake;
                continue;
            }
            if !read || !self.readable || self.stanzas >= BURST {
                return self.check_time(now);
            }
            let received = self.link.read(buffer).map_err(in_words)?;
            if self.security == Security::Handshake && !self.link.is_handshaking() {
                self.security = Security::Encrypted;
                self.framer = Framer::new(LIMITS);
                self.session.encrypted();
            }
            match received {
                Received::Bytes(count) => {
                    self.keepalive.received(now);
                    self.framer.push(buffer.get(..count).unwrap_or_default());
                    self.frames(now);
                }
                // What a handshake has to say goes out in the next round.
                Received::Nothing => self.readable = false,
                Received::Closed => return Err("it closed the connection".to_owned()),
            }
        }
    }

    fn is_connected(&mut self, now: Instant) -> io::Result<bool> {
        if let Some(error) = self.link.socket.take_error()? {
            return Err(error);
        }
        match self.link.socket.peer_addr() {
            Ok(_) => {
                self.connected = true;
                self.deadline = Some(now + LOGIN);
                // Stanzas are written whole: waiting for more to fill a segment only delays them.
                let _ = self.link.socket.set_nodelay(true);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn check_time(&mut self, now: Instant) -> Result<(), String> {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            let reason = if self.connected { "it took too long to say who it is" } else { "nobody answers" };
            return Err(reason.to_owned());
        }
        match self.keepalive.check(now) {
            Some(Due::Ping) => {
                self.session.ping();
                self.link.queue(self.session.out());
                self.link.flush().map(drop).map_err(|error| error.to_string())
            }
            Some(Due::Dead) => Err("it is silent".to_owned()),
            None => Ok(()),
        }
    }

    fn frames(&mut self, now: Instant) {
        loop {
            let frame = match self.framer.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(error) => return self.broken(now, &error.into()),
            };
            self.stanzas += u32::from(matches!(frame, Frame::Element(_)));
            if self.ending.is_some() {
                if frame == Frame::End {
                    self.deadline = Some(now);
                }
                continue;
            }
            if let Err(error) = self.session.received(&frame) {
                return self.broken(now, &error);
            }
            self.events();
        }
    }

    fn events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                LocalEvent::StartTls => self.security = Security::Wanted,
                LocalEvent::Met(name) => {
                    self.fingerprint = self.link.fingerprint();
                    if let Some(fingerprint) = self.fingerprint {
                        self.deadline = None;
                        self.heard.push_back(Heard::Met(name, fingerprint));
                    }
                }
                event => self.heard.push_back(Heard::Session(event)),
            }
        }
        if self.stanzas > 0 && self.security == Security::Plain && self.role == Role::Called {
            // Another program, that talks without encryption.
            self.deadline = Some(self.begun + PLAIN);
        }
    }

    /// The other side broke a rule, or went.
    fn broken(&mut self, now: Instant, error: &LocalError) {
        match error.condition() {
            Some(condition) => self.session.fail(condition),
            None => self.session.close(),
        }
        self.end(now, error.to_string());
    }

    fn end(&mut self, now: Instant, reason: String) {
        if self.ending.is_none() {
            self.ending = Some(reason);
            self.deadline = Some(now + GOODBYE);
        }
    }

    /// Stanzas may be read again as time passes.
    fn earn(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.since).as_millis() / EVERY.as_millis();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        self.stanzas = self.stanzas.saturating_sub(earned);
        self.since = if self.stanzas == 0 { now } else { self.since + EVERY * earned };
    }
}
