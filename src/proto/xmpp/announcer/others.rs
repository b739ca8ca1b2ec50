//! What the account's other resources have on the own nodes, and which of them will not come back.
//!
//! A resource that never comes back leaves its items on the server for ever, so another one takes them off: when the
//! resource is not online and its own word, the day on which it was last there, is a month old. Entries without such a
//! word, as the original writes them, have to be missed for a whole day first: a program that is away for a moment
//! does not publish again when it returns. Whoever does return publishes what it shares, so little is lost by a mistake.

use std::time::{Duration, Instant};

use minidom::Element;

use super::Node;
use crate::proto::xmpp::pep::Item;
use crate::proto::xmpp::shares;
use crate::proto::xmpp::shares_original as original;
use crate::types::{MAX_RESOURCES_PER_CONTACT, ResourceEntry, SortedMap, SortedSet, gather};

/// A resource that was not there for this many seconds will not come back: a month, so that nobody's holidays count.
const GONE_AFTER_SECS: u64 = 30 * 24 * 60 * 60;
/// A resource of which nobody knows when it was last there is missed for so long before it counts as gone.
const MISSED_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Items of other resources that are remembered.
const MAX_ITEMS: usize = 1024;

/// The account's other resources on the own nodes.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// Entries on the original's node.
    entries: SortedMap<String, ResourceEntry>,
    /// Payloads on bitween's nodes, in items of their own or merged in one.
    payloads: SortedMap<(Node, String), Element>,
    /// Whose the items on bitween's nodes are, by id.
    items: SortedMap<(Node, String), String>,
    /// Since when somebody is missed.
    missed: SortedMap<String, Instant>,
}

impl Others {
    /// The stream is new: nothing is known of the server any more.
    pub(super) fn restart(&mut self) {
        *self = Self { missed: std::mem::take(&mut self.missed), ..Self::default() };
    }

    /// Remembers what an item says of other resources than `own`.
    pub(super) fn learn(&mut self, own: &str, node: Node, item: Item<'_>) {
        if node == Node::Original {
            let entries = original::parse(item.payload).entries.into_iter().filter(|entry| entry.resource != own);
            self.entries = gather(entries.map(|entry| (entry.resource.clone(), entry)));
            return;
        }
        let merged = item.id == shares::MERGED_ID;
        for (resource, payload) in shares::payloads(node.name(), item.payload) {
            if resource == own || self.payloads.len() >= 2 * MAX_RESOURCES_PER_CONTACT {
                continue;
            }
            self.payloads.insert((node, resource.to_owned()), payload.clone());
            if !merged && self.items.len() < MAX_ITEMS {
                self.items.insert((node, item.id.to_owned()), resource.to_owned());
            }
        }
    }

    /// An item was retracted.
    pub(super) fn retracted(&mut self, node: Node, id: &str) {
        if let Some(resource) = self.items.remove(&(node, id.to_owned())) {
            self.payloads.remove(&(node, resource));
        }
    }

    /// A node lost all its items.
    pub(super) fn emptied(&mut self, node: Node) {
        self.payloads.retain(|(of, _), _| *of != node);
        self.items.retain(|(of, _), _| *of != node);
        if node == Node::Original {
            self.entries.clear();
        }
    }

    /// A resource came online.
    pub(super) fn came_online(&mut self, resource: &str) {
        self.missed.remove(resource);
    }

    /// Forgets the resources that will not come back; `today` is the day in Unix time. The ids of the items that they
    /// have left, or `None` if nobody is gone.
    pub(super) fn drop_ghosts(
        &mut self,
        now: Instant,
        today: Option<u64>,
        online: &SortedSet<String>,
    ) -> Option<Vec<(Node, String)>> {
        let known: SortedSet<String> =
            gather(self.entries.keys().chain(self.payloads.keys().map(|(_, resource)| resource)).cloned());
        self.missed.retain(|resource, _| known.contains(resource) && !online.contains(resource));
        let ghosts: SortedSet<String> =
            gather(known.into_iter().filter(|name| !online.contains(name) && self.is_gone(now, today, name)));
        if ghosts.is_empty() {
            return None;
        }
        self.entries.retain(|resource, _| !ghosts.contains(resource));
        self.payloads.retain(|(_, resource), _| !ghosts.contains(resource));
        let left = self.items.iter().filter(|(_, resource)| ghosts.contains(*resource));
        let left = left.map(|(key, _)| key.clone()).collect();
        self.items.retain(|_, resource| !ghosts.contains(resource));
        Some(left)
    }

    /// Entries on the original's node.
    pub(super) fn entries(&self) -> impl Iterator<Item = &ResourceEntry> {
        self.entries.values()
    }

    /// Payloads on one of bitween's nodes.
    pub(super) fn payloads(&self, node: Node) -> impl Iterator<Item = &Element> {
        self.payloads.iter().filter(move |((of, _), _)| *of == node).map(|(_, payload)| payload)
    }

    /// Whether others have something on a node.
    pub(super) fn use_node(&self, node: Node) -> bool {
        if node == Node::Original { !self.entries.is_empty() } else { self.payloads(node).next().is_some() }
    }

    fn is_gone(&mut self, now: Instant, today: Option<u64>, resource: &str) -> bool {
        let said = self.payloads.get(&(Node::Endpoint, resource.to_owned())).and_then(shares::seen);
        match (said, today) {
            (Some(seen), Some(today)) => today.saturating_sub(seen) > GONE_AFTER_SECS,
            _ => {
                let since = *self.missed.entry(resource.to_owned()).or_insert(now);
                now.saturating_duration_since(since) >= MISSED_FOR
            }
        }
    }
}
