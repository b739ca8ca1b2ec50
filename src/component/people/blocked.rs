//! Who is blocked, and where they could be met when they were still listened to.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use super::places::Places;
use crate::component::snapshot::Contacts;
use crate::share::Refused;
use crate::types::{SortedMap, Via};

/// The blocked of all accounts, each with the addresses that were known when they were blocked.
#[derive(Default)]
pub(super) struct Blocked {
    places: SortedMap<(Via, String), Vec<SocketAddr>>,
    /// What contacts announced when it was last described; `None`: who is blocked has changed since.
    described: Option<u64>,
    /// The same addresses, for the next process.
    kept: Places,
}

impl Blocked {
    pub(super) fn new(kept: Places) -> Self {
        Self { kept, ..Self::default() }
    }

    /// The list of one account is this. Where the new ones are is looked up in what is known of them.
    pub(super) fn set(&mut self, via: Via, jids: Vec<String>, contacts: &Contacts) {
        let mut before = std::mem::take(&mut self.places);
        let (mut after, mut old) = (SortedMap::new(), SortedMap::new());
        while let Some((key, places)) = before.pop_first() {
            if key.0 == via {
                old.insert(key, places)
            } else {
                after.insert(key, places)
            };
        }
        for jid in jids {
            let key = (via, jid);
            let places = old.remove(&key).unwrap_or_else(|| self.places_of(&key.1, contacts));
            after.insert(key, places);
        }
        let still = |entry: &str| after.keys().any(|(_, other)| other == entry);
        let gone = old.keys().map(|(_, entry)| entry.as_str()).filter(|entry| !still(entry));
        let met = after.iter().map(|((_, entry), places)| (entry.as_str(), places.as_slice()));
        self.kept.update(met, gone);
        (self.places, self.described) = (after, None);
    }

    /// The addresses that are known of whoever is on the list. Somebody who was blocked before this process began is not
    /// listened to, so theirs were kept.
    fn places_of(&self, entry: &str, contacts: &Contacts) -> Vec<SocketAddr> {
        let announced = places_of(entry, contacts);
        if announced.is_empty() { self.kept.get(entry).unwrap_or_default().to_vec() } else { announced }
    }

    /// The account was left.
    pub(super) fn forget(&mut self, via: Via) {
        self.places.retain(|(other, _), _| *other != via);
        self.described = None;
    }

    /// Writes into the snapshot who is blocked, and where they are as far as nobody else is there. True if the latter
    /// changed.
    pub(super) fn describe(&mut self, contacts: &mut Contacts) -> bool {
        let revision = Some(contacts.shares.revision());
        if self.described == revision {
            return false;
        }
        if self.described.is_none() {
            contacts.blocked = self.places.keys().cloned().collect();
        }
        self.described = revision;
        let refused = self.refused(contacts);
        let differs = refused != *contacts.refused;
        if differs {
            contacts.refused = Arc::new(refused);
        }
        differs
    }

    fn refused(&self, contacts: &Contacts) -> Refused {
        if self.places.values().all(Vec::is_empty) {
            return Refused::default();
        }
        let entries: HashSet<&str> = self.places.keys().map(|(_, jid)| jid.as_str()).collect();
        let heard = contacts.shares.iter().filter(|(jid, _)| !names(jid).any(|name| entries.contains(name)));
        let resources = heard.flat_map(|(_, contact)| contact.resources());
        let others = resources.flat_map(|(_, resource)| resource.addresses()).map(|address| address.socket);
        Refused::new(self.places.values().flatten().copied(), others)
    }
}

/// The entries of a list that mean this bare JID: itself, and its domain.
fn names(jid: &str) -> impl Iterator<Item = &str> {
    [Some(jid), jid.split_once('@').map(|(_, domain)| domain)].into_iter().flatten()
}

/// The addresses that an account announces, or all accounts of a domain.
fn places_of(entry: &str, contacts: &Contacts) -> Vec<SocketAddr> {
    let theirs = contacts.shares.iter().filter(|(jid, _)| names(jid).any(|name| name == entry));
    let resources = theirs.flat_map(|(_, contact)| contact.resources());
    resources.flat_map(|(_, resource)| resource.addresses()).map(|address| address.socket).collect()
}
