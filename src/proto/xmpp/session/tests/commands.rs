//! Contacts that the user adds, accepts and removes, and commands that have to wait.

use super::*;

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
        let is_roster = |stanza: &Element| stanza.has_child("query", ns::ROSTER);
        let roster = std::iter::from_fn(|| session.poll_stanza()).find(is_roster).unwrap();
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
