//! A disk thread's life: what is done with each job.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Sender;

use super::backend::{self, Backend};
use super::backlog::{Backlog, Writers};
use super::check::{self, Check, Outcome, Slice};
use super::claims::Claims;
use super::error::StorageError;
use super::files::{self, FileCache, Space};
use super::job::{BackendChoice, Done, Ending, Verified};
use super::mapping::{BufferPool, ReadWindow, WriteWindow};
use super::queues::{Next, Queues, Seat};
use super::reserve::Reservation;
use super::resume::ResumeDb;
use super::task::{Task, Verify, Work};
use super::torrent::Torrent;
use super::verify::{PieceReader, block_digests, hash_window, hash_windows};
use crate::types::{PieceHash, PieceIndex};

/// What all disk threads share.
pub(super) struct Common {
    pub(super) resume: Option<ResumeDb>,
    pub(super) choice: BackendChoice,
    pub(super) mapped: Arc<dyn Backend>,
    pub(super) mixed: Arc<dyn Backend>,
    pub(super) positional: Arc<dyn Backend>,
    /// Memory of the back ends.
    pub(super) pool: BufferPool,
    pub(super) files: Arc<FileCache>,
    pub(super) claims: Claims,
    /// Number of disk threads of a device.
    pub(super) workers: usize,
    pub(super) stopping: AtomicBool,
    pub(super) done: Sender<Done>,
    pub(super) wake: Arc<dyn Fn() + Send + Sync>,
}

/// What the disk threads of one device share.
pub(super) struct Shared {
    pub(super) common: Arc<Common>,
    /// Tells this device from the others.
    pub(super) device: usize,
    /// What was written to it.
    pub(super) backlog: Backlog,
    pub(super) writers: Writers,
    pub(super) queues: Queues,
}

/// A disk thread's life.
pub(super) fn work(shared: &Shared, mut seat: Seat) {
    let mut reader = PieceReader::default();
    loop {
        match shared.queues.next(&mut seat, || shared.backlog.is_full()) {
            Next::Task(Task::Of(torrent, work)) => shared.try_run(&torrent, work),
            Next::Task(Task::Release(windows)) => drop(windows),
            Next::Task(Task::ReleaseWrite(window)) => drop(window),
            Next::Task(Task::Trim(pool)) => pool.trim(),
            Next::Verify(first, second) => shared.run_verify(first, second),
            Next::Task(Task::Check(check)) => {
                let run = |reader: &mut PieceReader| shared.run_check(&check, reader);
                if !is_through(|| run(&mut reader)) {
                    check.fail(StorageError::Panicked);
                    run(&mut reader);
                }
            }
            Next::Stop => return,
        }
    }
}

/// False if it panics. Whoever waits for the answer has to be told, and the thread is needed.
fn is_through(work: impl FnOnce()) -> bool {
    let through = catch_unwind(AssertUnwindSafe(work)).is_ok();
    if !through {
        log::error!("a disk thread panicked; it goes on");
    }
    through
}

impl Shared {
    fn try_run(&self, torrent: &Arc<Torrent>, work: Work) {
        let failed = work.failed(torrent.key, StorageError::Panicked);
        if !is_through(|| self.run(torrent, work)) {
            // Somebody may wait for the sync that this was.
            self.backlog.given_up();
            self.answer(failed);
            self.job_ends(torrent);
        }
    }

    fn run(&self, torrent: &Arc<Torrent>, work: Work) {
        let key = torrent.key;
        let resume = self.common.resume_of(torrent);
        match work {
            Work::Open => match check::begin(torrent, resume, &self.common.claims, self.common.workers) {
                // At a start there are thousands of these: what is kept for the check must not pile up behind the opens.
                Ok(check) if check.is_idle() => {
                    check.heed_end(self.common.stopping.load(Ordering::Relaxed));
                    self.conclude(torrent, &check);
                }
                Ok(check) => return self.start_check(check), // The job ends with the check.
                Err(error) => self.open_failed(torrent, error, 0),
            },
            Work::Conclude(check) => self.conclude(torrent, &check),
            Work::Reserve(reservation) => {
                if !self.reserve(torrent, reservation) {
                    return; // The job goes on.
                }
            }
            Work::OpenWindow(piece) => {
                let result = self.noting_loss(torrent, self.open_window(torrent, piece));
                self.answer(Done::WindowOpened { torrent: key, piece, result });
            }
            Work::Populate(piece) => {
                let result = torrent.opened().and_then(|opened| opened.populate(torrent, piece));
                let result = self.noting_loss(torrent, result);
                self.answer(Done::Populated { torrent: key, piece, result });
            }
            Work::Probe(windows) => {
                let result = self.noting_loss(torrent, windows.iter().try_for_each(ReadWindow::probe));
                self.answer(Done::Probed { torrent: key, result });
            }
            Work::Commit => {
                let result = torrent.commit(resume, false);
                self.answer(Done::Committed { torrent: key, result });
            }
            Work::Sync => self.sync_early(torrent),
            Work::Close(ending) => return self.close(torrent, ending),
        }
        self.job_ends(torrent);
    }

    /// Sees to it that not more waits to be synced than a moment's worth. Never waits for that itself: this thread may be
    /// the one that is kept free.
    fn bound_backlog(&self, torrent: &Arc<Torrent>) {
        self.writers.note(torrent);
        if !self.backlog.is_due() {
            return;
        }
        let largest = self.writers.largest().filter(|largest| largest.job_joins());
        let torrent = largest.unwrap_or_else(|| {
            torrent.job_begins();
            Arc::clone(torrent)
        });
        self.send(Task::Of(torrent, Work::Sync));
    }

    fn sync_early(&self, torrent: &Torrent) {
        let result = torrent.sync_early(self.common.resume_of(torrent));
        if result.is_err() {
            self.answer(Done::Committed { torrent: torrent.key, result });
        }
    }

    /// Passes on what became of something, and notes if that shows that bytes are gone.
    fn noting_loss<T>(&self, torrent: &Torrent, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if result.as_ref().is_err_and(StorageError::is_loss) {
            torrent.lost(self.common.resume_of(torrent));
        }
        result
    }

    fn open_window(&self, torrent: &Torrent, piece: PieceIndex) -> Result<WriteWindow, StorageError> {
        let opened = torrent.opened()?;
        if !torrent.create {
            return Err(StorageError::NotOpen);
        }
        torrent.will_write(self.common.resume_of(torrent))?;
        opened.open_window(torrent, piece)
    }

    fn run_verify(&self, first: Verify, second: Option<Verify>) {
        let named = [Some(&first), second.as_ref()].map(|verify| verify.map(Verify::failed));
        let mut ended = [None, None];
        let through = is_through(|| match second {
            None => {
                let hash = hash_window(&first.window);
                ended = [Some(self.end_verify(first, hash)), None];
            }
            Some(second) => {
                let [hash, second_hash] = hash_windows([&first.window, &second.window]);
                ended = [Some(self.end_verify(first, hash)), Some(self.end_verify(second, second_hash))];
            }
        });
        let ended = if through { ended } else { named };
        // Both, and then one wake-up.
        let torrents = ended.map(|ended| {
            ended.map(|(torrent, done)| {
                let _ = self.common.done.send(done);
                torrent
            })
        });
        (self.common.wake)();
        // Behind the answer, which is not to wait for the disk.
        for torrent in torrents.iter().flatten() {
            self.bound_backlog(torrent);
            self.job_ends(torrent);
        }
    }

    fn end_verify(&self, verify: Verify, hash: Result<PieceHash, StorageError>) -> (Arc<Torrent>, Done) {
        let Verify { torrent, piece, window, digests } = verify;
        let digests = if digests { block_digests(&window).unwrap_or_default() } else { Vec::new() };
        let result = self.noting_loss(&torrent, hash.and_then(|hash| self.keep(&torrent, piece, window, hash)));
        let done = Done::Verified { torrent: torrent.key, piece, result, digests };
        (torrent, done)
    }

    /// Puts a piece into its files if its hash is right.
    fn keep(
        &self,
        torrent: &Torrent,
        piece: PieceIndex,
        window: WriteWindow,
        hash: PieceHash,
    ) -> Result<Verified, StorageError> {
        let opened = torrent.opened()?;
        if !torrent.is_good(piece, hash) {
            return Ok(Verified::Bad(window));
        }
        torrent.will_write(self.common.resume_of(torrent))?;
        let kept = opened.store(torrent, piece, window)?;
        torrent.wrote(piece)?;
        Ok(Verified::Good(kept))
    }

    fn start_check(&self, check: Check) {
        let check = Arc::new(check);
        for _ in 0..check.workers() {
            self.send(Task::Check(Arc::clone(&check)));
        }
    }

    fn run_check(&self, check: &Arc<Check>, reader: &mut PieceReader) {
        let torrent = &check.torrent;
        match check.run_slice(reader, self.common.stopping.load(Ordering::Relaxed)) {
            Slice::More(progress) => {
                if let Some((checked, total)) = progress {
                    self.answer(Done::CheckProgress { torrent: torrent.key, checked, total });
                }
                self.send(Task::Check(Arc::clone(check)));
            }
            Slice::Done => reader.shrink(),
            Slice::Last => {
                reader.shrink();
                // Files may have to be made and synced, and this thread may be the one that never does that.
                self.send(Task::Of(Arc::clone(torrent), Work::Conclude(Arc::clone(check))));
            }
        }
    }

    /// Ends an open whose check is through.
    fn conclude(&self, torrent: &Arc<Torrent>, check: &Check) {
        let cancelled = || self.common.stopping.load(Ordering::Relaxed) || torrent.closing.load(Ordering::Relaxed);
        let backend = self.backend_for(torrent);
        let (resume, claims) = (self.common.resume_of(torrent), &self.common.claims);
        let outcome = check.finish(resume, claims, backend.space(), &cancelled);
        // An idle torrent has no open file.
        self.common.files.forget(torrent.key);
        let Outcome { have, synced, news } = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return self.open_failed(torrent, error, check.hashed()),
        };
        // Without a disk, reserving is as dear as writing, and nothing is fragmented.
        let reserve = torrent.create
            && !have.is_full()
            && backend.space() == Space::Later
            && !backend::is_in_memory(&torrent.place.dir);
        torrent.set_opened(backend, have.clone(), synced.as_ref());
        self.answer(Done::Opened { torrent: torrent.key, result: Ok(have), hashed: check.hashed() });
        if let (Some(stamps), Some(resume)) = (news, self.common.resume_of(torrent)) {
            let result = torrent.remember(resume, stamps);
            self.common.files.forget(torrent.key);
            if result.is_err() {
                self.answer(Done::Committed { torrent: torrent.key, result });
            }
        }
        if reserve {
            torrent.job_begins();
            self.send(Task::Of(Arc::clone(torrent), Work::Reserve(Reservation::default())));
        }
    }

    /// Reserves a slice of a torrent's space. True if that was the last.
    fn reserve(&self, torrent: &Arc<Torrent>, reservation: Reservation) -> bool {
        match reservation.go_on(torrent, self.common.resume_of(torrent)) {
            Ok(Some(next)) if !self.common.stopping.load(Ordering::Relaxed) => {
                self.send(Task::Of(Arc::clone(torrent), Work::Reserve(next)));
                return false;
            }
            Ok(_) => {}
            Err(error) => self.answer(Done::NotReserved { torrent: torrent.key, error }),
        }
        true
    }

    fn open_failed(&self, torrent: &Torrent, error: StorageError, hashed: u32) {
        self.common.claims.release(torrent);
        self.answer(Done::Opened { torrent: torrent.key, result: Err(error), hashed });
    }

    fn backend_for(&self, torrent: &Torrent) -> Arc<dyn Backend> {
        Arc::clone(match self.common.choice {
            BackendChoice::Mapped => &self.common.mapped,
            BackendChoice::Positional => &self.common.positional,
            BackendChoice::Auto if backend::is_remote(&torrent.place.dir) => &self.common.positional,
            BackendChoice::Auto => &self.common.mixed,
        })
    }

    fn job_ends(&self, torrent: &Torrent) {
        if let Some(ending) = torrent.job_ends() {
            self.close(torrent, ending);
        }
    }

    fn close(&self, torrent: &Torrent, ending: Ending) {
        let result = match ending {
            // Nothing to remember of a torrent whose open failed or was broken off.
            Ending::Clean if torrent.opened().is_ok() => torrent.commit(self.common.resume_of(torrent), true),
            Ending::Clean | Ending::Broken => Ok(()),
            Ending::Delete => self.delete(torrent),
        };
        torrent.forget_unsynced();
        self.common.files.forget(torrent.key);
        self.common.claims.release(torrent);
        self.answer(Done::Closed { torrent: torrent.key, result });
    }

    fn delete(&self, torrent: &Torrent) -> Result<(), StorageError> {
        let Some(state_dir) = torrent.owned() else {
            let left = torrent.look().iter().any(Option::is_some);
            return if left { Err(StorageError::NotItsOwn { dir: torrent.place.dir.to_path_buf() }) } else { Ok(()) };
        };
        // The row first: it must not outlive the files.
        if let Some(resume) = self.common.resume_of(torrent) {
            resume.remove(&torrent.info_hash, state_dir)?;
        }
        files::remove(&torrent.place, &self.common.claims.in_common(torrent))
    }

    fn answer(&self, done: Done) {
        self.common.answer(done);
    }

    /// Queues something; never blocks.
    pub(super) fn send(&self, task: Task) {
        is_taken(self.queues.push(task.rank(), task).is_ok());
    }

    /// Queues a received piece; never blocks.
    pub(super) fn send_piece(&self, piece: Verify) {
        is_taken(self.queues.push_piece(piece).is_ok());
    }
}

/// Whoever asked after the end is not there to be answered, either.
fn is_taken(taken: bool) {
    if !taken {
        log::error!("no disk thread is left");
    }
}

impl Common {
    /// Where this torrent is remembered, if it is.
    pub(super) fn resume_of(&self, torrent: &Torrent) -> Option<&ResumeDb> {
        self.resume.as_ref().filter(|_| !torrent.scratch)
    }

    pub(super) fn answer(&self, done: Done) {
        // Fails only once the handle is gone, and with it everybody who asked.
        let _ = self.done.send(done);
        (self.wake)();
    }
}
