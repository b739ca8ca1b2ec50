//! Becoming a contact, and ceasing to be one.

use serde_json::{Value, json};

use crate::common::prosody::installed;
use crate::common::user::User;
use crate::{ALICE, BOB, CAROL, PATIENCE, SOON, daemon, file, online, server, until};

pub(crate) fn contact(daemon: &User, jid: &str) -> Option<Value> {
    daemon.json(&["contacts"]).as_array().unwrap().iter().find(|contact| contact["jid"] == jid).cloned()
}

pub(crate) fn asks(daemon: &User, jid: &str) -> bool {
    contact(daemon, jid).is_some_and(|contact| contact["asks"] == true)
}

#[test]
fn somebody_asks_is_accepted_sees_the_shares_and_is_removed() {
    if !installed() {
        return;
    }
    let server = server();
    let [alice, carol] = online(&server, ["alice", "carol"]);
    let hash = alice.share(&file(&alice, "film.mkv", 100_000));

    carol.ok(&["contacts", "add", ALICE]);
    until("what was done is seen", SOON, || contact(&carol, ALICE).is_some_and(|contact| contact["asked"] == true));
    until("alice is asked", SOON, || asks(&alice, CAROL));
    assert!(alice.ok(&["contacts"]).contains("asks you"));
    assert!(carol.sees(&hash).is_none(), "nothing is shown before alice has said yes");

    // Whom nobody asked cannot be accepted, and alice is no contact of herself.
    assert!(alice.fails(1, &["contacts", "accept", "dave@localhost"]).contains("dave@localhost"));
    assert!(alice.fails(1, &["contacts", "remove", "dave@localhost"]).contains("dave@localhost"));
    assert!(alice.fails(1, &["contacts", "add", ALICE]).contains(ALICE));
    assert_eq!(alice.run(&["contacts", "add", "no jid"]).code, 2);

    alice.ok(&["contacts", "accept", CAROL]);
    until("carol sees the share", SOON, || carol.can_get(&hash));
    until("both see each other", SOON, || {
        let both =
            |daemon, jid| contact(daemon, jid).is_some_and(|c| c["subscription"] == "both" && c["online"] == true);
        both(&alice, CAROL) && both(&carol, ALICE)
    });
    let back = carol.share(&file(&carol, "song.flac", 100_000));
    until("alice sees carol's", SOON, || alice.can_get(&back));
    assert_eq!(contact(&alice, CAROL).unwrap()["shares"], 1);
    carol.ok_within(PATIENCE, &["get", &hash, "--wait"]);

    alice.ok(&["contacts", "remove", CAROL]);
    until("neither sees the other", SOON, || carol.sees(&hash).is_none() && alice.sees(&back).is_none());
    assert!(contact(&alice, CAROL).is_none());
}

#[test]
fn a_request_is_refused_and_one_that_waits_survives_a_restart() {
    if !installed() {
        return;
    }
    let server = server();
    let [mut alice, carol] = online(&server, ["alice", "carol"]);
    carol.ok(&["contacts", "add", ALICE]);
    until("alice is asked", SOON, || asks(&alice, CAROL));
    alice.stop();
    alice.start();
    alice.wait_online();
    until("the server has kept the request", PATIENCE, || asks(&alice, CAROL));
    alice.ok(&["contacts", "remove", CAROL]);
    until("nobody asks", SOON, || contact(&alice, CAROL).is_none());
    until("carol is told", SOON, || contact(&carol, ALICE).is_some_and(|contact| contact["asked"] == false));
}

/// Bob is alice's contact, carol asks her.
pub(crate) fn changes_of_the_list(alice: &User, carol: &User) {
    carol.ok(&["contacts", "add", ALICE]);
    until("alice is asked", PATIENCE, || asks(alice, CAROL));
    assert!(alice.fails(1, &["contacts", "refuse", "dave@localhost"]).contains("dave@localhost"));
    alice.ok(&["contacts", "refuse", CAROL]);
    until("nobody asks", PATIENCE, || contact(alice, CAROL).is_none());
    until("carol is told", PATIENCE, || contact(carol, ALICE).is_some_and(|contact| contact["asked"] == false));

    assert!(alice.fails(1, &["contacts", "rename", CAROL, "Carol"]).contains(CAROL));
    let is = |key: &str, value: Value| contact(alice, BOB).is_some_and(|contact| contact[key] == value);
    alice.ok(&["contacts", "groups", BOB, "Friends", "Films & <more>"]);
    alice.ok(&["contacts", "rename", BOB, "Böb"]);
    until("both are kept", PATIENCE, || is("name", json!("Böb")) && is("groups", json!(["Films & <more>", "Friends"])));
    assert!(alice.ok(&["contacts"]).contains("bob@localhost (Böb) [Films & <more>, Friends]"));
    alice.ok(&["contacts", "groups", BOB]);
    alice.ok(&["contacts", "rename", BOB, ""]);
    until("both are gone", PATIENCE, || is("name", Value::Null) && is("groups", json!([])));

    // What is shown of somebody who is there, and no longer when they are not.
    until("bob is described", PATIENCE, || {
        contact(alice, BOB).is_some_and(|bob| {
            let software = bob["software"][0].as_str().is_some_and(|name| name.starts_with("bitween/"));
            software
                && bob["ipv4"] == true
                && bob["addresses"][0].as_str().is_some_and(|at| at.starts_with("127.0.0.1:"))
        })
    });
    assert!(alice.ok(&["contacts"]).contains("bitween/"));
}

#[test]
fn a_rule_lets_people_in_and_nobody_else() {
    if !installed() {
        return;
    }
    let server = server();
    let alice = daemon(&server, "alice").with_xmpp(&format!("accept_from = [\"{CAROL}\"]")).started();
    alice.wait_online();
    let [carol] = online(&server, ["carol"]);
    carol.ok(&["contacts", "add", ALICE]);
    until("both see each other", PATIENCE, || {
        let both = |daemon, jid| contact(daemon, jid).is_some_and(|c| c["subscription"] == "both");
        both(&alice, CAROL) && both(&carol, ALICE)
    });
}
