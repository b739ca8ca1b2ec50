//! Which torrent or share a person means: its hash, enough of the first digits, its name, or a part of the name that
//! only one has.
//!
//! The daemon knows hashes only: ids of the interface never depend on what else happens to be there.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::client::{Client, TorrentArgs};
use super::error::CliError;
use super::output::{clean, json as print_json, line};
use crate::component::rpc::types::{ShareList, TorrentStatuses};
use crate::types::InfoHash;

/// Things that an error names.
const MOST_NAMED: usize = 5;
/// Digits of a hash in an error.
const SHORT_HASH: usize = 10;
/// Shares of contacts that are looked at.
const MOST_SHARES: u64 = 100;

/// Something that has a hash and a name.
struct Known {
    hash: String,
    name: String,
}

/// How far a name may be from what was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// It has to be the same: for what cannot be undone.
    Whole,
    /// It may be a part, in other case.
    Part,
}

impl TorrentArgs {
    /// The hash of the own torrent that is meant.
    ///
    /// # Errors
    /// No daemon; none that is called so, or several.
    pub(super) fn find(&self, client: &Client, likeness: Likeness) -> Result<String, CliError> {
        let text = self.hash.trim();
        let refused = if is_hash(text) {
            match client.call::<TorrentStatuses>("bt.status", json!({"hash": text})) {
                Ok(found) => {
                    return found.torrents.into_iter().next().map(|torrent| torrent.hash).ok_or_else(|| none(text));
                }
                // A name may consist of such digits, too.
                Err(error) if error.code == 1 && text.len() < 2 * InfoHash::LEN => error,
                Err(error) => return Err(error),
            }
        } else {
            none(text)
        };
        let all = client.call::<TorrentStatuses>("bt.status", json!({}))?.torrents;
        let known = all.into_iter().map(|torrent| Known { hash: torrent.hash, name: torrent.name }).collect();
        pick(known, text, likeness)?.ok_or(refused)
    }

    /// Has the daemon do something with a torrent, and says so.
    pub(super) fn tell(&self, likeness: Likeness, method: &str, more: Value, said: &str) -> Result<(), CliError> {
        let client = Client::find(&self.connect)?;
        let hash = self.find(&client, likeness)?;
        let mut params = more;
        if let Value::Object(map) = &mut params {
            map.insert("hash".into(), hash.as_str().into());
        }
        client.call::<Value>(method, params)?;
        if self.json { print_json(&json!({"hash": hash, "done": said})) } else { line(said) }
    }
}

/// The hash of the contact's share that is called so; none if no share is.
///
/// # Errors
/// No daemon; several shares.
pub(super) fn share(client: &Client, text: &str) -> Result<Option<String>, CliError> {
    let found = match client.call::<ShareList>("xmpp.search", json!({"term": text, "limit": MOST_SHARES})) {
        Ok(found) => found,
        // A daemon without contacts.
        Err(error) if error.code == 1 => return Ok(None),
        Err(error) => return Err(error),
    };
    let known = found.shares.into_iter().map(|share| Known { hash: share.hash, name: share.name }).collect();
    pick(known, text, Likeness::Part)
}

/// May it be a hash, or the beginning of one?
pub(super) fn is_hash(text: &str) -> bool {
    !text.is_empty() && text.len() <= 2 * InfoHash::LEN && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn none(text: &str) -> CliError {
    CliError::failed(format_args!("no torrent is called {:?}; `bitween status` lists them", clean(text)))
}

/// The one that is called so; if there is none, the one whose name holds that.
fn pick(known: Vec<Known>, text: &str, likeness: Likeness) -> Result<Option<String>, CliError> {
    let (mut same, other): (Vec<Known>, Vec<Known>) = known.into_iter().partition(|known| known.name == text);
    if same.is_empty() && !text.is_empty() {
        let lower = text.to_lowercase();
        same = other.into_iter().filter(|known| known.name.to_lowercase().contains(&lower)).collect();
        if likeness == Likeness::Whole && !same.is_empty() {
            let text = format_args!(
                "{:?} is not the whole name of one: this needs the name as it is, or the hash ({})",
                clean(text),
                few(&same)
            );
            return Err(CliError::failed(text));
        }
    }
    match same.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.hash.clone())),
        several => {
            let text =
                format_args!("{:?} fits {}: say which by its hash ({})", clean(text), several.len(), few(several));
            Err(CliError::failed(text))
        }
    }
}

/// The first of them, with their hashes.
fn few(several: &[Known]) -> String {
    let mut text = String::new();
    for known in several.iter().take(MOST_NAMED) {
        let separator = if text.is_empty() { "" } else { ", " };
        let hash = known.hash.get(..SHORT_HASH).unwrap_or(&known.hash);
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{} {}", clean(hash), clean(&known.name));
    }
    if several.len() > MOST_NAMED {
        text += ", ...";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(names: &[&str]) -> Vec<Known> {
        let known = |(number, name): (usize, &&str)| Known { hash: format!("{number:040x}"), name: (*name).to_owned() };
        names.iter().enumerate().map(known).collect()
    }

    fn picked(names: &[&str], text: &str, likeness: Likeness) -> Result<Option<usize>, String> {
        let found = pick(known(names), text, likeness).map_err(|error| error.message)?;
        Ok(found.map(|hash| usize::from_str_radix(&hash, 16).unwrap()))
    }

    #[test]
    fn a_whole_name_wins_over_parts_of_others() {
        let names = ["Holiday 2025", "Holiday", "holiday films"];
        assert_eq!(picked(&names, "Holiday", Likeness::Part), Ok(Some(1)));
        assert_eq!(picked(&names, "FILM", Likeness::Part), Ok(Some(2)));
        assert_eq!(picked(&names, "winter", Likeness::Part), Ok(None));
        assert_eq!(picked(&names, "", Likeness::Part), Ok(None));
    }

    #[test]
    fn several_are_named_and_none_is_guessed() {
        let error = picked(&["a1", "a2"], "a", Likeness::Part).unwrap_err();
        assert!(error.contains("0000000000 a1, 0000000000 a2") && error.contains("fits 2"), "{error}");
        assert!(picked(&["same", "same"], "same", Likeness::Whole).is_err());
        let error = picked(&["x"; 9], "x", Likeness::Part).unwrap_err();
        assert!(error.contains(", ..."), "{error}");
    }

    #[test]
    fn what_cannot_be_undone_needs_the_whole_name() {
        assert_eq!(picked(&["film.mkv"], "film.mkv", Likeness::Whole), Ok(Some(0)));
        assert!(picked(&["film.mkv"], "film", Likeness::Whole).unwrap_err().contains("whole name"));
        assert_eq!(picked(&["film.mkv"], "song", Likeness::Whole), Ok(None));
    }

    #[test]
    fn names_of_strangers_drive_no_terminal() {
        let error = picked(&["a\u{1b}]0;x\u{7}", "a\u{202e}b"], "a", Likeness::Part).unwrap_err();
        assert!(!error.chars().any(|c| c.is_control() || c == '\u{202e}'), "{error:?}");
    }
}
