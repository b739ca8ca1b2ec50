//! One daemon with several accounts, on Prosody and on ejabberd at the same time, and the contacts of each.
#![cfg(all(feature = "cli", feature = "xmpp"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that fails should say where"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use common::ejabberd::{self, Ejabberd};
use common::prosody::{self, Prosody, ProsodyOptions};
use common::user::User;
use common::{text, wait_for};

/// Longer than anything here takes; only a failure waits that long.
const PATIENCE: Duration = Duration::from_secs(25);

const PASSWORD: &str = "secret";

/// Alice and amy are one person; bob knows both. Each also is a contact of the other.
fn prosody() -> Prosody {
    Prosody::start(ProsodyOptions {
        users: &[("alice", PASSWORD), ("amy", PASSWORD), ("bob", PASSWORD), ("dora", PASSWORD)],
        contacts: &[("alice", "bob"), ("amy", "bob"), ("alice", "amy")],
        ..ProsodyOptions::default()
    })
}

/// The same person at work, where carol is.
fn ejabberd() -> Ejabberd {
    Ejabberd::start(&[("anna", PASSWORD), ("carol", PASSWORD)], &[("anna", "carol")])
}

fn until(what: &str, condition: impl Fn() -> bool) {
    wait_for(what, PATIENCE, || condition().then_some(()));
}

/// Somebody with an account in each of these places.
fn person(name: &str, accounts: &[(&str, String, PathBuf)]) -> User {
    let section = |(user, server, ca_file): &(&str, String, PathBuf)| {
        let ca_file = text(ca_file);
        format!("jid = '{user}@localhost'\npassword = '{PASSWORD}'\nserver = '{server}'\nca_file = '{ca_file}'\n")
    };
    let sections: Vec<String> = accounts.iter().map(section).collect();
    let user = User::new(name, &sections.join("[[xmpp]]\n"));
    user.edit_config("[xmpp]\nallow", "[[xmpp]]\nallow");
    user
}

fn file(user: &User, name: &str) -> PathBuf {
    let path = user.home().join(name);
    fs::write(&path, name.repeat(1000)).unwrap();
    path
}

/// The accounts that are online, by name, in order.
fn online(user: &User) -> Vec<String> {
    let list = user.json(&["account", "list"]);
    let online = list.as_array().unwrap().iter().filter(|account| account["state"] == "online");
    online.map(|account| account["jid"].as_str().unwrap().replace("@localhost", "")).collect()
}

fn contact(user: &User, jid: &str) -> Option<Value> {
    user.json(&["contacts"]).as_array().unwrap().iter().find(|contact| contact["jid"] == jid).cloned()
}

fn accounts_of(user: &User, jid: &str) -> Vec<String> {
    let contact = contact(user, jid).unwrap_or_default();
    let accounts = contact["accounts"].as_array().cloned().unwrap_or_default();
    accounts.iter().map(|account| account.as_str().unwrap().replace("@localhost", "")).collect()
}

fn add(user: &User, jid: &str, server: &str, ca_file: &Path, password: &str) -> i32 {
    let secret = user.home().join("secret");
    fs::write(&secret, password).unwrap();
    let (secret, ca_file) = (text(&secret), text(ca_file));
    let arguments = ["account", "add", jid, "--password-file", secret, "--server", server, "--ca-file", ca_file];
    user.run(&arguments).code
}

#[test]
fn two_accounts_on_two_servers_are_used_at_once() {
    if !prosody::installed() || !ejabberd::installed() {
        return;
    }
    let (mut home, work) = (prosody(), ejabberd());
    let places = [("alice", home.server(), home.ca_file()), ("anna", work.server(), work.ca_file())];
    let mut alice = person("alice", &places).started();
    let bob = User::with_account(&home, "bob", PASSWORD).started();
    let carol = User::on_server(&work.server(), &work.ca_file(), "carol", PASSWORD).started();
    until("both accounts are online", || online(&alice) == ["alice", "anna"]);

    // What is shared, the contacts of both see, and what these share is seen.
    let film = alice.share(&file(&alice, "film"));
    until("both see it", || bob.can_get(&film) && carol.can_get(&film));
    let (song, book) = (bob.share(&file(&bob, "song")), carol.share(&file(&carol, "book")));
    until("both are seen", || alice.can_get(&song) && alice.can_get(&book));
    assert_eq!(
        (accounts_of(&alice, "bob@localhost"), accounts_of(&alice, "carol@localhost")),
        (vec!["alice".to_owned()], vec!["anna".to_owned()])
    );

    // One server goes; the other goes on, and nobody waits for the one that is gone.
    home.kill();
    until("one is offline", || online(&alice) == ["anna"]);
    assert!(!alice.can_get(&song) && alice.can_get(&book));
    let poem = alice.share(&file(&alice, "poem"));
    until("carol sees it", || carol.can_get(&poem));
    home.resume();
    until("bob sees it too", || bob.can_get(&poem) && alice.can_get(&song));

    // One account is removed: its contacts see nothing any more, the others everything.
    alice.ok(&["account", "remove", "anna@localhost"]);
    until("it is taken off", || carol.sees(&film).is_none() && carol.sees(&poem).is_none());
    assert!(bob.can_get(&film) && bob.can_get(&poem) && alice.sees(&book).is_none());
    alice.stop();
    alice.start();
    until("the other is back", || online(&alice) == ["alice"]);
    assert_eq!(alice.json(&["account", "list"]).as_array().unwrap().len(), 1, "it stays removed");
    until("bob sees it again", || bob.can_get(&film));
}

#[test]
fn an_account_is_added_while_the_daemon_runs() {
    if !prosody::installed() {
        return;
    }
    let server = prosody();
    let mut alice = User::with_account(&server, "alice", PASSWORD).started();
    let bob = User::with_account(&server, "bob", PASSWORD).started();
    alice.wait_online();
    let film = alice.share(&file(&alice, "film"));
    let song = bob.share(&file(&bob, "song"));
    until("they see each other", || bob.can_get(&film) && alice.can_get(&song));

    let (address, ca_file) = (server.server(), server.ca_file());
    assert_eq!(add(&alice, "amy@localhost", &address, &ca_file, "wrong"), 1);
    assert_eq!(online(&alice), ["alice"], "a refused account changes nothing");
    assert_eq!(add(&alice, "amy@localhost", &address, &ca_file, PASSWORD), 0);
    assert_eq!(add(&alice, "amy@localhost", &address, &ca_file, PASSWORD), 1, "it is there already");
    until("both are online", || online(&alice) == ["alice", "amy"]);

    // Bob, whom both know, is one contact and one source; amy, who is alice, is none.
    until("bob is known to both", || accounts_of(&alice, "bob@localhost") == ["alice", "amy"]);
    until("his share is there once", || alice.sees(&song).is_some_and(|share| share["available"] == true));
    let owners = |user: &User, hash: &str| user.sees(hash).map_or(0, |share| share["owners"].as_array().unwrap().len());
    assert_eq!(owners(&alice, &song), 1);
    until("bob sees the film twice", || owners(&bob, &film) == 2);
    assert!(alice.sees(&film).is_none_or(|share| share["available"] == false), "nobody is a source for oneself");
    alice.ok_within(PATIENCE, &["get", &song, "--wait"]);

    // A contact of one account only; the one that is meant is the first unless it is said.
    alice.ok(&["contacts", "add", "dora@localhost", "--account", "amy@localhost"]);
    until("amy has asked dora", || accounts_of(&alice, "dora@localhost") == ["amy"]);
    alice.ok(&["contacts", "remove", "dora@localhost"]);
    until("she is nobody's contact", || contact(&alice, "dora@localhost").is_none());
    alice.fails(1, &["contacts", "add", "dora@localhost", "--account", "dora@localhost"]);
    assert!(alice.ok(&["contacts"]).contains("alice@localhost, amy@localhost"));

    // Which account is meant has to be said, and both are there after a restart.
    assert!(alice.fails(1, &["account", "remove"]).contains("alice@localhost, amy@localhost"));
    alice.stop();
    alice.start();
    until("both are back", || online(&alice) == ["alice", "amy"]);
    alice.ok(&["account", "remove", "amy@localhost"]);
    until("bob sees it once", || owners(&bob, &film) == 1);
    assert_eq!(alice.ok(&["account", "remove"]).trim(), "the account is removed");
    until("bob sees nothing", || bob.sees(&film).is_none());
}
