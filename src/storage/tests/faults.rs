//! Faults of the machine.

use std::fs::File;
use std::process::Command;

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::storage::backend::{Backend, Positional};
use crate::storage::files::{self, FileCache, Space};
use crate::storage::layout::Place;
use crate::storage::mapping::BufferPool;
use crate::storage::reserve::Reservation;
use crate::storage::torrent::Torrent as Opened;

#[test]
fn a_file_cut_short_under_its_windows_is_an_error_of_the_torrent() {
    let torrent = Torrent::single(256 * 1024, 4 * 256 * 1024);
    let running = torrent.start(BackendChoice::Mapped);
    running.download(&torrent);
    let served = running.receive(&torrent, torrent.piece(0));
    let unseen = running.receive(&torrent, torrent.piece(1));
    let mut filling = running.open_window(torrent.piece(2)).unwrap();
    let hashing = {
        let mut window = running.open_window(torrent.piece(3)).unwrap();
        window.write_at(0, torrent.bytes(torrent.piece(3))).unwrap();
        window
    };
    File::options().write(true).open(torrent.path(0)).unwrap().set_len(0).unwrap();

    let lost = |error: &StorageError| matches!(error, StorageError::Lost { path } if *path == torrent.path(0));
    let block = [7; 16 * 1024];
    assert!(lost(&filling.write_at(16 * 1024, &block).unwrap_err()));
    assert!(lost(&filling.write_at(0, &block).unwrap_err()), "and it stays lost");
    assert!(lost(&running.verify(torrent.piece(3), hashing, true).0.unwrap_err()));
    let mut copy = [1; 100];
    assert!(lost(&served.read_at(1000, &mut copy).unwrap_err()));
    assert!(served.is_lost());

    // A system call gets an error instead of a signal; only a probe finds out then.
    let mut slices = Vec::new();
    unseen.io_slices(0..1000, &mut slices).unwrap();
    let sink = File::create(torrent.root.path().join("sink")).unwrap();
    let error = std::io::Write::write_vectored(&mut &sink, &slices).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
    assert!(!unseen.is_lost());
    assert!(lost(&unseen.probe().unwrap_err()));
    assert!(unseen.is_lost());

    for piece in torrent.layout.geometry().pieces() {
        assert!(matches!(running.populate(piece), Err(StorageError::TooShort { found: 0, .. })));
        assert!(matches!(running.open_window(piece), Err(StorageError::TooShort { .. })));
    }
    let closed = running.close(Ending::Clean);
    assert!(matches!(closed, Err(StorageError::TooShort { .. })), "nobody is told that it is all there: {closed:?}");
}

#[test]
fn a_file_cut_short_is_an_error_for_positional_reads_too() {
    let torrent = Torrent::single(256 * 1024, 2 * 256 * 1024);
    torrent.write_files();
    let running = torrent.start(BackendChoice::Positional);
    assert!(running.download(&torrent).is_full());
    File::options().write(true).open(torrent.path(0)).unwrap().set_len(300_000).unwrap();
    assert!(running.populate(torrent.piece(0)).is_ok());
    let short = running.populate(torrent.piece(1));
    assert!(matches!(short, Err(StorageError::TooShort { expected: 524_288, found: 300_000, .. })), "{short:?}");
    running.close(Ending::Clean).unwrap();
}

#[test]
fn a_file_cut_short_between_two_pieces_is_found_before_they_count() {
    let cut = |torrent: &Torrent| {
        let file = File::options().write(true).open(torrent.path(0)).unwrap();
        file.set_len(1000).unwrap();
    };
    let short = |error: &StorageError| matches!(error, StorageError::TooShort { expected: 786_432, .. });
    for backend in [BackendChoice::Auto, BackendChoice::Positional] {
        let torrent = Torrent::single(256 * 1024, 3 * 256 * 1024);
        let received = |running: &Running, index| {
            let piece = torrent.piece(index);
            let mut window = running.open_window(piece).unwrap();
            window.write_at(0, torrent.bytes(piece)).unwrap();
            running.verify(piece, window, false).0.map(drop)
        };
        // By the commit, although what was written since made the file longer again.
        let running = torrent.start(backend);
        running.download(&torrent);
        received(&running, 0).unwrap();
        cut(&torrent);
        received(&running, 1).unwrap();
        running.disk.submit(Job::Commit { torrent: KEY });
        let answer = running.next();
        assert!(matches!(&answer, Done::Committed { result: Err(error), .. } if short(error)), "{answer:?}");
        // By the piece that would make it as long as it was.
        assert!(short(&received(&running, 2).unwrap_err()));
        running.close(Ending::Broken).unwrap();
        let running = torrent.start(backend);
        let found = running.download(&torrent);
        assert!(!found.contains(torrent.piece(0)) && found.contains(torrent.piece(1)), "{backend:?}: {found:?}");
        running.crash();

        // By the last one, wherever it lies.
        let torrent = Torrent::single(256 * 1024, 3 * 256 * 1024);
        let running = torrent.start(backend);
        running.download(&torrent);
        received(&running, 2).unwrap();
        received(&running, 0).unwrap();
        cut(&torrent);
        assert!(short(&received(&running, 1).unwrap_err()));
        assert!(running.close(Ending::Clean).is_err());
    }
}

/// Receives a piece and looks at no page of its file.
fn receive_only(running: &Running, torrent: &Torrent, index: u32) -> Result<(), StorageError> {
    let piece = torrent.piece(index);
    let mut window = running.open_window(piece)?;
    window.write_at(0, torrent.bytes(piece))?;
    running.verify(piece, window, false).0.map(drop)
}

fn try_commit(running: &Running) -> Result<(), StorageError> {
    running.disk.submit(Job::Commit { torrent: KEY });
    match running.next() {
        Done::Committed { result, .. } => result,
        other => panic!("{other:?}"),
    }
}

#[test]
fn committed_pieces_of_a_file_cut_short_do_not_count_after_the_process_was_killed() {
    for backend in [BackendChoice::Auto, BackendChoice::Positional] {
        let torrent = Torrent::new(256 * 1024, &[("t/a", 3 * 256 * 1024, false), ("t/b", 256 * 1024, false)]);
        let running = torrent.start(backend);
        running.download(&torrent);
        receive_only(&running, &torrent, 0).unwrap();
        receive_only(&running, &torrent, 3).unwrap();
        running.commit();
        File::options().write(true).open(torrent.path(0)).unwrap().set_len(1000).unwrap();
        // Makes the file longer again, with a hole where the first piece was.
        receive_only(&running, &torrent, 1).unwrap();
        running.crash();

        let running = torrent.start(backend);
        let (found, hashed) = running.open(&torrent, CheckMode::TrustResume, true);
        let found = found.unwrap();
        let has = |index| found.contains(torrent.piece(index));
        assert!(!has(0) && has(1) && has(3), "{backend:?}: {found:?}");
        assert!(hashed <= 2, "the other file is believed: {hashed}");
        running.crash();
    }
}

#[test]
fn what_a_cut_file_had_is_not_believed_later_even_if_it_is_long_again() {
    let torrent = Torrent::single(256 * 1024, 3 * 256 * 1024);
    let running = torrent.start(BackendChoice::Positional);
    running.download(&torrent);
    receive_only(&running, &torrent, 1).unwrap();
    running.commit();
    let file = File::options().write(true).open(torrent.path(0)).unwrap();
    file.set_len(1000).unwrap();
    assert!(matches!(running.populate(torrent.piece(1)), Err(StorageError::TooShort { .. })));
    file.set_len(3 * 256 * 1024).unwrap();
    assert!(running.close(Ending::Clean).is_err(), "it is not remembered as if nothing had been");

    let running = torrent.start(BackendChoice::Positional);
    assert_eq!(running.download(&torrent).count_ones(), 0);
    receive_only(&running, &torrent, 1).unwrap();
    running.commit();
    running.crash();
    let running = torrent.start(BackendChoice::Positional);
    let (found, hashed) = running.open(&torrent, CheckMode::TrustResume, true);
    assert_eq!((found.unwrap().count_ones(), hashed), (1, 0), "the doubt is over");
    running.crash();
}

#[test]
fn after_a_sync_that_failed_nothing_is_committed_until_everything_was_hashed() {
    let torrent = Torrent::new(16_384, &[("a", 2 * 16_384, false), ("b", 16_384, false)]);
    let running = torrent.start(BackendChoice::Positional);
    running.download(&torrent);
    receive_only(&running, &torrent, 2).unwrap();
    running.commit();
    receive_only(&running, &torrent, 0).unwrap();
    // The file cannot be opened to be synced; the next time it can, as a system reports an error once.
    let aside = torrent.root.path().join("aside");
    fs::rename(torrent.path(0), &aside).unwrap();
    assert!(try_commit(&running).is_err());
    fs::rename(&aside, torrent.path(0)).unwrap();
    let again = try_commit(&running);
    assert!(matches!(again, Err(StorageError::NotSafe { .. })), "{again:?}");
    assert!(running.close(Ending::Clean).is_err());

    let running = torrent.start(BackendChoice::Positional);
    let (found, hashed) = running.open(&torrent, CheckMode::TrustResume, true);
    assert_eq!((found.unwrap().count_ones(), hashed), (2, 2), "also what was committed before");
    running.commit();
    running.close(Ending::Clean).unwrap();
}

#[test]
fn downloads_do_not_follow_links_out_of_the_folder() {
    for backend in BACKENDS {
        let torrent = Torrent::new(64 * 1024, &[("t/sub/a", 100_000, false)]);
        let outside = torrent.root.path().join("outside");
        fs::create_dir_all(&outside).unwrap();
        fs::create_dir_all(torrent.dir().join("t")).unwrap();
        std::os::unix::fs::symlink(&outside, torrent.dir().join("t/sub")).unwrap();
        let running = torrent.start(backend);
        let (refused, _) = running.open(&torrent, CheckMode::TrustResume, true);
        let link = torrent.dir().join("t/sub");
        assert!(matches!(&refused, Err(StorageError::NotPlain { path, .. }) if *path == link), "{refused:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        running.crash();

        fs::remove_file(&link).unwrap();
        fs::create_dir(&link).unwrap();
        std::os::unix::fs::symlink(outside.join("new"), torrent.path(0)).unwrap();
        let running = torrent.start(backend);
        let (refused, _) = running.open(&torrent, CheckMode::TrustResume, true);
        assert!(matches!(refused, Err(StorageError::NotPlain { .. })), "{refused:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        running.crash();
    }
}

#[test]
fn a_damaged_database_stops_the_start_and_stays() {
    let torrent = Torrent::single(64 * 1024, 100_000);
    fs::write(torrent.state(), "nonsense, and long enough to be read as a header, or so one would think").unwrap();
    let options = DiskOptions { threads: 1, backend: BackendChoice::Auto, state: Some(torrent.state()) };
    let refused = Disk::start(&options, Arc::new(|| ())).err().unwrap();
    assert!(refused.to_string().contains(&torrent.state().display().to_string()), "{refused}");
    assert!(fs::read(torrent.state()).unwrap().starts_with(b"nonsense"));
}

/// Names the small file system to the test inside it.
const SMALL_DISK: &str = "BITWEEN_TEST_SMALL_DISK";

/// Exit code of the shell below when it could not mount.
const NO_MOUNT: i32 = 99;

/// Runs one of these tests again on a tmpfs of 4 MiB that only that process sees. Unprivileged users may do that, too,
/// where user namespaces are allowed; elsewhere this prints a note and does nothing.
fn on_a_small_disk(test: &str) {
    let root = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=4m tmpfs \"$1\" || exit 99; shift; exec \"$@\"";
    let mut child = Command::new("unshare");
    child.args(["-r", "-m", "sh", "-c", script, "sh"]).arg(root.path()).arg(std::env::current_exe().unwrap());
    child.args(["--exact", "--nocapture", &format!("storage::tests::faults::{test}")]).env(SMALL_DISK, root.path());
    match child.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) if output.status.code() == Some(NO_MOUNT) => println!("skipped: may not mount a tmpfs"),
        Ok(output) if output.stdout.is_empty() => println!("skipped: no namespace of our own: {output:?}"),
        Ok(output) => panic!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        Err(error) => println!("skipped: cannot run unshare: {error}"),
    }
}

#[test]
fn a_torrent_larger_than_the_disk_is_refused_before_anything_is_made() {
    let Some(disk) = std::env::var_os(SMALL_DISK) else {
        return on_a_small_disk("a_torrent_larger_than_the_disk_is_refused_before_anything_is_made");
    };
    for backend in BACKENDS {
        let files = [("t/a", 3 << 20, false), ("t/b", 3 << 20, false)];
        let torrent = Torrent::in_root(tempfile::tempdir_in(&disk).unwrap(), 256 * 1024, &files);
        let running = torrent.start(backend);
        let (refused, _) = running.open(&torrent, CheckMode::TrustResume, true);
        let Err(StorageError::DiskFull { path, missing }) = refused else { panic!("{refused:?}") };
        assert_eq!(path, torrent.path(1));
        assert!((1 << 20..=3 << 20).contains(&missing), "{missing}");
        assert!(!torrent.path(0).exists());
        running.crash();
    }
}

#[test]
fn a_full_disk_under_a_file_with_holes_is_an_error_not_a_signal() {
    let Some(disk) = std::env::var_os(SMALL_DISK) else {
        return on_a_small_disk("a_full_disk_under_a_file_with_holes_is_an_error_not_a_signal");
    };
    for backend in BACKENDS {
        let torrent = Torrent::in_root(tempfile::tempdir_in(&disk).unwrap(), 256 * 1024, &[("a", 1 << 20, false)]);
        let running = torrent.start(backend);
        running.download(&torrent);
        running.receive(&torrent, torrent.piece(0));
        // Somebody takes our reserved space away, and the rest of the disk with it.
        let file = File::options().write(true).open(torrent.path(0)).unwrap();
        file.set_len(0).unwrap();
        file.set_len(1 << 20).unwrap();
        let filler = torrent.root.path().join("filler");
        let mut filler_file = File::create(&filler).unwrap();
        while std::io::Write::write_all(&mut filler_file, &[1; 4096]).is_ok() {}
        drop(filler_file);

        let piece = torrent.piece(1);
        let refused = match running.open_window(piece) {
            Ok(mut window) => {
                window.write_at(0, torrent.bytes(piece)).unwrap();
                running.verify(piece, window, false).0.map(drop)
            }
            Err(error) => Err(error),
        };
        let named = matches!(&refused, Err(StorageError::DiskFull { path, missing }) if *path == torrent.path(0) && *missing > 0);
        assert!(named, "{backend:?}: {refused:?}");
        // With room again, the same torrent goes on.
        fs::remove_file(filler).unwrap();
        running.receive(&torrent, piece);
        running.close(Ending::Clean).unwrap();
    }
}

#[test]
fn a_disk_that_fills_up_behind_the_open_is_an_error_before_its_last_byte_is_taken() {
    let Some(disk) = std::env::var_os(SMALL_DISK) else {
        return on_a_small_disk("a_disk_that_fills_up_behind_the_open_is_an_error_before_its_last_byte_is_taken");
    };
    let torrent = Torrent::in_root(tempfile::tempdir_in(&disk).unwrap(), 256 * 1024, &[("a", 3 << 20, false)]);
    let place = Place { dir: torrent.dir().into(), layout: torrent.layout.clone() };
    let mode = (CheckMode::TrustResume, Writing::Repair);
    let (hashes, files) = (torrent.hashes.clone(), Arc::new(FileCache::new()));
    files::make(&place, &[None], Space::Later, &|| false).unwrap();
    let opened = Opened::new(KEY, InfoHash::new([1; 20]), place, hashes, mode, files);
    fs::write(torrent.root.path().join("filler"), vec![1; 2 << 20]).unwrap();
    let refused = Reservation::default().go_on(&opened, None);
    let named =
        matches!(&refused, Err(StorageError::DiskFull { path, missing: 3_145_728 }) if *path == torrent.path(0));
    assert!(named, "{refused:?}");
    let free = rustix::fs::statvfs(&disk).map(|disk| disk.f_bavail * disk.f_frsize).unwrap();
    assert!(free >= 1 << 20, "{free}");
}

/// Panics so many times when it is to store a piece.
struct Panics(Positional, AtomicUsize);

impl Backend for Panics {
    fn open_window(&self, torrent: &Opened, piece: PieceIndex) -> Result<WriteWindow, StorageError> {
        self.0.open_window(torrent, piece)
    }

    fn store(
        &self,
        torrent: &Opened,
        piece: PieceIndex,
        window: WriteWindow,
    ) -> Result<Option<ReadWindow>, StorageError> {
        let left = self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(left.is_err(), "as the test wants it");
        self.0.store(torrent, piece, window)
    }

    fn keeps_received(&self) -> bool {
        true
    }

    fn populate(&self, torrent: &Opened, piece: PieceIndex) -> Result<ReadWindow, StorageError> {
        self.0.populate(torrent, piece)
    }
}

#[test]
fn a_panic_over_a_piece_is_answered_and_costs_no_thread() {
    let torrent = Torrent::single(16_384, 16 * 16_384);
    let (wake, woken) = unbounded();
    let options = DiskOptions { threads: 2, backend: BackendChoice::Positional, state: None };
    let pool = BufferPool::default();
    let backend = Arc::new(Panics(Positional::new(pool.clone()), AtomicUsize::new(4)));
    let wake = Arc::new(move || wake.send(()).unwrap_or_default());
    let disk = Disk::start_with(&options, wake, pool, backend).unwrap();
    let running = Running { disk, woken };
    assert_eq!(running.download(&torrent).count_ones(), 0);
    // More than there are threads.
    for piece in 0..4 {
        let piece = torrent.piece(piece);
        let mut window = running.open_window(piece).unwrap();
        window.write_at(0, torrent.bytes(piece)).unwrap();
        let result = running.verify(piece, window, false).0;
        assert!(matches!(result, Err(StorageError::Panicked)), "{result:?}");
    }
    // All at once, so that both threads are called.
    let windows = torrent.layout.geometry().pieces().map(|piece| (piece, running.open_window(piece).unwrap()));
    for (piece, mut window) in windows.collect::<Vec<_>>() {
        window.write_at(0, torrent.bytes(piece)).unwrap();
        running.disk.submit(Job::Verify { torrent: KEY, piece, window, digests: false });
    }
    for _ in 0..16 {
        let done = running.next();
        assert!(matches!(done, Done::Verified { result: Ok(Verified::Good(_)), .. }), "{done:?}");
    }
    torrent.assert_files();
    running.close(Ending::Clean).unwrap();
}
