//! Opening a torrent: what is there, what can be believed, what has to be hashed.
//!
//! [`begin`] looks at the files and reads the resume data; the [`Check`] it makes then hashes what is left to know. All
//! disk threads work on one check, a slice at a time with other jobs in between: each takes the next run of neighbouring
//! pieces, so that the disk reads nearly straight on. [`Check::finish`] ends the open: it sees to it that nobody else's
//! files are written, and only then makes files.
//!
//! What need not be hashed: pieces that the resume data names, unless their files were touched since; after a clean
//! stop, everything in untouched files; and pieces that were never written. Those are known by the holes of their files
//! (`SEEK_DATA`; space that was reserved and not written is a hole, too): they read as zeros, so their hash is known.
//! On ext4 and tmpfs a page that is only in memory counts as data, as it must.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crossbeam_channel::Receiver;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::claims::Claims;
use super::error::StorageError;
use super::files::{self, FileStamp, FileState, Space};
use super::job::CheckMode;
use super::layout::{Place, Span};
use super::ownership::Doubts;
use super::record::Record;
use super::resume::ResumeDb;
use super::torrent::Torrent;
use super::verify::{PieceReader, hash_zeros};
use crate::types::{Bitfield, PieceHash, PieceIndex};

/// Bytes that a thread hashes before it looks for more urgent work: about 5 ms.
const SLICE: u64 = 8 * 1024 * 1024;

/// Time between two progress messages.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// An open that is going on.
pub(super) struct Check {
    pub(super) torrent: Arc<Torrent>,
    /// The folder as the resume data names it.
    state_dir: Arc<Path>,
    /// What the resume data says.
    record: Option<Record>,
    /// Pieces it names that may still be believed.
    kept: Bitfield,
    /// The files as they were when the open began.
    states: Vec<Option<FileState>>,
    /// Files whose owner is not known yet.
    doubts: Doubts,
    /// Pieces to look at, in order, and the position of the next one to take.
    candidates: Vec<PieceIndex>,
    next: AtomicUsize,
    /// Hash of a piece of the full length that was never written.
    zeros: OnceLock<PieceHash>,
    found: Mutex<Found>,
    ticks: Receiver<std::time::Instant>,
}

struct Found {
    have: Bitfield,
    checked: u64,
    hashed: u32,
    failure: Option<StorageError>,
    /// Why this torrent must not write, although it is a download: it does well enough if it is complete.
    rival: Option<StorageError>,
    /// Threads that still work on it.
    workers: usize,
}

/// How a slice ended.
pub(super) enum Slice {
    /// There is more; bytes checked so far and in all if it is time to tell.
    More(Option<(u64, u64)>),
    /// Nothing left for this thread; others are still at it.
    Done,
    /// Nothing left, and this was the last thread: [`Check::finish`].
    Last,
}

/// What an open found out.
pub(super) struct Outcome {
    /// Pieces that are there and good.
    pub(super) have: Bitfield,
    /// Those that the resume data named before: they were synced.
    pub(super) synced: Option<Bitfield>,
    /// The files as they were when the open began, if the resume data must be told what the open found so that the next
    /// one need not find it again.
    pub(super) news: Option<Vec<Option<FileStamp>>>,
}

/// Looks at the files and prepares the check. Changes nothing but that the download folder is made.
pub(super) fn begin(
    torrent: &Arc<Torrent>,
    resume: Option<&ResumeDb>,
    claims: &Claims,
    workers: usize,
) -> Result<Check, StorageError> {
    let place = &torrent.place;
    if torrent.keep_gone {
        not_all_is_gone(torrent, resume)?;
    }
    if torrent.create {
        fs::create_dir_all(&place.dir).map_err(|error| StorageError::io(&place.dir, "create", error))?;
    }
    let state_dir = state_dir(torrent)?;
    let rival = match claims.claim(torrent, &state_dir) {
        Some(error) if !torrent.create => return Err(error),
        rival => rival,
    };
    let writes = torrent.create && rival.is_none();
    let states = if writes { torrent.look_plain()? } else { torrent.look() };
    if !torrent.create {
        something_is_there(torrent, &states)?;
    }

    let record = load(torrent, resume, &state_dir)?;
    let Plan { believed, kept, candidates } = plan(torrent, record.as_ref(), &states);
    let mut doubts = Doubts::default();
    if writes {
        doubts = Doubts::raise(torrent, record.as_ref(), &states)?;
        files::check_space(place, &states)?;
    }
    if doubts.is_empty() && (writes || !torrent.create) {
        torrent.own();
    }
    let workers = if candidates.is_empty() { 1 } else { workers };
    let have = if torrent.check == CheckMode::Full {
        Bitfield::empty(place.layout.geometry().piece_count())
    } else {
        believed
    };
    Ok(Check {
        torrent: Arc::clone(torrent),
        state_dir,
        record,
        kept,
        states,
        doubts,
        candidates,
        next: AtomicUsize::new(0),
        zeros: OnceLock::new(),
        found: Mutex::new(Found { have, checked: 0, hashed: 0, failure: None, rival, workers }),
        ticks: crossbeam_channel::tick(PROGRESS_EVERY),
    })
}

/// The folder as the resume data names it.
fn state_dir(torrent: &Torrent) -> Result<Arc<Path>, StorageError> {
    let dir = &torrent.place.dir;
    let real = fs::canonicalize(dir).or_else(|_| std::path::absolute(dir));
    let real = real.map_err(|error| StorageError::io(dir, "look at", error))?;
    Ok(if *real == **dir { Arc::clone(dir) } else { real.into() })
}

/// What the resume data says.
fn load(torrent: &Torrent, resume: Option<&ResumeDb>, state_dir: &Path) -> Result<Option<Record>, StorageError> {
    let layout = &torrent.place.layout;
    let (pieces, files) = (layout.geometry().piece_count(), layout.files().len());
    let load = |resume: &ResumeDb| resume.load(&torrent.info_hash, state_dir, pieces, files);
    Ok(resume.map(load).transpose()?.flatten())
}

/// An error if a torrent that had something has not one of its files any more. Its disk may not be there, or somebody
/// has deleted or moved it all; to fetch everything again is nothing that a program does by itself.
fn not_all_is_gone(torrent: &Torrent, resume: Option<&ResumeDb>) -> Result<(), StorageError> {
    let Place { dir, layout } = &*torrent.place;
    let mut files = layout.files().iter().filter(|file| !file.pad && file.len > 0).peekable();
    let Some(first) = files.peek().copied() else { return Ok(()) };
    if files.any(|file| fs::symlink_metadata(dir.join(&file.path)).is_ok()) {
        return Ok(());
    }
    match load(torrent, resume, &state_dir(torrent)?)? {
        Some(record) if record.have.count_ones() > 0 => Err(StorageError::Gone {
            path: first.path.iter().next().map_or_else(|| dir.to_path_buf(), |top| dir.join(top)),
        }),
        _ => Ok(()),
    }
}

/// An error if a torrent that is to be seeded has not one of its files.
fn something_is_there(torrent: &Torrent, states: &[Option<FileState>]) -> Result<(), StorageError> {
    let dir = &torrent.place.dir;
    let wanted = torrent.place.layout.files().iter().find(|file| !file.pad && file.len > 0);
    match wanted {
        // Something is, but no file.
        Some(file) if states.iter().all(Option::is_none) && dir.join(&file.path).exists() => {
            Err(files::not_plain(dir.join(&file.path)))
        }
        Some(file) if states.iter().all(Option::is_none) => {
            let top = file.path.iter().next().map_or_else(|| dir.to_path_buf(), |name| dir.join(name));
            Err(StorageError::Missing { path: if dir.is_dir() { top } else { dir.to_path_buf() } })
        }
        _ => Ok(()),
    }
}

/// What has to be done to know which pieces are good.
struct Plan {
    /// Pieces that need not be looked at.
    believed: Bitfield,
    /// Those of them that the resume data names.
    kept: Bitfield,
    /// Pieces to look at.
    candidates: Vec<PieceIndex>,
}

/// Which pieces of the resume data still stand, and which pieces have to be looked at.
fn plan(torrent: &Torrent, record: Option<&Record>, states: &[Option<FileState>]) -> Plan {
    let layout = &torrent.place.layout;
    let geometry = layout.geometry();
    let stamps = record.and_then(|record| record.clean.as_ref());
    let size = |file: usize| states.get(file).copied().flatten().map(|state| state.stamp.size);
    // A download gives every file its length before it writes. One that is shorter was cut, and what was written since has
    // made it longer again, with a hole where pieces were.
    let is_whole = |file: usize| layout.files().get(file).is_some_and(|whole| size(file) >= Some(whole.len));
    let vouches = record.is_some_and(|record| record.clean.is_none() && !record.doubted);
    let untouched = |file: usize| {
        let now = states.get(file).copied().flatten().map(|state| state.stamp);
        stamps.is_some_and(|stamps| stamps.get(file) == Some(&now))
    };
    let mut believed = Bitfield::empty(geometry.piece_count());
    let mut kept = believed.clone();
    let mut candidates = Vec::new();
    let trusted = torrent.check == CheckMode::Trusted;
    for piece in geometry.pieces() {
        let on_disk = || layout.spans(piece).filter(|span| !span.pad);
        let complete = on_disk().all(|span| size(span.file) >= Some(span.offset + u64::from(span.len)));
        let known = stamps.is_some() && on_disk().all(|span| untouched(span.file));
        let had = record.is_some_and(|record| record.have.contains(piece));
        // While files are being written their times change: then what was committed counts, if all of the file is there.
        let committed = vouches && on_disk().all(|span| is_whole(span.file));
        let believe = complete && (trusted || had && (known || committed));
        if believe {
            believed.insert(piece);
        }
        if believe && had {
            kept.insert(piece);
        }
        let ask = torrent.check == CheckMode::Full || !(believe || known);
        if complete && ask {
            candidates.push(piece);
        }
    }
    Plan { believed, kept, candidates }
}

impl Check {
    /// Threads that have to work on it, each until its slice is not [`Slice::More`].
    pub(super) fn workers(&self) -> usize {
        self.found().workers
    }

    /// Hashes for a while.
    pub(super) fn run_slice(&self, reader: &mut PieceReader, stopping: bool) -> Slice {
        let geometry = self.torrent.place.layout.geometry();
        let run = usize::try_from(SLICE / u64::from(geometry.piece_length())).unwrap_or(1).max(1);
        self.heed_end(stopping);
        if self.found().failure.is_some() {
            return self.leave();
        }
        let from = self.next.fetch_add(run, Ordering::Relaxed);
        let pieces = self.candidates.get(from..self.candidates.len().min(from.saturating_add(run)));
        let Some(pieces) = pieces.filter(|pieces| !pieces.is_empty()) else { return self.leave() };
        for two in pieces.chunks(2) {
            if self.look_at(two, reader).is_err() {
                break;
            }
        }
        let checked = self.found().checked;
        Slice::More(self.ticks.try_recv().ok().map(|_| (checked, self.total())))
    }

    /// True if no piece has to be looked at.
    pub(super) const fn is_idle(&self) -> bool {
        self.candidates.is_empty()
    }

    /// Ends the check if the torrent is being closed, or everything stops.
    pub(super) fn heed_end(&self, stopping: bool) {
        if stopping || self.torrent.closing.load(Ordering::Relaxed) {
            self.fail(StorageError::NotOpen);
        }
    }

    /// Ends the check with an error, unless there is one already.
    pub(super) fn fail(&self, error: StorageError) {
        self.found().failure.get_or_insert(error);
    }

    fn leave(&self) -> Slice {
        let mut found = self.found();
        found.workers = found.workers.saturating_sub(1);
        if found.workers == 0 { Slice::Last } else { Slice::Done }
    }

    /// Bytes of all pieces to look at.
    fn total(&self) -> u64 {
        let geometry = self.torrent.place.layout.geometry();
        self.candidates.iter().map(|piece| u64::from(geometry.piece_len(*piece))).sum()
    }

    /// Looks at one or two pieces. `Err` if the check failed and need not go on.
    fn look_at(&self, pieces: &[PieceIndex], reader: &mut PieceReader) -> Result<(), Failed> {
        let mut wanted = [None, None];
        for (wanted, piece) in wanted.iter_mut().zip(pieces) {
            match self.has_data(*piece) {
                Ok(true) => *wanted = Some(*piece),
                looked => self.note(*piece, looked.map(|_| self.is_good_unwritten(*piece)), false)?,
            }
        }
        let hashes = reader.hash_pieces(&self.torrent, wanted);
        for (piece, hash) in wanted.into_iter().zip(hashes) {
            let Some(piece) = piece else { continue };
            let is_good = hash.map(|hash| hash.is_some_and(|hash| self.torrent.is_good(piece, hash)));
            self.note(piece, is_good, true)?;
        }
        Ok(())
    }

    /// Writes down what was found out of a piece.
    fn note(&self, piece: PieceIndex, is_good: Result<bool, StorageError>, hashed: bool) -> Result<(), Failed> {
        let mut found = self.found();
        found.checked += u64::from(self.torrent.place.layout.geometry().piece_len(piece));
        found.hashed += u32::from(hashed && is_good.is_ok());
        match is_good {
            Ok(true) => {
                found.have.insert(piece);
            }
            Ok(false) => {}
            Err(error) => {
                found.failure.get_or_insert(error);
                return Err(Failed);
            }
        }
        Ok(())
    }

    /// True if the piece should be nothing but zeros.
    fn is_good_unwritten(&self, piece: PieceIndex) -> bool {
        let geometry = self.torrent.place.layout.geometry();
        let len = geometry.piece_len(piece);
        let full = len == geometry.piece_length();
        let hash = if full { *self.zeros.get_or_init(|| hash_zeros(len)) } else { hash_zeros(len) };
        self.torrent.is_good(piece, hash)
    }

    /// False if no byte of the piece was ever written (all of it is there: [`plan`] saw to that).
    fn has_data(&self, piece: PieceIndex) -> Result<bool, StorageError> {
        for span in self.torrent.place.layout.spans(piece).filter(|span| !span.pad) {
            match self.torrent.open_file(span.file, false) {
                Ok(file) if span_has_data(&file, &span) => return Ok(true),
                // Gone since we looked: hashing will say so.
                Err(StorageError::Missing { .. }) => return Ok(true),
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Pieces that were hashed to know.
    pub(super) fn hashed(&self) -> u32 {
        self.found().hashed
    }

    /// Ends the open after [`Slice::Last`]. May take its time; `cancelled` is asked now and then.
    pub(super) fn finish(
        &self,
        resume: Option<&ResumeDb>,
        claims: &Claims,
        space: Space,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Outcome, StorageError> {
        let torrent = &self.torrent;
        let (have, rival) = {
            let mut found = self.found();
            if let Some(failure) = found.failure.take() {
                return Err(failure);
            }
            (found.have.clone(), found.rival.take())
        };
        let came_later = || if torrent.create { claims.reader(torrent) } else { None };
        match rival.or_else(came_later) {
            Some(rival) if !have.is_full() => return Err(rival),
            None if torrent.create => self.take_over(&have, resume, space, cancelled)?,
            _ => {}
        }
        let stamps: Vec<_> = (0..self.states.len()).map(|file| self.stamp(file, &have)).collect();
        let said = |record: &Record| record.have == have && record.clean.as_ref() == Some(&stamps);
        let news = (!self.record.as_ref().is_some_and(said)).then_some(stamps);
        let synced = self.record.as_ref().map(|_| self.kept.clone());
        Ok(Outcome { have, synced, news })
    }

    /// Makes the files, if they are the torrent's.
    fn take_over(
        &self,
        have: &Bitfield,
        resume: Option<&ResumeDb>,
        space: Space,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), StorageError> {
        let torrent = &self.torrent;
        self.doubts.settle(torrent, have, cancelled)?;
        torrent.own();
        let to_make = (0..self.states.len()).any(|file| !self.is_made(file));
        let new = self.record.as_ref().is_none_or(|record| record.have != self.kept);
        if let (Some(resume), true) = (resume, new && (to_make || !have.is_full())) {
            // Before the first byte, so that the files are known again if we are killed; and before a missing file is
            // made anew, for a piece of it would look like one we had.
            resume.save(
                &torrent.info_hash,
                &self.state_dir,
                &Record { have: self.kept.clone(), clean: None, doubted: false },
            )?;
        }
        if to_make { files::make(&torrent.place, &self.states, space, cancelled) } else { Ok(()) }
    }

    /// True if the file was whole in size when the open began.
    fn is_made(&self, file: usize) -> bool {
        let state = self.states.get(file).and_then(Option::as_ref);
        self.torrent.place.layout.files().get(file).is_none_or(|file| files::is_reserved(file, state))
    }

    /// What the resume data is to say of a file: how it was when the open began, unless the open made it.
    fn stamp(&self, file: usize, have: &Bitfield) -> Option<FileStamp> {
        let torrent = &self.torrent;
        let state = self.states.get(file).copied().flatten();
        let now = match torrent.create {
            true if self.is_made(file) => state,
            true => files::look(&torrent.place.path(file)),
            // One that holds nothing good may be anything: no later download shall take it for its own.
            false => state.filter(|_| torrent.place.layout.pieces_of(file).any(|piece| have.contains(piece))),
        };
        now.map(|state| state.stamp)
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The check has noted why it failed.
struct Failed;

fn span_has_data(file: &fs::File, span: &Span) -> bool {
    // Moves the position that the handle shares; nobody uses that.
    match rustix::fs::seek(file, SeekFrom::Data(span.offset)) {
        Ok(data) => data < span.offset + u64::from(span.len),
        Err(Errno::NXIO) => false,
        // The file system cannot tell.
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    #[test]
    fn reserved_space_is_no_data_until_it_is_written() {
        let mut file = tempfile::tempfile().unwrap();
        let span = |offset| Span { file: 0, offset, begin: 0, len: 4096, pad: false };
        if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 1 << 20).is_err() {
            println!("skipped: this file system cannot reserve space");
            return;
        }
        assert!(!span_has_data(&file, &span(65536)));
        file.seek(std::io::SeekFrom::Start(65536)).unwrap();
        file.write_all(b"x").unwrap();
        assert!(span_has_data(&file, &span(65536)), "not yet synced, but written");
        assert!(!span_has_data(&file, &span(0)));
        assert!(!span_has_data(&file, &span(128 * 1024)));
        assert!(!span_has_data(&file, &span(1 << 20)), "beyond the end");
    }
}
