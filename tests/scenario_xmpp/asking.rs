//! Becoming a contact on every kind of server: what each side hears, and what is still known after a restart.

use std::thread::sleep;
use std::time::Duration;

use crate::common::server::{AnyServer, Kind};
use crate::contacts::{asks, contact};
use crate::raw::Raw;
use crate::servers::start;
use crate::{ALICE, CAROL, PATIENCE, daemon, file, on_every_server, online, until};

/// After this long a request that the server has not handed out again may be taken for withdrawn.
const STALE: Duration = Duration::from_secs(12);

on_every_server! {
    fn who_became_a_contact_while_both_were_there_sees_what_is_new(server: &mut AnyServer) {
        let [alice, carol] = online(server, ["alice", "carol"]);
        carol.ok(&["contacts", "add", ALICE]);
        until("alice is asked", server.soon(), || alice.ok(&["contacts"]).contains("asks you"));
        alice.ok(&["contacts", "accept", CAROL]);
        let both = |user, jid| contact(user, jid).is_some_and(|c| c["subscription"] == "both" && c["online"] == true);
        until("both see each other", PATIENCE, || both(&alice, CAROL) && both(&carol, ALICE));
        // What there is was fetched long since: from now on only the server's notifications help.
        for (owner, other, name) in [(&alice, &carol, "film.mkv"), (&carol, &alice, "song.flac")] {
            for n in 0..2 {
                let hash = owner.share(&file(owner, &format!("{n} {name}"), 50_000 + n));
                until("the other sees what is new", PATIENCE, || other.can_get(&hash));
            }
        }
    }

    fn a_request_waits_for_its_answer_over_restarts(server: &mut AnyServer) {
        let [mut alice, carol] = online(server, ["alice", "carol"]);
        carol.ok(&["contacts", "add", ALICE]);
        until("alice is asked", PATIENCE, || asks(&alice, CAROL));
        for _ in 0..2 {
            alice.stop();
            alice.start();
            assert!(asks(&alice, CAROL), "it is known before there is a server");
            alice.wait_online();
            sleep(STALE);
            assert!(asks(&alice, CAROL));
        }
        // Withdrawn while nobody was there to hear it.
        alice.stop();
        carol.ok(&["contacts", "remove", ALICE]);
        until("carol knows nothing of alice", PATIENCE, || contact(&carol, ALICE).is_none());
        alice.start();
        until("nobody asks", PATIENCE, || !asks(&alice, CAROL));
        alice.stop();
        alice.start();
        assert!(!asks(&alice, CAROL));
    }

    fn a_request_that_came_while_nobody_was_there_is_seen_and_chats_stay_where_they_are(server: &mut AnyServer) {
        let alice = daemon(server, "alice");
        let [bob, carol] = online(server, ["bob", "carol"]);
        drop(bob);
        carol.ok(&["contacts", "add", ALICE]);
        let mut bob = Raw::login(server, "bob", "chat");
        bob.send("<message to='alice@localhost' type='chat'><body>Are you there?</body></message>");
        assert_eq!(bob.ask("get", "", "<ping xmlns='urn:xmpp:ping'/>").attr("type"), Some("result"));
        let mut alice = alice.started();
        alice.wait_online();
        until("alice is asked", PATIENCE, || asks(&alice, CAROL));
        alice.ok(&["contacts", "accept", CAROL]);
        let hash = carol.share(&file(&carol, "song.flac", 50_000));
        until("alice sees it", PATIENCE, || alice.can_get(&hash));
        alice.stop();
        alice.start();
        alice.wait_online();
        assert!(contact(&alice, CAROL).is_some_and(|carol| carol["asks"] == false));
        // Whom the message was for reads it with another program.
        let mut chat = Raw::login(server, "alice", "chat");
        chat.send("<presence/>");
        let body = chat.wait("the message", |stanza| stanza.is("message", "jabber:client").then(|| stanza.children().find(|child| child.name() == "body").map(|body| body.text())).flatten());
        assert_eq!(body, "Are you there?");
    }
}
