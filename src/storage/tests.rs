//! Storage as the reactor sees it: jobs in, answers out. Scenarios run over both back ends.
#![allow(clippy::cast_possible_truncation, reason = "sizes made up here are small")]

mod devices;
mod faults;
mod opening;
mod owners;
mod transfer;

use std::fs;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use sha1::{Digest, Sha1};
use tempfile::TempDir;

use super::*;
use crate::types::{Bitfield, Geometry, InfoHash, PieceHash, PieceHashes, PieceIndex, TorrentKey};

const KEY: TorrentKey = TorrentKey(1);
const BACKENDS: [BackendChoice; 3] = [BackendChoice::Auto, BackendChoice::Mapped, BackendChoice::Positional];

/// A torrent with made-up content and a folder for it.
struct Torrent {
    root: TempDir,
    layout: Layout,
    content: Vec<u8>,
    hashes: PieceHashes,
}

/// Running disk threads and the wake-ups they sent.
struct Running {
    disk: Disk,
    woken: Receiver<()>,
}

impl Torrent {
    fn new(piece_length: u64, files: &[(&str, u64, bool)]) -> Self {
        Self::in_root(tempfile::tempdir().unwrap(), piece_length, files)
    }

    fn in_root(root: TempDir, piece_length: u64, files: &[(&str, u64, bool)]) -> Self {
        let mut content = Vec::new();
        for (index, (_, len, pad)) in files.iter().enumerate() {
            let byte = |at: u64| if *pad { 0 } else { (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ index as u8 | 1 };
            content.extend((0..*len).map(byte));
        }
        let geometry = Geometry::new(content.len() as u64, piece_length).unwrap();
        let hashes = content.chunks(piece_length as usize).map(|piece| PieceHash::new(Sha1::digest(piece).into()));
        let hashes = hashes.collect();
        let file = |(path, len, pad): &(&str, u64, bool)| LayoutFile { path: path.into(), len: *len, pad: *pad };
        let layout = Layout::new(geometry, files.iter().map(file).collect()).unwrap();
        Self { root, layout, content, hashes }
    }

    fn single(piece_length: u64, len: u64) -> Self {
        Self::new(piece_length, &[("single.bin", len, false)])
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("down")
    }

    fn path(&self, file: usize) -> PathBuf {
        self.dir().join(&self.layout.files()[file].path)
    }

    fn state(&self) -> PathBuf {
        self.root.path().join("resume.sqlite")
    }

    fn piece(&self, index: u32) -> PieceIndex {
        self.layout.geometry().piece(index).unwrap()
    }

    fn bytes(&self, piece: PieceIndex) -> &[u8] {
        let geometry = self.layout.geometry();
        let start = geometry.piece_start(piece) as usize;
        &self.content[start..start + geometry.piece_len(piece) as usize]
    }

    /// Puts the whole content on disk, as somebody who seeds has it.
    fn write_files(&self) {
        let mut at = 0;
        for (index, file) in self.layout.files().iter().enumerate() {
            let end = at + file.len as usize;
            if !file.pad {
                fs::create_dir_all(self.path(index).parent().unwrap()).unwrap();
                fs::write(self.path(index), &self.content[at..end]).unwrap();
            }
            at = end;
        }
    }

    fn assert_files(&self) {
        let mut at = 0;
        for (index, file) in self.layout.files().iter().enumerate() {
            let end = at + file.len as usize;
            if file.pad {
                assert!(!self.path(index).exists(), "{:?} is padding", file.path);
            } else {
                assert!(fs::read(self.path(index)).unwrap() == self.content[at..end], "{:?} differs", file.path);
            }
            at = end;
        }
    }

    fn start(&self, backend: BackendChoice) -> Running {
        Running::start(DiskOptions { threads: 2, backend, state: Some(self.state()) })
    }

    fn open_job(&self, check: CheckMode, create: bool) -> Job {
        self.open_as(KEY, check, if create { Writing::Repair } else { Writing::Never })
    }

    fn open_as(&self, key: TorrentKey, check: CheckMode, writing: Writing) -> Job {
        let [.., number] = key.0.to_be_bytes();
        Job::Open {
            torrent: key,
            info_hash: InfoHash::new([number; 20]),
            layout: self.layout.clone(),
            dir: self.dir().into(),
            hashes: self.hashes.clone(),
            check,
            writing,
        }
    }
}

impl Running {
    fn start(options: DiskOptions) -> Self {
        let (wake, woken): (Sender<()>, _) = unbounded();
        let disk = Disk::start(&options, Arc::new(move || wake.send(()).unwrap_or_default())).unwrap();
        Self { disk, woken }
    }

    /// The next answer that is no progress message.
    fn next(&self) -> Done {
        loop {
            match self.disk.try_recv() {
                Some(Done::CheckProgress { checked, total, .. }) => assert!(checked <= total),
                Some(done) => return done,
                None => self.woken.recv_timeout(Duration::from_secs(60)).expect("an answer"),
            }
        }
    }

    /// Opens; answers with the pieces that are there and how many were hashed to know.
    fn open(&self, torrent: &Torrent, check: CheckMode, create: bool) -> (Result<Bitfield, StorageError>, u32) {
        self.opened(torrent.open_job(check, create))
    }

    fn opened(&self, job: Job) -> (Result<Bitfield, StorageError>, u32) {
        self.disk.submit(job);
        match self.next() {
            Done::Opened { result, hashed, .. } => (result, hashed),
            other => panic!("{other:?}"),
        }
    }

    fn download(&self, torrent: &Torrent) -> Bitfield {
        self.open(torrent, CheckMode::TrustResume, true).0.unwrap()
    }

    fn open_window(&self, piece: PieceIndex) -> Result<WriteWindow, StorageError> {
        self.disk.submit(Job::OpenWindow { torrent: KEY, piece });
        match self.next() {
            Done::WindowOpened { piece: answered, result, .. } if answered == piece => result,
            other => panic!("{other:?}"),
        }
    }

    fn verify(
        &self,
        piece: PieceIndex,
        window: WriteWindow,
        digests: bool,
    ) -> (Result<Verified, StorageError>, Vec<u64>) {
        self.disk.submit(Job::Verify { torrent: KEY, piece, window, digests });
        match self.next() {
            Done::Verified { piece: answered, result, digests, .. } if answered == piece => (result, digests),
            other => panic!("{other:?}"),
        }
    }

    /// Receives a piece in blocks, last block first, and verifies it.
    fn receive(&self, torrent: &Torrent, piece: PieceIndex) -> ReadWindow {
        let mut window = self.open_window(piece).unwrap();
        for block in torrent.layout.geometry().blocks(piece).rev() {
            let from = block.begin() as usize;
            window.write_at(block.begin(), &torrent.bytes(piece)[from..from + block.len() as usize]).unwrap();
        }
        match self.verify(piece, window, false).0 {
            Ok(Verified::Good(window)) => window.unwrap_or_else(|| self.populate(piece).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    fn populate(&self, piece: PieceIndex) -> Result<ReadWindow, StorageError> {
        self.disk.submit(Job::Populate { torrent: KEY, piece });
        match self.next() {
            Done::Populated { piece: answered, result, .. } if answered == piece => result,
            other => panic!("{other:?}"),
        }
    }

    fn commit(&self) {
        self.disk.submit(Job::Commit { torrent: KEY });
        match self.next() {
            Done::Committed { result, .. } => result.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn close(self, ending: Ending) -> Result<(), StorageError> {
        self.disk.submit(Job::Close { torrent: KEY, ending });
        let result = match self.next() {
            Done::Closed { torrent: KEY, result } => result,
            other => panic!("{other:?}"),
        };
        self.disk.stop(Duration::from_secs(60));
        result
    }

    /// Ends without commit or close, as `kill -9` would.
    fn crash(self) {
        self.disk.stop(Duration::from_secs(60));
    }
}

/// Everything in a window, through its slices and through a copy.
fn contents(window: &ReadWindow) -> Vec<u8> {
    let mut slices: Vec<IoSlice<'_>> = Vec::new();
    window.io_slices(0..window.len(), &mut slices).unwrap();
    let joined: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
    let mut copy = vec![0; window.len() as usize];
    window.read_at(0, &mut copy).unwrap();
    assert!(joined == copy);
    copy
}
