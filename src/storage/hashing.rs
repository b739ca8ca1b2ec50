//! Hashes the pieces of files that lie on a disk, on all cores (BEP 3, `pieces`).
//!
//! Plain positional reads of regular files. Memory is two buffers a thread, whatever the piece length. Used where whole
//! torrents are made or checked outside a running client; a running one verifies from its piece buffer. Blocks the
//! calling thread until all is done.

use std::fs::{self, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;

use super::cursor::Cursor;
use super::sha1_pair::hash_both;
use crate::types::{Geometry, PieceHash, PieceIndex, sort_by};

/// Most bytes per read. Large enough that the system call costs nothing, small enough to stay in the second-level cache.
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
        // Two at once are faster, but not if that leaves a core without work.
        let step = if count >= cores.saturating_mul(2) { 2 } else { 1 };
        let (next, done, failed) = (AtomicU32::new(0), AtomicU64::new(0), AtomicBool::new(false));
        let work = || -> Result<Vec<(PieceIndex, T)>, E> {
            let mut reader = Reader::new(&self.files, self.geometry.piece_length());
            let mut results = Vec::new();
            while !cancel.load(Ordering::Relaxed) && !failed.load(Ordering::Relaxed) {
                let first = next.fetch_add(step, Ordering::Relaxed);
                let Some(left) = self.geometry.piece(first) else { break };
                let right = if step == 2 { self.geometry.piece(first + 1) } else { None };
                let hashes = reader.hash(Some(left).into_iter().chain(right).map(|piece| self.parts(piece)));
                for (piece, hash) in [Some(left), right].into_iter().zip(hashes) {
                    let Some(piece) = piece else { continue };
                    let answer = visit(piece, hash);
                    results.push((piece, answer.inspect_err(|_| failed.store(true, Ordering::Relaxed))?));
                    let len = u64::from(self.geometry.piece_len(piece));
                    progress(done.fetch_add(len, Ordering::Relaxed) + len, self.geometry.total());
                }
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
        sort_by(&mut all, |(a, _), (b, _)| a.cmp(b));
        Ok(Some(all.into_iter().map(|(_, answer)| answer).collect()))
    }
}

/// One thread's buffers and the file that it read last: pieces come in order, so it is mostly the right one.
struct Reader<'a> {
    files: &'a [Source],
    open: Option<(usize, fs::File)>,
    buffers: [Vec<u8>; 2],
}

impl<'a> Reader<'a> {
    /// Nothing is read beyond a piece. Who shares many small files has many threads one after the other, each of which
    /// may leave what it took in another arena of the allocator.
    fn new(files: &'a [Source], piece_length: u32) -> Self {
        let len = usize::try_from(piece_length).map_or(BUFFER_LEN, |len| len.min(BUFFER_LEN));
        Self { files, open: None, buffers: [vec![0; len], vec![0; len]] }
    }

    /// Hashes of the first two of these messages, each made of parts of files; of fewer, what nothing hashes to.
    fn hash<P: Iterator<Item = (usize, Range<u64>)>>(
        &mut self,
        mut messages: impl Iterator<Item = P>,
    ) -> [Result<PieceHash, ReadError>; 2] {
        let mut cursors = [messages.next(), messages.next()].map(|parts| parts.map(Cursor::new));
        let Self { files, open, buffers } = self;
        let fill = |lane: usize, buffer: &mut [u8]| match cursors.get_mut(lane) {
            Some(Some(cursor)) => cursor.fill(buffer, |file, offset, room| {
                read(files, open, file, offset, room).map_err(|error| ReadError { file, error })
            }),
            _ => Ok(0),
        };
        hash_both(buffers, fill).map(|hash| hash.map(PieceHash::new))
    }
}

fn read(
    files: &[Source],
    open: &mut Option<(usize, fs::File)>,
    index: usize,
    offset: u64,
    room: &mut [u8],
) -> io::Result<()> {
    let source = files.get(index).ok_or(io::ErrorKind::NotFound)?;
    if source.pad {
        room.fill(0);
        return Ok(());
    }
    let file = match open {
        Some((open, file)) if *open == index => file,
        slot => &slot.insert((index, open_regular(source)?)).1,
    };
    file.read_exact_at(room, offset)
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
    use sha1::{Digest, Sha1};

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
