//! A list of shares in little memory: columns instead of one object for each share.
//!
//! With names of 40 bytes a share takes about 140 bytes. The columns are ordered by info hash. Names are kept twice, as
//! they are shown and as they are compared, each in one long text that is searched in one pass. A table never changes: a new
//! list is a new table.

mod texts;

use std::fmt;
use std::ops::RangeInclusive;

use memchr::memmem::Finder;

use super::fold::push_folded;
use crate::types::{InfoHash, MAX_NAME_BYTES_PER_CONTACT, MAX_NAME_LEN, Share, display_name};
use texts::Texts;

/// Shares, each info hash once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ShareTable {
    hashes: Box<[InfoHash]>,
    sizes: Box<[u64]>,
    files: Box<[u32]>,
    complete: Box<[bool]>,
    names: Texts,
    /// The names as they are compared.
    folded: Texts,
    /// The rows in the order of their folded names, and of their hashes where those are the same.
    by_name: Box<[u32]>,
    /// The place of each row in that order.
    places: Box<[u32]>,
}

/// One share of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareRef<'a> {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Text to show; never a path.
    pub name: &'a str,
    /// Bytes of all files; unproven until the metadata is known.
    pub size: u64,
    /// Number of files; 0 when the announcement does not say.
    pub files: u32,
    /// The announcing side has every piece.
    pub complete: bool,
}

/// How much tables may hold, or do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) shares: usize,
    /// Bytes of names, as they are shown.
    pub(super) name_bytes: usize,
}

impl Room {
    pub(super) fn holds(self, table: &ShareTable) -> bool {
        table.len() <= self.shares && table.name_bytes() <= self.name_bytes
    }

    /// What these tables take.
    pub(super) fn of<'a>(tables: impl IntoIterator<Item = &'a ShareTable>) -> Self {
        let of_one = |table: &ShareTable| Self { shares: table.len(), name_bytes: table.name_bytes() };
        tables.into_iter().map(of_one).fold(Self::default(), Self::plus)
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            shares: self.shares.saturating_add(other.shares),
            name_bytes: self.name_bytes.saturating_add(other.name_bytes),
        }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            shares: self.shares.saturating_sub(other.shares),
            name_bytes: self.name_bytes.saturating_sub(other.name_bytes),
        }
    }

    pub(super) fn min(self, other: Self) -> Self {
        Self { shares: self.shares.min(other.shares), name_bytes: self.name_bytes.min(other.name_bytes) }
    }

    pub(super) fn half(self) -> Self {
        Self { shares: self.shares / 2, name_bytes: self.name_bytes / 2 }
    }
}

impl ShareRef<'_> {
    /// A copy that needs no table.
    #[must_use]
    pub fn to_share(&self) -> Share {
        let Self { info_hash, size, files, complete, .. } = *self;
        Share { info_hash, name: self.name.into(), size, files, complete }
    }
}

impl ShareTable {
    /// A table of the first `most` shares, and whether some were left out. Names are made fit to show; of two shares with
    /// one hash the later counts.
    #[must_use]
    pub fn build(shares: Vec<Share>, most: usize) -> (Self, bool) {
        Self::build_within(shares, Room { shares: most, name_bytes: MAX_NAME_BYTES_PER_CONTACT })
    }

    /// See [`Self::build`].
    pub(super) fn build_within(mut shares: Vec<Share>, room: Room) -> (Self, bool) {
        let announced = shares.len();
        shares.truncate(fitting(&shares, room));
        let truncated = shares.len() < announced;
        for share in shares.iter_mut().filter(|share| !is_plain(&share.name)) {
            share.name = display_name(&share.name, MAX_NAME_LEN).into();
        }
        shares.sort_by_key(|share| share.info_hash);
        shares.dedup_by(|later, kept| {
            let same = later.info_hash == kept.info_hash;
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
        let names = Texts::of(shares.iter().map(|share| &*share.name), String::push_str);
        let folded = Texts::of(shares.iter().map(|share| &*share.name), push_folded);
        // Shorter than the list only if the names took 4 GiB, which no room allows.
        shares.truncate(names.len().min(folded.len()));
        let by_name = by_name(&folded);
        let table = Self {
            hashes: shares.iter().map(|share| share.info_hash).collect(),
            sizes: shares.iter().map(|share| share.size).collect(),
            files: shares.iter().map(|share| share.files).collect(),
            complete: shares.iter().map(|share| share.complete).collect(),
            places: places(&by_name),
            by_name,
            names,
            folded,
        };
        (table, truncated)
    }

    /// As much of the table as there is room for.
    pub(super) fn within(&self, room: Room) -> Self {
        Self::build_within(self.iter().map(|share| share.to_share()).collect(), room).0
    }

    /// Number of shares.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The share with this info hash.
    #[must_use]
    pub fn get(&self, info_hash: &InfoHash) -> Option<ShareRef<'_>> {
        self.at(self.find(info_hash)?)
    }

    /// All shares, ordered by info hash.
    pub fn iter(&self) -> impl Iterator<Item = ShareRef<'_>> {
        (0..self.len()).filter_map(|row| self.at(row))
    }

    /// The info hashes that lie in `range`, ascending.
    #[must_use]
    pub fn hashes_in(&self, range: &RangeInclusive<InfoHash>) -> &[InfoHash] {
        let from = self.hashes.partition_point(|hash| hash < range.start());
        let to = self.hashes.partition_point(|hash| hash <= range.end());
        self.hashes.get(from..to).unwrap_or_default()
    }

    /// Bytes of memory that the columns take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let orders = size_of_val(&*self.by_name) + size_of_val(&*self.places);
        let columns = size_of_val(&*self.hashes) + size_of_val(&*self.sizes) + size_of_val(&*self.files);
        columns + size_of_val(&*self.complete) + orders + self.names.bytes() + self.folded.bytes()
    }

    /// Bytes of the names, as they are shown.
    pub(super) fn name_bytes(&self) -> usize {
        self.names.all().len() - self.len()
    }

    /// All info hashes, ascending.
    pub(super) fn hashes(&self) -> &[InfoHash] {
        &self.hashes
    }

    /// The row of an info hash.
    pub(super) fn find(&self, info_hash: &InfoHash) -> Option<usize> {
        // Mostly the first bytes tell, and comparing numbers is several times as fast.
        let beginning = hash_beginning(info_hash);
        let compare = |hash: &InfoHash| hash_beginning(hash).cmp(&beginning).then_with(|| hash.cmp(info_hash));
        self.hashes.binary_search_by(compare).ok()
    }

    /// So many bytes of the folded names.
    pub(super) fn sample(&self, bytes: usize) -> &[u8] {
        let all = self.folded.all().as_bytes();
        all.get(..bytes).unwrap_or(all)
    }

    /// The share in this row, counted from 0 in the order of info hashes.
    pub(super) fn at(&self, row: usize) -> Option<ShareRef<'_>> {
        Some(ShareRef {
            info_hash: *self.hashes.get(row)?,
            name: self.names.get(row),
            size: *self.sizes.get(row)?,
            files: *self.files.get(row)?,
            complete: *self.complete.get(row)?,
        })
    }

    /// The name in this row, as it is compared.
    pub(super) fn folded(&self, row: usize) -> &str {
        self.folded.get(row)
    }

    /// The row that is at this place when they are ordered by their names.
    pub(super) fn nth_by_name(&self, place: usize) -> Option<usize> {
        usize::try_from(*self.by_name.get(place)?).ok()
    }

    /// The place of a row when they are ordered by their names.
    pub(super) fn place_by_name(&self, row: usize) -> Option<u32> {
        self.places.get(row).copied()
    }

    /// The rows in whose folded names the word stands, ascending, each with the place where it stands first.
    pub(super) fn rows_with(&self, word: &Finder<'_>) -> impl Iterator<Item = (usize, usize)> {
        let all = self.folded.all().as_bytes();
        let (mut row, mut from) = (0, 0);
        std::iter::from_fn(move || {
            let found = from + word.find(all.get(from..)?)?;
            let holder = self.folded.index_at(row, found);
            let start = self.folded.start(holder);
            row = holder + 1;
            from = self.folded.start(row);
            Some((holder, found - start))
        })
    }
}

impl fmt::Debug for ShareTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShareTable({} shares)", self.len())
    }
}

/// The first eight bytes of a hash as a number: hashes stand in the order of these numbers.
pub(super) fn hash_beginning(hash: &InfoHash) -> u64 {
    hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The first eight bytes of a text as a number: texts stand in the order of these numbers, and mostly they tell.
pub(super) fn beginning(text: &str) -> u64 {
    let mut bytes = [0; 8];
    bytes.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    u64::from_be_bytes(bytes)
}

/// How many shares from the first on there is room for.
fn fitting(shares: &[Share], room: Room) -> usize {
    let mut bytes = 0_usize;
    let mut fits = |share: &Share| {
        bytes = bytes.saturating_add(share.name.len().min(MAX_NAME_LEN));
        bytes <= room.name_bytes
    };
    let shares = shares.get(..room.shares).unwrap_or(shares);
    shares.iter().position(|share| !fits(share)).unwrap_or(shares.len())
}

/// Most names are: there is nothing to mend in them.
fn is_plain(name: &str) -> bool {
    name.len() <= MAX_NAME_LEN && !name.ends_with(' ') && name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

fn by_name(folded: &Texts) -> Box<[u32]> {
    let rows = (0_u32..).zip(0..folded.len());
    let mut order: Vec<(u64, u32, usize)> =
        rows.map(|(row, index)| (beginning(folded.get(index)), row, index)).collect();
    order.sort_unstable_by(|a, b| {
        let by_rest = || folded.get(a.2).cmp(folded.get(b.2)).then(a.1.cmp(&b.1));
        a.0.cmp(&b.0).then_with(by_rest)
    });
    order.into_iter().map(|(_, row, _)| row).collect()
}

/// The inverse of an order of rows.
fn places(order: &[u32]) -> Box<[u32]> {
    let mut places = vec![0; order.len()].into_boxed_slice();
    for (place, row) in (0..).zip(order) {
        if let Some(known) = usize::try_from(*row).ok().and_then(|row| places.get_mut(row)) {
            *known = place;
        }
    }
    places
}

#[cfg(test)]
mod tests;
