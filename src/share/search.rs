//! Search over the contacts' shares.
//!
//! All words of the query must occur, in any case, in the share's name or in its owner's JID. Names that contain the
//! words as whole words come before those that contain them at a word's beginning, and those before the rest; then
//! available ones, then the ones with more owners, then by name. An empty query finds all, by name. The result is the
//! same for the same input. A million shares are searched while a person does not notice: names lie one behind the other
//! in lower case, and only what is shown is copied.

mod listing;
mod ranking;
mod words;

use super::contacts::ContactShares;
use super::table::ShareTable;
use crate::types::{Share, sort_by};
use words::Words;

/// Which part of a long list is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Rows to leave out at the beginning.
    pub offset: usize,
    /// Rows at most.
    pub limit: usize,
}

impl Page {
    /// The beginning of the list.
    #[must_use]
    pub const fn first(limit: usize) -> Self {
        Self { offset: 0, limit }
    }
}

/// A page of what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The rows of the page.
    pub hits: Vec<Hit>,
    /// Torrents that were found in all.
    pub total: usize,
    /// The query fits more than that: so many that not all of them were looked at.
    pub more: bool,
}

/// One torrent that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// What is known of it; the word of an available owner counts first.
    pub share: Share,
    /// Who has it, ordered by JID and resource; only those whose announcement matched.
    pub owners: Vec<Owner>,
}

/// A resource that announces a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Bare JID.
    pub jid: String,
    /// XMPP resource.
    pub resource: String,
    /// It can be had from there now.
    pub available: bool,
}

impl Hit {
    /// It can be had from somebody now.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.owners.iter().any(|owner| owner.available)
    }
}

impl ContactShares {
    /// The shares that match `query`, best first. An empty query finds all, ordered by name.
    #[must_use]
    pub fn search(&self, query: &str, page: Page) -> Found {
        let lists = self.lists(|_| true);
        let words = Words::new(query, &lists);
        if words.is_empty() { listing::by_name(&lists, page) } else { ranking::best(&lists, &words, page) }
    }

    /// What the contacts share whose bare JIDs `counts`, ordered by name.
    #[must_use]
    pub fn by_name(&self, counts: impl Fn(&str) -> bool, page: Page) -> Found {
        listing::by_name(&self.lists(counts), page)
    }

    /// The lists, ordered by JID and resource.
    fn lists(&self, counts: impl Fn(&str) -> bool) -> Vec<List<'_>> {
        let resources = self.resources().filter(|(jid, _, _)| counts(jid));
        let list = resources.filter_map(|(jid, name, resource)| {
            let table = resource.table().filter(|table| !table.is_empty())?;
            Some(List { jid, resource: name, available: resource.is_available(), table })
        });
        let mut lists: Vec<List<'_>> = list.collect();
        sort_by(&mut lists, |a, b| (a.jid, a.resource).cmp(&(b.jid, b.resource)));
        lists
    }
}

/// The list of one resource.
struct List<'a> {
    jid: &'a str,
    resource: &'a str,
    available: bool,
    table: &'a ShareTable,
}

/// One announcement: which list, counted from 0, and which row of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    list: usize,
    row: usize,
}

/// Whose word on a torrent counts, of those who announce it.
fn shown(lists: &[List<'_>], places: &[Place]) -> Option<Place> {
    let available = |place: &&Place| lists.get(place.list).is_some_and(|list| list.available);
    places.iter().find(available).or_else(|| places.first()).copied()
}

/// The torrent that all these announcements are about.
fn hit(lists: &[List<'_>], places: &[Place]) -> Option<Hit> {
    let place = shown(lists, places)?;
    let share = lists.get(place.list)?.table.at(place.row)?.to_share();
    let owner = |place: &Place| {
        let list = lists.get(place.list)?;
        Some(Owner { jid: list.jid.to_owned(), resource: list.resource.to_owned(), available: list.available })
    };
    Some(Hit { share, owners: places.iter().filter_map(owner).collect() })
}

#[cfg(test)]
mod tests;
