//! Blocking somebody in the middle of a transfer, on real servers.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::common::ejabberd::{self, Ejabberd};
use crate::common::free_port;
use crate::common::prosody::{Prosody, ProsodyOptions, installed};
use crate::common::relay::Relay;
use crate::common::server::{AnyServer, Kind};
use crate::common::user::User;
use crate::contacts::contact;
use crate::raw::Raw;
use crate::servers::start;
use crate::{ALICE, BOB, CAROL, PASSWORD, PATIENCE, SOON, assert_arrived, daemon, file, on_every_server, until};

/// Much more than what is on its way in the sockets of a line that is stopped.
const SIZE: usize = 48 << 20;

/// What the daemon says of its torrent.
fn torrent(user: &User) -> Value {
    user.json(&["status"])["torrents"][0].clone()
}

#[test]
fn who_is_blocked_gets_nothing_more() {
    if !installed() {
        return;
    }
    let server = Prosody::start(ProsodyOptions {
        users: &[("alice", PASSWORD), ("bob", PASSWORD), ("carol", PASSWORD)],
        contacts: &[("alice", "bob"), ("alice", "carol")],
        limits: true,
        modules: &["blocklist"],
        ..ProsodyOptions::default()
    });
    nothing_more_for_the_blocked(|user| daemon(&server, user));
}

#[test]
fn who_is_blocked_on_ejabberd_gets_nothing_more() {
    if !ejabberd::installed() {
        return;
    }
    let users = ["alice", "bob", "carol"].map(|user| (user, PASSWORD));
    let server = Ejabberd::start(&users, &[("alice", "bob"), ("alice", "carol")]);
    nothing_more_for_the_blocked(|user| daemon(&server, user));
}

/// Bob and carol, contacts of alice and not of each other, fetch from her over one line; halfway she blocks bob.
fn nothing_more_for_the_blocked(user: impl Fn(&str) -> User) {
    let port = free_port();
    let line = Relay::to(SocketAddr::from(([127, 0, 0, 1], port)));
    // She can be reached through the line alone, and calls nobody.
    let alice = user("alice")
        .edited("allow_loopback_peers = true", &format!("extra_addresses = [\"{}\"]", line.address))
        .edited("[bittorrent]\n", &format!("[bittorrent]\nport = {port}\n"))
        .started();
    let other = user("alice").started();
    let [bob, carol] = ["bob", "carol"].map(|name| user(name).started());
    [&alice, &other, &bob, &carol].iter().for_each(|user| user.wait_online());
    let path = file(&alice, "film.mkv", SIZE);
    let hash = alice.share(&path);
    until("both see it", PATIENCE, || bob.can_get(&hash) && carol.can_get(&hash));
    line.allow(SIZE as u64 / 8);
    bob.ok(&["get", &hash]);
    until("bob has a part", PATIENCE, || torrent(&bob)["done"].as_u64() > Some(0));
    carol.ok(&["get", &hash]);
    until("both are connected", PATIENCE, || torrent(&alice)["peers"].as_u64() >= Some(2));

    alice.ok(&["contacts", "block", BOB]);
    assert!(contact(&alice, BOB).is_some_and(|bob| bob["blocked"] == true && bob["online"] == false));
    until("his connection is closed", SOON, || torrent(&alice)["peers"].as_u64() < Some(2));
    until("he sees nothing any more", PATIENCE, || bob.sees(&hash).is_none());
    until("her other program knows", PATIENCE, || contact(&other, BOB).is_some_and(|bob| bob["blocked"] == true));
    line.allow(u64::MAX >> 1);
    until("carol has all of it", PATIENCE, || torrent(&carol)["state"] == "seeding");
    assert_arrived(&path, &carol.downloads());
    until("what was on its way has arrived", PATIENCE, || torrent(&bob)["peers"] == 0);
    let kept = torrent(&bob)["done"].as_u64().unwrap();
    assert!(kept < SIZE as u64);
    sleep(Duration::from_secs(3));
    assert_eq!(torrent(&bob)["done"].as_u64(), Some(kept));
    bob.ok(&["contacts", "add", ALICE]);
    sleep(Duration::from_secs(1));
    assert!(contact(&alice, BOB).is_some_and(|bob| bob["asks"] == false), "he is not heard");

    other.ok(&["contacts", "unblock", BOB]);
    until("nobody is blocked", PATIENCE, || {
        [&alice, &other].iter().all(|user| contact(user, BOB).is_none_or(|bob| bob["blocked"] == false))
    });
    assert!(alice.fails(1, &["contacts", "unblock", CAROL]).contains(CAROL));
    alice.ok(&["contacts", "add", BOB]);
    bob.ok(&["contacts", "add", ALICE]);
    until("bob has all of it", PATIENCE * 3, || torrent(&bob)["state"] == "seeding");
    assert_arrived(&path, &bob.downloads());
}

on_every_server! {
    fn a_block_by_another_program_ends_what_goes_on_and_holds_without_the_server(server: &mut AnyServer) {
        let port = free_port();
        let line = Relay::to(SocketAddr::from(([127, 0, 0, 1], port)));
        let mut alice = daemon(server, "alice")
            .edited("allow_loopback_peers = true", &format!("extra_addresses = [\"{}\"]", line.address))
            .edited("[bittorrent]\n", &format!("[bittorrent]\nport = {port}\n"))
            .started();
        let bob = daemon(server, "bob").started();
        [&alice, &bob].iter().for_each(|user| user.wait_online());
        let hash = alice.share(&file(&alice, "film.mkv", SIZE));
        until("bob sees it", PATIENCE, || bob.can_get(&hash));
        line.allow(SIZE as u64 / 8);
        bob.ok(&["get", &hash]);
        until("bob has a part", PATIENCE, || torrent(&bob)["done"].as_u64() > Some(0));

        let mut other = Raw::login(server, "alice", "chat");
        let block = format!("<block xmlns='urn:xmpp:blocking'><item jid='{BOB}'/></block>");
        assert_eq!(other.ask("set", "", &block).attr("type"), Some("result"));
        let is_blocked = |alice: &User| contact(alice, BOB).is_some_and(|bob| bob["blocked"] == true);
        until("the daemon knows", SOON, || is_blocked(&alice));
        until("his connection is closed", SOON, || torrent(&alice)["peers"] == 0);
        // ejabberd tells him only when he logs in again.
        if matches!(server, AnyServer::Prosody(_)) {
            until("he knows that there is nothing to be had", PATIENCE, || !bob.can_get(&hash));
        }

        alice.stop();
        server.stop();
        alice.start();
        assert!(is_blocked(&alice), "before there is a server");
        line.allow(u64::MAX >> 1);
        sleep(Duration::from_secs(2));
        let kept = torrent(&bob)["done"].as_u64().unwrap();
        assert!(kept < SIZE as u64);
        server.resume();
        [&alice, &bob].iter().for_each(|user| user.wait_online());
        sleep(Duration::from_secs(3));
        assert!(is_blocked(&alice) && !bob.can_get(&hash));
        assert_eq!(torrent(&bob)["done"].as_u64(), Some(kept), "nothing more has come");
    }
}
