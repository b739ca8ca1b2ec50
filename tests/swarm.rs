//! Swarms of library engines over loopback: odd torrents, bad peers, little memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::too_many_lines,
    reason = "a test that fails should say where"
)]

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bitween::component::bt::{BtOptions, Families};
use bitween::component::event::{TorrentControl, TorrentSource};
use bitween::component::snapshot::{Contacts, TorrentState, TorrentStatus};
use bitween::proto::metainfo::Metainfo;
use bitween::proto::peer::{Command, Event, Step};
use bitween::share::AddressFilter;
use bitween::storage::BackendChoice;
use bitween::types::{Announcement, BLOCK_LEN, Block, ResourceEntry, Share, Via};
use common::data::{Sample, assert_same, random_bytes, write_file};
use common::fake_peer::{FakePeer, connect};
use common::node::Node;
use common::wait_for;
use sha1::{Digest, Sha1};

/// One seeder and three leechers that know each other; everybody ends with everything.
fn swarm(sample: &Sample) {
    let seeder = Node::start();
    seeder.seed(&sample.metainfo, &sample.dir);
    let leechers: Vec<Node> = (0..3).map(|_| Node::start()).collect();
    let everybody: Vec<SocketAddr> = leechers.iter().chain([&seeder]).map(Node::address).collect();
    let info_hash = sample.metainfo.info_hash;
    for leecher in &leechers {
        leecher.download(&sample.metainfo, &everybody);
    }
    for leecher in &leechers {
        leecher.wait_complete(info_hash);
        sample.assert_same_in(&leecher.dir());
    }
}

#[test]
fn a_folder_spreads_in_pieces_of_every_size() {
    for piece_length in [16, 64, 512, 4096] {
        swarm(&Sample::folder(&[]).in_pieces_of(piece_length * 1024));
    }
}

#[test]
fn what_went_over_the_wire_can_still_be_read_after_the_end() {
    let sample = Sample::file(2_000_000, &[]);
    let (mut seeder, leecher) = (Node::start(), Node::start());
    let info_hash = seeder.seed(&sample.metainfo, &sample.dir);
    leecher.download(&sample.metainfo, &[seeder.address()]);
    leecher.wait_complete(info_hash);
    seeder.engine.stop();
    let status = seeder.engine.status(info_hash).unwrap();
    assert!(status.traffic.uploaded >= 2_000_000, "{} bytes", status.traffic.uploaded);
}

#[test]
fn a_single_file_spreads() {
    swarm(&Sample::file(20_000_001, &[]));
}

/// A torrent as other programs make them: padding (BEP 47) lets each file begin with a piece.
fn padded(dir: &Path) -> Metainfo {
    const PIECE: usize = 32 * 1024;
    let (mut files, mut all) = (String::new(), Vec::new());
    for (nth, len) in [70_000, 0, 1, 3 * PIECE, 12_345].into_iter().enumerate() {
        let bytes = random_bytes(len, nth as u64);
        write_file(&dir.join(format!("padded/file {nth}")), len, nth as u64);
        all.extend(bytes);
        files += &format!("d6:lengthi{len}e4:pathl6:file {nth}ee");
        let pad = all.len().next_multiple_of(PIECE) - all.len();
        if pad > 0 {
            all.resize(all.len() + pad, 0);
            let name = pad.to_string();
            files += &format!("d4:attr1:p6:lengthi{pad}e4:pathl4:.pad{}:{name}ee", name.len());
        }
    }
    let hashes: Vec<u8> = all.chunks(PIECE).flat_map(|piece| Sha1::digest(piece).to_vec()).collect();
    let mut torrent = format!("d4:infod5:filesl{files}e4:name6:padded12:piece lengthi{PIECE}e6:pieces").into_bytes();
    torrent.extend(format!("{}:", hashes.len()).bytes());
    torrent.extend(hashes);
    torrent.extend(b"ee");
    Metainfo::parse(&torrent).unwrap()
}

#[test]
fn padding_is_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let metainfo = padded(folder.path());
    let (seeder, leecher) = (Node::start(), Node::start());
    seeder.seed(&metainfo, folder.path());
    leecher.download(&metainfo, &[seeder.address()]);
    leecher.wait_complete(metainfo.info_hash);
    assert_same(&folder.path().join("padded"), &leecher.dir().join("padded"));
}

#[test]
fn a_magnet_link_is_all_it_takes() {
    let sample = Sample::folder(&[]);
    let (seeder, leecher) = (Node::start(), Node::start());
    seeder.seed(&sample.metainfo, &sample.dir);
    let magnet = sample.magnet().parse().unwrap();
    leecher.fetch(TorrentSource::Magnet(Arc::new(magnet)), &[seeder.address()]);
    leecher.wait_complete(sample.metainfo.info_hash);
    sample.assert_same_in(&leecher.dir());
}

#[test]
fn ipv6_works_like_ipv4() {
    let sample = Sample::file(3_000_000, &[]);
    let local = BtOptions { bind: vec!["::1".parse().unwrap()], ..BtOptions::default() };
    let (seeder, leecher) = (Node::with(local.clone()), Node::with(local));
    seeder.seed(&sample.metainfo, &sample.dir);
    let at = SocketAddr::new("::1".parse().unwrap(), seeder.engine.port());
    leecher.download(&sample.metainfo, &[at]);
    leecher.wait_complete(sample.metainfo.info_hash);
    sample.assert_same_in(&leecher.dir());
}

#[test]
fn an_address_family_that_is_switched_off_is_not_connected_to() {
    let sample = Sample::file(1_000_000, &[]);
    let door = TcpListener::bind("[::1]:0").unwrap();
    door.set_nonblocking(true).unwrap();
    let seeder = Node::start();
    seeder.seed(&sample.metainfo, &sample.dir);
    let only_v4 = Families { v4: true, v6: false };
    let leecher = Node::with(BtOptions { families: only_v4, ..BtOptions::default() });
    let closed = door.local_addr().unwrap();
    let info_hash = leecher.download(&sample.metainfo, &[closed]);
    leecher.engine.add_peers(info_hash, &[closed, seeder.address()]);
    let magnet = Sample::file(1_000_001, &[]).magnet().parse().unwrap();
    leecher.fetch(TorrentSource::Magnet(Arc::new(magnet)), &[closed]);
    leecher.wait_complete(info_hash);
    assert!(door.accept().is_err(), "nobody knocked");
}

/// The bytes of a block of a single-file sample.
fn block_of(content: &[u8], piece_length: usize, block: Block) -> Vec<u8> {
    let at = block.piece().as_usize() * piece_length + block.begin() as usize;
    content[at..at + block.len() as usize].to_vec()
}

const PIECE: usize = 256 * 1024;

#[test]
fn a_peer_that_sends_a_whole_wrong_piece_is_banned_at_once() {
    let sample = Sample::file(4_000_000, &[]).in_pieces_of(PIECE as u32);
    let liar = FakePeer::start(&sample.metainfo, |block| Some(vec![7; block.len() as usize]));
    let leecher = Node::start();
    let info_hash = leecher.download(&sample.metainfo, &[liar.address]);
    let status = leecher
        .wait_until("the liar is gone", info_hash, |status| status.traffic.wasted > 0 && status.traffic.peers == 0);
    assert_eq!(status.done, 0);

    let seeder = Node::start();
    seeder.seed(&sample.metainfo, &sample.dir);
    leecher.engine.add_peers(info_hash, &[liar.address, seeder.address()]);
    leecher.wait_complete(info_hash);
    sample.assert_same_in(&leecher.dir());
    assert_eq!(liar.connections(), 1, "it was not asked again");
}

#[test]
fn a_peer_that_spoils_single_blocks_is_found_and_banned_and_honest_ones_are_not() {
    let sample = Sample::file(30_000_000, &[]).in_pieces_of(PIECE as u32);
    let content = fs::read(&sample.path).unwrap();
    let lies = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&lies);
    let liar = FakePeer::start(&sample.metainfo, move |block| {
        let mut data = block_of(&content, PIECE, block);
        if block.number() == Some(5) {
            count.fetch_add(1, Ordering::Relaxed);
            data[100] ^= 1;
        }
        Some(data)
    });
    let seeder = Node::start();
    seeder.seed(&sample.metainfo, &sample.dir);
    let leecher = Node::start();
    let info_hash = leecher.download(&sample.metainfo, &[liar.address, seeder.address()]);
    let status = leecher.wait_complete(info_hash);
    sample.assert_same_in(&leecher.dir());
    assert!(lies.load(Ordering::Relaxed) > 0, "the liar was asked for something");
    assert!(status.traffic.wasted >= PIECE as u64);
    assert_eq!(liar.connections(), 1, "it was not connected to again");
}

#[test]
fn a_peer_that_promises_and_never_sends_holds_nothing_up_for_long() {
    let sample = Sample::file(8_000_000, &[]).in_pieces_of(PIECE as u32);
    let silent = FakePeer::start(&sample.metainfo, |_| None);
    let (seeder, leecher) = (Node::start(), Node::start());
    seeder.seed(&sample.metainfo, &sample.dir);
    let info_hash = leecher.download(&sample.metainfo, &[silent.address]);
    wait_for("a connection to the silent one", Duration::from_secs(10), || (silent.connections() > 0).then_some(()));
    let start = Instant::now();
    leecher.engine.add_peers(info_hash, &[seeder.address()]);
    leecher.wait_complete(info_hash);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    sample.assert_same_in(&leecher.dir());
}

#[test]
fn the_rate_falls_to_nothing_soon_after_the_last_block() {
    let sample = Sample::file(8_000_000, &[]).in_pieces_of(PIECE as u32);
    let left = AtomicUsize::new(40);
    let falls_silent = FakePeer::start(&sample.metainfo, move |block| {
        let more = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        more.then(|| vec![7; block.len() as usize])
    });
    let leecher = Node::start();
    let info_hash = leecher.download(&sample.metainfo, &[falls_silent.address]);
    leecher.wait_until("it moves", info_hash, |status| status.traffic.download_rate.0 > 0);
    let start = Instant::now();
    let has_ended = |status: &TorrentStatus| status.traffic.download_rate.0 == 0 && status.seconds_left().is_none();
    leecher.wait_until("it has ended", info_hash, has_ended);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

/// What a command publishes must not be the last word on something that still moves.
#[test]
fn the_rate_of_a_paused_upload_falls_to_nothing() {
    let sample = Sample::file(400_000_000, &[]);
    let (seeder, leecher) = (Node::start(), Node::start());
    let info_hash = seeder.seed(&sample.metainfo, &sample.dir);
    leecher.download(&sample.metainfo, &[seeder.address()]);
    seeder.wait_until("it moves", info_hash, |status| status.traffic.upload_rate.0 > 0);
    seeder.engine.control(info_hash, TorrentControl::Pause).unwrap();
    seeder.wait_until("it has ended", info_hash, |status| status.traffic.upload_rate.0 == 0);
}

/// Whoever asks for much and reads nothing gets no memory for it: sooner or later it is not listened to any more.
#[test]
fn a_peer_that_asks_without_reading_is_not_listened_to() {
    let sample = Sample::file(64 << 20, &[]);
    let seeder = Node::start();
    seeder.seed(&sample.metainfo, &sample.dir);
    let block = sample.metainfo.info.geometry.blocks(sample.metainfo.info.geometry.piece(0).unwrap()).next().unwrap();
    for command in [Command::MetadataRequest(0), Command::Request(block)] {
        let (mut stream, mut session) = connect(seeder.address(), &sample.metainfo);
        let mut out = Vec::new();
        session.send(Instant::now(), &Command::Interested, &mut out);
        for _ in 0..10_000 {
            session.send(Instant::now(), &command, &mut out);
        }
        stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut taken = 0_usize;
        let refused = loop {
            match stream.write(&out) {
                Ok(len) => taken += len,
                Err(error) => break error.kind(),
            }
            assert!(taken < 64 << 20, "{taken} bytes of requests were taken");
        };
        // Not read any further, or sent away.
        let expected = [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(expected.contains(&refused), "{refused}");
    }
    // Others are served all the same.
    let leecher = Node::start();
    leecher.download(&sample.metainfo, &[seeder.address()]);
    leecher.wait_complete(sample.metainfo.info_hash);
}

/// Silent connections have places only as long as nobody else wants them: at who serves and at who wants to connect.
#[test]
fn a_crowd_that_says_nothing_locks_nobody_out() {
    let sample = Sample::file(3_000_000, &[]);
    let small = BtOptions { max_connections: 40, ..BtOptions::default() };
    let (seeder, leecher) = (Node::with(small.clone()), Node::with(small));
    seeder.seed(&sample.metainfo, &sample.dir);
    let crowd = |node: &Node| (0..150).map(|_| TcpStream::connect(node.address()).unwrap()).collect::<Vec<_>>();
    let crowds = [crowd(&seeder), crowd(&leecher)];
    // Answers at once, although the silent ones would have had their places for a while.
    connect(seeder.address(), &sample.metainfo);
    leecher.download(&sample.metainfo, &[seeder.address()]);
    leecher.wait_complete(sample.metainfo.info_hash);
    sample.assert_same_in(&leecher.dir());
    let newest = crowds.iter().flat_map(|crowd| crowd.last());
    for mut silent in newest {
        silent.set_nonblocking(true).unwrap();
        let still_open = silent.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        assert!(still_open, "the oldest ones made room");
    }
}

/// Where everybody is of use, nobody leaves for a stranger, yet a stranger leaves for a contact.
#[test]
fn a_contact_gets_in_where_a_stranger_does_not() {
    let samples: Vec<Sample> = (0..4).map(|nth| Sample::file(100_000 + nth, &[])).collect();
    let seeder = Node::with(BtOptions { max_connections: 2, ..BtOptions::default() });
    for sample in &samples {
        seeder.seed(&sample.metainfo, &sample.dir);
    }
    // Nobody may be connected to one torrent twice, so each goes for another one.
    let _taken = [connect(seeder.address(), &samples[0].metainfo), connect(seeder.address(), &samples[1].metainfo)];
    let mut stranger = TcpStream::connect(seeder.address()).unwrap();
    assert_eq!(stranger.read(&mut [0]).unwrap(), 0, "it is sent away at once");
    let mut contacts =
        Contacts { filter: AddressFilter { allow_loopback: true, ..Default::default() }, ..Default::default() };
    let entry = ResourceEntry { resource: "home".into(), addresses: vec![seeder.address()], ..Default::default() };
    let _ = contacts.shares.online(Via::FIRST, "bob@example.org", "home");
    let account = Announcement::Account { entries: vec![entry], truncated: false };
    let _ = contacts.shares.apply(Via::FIRST, "bob@example.org", account);
    seeder.engine.contacts().publish(Arc::new(contacts));
    connect(seeder.address(), &samples[2].metainfo);
    connect(seeder.address(), &samples[3].metainfo);
}

/// What `node` knows from now on: bob, who listens at `address`, shares this, and has all of it or not.
fn bob_shares(node: &Node, sample: &Sample, address: SocketAddr, complete: bool) {
    let filter = AddressFilter { allow_loopback: true, ..Default::default() };
    let mut contacts = Contacts { filter, ..Default::default() };
    let info_hash = sample.metainfo.info_hash;
    let share = Share { info_hash, name: "x".into(), size: 1, files: 1, complete };
    let entry = ResourceEntry { resource: "home".into(), shares: vec![share], addresses: vec![address] };
    let _ = contacts.shares.online(Via::FIRST, "bob@example.org", "home");
    let account = Announcement::Account { entries: vec![entry], truncated: false };
    let _ = contacts.shares.apply(Via::FIRST, "bob@example.org", account);
    node.engine.contacts().publish(Arc::new(contacts));
    node.engine.bus().publish(bitween::component::event::Event::RecheckHandles).unwrap();
    // Answered after what was told before.
    node.engine.memory().unwrap();
}

fn bob() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn wait_for_a_call(listener: &TcpListener) {
    wait_for("bob is called", Duration::from_secs(10), || listener.accept().ok());
}

#[test]
fn who_has_everything_calls_only_contacts_who_lack_something() {
    let sample = Sample::file(100_000, &[]);
    let node = Node::start();
    let info_hash = node.seed(&sample.metainfo, &sample.dir);
    let (listener, address) = bob();
    bob_shares(&node, &sample, address, true);
    assert!(listener.accept().is_err(), "neither could give the other anything");
    node.wait_until("it seeds", info_hash, |status| status.traffic.candidates == 0);
    bob_shares(&node, &sample, address, false);
    wait_for_a_call(&listener);
}

#[test]
fn who_was_paused_hears_of_contacts_when_it_goes_on() {
    let sample = Sample::file(100_000, &[]);
    let node = Node::start();
    let info_hash = node.download(&sample.metainfo, &[]);
    node.wait_until("it runs", info_hash, |status| status.state == TorrentState::Downloading);
    node.engine.control(info_hash, TorrentControl::Pause).unwrap();
    let (listener, address) = bob();
    bob_shares(&node, &sample, address, true);
    assert!(listener.accept().is_err(), "it is paused");
    node.engine.control(info_hash, TorrentControl::Resume).unwrap();
    wait_for_a_call(&listener);
}

/// Prints how long others waited; with a debug build on a busy machine no limit would mean anything.
#[test]
fn a_flood_of_small_messages_does_not_keep_others_from_being_served() {
    let sample = Sample::file(3_000_000, &[]);
    let seeder = Node::start();
    seeder.seed(&sample.metainfo, &sample.dir);
    // The two have one peer id, and a torrent takes nobody twice.
    let other = Sample::file(3_000_001, &[]);
    seeder.seed(&other.metainfo, &other.dir);
    let (mut loud, _) = connect(seeder.address(), &other.metainfo);
    let (mut polite, mut session) = connect(seeder.address(), &sample.metainfo);
    // Interested, not interested, and so on, without end.
    let flood = [0, 0, 0, 1, 2, 0, 0, 0, 1, 3].repeat(100_000);
    std::thread::spawn(move || while loud.write_all(&flood).is_ok() {});
    let (mut longest, mut input) = (Duration::ZERO, Vec::new());
    for _ in 0..50 {
        let (mut out, mut buffer, asked) = (Vec::new(), vec![0; 64 * 1024], Instant::now());
        session.send(asked, &Command::MetadataRequest(0), &mut out);
        polite.write_all(&out).unwrap();
        let mut answered = false;
        while !answered {
            let len = polite.read(&mut buffer).unwrap();
            input.extend_from_slice(&buffer[..len]);
            while let Step::Message { consumed, event } = session.step(Instant::now(), &input).unwrap() {
                answered |= matches!(event, Event::MetadataPiece { .. });
                input.drain(..consumed);
            }
        }
        longest = longest.max(asked.elapsed());
    }
    println!("the longest wait of 50 was {longest:?}");
}

/// A peer that was held back is heard in full once it reads.
#[test]
fn a_slow_reader_gets_everything_it_asked_for() {
    let sample = Sample::file(8 << 20, &[]).in_pieces_of(16 * 1024);
    let seeder = Node::start();
    seeder.seed(&sample.metainfo, &sample.dir);
    let (mut stream, mut session) = connect(seeder.address(), &sample.metainfo);
    let pieces = u32::try_from(sample.metainfo.raw_info().len()).unwrap().div_ceil(16 * 1024);
    let wanted = 200 * pieces;
    let mut out = Vec::new();
    (0..wanted).for_each(|nth| session.send(Instant::now(), &Command::MetadataRequest(nth % pieces), &mut out));
    stream.write_all(&out).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let (mut input, mut buffer, mut got) = (Vec::new(), vec![0; 64 * 1024], 0);
    while got < wanted {
        let len = stream.read(&mut buffer).unwrap();
        assert!(len > 0, "closed after {got} answers");
        input.extend_from_slice(&buffer[..len]);
        while let Step::Message { consumed, event } = session.step(Instant::now(), &input).unwrap() {
            got += u32::from(matches!(event, Event::MetadataPiece { .. }));
            input.drain(..consumed);
        }
    }
}

#[test]
fn pieces_larger_than_the_piece_buffer_and_many_torrents_get_through() {
    let samples: Vec<Sample> = (0..4).map(|nth| Sample::file(9_000_000 + nth, &[]).in_pieces_of(4 << 20)).collect();
    for storage in [BackendChoice::Auto, BackendChoice::Positional] {
        let tight = BtOptions { piece_buffer: 1 << 20, storage, ..BtOptions::default() };
        let (seeder, leecher) = (Node::with(tight.clone()), Node::with(tight));
        for sample in &samples {
            seeder.seed(&sample.metainfo, &sample.dir);
        }
        for (nth, sample) in samples.iter().enumerate() {
            leecher.download_into(&nth.to_string(), &sample.metainfo, &[seeder.address()]);
        }
        for (nth, sample) in samples.iter().enumerate() {
            leecher.wait_complete(sample.metainfo.info_hash);
            sample.assert_same_in(&leecher.dir().join(nth.to_string()));
        }
    }
}

/// A torrent whose only peer has fallen silent holds the whole piece buffer; another one must not starve.
#[test]
fn a_stuck_torrent_does_not_keep_the_piece_buffer_from_others() {
    let stuck = Sample::file(9_000_001, &[]).in_pieces_of(4 << 20);
    let other = Sample::file(9_000_002, &[]).in_pieces_of(4 << 20);
    let silent = FakePeer::start(&stuck.metainfo, |_| None);
    let (seeder, leecher) = (Node::start(), Node::with(BtOptions { piece_buffer: 1 << 20, ..BtOptions::default() }));
    seeder.seed(&other.metainfo, &other.dir);
    leecher.download(&stuck.metainfo, &[silent.address]);
    wait_for("a connection to the silent one", Duration::from_secs(10), || (silent.connections() > 0).then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    leecher.download_into("other", &other.metainfo, &[seeder.address()]);
    leecher.wait_complete(other.metainfo.info_hash);
}

#[test]
fn two_torrents_of_one_name_do_not_write_over_each_other() {
    let (first, second) = (Sample::file(3_000_000, &[]), Sample::file(3_000_001, &[]));
    let (seeder, leecher) = (Node::start(), Node::start());
    seeder.seed(&first.metainfo, &first.dir);
    leecher.download(&first.metainfo, &[seeder.address()]);
    leecher.wait_complete(first.metainfo.info_hash);
    let refused = leecher.download(&second.metainfo, &[]);
    let status = leecher.wait_until("it is refused", refused, |s| matches!(s.state, TorrentState::Error(_)));
    assert!(matches!(&status.state, TorrentState::Error(reason) if reason.contains("one file.bin")));
    first.assert_same_in(&leecher.dir());
}

#[test]
fn a_file_cut_short_stops_its_torrent_and_no_other_and_can_be_mended() {
    let sample = Sample::file(16 << 20, &[]).in_pieces_of(PIECE as u32);
    let other = Sample::file(3_000_000, &[]);
    let seeder = Node::start();
    let info_hash = seeder.seed(&sample.metainfo, &sample.dir);
    seeder.seed(&other.metainfo, &other.dir);
    let content = fs::read(&sample.path).unwrap();
    // A first leecher brings pieces into the seeder's memory.
    let first = Node::start();
    first.download(&sample.metainfo, &[seeder.address()]);
    first.wait_complete(info_hash);

    fs::File::options().write(true).open(&sample.path).unwrap().set_len(100_000).unwrap();
    let second = Node::start();
    second.download(&sample.metainfo, &[seeder.address()]);
    let status = seeder.wait_until("the torrent fails", info_hash, |s| matches!(s.state, TorrentState::Error(_)));
    let TorrentState::Error(reason) = &status.state else { unreachable!() };
    assert!(reason.contains("one file.bin"), "it names the file: {reason}");
    second.download_into("other", &other.metainfo, &[seeder.address()]);
    second.wait_complete(other.metainfo.info_hash);

    fs::write(&sample.path, content).unwrap();
    seeder.engine.control(info_hash, TorrentControl::Resume).unwrap();
    seeder.wait_until("it seeds again", info_hash, |s| s.state == TorrentState::Seeding && s.is_complete());
    second.engine.add_peers(info_hash, &[seeder.address()]);
    second.wait_complete(info_hash);
    sample.assert_same_in(&second.dir());
}

#[test]
fn a_paused_download_goes_on_and_a_removed_one_is_gone() {
    let sample = Sample::file(4_000_000, &[]);
    let (seeder, leecher) = (Node::start(), Node::start());
    seeder.seed(&sample.metainfo, &sample.dir);
    let info_hash = leecher.download(&sample.metainfo, &[]);
    leecher.engine.control(info_hash, TorrentControl::Pause).unwrap();
    leecher.engine.add_peers(info_hash, &[seeder.address()]);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(leecher.engine.status(info_hash).unwrap().traffic.downloaded, 0);
    leecher.engine.control(info_hash, TorrentControl::Resume).unwrap();
    leecher.wait_complete(info_hash);
    leecher.engine.control(info_hash, TorrentControl::Recheck).unwrap();
    leecher.wait_complete(info_hash);
    leecher.engine.remove(info_hash, true).unwrap();
    assert!(leecher.engine.status(info_hash).is_none());
    assert_eq!(fs::read_dir(leecher.dir()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn what_is_seeded_with_damage_serves_the_rest_and_overwrites_nothing() {
    let sample = Sample::file(4_000_000, &[]).in_pieces_of(PIECE as u32);
    let whole = Node::start();
    whole.seed(&sample.metainfo, &sample.dir);
    let damaged = tempfile::tempdir().unwrap();
    let mut bytes = fs::read(&sample.path).unwrap();
    bytes[PIECE + 5] ^= 1;
    let path = damaged.path().join(sample.path.file_name().unwrap());
    fs::write(&path, &bytes).unwrap();
    let seeder = Node::start();
    let info_hash = seeder.seed(&sample.metainfo, damaged.path());
    let status = seeder.engine.status(info_hash).unwrap();
    assert!(!status.is_complete() && status.warning.is_some(), "{status:?}");
    seeder.engine.add_peers(info_hash, &[whole.address()]);
    let leecher = Node::start();
    leecher.download(&sample.metainfo, &[seeder.address()]);
    let missing = (PIECE as u64).next_multiple_of(u64::from(BLOCK_LEN));
    let all_but_one = sample.metainfo.info.geometry.total() - missing;
    leecher.wait_until("all but one piece", info_hash, |status| status.done == all_but_one);
    assert_eq!(fs::read(&path).unwrap(), bytes, "the user's file is as it was");
    leecher.engine.add_peers(info_hash, &[whole.address()]);
    leecher.wait_complete(info_hash);
    sample.assert_same_in(&leecher.dir());
}
