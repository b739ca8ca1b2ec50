//! The same bytes give the same events and the same error, however the network cuts them.

use proptest::prelude::*;

use super::*;

/// Feeds `input` in parts that end at `cuts` and at its end.
fn in_parts<'b>(session: &mut Session, input: &'b [u8], cuts: &[usize]) -> (Vec<Event<'b>>, Result<(), WireError>) {
    let now = Instant::now();
    let mut start = 0;
    let mut events = Vec::new();
    for end in cuts.iter().copied().chain([input.len()]) {
        loop {
            match session.step(now, &input[start..end]) {
                Ok(Step::NeedMore(_)) => break,
                Ok(Step::Message { consumed, event }) => {
                    start += consumed;
                    events.push(event);
                }
                Err(error) => return (events, Err(error)),
            }
        }
    }
    (events, Ok(()))
}

static DATA: [u8; 40_000] = [0x5a; 40_000];

/// Mostly good messages, some wrong ones.
fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let range =
        || (0..101_u32, 0..40_000_u32, 0..40_000_u32).prop_map(|(piece, begin, len)| Range { piece, begin, len });
    let good = || (0..99_u32, 0..2_u32).prop_map(|(piece, n)| Range { piece, begin: n * 16_384, len: 16_384 });
    let message = prop_oneof![
        4 => Just(Message::KeepAlive),
        4 => Just(Message::Unchoke),
        4 => (0..100_u32).prop_map(Message::Have),
        4 => good().prop_map(Message::Request),
        8 => good().prop_map(|at| Message::Piece { piece: at.piece, begin: at.begin, data: &DATA[..16_384] }),
        4 => Just(Message::Extended { id: 1, payload: b"d8:msg_typei1e5:piecei0e10:total_sizei3eexyz" }),
        1 => range().prop_map(Message::Request),
        1 => range().prop_map(Message::Reject),
        1 => (0..102_u32).prop_map(Message::Suggest),
        1 => Just(Message::HaveAll),
        1 => (12..15_usize).prop_map(|len| Message::Bitfield(&DATA[..len])),
        1 => (0..3_u8).prop_map(|id| Message::Extended { id, payload: b"de" }),
    ];
    let raw = proptest::collection::vec(any::<u8>(), 0..20);
    prop_oneof![20 => message.prop_map(|message| bytes(&[message])), 1 => raw]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_fragmentation_gives_the_same_events(
        messages in proptest::collection::vec(any_message(), 0..20),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        known in any::<bool>(),
    ) {
        let now = Instant::now();
        let mut input = Vec::new();
        Handshake { info_hash: INFO_HASH, peer_id: PeerId::new([7; 20]), features: Features::OURS }.encode(&mut input);
        input.extend(messages.concat());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        let session = || Session::initiator(now, INFO_HASH, options(known.then(geometry)), &mut Vec::new());
        let whole = drain(&mut session(), now, &input);
        prop_assert_eq!(in_parts(&mut session(), &input, &cuts), whole);
    }

    #[test]
    fn any_bytes_end_in_events_or_an_error(input in proptest::collection::vec(any::<u8>(), 0..400), known in any::<bool>()) {
        let now = Instant::now();
        let mut session = established(now, known.then(geometry), Features::OURS);
        let (events, _) = drain(&mut session, now, &input);
        prop_assert!(events.len() * 4 <= input.len());
    }
}

#[test]
fn one_byte_at_a_time_is_enough() {
    let now = Instant::now();
    let mut input = Vec::new();
    Handshake { info_hash: INFO_HASH, peer_id: PeerId::new([7; 20]), features: Features::OURS }.encode(&mut input);
    input.extend(bytes(&[Message::HaveNone, Message::Have(3), Message::Piece { piece: 0, begin: 0, data: b"xy" }]));
    let cuts: Vec<usize> = (0..input.len()).collect();
    let mut session = Session::initiator(now, INFO_HASH, options(Some(geometry())), &mut Vec::new());
    let (events, result) = in_parts(&mut session, &input, &cuts);
    assert_eq!((events.len(), result), (4, Ok(())));
}

#[test]
fn the_length_asked_for_is_exactly_enough() {
    let now = Instant::now();
    let input = bytes(&[Message::Piece { piece: 0, begin: 0, data: &DATA[..1_000] }]);
    let mut session = established(now, Some(geometry()), Features::OURS);
    assert_eq!(session.step(now, &[]), Ok(Step::NeedMore(4)));
    assert_eq!(session.step(now, &input[..4]), Ok(Step::NeedMore(input.len())));
    assert_eq!(session.step(now, &input[..500]), Ok(Step::NeedMore(input.len())));
    assert!(matches!(session.step(now, &input), Ok(Step::Message { consumed, .. }) if consumed == input.len()));
}
