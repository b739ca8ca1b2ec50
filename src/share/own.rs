//! The shares of this node, as they are announced.
//!
//! A small ordered table with a revision: whoever announces compares revisions instead of lists. It does not know
//! torrents or files; the BitTorrent side tells it what to announce.

use crate::types::{InfoHash, MAX_NAME_LEN, Share, SortedMap, display_name};

/// What this node shares, ordered by info hash.
#[derive(Clone, Debug, Default)]
pub struct OwnShares {
    shares: SortedMap<InfoHash, Share>,
    revision: u64,
}

impl OwnShares {
    /// An empty table, revision 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a share or replaces what was known of it. The name is made fit to show. Returns whether anything changed.
    pub fn insert(&mut self, mut share: Share) -> bool {
        share.name = display_name(&share.name, MAX_NAME_LEN).into();
        if self.shares.get(&share.info_hash) == Some(&share) {
            return false;
        }
        self.shares.insert(share.info_hash, share);
        self.revision += 1;
        true
    }

    /// Takes a share away. Returns whether it was there.
    pub fn remove(&mut self, info_hash: &InfoHash) -> bool {
        let removed = self.shares.remove(info_hash).is_some();
        self.revision += u64::from(removed);
        removed
    }

    /// Notes that all pieces of a share are here, or no longer. Returns whether anything changed.
    pub fn set_complete(&mut self, info_hash: &InfoHash, complete: bool) -> bool {
        match self.shares.get_mut(info_hash) {
            Some(share) if share.complete != complete => {
                share.complete = complete;
                self.revision += 1;
                true
            }
            _ => false,
        }
    }

    /// The share with this info hash.
    #[must_use]
    pub fn share(&self, info_hash: &InfoHash) -> Option<&Share> {
        self.shares.get(info_hash)
    }

    /// All shares, ordered by info hash.
    pub fn iter(&self) -> impl Iterator<Item = &Share> {
        self.shares.values()
    }

    /// All shares as a list to hand on, ordered by info hash.
    #[must_use]
    pub fn list(&self) -> Vec<Share> {
        self.shares.values().cloned().collect()
    }

    /// Number of shares.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shares.len()
    }

    /// Nothing is shared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// Grows with every change.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(first: u8, name: &str) -> Share {
        let mut hash = [0; InfoHash::LEN];
        hash[0] = first;
        Share { info_hash: InfoHash::new(hash), name: name.into(), size: 7, files: 1, complete: false }
    }

    #[test]
    fn the_revision_moves_only_with_a_change() {
        let mut own = OwnShares::new();
        assert!(own.insert(share(2, "b")));
        assert!(!own.insert(share(2, "b")));
        assert_eq!(own.revision(), 1);
        assert!(own.set_complete(&share(2, "").info_hash, true));
        assert!(!own.set_complete(&share(2, "").info_hash, true));
        assert!(!own.set_complete(&share(9, "").info_hash, true));
        assert_eq!(own.revision(), 2);
        assert!(own.remove(&share(2, "").info_hash));
        assert!(!own.remove(&share(2, "").info_hash));
        assert_eq!((own.revision(), own.is_empty()), (3, true));
    }

    #[test]
    fn the_list_is_ordered_and_names_are_clean() {
        let mut own = OwnShares::new();
        own.insert(share(9, "z\nz"));
        own.insert(share(1, "a"));
        let names: Vec<_> = own.list().into_iter().map(|share| share.name.to_string()).collect();
        assert_eq!(names, ["a", "z z"]);
    }
}
