//! Puts the parts of an account's share lists together.
//!
//! Items arrive one by one, in any order, twice, or not at all; a list counts when all parts of one revision are here.
//! Until the first whole list of a resource, what is here is shown as incomplete. Memory is bounded: two revisions per
//! resource, and the parts of a whole list are dropped once it was handed out. Where a catalog stands in the place of a
//! list, that is what is handed out.

use minidom::Element;

use super::shares::{ListPart, SHARES_NODE, parse_list, payloads};
use crate::types::{
    Announcement, Catalog, MAX_INLINE_SHARES, MAX_RESOURCES_PER_CONTACT, Share, SortedMap, SortedSet, gather,
};

/// Revisions of one list that are put together at the same time: the old and the new one.
const MAX_BUILDS: usize = 2;

/// The share lists of one account, per resource.
#[derive(Debug, Default)]
pub struct Lists {
    resources: SortedMap<String, Assembly>,
}

#[derive(Debug, Default)]
struct Assembly {
    builds: Vec<Build>,
    /// The revision that was handed out whole.
    shown: Option<Shown>,
}

#[derive(Debug)]
struct Build {
    revision: String,
    expected: u16,
    parts: SortedMap<u16, (String, Vec<Share>)>,
    truncated: bool,
}

#[derive(Debug)]
struct Shown {
    revision: String,
    /// Ids of its items: if one is retracted, the list is gone.
    ids: SortedSet<String>,
}

impl Lists {
    /// Nothing known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An item was published. Where all resources share one item, who is not in it is gone.
    pub fn publish(&mut self, id: &str, payload: Option<&Element>) -> Vec<Announcement> {
        if payload.is_some_and(|payload| payload.is("merged", SHARES_NODE)) {
            return self.replace(std::iter::once((id, payload)));
        }
        self.take_parts(id, payload)
    }

    fn take_parts(&mut self, id: &str, payload: Option<&Element>) -> Vec<Announcement> {
        let parts = payloads(SHARES_NODE, payload).into_iter().filter_map(|(_, element)| parse_list(element));
        parts.filter_map(|part| self.take(id, part)).collect()
    }

    /// An item is gone.
    pub fn retract(&mut self, id: &str) -> Vec<Announcement> {
        let holds = |assembly: &Assembly| assembly.shown.as_ref().is_some_and(|shown| shown.ids.contains(id));
        let gone: Vec<String> = self.resources.iter().filter(|(_, a)| holds(a)).map(|(name, _)| name.clone()).collect();
        gone.into_iter().filter_map(|name| self.withdraw(name)).collect()
    }

    /// All items of the account, freshly fetched: what is not among them is gone.
    pub fn replace<'a>(&mut self, items: impl Iterator<Item = (&'a str, Option<&'a Element>)>) -> Vec<Announcement> {
        let mut announcements = Vec::new();
        let mut present = SortedSet::new();
        for (id, payload) in items {
            present.extend(payloads(SHARES_NODE, payload).into_iter().map(|(name, _)| name.to_owned()));
            announcements.extend(self.take_parts(id, payload));
        }
        let gone: Vec<String> = self.resources.keys().filter(|name| !present.contains(*name)).cloned().collect();
        announcements.extend(gone.into_iter().filter_map(|name| self.withdraw(name)));
        announcements
    }

    /// A resource speaks this format.
    #[must_use]
    pub fn knows(&self, resource: &str) -> bool {
        self.resources.contains_key(resource)
    }

    /// Parts are missing: it is worth fetching the items if they do not come soon.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        let newest_incomplete = |assembly: &Assembly| assembly.builds.last().is_some_and(|build| !build.is_whole());
        self.resources.values().any(newest_incomplete)
    }

    fn withdraw(&mut self, resource: String) -> Option<Announcement> {
        self.resources.remove(&resource).map(|_| Announcement::Withdrawn { resource })
    }

    fn take(&mut self, id: &str, part: ListPart) -> Option<Announcement> {
        if !self.knows(&part.resource) && self.resources.len() >= MAX_RESOURCES_PER_CONTACT {
            return None;
        }
        let resource = part.resource.clone();
        let assembly = self.resources.entry(resource.clone()).or_default();
        if part.gone {
            let ids = SortedSet::from([id.to_owned()]);
            assembly.shown = Some(Shown { revision: part.revision, ids });
            assembly.builds.clear();
            return Some(Announcement::Parted { resource });
        }
        if let Some(catalog) = part.catalog {
            return assembly.point_to(id, &catalog).then_some(Announcement::Catalog { resource, catalog });
        }
        let (shares, truncated) = assembly.take(id, part)?;
        Some(Announcement::Shares { resource, shares, truncated })
    }
}

impl Assembly {
    /// The list is to be fetched. False if that was said before.
    fn point_to(&mut self, id: &str, catalog: &Catalog) -> bool {
        let shown = Shown { revision: format!("catalog {catalog:?}"), ids: SortedSet::from([id.to_owned()]) };
        self.builds.clear();
        let news = self.shown.as_ref().is_none_or(|known| known.revision != shown.revision);
        self.shown = Some(shown);
        news
    }

    /// Files a part; what is to be shown because of it.
    fn take(&mut self, id: &str, part: ListPart) -> Option<(Vec<Share>, bool)> {
        if self.shown.as_ref().is_some_and(|shown| shown.revision == part.revision) {
            // Told again. Parts of another revision may be left over from a fetch in the middle of a change.
            self.builds.clear();
            return None;
        }
        let same = |build: &Build| build.revision == part.revision && build.expected == part.parts;
        let mut build = match self.builds.iter().position(same) {
            Some(index) => self.builds.remove(index),
            None => Build::new(&part),
        };
        let grew = build.add(id, part);
        if build.is_whole() {
            self.builds.clear();
            self.shown = Some(Shown { revision: build.revision.clone(), ids: build.ids() });
            return Some(build.into_shares());
        }
        let first_sight = self.shown.is_none() && grew;
        let so_far = first_sight.then(|| (build.parts.values().flat_map(|(_, shares)| shares.clone()).collect(), true));
        if self.builds.len() >= MAX_BUILDS {
            self.builds.remove(0);
        }
        self.builds.push(build);
        so_far
    }
}

impl Build {
    fn new(part: &ListPart) -> Self {
        Self { revision: part.revision.clone(), expected: part.parts, parts: SortedMap::new(), truncated: false }
    }

    /// Files a part, within the limit of all shares; whether anything of it is kept.
    fn add(&mut self, id: &str, mut part: ListPart) -> bool {
        self.parts.remove(&part.part);
        let room = MAX_INLINE_SHARES - self.parts.values().map(|(_, shares)| shares.len()).sum::<usize>();
        self.truncated |= part.truncated || part.shares.len() > room;
        part.shares.truncate(room);
        let kept = !part.shares.is_empty();
        self.parts.insert(part.part, (id.to_owned(), part.shares));
        kept
    }

    fn is_whole(&self) -> bool {
        self.parts.len() == usize::from(self.expected)
    }

    fn ids(&self) -> SortedSet<String> {
        gather(self.parts.values().map(|(id, _)| id.clone()))
    }

    fn into_shares(self) -> (Vec<Share>, bool) {
        (self.parts.into_values().flat_map(|(_, shares)| shares).collect(), self.truncated)
    }
}

#[cfg(test)]
mod tests {
    use super::super::shares::{build_catalog, build_gone, build_list};
    use super::super::xml::Build as _;
    use super::*;
    use crate::types::InfoHash;

    fn list(resource: &str, count: u8, limit: usize) -> Vec<(String, Element)> {
        let share = |n| Share {
            info_hash: InfoHash::new([n; 20]),
            name: n.to_string().into(),
            size: 1,
            files: 1,
            complete: true,
        };
        let shares: Vec<Share> = (0..count).map(share).collect();
        let mut parts = Vec::new();
        let mut left = shares.as_slice();
        while parts.is_empty() || !left.is_empty() {
            let (part, left_out) = build_list(resource, left, limit);
            parts.push(part);
            left = &left[left.len() - left_out..];
        }
        let all = parts.len();
        let number = |(index, part): (usize, Element)| {
            let id = if index == 0 { resource.to_owned() } else { format!("{resource}/{}", index + 1) };
            let part = part.with("revision", count.to_string());
            (id, part.with("part", (index + 1).to_string()).with("parts", all.to_string()))
        };
        parts.into_iter().enumerate().map(number).collect()
    }

    fn tell(announcements: &[Announcement]) -> Vec<String> {
        let tell = |announcement: &Announcement| match announcement {
            Announcement::Shares { resource, shares, truncated } => {
                format!("{resource}:{}{}", shares.len(), if *truncated { "+" } else { "" })
            }
            Announcement::Catalog { resource, catalog } => format!("{resource} catalog {}", catalog.count),
            Announcement::Parted { resource } => format!("{resource} parted"),
            Announcement::Withdrawn { resource } => format!("{resource} withdrawn"),
            other => format!("{other:?}"),
        };
        announcements.iter().map(tell).collect()
    }

    fn publish(lists: &mut Lists, item: &(String, Element)) -> Vec<String> {
        tell(&lists.publish(&item.0, Some(&item.1)))
    }

    #[test]
    fn a_list_is_shown_once_when_all_parts_are_here() {
        let (old, new) = (list("r", 10, 700), list("r", 12, 700));
        assert!(old.len() >= 3);
        let mut lists = Lists::new();
        assert_eq!(publish(&mut lists, &old[1])[0].chars().last(), Some('+'), "first sight: better some than none");
        assert!(lists.is_incomplete());
        for item in old.iter().rev() {
            publish(&mut lists, item);
        }
        assert!(!lists.is_incomplete());
        assert!(publish(&mut lists, &old[0]).is_empty(), "told again");
        let told: Vec<String> = new.iter().flat_map(|item| publish(&mut lists, item)).collect();
        assert_eq!(told, ["r:12"], "the old list stands until the new one is whole");
    }

    #[test]
    fn parts_that_there_is_no_room_for_are_not_worth_a_word() {
        let row = format!("<share hash='{}' name='x'/>", "a".repeat(40));
        let mut lists = Lists::new();
        let mut told = |part: usize| {
            let rows = row.repeat(MAX_INLINE_SHARES);
            let xml = format!(
                "<shares xmlns='{SHARES_NODE}' resource='r' revision='1' part='{part}' parts='4'>{rows}</shares>"
            );
            publish(&mut lists, &(format!("r/{part}"), xml.parse().unwrap()))
        };
        assert_eq!(told(1), ["r:10000+"]);
        assert!(told(2).is_empty() && told(3).is_empty(), "nothing new");
        assert_eq!(told(4), ["r:10000+"], "whole");
    }

    #[test]
    fn parts_of_two_revisions_may_mix() {
        let (old, new) = (list("r", 10, 700), list("r", 11, 700));
        let mut lists = Lists::new();
        for index in 0..new.len() {
            let told = publish(&mut lists, &new[index]);
            if index + 1 < new.len() {
                publish(&mut lists, &old[index]);
            } else {
                assert_eq!(told, ["r:11"]);
            }
        }
    }

    #[test]
    fn a_catalog_is_told_once_and_a_list_may_come_back() {
        let catalog = |count| {
            let catalog = Catalog { info_hash: InfoHash::new([7; 20]), size: 16 << 10, count };
            ("r".to_owned(), build_catalog("r", &catalog))
        };
        let mut lists = Lists::new();
        assert_eq!(publish(&mut lists, &list("r", 2, 10_000)[0]), ["r:2"]);
        assert_eq!(publish(&mut lists, &catalog(300)), ["r catalog 300"]);
        assert!(publish(&mut lists, &catalog(300)).is_empty() && !lists.is_incomplete());
        assert_eq!(publish(&mut lists, &catalog(301)), ["r catalog 301"], "whatever the revision says");
        assert_eq!(publish(&mut lists, &list("r", 2, 10_000)[0]), ["r:2"]);
        publish(&mut lists, &catalog(300));
        assert_eq!(tell(&lists.retract("r")), ["r withdrawn"]);
    }

    #[test]
    fn goodbye_and_return_are_told_even_if_the_list_is_the_same() {
        let items = list("r", 1, 10_000);
        let mut lists = Lists::new();
        assert_eq!(publish(&mut lists, &items[0]), ["r:1"]);
        assert_eq!(tell(&lists.publish("r", Some(&build_gone("r")))), ["r parted"]);
        assert_eq!(publish(&mut lists, &items[0]), ["r:1"]);
    }

    #[test]
    fn retracting_a_part_of_the_shown_list_withdraws_it() {
        let (long, short) = (list("r", 10, 700), list("r", 1, 700));
        let mut lists = Lists::new();
        long.iter().for_each(|item| drop(publish(&mut lists, item)));
        assert_eq!(publish(&mut lists, &short[0]), ["r:1"]);
        assert!(lists.retract("r/2").is_empty(), "left over from the longer list");
        assert_eq!(tell(&lists.retract("r")), ["r withdrawn"]);
        assert!(lists.retract("r").is_empty());
    }

    #[test]
    fn a_fetch_tells_what_is_gone() {
        let mut lists = Lists::new();
        let (a, b) = (list("a", 1, 700), list("b", 2, 700));
        let both = [&a[0], &b[0]];
        let told = lists.replace(both.iter().map(|(id, payload)| (id.as_str(), Some(payload))));
        assert_eq!(tell(&told), ["a:1", "b:2"]);
        let told = lists.replace(both[..1].iter().map(|(id, payload)| (id.as_str(), Some(payload))));
        assert_eq!(tell(&told), ["b withdrawn"]);
        assert_eq!(tell(&lists.replace(std::iter::empty())), ["a withdrawn"]);
    }

    #[test]
    fn too_many_resources_are_not_remembered() {
        let mut lists = Lists::new();
        for n in 0..100 {
            publish(&mut lists, &list(&format!("r{n}"), 1, 700)[0]);
        }
        assert_eq!(lists.resources.len(), MAX_RESOURCES_PER_CONTACT);
    }
}
