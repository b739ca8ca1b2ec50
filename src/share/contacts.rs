//! What the contacts share: per bare JID and resource the presence, the addresses and the shares.
//!
//! Fed with [`Announcement`]s and presence by whoever speaks to the contacts, who has checked that the sender is a
//! contact. A resource that announces in both formats is shown once: its own-format list and endpoint count, the
//! original's entry only stands in where those are missing. A share is *available* while its resource is online and has
//! not said goodbye; lists are kept otherwise. Everything is bounded by [`ContactLimits`] and the limits in `types`.
//!
//! A clone is a snapshot that costs a pointer per contact: contacts, their resources and the lists are shared until one
//! of them changes, and only that one is copied then.

mod contact;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::trust::AddressFilter;
use crate::types::{Announcement, InfoHash, MAX_ADDRESSES_PER_CONTACT, MAX_SHARES_PER_CONTACT, Share};
pub use contact::{Contact, Resource};

/// Addresses handed out for one torrent.
const MAX_SOURCES: usize = 512;
/// Contacts kept; far above any roster, so that nothing grows without bound.
const MAX_CONTACTS: usize = 10_000;

/// What a call changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[must_use]
pub enum Change {
    /// Nothing: the same was said again.
    Nothing,
    /// What people are shown, for instance of a resource that is offline.
    Shown,
    /// Where torrents can be had: running ones should look for sources again.
    Sources,
}

/// How much of one contact counts. The default is the most there can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContactLimits {
    /// Shares kept, all resources together; at most [`MAX_SHARES_PER_CONTACT`].
    pub shares: usize,
    /// Addresses handed out at a time, all resources together; at most [`MAX_ADDRESSES_PER_CONTACT`].
    pub addresses: usize,
}

impl Default for ContactLimits {
    fn default() -> Self {
        Self { shares: MAX_SHARES_PER_CONTACT, addresses: MAX_ADDRESSES_PER_CONTACT }
    }
}

/// The shares of all contacts.
#[derive(Clone, Debug, Default)]
pub struct ContactShares {
    contacts: BTreeMap<Arc<str>, Arc<Contact>>,
    limits: ContactLimits,
    revision: u64,
}

impl ContactShares {
    /// Knows nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Knows nobody, and will keep no more of anybody than this.
    #[must_use]
    pub fn with_limits(limits: ContactLimits) -> Self {
        let most = ContactLimits::default();
        let limits =
            ContactLimits { shares: limits.shares.min(most.shares), addresses: limits.addresses.min(most.addresses) };
        Self { limits, ..Self::default() }
    }

    /// Forgets everybody; the limits stay.
    pub fn clear(&mut self) {
        self.contacts.clear();
        self.revision += 1;
    }

    /// A resource of a contact came online.
    pub fn online(&mut self, jid: &str, resource: &str) -> Change {
        self.edit(jid, |contact| contact.set_online(resource))
    }

    /// A resource of a contact went offline. Its list is kept.
    pub fn offline(&mut self, jid: &str, resource: &str) -> Change {
        self.edit_known(jid, |contact| contact.set_offline(resource))
    }

    /// The connection to the server is lost: nobody is known to be online. Lists are kept.
    pub fn all_offline(&mut self) -> Change {
        let online = |(jid, contact): (&Arc<str>, &Arc<Contact>)| contact.is_online().then(|| Arc::clone(jid));
        let jids: Vec<Arc<str>> = self.contacts.iter().filter_map(online).collect();
        jids.iter().map(|jid| self.edit_known(jid, Contact::set_all_offline)).max().unwrap_or(Change::Nothing)
    }

    /// Takes in what a contact announced.
    pub fn apply(&mut self, jid: &str, announcement: Announcement) -> Change {
        let most = self.limits.shares;
        match announcement {
            Announcement::Account { entries, truncated } => {
                self.edit(jid, |contact| contact.replace_original(entries, truncated, most))
            }
            Announcement::Shares { resource, shares, truncated } => {
                self.edit(jid, |contact| contact.replace_list(&resource, shares, truncated, most))
            }
            Announcement::Endpoint { resource, endpoint } => {
                self.edit(jid, |contact| contact.set_endpoint(&resource, endpoint))
            }
            Announcement::Parted { resource } => self.edit_known(jid, |contact| contact.part(&resource)),
            Announcement::Withdrawn { resource } => self.edit_known(jid, |contact| contact.withdraw(&resource)),
        }
    }

    /// Forgets a contact, for instance because it left the roster.
    pub fn forget(&mut self, jid: &str) -> Change {
        let Some(contact) = self.contacts.remove(jid) else { return Change::Nothing };
        self.revision += 1;
        if contact.is_source() { Change::Sources } else { Change::Shown }
    }

    /// All contacts something is known of, ordered by JID.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Contact)> {
        self.contacts.iter().map(|(jid, contact)| (&**jid, &**contact))
    }

    /// One contact.
    #[must_use]
    pub fn contact(&self, jid: &str) -> Option<&Contact> {
        self.contacts.get(jid).map(|contact| &**contact)
    }

    /// Grows with every change.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// What is known of a torrent: the first contact's word, the available ones first.
    #[must_use]
    pub fn share(&self, info_hash: &InfoHash) -> Option<&Share> {
        let known =
            || self.resources().filter_map(|(_, _, r)| r.share(info_hash).map(|share| (r.is_available(), share)));
        known().find(|(available, _)| *available).or_else(|| known().next()).map(|(_, share)| share)
    }

    /// Where a torrent can be had now: the addresses, allowed by `filter`, of every available resource that lists it.
    /// None twice, IPv6 first, bounded.
    #[must_use]
    pub fn sources(&self, info_hash: &InfoHash, filter: &AddressFilter) -> Vec<SocketAddr> {
        let mut sources = Vec::new();
        for (resource, portion) in self.source_resources() {
            if resource.share(info_hash).is_some() {
                sources.extend(filter.usable(resource.addresses()).into_iter().take(portion));
            }
        }
        sources.sort_unstable_by_key(|socket| (socket.is_ipv4(), *socket));
        sources.dedup();
        sources.truncate(MAX_SOURCES);
        sources
    }

    /// Where resources that are online say they can be reached, as far as `filter` allows.
    pub fn online_addresses(&self, filter: &AddressFilter) -> impl Iterator<Item = SocketAddr> {
        let online = self.resources().filter(|(_, _, resource)| resource.is_online());
        online.flat_map(|(_, _, resource)| filter.usable(resource.addresses()))
    }

    /// Every available torrent with the addresses announced for it, unfiltered.
    #[must_use]
    pub fn hashes(&self) -> BTreeMap<InfoHash, Vec<SocketAddr>> {
        let mut hashes: BTreeMap<InfoHash, Vec<SocketAddr>> = BTreeMap::new();
        for (resource, portion) in self.source_resources() {
            let sockets = || resource.addresses().iter().take(portion).map(|address| address.socket);
            for share in resource.shares() {
                let known = hashes.entry(share.info_hash).or_default();
                known.extend(sockets().take(MAX_SOURCES.saturating_sub(known.len())));
            }
        }
        for addresses in hashes.values_mut() {
            addresses.sort_unstable();
            addresses.dedup();
        }
        hashes
    }

    /// Every resource with its owner's JID and its own name.
    pub(super) fn resources(&self) -> impl Iterator<Item = (&str, &str, &Resource)> {
        self.iter().flat_map(|(jid, contact)| contact.resources().map(move |(name, resource)| (jid, name, resource)))
    }

    /// Every resource from which something can be had, with how many of its addresses count.
    fn source_resources(&self) -> impl Iterator<Item = (&Resource, usize)> {
        self.contacts.values().flat_map(|contact| contact.sources(self.limits.addresses))
    }

    /// Runs `change` on a contact of whom something is known.
    fn edit_known(&mut self, jid: &str, change: impl FnOnce(&mut Contact)) -> Change {
        if self.contacts.contains_key(jid) { self.edit(jid, change) } else { Change::Nothing }
    }

    /// Runs `change` on one contact, drops what became empty and tells what changed. What did not change stays shared
    /// with the state before, so that comparing the two is a comparison of pointers there.
    fn edit(&mut self, jid: &str, change: impl FnOnce(&mut Contact)) -> Change {
        if !self.contacts.contains_key(jid) && self.contacts.len() >= MAX_CONTACTS {
            return Change::Nothing;
        }
        let before = self.contacts.get(jid).cloned().unwrap_or_default();
        let mut after = Contact::clone(&before);
        change(&mut after);
        after.drop_blanks();
        if *before == after {
            return Change::Nothing;
        }
        let sources = before.is_source() || after.is_source();
        self.revision += 1;
        match self.contacts.get_mut(jid) {
            _ if after.is_empty() => drop(self.contacts.remove(jid)),
            Some(known) => *known = Arc::new(after),
            None => drop(self.contacts.insert(jid.into(), Arc::new(after))),
        }
        if sources { Change::Sources } else { Change::Shown }
    }
}

#[cfg(test)]
mod tests;
