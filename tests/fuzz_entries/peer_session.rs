//! What holds for every byte stream of a peer.
//!
//! The first byte of an input selects the session (see [`Setup`]); the rest is what the peer sends behind its handshake.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use bitween::proto::peer::{
    Command, Event, Features, HANDSHAKE_LEN, Handshake, MAX_METADATA_LEN, MAX_REQUEST_LEN, Session, SessionOptions,
    Step, WireError,
};
use bitween::types::{Bitfield, Geometry, InfoHash, PeerId};

const INFO_HASH: InfoHash = InfoHash::new([0xaa; 20]);

/// What the first byte of a corpus file says.
struct Setup {
    /// Bit 0: the geometry is known from the beginning.
    known: bool,
    /// Bits 1 and 2: what the peer supports.
    features: Features,
    /// Bit 3: the peer connected to us.
    incoming: bool,
    /// Bit 4: no handshake is put in front of the input.
    bare: bool,
    /// Bits 5 to 7: the input arrives in parts of 1, 2, 3, 5, 64 or 16,384 bytes, or (6, 7) at once.
    part: usize,
}

impl Setup {
    fn new(byte: u8) -> Self {
        let bit = |n: u8| byte >> n & 1 == 1;
        let part = [1, 2, 3, 5, 64, 16_384].get(usize::from(byte >> 5)).copied().unwrap_or(usize::MAX);
        let features = Features { fast: bit(1), extended: bit(2), dht: false };
        Self { known: bit(0), features, incoming: bit(3), bare: bit(4), part }
    }
}

fn geometry() -> Geometry {
    Geometry::new(99 * 32_768 + 1_000, 32_768).unwrap()
}

fn options(known: bool) -> SessionOptions {
    SessionOptions {
        peer_id: PeerId::ours([1; 12]),
        listen_port: Some(6881),
        geometry: known.then(geometry),
        metadata_size: known.then_some(20_000),
        request_queue: 500,
        client: "bitween/fuzz".into(),
        remote_ip: None,
    }
}

/// Runs one session over one input. Panics if it breaks a promise. Returns how many messages were understood and how
/// it ended.
pub fn peer_session(data: &[u8]) -> (usize, Result<(), WireError>) {
    let Some((&first, rest)) = data.split_first() else { return (0, Ok(())) };
    let setup = Setup::new(first);
    let mut now = Instant::now();
    let mut input = Vec::new();
    if !setup.bare {
        Handshake { info_hash: INFO_HASH, peer_id: PeerId::new([7; 20]), features: setup.features }.encode(&mut input);
    }
    input.extend_from_slice(rest);
    let mut out = Vec::new();
    let mut session = match setup.incoming {
        true => Session::responder(now),
        false => Session::initiator(now, INFO_HASH, options(setup.known), &mut out),
    };
    let (mut start, mut end, mut messages) = (0, 0, 0);
    while end < input.len() {
        end = end.saturating_add(setup.part).min(input.len());
        now += Duration::from_millis(1);
        loop {
            match session.step(now, &input[start..end]) {
                Ok(Step::NeedMore(needed)) => {
                    assert!(needed > end - start);
                    assert!(needed <= session.max_input_len() || !session.is_established());
                    break;
                }
                Ok(Step::Message { consumed, event }) => {
                    check(&event);
                    assert!(consumed > 0 && consumed <= end - start);
                    start += consumed;
                    messages += 1;
                    if matches!(event, Event::Handshake(_)) && setup.incoming {
                        session.accept(now, options(setup.known), &mut out);
                    }
                }
                Err(error) => return (messages, Err(error)),
            }
        }
    }
    let late = session.set_geometry(geometry(), Some(20_000)).map(|events| events.iter().for_each(check));
    session.send(now, &Command::Bitfield(Bitfield::full(100)), &mut out);
    assert!(session.handle_timeout(now, &mut out).is_ok());
    assert!(!session.is_established() || out.len() >= HANDSHAKE_LEN);
    (messages, late)
}

/// What every event promises.
fn check(event: &Event<'_>) {
    match event {
        Event::Have(piece) | Event::AllowedFast(piece) | Event::Suggested(piece) => assert!(piece.get() < 100),
        Event::Bitfield(bits) => assert_eq!(bits.len(), 100),
        Event::Requested(block) | Event::Cancelled(block) | Event::Rejected(block) => {
            assert!(block.len() <= MAX_REQUEST_LEN);
            assert!(geometry().check_block(block.piece().get(), block.begin(), block.len()).is_some());
        }
        Event::Block { block, data } => assert_eq!(block.len() as usize, data.len()),
        Event::MetadataPiece { total_size, data, .. } => {
            assert!(*total_size <= MAX_METADATA_LEN && data.len() <= 16_384);
        }
        _ => {}
    }
}
