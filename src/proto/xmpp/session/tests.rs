#![allow(clippy::disallowed_methods)]

mod commands;
mod people;
mod server;
mod strangers;

use std::time::Duration;

use super::*;
use crate::proto::xmpp::xml::{Build as _, element, ns};
use crate::types::{
    Address, AddressKind, Announcement, Catalog, InfoHash, MAX_INLINE_SHARES, MAX_RESOURCES_PER_CONTACT,
};
use server::Server;

const ALICE: &str = "alice@example.org";
const BOB: &str = "bob@example.org";
const CAROL: &str = "carol@example.org";

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn shares(range: std::ops::Range<u32>) -> Vec<Share> {
    let share = |n: u32| {
        let mut hash = [1; InfoHash::LEN];
        hash[..4].copy_from_slice(&n.to_be_bytes());
        Share { info_hash: InfoHash::new(hash), name: format!("share {n}").into(), size: 5, files: 1, complete: true }
    };
    range.map(share).collect()
}

fn endpoint(port: u16) -> Endpoint {
    let address = Address { socket: ([192, 0, 2, 1], port).into(), kind: AddressKind::Local };
    Endpoint { addresses: vec![address], ipv4: true, software: "bitween".into(), ..Endpoint::default() }
}

fn share(server: &mut Server, client: usize, range: std::ops::Range<u32>) {
    let now = server.now;
    server.clients[client].session.set_endpoint(now, endpoint(7000));
    server.clients[client].session.set_shares(now, shares(range));
}

/// The events since the last call, in short.
fn told(server: &mut Server, client: usize) -> Vec<String> {
    let tell = |event| match event {
        SessionEvent::Announced { jid, announcement } => {
            let jid = jid.split('@').next().unwrap_or_default();
            match announcement {
                Announcement::Account { entries, .. } => {
                    let entry =
                        |entry: &crate::types::ResourceEntry| format!("{}:{}", entry.resource, entry.shares.len());
                    format!("{jid} original {}", entries.iter().map(entry).collect::<Vec<_>>().join(" "))
                }
                Announcement::Shares { resource, shares, truncated } => {
                    format!("{jid} {resource}:{}{}", shares.len(), if truncated { "+" } else { "" })
                }
                Announcement::Catalog { resource, catalog } => format!("{jid} {resource} catalog {}", catalog.count),
                Announcement::Endpoint { resource, endpoint } => {
                    format!("{jid} {resource} at {}", endpoint.addresses.len())
                }
                Announcement::Parted { resource } => format!("{jid} {resource} parted"),
                Announcement::Withdrawn { resource } => format!("{jid} {resource} withdrawn"),
            }
        }
        SessionEvent::ContactOnline { jid, resource } => format!("{jid}/{resource} online"),
        SessionEvent::ContactOffline { jid, resource } => format!("{jid}/{resource} offline"),
        SessionEvent::Warning(text) => format!("warning: {text}"),
        other => format!("{other:?}"),
    };
    server.clients[client].events.drain(..).map(tell).collect()
}

fn has(told: &[String], what: &str) -> bool {
    told.iter().any(|line| line == what)
}

/// alice with one share, bob her contact, carol nobody's.
fn three() -> Server {
    let mut server = Server::new();
    server.befriend(ALICE, BOB);
    for jid in ["alice@example.org/a", "bob@example.org/b", "carol@example.org/c"] {
        server.login(jid);
    }
    server.run(secs(2));
    (0..3).for_each(|client| drop(told(&mut server, client)));
    server
}

#[test]
fn shares_reach_contacts_within_two_seconds_and_nobody_else() {
    let mut server = three();
    share(&mut server, 0, 0..3);
    server.run(secs(2));
    let bob = told(&mut server, 1);
    for what in ["alice a:3", "alice a at 1", "alice original a:3"] {
        assert!(has(&bob, what), "{what}: {bob:?}");
    }
    assert!(told(&mut server, 2).is_empty());
    assert!(told(&mut server, 0).iter().all(|line| line == "alice original "), "own words are left out");
    share(&mut server, 0, 0..0);
    server.run(secs(2));
    let bob = told(&mut server, 1);
    assert!(has(&bob, "alice a:0") && has(&bob, "alice original "), "{bob:?}");
}

#[test]
fn who_logs_in_later_fetches_what_is_there() {
    let mut server = three();
    share(&mut server, 0, 0..200);
    server.run(secs(60));
    assert_eq!(server.node(ALICE, Node::Shares).len(), 1);
    let late = server.login("bob@example.org/late");
    server.run(secs(2));
    let told = told(&mut server, late);
    assert!(has(&told, "alice a:200"), "{told:?}");
    assert!(has(&told, "alice@example.org/a online"), "{told:?}");
}

#[test]
fn a_list_that_is_too_long_is_announced_by_its_catalog_in_a_few_hundred_bytes() {
    let mut server = three();
    let now = server.now;
    server.clients[0].session.set_catalogs(now, Catalogs::Coming);
    share(&mut server, 0, 0..50_000);
    server.run(secs(10));
    let bob = told(&mut server, 1);
    assert!(!bob.iter().any(|line| line.starts_with("alice a:")), "what stands there stays until it is made: {bob:?}");
    assert!(!server.clients[0].session.is_announced() && server.node(ALICE, Node::Shares).len() <= 1);

    let now = server.now;
    let catalog = Catalog { info_hash: InfoHash::new([3; 20]), size: 8 << 20, count: 50_000 };
    server.clients[0].session.set_catalogs(now, Catalogs::Made(catalog));
    server.run(secs(10));
    assert!(has(&told(&mut server, 1), "alice a catalog 50000"));
    assert!(server.clients[0].session.is_announced() && server.clients[0].session.is_by_catalog());
    let bytes: usize = Node::ALL.iter().flat_map(|node| server.node(ALICE, *node)).map(|item| item.len()).sum();
    assert!(bytes < 2_500, "{bytes} bytes on all nodes");
    let warnings = told(&mut server, 0);
    assert!(warnings.iter().any(|line| line.contains("do not fit into the list for the original")), "{warnings:?}");

    share(&mut server, 0, 0..5);
    server.run(secs(10));
    assert!(has(&told(&mut server, 1), "alice a:5"));
    assert!(!server.clients[0].session.is_by_catalog());
}

#[test]
fn what_an_earlier_run_announced_stays_while_the_catalog_is_made_anew() {
    let mut server = three();
    let catalog = Catalogs::Made(Catalog { info_hash: InfoHash::new([3; 20]), size: 8 << 20, count: 50_000 });
    let now = server.now;
    server.clients[0].session.set_catalogs(now, catalog);
    share(&mut server, 0, 0..50_000);
    server.run(secs(10));
    let before = server.node(ALICE, Node::Shares);
    server.clients[0].session.set_catalogs(now, Catalogs::Coming);
    server.clients[0].session.stream_lost();
    let now = server.now;
    server.clients[0].session.started(now, FullJid::new("alice@example.org/a").unwrap());
    server.run(secs(10));
    assert_eq!(server.node(ALICE, Node::Shares), before);
    let now = server.now;
    server.clients[0].session.set_catalogs(now, catalog);
    server.run(secs(10));
    assert_eq!(server.node(ALICE, Node::Shares), before);
    let now = server.now;
    server.clients[0].session.set_catalogs(now, Catalogs::Coming);
    server.clients[0].session.part(now, true);
    server.run(secs(3));
    assert!(server.clients[0].session.is_parted() && server.node(ALICE, Node::Shares).is_empty());
}

#[test]
fn resources_of_one_account_keep_each_others_entries() {
    let mut server = three();
    let second = server.login("alice@example.org/second");
    share(&mut server, 0, 0..2);
    share(&mut server, second, 5..6);
    server.run(secs(10));
    let bob = told(&mut server, 1);
    assert!(has(&bob, "alice original a:2 second:1"), "{bob:?}");
    assert_eq!(server.node(ALICE, Node::Shares).len(), 2);
    assert!(has(&told(&mut server, 0), "alice second:1"), "the own other resource counts like a contact");

    let now = server.now;
    server.clients[0].session.part(now, false);
    server.run(secs(1));
    assert!(server.clients[0].session.is_parted());
    let bob = told(&mut server, 1);
    for what in ["alice original second:1", "alice a parted", "alice@example.org/a offline"] {
        assert!(has(&bob, what), "{what}: {bob:?}");
    }
    assert!(!has(&bob, "alice a:0"), "what it shared stands");
    let left = server.node(ALICE, Node::Shares).join("");
    assert!(left.contains("gone='true'") && !left.contains("share 0") && left.contains("share 5"), "{left}");
}

#[test]
fn removing_the_account_takes_everything_off_the_server() {
    let mut server = three();
    share(&mut server, 0, 0..500);
    server.run(secs(30));
    assert_eq!(server.nodes.keys().filter(|(jid, _)| jid.as_str() == ALICE).count(), 3);
    drop(told(&mut server, 1));
    let now = server.now;
    server.clients[0].session.part(now, true);
    server.run(secs(3));
    assert!(server.clients[0].session.is_parted());
    assert!(!server.nodes.keys().any(|(jid, _)| jid.as_str() == ALICE), "{:?}", server.node(ALICE, Node::Shares));
    let bob = told(&mut server, 1);
    assert!(has(&bob, "alice a:0") && has(&bob, "alice a withdrawn") && has(&bob, "alice original "), "{bob:?}");
}

#[test]
fn an_account_removed_right_after_its_login_takes_off_its_own_and_nothing_else() {
    let mut server = three();
    let second = server.login("alice@example.org/second");
    share(&mut server, 0, 0..2);
    share(&mut server, second, 5..6);
    server.run(secs(10));
    let now = server.now;
    server.clients[0].session.stream_lost();
    server.clients[0].session.started(now, FullJid::new("alice@example.org/a").unwrap());
    assert!(!server.clients[0].session.is_announced(), "nobody knows yet what stands on the nodes");
    server.clients[0].session.part(now, true);
    assert!(!server.clients[0].session.is_parted());
    server.run(secs(3));
    assert!(server.clients[0].session.is_parted());
    for node in Node::ALL {
        let left = server.node(ALICE, node).join("");
        assert!(left.contains("second") && !left.contains("share 0"), "{node:?}: {left}");
    }
}

#[test]
fn a_silent_server_does_not_hold_up_the_goodbye() {
    let mut server = three();
    share(&mut server, 0, 0..1);
    server.run(secs(2));
    server.silent = true;
    let now = server.now;
    server.clients[0].session.part(now, false);
    assert!(!server.clients[0].session.is_parted());
    server.run(parting::GOODBYE_TIME);
    assert!(server.clients[0].session.is_parted());
    assert_eq!(server.clients[0].sent.last().and_then(|stanza| stanza.attr("type")), Some("unavailable"));
}

#[test]
fn an_original_program_as_own_second_resource_loses_nothing() {
    let mut server = three();
    share(&mut server, 0, 0..1);
    server.run(secs(3));
    drop(told(&mut server, 1));
    // It publishes its own entry alone, as the original does when it has not yet seen the item.
    let hash = "c".repeat(40);
    let other = format!(
        "<user_shares xmlns='{n}'><resource resource='old'><share_item hash='{hash}' name='theirs' size='9'/>\
         <ip_address address='192.0.2.9' port='99'/></resource></user_shares>",
        n = Node::Original.name()
    );
    let key = (BareJid::new(ALICE).unwrap(), Node::Original.name().to_owned());
    let payload: Element = other.parse().unwrap();
    server.nodes.get_mut(&key).unwrap().items = vec![("current".to_owned(), payload.clone())];
    server.notify(
        &key,
        crate::proto::xmpp::xml::Build::containing(
            crate::proto::xmpp::xml::Build::with(element("item", ns::PUBSUB_EVENT), "id", "current"),
            payload,
        ),
    );
    server.run(secs(5));
    let bob = told(&mut server, 1);
    assert_eq!(bob.last().map(String::as_str), Some("alice original a:1 old:1"), "{bob:?}");
    share(&mut server, 0, 0..2);
    server.run(secs(20));
    let bob = told(&mut server, 1);
    assert_eq!(bob.last().map(String::as_str), Some("alice original a:2 old:1"), "it may only be away for a moment");
    server.run(secs(20 * 3600));
    share(&mut server, 0, 0..3);
    server.run(secs(20));
    assert_eq!(told(&mut server, 1).last().map(String::as_str), Some("alice original a:3 old:1"));
    server.run(secs(5 * 3600));
    assert_eq!(told(&mut server, 1).last().map(String::as_str), Some("alice original a:3"), "missed for a day");
}

#[test]
fn what_a_resource_that_never_comes_back_left_is_taken_off() {
    const DAY: u64 = 24 * 3600;
    let on_day = |server: &mut Server, client: usize, day: u64, shared: std::ops::Range<u32>| {
        let now = server.now;
        let endpoint = Endpoint { seen: Some(day * DAY), ..endpoint(7000) };
        server.clients[client].session.set_endpoint(now, endpoint);
        server.clients[client].session.set_shares(now, shares(shared));
    };
    for crowded in [false, true] {
        let mut server = Server::new();
        (server.rich, server.configurable) = (!crowded, !crowded);
        server.befriend(ALICE, BOB);
        let [lost, there, bob] =
            ["alice@example.org/lost", "alice@example.org/there", "bob@example.org/b"].map(|jid| server.login(jid));
        on_day(&mut server, lost, 100, 0..900);
        server.run(secs(90));
        on_day(&mut server, there, 100, 900..901);
        server.run(secs(90));
        server.clients[lost].session.stream_lost();
        server.clients[lost].present = false;
        let everything = |server: &Server| Node::ALL.map(|node| server.node(ALICE, node).join("")).concat();
        for (day, stays) in [(130, true), (131, false)] {
            let now = server.now;
            on_day(&mut server, there, day, 900..901);
            server.clients[there].session.stream_lost();
            server.clients[there].session.started(now, FullJid::new("alice@example.org/there").unwrap());
            server.run(secs(90));
            let text = everything(&server);
            assert_eq!(text.contains("'lost"), stays, "day {day}, one item {crowded}: {text:.2000}");
            assert!(text.contains("'there'") && text.contains("share 900"));
        }
        assert!(has(&told(&mut server, bob), "alice lost withdrawn"));
    }
}

#[test]
fn a_server_that_knows_few_options_is_configured() {
    let mut server = Server::new();
    server.rich = false;
    server.befriend(ALICE, BOB);
    let alice = server.login("alice@example.org/a");
    let second = server.login("alice@example.org/second");
    share(&mut server, alice, 0..1);
    share(&mut server, second, 5..200);
    server.run(secs(60));
    assert_eq!(server.node(ALICE, Node::Shares).len(), 2);
    assert_eq!(server.node(ALICE, Node::Endpoint).len(), 2);
    assert!(told(&mut server, alice).iter().all(|line| !line.starts_with("warning")));
}

#[test]
fn a_server_that_keeps_one_item_gets_a_merged_one() {
    let mut server = Server::new();
    (server.rich, server.configurable) = (false, false);
    server.befriend(ALICE, BOB);
    let alice = server.login("alice@example.org/a");
    let bob = server.login("bob@example.org/b");
    share(&mut server, alice, 0..1);
    server.run(secs(10));
    let second = server.login("alice@example.org/second");
    share(&mut server, second, 5..7);
    server.run(secs(30));
    let items = server.node(ALICE, Node::Shares);
    assert_eq!(items.len(), 1);
    assert!(items[0].starts_with("current: <merged"), "{items:?}");
    assert!(items[0].contains("share 0") && items[0].contains("share 6"), "{items:?}");
    let bob = told(&mut server, bob);
    assert!(has(&bob, "alice a:1") && has(&bob, "alice second:2"), "{bob:?}");
}

#[test]
fn an_open_node_is_closed_before_anything_is_published() {
    let mut server = Server::new();
    let key = (BareJid::new(ALICE).unwrap(), Node::Original.name().to_owned());
    server.nodes.insert(key.clone(), server::PepNode { open: true, max: 1, items: vec![] });
    let alice = server.login("alice@example.org/a");
    share(&mut server, alice, 0..1);
    server.run(secs(5));
    assert!(!server.nodes[&key].open && server.nodes[&key].items.len() == 1);
    assert!(told(&mut server, alice).iter().any(|line| line.contains("open to everybody")));
}

#[test]
fn a_stream_that_goes_on_was_never_away() {
    let mut server = three();
    share(&mut server, 0, 0..3);
    server.run(secs(30));
    drop(told(&mut server, 1));
    // bob waits for an answer when his connection breaks.
    server.silent = true;
    let now = server.now;
    let dave = Command::Add { jid: BareJid::new("dave@example.org").unwrap(), name: None, groups: Vec::new() };
    server.clients[1].session.command(now, 7, dave);
    server.run(secs(20));
    server.silent = false;
    let bob = &mut server.clients[1].session;
    bob.suspended(server.now);
    bob.set_shares(server.now, shares(9..10));
    assert_eq!((bob.poll_timeout(), bob.poll_stanza().is_none(), bob.poll_event().is_none()), (None, true, true));
    server.now += secs(100);
    server.clients[1].session.handle_timeout(server.now);
    server.clients[1].session.resumed(server.now);
    server.run(secs(39));
    let bob = told(&mut server, 1);
    let went = |line: &String| ["offline", "Offline", "Done"].iter().any(|word| line.contains(word));
    assert!(!bob.iter().any(went), "nobody went, and there is time for the answer: {bob:?}");
    assert!(server.node(BOB, Node::Shares).join("").contains("share 9"), "and what changed meanwhile is told");
    server.run(secs(2));
    assert_eq!(told(&mut server, 1), ["CommandDone { tag: 7, result: Err(Refused(TimedOut)) }"]);

    // A goodbye on a broken stream is none, and a goodbye that breaks off is over.
    server.clients[1].session.suspended(server.now);
    server.clients[1].session.part(server.now, false);
    assert!(server.clients[1].session.is_parted());
    server.clients[0].session.part(server.now, false);
    server.clients[0].session.suspended(server.now);
    assert!(server.clients[0].session.is_parted());
}

#[test]
fn after_a_lost_stream_everything_is_right_again() {
    let mut server = three();
    share(&mut server, 0, 0..3);
    server.run(secs(3));
    for client in 0..2 {
        server.clients[client].session.stream_lost();
        assert_eq!(server.clients[client].session.poll_timeout(), None);
    }
    share(&mut server, 0, 0..4);
    drop(told(&mut server, 1));
    server.run(secs(1));
    assert_eq!(told(&mut server, 1), ["AllOffline"]);
    for (client, jid) in [(1, "bob@example.org/b"), (0, "alice@example.org/a")] {
        let now = server.now;
        server.clients[client].session.started(now, FullJid::new(jid).unwrap());
        server.run(secs(3));
    }
    let bob = told(&mut server, 1);
    assert!(has(&bob, "alice a:4") && has(&bob, "alice original a:4"), "{bob:?}");
}

#[test]
fn an_overlong_answer_makes_the_next_fetches_modest() {
    let mut server = three();
    share(&mut server, 0, 0..200);
    server.run(secs(60));
    // The stream of its first login breaks before it has learnt anything.
    let late = server.login("bob@example.org/late");
    let now = server.now;
    server.clients[late].session.stream_lost();
    server.clients[late].session.answer_was_too_long();
    server.clients[late].session.started(now, FullJid::new("bob@example.org/late").unwrap());
    server.run(secs(2));
    let fetches =
        server.clients[late].sent.iter().filter_map(|iq| iq.children().next()?.get_child("items", ns::PUBSUB));
    assert!(fetches.clone().count() >= 6 && fetches.clone().all(|items| items.attr("max_items") == Some("3")));
    assert!(has(&told(&mut server, late), "alice a:200"));
}

#[test]
fn what_does_not_fit_is_told_and_too_big_shrinks() {
    let mut server = three();
    share(&mut server, 0, 0..1000);
    server.run(secs(60));
    let size = |server: &Server| server.node(ALICE, Node::Original)[0].len();
    assert!(size(&server) <= 64 * 1024 && size(&server) > 40 * 1024);
    assert!(told(&mut server, 0).iter().any(|line| line.starts_with("warning") && line.contains("do not fit")));
    let now = server.now;
    server.clients[0].session.publish_was_too_big(now);
    server.run(secs(60));
    assert!(size(&server) < 33 * 1024);
    assert!(server.node(ALICE, Node::Shares).iter().all(|item| item.len() < 17 * 1024));
    let bob = told(&mut server, 1);
    let listed: Vec<usize> =
        bob.iter().filter_map(|line| line.strip_prefix("alice a:")?.trim_end_matches('+').parse().ok()).collect();
    assert!(matches!(listed[..], [before, after] if before > after && after > 50), "{listed:?}");
}
