//! The disk threads, and the handle through which the reactor thread talks to them.
//!
//! Four queues keep what waits for a disk from holding up what waits for memory. *Urgent*: windows, served by every
//! thread first. *Verify*: pieces to hash, two at a time where the processor can. *Slow*: opens, commits and closes, which may sync; with two or more threads one of them
//! never takes these. *Check*: slices of running checks, which every thread takes when nothing else is there, and puts
//! back. The queues have no bound of their own: what the reactor may have under way is bounded by its piece buffer, and
//! the handle must never make it wait.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, never, select, unbounded};

use super::backend::{self, Backend, Mapped, Mixed, Positional};
use super::check::{self, Check, Outcome, Slice};
use super::claims::Claims;
use super::error::StorageError;
use super::files::{self, FileCache};
use super::job::{BackendChoice, DiskOptions, Done, Ending, Job, Verified};
use super::layout::Place;
use super::mapping::{BufferPool, ReadWindow, WriteWindow};
use super::resume::ResumeDb;
use super::sha1_pair::has_two_lanes;
use super::torrent::{Opened, Torrent};
use super::verify::{PieceReader, block_digests, hash_window, hash_windows};
use crate::types::{PieceHash, PieceIndex, TorrentKey};

/// Handle to the disk threads; owned by the reactor thread. Dropping it without [`Disk::stop`] leaves the threads to
/// end by themselves.
pub struct Disk {
    shared: Arc<Shared>,
    torrents: Mutex<HashMap<TorrentKey, Arc<Torrent>>>,
    done: Receiver<Done>,
    threads: Vec<JoinHandle<()>>,
    /// Disconnected when every thread has ended.
    ended: Receiver<()>,
    /// Dropped to tell the threads that nothing more will come.
    alive: Option<Sender<()>>,
}

/// What all disk threads share.
struct Shared {
    resume: Option<ResumeDb>,
    choice: BackendChoice,
    mapped: Arc<dyn Backend>,
    mixed: Arc<dyn Backend>,
    positional: Arc<dyn Backend>,
    files: Arc<FileCache>,
    claims: Claims,
    urgent: Sender<Task>,
    verify: Sender<Verify>,
    slow: Sender<Task>,
    checks: Sender<Arc<Check>>,
    /// Number of disk threads.
    workers: usize,
    stopping: AtomicBool,
    done: Sender<Done>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

/// A job with what the submitting side knows about it.
enum Task {
    Of(Arc<Torrent>, Work),
    Release(Vec<ReadWindow>),
    ReleaseWrite(WriteWindow),
}

/// A received piece whose hash is to be looked at.
struct Verify {
    torrent: Arc<Torrent>,
    piece: PieceIndex,
    window: WriteWindow,
    /// Say which blocks it has, too.
    digests: bool,
}

enum Work {
    Open,
    OpenWindow(PieceIndex),
    Populate(PieceIndex),
    Probe(Vec<ReadWindow>),
    /// The end of an open.
    Conclude(Arc<Check>),
    Commit,
    Close(Ending),
}

impl Disk {
    /// Opens the resume data and starts the threads. `wake` is called, from a disk thread, each time an answer was
    /// queued; it has to merge calls itself.
    ///
    /// # Errors
    /// [`StorageError`] if the resume data is damaged or cannot be opened, or no thread can be started.
    pub fn start(options: &DiskOptions, wake: Arc<dyn Fn() + Send + Sync>) -> Result<Self, StorageError> {
        let resume = options.state.as_deref().map(ResumeDb::open).transpose()?;
        let pool = BufferPool::default();
        let workers = options.threads.max(1);
        let (urgent, urgent_tasks) = unbounded();
        let (verify, verify_tasks) = unbounded();
        let (slow, slow_tasks) = unbounded();
        let (checks, check_tasks) = unbounded();
        let (alive, stop) = crossbeam_channel::bounded(0);
        let (running, ended) = crossbeam_channel::bounded(0);
        let (done, answers) = unbounded();
        let shared = Arc::new(Shared {
            resume,
            choice: options.backend,
            mapped: Arc::new(Mapped::new(pool.clone())),
            mixed: Arc::new(Mixed::new(pool.clone())),
            positional: Arc::new(Positional::new(pool)),
            files: Arc::new(FileCache::new()),
            claims: Claims::default(),
            urgent,
            verify,
            slow,
            checks,
            workers,
            stopping: AtomicBool::new(false),
            done,
            wake,
        });
        let mut threads = Vec::with_capacity(workers);
        for number in 0..workers {
            // The first of several threads is kept free for what is urgent.
            let slow = if number == 0 && workers > 1 { never() } else { slow_tasks.clone() };
            let queues = Queues {
                urgent: urgent_tasks.clone(),
                verify: verify_tasks.clone(),
                slow,
                checks: check_tasks.clone(),
                stop: stop.clone(),
            };
            let (shared, running) = (Arc::clone(&shared), running.clone());
            let thread = thread::Builder::new().name(format!("disk-{number}"));
            let life = move || {
                work(&shared, &queues);
                drop(running);
            };
            let thread = thread.spawn(life).map_err(no_thread)?;
            threads.push(thread);
        }
        Ok(Self { shared, torrents: Mutex::default(), done: answers, threads, ended, alive: Some(alive) })
    }

    /// Queues a job; never blocks. A job for a torrent that is not open is answered with [`StorageError::NotOpen`].
    pub fn submit(&self, job: Job) {
        match job {
            Job::Release(windows) => self.send(&self.shared.urgent, Task::Release(windows)),
            Job::ReleaseWrite(window) => self.send(&self.shared.urgent, Task::ReleaseWrite(window)),
            Job::Open { torrent: key, info_hash, layout, dir, hashes, check, writing } => {
                let place = Place { dir, layout };
                let files = Arc::clone(&self.shared.files);
                let torrent = Arc::new(Torrent::new(key, info_hash, place, hashes, (check, writing), files));
                if self.torrents().contains_key(&key) {
                    self.shared.answer(Done::Opened { torrent: key, result: Err(StorageError::NotOpen), hashed: 0 });
                    return;
                }
                self.torrents().insert(key, Arc::clone(&torrent));
                self.send_of(torrent, Work::Open);
            }
            Job::OpenWindow { torrent, piece } => self.pass(torrent, Work::OpenWindow(piece)),
            Job::Verify { torrent, piece, window, digests } => self.verify(torrent, piece, window, digests),
            Job::Populate { torrent, piece } => self.pass(torrent, Work::Populate(piece)),
            Job::Probe { torrent, windows } => self.pass(torrent, Work::Probe(windows)),
            Job::Commit { torrent } => self.pass(torrent, Work::Commit),
            Job::Close { torrent, ending } => {
                let open = self.torrents().remove(&torrent);
                match open {
                    Some(open) if open.defer_close(ending) => {}
                    Some(open) => self.send(&self.shared.slow, Task::Of(open, Work::Close(ending))),
                    None => self.shared.answer(Work::Close(ending).refused(torrent)),
                }
            }
        }
    }

    /// The next answer, if there is one.
    #[must_use]
    pub fn try_recv(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }

    /// Ends the threads once what is queued is done; checks are broken off. Close the torrents before, and wait for
    /// that: their answers are lost here. A thread that a disk holds up for longer than `patience` is left to itself.
    pub fn stop(mut self, patience: Duration) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.alive = None;
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(patience) {
            log::warn!("a disk takes too long; what it has not written will be checked at the next start");
            return;
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a disk thread panicked");
            }
        }
    }

    fn pass(&self, key: TorrentKey, work: Work) {
        let torrent = self.torrents().get(&key).cloned();
        match torrent {
            Some(torrent) => self.send_of(torrent, work),
            None => self.shared.answer(work.refused(key)),
        }
    }

    fn verify(&self, key: TorrentKey, piece: PieceIndex, window: WriteWindow, digests: bool) {
        let Some(torrent) = self.torrents().get(&key).cloned() else {
            let result = Err(StorageError::NotOpen);
            return self.shared.answer(Done::Verified { torrent: key, piece, result, digests: Vec::new() });
        };
        torrent.job_begins();
        self.send(&self.shared.verify, Verify { torrent, piece, window, digests });
    }

    fn send_of(&self, torrent: Arc<Torrent>, work: Work) {
        torrent.job_begins();
        let queue = if work.is_slow() { &self.shared.slow } else { &self.shared.urgent };
        self.send(queue, Task::Of(torrent, work));
    }

    #[expect(clippy::unused_self, reason = "reads as what it does")]
    fn send<T>(&self, queue: &Sender<T>, task: T) {
        // Fails only without receivers, that is, if every disk thread panicked.
        if queue.send(task).is_err() {
            log::error!("no disk thread is left");
        }
    }

    fn torrents(&self) -> MutexGuard<'_, HashMap<TorrentKey, Arc<Torrent>>> {
        self.torrents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    const fn is_slow(&self) -> bool {
        matches!(self, Self::Open | Self::Conclude(_) | Self::Probe(_) | Self::Commit | Self::Close(_))
    }

    /// The answer for a torrent that is not open.
    fn refused(self, torrent: TorrentKey) -> Done {
        let error = StorageError::NotOpen;
        match self {
            Self::Open | Self::Conclude(_) => Done::Opened { torrent, result: Err(error), hashed: 0 },
            Self::OpenWindow(piece) => Done::WindowOpened { torrent, piece, result: Err(error) },
            Self::Populate(piece) => Done::Populated { torrent, piece, result: Err(error) },
            Self::Probe(_) => Done::Probed { torrent, result: Err(error) },
            Self::Commit => Done::Committed { torrent, result: Err(error) },
            Self::Close(_) => Done::Closed { torrent, result: Err(error) },
        }
    }
}

/// One thread's ends of the queues.
struct Queues {
    urgent: Receiver<Task>,
    verify: Receiver<Verify>,
    slow: Receiver<Task>,
    checks: Receiver<Arc<Check>>,
    /// Never gets a message; disconnected when the handle is gone.
    stop: Receiver<()>,
}

enum Next {
    Task(Task),
    Verify(Verify, Option<Verify>),
    Check(Arc<Check>),
    Stop,
}

impl Queues {
    fn next(&self) -> Next {
        if let Ok(task) = self.urgent.try_recv() {
            return Next::Task(task);
        }
        if let Ok(first) = self.verify.try_recv() {
            return self.with_second(first);
        }
        if let Ok(task) = self.slow.try_recv() {
            return Next::Task(task);
        }
        if let Ok(check) = self.checks.try_recv() {
            return Next::Check(check);
        }
        select! {
            recv(self.urgent) -> task => task.map_or(Next::Stop, Next::Task),
            recv(self.verify) -> first => first.map_or(Next::Stop, |first| self.with_second(first)),
            recv(self.slow) -> task => task.map_or(Next::Stop, Next::Task),
            recv(self.checks) -> check => check.map_or(Next::Stop, Next::Check),
            recv(self.stop) -> _ => Next::Stop,
        }
    }

    /// Another piece that waits to be verified, if two at once are faster than one after the other.
    fn with_second(&self, first: Verify) -> Next {
        Next::Verify(first, if has_two_lanes() { self.verify.try_recv().ok() } else { None })
    }
}

/// A disk thread's life.
fn work(shared: &Shared, queues: &Queues) {
    let mut reader = PieceReader::default();
    loop {
        match queues.next() {
            Next::Task(Task::Of(torrent, work)) => shared.run(&torrent, work),
            Next::Task(Task::Release(windows)) => drop(windows),
            Next::Task(Task::ReleaseWrite(window)) => drop(window),
            Next::Verify(first, second) => shared.run_verify(first, second),
            Next::Check(check) => shared.run_check(&check, &mut reader),
            Next::Stop => return,
        }
    }
}

impl Shared {
    fn run(&self, torrent: &Arc<Torrent>, work: Work) {
        let key = torrent.key;
        let resume = self.resume.as_ref();
        match work {
            Work::Open => match check::begin(torrent, resume, &self.claims, self.workers) {
                Ok(check) => return self.start_check(check), // The job ends with the check.
                Err(error) => self.open_failed(torrent, error, 0),
            },
            Work::Conclude(check) => self.conclude(torrent, &check),
            Work::OpenWindow(piece) => {
                let result = self.open_window(torrent, piece);
                self.answer(Done::WindowOpened { torrent: key, piece, result });
            }
            Work::Populate(piece) => {
                let result = torrent.opened().and_then(|opened| opened.backend.populate(torrent, piece));
                self.answer(Done::Populated { torrent: key, piece, result });
            }
            Work::Probe(windows) => {
                let result = windows.iter().try_for_each(ReadWindow::probe);
                self.answer(Done::Probed { torrent: key, result });
            }
            Work::Commit => {
                let result = torrent.commit(resume, false);
                self.answer(Done::Committed { torrent: key, result });
            }
            Work::Close(ending) => return self.close(torrent, ending),
        }
        self.job_ends(torrent);
    }

    fn open_window(&self, torrent: &Torrent, piece: PieceIndex) -> Result<WriteWindow, StorageError> {
        let opened = torrent.opened()?;
        if !torrent.create {
            return Err(StorageError::NotOpen);
        }
        torrent.will_write(self.resume.as_ref())?;
        opened.backend.open_window(torrent, piece)
    }

    fn run_verify(&self, first: Verify, second: Option<Verify>) {
        match second {
            None => {
                let hash = hash_window(&first.window);
                self.end_verify(first, hash);
            }
            Some(second) => {
                let [hash, second_hash] = hash_windows([&first.window, &second.window]);
                self.end_verify(first, hash);
                self.end_verify(second, second_hash);
            }
        }
    }

    fn end_verify(&self, verify: Verify, hash: Result<PieceHash, StorageError>) {
        let Verify { torrent, piece, window, digests } = verify;
        let digests = if digests { block_digests(&window).unwrap_or_default() } else { Vec::new() };
        let result = hash.and_then(|hash| self.keep(&torrent, piece, window, hash));
        self.answer(Done::Verified { torrent: torrent.key, piece, result, digests });
        self.job_ends(&torrent);
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
        torrent.will_write(self.resume.as_ref())?;
        let kept = opened.backend.store(torrent, piece, window)?;
        torrent.wrote(piece);
        Ok(Verified::Good(kept))
    }

    fn start_check(&self, check: Check) {
        let check = Arc::new(check);
        for _ in 0..check.workers() {
            let _ = self.checks.send(Arc::clone(&check));
        }
    }

    fn run_check(&self, check: &Arc<Check>, reader: &mut PieceReader) {
        let torrent = &check.torrent;
        match check.run_slice(reader, self.stopping.load(Ordering::Relaxed)) {
            Slice::More(progress) => {
                if let Some((checked, total)) = progress {
                    self.answer(Done::CheckProgress { torrent: torrent.key, checked, total });
                }
                let _ = self.checks.send(Arc::clone(check));
            }
            Slice::Done => reader.shrink(),
            Slice::Last => {
                reader.shrink();
                // Files may have to be made and synced, and this thread may be the one that never does that.
                let _ = self.slow.send(Task::Of(Arc::clone(torrent), Work::Conclude(Arc::clone(check))));
            }
        }
    }

    /// Ends an open whose check is through.
    fn conclude(&self, torrent: &Torrent, check: &Check) {
        let cancelled = || self.stopping.load(Ordering::Relaxed) || torrent.closing.load(Ordering::Relaxed);
        let outcome = check.finish(self.resume.as_ref(), &self.claims, &cancelled);
        // An idle torrent has no open file.
        self.files.forget(torrent.key);
        let Outcome { have, synced, state_dir, news } = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return self.open_failed(torrent, error, check.hashed()),
        };
        let opened = Opened { backend: self.backend_for(torrent), state_dir };
        torrent.set_opened(opened, have.clone(), synced.as_ref());
        self.answer(Done::Opened { torrent: torrent.key, result: Ok(have), hashed: check.hashed() });
        if let (Some(stamps), Some(resume)) = (news, &self.resume) {
            let result = torrent.remember(resume, stamps);
            self.files.forget(torrent.key);
            if result.is_err() {
                self.answer(Done::Committed { torrent: torrent.key, result });
            }
        }
    }

    fn open_failed(&self, torrent: &Torrent, error: StorageError, hashed: u32) {
        self.claims.release(torrent.key);
        self.answer(Done::Opened { torrent: torrent.key, result: Err(error), hashed });
    }

    fn backend_for(&self, torrent: &Torrent) -> Arc<dyn Backend> {
        Arc::clone(match self.choice {
            BackendChoice::Mapped => &self.mapped,
            BackendChoice::Positional => &self.positional,
            BackendChoice::Auto if backend::is_remote(&torrent.place.dir) => &self.positional,
            BackendChoice::Auto => &self.mixed,
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
            Ending::Clean if torrent.opened().is_ok() => torrent.commit(self.resume.as_ref(), true),
            Ending::Clean | Ending::Broken => Ok(()),
            Ending::Delete => self.delete(torrent),
        };
        self.files.forget(torrent.key);
        self.claims.release(torrent.key);
        self.answer(Done::Closed { torrent: torrent.key, result });
    }

    fn delete(&self, torrent: &Torrent) -> Result<(), StorageError> {
        let Some(state_dir) = torrent.owned() else {
            let left = torrent.look().iter().any(Option::is_some);
            return if left { Err(StorageError::NotItsOwn { dir: torrent.place.dir.clone() }) } else { Ok(()) };
        };
        // The row first: it must not outlive the files.
        if let Some(resume) = &self.resume {
            resume.remove(&torrent.info_hash, state_dir)?;
        }
        files::remove(&torrent.place, &self.claims.in_common(torrent.key))
    }

    fn answer(&self, done: Done) {
        // Fails only once the handle is gone, and with it everybody who asked.
        let _ = self.done.send(done);
        (self.wake)();
    }
}

fn no_thread(source: io::Error) -> StorageError {
    StorageError::Io { path: std::path::PathBuf::from("disk thread"), action: "start a", source }
}
