//! Sharing, listing, searching, fetching, from one and from several; going offline.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::common::data::{assert_same, write_file};
use crate::common::prosody::installed;
use crate::common::user::User;
use crate::{ALICE, BOB, PATIENCE, SOON, assert_arrived, daemon, file, online, server, until};

const LARGE_TRANSFER: Duration = Duration::from_secs(180);

/// 300 files, 200 MiB: nested, Unicode names, an empty file, tiny ones and a big one.
fn folder(daemon: &User) -> (PathBuf, u64) {
    const FILES: usize = 300;
    const TOTAL: usize = 200 << 20;
    let root = daemon.home().join("shared").join("Sommerferien ☀ 2026");
    let write = |name: &str, len: usize| {
        write_file(&root.join(name), len, len as u64);
        len
    };
    let mut written = write("leer.txt", 0);
    for nth in 0..FILES - 2 {
        let folder = ["", "Bilder/Größe XL/", "音楽/", "a/b/c/d/e/"][nth % 4];
        written += write(&format!("{folder}{nth:03} Füße.dat"), nth * 1999);
    }
    write("великий.bin", TOTAL - written);
    (root, TOTAL as u64)
}

fn owners(share: &Value) -> Vec<(String, bool)> {
    let owner = |owner: &Value| (owner["jid"].as_str().unwrap().to_owned(), owner["online"].as_bool().unwrap());
    share["owners"].as_array().unwrap().iter().map(owner).collect()
}

fn uploaded(daemon: &User, hash: &str) -> u64 {
    daemon.torrent(hash).expect("it has the torrent")["uploaded"].as_u64().unwrap()
}

#[test]
fn a_folder_is_shared_listed_searched_and_fetched() {
    if !installed() {
        return;
    }
    let server = server();
    let [alice, bob, carol] = online(&server, ["alice", "bob", "carol"]);
    let (folder, size) = folder(&alice);

    let hash = alice.share(&folder);
    until("bob sees the share", SOON, || bob.can_get(&hash));
    let share = bob.sees(&hash).unwrap();
    assert_eq!((share["name"].as_str(), share["size"].as_u64()), (Some("Sommerferien ☀ 2026"), Some(size)));
    assert_eq!((share["file_count"].as_u64(), owners(&share)), (Some(300), vec![(ALICE.to_owned(), true)]));
    let table = bob.ok(&["shares"]);
    assert!(
        ["Sommerferien ☀ 2026", "200.0 MiB", ALICE, "available"].iter().all(|part| table.contains(part)),
        "{table}"
    );
    assert_eq!(bob.json(&["shares", "--contact", ALICE]).as_array().unwrap().len(), 1);
    assert_eq!(bob.json(&["search", "2026", "SOMMER"])[0]["hash"], hash.as_str());
    assert_eq!(bob.json(&["search", "Winter"]), Value::Array(vec![]));
    assert_eq!(alice.json(&["shares", "--mine"])[0]["hash"], hash.as_str());

    let out = bob.ok_within(LARGE_TRANSFER, &["get", &hash[..12], "--wait"]);
    assert_eq!(out.trim(), hash);
    assert_arrived(&folder, &bob.downloads());
    assert_eq!(bob.torrent(&hash).unwrap()["complete"], true);

    assert_eq!(carol.json(&["shares"]), Value::Array(vec![]));
    assert_eq!(carol.json(&["contacts"]), Value::Array(vec![]));
    assert!(carol.fails(1, &["get", &hash]).contains(&hash));
}

#[test]
fn what_was_fetched_is_served_on_and_survives_its_owner() {
    if !installed() {
        return;
    }
    let server = server();
    let [mut first, bob] = online(&server, ["alice", "bob"]);
    let (film, song) = (file(&first, "film.mkv", 64 << 20), file(&first, "song.flac", 1 << 20));
    let (film_hash, song_hash) = (first.share(&film), first.share(&song));
    for hash in [&film_hash, &song_hash] {
        until("bob sees it", SOON, || bob.can_get(hash));
        bob.ok_within(LARGE_TRANSFER, &["get", hash, "--wait"]);
    }
    assert_same(&film, &bob.downloads().join("film.mkv"));
    // Alice sees that bob has it too.
    until("bob announces it", SOON, || first.can_get(&film_hash));
    assert_eq!(owners(&first.sees(&film_hash).unwrap()), [(BOB.to_owned(), true)]);

    // A second program of alice fetches from both at once.
    let second = daemon(&server, "alice").started();
    second.wait_online();
    until("both have it", PATIENCE, || {
        second.sees(&film_hash).is_some_and(|share| owners(&share) == [(ALICE.into(), true), (BOB.into(), true)])
    });
    let before = (uploaded(&first, &film_hash), uploaded(&bob, &film_hash));
    second.ok_within(LARGE_TRANSFER, &["get", &film_hash, "--wait"]);
    assert_same(&film, &second.downloads().join("film.mkv"));
    until("both have sent", PATIENCE, || {
        uploaded(&first, &film_hash) > before.0 && uploaded(&bob, &film_hash) > before.1
    });

    // The first goes, in order: what only it and bob have is offline at bob's, and bob still serves it.
    first.stop();
    until("its shares are offline", SOON, || !bob.can_get(&song_hash));
    assert_eq!(owners(&bob.sees(&song_hash).unwrap()), [(ALICE.to_owned(), false)]);
    until("the second one has the other", SOON, || bob.can_get(&film_hash));
    second.ok_within(LARGE_TRANSFER, &["get", &song_hash, "--wait"]);
    assert_same(&song, &second.downloads().join("song.flac"));

    // It comes back with the same shares, and goes without a word.
    first.start();
    let book = file(&first, "book.pdf", 100_000);
    let book_hash = first.share(&book);
    until("it is back", PATIENCE, || {
        let resources = bob.sees(&song_hash).map(|share| owners(&share));
        bob.can_get(&book_hash) && resources.is_some_and(|owners| owners.iter().filter(|owner| owner.1).count() == 2)
    });
    first.kill();
    until("its shares are offline", PATIENCE, || !bob.can_get(&book_hash));
    assert_eq!(owners(&bob.sees(&book_hash).unwrap()), [(ALICE.to_owned(), false)]);
    assert!(bob.can_get(&song_hash));
}
