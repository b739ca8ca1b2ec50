//! The connection of one account: from its settings to a live stream that hands out stanzas and takes stanzas.
//!
//! [`Connection::open`] looks the server up, connects, encrypts, logs in and binds a resource; [`Connection::next`]
//! then waits for whatever comes first: a stanza, a wake-up by another thread, a deadline. Counts stanzas where the
//! server does too, so that a stream that broke ([`Connection::suspend`]) can go on ([`Connection::reopen`]). Pings a
//! silent server (XEP-0198, XEP-0199) and gives a dead one up. Everything happens on the caller's thread, but for DNS look-ups, which get a
//! short-lived one. What stanzas mean is not known here. Stanzas are logged at level trace, logins never.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jid::FullJid;
use minidom::Element;
use quick_xml::escape::escape;
use xmpp_parsers::ns;

use super::error::ConnectError;
use super::establish::{Established, establish, say_and_fail};
use super::link::Received;
use super::port::{Port, SendError, clocks, now};
use crate::proto::xmpp::framing::Frame;
use crate::proto::xmpp::keepalive::{Due, Keepalive, Sleep};
use crate::proto::xmpp::resume::{self, StreamManagement};
use crate::proto::xmpp::sasl::Mechanism;
use crate::proto::xmpp::stream::{self, Features, StreamError};

pub use super::account::{AccountOptions, Timing};

/// Bytes read at once.
const READ_LEN: usize = 16 * 1024;

/// Bytes that may wait to be sent; more are refused. A few of the longest stanzas servers take.
const MAX_PENDING: usize = 1024 * 1024;

/// How often to look whether the machine has slept: time-outs stand still meanwhile.
const LOOK_FOR_SLEEP: Duration = Duration::from_secs(15);

/// How long an orderly close may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What [`Connection::next`] waited for.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// A whole first-level element, within the limits; not yet checked for being a valid stanza.
    Stanza(Element),
    /// [`super::port::Handle::wake`] was called.
    Woken,
    /// [`super::port::Handle::stop`] was called: say goodbye and [`Connection::close`].
    Stopped,
    /// The deadline given has passed.
    Timeout,
}

/// A stream whose connection broke, and that the server may still have.
#[derive(Clone, Debug)]
pub struct Broken {
    jid: FullJid,
    management: StreamManagement,
}

impl Broken {
    /// How long it is worth trying.
    #[must_use]
    pub fn resumable_for(&self) -> Option<Duration> {
        self.management.resumable_for()
    }

    pub(super) const fn jid(&self) -> &FullJid {
        &self.jid
    }

    pub(super) fn location(&self) -> Option<&str> {
        self.management.location()
    }

    pub(super) fn resume_element(&self) -> Option<Vec<u8>> {
        self.management.resume_element()
    }
}

/// A live stream with a bound resource. Dropping it closes the TCP connection without a goodbye.
#[derive(Debug)]
pub struct Connection<'p> {
    port: &'p mut Port,
    stream: Established,
    /// There if the server offers it.
    management: Option<StreamManagement>,
    /// Stanzas for which it is not yet time, so that what is urgent can pass them.
    waiting: Waiting,
    keepalive: Keepalive,
    sleep: Sleep,
    pings: u64,
    /// One side has ended the stream, so there is nothing to take up again.
    ended: bool,
    buffer: Box<[u8]>,
}

#[derive(Debug, Default)]
struct Waiting {
    stanzas: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Waiting {
    fn push(&mut self, stanza: Vec<u8>) {
        self.bytes = self.bytes.saturating_add(stanza.len());
        self.stanzas.push_back(stanza);
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let stanza = self.stanzas.pop_front()?;
        self.bytes = self.bytes.saturating_sub(stanza.len());
        Some(stanza)
    }
}

impl<'p> Connection<'p> {
    /// Connects and logs in. Tries all addresses of the server until one works; blocks until then, at most for the
    /// times in `options`, and ends early when the port's handle says stop.
    ///
    /// # Errors
    /// [`ConnectError`]: of several failures the one that got furthest.
    pub fn open(options: &AccountOptions, port: &'p mut Port) -> Result<Self, ConnectError> {
        Self::reopen(options, port, &mut None)
    }

    /// Like [`Connection::open`], but goes on with a broken stream of the same account if the server still has it;
    /// [`Connection::is_resumed`] tells. The broken stream is taken unless there is no connection at all.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub fn reopen(
        options: &AccountOptions,
        port: &'p mut Port,
        broken: &mut Option<Broken>,
    ) -> Result<Self, ConnectError> {
        let mut stream = establish(options, port, broken.as_ref())?;
        let mechanism = stream.mechanism.map_or("", Mechanism::name);
        let (mut waiting, broken) = (Waiting::default(), broken.take());
        let management = match (stream.resumed, broken) {
            (Some(handled), Some(Broken { mut management, .. })) => {
                management.resumed(handled)?.for_each(|stanza| waiting.push(stanza.clone()));
                log::info!(target: "bitween::xmpp", "connected again as {} ({mechanism})", stream.jid);
                Some(management)
            }
            _ => {
                log::info!(target: "bitween::xmpp", "connected as {} ({mechanism})", stream.jid);
                let offered = stream.features.as_ref().is_some_and(|features| features.has("sm", resume::NS));
                offered.then(|| StreamManagement::begin(stream.link.out()))
            }
        };
        port.set_open(true);
        let keepalive = Keepalive::new(now(), options.timing.silence, options.timing.answer);
        let buffer = vec![0; READ_LEN].into_boxed_slice();
        let sleep = Sleep::default();
        Ok(Self { port, stream, management, waiting, keepalive, sleep, pings: 0, ended: false, buffer })
    }

    /// Whether this is the stream of before: nothing of it was lost, and contacts have noticed nothing.
    pub const fn is_resumed(&self) -> bool {
        self.stream.resumed.is_some()
    }

    /// What is to be kept of a connection that broke, if the server may still have its stream.
    pub fn suspend(mut self) -> Option<Broken> {
        let management = self.management.take().filter(|_| !self.ended)?;
        management.resumable_for()?;
        Some(Broken { jid: self.stream.jid.clone(), management })
    }

    /// The full JID the server gave us.
    pub const fn jid(&self) -> &FullJid {
        &self.stream.jid
    }

    /// Whether [`super::port::Handle::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.port.is_stopped()
    }

    /// The mechanism that the login was done with.
    pub const fn mechanism(&self) -> Option<Mechanism> {
        self.stream.mechanism
    }

    /// Types of channel binding that the server does not know, although it announces none.
    pub fn unknown_bindings(&self) -> &[&'static str] {
        &self.stream.unknown_bindings
    }

    /// What the server offers on the stream as it is now, e.g. stream management.
    pub const fn features(&self) -> Option<&Features> {
        self.stream.features.as_ref()
    }

    /// Takes one whole, serialised stanza to be sent by the next call of [`Connection::next`].
    ///
    /// # Errors
    /// [`SendError::Full`] if the server reads too slowly and too much waits already; nothing was taken then.
    pub fn send(&mut self, stanza: &[u8]) -> Result<(), SendError> {
        let pending = self.pending();
        if pending > 0 && pending.saturating_add(stanza.len()) > MAX_PENDING {
            return Err(SendError::Full);
        }
        self.queue(stanza.to_vec());
        Ok(())
    }

    fn queue(&mut self, stanza: Vec<u8>) {
        trace!(target: "bitween::xmpp", "> {}", String::from_utf8_lossy(&stanza));
        if let Some(management) = &mut self.management {
            management.sent(&stanza);
        }
        self.waiting.push(stanza);
    }

    const fn pending(&self) -> usize {
        self.stream.link.pending().saturating_add(self.waiting.bytes)
    }

    /// Sends what waits and returns the next thing to do, at the latest at `until`.
    ///
    /// # Errors
    /// [`ConnectError`]: the connection is over, drop it.
    pub fn next(&mut self, until: Instant) -> Result<Incoming, ConnectError> {
        loop {
            if self.port.is_stopped() {
                return Ok(Incoming::Stopped);
            }
            if self.port.take_woken() {
                return Ok(Incoming::Woken);
            }
            // A server that has hung up takes nothing any more, but may have said why. That comes first: who is thrown out
            // must not be back at once.
            let sent = self.flush();
            if let Some(frame) = self.next_frame()? {
                if let Some(stanza) = self.accept(frame)? {
                    return Ok(Incoming::Stanza(stanza));
                }
                continue;
            }
            let received = self.stream.link.read(&mut self.buffer);
            if !matches!(received, Ok(Received::Bytes(_))) {
                sent?;
            }
            let received = received?;
            match received {
                Received::Closed => return Err(ConnectError::Closed),
                Received::Nothing => {}
                Received::Bytes(count) => {
                    self.stream.framer.push(self.buffer.get(..count).unwrap_or_default());
                    self.keepalive.received(now());
                }
            }
            match self.keepalive.check(now()) {
                Some(Due::Ping) => self.ping(),
                Some(Due::Dead) => return Err(ConnectError::Silent),
                None if now() >= until => return Ok(Incoming::Timeout),
                None if received == Received::Nothing => self.wait(until)?,
                None => {}
            }
        }
    }

    fn wait(&mut self, until: Instant) -> Result<(), ConnectError> {
        let look = now() + LOOK_FOR_SLEEP;
        self.port.poll_until(until.min(self.keepalive.deadline()).min(look))?;
        let (awake, all) = clocks();
        if self.sleep.has_slept(awake, all) {
            log::info!(target: "bitween::xmpp", "the machine has slept; asking whether the server is still there");
            self.keepalive.slept(now());
            self.ping();
        }
        Ok(())
    }

    /// Sends what waits, ends the stream and waits a moment for the server to do the same: what was sent last would be
    /// lost if the connection were cut while the server still writes. Works also after a stop.
    pub fn close(mut self) {
        self.port.set_open(false);
        self.take_queue();
        if let Some(management) = self.management.take() {
            management.acknowledge(self.stream.link.out());
        }
        self.waiting.push(stream::CLOSE.to_vec());
        let deadline = now() + CLOSE_TIMEOUT;
        while now() < deadline {
            if self.flush().is_err() {
                return;
            }
            match self.stream.framer.next_frame() {
                Ok(Some(Frame::End)) | Err(_) => break,
                Ok(Some(_)) => continue,
                Ok(None) => {}
            }
            match self.stream.link.read(&mut self.buffer) {
                Ok(Received::Bytes(count)) => self.stream.framer.push(self.buffer.get(..count).unwrap_or_default()),
                Ok(Received::Nothing) => {
                    if self.port.poll_until(deadline).is_err() {
                        return;
                    }
                }
                Ok(Received::Closed) | Err(_) => return,
            }
        }
        self.stream.link.close_notify();
        let _ = self.stream.link.flush();
    }

    /// Sends what the socket takes now, and asks the server what it has taken when nothing more waits.
    fn flush(&mut self) -> Result<(), ConnectError> {
        self.take_queue();
        loop {
            let mut last = false;
            if self.stream.link.pending() == 0 {
                match (self.waiting.pop(), &mut self.management) {
                    (Some(stanza), _) => self.stream.link.out().extend_from_slice(&stanza),
                    (None, management) => {
                        management.iter_mut().for_each(|management| management.ask_if_due(self.stream.link.out()));
                        last = true;
                    }
                }
            }
            let written = self.stream.link.flush()?;
            self.keepalive.sent(written);
            if last || self.stream.link.pending() > 0 {
                return Ok(());
            }
        }
    }

    /// Takes stanzas of other threads, as long as not too much waits.
    fn take_queue(&mut self) {
        while self.pending() < MAX_PENDING {
            let Some(stanza) = self.port.queued() else { return };
            self.queue(stanza);
        }
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, ConnectError> {
        self.stream.framer.next_frame().map_err(|error| {
            self.ended = true;
            say_and_fail(&mut self.stream.link, error)
        })
    }

    /// The stanza in a frame, unless it is only the answer to our ping, or about stanzas.
    fn accept(&mut self, frame: Frame) -> Result<Option<Element>, ConnectError> {
        match frame {
            Frame::Element(element) => {
                if crate::chatter::is_heard(log::Level::Trace, "bitween::xmpp") {
                    let text = xso::to_vec(&element).unwrap_or_default();
                    trace!(target: "bitween::xmpp", "< {}", String::from_utf8_lossy(&text));
                }
                if let Some(error) = StreamError::from_element(&element) {
                    self.ended = true;
                    return Err(ConnectError::Stream(error));
                }
                if let Some(management) = &mut self.management {
                    if element.has_ns(resume::NS) {
                        return management.nonza(&element, self.stream.link.out()).map(|()| None).map_err(|error| {
                            self.ended = true;
                            stream::write_error("undefined-condition", &error.detail(), self.stream.link.out());
                            let _ = self.stream.link.flush();
                            error.into()
                        });
                    }
                    management.received(&element);
                }
                Ok((!self.is_pong(&element)).then_some(element))
            }
            Frame::End | Frame::Header(_) => {
                self.ended = true;
                self.stream.link.out().extend_from_slice(stream::CLOSE);
                let _ = self.stream.link.flush();
                Err(ConnectError::Closed)
            }
        }
    }

    fn ping(&mut self) {
        if self.management.as_mut().is_some_and(|management| management.ask(self.stream.link.out())) {
            return;
        }
        self.pings += 1;
        let (id, domain) = (self.ping_id(), escape(self.stream.jid.domain().as_str()).into_owned());
        let request = format!("<iq type='get' id='{id}' to='{domain}'><ping xmlns='{}'/></iq>", ns::PING);
        self.queue(request.into_bytes());
    }

    fn ping_id(&self) -> String {
        format!("keep-alive-{}", self.pings)
    }

    /// An error is an answer, too: servers without XEP-0199 say `service-unavailable`.
    fn is_pong(&self, element: &Element) -> bool {
        element.is("iq", ns::JABBER_CLIENT)
            && matches!(element.attr("type"), Some("result" | "error"))
            && element.attr("id") == Some(self.ping_id().as_str())
            && element.attr("from").is_none_or(|from| from == self.stream.jid.domain().as_str())
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.port.set_open(false);
    }
}
