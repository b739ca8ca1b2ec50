//! The loop with real sockets and a handler that only counts.

#![allow(clippy::disallowed_methods)]

use std::io::Write;
use std::net::TcpStream;
use std::thread;

use super::*;
use crate::proto::peer::{Session, SessionOptions};
use crate::reactor::pause::DOZE;
use crate::types::{InfoHash, PeerId};

/// Counts who comes and takes nobody.
#[derive(Default)]
struct Door(usize);

impl Handler for Door {
    type Data = ();

    fn incoming(&mut self, _: &mut Net<()>, _: SocketAddr) -> Option<()> {
        self.0 += 1;
        None
    }
    fn event(&mut self, _: &mut Net<()>, _: PeerKey, _: Event<'_>) {}
    fn burst_end(&mut self, _: &mut Net<()>, _: PeerKey) {}
    fn sent(&mut self, _: &mut Net<()>, _: PeerKey, _: usize) {}
    fn closed(&mut self, _: &mut Net<()>, _: PeerKey, _: SocketAddr, (): (), _: CloseCause) {}
    fn woken(&mut self, _: &mut Net<()>) {}
    fn timer(&mut self, _: &mut Net<()>, _: u64) {}
}

#[test]
fn a_crowd_at_the_door_gets_in_over_several_turns() {
    let mut reactor = Reactor::new().unwrap();
    let addr = reactor.listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let crowd: Vec<_> = (0..ACCEPT_BUDGET * 3).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let mut door = Door::default();
    while door.0 < crowd.len() {
        let before = door.0;
        reactor.turn(&mut door).unwrap();
        assert!((1..=ACCEPT_BUDGET).contains(&(door.0 - before)), "{} in one turn", door.0 - before);
    }
}

/// Takes everybody and notes, per connection, the numbers of the `port` messages since the last look.
#[derive(Default)]
struct Ear {
    heard: std::collections::HashMap<PeerKey, Vec<u16>>,
    bursts: usize,
    /// Messages of any kind since the last end of a burst.
    pending: usize,
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

impl Handler for Ear {
    type Data = ();

    fn incoming(&mut self, _: &mut Net<()>, _: SocketAddr) -> Option<()> {
        Some(())
    }
    fn event(&mut self, net: &mut Net<()>, key: PeerKey, event: Event<'_>) {
        self.pending += 1;
        match event {
            Event::Handshake(_) => net.accept(key, options()),
            Event::Port(number) => self.heard.entry(key).or_default().push(number),
            _ => {}
        }
    }
    fn burst_end(&mut self, _: &mut Net<()>, _: PeerKey) {
        assert!(self.pending <= MESSAGE_BUDGET, "{} messages before anything was carried out", self.pending);
        self.pending = 0;
        self.bursts += 1;
    }
    fn sent(&mut self, _: &mut Net<()>, _: PeerKey, _: usize) {}
    fn closed(&mut self, _: &mut Net<()>, _: PeerKey, _: SocketAddr, (): (), why: CloseCause) {
        panic!("{why}");
    }
    fn woken(&mut self, _: &mut Net<()>) {}
    fn timer(&mut self, _: &mut Net<()>, _: u64) {}
}

/// A connection that says these numbers, from a thread of its own, and stays.
fn speaker(addr: SocketAddr, numbers: std::ops::Range<u16>) -> TcpStream {
    let mut bytes = Vec::new();
    let _ = Session::initiator(Instant::now(), InfoHash::new([7; 20]), options(), &mut bytes);
    for number in numbers {
        bytes.extend([0, 0, 0, 3, 9]);
        bytes.extend(number.to_be_bytes());
    }
    let mut stream = TcpStream::connect(addr).unwrap();
    let kept = stream.try_clone().unwrap();
    thread::spawn(move || stream.write_all(&bytes));
    kept
}

#[test]
fn a_turn_reads_a_bounded_amount_and_everybody_gets_a_turn() {
    const PEERS: usize = 12;
    const NUMBERS: u16 = 20_000;
    let mut reactor = Reactor::new().unwrap();
    let addr = reactor.listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let _streams: Vec<_> = (0..PEERS).map(|_| speaker(addr, 0..NUMBERS)).collect();
    let mut ear = Ear::default();
    let mut heard = std::collections::HashMap::new();
    while heard.values().sum::<usize>() < PEERS * usize::from(NUMBERS) {
        reactor.turn(&mut ear).unwrap();
        let portion: usize = ear.heard.values().map(Vec::len).sum();
        // Who begins within the budget goes on to its own.
        assert!(portion <= TURN_READ_BUDGET / MESSAGE_COST + MESSAGE_BUDGET, "{portion} in one turn");
        ear.heard.drain().for_each(|(key, numbers)| *heard.entry(key).or_insert(0) += numbers.len());
    }
    assert!(heard.len() == PEERS && heard.values().all(|numbers| *numbers == usize::from(NUMBERS)));
}

#[test]
fn a_flood_of_small_messages_is_taken_in_portions_and_others_are_heard_meanwhile() {
    const FLOOD: u16 = 60_000;
    let mut reactor = Reactor::new().unwrap();
    let addr = reactor.listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let _flood = speaker(addr, 0..FLOOD);
    let mut ear = Ear::default();
    while ear.heard.is_empty() {
        reactor.turn(&mut ear).unwrap();
    }
    let loud = *ear.heard.keys().next().unwrap();
    let mut heard: Vec<u16> = ear.heard.remove(&loud).unwrap();
    let _polite = speaker(addr, 1..2);
    let mut before_polite = None;
    while heard.len() < usize::from(FLOOD) || before_polite.is_none() {
        reactor.turn(&mut ear).unwrap();
        let portion = ear.heard.remove(&loud).unwrap_or_default();
        assert!(portion.len() <= MESSAGE_BUDGET, "{} in one turn", portion.len());
        heard.extend(portion);
        if !ear.heard.is_empty() {
            before_polite.get_or_insert(heard.len());
        }
    }
    assert!(heard.into_iter().eq(0..FLOOD), "each one once and in order");
    assert!(before_polite.unwrap() < usize::from(FLOOD), "the polite one waited for all of it");
}

/// Counts its wake-ups, and calls the hook again during the first ones.
struct Sleeper {
    hook: Arc<dyn Fn() + Send + Sync>,
    woken: usize,
    again: usize,
    awaits_input: bool,
}

impl Handler for Sleeper {
    type Data = ();

    fn incoming(&mut self, _: &mut Net<()>, _: SocketAddr) -> Option<()> {
        None
    }
    fn event(&mut self, _: &mut Net<()>, _: PeerKey, _: Event<'_>) {}
    fn burst_end(&mut self, _: &mut Net<()>, _: PeerKey) {}
    fn sent(&mut self, _: &mut Net<()>, _: PeerKey, _: usize) {}
    fn closed(&mut self, _: &mut Net<()>, _: PeerKey, _: SocketAddr, (): (), _: CloseCause) {}
    fn woken(&mut self, _: &mut Net<()>) {
        self.woken += 1;
        if self.again > 0 {
            self.again -= 1;
            (self.hook)();
        }
    }
    fn timer(&mut self, _: &mut Net<()>, _: u64) {}
    fn awaits_input(&self) -> bool {
        self.awaits_input
    }
}

/// Another thread calls the sleeper's hook so often. Each call is answered before the next one comes, or this hangs.
fn answer_calls(reactor: &mut Reactor<()>, sleeper: &mut Sleeper, calls: usize) {
    let hook = Arc::clone(&sleeper.hook);
    let (answer, answers) = std::sync::mpsc::channel::<()>();
    let caller = thread::spawn(move || {
        for _ in 0..calls {
            hook();
            answers.recv().unwrap();
        }
    });
    for _ in 0..calls {
        let before = sleeper.woken;
        while sleeper.woken == before {
            reactor.turn(sleeper).unwrap();
        }
        answer.send(()).unwrap();
    }
    caller.join().unwrap();
}

#[test]
fn a_call_of_the_wake_hook_is_never_missed() {
    let mut reactor = Reactor::new().unwrap();
    let hook = reactor.wake_hook();
    let mut sleeper = Sleeper { hook: Arc::clone(&hook), woken: 0, again: 3, awaits_input: false };
    // Before the loop waits, and while it is at work: no event tells it, and it must not wait.
    hook();
    (0..4).for_each(|_| reactor.turn(&mut sleeper).unwrap());
    assert_eq!(sleeper.woken, 4);

    // While it waits, or begins to.
    answer_calls(&mut reactor, &mut sleeper, 20_000);
}

#[test]
fn a_call_that_may_wait_is_answered_although_no_input_comes() {
    let mut reactor = Reactor::new().unwrap();
    let hook = reactor.lenient_wake_hook();
    let mut sleeper = Sleeper { hook, woken: 0, again: 0, awaits_input: true };
    answer_calls(&mut reactor, &mut sleeper, 200);
}

#[test]
fn the_loop_dozes_once_for_input_that_was_promised() {
    let mut reactor = Reactor::<()>::new().unwrap();
    let sleeper = Sleeper { hook: reactor.wake_hook(), woken: 0, again: 0, awaits_input: true };
    let doze = Pause { limit: Some(DOZE), sleep: Sleep::Doze };
    assert_eq!(reactor.pause(&sleeper), doze);
    reactor.overslept = true;
    assert_eq!(reactor.pause(&sleeper), Pause { limit: None, sleep: Sleep::Deep });
    reactor.net.again = true;
    assert_eq!(reactor.pause(&sleeper), Pause::NONE);
}
