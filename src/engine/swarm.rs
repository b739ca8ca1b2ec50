//! The addresses of one torrent: whom to connect to next, how often it failed, and whom never again.
//!
//! Each address is tried with growing pauses. What a person named is never forgotten, and what a contact named only when
//! it failed and room is needed; others are after some failures. Bans go by host ([`Host`]: an IPv6 /64 is one), except on
//! loopback, where many peers share one: there by address with port and by peer id. Not here: connections (the torrent)
//! and sockets (the reactor). Bounded throughout.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::types::{Host, PeerId, SortedMap};

/// Addresses kept at most. Taste: a tracker names 50 to 200 at once.
const MAX_CANDIDATES: usize = 2000;
/// Bans kept at most, the oldest goes first.
const MAX_BANS: usize = 4096;
/// Pause after the first failure; doubles with each further one...
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// ... up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// ... or up to this for an address that was given by hand: somebody waits for it.
const LONGEST_MANUAL_PAUSE: Duration = Duration::from_secs(60);
/// Failures after which an address that nobody in particular named is forgotten.
const MAX_FAILURES: u32 = 5;
/// A connection that lasted this long was a good one: earlier failures are forgiven.
const GOOD_CONNECTION: Duration = Duration::from_secs(60);

/// Who told us an address. The first ones are tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Given by hand. Kept for ever.
    Manual,
    /// From a contact's share list. Kept as long as there is room: contacts move, and their old addresses stay behind.
    Contact,
    /// From a tracker.
    Tracker,
    /// From another peer (BEP 11).
    Pex,
    /// The peer came to us and said where it listens.
    Incoming,
}

impl Source {
    /// Somebody whom the user knows, or the user, named the address.
    const fn is_named(self) -> bool {
        matches!(self, Self::Manual | Self::Contact)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Connecting,
    Connected,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    source: Source,
    state: State,
    failures: u32,
    not_before: Instant,
    /// It has every piece, so a seed has no use for it.
    seed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ban {
    Host(Host),
    Addr(SocketAddr),
    Id(PeerId),
}

/// Which addresses are to be connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Not those of seeds: we are one.
    pub leeches: bool,
    /// Only those that the user or a contact named.
    pub named: bool,
}

/// Known addresses and bans.
#[derive(Debug, Default)]
pub(super) struct Swarm {
    candidates: SortedMap<SocketAddr, Candidate>,
    bans: VecDeque<Ban>,
    connecting: usize,
}

impl Swarm {
    /// No address is known, and none is banned.
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty() && self.bans.is_empty()
    }

    /// Learns an address. False if it is refused: banned, impossible, or there are too many.
    pub fn add(&mut self, now: Instant, addr: SocketAddr, source: Source) -> bool {
        let addr = canonical(addr);
        if addr.port() == 0 || addr.ip().is_unspecified() || addr.ip().is_multicast() || self.is_banned(addr, None) {
            return false;
        }
        if let Some(known) = self.candidates.get_mut(&addr) {
            known.source = known.source.min(source);
            // Who tells anew has a reason: a long pause from an absence would be in vain.
            let pause = match source {
                Source::Manual => Duration::ZERO,
                Source::Contact => FIRST_PAUSE,
                _ => LONGEST_PAUSE,
            };
            known.not_before = known.not_before.min(now + pause);
            return true;
        }
        if self.candidates.len() >= MAX_CANDIDATES && !self.make_room(source) {
            return false;
        }
        let candidate = Candidate { source, state: State::Idle, failures: 0, not_before: now, seed: false };
        self.candidates.insert(addr, candidate);
        true
    }

    /// The address to connect to now; it counts as being connected to. Fewest failures first, then the best source, then
    /// IPv6, then by chance.
    pub fn next(&mut self, now: Instant, wanted: Wanted, rng: &mut Rng) -> Option<SocketAddr> {
        let ready = self.candidates.iter_mut().filter(|(_, c)| c.is_wanted(wanted) && c.not_before <= now);
        let (addr, candidate) = ready.min_by_key(|(addr, c)| (c.failures, c.source, addr.is_ipv4(), rng.u32(..)))?;
        candidate.state = State::Connecting;
        self.connecting += 1;
        Some(*addr)
    }

    /// When [`Self::next`] will have something. `None` if never.
    pub fn next_ready(&self, wanted: Wanted) -> Option<Instant> {
        self.candidates.values().filter(|c| c.is_wanted(wanted)).map(|c| c.not_before).min()
    }

    /// Was this address, or another port of its host, named by the user or a contact? On loopback, where strangers live
    /// beside them, only the address itself counts.
    pub fn is_named(&self, addr: SocketAddr) -> bool {
        let addr = canonical(addr);
        let any_port = |port| SocketAddr::new(addr.ip(), if addr.ip().is_loopback() { addr.port() } else { port });
        let mut of_host = self.candidates.range_from(&any_port(0)).take_while(|(at, _)| **at <= any_port(u16::MAX));
        of_host.any(|(_, candidate)| candidate.source.is_named())
    }

    /// Connections being made.
    pub const fn connecting(&self) -> usize {
        self.connecting
    }

    /// Addresses neither connected nor being connected to.
    pub fn idle(&self) -> usize {
        self.candidates.values().filter(|candidate| candidate.state == State::Idle).count()
    }

    /// Number of bans.
    pub fn bans(&self) -> usize {
        self.bans.len()
    }

    /// A connection could not be made.
    pub fn failed(&mut self, now: Instant, addr: SocketAddr) {
        self.ended(now, addr, Duration::ZERO);
    }

    /// There is a connection to this address now.
    pub fn connected(&mut self, addr: SocketAddr) {
        self.set_state(canonical(addr), State::Connected);
    }

    /// The connection to this address has ended after `lasted`.
    pub fn ended(&mut self, now: Instant, addr: SocketAddr, lasted: Duration) {
        let addr = canonical(addr);
        self.set_state(addr, State::Idle);
        let Some(candidate) = self.candidates.get_mut(&addr) else { return };
        if lasted >= GOOD_CONNECTION {
            candidate.failures = 0;
        }
        let longest = if candidate.source == Source::Manual { LONGEST_MANUAL_PAUSE } else { LONGEST_PAUSE };
        candidate.not_before = now + pause(candidate.failures).min(longest);
        candidate.failures += 1;
        if candidate.failures >= MAX_FAILURES && !candidate.source.is_named() {
            self.candidates.remove(&addr);
        }
    }

    /// No need to try this address soon: it leads to a peer that is connected in another way, or that was of no use.
    pub fn postpone(&mut self, now: Instant, addr: SocketAddr) {
        let addr = canonical(addr);
        self.set_state(addr, State::Idle);
        if let Some(candidate) = self.candidates.get_mut(&addr) {
            candidate.not_before = now + LONGEST_PAUSE;
        }
    }

    /// Every address may be tried again at once.
    pub fn forgive(&mut self, now: Instant) {
        for candidate in self.candidates.values_mut() {
            candidate.failures = 0;
            candidate.not_before = now;
        }
    }

    /// The peer at this address has every piece.
    pub fn is_seed(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.candidates.get_mut(&canonical(addr)) {
            candidate.seed = true;
        }
    }

    /// Never again: `addrs` are all addresses the peer is known by.
    pub fn ban(&mut self, addrs: &[SocketAddr], id: PeerId) {
        for addr in addrs {
            let addr = canonical(*addr);
            if addr.ip().is_loopback() {
                self.push_ban(Ban::Addr(addr));
                self.push_ban(Ban::Id(id));
            } else {
                self.push_ban(Ban::Host(Host::of(addr.ip())));
            }
        }
        let banned: Vec<SocketAddr> = self.candidates.keys().copied().filter(|a| self.is_banned(*a, None)).collect();
        for addr in banned {
            self.set_state(addr, State::Idle);
            self.candidates.remove(&addr);
        }
    }

    /// Is this peer banned?
    pub fn is_banned(&self, addr: SocketAddr, id: Option<PeerId>) -> bool {
        let addr = canonical(addr);
        self.bans.iter().any(|ban| match ban {
            Ban::Host(host) => *host == Host::of(addr.ip()),
            Ban::Addr(banned) => *banned == addr,
            Ban::Id(banned) => addr.ip().is_loopback() && Some(*banned) == id,
        })
    }

    fn push_ban(&mut self, ban: Ban) {
        if self.bans.contains(&ban) {
            return;
        }
        if self.bans.len() >= MAX_BANS {
            self.bans.pop_front();
        }
        self.bans.push_back(ban);
    }

    fn set_state(&mut self, addr: SocketAddr, state: State) {
        let Some(candidate) = self.candidates.get_mut(&addr) else { return };
        if candidate.state == State::Connecting {
            self.connecting -= 1;
        }
        if state == State::Connecting {
            self.connecting += 1;
        }
        candidate.state = state;
    }

    /// Drops the worst idle address if it is worse than a new one from `source`.
    fn make_room(&mut self, source: Source) -> bool {
        let idle = self.candidates.iter().filter(|(_, c)| c.state == State::Idle && c.source != Source::Manual);
        let worst = idle.max_by_key(|(_, c)| (c.failures, c.source));
        let Some((addr, _)) = worst.filter(|(_, c)| c.failures > 0 || c.source > source) else { return false };
        let addr = *addr;
        self.candidates.remove(&addr);
        true
    }
}

impl Candidate {
    fn is_wanted(&self, wanted: Wanted) -> bool {
        self.state == State::Idle && !(wanted.leeches && self.seed) && (!wanted.named || self.source.is_named())
    }
}

fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE)
}

/// An IPv4 address that came in IPv6 clothes (from a dual-stack socket) is the IPv4 address.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    const ANY: Wanted = Wanted { leeches: false, named: false };

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn id(n: u8) -> PeerId {
        PeerId::new([n; 20])
    }

    #[test]
    fn an_address_is_connected_to_once_at_a_time() {
        let now = Instant::now();
        let mut rng = Rng::with_seed(1);
        let mut swarm = Swarm::default();
        assert!(swarm.add(now, addr("10.0.0.1:6881"), Source::Tracker));
        assert!(swarm.add(now, addr("[::ffff:10.0.0.1]:6881"), Source::Manual));
        assert_eq!(swarm.next(now, ANY, &mut rng), Some(addr("10.0.0.1:6881")));
        assert_eq!(swarm.connecting(), 1);
        assert_eq!(swarm.next(now, ANY, &mut rng), None);
        swarm.connected(addr("10.0.0.1:6881"));
        assert_eq!((swarm.connecting(), swarm.idle()), (0, 0));
        assert_eq!(swarm.next_ready(ANY), None);
    }

    #[test]
    fn of_addresses_from_the_same_source_those_with_ipv6_are_tried_first() {
        let now = Instant::now();
        let mut rng = Rng::with_seed(1);
        let mut swarm = Swarm::default();
        for n in 1..=9 {
            swarm.add(now, addr(&format!("203.0.113.{n}:6881")), Source::Contact);
            swarm.add(now, addr(&format!("[2001:db8::{n}]:6881")), Source::Contact);
        }
        swarm.add(now, addr("[2001:db8::10]:6881"), Source::Tracker);
        swarm.add(now, addr("203.0.113.10:6881"), Source::Manual);
        let order: Vec<SocketAddr> = std::iter::from_fn(|| swarm.next(now, ANY, &mut rng)).collect();
        let families: String = order.iter().map(|addr| if addr.is_ipv6() { '6' } else { '4' }).collect();
        assert_eq!(families, "46666666664444444446");
    }

    #[test]
    fn pauses_grow_and_only_strangers_are_forgotten() {
        let start = Instant::now();
        let mut rng = Rng::with_seed(1);
        for (source, left) in [(Source::Tracker, 0), (Source::Contact, 1)] {
            let mut swarm = Swarm::default();
            swarm.add(start, addr("10.0.0.1:1"), source);
            let mut now = start;
            let mut pauses = Vec::new();
            while let Some(addr) = swarm.next(now, ANY, &mut rng).filter(|_| pauses.len() < 9) {
                swarm.failed(now, addr);
                let Some(next) = swarm.next_ready(ANY) else { break };
                pauses.push((next - now).as_secs());
                now = next;
            }
            assert_eq!(pauses[..4], [10, 20, 40, 80]);
            assert!(left == 0 || pauses[6..] == [600, 600, 600], "{pauses:?}");
            assert_eq!(swarm.candidates.len(), left);
        }
    }

    #[test]
    fn a_contact_that_tells_its_address_again_is_tried_soon() {
        let now = Instant::now();
        for (source, pause) in [(Source::Contact, 10), (Source::Tracker, 60)] {
            let mut swarm = Swarm::default();
            swarm.add(now, addr("10.0.0.1:1"), Source::Manual);
            for _ in 0..5 {
                swarm.failed(now, addr("10.0.0.1:1"));
            }
            swarm.add(now, addr("10.0.0.1:1"), source);
            assert_eq!(swarm.next_ready(ANY), Some(now + Duration::from_secs(pause)), "{source:?}");
        }
    }

    #[test]
    fn a_long_connection_forgives_earlier_failures() {
        let now = Instant::now();
        let mut swarm = Swarm::default();
        swarm.add(now, addr("10.0.0.1:1"), Source::Tracker);
        for _ in 0..4 {
            swarm.failed(now, addr("10.0.0.1:1"));
        }
        swarm.ended(now, addr("10.0.0.1:1"), Duration::from_secs(61));
        assert_eq!(swarm.next_ready(ANY), Some(now + FIRST_PAUSE));
    }

    #[test]
    fn what_a_person_names_is_tried_at_once_and_then_every_minute() {
        let mut now = Instant::now();
        let mut swarm = Swarm::default();
        swarm.add(now, addr("10.0.0.1:1"), Source::Manual);
        for _ in 0..20 {
            swarm.failed(now, addr("10.0.0.1:1"));
            let pause = swarm.next_ready(ANY).unwrap() - now;
            assert!(pause <= LONGEST_MANUAL_PAUSE, "{pause:?}");
            now += pause;
        }
        swarm.failed(now, addr("10.0.0.1:1"));
        swarm.add(now, addr("10.0.0.1:1"), Source::Manual);
        assert_eq!(swarm.next_ready(ANY), Some(now));
    }

    #[test]
    fn a_ban_covers_the_host_but_on_loopback_only_the_peer() {
        let now = Instant::now();
        let mut swarm = Swarm::default();
        swarm.add(now, addr("10.0.0.1:2"), Source::Manual);
        swarm.ban(&[addr("10.0.0.1:1")], id(1));
        assert!(swarm.candidates.is_empty());
        assert!(!swarm.add(now, addr("10.0.0.1:3"), Source::Manual));
        assert!(!swarm.is_banned(addr("10.0.0.2:3"), Some(id(1))));

        swarm.ban(&[addr("[2001:db8::1]:1")], id(1));
        assert!(swarm.is_banned(addr("[2001:db8::ffff]:2"), None), "whoever has one address has the whole /64");
        assert!(!swarm.is_banned(addr("[2001:db8:0:1::1]:1"), None));

        swarm.ban(&[addr("127.0.0.1:50000"), addr("127.0.0.1:6881")], id(2));
        assert!(!swarm.add(now, addr("127.0.0.1:6881"), Source::Tracker));
        assert!(swarm.add(now, addr("127.0.0.1:6882"), Source::Tracker));
        assert!(swarm.is_banned(addr("127.0.0.1:50001"), Some(id(2))));
        assert!(!swarm.is_banned(addr("127.0.0.1:50001"), Some(id(3))));
    }

    #[test]
    fn the_list_is_bounded_and_prefers_what_people_named() {
        let now = Instant::now();
        let mut swarm = Swarm::default();
        for n in 0..3000_u32 {
            let ip = std::net::Ipv4Addr::from_bits(0x0a00_0001 + n);
            assert_eq!(swarm.add(now, SocketAddr::from((ip, 1)), Source::Pex), (n as usize) < MAX_CANDIDATES);
        }
        assert!(swarm.add(now, addr("10.9.9.9:1"), Source::Contact));
        assert_eq!(swarm.candidates.len(), MAX_CANDIDATES);
        assert_eq!(swarm.next(now, ANY, &mut Rng::with_seed(1)), Some(addr("10.9.9.9:1")));
    }

    #[test]
    fn a_contact_that_names_ever_new_addresses_leaves_room_for_others() {
        let now = Instant::now();
        let mut swarm = Swarm::default();
        swarm.add(now, addr("10.9.9.1:1"), Source::Manual);
        swarm.failed(now, addr("10.9.9.1:1"));
        for n in 0..3000_u32 {
            let moved = SocketAddr::from((std::net::Ipv4Addr::from_bits(0x0a00_0001 + n), 1));
            assert!(swarm.add(now, moved, Source::Contact), "the old ones failed");
            swarm.failed(now, moved);
        }
        assert!(swarm.add(now, addr("10.9.9.9:1"), Source::Tracker));
        assert_eq!(swarm.candidates.len(), MAX_CANDIDATES);
        assert!(swarm.candidates.contains_key(&addr("10.9.9.1:1")), "given by hand");
    }

    #[test]
    fn impossible_addresses_are_refused_and_seeds_are_no_use_to_seeds() {
        let now = Instant::now();
        let mut swarm = Swarm::default();
        for bad in ["10.0.0.1:0", "0.0.0.0:1", "224.0.0.1:1", "[::]:1", "[ff02::1]:1"] {
            assert!(!swarm.add(now, addr(bad), Source::Manual), "{bad}");
        }
        swarm.add(now, addr("10.0.0.1:1"), Source::Manual);
        swarm.is_seed(addr("10.0.0.1:1"));
        assert_eq!(swarm.next_ready(Wanted { leeches: true, named: false }), None);
        assert_eq!(swarm.next_ready(ANY), Some(now));
    }
}
