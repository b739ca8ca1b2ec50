//! Hashes the pieces of files that lie on a disk, on all cores (BEP 3, `pieces`).
//!
//! Plain positional reads of regular files. Memory is one buffer a thread, whatever the piece length. Used where whole
//! torrents are made or checked outside a running client; a running one verifies from its piece buffer. Blocks the
//! calling thread until all is done.

use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;

use sha1::{Digest, Sha1};

use crate::types::{Geometry, PieceHash, PieceIndex};

/// Bytes per read. Large enough that the system call costs nothing, small enough to stay in the second-level cache.
const BUFFER_LEN: usize = 256 * 1024;

/// Called with the bytes done so far and the bytes in all, by any of the hashing threads.
pub type Progress<'a> = dyn Fn(u64, u64) + Sync + 'a;

/// One file of a torrent on its disk.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// Bytes that the torrent has of it. More than that is never read.
    pub(super) len: u64,
    /// Zeros that lie on no disk (BEP 47).
    pub(super) pad: bool,
}

/// The files of a torrent in its order, and where each one ends.
pub(super) struct Sources {
    files: Vec<Source>,
    /// End of each file, counted from the start of the torrent.
    ends: Vec<u64>,
    geometry: Geometry,
}

/// A file could not be read. [`io::ErrorKind::UnexpectedEof`]: it is shorter than the torrent says.
#[derive(Debug)]
pub(super) struct ReadError {
    /// Index of the file.
    pub(super) file: usize,
    pub(super) error: io::Error,
}

impl Sources {
    /// The lengths must add up to the geometry's total.
    pub(super) fn new(files: Vec<Source>, geometry: Geometry) -> Self {
        let ends = files.iter().scan(0_u64, |end, file| {
            *end = end.saturating_add(file.len);
            Some(*end)
        });
        Self { ends: ends.collect(), files, geometry }
    }

    pub(super) fn files(&self) -> &[Source] {
        &self.files
    }

    /// Files with bytes in this piece, and which of their bytes.
    pub(super) fn parts(&self, piece: PieceIndex) -> impl Iterator<Item = (usize, Range<u64>)> {
        let start = self.geometry.piece_start(piece);
        let end = start + u64::from(self.geometry.piece_len(piece));
        let first = self.ends.partition_point(|file_end| *file_end <= start);
        let files = self.files.iter().zip(&self.ends).enumerate().skip(first);
        files
            .map(|(index, (file, file_end))| (index, file_end - file.len, *file_end))
            .take_while(move |(_, file_start, _)| *file_start < end)
            .map(move |(index, from, to)| (index, start.max(from) - from..end.min(to) - from))
            .filter(|(_, range)| !range.is_empty())
    }

    /// Hashes all pieces on as many threads as there are cores and gives each result to `visit`. The answers of `visit`
    /// come back in torrent order; `None` if `cancel` was set meanwhile.
    ///
    /// # Errors
    /// The first one that `visit` answers; it stops the work.
    pub(super) fn hash_all<T: Send, E: Send>(
        &self,
        progress: &Progress<'_>,
        cancel: &AtomicBool,
        visit: impl Fn(PieceIndex, Result<PieceHash, ReadError>) -> Result<T, E> + Sync,
    ) -> Result<Option<Vec<T>>, E> {
        let count = self.geometry.piece_count();
        let cores = thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
        let (next, done, failed) = (AtomicU32::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let work = || -> Result<Vec<(PieceIndex, T)>, E> {
            let mut reader = Reader::new(&self.files);
            let mut results = Vec::new();
            while !cancel.load(Ordering::Relaxed) && !failed.load(Ordering::Relaxed) {
                let Some(piece) = self.geometry.piece(next.fetch_add(1, Ordering::Relaxed)) else { break };
                let answer = visit(piece, reader.hash(self.parts(piece)));
                results.push((piece, answer.inspect_err(|_| failed.store(true, Ordering::Relaxed))?));
                let len = u64::from(self.geometry.piece_len(piece));
                progress(done.fetch_add(len, Ordering::Relaxed) + len, self.geometry.total());
            }
            Ok(results)
        };
        let parts = thread::scope(|scope| {
            let threads: Vec<_> = (0..cores.min(count)).map(|_| scope.spawn(work)).collect();
            let joined =
                threads.into_iter().map(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
            joined.collect::<Vec<_>>()
        });
        let mut all = Vec::new();
        for part in parts {
            all.extend(part?);
        }
        if u32::try_from(all.len()) != Ok(count) {
            return Ok(None);
        }
        all.sort_unstable_by_key(|(piece, _)| *piece);
        Ok(Some(all.into_iter().map(|(_, answer)| answer).collect()))
    }
}

/// One thread's buffer and the file that it read last: pieces come in order, so it is mostly the right one.
struct Reader<'a> {
    files: &'a [Source],
    open: Option<(usize, fs::File)>,
    buffer: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn new(files: &'a [Source]) -> Self {
        Self { files, open: None, buffer: vec![0; BUFFER_LEN] }
    }

    fn hash(&mut self, parts: impl Iterator<Item = (usize, Range<u64>)>) -> Result<PieceHash, ReadError> {
        let mut hasher = Sha1::new();
        for (file, range) in parts {
            self.feed(&mut hasher, file, range).map_err(|error| ReadError { file, error })?;
        }
        Ok(PieceHash::new(hasher.finalize().into()))
    }

    fn feed(&mut self, hasher: &mut Sha1, index: usize, mut range: Range<u64>) -> io::Result<()> {
        let source = self.files.get(index).ok_or(io::ErrorKind::NotFound)?;
        let file = match (&mut self.open, source.pad) {
            (_, true) => None,
            (Some((open, file)), false) if *open == index => Some(&*file),
            (slot, false) => Some(&slot.insert((index, open_regular(source)?)).1),
        };
        while range.start < range.end {
            let len = usize::try_from(range.end - range.start).unwrap_or(BUFFER_LEN).min(BUFFER_LEN);
            let bytes = self.buffer.get_mut(..len).ok_or(io::ErrorKind::InvalidInput)?;
            match file {
                Some(file) => file.read_exact_at(bytes, range.start)?,
                None => bytes.fill(0),
            }
            hasher.update(&*bytes);
            range.start += len as u64;
        }
        Ok(())
    }
}

/// Opens a file for reading. Never waits for the other end of a pipe that lies in its place.
fn open_regular(source: &Source) -> io::Result<fs::File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&source.path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(dir: &std::path::Path, lens: &[(u64, bool)], piece_length: u64) -> (Sources, Vec<u8>) {
        let mut all = Vec::new();
        let files = lens.iter().enumerate().map(|(index, (len, pad))| {
            let bytes: Vec<u8> = (0..*len).map(|i| if *pad { 0 } else { (i % 251) as u8 }).collect();
            let path = dir.join(index.to_string());
            if !pad {
                fs::write(&path, &bytes).unwrap();
            }
            all.extend(bytes);
            Source { path, len: *len, pad: *pad }
        });
        let files = files.collect();
        (Sources::new(files, Geometry::new(all.len() as u64, piece_length).unwrap()), all)
    }

    #[test]
    fn pieces_run_across_files_pads_and_empty_files() {
        let dir = tempfile::tempdir().unwrap();
        let lens = [(0, false), (700_000, false), (3, false), (0, false), (29, true), (1, false), (0, false)];
        for piece_length in [1000, 262_144, 700_000, 700_003, 1 << 24] {
            let (sources, all) = sources(dir.path(), &lens, piece_length);
            let hashes = sources.hash_all::<_, io::Error>(&|_, _| (), &AtomicBool::new(false), |_, hash| {
                hash.map_err(|error| error.error)
            });
            let expected: Vec<_> = all
                .chunks(usize::try_from(piece_length).unwrap())
                .map(|piece| PieceHash::new(Sha1::digest(piece).into()))
                .collect();
            assert_eq!(hashes.unwrap().unwrap(), expected, "{piece_length}");
        }
    }

    #[test]
    fn a_missing_file_is_named_and_stops_the_work() {
        let dir = tempfile::tempdir().unwrap();
        let (sources, _) = sources(dir.path(), &[(10_000, false), (10_000, false)], 100);
        fs::remove_file(dir.path().join("1")).unwrap();
        let result = sources.hash_all(&|_, _| (), &AtomicBool::new(false), |_, hash| hash.map_err(|error| error.file));
        assert_eq!(result, Err(1));
    }

    #[test]
    fn progress_reaches_the_total_and_a_cancelled_run_has_no_result() {
        let dir = tempfile::tempdir().unwrap();
        let (sources, _) = sources(dir.path(), &[(10_000, false)], 1000);
        let most = AtomicU64::new(0);
        let progress = |done: u64, total: u64| {
            assert_eq!(total, 10_000);
            most.fetch_max(done, Ordering::Relaxed);
        };
        let visit = |piece: PieceIndex, _| Ok::<_, ()>(piece.get());
        let all = sources.hash_all(&progress, &AtomicBool::new(false), visit);
        assert_eq!(all, Ok(Some((0..10).collect())));
        assert_eq!(most.into_inner(), 10_000);
        assert_eq!(sources.hash_all(&|_, _| (), &AtomicBool::new(true), visit), Ok(None));
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        assert!(open_regular(&Source { path, len: 1, pad: false }).is_err());
    }
}
