//! Connections over real sockets, with an account that is nearly used up.

#![allow(clippy::disallowed_methods)]

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use super::*;
use crate::proto::peer::{Event, Session, SessionOptions};
use crate::reactor::{CloseCause, Handler, Reactor};
use crate::types::{Geometry, InfoHash, MIN_MEMORY_LIMIT, Memory, PeerId};

/// Takes everybody, counts whole blocks, and notes who was closed for want of memory.
#[derive(Default)]
struct Taker {
    open: usize,
    blocks: usize,
    closed: usize,
}

fn options() -> SessionOptions {
    SessionOptions {
        peer_id: PeerId::new([1; 20]),
        listen_port: None,
        geometry: Some(Geometry::new(1 << 30, 1 << 20).unwrap()),
        metadata_size: None,
        request_queue: 1,
        client: String::new(),
        remote_ip: None,
    }
}

impl Handler for Taker {
    type Data = ();

    fn incoming(&mut self, _: &mut Net<()>, _: SocketAddr) -> Option<()> {
        Some(())
    }
    fn event(&mut self, net: &mut Net<()>, key: PeerKey, event: Event<'_>) {
        match event {
            Event::Handshake(_) => {
                net.accept(key, options());
                self.open += 1;
            }
            Event::Block { .. } => self.blocks += 1,
            _ => {}
        }
    }
    fn burst_end(&mut self, _: &mut Net<()>, _: PeerKey) {}
    fn sent(&mut self, _: &mut Net<()>, _: PeerKey, _: usize) {}
    fn closed(&mut self, _: &mut Net<()>, _: PeerKey, _: SocketAddr, (): (), why: CloseCause) {
        self.closed += usize::from(matches!(why, CloseCause::Memory));
    }
    fn woken(&mut self, _: &mut Net<()>) {}
    fn timer(&mut self, _: &mut Net<()>, _: u64) {}
}

/// A block of the longest kind, as it stands on the wire.
fn block() -> Vec<u8> {
    const DATA: u32 = 128 * 1024;
    let mut bytes = (9 + DATA).to_be_bytes().to_vec();
    bytes.push(7);
    bytes.extend([0; 8]);
    bytes.resize(bytes.len() + DATA as usize, 3);
    bytes
}

/// A connection that sends its handshake and these bytes.
fn speaker(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut out = Vec::new();
    let _ = Session::initiator(Instant::now(), InfoHash::new([7; 20]), options(), &mut out);
    out.extend_from_slice(bytes);
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(&out).unwrap();
    stream
}

struct Fixture {
    reactor: Reactor<()>,
    taker: Taker,
    addr: SocketAddr,
    /// Who waits has waited for long enough. Otherwise no time passes for them, however slow this machine is.
    impatient: bool,
}

impl Fixture {
    /// Everything but the reserve for messages is taken: a mebibyte.
    fn new() -> Self {
        let mut memory = Memory::new(MIN_MEMORY_LIMIT);
        memory.set(MemoryClass::Receiving, MIN_MEMORY_LIMIT);
        let mut reactor = Reactor::with_memory(memory).unwrap();
        let addr = reactor.listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self { reactor, taker: Taker::default(), addr, impatient: false }
    }

    /// Turns until this is so.
    fn until(&mut self, is_so: impl Fn(&Taker, &mut Net<()>) -> bool) {
        while !is_so(&self.taker, self.reactor.net()) {
            // Whatever happens, look again soon.
            let soon = Instant::now() + Duration::from_millis(20);
            let net = self.reactor.net();
            net.arm(0, soon);
            if !self.impatient && net.starved.since.is_some() {
                net.starved.since = Some(soon);
            }
            self.reactor.turn(&mut self.taker).unwrap();
            let memory = self.reactor.net().memory();
            let messages = memory.class(MemoryClass::Incoming).now + memory.class(MemoryClass::Outgoing).now;
            assert!(messages <= 1 << 20, "{messages} bytes of messages");
        }
    }
}

#[test]
fn more_half_messages_than_memory_wait_in_the_kernel_and_all_arrive() {
    const PEERS: usize = 20;
    let mut f = Fixture::new();
    let block = block();
    let (first, rest) = block.split_at(50_000);
    let mut streams: Vec<TcpStream> = (0..PEERS).map(|_| speaker(f.addr, first)).collect();
    f.until(|_, net| net.len() == PEERS && net.starved.queue.len() > PEERS / 2);
    assert_eq!(f.taker.blocks, 0);
    let rest = rest.to_vec();
    let sender = std::thread::spawn(move || {
        for stream in &mut streams {
            stream.write_all(&rest).unwrap();
        }
        streams
    });
    f.until(|taker, _| taker.blocks == PEERS);
    let _streams = sender.join().unwrap();
    assert_eq!(f.taker.closed, 0);
    f.until(|_, net| net.starved.queue.is_empty());
    assert_eq!(f.reactor.net().starved.since, None);
}

#[test]
fn who_keeps_memory_from_others_is_closed_and_the_others_are_read() {
    let mut f = Fixture::new();
    let block = block();
    let greedy: Vec<TcpStream> = (0..10).map(|_| speaker(f.addr, &block[..50_000])).collect();
    f.until(|_, net| net.len() == 10 && !net.starved.queue.is_empty());
    let held = f.reactor.net().starved.queue.len();
    let addr = f.addr;
    let honest = std::thread::spawn(move || speaker(addr, &block));
    f.until(|_, net| net.len() == 11 && net.starved.queue.len() > held);
    assert_eq!((f.taker.blocks, f.taker.closed), (0, 0));
    while f.taker.blocks == 0 {
        // Time passes.
        let net = f.reactor.net();
        net.starved.since = net.starved.since.map(|since| since - MEMORY_PATIENCE);
        net.starved.armed = false;
        net.arm_starved();
        let closed = f.taker.closed;
        f.impatient = true;
        f.until(|taker, _| taker.closed > closed || taker.blocks > 0);
        f.impatient = false;
        f.until(|_, net| net.ready.is_empty());
    }
    assert!(f.taker.closed > 0);
    drop((greedy, honest.join().unwrap()));
}

#[test]
fn a_connection_that_goes_gives_everything_back() {
    let mut f = Fixture::new();
    let before = f.reactor.net().memory().class(MemoryClass::Incoming).now;
    let streams: Vec<TcpStream> = (0..3).map(|_| speaker(f.addr, &block()[..90_000])).collect();
    f.until(|taker, net| taker.open == 3 && net.memory().class(MemoryClass::Incoming).now > before + 3 * 90_000);
    drop(streams);
    f.until(|_, net| net.is_empty());
    let memory = f.reactor.net().memory();
    assert_eq!(memory.class(MemoryClass::Outgoing).now, 0);
    // What all connections read into may have grown by a header.
    assert!(memory.class(MemoryClass::Incoming).now <= before + 64);
}
