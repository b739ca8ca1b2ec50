//! `bitween shares`: what contacts share, or what we share.

use serde_json::{Value, json};

use super::client::{Client, ListArgs};
use super::error::CliError;
use super::output::{clean, hash, json as print_json, note, print, size, whole_percent};
use super::table::{Align, Table};
use crate::component::rpc::types::{
    Account, AccountState, OwnCopy, ShareEntry, ShareList, TorrentState, TorrentStatus, TorrentStatuses,
};
use crate::config::JidText;
use crate::types::{SortedSet, gather, sort};

/// Rows that are fetched unless the user says how many: more than any person reads, no more than a machine may hold.
const USUAL_ROWS: u64 = 100_000;
/// Rows that are asked for at a time; daemons answer with no more.
const ROWS_AT_ONCE: u64 = 10_000;

const EXAMPLES: &str = "\
Examples:
  bitween shares
  bitween shares --contact bob@example.org
  bitween shares --mine
  bitween shares --json | jq '.[] | select(.available) | .name'

Fetch one with `bitween get HASH`.";

/// List what contacts share
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only the shares of this contact
    #[arg(long, value_name = "JID", conflicts_with = "mine")]
    contact: Option<JidText>,
    /// Your own shares instead
    #[arg(long)]
    mine: bool,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    list: ListArgs,
}

/// Which part of a long list is wanted.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct PageArgs {
    /// Print no more than this many
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Leave out this many at the beginning
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
}

impl PageArgs {
    /// Calls `method` until the rows are here, at most `usual` unless the user says how many. `params` gets limit and
    /// offset of each call.
    pub(super) fn fetch(
        self,
        client: &Client,
        method: &str,
        usual: u64,
        params: &dyn Fn(u64, u64) -> Value,
    ) -> Result<ShareList, CliError> {
        let limit = self.limit.unwrap_or(usual);
        let mut list = ShareList::default();
        loop {
            let here = count(&list);
            let offset = self.offset.saturating_add(here);
            let wanted = limit.saturating_sub(here).min(ROWS_AT_ONCE);
            let mut page: ShareList = client.call(method, params(wanted, offset))?;
            let end = offset.saturating_add(count(&page));
            let is_last = page.shares.is_empty() || end >= page.total;
            list.shares.append(&mut page.shares);
            (list.total, list.more) = (page.total, page.more);
            if is_last || count(&list) >= limit {
                return Ok(list);
            }
        }
    }

    /// Says how many rows follow those that were printed.
    pub(super) fn tell_rest(self, list: &ShareList) {
        let shown = self.offset.saturating_add(count(list));
        let at_least = if list.more { "at least " } else { "" };
        match list.total.saturating_sub(shown) {
            0 if list.more => note("and more; a longer search term finds less"),
            0 => {}
            rest => note(&format!("and {at_least}{rest} more; --limit and --offset show them")),
        }
    }

    /// The wanted part of a list that is here already.
    fn cut(self, mut shares: Vec<ShareEntry>) -> ShareList {
        let total = u64::try_from(shares.len()).unwrap_or(u64::MAX);
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        shares.drain(..number(self.offset).min(shares.len()));
        shares.truncate(self.limit.map_or(usize::MAX, number));
        ShareList { shares, total, more: false }
    }
}

fn count(list: &ShareList) -> u64 {
    u64::try_from(list.shares.len()).unwrap_or(u64::MAX)
}

/// Lists them.
///
/// # Errors
/// No daemon, or an unknown contact.
pub fn run(args: &Args) -> Result<(), CliError> {
    let client = Client::find(&args.list.connect)?;
    if args.mine {
        let list = args.page.cut(own(&client)?);
        show(&list.shares, args.list.json, "you share nothing; share something with `bitween share PATH`")?;
        args.page.tell_rest(&list);
        return Ok(());
    }
    let contact = args.contact.as_ref().map(JidText::bare);
    let params = |limit, offset| json!({"contact": contact, "limit": limit, "offset": offset});
    let list = args.page.fetch(&client, "xmpp.list_shares", USUAL_ROWS, &params)?;
    show(&list.shares, args.list.json, "no shares")?;
    args.page.tell_rest(&list);
    if list.shares.is_empty() && !args.list.json { say_why(&client) } else { Ok(()) }
}

/// Nothing to show may have a reason that can be mended.
pub(super) fn say_why(client: &Client) -> Result<(), CliError> {
    let account: Account = client.call("xmpp.account", json!({}))?;
    match account.state {
        AccountState::Online => {}
        AccountState::None => note(
            "there is no XMPP account; set one with `bitween account set JID`, or accept a neighbour: `bitween contacts`",
        ),
        _ => note("the XMPP account is not online; see `bitween account show`"),
    }
    Ok(())
}

fn own(client: &Client) -> Result<Vec<ShareEntry>, CliError> {
    let statuses: TorrentStatuses = client.call("bt.status", json!({}))?;
    let shared = statuses.torrents.into_iter().filter(|torrent| torrent.shared);
    let entry = |torrent: TorrentStatus| ShareEntry {
        own: Some(OwnCopy::from(&torrent)),
        hash: torrent.hash,
        name: torrent.name,
        size: torrent.total_size,
        available: torrent.complete,
        mine: true,
        ..ShareEntry::default()
    };
    Ok(shared.map(entry).collect())
}

/// Prints a list of shares; `nothing` is said when it is empty.
pub(super) fn show(shares: &[ShareEntry], as_json: bool, nothing: &str) -> Result<(), CliError> {
    if as_json {
        return print_json(&shares);
    }
    if shares.is_empty() {
        note(nothing);
        return Ok(());
    }
    let columns = [
        ("HASH", Align::Left),
        ("SIZE", Align::Right),
        ("STATE", Align::Left),
        ("FROM", Align::Left),
        ("NAME", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for share in shares {
        table.row([hash(&share.hash), size(share.size), state(share), owners(share), share.name.clone()]);
    }
    print(&table.render())?;
    reasons(shares).iter().for_each(|text| note(&clean(text)));
    Ok(())
}

/// Why some of them cannot be had although their owners are online, each once.
fn reasons(shares: &[ShareEntry]) -> SortedSet<&str> {
    let online = shares.iter().filter(|share| share.available);
    gather(online.filter_map(|share| share.why.as_ref()).map(|why| &*why.text))
}

/// What we have of it; otherwise whether it can be had.
fn state(share: &ShareEntry) -> String {
    let Some(own) = share.own.filter(|own| !own.complete) else {
        let state = match (share.mine, share.available) {
            (true, _) => "have it",
            (false, true) if share.why.is_some() => "not reachable",
            (false, true) => "available",
            (false, false) => "offline",
        };
        return state.to_owned();
    };
    let doing = match own.state {
        TorrentState::Metadata | TorrentState::Downloading => "fetching",
        // It was complete, or is being made ready.
        TorrentState::Seeding | TorrentState::Unknown => "incomplete",
        other => other.as_str(),
    };
    format!("{doing} {} %", whole_percent(own.done, own.total_size))
}

/// The contacts that share it, each once; those that are online first.
fn owners(share: &ShareEntry) -> String {
    let mut owners: Vec<_> = share.owners.iter().map(|owner| (!owner.online, owner.jid.as_str())).collect();
    sort(&mut owners);
    let mut names: Vec<&str> = Vec::new();
    for (_, jid) in owners {
        if !names.contains(&jid) {
            names.push(jid);
        }
    }
    match names.as_slice() {
        [] => "me".to_owned(),
        [first] => (*first).to_owned(),
        [first, rest @ ..] => format!("{first} +{}", rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::rpc::types::{ShareOwner, Why};

    #[test]
    fn a_half_fetched_share_is_not_had() {
        let own = |state, done, complete| {
            let own = Some(OwnCopy { state, done, total_size: 1000, complete });
            state_of(ShareEntry { own, mine: true, available: true, ..ShareEntry::default() })
        };
        assert_eq!(own(TorrentState::Downloading, 439, false), "fetching 43 %");
        assert_eq!(own(TorrentState::Metadata, 0, false), "fetching 0 %");
        assert_eq!(own(TorrentState::Paused, 439, false), "paused 43 %");
        assert_eq!(own(TorrentState::Error, 999, false), "error 99 %");
        assert_eq!(own(TorrentState::Paused, 1000, true), "have it");
        assert_eq!(state_of(ShareEntry { mine: true, ..ShareEntry::default() }), "have it", "an older daemon");
        assert_eq!(state_of(ShareEntry { available: true, ..ShareEntry::default() }), "available");
        assert_eq!(state_of(ShareEntry::default()), "offline");
    }

    #[test]
    fn what_cannot_be_reached_is_told_with_each_reason_once() {
        let share = |text: &str, available| ShareEntry {
            available,
            why: (!text.is_empty()).then(|| Why { code: "refused".into(), text: text.into() }),
            ..ShareEntry::default()
        };
        let shares =
            [share("b", true), share("", true), share("a", true), share("b", true), share("bob is not online", false)];
        assert_eq!(reasons(&shares).into_iter().collect::<Vec<_>>(), ["a", "b"]);
        let states = ["not reachable", "available", "not reachable", "not reachable", "offline"];
        assert_eq!(shares.map(state_of), states);
    }

    fn state_of(share: ShareEntry) -> String {
        state(&share)
    }

    #[test]
    fn a_part_of_the_own_shares_can_be_wanted_too() {
        let all: Vec<ShareEntry> =
            (0..5).map(|n| ShareEntry { name: n.to_string(), ..ShareEntry::default() }).collect();
        let part = |limit, offset| {
            let list = PageArgs { limit, offset }.cut(all.clone());
            (list.shares.into_iter().map(|share| share.name).collect::<String>(), list.total)
        };
        assert_eq!(part(None, 0), ("01234".to_owned(), 5));
        assert_eq!(part(Some(2), 1), ("12".to_owned(), 5));
        assert_eq!(part(Some(9), 4), ("4".to_owned(), 5));
        assert_eq!(part(Some(u64::MAX), u64::MAX), (String::new(), 5));
    }

    #[test]
    fn owners_are_named_once_and_those_online_first() {
        let owner =
            |jid: &str, online| ShareOwner { jid: jid.into(), resource: "r".into(), online, ..ShareOwner::default() };
        let share = |owners| ShareEntry { owners, ..ShareEntry::default() };
        assert_eq!(owners(&share(vec![])), "me");
        assert_eq!(owners(&share(vec![owner("a@x", false), owner("a@x", true)])), "a@x");
        assert_eq!(owners(&share(vec![owner("a@x", false), owner("b@x", true), owner("c@x", false)])), "b@x +2");
    }
}
