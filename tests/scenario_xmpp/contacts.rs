//! Becoming a contact, and ceasing to be one.

use serde_json::Value;

use crate::common::prosody::installed;
use crate::common::user::User;
use crate::{ALICE, CAROL, PATIENCE, SOON, file, online, server, until};

fn contact(daemon: &User, jid: &str) -> Option<Value> {
    daemon.json(&["contacts"]).as_array().unwrap().iter().find(|contact| contact["jid"] == jid).cloned()
}

fn asks(daemon: &User, jid: &str) -> bool {
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
