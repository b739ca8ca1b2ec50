//! What comes in: answers to fetches, notifications, requests of the server, presence; and whose word counts.

use std::time::{Duration, Instant};

use jid::BareJid;
use minidom::Element;

use super::{Phase, SessionEvent, XmppSession};
use crate::proto::xmpp::announcer::Node;
use crate::proto::xmpp::complaints::{self, Reason};
use crate::proto::xmpp::pep::{Happening, Item, parse_event, parse_items};
use crate::proto::xmpp::presence::{available_to, disco_info};
use crate::proto::xmpp::roster::Contact;
use crate::proto::xmpp::stanza::{self, Failure, Sender};
use crate::proto::xmpp::xml::{element, ns};
use crate::types::{Announcement, MAX_INLINE_SHARES, MAX_RESOURCES_PER_CONTACT};

/// After this long all own resources have shown their presence.
pub(super) const GHOSTS_AFTER: Duration = Duration::from_secs(10);
/// Own resources that do not come back are looked for this often.
pub(super) const GHOSTS_EVERY: Duration = Duration::from_secs(3600);
/// The own nodes are asked for again this long after a failure.
const OWN_RETRY: Duration = Duration::from_secs(60);

impl XmppSession {
    pub(super) fn roster_arrived(&mut self, now: Instant, answer: Result<&Element, Failure>) {
        let heeded = self.heeded();
        match answer {
            Ok(answer) => self.roster.replace(answer),
            Err(failure) => self.events.push_back(SessionEvent::Warning(format!("no roster: {failure}"))),
        }
        self.heeded_changed(now, &heeded);
        // The stream is new, so all of them are asked.
        self.heeded().iter().for_each(|jid| self.watch.fetch(now, jid));
        if self.phase == Phase::Starting {
            self.phase = Phase::Ready;
            self.become_available();
            self.ghosts_due = Some(now + GHOSTS_AFTER);
            self.end_blocked_relations();
            self.ask_server(now);
            self.carry_out_early(now);
        }
        self.events.push_back(SessionEvent::RosterChanged);
        self.events.push_back(SessionEvent::Ready);
    }

    pub(super) fn fetched(&mut self, now: Instant, jid: &BareJid, node: Node, answer: Result<&Element, Failure>) {
        let own = *jid == self.own.to_bare();
        if !own && !self.heeds(jid) {
            return;
        }
        let announcements = match answer {
            Ok(answer) => {
                let items = parse_items(answer, node.name());
                if own {
                    self.announcer.fetched(now, node, &items);
                } else {
                    items.iter().for_each(|item| self.examine(now, jid, item));
                }
                self.watch.fetched(jid, node, &items)
            }
            Err(failure) => {
                if own && failure.is("item-not-found") {
                    self.announcer.fetched(now, node, &[]);
                } else if own && !self.announcer.is_fetched(node) {
                    // Publishing blindly could wipe what other resources announce, so it waits.
                    self.own_retry.get_or_insert(now + OWN_RETRY);
                    let text = format!("the server does not show the own items of {}: {failure}", node.name());
                    self.events.push_back(SessionEvent::Warning(text));
                }
                self.watch.fetch_failed(now, jid, node, &failure)
            }
        };
        self.announce(now, jid, announcements);
    }

    /// Says what is wrong with an item of somebody else.
    fn examine(&mut self, now: Instant, jid: &BareJid, item: &Item<'_>) {
        let Some(payload) = item.payload else { return };
        for reason in complaints::about(payload, self.address_rules) {
            self.complain(now, jid, reason);
        }
    }

    fn complain(&mut self, now: Instant, jid: &BareJid, reason: Reason) {
        self.events.extend(self.complaints.complain(now, jid, reason).map(SessionEvent::Warning));
    }

    /// Hands on what an account announced, except for this resource's own words.
    fn announce(&mut self, now: Instant, jid: &BareJid, announcements: Vec<Announcement>) {
        let own = *jid == self.own.to_bare();
        for mut announcement in announcements {
            if own {
                let me = self.own.resource().as_str();
                match &mut announcement {
                    Announcement::Account { entries, .. } => entries.retain(|entry| entry.resource != me),
                    Announcement::Shares { resource, .. }
                    | Announcement::Catalog { resource, .. }
                    | Announcement::Endpoint { resource, .. }
                    | Announcement::Parted { resource }
                    | Announcement::Withdrawn { resource } => {
                        if resource == me {
                            continue;
                        }
                    }
                }
            }
            let is_full = |shares: usize, truncated: bool| truncated && shares >= MAX_INLINE_SHARES;
            let too_many = match &announcement {
                Announcement::Shares { shares, truncated, .. } => is_full(shares.len(), *truncated),
                Announcement::Account { entries, truncated } => {
                    is_full(entries.iter().map(|entry| entry.shares.len()).sum(), *truncated)
                }
                _ => false,
            };
            if too_many {
                self.complain(now, jid, Reason::TooManyShares);
            }
            self.events.push_back(SessionEvent::Announced { jid: jid.to_string(), announcement });
        }
    }

    /// A notification counts if it comes from the bare JID of an account one may see.
    pub(super) fn message(&mut self, now: Instant, stanza: &Element) {
        if stanza.attr("type") == Some("error") {
            return;
        }
        let Sender::Jid(from) = Sender::of(stanza) else { return };
        let jid = from.to_bare();
        let own = jid == self.own.to_bare();
        if !from.is_bare() || (!own && !self.heeds(&jid)) {
            if !own
                && !self.blocking.is_blocked(&jid)
                && parse_event(stanza).iter().any(|(node, _)| Node::named(node).is_some())
            {
                self.complain(now, &jid, Reason::Stranger);
            }
            return;
        }
        for (node, happening) in parse_event(stanza) {
            let Some(node) = Node::named(node) else { continue };
            if own {
                self.announcer.observe(now, node, &happening);
            } else if self.watch.is_too_fast(now, &jid) {
                self.complain(now, &jid, Reason::TooFast);
                continue;
            } else if let Happening::Published(item) = &happening {
                self.examine(now, &jid, item);
            }
            let announcements = self.watch.happened(now, &jid, node, &happening);
            self.announce(now, &jid, announcements);
        }
    }

    pub(super) fn requested(&mut self, now: Instant, stanza: &Element, set: bool) {
        let Some(payload) = stanza.children().next() else {
            return self.out.extend(stanza::error(stanza, "modify", "bad-request"));
        };
        let answer = match (payload.name(), payload.ns().as_str(), set) {
            ("query", ns::ROSTER, true) if Sender::of(stanza).is_account(&self.own.to_bare()) => {
                self.roster_pushed(now, payload);
                stanza::result(stanza, None)
            }
            ("query", ns::ROSTER, true) => {
                if let Sender::Jid(jid) = Sender::of(stanza) {
                    self.complain(now, &jid.to_bare(), Reason::ForgedRoster);
                }
                stanza::error(stanza, "cancel", "service-unavailable")
            }
            ("block" | "unblock", ns::BLOCKING, true) if Sender::of(stanza).is_account(&self.own.to_bare()) => {
                self.block_list_pushed(now, payload);
                stanza::result(stanza, None)
            }
            ("ping", ns::PING, false) => stanza::result(stanza, None),
            ("query", ns::DISCO_INFO, false) => match disco_info(payload.attr("node")) {
                Some(info) => stanza::result(stanza, Some(info)),
                None => stanza::error(stanza, "cancel", "item-not-found"),
            },
            ("query", ns::DISCO_ITEMS, false) => stanza::result(stanza, Some(element("query", ns::DISCO_ITEMS))),
            _ => stanza::error(stanza, "cancel", "service-unavailable"),
        };
        self.out.extend(answer);
    }

    fn roster_pushed(&mut self, now: Instant, query: &Element) {
        let heeded = self.heeded();
        for jid in self.roster.push(query) {
            if !heeded.contains(&jid) && self.heeds(&jid) {
                self.introduce(&jid);
            }
        }
        self.heeded_changed(now, &heeded);
        self.events.push_back(SessionEvent::RosterChanged);
    }

    /// Somebody has just let this account see them. If they have seen its presence before that, their server may have
    /// passed over the capabilities in it, as ejabberd does, and would never notify this resource of what they announce.
    fn introduce(&mut self, jid: &BareJid) {
        if self.phase == Phase::Ready && self.roster.contact(jid).is_some_and(Contact::sees_us) {
            self.out.push_back(available_to(jid));
        }
    }

    pub(super) fn presence(&mut self, now: Instant, stanza: &Element) {
        let Sender::Jid(from) = Sender::of(stanza) else { return };
        let jid = from.to_bare();
        let resource = from.resource().map(|resource| resource.as_str().to_owned());
        match (stanza.attr("type"), resource) {
            (None, Some(resource)) => self.came_online(now, jid, resource),
            (Some("unavailable"), resource) => self.went_offline(&jid, resource.as_deref()),
            (Some("subscribe"), _) => self.asked(now, jid),
            (Some("unsubscribe"), _) if self.roster.withdraw_request(&jid) => {
                self.events.push_back(SessionEvent::RosterChanged);
            }
            _ => {}
        }
    }

    fn came_online(&mut self, now: Instant, jid: BareJid, resource: String) {
        let own = jid == self.own.to_bare();
        if (!own && !self.heeds(&jid)) || (own && resource == self.own.resource().as_str()) {
            return;
        }
        let resources = self.online.entry(jid.clone()).or_default();
        if resources.len() >= MAX_RESOURCES_PER_CONTACT || !resources.insert(resource.clone()) {
            return;
        }
        if own {
            self.announcer.other_came_online(&resource);
        }
        self.watch.came_online(now, &jid, &resource);
        self.events.push_back(SessionEvent::ContactOnline { jid: jid.to_string(), resource });
    }

    /// Without a resource all of them are gone.
    fn went_offline(&mut self, jid: &BareJid, resource: Option<&str>) {
        let Some(resources) = self.online.get_mut(jid) else { return };
        let gone: Vec<String> =
            resources.iter().filter(|name| resource.is_none_or(|gone| gone == **name)).cloned().collect();
        for resource in gone {
            resources.remove(&resource);
            self.events.push_back(SessionEvent::ContactOffline { jid: jid.to_string(), resource });
        }
    }
}
