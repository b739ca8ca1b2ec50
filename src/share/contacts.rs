//! What the contacts share: per road, bare JID and resource the presence, the addresses and the shares.
//!
//! Fed with [`Announcement`]s and presence by whoever speaks to the contacts, who has checked that the sender is a
//! contact. A resource that announces in both formats is shown once: its own-format list and endpoint count, the
//! original's entry only stands in where those are missing. A resource known through several roads ([`Via`]) counts once
//! where shares are looked up: as the road knows it through which it is available. A share is *available* while its resource is online and has
//! not said goodbye; lists are kept otherwise. Everything is bounded by [`ContactLimits`] and the limits in `types`.
//!
//! A clone is a snapshot that costs a pointer per contact: contacts, their resources and the lists are shared until one
//! of them changes, and only that one is copied then.

mod contact;
mod sources;

use std::net::SocketAddr;
use std::sync::Arc;

use super::table::{Room, ShareRef, ShareTable};
use super::trust::AddressFilter;
use crate::types::{
    Address, Announcement, Catalog, InfoHash, MAX_ADDRESSES_PER_CONTACT, MAX_NAME_BYTES_PER_CONTACT, MAX_SHARES,
    MAX_SHARES_PER_CONTACT, SortedMap, Via,
};
use contact::Bounds;
pub use contact::{Contact, Resource};
pub use sources::{Available, Sources};

/// Contacts kept of each road; far above any roster, so that nothing grows without bound.
const MAX_CONTACTS: usize = 10_000;

/// What is kept of all contacts together.
const MAX_KEPT: Room = Room { shares: MAX_SHARES, name_bytes: 4 * MAX_NAME_BYTES_PER_CONTACT };

/// What a call changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[must_use]
pub enum Change {
    /// Nothing: the same was said again.
    Nothing,
    /// What people are shown, for instance of a resource that is offline.
    Shown,
    /// Where torrents can be had, or somebody was forgotten: running ones should look for sources again, and let go of
    /// what they know from the last time.
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

/// A list that is announced by a catalog, and is not here yet.
#[derive(Clone, Copy, Debug)]
pub struct MissingList<'a> {
    /// Known through this road,
    pub via: Via,
    /// of this contact,
    pub jid: &'a str,
    /// and this resource of it,
    pub resource: &'a str,
    /// the list,
    pub catalog: Catalog,
    /// and where it can be had, unfiltered.
    pub addresses: &'a [Address],
    /// Bytes of all catalogs that the contact announces.
    pub bytes_of_contact: u64,
}

/// The contacts known through one road, by bare JID.
type Road = SortedMap<Arc<str>, Arc<Contact>>;

/// The shares of all contacts.
#[derive(Clone, Debug, Default)]
pub struct ContactShares {
    roads: SortedMap<Via, Road>,
    limits: ContactLimits,
    /// What is kept of all contacts together.
    kept: Room,
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

    /// Forgets everybody known through this road; the limits stay.
    pub fn forget_all(&mut self, via: Via) -> Change {
        let Some(road) = self.roads.remove(&via) else { return Change::Nothing };
        self.revision += 1;
        self.kept = road.values().fold(self.kept, |kept, contact| kept.minus(contact.kept()));
        Change::Sources
    }

    /// A resource of a contact came online.
    pub fn online(&mut self, via: Via, jid: &str, resource: &str) -> Change {
        self.edit(via, jid, |contact| contact.set_online(resource))
    }

    /// A resource of a contact went offline. Its list is kept.
    pub fn offline(&mut self, via: Via, jid: &str, resource: &str) -> Change {
        self.edit_known(via, jid, |contact| contact.set_offline(resource))
    }

    /// The road is closed: nobody is known through it to be online. Lists are kept.
    pub fn all_offline(&mut self, via: Via) -> Change {
        let online = |(jid, contact): (&Arc<str>, &Arc<Contact>)| contact.is_online().then(|| Arc::clone(jid));
        let jids: Vec<Arc<str>> = self.roads.get(&via).into_iter().flatten().filter_map(online).collect();
        jids.iter().map(|jid| self.edit_known(via, jid, Contact::set_all_offline)).max().unwrap_or(Change::Nothing)
    }

    /// Takes in what a contact announced.
    pub fn apply(&mut self, via: Via, jid: &str, announcement: Announcement) -> Change {
        match announcement {
            Announcement::Account { entries, truncated } => {
                let bounds = self.bounds_of(via, jid);
                self.edit(via, jid, |contact| contact.replace_original(entries, truncated, bounds))
            }
            Announcement::Shares { resource, shares, truncated } => {
                let table = |room| {
                    let (table, cut) = ShareTable::build_within(shares, room);
                    (Arc::new(table), cut)
                };
                self.replace_list((via, jid), &resource, truncated, table)
            }
            Announcement::Catalog { resource, catalog } => {
                self.edit(via, jid, |contact| contact.point_to_catalog(&resource, catalog))
            }
            Announcement::Endpoint { resource, endpoint } => {
                self.edit(via, jid, |contact| contact.set_endpoint(&resource, endpoint))
            }
            Announcement::Parted { resource } => self.edit_known(via, jid, |contact| contact.part(&resource)),
            Announcement::Withdrawn { resource } => {
                let bounds = self.bounds_of(via, jid);
                self.edit_known(via, jid, |contact| contact.withdraw(&resource, bounds))
            }
        }
    }

    /// Takes in the list that a resource announced by this catalog. What there is no room for is left out. Nothing happens
    /// if the resource announces something else by now.
    pub fn apply_catalog(
        &mut self,
        via: Via,
        jid: &str,
        resource: &str,
        info_hash: &InfoHash,
        table: Arc<ShareTable>,
    ) -> Change {
        let known = self.contact_via(via, jid).and_then(|contact| contact.resource(resource));
        let Some(announced) = known.and_then(Resource::missing).filter(|catalog| catalog.info_hash == *info_hash)
        else {
            return Change::Nothing;
        };
        let listed = self.apply_table(via, jid, resource, table, false);
        listed.max(self.edit_known(via, jid, |contact| contact.has_catalog(resource, announced)))
    }

    /// Takes in the list of one resource that is a table already, as it comes from a catalog. What there is no room for
    /// is left out.
    pub fn apply_table(
        &mut self,
        via: Via,
        jid: &str,
        resource: &str,
        table: Arc<ShareTable>,
        truncated: bool,
    ) -> Change {
        let fit = |room: Room| {
            if room.holds(&table) {
                return (table, false);
            }
            (Arc::new(table.within(room)), true)
        };
        self.replace_list((via, jid), resource, truncated, fit)
    }

    /// Forgets a contact, for instance because it left the roster.
    pub fn forget(&mut self, via: Via, jid: &str) -> Change {
        let Some(contact) = self.roads.get_mut(&via).and_then(|road| road.remove(jid)) else { return Change::Nothing };
        self.revision += 1;
        self.kept = self.kept.minus(contact.kept());
        Change::Sources
    }

    /// Forgets one resource of a contact.
    pub fn forget_resource(&mut self, via: Via, jid: &str, resource: &str) -> Change {
        self.edit_known(via, jid, |contact| contact.forget(resource))
    }

    /// All contacts something is known of, ordered by road and JID: one known through two roads comes twice.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Contact)> {
        self.roads.values().flatten().map(|(jid, contact)| (&**jid, &**contact))
    }

    /// One contact, as the first road knows it that knows it.
    #[must_use]
    pub fn contact(&self, jid: &str) -> Option<&Contact> {
        self.roads.values().find_map(|road| road.get(jid)).map(|contact| &**contact)
    }

    /// One contact, as this road knows it.
    #[must_use]
    pub fn contact_via(&self, via: Via, jid: &str) -> Option<&Contact> {
        self.roads.get(&via)?.get(jid).map(|contact| &**contact)
    }

    /// Grows with every change.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The lists that can be fetched now and are not here yet.
    pub fn missing_lists(&self) -> impl Iterator<Item = MissingList<'_>> {
        let contacts =
            self.roads.iter().flat_map(|(via, road)| road.iter().map(move |(jid, contact)| (*via, &**jid, contact)));
        contacts.flat_map(|(via, jid, contact)| {
            let resources = contact.resources().filter(|(_, resource)| resource.is_available());
            resources.filter_map(move |(name, resource)| {
                let catalog = resource.missing()?;
                let bytes_of_contact = contact.catalog_bytes();
                let addresses = resource.addresses();
                Some(MissingList { via, jid, resource: name, catalog, addresses, bytes_of_contact })
            })
        })
    }

    /// What is known of a torrent: the first contact's word, the available ones first.
    #[must_use]
    pub fn share(&self, info_hash: &InfoHash) -> Option<ShareRef<'_>> {
        let known =
            || self.resources().filter_map(|(_, _, r)| r.share(info_hash).map(|share| (r.is_available(), share)));
        known().find(|(available, _)| *available).or_else(|| known().next()).map(|(_, share)| share)
    }

    /// Where resources that are online say they can be reached, as far as `filter` allows.
    pub fn online_addresses(&self, filter: &AddressFilter) -> impl Iterator<Item = SocketAddr> {
        let online = self.resources().filter(|(_, _, resource)| resource.is_online());
        online.flat_map(|(_, _, resource)| filter.usable(resource.addresses()))
    }

    /// Every resource with its owner's JID and its own name, each once.
    pub fn resources(&self) -> impl Iterator<Item = (&str, &str, &Resource)> {
        let contacts = self.roads.iter().flat_map(|(via, road)| road.iter().map(|(jid, contact)| (*via, jid, contact)));
        contacts.flat_map(move |(via, jid, contact)| {
            let counts = move |(name, resource): &(&str, &Resource)| !self.is_better_known(via, jid, name, resource);
            contact.resources().filter(counts).map(|(name, resource)| (&**jid, name, resource))
        })
    }

    /// One resource of a contact, as the road knows it whose word counts.
    pub(super) fn resource(&self, jid: &str, name: &str) -> Option<&Resource> {
        let known = self.roads.values().filter_map(|road| road.get(jid)?.resource(name));
        known.reduce(|first, other| if other.is_available() && !first.is_available() { other } else { first })
    }

    /// How many addresses count of each of a contact's resources.
    pub(super) fn portion(&self, jid: &str) -> usize {
        let contacts = self.roads.values().filter_map(|road| road.get(jid));
        let portions = contacts.flat_map(|contact| contact.sources(self.limits.addresses).next());
        portions.map(|(_, _, portion)| portion).min().unwrap_or(self.limits.addresses)
    }

    /// Another road knows this resource too, and its word counts: the resource is available through it, or it comes first.
    fn is_better_known(&self, via: Via, jid: &str, name: &str, resource: &Resource) -> bool {
        let rank = |via: Via, resource: &Resource| (!resource.is_available(), via);
        let mut others = self.roads.iter().filter(|(other, _)| **other != via);
        others.any(|(other, road)| {
            let twin = road.get(jid).and_then(|contact| contact.resource(name));
            twin.is_some_and(|twin| rank(*other, twin) < rank(via, resource))
        })
    }

    fn replace_list(
        &mut self,
        (via, jid): (Via, &str),
        resource: &str,
        truncated: bool,
        build: impl FnOnce(Room) -> (Arc<ShareTable>, bool),
    ) -> Change {
        let bounds = self.bounds_of(via, jid);
        let was_truncated = self.contact_via(via, jid).is_some_and(Contact::is_truncated);
        self.edit(via, jid, |contact| {
            contact.replace_list(resource, truncated, bounds, |room| {
                let (table, cut) = build(room);
                if cut && !was_truncated {
                    log::warn!("{jid}/{resource} shares more than is kept: only {} of it", table.len());
                }
                (table, cut)
            });
        })
    }

    /// What all resources of a contact together may list. All that is kept of it may take half of what the others leave:
    /// so a few who announce without end cannot take everybody else's room.
    fn bounds_of(&self, via: Via, jid: &str) -> Bounds {
        let own = self.contact_via(via, jid).map(Contact::kept).unwrap_or_default();
        Bounds {
            shown: Room { shares: self.limits.shares, name_bytes: MAX_NAME_BYTES_PER_CONTACT },
            kept: MAX_KEPT.minus(self.kept.minus(own)).half(),
        }
    }

    /// Runs `change` on a contact of whom something is known.
    fn edit_known(&mut self, via: Via, jid: &str, change: impl FnOnce(&mut Contact)) -> Change {
        let known = self.contact_via(via, jid).is_some();
        if known { self.edit(via, jid, change) } else { Change::Nothing }
    }

    /// Runs `change` on one contact, drops what became empty and tells what changed. What did not change stays shared
    /// with the state before, so that comparing the two is a comparison of pointers there.
    fn edit(&mut self, via: Via, jid: &str, change: impl FnOnce(&mut Contact)) -> Change {
        let road = self.roads.entry(via).or_default();
        if !road.contains_key(jid) && road.len() >= MAX_CONTACTS {
            return Change::Nothing;
        }
        let before = road.get(jid).cloned().unwrap_or_default();
        let mut after = Contact::clone(&before);
        change(&mut after);
        after.drop_blanks();
        if *before == after {
            return Change::Nothing;
        }
        let sources = before.is_source() || after.is_source();
        self.revision += 1;
        self.kept = self.kept.minus(before.kept()).plus(after.kept());
        match road.get_mut(jid) {
            _ if after.is_empty() => drop(road.remove(jid)),
            Some(known) => *known = Arc::new(after),
            None => drop(road.insert(jid.into(), Arc::new(after))),
        }
        if sources { Change::Sources } else { Change::Shown }
    }
}

#[cfg(test)]
mod tests;
