//! Tests of the announce state machine on made-up time.
#![allow(clippy::disallowed_methods)]

use super::*;
use crate::types::{InfoHash, PeerId};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn exchange(connection: Option<Connection>) -> UdpAnnounce {
    let announce = Announce::new(InfoHash::new([7; 20]), PeerId::new([8; 20]), 6881, 1);
    UdpAnnounce::new(announce, "/announce", Family::V4, connection, 42)
}

fn sent(exchange: &mut UdpAnnounce, now: Instant) -> Vec<u8> {
    exchange.poll_transmit(now).unwrap().expect("a datagram is due")
}

fn transaction(datagram: &[u8]) -> [u8; 4] {
    datagram[12..16].try_into().unwrap()
}

fn is_connect(datagram: &[u8]) -> bool {
    datagram.len() == 16
}

fn connect_reply(request: &[u8], id: u64) -> Vec<u8> {
    [&[0; 4][..], &transaction(request), &id.to_be_bytes()].concat()
}

fn announce_reply(request: &[u8], peers: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 1][..], &transaction(request), &[0, 0, 7, 8, 0, 0, 0, 2, 0, 0, 0, 3], peers].concat()
}

#[test]
fn connect_then_announce_then_peers() {
    let now = Instant::now();
    let mut exchange = exchange(None);
    assert_eq!(exchange.poll_timeout(), None, "something is to be sent at once");
    let connect = sent(&mut exchange, now);
    assert!(is_connect(&connect));
    assert_eq!(exchange.poll_transmit(now), Ok(None));
    assert_eq!(exchange.handle_input(now, &connect_reply(&connect, 99)), Ok(None));
    let announce = sent(&mut exchange, now);
    assert_eq!(announce[..8], 99_u64.to_be_bytes());
    assert_ne!(transaction(&announce), transaction(&connect));
    let reply = announce_reply(&announce, &[10, 0, 0, 1, 0, 80, 10, 0, 0, 2, 0, 0]);
    let announced = exchange.handle_input(now, &reply).unwrap().unwrap();
    assert_eq!(announced.peers, ["10.0.0.1:80".parse().unwrap()]);
    assert_eq!((announced.interval, announced.leechers, announced.seeders), (secs(1800), Some(2), Some(3)));
    assert!(exchange.connection().is_some_and(|connection| connection.is_fresh(now + secs(59))));
}

#[test]
fn a_fresh_connection_saves_the_connect_request_and_a_stale_one_does_not() {
    let now = Instant::now();
    let connection = Connection { id: 5, received: now };
    assert!(!is_connect(&sent(&mut exchange(Some(connection)), now + secs(59))));
    assert!(is_connect(&sent(&mut exchange(Some(connection)), now + secs(60))));
}

#[test]
fn requests_are_repeated_on_the_schedule_of_the_specification() {
    let mut now = Instant::now();
    let mut exchange = exchange(None);
    let mut transactions = vec![transaction(&sent(&mut exchange, now))];
    for n in 0..8 {
        let wait = secs(15 << n);
        assert_eq!(exchange.poll_timeout(), Some(now + wait), "n = {n}");
        assert_eq!(exchange.poll_transmit(now + wait - Duration::from_millis(1)), Ok(None));
        now += wait;
        transactions.push(transaction(&sent(&mut exchange, now)));
    }
    assert_eq!(exchange.poll_timeout(), Some(now + secs(3840)));
    assert_eq!(exchange.poll_transmit(now + secs(3840)), Err(UdpError::NoAnswer));
    transactions.dedup();
    assert_eq!(transactions.len(), 9, "each has its own transaction id");
}

#[test]
fn a_connection_that_expires_while_announcing_is_renewed() {
    let mut now = Instant::now();
    let mut exchange = exchange(None);
    let connect = sent(&mut exchange, now);
    exchange.handle_input(now, &connect_reply(&connect, 1)).unwrap();
    assert!(!is_connect(&sent(&mut exchange, now)));
    now += secs(15);
    assert!(!is_connect(&sent(&mut exchange, now)), "45 s of the connection are left");
    now += secs(30);
    assert!(!is_connect(&sent(&mut exchange, now)), "15 s are left");
    now += secs(60);
    let connect = sent(&mut exchange, now);
    assert!(is_connect(&connect));
    exchange.handle_input(now, &connect_reply(&connect, 2)).unwrap();
    let announce = sent(&mut exchange, now);
    assert_eq!(announce[..8], 2_u64.to_be_bytes());
    assert_eq!(exchange.poll_timeout(), Some(now + secs(120)), "the count of unanswered requests goes on");
}

#[test]
fn answers_to_something_else_are_ignored() {
    let now = Instant::now();
    let mut exchange = exchange(None);
    assert_eq!(exchange.handle_input(now, b"early"), Ok(None));
    let connect = sent(&mut exchange, now);
    let mut forged = connect_reply(&connect, 1);
    forged[7] ^= 1;
    for datagram in [&b""[..], b"short", &forged, &announce_reply(&connect, &[]), &forged[..8]] {
        assert_eq!(exchange.handle_input(now, datagram), Ok(None));
    }
    exchange.handle_input(now, &connect_reply(&connect, 1)).unwrap();
    let announce = sent(&mut exchange, now);
    assert_eq!(exchange.handle_input(now, &connect_reply(&connect, 2)), Ok(None), "a repeated old answer");
    assert_eq!(exchange.handle_input(now, &connect_reply(&announce, 2)), Ok(None));
    assert!(exchange.handle_input(now, &announce_reply(&announce, &[])).unwrap().is_some());
}

#[test]
fn a_refusal_ends_the_announce_and_forgets_the_connection() {
    let now = Instant::now();
    let mut exchange = exchange(Some(Connection { id: 5, received: now }));
    let announce = sent(&mut exchange, now);
    let refusal = [&[0, 0, 0, 3][..], &transaction(&announce), b"not\nregistered"].concat();
    assert_eq!(exchange.handle_input(now, &refusal), Err(UdpError::Refused("notregistered".into())));
    assert_eq!(exchange.connection(), None);
}

#[test]
fn a_truncated_answer_is_an_error() {
    let now = Instant::now();
    let mut exchange = exchange(None);
    let connect = sent(&mut exchange, now);
    let reply = connect_reply(&connect, 1);
    assert_eq!(exchange.handle_input(now, &reply[..15]), Err(UdpError::Malformed(PacketError::TooShort(15))));
}

#[test]
fn peers_of_a_v6_tracker_are_v6() {
    let now = Instant::now();
    let mut exchange = UdpAnnounce { family: Family::V6, ..exchange(Some(Connection { id: 5, received: now })) };
    let announce = sent(&mut exchange, now);
    let mut peer = "2001:db8::9".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
    peer.extend([0, 80]);
    let announced = exchange.handle_input(now, &announce_reply(&announce, &peer)).unwrap().unwrap();
    assert_eq!(announced.peers, ["[2001:db8::9]:80".parse().unwrap()]);
}
