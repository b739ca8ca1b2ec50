//! The handle through which the reactor thread talks to the disk threads.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, never, unbounded};

use super::backend::{Mapped, Mixed, Positional};
use super::claims::Claims;
use super::error::StorageError;
use super::files::FileCache;
use super::job::{DiskOptions, Done, Job};
use super::layout::Place;
use super::mapping::{BufferPool, WriteWindow};
use super::queues::{Queues, Task, Verifies, Verify, Work};
use super::resume::ResumeDb;
use super::torrent::Torrent;
use super::worker::{Shared, work};
use crate::types::{PieceIndex, TorrentKey};

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
        let (verify, verify_calls) = unbounded();
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
            positional: Arc::new(Positional::new(pool.clone())),
            pool,
            files: Arc::new(FileCache::new()),
            claims: Claims::default(),
            urgent,
            verify,
            verifies: Verifies::new(workers),
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
                verify: verify_calls.clone(),
                verifying: Cell::new(false),
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

    /// Room for a piece at once, if there is memory at hand. [`Job::OpenWindow`] otherwise.
    #[must_use]
    pub fn ready_window(&self, torrent: TorrentKey, piece: PieceIndex) -> Option<WriteWindow> {
        let torrent = self.torrents().get(&torrent).filter(|torrent| torrent.create).cloned()?;
        torrent.opened().ok()?.backend.ready_window(&torrent, piece)
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
        if self.shared.verifies.push(Verify { torrent, piece, window, digests }) {
            self.send(&self.shared.verify, ());
        }
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

fn no_thread(source: io::Error) -> StorageError {
    StorageError::Io { path: std::path::PathBuf::from("disk thread"), action: "start a", source }
}
