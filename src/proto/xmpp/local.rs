//! One stream between two machines of the local network, without a server (XEP-0174): frames in, bytes and events out.
//!
//! Whoever calls opens a stream and upgrades it (STARTTLS); both sides show a certificate, which whoever owns the session
//! judges. Each says `subscribe` when its user has accepted the other, and when both have, each tells the other what it
//! would tell its server: the same items of the same nodes, in notifications. Without encryption only questions are
//! answered that give nothing away. Pure: no socket, no clock.

mod name;

use std::collections::VecDeque;
use std::sync::Arc;

use minidom::Element;
use quick_xml::escape::escape;
use xmpp_parsers::ns as stream_ns;

use super::framing::{Frame, FramingError};
use super::lists::Lists;
use super::pep::{Happening, parse_event};
use super::presence::disco_info;
use super::shares::{
    ENDPOINT_NODE, PART_LIMIT, SHARES_NODE, build_catalog, build_endpoint, build_list, fits, parse_endpoint, payloads,
};
use super::stanza::{self, Kind};
use super::stream::{self, Features, StreamError};
use super::xml::{Build, element, ns, to_bytes};
use crate::types::{Announcement, Catalog, Endpoint, Share};
pub use name::LocalName;

/// What a machine of the local network is called among the resources of an account: it is one.
pub const RESOURCE: &str = "local";

/// Who opened the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This side.
    Caller,
    /// The other side.
    Called,
}

/// What whoever owns the session has to do or to know.
#[derive(Clone, Debug, PartialEq)]
pub enum LocalEvent {
    /// When everything written so far is sent, encrypt the connection and call [`LocalSession::encrypted`].
    StartTls,
    /// The encrypted stream is open, and the other side calls itself this.
    Met(LocalName),
    /// The other side's user has accepted this one (`true`), or does so no more.
    Asks(bool),
    /// It announced something; both sides have accepted each other.
    Announced(Announcement),
}

/// Why a stream is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// It opened something else than a stream of XMPP.
    #[error("it does not speak XMPP")]
    NotXmpp,
    /// It cannot encrypt, and nothing is told without.
    #[error("it offers no encryption")]
    NoEncryption,
    /// It gives itself no name that can be one.
    #[error("it says no name")]
    NoName,
    /// A stanza in somebody else's name.
    #[error("it speaks in the name of somebody else")]
    InvalidFrom,
    /// It closed the stream.
    #[error("it closed the stream")]
    Closed,
    /// It ended the stream with an error.
    #[error("it ended the stream: {0}")]
    Stream(StreamError),
    /// What it sent is no stream.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// Something that has no place here in a stream.
    #[error("it sent {0}")]
    Unexpected(&'static str),
}

impl LocalError {
    /// The stream error (RFC 6120 section 4.9.3) that tells the other side.
    #[must_use]
    pub const fn condition(&self) -> Option<&'static str> {
        match self {
            Self::NotXmpp => Some("invalid-namespace"),
            Self::NoEncryption => Some("policy-violation"),
            Self::NoName => Some("improper-addressing"),
            Self::InvalidFrom => Some("invalid-from"),
            Self::Framing(error) => Some(error.condition()),
            Self::Unexpected(_) => Some("unsupported-stanza-type"),
            Self::Closed | Self::Stream(_) => None,
        }
    }
}

/// What this side announces, ready to be sent.
#[derive(Debug, Default, PartialEq)]
pub struct OwnItems {
    endpoint: Vec<(String, Element)>,
    list: Vec<(String, Element)>,
    /// Shares that the list has no room for.
    left_out: usize,
}

impl OwnItems {
    /// How this node can be reached, and what it shares: by the catalog, if the list is too long for an item and there is
    /// one.
    #[must_use]
    pub fn new(endpoint: &Endpoint, shares: &[Share], catalog: Option<&Catalog>) -> Self {
        let (list, left_out) = match catalog {
            Some(catalog) if !fits(RESOURCE, shares, PART_LIMIT) => (build_catalog(RESOURCE, catalog), 0),
            _ => build_list(RESOURCE, shares, PART_LIMIT),
        };
        let item = |payload| vec![(RESOURCE.to_owned(), payload)];
        Self { endpoint: item(build_endpoint(RESOURCE, endpoint)), list: item(list), left_out }
    }

    /// Shares that neighbours do not hear of, for want of room.
    #[must_use]
    pub const fn left_out(&self) -> usize {
        self.left_out
    }

    fn node(&self, name: &str) -> Option<(&'static str, &[(String, Element)])> {
        match name {
            ENDPOINT_NODE => Some((ENDPOINT_NODE, &self.endpoint)),
            SHARES_NODE => Some((SHARES_NODE, &self.list)),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The other side's opening tag is awaited.
    Header,
    /// The list of features is awaited.
    Features,
    /// The answer to `<starttls/>` is awaited.
    Proceed,
    /// The connection is being encrypted.
    Encrypting,
    /// Stanzas may come.
    Open,
    Closed,
}

/// One side of one stream.
#[derive(Debug)]
pub struct LocalSession {
    role: Role,
    own: LocalName,
    /// What the other side calls itself, or is believed to be called.
    peer: Option<LocalName>,
    state: State,
    encrypted: bool,
    /// This side's user has accepted the other.
    accepts: bool,
    /// The other side's user has accepted this one.
    is_accepted: bool,
    items: Arc<OwnItems>,
    lists: Lists,
    pings: u64,
    out: Vec<u8>,
    events: VecDeque<LocalEvent>,
}

impl LocalSession {
    /// A stream on a connection that was just made. `peer`: whom this side means to have called.
    #[must_use]
    pub fn new(role: Role, own: LocalName, peer: Option<LocalName>, items: Arc<OwnItems>) -> Self {
        let mut session = Self {
            role,
            own,
            peer,
            state: State::Header,
            encrypted: false,
            accepts: false,
            is_accepted: false,
            items,
            lists: Lists::new(),
            pings: 0,
            out: Vec::new(),
            events: VecDeque::new(),
        };
        if role == Role::Caller {
            session.write_header();
        }
        session
    }

    /// The connection is encrypted, and a new stream begins in it.
    pub fn encrypted(&mut self) {
        self.encrypted = true;
        self.state = State::Header;
        if self.role == Role::Caller {
            self.write_header();
        }
    }

    /// Part of the stream came in.
    ///
    /// # Errors
    /// [`LocalError`]: the stream is over; say [`LocalError::condition`] if there is one, and close.
    pub fn received(&mut self, frame: &Frame) -> Result<(), LocalError> {
        match (self.state, frame) {
            (State::Closed, _) => Err(LocalError::Closed),
            (State::Encrypting, _) => Err(LocalError::Unexpected("plain text where encryption begins")),
            (_, Frame::End) => {
                self.close();
                Err(LocalError::Closed)
            }
            (State::Header, Frame::Header(header)) => self.header(header),
            (_, Frame::Header(_)) => Err(LocalError::Unexpected("a second stream")),
            (_, Frame::Element(element)) => {
                if let Some(error) = StreamError::from_element(element) {
                    return Err(LocalError::Stream(error));
                }
                self.element(element)
            }
        }
    }

    /// What is to be sent; to be taken by the caller.
    pub const fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<LocalEvent> {
        self.events.pop_front()
    }

    /// This side's user accepts the other side (or no more): tells it, and what is announced, if it does too.
    pub fn accept(&mut self, accepts: bool) {
        if self.state != State::Open || !self.encrypted || self.accepts == accepts {
            return;
        }
        self.accepts = accepts;
        let kind = if accepts { "subscribe" } else { "unsubscribed" };
        self.send(element("presence", ns::CLIENT).with("type", kind));
        self.announce_all();
    }

    /// This side's user accepts the other side no more, or refuses its wish: tells it in both cases.
    pub fn refuse(&mut self) {
        self.accepts = true;
        self.accept(false);
    }

    /// The other side's user has accepted this one.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        self.is_accepted
    }

    /// Both sides have accepted each other.
    #[must_use]
    pub fn is_mutual(&self) -> bool {
        self.state == State::Open && self.encrypted && self.accepts && self.is_accepted
    }

    /// What the other side calls itself.
    #[must_use]
    pub const fn peer(&self) -> Option<&LocalName> {
        self.peer.as_ref()
    }

    /// This side announces these from now on.
    pub fn set_items(&mut self, items: Arc<OwnItems>) {
        let before = std::mem::replace(&mut self.items, items);
        if !self.is_mutual() {
            return;
        }
        let now = Arc::clone(&self.items);
        if before.endpoint != now.endpoint {
            self.announce(ENDPOINT_NODE, &now.endpoint);
        }
        if before.list != now.list {
            self.announce(SHARES_NODE, &now.list);
        }
    }

    /// Asks for a sign of life; any answer is one.
    pub fn ping(&mut self) {
        if self.state == State::Open {
            self.pings += 1;
            let iq = element("iq", ns::CLIENT).with("type", "get").with("id", format!("ping-{}", self.pings));
            self.send(iq.containing(element("ping", ns::PING)));
        }
    }

    /// Ends the stream.
    pub fn close(&mut self) {
        if !matches!(self.state, State::Closed | State::Encrypting) {
            self.out.extend_from_slice(stream::CLOSE);
        }
        self.state = State::Closed;
    }

    /// Ends the stream and says why.
    pub fn fail(&mut self, condition: &str) {
        if !matches!(self.state, State::Closed | State::Encrypting) {
            if self.role == Role::Called && self.state == State::Header {
                self.write_header();
            }
            stream::write_error(condition, "", &mut self.out);
        }
        self.state = State::Closed;
    }

    fn header(&mut self, header: &Element) -> Result<(), LocalError> {
        if !header.is("stream", stream_ns::STREAM) {
            return Err(LocalError::NotXmpp);
        }
        let named = header.attr("from").and_then(LocalName::parse);
        let is_new = stream::check_header(header).is_ok();
        if self.encrypted && named.is_none() {
            return Err(LocalError::NoName);
        }
        self.peer = named.or_else(|| self.peer.take());
        match self.role {
            // A program that knows no features knows no encryption.
            Role::Caller if !is_new => return Err(LocalError::NoEncryption),
            Role::Caller => self.state = State::Features,
            Role::Called => {
                self.write_header();
                if is_new {
                    let tls =
                        if self.encrypted { String::new() } else { format!("<starttls xmlns='{}'/>", stream_ns::TLS) };
                    self.out.extend_from_slice(format!("<stream:features>{tls}</stream:features>").as_bytes());
                }
                self.open();
            }
        }
        Ok(())
    }

    fn open(&mut self) {
        self.state = State::Open;
        if let Some(peer) = self.peer.clone().filter(|_| self.encrypted) {
            self.events.push_back(LocalEvent::Met(peer));
        }
    }

    fn element(&mut self, element: &Element) -> Result<(), LocalError> {
        match self.state {
            State::Features => {
                let features =
                    Features::from_element(element.clone()).map_err(|_| LocalError::Unexpected("no features"))?;
                if self.encrypted {
                    self.open();
                } else if features.starttls() {
                    self.out.extend_from_slice(format!("<starttls xmlns='{}'/>", stream_ns::TLS).as_bytes());
                    self.state = State::Proceed;
                } else {
                    return Err(LocalError::NoEncryption);
                }
                Ok(())
            }
            State::Proceed if element.is("proceed", stream_ns::TLS) => {
                self.encrypt();
                Ok(())
            }
            State::Proceed => Err(LocalError::NoEncryption),
            State::Open if element.is("starttls", stream_ns::TLS) && !self.encrypted && self.role == Role::Called => {
                self.out.extend_from_slice(format!("<proceed xmlns='{}'/>", stream_ns::TLS).as_bytes());
                self.encrypt();
                Ok(())
            }
            State::Open => self.stanza(element),
            State::Header | State::Encrypting | State::Closed => Err(LocalError::Unexpected("no stream")),
        }
    }

    fn encrypt(&mut self) {
        self.state = State::Encrypting;
        self.events.push_back(LocalEvent::StartTls);
    }

    fn stanza(&mut self, stanza: &Element) -> Result<(), LocalError> {
        let sender = stanza.attr("from");
        if self.peer.is_some() && sender.is_some_and(|from| LocalName::parse(from) != self.peer) {
            return Err(LocalError::InvalidFrom);
        }
        match Kind::of(stanza) {
            Kind::Request(set) => self.request(stanza, set),
            Kind::Message if self.is_mutual() => self.event(stanza),
            Kind::Presence if self.encrypted => self.presence(stanza.attr("type")),
            // Chats, and whatever else other programs say: nothing for a program that only shares.
            _ => {}
        }
        Ok(())
    }

    fn presence(&mut self, kind: Option<&str>) {
        let accepts = match kind {
            Some("subscribe" | "subscribed") => true,
            Some("unsubscribe" | "unsubscribed") => false,
            _ => return,
        };
        if std::mem::replace(&mut self.is_accepted, accepts) != accepts {
            self.events.push_back(LocalEvent::Asks(accepts));
            self.announce_all();
        }
    }

    fn request(&mut self, request: &Element, set: bool) {
        let answer = match request.children().next() {
            Some(payload) if !set && payload.is("ping", ns::PING) => stanza::result(request, None),
            Some(payload) if !set && payload.is("query", ns::DISCO_INFO) => match disco_info(payload.attr("node")) {
                Some(info) => stanza::result(request, Some(info)),
                None => stanza::error(request, "cancel", "item-not-found"),
            },
            Some(payload) if !set && payload.is("pubsub", ns::PUBSUB) => self.asked_for_items(request, payload),
            _ => stanza::error(request, "cancel", "service-unavailable"),
        };
        if let Some(answer) = answer {
            self.send(answer);
        }
    }

    fn asked_for_items(&self, request: &Element, payload: &Element) -> Option<Element> {
        if !self.is_mutual() {
            return stanza::error(request, "auth", "forbidden");
        }
        let wanted = payload.get_child("items", ns::PUBSUB).and_then(|items| items.attr("node"));
        let Some((node, items)) = wanted.and_then(|node| self.items.node(node)) else {
            return stanza::error(request, "cancel", "item-not-found");
        };
        let items = items.iter().map(|(id, payload)| item(ns::PUBSUB, id, payload));
        let items = element("items", ns::PUBSUB).with("node", node).containing_all(items);
        stanza::result(request, Some(element("pubsub", ns::PUBSUB).containing(items)))
    }

    /// A notification of somebody whom the user has accepted.
    fn event(&mut self, message: &Element) {
        for (node, happening) in parse_event(message) {
            match (node, happening) {
                (SHARES_NODE, Happening::Published(item)) => {
                    let is_own = |announcement: &Announcement| match announcement {
                        Announcement::Shares { resource, .. }
                        | Announcement::Catalog { resource, .. }
                        | Announcement::Parted { resource } => resource == RESOURCE,
                        _ => false,
                    };
                    let announced = self.lists.publish(item.id, item.payload).into_iter().filter(is_own);
                    self.events.extend(announced.map(LocalEvent::Announced));
                }
                (ENDPOINT_NODE, Happening::Published(item)) => {
                    let named = payloads(ENDPOINT_NODE, item.payload).into_iter().find(|(name, _)| *name == RESOURCE);
                    if let Some(endpoint) = named.and_then(|(_, payload)| parse_endpoint(payload)) {
                        let announcement = Announcement::Endpoint { resource: RESOURCE.to_owned(), endpoint };
                        self.events.push_back(LocalEvent::Announced(announcement));
                    }
                }
                _ => {}
            }
        }
    }

    fn announce_all(&mut self) {
        if self.is_mutual() {
            let items = Arc::clone(&self.items);
            self.announce(ENDPOINT_NODE, &items.endpoint);
            self.announce(SHARES_NODE, &items.list);
        }
    }

    fn announce(&mut self, node: &'static str, items: &[(String, Element)]) {
        for (id, payload) in items {
            let items = element("items", ns::PUBSUB_EVENT).with("node", node);
            let event =
                element("event", ns::PUBSUB_EVENT).containing(items.containing(item(ns::PUBSUB_EVENT, id, payload)));
            self.send(element("message", ns::CLIENT).with("type", "headline").containing(event));
        }
    }

    fn send(&mut self, stanza: Element) {
        let stanza = stanza.with("from", self.own.as_str()).with_some("to", self.peer.as_ref().map(LocalName::as_str));
        match to_bytes(&stanza) {
            Ok(bytes) => self.out.extend_from_slice(&bytes),
            // Foreign text was cleaned before; this is a bug, and costs one stanza.
            Err(error) => debug_assert!(false, "{error}"),
        }
    }

    fn write_header(&mut self) {
        let to = self.peer.as_ref().map_or_else(String::new, |peer| format!(" to='{}'", escape(peer.as_str())));
        let header = format!(
            "<?xml version='1.0'?><stream:stream xmlns='{}' xmlns:stream='{}' from='{}'{to} version='1.0'>",
            stream_ns::JABBER_CLIENT,
            stream_ns::STREAM,
            escape(self.own.as_str()),
        );
        self.out.extend_from_slice(header.as_bytes());
    }
}

fn item(namespace: &'static str, id: &str, payload: &Element) -> Element {
    element("item", namespace).with("id", id).containing(payload.clone())
}

#[cfg(test)]
mod tests;
