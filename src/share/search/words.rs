//! The words of a query, and how well a name fits them.

use std::cmp::Reverse;

use memchr::memmem::Finder;

use super::List;
use crate::share::fold::folded;
use crate::share::table::ShareTable;

/// Words of a query that are looked at.
const MAX_WORDS: usize = 32;
/// Bytes of names in which the words are counted, to look for the rarest one first.
const SAMPLE: usize = 64 << 10;
/// What a whole word is worth: there is nothing better.
const WHOLE: u32 = 3;

/// The words of a query, in lower case, the rarest first.
pub(super) struct Words(Vec<Word>);

struct Word {
    text: String,
    finder: Finder<'static>,
}

/// The words as they count for the shares of one owner.
pub(super) struct OwnersWords<'a> {
    /// Names are found by this one...
    key: Option<&'a Word>,
    /// ... must hold these as well...
    needed: Vec<&'a Word>,
    /// ... and are better with these, which the owner's JID holds.
    welcome: Vec<&'a Word>,
}

impl Words {
    pub(super) fn new(query: &str, lists: &[List<'_>]) -> Self {
        let texts = query.split_whitespace().take(MAX_WORDS).map(folded);
        let mut words: Vec<Word> = texts.map(Word::new).collect();
        if words.len() > 1
            && let Some(list) = lists.iter().max_by_key(|list| list.table.len())
        {
            let sample = list.table.sample(SAMPLE);
            words.sort_by_cached_key(|word| (word.finder.find_iter(sample).count(), Reverse(word.text.len())));
        }
        Self(words)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn of_owner(&self, jid: &str) -> OwnersWords<'_> {
        let jid = folded(jid);
        let (welcome, mut needed): (Vec<&Word>, Vec<&Word>) = self.0.iter().partition(|word| jid.contains(&word.text));
        let key = if needed.is_empty() { None } else { Some(needed.remove(0)) };
        OwnersWords { key, needed, welcome }
    }
}

impl OwnersWords<'_> {
    /// The rows that match, ascending, each with the sum over the words: a name counts more than its owner.
    pub(super) fn rows(&self, table: &ShareTable) -> impl Iterator<Item = (usize, u32)> {
        let all = if self.key.is_none() { table.len() } else { 0 };
        let found = self.key.into_iter().flat_map(|key| table.rows_with(&key.finder));
        found.chain((0..all).map(|row| (row, 0))).filter_map(|(row, first)| {
            let name = table.folded(row);
            let needed: Option<u32> = self.needed.iter().map(|word| word.score(name)).sum();
            let key = self.key.map_or(0, |key| key.score_from(name, first));
            let welcome: u32 = self.welcome.iter().filter_map(|word| word.score(name)).sum();
            Some((row, needed? + key + welcome))
        })
    }
}

impl Word {
    fn new(text: String) -> Self {
        Self { finder: Finder::new(text.as_bytes()).into_owned(), text }
    }

    /// `None` if the name lacks the word.
    fn score(&self, name: &str) -> Option<u32> {
        self.finder.find(name.as_bytes()).map(|first| self.score_from(name, first))
    }

    /// The word stands at `first`; where in the name it is worth most counts.
    fn score_from(&self, name: &str, first: usize) -> u32 {
        let (mut at, mut best) = (first, 0);
        loop {
            let end = at + self.text.len();
            best = best.max(worth(name, at, end));
            let rest = name.as_bytes().get(end..).unwrap_or_default();
            match self.finder.find(rest) {
                Some(next) if best < WHOLE => at = end + next,
                _ => return best,
            }
        }
    }
}

/// A whole word, the beginning of one, or something inside.
fn worth(name: &str, start: usize, end: usize) -> u32 {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let before = is_word(name.get(..start).and_then(|text| text.chars().next_back()));
    let after = is_word(name.get(end..).and_then(|text| text.chars().next()));
    match (before, after) {
        (false, false) => WHOLE,
        (false, true) => 2,
        (true, _) => 1,
    }
}
