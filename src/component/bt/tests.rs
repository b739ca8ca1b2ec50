//! The thread's parts without the thread: commands are given and answers awaited by hand, so that their order is certain.
#![allow(clippy::disallowed_methods, reason = "waits for disk threads")]

use std::net::TcpListener;

use tempfile::TempDir;

use super::*;
use crate::bus::{Answer, Reply};
use crate::component::event::{ControlError, Lifecycle, NewTorrent, TorrentControl, TorrentSource};
use crate::proto::metainfo::Metainfo;
use crate::share::{AddressFilter, Outcome};
use crate::types::{Announcement, ResourceEntry, Share, Via};

/// Longest wait for disk threads.
const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    bt: Bt,
    reactor: Reactor<Peer>,
    /// What is said about torrents.
    lifecycle: Subscriber<Event>,
    dir: TempDir,
}

impl Bench {
    fn new(options: BtOptions) -> Self {
        let reactor = Reactor::with_memory(Memory::new(options.memory_limit)).unwrap();
        let wake = reactor.wake_hook();
        let disk_options = DiskOptions { threads: 2, backend: options.storage, state: None };
        let disk = Disk::start(&disk_options, Arc::clone(&wake)).unwrap();
        let bus = Bus::new();
        let inbox = bus.subscribe_with_wake("bt", TOPICS, INBOX, wake);
        let lifecycle = bus.subscribe("test", &[Topic::Lifecycle], INBOX);
        let bt = Bt::new(options, 0, bus, inbox, disk, Published::default(), Published::default());
        Self { bt, reactor, lifecycle, dir: tempfile::tempdir().unwrap() }
    }

    fn say(&mut self, event: Event) {
        self.bt.command(self.reactor.net(), event);
    }

    /// Turns the loop until this is so.
    fn turn_until(&mut self, mut done: impl FnMut(&Bt) -> bool) {
        let start = Instant::now();
        while !done(&self.bt) {
            assert!(start.elapsed() < PATIENCE);
            self.reactor.turn(&mut self.bt).unwrap();
        }
    }

    /// A download that runs: one file of so many bytes.
    fn add(&mut self, name: &str, len: u64, piece_length: u64) -> TorrentKey {
        let hashes = "h".repeat(usize::try_from(20 * len.div_ceil(piece_length)).unwrap());
        let info = format!(
            "d4:infod6:lengthi{len}e4:name{}:{name}12:piece lengthi{piece_length}e6:pieces{}:{hashes}ee",
            name.len(),
            hashes.len()
        );
        let source = TorrentSource::Metainfo(Arc::new(Metainfo::parse(info.as_bytes()).unwrap()));
        let info_hash = source.info_hash();
        let (reply, answer) = Reply::channel();
        self.say(Event::AddTorrent { torrent: Arc::new(NewTorrent::download(source, self.dir.path())), reply });
        answer.wait(PATIENCE).unwrap().unwrap();
        let key = *self.bt.by_hash.get(&info_hash).unwrap();
        self.turn_until(|bt| bt.torrents[&key].engine().is_some());
        key
    }

    fn piece(&self, key: TorrentKey, piece: u32) -> PieceIndex {
        self.bt.torrents[&key].metainfo.as_ref().unwrap().info.geometry.piece(piece).unwrap()
    }

    fn remove(&mut self, key: TorrentKey) -> Answer<Result<(), ControlError>> {
        let (reply, answer) = Reply::channel();
        let info_hash = self.bt.torrents[&key].info_hash;
        self.say(Event::DelTorrent { info_hash, with_data: true, reply });
        answer
    }
}

#[test]
fn an_address_of_another_machine_is_left_out_or_named_once() {
    // TEST-NET-1 (RFC 5737) is nobody's.
    let foreign = IpAddr::from([192, 0, 2, 1]);
    let bind = |bind| BtOptions { bind, ..BtOptions::default() };
    let mut reactor = Reactor::new().unwrap();
    assert!(listen(&mut reactor, &bind(vec![foreign, [127, 0, 0, 1].into()])).unwrap() > 0);
    let error = listen(&mut Reactor::new().unwrap(), &bind(vec![foreign])).unwrap_err().to_string();
    assert!(error.starts_with("cannot listen on port 0 of 192.0.2.1: ") && error.contains("no address of"), "{error}");
    let (port, missing) = listen_on(&mut reactor, &[foreign, [127, 0, 0, 1].into()], 0).unwrap();
    assert!(port > 0 && missing.len() == 1);
}

#[test]
fn a_stop_during_a_removal_does_not_forget_the_removal() {
    let mut bench = Bench::new(BtOptions::default());
    let key = bench.add("x", 100_000, 16_384);
    assert!(bench.dir.path().join("x").exists());
    let answer = bench.remove(key);
    bench.say(Event::Stop(Part::Bt));
    bench.turn_until(|bt| bt.is_stopped(Instant::now()));
    assert!(bench.bt.torrents.is_empty(), "it need not have waited for the deadline");
    answer.wait(Duration::ZERO).unwrap().unwrap();
    assert!(!bench.dir.path().join("x").exists());
    let said = std::iter::from_fn(|| bench.lifecycle.try_recv());
    let removed = |event: Event| matches!(event, Event::Lifecycle { change: Lifecycle::Removed, .. });
    assert!(said.into_iter().any(removed), "the list of torrents has to know");
}

#[test]
fn a_stop_during_a_check_waits_for_the_files_and_opens_nothing() {
    let mut bench = Bench::new(BtOptions::default());
    let key = bench.add("x", 100_000, 16_384);
    let (reply, answer) = Reply::channel();
    let info_hash = bench.bt.torrents[&key].info_hash;
    bench.say(Event::ControlTorrent { info_hash, what: TorrentControl::Recheck, reply });
    bench.say(Event::Stop(Part::Bt));
    assert!(matches!(answer.wait(Duration::ZERO), Ok(Err(ControlError::Refused(_)))));
    bench.turn_until(|bt| bt.is_stopped(Instant::now()));
    assert!(bench.bt.torrents.is_empty());
}

#[test]
fn small_pieces_pass_a_large_one_that_waits_but_not_for_ever() {
    let options = BtOptions { piece_buffer: 16 << 20, ..BtOptions::default() };
    let mut bench = Bench::new(options);
    let (small, large) = (bench.add("small", 16 << 20, 1 << 20), bench.add("large", 16 << 20, 8 << 20));
    let open = |bench: &mut Bench, key: TorrentKey, piece: u32| {
        let piece = bench.piece(key, piece);
        bench.bt.open_window(bench.reactor.net(), key, piece);
        bench.bt.torrents[&key].active.reserved.contains_key(&piece)
    };
    assert!((0..5).all(|piece| open(&mut bench, small, piece)));
    assert!(!open(&mut bench, large, 0));
    assert!(open(&mut bench, small, 5), "there is room for it");
    (0..2).for_each(|_| bench.bt.room.look());
    assert!(!open(&mut bench, small, 6), "there is room for it, and the large one was first for long enough");
    let give_back = |bench: &mut Bench, piece: u32| {
        let piece = bench.piece(small, piece);
        bench.bt.release_reservation(small, piece);
        bench.bt.open_waiting_windows(bench.reactor.net());
    };
    (0..6).for_each(|piece| give_back(&mut bench, piece));
    let reserved = |bench: &Bench, key: TorrentKey| bench.bt.torrents[&key].active.reserved.len();
    assert_eq!((reserved(&bench, large), reserved(&bench, small)), (1, 1));
}

#[test]
fn what_becomes_of_connecting_to_contacts_is_noted_until_they_are_gone() {
    use std::io::Write as _;
    let mut bench = Bench::new(BtOptions::default());
    let key = bench.add("x", 100_000, 16_384);
    let info_hash = bench.bt.torrents[&key].info_hash;
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (deaf, shy, other) = (listener(), listener(), listener());
    let addrs = [&deaf, &shy, &other].map(|listener| listener.local_addr().unwrap());
    drop(deaf);
    std::thread::spawn(move || {
        shy.incoming().for_each(|stream| {
            // With its input unread it would not be closed, but reset.
            let _ = std::io::Read::read(&mut stream.unwrap(), &mut [0; 100]);
        })
    });
    std::thread::spawn(move || {
        other.incoming().for_each(|stream| {
            let _ = stream.unwrap().write_all(&[b'?'; 100]);
        })
    });
    let share = Share { info_hash, name: "x".into(), size: 100_000, files: 1, complete: true };
    let entry = ResourceEntry { resource: "r".into(), shares: vec![share], addresses: addrs.to_vec() };
    let filter = AddressFilter { allow_loopback: true, ..AddressFilter::default() };
    let mut contacts = Contacts { filter, ..Contacts::default() };
    let _ = contacts.shares.online(Via::FIRST, "bob@x", "r");
    let account = Announcement::Account { entries: vec![entry], truncated: false };
    let _ = contacts.shares.apply(Via::FIRST, "bob@x", account);
    bench.bt.contacts.publish(Arc::new(contacts.clone()));
    bench.say(Event::RecheckHandles);
    let outcomes = |bt: &Bt| {
        let attempts = &bt.published.read().attempts;
        addrs.map(|addr| attempts.get(Instant::now(), addr).map(|attempt| attempt.outcome))
    };
    let expected = [Outcome::Refused, Outcome::NotServed(info_hash), Outcome::NotBitTorrent].map(Some);
    bench.turn_until(|bt| outcomes(bt) == expected);

    let _ = contacts.shares.offline(Via::FIRST, "bob@x", "r");
    bench.bt.contacts.publish(Arc::new(contacts));
    bench.say(Event::RecheckHandles);
    bench.turn_until(|bt| outcomes(bt) == [None; 3]);
}
