//! What the disk threads know of one torrent. Jobs of one torrent may run on several threads at once; the locks here
//! are held for a look-up, or for one statement to the resume data, never while a file is read, written or synced.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::backend::Backend;
use super::error::StorageError;
use super::files::{self, Access, FileCache, FileStamp};
use super::job::{CheckMode, Ending, Writing};
use super::layout::Place;
use super::record::Record;
use super::resume::ResumeDb;
use super::worker::Shared;
use crate::types::{Bitfield, InfoHash, Nothing, PieceHash, PieceHashes, PieceIndex, Rare, SortedMap, TorrentKey};

/// From this number of files on, the whole file system is synced at once: one wait instead of one for each file.
const SYNC_ALL: usize = 64;

/// The same for a sync ahead of time, which happens the more often the slower the disk is.
const SYNC_ALL_EARLY: usize = 4;

/// One torrent that is, or is being, opened.
pub(super) struct Torrent {
    pub(super) key: TorrentKey,
    pub(super) info_hash: InfoHash,
    pub(super) place: Arc<Place>,
    pub(super) hashes: PieceHashes,
    pub(super) check: CheckMode,
    /// It may be written.
    pub(super) create: bool,
    /// But not over a complete file that somebody changed.
    pub(super) keep_edits: bool,
    /// Nor if not one file is left of those that were there.
    pub(super) keep_gone: bool,
    /// Nobody else has files there, and nothing is remembered.
    pub(super) scratch: bool,
    pub(super) files: Arc<FileCache>,
    /// A close was submitted: a check need not go on.
    pub(super) closing: AtomicBool,
    /// The threads that serve it, once they are known.
    pub(super) home: OnceLock<Arc<Shared>>,
    /// Set when an open succeeded.
    opened: OnceLock<Arc<dyn Backend>>,
    /// The folder as the resume data names it, which is its real path. Set when its files are claimed.
    state_dir: OnceLock<Arc<Path>>,
    /// The files turned out to be the torrent's own.
    is_own: AtomicBool,
    jobs: Mutex<Jobs>,
    written: Mutex<Written>,
    row: Mutex<Row>,
}

#[derive(Default)]
struct Jobs {
    /// Submitted and not through.
    pending: u32,
    /// A close that waits for them.
    close: Option<Ending>,
}

/// What is in the files.
#[derive(Clone)]
struct Written {
    /// Verified pieces.
    have: Bitfield,
    since: Rare<Since>,
}

/// What was written since the open. Mostly nothing.
#[derive(Clone, Default)]
struct Since {
    /// Files with verified pieces that were not synced since, each with the number of its last write.
    unsynced: SortedMap<usize, u64>,
    /// Pieces written so far.
    writes: u64,
    /// Their bytes.
    bytes: u64,
    /// So many of those do not wait to be synced any more.
    bytes_synced: u64,
}

impl Nothing for Since {
    const NOTHING: &'static Self = &Self { unsynced: SortedMap::new(), writes: 0, bytes: 0, bytes_synced: 0 };

    fn is_nothing(&self) -> bool {
        self.unsynced.is_empty() && self.writes == 0
    }
}

impl Written {
    fn new(have: Bitfield, unsynced: SortedMap<usize, u64>) -> Self {
        Self { have, since: Rare::new(Since { unsynced, ..Since::default() }) }
    }
}

/// What this torrent's row in the resume data says.
#[derive(Default)]
struct Row {
    clean: bool,
    /// It names the first so many pieces that were written.
    writes: u64,
    /// Bytes that were written may be gone: until the torrent is opened anew nothing is committed.
    doubted: bool,
    /// It says so.
    says_doubted: bool,
}

/// Why files are synced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Syncing {
    /// So that the next commit has little to wait for.
    Early,
    /// To commit what is in them.
    Bytes,
    /// To commit their times of change as well.
    Times,
}

impl Torrent {
    pub(super) fn new(
        key: TorrentKey,
        info_hash: InfoHash,
        place: Place,
        hashes: PieceHashes,
        mode: (CheckMode, Writing),
        files: Arc<FileCache>,
    ) -> Self {
        Self {
            key,
            info_hash,
            place: Arc::new(place),
            hashes,
            check: mode.0,
            create: mode.1 != Writing::Never,
            keep_edits: matches!(mode.1, Writing::Missing | Writing::Restore),
            keep_gone: mode.1 == Writing::Restore,
            scratch: mode.1 == Writing::Scratch,
            files,
            closing: AtomicBool::new(false),
            home: OnceLock::new(),
            opened: OnceLock::new(),
            state_dir: OnceLock::new(),
            is_own: AtomicBool::new(false),
            jobs: Mutex::default(),
            written: Mutex::new(Written::new(Bitfield::empty(0), SortedMap::new())),
            row: Mutex::default(),
        }
    }

    /// Opens one of its files.
    pub(super) fn open_file(&self, index: usize, write: bool) -> Result<Arc<File>, StorageError> {
        let access = match (write, self.create) {
            (true, _) => Access::Write,
            (false, true) => Access::ReadPlain,
            (false, false) => Access::Read,
        };
        self.files.open(self.key, &self.place, index, access)
    }

    /// How its files are read and written, since the open succeeded; [`StorageError::NotOpen`] before.
    pub(super) fn opened(&self) -> Result<&Arc<dyn Backend>, StorageError> {
        self.opened.get().ok_or(StorageError::NotOpen)
    }

    /// Notes where it claims its files, and answers with that.
    pub(super) fn claims_in(&self, state_dir: &Arc<Path>) -> &Arc<Path> {
        self.state_dir.get_or_init(|| Arc::clone(state_dir))
    }

    /// The folder as the resume data names it, once the files are claimed.
    pub(super) fn state_dir(&self) -> Option<&Path> {
        self.state_dir.get().map(AsRef::as_ref)
    }

    /// Notes that the files are the torrent's own.
    pub(super) fn own(&self) {
        self.is_own.store(true, Ordering::Release);
    }

    /// The folder as the resume data names it, if the files are the torrent's own.
    pub(super) fn owned(&self) -> Option<&Path> {
        self.state_dir().filter(|_| self.is_own.load(Ordering::Acquire))
    }

    /// The folder as the resume data names it, of a torrent that is open.
    fn row_dir(&self) -> Result<&Path, StorageError> {
        self.opened().and_then(|_| self.state_dir().ok_or(StorageError::NotOpen))
    }

    /// True if every piece is verified.
    pub(super) fn is_complete(&self) -> bool {
        lock(&self.written).have.is_full()
    }

    /// The hash that a piece must have.
    pub(super) fn is_good(&self, piece: PieceIndex, hash: PieceHash) -> bool {
        self.hashes.get(piece) == Some(hash)
    }

    /// Counts a submitted job.
    pub(super) fn job_begins(&self) {
        lock(&self.jobs).pending += 1;
    }

    /// Counts a job for a torrent that may have no other one. False if it is being closed.
    pub(super) fn job_joins(&self) -> bool {
        let mut jobs = lock(&self.jobs);
        let open = !self.closing.load(Ordering::Relaxed);
        jobs.pending += u32::from(open);
        open
    }

    /// Counts a job that is through. `Some` if a close waited for it and must now be done.
    pub(super) fn job_ends(&self) -> Option<Ending> {
        let mut jobs = lock(&self.jobs);
        jobs.pending = jobs.pending.saturating_sub(1);
        if jobs.pending == 0 { jobs.close.take() } else { None }
    }

    /// Lets a close wait for the jobs before it. False if there are none: do it at once.
    pub(super) fn defer_close(&self, ending: Ending) -> bool {
        let mut jobs = lock(&self.jobs);
        self.closing.store(true, Ordering::Relaxed);
        let wait = jobs.pending > 0;
        if wait {
            jobs.close = Some(ending);
        }
        wait
    }

    /// To be called before the first write: the resume data must not claim that nothing was written.
    pub(super) fn will_write(&self, resume: Option<&ResumeDb>) -> Result<(), StorageError> {
        let mut row = lock(&self.row);
        if row.clean {
            if let Some(resume) = resume {
                resume.mark_unclean(&self.info_hash, self.row_dir()?)?;
            }
            row.clean = false;
        }
        Ok(())
    }

    /// Notes a verified piece that is in its files, which must be synced before it is committed.
    ///
    /// # Errors
    /// If that was the last one, and one of the files has been cut short meanwhile.
    pub(super) fn wrote(&self, piece: PieceIndex) -> Result<(), StorageError> {
        let len = u64::from(self.place.layout.geometry().piece_len(piece));
        let mut written = lock(&self.written);
        written.have.insert(piece);
        let since = &mut *written.since;
        since.writes += 1;
        since.bytes += len;
        let number = since.writes;
        let spans = self.place.layout.spans(piece).filter(|span| !span.pad);
        since.unsynced.extend(spans.map(|span| (span.file, number)));
        let unsynced = written.have.is_full().then(|| written.since.unsynced.clone());
        drop(written);
        if let Some(home) = self.home.get() {
            home.backlog.wrote(len);
        }
        unsynced.map_or(Ok(()), |unsynced| self.check_cut(&unsynced))
    }

    /// Syncs what was written, so that the next commit has little to wait for.
    pub(super) fn sync_early(&self, resume: Option<&ResumeDb>) -> Result<(), StorageError> {
        self.sync_written(resume, Syncing::Early).map(drop)
    }

    /// Bytes that were there are gone. If that may concern what was written since the open, the resume data does not
    /// vouch for anything any more; it has the files' times otherwise, which tell.
    pub(super) fn lost(&self, resume: Option<&ResumeDb>) {
        if !lock(&self.row).clean {
            self.doubt(resume);
        }
    }

    /// Commits nothing any more, and says so in the resume data, so that it holds after the end of this process, too.
    fn doubt(&self, resume: Option<&ResumeDb>) {
        self.forget_unsynced();
        let mut row = lock(&self.row);
        row.doubted = true;
        if let Some(resume) = resume.filter(|_| !row.says_doubted) {
            let said = self.row_dir().and_then(|dir| resume.mark_doubted(&self.info_hash, dir));
            row.says_doubted = said.is_ok();
            if let Err(error) = said {
                log::warn!("tried again at the next commit: {error}");
            }
        }
    }

    /// The row, to be written anew.
    fn sound_row(&self) -> Result<MutexGuard<'_, Row>, StorageError> {
        let row = lock(&self.row);
        if row.doubted { Err(StorageError::NotSafe { dir: self.place.dir.to_path_buf() }) } else { Ok(row) }
    }

    /// Bytes that were written and wait to be synced.
    pub(super) fn unsynced(&self) -> u64 {
        let written = lock(&self.written);
        written.since.bytes.saturating_sub(written.since.bytes_synced)
    }

    /// Nobody will sync what was written.
    pub(super) fn forget_unsynced(&self) {
        let bytes = lock(&self.written).since.bytes;
        self.bytes_synced(bytes, None);
    }

    /// The first so many bytes that were written do not wait to be synced any more.
    fn bytes_synced(&self, bytes: u64, since: Option<Instant>) {
        let mut written = lock(&self.written);
        let fewer = bytes.saturating_sub(written.since.bytes_synced);
        if fewer > 0 {
            written.since.bytes_synced += fewer;
        }
        drop(written);
        if let Some(home) = self.home.get() {
            home.backlog.synced(fewer, since.map(|since| since.elapsed()));
        }
    }

    /// Sees whether somebody cut one of these files short that were written: see `check_end` in `backend`.
    fn check_cut(&self, unsynced: &SortedMap<usize, u64>) -> Result<(), StorageError> {
        for (index, _) in unsynced.iter().filter(|(_, write)| **write > 0) {
            let path = self.place.path(*index);
            let expected = self.place.layout.files().get(*index).map_or(0, |file| file.len);
            match files::look(&path).map(|state| state.stamp.size) {
                Some(found) if found < expected => return Err(StorageError::TooShort { path, expected, found }),
                _ => {}
            }
        }
        Ok(())
    }

    /// Syncs what was written, then remembers it. `clean`: nothing is written after this, so that the next open need
    /// not look at the files' bytes. That is so when it is complete, too.
    pub(super) fn commit(&self, resume: Option<&ResumeDb>, clean: bool) -> Result<(), StorageError> {
        if self.sound_row().is_ok_and(|row| row.clean) {
            // Nothing was written since the open, which said all there is to say. Above all not how the files look
            // now: somebody else may have changed them since.
            return Ok(());
        }
        let clean = clean || self.is_complete();
        let (have, writes) = self.sync_written(resume, if clean { Syncing::Times } else { Syncing::Bytes })?;
        let Some(resume) = resume else { return Ok(()) };
        let stamps = clean.then(|| self.stamps());
        let mut row = self.sound_row()?;
        // One that comes late does not replace a newer one.
        if clean || row.writes < writes {
            resume.save(&self.info_hash, self.row_dir()?, &Record { have, clean: stamps, doubted: false })?;
            (row.clean, row.writes) = (clean, writes);
        }
        Ok(())
    }

    /// Remembers what the open found; `stamps` are the files as they were when it began.
    pub(super) fn remember(&self, resume: &ResumeDb, stamps: Vec<Option<FileStamp>>) -> Result<(), StorageError> {
        let (have, writes) = self.sync_written(Some(resume), Syncing::Bytes)?;
        let mut row = self.sound_row()?;
        if row.writes <= writes {
            let clean = row.clean.then_some(stamps);
            resume.save(&self.info_hash, self.row_dir()?, &Record { have, clean, doubted: false })?;
            row.writes = writes;
        }
        Ok(())
    }

    /// Syncs what was written. Answers with the pieces that are safe now, and the number of writes they took.
    ///
    /// The system says only once that something could not be written: the next sync of the same file succeeds. So after an
    /// error there is nothing but errors.
    #[expect(clippy::disallowed_methods, reason = "how long a disk takes is real time")]
    fn sync_written(&self, resume: Option<&ResumeDb>, why: Syncing) -> Result<(Bitfield, u64), StorageError> {
        // A copy: a second commit meanwhile must not believe that these are synced already.
        let Written { have, since } = lock(&self.written).clone();
        let Since { unsynced, writes, bytes, .. } = &*since;
        let (writes, bytes) = (*writes, *bytes);
        let start = Instant::now();
        let synced = self.check_cut(unsynced).and_then(|()| self.sound_row().map(drop));
        let synced = synced.and_then(|()| self.sync(unsynced.keys().copied().collect(), why));
        self.bytes_synced(bytes, synced.is_ok().then_some(start));
        if synced.is_err() && writes > 0 {
            self.doubt(resume);
        }
        if !synced? {
            return Ok((have, writes));
        }
        let mut written = lock(&self.written);
        if let Some(now) = written.since.get_mut() {
            now.unsynced.retain(|file, write| unsynced.get(file) != Some(write));
        }
        written.since.settle();
        drop(written);
        Ok((have, writes))
    }

    /// Ends the open, which found these pieces: jobs may come. Whether the pieces that are not in `synced` are safe
    /// from a power cut, nobody knows yet.
    pub(super) fn set_opened(&self, opened: Arc<dyn Backend>, have: Bitfield, synced: Option<&Bitfield>) {
        let layout = &self.place.layout;
        let is_new = |piece: PieceIndex| have.contains(piece) && !synced.is_some_and(|synced| synced.contains(piece));
        let files = layout.files().iter().enumerate().filter(|(_, file)| !file.pad).map(|(index, _)| index);
        let unsynced = files.filter(|index| layout.pieces_of(*index).any(is_new)).map(|index| (index, 0)).collect();
        *lock(&self.written) = Written::new(have, unsynced);
        lock(&self.row).clean = true;
        let _ = self.opened.set(opened);
    }

    /// Waits until these files' bytes are on the disk. True if it is certain that they are: whether a file of many could
    /// not be written, a sync ahead of time leaves to the commit to ask.
    fn sync(&self, mut files: Vec<usize>, why: Syncing) -> Result<bool, StorageError> {
        let dir = &self.place.dir;
        let all = files.len() > if why == Syncing::Early { SYNC_ALL_EARLY } else { SYNC_ALL };
        if all {
            let failed = |error| StorageError::io(dir, "sync", error);
            let folder = File::open(dir).map_err(failed)?;
            rustix::fs::syncfs(&folder).map_err(|errno| failed(errno.into()))?;
            // What is mounted below the folder is left to be synced by itself.
            let device = folder.metadata().map_err(failed)?.dev();
            files.retain(|file| !fs::metadata(self.place.path(*file)).is_ok_and(|meta| meta.dev() == device));
        }
        for index in files {
            let file = self.open_file(index, false)?;
            let answer = if why == Syncing::Times { file.sync_all() } else { file.sync_data() };
            answer.map_err(|error| StorageError::io(&self.place.path(index), "sync", error))?;
        }
        Ok(!(all && why == Syncing::Early))
    }

    /// Every file as it is now.
    pub(super) fn stamps(&self) -> Vec<Option<FileStamp>> {
        self.look().into_iter().map(|state| state.map(|state| state.stamp)).collect()
    }

    /// The state of every file that is to be written; see [`files::look_plain`].
    pub(super) fn look_plain(&self) -> Result<Vec<Option<files::FileState>>, StorageError> {
        let look = |file: &super::LayoutFile| {
            if file.pad { Ok(None) } else { files::look_plain(&self.place, &file.path) }
        };
        self.place.layout.files().iter().map(look).collect()
    }

    /// The state of every file; `None` for those that are not there and for padding.
    pub(super) fn look(&self) -> Vec<Option<files::FileState>> {
        let look = |file: &super::LayoutFile| {
            if file.pad { None } else { files::look(&self.place.dir.join(&file.path)) }
        };
        self.place.layout.files().iter().map(look).collect()
    }
}

/// No lock of this module is held where a panic can happen, so a poisoned one guards sound data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
