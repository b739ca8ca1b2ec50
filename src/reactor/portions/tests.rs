//! Connections whose flow stalls or ebbs.
#![allow(clippy::disallowed_methods)]

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use super::*;
use crate::proto::peer::{Event, Session, SessionOptions};
use crate::reactor::{CloseCause, Handler, Reactor};
use crate::types::{InfoHash, PeerId};

/// Takes everybody and counts what is said.
#[derive(Default)]
struct Ear {
    keys: Vec<PeerKey>,
    heard: usize,
}

impl Handler for Ear {
    type Data = ();

    fn incoming(&mut self, _: &mut Net<()>, _: SocketAddr) -> Option<()> {
        Some(())
    }
    fn event(&mut self, net: &mut Net<()>, key: PeerKey, event: Event<'_>) {
        self.heard += 1;
        if let Event::Handshake(_) = event {
            self.keys.push(key);
            net.accept(key, options());
        }
    }
    fn burst_end(&mut self, _: &mut Net<()>, _: PeerKey) {}
    fn sent(&mut self, _: &mut Net<()>, _: PeerKey, _: usize) {}
    fn closed(&mut self, _: &mut Net<()>, _: PeerKey, _: SocketAddr, (): (), why: CloseCause) {
        panic!("{why}");
    }
    fn woken(&mut self, _: &mut Net<()>) {}
    fn timer(&mut self, _: &mut Net<()>, _: u64) {}
}

fn options() -> SessionOptions {
    SessionOptions {
        peer_id: PeerId::new([1; 20]),
        listen_port: None,
        geometry: None,
        metadata_size: None,
        request_queue: 1,
        client: String::new(),
        remote_ip: None,
    }
}

struct Bench {
    reactor: Reactor<()>,
    ear: Ear,
    peer: TcpStream,
}

impl Bench {
    /// A connection that has said who it is, and is read in portions.
    fn in_full_flow() -> (Self, PeerKey) {
        let mut reactor = Reactor::new().unwrap();
        let addr = reactor.listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let mut hello = Vec::new();
        let _ = Session::initiator(Instant::now(), InfoHash::new([7; 20]), options(), &mut hello);
        let mut bench = Self { reactor, ear: Ear::default(), peer: TcpStream::connect(addr).unwrap() };
        bench.peer.write_all(&hello).unwrap();
        while bench.ear.keys.is_empty() {
            bench.turn();
        }
        let key = bench.ear.keys[0];
        let net = bench.reactor.net();
        net.pace(key, PORTION);
        net.expect(key, DEEP);
        net.pace(key, PORTION - 1);
        assert!(net.portions.conns.is_empty(), "it is neither fast enough nor is enough expected of it");
        net.pace(key, PORTION);
        assert_eq!(net.portions.conns.len(), 1);
        (bench, key)
    }

    fn turn(&mut self) {
        self.reactor.turn(&mut self.ear).unwrap();
    }

    /// Has the peer say something short, and waits for that.
    fn hears(&mut self) {
        let before = self.ear.heard;
        self.peer.write_all(&[0, 0, 0, 3, 9, 1, 2]).unwrap();
        while self.ear.heard == before {
            self.turn();
        }
    }

    fn in_portions(&mut self) -> usize {
        self.reactor.net().portions.conns.len()
    }
}

#[test]
fn what_a_peer_says_that_has_paused_is_heard() {
    let (mut bench, _) = Bench::in_full_flow();
    bench.hears();
    assert_eq!(bench.in_portions(), 0);
    bench.hears();
}

#[test]
fn every_byte_counts_as_soon_as_little_is_expected() {
    let (mut bench, key) = Bench::in_full_flow();
    let net = bench.reactor.net();
    net.expect(key, PORTION);
    assert!(!net.pace(key, 1));
    net.expect(key, PORTION - 1);
    assert!(net.pace(key, 1), "it has to be read");
    assert_eq!(bench.in_portions(), 0);
    // The deadline that is still armed finds nothing to do.
    assert!(bench.reactor.net().paused().is_empty());
    bench.hears();
}

#[test]
fn a_flow_goes_on_until_nothing_was_read_for_a_while() {
    let (mut bench, key) = Bench::in_full_flow();
    let net = bench.reactor.net();
    net.now += PATIENCE / 2;
    net.pace(key, 1);
    net.now += PATIENCE / 2;
    net.pace(key, 0);
    assert!(net.paused().is_empty(), "it was read since");
    net.now += PATIENCE / 2;
    assert_eq!(net.paused(), [key]);
    assert!(net.paused().is_empty() && net.portions.conns.is_empty());
}

#[test]
fn a_connection_that_is_gone_is_forgotten() {
    let (mut bench, key) = Bench::in_full_flow();
    let net = bench.reactor.net();
    net.close(key);
    net.now += PATIENCE;
    assert!(net.paused().is_empty() && net.portions.conns.is_empty());
}
