//! How fast stanzas are read: cut out of the stream, checked and made into elements.
//!
//! `stanza_parse/pep_event_10_shares` is a contact's list of ten shares as Prosody sends it, `stanza_parse/presence`
//! the shortest stanza there is many of.

use std::hint::black_box;

use bitween::proto::xmpp::framing::{Frame, Framer, Limits};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const HEADER: &[u8] = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                        xmlns:stream='http://etherx.jabber.org/streams' id='s1' from='localhost' version='1.0'>";

const PRESENCE: &str = "<presence from='bob@example.org/bitween-3f2a' to='alice@example.org/bitween-77c1'>\
                        <priority>-1</priority><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' \
                        node='https://bitween.example' ver='LW7IWv5F7DyrrRWVP4w5cja4Wbw='/></presence>";

fn pep_event(shares: usize) -> String {
    let items: String = (0..shares)
        .map(|index| {
            let name = format!("Holiday &lt;{index}&gt; &amp; more ü.bin");
            format!("<share_item hash='{:040x}' name='{name}' size='{}' />", index * 7919, 3_000_000 + index)
        })
        .collect();
    format!(
        "<message from='alice@example.org' id='4l715ATs0kkQotP6YIre11zE' type='headline' to='bob@example.org/r'>\
         <event xmlns='http://jabber.org/protocol/pubsub#event'>\
         <items node='https://xmpp.kwoh.de/protocol/shares'><item id='current' publisher='alice@example.org'>\
         <user_shares xmlns='https://xmpp.kwoh.de/protocol/shares'><resource resource='res1'>{items}\
         <ip_address address='192.0.2.77' port='18101' /></resource></user_shares></item></items></event></message>"
    )
}

fn stanza_parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stanza_parse");
    for (name, stanza) in [("pep_event_10_shares", pep_event(10)), ("presence", PRESENCE.to_owned())] {
        let mut framer = Framer::new(Limits::default());
        framer.push(HEADER);
        assert!(matches!(framer.next_frame(), Ok(Some(Frame::Header(_)))));
        group.throughput(Throughput::Bytes(stanza.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                framer.push(black_box(stanza.as_bytes()));
                let frame = framer.next_frame();
                assert!(matches!(frame, Ok(Some(Frame::Element(_)))));
                frame
            });
        });
    }
    group.finish();
}

criterion_group!(benches, stanza_parse);
criterion_main!(benches);
