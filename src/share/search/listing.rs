//! All shares, ordered by name, one page of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::slice;

use super::{Found, Hit, List, Page, Place, hit, shown};
use crate::share::table::hash_beginning;
use crate::types::{InfoHash, SortedMap, gather};

/// Announcements whose other owners are looked up at a time.
const BATCH: usize = 1024;

/// The lists are in order already, so only what stands on the page and before it is looked at.
pub(super) fn by_name(lists: &[List<'_>], page: Page) -> Found {
    let repeated = repeated(lists);
    let total = count(lists, &repeated);
    let (mut skip, mut hits) = (page.offset, Vec::new());
    let mut merged = Merged::of(lists);
    while skip < total && hits.len() < page.limit {
        let batch: Vec<(InfoHash, Place)> = merged.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            break;
        }
        let owners = owners(lists, batch.iter().map(|(hash, _)| *hash).filter(|hash| repeated.contains(hash)));
        let rows = batch.iter().filter_map(|(hash, place)| {
            let places = owners.get(hash).map_or(slice::from_ref(place), Vec::as_slice);
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

/// How hashes begin that may be announced more than once. Most begin like no other one, and only the others are looked
/// up and compared, which would take longer than everything else.
fn repeated(lists: &[List<'_>]) -> Beginnings {
    let announced = if lists.len() > 1 { lists.iter().map(|list| list.table.len()).sum() } else { 0 };
    let (mut seen, mut repeated) = (Beginnings::with_room_for(announced), Beginnings::with_room_for(announced));
    if announced > 0 {
        for hash in lists.iter().flat_map(|list| list.table.hashes()) {
            if !seen.insert(hash) {
                repeated.insert(hash);
            }
        }
    }
    repeated
}

/// Number of torrents.
fn count(lists: &[List<'_>], repeated: &Beginnings) -> usize {
    let announced: usize = lists.iter().map(|list| list.table.len()).sum();
    let all = lists.iter().flat_map(|list| list.table.hashes());
    let mut alike: Vec<&InfoHash> = all.filter(|hash| repeated.contains(hash)).collect();
    let alone = announced - alike.len();
    alike.sort();
    alike.dedup();
    alone + alike.len()
}

/// A set of hashes' first bits, so many that few hashes among these many begin alike by chance.
struct Beginnings {
    words: Vec<u64>,
    /// Bits of a word are not counted.
    bits: u32,
}

impl Beginnings {
    fn with_room_for(hashes: usize) -> Self {
        let bits = (hashes / 4).max(1).next_power_of_two().ilog2();
        Self { words: vec![0; 1 << bits], bits }
    }

    /// Where the bit of this hash is, and the bit.
    fn place(&self, hash: &InfoHash) -> (usize, u64) {
        let beginning = hash_beginning(hash);
        let word = beginning.checked_shr(u64::BITS - self.bits).unwrap_or(0);
        let bit = beginning.checked_shr(u64::BITS - self.bits - 6).unwrap_or(0) % 64;
        (usize::try_from(word).unwrap_or(usize::MAX), 1 << bit)
    }

    fn contains(&self, hash: &InfoHash) -> bool {
        let (word, bit) = self.place(hash);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// False if one that begins so is in it already.
    fn insert(&mut self, hash: &InfoHash) -> bool {
        let (word, bit) = self.place(hash);
        let Some(word) = self.words.get_mut(word) else { return false };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

/// Everything that is announced of these torrents, in the order of the lists.
fn owners(lists: &[List<'_>], hashes: impl Iterator<Item = InfoHash>) -> SortedMap<InfoHash, Vec<Place>> {
    let mut owners: SortedMap<InfoHash, Vec<Place>> = gather(hashes.map(|hash| (hash, Vec::new())));
    for (number, list) in lists.iter().enumerate() {
        let place = |row| Place { list: number, row };
        if list.table.len() < owners.len() {
            for (row, hash) in list.table.hashes().iter().enumerate() {
                owners.entry(*hash).and_modify(|places| places.push(place(row)));
            }
        } else {
            for (hash, places) in owners.iter_mut() {
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
