//! The own shares, and in which form they are announced: in an item, by their catalog, or cut.

use std::collections::HashSet;

use minidom::Element;

use crate::proto::xmpp::shares::{build_catalog, build_list, fits};
use crate::types::{Catalog, InfoHash, Share};

/// Bytes of the own entry on the original's node beside a catalog: everything together shall cost a contact less than
/// 4 KiB.
const ORIGINAL_BESIDE_CATALOG: usize = 1536;
/// Newest shares that are remembered for that entry.
const NEWEST: usize = 16;

/// What is known of the own list as a catalog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Catalogs {
    /// Nobody makes one.
    #[default]
    None,
    /// It is being made. Until then what stands on the server stays.
    Coming,
    /// This one, of the list as it is or was a moment ago.
    Made(Catalog),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    #[default]
    Inline,
    Catalog,
    Cut,
}

#[derive(Debug, Default)]
pub(super) struct OwnList {
    shares: Vec<Share>,
    catalogs: Catalogs,
    form: Form,
    /// Shares that came last, while the list was too long for an item.
    newest: Vec<InfoHash>,
}

impl OwnList {
    pub(super) fn len(&self) -> usize {
        self.shares.len()
    }

    /// It is announced by its catalog.
    pub(super) fn is_by_catalog(&self) -> bool {
        self.form == Form::Catalog
    }

    /// True if that is another list.
    pub(super) fn set_shares(&mut self, shares: Vec<Share>) -> bool {
        if self.shares == shares {
            return false;
        }
        if self.is_by_catalog() {
            self.note_newest(&shares);
        }
        self.shares = shares;
        true
    }

    /// True if that is news.
    pub(super) fn set_catalogs(&mut self, catalogs: Catalogs) -> bool {
        std::mem::replace(&mut self.catalogs, catalogs) != catalogs
    }

    /// Chooses the form, with so many bytes in an item. A list goes back into an item only when it has got much shorter,
    /// so that it does not go to and fro.
    pub(super) fn choose_form(&mut self, resource: &str, limit: usize) {
        let limit = if self.is_by_catalog() { limit / 4 * 3 } else { limit };
        self.form = match self.catalogs {
            _ if fits(resource, &self.shares, limit) => Form::Inline,
            Catalogs::None => Form::Cut,
            Catalogs::Coming | Catalogs::Made(_) => Form::Catalog,
        };
    }

    /// What stands for it in an item of so many bytes, and how many shares are left out; `None` while its catalog is being
    /// made.
    pub(super) fn build(&self, resource: &str, limit: usize) -> Option<(Element, usize)> {
        match (self.form, self.catalogs) {
            (Form::Catalog, Catalogs::Made(catalog)) => Some((build_catalog(resource, &catalog), 0)),
            (Form::Catalog, _) => None,
            (Form::Inline | Form::Cut, _) => Some(build_list(resource, &self.shares, limit)),
        }
    }

    /// The shares for the original's node, those that matter most first, and how many bytes they may take.
    pub(super) fn for_original(&self, limit: usize) -> (Vec<Share>, usize) {
        if !self.is_by_catalog() {
            return (self.shares.clone(), limit);
        }
        let is_new = |share: &&Share| self.newest.contains(&share.info_hash);
        let newest = self.shares.iter().filter(is_new);
        let others = self.shares.iter().filter(|share| !is_new(share)).take(NEWEST);
        (newest.chain(others).cloned().collect(), ORIGINAL_BESIDE_CATALOG.min(limit))
    }

    /// Remembers which of these shares are new.
    fn note_newest(&mut self, shares: &[Share]) {
        let known: HashSet<&InfoHash> = self.shares.iter().map(|share| &share.info_hash).collect();
        let new = shares.iter().map(|share| share.info_hash).filter(|hash| !known.contains(hash));
        let mut newest: Vec<InfoHash> = new.take(NEWEST).collect();
        newest.append(&mut self.newest);
        newest.truncate(NEWEST);
        self.newest = newest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(count: u32) -> Vec<Share> {
        let share = |n: u32| {
            let mut hash = [9; InfoHash::LEN];
            hash[..4].copy_from_slice(&n.to_be_bytes());
            Share { info_hash: InfoHash::new(hash), name: format!("{n}").into(), size: 1, files: 1, complete: true }
        };
        (0..count).map(share).collect()
    }

    fn catalog() -> Catalogs {
        Catalogs::Made(Catalog { info_hash: InfoHash::new([1; 20]), size: 16 << 10, count: 9 })
    }

    /// How a list of so many shares is announced in an item of 10,000 bytes.
    fn form(list: &mut OwnList, count: u32) -> &'static str {
        list.set_shares(shares(count));
        list.choose_form("r", 10_000);
        match list.build("r", 10_000) {
            None => "nothing yet",
            Some((_, 0)) if list.is_by_catalog() => "catalog",
            Some((_, 0)) => "whole",
            Some(_) => "cut",
        }
    }

    #[test]
    fn a_list_that_outgrows_an_item_waits_for_its_catalog_if_somebody_makes_those() {
        let mut list = OwnList::default();
        assert_eq!([form(&mut list, 10), form(&mut list, 1_000)], ["whole", "cut"]);
        assert!(list.set_catalogs(Catalogs::Coming) && !list.set_catalogs(Catalogs::Coming));
        assert_eq!([form(&mut list, 10), form(&mut list, 1_000)], ["whole", "nothing yet"]);
        list.set_catalogs(catalog());
        assert_eq!([form(&mut list, 1_000), form(&mut list, 10)], ["catalog", "whole"]);
    }

    #[test]
    fn a_list_that_is_about_as_long_as_an_item_does_not_go_to_and_fro() {
        let mut list = OwnList::default();
        list.set_catalogs(catalog());
        let most = (0..1_000).rev().find(|count| form(&mut OwnList::default(), *count) == "whole").unwrap();
        let forms = [most, most + 1, most, most - 5, most / 2, most].map(|count| form(&mut list, count));
        assert_eq!(forms, ["whole", "catalog", "catalog", "catalog", "whole", "whole"]);
    }

    #[test]
    fn the_original_is_told_the_newest_beside_a_catalog() {
        let mut list = OwnList::default();
        list.set_catalogs(catalog());
        form(&mut list, 1_000);
        let mut more = shares(1_003);
        more.swap(0, 1_001);
        list.set_shares(more.clone());
        let (told, limit) = list.for_original(60_000);
        assert_eq!((told.len(), limit), (3 + NEWEST, ORIGINAL_BESIDE_CATALOG));
        let names: Vec<_> = told.iter().take(3).map(|share| &*share.name).collect();
        assert_eq!(names, ["1001", "1000", "1002"]);
        more.retain(|share| &*share.name != "1001");
        list.set_shares(more);
        assert_eq!(&*list.for_original(60_000).0[1].name, "1002", "what is gone is not told");
        form(&mut list, 5);
        assert_eq!(list.for_original(60_000).1, 60_000);
    }
}
