//! Who can fetch from whom, and what is said where it does not work: machines with every mixture of IP versions, behind
//! routers that let connections in or do not.
//!
//! Each test makes its own network of namespaces (`network.rs`), which needs root, and a Prosody in it; without them the
//! tests are skipped.

#![cfg(all(feature = "cli", feature = "xmpp"))]
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
mod network;

use std::time::Duration;

use common::{TRANSFER_LIMIT, prosody, wait_for};
use network::{Family, Machine, Network, PORT};

const LIMIT: Duration = Duration::from_secs(60);

/// One side of the matrix.
#[derive(Clone, Copy, Debug)]
struct Kind {
    family: Family,
    reachable: bool,
}

fn kinds() -> impl Iterator<Item = Kind> {
    Family::ALL.into_iter().flat_map(|family| [true, false].map(|reachable| Kind { family, reachable }))
}

/// What becomes of fetching: `None` if it works, else why not. Whether who fetches can be reached does not matter: nobody
/// calls them before they have something.
fn expected(fetcher: Kind, sharer: Kind) -> Option<&'static str> {
    if !fetcher.family.shares_one_with(sharer.family) {
        return Some("no_common_family");
    }
    if sharer.reachable { None } else { Some("no_answer") }
}

/// What became of it, as soon as that is known.
fn outcome(machine: &Machine, hash: &str) -> Option<Option<String>> {
    let torrent = machine.user.torrent(hash)?;
    if torrent["complete"] == true {
        return Some(None);
    }
    torrent["why"]["code"].as_str().map(|code| Some(code.to_owned()))
}

fn has(machine: &Machine, hash: &str) -> bool {
    outcome(machine, hash) == Some(None)
}

#[test]
fn everybody_gets_what_can_be_had_and_is_told_why_not() {
    if !prosody::installed() {
        return;
    }
    let names = |side: &str| (0..6).map(|number| format!("{side}{number}")).collect::<Vec<_>>();
    let (sharing, fetching) = (names("sharer"), names("fetcher"));
    let [sharing, fetching] = [&sharing, &fetching].map(|names| names.iter().map(String::as_str).collect::<Vec<_>>());
    // Who fetched something shares it too: nobody may get it from those.
    let Some(mut network) = Network::new(&sharing, &fetching) else { return };
    let mut side = |names: &[&str]| -> Vec<(Kind, Machine)> {
        let machines = kinds().zip(names).map(|(kind, name)| {
            let mut machine = network.machine(name, kind.family);
            if !kind.reachable {
                machine.close();
            }
            machine.user.start();
            (kind, machine)
        });
        machines.collect()
    };
    let (sharers, fetchers) = (side(&sharing), side(&fetching));
    let hashes: Vec<String> = sharing.iter().zip(&sharers).map(|(name, (_, machine))| machine.share(name)).collect();
    for (_, fetcher) in &fetchers {
        for hash in &hashes {
            wait_for("it is announced", LIMIT, || fetcher.user.can_get(hash).then_some(()));
            fetcher.user.ok(&["get", hash]);
        }
    }
    let mut wrong = Vec::new();
    for (of, fetcher) in &fetchers {
        for ((from, sharer), hash) in sharers.iter().zip(&hashes) {
            let found = wait_for("there is an outcome", LIMIT, || outcome(fetcher, hash));
            if found.as_deref() != expected(*of, *from) {
                wrong.push(format!("{of:?} from {from:?}: {found:?}"));
            }
            check_sentence(fetcher, sharer, *from, hash);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The sentence of the list is the torrent's, and names who and where.
fn check_sentence(fetcher: &Machine, sharer: &Machine, kind: Kind, hash: &str) {
    let Some(share) = fetcher.user.sees(hash) else { panic!("it is listed") };
    let (why, torrent) = (&share["why"], fetcher.user.torrent(hash).unwrap());
    if torrent["complete"] == true {
        assert!(why.is_null() && torrent["why"].is_null(), "{share} {torrent}");
        return;
    }
    assert_eq!((why, &share["owners"][0]["why"]), (&torrent["why"], &torrent["why"]));
    let text = why["text"].as_str().unwrap();
    assert!(text.contains(share["owners"][0]["jid"].as_str().unwrap()), "{text}");
    let addrs = [format!("{}:{PORT}", sharer.v4()), format!("[{}]:{PORT}", sharer.v6())];
    let named = addrs.iter().any(|addr| text.contains(addr.as_str()));
    assert_eq!(named, why["code"] == "no_answer", "{text} ({kind:?})");
}

#[test]
fn who_gets_an_address_in_common_gets_the_file() {
    if !prosody::installed() {
        return;
    }
    let Some(mut network) = Network::new(&["alice"], &["bob"]) else { return };
    let mut alice = network.machine("alice", Family::V6);
    let mut bob = network.machine("bob", Family::V4);
    alice.user.start();
    bob.user.start();
    let hash = alice.share("film");
    wait_for("bob sees it", LIMIT, || bob.user.can_get(&hash).then_some(()));
    let got = bob.user.run(&["get", &hash]);
    let no_ipv6 =
        "alice@localhost publishes only IPv6 addresses, this machine has none: it takes IPv6 here, or IPv4 there\n";
    assert_eq!((got.code, got.err.as_str()), (0, no_ipv6));
    let listed = bob.user.run(&["shares"]);
    assert!(listed.out.contains("film"), "{listed:?}");
    let contacts = bob.user.run(&["contacts"]);
    assert!(contacts.err.contains(no_ipv6), "{contacts:?}");

    // The network comes while everything runs.
    bob.add_v6();
    wait_for("bob has it", TRANSFER_LIMIT, || has(&bob, &hash).then_some(()));
}

#[test]
fn with_both_versions_everything_goes_over_ipv6() {
    if !prosody::installed() {
        return;
    }
    let Some(mut network) = Network::new(&["alice"], &["bob"]) else { return };
    let mut alice = network.machine("alice", Family::Dual);
    let mut bob = network.machine("bob", Family::Dual);
    alice.user.start();
    bob.user.start();
    let path = alice.user.home().join("film");
    common::data::write_file(&path, 20_000_000, 7);
    let hash = alice.user.share(&path);
    wait_for("bob sees it", LIMIT, || bob.user.can_get(&hash).then_some(()));
    let addresses = |contacts: serde_json::Value| contacts[0]["addresses"].as_array().unwrap().len();
    assert_eq!(addresses(bob.user.json(&["contacts"])), 2);
    bob.user.ok(&["get", &hash]);
    wait_for("bob has it", TRANSFER_LIMIT, || has(&bob, &hash).then_some(()));
    let brought = |addr: &str| {
        let log = bob.user.log();
        let ends = log.lines().filter(|line| line.contains(addr) && line.contains(" is gone after "));
        ends.filter_map(|line| line.split_once("gone after ")?.1.split_once(' ')?.0.parse::<u64>().ok()).sum::<u64>()
    };
    // Two who have everything part.
    wait_for("the connection has ended", LIMIT, || (brought(&alice.v6()) == 20_000_000).then_some(()));
    assert_eq!(brought(&alice.v4()), 0);
}

#[test]
fn what_is_waited_for_comes_when_the_way_is_open() {
    if !prosody::installed() {
        return;
    }
    let Some(mut network) = Network::new(&["alice"], &["bob"]) else { return };
    let mut alice = network.machine("alice", Family::Dual);
    let mut bob = network.machine("bob", Family::Dual);
    alice.close();
    alice.user.start();
    bob.user.start();
    let hash = alice.share("film");
    wait_for("bob sees it", LIMIT, || bob.user.can_get(&hash).then_some(()));
    bob.user.ok(&["get", &hash]);
    let told = wait_for("bob is told", LIMIT, || outcome(&bob, &hash));
    assert_eq!(told.as_deref(), Some("no_answer"));
    let listed = bob.user.run(&["shares", "--contact", "alice@localhost"]);
    let text = format!(
        "nobody answers at [{}]:{PORT} of alice@localhost: the router there probably does not forward the port\n",
        alice.v6()
    );
    assert_eq!(listed.err, text);

    // Over the version that is left.
    alice.open();
    alice.remove_v6();
    let waited = bob.user.run_within(TRANSFER_LIMIT, &["get", &hash, "--wait"]);
    assert_eq!(waited.code, 0, "{waited:?}");
    let lines = waited.err.lines().filter(|line| line.contains("nobody answers")).count();
    assert!(lines <= 2, "{waited:?}");
    assert!(waited.err.contains("complete: film"), "{waited:?}");
}
