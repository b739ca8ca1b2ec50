//! Where torrents can be had: the resources that have something to give, and their addresses.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{AddressFilter, ContactShares, Resource};
use crate::types::{InfoHash, sort, sort_by};

/// Addresses handed out for one torrent.
const MAX_SOURCES: usize = 512;

/// Resources from which something can be had, each with how many of its addresses count.
pub struct Sources<'a>(Vec<(&'a Resource, usize)>);

impl ContactShares {
    /// All resources from which something can be had. What is the same in `known` is left out: who was told of it then
    /// need not look again.
    #[must_use]
    pub fn all_sources(&self, known: Option<&Self>) -> Sources<'_> {
        let mut sources = Vec::new();
        let all = self.roads.iter().flat_map(|(via, road)| road.iter().map(move |(jid, contact)| (via, jid, contact)));
        for (via, jid, contact) in all {
            let before = known.and_then(|known| known.roads.get(via)?.get(jid));
            if before.is_some_and(|before| Arc::ptr_eq(before, contact)) {
                continue;
            }
            let is_known = |name: &str, resource| before.is_some_and(|before| before.holds(name, resource));
            let of_contact = contact.sources(self.limits.addresses);
            let fresh = of_contact.filter(|(name, resource, _)| !is_known(name, resource));
            sources.extend(fresh.map(|(_, resource, portion)| (&**resource, portion)));
        }
        Sources(sources)
    }

    /// Every torrent that can be had now.
    #[must_use]
    pub fn available(&self) -> Available {
        let sources = self.all_sources(None);
        let sockets = |(resource, portion): &(&Resource, usize)| {
            resource.addresses().iter().take(*portion).map(|address| address.socket).collect()
        };
        let of_one = |(number, (resource, _)): (u32, &(&'_ Resource, usize))| {
            resource.shares().map(move |share| (share.info_hash, number)).collect::<Vec<_>>()
        };
        let mut announced: Vec<(InfoHash, u32)> = (0..).zip(&sources.0).flat_map(of_one).collect();
        // Not the unstable one: each list is in order.
        announced.sort();
        let mut starts: Vec<usize> = Vec::new();
        for (at, (hash, _)) in announced.iter().enumerate() {
            if at.checked_sub(1).and_then(|before| announced.get(before)).is_none_or(|(before, _)| before != hash) {
                starts.push(at);
            }
        }
        Available { addresses: sources.0.iter().map(sockets).collect(), announced, starts }
    }

    /// Where a torrent can be had now: the addresses, allowed by `filter`, of every available resource that lists it.
    /// None twice, IPv6 first, bounded.
    #[must_use]
    pub fn sources(&self, info_hash: &InfoHash, filter: &AddressFilter) -> Vec<SocketAddr> {
        self.all_sources(None).of(info_hash, false, filter)
    }
}

impl Sources<'_> {
    /// There is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The addresses, allowed by `filter`, of those who list the torrent; with `lacking`, only of those who lack something
    /// of it. None twice, IPv6 first, bounded.
    #[must_use]
    pub fn of(&self, info_hash: &InfoHash, lacking: bool, filter: &AddressFilter) -> Vec<SocketAddr> {
        let mut sources = Vec::new();
        for (resource, portion) in &self.0 {
            if resource.share(info_hash).is_some_and(|share| !(lacking && share.complete)) {
                sources.extend(filter.usable(resource.addresses()).into_iter().take(*portion));
            }
        }
        sort_by(&mut sources, |a, b| (a.is_ipv4(), a).cmp(&(b.is_ipv4(), b)));
        sources.dedup();
        sources.truncate(MAX_SOURCES);
        sources
    }
}

/// Torrents that can be had, ordered by info hash. Addresses are put together for one at a time: there may be millions
/// of torrents with the same ones.
#[derive(Debug)]
pub struct Available {
    /// What counts of each resource's addresses.
    addresses: Vec<Vec<SocketAddr>>,
    /// Each torrent of each resource.
    announced: Vec<(InfoHash, u32)>,
    /// Where in `announced` each torrent begins.
    starts: Vec<usize>,
}

impl Available {
    /// Number of torrents.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.starts.len()
    }

    /// There is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// One of the torrents, counted from 0, with the addresses announced for it: unfiltered, none twice, bounded.
    #[must_use]
    pub fn nth(&self, number: usize) -> Option<(InfoHash, Vec<SocketAddr>)> {
        let all = self.announced.get(*self.starts.get(number)?..)?;
        let (hash, _) = *all.first()?;
        let owners = all.iter().take_while(|(other, _)| *other == hash);
        let addresses = owners.filter_map(|(_, owner)| self.addresses.get(usize::try_from(*owner).ok()?));
        let mut addresses: Vec<SocketAddr> = addresses.flatten().copied().take(MAX_SOURCES).collect();
        sort(&mut addresses);
        addresses.dedup();
        Some((hash, addresses))
    }
}
