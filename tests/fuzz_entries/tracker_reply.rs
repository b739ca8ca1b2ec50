//! What holds for everything that a tracker says.
//!
//! The first byte of an input is `h` for the body of an HTTP reply, `4` or `6` for datagrams of a UDP tracker (its
//! family); each datagram has two bytes in front that tell its length, and gets the transaction id that is waited for.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::time::Instant;

use bitween::proto::tracker::http::parse_reply;
use bitween::proto::tracker::udp::{Family, UdpAnnounce};
use bitween::proto::tracker::{Announce, Announced, MAX_INTERVAL, MAX_PEERS, MIN_INTERVAL, MIN_REASK};
use bitween::types::{InfoHash, PeerId};

/// Whether it ends in a list of peers.
pub fn tracker_reply(input: &[u8]) -> bool {
    let reply = match input.split_first() {
        Some((b'h', body)) => parse_reply(body).ok(),
        Some((b'4', datagrams)) => udp(datagrams, Family::V4),
        Some((b'6', datagrams)) => udp(datagrams, Family::V6),
        _ => None,
    };
    reply.as_ref().map(check).is_some()
}

fn check(reply: &Announced) {
    assert!((MIN_INTERVAL..=MAX_INTERVAL).contains(&reply.interval), "{:?}", reply.interval);
    assert!((MIN_REASK..=reply.interval).contains(&reply.min_interval), "{:?}", reply.min_interval);
    assert!(reply.peers.len() <= MAX_PEERS);
    assert!(reply.peers.iter().all(|peer| peer.port() != 0 && !peer.ip().is_unspecified()));
    assert!(reply.warning.iter().all(|text| !text.chars().any(char::is_control)));
}

fn udp(mut input: &[u8], family: Family) -> Option<Announced> {
    let now = Instant::now();
    let announce = Announce::new(InfoHash::new([1; 20]), PeerId::new([2; 20]), 6881, 1);
    let mut exchange = UdpAnnounce::new(announce, "/announce?x", family, None, 7);
    let mut transaction = [0; 4];
    while let Some((len, rest)) = input.split_first_chunk() {
        if let Some(request) = exchange.poll_transmit(now).unwrap() {
            transaction = request.get(12..16).unwrap().try_into().unwrap();
        }
        let (datagram, rest) = rest.split_at(usize::from(u16::from_be_bytes(*len)).min(rest.len()));
        let mut datagram = datagram.to_vec();
        if let Some(place) = datagram.get_mut(4..8) {
            place.copy_from_slice(&transaction);
        }
        if let Some(reply) = exchange.handle_input(now, &datagram).ok()? {
            return Some(reply);
        }
        input = rest;
    }
    None
}
