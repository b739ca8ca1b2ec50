//! Two sessions joined in memory: one that connects, one that is connected to.

use super::*;
use crate::proto::peer::Command;

/// Two sessions and the bytes on their way, on a clock of their own.
struct Pair {
    now: Instant,
    sessions: [Session; 2],
    /// What each side has received and not yet read.
    inputs: [Vec<u8>; 2],
}

const OUTGOING: usize = 0;
const INCOMING: usize = 1;

impl Pair {
    fn connect(outgoing: Option<Geometry>) -> Self {
        let now = Instant::now();
        let mut hello = Vec::new();
        let initiator = Session::initiator(now, INFO_HASH, options(outgoing), &mut hello);
        Self { now, sessions: [initiator, Session::responder(now)], inputs: [Vec::new(), hello] }
    }

    /// Both handshakes and extended handshakes done.
    fn established(outgoing: Option<Geometry>) -> Self {
        let mut pair = Self::connect(outgoing);
        assert_eq!(pair.read(INCOMING).len(), 1);
        pair.accept(Some(geometry()));
        assert_eq!(pair.read(OUTGOING).len(), 2);
        pair.tick(OUTGOING);
        assert_eq!(pair.read(INCOMING).len(), 1);
        pair
    }

    fn accept(&mut self, geometry: Option<Geometry>) {
        self.sessions[INCOMING].accept(self.now, options(geometry), &mut self.inputs[OUTGOING]);
    }

    fn tick(&mut self, side: usize) {
        let out = &mut self.inputs[1 - side];
        self.sessions[side].handle_timeout(self.now, out).unwrap();
    }

    fn send(&mut self, side: usize, command: &Command, data: &[u8]) {
        let out = &mut self.inputs[1 - side];
        self.sessions[side].send(self.now, command, out);
        out.extend_from_slice(data);
    }

    /// All that has come in at one side, printed, since the bytes are gone afterwards.
    fn read(&mut self, side: usize) -> Vec<String> {
        let input = std::mem::take(&mut self.inputs[side]);
        let (events, result) = drain(&mut self.sessions[side], self.now, &input);
        assert_eq!(result, Ok(()));
        events.iter().map(|event| format!("{event:?}")).collect()
    }
}

#[test]
fn both_sides_learn_who_the_other_is_and_what_it_supports() {
    let mut pair = Pair::connect(Some(geometry()));
    assert_eq!(pair.sessions[INCOMING].info_hash(), None);
    pair.read(INCOMING);
    assert_eq!(pair.sessions[INCOMING].info_hash(), Some(INFO_HASH));
    assert!(!pair.sessions[INCOMING].is_established(), "not before it is accepted");
    assert!(pair.inputs[OUTGOING].is_empty(), "nothing was sent");
    pair.accept(Some(geometry()));
    let heard = pair.read(OUTGOING);
    assert!(heard[0].starts_with("Handshake("));
    assert!(heard[1].contains("bitween/test") && heard[1].contains("192.0.2.1"), "{heard:?}");
    pair.tick(OUTGOING);
    assert!(pair.read(INCOMING)[0].contains("metadata_size: Some(20000)"));
    for session in &pair.sessions {
        assert!(session.is_established() && session.takes_metadata());
        assert_eq!(session.features(), Features::OURS);
        assert_eq!(session.peer_id(), Some(PeerId::ours(*b"0123456789ab")), "both used the same options");
    }
}

#[test]
fn an_accepted_session_goes_on_with_what_came_behind_the_handshake() {
    let mut pair = Pair::connect(Some(geometry()));
    bytes(&[Message::HaveAll]).iter().for_each(|byte| pair.inputs[INCOMING].push(*byte));
    let input = std::mem::take(&mut pair.inputs[INCOMING]);
    let now = pair.now;
    let session = &mut pair.sessions[INCOMING];
    assert!(matches!(session.step(now, &input), Ok(Step::Message { consumed: HANDSHAKE_LEN, .. })));
    let rest = &input[HANDSHAKE_LEN..];
    assert_eq!(session.step(now, rest), Ok(Step::NeedMore(rest.len() + 1)), "not accepted yet");
    session.accept(now, options(Some(geometry())), &mut Vec::new());
    let (events, _) = drain(session, now, rest);
    assert_eq!(events, [Event::Bitfield(Bitfield::full(100))]);
}

#[test]
fn after_the_handshake_both_sides_are_alike() {
    let geo = geometry();
    let block = geo.check_block(99, 0, 1_000).unwrap();
    for (from, to) in [(OUTGOING, INCOMING), (INCOMING, OUTGOING)] {
        let mut pair = Pair::established(Some(geo));
        pair.send(from, &Command::Bitfield(Bitfield::full(100)), b"");
        pair.send(from, &Command::Unchoke, b"");
        assert_eq!(pair.read(to), ["Bitfield(Bitfield(100/100))", "Unchoked"]);
        pair.send(to, &Command::Interested, b"");
        pair.send(to, &Command::Request(block), b"");
        assert_eq!(pair.read(from), ["Interested".to_owned(), format!("{:?}", Event::Requested(block))]);
        let data = [9; 1_000];
        pair.send(from, &Command::Block(block), &data);
        assert_eq!(pair.read(to), [format!("{:?}", Event::Block { block, data: &data })]);
    }
}

#[test]
fn every_command_arrives_as_its_event() {
    let geo = geometry();
    let piece = geo.piece(7).unwrap();
    let block = geo.block(piece, 1).unwrap();
    let data = vec![3; 3_616];
    let metadata = Command::MetadataPiece { piece: 1, total_size: 20_000, data: data.clone() };
    let mut pair = Pair::established(Some(geo));
    for (command, event) in [
        (Command::Choke, Event::Choked),
        (Command::NotInterested, Event::NotInterested),
        (Command::Have(piece), Event::Have(piece)),
        (Command::Cancel(block), Event::Cancelled(block)),
        (Command::Reject(block), Event::Rejected(block)),
        (Command::AllowedFast(piece), Event::AllowedFast(piece)),
        (Command::MetadataRequest(1), Event::MetadataRequested(1)),
        (metadata, Event::MetadataPiece { piece: 1, total_size: 20_000, data: &data }),
        (Command::MetadataReject(1), Event::MetadataRejected(1)),
    ] {
        pair.send(OUTGOING, &command, b"");
        assert_eq!(pair.read(INCOMING), [format!("{event:?}")], "{command:?}");
    }
}

#[test]
fn a_side_that_gets_the_metadata_later_tells_so_and_hands_out_what_it_kept() {
    let mut pair = Pair::established(None);
    pair.send(INCOMING, &Command::Bitfield(Bitfield::full(100)), b"");
    assert_eq!(pair.read(OUTGOING), ["Ignored"]);
    pair.send(OUTGOING, &Command::MetadataRequest(0), b"");
    assert_eq!(pair.read(INCOMING), ["MetadataRequested(0)"]);
    let kept = pair.sessions[OUTGOING].set_geometry(geometry(), Some(20_000));
    assert_eq!(kept, Ok(vec![Event::Bitfield(Bitfield::full(100))]));
    assert_eq!(pair.sessions[OUTGOING].set_geometry(geometry(), None), Ok(vec![]), "a second time changes nothing");
    pair.tick(OUTGOING);
    assert!(pair.read(INCOMING)[0].contains("metadata_size: Some(20000)"));
    let block = geometry().check_block(0, 0, 16_384).unwrap();
    pair.send(OUTGOING, &Command::Request(block), b"");
    assert_eq!(pair.read(INCOMING), [format!("{:?}", Event::Requested(block))]);
}

#[test]
fn nothing_is_sent_before_the_handshakes_are_done() {
    let mut pair = Pair::connect(Some(geometry()));
    let before = pair.inputs[INCOMING].len();
    pair.send(OUTGOING, &Command::Unchoke, b"");
    pair.send(INCOMING, &Command::Unchoke, b"");
    assert_eq!((pair.inputs[INCOMING].len(), pair.inputs[OUTGOING].len()), (before, 0));
    pair.accept(Some(geometry()));
    assert!(pair.inputs[OUTGOING].is_empty(), "there was no handshake to accept");
}
