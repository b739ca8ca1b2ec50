//! A list that is too long for XMPP, as people meet it: everything is listed and fetched as if it were short, and the
//! torrents that carry it are nowhere to be seen.

use std::time::Duration;

use crate::common::data::assert_same;
use crate::common::prosody::installed;
use crate::common::text;
use crate::common::user::User;
use crate::{PATIENCE, file, online, server, until};

/// Enough for three times what stands in an item.
const FILES: usize = 250;

fn torrents(daemon: &User) -> usize {
    daemon.json(&["status"])["torrents"].as_array().unwrap().len()
}

fn listed(daemon: &User) -> usize {
    daemon.json(&["shares"]).as_array().unwrap().len()
}

#[test]
fn a_long_list_is_shared_and_its_catalog_is_never_seen() {
    if !installed() {
        return;
    }
    let server = server();
    let [mut alice, mut bob] = online(&server, ["alice", "bob"]);
    let name = |nth: usize| format!("{nth:03} {}", "a long name ".repeat(18));
    let paths: Vec<_> = (0..FILES).map(|nth| file(&alice, &name(nth), 100 + nth)).collect();
    let mut arguments = vec!["share"];
    arguments.extend(paths.iter().map(|path| text(path)));
    let hashes = alice.ok_within(Duration::from_secs(180), &arguments);
    let hashes: Vec<&str> = hashes.split_whitespace().collect();
    assert_eq!(hashes.len(), FILES);
    until("bob has the whole list", PATIENCE, || listed(&bob) == FILES);
    assert_eq!((torrents(&alice), torrents(&bob)), (FILES, 0));

    bob.ok(&["get", hashes[7]]);
    until("it is fetched", PATIENCE, || bob.torrent(hashes[7]).is_some_and(|torrent| torrent["state"] == "seeding"));
    assert_same(&paths[7], &bob.downloads().join(name(7)));
    assert_eq!(torrents(&bob), 1);

    // Neither remembers more torrents than it shows, and bob has the list again without fetching it.
    alice.stop();
    bob.stop();
    bob.start();
    bob.wait_online();
    until("the old list is known", PATIENCE, || torrents(&bob) == 1);
    alice.start();
    until("bob has the list again", PATIENCE, || listed(&bob) == FILES);
    assert_eq!((torrents(&alice), torrents(&bob)), (FILES, 1));

    alice.ok(&["unshare", hashes[8]]);
    until("one less", PATIENCE, || listed(&bob) == FILES - 1 && bob.sees(hashes[8]).is_none());
}
