//! Tests of the framing: what passes, what hostile input meets, and that the split of the input never matters.

use proptest::prelude::*;

use super::*;

const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams' id='s1' from='localhost' version='1.0'>";

fn frames_of(input: &[u8], step: usize, limits: Limits) -> Result<Vec<Frame>, FramingError> {
    let mut framer = Framer::new(limits);
    let mut frames = Vec::new();
    for part in input.chunks(step) {
        framer.push(part);
        while let Some(frame) = framer.next_frame()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

fn in_stream(body: &str) -> Result<Vec<Frame>, FramingError> {
    frames_of(format!("{HEADER}{body}").as_bytes(), 4096, Limits::default()).map(|mut frames| frames.split_off(1))
}

fn one(body: &str) -> Element {
    match in_stream(body).unwrap().as_slice() {
        [Frame::Element(element)] => element.clone(),
        other => panic!("not one element: {other:?}"),
    }
}

#[test]
fn header_stanzas_and_end_are_told_apart() {
    let input = format!("{HEADER}\n <message to='a@b'><body>hi</body></message> <presence/>\n</stream:stream>");
    let frames = frames_of(input.as_bytes(), 4096, Limits::default()).unwrap();
    let [Frame::Header(header), Frame::Element(message), Frame::Element(presence), Frame::End] = frames.as_slice()
    else {
        panic!("{frames:?}")
    };
    assert!(header.is("stream", "http://etherx.jabber.org/streams"));
    assert_eq!(header.attr("id"), Some("s1"));
    assert!(message.is("message", "jabber:client"));
    assert_eq!(message.get_child("body", "jabber:client").unwrap().text(), "hi");
    assert!(presence.is("presence", "jabber:client"));
}

#[test]
fn prefixes_of_the_header_hold_inside_and_are_restored_after_redefinition() {
    let element =
        one("<stream:features><m xmlns='urn:x'><n/></m><o xmlns:stream='urn:y'><stream:p/></o></stream:features>");
    assert!(element.is("features", "http://etherx.jabber.org/streams"));
    assert!(element.get_child("m", "urn:x").unwrap().has_child("n", "urn:x"));
    assert!(element.get_child("o", "jabber:client").unwrap().has_child("p", "urn:y"));
}

#[test]
fn text_is_joined_over_entities_references_and_cdata() {
    let element = one("<m>a &amp; b&#x20;&#228; <![CDATA[<&>]]]]>&lt;\r\nend</m>");
    assert_eq!(element.text(), "a & b ä <&>]]<\nend");
    assert_eq!(element.nodes().count(), 1);
}

#[test]
fn attributes_are_normalised_and_may_be_namespaced() {
    let element = one("<m a='1&#10;2\n3 &quot;&apos;' xml:lang='de' xmlns:p='urn:p' p:a=\"x>y\"/>");
    assert_eq!(element.attr("a"), Some("1\n2 3 \"'"));
    assert_eq!(element.attr_ns("http://www.w3.org/XML/1998/namespace", "lang"), Some("de"));
    assert_eq!(element.attr_ns("urn:p", "a"), Some("x>y"));
    assert_eq!(element.attrs().len(), 3);
}

#[test]
fn what_is_handed_over_in_pieces_reads_the_same() {
    let input =
        format!("{HEADER}<iq id='1' type='result'><q xmlns='urn:q'>ü<![CDATA[x]]></q></iq> <a/></stream:stream>");
    let whole = frames_of(input.as_bytes(), input.len(), Limits::default()).unwrap();
    assert_eq!(whole.len(), 4);
    for step in [1, 2, 3, 7] {
        assert_eq!(frames_of(input.as_bytes(), step, Limits::default()).unwrap(), whole, "step {step}");
    }
}

/// Bodies of a stream, each with the condition that must end it.
const HOSTILE: &[(&str, &str)] = &[
    ("<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;'>]><m>&b;</m>", "restricted-xml"),
    ("<m><!DOCTYPE x></m>", "restricted-xml"),
    ("<m>&b;</m>", "restricted-xml"),
    ("<m a='&b;'/>", "restricted-xml"),
    ("<m><!-- hello --></m>", "restricted-xml"),
    ("<!-- hello -->", "restricted-xml"),
    ("<m><?php evil ?></m>", "restricted-xml"),
    ("<?xml version='1.0'?>", "restricted-xml"),
    ("<m>\u{1}</m>", "not-well-formed"),
    ("<m a='\u{1f}'/>", "not-well-formed"),
    ("<m>&#1;</m>", "not-well-formed"),
    ("<m>&#xFFFE;</m>", "not-well-formed"),
    ("<m>&#xD800;</m>", "not-well-formed"),
    ("<m>&#99999999999;</m>", "not-well-formed"),
    ("<m a='&#0;'/>", "not-well-formed"),
    ("<m a='&#1;'/>", "not-well-formed"),
    ("<m>\u{FFFF}</m>", "not-well-formed"),
    ("<m>a & b</m>", "not-well-formed"),
    ("<m>]]></m>", "not-well-formed"),
    ("<m a='<'/>", "not-well-formed"),
    ("<m a='1'b='2'/>", "not-well-formed"),
    ("<m a='1' a='2'/>", "not-well-formed"),
    ("<m xmlns:p='urn:1' xmlns:q='urn:1' p:a='1' q:a='2'/>", "not-well-formed"),
    ("<m a=1/>", "not-well-formed"),
    ("<m a/>", "not-well-formed"),
    ("<m 1='x'/>", "not-well-formed"),
    ("<1/>", "not-well-formed"),
    ("<a:b:c/>", "bad-namespace-prefix"),
    ("< m/>", "not-well-formed"),
    ("<m / >", "not-well-formed"),
    ("<>", "not-well-formed"),
    ("<m></n>", "not-well-formed"),
    ("<m></m></m>", "not-well-formed"),
    ("text", "not-well-formed"),
    ("<![CDATA[x]]>", "not-well-formed"),
    ("<m><![CDATB[x]]></m>", "not-well-formed"),
    ("</stream:stream><m/>", "not-well-formed"),
    ("</stream>", "not-well-formed"),
    ("<x:m/>", "bad-namespace-prefix"),
    ("<m x:a='1'/>", "bad-namespace-prefix"),
    ("<m xmlns:p=''/>", "bad-namespace-prefix"),
    ("<m xmlns:xml='urn:x'/>", "bad-namespace-prefix"),
    ("<m xmlns:xmlns='urn:x'/>", "bad-namespace-prefix"),
];

fn expect_condition(body: &str, condition: &str) {
    let shown: String = body.chars().take(60).collect();
    let error = in_stream(body).expect_err(&shown);
    assert_eq!(error.condition(), condition, "{shown}: {error}");
    let pairwise = frames_of(format!("{HEADER}{body}").as_bytes(), 2, Limits::default()).expect_err(&shown);
    assert_eq!(pairwise, error, "{shown}");
}

#[test]
fn hostile_input_is_refused_with_the_right_condition() {
    for (body, condition) in HOSTILE {
        expect_condition(body, condition);
    }
}

#[test]
fn endless_input_meets_a_limit() {
    let attributes: String = (0..65).map(|index| format!(" a{index}='x'")).collect();
    let declarations: String = (0..64).map(|index| format!(" xmlns:n{index}='urn:{index}'")).collect();
    let megabyte = "x".repeat(1024 * 1024);
    let table = [
        ("<a>".repeat(33), "policy-violation"),
        (format!("<a{attributes}/>"), "policy-violation"),
        (format!("<a{declarations}/>"), "bad-namespace-prefix"),
        (format!("<a b='{megabyte}'/>"), "policy-violation"),
        (format!("<a>{megabyte}"), "policy-violation"),
        (format!("<{megabyte}"), "policy-violation"),
        (format!("<m>{}</m>", "<a/>".repeat(70_000)), "policy-violation"),
    ];
    for (body, condition) in table {
        expect_condition(&body, condition);
    }
}

#[test]
fn bad_stream_starts_are_refused() {
    let table: &[(&[u8], &str)] = &[
        (b"HTTP/1.1 400 Bad Request\r\n", "not-well-formed"),
        (b"</stream:stream>", "not-well-formed"),
        (b"<a/>", "not-well-formed"),
        (b"<stream:stream>", "bad-namespace-prefix"),
        (b"<?xml version='1.1'?>", "not-well-formed"),
        (b"<?xml version='1.0' encoding='ISO-8859-1'?>", "unsupported-encoding"),
        (b"<?xml version='1.0'?><?xml version='1.0'?>", "restricted-xml"),
        (b"<?php?>", "restricted-xml"),
        (b"<!DOCTYPE a>", "restricted-xml"),
        (b"\xff\xfe<\0s\0", "not-well-formed"),
        (b"<a b='\xff'>", "unsupported-encoding"),
        (b"\x16\x03\x01\x00", "not-well-formed"),
    ];
    for (input, condition) in table {
        let error = frames_of(input, 1, Limits::default()).unwrap_err();
        assert_eq!(error.condition(), *condition, "{}", String::from_utf8_lossy(input));
    }
}

#[test]
fn white_space_between_stanzas_costs_no_memory() {
    let mut framer = Framer::new(Limits::default());
    framer.push(HEADER.as_bytes());
    assert!(framer.next_frame().unwrap().is_some());
    for _ in 0..1000 {
        framer.push(&[b' '; 4096]);
        assert_eq!(framer.next_frame().unwrap(), None);
    }
    assert!(framer.buffer.capacity() < 64 * 1024, "{}", framer.buffer.capacity());
    assert!(!framer.has_unread());
}

#[test]
fn a_large_stanza_leaves_no_large_buffer_behind() {
    let mut framer = Framer::new(Limits::default());
    framer.push(HEADER.as_bytes());
    framer.push(format!("<a>{}</a>", "x".repeat(500_000)).as_bytes());
    assert!(framer.next_frame().unwrap().is_some());
    assert!(framer.next_frame().unwrap().is_some());
    assert_eq!(framer.next_frame().unwrap(), None);
    assert!(framer.buffer.capacity() <= KEEP_CAPACITY);
}

#[test]
fn bytes_behind_the_last_frame_are_seen() {
    let mut framer = Framer::new(Limits::default());
    framer.push(HEADER.as_bytes());
    framer.push(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><success");
    assert!(matches!(framer.next_frame(), Ok(Some(Frame::Header(_)))));
    assert!(matches!(framer.next_frame(), Ok(Some(Frame::Element(_)))));
    assert!(framer.has_unread());
}

#[test]
fn the_depth_limit_is_exact() {
    let nested = |levels: usize| format!("{}{}", "<a>".repeat(levels), "</a>".repeat(levels));
    assert!(in_stream(&nested(32)).is_ok());
    assert_eq!(in_stream(&nested(33)), Err(FramingError::TooDeep { limit: 32 }));
    let innermost = format!("{}<b/>{}", "<a>".repeat(32), "</a>".repeat(32));
    assert_eq!(in_stream(&innermost), Err(FramingError::TooDeep { limit: 32 }));
}

#[test]
fn errors_never_quote_the_input() {
    let error = in_stream("<m pass='hunter2' pass='hunter2'/>").unwrap_err();
    assert!(!error.to_string().contains("hunter2"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_never_depend_on_the_split(input in prop::collection::vec(any::<u8>(), 0..200), step in 1_usize..20) {
        let small = Limits { stanza_bytes: 150, depth: 3, attributes: 3, nodes: 6 };
        prop_assert_eq!(frames_of(&input, step, small), frames_of(&input, input.len().max(1), small));
    }

    #[test]
    fn xml_like_soup_never_panics(body in "(<|</|/>|>|a|b:|='|'|\"| |&|;|#|x|<!\\[CDATA\\[|\\]\\]>|<\\?|xmlns){0,40}", step in 1_usize..9) {
        let input = format!("{HEADER}{body}");
        let small = Limits { stanza_bytes: 400, depth: 3, attributes: 3, nodes: 6 };
        prop_assert_eq!(frames_of(input.as_bytes(), step, small), frames_of(input.as_bytes(), input.len(), small));
    }

    #[test]
    fn any_legal_text_survives_the_way_through(text in "[^\\p{Cc}\u{FFFE}\u{FFFF}]{0,60}", name in "[a-z][a-z0-9._-]{0,9}") {
        let escaped = quick_xml::escape::escape(text.as_str()).into_owned();
        let element = one(&format!("<{name} v='{escaped}'>{escaped}</{name}>"));
        prop_assert_eq!(element.name(), name.as_str());
        prop_assert_eq!(element.attr("v"), Some(text.as_str()));
        prop_assert_eq!(element.text(), text);
    }
}
