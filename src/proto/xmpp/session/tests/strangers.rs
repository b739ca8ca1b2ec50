//! What others send counts only as far as they may say it.

use super::*;

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
