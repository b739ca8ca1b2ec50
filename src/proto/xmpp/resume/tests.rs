//! Tests of stream management: what the server may say, and two ends with a bad line between them.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn element(text: &str) -> Element {
    text.replacen('>', &format!(" xmlns='{NS}'>"), 1).parse().unwrap()
}

fn stanza(text: &str) -> Element {
    text.parse().unwrap()
}

/// On, resumable, with so many stanzas sent.
fn managed(sent: u32) -> StreamManagement {
    let mut out = Vec::new();
    let mut management = StreamManagement::begin(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "<enable xmlns='urn:xmpp:sm:3' resume='true' max='120'/>");
    let enabled = element("<enabled resume='true' id='a&lt;b' max='60' location='[::1]:9'></enabled>");
    management.nonza(&enabled, &mut Vec::new()).unwrap();
    (0..sent).for_each(|n| management.sent(n.to_string().as_bytes()));
    management
}

fn said(act: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    act(&mut out);
    String::from_utf8(out).unwrap()
}

fn ack(management: &mut StreamManagement, handled: u32) -> Result<(), SmError> {
    management.nonza(&element(&format!("<a h='{handled}'></a>")), &mut Vec::new())
}

fn again(management: &mut StreamManagement, handled: u32) -> Vec<String> {
    let text = |stanza: &Vec<u8>| String::from_utf8(stanza.clone()).unwrap();
    management.resumed(handled).unwrap().map(text).collect()
}

#[test]
fn only_stanzas_count_and_only_once_it_is_enabled() {
    let mut management = StreamManagement::begin(&mut Vec::new());
    let message = stanza("<message xmlns='jabber:client'/>");
    management.received(&message);
    management.sent(b"already counts");
    assert_eq!(management.resumable_for(), None, "nothing was promised yet");
    management.nonza(&element("<enabled resume='1' id='x'></enabled>"), &mut Vec::new()).unwrap();
    for other in ["<message xmlns='jabber:server'/>", "<r xmlns='urn:xmpp:sm:3'/>", "<x xmlns='jabber:client'/>"] {
        management.received(&stanza(other));
    }
    assert_eq!(said(|out| management.acknowledge(out)), "<a xmlns='urn:xmpp:sm:3' h='0'/>");
    for stanza_in in [message, stanza("<iq xmlns='jabber:client'/>"), stanza("<presence xmlns='jabber:client'/>")] {
        management.received(&stanza_in);
    }
    let answer = said(|out| management.nonza(&element("<r></r>"), out).unwrap());
    assert_eq!(answer, "<a xmlns='urn:xmpp:sm:3' h='3'/>");
    assert_eq!(management.resumable_for(), Some(RESUMABLE_FOR));
    assert_eq!(again(&mut management, 0), ["already counts"]);
}

#[test]
fn what_was_not_taken_is_sent_again_in_order() {
    let mut management = managed(4);
    ack(&mut management, 1).unwrap();
    let resume = String::from_utf8(management.resume_element().unwrap()).unwrap();
    assert_eq!(resume, "<resume xmlns='urn:xmpp:sm:3' previd='a&lt;b' h='0'/>");
    assert_eq!((management.resumable_for(), management.location()), (Some(Duration::from_secs(60)), Some("[::1]:9")));
    assert_eq!(again(&mut management, 2), ["2", "3"]);
    management.sent(b"4");
    ack(&mut management, 5).unwrap();
    assert!(again(&mut management, 5).is_empty());
}

#[test]
fn the_server_is_asked_once_for_what_is_on_the_way() {
    let mut management = managed(0);
    assert_eq!(said(|out| management.ask_if_due(out)), "", "nothing to ask for");
    management.sent(b"1");
    assert_eq!(said(|out| management.ask_if_due(out)), "<r xmlns='urn:xmpp:sm:3'/>");
    management.sent(b"2");
    assert_eq!(said(|out| management.ask_if_due(out)), "", "not answered yet");
    ack(&mut management, 1).unwrap();
    assert_eq!(said(|out| management.ask_if_due(out)), "<r xmlns='urn:xmpp:sm:3'/>");
    ack(&mut management, 2).unwrap();
    assert_eq!(said(|out| management.ask_if_due(out)), "");
    assert!(management.ask(&mut Vec::new()), "a sign of life can always be asked for");
}

#[test]
fn counts_that_cannot_be_end_the_stream() {
    assert_eq!(ack(&mut managed(2), 3), Err(SmError::TooHigh { handled: 3, sent: 2 }));
    let mut management = managed(2);
    ack(&mut management, 2).unwrap();
    assert!(ack(&mut management, 1).is_err(), "what was taken stays taken");
    assert!(managed(2).resumed(3).is_err());
    for bad in ["<a></a>", "<a h='-1'></a>", "<a h='4294967296'></a>", "<enabled></enabled>", "<resumed></resumed>"] {
        let error = managed(1).nonza(&element(bad), &mut Vec::new()).unwrap_err();
        assert!(matches!(error, SmError::Malformed(_)), "{bad}");
    }
}

#[test]
fn a_server_that_does_not_want_to_is_left_alone() {
    let mut management = StreamManagement::begin(&mut Vec::new());
    management.sent(b"1");
    management.nonza(&element("<failed></failed>"), &mut Vec::new()).unwrap();
    management.sent(b"2");
    assert!(!management.ask(&mut Vec::new()) && management.resume_element().is_none());
    assert_eq!(said(|out| management.ask_if_due(out)), "");
    // One that manages the stream, but cannot take it up again.
    for enabled in ["<enabled></enabled>", "<enabled id='x'></enabled>", "<enabled resume='true' id=''></enabled>"] {
        let mut management = StreamManagement::begin(&mut Vec::new());
        management.nonza(&element(enabled), &mut Vec::new()).unwrap();
        assert!(management.ask(&mut Vec::new()) && management.resumable_for().is_none(), "{enabled}");
    }
}

#[test]
fn with_too_much_on_the_way_it_cannot_be_taken_up_until_enough_is_taken() {
    let count = u32::try_from(MAX_UNACKED).unwrap();
    let mut management = managed(count + 10);
    assert_eq!(management.resumable_for(), None);
    ack(&mut management, 9).unwrap();
    assert_eq!(management.resumable_for(), None);
    ack(&mut management, 10).unwrap();
    assert!(management.resumable_for().is_some());
    assert_eq!(again(&mut management, count + 8), [(count + 8).to_string(), (count + 9).to_string()]);
    management.sent(&vec![b'x'; MAX_UNACKED_BYTES + 1]);
    assert_eq!((management.resumable_for(), management.ledger.bytes), (None, 0));
    ack(&mut management, count + 11).unwrap();
    assert!(management.resumable_for().is_some());
}

#[test]
fn what_breaks_every_connection_is_not_sent_for_ever() {
    let mut management = managed(2);
    for _ in 0..MAX_FRUITLESS {
        assert!(management.resumable_for().is_some());
        assert_eq!(again(&mut management, 0).len(), 2);
    }
    assert_eq!((management.resumable_for(), management.resume_element()), (None, None));
    let mut management = managed(2);
    for taken in [0, 0, 1, 1, 1] {
        assert_eq!(again(&mut management, taken).len(), 2 - usize::try_from(taken).unwrap());
    }
    ack(&mut management, 2).unwrap();
    (0..9).for_each(|_| assert!(again(&mut management, 2).is_empty()));
    assert!(management.resumable_for().is_some(), "with nothing on the way it is the line that is bad");
}

/// One turn over the line: so many stanzas each way, how many of them arrive, how many acknowledgements do.
#[derive(Clone, Debug)]
struct Turn {
    sent: (u8, u8),
    arrive: (u8, u8),
    acked: bool,
    breaks: bool,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = (any::<(u8, u8)>(), any::<(u8, u8)>(), any::<bool>(), any::<bool>());
    let turn = turn.prop_map(|(sent, arrive, acked, breaks)| Turn {
        sent: (sent.0 % 6, sent.1 % 6),
        arrive: (arrive.0 % 9, arrive.1 % 9),
        acked,
        breaks,
    });
    vec(turn, 0..40)
}

/// An end of the line; the server's is a bare ledger.
#[derive(Default)]
struct End {
    ledger: Ledger,
    next: u32,
    got: Vec<u32>,
}

impl End {
    fn send(&mut self, count: u8, line: &mut VecDeque<Vec<u8>>) {
        for _ in 0..count {
            let stanza = self.next.to_be_bytes();
            self.next += 1;
            self.ledger.sent(&stanza);
            line.push_back(stanza.to_vec());
        }
    }

    fn take(&mut self, count: u8, line: &mut VecDeque<Vec<u8>>) {
        for stanza in line.drain(..usize::from(count).min(line.len())) {
            self.ledger.handled = self.ledger.handled.wrapping_add(1);
            self.got.push(u32::from_be_bytes(stanza.try_into().unwrap()));
        }
    }

    fn hear(&mut self, handled: u32) -> VecDeque<Vec<u8>> {
        self.ledger.acknowledged(handled).unwrap();
        assert!(self.ledger.is_whole());
        self.ledger.unacked.clone()
    }
}

proptest! {
    /// However often the line breaks, and whatever was on it then: every stanza arrives once, in order.
    #[test]
    fn nothing_is_lost_and_nothing_is_doubled(turns in turns(), start in any::<u32>()) {
        let (mut a, mut b) = (End::default(), End::default());
        for ledger in [&mut a.ledger, &mut b.ledger] {
            (ledger.sent, ledger.acked, ledger.handled) = (start, start, start);
        }
        let (mut to_b, mut to_a) = (VecDeque::new(), VecDeque::new());
        let last = Turn { sent: (0, 0), arrive: (255, 255), acked: true, breaks: true };
        for turn in turns.into_iter().chain([last.clone(), last]) {
            a.send(turn.sent.0, &mut to_b);
            b.send(turn.sent.1, &mut to_a);
            b.take(turn.arrive.0, &mut to_b);
            a.take(turn.arrive.1, &mut to_a);
            if turn.acked {
                a.hear(b.ledger.handled);
                b.hear(a.ledger.handled);
            }
            if turn.breaks {
                to_b = a.hear(b.ledger.handled);
                to_a = b.hear(a.ledger.handled);
            }
        }
        b.take(255, &mut to_b);
        a.take(255, &mut to_a);
        let all = |count: u32| (0..count).collect::<Vec<_>>();
        prop_assert_eq!(&b.got, &all(a.next));
        prop_assert_eq!(&a.got, &all(b.next));
    }
}
