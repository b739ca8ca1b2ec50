//! Why a contact's share cannot be fetched, in one sentence.
//!
//! What both sides publish comes first (who is online, which addresses, which IP versions), then what became of the last
//! attempts to connect. As long as an address has not been tried there is hope, and nothing is said. [`Attempts`] is
//! kept by whoever connects; an [`Attempt`] that went well is forgotten, it explains nothing.

mod sentences;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::contacts::{ContactShares, Resource};
use super::refused::Refused;
use super::trust::{AddressFilter, Refusal};
use crate::types::{Endpoint, InfoHash, MAX_ADDRESSES_PER_RESOURCE, SortedMap, sort_by};
pub use sentences::{Reason, Why};

/// Attempts kept at most; the oldest go first.
const MAX_ATTEMPTS: usize = 4096;

/// What happened longer ago says nothing of now. Longer than the longest pause between two attempts, so that it stays as
/// long as somebody tries.
const LONGEST_KEPT: Duration = Duration::from_secs(30 * 60);

/// What became of an attempt to connect that led to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No network leads there.
    Unreachable,
    /// No answer at all.
    TimedOut,
    /// Nobody listens there, or a firewall says so.
    Refused,
    /// Whoever answers does not speak BitTorrent.
    NotBitTorrent,
    /// Nothing, or the end, came when this torrent was asked for.
    NotServed(InfoHash),
}

/// The last attempt to connect to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it ended,
    pub at: Instant,
    /// and how.
    pub outcome: Outcome,
}

/// The last failures, by address. Bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts(SortedMap<SocketAddr, Attempt>);

impl Attempts {
    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last failure at this address, unless that is long ago.
    #[must_use]
    pub fn get(&self, now: Instant, addr: SocketAddr) -> Option<Attempt> {
        let attempt = self.0.get(&canonical(addr)).copied()?;
        (now.saturating_duration_since(attempt.at) < LONGEST_KEPT).then_some(attempt)
    }

    /// Where they were, however long ago.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.keys().copied()
    }

    /// An attempt has failed.
    pub fn failed(&mut self, at: Instant, addr: SocketAddr, outcome: Outcome) {
        let addr = canonical(addr);
        if self.0.len() >= MAX_ATTEMPTS && !self.0.contains_key(&addr) {
            self.0.retain(|_, attempt| at.saturating_duration_since(attempt.at) < LONGEST_KEPT);
            let oldest = self.0.iter().min_by_key(|(_, attempt)| attempt.at).map(|(addr, _)| *addr);
            if let Some(oldest) = oldest.filter(|_| self.0.len() >= MAX_ATTEMPTS) {
                self.0.remove(&oldest);
            }
        }
        self.0.insert(addr, Attempt { at, outcome });
    }

    /// Somebody was met at this address.
    pub fn succeeded(&mut self, addr: SocketAddr) {
        self.0.remove(&canonical(addr));
    }

    /// Only those at such addresses still mean something.
    pub fn retain(&mut self, mut counts: impl FnMut(SocketAddr) -> bool) {
        self.0.retain(|addr, _| counts(*addr));
    }
}

/// All that is known of who can be reached.
#[derive(Clone, Copy, Debug)]
pub struct Reach<'a> {
    /// What contacts announce.
    pub shares: &'a ContactShares,
    /// Which of their addresses may be connected to,
    pub filter: &'a AddressFilter,
    /// and where nobody is called.
    pub refused: &'a Refused,
    /// What this node announces of itself.
    pub own: &'a Endpoint,
    /// What became of connecting.
    pub attempts: &'a Attempts,
    /// The time.
    pub now: Instant,
}

impl Reach<'_> {
    /// Why the torrent cannot be had from anybody who lists it. `None` if it may be had, or nobody lists it.
    #[must_use]
    pub fn of_share(&self, info_hash: &InfoHash) -> Option<Why> {
        let owners = self.shares.resources().filter(|(_, _, resource)| resource.share(info_hash).is_some());
        nearest(owners.map(|(jid, _, resource)| self.of_resource(jid, resource, Some(info_hash))))
    }

    /// Why it cannot be had from one resource that lists it.
    #[must_use]
    pub fn of_owner(&self, jid: &str, resource: &str, info_hash: &InfoHash) -> Option<Why> {
        self.of_resource(jid, self.shares.resource(jid, resource)?, Some(info_hash))
    }

    /// Why nothing can be had from a contact that is online and shares something.
    #[must_use]
    pub fn of_contact(&self, jid: &str) -> Option<Why> {
        let online = self.shares.resources().filter(|(other, _, resource)| *other == jid && resource.is_source());
        nearest(online.map(|(jid, _, resource)| self.of_resource(jid, resource, None)))
    }

    fn of_resource(&self, jid: &str, resource: &Resource, wanted: Option<&InfoHash>) -> Option<Why> {
        let (reason, addr) = self.judge(jid, resource, wanted)?;
        Some(Why::new(reason, jid, addr))
    }

    /// What holds first, and of which address.
    fn judge(&self, jid: &str, resource: &Resource, wanted: Option<&InfoHash>) -> Option<(Reason, Option<SocketAddr>)> {
        if !resource.is_online() {
            return Some((Reason::Offline, None));
        }
        if !resource.is_available() {
            return Some((Reason::Left, None));
        }
        let published = resource.addresses().iter().take(MAX_ADDRESSES_PER_RESOURCE);
        let mut published: Vec<SocketAddr> = published.map(|address| canonical(address.socket)).collect();
        // The order in which they are tried: of two reasons that weigh the same the first one is told.
        sort_by(&mut published, |a, b| a.is_ipv4().cmp(&b.is_ipv4()));
        let Some(first) = published.first().copied() else { return Some((Reason::NoAddress, None)) };
        published.retain(|addr| self.has_family_of(*addr));
        if published.is_empty() {
            return Some((Reason::NoCommonFamily, Some(first)));
        }
        let verdict = |addr: &SocketAddr| (self.filter.check(*addr), *addr);
        let (usable, refused): (Vec<_>, Vec<_>) =
            published.iter().map(verdict).partition(|(verdict, _)| verdict.is_ok());
        if usable.is_empty() {
            let reasons = refused.into_iter().filter_map(|(verdict, addr)| Some((Reason::of(verdict.err()?), addr)));
            return best_of(reasons);
        }
        // What is left out for want of room is never tried.
        let tried = usable.into_iter().map(|(_, addr)| addr).take(self.shares.portion(jid).max(1));
        best_of(tried.map(|addr| Some((self.failure(addr, wanted)?, addr))).collect::<Option<Vec<_>>>()?.into_iter())
    }

    /// This node has an address of that version of IP, as far as it knows any. Link-local ones are not announced.
    fn has_family_of(&self, addr: SocketAddr) -> bool {
        let link_local = match addr {
            SocketAddr::V4(v4) => v4.ip().is_link_local(),
            SocketAddr::V6(v6) => v6.ip().is_unicast_link_local(),
        };
        let (v4, v6) = (self.own.ipv4, self.own.ipv6);
        link_local || v4 == v6 || if addr.is_ipv4() { v4 } else { v6 }
    }

    /// What the last attempt to connect to this address says; `None` if it has not failed.
    fn failure(&self, addr: SocketAddr, wanted: Option<&InfoHash>) -> Option<Reason> {
        if self.refused.has(addr, None) {
            return Some(Reason::Blocked);
        }
        match self.attempts.get(self.now, addr)?.outcome {
            Outcome::Unreachable => Some(Reason::NoRoute),
            Outcome::TimedOut if is_private(addr) => Some(Reason::NoAnswerNearby),
            Outcome::TimedOut => Some(Reason::NoAnswer),
            Outcome::Refused => Some(Reason::Refused),
            Outcome::NotBitTorrent => Some(Reason::NotBitTorrent),
            // It was reached. Another torrent may be had from there.
            Outcome::NotServed(hash) => Some(Reason::NotServed).filter(|_| wanted == Some(&hash)),
        }
    }
}

/// Of several owners' reasons the one that is nearest to success; `None` if one of them has none.
pub fn nearest(reasons: impl Iterator<Item = Option<Why>>) -> Option<Why> {
    let mut best: Option<Why> = None;
    for why in reasons {
        let why = why?;
        if best.as_ref().is_none_or(|best| why.reason > best.reason) {
            best = Some(why);
        }
    }
    best
}

/// The same of one resource's addresses; the first of those that weigh the same.
fn best_of(reasons: impl Iterator<Item = (Reason, SocketAddr)>) -> Option<(Reason, Option<SocketAddr>)> {
    let best = reasons.reduce(|best, other| if other.0 > best.0 { other } else { best });
    best.map(|(reason, addr)| (reason, Some(addr)))
}

impl Reason {
    const fn of(refusal: Refusal) -> Self {
        match refusal {
            Refusal::LowPort => Self::LowPort,
            Refusal::Loopback => Self::Loopback,
            Refusal::ForeignPrivate => Self::PrivateElsewhere,
            Refusal::NoPort | Refusal::NotUnicast | Refusal::LinkLocal => Self::Unusable,
        }
    }
}

/// An IPv4 address that came in IPv6 clothes is the IPv4 address. What names an interface keeps it.
fn canonical(socket: SocketAddr) -> SocketAddr {
    match socket {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => socket,
        other => SocketAddr::new(other.ip().to_canonical(), other.port()),
    }
}

/// Machines with such addresses are met in networks that are the same, or look the same.
const fn is_private(addr: SocketAddr) -> bool {
    match addr {
        SocketAddr::V4(v4) => v4.ip().is_private() || v4.ip().is_link_local() || v4.ip().is_loopback(),
        SocketAddr::V6(v6) => v6.ip().is_unique_local() || v6.ip().is_unicast_link_local() || v6.ip().is_loopback(),
    }
}

#[cfg(test)]
mod tests;
