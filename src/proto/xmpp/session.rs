//! The whole logged-in client: stanzas, commands and time in, stanzas and [`SessionEvent`]s out.
//!
//! Begins after resource binding; streams, TLS and authentication are somebody else's. Ties roster, presence, fetching
//! ([`Watch`]) and publishing ([`Announcer`]) together and decides whom to believe: announcements count from the bare
//! JIDs of accounts one may see (and of the own one), roster changes from the own account, answers from whom was asked.
//! Nobody is approved unless the user said so. Pure: no socket, no clock; the thread that owns it calls it.

mod api;
mod blocking;
mod command;
mod incoming;
mod outside;
mod parting;
mod requests;

use std::collections::VecDeque;
use std::time::Instant;

use jid::{BareJid, FullJid};
use minidom::Element;

use super::announcer::{Announcer, Catalogs, Node};
use super::blocking::Blocking;
use super::complaints::{AddressRules, Complaints};
use super::pending;
use super::pep::items;
use super::roster::{self, Roster};
use super::stanza::{Failure, IdSource, Iqs, Kind, PUBLISH_TIMEOUT, REQUEST_TIMEOUT};
use super::watch::Watch;
use super::welcome::Welcome;
use crate::types::{Endpoint, Share, SortedMap, SortedSet};
pub use api::{Command, CommandError, SessionEvent, SessionOptions};

/// What an open request is for.
#[derive(Clone, Debug)]
enum Tag {
    Roster,
    Command(u64),
    OfflineMessages,
    /// What the server can do.
    Features,
    Address,
    StunServers,
    BlockList,
    Block(BareJid),
    Unblock(u64, BareJid),
    Fetch(BareJid, Node),
    Publish(Node),
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No stream.
    Offline,
    /// The roster was asked for.
    Starting,
    Ready,
    Parting {
        deadline: Instant,
        for_good: bool,
    },
    /// The last nodes are being deleted.
    Deleting {
        deadline: Instant,
        open: usize,
    },
    Parted,
}

/// A logged-in client.
#[derive(Debug)]
pub struct XmppSession {
    own: FullJid,
    phase: Phase,
    iqs: Iqs<Tag>,
    roster: Roster,
    blocking: Blocking,
    announcer: Announcer,
    watch: Watch,
    complaints: Complaints,
    address_rules: AddressRules,
    online: SortedMap<BareJid, SortedSet<String>>,
    invited: SortedSet<BareJid>,
    accept_from: Vec<Welcome>,
    requests_told: pending::Teller,
    /// On this stream the server hands out no messages that wait for the account.
    keeps_messages: bool,
    /// Commands that wait for the roster.
    early: Vec<(u64, Command)>,
    ghosts_due: Option<Instant>,
    own_retry: Option<Instant>,
    names_stun_servers: bool,
    looked_outside: Option<Instant>,
    outside_due: Option<Instant>,
    withdrawn: bool,
    /// The connection broke then, and the stream may go on.
    suspended: Option<Instant>,
    out: VecDeque<Element>,
    events: VecDeque<SessionEvent>,
}

impl XmppSession {
    /// A session that has no stream yet; shares and endpoint may be set already.
    #[must_use]
    pub fn new(own: FullJid, options: &SessionOptions) -> Self {
        let mut iqs = Iqs::new(own.clone(), IdSource::new(options.seed));
        let announcer = Announcer::new(own.resource().as_str().to_owned(), options.publish_original, iqs.random());
        Self {
            own,
            phase: Phase::Offline,
            iqs,
            roster: Roster::new(),
            blocking: Blocking::default(),
            announcer,
            watch: Watch::new(),
            complaints: Complaints::default(),
            address_rules: AddressRules::default(),
            online: SortedMap::new(),
            invited: SortedSet::new(),
            accept_from: Vec::new(),
            requests_told: pending::Teller::default(),
            keeps_messages: false,
            early: Vec::new(),
            ghosts_due: None,
            own_retry: None,
            names_stun_servers: false,
            looked_outside: None,
            outside_due: None,
            withdrawn: false,
            suspended: None,
            out: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Whose requests to become a contact are answered with yes.
    pub fn set_accept_from(&mut self, rules: Vec<Welcome>) {
        self.accept_from = rules;
    }

    /// Which addresses of contacts are nothing to complain about.
    pub const fn set_address_rules(&mut self, rules: AddressRules) {
        self.address_rules = rules;
    }

    /// A new stream is bound to `own` (servers may choose another resource). Not to be called after a resumption.
    pub fn started(&mut self, now: Instant, own: FullJid) {
        self.forget_stream();
        self.roster.restart();
        self.blocking.restart();
        self.iqs.rename(own.clone());
        self.announcer.reset(own.resource().as_str());
        self.own = own;
        self.phase = Phase::Starting;
        self.withdrawn = false;
        self.ask_about_messages(now);
        self.request(now, "get", None, roster::get(), Tag::Roster);
        self.watch.fetch(now, &self.own.to_bare());
        self.pump(now);
    }

    /// The stream is gone and cannot be resumed.
    pub fn stream_lost(&mut self) {
        self.forget_stream();
        self.phase = match self.phase {
            Phase::Parting { .. } | Phase::Deleting { .. } | Phase::Parted => Phase::Parted,
            _ => Phase::Offline,
        };
        self.events.push_back(SessionEvent::AllOffline);
    }

    /// The connection broke, and the stream may be taken up again: until [`Self::resumed`], [`Self::stream_lost`] or
    /// [`Self::started`] nothing happens, and nobody counts as offline.
    pub fn suspended(&mut self, now: Instant) {
        match self.phase {
            Phase::Starting | Phase::Ready => self.suspended = Some(now),
            _ => self.stream_lost(),
        }
    }

    /// The stream goes on, as if nothing had been: who owes an answer gets the time of the outage in addition.
    pub fn resumed(&mut self, now: Instant) {
        if let Some(since) = self.suspended.take() {
            self.iqs.delay(now.saturating_duration_since(since));
            // What the server says at a login may come only now.
            self.ghosts_due = self.ghosts_due.map(|due| due.max(now + incoming::GHOSTS_AFTER));
        }
        self.pump(now);
    }

    /// A stanza came in.
    pub fn stanza_received(&mut self, now: Instant, stanza: &Element) {
        if self.phase == Phase::Offline {
            return;
        }
        match Kind::of(stanza) {
            Kind::Request(set) => self.requested(now, stanza, set),
            Kind::Answer(fine) => {
                if let Some(tag) = self.iqs.answered(stanza) {
                    let answer = if fine { Ok(stanza) } else { Err(Failure::of(stanza)) };
                    self.answered(now, tag, answer);
                }
            }
            Kind::Message => self.message(now, stanza),
            Kind::Presence => self.presence(now, stanza),
            Kind::Other => {}
        }
        self.pump(now);
    }

    /// The own shares are these from now on.
    pub fn set_shares(&mut self, now: Instant, shares: Vec<Share>) {
        self.announcer.set_shares(now, shares);
        self.pump(now);
    }

    /// This is known of the own list as a catalog from now on. Without this call nobody makes one.
    pub fn set_catalogs(&mut self, now: Instant, catalogs: Catalogs) {
        self.announcer.set_catalogs(now, catalogs);
        self.pump(now);
    }

    /// The own list is too long for an item, and is announced by its catalog.
    #[must_use]
    pub fn is_by_catalog(&self) -> bool {
        self.announcer.is_by_catalog()
    }

    /// This resource can be reached like this from now on.
    pub fn set_endpoint(&mut self, now: Instant, endpoint: Endpoint) {
        self.announcer.set_endpoint(now, endpoint);
        self.network_changed(now);
        self.pump(now);
    }

    /// Carries out a command; [`SessionEvent::CommandDone`] with this tag tells how it went.
    pub fn command(&mut self, now: Instant, tag: u64, command: Command) {
        self.try_command(now, tag, command);
        self.pump(now);
    }

    /// The server closed the stream because a stanza of ours was too big: publish smaller ones in future.
    pub fn publish_was_too_big(&mut self, now: Instant) {
        self.announcer.shrink(now);
    }

    /// Bytes of one item that the server is known to take, to be remembered for the next session.
    #[must_use]
    pub const fn publish_limit(&self) -> usize {
        self.announcer.limit()
    }

    /// What [`Self::publish_limit`] was in an earlier session.
    pub fn set_publish_limit(&mut self, now: Instant, limit: usize) {
        self.announcer.limit_to(now, limit);
    }

    /// The stream was closed because a stanza of the server was too long to read. A contact whose nodes hold that much
    /// must not break the stream at every login, so only the newest items are fetched in future.
    pub fn answer_was_too_long(&mut self) {
        self.watch.be_modest();
    }

    /// The server has confirmed the own shares and endpoint as they are now.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.phase == Phase::Ready && self.announcer.is_confirmed()
    }

    /// The next stanza to send.
    pub fn poll_stanza(&mut self) -> Option<Element> {
        self.out.pop_front()
    }

    /// The next event for the rest of the program.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = match self.phase {
            _ if self.suspended.is_some() => return None,
            Phase::Offline | Phase::Parted => return None,
            Phase::Parting { deadline, .. } | Phase::Deleting { deadline, .. } => Some(deadline),
            Phase::Starting | Phase::Ready => None,
        };
        let others = [self.iqs.next_due(), self.announcer.poll_timeout(), self.watch.poll_timeout()];
        others.into_iter().chain([deadline, self.ghosts_due, self.own_retry, self.outside_due]).flatten().min()
    }

    /// Time has passed; harmless when called early.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.suspended.is_some() {
            return;
        }
        for tag in self.iqs.expire(now) {
            self.answered(now, tag, Err(Failure::TimedOut));
        }
        self.watch.handle_timeout(now);
        if self.ghosts_due.take_if(|due| *due <= now).is_some() {
            let own = self.own.to_bare();
            self.announcer.drop_ghosts(now, &self.online.get(&own).cloned().unwrap_or_default());
            self.ghosts_due = Some(now + incoming::GHOSTS_EVERY);
            if self.roster.drop_stale_requests() {
                self.events.push_back(SessionEvent::RosterChanged);
            }
        }
        if self.own_retry.take_if(|due| *due <= now).is_some() {
            self.watch.fetch(now, &self.own.to_bare());
        }
        self.look_outside_if_due(now);
        if let Phase::Parting { deadline, .. } | Phase::Deleting { deadline, .. } = self.phase
            && deadline <= now
        {
            self.leave();
        }
        self.pump(now);
    }

    /// The contacts and the pending requests.
    #[must_use]
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The JID this session is bound to.
    #[must_use]
    pub const fn own_jid(&self) -> &FullJid {
        &self.own
    }

    fn forget_stream(&mut self) {
        self.iqs.clear();
        self.watch.restart();
        self.online.clear();
        self.out.clear();
        self.ghosts_due = None;
        self.own_retry = None;
        self.outside_due = None;
        self.looked_outside = None;
        self.keeps_messages = false;
        self.suspended = None;
        self.refuse_early();
    }

    /// Sends a request; a failure to do so counts as unanswered.
    fn request(&mut self, now: Instant, kind: &'static str, to: Option<BareJid>, payload: Element, tag: Tag) {
        let timeout = if matches!(tag, Tag::Publish(_)) { PUBLISH_TIMEOUT } else { REQUEST_TIMEOUT };
        match self.iqs.request(now, kind, to, payload, timeout, tag.clone()) {
            Some(iq) => self.out.push_back(iq),
            None => self.answered(now, tag, Err(Failure::TimedOut)),
        }
    }

    /// Lets all parts say what they want to send now.
    fn pump(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Offline | Phase::Parted) || self.suspended.is_some() {
            return;
        }
        while let Some((jid, node)) = self.watch.poll_fetch() {
            let to = (jid != self.own.to_bare()).then(|| jid.clone());
            let payload = items(node.name(), self.watch.newest());
            self.request(now, "get", to, payload, Tag::Fetch(jid, node));
        }
        while let Some((node, request)) = self.announcer.poll_request(now) {
            self.request(now, request.kind, None, request.payload, Tag::Publish(node));
        }
        while let Some(warning) = self.announcer.poll_warning() {
            self.events.push_back(SessionEvent::Warning(warning));
        }
        self.go_on_parting(now);
    }

    fn answered(&mut self, now: Instant, tag: Tag, answer: Result<&Element, Failure>) {
        match tag {
            Tag::Roster => self.roster_arrived(now, answer),
            Tag::Command(tag) => {
                let result = answer.map(|_| ()).map_err(CommandError::Refused);
                self.events.push_back(SessionEvent::CommandDone { tag, result });
            }
            Tag::OfflineMessages => self.offline_messages_answered(answer),
            Tag::Features => self.features_arrived(now, answer),
            Tag::Address => self.address_arrived(answer),
            Tag::StunServers => self.stun_servers_arrived(answer),
            Tag::BlockList => self.block_list_arrived(now, answer),
            Tag::Block(jid) => self.block_answered(now, &jid, answer),
            Tag::Unblock(tag, jid) => self.unblock_answered(now, tag, &jid, answer),
            Tag::Fetch(jid, node) => self.fetched(now, &jid, node, answer),
            Tag::Publish(node) => self.announcer.answered(now, node, answer),
            Tag::Delete => {
                if let Phase::Deleting { deadline, open } = self.phase {
                    self.phase = Phase::Deleting { deadline, open: open.saturating_sub(1) };
                    if open <= 1 {
                        self.leave();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
