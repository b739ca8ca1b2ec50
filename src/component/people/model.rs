//! What is known about contacts and this node, and when it is published for the other threads.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::PeopleOptions;
use super::blocked::Blocked;
use super::places::Places;
use super::roads::Roads;
use crate::bus::{Clock, SystemClock};
use crate::component::event::{Bus, Event, Told};
use crate::component::snapshot::{Contacts, Published, Torrents};
use crate::proto::xmpp::SessionEvent;
use crate::share::{Addresses, Change, ContactShares, Subnet, Witnesses};
use crate::types::{Announcement, Endpoint, Share, Via, Witness};

/// The snapshot is renewed at most this often: a busy server sends many announcements at once.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);

/// Changes of the roster are rare, and somebody has just asked for them.
const PUBLISH_ROSTER_EVERY: Duration = Duration::from_millis(10);

/// Changes of the network come in bursts.
const GATHER: Duration = Duration::from_millis(100);

pub(super) struct Model {
    contacts: Contacts,
    roads: Roads,
    blocked: Blocked,
    own_shares: Arc<[Share]>,
    addresses: Addresses,
    published: Published<Contacts>,
    bus: Bus,
    changed: bool,
    /// A roster itself changed, not only who of it is online.
    roster_changed: bool,
    /// The snapshot's roster does not say any more what is known.
    roster_stale: bool,
    /// Something may be had now that could not be had before.
    new_sources: bool,
    last_published: Option<Instant>,
    /// At which addresses others see this machine.
    witnesses: Witnesses,
    look_every: Duration,
    next_look: Instant,
    /// The day, as the Unix time of its beginning.
    today: u64,
}

impl Model {
    /// Looks at the network and publishes the first snapshot.
    pub(super) fn new(options: &PeopleOptions, bus: Bus, published: Published<Contacts>, torrents: &Torrents) -> Self {
        let now = SystemClock.now();
        let mut contacts = Contacts::default();
        contacts.filter.allow_loopback = options.allow_loopback;
        contacts.filter.allow_low_ports = options.allow_low_ports;
        contacts.shares = ContactShares::with_limits(options.limits);
        let mut addresses = Addresses::new(options.addresses.clone());
        addresses.set_port(Some(torrents.port).filter(|port| *port != 0));
        let mut model = Self {
            contacts,
            roads: Roads::default(),
            blocked: Blocked::new(Places::open(options.facts.clone())),
            own_shares: Arc::clone(&torrents.shares),
            addresses,
            published,
            bus,
            changed: true,
            roster_changed: false,
            roster_stale: false,
            new_sources: true,
            last_published: None,
            witnesses: Witnesses::default(),
            look_every: Duration::ZERO,
            next_look: now,
            today: today(),
        };
        model.look(now);
        model.tell_endpoint(now);
        model
    }

    /// Looks at the interfaces and the calendar if it is time, and tells contacts what changed.
    pub(super) fn look(&mut self, now: Instant) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + self.look_every;
        let seen_elsewhere = self.count_witnesses(now);
        let new_day = std::mem::replace(&mut self.today, today()) != self.today;
        let new_addresses = match if_addrs::get_if_addrs() {
            Ok(interfaces) => self.set_interfaces(&interfaces),
            Err(error) => {
                log::warn!("cannot list the network interfaces: {error}");
                false
            }
        };
        if new_day || new_addresses || seen_elsewhere {
            self.tell_endpoint(now);
        }
    }

    /// Without being told of a change it looks this often.
    pub(super) fn set_look_every(&mut self, pause: Duration) {
        self.next_look += pause.saturating_sub(self.look_every);
        self.look_every = pause;
    }

    /// The network is said to have changed.
    pub(super) fn look_soon(&mut self, now: Instant) {
        self.next_look = self.next_look.min(now + GATHER);
    }

    /// Somebody sees this machine at this address.
    pub(super) fn observed(&mut self, now: Instant, witness: Witness, ip: IpAddr) {
        self.witnesses.hear(now, witness, ip);
        if self.count_witnesses(now) {
            self.tell_endpoint(now);
        }
    }

    /// Takes what is believed of the own address. True if it changes what is told.
    fn count_witnesses(&mut self, now: Instant) -> bool {
        let shares = &self.contacts.shares;
        let is_there = |ip: IpAddr| {
            let resources = shares.iter().flat_map(|(_, contact)| contact.resources());
            let mut addresses = resources.flat_map(|(_, resource)| resource.addresses());
            addresses.any(|address| address.socket.ip().to_canonical() == ip)
        };
        let observed = self.witnesses.believed(now, is_there);
        if let Some(until) = self.witnesses.next_change(now) {
            self.next_look = self.next_look.min(until);
        }
        self.addresses.set_observed(observed)
    }

    fn set_interfaces(&mut self, interfaces: &[if_addrs::Interface]) -> bool {
        self.contacts.filter.subnets = interfaces.iter().filter(|i| !i.is_loopback()).map(subnet).collect();
        let changed = self.addresses.set_interfaces(interfaces.iter().map(if_addrs::Interface::ip).collect());
        // Another network: contacts' private addresses may be reachable now.
        self.new_sources |= changed;
        changed
    }

    pub(super) fn set_port(&mut self, now: Instant, port: u16) {
        if self.addresses.set_port(Some(port).filter(|port| *port != 0)) {
            self.tell_endpoint(now);
        }
    }

    /// Says how this node can be reached. The snapshot first: whoever begins to listen now reads it there.
    fn tell_endpoint(&mut self, now: Instant) {
        let (ipv4, ipv6) = self.addresses.families();
        let endpoint = Arc::new(Endpoint {
            addresses: self.addresses.list().to_vec(),
            ipv4,
            ipv6,
            software: concat!("bitween/", env!("CARGO_PKG_VERSION")).to_owned(),
            certificate: self.contacts.local.as_ref().map(|local| local.fingerprint.replace(' ', "")),
            seen: Some(self.today),
        });
        self.contacts.endpoint = Arc::clone(&endpoint);
        self.changed = true;
        self.publish_at_once(now);
        // Nobody listens while there is no account.
        let _ = self.bus.publish(Event::PublishEndpoint(endpoint));
    }

    /// Takes in what was heard through one of the roads.
    pub(super) fn hear(&mut self, now: Instant, via: Via, told: Told) {
        match told {
            Told::Session(event) => self.apply(via, event),
            Told::Account(status) => {
                if let Some((jid, resource)) = status.as_ref().and_then(|status| status.jid.split_once('/')) {
                    self.leave_out(jid, resource);
                }
                self.changed |= self.roads.set_account(via, status);
                self.count_announced();
                self.publish_at_once(now);
            }
            Told::Left => {
                let change = self.contacts.shares.forget_all(via);
                if via == Via::Local {
                    self.contacts.local = None;
                }
                self.roads.leave(via);
                self.blocked.forget(via);
                self.note(change);
                (self.changed, self.roster_stale) = (true, true);
                self.count_announced();
            }
            Told::Roster { entries, requests } => {
                self.roads.set_roster(via, entries, requests);
                (self.changed, self.roster_changed, self.roster_stale) = (true, true, true);
            }
            Told::Blocked(jids) => {
                self.blocked.set(via, jids, &self.contacts);
                self.changed = true;
                self.publish_at_once(now);
            }
            Told::Confirmed(shares) => {
                self.roads.set_confirmed(via, shares);
                self.count_announced();
            }
            Told::Remains(remains) => {
                self.changed |= self.roads.set_remains(via, remains);
                self.publish_at_once(now);
            }
            Told::Listed { jid, resource, info_hash, table } => {
                let change = self.contacts.shares.apply_catalog(via, &jid, &resource, &info_hash, table);
                self.note(change);
            }
            Told::Warning(text) => {
                self.roads.warn(via, text);
                self.changed = true;
            }
            Told::Local(status) => {
                let is_new = self.contacts.local.as_ref().is_none_or(|old| old.fingerprint != status.fingerprint);
                self.contacts.local = Some(status);
                self.changed = true;
                if is_new {
                    self.tell_endpoint(now);
                }
            }
            Told::Answer { reply, outcome } => {
                self.publish_at_once(now);
                reply.send(outcome);
            }
        }
    }

    /// Takes in what a session noticed.
    fn apply(&mut self, via: Via, mut event: SessionEvent) {
        if self.is_about_ourselves(&event) {
            return;
        }
        if let SessionEvent::Announced { jid, announcement: Announcement::Account { entries, .. } } = &mut event {
            entries.retain(|entry| !self.roads.is_own(jid, &entry.resource));
        }
        // An announcement says nothing of who is online; all the others may.
        let stale = !matches!(event, SessionEvent::Announced { .. });
        let shares = &mut self.contacts.shares;
        let change = match event {
            SessionEvent::ContactOnline { jid, resource } => shares.online(via, &jid, &resource),
            SessionEvent::ContactOffline { jid, resource } => shares.offline(via, &jid, &resource),
            SessionEvent::AllOffline => shares.all_offline(via),
            SessionEvent::Announced { jid, announcement } => shares.apply(via, &jid, announcement),
            SessionEvent::SharesGone { jid } => shares.forget(via, &jid),
            SessionEvent::SubscriptionRequest { jid, more } => {
                let others = if more == 0 { String::new() } else { format!("; {more} more have asked before") };
                log::info!("{jid} asks to see our shares: `bitween contacts accept {jid}` allows it{others}");
                return;
            }
            SessionEvent::Warning(text) => {
                self.roads.warn(via, text);
                self.changed = true;
                return;
            }
            SessionEvent::RosterChanged
            | SessionEvent::Ready
            | SessionEvent::Blocked { .. }
            | SessionEvent::SeenAt(_)
            | SessionEvent::StunServers(_)
            | SessionEvent::CommandDone { .. } => return,
        };
        self.note(change);
        self.roster_stale |= stale && change != Change::Nothing;
    }

    fn note(&mut self, change: Change) {
        self.changed |= change != Change::Nothing;
        self.new_sources |= change == Change::Sources;
    }

    /// Another own account may be a contact. What this program itself announces there is no source.
    fn is_about_ourselves(&self, event: &SessionEvent) -> bool {
        let (jid, resource) = match event {
            SessionEvent::ContactOnline { jid, resource } => (jid, resource),
            SessionEvent::Announced {
                jid,
                announcement:
                    Announcement::Shares { resource, .. }
                    | Announcement::Catalog { resource, .. }
                    | Announcement::Endpoint { resource, .. },
            } => (jid, resource),
            _ => return false,
        };
        self.roads.is_own(jid, resource)
    }

    /// What was heard of this program itself before it was known that it is.
    fn leave_out(&mut self, jid: &str, resource: &str) {
        let known: Vec<Via> =
            self.roads.all().filter(|via| self.contacts.shares.contact_via(*via, jid).is_some()).collect();
        for via in known {
            let change = self.contacts.shares.forget_resource(via, jid, resource);
            self.note(change);
        }
    }

    /// The own shares have changed: what stays is still announced, what is new not yet.
    pub(super) fn set_own_shares(&mut self, shares: Arc<[Share]>) {
        self.own_shares = shares;
        self.count_announced();
    }

    fn count_announced(&mut self) {
        let announced = self.roads.announced(&self.own_shares);
        if announced != *self.contacts.announced {
            self.contacts.announced = Arc::new(announced);
            self.changed = true;
        }
    }

    /// Publishes the snapshot if something changed, however short ago the last one was.
    pub(super) fn publish_at_once(&mut self, now: Instant) {
        self.last_published = None;
        self.publish(now);
    }

    /// Publishes the snapshot if something changed and it is time.
    pub(super) fn publish(&mut self, now: Instant) {
        if !self.changed || self.publish_due().is_some_and(|due| now < due) {
            return;
        }
        if std::mem::take(&mut self.roster_stale) {
            self.contacts.roster = self.roads.roster(&self.contacts.shares);
        }
        self.roads.describe(&mut self.contacts);
        self.new_sources |= self.blocked.describe(&mut self.contacts);
        (self.changed, self.roster_changed) = (false, false);
        self.last_published = Some(now);
        self.published.publish(Arc::new(self.contacts.clone()));
        if std::mem::take(&mut self.new_sources) {
            // Nobody listens while the program starts or stops.
            let _ = self.bus.publish(Event::RecheckHandles);
        }
    }

    /// When [`Model::publish`] or [`Model::look`] has something to do.
    pub(super) fn poll_timeout(&self) -> Instant {
        match self.publish_due() {
            Some(due) if self.changed => self.next_look.min(due),
            _ => self.next_look,
        }
    }

    fn publish_due(&self) -> Option<Instant> {
        let pause = if self.roster_changed { PUBLISH_ROSTER_EVERY } else { PUBLISH_EVERY };
        self.last_published.map(|last| last + pause)
    }
}

fn subnet(interface: &if_addrs::Interface) -> Subnet {
    let prefix = match &interface.addr {
        if_addrs::IfAddr::V4(v4) => v4.prefixlen,
        if_addrs::IfAddr::V6(v6) => v6.prefixlen,
    };
    let ip: IpAddr = interface.ip();
    Subnet::new(ip, prefix)
}

#[expect(clippy::disallowed_methods, reason = "a component is where real time comes in")]
fn today() -> u64 {
    const DAY: u64 = 24 * 60 * 60;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_secs() / DAY * DAY
}
