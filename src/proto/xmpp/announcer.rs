//! What this resource says about itself on the three nodes, and how it stops saying it.
//!
//! Turns the own shares and endpoint into the items of each node's [`Lane`]: its own items on bitween's nodes, the
//! account-wide item on the original's node, which carries the entries of the account's other resources along (see
//! `others`). A list that outgrows an item is announced by its catalog, if somebody makes those ([`Catalogs`]), and cut,
//! with a warning, otherwise. The original knows no catalogs, so beside one its item names the newest few shares.

mod others;
mod own_list;

use std::time::Instant;

use minidom::Element;

use super::pep::{Happening, Item as WireItem};
use super::publisher::{Item, Lane, Notice, Request, digest};
use super::shares::{
    ENDPOINT_NODE, MERGED_ID, PART_LIMIT, SHARES_NODE, build_endpoint, build_endpoint_gone, build_gone, build_list,
    build_merged, fits,
};
use super::shares_original::{self as original, ITEM_ID};
use super::stanza::Failure;
use crate::types::{Endpoint, ResourceEntry, Share, SortedMap, SortedSet};
use others::Others;
pub use own_list::Catalogs;
use own_list::OwnList;

/// Bytes of one item on the original's node that the own entry may take; far below the smallest limit usually met.
const ORIGINAL_LIMIT: usize = 60 * 1024;
/// Bytes of one item in all; servers close the stream at 256 KiB.
const ITEM_LIMIT: usize = 200 * 1024;
/// Limits are not lowered below this many bytes, which every server must carry (RFC 6120 section 13.12).
const SMALLEST_LIMIT: usize = 8 * 1024;

/// One of the nodes this program uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Node {
    /// [`ENDPOINT_NODE`].
    Endpoint,
    /// [`SHARES_NODE`].
    Shares,
    /// The original's.
    Original,
}

impl Node {
    /// All of them, in the order in which they are published and fetched.
    pub const ALL: [Self; 3] = [Self::Endpoint, Self::Shares, Self::Original];

    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Endpoint => ENDPOINT_NODE,
            Self::Shares => SHARES_NODE,
            Self::Original => original::NODE,
        }
    }

    /// The node with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|node| node.name() == name)
    }
}

/// Is this list so long that some server's items may not hold it? Then it should have a catalog.
#[must_use]
pub fn may_need_catalog(shares: &[Share]) -> bool {
    !fits("", shares, SMALLEST_LIMIT / 2)
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    No,
    /// The goodbye is being said.
    Parting,
    /// Everything is being taken off the server: first empty lists, which every server tells everybody,
    Emptying,
    /// then the items themselves.
    Removing,
}

/// The own announcements.
#[derive(Debug)]
pub struct Announcer {
    resource: String,
    publish_original: bool,
    list: OwnList,
    endpoint: Endpoint,
    lanes: [Lane; 3],
    others: Others,
    keeps_one: SortedSet<Node>,
    /// Bytes of one item that the server is known to take, as far as it has refused some.
    limit: usize,
    ending: Ending,
    /// Shares left out per node, as the user was told last.
    told_cut: SortedMap<Node, usize>,
    warnings: Vec<String>,
}

impl Announcer {
    /// Announces nothing yet. `seed` makes the jitter.
    #[must_use]
    pub fn new(resource: String, publish_original: bool, seed: u64) -> Self {
        let lane = |node: Node, nth| Lane::new(node.name(), node != Node::Original, seed.wrapping_add(nth));
        Self {
            resource,
            publish_original,
            list: OwnList::default(),
            endpoint: Endpoint::default(),
            lanes: [lane(Node::Endpoint, 0), lane(Node::Shares, 1), lane(Node::Original, 2)],
            others: Others::default(),
            keeps_one: SortedSet::new(),
            limit: ORIGINAL_LIMIT,
            ending: Ending::No,
            told_cut: SortedMap::new(),
            warnings: Vec::new(),
        }
    }

    /// The stream is new: nothing is known of the server any more.
    pub fn reset(&mut self, resource: &str) {
        resource.clone_into(&mut self.resource);
        self.others.restart();
        self.told_cut.clear();
        self.lanes.iter_mut().for_each(Lane::reset);
    }

    /// The server has confirmed what is to be announced: on bitween's nodes, or, where it does not let them be, on the
    /// original's.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        let [endpoint, shares, original] = &self.lanes;
        let own = endpoint.is_confirmed() && shares.is_confirmed();
        let barred = endpoint.is_blocked() || shares.is_blocked();
        own || (barred && self.publish_original && original.is_confirmed())
    }

    /// The own shares are these from now on.
    pub fn set_shares(&mut self, now: Instant, shares: Vec<Share>) {
        if self.list.set_shares(shares) {
            self.refresh(now);
        }
    }

    /// This is known of the own list as a catalog from now on.
    pub fn set_catalogs(&mut self, now: Instant, catalogs: Catalogs) {
        if self.list.set_catalogs(catalogs) {
            self.refresh(now);
        }
    }

    /// The own list is announced by its catalog.
    #[must_use]
    pub fn is_by_catalog(&self) -> bool {
        self.list.is_by_catalog()
    }

    /// This resource can be reached like this from now on.
    pub fn set_endpoint(&mut self, now: Instant, endpoint: Endpoint) {
        if self.endpoint != endpoint {
            self.endpoint = endpoint;
            self.refresh(now);
        }
    }

    /// All items of an own node were fetched; an absent node has none.
    pub fn fetched(&mut self, now: Instant, node: Node, items: &[WireItem<'_>]) {
        let mut digests = SortedMap::new();
        for item in items {
            self.others.learn(&self.resource, node, *item);
            if self.is_own_item(node, item.id) {
                digests.insert(item.id.to_owned(), item_digest(node, *item));
            }
        }
        // What is wanted depends on what is there, so that comes first.
        self.lane(node).fetched(now, digests);
        match self.wanted(node) {
            Some(wanted) => self.lane(node).want(now, wanted),
            None => self.lane(node).hold(),
        }
    }

    /// Something happened on an own node.
    pub fn observe(&mut self, now: Instant, node: Node, happening: &Happening<'_>) {
        let foreign = match happening {
            Happening::Published(item) if self.is_own_item(node, item.id) => {
                let digest = item_digest(node, *item);
                let foreign = self.lane(node).observe(item.id, Some(digest));
                if foreign {
                    self.others.learn(&self.resource, node, *item);
                }
                foreign
            }
            Happening::Published(item) => {
                self.others.learn(&self.resource, node, *item);
                false
            }
            Happening::Retracted(id) if self.is_own_item(node, id) => self.lane(node).observe(id, None),
            Happening::Retracted(id) => {
                self.others.retracted(node, id);
                false
            }
            Happening::Emptied => {
                self.others.emptied(node);
                self.lane(node).observe_empty()
            }
        };
        if foreign && let Some(wanted) = self.wanted(node) {
            self.lane(node).mend(now, wanted);
        }
    }

    /// Another resource of the account came online.
    pub fn other_came_online(&mut self, resource: &str) {
        self.others.came_online(resource);
    }

    /// Takes off the server what the account's other resources have left there that will not come back. Only some of
    /// those that are not `online` are meant; see `others`.
    pub fn drop_ghosts(&mut self, now: Instant, online: &SortedSet<String>) {
        let Some(left) = self.others.drop_ghosts(now, self.endpoint.seen, online) else { return };
        for node in [Node::Endpoint, Node::Shares] {
            let ids = left.iter().filter(|(of, _)| *of == node).map(|(_, id)| id.clone());
            self.lane(node).discard(now, ids);
        }
        self.refresh(now);
    }

    /// Says goodbye: what is shared stands, but nobody is here. With `for_good` everything of this resource is taken
    /// off the server.
    pub fn part(&mut self, now: Instant, for_good: bool) {
        self.ending = if for_good { Ending::Emptying } else { Ending::Parting };
        self.want_at_once(now);
    }

    /// The goodbye was said, as far as that is possible.
    pub fn has_parted(&mut self, now: Instant) -> bool {
        if !self.lanes.iter().all(Lane::is_settled) {
            return false;
        }
        if self.ending == Ending::Emptying {
            // Before they were fetched nobody knows what of ours, and of others, stands on the nodes.
            if !self.lanes.iter().all(|lane| lane.is_fetched() || lane.is_blocked()) {
                return false;
            }
            self.ending = Ending::Removing;
            self.want_at_once(now);
            return self.lanes.iter().all(Lane::is_settled);
        }
        matches!(self.ending, Ending::Parting | Ending::Removing)
    }

    /// The nodes nobody of this account needs any more once everything of this resource is gone.
    pub fn unused_nodes(&self) -> Vec<Node> {
        let unused = |node: &Node| (*node != Node::Original || self.publish_original) && !self.others.use_node(*node);
        Node::ALL.into_iter().filter(unused).collect()
    }

    /// The next request on a node of the own account.
    pub fn poll_request(&mut self, now: Instant) -> Option<(Node, Request)> {
        let next = |(node, lane): (Node, &mut Lane)| Some((node, lane.poll_request(now)?));
        Node::ALL.into_iter().zip(&mut self.lanes).find_map(next)
    }

    /// A request was answered.
    pub fn answered(&mut self, now: Instant, node: Node, answer: Result<&Element, Failure>) {
        match self.lane(node).answered(now, answer) {
            None => {}
            Some(Notice::Warning(text)) => self.warnings.push(text),
            Some(Notice::TooBig) => self.shrink(now),
            Some(Notice::KeepsOneItem) => {
                self.keeps_one.insert(node);
                self.refresh(now);
            }
        }
    }

    /// The server found a stanza too big: halves the limit and cuts the lists to it.
    pub fn shrink(&mut self, now: Instant) {
        self.limit_to(now, self.limit / 2);
    }

    /// Bytes of one item that the server is known to take; what it refuses lowers it.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// The server does not take longer items than this, as was learned before.
    pub fn limit_to(&mut self, now: Instant, limit: usize) {
        self.limit = limit.clamp(SMALLEST_LIMIT, ORIGINAL_LIMIT);
        self.refresh(now);
    }

    /// Parts shrink in the same measure: which item was too big is not known.
    fn part_limit(&self) -> usize {
        (PART_LIMIT * self.limit / ORIGINAL_LIMIT).max(SMALLEST_LIMIT)
    }

    /// When [`Self::poll_request`] may have something next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.lanes.iter().filter_map(Lane::poll_timeout).min()
    }

    /// The next thing the user should know.
    pub fn poll_warning(&mut self) -> Option<String> {
        if self.warnings.is_empty() { None } else { Some(self.warnings.remove(0)) }
    }

    /// The own items of this node were fetched.
    #[must_use]
    pub fn is_fetched(&self, node: Node) -> bool {
        self.lanes.iter().zip(Node::ALL).any(|(lane, of)| of == node && lane.is_fetched())
    }

    fn lane(&mut self, node: Node) -> &mut Lane {
        let [endpoint, shares, original] = &mut self.lanes;
        match node {
            Node::Endpoint => endpoint,
            Node::Shares => shares,
            Node::Original => original,
        }
    }

    fn refresh(&mut self, now: Instant) {
        let limit = self.list_limit();
        self.list.choose_form(&self.resource, limit);
        for node in Node::ALL {
            match self.wanted(node) {
                Some(wanted) => self.lane(node).want(now, wanted),
                None => self.lane(node).hold(),
            }
        }
    }

    fn want_at_once(&mut self, now: Instant) {
        for node in Node::ALL {
            let wanted = self.wanted(node).unwrap_or_default();
            self.lane(node).want_at_once(now, wanted);
        }
    }

    /// Bytes that the own list may take in an item.
    fn list_limit(&self) -> usize {
        if self.keeps_one.contains(&Node::Shares) { self.limit } else { self.part_limit() }
    }

    /// What should stand on a node now; `None`: it will be known later.
    fn wanted(&mut self, node: Node) -> Option<Vec<Item>> {
        if node == Node::Original {
            return Some(self.wanted_original());
        }
        let one = self.keeps_one.contains(&node);
        let id = if one { MERGED_ID.to_owned() } else { self.resource.clone() };
        let there = self.lane(node).has(&id);
        let own: Vec<(String, Element)> = match (node, self.ending) {
            // Nothing of ours is there: no reason to put a goodbye.
            (_, Ending::Parting | Ending::Emptying) if !there => Vec::new(),
            (_, Ending::Removing) => Vec::new(),
            (Node::Shares, Ending::Parting) => vec![(self.resource.clone(), build_gone(&self.resource))],
            (Node::Shares, Ending::Emptying) => {
                vec![(self.resource.clone(), build_list(&self.resource, &[], self.part_limit()).0)]
            }
            (_, Ending::Parting | Ending::Emptying) => {
                vec![(self.resource.clone(), build_endpoint_gone(&self.resource, self.endpoint.seen))]
            }
            (Node::Shares, Ending::No) => vec![(self.resource.clone(), self.list()?)],
            (_, Ending::No) => vec![(self.resource.clone(), build_endpoint(&self.resource, &self.endpoint))],
        };
        if !one {
            return Some(own.into_iter().map(|(id, payload)| Item::new(id, payload)).collect());
        }
        let others = self.others.payloads(node).cloned();
        let payloads: Vec<Element> = others.chain(own.into_iter().map(|(_, payload)| payload)).collect();
        if payloads.is_empty() && !there {
            return Some(Vec::new());
        }
        Some(vec![Item::new(MERGED_ID, build_merged(node.name(), payloads))])
    }

    /// What stands for the own list; `None` while its catalog is being made.
    fn list(&mut self) -> Option<Element> {
        let (payload, cut) = self.list.build(&self.resource, self.list_limit())?;
        self.tell_cut(Node::Shares, cut);
        Some(payload)
    }

    fn wanted_original(&mut self) -> Vec<Item> {
        let there = self.lane(Node::Original).has(ITEM_ID);
        let own = ResourceEntry { resource: self.resource.clone(), ..ResourceEntry::default() };
        let mut own_entry = own.clone();
        if self.publish_original && self.ending == Ending::No {
            let addresses = self.endpoint.addresses.iter().map(|address| address.socket).collect();
            let (shares, limit) = self.list.for_original(self.limit);
            let others = original::merge(self.others.entries(), &own);
            let room = ITEM_LIMIT.saturating_sub(original::written_len(&original::build(&others)));
            let whole = ResourceEntry { shares, addresses, ..own };
            own_entry = original::fit(whole, limit.min(room)).0;
            let cut = self.list.len() - own_entry.shares.len();
            self.tell_cut(Node::Original, cut);
        }
        let entries = original::merge(self.others.entries(), &own_entry);
        // An empty list is published only where it replaces one: other resources may be about to publish theirs.
        if !there && (entries.is_empty() || own_entry.shares.is_empty()) {
            return Vec::new();
        }
        vec![Item::new(ITEM_ID, original::build(&entries))]
    }

    /// Warns of shares that are left out: once, and again when it has got much worse, since lists grow share by share.
    fn tell_cut(&mut self, node: Node, cut: usize) {
        let told = self.told_cut.entry(node).or_insert(0);
        if cut > 0 && *told > 0 && cut < told.saturating_mul(2) {
            return;
        }
        *told = cut;
        if cut > 0 {
            let list = if node == Node::Original { "the list for the original program" } else { "one item" };
            self.warnings
                .push(format!("{cut} shares do not fit into {list} on this server and are not announced there"));
        }
    }

    /// An item of this node under this id is ours to keep right.
    fn is_own_item(&self, node: Node, id: &str) -> bool {
        let part = |rest: &str| rest.strip_prefix('/').is_some_and(|number| number.parse::<u16>().is_ok());
        match node {
            Node::Original => id == ITEM_ID,
            node if self.keeps_one.contains(&node) && id == MERGED_ID => true,
            _ => id.strip_prefix(self.resource.as_str()).is_some_and(|rest| rest.is_empty() || part(rest)),
        }
    }
}

/// The digest of an item as this program would write it: order and unknown additions do not count.
fn item_digest(node: Node, item: WireItem<'_>) -> [u8; 20] {
    match (node, item.payload) {
        (Node::Original, payload) => {
            let entries = original::parse(payload).entries;
            let nobody = ResourceEntry { resource: "\u{0}".to_owned(), ..ResourceEntry::default() };
            digest(&original::build(&original::merge(entries.iter(), &nobody)))
        }
        (_, Some(payload)) => digest(payload),
        (_, None) => [0; 20],
    }
}
