//! What the accounts one may see announce on their nodes, and which nodes must be fetched.
//!
//! Notifications alone lose data on some servers, so the items of every account are fetched at first sight, after a
//! failure, when parts of a list stay missing, and when a resource comes online of which nothing is known. An error is
//! "nothing shared". Only a few fetches are open at a time. Whether an account may be believed is the caller's check.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jid::BareJid;

use super::announcer::Node;
use super::lists::Lists;
use super::pep::{Happening, Item};
use super::shares::{parse_endpoint, payloads};
use super::shares_original;
use super::stanza::Failure;
use crate::types::{Announcement, Endpoint, SortedMap, SortedSet, gather};

/// Fetches open at the same time.
const MAX_OPEN: usize = 8;
/// A resource that comes online announces itself; after this long it is worth asking.
const ONLINE_GRACE: Duration = Duration::from_secs(3);
/// The missing parts of a list get this long to arrive.
const PARTS_GRACE: Duration = Duration::from_secs(10);
/// Wait after a fetch that nobody answered.
const RETRY: Duration = Duration::from_secs(120);
/// Items fetched of a node once an answer was too long; few enough that even the longest ones stay below 1 MiB.
const FEW_ITEMS: usize = 3;
/// Pause between two fetches of one account that nobody asked for.
const PAUSE: Duration = Duration::from_secs(60);

/// Changes of one account that are taken at once. A list of many parts is one change to its owner, and there may be
/// several resources.
const BURST: u32 = 64;
/// One more is taken after this long.
const CHANGE_EVERY: Duration = Duration::from_millis(500);
/// What was passed over is fetched after this long.
const CALM: Duration = Duration::from_secs(10);

/// The announcements of all accounts one may see.
#[derive(Debug, Default)]
pub struct Watch {
    accounts: SortedMap<BareJid, Account>,
    queue: VecDeque<(BareJid, Node)>,
    open: usize,
    /// Only the newest few items are fetched: somebody's nodes hold more than a stream carries.
    newest: Option<usize>,
}

#[derive(Debug, Default)]
struct Account {
    lists: Lists,
    endpoints: SortedMap<String, Option<Endpoint>>,
    originals: SortedSet<String>,
    refetch: Option<Instant>,
    fetched: Option<Instant>,
    pace: Pace,
}

/// How many changes an account may still tell of.
#[derive(Debug, Default)]
struct Pace {
    used: u32,
    since: Option<Instant>,
}

impl Pace {
    /// Whether one more may be looked at.
    fn allows(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let earned = now.saturating_duration_since(since).as_millis() / CHANGE_EVERY.as_millis();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        self.used = self.used.saturating_sub(earned);
        self.since = Some(if self.used == 0 { now } else { since + CHANGE_EVERY * earned });
        let allowed = self.used < BURST;
        self.used += u32::from(allowed);
        allowed
    }
}

impl Watch {
    /// Watches nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All nodes of this account should be fetched.
    pub fn fetch(&mut self, now: Instant, jid: &BareJid) {
        let account = self.accounts.entry(jid.clone()).or_default();
        account.refetch = None;
        account.fetched = Some(now);
        for node in Node::ALL {
            if !self.queue.iter().any(|(queued, of)| queued == jid && *of == node) {
                self.queue.push_back((jid.clone(), node));
            }
        }
    }

    /// The next node to fetch, if not too many fetches are open.
    pub fn poll_fetch(&mut self) -> Option<(BareJid, Node)> {
        if self.open >= MAX_OPEN {
            return None;
        }
        let next = self.queue.pop_front();
        self.open += usize::from(next.is_some());
        next
    }

    /// A fetch brought these items.
    pub fn fetched(&mut self, jid: &BareJid, node: Node, items: &[Item<'_>]) -> Vec<Announcement> {
        self.open = self.open.saturating_sub(1);
        let Some(account) = self.accounts.get_mut(jid) else { return Vec::new() };
        match node {
            // There may be more items than were asked for, so nothing is gone for being absent.
            Node::Shares if self.newest.is_some_and(|newest| items.len() >= newest) => {
                items.iter().flat_map(|item| account.lists.publish(item.id, item.payload)).collect()
            }
            Node::Shares => account.lists.replace(items.iter().map(|item| (item.id, item.payload))),
            Node::Endpoint => account.replace_endpoints(items),
            // An account that never spoke the original's format stays unmentioned.
            Node::Original if items.is_empty() && account.originals.is_empty() => Vec::new(),
            Node::Original => vec![account.original(items.last())],
        }
    }

    /// A fetch failed: nothing is shared there, or nobody knows and it is tried again later.
    pub fn fetch_failed(&mut self, now: Instant, jid: &BareJid, node: Node, failure: &Failure) -> Vec<Announcement> {
        if *failure == Failure::TimedOut || failure.is("remote-server-not-found") || failure.is("remote-server-timeout")
        {
            self.open = self.open.saturating_sub(1);
            self.plan(now, jid, RETRY);
            return Vec::new();
        }
        self.fetched(jid, node, &[])
    }

    /// The account's server told of a change.
    pub fn happened(
        &mut self,
        now: Instant,
        jid: &BareJid,
        node: Node,
        happening: &Happening<'_>,
    ) -> Vec<Announcement> {
        let account = self.accounts.entry(jid.clone()).or_default();
        let announcements = match (node, happening) {
            (Node::Shares, Happening::Published(item)) => account.lists.publish(item.id, item.payload),
            (Node::Shares, Happening::Retracted(id)) => account.lists.retract(id),
            (Node::Shares, Happening::Emptied) => account.lists.replace(std::iter::empty()),
            (Node::Endpoint, Happening::Published(item)) => account.endpoints(item),
            (Node::Endpoint, Happening::Retracted(_)) => Vec::new(), // the list goes too, or presence ends
            (Node::Endpoint, Happening::Emptied) => account.replace_endpoints(&[]),
            (Node::Original, Happening::Published(item)) => vec![account.original(Some(item))],
            (Node::Original, Happening::Retracted(_) | Happening::Emptied) => vec![account.original(None)],
        };
        if account.lists.is_incomplete() {
            self.plan(now, jid, PARTS_GRACE);
        }
        announcements
    }

    /// Whether the account tells of changes so fast that this one is to be passed over. What it announces is fetched
    /// soon.
    pub fn is_too_fast(&mut self, now: Instant, jid: &BareJid) -> bool {
        let account = self.accounts.entry(jid.clone()).or_default();
        let too_fast = !account.pace.allows(now);
        if too_fast {
            let due = now + CALM;
            account.refetch = Some(account.refetch.map_or(due, |planned| planned.min(due)));
        }
        too_fast
    }

    /// A resource of the account came online.
    pub fn came_online(&mut self, now: Instant, jid: &BareJid, resource: &str) {
        let account = self.accounts.entry(jid.clone()).or_default();
        let known = account.lists.knows(resource) || account.originals.contains(resource);
        if !known {
            self.plan(now, jid, ONLINE_GRACE);
        }
    }

    /// The account is no longer to be seen.
    pub fn forget(&mut self, jid: &BareJid) {
        self.accounts.remove(jid);
        self.queue.retain(|(queued, _)| queued != jid);
    }

    /// The stream is new: everything must be fetched again. What was told stays told, so that what is gone by then is
    /// told too.
    pub fn restart(&mut self) {
        self.queue.clear();
        self.open = 0;
        for account in self.accounts.values_mut() {
            (account.refetch, account.fetched) = (None, None);
        }
    }

    /// An answer was longer than the stream carries: from now on only the newest few items are asked for.
    pub fn be_modest(&mut self) {
        self.newest = Some(FEW_ITEMS);
    }

    /// How many items of a node to ask for; all by default.
    #[must_use]
    pub const fn newest(&self) -> Option<usize> {
        self.newest
    }

    /// When [`Self::handle_timeout`] has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.accounts.values().filter_map(|account| account.refetch).min()
    }

    /// Queues the fetches that are due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = |(jid, account): (&BareJid, &Account)| account.refetch.filter(|at| *at <= now).map(|_| jid.clone());
        let due: Vec<BareJid> = self.accounts.iter().filter_map(due).collect();
        due.iter().for_each(|jid| self.fetch(now, jid));
    }

    fn plan(&mut self, now: Instant, jid: &BareJid, delay: Duration) {
        if let Some(account) = self.accounts.get_mut(jid) {
            let earliest = account.fetched.map_or(now, |fetched| fetched + PAUSE);
            account.refetch.get_or_insert((now + delay).max(earliest));
        }
    }
}

impl Account {
    fn original(&mut self, item: Option<&Item<'_>>) -> Announcement {
        let list = shares_original::parse(item.and_then(|item| item.payload));
        self.originals = gather(list.entries.iter().map(|entry| entry.resource.clone()));
        Announcement::Account { entries: list.entries, truncated: list.truncated }
    }

    /// Takes the endpoints in an item; tells those that are new.
    fn endpoints(&mut self, item: &Item<'_>) -> Vec<Announcement> {
        let mut announcements = Vec::new();
        for (resource, payload) in payloads(Node::Endpoint.name(), item.payload) {
            let endpoint = parse_endpoint(payload);
            let room = self.endpoints.len() < crate::types::MAX_RESOURCES_PER_CONTACT;
            if self.endpoints.get(resource) == Some(&endpoint) || (!room && !self.endpoints.contains_key(resource)) {
                continue;
            }
            self.endpoints.insert(resource.to_owned(), endpoint.clone());
            let resource = resource.to_owned();
            announcements.push(match endpoint {
                Some(endpoint) => Announcement::Endpoint { resource, endpoint },
                None => Announcement::Parted { resource },
            });
        }
        announcements
    }

    fn replace_endpoints(&mut self, items: &[Item<'_>]) -> Vec<Announcement> {
        let named = items.iter().flat_map(|item| payloads(Node::Endpoint.name(), item.payload));
        let present: SortedSet<&str> = gather(named.map(|(resource, _)| resource));
        let gone: Vec<String> =
            self.endpoints.keys().filter(|known| !present.contains(known.as_str())).cloned().collect();
        let mut announcements = Vec::new();
        for resource in gone {
            self.endpoints.remove(&resource);
            announcements.push(Announcement::Endpoint { resource, endpoint: Endpoint::default() });
        }
        announcements.extend(items.iter().flat_map(|item| self.endpoints(item)));
        announcements
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]
    use super::super::shares::{PART_LIMIT, build_endpoint, build_list};
    use super::*;

    fn jid(n: usize) -> BareJid {
        BareJid::new(&format!("c{n}@example.org")).unwrap()
    }

    #[test]
    fn few_fetches_are_open_and_none_is_queued_twice() {
        let now = Instant::now();
        let mut watch = Watch::new();
        (0..10).for_each(|n| watch.fetch(now, &jid(n)));
        watch.fetch(now, &jid(9));
        let mut fetched = 0;
        let mut open = VecDeque::new();
        while fetched < 30 {
            open.extend(std::iter::from_fn(|| watch.poll_fetch()));
            assert!(open.len() <= MAX_OPEN);
            let (jid, node) = open.pop_front().unwrap();
            watch.fetched(&jid, node, &[]);
            fetched += 1;
        }
        assert!(open.is_empty() && watch.poll_fetch().is_none());
    }

    #[test]
    fn an_unanswered_fetch_is_repeated_and_a_refused_one_means_nothing() {
        let now = Instant::now();
        let mut watch = Watch::new();
        watch.fetch(now, &jid(1));
        let refused = Failure::Refused { condition: "forbidden".into(), detail: None, text: None };
        while let Some((jid, node)) = watch.poll_fetch() {
            let failure = if node == Node::Shares { &Failure::TimedOut } else { &refused };
            assert!(watch.fetch_failed(now, &jid, node, failure).is_empty());
        }
        assert_eq!(watch.poll_timeout(), Some(now + RETRY));
        watch.handle_timeout(now + RETRY);
        assert_eq!(std::iter::from_fn(|| watch.poll_fetch()).count(), 3);
        assert_eq!(watch.poll_timeout(), None);
    }

    #[test]
    fn what_is_gone_when_the_stream_is_back_is_told() {
        let now = Instant::now();
        let mut watch = Watch::new();
        let payload = build_list("r", &[], PART_LIMIT).0;
        watch.happened(now, &jid(1), Node::Shares, &Happening::Published(Item { id: "r", payload: Some(&payload) }));
        watch.restart();
        assert!(watch.poll_fetch().is_none() && watch.poll_timeout().is_none());
        let gone = Failure::Refused { condition: "item-not-found".into(), detail: None, text: None };
        let told = watch.fetch_failed(now, &jid(1), Node::Shares, &gone);
        assert_eq!(told, [Announcement::Withdrawn { resource: "r".into() }]);
    }

    #[test]
    fn an_unknown_resource_that_comes_online_is_asked_for() {
        let now = Instant::now();
        let mut watch = Watch::new();
        watch.came_online(now, &jid(1), "r");
        assert_eq!(watch.poll_timeout(), Some(now + ONLINE_GRACE));
        watch.handle_timeout(now + ONLINE_GRACE);
        assert!(watch.poll_fetch().is_some());
        watch.came_online(now + ONLINE_GRACE, &jid(1), "chat");
        assert!(watch.poll_timeout() >= Some(now + PAUSE), "not again and again");

        let payload = build_list("s", &[], PART_LIMIT).0;
        watch.happened(now, &jid(2), Node::Shares, &Happening::Published(Item { id: "s", payload: Some(&payload) }));
        watch.came_online(now, &jid(2), "s");
        assert!(watch.accounts.get(&jid(2)).unwrap().refetch.is_none());
    }

    #[test]
    fn endpoints_are_told_once_and_their_end_too() {
        let now = Instant::now();
        let mut watch = Watch::new();
        let endpoint = Endpoint { software: "x 1".into(), ..Endpoint::default() };
        let payload = build_endpoint("r", &endpoint);
        let happening = Happening::Published(Item { id: "r", payload: Some(&payload) });
        let told = watch.happened(now, &jid(1), Node::Endpoint, &happening);
        assert_eq!(told, [Announcement::Endpoint { resource: "r".into(), endpoint }]);
        assert!(watch.happened(now, &jid(1), Node::Endpoint, &happening).is_empty());
        let told = watch.happened(now, &jid(1), Node::Endpoint, &Happening::Emptied);
        assert_eq!(told, [Announcement::Endpoint { resource: "r".into(), endpoint: Endpoint::default() }]);
    }

    #[test]
    fn who_announces_too_fast_is_fetched_later() {
        let (start, mut watch) = (Instant::now(), Watch::new());
        let flood = |watch: &mut Watch, second: u64| {
            let at = |n: u64| start + Duration::from_secs(second) + Duration::from_millis(10 * n);
            (0..100).filter(|n| !watch.is_too_fast(at(*n), &jid(1))).count()
        };
        assert_eq!(flood(&mut watch, 0), 65, "the burst, and one for the first half second");
        assert_eq!((1..20).map(|second| flood(&mut watch, second)).sum::<usize>(), 2 * 19);
        assert!(!watch.is_too_fast(start, &jid(2)), "others are not concerned");
        assert_eq!(watch.accounts.get(&jid(1)).unwrap().refetch, Some(start + Duration::from_millis(650) + CALM));
        let later = start + Duration::from_secs(600);
        assert_eq!((0..100).filter(|_| !watch.is_too_fast(later, &jid(1))).count(), BURST as usize);
    }

    #[test]
    fn retraction_deletion_and_purge_of_the_originals_item_mean_no_shares() {
        let now = Instant::now();
        let mut watch = Watch::new();
        for happening in [Happening::Retracted("current"), Happening::Emptied] {
            let told = watch.happened(now, &jid(1), Node::Original, &happening);
            assert_eq!(told, [Announcement::Account { entries: Vec::new(), truncated: false }]);
        }
    }
}
