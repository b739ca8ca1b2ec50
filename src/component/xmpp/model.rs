//! What the XMPP thread knows about contacts and itself, and publishes for the other threads.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::XmppThreadOptions;
use crate::component::event::{Bus, Event};
use crate::component::snapshot::{AccountStatus, Contacts, Published, RosterEntry};
use crate::proto::xmpp::roster::{Contact, Subscription};
use crate::proto::xmpp::{SessionEvent, XmppSession};
use crate::share::{Addresses, Change, ContactShares, Subnet};
use crate::types::{Endpoint, InfoHash, Share};

/// The snapshot is renewed at most this often: a busy server sends many announcements at once.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);

/// Changes of the roster are rare, and somebody has just asked for them.
const PUBLISH_ROSTER_EVERY: Duration = Duration::from_millis(10);

/// Interfaces are looked at this often. Cheap, and an address that has just come is soon known.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Warnings kept for the user.
const MAX_WARNINGS: usize = 50;

pub(super) struct Model {
    pub(super) contacts: Contacts,
    pub(super) own_shares: Arc<[Share]>,
    addresses: Addresses,
    published: Published<Contacts>,
    bus: Bus,
    changed: bool,
    /// The roster itself changed, not only who of it is online.
    roster_changed: bool,
    /// The server has confirmed the own shares as they are.
    all_announced: bool,
    /// The snapshot's roster does not say any more what the session's says.
    roster_stale: bool,
    /// Something may be had now that could not be had before.
    new_sources: bool,
    last_published: Option<Instant>,
    next_look: Instant,
    /// The day, as the Unix time of its beginning.
    today: u64,
}

impl Model {
    pub(super) fn new(
        options: &XmppThreadOptions,
        bus: Bus,
        published: Published<Contacts>,
        port: u16,
        own_shares: Arc<[Share]>,
        now: Instant,
    ) -> Self {
        let mut contacts = Contacts::default();
        contacts.filter.allow_loopback = options.allow_loopback;
        contacts.filter.allow_low_ports = options.allow_low_ports;
        contacts.shares = ContactShares::with_limits(options.limits);
        let mut addresses = Addresses::new(options.addresses.clone());
        addresses.set_port(Some(port).filter(|port| *port != 0));
        let mut model = Self {
            contacts,
            own_shares,
            addresses,
            published,
            bus,
            changed: true,
            roster_changed: false,
            all_announced: false,
            roster_stale: false,
            new_sources: true,
            last_published: None,
            next_look: now,
            today: today(),
        };
        model.look(now);
        model
    }

    /// True if contacts must be told about new addresses, or that another day has begun.
    pub(super) fn look(&mut self, now: Instant) -> bool {
        if now < self.next_look {
            return false;
        }
        self.next_look = now + LOOK_EVERY;
        let new_day = std::mem::replace(&mut self.today, today()) != self.today;
        let interfaces = match if_addrs::get_if_addrs() {
            Ok(interfaces) => interfaces,
            Err(error) => {
                log::warn!("cannot list the network interfaces: {error}");
                return new_day;
            }
        };
        self.contacts.filter.subnets = interfaces.iter().filter(|i| !i.is_loopback()).map(subnet).collect();
        let changed = self.addresses.set_interfaces(interfaces.iter().map(if_addrs::Interface::ip).collect());
        if changed {
            // Another network: contacts' private addresses may be reachable now.
            self.new_sources = true;
            self.note_addresses();
        }
        changed || new_day
    }

    pub(super) fn set_port(&mut self, port: u16) -> bool {
        let changed = self.addresses.set_port(Some(port).filter(|port| *port != 0));
        self.note_addresses();
        changed
    }

    fn note_addresses(&mut self) {
        self.contacts.own_addresses = self.addresses.list().iter().map(|address| address.socket).collect();
        self.changed = true;
    }

    /// How this node can be reached, as contacts are told.
    pub(super) fn endpoint(&self) -> Endpoint {
        let (ipv4, ipv6) = self.addresses.families();
        Endpoint {
            addresses: self.addresses.list().to_vec(),
            ipv4,
            ipv6,
            software: concat!("bitween/", env!("CARGO_PKG_VERSION")).to_owned(),
            certificate: None,
            seen: Some(self.today),
        }
    }

    pub(super) fn set_account(&mut self, status: Option<AccountStatus>) {
        self.changed |= self.contacts.account != status;
        self.contacts.account = status;
    }

    pub(super) fn warn(&mut self, text: String) {
        log::warn!("{text}");
        if self.contacts.warnings.len() >= MAX_WARNINGS {
            self.contacts.warnings.remove(0);
        }
        self.contacts.warnings.push(text);
        self.changed = true;
    }

    /// What accounts that were left have announced and still stands on their servers. True if that changed.
    pub(super) fn set_remains(&mut self, remains: Vec<String>) -> bool {
        let differs = self.contacts.remains != remains;
        for line in remains.iter().filter(|line| !self.contacts.remains.contains(line)) {
            log::warn!("{line}");
        }
        self.contacts.remains = remains;
        self.changed |= differs;
        differs
    }

    /// A new stream begins: what is still wrong will be told again.
    pub(super) fn forget_warnings(&mut self) {
        self.contacts.warnings.clear();
        self.changed = true;
    }

    /// Takes in what happened.
    pub(super) fn apply(&mut self, event: SessionEvent) {
        let shares = &mut self.contacts.shares;
        let revision = shares.revision();
        // An announcement says nothing of who is online; all the others may.
        self.roster_stale |= !matches!(event, SessionEvent::Announced { .. });
        let change = match event {
            SessionEvent::ContactOnline { jid, resource } => shares.online(&jid, &resource),
            SessionEvent::ContactOffline { jid, resource } => shares.offline(&jid, &resource),
            SessionEvent::AllOffline => shares.all_offline(),
            SessionEvent::Announced { jid, announcement } => shares.apply(&jid, announcement),
            SessionEvent::SharesGone { jid } => shares.forget(&jid),
            SessionEvent::SubscriptionRequest { jid } => {
                log::info!("{jid} asks to see our shares: `bitween contacts accept {jid}` allows it");
                Change::Nothing
            }
            SessionEvent::Warning(text) => return self.warn(text),
            SessionEvent::RosterChanged => {
                self.roster_changed = true;
                Change::Nothing
            }
            SessionEvent::Ready | SessionEvent::CommandDone { .. } => Change::Nothing,
        };
        self.new_sources |= change == Change::Sources;
        self.changed |= self.roster_stale || self.contacts.shares.revision() != revision;
    }

    fn read_roster(&mut self, session: &XmppSession) {
        let roster = session.roster();
        let shares = &self.contacts.shares;
        let online = |contact: &Contact| {
            let resources = shares.contact(contact.jid.as_str()).into_iter().flat_map(|known| known.resources());
            resources.filter(|(_, resource)| resource.is_online()).map(|(name, _)| name.to_owned()).collect()
        };
        let entry = |contact: &Contact| RosterEntry {
            jid: contact.jid.to_string(),
            name: contact.name.clone(),
            subscription: word(contact.subscription).to_owned(),
            pending: contact.asked,
            resources: online(contact),
        };
        self.contacts.roster = roster.contacts().map(entry).collect();
        self.contacts.requests = roster.pending().iter().map(ToString::to_string).collect();
    }

    /// Everything we know about contacts goes with the account.
    pub(super) fn forget_contacts(&mut self) {
        self.contacts.shares.clear();
        self.contacts.roster = Arc::default();
        self.contacts.requests.clear();
        self.contacts.announced = Arc::default();
        self.all_announced = false;
        (self.changed, self.roster_stale) = (true, false);
    }

    /// The own shares have changed: what stays is still announced, what is new not yet.
    pub(super) fn set_own_shares(&mut self, shares: Arc<[Share]>) {
        self.own_shares = shares;
        self.all_announced = false;
        let announced = &self.contacts.announced;
        let still: HashSet<InfoHash> = self.own_hashes().filter(|hash| announced.contains(hash)).collect();
        if still.len() != announced.len() {
            self.contacts.announced = Arc::new(still);
            self.changed = true;
        }
    }

    /// If the server has confirmed all that was to be announced, it has confirmed the own shares.
    pub(super) fn set_announced(&mut self, confirmed: bool) {
        if confirmed && !std::mem::replace(&mut self.all_announced, true) {
            self.contacts.announced = Arc::new(self.own_hashes().collect());
            self.changed = true;
        }
    }

    fn own_hashes(&self) -> impl Iterator<Item = InfoHash> {
        self.own_shares.iter().map(|share| share.info_hash)
    }

    /// Publishes the snapshot if something changed, however short ago the last one was.
    pub(super) fn publish_at_once(&mut self, now: Instant, session: Option<&XmppSession>) {
        self.last_published = None;
        self.publish(now, session);
    }

    /// Publishes the snapshot if something changed and it is time.
    pub(super) fn publish(&mut self, now: Instant, session: Option<&XmppSession>) {
        if !self.changed || self.publish_due().is_some_and(|due| now < due) {
            return;
        }
        if let Some(session) = session.filter(|_| std::mem::take(&mut self.roster_stale)) {
            self.read_roster(session);
        }
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

const fn word(subscription: Subscription) -> &'static str {
    match subscription {
        Subscription::None => "none",
        Subscription::To => "to",
        Subscription::From => "from",
        Subscription::Both => "both",
    }
}
