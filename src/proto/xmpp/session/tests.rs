#![allow(clippy::disallowed_methods)]

mod people;
mod server;

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
fn removing_refuses_who_asks_and_knows_who_is_nobody() {
    let mut server = three();
    let now = server.now;
    server.inject(0, &format!("<presence xmlns='jabber:client' type='subscribe' from='{CAROL}'/>"));
    assert_eq!(server.clients[0].session.roster().pending().count(), 1);
    for tag in [1, 2] {
        server.clients[0].session.command(now, tag, Command::Remove(BareJid::new(CAROL).unwrap()));
    }
    server.run(secs(1));
    assert_eq!(server.clients[0].session.roster().pending().count(), 0);
    let sent = server.clients[0].sent.iter().filter(|stanza| stanza.attr("type") == Some("unsubscribed")).count();
    assert_eq!(sent, 1);
    let told = told(&mut server, 0).join("\n");
    assert!(told.contains("tag: 1, result: Ok") && told.contains("tag: 2, result: Err(NoContact"), "{told}");
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

fn forged(from: &str) -> String {
    let list = format!("<shares xmlns='{}' resource='evil' revision='1'/>", Node::Shares.name());
    let items = format!("<items node='{}'><item id='evil'>{list}</item></items>", Node::Shares.name());
    format!(
        "<message xmlns='jabber:client' from='{from}'><event xmlns='{}'>{items}</event></message>",
        ns::PUBSUB_EVENT
    )
}

#[test]
fn announcements_count_only_from_the_accounts_they_speak_for() {
    let mut server = three();
    for from in
        ["carol@example.org", "carol@example.org/c", "alice@example.org/a", "example.org", "@", "bob@example.org/b"]
    {
        server.inject(1, &forged(from));
    }
    server.inject(1, &forged(ALICE).replace("<message ", "<message type='error' "));
    server.inject(1, &forged(ALICE).replace(&format!("from='{ALICE}'"), ""));
    let warned = |jid: &str| {
        format!("warning: {jid} announces shares and is no contact, or not through its server; nothing of it is kept")
    };
    assert_eq!(told(&mut server, 1), [CAROL, ALICE, "example.org"].map(warned), "each is told once");
    server.inject(1, &forged(ALICE));
    assert_eq!(told(&mut server, 1), ["alice evil:0"]);
}

#[test]
fn roster_pushes_count_only_from_the_own_account() {
    let mut server = three();
    let push = |from: &str| {
        let item = "<query xmlns='jabber:iq:roster'><item jid='carol@example.org' subscription='both'/></query>";
        format!("<iq xmlns='jabber:client' type='set' id='p' {from}>{item}</iq>")
    };
    for from in ["from='carol@example.org'", "from='bob@example.org/other'", "from='example.org'"] {
        server.inject(1, &push(from));
        let told = told(&mut server, 1);
        assert!(told.len() == 1 && told[0].contains(" sends changes of the contact list"), "{from}: {told:?}");
        assert!(Failure::of(server.clients[1].sent.last().unwrap()).is("service-unavailable"));
    }
    server.inject(1, &push(""));
    assert_eq!(told(&mut server, 1), ["RosterChanged"]);
    assert!(server.clients[1].session.roster().is_seen(&BareJid::new(CAROL).unwrap()));
}

#[test]
fn presence_of_strangers_is_no_presence() {
    let mut server = three();
    server.inject(1, "<presence xmlns='jabber:client' from='carol@example.org/c'/>");
    server.inject(1, "<presence xmlns='jabber:client' from='carol@example.org/c' type='unavailable'/>");
    server.inject(1, "<presence xmlns='jabber:client' from='bob@example.org/b'/>");
    assert!(told(&mut server, 1).is_empty());
    for n in 0..100 {
        server.inject(1, &format!("<presence xmlns='jabber:client' from='alice@example.org/r{n}'/>"));
    }
    assert!(told(&mut server, 1).len() <= MAX_RESOURCES_PER_CONTACT);
}

#[test]
fn nobody_is_approved_unless_the_user_says_so() {
    let mut server = three();
    let ask = "<presence xmlns='jabber:client' type='subscribe' from='carol@example.org'/>";
    let before = server.clients[1].sent.len();
    server.inject(1, ask);
    server.inject(1, ask);
    assert_eq!(told(&mut server, 1), ["RosterChanged", "SubscriptionRequest { jid: \"carol@example.org\", more: 0 }"]);
    assert_eq!(server.clients[1].sent.len(), before, "nothing is answered");

    let carol = BareJid::new(CAROL).unwrap();
    let now = server.now;
    server.clients[1].session.command(now, 1, Command::Accept(carol.clone()));
    server.clients[1].session.command(now, 2, Command::Accept(carol.clone()));
    server.run(secs(1));
    let kinds: Vec<_> = server.clients[1].sent[before..].iter().map(|s| s.attr("type").unwrap().to_owned()).collect();
    assert_eq!(kinds, ["subscribed", "subscribe"]);
    let told = told(&mut server, 1);
    assert!(has(&told, "CommandDone { tag: 1, result: Ok(()) }"), "{told:?}");
    assert!(told.iter().any(|line| line.contains("tag: 2, result: Err(NoRequest")), "{told:?}");
}

#[test]
fn whom_the_user_added_needs_no_second_approval() {
    let mut server = three();
    let carol = BareJid::new(CAROL).unwrap();
    let now = server.now;
    let before = server.clients[1].sent.len();
    server.clients[1].session.command(now, 1, Command::Add { jid: carol, name: None, groups: Vec::new() });
    server.inject(1, "<presence xmlns='jabber:client' type='subscribe' from='carol@example.org'/>");
    let kinds: Vec<_> = server.clients[1].sent[before..].iter().map(|s| s.attr("type").unwrap().to_owned()).collect();
    assert_eq!(kinds, ["set", "subscribed", "subscribe", "subscribed"]);
    server.inject(1, "<presence xmlns='jabber:client' type='subscribe' from='carol@example.org'/>");
    assert!(told(&mut server, 1).iter().any(|line| line.contains("SubscriptionRequest")), "good for one request");
    let own = BareJid::new(BOB).unwrap();
    server.clients[1].session.command(now, 3, Command::Add { jid: own, name: None, groups: Vec::new() });
    server.run(secs(1));
    assert!(told(&mut server, 1).iter().any(|line| line.contains("OwnAccount")));
}

#[test]
fn adding_a_contact_again_changes_its_name_and_nothing_else() {
    let mut server = three();
    let push = "<query xmlns='jabber:iq:roster'><item jid='alice@example.org' subscription='both' name='Al'>\
                <group>Friends</group></item></query>";
    server.inject(1, &format!("<iq xmlns='jabber:client' type='set' id='p'>{push}</iq>"));
    let before = server.clients[1].sent.len();
    let (now, alice) = (server.now, BareJid::new("alice@example.org").unwrap());
    server.clients[1].session.command(now, 1, Command::Add { jid: alice.clone(), name: None, groups: Vec::new() });
    server.run(secs(1));
    assert_eq!(server.clients[1].sent.len(), before, "nothing to say");
    assert!(has(&told(&mut server, 1), "CommandDone { tag: 1, result: Ok(()) }"));

    server.clients[1].session.command(
        now,
        2,
        Command::Add { jid: alice, name: Some("Alice\tB".to_owned()), groups: Vec::new() },
    );
    server.run(secs(1));
    let [set] = &server.clients[1].sent[before..] else { panic!("more than one stanza") };
    let item = set.children().next().unwrap().children().next().unwrap();
    assert_eq!((item.attr("name"), item.children().count()), (Some("Alice B"), 1), "the groups stay");
}

#[test]
fn a_contact_that_leaves_the_roster_is_forgotten() {
    let mut server = three();
    share(&mut server, 0, 0..1);
    server.run(secs(2));
    drop(told(&mut server, 1));
    let item = "<query xmlns='jabber:iq:roster'><item jid='alice@example.org' subscription='remove'/></query>";
    server.inject(1, &format!("<iq xmlns='jabber:client' type='set' id='p'>{item}</iq>"));
    assert_eq!(told(&mut server, 1), ["SharesGone { jid: \"alice@example.org\" }", "RosterChanged"]);
    server.inject(1, &forged(ALICE));
    assert!(told(&mut server, 1).is_empty());
}

#[test]
fn requests_are_answered_and_unknown_ones_refused() {
    let mut server = three();
    let mut answer = |inside: &str| {
        server.inject(1, &format!("<iq xmlns='jabber:client' from='alice@example.org/a' {inside}"));
        server.clients[1].sent.last().cloned().unwrap()
    };
    assert_eq!(answer("type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>").attr("type"), Some("result"));
    let info = answer("type='get' id='2'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>");
    assert!(info.children().next().unwrap().children().count() > 5);
    let wrong = answer("type='get' id='3'><query xmlns='http://jabber.org/protocol/disco#info' node='x'/></iq>");
    assert!(Failure::of(&wrong).is("item-not-found"));
    assert!(Failure::of(&answer("type='set' id='4'><odd xmlns='urn:odd'/></iq>")).is("service-unavailable"));
    let bad = answer("type='get' id='5'/>");
    assert!(Failure::of(&bad).is("bad-request"));
    assert_eq!((bad.attr("to"), bad.attr("id")), (Some("alice@example.org/a"), Some("5")));
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
fn commands_without_a_server_fail_at_once() {
    let own = FullJid::new("alice@example.org/a").unwrap();
    let mut session = XmppSession::new(own, &SessionOptions { publish_original: true, seed: [0; 32] });
    session.command(Instant::now(), 7, Command::Remove(BareJid::new(BOB).unwrap()));
    let done = SessionEvent::CommandDone { tag: 7, result: Err(CommandError::NotConnected) };
    assert_eq!(session.poll_event(), Some(done));
    session.part(Instant::now(), false);
    assert!(session.is_parted() && session.poll_stanza().is_none());
}

#[test]
fn commands_given_before_the_roster_is_here_wait_for_it() {
    let own = FullJid::new("alice@example.org/a").unwrap();
    let mut session = XmppSession::new(own.clone(), &SessionOptions { publish_original: true, seed: [0; 32] });
    let now = Instant::now();
    let ask = |session: &mut XmppSession, tag| {
        session.started(now, own.clone());
        let roster = session.poll_stanza().unwrap();
        while session.poll_event().is_some() {}
        session.command(now, tag, Command::Accept(BareJid::new(BOB).unwrap()));
        assert_eq!(session.poll_event(), None, "not answered before it can be");
        roster
    };
    let roster = ask(&mut session, 7);
    session.stanza_received(now, &roster.with("type", "result").with("from", "alice@example.org"));
    let done = std::iter::from_fn(|| session.poll_event())
        .any(|event| matches!(event, SessionEvent::CommandDone { tag: 7, result: Err(CommandError::NoRequest(_)) }));
    assert!(done, "looked at with the roster there");
    ask(&mut session, 8);
    session.stream_lost();
    assert_eq!(
        session.poll_event(),
        Some(SessionEvent::CommandDone { tag: 8, result: Err(CommandError::NotConnected) })
    );
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

#[test]
fn more_shares_than_a_list_may_have_are_complained_about() {
    let mut server = three();
    let rows: String = (0..=MAX_INLINE_SHARES).map(|n| format!("<share hash='{n:040x}'/>")).collect();
    let list = format!("<shares xmlns='{}' resource='a' part='1' parts='1'>{rows}</shares>", Node::Shares.name());
    let items = format!("<items node='{}'><item id='a'>{list}</item></items>", Node::Shares.name());
    let event = format!("<event xmlns='http://jabber.org/protocol/pubsub#event'>{items}</event>");
    server.inject(1, &format!("<message xmlns='jabber:client' from='{ALICE}'>{event}</message>"));
    let bob = told(&mut server, 1);
    assert!(has(&bob, &format!("alice a:{MAX_INLINE_SHARES}+")), "{:.200}", bob.join(" "));
    assert!(bob.iter().any(|line| line.starts_with("warning") && line.contains("more shares")), "{bob:?}");
}
