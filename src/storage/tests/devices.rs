//! Disks that hang, and those beside them.

use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

const OTHER: TorrentKey = TorrentKey(2);

/// Disk threads of which those of the first device hang, once they are told to, until the sender is dropped.
fn start_hanging() -> (Running, Arc<AtomicBool>, Sender<()>) {
    let (wake, woken) = unbounded();
    let (gate, closed) = unbounded::<()>();
    let hang = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&hang);
    let wake = move || {
        if told.load(Ordering::SeqCst) && matches!(thread::current().name(), Some("disk-0" | "disk-1")) {
            let _ = closed.recv();
        }
        wake.send(()).unwrap_or_default();
    };
    let options = DiskOptions { threads: 2, backend: BackendChoice::Auto, state: None };
    let disk = Disk::start(&options, Arc::new(wake)).unwrap();
    (Running { disk, woken }, hang, gate)
}

#[test]
fn a_disk_that_hangs_holds_up_no_other_one() {
    let here = Torrent::single(16_384, 65_536);
    let elsewhere =
        tempfile::tempdir_in("/dev/shm").map(|root| Torrent::in_root(root, 16_384, &[("x", 65_536, false)]));
    let device = |torrent: &Torrent| fs::metadata(torrent.root.path()).unwrap().dev();
    let Some(there) = elsewhere.ok().filter(|there| device(there) != device(&here)) else {
        println!("skipped: there is but one device here");
        return;
    };
    let (running, hang, gate) = start_hanging();
    running.opened(here.open_job(CheckMode::Full, true)).0.unwrap();
    running.opened(there.open_as(OTHER, CheckMode::Full, Writing::Repair)).0.unwrap();
    assert_eq!([KEY, OTHER].map(|key| running.disk.device_of(key)), [Some(0), Some(1)]);

    hang.store(true, Ordering::SeqCst);
    for piece in 0..4 {
        running.disk.submit(Job::OpenWindow { torrent: KEY, piece: here.piece(piece) });
    }
    running.disk.submit(Job::OpenWindow { torrent: OTHER, piece: there.piece(0) });
    let mut opened = 0;
    loop {
        match running.next() {
            Done::WindowOpened { torrent: KEY, .. } => opened += 1,
            Done::WindowOpened { torrent: OTHER, result, .. } => break drop(result.unwrap()),
            other => panic!("{other:?}"),
        }
    }
    assert!(opened <= 2, "each of its two threads hangs after one");

    drop(gate);
    while opened < 4 {
        assert!(matches!(running.next(), Done::WindowOpened { torrent: KEY, .. }));
        opened += 1;
    }
    running.crash();
}

#[test]
fn torrents_in_one_place_share_their_threads_wherever_its_folders_are() {
    let torrent = Torrent::single(16_384, 65_536);
    let running = torrent.start(BackendChoice::Auto);
    running.download(&torrent);
    let below = torrent.dir().join("not/there/yet");
    let Job::Open { layout, hashes, .. } = torrent.open_job(CheckMode::Full, true) else { panic!() };
    let (info_hash, check, writing) = (InfoHash::new([2; 20]), CheckMode::Full, Writing::Repair);
    running
        .opened(Job::Open { torrent: OTHER, info_hash, layout, dir: below.into(), hashes, check, writing })
        .0
        .unwrap();
    assert_eq!([KEY, OTHER, TorrentKey(3)].map(|key| running.disk.device_of(key)), [Some(0), Some(0), None]);
    running.crash();
}

#[test]
fn the_torrent_with_most_to_write_is_synced_whoever_writes_the_last_straw() {
    const MIB: u64 = 1 << 20;
    let root = tempfile::tempdir().unwrap();
    let torrents = [("large", 8 * MIB), ("small", 2 * MIB)].map(|(name, len)| {
        let root = tempfile::tempdir_in(root.path()).unwrap();
        Torrent::in_root(root, MIB, &[(name, len, false)])
    });
    let running = Running::start(DiskOptions { threads: 2, backend: BackendChoice::Positional, state: None });
    for (key, torrent) in [KEY, OTHER].into_iter().zip(&torrents) {
        running.opened(torrent.open_as(key, CheckMode::Full, Writing::Repair)).0.unwrap();
    }
    let receive = |key, torrent: &Torrent, index| {
        let piece = torrent.piece(index);
        running.disk.submit(Job::OpenWindow { torrent: key, piece });
        let Done::WindowOpened { result, .. } = running.next() else { panic!() };
        let mut window = result.unwrap();
        window.write_at(0, torrent.bytes(piece)).unwrap();
        running.disk.submit(Job::Verify { torrent: key, piece, window, digests: false });
        assert!(matches!(running.next(), Done::Verified { result: Ok(Verified::Good(_)), .. }));
    };
    let waits = || running.disk.unsynced(KEY).unwrap();
    let [large, small] = &torrents;
    (0..7).for_each(|index| receive(KEY, large, index));
    assert_eq!(waits(), 7 * MIB);
    receive(OTHER, small, 0);
    while waits() == 8 * MIB {
        thread::yield_now();
    }
    assert_eq!(waits(), MIB);
    running.crash();
}
