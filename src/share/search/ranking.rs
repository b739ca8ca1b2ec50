//! What matches a query, best first.
//!
//! Most of what is found is never shown, so no names are compared to find out what is: each list knows the place of its
//! names among one another. The best of every list are put together in the end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::words::Words;
use super::{Found, Hit, List, Page, Place, hit, shown};
use crate::share::table::hash_beginning;
use crate::types::{InfoHash, sort_by};

/// Announcements that are ranked at most. Of a query that fits more, each owner gets a fair part of that looked at, of
/// available resources first: nobody reads on to the end, and it would take as long as everything else together.
const MAX_MATCHES: usize = 200_000;

/// An announcement that matches, with all that its rank depends on: looking that up later, in another order, would mean
/// waiting for memory each time. Small, as there may be many.
struct Match {
    /// The first bytes of the hash.
    hash: u64,
    list: u32,
    row: u32,
    /// How many names of the list come before its own one.
    nth: u32,
    score: u32,
}

/// A torrent that is found.
struct Torrent {
    rank: Reverse<Rank>,
    nth: u32,
    /// Its first announcement, counted from 0 in the order of hashes.
    first: usize,
    /// How many there are: the others follow.
    announced: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    score: u32,
    available: bool,
    /// People, however many resources each has.
    owners: usize,
}

pub(super) fn best(lists: &[List<'_>], words: &Words, page: Page) -> Found {
    let (mut matches, more) = find(lists, words);
    // Each list is ordered by hash, which the stable sort makes use of.
    matches.sort_by(|a, b| {
        let rest = || a.hash_in(lists).cmp(&b.hash_in(lists)).then(a.list.cmp(&b.list));
        a.hash.cmp(&b.hash).then_with(rest)
    });
    let (mut per_list, total) = torrents(lists, &matches);
    let end = page.offset.saturating_add(page.limit);
    for torrents in &mut per_list {
        if end < torrents.len() {
            torrents.select_nth_unstable_by_key(end, |torrent| (torrent.rank, torrent.nth));
            torrents.truncate(end);
        }
        // The best one last: there they are taken away.
        torrents.sort_unstable_by_key(|torrent| Reverse((torrent.rank, torrent.nth)));
    }
    let hits = Merged::new(lists, &matches, per_list).skip(page.offset).take(page.limit);
    Found { hits: hits.collect(), total, more }
}

/// All that matches, and whether there is more. Each owner has as much room as any other; what one leaves of it is for
/// those who announce more. So nobody's list, however long, takes the place of another's.
fn find(lists: &[List<'_>], words: &Words) -> (Vec<Match>, bool) {
    let numbered: Vec<(u32, &List<'_>)> = (0..).zip(lists).collect();
    let owners = numbered.chunk_by(|(_, a), (_, b)| a.jid == b.jid);
    let mut owners: Vec<(usize, &[(u32, &List<'_>)])> =
        owners.map(|lists| (lists.iter().map(|(_, list)| list.table.len()).sum(), lists)).collect();
    sort_by(&mut owners, |(a, _), (b, _)| a.cmp(b));
    let (mut found, mut more) = (Vec::new(), false);
    for (owners_left, (_, lists)) in (1..=owners.len()).rev().zip(owners) {
        let end = found.len() + (MAX_MATCHES - found.len()) / owners_left;
        let of = |available| lists.iter().filter(move |(_, list)| list.available == available);
        for (number, list) in of(true).chain(of(false)) {
            more |= find_in(*number, list, words, end, &mut found);
        }
    }
    (found, more)
}

/// Adds what matches in one list, until there are `end` in all. True if there is more.
fn find_in(number: u32, list: &List<'_>, words: &Words, end: usize, found: &mut Vec<Match>) -> bool {
    let room = end.saturating_sub(found.len());
    let rows: Vec<(usize, u32)> = words.of_owner(list.jid).rows(list.table).take(room + 1).collect();
    // In a loop of its own, so that the processor fetches many of these at a time.
    found.extend(rows.iter().take(room).filter_map(|(row, score)| {
        let hash = hash_beginning(list.table.hashes().get(*row)?);
        let nth = list.table.place_by_name(*row)?;
        Some(Match { hash, list: number, row: u32::try_from(*row).ok()?, nth, score: *score })
    }));
    rows.len() > room
}

/// What is found, by the list that it is shown from, and how much that is.
fn torrents(lists: &[List<'_>], matches: &[Match]) -> (Vec<Vec<Torrent>>, usize) {
    let mut per_list: Vec<Vec<Torrent>> = lists.iter().map(|_| Vec::new()).collect();
    let (mut first, mut total) = (0, 0);
    for all in matches.chunk_by(|a, b| a.hash == b.hash && a.hash_in(lists) == b.hash_in(lists)) {
        if let Some((list, torrent)) = torrent(lists, all, first)
            && let Some(torrents) = per_list.get_mut(list)
        {
            torrents.push(torrent);
        }
        first += all.len();
        total += 1;
    }
    (per_list, total)
}

/// The torrent that these announcements are about, and the list that it is shown from.
fn torrent(lists: &[List<'_>], all: &[Match], first: usize) -> Option<(usize, Torrent)> {
    let shown_from = match all {
        [only] => only,
        _ => {
            let place = shown(lists, &places(all))?;
            all.iter().find(|one| one.place() == place)?
        }
    };
    let list = shown_from.place().list;
    let score = all.iter().map(|one| one.score).max()?;
    let is_same_owner = |a: &Match, b: &Match| a.list == b.list || a.owner(lists) == b.owner(lists);
    let owners = all.chunk_by(is_same_owner).count();
    let rank = Reverse(Rank { score, available: lists.get(list)?.available, owners });
    Some((list, Torrent { rank, nth: shown_from.nth, first, announced: all.len() }))
}

fn places(matches: &[Match]) -> Vec<Place> {
    matches.iter().map(Match::place).collect()
}

impl Match {
    fn place(&self) -> Place {
        let index = |number| usize::try_from(number).unwrap_or(usize::MAX);
        Place { list: index(self.list), row: index(self.row) }
    }

    fn hash_in<'a>(&self, lists: &[List<'a>]) -> Option<&'a InfoHash> {
        let Place { list, row } = self.place();
        lists.get(list)?.table.hashes().get(row)
    }

    fn owner<'a>(&self, lists: &[List<'a>]) -> Option<&'a str> {
        Some(lists.get(self.place().list)?.jid)
    }
}

/// The torrents of lists that are in order, the best first.
struct Merged<'a> {
    lists: &'a [List<'a>],
    matches: &'a [Match],
    per_list: Vec<Vec<Torrent>>,
    heads: BinaryHeap<Reverse<Head<'a>>>,
}

/// The best torrent of a list that was not shown yet: the least one is the best of all.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Head<'a> {
    rank: Reverse<Rank>,
    name: &'a str,
    hash: &'a InfoHash,
    list: usize,
}

impl<'a> Merged<'a> {
    fn new(lists: &'a [List<'a>], matches: &'a [Match], per_list: Vec<Vec<Torrent>>) -> Self {
        let mut merged = Self { lists, matches, heads: BinaryHeap::with_capacity(lists.len()), per_list };
        for list in 0..lists.len() {
            let head = merged.head(list);
            merged.heads.extend(head.map(Reverse));
        }
        merged
    }

    fn head(&self, list: usize) -> Option<Head<'a>> {
        let torrent = self.per_list.get(list)?.last()?;
        let table = self.lists.get(list)?.table;
        let row = table.nth_by_name(usize::try_from(torrent.nth).ok()?)?;
        Some(Head { rank: torrent.rank, name: table.folded(row), hash: table.hashes().get(row)?, list })
    }
}

impl Iterator for Merged<'_> {
    type Item = Hit;

    fn next(&mut self) -> Option<Hit> {
        let Reverse(Head { list, .. }) = self.heads.pop()?;
        let torrent = self.per_list.get_mut(list)?.pop()?;
        let next = self.head(list);
        self.heads.extend(next.map(Reverse));
        hit(self.lists, &places(self.matches.get(torrent.first..torrent.first + torrent.announced)?))
    }
}
