//! Search over the contacts' shares.
//!
//! All words of the query must occur, in any case, in the share's name or in its owner's JID. Names that contain the
//! words as whole words come before those that contain them at a word's beginning, and those before the rest; then
//! available ones, then the ones with more owners, then by name. The result is the same for the same input.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::contacts::ContactShares;
use crate::types::{InfoHash, Share};

/// Words of a query that are looked at.
const MAX_WORDS: usize = 32;

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
    /// The shares that match `query`, best first, at most `limit`. An empty query finds all.
    #[must_use]
    pub fn search(&self, query: &str, limit: usize) -> Vec<Hit> {
        let words: Vec<String> = query.split_whitespace().take(MAX_WORDS).map(str::to_lowercase).collect();
        let mut found: BTreeMap<InfoHash, (u32, Hit)> = BTreeMap::new();
        for (jid, name, resource) in self.resources() {
            let owner_text = jid.to_lowercase();
            let available = resource.is_available();
            for share in resource.shares() {
                let Some(score) = score(&words, &share.name.to_lowercase(), &owner_text) else { continue };
                let owner = Owner { jid: jid.to_owned(), resource: name.to_owned(), available };
                let fresh = || (score, Hit { share: share.clone(), owners: Vec::new() });
                let (best, hit) = found.entry(share.info_hash).or_insert_with(fresh);
                *best = score.max(*best);
                if available && !hit.is_available() {
                    hit.share = share.clone();
                }
                hit.owners.push(owner);
            }
        }
        let mut hits: Vec<(u32, Hit)> = found.into_values().collect();
        hits.sort_by_cached_key(|(score, hit)| {
            let name = hit.share.name.to_lowercase();
            (Reverse(*score), Reverse(hit.is_available()), Reverse(hit.owners.len()), name, hit.share.info_hash)
        });
        hits.into_iter().take(limit).map(|(_, hit)| hit).collect()
    }
}

/// `None` if a word is missing; otherwise the sum over the words, where the name counts more than the owner.
fn score(words: &[String], name: &str, owner: &str) -> Option<u32> {
    words.iter().map(|word| score_word(word, name).or_else(|| owner.contains(word.as_str()).then_some(0))).sum()
}

fn score_word(word: &str, name: &str) -> Option<u32> {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    name.match_indices(word)
        .map(|(at, found)| {
            let before = is_word(name.get(..at).and_then(|text| text.chars().next_back()));
            let after = is_word(name.get(at + found.len()..).and_then(|text| text.chars().next()));
            match (before, after) {
                (false, false) => 3,
                (false, true) => 2,
                (true, _) => 1,
            }
        })
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Announcement, Via};

    fn share(n: u8, name: &str) -> Share {
        let info_hash = InfoHash::new([n; InfoHash::LEN]);
        Share { info_hash, name: name.into(), size: 1, files: 1, complete: true }
    }

    fn sample() -> ContactShares {
        let mut contacts = ContactShares::new();
        let mut add = |jid: &str, online: bool, shares: Vec<Share>| {
            if online {
                let _ = contacts.online(Via::FIRST, jid, "r");
            }
            let _ = contacts.apply(
                Via::FIRST,
                jid,
                Announcement::Shares { resource: "r".into(), shares, truncated: false },
            );
        };
        add("alice@example.org", true, vec![share(1, "Summer Holidays 2026"), share(2, "midsummer.flac")]);
        add("bob@example.org", false, vec![share(1, "Summer Holidays 2026"), share(3, "SUMMERTIME notes")]);
        add("eve@example.org", true, vec![share(4, "Über die Brücke"), share(5, "summer")]);
        contacts
    }

    fn names(query: &str) -> Vec<String> {
        sample().search(query, 100).into_iter().map(|hit| hit.share.name.to_string()).collect()
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
    fn a_torrent_of_two_contacts_is_one_hit_with_two_owners() {
        let hits = sample().search("holidays", 10);
        assert_eq!(hits.len(), 1);
        let owners: Vec<_> = hits[0].owners.iter().map(|owner| (owner.jid.as_str(), owner.available)).collect();
        assert_eq!(owners, [("alice@example.org", true), ("bob@example.org", false)]);
    }

    #[test]
    fn an_empty_query_finds_all_up_to_the_limit() {
        assert_eq!(names("  ").len(), 5);
        assert_eq!(sample().search("", 2).len(), 2);
    }
}
