//! Beside the original program: its announcements are understood, and ours are what it expects.

use minidom::Element;

use std::time::Duration;

use crate::common::original::Original;
use crate::common::prosody::installed;
use crate::common::server::{AnyServer, Kind};
use crate::raw::{ORIGINAL, Raw};
use crate::{ALICE, BOB, PASSWORD, SOON, daemon, file, on_every_server, online, server, servers, until};

const HASH: &str = "a29496dc690e1d40154aba29f3f0275e752bfd80";

/// What the original publishes: a share in a resource called `res1`.
fn list() -> String {
    format!(
        "<user_shares xmlns=\"{ORIGINAL}\"><resource resource=\"res1\"><share_item hash=\"{HASH}\" \
         name=\"Film &lt;1&gt; &amp; Co ü.bin\" size=\"3000000\" /><ip_address address=\"127.0.0.1\" port=\"18101\" />\
         </resource></user_shares>"
    )
}

/// The elements of a list, in order, with their attributes sorted.
fn told(list: &Element) -> Vec<String> {
    assert!(list.is("user_shares", ORIGINAL), "{list:?}");
    let mut told = Vec::new();
    let mut tell = |element: &Element, depth: usize| {
        assert!(element.ns() == ORIGINAL && element.text().trim().is_empty());
        let mut attributes: Vec<String> =
            element.attrs().iter().map(|((_, name), value)| format!("{name}={value}")).collect();
        attributes.sort();
        told.push(format!("{}{} {}", "  ".repeat(depth), element.name(), attributes.join(" ")).trim_end().to_owned());
    };
    for resource in list.children() {
        tell(resource, 0);
        resource.children().for_each(|child| tell(child, 1));
    }
    told
}

#[test]
fn the_originals_announcements_are_listed() {
    if !installed() {
        return;
    }
    let server = server();
    let [bob] = online(&server, ["bob"]);
    let mut original = Raw::login(&server, "alice", "res1");
    original.send("<presence/>");
    original.publish(ORIGINAL, "current", &list());
    until("bob sees it", SOON, || bob.can_get(HASH));
    let share = bob.sees(HASH).unwrap();
    assert_eq!((share["name"].as_str(), share["size"].as_u64()), (Some("Film <1> & Co ü.bin"), Some(3_000_000)));
    assert_eq!((&share["owners"][0]["jid"], &share["owners"][0]["resource"]), (&ALICE.into(), &"res1".into()));

    // Its goodbye is an empty list.
    original.publish(ORIGINAL, "current", &format!("<user_shares xmlns=\"{ORIGINAL}\" />"));
    until("bob does not see it any more", SOON, || bob.sees(HASH).is_none());
}

#[test]
fn our_announcement_stands_beside_that_of_an_original_and_looks_like_it() {
    if !installed() {
        return;
    }
    let server = server();
    let mut original = Raw::login(&server, "alice", "res1");
    original.send("<presence/>");
    original.publish(ORIGINAL, "current", &list());
    let mut alice = daemon(&server, "alice");
    alice.edit_config("jid = \"alice@localhost\"", "jid = \"alice@localhost/zzz\"");
    // One known address instead of this machine's.
    alice.edit_config("[xmpp]", "[xmpp]\nextra_addresses = [\"192.0.2.77:4711\"]");
    alice.start();
    alice.wait_online();
    let film = alice.share(&file(&alice, "Lied & <Tanz> ä.ogg", 123_456));
    let mut bob = Raw::login(&server, "bob", "onlooker");
    let mut published = || {
        let mut items = bob.items(ALICE, ORIGINAL).unwrap();
        assert!(items.len() == 1 && items[0].0 == "current", "{items:?}");
        told(&items.remove(0).1)
    };
    let theirs = [
        "resource resource=res1".to_owned(),
        format!("  share_item hash={HASH} name=Film <1> & Co ü.bin size=3000000"),
        "  ip_address address=127.0.0.1 port=18101".to_owned(),
    ];
    let ours =
        ["resource resource=zzz".to_owned(), format!("  share_item hash={film} name=Lied & <Tanz> ä.ogg size=123456")];
    until("both are on the node", SOON, || published().len() > theirs.len());
    let list = published();
    assert_eq!(list[..5], [&theirs[..], &ours[..]].concat());
    let addresses = &list[5..];
    assert!(!addresses.is_empty() && addresses.iter().all(|line| line.starts_with("  ip_address address=")));
    assert!(addresses.contains(&"  ip_address address=192.0.2.77 port=4711".to_owned()), "{addresses:?}");
    let first_v6 = addresses.iter().position(|line| line.contains("::")).unwrap_or(addresses.len());
    assert!(addresses[first_v6..].iter().all(|line| line.contains(':')), "IPv4 first: {addresses:?}");

    // The original's next publish keeps our entry, as it knows it; ours keeps theirs, also when we go.
    alice.stop();
    until("only theirs is left", SOON, || published() == theirs);

    // And a bitween that speaks its own language only leaves the node alone.
    alice.edit_config("[xmpp]", "[xmpp]\npublish_original = false");
    alice.start();
    alice.wait_online();
    alice.share(&file(&alice, "quiet.ogg", 10));
    assert_eq!(published(), theirs);
    drop(original);
}

fn start(kind: Kind) -> Option<AnyServer> {
    servers::start(kind)
}

/// Enough for what is set right at leisure, so as not to fight with another program.
const LEISURE: Duration = Duration::from_secs(60);

on_every_server! {
    fn the_original_on_a_second_machine_of_the_same_person(server: &mut AnyServer) {
        let [alice, bob] = online(server, ["alice", "bob"]);
        let film = alice.share(&file(&alice, "film.mkv", 10_000));
        until("bob sees alice's", server.soon(), || bob.can_get(&film));
        // It may wipe the list of the whole account at its start.
        let other = Original::start(server, "alice", PASSWORD, "res1", false);
        other.share(HASH, "Film <1>");
        until("bob sees both", LEISURE, || bob.can_get(HASH) && bob.can_get(&film));
        let mut onlooker = Raw::login(server, "bob", "onlooker");
        let mut both_stand = |both: bool| {
            let items = onlooker.items(ALICE, ORIGINAL).unwrap_or_default();
            let text = items.iter().map(|(_, item)| String::from(item)).collect::<String>();
            text.contains(&film) && text.contains(HASH) == both
        };
        until("and so do those that know no other language", LEISURE, || both_stand(true));
        other.exit();
        until("what has gone is gone, and nothing else", LEISURE, || both_stand(false));
        until("bob sees so", server.soon(), || bob.sees(HASH).is_none() && bob.can_get(&film));
    }

    fn an_original_that_dies_and_comes_back_loses_nothing_of_others(server: &mut AnyServer) {
        let [alice, bob] = online(server, ["alice", "bob"]);
        let film = alice.share(&file(&alice, "film.mkv", 10_000));
        until("bob sees alice's", server.soon(), || bob.can_get(&film));
        let died = Original::start(server, "alice", PASSWORD, "res1", true);
        died.share(HASH, "Film <1>");
        until("bob sees both", LEISURE, || bob.can_get(HASH) && bob.can_get(&film));
        died.kill();
        until("who died has nothing to give", LEISURE, || bob.sees(HASH).is_none_or(|share| share["available"] == false));
        let back = Original::start(server, "alice", PASSWORD, "res1", true);
        back.share(HASH, "Film <1>");
        until("it is back", LEISURE, || bob.can_get(HASH) && bob.can_get(&film));
        // And an original of bob's hears all of it, and is heard.
        let bobs = Original::start(server, "bob", PASSWORD, "res2", true);
        let song = "b".repeat(40);
        bobs.share(&song, "song");
        until("alice sees bob's other machine", LEISURE, || alice.can_get(&song));
        alice.share(&file(&alice, "second.mkv", 20_000));
        until("it hears of every machine of alice's", LEISURE, || bobs.sees(ALICE).len() == 3);
        until("and keeps what its own account says", LEISURE, || bobs.sees(BOB) == [song.clone()]);
        bobs.exit();
        back.exit();
    }
}
