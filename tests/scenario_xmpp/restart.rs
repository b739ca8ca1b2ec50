//! The server goes and comes back.

use std::thread;
use std::time::Duration;

use crate::common::data::assert_same;
use crate::common::prosody::installed;
use crate::common::text;
use crate::{PATIENCE, SOON, daemon, file, online, server, until};

const LEN: usize = 256 << 20;

#[test]
fn a_transfer_outlives_a_restart_of_the_server() {
    if !installed() {
        return;
    }
    let mut server = server();
    let [alice] = online(&server, ["alice"]);
    // One block at a time, so that the transfer takes a while.
    let mut bob = daemon(&server, "bob");
    bob.edit_config("[bittorrent]", "[bittorrent]\nmax_requests = 1");
    bob.start();
    bob.wait_online();
    let film = file(&alice, "film.mkv", LEN);
    let hash = alice.share(&film);
    until("bob sees it", SOON, || bob.can_get(&hash));
    bob.ok(&["get", &hash]);
    let done = || bob.torrent(&hash).unwrap()["done"].as_u64().map(|done| usize::try_from(done).unwrap()).unwrap();
    until("the transfer has begun", PATIENCE, || done() > 0);
    thread::scope(|scope| {
        scope.spawn(|| server.stop());
        until("both notice", PATIENCE, || bob.account().0 == "offline" && alice.account().0 == "offline");
        assert!(done() < LEN, "the transfer was too quick for this test to mean anything");
    });
    let (state, error) = bob.account();
    assert!(state == "offline" && !error.is_empty());
    assert!(bob.ok(&["status"]).contains(&format!("! {error}")));

    // What is shared now is served at once and announced later; the command says so.
    let song = file(&alice, "song.flac", 5000);
    let outcome = alice.run(&["share", text(&song)]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(outcome.err.contains("contacts are told later") && outcome.err.lines().count() == 1, "{outcome:?}");
    let song_hash = outcome.out.trim();

    until("the transfer goes on to its end", Duration::from_secs(120), || done() == LEN);
    assert_same(&film, &bob.downloads().join("film.mkv"));
    assert!(!bob.can_get(&hash), "nobody is known to be online");
    thread::sleep(Duration::from_secs(1));
    server.resume();
    alice.wait_online();
    bob.wait_online();
    until("the new share is known", PATIENCE, || bob.can_get(song_hash));
    until("and the old one, of both", PATIENCE, || bob.can_get(&hash) && alice.can_get(&hash));
    bob.ok(&["get", song_hash, "--wait"]);
    assert_same(&song, &bob.downloads().join("song.flac"));
    assert_eq!(bob.account().1, "", "the trouble is over");
}
