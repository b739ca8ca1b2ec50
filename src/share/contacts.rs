//! What the contacts share: per bare JID and resource the presence, the addresses and the shares.
//!
//! Fed with [`Announcement`]s and presence by whoever speaks to the contacts, who has checked that the sender is a
//! contact. A resource that announces in both formats is shown once: its own-format list and endpoint count, the
//! original's entry only stands in where those are missing. A share is *available* while its resource is online and has
//! not said goodbye; lists are kept otherwise. Everything is bounded by the limits in `types`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::trust::AddressFilter;
use crate::types::{
    Address, AddressKind, Announcement, Endpoint, InfoHash, MAX_ADDRESSES_PER_RESOURCE, MAX_LABEL_LEN, MAX_NAME_LEN,
    MAX_RESOURCES_PER_CONTACT, MAX_SHARES_PER_CONTACT, ResourceEntry, Share, display_name,
};

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

/// The shares of all contacts.
#[derive(Clone, Debug, Default)]
pub struct ContactShares {
    contacts: BTreeMap<String, Contact>,
    revision: u64,
}

/// One contact: a bare JID.
#[derive(Clone, Debug, Default)]
pub struct Contact {
    resources: BTreeMap<String, Resource>,
    truncated: bool,
}

/// One resource of a contact: a running program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    online: bool,
    parted: bool,
    truncated: bool,
    endpoint: Option<Endpoint>,
    listed: Option<BTreeMap<InfoHash, Share>>,
    original: Option<OriginalEntry>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct OriginalEntry {
    shares: BTreeMap<InfoHash, Share>,
    addresses: Vec<Address>,
}

impl ContactShares {
    /// Knows nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A resource of a contact came online.
    pub fn online(&mut self, jid: &str, resource: &str) -> Change {
        self.edit(jid, |contact| {
            if let Some(resource) = contact.resource_mut(resource) {
                resource.online = true;
            }
        })
    }

    /// A resource of a contact went offline. Its list is kept.
    pub fn offline(&mut self, jid: &str, resource: &str) -> Change {
        if !self.contacts.contains_key(jid) {
            return Change::Nothing;
        }
        self.edit(jid, |contact| {
            if let Some(resource) = contact.resources.get_mut(resource) {
                resource.online = false;
            }
        })
    }

    /// The connection to the server is lost: nobody is known to be online. Lists are kept.
    pub fn all_offline(&mut self) -> Change {
        let jids: Vec<String> = self.contacts.keys().cloned().collect();
        let gone = |contact: &mut Contact| contact.resources.values_mut().for_each(|resource| resource.online = false);
        jids.iter().map(|jid| self.edit(jid, gone)).max().unwrap_or(Change::Nothing)
    }

    /// Takes in what a contact announced.
    pub fn apply(&mut self, jid: &str, announcement: Announcement) -> Change {
        self.edit(jid, |contact| match announcement {
            Announcement::Account { entries, truncated } => contact.replace_original(entries, truncated),
            Announcement::Shares { resource, shares, truncated } => contact.replace_list(&resource, shares, truncated),
            Announcement::Endpoint { resource, endpoint } => {
                if let Some(resource) = contact.resource_mut(&resource) {
                    resource.endpoint = Some(bounded_endpoint(endpoint));
                    resource.parted = false;
                }
            }
            Announcement::Parted { resource } => {
                if let Some(resource) = contact.resources.get_mut(&resource) {
                    resource.parted = true;
                }
            }
            Announcement::Withdrawn { resource } => {
                if let Some(resource) = contact.resources.get_mut(&resource) {
                    resource.listed = None;
                    resource.endpoint = None;
                }
            }
        })
    }

    /// Forgets a contact, for instance because it left the roster.
    pub fn forget(&mut self, jid: &str) -> Change {
        let Some(contact) = self.contacts.remove(jid) else { return Change::Nothing };
        self.revision += 1;
        if contact.resources.values().any(Resource::is_available) { Change::Sources } else { Change::Shown }
    }

    /// All contacts something is known of, ordered by JID.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Contact)> {
        self.contacts.iter().map(|(jid, contact)| (jid.as_str(), contact))
    }

    /// One contact.
    #[must_use]
    pub fn contact(&self, jid: &str) -> Option<&Contact> {
        self.contacts.get(jid)
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
        for (_, _, resource) in self.resources() {
            if resource.is_available() && resource.share(info_hash).is_some() {
                sources.extend(filter.usable(&resource.addresses()));
            }
        }
        sources.sort_by_key(|socket| (socket.is_ipv4(), *socket));
        sources.dedup();
        sources.truncate(MAX_SOURCES);
        sources
    }

    /// Where resources that are online say they can be reached, as far as `filter` allows.
    pub fn online_addresses(&self, filter: &AddressFilter) -> impl Iterator<Item = SocketAddr> {
        let online = self.resources().filter(|(_, _, resource)| resource.is_online());
        online.flat_map(|(_, _, resource)| filter.usable(&resource.addresses()))
    }

    /// Every available torrent with the addresses announced for it, unfiltered.
    #[must_use]
    pub fn hashes(&self) -> BTreeMap<InfoHash, Vec<SocketAddr>> {
        let mut hashes: BTreeMap<InfoHash, Vec<SocketAddr>> = BTreeMap::new();
        for (_, _, resource) in self.resources().filter(|(_, _, resource)| resource.is_available()) {
            let addresses = resource.addresses();
            for share in resource.shares() {
                let known = hashes.entry(share.info_hash).or_default();
                known.extend(
                    addresses.iter().map(|address| address.socket).take(MAX_SOURCES.saturating_sub(known.len())),
                );
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
        self.contacts.iter().flat_map(|(jid, contact)| {
            contact.resources.iter().map(|(name, resource)| (jid.as_str(), name.as_str(), resource))
        })
    }

    /// Runs `change` on one contact, drops what became empty and tells what changed.
    fn edit(&mut self, jid: &str, change: impl FnOnce(&mut Contact)) -> Change {
        if !self.contacts.contains_key(jid) && self.contacts.len() >= MAX_CONTACTS {
            return Change::Nothing;
        }
        let contact = self.contacts.entry(jid.to_owned()).or_default();
        let before = contact.clone();
        change(contact);
        contact.resources.retain(|_, resource| !resource.is_blank());
        let changed = before.resources != contact.resources || before.truncated != contact.truncated;
        let was_or_is_available = |contact: &Contact| contact.resources.values().any(Resource::is_source);
        let sources = changed && (was_or_is_available(&before) || was_or_is_available(contact));
        if contact.resources.is_empty() {
            self.contacts.remove(jid);
        }
        self.revision += u64::from(changed);
        match (changed, sources) {
            (false, _) => Change::Nothing,
            (true, false) => Change::Shown,
            (true, true) => Change::Sources,
        }
    }
}

impl Contact {
    /// Its resources, ordered by name.
    pub fn resources(&self) -> impl Iterator<Item = (&str, &Resource)> {
        self.resources.iter().map(|(name, resource)| (name.as_str(), resource))
    }

    /// At least one resource is online.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.resources.values().any(|resource| resource.online)
    }

    /// More was announced than is kept.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated || self.resources.values().any(|resource| resource.truncated)
    }

    /// The entry of a resource, made if there is room. An offline one gives way when there is none.
    fn resource_mut(&mut self, name: &str) -> Option<&mut Resource> {
        if !self.resources.contains_key(name) && self.resources.len() >= MAX_RESOURCES_PER_CONTACT {
            self.truncated = true;
            let offline = self.resources.iter().find(|(_, resource)| !resource.online)?.0.clone();
            self.resources.remove(&offline);
        }
        Some(self.resources.entry(name.to_owned()).or_default())
    }

    /// Number of shares kept, those of the named list aside.
    fn shares_besides(&self, name: &str) -> usize {
        let count = |resource: &Resource| {
            resource.listed.as_ref().map_or(0, BTreeMap::len) + resource.original.as_ref().map_or(0, |o| o.shares.len())
        };
        self.resources.iter().filter(|(other, _)| *other != name).map(|(_, resource)| count(resource)).sum()
    }

    fn replace_list(&mut self, name: &str, shares: Vec<Share>, truncated: bool) {
        let room = MAX_SHARES_PER_CONTACT.saturating_sub(self.shares_besides(name));
        let Some(resource) = self.resource_mut(name) else { return };
        resource.truncated = truncated || shares.len() > room;
        resource.listed = Some(bounded_shares(shares, room));
        resource.parted = false;
    }

    fn replace_original(&mut self, entries: Vec<ResourceEntry>, truncated: bool) {
        for resource in self.resources.values_mut() {
            resource.original = None;
        }
        self.resources.retain(|_, resource| !resource.is_blank());
        self.truncated = truncated || entries.len() > MAX_RESOURCES_PER_CONTACT;
        let mut room = MAX_SHARES_PER_CONTACT;
        for entry in entries.into_iter().take(MAX_RESOURCES_PER_CONTACT) {
            self.truncated |= entry.shares.len() > room;
            let Some(resource) = self.resource_mut(&entry.resource) else { continue };
            let shares = bounded_shares(entry.shares, room);
            room = room.saturating_sub(shares.len());
            let unknown = |socket| Address { socket, kind: AddressKind::Unknown };
            let addresses = entry.addresses.into_iter().take(MAX_ADDRESSES_PER_RESOURCE).map(unknown).collect();
            resource.original = Some(OriginalEntry { shares, addresses });
        }
    }
}

impl Resource {
    /// The server says that it is there.
    #[must_use]
    pub const fn is_online(&self) -> bool {
        self.online
    }

    /// Its shares can be had: it is online and has not said goodbye.
    #[must_use]
    pub const fn is_available(&self) -> bool {
        self.online && !self.parted
    }

    /// More was announced than is kept.
    #[must_use]
    pub const fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// How it says it can be reached; `None` if it speaks the original's format only.
    #[must_use]
    pub const fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref()
    }

    /// Its shares, ordered by info hash, each once.
    pub fn shares(&self) -> impl Iterator<Item = &Share> {
        self.list().into_iter().flat_map(BTreeMap::values)
    }

    /// Number of shares.
    #[must_use]
    pub fn share_count(&self) -> usize {
        self.list().map_or(0, BTreeMap::len)
    }

    /// One of its shares.
    #[must_use]
    pub fn share(&self, info_hash: &InfoHash) -> Option<&Share> {
        self.list()?.get(info_hash)
    }

    /// The addresses it announces, unfiltered.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        match (&self.endpoint, &self.original) {
            (Some(endpoint), _) => endpoint.addresses.clone(),
            (None, Some(original)) => original.addresses.clone(),
            (None, None) => Vec::new(),
        }
    }

    fn list(&self) -> Option<&BTreeMap<InfoHash, Share>> {
        self.listed.as_ref().or_else(|| self.original.as_ref().map(|original| &original.shares))
    }

    /// A torrent could be had from here.
    fn is_source(&self) -> bool {
        self.is_available() && self.share_count() > 0
    }

    fn is_blank(&self) -> bool {
        !self.online && self.endpoint.is_none() && self.listed.is_none() && self.original.is_none()
    }
}

fn bounded_shares(shares: Vec<Share>, room: usize) -> BTreeMap<InfoHash, Share> {
    let fit = |share: Share| {
        let name = display_name(&share.name, MAX_NAME_LEN);
        (share.info_hash, Share { name, ..share })
    };
    shares.into_iter().take(room).map(fit).collect()
}

fn bounded_endpoint(mut endpoint: Endpoint) -> Endpoint {
    endpoint.addresses.truncate(MAX_ADDRESSES_PER_RESOURCE);
    endpoint.software = display_name(&endpoint.software, MAX_LABEL_LEN);
    endpoint
}

#[cfg(test)]
mod tests;
