//! Where torrents can be had: the resources that have something to give, and their addresses.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{AddressFilter, ContactShares, Resource};
use crate::types::InfoHash;

/// Addresses handed out for one torrent.
pub(super) const MAX_SOURCES: usize = 512;

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
        sources.sort_unstable_by_key(|socket| (socket.is_ipv4(), *socket));
        sources.dedup();
        sources.truncate(MAX_SOURCES);
        sources
    }

    /// The resources, each with how many of its addresses count.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Resource, usize)> {
        self.0.iter().copied()
    }
}
