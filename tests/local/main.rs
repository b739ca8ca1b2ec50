//! Whole daemons in a network of their own: they find each other by mDNS, and other programs find them.
//!
//! Each test makes a small network of namespaces (`common/network.rs`), which needs root; without it the tests are skipped.

#![cfg(all(feature = "cli", feature = "local"))]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test runs on real time and fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;
mod others;

use std::time::{Duration, Instant};

use common::network::{Machine, Network};
use common::wait_for;

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn two_machines_find_accept_and_share_with_each_other() {
    let Some(network) = Network::new() else { return };
    let (mut alice, mut bob) = (network.machine("alice"), network.machine("bob"));
    let start = Instant::now();
    alice.start();
    bob.start();
    for (machine, other) in [(&alice, "bob"), (&bob, "alice")] {
        wait_for("they see each other", LIMIT, || machine.neighbor(other));
    }
    eprintln!("both were started, and saw each other, within {:?}", start.elapsed());
    alice.ok(&["contacts", "accept", "bob@net"]);
    wait_for("bob is asked", LIMIT, || bob.ok(&["contacts"]).contains("asks you").then_some(()));
    bob.ok(&["contacts", "accept", "alice@net.local"]);
    let data = alice.home().join("stuff");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("file"), vec![7; 3_000_000]).unwrap();
    let hash = alice.share(&data);
    wait_for("bob sees it", LIMIT, || bob.can_get(&hash).then_some(()));
    bob.ok(&["get", &hash, "--wait"]);
    assert_eq!(std::fs::read(bob.downloads().join("stuff/file")).unwrap(), vec![7; 3_000_000]);

    // Who goes says so.
    alice.stop();
    wait_for("bob hears of it", LIMIT, || (!bob.can_get(&hash)).then_some(()));
    // Who is accepted stays so.
    alice.start();
    wait_for("it is there again", LIMIT, || bob.can_get(&hash).then_some(()));
}

#[test]
fn a_cable_between_two_machines_is_a_network() {
    let Some(network) = Network::new() else { return };
    let (mut alice, mut bob) = (network.machine("alice"), network.machine("bob"));
    for machine in [&alice, &bob] {
        machine.host.without_address();
        machine.edit_config("local = \"known\"", "local = \"open\"");
    }
    alice.start();
    bob.start();
    let data = alice.home().join("stuff");
    std::fs::write(&data, vec![7; 3_000_000]).unwrap();
    let hash = alice.share(&data);
    wait_for("bob sees it", LIMIT, || bob.can_get(&hash).then_some(()));
    bob.ok(&["get", &hash, "--wait"]);
    assert_eq!(std::fs::read(bob.downloads().join("stuff")).unwrap(), vec![7; 3_000_000]);
}

#[test]
fn a_name_that_is_taken_is_changed() {
    let Some(network) = Network::new() else { return };
    let (mut one, mut two) = (network.machine("alice"), network.machine("other"));
    two.edit_config("local_name = \"other@net\"", "local_name = \"alice@net\"");
    one.start();
    two.start();
    let names = |machine: &Machine| machine.status()["local"]["name"].as_str().unwrap().to_owned();
    let both = || {
        let mut both = [names(&one), names(&two)];
        both.sort();
        (both == ["alice-1@net.local", "alice@net.local"]).then_some(())
    };
    wait_for("one of them takes another name", LIMIT, both);
    let first = if names(&one) == "alice@net.local" { &one } else { &two };
    wait_for("they meet", LIMIT, || first.neighbor("alice-1"));
}

#[test]
fn a_machine_that_says_off_is_not_there() {
    let Some(network) = Network::new() else { return };
    let (mut alice, mut bob, mut carol) = (network.machine("alice"), network.machine("bob"), network.machine("carol"));
    bob.edit_config("local = \"known\"", "local = \"off\"");
    alice.start();
    bob.start();
    carol.start();
    wait_for("the other two meet", LIMIT, || carol.neighbor("alice"));
    assert!(bob.status()["local"].is_null());
    assert!(alice.neighbor("bob").is_none() && carol.neighbor("bob").is_none());
    assert!(bob.ok(&["contacts"]).is_empty());
}
