use std::time::Duration;

use super::*;
use crate::share::Subnet;
use crate::types::{Address, AddressKind, Announcement, Share, Via};

const HASH: InfoHash = InfoHash::new([1; 20]);
const BOB: &str = "bob@x";

/// A contact or several, this node, and what became of connecting.
struct World {
    shares: ContactShares,
    filter: AddressFilter,
    refused: Refused,
    own: Endpoint,
    attempts: Attempts,
    now: Instant,
}

#[allow(clippy::disallowed_methods, reason = "any time will do")]
fn now() -> Instant {
    Instant::now()
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Bob is online, shares [`HASH`] and publishes these addresses.
fn world(addresses: &[&str]) -> World {
    let filter =
        AddressFilter { subnets: vec![Subnet::new("192.168.7.9".parse().unwrap(), 24)], ..AddressFilter::default() };
    let own = Endpoint { ipv4: true, ipv6: true, ..Endpoint::default() };
    let mut world = World {
        shares: ContactShares::new(),
        filter,
        refused: Refused::default(),
        own,
        attempts: Attempts::default(),
        now: now(),
    };
    world.has(BOB, "r", addresses);
    world
}

impl World {
    fn has(&mut self, jid: &str, resource: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| Address { socket: addr(text), kind: AddressKind::Local }).collect();
        let endpoint = Endpoint { addresses, ..Endpoint::default() };
        let shares = vec![Share { info_hash: HASH, name: "film".into(), size: 9, files: 1, complete: true }];
        let resource = resource.to_owned();
        let _ = self.shares.online(Via::FIRST, jid, &resource);
        self.tell(jid, Announcement::Endpoint { resource: resource.clone(), endpoint });
        self.tell(jid, Announcement::Shares { resource, shares, truncated: false });
    }

    fn tell(&mut self, jid: &str, announcement: Announcement) {
        let _ = self.shares.apply(Via::FIRST, jid, announcement);
    }

    fn tell_gone(&mut self) {
        let _ = self.shares.offline(Via::FIRST, BOB, "r");
    }

    fn failed(mut self, at: &str, outcome: Outcome) -> Self {
        self.attempts.failed(self.now, addr(at), outcome);
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn reach(&self) -> Reach<'_> {
        let Self { shares, filter, refused, own, attempts, now } = self;
        Reach { shares, filter, refused, own, attempts, now: *now }
    }

    /// Code and sentence, the same for the share, its owner and mostly the contact.
    fn why(&self) -> Option<(&'static str, String)> {
        let reach = self.reach();
        let why = reach.of_share(&HASH);
        assert_eq!(reach.of_owner(BOB, "r", &HASH), why);
        let not_of_contact = [Reason::Offline, Reason::Left, Reason::NotServed];
        let of_contact = why.clone().filter(|why| !not_of_contact.contains(&why.reason));
        assert_eq!(reach.of_contact(BOB), of_contact);
        why.map(|why| (why.reason.code(), why.text))
    }
}

const V4: &str = "203.0.113.7:51413";
const V6: &str = "[2001:db8::7]:51413";

/// What is expected of a world: code and sentence.
type Row = (World, &'static str, &'static str);

fn check<const N: usize>(table: [Row; N]) {
    for (world, code, text) in table {
        assert_eq!(world.why(), Some((code, text.to_owned())));
    }
}

#[test]
fn what_is_published_may_be_the_cause() {
    check([
        (world(&[V4]).with(|w| w.tell_gone()), "offline", "bob@x is not online"),
        (
            world(&[V4]).with(|w| w.tell(BOB, Announcement::Parted { resource: "r".into() })),
            "left",
            "bob@x has stopped sharing until bitween is started there again",
        ),
        (world(&[]), "no_address", "bob@x publishes no address: `xmpp.extra_addresses` there can name one"),
        (
            world(&[V6]).with(|w| w.own.ipv6 = false),
            "no_common_family",
            "bob@x publishes only IPv6 addresses, this machine has none: it takes IPv6 here, or IPv4 there",
        ),
        (
            world(&[V4]).with(|w| w.own.ipv4 = false),
            "no_common_family",
            "bob@x publishes only IPv4 addresses, this machine has none: it takes IPv4 here, or IPv6 there",
        ),
        (
            world(&["127.0.0.1:6881"]),
            "loopback",
            "127.0.0.1:6881, which bob@x publishes, leads no further than to the same machine",
        ),
        (
            world(&["224.0.0.1:6881", "0.0.0.0:2000"]),
            "unusable_address",
            "224.0.0.1:6881, which bob@x publishes, is no address of a machine",
        ),
        (
            world(&[V4]).with(|w| w.refused = crate::share::Refused::new([addr(V4)], [])),
            "blocked",
            "203.0.113.7:51413, which bob@x publishes, is also where somebody is who is blocked here",
        ),
        (
            world(&["127.0.0.1:6881", "203.0.113.7:443"]),
            "low_port",
            "bob@x listens at 203.0.113.7:443: ports below 1024 are connected to only with `xmpp.allow_privileged_ports`",
        ),
        (
            world(&["10.1.2.3:6881", "203.0.113.7:443"]),
            "private_address",
            "of what bob@x publishes nothing can be used from here, 10.1.2.3:6881 is of another private network: the router \
             there has to forward the port, `xmpp.extra_addresses` to name it",
        ),
    ]);
}

#[test]
fn so_may_be_what_became_of_the_last_attempts() {
    use Outcome::*;
    const NEAR: &str = "192.168.7.20:6881";
    check([
        (
            world(&[V6]).failed(V6, Unreachable),
            "no_route",
            "no network leads to [2001:db8::7]:51413 of bob@x: this machine's IPv6 connection does not work",
        ),
        (
            world(&[NEAR]).failed(NEAR, TimedOut),
            "no_answer_nearby",
            "nobody answers at 192.168.7.20:6881 of bob@x: a firewall there, or another network that only looks like this \
             one",
        ),
        (
            world(&[NEAR, V4, V6]).failed(NEAR, TimedOut).failed(V4, TimedOut).failed(V6, Unreachable),
            "no_answer",
            "nobody answers at 203.0.113.7:51413 of bob@x: the router there probably does not forward the port",
        ),
        (
            world(&[V4, V6]).failed(V4, TimedOut).failed(V6, TimedOut),
            "no_answer",
            "nobody answers at [2001:db8::7]:51413 of bob@x: the router there probably does not forward the port",
        ),
        (
            world(&["[::ffff:203.0.113.7]:51413"]).failed(V4, Refused),
            "refused",
            "203.0.113.7:51413 of bob@x refuses: bitween does not listen there any more, or a firewall is in the way",
        ),
        (
            world(&[V4]).failed(V4, NotBitTorrent),
            "not_bittorrent",
            "what answers at 203.0.113.7:51413 of bob@x does not speak BitTorrent: the wrong port may be forwarded there",
        ),
        (
            world(&[V4]).failed(V4, NotServed(HASH)),
            "not_served",
            "bob@x answers at 203.0.113.7:51413, but does not serve this now: busy, paused, checking its files, or not shared \
             any more",
        ),
    ]);
}

#[test]
fn while_there_is_hope_nothing_is_said() {
    let hopeful = [
        // Not tried yet, or not everywhere.
        world(&[V4]),
        world(&[V4, V6]).failed(V4, Outcome::TimedOut),
        // Not known yet which addresses this machine has.
        world(&[V6]).with(|w| (w.own.ipv4, w.own.ipv6) = (false, false)),
        // Of an interface that has nothing else.
        world(&["[fe80::1%3]:6881"]).with(|w| w.own.ipv6 = false),
        world(&[V4]).failed(V4, Outcome::Refused).with(|w| w.attempts.succeeded(addr(V4))),
        // It is there, but has no such torrent.
        world(&[V4]).failed(V4, Outcome::NotServed(InfoHash::new([2; 20]))),
        // Long ago.
        world(&[V4]).failed(V4, Outcome::Refused).with(|w| w.now += LONGEST_KEPT),
        // Another owner, another resource.
        world(&[V6]).with(|w| w.own.ipv6 = false).with(|w| w.has("eve@x", "r", &[V4])),
    ];
    for (number, world) in hopeful.iter().enumerate() {
        assert_eq!(world.reach().of_share(&HASH), None, "number {number}");
    }
    assert_eq!(world(&[]).reach().of_share(&InfoHash::new([2; 20])), None, "nobody lists it");
}

#[test]
fn of_several_owners_the_one_who_is_nearest_counts() {
    let far = world(&["10.1.2.3:6881"]).with(|w| w.has("eve@x", "r", &["203.0.113.7:51413"]));
    let far = far.failed("203.0.113.7:51413", Outcome::Refused).with(|w| w.has("abe@x", "r", &[]));
    assert_eq!(far.reach().of_share(&HASH).unwrap().reason, Reason::Refused);
    assert_eq!(far.reach().of_owner(BOB, "r", &HASH).unwrap().reason, Reason::PrivateElsewhere);
    assert_eq!(far.reach().of_contact("abe@x").unwrap().reason, Reason::NoAddress);
    assert_eq!(far.reach().of_contact("nobody@x"), None);
}

#[test]
fn attempts_are_bounded_and_the_oldest_go_first() {
    let start = now();
    let at = |number: usize| SocketAddr::from(([203, 0, 113, 7], 1024 + u16::try_from(number).unwrap()));
    let mut attempts = Attempts::default();
    for number in 0..=MAX_ATTEMPTS {
        attempts.failed(start + Duration::from_millis(number as u64), at(number), Outcome::TimedOut);
    }
    let later = start + Duration::from_millis(MAX_ATTEMPTS as u64);
    assert_eq!(attempts.0.len(), MAX_ATTEMPTS);
    assert!(attempts.get(later, at(0)).is_none() && attempts.get(later, at(1)).is_some());
    attempts.failed(later, at(1), Outcome::Refused);
    assert_eq!((attempts.0.len(), attempts.get(later, at(1)).unwrap().outcome), (MAX_ATTEMPTS, Outcome::Refused));
    attempts.retain(|addr| addr == at(7));
    assert_eq!(attempts.addresses().collect::<Vec<_>>(), [at(7)]);
    // With all of them too old there is room again.
    attempts.failed(later + LONGEST_KEPT, at(8), Outcome::TimedOut);
    assert!(attempts.get(later + LONGEST_KEPT, at(7)).is_none());
}
