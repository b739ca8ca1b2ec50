//! Rules, names, groups, who is blocked, and what the server tells of this machine.

use super::*;
use crate::proto::xmpp::pending::Handout;

/// What a client has sent since then, one line each, without requests for items.
fn sent(server: &Server, client: usize, since: usize) -> Vec<String> {
    let line = |stanza: &Element| {
        let payload = stanza.children().next().map(|payload| payload.name().to_owned()).unwrap_or_default();
        let (kind, to) = (stanza.attr("type").unwrap_or_default(), stanza.attr("to").unwrap_or_default());
        format!("{} {kind} {to}{payload}", stanza.name())
    };
    let all = server.clients[client].sent[since..].iter().map(line);
    all.filter(|line| !line.contains("pubsub") && !line.contains("result")).collect()
}

fn jid(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

fn heard(server: &mut Server, client: usize) -> String {
    told(server, client).join("\n")
}

#[test]
fn a_rule_of_the_user_answers_for_them() {
    let mut server = three();
    server.clients[1].session.set_accept_from(vec!["*@example.org".parse().unwrap()]);
    let before = server.clients[1].sent.len();
    for jid in ["carol@example.org", "dave@example.net", BOB] {
        server.inject(1, &format!("<presence xmlns='jabber:client' type='subscribe' from='{jid}'/>"));
    }
    let sent = server.clients[1].sent[before..].iter().map(|s| (s.attr("type").unwrap(), s.attr("to").unwrap()));
    assert_eq!(sent.collect::<Vec<_>>(), [("subscribed", CAROL), ("subscribe", CAROL)]);
    let pending: Vec<_> = server.clients[1].session.roster().pending().map(|jid| jid.as_str()).collect();
    assert_eq!(pending, ["dave@example.net"]);
}

#[test]
fn a_contact_gets_another_name_and_other_groups() {
    let mut server = three();
    let push = "<query xmlns='jabber:iq:roster'><item jid='alice@example.org' subscription='both' name='Al'>\
                <group>Friends</group></item></query>";
    server.inject(1, &format!("<iq xmlns='jabber:client' type='set' id='p'>{push}</iq>"));
    let before = server.clients[1].sent.len();
    let (now, alice) = (server.now, BareJid::new("alice@example.org").unwrap());
    let groups = ["Work", "Work", "", "Friends"].map(str::to_owned).to_vec();
    let commands = [
        Command::Rename { jid: alice.clone(), name: "Alice".to_owned() },
        Command::Rename { jid: alice.clone(), name: String::new() },
        Command::SetGroups { jid: alice, groups },
        Command::Rename { jid: BareJid::new(CAROL).unwrap(), name: "nobody".to_owned() },
    ];
    (1..).zip(commands).for_each(|(tag, command)| server.clients[1].session.command(now, tag, command));
    server.run(secs(1));
    let item = |stanza: &Element| {
        let item = stanza.children().next().unwrap().children().next().unwrap();
        (item.attr("name").map(str::to_owned), item.children().map(Element::text).collect::<Vec<_>>().join(", "))
    };
    let sent: Vec<_> = server.clients[1].sent[before..].iter().map(item).collect();
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(
        sent,
        [(name("Alice"), "Friends".to_owned()), (None, "Friends".to_owned()), (name("Al"), "Friends, Work".to_owned())]
    );
    assert!(told(&mut server, 1).iter().any(|line| line.contains("tag: 4, result: Err(NoContact")));
}

#[test]
fn who_is_blocked_is_no_contact_any_more_and_not_heard() {
    let mut server = three();
    server.blocked = Some(Vec::new());
    server.login("bob@example.org/again");
    share(&mut server, 0, 0..2);
    server.run(secs(3));
    let bob = server.clients.len() - 1;
    let before = server.clients[bob].sent.len();
    assert!(heard(&mut server, bob).contains("alice"));
    let now = server.now;
    server.clients[bob].session.command(now, 1, Command::Block(jid(ALICE)));
    server.run(secs(1));
    assert_eq!(
        sent(&server, bob, before),
        ["presence unsubscribed alice@example.org", "presence unsubscribe alice@example.org", "iq set block"]
    );
    assert_eq!(server.blocked, Some(vec![(jid(BOB), jid(ALICE))]));
    let events = heard(&mut server, bob);
    let at = |text: &str| events.find(text).unwrap_or_else(|| panic!("no {text} in {events}"));
    assert!(
        at("Blocked { all: [\"alice@example.org\"], here: [\"alice@example.org\"] }") < at("SharesGone"),
        "{events}"
    );
    assert!(events.contains("here: [] }"), "the server knows");
    // Whatever still comes is not looked at, and nobody complains of it.
    share(&mut server, 0, 0..5);
    server.inject(bob, "<presence xmlns='jabber:client' type='subscribe' from='alice@example.org'/>");
    server.inject(bob, "<presence xmlns='jabber:client' from='alice@example.org/r'/>");
    server.run(secs(3));
    assert_eq!(heard(&mut server, bob), "");
    assert_eq!(server.clients[bob].session.roster().pending().count(), 0);

    // The other program of the account was told by its server, and takes it back.
    let now = server.now;
    assert!(heard(&mut server, 1).contains("SharesGone"));
    server.clients[1].session.command(now, 1, Command::Unblock(jid(ALICE)));
    server.clients[1].session.command(now, 2, Command::Unblock(jid(CAROL)));
    server.run(secs(3));
    let events = heard(&mut server, 1);
    assert!(events.contains("CommandDone { tag: 1, result: Ok(()) }") && events.contains("Err(NotBlocked"), "{events}");
    assert_eq!(server.blocked, Some(Vec::new()));
    // Here the server has not ended the relation, so it goes on where it was.
    assert!(heard(&mut server, bob).contains("alice"));
}

#[test]
fn without_a_server_blocking_begins_at_once_and_is_made_up_for() {
    let mut server = three();
    server.blocked = Some(Vec::new());
    let now = server.now;
    server.clients[1].session.stream_lost();
    let before = server.clients[1].sent.len();
    server.clients[1].session.command(now, 1, Command::Block(jid(ALICE)));
    server.clients[1].session.command(now, 2, Command::Block(jid(BOB)));
    server.clients[1].session.command(now, 3, Command::Unblock(jid(CAROL)));
    server.run(secs(1));
    let events = heard(&mut server, 1);
    assert!(events.contains("tag: 1, result: Ok") && events.contains("tag: 2, result: Err(OwnAccount"), "{events}");
    assert!(events.contains("here: [\"alice@example.org\"]") && events.contains("SharesGone"), "{events}");
    let own = server.clients[1].session.own_jid().clone();
    server.clients[1].session.started(now, own);
    server.run(secs(3));
    let sent = sent(&server, 1, before);
    let place = |line: &str| sent.iter().position(|other| other == line).unwrap_or_else(|| panic!("{line}: {sent:?}"));
    assert!(
        place("presence unsubscribe alice@example.org") < place("iq set block"),
        "a server passes nothing on after that"
    );
    assert!(heard(&mut server, 1).contains("here: []"));
}

#[test]
fn a_server_that_cannot_block_is_not_needed() {
    let mut server = three();
    server.clients[1].session.set_blocked([jid(CAROL)].into_iter(), std::iter::empty());
    let before = server.clients[1].sent.len();
    let now = server.now;
    server.clients[1].session.command(now, 1, Command::Block(jid(ALICE)));
    server.run(secs(1));
    server.inject(1, "<presence xmlns='jabber:client' type='subscribe' from='carol@example.org'/>");
    assert_eq!(
        sent(&server, 1, before),
        ["presence unsubscribed alice@example.org", "presence unsubscribe alice@example.org"]
    );
    assert!(heard(&mut server, 1).contains("here: [\"alice@example.org\", \"carol@example.org\"]"));
    server.clients[1].session.command(now, 2, Command::Unblock(jid(CAROL)));
    server.inject(1, "<presence xmlns='jabber:client' type='subscribe' from='carol@example.org'/>");
    assert_eq!(server.clients[1].session.roster().pending().count(), 1);
}

#[test]
fn block_lists_count_only_from_the_own_account() {
    let mut server = three();
    server.blocked = Some(Vec::new());
    let push = |from: &str| {
        let payload = "<block xmlns='urn:xmpp:blocking'><item jid='alice@example.org'/></block>";
        format!("<iq xmlns='jabber:client' type='set' id='p'{from}>{payload}</iq>")
    };
    server.inject(1, &push(" from='carol@example.org/r'"));
    assert!(!heard(&mut server, 1).contains("Blocked"));
    server.inject(1, &push(""));
    assert!(heard(&mut server, 1).contains("SharesGone"));
}

#[test]
fn a_server_is_asked_how_this_machine_looks_from_outside() {
    let mut server = three();
    server.outside = Some("203.0.113.7");
    let dave = server.login("dave@example.org/d");
    server.run(secs(2));
    let seen = |server: &mut Server| {
        let events = told(server, dave);
        ["SeenAt(203.0.113.7)", "StunServers([(\"stun.example.org\", 3478)])"]
            .map(|event| events.iter().filter(|line| *line == event).count())
    };
    assert_eq!(seen(&mut server), [1, 1]);
    server.run(secs(1700));
    assert_eq!(seen(&mut server), [0, 0]);
    server.run(secs(200));
    assert_eq!(seen(&mut server), [1, 1], "again after half an hour");
    // Other interfaces: at once, but not as often as they change.
    server.run(secs(60));
    for port in 0..20 {
        let now = server.now;
        server.clients[dave].session.set_endpoint(now, endpoint(port));
        server.run(secs(1));
    }
    assert_eq!(seen(&mut server), [1, 1]);
    assert!(
        told(&mut server, 0).iter().all(|line| !line.contains("StunServers")),
        "what a server does not offer is not asked for"
    );
}

#[test]
fn a_request_that_waits_is_asked_for_without_drawing_messages() {
    let mut server = three();
    for (keeps_messages, priorities) in [(false, &["-1"][..]), (true, &["0", "-1"])] {
        server.keeps_messages = keeps_messages;
        let dave = server.login("dave@example.org/d");
        let kept = [jid(CAROL), jid(BOB)];
        server.clients[dave].session.set_requests(kept.into_iter(), Handout::Unknown);
        server.run(secs(1));
        let presences = server.clients[dave].sent.iter().filter(|stanza| stanza.is("presence", ns::CLIENT));
        let sent: Vec<_> =
            presences.map(|presence| presence.get_child("priority", ns::CLIENT).unwrap().text()).collect();
        assert_eq!(sent, priorities);
        server.inject(dave, "<presence xmlns='jabber:client' type='subscribe' from='carol@example.org'/>");
        let heard = heard(&mut server, dave);
        assert!(!heard.contains("SubscriptionRequest"), "that is known");
        let last = heard.lines().last().unwrap();
        assert_eq!(last == "RosterChanged", !keeps_messages, "what was learned is to be kept: {last}");
        server.run(secs(20));
        let pending: Vec<_> = server.clients[dave].session.roster().pending().map(|jid| jid.as_str()).collect();
        // Without having been asked for, it is a repetition all the same: this server is one that repeats.
        assert_eq!(pending, [CAROL]);
        let handout = if keeps_messages { Handout::Asked } else { Handout::Always };
        assert_eq!(server.clients[dave].session.roster().handout(), handout);
    }
}

#[test]
fn who_lets_us_see_them_is_shown_our_presence_again_if_they_may_see_it() {
    let mut server = three();
    let greeted = |server: &mut Server, subscription: &str| {
        let before = server.clients[1].sent.len();
        let item = format!("<item jid='carol@example.org' subscription='{subscription}'/>");
        let push = format!("<query xmlns='jabber:iq:roster'>{item}</query>");
        server.inject(1, &format!("<iq xmlns='jabber:client' type='set' id='p'>{push}</iq>"));
        sent(server, 1, before).iter().filter(|line| *line == "presence  carol@example.orgpriority").count()
    };
    let steps = [("none", 0), ("from", 0), ("both", 1), ("both", 0), ("from", 0), ("none", 0), ("to", 0), ("both", 0)];
    for (step, presences) in steps {
        assert_eq!(greeted(&mut server, step), presences, "{step}");
    }
}

#[test]
fn who_is_removed_before_they_answered_is_not_asked_any_more() {
    let mut server = three();
    let item = "<item jid='carol@example.org' subscription='none' ask='subscribe'/>";
    let push = format!("<query xmlns='jabber:iq:roster'>{item}</query>");
    server.inject(1, &format!("<iq xmlns='jabber:client' type='set' id='p'>{push}</iq>"));
    let (now, before) = (server.now, server.clients[1].sent.len());
    server.clients[1].session.command(now, 1, Command::Remove(jid(CAROL)));
    server.clients[1].session.command(now, 2, Command::Remove(jid(ALICE)));
    server.run(secs(1));
    assert_eq!(sent(&server, 1, before), ["presence unsubscribe carol@example.org", "iq set query", "iq set query"]);
}

#[test]
fn who_was_blocked_is_blocked_before_the_server_says_so() {
    let mut server = three();
    server.blocked = Some(Vec::new());
    let bob = server.login("bob@example.org/2");
    server.clients[bob].session.set_blocked(std::iter::empty(), [jid(ALICE)].into_iter());
    assert!(
        server.clients[bob]
            .session
            .poll_event()
            .is_some_and(|event| { event == SessionEvent::Blocked { all: vec![ALICE.to_owned()], here: Vec::new() } })
    );
    server.inject(bob, "<presence xmlns='jabber:client' type='subscribe' from='alice@example.org'/>");
    server.run(secs(1));
    assert!(heard(&mut server, bob).contains("Blocked { all: [], here: [] }"), "taken off the list meanwhile");
    // A server that keeps no list takes none off it.
    server.blocked = None;
    let bob = server.login("bob@example.org/3");
    server.clients[bob].session.set_blocked(std::iter::empty(), [jid(ALICE)].into_iter());
    server.run(secs(1));
    assert!(heard(&mut server, bob).contains("here: [\"alice@example.org\"]"));
}
