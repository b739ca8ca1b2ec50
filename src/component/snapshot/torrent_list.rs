//! All torrents of a snapshot, so that the next one costs what has changed.

use std::sync::Arc;

use super::TorrentStatus;
use crate::types::InfoHash;

/// Torrents by info hash, in parts that one snapshot shares with the next: a changed torrent costs a copy of its part,
/// however many others there are.
#[derive(Clone, Debug)]
pub struct TorrentList(Vec<Part>);

/// In the order of the info hashes. Thousands of torrents are some dozens in each.
type Part = Arc<[Arc<TorrentStatus>]>;

/// One for each first byte of an info hash.
const PARTS: usize = 256;

impl Default for TorrentList {
    fn default() -> Self {
        Self(vec![Part::default(); PARTS])
    }
}

impl TorrentList {
    /// One torrent.
    #[must_use]
    pub fn get(&self, info_hash: &InfoHash) -> Option<&Arc<TorrentStatus>> {
        let part = self.0.get(part_of(info_hash))?;
        place_in(part, info_hash).ok().and_then(|place| part.get(place))
    }

    /// Is there such a torrent?
    #[must_use]
    pub fn contains_key(&self, info_hash: &InfoHash) -> bool {
        self.get(info_hash).is_some()
    }

    /// All torrents, in no particular order.
    pub fn values(&self) -> impl Iterator<Item = &Arc<TorrentStatus>> {
        self.0.iter().flat_map(|part| part.iter())
    }

    /// The info hashes of all torrents, in no particular order.
    pub fn keys(&self) -> impl Iterator<Item = &InfoHash> {
        self.values().map(|status| &status.info_hash)
    }

    /// Number of torrents.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|part| part.len()).sum()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a torrent, or replaces what was said of it.
    pub fn insert(&mut self, status: Arc<TorrentStatus>) {
        if let Some(part) = self.0.get_mut(part_of(&status.info_hash)) {
            let (before, after) = around(part, &status.info_hash);
            *part = before.iter().cloned().chain([status]).chain(after.iter().cloned()).collect();
        }
    }

    /// Takes a torrent out.
    pub fn remove(&mut self, info_hash: &InfoHash) {
        if let Some(part) = self.0.get_mut(part_of(info_hash)).filter(|part| place_in(part, info_hash).is_ok()) {
            let (before, after) = around(part, info_hash);
            *part = before.iter().chain(after).cloned().collect();
        }
    }
}

/// Where this torrent is in its part, or belongs.
fn place_in(part: &Part, info_hash: &InfoHash) -> Result<usize, usize> {
    part.binary_search_by(|status| status.info_hash.cmp(info_hash))
}

/// The torrents of a part before and after this one.
fn around<'a>(part: &'a Part, info_hash: &InfoHash) -> (&'a [Arc<TorrentStatus>], &'a [Arc<TorrentStatus>]) {
    let before = part.partition_point(|status| status.info_hash < *info_hash);
    let after = part.partition_point(|status| status.info_hash <= *info_hash);
    (part.get(..before).unwrap_or_default(), part.get(after..).unwrap_or_default())
}

fn part_of(info_hash: &InfoHash) -> usize {
    info_hash.as_bytes().first().copied().map_or(0, usize::from)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::component::snapshot::TorrentState;
    use crate::types::Rare;

    fn status(first_byte: u8) -> Arc<TorrentStatus> {
        let mut bytes = [9; 20];
        bytes[0] = first_byte;
        Arc::new(TorrentStatus {
            info_hash: InfoHash::new(bytes),
            name: "".into(),
            name_key: 0,
            total_size: 0,
            done: 0,
            state: TorrentState::Seeding,
            traffic: Rare::default(),
            dir: Path::new("").into(),
            shared: false,
            metainfo: None,
            warning: None,
        })
    }

    #[test]
    fn a_new_snapshot_copies_only_what_has_changed() {
        let mut old = TorrentList::default();
        (0..=255).for_each(|byte| old.insert(status(byte)));
        let mut new = old.clone();
        new.insert(status(7));
        new.remove(&status(8).info_hash);
        new.remove(&InfoHash::new([0; 20]));
        assert_eq!((old.len(), new.len(), new.values().count(), new.keys().count()), (256, 255, 255, 255));
        assert!(!new.contains_key(&status(8).info_hash) && new.get(&status(9).info_hash).is_some());
        let copied = old.0.iter().zip(&new.0).filter(|(old, new)| !Arc::ptr_eq(old, new)).count();
        assert_eq!(copied, 2);
    }
}
