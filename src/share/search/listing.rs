//! All shares, ordered by name, one page of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::{Found, Hit, List, Page, Place, hit, shown};
use crate::share::table::hash_beginning;
use crate::types::{InfoHash, gather};

/// Announcements whose other owners are looked up at a time.
const BATCH: usize = 1024;

/// The lists are in order already, so only what stands on the page and before it is looked at.
pub(super) fn by_name(lists: &[List<'_>], page: Page) -> Found {
    let total = count(lists);
    let (mut skip, mut hits) = (page.offset, Vec::new());
    let mut merged = Merged::of(lists);
    while skip < total && hits.len() < page.limit {
        let batch: Vec<(InfoHash, Place)> = merged.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            break;
        }
        let owners = owners(lists, batch.iter().map(|(hash, _)| *hash));
        let rows = batch.iter().filter_map(|(hash, place)| {
            let places = owners.get(hash)?;
            // A torrent stands where the name stands that is shown of it.
            (shown(lists, places) == Some(*place)).then_some(places)
        });
        let rows: Vec<_> = rows.collect();
        let wanted = rows.iter().skip(skip).take(page.limit - hits.len());
        hits.extend(wanted.filter_map(|places| hit(lists, places)).collect::<Vec<Hit>>());
        skip = skip.saturating_sub(rows.len());
    }
    Found { hits, total, more: false }
}

/// Number of torrents.
pub(super) fn count(lists: &[List<'_>]) -> usize {
    if let [list] = lists {
        return list.table.len();
    }
    // Numbers are sorted several times as fast as hashes, and mostly the first bytes tell.
    let mut beginnings = Vec::with_capacity(lists.iter().map(|list| list.table.len()).sum());
    lists.iter().for_each(|list| beginnings.extend(list.table.hashes().iter().map(hash_beginning)));
    // Not the unstable one: this one sees that each list is in order.
    beginnings.sort();
    let (mut alone, mut repeated) = (0, Vec::new());
    for same in beginnings.chunk_by(u64::eq) {
        match same {
            [_] => alone += 1,
            _ => repeated.extend(same.first()),
        }
    }
    alone + count_among(lists, &repeated)
}

/// Number of torrents whose hashes begin like this, which is in order: what several contacts have, and hashes that
/// somebody made alike.
fn count_among(lists: &[List<'_>], beginnings: &[u64]) -> usize {
    if beginnings.is_empty() {
        return 0;
    }
    let mut hashes: Vec<&InfoHash> = Vec::new();
    for list in lists {
        let mut wanted = beginnings.iter().copied().peekable();
        hashes.extend(list.table.hashes().iter().filter(|hash| {
            let beginning = hash_beginning(hash);
            while wanted.next_if(|wanted| *wanted < beginning).is_some() {}
            wanted.peek() == Some(&beginning)
        }));
    }
    hashes.sort();
    hashes.dedup();
    hashes.len()
}

/// Everything that is announced of these torrents, in the order of the lists.
fn owners(lists: &[List<'_>], hashes: impl Iterator<Item = InfoHash>) -> BTreeMap<InfoHash, Vec<Place>> {
    let mut owners: BTreeMap<InfoHash, Vec<Place>> = gather(hashes.map(|hash| (hash, Vec::new())));
    for (number, list) in lists.iter().enumerate() {
        let place = |row| Place { list: number, row };
        if list.table.len() < owners.len() {
            for (row, hash) in list.table.hashes().iter().enumerate() {
                owners.entry(*hash).and_modify(|places| places.push(place(row)));
            }
        } else {
            for (hash, places) in &mut owners {
                places.extend(list.table.find(hash).map(place));
            }
        }
    }
    owners
}

/// The announcements of all lists, by name in lower case, then by hash, then by list.
struct Merged<'a> {
    lists: &'a [List<'a>],
    /// The next one of each list.
    next: BinaryHeap<Reverse<Next<'a>>>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Next<'a> {
    name: &'a str,
    hash: InfoHash,
    place: Place,
    /// How many of its list came before.
    nth: usize,
}

impl<'a> Merged<'a> {
    fn of(lists: &'a [List<'a>]) -> Self {
        let mut merged = Self { lists, next: BinaryHeap::with_capacity(lists.len()) };
        (0..lists.len()).for_each(|list| merged.push(list, 0));
        merged
    }

    fn push(&mut self, list: usize, nth: usize) {
        let next = self.lists.get(list).and_then(|known| {
            let row = known.table.nth_by_name(nth)?;
            let hash = *known.table.hashes().get(row)?;
            Some(Next { name: known.table.folded(row), hash, place: Place { list, row }, nth })
        });
        self.next.extend(next.map(Reverse));
    }
}

impl Iterator for Merged<'_> {
    type Item = (InfoHash, Place);

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse(next) = self.next.pop()?;
        self.push(next.place.list, next.nth + 1);
        Some((next.hash, next.place))
    }
}
