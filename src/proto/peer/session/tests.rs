//! Sessions against bytes, against each other, and on virtual time.
#![allow(clippy::disallowed_methods)]

mod fragments;
mod pair;
mod rules;
mod timers;

use std::net::IpAddr;
use std::time::Instant;

use super::super::ext;
use super::super::message::{Message, Range, id};
use super::*;
use crate::proto::peer::MAX_REQUEST_LEN;
use crate::types::{Bitfield, BitfieldError};

const INFO_HASH: InfoHash = InfoHash::new([0xaa; 20]);

/// 100 pieces of 32 KiB, the last one of 1,000 bytes.
fn geometry() -> Geometry {
    Geometry::new(99 * 32_768 + 1_000, 32_768).unwrap()
}

fn options(geometry: Option<Geometry>) -> SessionOptions {
    SessionOptions {
        peer_id: PeerId::ours(*b"0123456789ab"),
        listen_port: Some(6881),
        geometry,
        metadata_size: geometry.map(|_| 20_000),
        request_queue: 500,
        client: "bitween/test".into(),
        remote_ip: Some(IpAddr::from([192, 0, 2, 1])),
    }
}

/// An outgoing session whose peer supports `features`.
fn established(now: Instant, geometry: Option<Geometry>, features: Features) -> Session {
    let mut session = Session::initiator(now, INFO_HASH, options(geometry), &mut Vec::new());
    let mut input = Vec::new();
    Handshake { info_hash: INFO_HASH, peer_id: PeerId::new([7; 20]), features }.encode(&mut input);
    let step = session.step(now, &input).unwrap();
    assert!(matches!(step, Step::Message { consumed: HANDSHAKE_LEN, event: Event::Handshake(_) }));
    assert!(session.is_established());
    session
}

fn bytes(messages: &[Message<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    messages.iter().for_each(|message| message.encode(&mut out));
    out
}

/// All events in the input, up to the first error.
fn drain<'b>(session: &mut Session, now: Instant, mut input: &'b [u8]) -> (Vec<Event<'b>>, Result<(), WireError>) {
    let mut events = Vec::new();
    loop {
        match session.step(now, input) {
            Ok(Step::NeedMore(needed)) => {
                assert!(needed > input.len(), "asked for {needed}, has {}", input.len());
                return (events, Ok(()));
            }
            Ok(Step::Message { consumed, event }) => {
                assert!(consumed > 0);
                input = &input[consumed..];
                events.push(event);
            }
            Err(error) => return (events, Err(error)),
        }
    }
}
