use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::types::{Announcement, InfoHash, Via};

/// Hashes of three numbers each begin alike.
fn share(n: u8, name: &str) -> Share {
    let mut hash = [n / 3; InfoHash::LEN];
    hash[InfoHash::LEN - 1] = n;
    let info_hash = InfoHash::new(hash);
    Share { info_hash, name: name.into(), size: 1, files: 1, complete: true }
}

fn add(contacts: &mut ContactShares, jid: &str, resource: &str, online: bool, shares: Vec<Share>) {
    if online {
        let _ = contacts.online(Via::FIRST, jid, resource);
    }
    let _ =
        contacts.apply(Via::FIRST, jid, Announcement::Shares { resource: resource.into(), shares, truncated: false });
}

fn sample() -> ContactShares {
    let mut contacts = ContactShares::new();
    let mut add = |jid: &str, online: bool, shares: Vec<Share>| add(&mut contacts, jid, "r", online, shares);
    add("alice@example.org", true, vec![share(1, "Summer Holidays 2026"), share(2, "midsummer.flac")]);
    add("bob@example.org", false, vec![share(1, "Summer Holidays 2026"), share(3, "SUMMERTIME notes")]);
    add("eve@example.org", true, vec![share(4, "Über die Brücke"), share(5, "summer")]);
    contacts
}

fn names(query: &str) -> Vec<String> {
    sample().search(query, Page::first(100)).hits.into_iter().map(|hit| hit.share.name.to_string()).collect()
}

#[test]
fn whole_words_rank_before_beginnings_before_the_rest() {
    assert_eq!(names("summer"), ["Summer Holidays 2026", "summer", "SUMMERTIME notes", "midsummer.flac"]);
}

#[test]
fn every_word_must_match_name_or_owner() {
    assert_eq!(names("2026 SUMMER"), ["Summer Holidays 2026"]);
    assert_eq!(names("summer bob"), ["Summer Holidays 2026", "SUMMERTIME notes"]);
    assert_eq!(names("ÜBER brücke"), ["Über die Brücke"]);
    assert!(names("summer winter").is_empty());
}

#[test]
fn words_are_found_however_they_are_written() {
    let mut contacts = ContactShares::new();
    add(&mut contacts, "bob@x", "r", true, vec![share(1, "ΣΟΦΟΣ.mkv"), share(2, "U\u{308}ber uns")]);
    for query in ["ΣΟΦΟΣ", "σοφος", "σοφοσ", "über", "U\u{308}BER"] {
        assert_eq!(contacts.search(query, Page::first(9)).total, 1, "{query}");
    }
}

#[test]
fn a_torrent_of_two_contacts_is_one_hit_with_two_owners() {
    let hits = sample().search("holidays", Page::first(10)).hits;
    assert_eq!(hits.len(), 1);
    let owners: Vec<_> = hits[0].owners.iter().map(|owner| (owner.jid.as_str(), owner.available)).collect();
    assert_eq!(owners, [("alice@example.org", true), ("bob@example.org", false)]);
}

#[test]
fn an_empty_query_finds_all_up_to_the_limit() {
    assert_eq!(
        names("  "),
        ["midsummer.flac", "summer", "Summer Holidays 2026", "SUMMERTIME notes", "Über die Brücke"]
    );
    let found = sample().search("", Page::first(2));
    assert_eq!((found.hits.len(), found.total, found.more), (2, 5, false));
}

#[test]
fn one_contacts_shares_are_listed_without_the_others() {
    let found = sample().by_name(|jid| jid == "bob@example.org", Page::first(10));
    assert_eq!(found.total, 2);
    assert!(found.hits.iter().all(|hit| hit.owners.len() == 1 && hit.owners[0].jid == "bob@example.org"));
}

#[test]
fn a_query_that_fits_too_much_says_so_and_shows_what_can_be_had_first() {
    let mut contacts = ContactShares::new();
    let many = |from: u32, name: &str| -> Vec<Share> {
        let hash = |n: u32| InfoHash::new(std::array::from_fn(|at| n.to_be_bytes()[at % 4]));
        (from..from + 150_000).map(|n| Share { info_hash: hash(n), ..share(0, name) }).collect()
    };
    add(&mut contacts, "alice@x", "r", false, many(0, "same offline"));
    add(&mut contacts, "bob@x", "r", true, many(200_000, "same online"));
    let found = contacts.search("same", Page { offset: 99_999, limit: 2 });
    assert!(found.more);
    assert_eq!(found.total, 200_000);
    assert!(found.hits[0].is_available() && !found.hits[1].is_available());
    let found = contacts.search("online", Page::first(1));
    assert_eq!((found.total, found.more), (150_000, false));
}

#[test]
fn a_contact_who_announces_without_end_hides_nobody() {
    let mut contacts = ContactShares::new();
    let many = |from: u32, count: u32| -> Vec<Share> {
        let hash = |n: u32| InfoHash::new(std::array::from_fn(|at| n.to_be_bytes()[at % 4]));
        (from..from + count).map(|n| Share { info_hash: hash(n), ..share(0, "the film and the book") }).collect()
    };
    // Every resource of hers matches, by name and by JID, and comes before everybody else's.
    for n in 0..25 {
        add(&mut contacts, "aa-film@x", &format!("r{n:02}"), true, many(n * 10_000, 10_000));
    }
    add(&mut contacts, "bob@x", "r", false, many(1 << 30, 1000));
    let found = contacts.search("film", Page { offset: 0, limit: usize::MAX });
    assert_eq!((found.total, found.more), (200_000, true));
    assert_eq!(found.hits.iter().filter(|hit| hit.owners[0].jid == "bob@x").count(), 1000);
}

#[test]
fn resources_of_one_contact_are_one_owner() {
    let mut contacts = ContactShares::new();
    for resource in ["r", "s", "t"] {
        add(&mut contacts, "eve@x", resource, true, vec![share(1, "film b")]);
    }
    for jid in ["bob@x", "carol@x"] {
        add(&mut contacts, jid, "r", true, vec![share(2, "film c")]);
    }
    add(&mut contacts, "dave@x", "r", true, vec![share(3, "film a")]);
    let names: Vec<_> = contacts.search("film", Page::first(9)).hits.into_iter().map(|hit| hit.share.name).collect();
    assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["film c", "film a", "film b"]);
}

/// What is to be found, by comparing everything with everything.
fn expected(contacts: &ContactShares, query: &str) -> Vec<Hit> {
    let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
    let mut found: BTreeMap<InfoHash, (u32, Hit)> = BTreeMap::new();
    for (jid, name, resource) in contacts.resources() {
        let available = resource.is_available();
        for share in resource.shares() {
            let lower = share.name.to_lowercase();
            let score = |word: &String| score(word, &lower).or_else(|| jid.contains(word.as_str()).then_some(0));
            let Some(score) = words.iter().map(score).sum::<Option<u32>>() else { continue };
            let owner = Owner { jid: jid.to_owned(), resource: name.to_owned(), available };
            let fresh = || (score, Hit { share: share.to_share(), owners: Vec::new() });
            let (best, hit) = found.entry(share.info_hash).or_insert_with(fresh);
            *best = score.max(*best);
            if available && !hit.is_available() {
                hit.share = share.to_share();
            }
            hit.owners.push(owner);
        }
    }
    let mut hits: Vec<(u32, Hit)> = found.into_values().collect();
    hits.sort_by_cached_key(|(score, hit)| {
        let by_name = (hit.share.name.to_lowercase(), hit.share.info_hash);
        let owners = hit.owners.iter().map(|owner| &owner.jid).collect::<BTreeSet<_>>().len();
        let rank = (Reverse(*score), Reverse(hit.is_available()), Reverse(owners));
        ((!words.is_empty()).then_some(rank), by_name)
    });
    hits.into_iter().map(|(_, hit)| hit).collect()
}

fn score(word: &str, name: &str) -> Option<u32> {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let worth = |(at, found): (usize, &str)| {
        let (before, after) = (name[..at].chars().next_back(), name[at + found.len()..].chars().next());
        match (is_word(before), is_word(after)) {
            (false, false) => 3,
            (false, true) => 2,
            (true, _) => 1,
        }
    };
    name.match_indices(word).map(worth).max()
}

proptest! {
    #[test]
    fn pages_together_are_all_that_matches_in_order(
        lists in prop::collection::vec((0_usize..3, any::<bool>(), prop::collection::vec((0_u8..12, "[abA ß.]{0,9}"), 0..12)), 0..5),
        query in "[abß ]{0,5}",
        limit in 1_usize..4,
    ) {
        let mut contacts = ContactShares::new();
        for (number, (jid, online, shares)) in lists.into_iter().enumerate() {
            let shares = shares.iter().map(|(n, name)| share(*n, name)).collect();
            add(&mut contacts, ["a@x", "b@x", "ab@x"][jid], &number.to_string(), online, shares);
        }
        let expected = expected(&contacts, &query);
        let mut pages = Vec::new();
        for offset in (0..=expected.len()).step_by(limit) {
            let found = contacts.search(&query, Page { offset, limit });
            prop_assert_eq!((found.total, found.more), (expected.len(), false));
            prop_assert!(found.hits.len() <= limit);
            pages.extend(found.hits);
        }
        prop_assert_eq!(pages, expected);
        let beyond = contacts.search(&query, Page { offset: usize::MAX, limit: usize::MAX });
        prop_assert!(beyond.hits.is_empty());
    }
}
