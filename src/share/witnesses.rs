//! At which public addresses others see this machine, and whom of them to believe.
//!
//! A server of the user's own account is believed, and so are STUN servers that it names. A peer is anybody: what one says would let them publish a victim's
//! address in our name, and have our contacts call there. So two peers of different networks have to agree, peers that we
//! chose to call; and where a contact says to be, we are not, whoever else says so. Nothing is believed for longer than an
//! hour without being said again, and only public addresses are.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::trust::AddressFilter;
use crate::types::{Host, SortedMap, Witness};

/// What was said longer ago does not count.
const BELIEVED_FOR: Duration = Duration::from_secs(3600);
/// Statements kept; beyond them the oldest goes.
const MAX_STATEMENTS: usize = 256;
/// Addresses believed at a time.
const MAX_BELIEVED: usize = 4;
/// Peers of different networks that have to agree.
const QUORUM: usize = 2;

/// The statements: the last of each witness about each family.
#[derive(Clone, Debug, Default)]
pub struct Witnesses {
    said: SortedMap<(Witness, bool), (IpAddr, Instant)>,
}

impl Witnesses {
    /// Somebody sees this machine at `ip`.
    pub fn hear(&mut self, now: Instant, witness: Witness, ip: IpAddr) {
        let ip = ip.to_canonical();
        let credible = match witness {
            Witness::Server(_) | Witness::Stun(_) => true,
            Witness::Peer(host) => is_public(host.ip()),
        };
        if !credible || !is_public(ip) {
            return;
        }
        let key = (witness, ip.is_ipv4());
        if !self.said.contains_key(&key) && self.said.len() >= MAX_STATEMENTS {
            // Peers, however many, push out peers only.
            let peers = self.said.iter().filter(|((witness, _), _)| matches!(witness, Witness::Peer(_)));
            let Some(oldest) = peers.min_by_key(|(_, (_, at))| *at).map(|(key, _)| *key) else { return };
            self.said.remove(&oldest);
        }
        self.said.insert(key, (ip, now));
    }

    /// Where this machine is, the servers' word first. `contacts` tells where a contact says to be.
    #[must_use]
    pub fn believed(&self, now: Instant, contacts: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
        let counts = |at: Instant| now.saturating_duration_since(at) < BELIEVED_FOR;
        let current = || self.said.iter().filter(|(_, (_, at))| counts(*at));
        let mut believed: Vec<IpAddr> = Vec::new();
        let mut votes: SortedMap<IpAddr, Vec<IpAddr>> = SortedMap::new();
        for ((witness, _), (ip, _)) in current() {
            match witness {
                Witness::Server(_) | Witness::Stun(_) if !believed.contains(ip) => believed.push(*ip),
                Witness::Server(_) | Witness::Stun(_) => {}
                Witness::Peer(host) => {
                    let (networks, network) = (votes.entry(*ip).or_default(), network_of(*host));
                    if !networks.contains(&network) {
                        networks.push(network);
                    }
                }
            }
        }
        for (ip, networks) in votes {
            if networks.len() >= QUORUM && !believed.contains(&ip) && !contacts(ip) {
                believed.push(ip);
            }
        }
        believed.truncate(MAX_BELIEVED);
        believed
    }

    /// When something said will no longer count.
    #[must_use]
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        self.said.values().map(|(_, at)| *at + BELIEVED_FOR).filter(|until| *until > now).min()
    }
}

/// The address of one machine in the internet.
fn is_public(ip: IpAddr) -> bool {
    /// A port that is not refused.
    const ANY_PORT: u16 = 50_000;
    AddressFilter::default().check(SocketAddr::new(ip, ANY_PORT)).is_ok()
}

/// The network that somebody with many addresses most likely has them in: an IPv4 /16, an IPv6 /32.
fn network_of(host: Host) -> IpAddr {
    match host.ip() {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & (u32::MAX << 16)).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 96)).into()),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::types::AccountKey;

    const SERVER: Witness = Witness::Server(AccountKey::FIRST);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn peer(text: &str) -> Witness {
        Witness::Peer(Host::of(ip(text)))
    }

    fn believed(witnesses: &Witnesses, now: Instant) -> Vec<String> {
        witnesses.believed(now, |_| false).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_server_is_believed_and_one_network_of_peers_is_not() {
        let (mut witnesses, now) = (Witnesses::default(), Instant::now());
        witnesses.hear(now, SERVER, ip("::ffff:203.0.113.7"));
        for n in 0..200 {
            witnesses.hear(now, peer(&format!("198.51.{n}.9")), ip("192.0.2.66"));
            witnesses.hear(now, peer(&format!("2001:db8:{n}::1")), ip("2001:db8:ffff::66"));
        }
        assert_eq!(believed(&witnesses, now), ["203.0.113.7"], "however many hosts somebody has in one network");
        witnesses.hear(now, peer("8.8.8.8"), ip("192.0.2.66"));
        assert_eq!(believed(&witnesses, now), ["203.0.113.7", "192.0.2.66"]);
        assert_eq!(
            witnesses.believed(now, |there| there == ip("192.0.2.66")),
            [ip("203.0.113.7")],
            "a contact is there"
        );
    }

    #[test]
    fn nothing_counts_for_longer_than_an_hour_and_the_last_word_does() {
        let (mut witnesses, now) = (Witnesses::default(), Instant::now());
        witnesses.hear(now, SERVER, ip("203.0.113.7"));
        let later = now + BELIEVED_FOR / 2;
        witnesses.hear(later, SERVER, ip("203.0.113.8"));
        assert_eq!(believed(&witnesses, later), ["203.0.113.8"], "moved");
        assert_eq!(witnesses.next_change(later), Some(later + BELIEVED_FOR));
        assert!(believed(&witnesses, later + BELIEVED_FOR).is_empty());
        assert_eq!(witnesses.next_change(later + BELIEVED_FOR), None);
    }

    #[test]
    fn only_public_addresses_and_witnesses_count() {
        let (mut witnesses, now) = (Witnesses::default(), Instant::now());
        for text in
            ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.1.1", "224.0.0.1", "::1", "fe80::1", "fd00::1", "0.0.0.0"]
        {
            witnesses.hear(now, SERVER, ip(text));
            witnesses.hear(now, peer(text), ip("203.0.113.7"));
        }
        assert!(believed(&witnesses, now).is_empty());
    }

    #[test]
    fn there_are_never_too_many_statements() {
        let (mut witnesses, now) = (Witnesses::default(), Instant::now());
        witnesses.hear(now, SERVER, ip("203.0.113.7"));
        for n in 0..5000u32 {
            let at = now + Duration::from_millis(1 + u64::from(n));
            witnesses.hear(
                at,
                Witness::Peer(Host::of(IpAddr::V4((0x0900_0000 + n * 65_536 / 4).into()))),
                ip("203.0.113.9"),
            );
        }
        assert_eq!(witnesses.said.len(), MAX_STATEMENTS);
        assert!(witnesses.believed(now, |_| false).len() <= MAX_BELIEVED);
    }
}
