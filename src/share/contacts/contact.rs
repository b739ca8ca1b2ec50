//! One contact and its resources: what each announced in either format, and which word counts.

use std::sync::Arc;

use super::super::table::{Room, ShareRef, ShareTable};
use crate::types::{
    Address, AddressKind, Catalog, Endpoint, InfoHash, MAX_ADDRESSES_PER_RESOURCE, MAX_LABEL_LEN,
    MAX_RESOURCES_PER_CONTACT, ResourceEntry, SortedMap, display_name,
};

/// One contact: a bare JID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    resources: SortedMap<Arc<str>, Arc<Resource>>,
    truncated: bool,
}

/// One resource of a contact: a running program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    online: bool,
    parted: bool,
    truncated: bool,
    endpoint: Option<Arc<Endpoint>>,
    listed: Option<Arc<ShareTable>>,
    /// What is announced in the place of a list.
    catalog: Option<Catalog>,
    /// `listed` is what is in it.
    has_catalog: bool,
    original: Option<Arc<OriginalEntry>>,
}

/// How much there is room for in what one contact announces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// In what is shown of it.
    pub(super) shown: Room,
    /// In all that is kept of it, hidden or not.
    pub(super) kept: Room,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct OriginalEntry {
    shares: ShareTable,
    addresses: Vec<Address>,
}

impl Contact {
    /// Its resources, ordered by name.
    pub fn resources(&self) -> impl Iterator<Item = (&str, &Resource)> {
        self.resources.iter().map(|(name, resource)| (&**name, &**resource))
    }

    /// Bytes of all catalogs that it announces.
    pub(super) fn catalog_bytes(&self) -> u64 {
        let sizes = self.resources.values().filter_map(|resource| Some(resource.catalog?.size));
        sizes.fold(0, u64::saturating_add)
    }

    /// One of its resources.
    #[must_use]
    pub fn resource(&self, name: &str) -> Option<&Resource> {
        self.resources.get(name).map(|resource| &**resource)
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

    /// Something can be had from it.
    pub(super) fn is_source(&self) -> bool {
        self.resources.values().any(|resource| resource.is_source())
    }

    /// The resources from which something can be had, with their names and with how many addresses of each count: `most`
    /// are shared out evenly, so that one resource with many addresses does not hide another.
    pub(super) fn sources(&self, most: usize) -> impl Iterator<Item = (&str, &Arc<Resource>, usize)> {
        let sources = || self.resources.iter().filter(|(_, resource)| resource.is_source());
        let portion = most.checked_div(sources().count()).unwrap_or(0).max(1);
        sources().take(most).map(move |(name, resource)| (&**name, resource, portion))
    }

    /// It has this very resource, unchanged.
    pub(super) fn holds(&self, name: &str, resource: &Arc<Resource>) -> bool {
        self.resources.get(name).is_some_and(|known| Arc::ptr_eq(known, resource))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    pub(super) fn drop_blanks(&mut self) {
        self.resources.retain(|_, resource| !resource.is_blank());
    }

    pub(super) fn set_online(&mut self, name: &str) {
        if let Some(resource) = self.resource_or_new(name) {
            resource.online = true;
        }
    }

    pub(super) fn set_offline(&mut self, name: &str) {
        if let Some(resource) = self.known(name) {
            resource.online = false;
        }
    }

    pub(super) fn set_all_offline(&mut self) {
        let online = self.resources.values_mut().filter(|resource| resource.online);
        online.for_each(|resource| Arc::make_mut(resource).online = false);
    }

    pub(super) fn set_endpoint(&mut self, name: &str, endpoint: Endpoint) {
        if let Some(resource) = self.resource_or_new(name) {
            resource.endpoint = Some(Arc::new(bounded_endpoint(endpoint)));
            resource.parted = false;
        }
    }

    pub(super) fn part(&mut self, name: &str) {
        if let Some(resource) = self.known(name) {
            resource.parted = true;
        }
    }

    /// What the original's list says of the resource is shown again, as far as there is room for it.
    pub(super) fn withdraw(&mut self, name: &str, bounds: Bounds) {
        let room = bounds.shown.minus(Room::of(self.tables(|other| other != name)));
        let Some(resource) = self.known(name) else { return };
        (resource.listed, resource.catalog, resource.endpoint, resource.truncated) = (None, None, None, false);
        let too_long = resource.original.as_ref().filter(|original| !room.holds(&original.shares));
        if let Some(original) = too_long {
            let (shares, addresses) = (original.shares.within(room), original.addresses.clone());
            resource.original = Some(Arc::new(OriginalEntry { shares, addresses }));
            resource.truncated = true;
        }
    }

    /// Nothing is known of a resource any more.
    pub(super) fn forget(&mut self, name: &str) {
        self.resources.remove(name);
    }

    /// Its list is to be fetched. Until then the one that is known counts.
    pub(super) fn point_to_catalog(&mut self, name: &str, catalog: Catalog) {
        if let Some(resource) = self.resource_or_new(name) {
            resource.has_catalog &= resource.catalog == Some(catalog);
            resource.catalog = Some(catalog);
            resource.parted = false;
        }
    }

    /// Its list is the one of this catalog.
    pub(super) fn has_catalog(&mut self, name: &str, catalog: Catalog) {
        if let Some(resource) = self.known(name) {
            (resource.catalog, resource.has_catalog) = (Some(catalog), true);
        }
    }

    /// `build` makes the table in the room that the other resources leave, and tells whether it was too little.
    pub(super) fn replace_list(
        &mut self,
        name: &str,
        truncated: bool,
        bounds: Bounds,
        build: impl FnOnce(Room) -> (Arc<ShareTable>, bool),
    ) {
        let shown = bounds.shown.minus(Room::of(self.tables(|other| other != name)));
        let replaced = Room::of(self.resource(name).and_then(|resource| resource.listed.as_deref()));
        let room = shown.min(bounds.kept.minus(self.kept().minus(replaced)));
        let Some(resource) = self.resource_or_new(name) else { return };
        let (table, cut) = build(room);
        resource.truncated = truncated || cut;
        resource.listed = Some(table);
        resource.catalog = None;
        resource.parted = false;
    }

    /// An entry that stays hidden behind a list in the own format takes nothing of what is shown, but is kept.
    pub(super) fn replace_original(&mut self, entries: Vec<ResourceEntry>, truncated: bool, bounds: Bounds) {
        for resource in self.resources.values_mut().filter(|resource| resource.original.is_some()) {
            Arc::make_mut(resource).original = None;
        }
        self.drop_blanks();
        self.truncated = truncated || entries.len() > MAX_RESOURCES_PER_CONTACT;
        let mut shown = bounds.shown.minus(Room::of(self.tables(|_| true)));
        let mut kept = bounds.kept.minus(self.kept());
        for entry in entries.into_iter().take(MAX_RESOURCES_PER_CONTACT) {
            let hidden = self.resource(&entry.resource).is_some_and(|resource| resource.listed.is_some());
            let room = if hidden { bounds.shown } else { shown };
            let (shares, cut) = ShareTable::build_within(entry.shares, room.min(kept));
            self.truncated |= cut && !hidden;
            let Some(resource) = self.resource_or_new(&entry.resource) else { continue };
            let taken = Room::of([&shares]);
            kept = kept.minus(taken);
            if !hidden {
                shown = shown.minus(taken);
            }
            let unknown = |socket| Address { socket, kind: AddressKind::Unknown };
            let addresses = entry.addresses.into_iter().take(MAX_ADDRESSES_PER_RESOURCE).map(unknown).collect();
            resource.original = Some(Arc::new(OriginalEntry { shares, addresses }));
        }
    }

    fn known(&mut self, name: &str) -> Option<&mut Resource> {
        self.resources.get_mut(name).map(Arc::make_mut)
    }

    /// The entry of a resource, made if there is room. An offline one gives way when there is none.
    fn resource_or_new(&mut self, name: &str) -> Option<&mut Resource> {
        if !self.resources.contains_key(name) && self.resources.len() >= MAX_RESOURCES_PER_CONTACT {
            self.truncated = true;
            let offline = Arc::clone(self.resources.iter().find(|(_, resource)| !resource.online)?.0);
            self.resources.remove(&offline);
        }
        Some(Arc::make_mut(self.resources.entry(name.into()).or_default()))
    }

    /// What is shown of the resources whose names count.
    fn tables(&self, counts: impl Fn(&str) -> bool) -> impl Iterator<Item = &ShareTable> {
        self.resources().filter(move |(name, _)| counts(name)).filter_map(|(_, resource)| resource.table())
    }

    /// What all that is kept of it takes, shown or hidden.
    pub(super) fn kept(&self) -> Room {
        let original = |resource: &Arc<Resource>| Room::of(resource.original.as_ref().map(|original| &original.shares));
        let of_one = |resource: &Arc<Resource>| Room::of(resource.listed.as_deref()).plus(original(resource));
        self.resources.values().map(of_one).fold(Room::default(), Room::plus)
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
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_deref()
    }

    /// Its shares, ordered by info hash, each once.
    pub fn shares(&self) -> impl Iterator<Item = ShareRef<'_>> {
        self.table().into_iter().flat_map(ShareTable::iter)
    }

    /// Number of shares.
    #[must_use]
    pub fn share_count(&self) -> usize {
        self.table().map_or(0, ShareTable::len)
    }

    /// One of its shares.
    #[must_use]
    pub fn share(&self, info_hash: &InfoHash) -> Option<ShareRef<'_>> {
        self.table()?.get(info_hash)
    }

    /// The addresses it announces, unfiltered.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        match (&self.endpoint, &self.original) {
            (Some(endpoint), _) => &endpoint.addresses,
            (None, Some(original)) => &original.addresses,
            (None, None) => &[],
        }
    }

    /// Its shares: the own format's list, or else what the original's says.
    #[must_use]
    pub fn table(&self) -> Option<&ShareTable> {
        self.listed.as_deref().or_else(|| self.original.as_ref().map(|original| &original.shares))
    }

    /// The catalog that it announces in the place of a list.
    #[must_use]
    pub const fn catalog(&self) -> Option<Catalog> {
        self.catalog
    }

    /// The list that it announces by a catalog, if that is not here yet.
    #[must_use]
    pub fn missing(&self) -> Option<Catalog> {
        self.catalog.filter(|_| !self.has_catalog)
    }

    /// A torrent could be had from here, or a list of torrents.
    pub(in crate::share) fn is_source(&self) -> bool {
        self.is_available() && (self.share_count() > 0 || self.missing().is_some())
    }

    fn is_blank(&self) -> bool {
        let lists_nothing = self.listed.is_none() && self.original.is_none() && self.catalog.is_none();
        !self.online && self.endpoint.is_none() && lists_nothing
    }
}

fn bounded_endpoint(mut endpoint: Endpoint) -> Endpoint {
    endpoint.addresses.truncate(MAX_ADDRESSES_PER_RESOURCE);
    endpoint.software = display_name(&endpoint.software, MAX_LABEL_LEN);
    endpoint
}
