//! The daemon with an account on a real Prosody: setting, refusing and removing accounts, and a share on its way.
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
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use bitween::storage::AccountFacts;
use common::daemon::{Home, STOP_LIMIT};
use common::prosody::{self, Prosody, ProsodyOptions};
use common::{START_LIMIT, text, wait_for};

const LOOPBACK: &str = "[bittorrent]\nbind = ['127.0.0.1']\n";

fn prosody() -> Option<Prosody> {
    prosody::installed().then(|| {
        Prosody::start(ProsodyOptions {
            users: &[("alice", "secret-a"), ("bob", "secret-b")],
            contacts: &[("alice", "bob")],
            ..ProsodyOptions::default()
        })
    })
}

/// A home whose configuration names an account.
fn configured(server: &Prosody, user: &str, password: &str) -> Home {
    let home = Home::new();
    home.configure(&format!(
        "[xmpp]\njid = '{user}@localhost'\npassword = '{password}'\nserver = '{}'\nca_file = '{}'\n\
         allow_loopback_peers = true\n{LOOPBACK}",
        server.server(),
        server.ca_file().display()
    ));
    home
}

fn set_account(home: &Home, server: &Prosody, jid: &str, password: &str) -> Output {
    fs::write(home.path("password"), password).unwrap();
    home.run(&[
        "account",
        "set",
        jid,
        "--password-file",
        text(&home.path("password")),
        "--server",
        &server.server(),
        "--ca-file",
        text(&server.ca_file()),
    ])
}

fn account(home: &Home) -> Value {
    serde_json::from_str(&home.ok(&["account", "show", "--json"])).unwrap()
}

fn wait_until_online(home: &Home) {
    wait_for("the account to be online", START_LIMIT, || (account(home)["state"] == "online").then_some(()));
}

#[test]
fn an_account_is_stored_only_if_the_server_takes_it() {
    let Some(server) = prosody() else { return };
    let home = Home::new();
    let daemon = home.start();
    let refused = set_account(&home, &server, "alice@localhost", "pa55");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("password") && !said.contains("pa55"), "{said}");
    assert_eq!(account(&home)["state"], "none");
    assert!(!home.data("account.toml").exists());

    let set = set_account(&home, &server, "alice@localhost", "secret-a");
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    assert!(String::from_utf8_lossy(&set.stdout).contains("online"));
    wait_until_online(&home);
    let shown = account(&home);
    assert_eq!(shown["jid"], "alice@localhost");
    let resource = shown["resource"].as_str().unwrap().to_owned();
    assert!(resource.starts_with("bitween-"), "{resource}");

    // Another account that is refused leaves this one in force.
    assert_eq!(set_account(&home, &server, "bob@localhost", "pa55").status.code(), Some(1));
    wait_until_online(&home);
    assert_eq!(account(&home)["jid"], "alice@localhost");
    assert!(fs::read_to_string(home.data("account.toml")).unwrap().contains("alice@localhost"));
    home.ok(&["stop"]);
    drop(daemon);

    let daemon = home.start();
    wait_until_online(&home);
    assert_eq!(account(&home)["resource"], json!(resource), "contacts know us by it");
    assert_eq!(home.ok(&["account", "remove"]), "the account is removed");
    assert_eq!(account(&home)["state"], "none");
    assert_eq!(home.ok(&["account", "remove"]), "there was no account");
    assert!(!daemon.program.stderr().contains("secret"), "no password in the log");
}

#[test]
fn how_strongly_an_account_logged_in_is_forgotten_with_the_account_and_not_for_a_mistake() {
    const KEY: &str = "strongest-login";
    const STRONGEST: &str = "SCRAM-SHA-512-PLUS";
    let Some(server) = prosody() else { return };
    let home = Home::new();
    let daemon = home.start();
    let set = |password| set_account(&home, &server, "alice@localhost", password).status.success();
    assert!(set("secret-a"));
    let facts = AccountFacts::open(&home.data("accounts.sqlite")).unwrap();
    let known = || facts.get("alice@localhost", KEY).unwrap();
    let usual = known().unwrap();
    assert_ne!(usual, STRONGEST, "this server does not do it");

    // A mistyped password changes nothing: what was refused before is refused again.
    facts.set("alice@localhost", KEY, STRONGEST).unwrap();
    assert!(!set("pa55"));
    assert_eq!(known().as_deref(), Some(STRONGEST));
    wait_for("a weaker login to be refused", START_LIMIT, || {
        account(&home)["error"].as_str().is_some_and(|error| error.contains("weaker logins than before")).then_some(())
    });
    assert!(set("secret-a"));
    assert_eq!(known(), Some(usual));
    home.ok(&["account", "remove"]);
    assert_eq!(known(), None);
    home.ok(&["stop"]);
    drop(daemon);

    // Nor is it remembered after the account was set or removed while no daemon ran.
    facts.set("alice@localhost", KEY, STRONGEST).unwrap();
    assert!(set("secret-a"));
    assert_eq!(known(), None);
    facts.set("alice@localhost", KEY, STRONGEST).unwrap();
    home.ok(&["account", "remove"]);
    assert_eq!(known(), None);
}

#[test]
fn what_cannot_be_checked_or_taken_off_is_said_plainly() {
    let Some(mut server) = prosody() else { return };
    let home = Home::new();
    let daemon = home.start();
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(set_account(&home, &server, "alice@localhost", "secret-a").status.success());
    server.kill();
    wait_for("the account to be offline", START_LIMIT, || (account(&home)["state"] == "offline").then_some(()));

    // Bob's account is taken on trust; alice's, which cannot be reached, is not forgotten.
    let set = set_account(&home, &server, "bob@localhost", "pa55");
    assert!(set.status.success() && said(&set).contains("whether the server takes it is not known yet"), "{set:?}");
    assert!(fs::read_to_string(home.data("account.toml")).unwrap().contains("bob@localhost"));
    wait_for("the remains to be told", START_LIMIT, || {
        let remains = account(&home)["remains"][0].as_str().map(str::to_owned)?;
        (remains.contains("alice@localhost") && home.ok(&["status"]).contains(&remains)).then_some(())
    });
    server.resume();
    wait_for("bob to be refused", START_LIMIT, || (account(&home)["state"] == "failed").then_some(()));
    wait_for("alice's to be taken off", START_LIMIT, || (account(&home)["remains"] == json!([])).then_some(()));

    server.kill();
    let removed = home.run(&["account", "remove"]);
    assert!(
        removed.status.success() && said(&removed).contains("bob@localhost announced may still stand"),
        "{removed:?}"
    );
    assert!(!daemon.program.stderr().contains("secret"), "no password in the log");
    home.ok(&["stop"]);
    drop(daemon);

    // Without a daemon nobody can take anything off.
    let set = set_account(&home, &server, "alice@localhost", "secret-a");
    assert!(set.status.success() && said(&set).contains("unchecked"), "{set:?}");
    let removed = home.run(&["account", "remove"]);
    assert!(removed.status.success() && said(&removed).contains("what alice@localhost announced"), "{removed:?}");
}

#[test]
fn a_share_is_announced_found_fetched_and_withdrawn() {
    let Some(server) = prosody() else { return };
    let (alice, bob) = (configured(&server, "alice", "secret-a"), configured(&server, "bob", "secret-b"));
    let (mut first, _second) = (alice.start(), bob.start());
    wait_until_online(&alice);
    wait_until_online(&bob);
    let output = alice.run(&["share", text(&alice.file("Über film.mkv", 500_000))]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let hash = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let listed = wait_for("bob to see it", Duration::from_secs(2), || {
        let list: Vec<Value> = serde_json::from_str(&bob.ok(&["shares", "--json"])).unwrap();
        list.into_iter().find(|share| share["hash"] == hash.as_str())
    });
    assert_eq!((&listed["name"], &listed["size"]), (&json!("Über film.mkv"), &json!(500_000)));
    assert_eq!((&listed["owners"][0]["jid"], &listed["available"]), (&json!("alice@localhost"), &json!(true)));
    assert!(bob.ok(&["search", "über", "FILM"]).contains(&hash));
    assert!(bob.ok(&["shares", "--contact", "alice@localhost"]).contains(&hash));
    assert!(bob.fails(&["shares", "--contact", "carol@localhost"]).contains("carol@localhost"));
    assert!(bob.ok(&["contacts"]).contains("alice@localhost"));
    bob.ok(&["get", &hash[..10], "--wait"]);
    let fetched = fs::read(bob.path("Downloads/Über film.mkv")).unwrap();
    assert!(fetched == fs::read(alice.path("Über film.mkv")).unwrap());

    bob.ok(&["remove", &hash]);
    alice.ok(&["unshare", &hash]);
    wait_for("it to be gone at bob's", Duration::from_secs(2), || {
        (!bob.ok(&["shares", "--json"]).contains(&hash)).then_some(())
    });
    alice.share(&alice.path("Über film.mkv"));
    let start = Instant::now();
    alice.ok(&["stop"]);
    assert!(first.wait().0.success() && start.elapsed() < STOP_LIMIT, "{:?}", start.elapsed());
    wait_for("it to be offline at bob's", Duration::from_secs(2), || {
        let list: Vec<Value> = serde_json::from_str(&bob.ok(&["shares", "--json"])).unwrap();
        list.iter().find(|share| share["hash"] == hash.as_str()).filter(|share| share["available"] == false).map(drop)
    });
}

#[test]
fn a_server_that_hangs_does_not_hold_up_the_end() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let home = Home::new();
    home.configure(&format!(
        "[xmpp]\njid = 'alice@localhost'\npassword = 'x'\nserver = '{}'\n{LOOPBACK}",
        silent.local_addr().unwrap()
    ));
    let mut daemon = home.start();
    let shared = home.run(&["share", text(&home.file("film", 1000))]);
    assert!(shared.status.success() && String::from_utf8_lossy(&shared.stderr).contains("not online"));
    assert_eq!(account(&home)["state"], "connecting");
    daemon.program.signal("TERM");
    let (status, took) = daemon.wait();
    assert!(status.success() && took < Duration::from_secs(10), "{status}, {took:?}");
}
