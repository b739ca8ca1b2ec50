//! The handle through which the reactor thread talks to the disk threads.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};

use super::backend::{Backend, Mapped, Mixed, Positional};
use super::claims::Claims;
use super::devices::Devices;
use super::error::StorageError;
use super::files::FileCache;
use super::job::{DiskOptions, Done, Job};
use super::layout::Place;
use super::mapping::{BufferPool, ReadWindow, WriteWindow};
use super::resume::ResumeDb;
use super::task::{Task, Verify, Work};
use super::torrent::Torrent;
use super::worker::{Common, Shared};
use crate::types::{PieceIndex, TorrentKey};

/// Handle to the disk threads; owned by the reactor thread. Dropping it without [`Disk::stop`] leaves the threads to
/// end by themselves.
pub struct Disk {
    common: Arc<Common>,
    devices: Devices,
    /// Those that are, or are being, opened.
    torrents: Mutex<HashMap<TorrentKey, Arc<Torrent>>>,
    done: Receiver<Done>,
}

impl Disk {
    /// Opens the resume data and starts a thread. `wake` is called, from a disk thread, each time an answer was
    /// queued; it has to merge calls itself.
    ///
    /// # Errors
    /// [`StorageError`] if the resume data is damaged or cannot be opened, or no thread can be started.
    pub fn start(options: &DiskOptions, wake: Arc<dyn Fn() + Send + Sync>) -> Result<Self, StorageError> {
        let pool = BufferPool::default();
        let positional = Arc::new(Positional::new(pool.clone()));
        Self::start_with(options, wake, pool, positional)
    }

    /// As [`Disk::start`]; tests have their own positional back end.
    pub(super) fn start_with(
        options: &DiskOptions,
        wake: Arc<dyn Fn() + Send + Sync>,
        pool: BufferPool,
        positional: Arc<dyn Backend>,
    ) -> Result<Self, StorageError> {
        let resume = options.state.as_deref().map(ResumeDb::open).transpose()?;
        let (done, answers) = unbounded();
        let common = Arc::new(Common {
            resume,
            choice: options.backend,
            mapped: Arc::new(Mapped::new(pool.clone())),
            mixed: Arc::new(Mixed::new(pool.clone())),
            positional,
            pool,
            files: Arc::new(FileCache::new()),
            claims: Claims::default(),
            workers: options.threads.max(1),
            stopping: AtomicBool::new(false),
            done,
            wake,
        });
        let devices = Devices::start(Arc::clone(&common))?;
        Ok(Self { common, devices, torrents: Mutex::default(), done: answers })
    }

    /// Queues a job; never blocks. A job for a torrent that is not open is answered with [`StorageError::NotOpen`].
    pub fn submit(&self, job: Job) {
        match job {
            Job::Release(windows) => self.release(windows),
            Job::ReleaseWrite(window) => match self.home_of(window.is_buffered(), window.dir()) {
                Some(shared) => shared.send(Task::ReleaseWrite(window)),
                None => drop(window),
            },
            Job::Open { torrent: key, info_hash, layout, dir, hashes, check, writing } => {
                let place = Place { dir, layout };
                let files = Arc::clone(&self.common.files);
                let torrent = Arc::new(Torrent::new(key, info_hash, place, hashes, (check, writing), files));
                if self.torrents().contains_key(&key) {
                    self.common.answer(Done::Opened { torrent: key, result: Err(StorageError::NotOpen), hashed: 0 });
                    return;
                }
                self.torrents().insert(key, Arc::clone(&torrent));
                torrent.job_begins();
                self.devices.open(torrent);
            }
            Job::OpenWindow { torrent, piece } => self.pass(torrent, Work::OpenWindow(piece)),
            Job::Verify { torrent, piece, window, digests } => self.verify(torrent, piece, window, digests),
            Job::Populate { torrent, piece } => self.pass(torrent, Work::Populate(piece)),
            Job::Probe { torrent, windows } => self.pass(torrent, Work::Probe(windows)),
            Job::Commit { torrent } => self.pass(torrent, Work::Commit),
            Job::Close { torrent, ending } => {
                let open = self.torrents().remove(&torrent);
                let Some(open) = open else {
                    return self.common.answer(Work::Close(ending).refused(torrent));
                };
                if open.defer_close(ending) {
                    return;
                }
                match open.home.get().cloned() {
                    Some(shared) => shared.send(Task::Of(open, Work::Close(ending))),
                    None => self.common.answer(Work::Close(ending).refused(torrent)),
                }
            }
        }
    }

    /// Room for a piece at once, if there is memory at hand. [`Job::OpenWindow`] otherwise.
    #[must_use]
    pub fn ready_window(&self, torrent: TorrentKey, piece: PieceIndex) -> Option<WriteWindow> {
        let torrent = self.torrents().get(&torrent).filter(|open| open.create).cloned()?;
        torrent.opened().ok()?.ready_window(&torrent, piece)
    }

    /// The buffers of windows shall have at most so many bytes together, idle ones included. Answers with the bytes that
    /// are idle now. Never blocks: what is too much, a disk thread frees.
    pub fn limit_buffers(&self, bytes: u64) -> u64 {
        let (idle, too_many) = self.common.pool.limit(bytes);
        if too_many && let Some(shared) = self.devices.idlest() {
            shared.send(Task::Trim(self.common.pool.clone()));
        }
        idle
    }

    /// The next answer, if there is one.
    #[must_use]
    pub fn try_recv(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }

    /// Number of the device that an open torrent lies on, counted from 0 in the order in which they were found.
    #[must_use]
    pub fn device_of(&self, torrent: TorrentKey) -> Option<usize> {
        self.torrents().get(&torrent).and_then(|open| Some(open.home.get()?.device))
    }

    /// Bytes written to the device of an open torrent that wait to be synced.
    #[cfg(all(test, feature = "resume"))]
    pub(super) fn unsynced(&self, torrent: TorrentKey) -> Option<u64> {
        self.torrents().get(&torrent).and_then(|open| Some(open.home.get()?.backlog.unsynced()))
    }

    /// Ends the threads once what is queued is done; checks are broken off. Close the torrents before, and wait for
    /// that: their answers are lost here. A thread that a disk holds up for longer than `patience` is left to itself.
    pub fn stop(self, patience: Duration) {
        self.common.stopping.store(true, Ordering::Relaxed);
        if !self.devices.stop(patience) {
            log::warn!("a disk takes too long; what it has not written will be checked at the next start");
        }
    }

    /// Who unmaps a window: the threads of its files' device, unless it is memory of our own.
    fn home_of(&self, buffered: bool, dir: &Path) -> Option<Arc<Shared>> {
        if buffered { self.devices.idlest() } else { self.devices.near(dir) }
    }

    /// Unmapping is slow: not here.
    fn release(&self, windows: Vec<ReadWindow>) {
        let mut by_device: Vec<(Arc<Shared>, Vec<ReadWindow>)> = Vec::new();
        for window in windows {
            let Some(shared) = self.home_of(window.is_buffered(), window.dir()) else { continue };
            match by_device.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &shared)) {
                Some((_, windows)) => windows.push(window),
                None => by_device.push((shared, vec![window])),
            }
        }
        for (shared, windows) in by_device {
            shared.send(Task::Release(windows));
        }
    }

    fn pass(&self, key: TorrentKey, work: Work) {
        let open = self.torrents().get(&key).cloned();
        match open.as_ref().and_then(|open| Some((open, open.home.get()?))) {
            Some((torrent, shared)) => {
                torrent.job_begins();
                shared.send(Task::Of(Arc::clone(torrent), work));
            }
            None => self.common.answer(work.refused(key)),
        }
    }

    fn verify(&self, key: TorrentKey, piece: PieceIndex, window: WriteWindow, digests: bool) {
        let open = self.torrents().get(&key).cloned();
        match open.as_ref().and_then(|open| Some((open, open.home.get()?))) {
            Some((torrent, shared)) => {
                torrent.job_begins();
                shared.send_piece(Verify { torrent: Arc::clone(torrent), piece, window, digests });
            }
            None => {
                let result = Err(StorageError::NotOpen);
                self.common.answer(Done::Verified { torrent: key, piece, result, digests: Vec::new() });
            }
        }
    }

    fn torrents(&self) -> MutexGuard<'_, HashMap<TorrentKey, Arc<Torrent>>> {
        self.torrents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
