//! Stopping in the middle of a download, in order and not, and going on.
#![cfg(all(feature = "cli", feature = "resume"))]
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

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bitween::storage::inspect::check_files;
use common::bitween::{command, download_folder};
use common::data::Sample;
use common::node::Node;
use common::process::Program;
use common::relay::Relay;
use common::{START_LIMIT, TRANSFER_LIMIT, text, wait_for};

const PIECE: u32 = 256 * 1024;

/// What may be lost each time, in bytes: the pieces that are not whole when the end comes. A fast peer owes us 8 MiB,
/// which lie in pieces that are being received; twice that, for pieces opened ahead and blocks sent in vain.
const LOSS: u64 = 16 << 20;

/// A `bitween download` whose home folder outlives it.
fn leecher(sample: &Sample, into: &Path, home: &Path, peer: SocketAddr) -> Program {
    let mut command = command(home);
    command.args(["download", text(&sample.torrent), "--dir", text(into), "--log-level", "info"]);
    command.args(["--peer", &peer.to_string()]);
    Program::start("bitween", command, home)
}

/// "N of M pieces there, H checked": N and H.
fn found(leecher: &mut Program) -> (u32, u32) {
    // As logged: a slow check also tells how far it is.
    let line = leecher.wait_for_line("::disk: sample: ", START_LIMIT);
    let mut numbers = line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
    (numbers.next().unwrap(), numbers.nth(1).unwrap())
}

/// Block bytes that the seeder has handed out, as it stands now.
fn sent(seeder: &Node, sample: &Sample) -> u64 {
    let gone = seeder.engine.status(sample.metainfo.info_hash).unwrap().traffic.uploaded;
    let here: u64 = seeder.engine.peers(sample.metainfo.info_hash).unwrap().iter().map(|peer| peer.uploaded).sum();
    gone.max(here)
}

/// Waits until so many bytes have passed in all.
fn wait_for_bytes(relay: &Relay, bytes: u64) {
    wait_for("bytes", TRANSFER_LIMIT, || (relay.passed() >= bytes).then_some(()));
}

/// Pieces that are good on the disk, whatever the program knew of them.
fn good_on_disk(sample: &Sample, into: &Path) -> u32 {
    let report = check_files(&sample.metainfo.info, into, &|_, _| {}, &AtomicBool::new(false)).unwrap();
    report.good.count_ones()
}

fn sample(mib: usize) -> (Sample, Node) {
    let sample = Sample::named("sample", mib << 20).in_pieces_of(PIECE);
    let seeder = Node::start();
    seeder.seed(&sample.metainfo, &sample.dir);
    (sample, seeder)
}

#[test]
fn ten_kills_cost_no_more_than_the_pieces_on_their_way() {
    const KILLS: u64 = 10;
    let (sample, seeder) = sample(384);
    let (_folder, into) = download_folder();
    let home = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let relay = Relay::to(seeder.address());
    let mut had = 0;
    for nth in 0..KILLS {
        let mut leecher = leecher(&sample, &into, home.path(), relay.address);
        let (there, hashed) = found(&mut leecher);
        assert!(there >= had, "kill {nth}: {there} pieces left of {had}");
        println!("start {nth}: {there} pieces are there, {hashed} were hashed");
        // Killed while bytes flow or soon after, but always long before the end: ten times 32 MiB are not all.
        let (before, bytes) = (relay.passed(), random.u64(1 << 20..32 << 20));
        relay.allow(bytes);
        wait_for_bytes(&relay, before + random.u64(bytes / 2..bytes));
        std::thread::sleep(Duration::from_millis(random.u64(0..30)));
        assert!(leecher.ended().is_none(), "{}", leecher.stderr());
        leecher.kill();
        had = good_on_disk(&sample, &into);
    }
    relay.allow(u64::MAX);
    let mut last = leecher(&sample, &into, home.path(), relay.address);
    let (there, _) = found(&mut last);
    assert!(had > 0 && there >= had, "{there} pieces left of {had}");
    assert!(last.wait(TRANSFER_LIMIT).success());
    sample.assert_same_in(&into);

    std::thread::sleep(Duration::from_secs(1));
    let size = sample.metainfo.info.geometry.total();
    let sent = sent(&seeder, &sample);
    println!("{sent} bytes were sent for {size}: {} per kill were lost", (sent - size) / KILLS);
    assert!(sent <= size + KILLS * LOSS, "{sent} bytes were sent for {size}");
}

#[test]
fn after_an_orderly_stop_nothing_is_hashed_and_nothing_fetched_again() {
    let (sample, seeder) = sample(384);
    let (_folder, into) = download_folder();
    let home = tempfile::tempdir().unwrap();
    let relay = Relay::to(seeder.address());
    let mut had = 0;
    for signal in ["INT", "TERM"] {
        let mut leecher = leecher(&sample, &into, home.path(), relay.address);
        let (there, hashed) = found(&mut leecher);
        assert_eq!((there >= had, hashed), (true, 0));
        had = there;
        let before = relay.passed();
        relay.allow(40 << 20);
        wait_for_bytes(&relay, before + (20 << 20));
        leecher.signal(signal);
        let status = leecher.wait(Duration::from_secs(5));
        assert_eq!(status.code(), Some(1), "a download that is not complete has not succeeded");
        assert!(leecher.stderr().contains("goes on where it stopped"), "{}", leecher.stderr());
    }
    relay.allow(u64::MAX);
    let mut last = leecher(&sample, &into, home.path(), relay.address);
    let (there, hashed) = found(&mut last);
    assert!(there > had && hashed == 0, "{there} pieces, {hashed} hashed");
    assert!(last.wait(TRANSFER_LIMIT).success());
    sample.assert_same_in(&into);
    let before = sent(&seeder, &sample);

    // Complete: the next run has nothing to do.
    let mut again = leecher(&sample, &into, home.path(), relay.address);
    assert_eq!(found(&mut again), (1536, 0));
    assert!(again.wait(START_LIMIT).success());
    assert!(again.stdout().contains("complete"), "{}", again.stdout());
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(sent(&seeder, &sample), before);
    assert!(before <= sample.metainfo.info.geometry.total() + 2 * LOSS, "{before}");
}
