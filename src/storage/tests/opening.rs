//! What an open believes and what it hashes.

use std::fs::File;

use super::*;

#[test]
fn after_a_crash_only_what_was_not_committed_is_hashed() {
    for backend in BACKENDS {
        let torrent = Torrent::single(256 * 1024, 20 * 256 * 1024);
        let running = torrent.start(backend);
        running.download(&torrent);
        for index in 0..8 {
            running.receive(&torrent, torrent.piece(index));
        }
        running.commit();
        for index in [9, 12] {
            running.receive(&torrent, torrent.piece(index));
        }
        let mut half = running.open_window(torrent.piece(15)).unwrap();
        half.write_at(0, &[1; 16 * 1024]).unwrap();
        drop(half);
        running.crash();

        let running = torrent.start(backend);
        let (found, hashed) = running.open(&torrent, CheckMode::TrustResume, true);
        let found = found.unwrap();
        assert_eq!(found.count_ones(), 10);
        assert!([0, 7, 9, 12].iter().all(|index| found.contains(torrent.piece(*index))));
        let at_most = if backend == BackendChoice::Mapped { 3 } else { 2 };
        assert_eq!(hashed, at_most, "two whole pieces, and the half one where it went straight to the file");
        running.crash();

        // What the open found was remembered.
        let running = torrent.start(backend);
        let (found, hashed) = running.open(&torrent, CheckMode::TrustResume, true);
        assert_eq!((found.unwrap().count_ones(), hashed), (10, 0));
        running.close(Ending::Clean).unwrap();
    }
}

#[test]
fn a_file_that_changed_after_a_clean_stop_is_hashed_again_and_no_other() {
    let torrent = Torrent::new(64 * 1024, &[("t/a", 4 * 64 * 1024, false), ("t/b", 4 * 64 * 1024, false)]);
    torrent.write_files();
    let running = torrent.start(BackendChoice::Auto);
    let (have, hashed) = running.open(&torrent, CheckMode::TrustResume, false);
    assert_eq!((have.unwrap().count_ones(), hashed), (8, 8));
    running.close(Ending::Clean).unwrap();

    let mut bytes = fs::read(torrent.path(1)).unwrap();
    bytes[70_000] ^= 1;
    fs::write(torrent.path(1), bytes).unwrap();
    let running = torrent.start(BackendChoice::Auto);
    let (have, hashed) = running.open(&torrent, CheckMode::TrustResume, false);
    let have = have.unwrap();
    assert_eq!((have.count_ones(), hashed), (7, 4));
    assert!(!have.contains(torrent.piece(5)));
    running.close(Ending::Clean).unwrap();
}

#[test]
fn a_deleted_file_is_not_believed_to_be_there() {
    let torrent = Torrent::new(64 * 1024, &[("t/a", 4 * 64 * 1024, false), ("t/b", 4 * 64 * 1024, false)]);
    torrent.write_files();
    let running = torrent.start(BackendChoice::Auto);
    assert!(running.download(&torrent).is_full());
    running.close(Ending::Clean).unwrap();
    fs::remove_file(torrent.path(0)).unwrap();
    for _ in 0..2 {
        // The first open makes the file anew, the second one must not take that for the old one.
        let running = torrent.start(BackendChoice::Auto);
        let have = running.download(&torrent);
        assert_eq!(have.count_ones(), 4);
        assert!(!have.contains(torrent.piece(0)) && have.contains(torrent.piece(4)));
        running.crash();
    }
}

#[test]
fn a_file_that_changes_while_it_is_seeded_is_not_taken_for_good_at_the_stop() {
    let torrent = Torrent::single(64 * 1024, 4 * 64 * 1024);
    torrent.write_files();
    let running = torrent.start(BackendChoice::Auto);
    assert!(running.open(&torrent, CheckMode::TrustResume, false).0.unwrap().is_full());
    let mut bytes = fs::read(torrent.path(0)).unwrap();
    bytes[70_000] ^= 1;
    fs::write(torrent.path(0), bytes).unwrap();
    running.commit();
    running.close(Ending::Clean).unwrap();
    let running = torrent.start(BackendChoice::Auto);
    let (have, hashed) = running.open(&torrent, CheckMode::TrustResume, false);
    assert_eq!((have.unwrap().count_ones(), hashed), (3, 4));
    running.close(Ending::Clean).unwrap();
}

#[test]
fn a_torrent_just_made_is_trusted_and_remembered() {
    let torrent = Torrent::new(64 * 1024, &[("t/a", 100_000, false), ("t/b", 100_000, false)]);
    torrent.write_files();
    let running = torrent.start(BackendChoice::Auto);
    let (have, hashed) = running.open(&torrent, CheckMode::Trusted, false);
    assert_eq!((have.unwrap().count_ones(), hashed), (4, 0));
    running.close(Ending::Clean).unwrap();
    let running = torrent.start(BackendChoice::Auto);
    let (have, hashed) = running.open(&torrent, CheckMode::TrustResume, false);
    assert_eq!((have.unwrap().count_ones(), hashed), (4, 0));
    running.close(Ending::Clean).unwrap();

    // Sizes are looked at all the same.
    File::options().write(true).open(torrent.path(1)).unwrap().set_len(50_000).unwrap();
    let running = torrent.start(BackendChoice::Auto);
    let (have, hashed) = running.open(&torrent, CheckMode::Trusted, false);
    assert_eq!((have.unwrap().count_ones(), hashed), (2, 0));
    running.close(Ending::Clean).unwrap();
}

#[test]
fn nothing_is_remembered_of_files_that_were_found_broken() {
    let torrent = Torrent::single(64 * 1024, 4 * 64 * 1024);
    let running = torrent.start(BackendChoice::Auto);
    running.download(&torrent);
    running.receive(&torrent, torrent.piece(0));
    running.commit();
    running.receive(&torrent, torrent.piece(1));
    running.close(Ending::Broken).unwrap();
    let running = torrent.start(BackendChoice::Auto);
    let (have, hashed) = running.open(&torrent, CheckMode::TrustResume, true);
    assert_eq!((have.unwrap().count_ones(), hashed), (2, 1));
    running.close(Ending::Clean).unwrap();
}

#[test]
fn a_full_check_believes_nothing() {
    let torrent = Torrent::single(64 * 1024, 40 * 64 * 1024 + 5);
    torrent.write_files();
    let running = torrent.start(BackendChoice::Auto);
    assert!(running.download(&torrent).is_full());
    running.close(Ending::Clean).unwrap();
    let before = fs::metadata(torrent.path(0)).unwrap().modified().unwrap();
    let mut bytes = fs::read(torrent.path(0)).unwrap();
    bytes[65_536 * 3] ^= 1;
    fs::write(torrent.path(0), bytes).unwrap();
    File::options().write(true).open(torrent.path(0)).unwrap().set_modified(before).unwrap();

    let running = torrent.start(BackendChoice::Auto);
    let (have, hashed) = running.open(&torrent, CheckMode::Full, false);
    assert_eq!((have.unwrap().count_ones(), hashed), (40, 41));
    running.close(Ending::Clean).unwrap();
}

#[test]
fn without_resume_data_only_written_pieces_are_hashed() {
    for backend in BACKENDS {
        let torrent = Torrent::single(256 * 1024, 30 * 256 * 1024);
        let options = DiskOptions { threads: 1, backend, state: None };
        let running = Running::start(options.clone());
        running.download(&torrent);
        running.receive(&torrent, torrent.piece(3));
        running.receive(&torrent, torrent.piece(29));
        running.commit();
        running.close(Ending::Clean).unwrap();
        let running = Running::start(options);
        let (have, hashed) = running.open(&torrent, CheckMode::TrustResume, true);
        assert_eq!((have.unwrap().count_ones(), hashed), (2, 2));
        running.close(Ending::Clean).unwrap();
    }
}

#[test]
fn zeros_that_were_never_written_are_good_where_zeros_belong() {
    let mut torrent = Torrent::single(64 * 1024, 3 * 64 * 1024);
    let (piece, zeros) = (64 * 1024, vec![0; 64 * 1024]);
    torrent.content[piece..2 * piece].fill(0);
    let mut hashes: Vec<_> = torrent.hashes.iter().collect();
    hashes[1] = PieceHash::new(Sha1::digest(&zeros).into());
    torrent.hashes = hashes.into_iter().collect();
    let running = torrent.start(BackendChoice::Auto);
    let (have, hashed) = running.open(&torrent, CheckMode::TrustResume, true);
    assert_eq!((have.unwrap().count_ones(), hashed), (0, 0), "nothing was there to be looked at");
    running.crash();
    let running = torrent.start(BackendChoice::Auto);
    let (have, hashed) = running.open(&torrent, CheckMode::Full, true);
    assert_eq!(have.unwrap().as_bytes(), [0b0100_0000]);
    assert_eq!(hashed, 0);
    running.close(Ending::Clean).unwrap();
}

#[test]
fn seeding_changes_no_file_and_reports_a_missing_folder() {
    let torrent = Torrent::new(64 * 1024, &[("t/a", 100_000, false), ("t/b", 100_000, false), ("t/c", 0, false)]);
    let running = torrent.start(BackendChoice::Auto);
    let (missing, _) = running.open(&torrent, CheckMode::TrustResume, false);
    assert!(matches!(&missing, Err(StorageError::Missing { path }) if *path == torrent.dir()), "{missing:?}");
    running.crash();

    torrent.write_files();
    fs::remove_file(torrent.path(1)).unwrap();
    fs::write(torrent.path(0), &torrent.content[..70_000]).unwrap();
    fs::remove_file(torrent.path(2)).unwrap();
    let running = torrent.start(BackendChoice::Auto);
    let (have, _) = running.open(&torrent, CheckMode::TrustResume, false);
    assert_eq!(have.unwrap().as_bytes(), [0b1000_0000]);
    let refused = running.open_window(torrent.piece(1));
    assert!(matches!(refused, Err(StorageError::NotOpen)));
    running.close(Ending::Clean).unwrap();
    assert_eq!(fs::metadata(torrent.path(0)).unwrap().len(), 70_000);
    assert!(!torrent.path(1).exists() && !torrent.path(2).exists());
}
