//! Receiving, serving and closing.

use std::cell::Cell;

use super::*;
use crate::storage::files::{self, Space};
use crate::storage::layout::Place;

/// The torrents that every back end must be able to download and serve.
fn scenarios() -> Vec<(&'static str, Torrent)> {
    let many: Vec<(String, u64, bool)> =
        (0..200).map(|n| (format!("many/{}/{n}", n % 7), n % 5 * 1000 + n, false)).collect();
    let many: Vec<(&str, u64, bool)> = many.iter().map(|(path, len, pad)| (path.as_str(), *len, *pad)).collect();
    vec![
        ("one file, last piece short", Torrent::single(256 * 1024, 1_000_003)),
        ("pieces smaller than a page", Torrent::single(1000, 9_999)),
        ("one piece", Torrent::single(1 << 20, 70_000)),
        (
            "files at unaligned offsets, each large enough to be mapped",
            Torrent::new(
                512 * 1024,
                &[("t/a", 300_001, false), ("t/b", 500_003, false), ("t/e", 0, false), ("t/c", 700_007, false)],
            ),
        ),
        (
            "pad files and empty ones",
            Torrent::new(
                256 * 1024,
                &[
                    ("t/empty", 0, false),
                    ("t/a", 200_000, false),
                    ("t/.pad/1", 62_144, true),
                    ("t/sub/b", 300_000, false),
                    ("t/.pad/2", 224_288, true),
                    ("t/sub/sub/c", 10, false),
                    ("t/last", 0, false),
                ],
            ),
        ),
        ("many files in a piece", Torrent::new(64 * 1024, &many)),
        ("nothing but empty files", Torrent::new(16 * 1024, &[("t/a", 0, false), ("t/b/c", 0, false)])),
    ]
}

#[test]
fn every_layout_is_downloaded_served_and_remembered() {
    for backend in BACKENDS {
        for (name, torrent) in scenarios() {
            println!("{backend:?}: {name}");
            let running = torrent.start(backend);
            assert_eq!(running.download(&torrent).count_ones(), 0);
            for (index, file) in torrent.layout.files().iter().enumerate().filter(|(_, file)| !file.pad) {
                assert_eq!(fs::metadata(torrent.path(index)).unwrap().len(), file.len, "reserved at open");
            }
            for piece in torrent.layout.geometry().pieces().rev() {
                let window = running.receive(&torrent, piece);
                assert!(contents(&window) == torrent.bytes(piece));
                running.disk.submit(Job::Release(vec![window]));
            }
            torrent.assert_files();
            for piece in torrent.layout.geometry().pieces() {
                assert!(contents(&running.populate(piece).unwrap()) == torrent.bytes(piece));
            }
            running.commit();
            running.close(Ending::Clean).unwrap();

            let running = torrent.start(backend);
            let (have, hashed) = running.open(&torrent, CheckMode::TrustResume, true);
            assert!(have.unwrap().is_full());
            assert_eq!(hashed, 0, "after a clean stop nothing is hashed");
            running.close(Ending::Delete).unwrap();
            assert!(!torrent.dir().join("t").exists() && !torrent.dir().join("many").exists());
            assert_eq!(fs::read_dir(torrent.dir()).unwrap().count(), 0, "nothing is left");
        }
    }
}

#[test]
fn a_bad_piece_comes_back_to_be_filled_again() {
    for backend in BACKENDS {
        let torrent = Torrent::single(256 * 1024, 600_000);
        let running = torrent.start(backend);
        running.download(&torrent);
        let piece = torrent.piece(1);
        let mut window = running.open_window(piece).unwrap();
        let mut wrong = torrent.bytes(piece).to_vec();
        wrong[20_000] ^= 1;
        window.write_at(0, &wrong).unwrap();
        let (result, first) = running.verify(piece, window, true);
        let Ok(Verified::Bad(mut window)) = result else { panic!("{result:?}") };
        window.write_at(0, torrent.bytes(piece)).unwrap();
        let (result, second) = running.verify(piece, window, true);
        assert!(matches!(result, Ok(Verified::Good(_))));
        let differing: Vec<usize> = (0..16).filter(|block| first[*block] != second[*block]).collect();
        assert_eq!((first.len(), differing), (16, vec![1]), "the digests name the block that was wrong");
        running.close(Ending::Clean).unwrap();
    }
}

#[test]
fn ranges_outside_of_a_window_are_refused() {
    for backend in BACKENDS {
        let torrent = Torrent::single(128 * 1024, 200_000);
        let running = torrent.start(backend);
        running.download(&torrent);
        let piece = torrent.piece(0);
        let mut window = running.open_window(piece).unwrap();
        for (begin, len) in [(128 * 1024, 1), (128 * 1024 - 1, 2), (u32::MAX, 2), (0, 128 * 1024 + 1)] {
            let refused = window.write_at(begin, &vec![0; len]);
            assert!(matches!(refused, Err(StorageError::OutOfWindow { .. })), "{begin}+{len}");
        }
        running.disk.submit(Job::ReleaseWrite(window));
        let window = running.receive(&torrent, piece);
        let mut slices = Vec::new();
        assert!(window.io_slices(1..128 * 1024 + 1, &mut slices).is_err());
        assert!(slices.is_empty());
        running.close(Ending::Clean).unwrap();
    }
}

#[test]
fn a_download_folder_that_is_a_link_is_fine() {
    let torrent = Torrent::single(64 * 1024, 100_000);
    let real = torrent.root.path().join("real");
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, torrent.dir()).unwrap();
    let running = torrent.start(BackendChoice::Auto);
    running.download(&torrent);
    running.receive(&torrent, torrent.piece(0));
    assert!(real.join("single.bin").is_file());
    running.close(Ending::Clean).unwrap();
}

#[test]
fn a_close_comes_after_the_jobs_before_it_and_refuses_those_behind() {
    let torrent = Torrent::single(256 * 1024, 50 * 256 * 1024);
    let running = torrent.start(BackendChoice::Auto);
    running.download(&torrent);
    let windows: Vec<_> =
        torrent.layout.geometry().pieces().map(|piece| (piece, running.open_window(piece).unwrap())).collect();
    for (piece, mut window) in windows {
        window.write_at(0, torrent.bytes(piece)).unwrap();
        running.disk.submit(Job::Verify { torrent: KEY, piece, window, digests: false });
    }
    running.disk.submit(Job::Close { torrent: KEY, ending: Ending::Clean });
    running.disk.submit(Job::Populate { torrent: KEY, piece: torrent.piece(0) });
    let (mut good, mut refused) = (0, 0);
    loop {
        match running.next() {
            Done::Verified { result: Ok(Verified::Good(_)), .. } => good += 1,
            Done::Populated { result: Err(StorageError::NotOpen), .. } => refused += 1,
            Done::Closed { result, .. } => break result.unwrap(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((good, refused), (50, 1));
    running.disk.stop(Duration::from_secs(60));
    torrent.assert_files();
    let running = torrent.start(BackendChoice::Auto);
    let (have, hashed) = running.open(&torrent, CheckMode::TrustResume, true);
    assert_eq!((have.unwrap().count_ones(), hashed), (50, 0), "what was verified on the way out counts");
    running.close(Ending::Clean).unwrap();
}

#[test]
fn a_close_breaks_off_a_check() {
    let torrent = Torrent::single(1 << 20, 64 << 20);
    torrent.write_files();
    let running = torrent.start(BackendChoice::Auto);
    running.disk.submit(torrent.open_job(CheckMode::Full, false));
    running.disk.submit(Job::Close { torrent: KEY, ending: Ending::Clean });
    let Done::Opened { result, .. } = running.next() else { panic!("opened comes first") };
    assert!(matches!(result, Err(StorageError::NotOpen)));
    assert!(matches!(running.next(), Done::Closed { result: Ok(()), .. }));
    running.disk.stop(Duration::from_secs(60));
}

#[test]
fn the_making_of_very_many_files_can_be_broken_off() {
    let torrent = Torrent::new(64 * 1024, &[("t/a", 100, false), ("t/b", 100, false)]);
    let place = Place { dir: torrent.dir().into(), layout: torrent.layout.clone() };
    let asked = Cell::new(0);
    let cancelled = || asked.replace(asked.get() + 1) > 0;
    let answer = files::make(&place, &[None, None], Space::Later, &cancelled);
    assert!(matches!(answer, Err(StorageError::NotOpen)), "{answer:?}");
    assert!(torrent.path(0).exists() && !torrent.path(1).exists());
}

#[test]
fn closing_with_deletion_leaves_what_is_not_the_torrents() {
    let torrent = Torrent::new(64 * 1024, &[("t/a", 100, false), ("t/sub/b", 100, false)]);
    let running = torrent.start(BackendChoice::Auto);
    running.download(&torrent);
    fs::write(torrent.dir().join("t/mine"), "mine").unwrap();
    running.close(Ending::Delete).unwrap();
    let left: Vec<_> = fs::read_dir(torrent.dir().join("t")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["mine"]);
}

#[test]
fn what_was_written_is_synced_before_much_of_it_waits() {
    for backend in BACKENDS {
        let torrent = Torrent::single(1 << 20, 20 << 20);
        let running = torrent.start(backend);
        running.download(&torrent);
        for piece in torrent.layout.geometry().pieces() {
            let window = running.receive(&torrent, piece);
            running.disk.submit(Job::Release(vec![window]));
        }
        // Nothing is committed meanwhile. The thread that syncs may be at it still.
        let waits = || running.disk.unsynced(KEY).unwrap();
        let attempts = (0..2000).take_while(|_| waits() >= 16 << 20);
        attempts.for_each(|_| std::thread::sleep(Duration::from_millis(10)));
        assert!(waits() < 16 << 20);
        running.crash();
    }
}
