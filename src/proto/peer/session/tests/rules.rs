//! What a peer may say when, and what is refused.

use super::*;
use crate::proto::peer::{Command, Fault};

const ALL: Features = Features { fast: true, extended: true, dht: false };
const PLAIN: Features = Features { fast: false, extended: false, dht: false };
const RANGE: Range = Range { piece: 1, begin: 0x4000, len: 0x4000 };

/// What a fresh session says of these messages; the last event or the error.
fn outcome(features: Features, messages: &[Message<'_>]) -> Result<usize, WireError> {
    let now = Instant::now();
    let input = bytes(messages);
    let (events, result) = drain(&mut established(now, Some(geometry()), features), now, &input);
    result.map(|()| events.len())
}

fn sent(session: &mut Session, command: Command) -> Vec<u8> {
    let now = Instant::now();
    session.flush(now, &mut Vec::new());
    let mut out = Vec::new();
    session.send(now, &command, &mut out);
    out
}

#[test]
fn each_message_becomes_its_event_and_block_data_is_borrowed() {
    let now = Instant::now();
    let geo = geometry();
    let piece = |n| geo.piece(n).unwrap();
    let block = geo.check_block(1, 0x4000, 0x4000).unwrap();
    let data = vec![0x5a; 0x4000];
    let input = bytes(&[
        Message::HaveAll,
        Message::KeepAlive,
        Message::Choke,
        Message::Unchoke,
        Message::Interested,
        Message::NotInterested,
        Message::Have(99),
        Message::Request(RANGE),
        Message::Cancel(RANGE),
        Message::Reject(RANGE),
        Message::AllowedFast(3),
        Message::Suggest(4),
        Message::Port(6881),
        Message::Extended { id: ext::METADATA_ID, payload: b"d8:msg_typei0e5:piecei5ee" },
        Message::Extended { id: ext::METADATA_ID, payload: b"d8:msg_typei2e5:piecei6ee" },
        Message::Extended { id: ext::METADATA_ID, payload: b"d8:msg_typei9ee" },
        Message::Extended { id: ext::METADATA_ID, payload: b"d8:msg_typei1e5:piecei0e10:total_sizei3eexyz" },
        Message::Piece { piece: 1, begin: 0x4000, data: &data },
    ]);
    let (events, result) = drain(&mut established(now, Some(geo), ALL), now, &input);
    assert_eq!(result, Ok(()));
    let Some(Event::Block { data: borrowed, .. }) = events.last() else { panic!("{events:?}") };
    assert!(input.as_ptr_range().contains(&borrowed.as_ptr()));
    let expected = [
        Event::Bitfield(Bitfield::full(100)),
        Event::KeepAlive,
        Event::Choked,
        Event::Unchoked,
        Event::Interested,
        Event::NotInterested,
        Event::Have(piece(99)),
        Event::Requested(block),
        Event::Cancelled(block),
        Event::Rejected(block),
        Event::AllowedFast(piece(3)),
        Event::Suggested(piece(4)),
        Event::Port(6881),
        Event::MetadataRequested(5),
        Event::MetadataRejected(6),
        Event::Ignored,
        Event::MetadataPiece { piece: 0, total_size: 3, data: b"xyz" },
        Event::Block { block, data: &data },
    ];
    assert_eq!(events, expected);
}

#[test]
fn a_bitfield_may_come_at_any_time() {
    let bits = Bitfield::full(100);
    let bitfield = Message::Bitfield(bits.as_bytes());
    let handshake = Message::Extended { id: ext::HANDSHAKE_ID, payload: b"de" };
    assert_eq!(outcome(PLAIN, &[bitfield]), Ok(1));
    assert_eq!(outcome(ALL, &[handshake, Message::KeepAlive, Message::Port(1), bitfield]), Ok(4));
    for first in [Message::Unchoke, Message::Have(0), bitfield, Message::HaveNone, Message::AllowedFast(1)] {
        assert_eq!(outcome(ALL, &[first, bitfield]), Ok(2), "{first:?}");
    }
}

#[test]
fn a_bitfield_of_another_torrent_is_refused_before_it_is_there() {
    let now = Instant::now();
    let wrong = BitfieldError::Length { expected: 13, found: 14 };
    assert_eq!(outcome(PLAIN, &[Message::Bitfield(&[0; 14])]), Err(wrong.into()));
    assert_eq!(outcome(PLAIN, &[Message::Bitfield(&[0xff; 13])]), Err(BitfieldError::SpareBits.into()));
    let mut session = established(now, Some(geometry()), PLAIN);
    assert_eq!(session.step(now, b"\0\0\0\x0f\x05"), Err(wrong.into()));
}

#[test]
fn what_lies_outside_the_torrent_is_refused() {
    let range = |piece, begin, len| Range { piece, begin, len };
    let data = [0; 1_001];
    for (messages, error) in [
        (Message::Have(100), WireError::NoSuchPiece { id: id::HAVE, piece: 100 }),
        (Message::Suggest(100), WireError::NoSuchPiece { id: id::SUGGEST, piece: 100 }),
        (Message::AllowedFast(u32::MAX), WireError::NoSuchPiece { id: id::ALLOWED_FAST, piece: u32::MAX }),
        (Message::Request(range(100, 0, 1)), WireError::NoSuchBlock { id: id::REQUEST, piece: 100, begin: 0, len: 1 }),
        (
            Message::Request(range(0, u32::MAX, 2)),
            WireError::NoSuchBlock { id: id::REQUEST, piece: 0, begin: u32::MAX, len: 2 },
        ),
        (Message::Cancel(range(0, 0, 0)), WireError::NoSuchBlock { id: id::CANCEL, piece: 0, begin: 0, len: 0 }),
        (
            Message::Reject(range(0, 32_768, 1)),
            WireError::NoSuchBlock { id: id::REJECT, piece: 0, begin: 32_768, len: 1 },
        ),
        (
            Message::Piece { piece: 99, begin: 0, data: &data },
            WireError::NoSuchBlock { id: id::PIECE, piece: 99, begin: 0, len: 1_001 },
        ),
        (
            Message::Piece { piece: 0, begin: 0, data: &[] },
            WireError::NoSuchBlock { id: id::PIECE, piece: 0, begin: 0, len: 0 },
        ),
    ] {
        assert_eq!(outcome(ALL, &[messages]), Err(error), "{messages:?}");
        assert_eq!(error.fault(), Fault::Ban);
    }
}

#[test]
fn a_request_may_be_large_but_not_too_large() {
    let now = Instant::now();
    let huge = Geometry::new(1 << 30, 1 << 22).unwrap();
    let ask = |len| {
        let input = bytes(&[Message::Request(Range { piece: 3, begin: 0, len })]);
        drain(&mut established(now, Some(huge), PLAIN), now, &input).1
    };
    assert_eq!(ask(MAX_REQUEST_LEN), Ok(()));
    assert_eq!(ask(MAX_REQUEST_LEN + 1), Err(WireError::RequestTooLong { id: id::REQUEST, len: MAX_REQUEST_LEN + 1 }));
}

#[test]
fn fast_and_extended_messages_need_their_feature() {
    for (message, id) in [
        (Message::HaveAll, id::HAVE_ALL),
        (Message::HaveNone, id::HAVE_NONE),
        (Message::Suggest(0), id::SUGGEST),
        (Message::AllowedFast(0), id::ALLOWED_FAST),
        (Message::Reject(RANGE), id::REJECT),
    ] {
        assert_eq!(outcome(PLAIN, &[message]), Err(WireError::FastNotAgreed { id }));
        assert_eq!(outcome(ALL, &[message]), Ok(1));
    }
    let handshake = Message::Extended { id: ext::HANDSHAKE_ID, payload: b"de" };
    assert_eq!(outcome(PLAIN, &[handshake]), Err(WireError::UnknownExtension { id: 0 }));
    let foreign = Message::Extended { id: 77, payload: b"de" };
    assert_eq!(outcome(ALL, &[foreign]), Err(WireError::UnknownExtension { id: 77 }));
    let broken = Message::Extended { id: ext::HANDSHAKE_ID, payload: b"d1:" };
    assert_eq!(outcome(ALL, &[broken]), Err(WireError::BadExtendedHandshake));
}

#[test]
fn lengths_are_refused_from_the_first_bytes() {
    let now = Instant::now();
    let first = |geometry, input: &[u8]| established(now, geometry, ALL).step(now, input).map(|_| ());
    let max = MAX_PIECE_MESSAGE_LEN;
    let too_long = [&(max + 1).to_be_bytes()[..], &[id::PIECE]].concat();
    assert_eq!(first(Some(geometry()), &too_long[..4]), Err(WireError::MessageTooLong { len: max + 1, max }));
    assert_eq!(first(Some(geometry()), b"\xff\xff\xff\xff"), Err(WireError::MessageTooLong { len: u32::MAX, max }));
    assert_eq!(first(Some(geometry()), b"\0\0\0\x02\x00"), Err(WireError::WrongLength { id: id::CHOKE, len: 2 }));
    assert_eq!(first(Some(geometry()), b"\0\0\0\x08\x07"), Err(WireError::WrongLength { id: id::PIECE, len: 8 }));
    // A torrent of 2^24 pieces needs a bitfield of 2 MiB.
    let huge = Geometry::new(1 << 24, 1).unwrap();
    assert_eq!(first(Some(huge), b"\0\x20\0\x01\x05"), Ok(()));
}

#[test]
fn the_answer_for_another_torrent_ends_the_session() {
    let now = Instant::now();
    let mut session = Session::initiator(now, INFO_HASH, options(None), &mut Vec::new());
    let mut input = Vec::new();
    let found = InfoHash::new([0xbb; 20]);
    Handshake { info_hash: found, peer_id: PeerId::new([7; 20]), features: PLAIN }.encode(&mut input);
    assert_eq!(session.step(now, &input), Err(WireError::WrongInfoHash { expected: INFO_HASH, found }));
    let mut session = Session::responder(now);
    assert_eq!(session.step(now, b"GET / HTTP/1.1"), Err(WireError::NotBitTorrent));
}

#[test]
fn announcements_before_the_metadata_are_checked_when_it_is_known() {
    let now = Instant::now();
    let geo = geometry();
    let announce = |messages: &[Message<'_>]| {
        let mut session = established(now, None, ALL);
        let input = bytes(messages);
        let (events, result) = drain(&mut session, now, &input);
        assert_eq!(result, Ok(()));
        assert!(events.iter().all(|event| *event == Event::Ignored), "{events:?}");
        session.set_geometry(geo, Some(20_000))
    };
    let mut half = Bitfield::empty(100);
    half.insert(geo.piece(50).unwrap());
    let all = announce(&[
        Message::Bitfield(half.as_bytes()),
        Message::Have(99),
        Message::Suggest(1),
        Message::AllowedFast(5),
        Message::Have(0),
    ]);
    let expected = vec![
        Event::Bitfield(half),
        Event::Have(geo.piece(99).unwrap()),
        Event::Have(geo.piece(0).unwrap()),
        Event::AllowedFast(geo.piece(5).unwrap()),
    ];
    assert_eq!(all, Ok(expected));
    assert_eq!(announce(&[Message::HaveAll]), Ok(vec![Event::Bitfield(Bitfield::full(100))]));
    assert_eq!(announce(&[Message::HaveNone]), Ok(vec![Event::Bitfield(Bitfield::empty(100))]));
    assert_eq!(announce(&[]), Ok(vec![]));
    assert_eq!(announce(&[Message::Have(100)]), Err(WireError::NoSuchPiece { id: id::HAVE, piece: 100 }));
    assert!(matches!(announce(&[Message::Bitfield(&[0; 12])]), Err(WireError::Bitfield(_))));
}

#[test]
fn before_the_metadata_nothing_about_blocks_is_accepted_and_memory_is_bounded() {
    let now = Instant::now();
    for (message, id) in [
        (Message::Request(RANGE), id::REQUEST),
        (Message::Cancel(RANGE), id::CANCEL),
        (Message::Reject(RANGE), id::REJECT),
        (Message::Piece { piece: 0, begin: 0, data: b"x" }, id::PIECE),
    ] {
        let input = bytes(&[message]);
        assert_eq!(drain(&mut established(now, None, ALL), now, &input).1, Err(WireError::BeforeMetadata { id }));
    }
    let many = bytes(&vec![Message::Have(1); early::MAX_EARLY_PIECES + 1]);
    let (events, result) = drain(&mut established(now, None, ALL), now, &many);
    assert_eq!((events.len(), result), (early::MAX_EARLY_PIECES, Err(WireError::TooManyEarly)));
}

#[test]
fn before_the_metadata_a_bitfield_that_no_metadata_could_fit_is_refused_at_its_first_byte() {
    let now = Instant::now();
    let longest = early::MAX_EARLY_BITFIELD_LEN + 1;
    for (len, fits) in [(longest, true), (longest + 1, false), (1024 * 1024 + 1, false)] {
        let begin = [&len.to_be_bytes()[..], &[id::BITFIELD]].concat();
        let result = drain(&mut established(now, None, ALL), now, &begin).1;
        assert_eq!(result.is_ok(), fits, "{len}: {result:?}");
        assert!(fits || matches!(result, Err(WireError::MessageTooLong { .. })), "{result:?}");
    }
}

#[test]
fn what_we_have_is_said_in_the_shortest_way_the_peer_understands() {
    let now = Instant::now();
    let mut half = Bitfield::empty(100);
    half.insert(geometry().piece(0).unwrap());
    let say = |features, bits: &Bitfield| {
        sent(&mut established(now, Some(geometry()), features), Command::Bitfield(bits.clone()))
    };
    assert_eq!(say(ALL, &Bitfield::full(100)), bytes(&[Message::HaveAll]));
    assert_eq!(say(ALL, &Bitfield::empty(100)), bytes(&[Message::HaveNone]));
    assert_eq!(say(ALL, &half), bytes(&[Message::Bitfield(half.as_bytes())]));
    assert_eq!(say(PLAIN, &Bitfield::full(100)), bytes(&[Message::Bitfield(Bitfield::full(100).as_bytes())]));
    assert_eq!(say(PLAIN, &Bitfield::empty(100)), b"");
}

#[test]
fn nothing_is_sent_that_the_peer_does_not_understand() {
    let now = Instant::now();
    let geo = geometry();
    let mut plain = established(now, Some(geo), PLAIN);
    let block = geo.check_block(0, 0, 16_384).unwrap();
    for command in [
        Command::Reject(block),
        Command::AllowedFast(block.piece()),
        Command::MetadataRequest(0),
        Command::MetadataReject(0),
    ] {
        assert_eq!(sent(&mut plain, command), b"");
    }
    let mut modern = established(now, Some(geo), ALL);
    assert_eq!(sent(&mut modern, Command::MetadataRequest(0)), b"", "the peer has not announced it");
    let handshake = bytes(&[Message::Extended { id: 0, payload: b"d1:md11:ut_metadatai9eee" }]);
    modern.step(now, &handshake).unwrap();
    assert!(modern.takes_metadata());
    assert_eq!(sent(&mut modern, Command::MetadataRequest(0)), b"\0\0\0\x1b\x14\x09d8:msg_typei0e5:piecei0ee");
    let off = bytes(&[Message::Extended { id: 0, payload: b"d1:md11:ut_metadatai0eee" }]);
    modern.step(now, &off).unwrap();
    assert!(!modern.takes_metadata());
}

#[test]
fn a_peer_without_extended_messages_gets_no_extended_handshake() {
    let now = Instant::now();
    let mut session = established(now, Some(geometry()), PLAIN);
    let mut out = Vec::new();
    session.flush(now, &mut out);
    session.send(now, &Command::Unchoke, &mut out);
    assert_eq!(out, bytes(&[Message::Unchoke]));
}

#[test]
fn the_input_that_holds_any_message_is_known() {
    let now = Instant::now();
    assert_eq!(Session::responder(now).max_input_len(), HANDSHAKE_LEN);
    let session = established(now, Some(geometry()), PLAIN);
    assert_eq!(session.max_input_len(), 4 + 9 + 128 * 1024);
    assert_eq!(established(now, None, PLAIN).max_input_len(), 4 + 9 + 128 * 1024);
}
