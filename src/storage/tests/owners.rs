//! Whose file is it? Nothing is ever written over somebody else's.

use std::os::unix::fs::symlink;

use super::*;

const OTHER: TorrentKey = TorrentKey(2);
const PIECE: usize = 64 * 1024;

/// Two files of two pieces each.
fn two_files() -> Torrent {
    let len = 2 * PIECE as u64;
    Torrent::new(PIECE as u64, &[("t/a", len, false), ("t/b", len, false)])
}

/// Opens it to be written, as a program does that goes on by itself.
fn go_on(running: &Running, torrent: &Torrent) -> Result<Bitfield, StorageError> {
    running.opened(torrent.open_as(KEY, CheckMode::TrustResume, Writing::Missing)).0
}

/// Opens it as a program does that has just been started.
fn restore(running: &Running, torrent: &Torrent) -> Result<Bitfield, StorageError> {
    running.opened(torrent.open_as(KEY, CheckMode::TrustResume, Writing::Restore)).0
}

#[test]
fn a_file_of_the_same_name_is_refused_and_left_alone() {
    for backend in BACKENDS {
        for len in [4, 2 * PIECE - 1, 2 * PIECE] {
            let torrent = two_files();
            let precious = vec![b'x'; len];
            fs::create_dir_all(torrent.path(0).parent().unwrap()).unwrap();
            fs::write(torrent.path(0), &precious).unwrap();
            for _ in 0..2 {
                let running = torrent.start(backend);
                let refused = running.open(&torrent, CheckMode::TrustResume, true).0;
                assert!(
                    matches!(&refused, Err(StorageError::Foreign { path }) if *path == torrent.path(0)),
                    "{refused:?}"
                );
                assert!(fs::read(torrent.path(0)).unwrap() == precious);
                assert!(!torrent.path(1).exists(), "nothing is made");
                // It is not the torrent's to delete, either.
                let kept = running.close(Ending::Delete);
                assert!(matches!(kept, Err(StorageError::NotItsOwn { .. })), "{kept:?}");
                assert!(fs::read(torrent.path(0)).unwrap() == precious);
            }
            fs::remove_file(torrent.path(0)).unwrap();
            let running = torrent.start(backend);
            assert_eq!(running.download(&torrent).count_ones(), 0);
            running.close(Ending::Clean).unwrap();
        }
    }
}

#[test]
fn a_longer_file_keeps_its_tail() {
    let torrent = two_files();
    torrent.write_files();
    let longer = [&torrent.content[..2 * PIECE], b"more".as_slice()].concat();
    fs::write(torrent.path(0), &longer).unwrap();
    let running = torrent.start(BackendChoice::Auto);
    // Served as it is, it is no harm; but that makes it nobody's to be cut.
    assert!(running.open(&torrent, CheckMode::TrustResume, false).0.unwrap().is_full());
    running.close(Ending::Clean).unwrap();
    let running = torrent.start(BackendChoice::Auto);
    let refused = running.open(&torrent, CheckMode::TrustResume, true).0;
    assert!(matches!(&refused, Err(StorageError::TooLong { path, .. }) if *path == torrent.path(0)), "{refused:?}");
    assert!(fs::read(torrent.path(0)).unwrap() == longer);
    running.crash();
}

#[test]
fn a_download_that_was_killed_does_not_make_everything_its_own() {
    for backend in BACKENDS {
        for len in [4, 2 * PIECE - 1, 5 * PIECE] {
            let torrent = two_files();
            let running = torrent.start(backend);
            running.download(&torrent);
            running.receive(&torrent, torrent.piece(3));
            running.crash();
            // Somebody gave up waiting, and put something else there.
            let precious = vec![b'x'; len];
            fs::remove_file(torrent.path(0)).unwrap();
            fs::write(torrent.path(0), &precious).unwrap();
            let running = torrent.start(backend);
            let refused = running.open(&torrent, CheckMode::TrustResume, true).0;
            assert!(
                matches!(&refused, Err(StorageError::Foreign { path } | StorageError::TooLong { path, .. })
                    if *path == torrent.path(0)),
                "{refused:?}"
            );
            running.crash();
            assert!(fs::read(torrent.path(0)).unwrap() == precious);
            fs::remove_file(torrent.path(0)).unwrap();
            let running = torrent.start(backend);
            assert_eq!(running.download(&torrent).count_ones(), 1, "what is good is still there");
            running.crash();
        }
    }
}

#[test]
fn one_good_piece_makes_a_damaged_copy_the_torrents_own() {
    let torrent = two_files();
    torrent.write_files();
    let mut bytes = torrent.content[..2 * PIECE].to_vec();
    bytes[PIECE] ^= 1;
    fs::write(torrent.path(0), &bytes).unwrap();
    let running = torrent.start(BackendChoice::Auto);
    assert_eq!(running.download(&torrent).as_bytes(), [0b1011_0000]);
    running.receive(&torrent, torrent.piece(1));
    running.close(Ending::Clean).unwrap();
    torrent.assert_files();
}

#[test]
fn a_good_neighbour_does_not_vouch() {
    let torrent = two_files();
    torrent.write_files();
    fs::write(torrent.path(1), "precious").unwrap();
    let running = torrent.start(BackendChoice::Auto);
    let refused = running.open(&torrent, CheckMode::TrustResume, true).0;
    assert!(matches!(&refused, Err(StorageError::Foreign { path }) if *path == torrent.path(1)), "{refused:?}");
    assert_eq!(fs::read(torrent.path(1)).unwrap(), b"precious");
    running.crash();
}

#[test]
fn zeros_of_an_earlier_run_are_no_obstacle_without_resume_data_either() {
    let torrent = two_files();
    fs::create_dir_all(torrent.path(0).parent().unwrap()).unwrap();
    fs::File::create(torrent.path(0)).unwrap().set_len(2 * PIECE as u64).unwrap();
    fs::write(torrent.path(1), vec![0; PIECE]).unwrap();
    let running = Running::start(DiskOptions { threads: 1, backend: BackendChoice::Auto, state: None });
    assert_eq!(running.download(&torrent).count_ones(), 0);
    running.receive(&torrent, torrent.piece(3));
    running.close(Ending::Clean).unwrap();
}

#[test]
fn a_download_that_was_killed_before_its_first_piece_goes_on() {
    for backend in BACKENDS {
        let torrent = two_files();
        let running = torrent.start(backend);
        running.download(&torrent);
        let mut window = running.open_window(torrent.piece(0)).unwrap();
        window.write_at(0, &[7; 16 * 1024]).unwrap();
        // As the kernel does it some time after a kill.
        fs::write(torrent.path(1), vec![7; 2 * PIECE]).unwrap();
        drop(window);
        running.crash();
        let running = torrent.start(backend);
        assert_eq!(go_on(&running, &torrent).unwrap().count_ones(), 0);
        for piece in torrent.layout.geometry().pieces() {
            running.receive(&torrent, piece);
        }
        running.close(Ending::Clean).unwrap();
        torrent.assert_files();
    }
}

#[test]
fn having_been_seeded_does_not_make_a_file_the_torrents_own() {
    let torrent = two_files();
    torrent.write_files();
    fs::write(torrent.path(1), vec![b'x'; 2 * PIECE]).unwrap();
    for _ in 0..2 {
        let running = torrent.start(BackendChoice::Auto);
        assert_eq!(running.open(&torrent, CheckMode::TrustResume, false).0.unwrap().count_ones(), 2);
        running.close(Ending::Clean).unwrap();
    }
    let running = torrent.start(BackendChoice::Auto);
    let refused = running.open(&torrent, CheckMode::TrustResume, true).0;
    assert!(matches!(&refused, Err(StorageError::Foreign { path }) if *path == torrent.path(1)), "{refused:?}");
    running.crash();
}

#[test]
fn an_edited_file_is_fetched_anew_only_when_somebody_asks() {
    for ends_in_order in [true, false] {
        let torrent = two_files();
        let running = torrent.start(BackendChoice::Auto);
        running.download(&torrent);
        for piece in torrent.layout.geometry().pieces() {
            running.receive(&torrent, piece);
        }
        running.commit();
        if ends_in_order {
            running.close(Ending::Clean).unwrap()
        } else {
            running.crash()
        }

        let mut edited = torrent.content[..2 * PIECE].to_vec();
        edited[..4].copy_from_slice(b"mine");
        fs::write(torrent.path(0), &edited).unwrap();
        let running = torrent.start(BackendChoice::Auto);
        let refused = go_on(&running, &torrent);
        assert!(matches!(&refused, Err(StorageError::Edited { path }) if *path == torrent.path(0)), "{refused:?}");
        running.crash();
        assert!(fs::read(torrent.path(0)).unwrap() == edited);

        // Moved away, it is fetched again; and so it is when that is asked for in so many words.
        let aside = torrent.root.path().join("aside");
        fs::rename(torrent.path(0), &aside).unwrap();
        let running = torrent.start(BackendChoice::Auto);
        assert_eq!(go_on(&running, &torrent).unwrap().as_bytes(), [0b0011_0000]);
        running.crash();
        fs::rename(&aside, torrent.path(0)).unwrap();
        let running = torrent.start(BackendChoice::Auto);
        assert_eq!(running.download(&torrent).as_bytes(), [0b0111_0000]);
        running.receive(&torrent, torrent.piece(0));
        running.close(Ending::Clean).unwrap();
        torrent.assert_files();
    }
}

#[test]
fn what_is_gone_as_a_whole_is_fetched_anew_only_when_somebody_asks() {
    // Deleted, or on a disk that is not there; complete or not.
    for (count, gone_is_the_folder) in [(4, false), (1, false), (4, true)] {
        let torrent = two_files();
        let running = torrent.start(BackendChoice::Auto);
        running.download(&torrent);
        torrent.layout.geometry().pieces().take(count).for_each(|piece| drop(running.receive(&torrent, piece)));
        running.close(Ending::Clean).unwrap();
        let (top, aside) = (torrent.dir().join("t"), torrent.root.path().join("aside"));
        let gone = if gone_is_the_folder { torrent.dir() } else { top.clone() };
        fs::rename(&gone, &aside).unwrap();
        for _ in 0..2 {
            let running = torrent.start(BackendChoice::Auto);
            let refused = restore(&running, &torrent);
            assert!(matches!(&refused, Err(StorageError::Gone { path }) if *path == top), "{refused:?}");
            assert!(!gone.exists(), "nothing is made");
            running.close(Ending::Clean).unwrap();
        }
        fs::rename(&aside, &gone).unwrap();
        let running = torrent.start(BackendChoice::Auto);
        assert_eq!(restore(&running, &torrent).unwrap().count_ones() as usize, count);
        running.close(Ending::Clean).unwrap();
        fs::remove_dir_all(&gone).unwrap();
        let running = torrent.start(BackendChoice::Auto);
        assert_eq!(go_on(&running, &torrent).unwrap().count_ones(), 0);
        running.crash();
    }
}

#[test]
fn what_is_no_file_is_named_for_what_it_is() {
    let torrent = two_files();
    fs::create_dir_all(torrent.path(0)).unwrap();
    for create in [true, false] {
        let running = torrent.start(BackendChoice::Auto);
        let refused = running.open(&torrent, CheckMode::TrustResume, create).0.unwrap_err().to_string();
        assert!(refused.contains("t/a is a folder"), "{refused}");
        running.crash();
    }
    fs::remove_dir(torrent.path(0)).unwrap();
    // A link to a file that would do in size is not looked through, either.
    let outside = torrent.root.path().join("outside");
    fs::write(&outside, vec![b'x'; 2 * PIECE]).unwrap();
    symlink(&outside, torrent.path(0)).unwrap();
    let running = torrent.start(BackendChoice::Auto);
    let refused = running.open(&torrent, CheckMode::TrustResume, true).0.unwrap_err().to_string();
    assert!(refused.contains("t/a is a symbolic link"), "{refused}");
    running.crash();
    assert!(fs::read(&outside).unwrap() == vec![b'x'; 2 * PIECE] && !torrent.path(1).exists());
}

/// The same files in pieces of another size: another torrent.
fn recut(torrent: &Torrent) -> Torrent {
    let len = 2 * PIECE as u64;
    let other = Torrent::new(PIECE as u64 / 2, &[("t/a", len, false), ("t/b", len, false)]);
    symlink(torrent.dir(), other.dir()).unwrap();
    other
}

#[test]
fn two_torrents_never_write_to_the_same_file() {
    let torrent = two_files();
    fs::create_dir(torrent.dir()).unwrap();
    let other = recut(&torrent);
    let running = torrent.start(BackendChoice::Auto);
    running.download(&torrent);
    for writing in [Writing::Repair, Writing::Never] {
        let refused = running.opened(other.open_as(OTHER, CheckMode::TrustResume, writing)).0;
        let named =
            |error: &StorageError| matches!(error, StorageError::InUse { by, .. } if *by == InfoHash::new([1; 20]));
        assert!(refused.as_ref().is_err_and(named), "{refused:?}");
        running.disk.submit(Job::Close { torrent: OTHER, ending: Ending::Delete });
        assert!(matches!(running.next(), Done::Closed { result: Err(StorageError::NotItsOwn { .. }), .. }));
        assert!(torrent.path(0).exists(), "not the other one's to delete");
    }
    // Without the first one, its files are just somebody's; empty ones as yet.
    running.disk.submit(Job::Close { torrent: KEY, ending: Ending::Clean });
    assert!(matches!(running.next(), Done::Closed { result: Ok(()), .. }));
    assert!(running.opened(other.open_as(OTHER, CheckMode::TrustResume, Writing::Repair)).0.is_ok());
    running.crash();
}

#[test]
fn who_comes_to_read_while_a_download_is_checked_is_not_written_under() {
    let torrent = two_files();
    torrent.write_files();
    let mut bytes = torrent.content[..2 * PIECE].to_vec();
    bytes[PIECE] ^= 1;
    fs::write(torrent.path(0), &bytes).unwrap();
    let other = recut(&torrent);
    let running = torrent.start(BackendChoice::Auto);
    // As after a restart: both are opened in one breath.
    running.disk.submit(torrent.open_as(KEY, CheckMode::TrustResume, Writing::Repair));
    running.disk.submit(other.open_as(OTHER, CheckMode::TrustResume, Writing::Never));
    let mut refused = 0;
    for _ in 0..2 {
        match running.next() {
            Done::Opened { result, .. } => refused += u32::from(matches!(result, Err(StorageError::InUse { .. }))),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, 1, "one of them, whoever came first");
    running.crash();
}

#[test]
fn two_torrents_may_serve_the_same_file() {
    let torrent = two_files();
    torrent.write_files();
    let other = recut(&torrent);
    for (first, second) in [(Writing::Repair, Writing::Never), (Writing::Never, Writing::Repair)] {
        let running = torrent.start(BackendChoice::Auto);
        assert!(running.opened(torrent.open_as(KEY, CheckMode::TrustResume, first)).0.unwrap().is_full());
        assert!(running.opened(other.open_as(OTHER, CheckMode::TrustResume, second)).0.unwrap().is_full());
        running.crash();
    }
    // A download that would have to write under the eyes of the other one does not start.
    let mut bytes = fs::read(torrent.path(0)).unwrap();
    bytes[0] ^= 1;
    fs::write(torrent.path(0), &bytes).unwrap();
    let running = torrent.start(BackendChoice::Auto);
    assert_eq!(running.opened(torrent.open_as(KEY, CheckMode::TrustResume, Writing::Never)).0.unwrap().count_ones(), 3);
    let refused = running.opened(other.open_as(OTHER, CheckMode::TrustResume, Writing::Repair)).0;
    assert!(matches!(refused, Err(StorageError::InUse { .. })), "{refused:?}");
    running.crash();
    assert!(fs::read(torrent.path(0)).unwrap() == bytes);
}

#[test]
fn what_another_torrent_serves_is_not_deleted() {
    let torrent = two_files();
    torrent.write_files();
    // Somebody shared one file of the folder by itself, too.
    let one = Torrent::new(PIECE as u64, &[("a", 2 * PIECE as u64, false)]);
    symlink(torrent.path(0).parent().unwrap(), one.dir()).unwrap();
    let running = torrent.start(BackendChoice::Auto);
    assert!(running.opened(one.open_as(OTHER, CheckMode::Trusted, Writing::Never)).0.unwrap().is_full());
    assert!(running.open(&torrent, CheckMode::Trusted, false).0.unwrap().is_full());
    running.disk.submit(Job::Close { torrent: KEY, ending: Ending::Delete });
    let answer = running.next();
    assert!(
        matches!(&answer, Done::Closed { result: Err(StorageError::Kept { path, .. }), .. } if *path == torrent.path(0)),
        "{answer:?}"
    );
    assert!(torrent.path(0).exists() && !torrent.path(1).exists(), "the other file is nobody else's");
    running.disk.submit(Job::Close { torrent: OTHER, ending: Ending::Delete });
    assert!(matches!(running.next(), Done::Closed { result: Ok(()), .. }));
    assert!(!torrent.path(0).exists(), "now it is the last one's");
    running.crash();
}
