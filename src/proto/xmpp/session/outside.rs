//! Asks the server what it can do, and from time to time how this machine looks from outside.

use std::time::{Duration, Instant};

use jid::BareJid;
use minidom::Element;

use super::{Phase, SessionEvent, Tag, XmppSession};
use crate::proto::xmpp::presence::{ask_info, has_feature};
use crate::proto::xmpp::stanza::Failure;
use crate::proto::xmpp::xml::ns;
use crate::proto::xmpp::{blocking, outside};

/// An address that changes is noticed after this long at the latest; most changes end the stream anyway.
const AGAIN: Duration = Duration::from_secs(30 * 60);
/// Not asked more often, however often the own network changes.
const AT_MOST: Duration = Duration::from_secs(30);

impl XmppSession {
    /// Asks what the server can do. The rest follows from its answer.
    pub(super) fn ask_server(&mut self, now: Instant) {
        self.ask_domain(now, ask_info(), Tag::Features);
    }

    fn ask_domain(&mut self, now: Instant, payload: Element, tag: Tag) {
        if let Ok(domain) = BareJid::new(self.own.domain().as_str()) {
            self.request(now, "get", Some(domain), payload, tag);
        }
    }

    pub(super) fn features_arrived(&mut self, now: Instant, answer: Result<&Element, Failure>) {
        // A server that does not say can do nothing of it.
        let Ok(answer) = answer else { return };
        if has_feature(answer, ns::BLOCKING) {
            self.request(now, "get", None, blocking::get(), Tag::BlockList);
        } else {
            self.block_list_missing(now);
        }
        self.names_stun_servers = has_feature(answer, ns::EXTERNAL_SERVICES);
        self.look_outside(now);
    }

    /// Asks how this machine looks from outside. Servers that cannot tell refuse, which does no harm.
    fn look_outside(&mut self, now: Instant) {
        self.looked_outside = Some(now);
        self.outside_due = Some(now + AGAIN);
        self.request(now, "get", None, outside::ask_address(), Tag::Address);
        if self.names_stun_servers {
            self.ask_domain(now, outside::ask_stun_servers(), Tag::StunServers);
        }
    }

    /// The own network has changed: what was seen from outside may not hold any more.
    pub(super) fn network_changed(&mut self, now: Instant) {
        if let Some(looked) = self.looked_outside.filter(|_| self.phase == Phase::Ready) {
            self.outside_due = Some(now.max(looked + AT_MOST));
        }
    }

    pub(super) fn look_outside_if_due(&mut self, now: Instant) {
        if self.outside_due.take_if(|due| *due <= now).is_some() {
            self.look_outside(now);
        }
    }

    pub(super) fn address_arrived(&mut self, answer: Result<&Element, Failure>) {
        self.events.extend(answer.ok().and_then(outside::address).map(SessionEvent::SeenAt));
    }

    pub(super) fn stun_servers_arrived(&mut self, answer: Result<&Element, Failure>) {
        let servers = answer.map(outside::stun_servers).unwrap_or_default();
        if !servers.is_empty() {
            self.events.push_back(SessionEvent::StunServers(servers));
        }
    }
}
