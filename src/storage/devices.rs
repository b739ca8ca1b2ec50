//! Disk threads for each device: a disk that is slow, or hangs, holds up nobody's files but its own.
//!
//! A write to a slow disk blocks once its share of the page cache is full, and a sync blocks until all of it is written. So
//! every device gets its own queues and threads when the first torrent on it is opened; they stay. On which device a
//! folder lies is asked of the folder, which may hang as well: one thread does nothing else, and what it found out is
//! remembered. A wrong answer, say after something else was mounted there, costs nothing but speed.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::backlog::{Backlog, Writers};
use super::error::StorageError;
use super::job::Done;
use super::queues::{Queues, Seat};
use super::task::{Task, Work};
use super::torrent::Torrent;
use super::worker::{Common, Shared, work};
use crate::bus::spawn;

/// Most devices with threads of their own; further ones share theirs. Some file systems call every subvolume a device.
const MAX_DEVICES: usize = 8;

/// Most folders whose device is remembered: enough for people, and a bound for programs.
const MAX_FOLDERS: usize = 1024;

/// The disk threads of all devices, and the one that looks where a folder lies.
pub(super) struct Devices {
    inner: Arc<Inner>,
    /// Torrents in folders that nobody has looked at. Dropped to end that thread.
    unknown: Option<Sender<Arc<Torrent>>>,
    /// Disconnected when every thread has ended.
    ended: Receiver<()>,
}

struct Inner {
    common: Arc<Common>,
    table: Mutex<Table>,
}

struct Table {
    /// In the order in which they were found.
    devices: Vec<Device>,
    folders: HashMap<Arc<Path>, Arc<Shared>>,
    threads: Vec<JoinHandle<()>>,
    /// Every thread has a clone, until it ends.
    running: Option<Sender<()>>,
}

/// A device that has threads; dropped to tell them that nothing more will come.
struct Device {
    number: u64,
    shared: Arc<Shared>,
}

impl Drop for Device {
    fn drop(&mut self) {
        self.shared.queues.end();
    }
}

impl Devices {
    /// No devices yet, and the thread that will find them.
    pub(super) fn start(common: Arc<Common>) -> Result<Self, StorageError> {
        let (running, ended) = crossbeam_channel::bounded(0);
        let (unknown, openings) = unbounded::<Arc<Torrent>>();
        let table =
            Table { devices: Vec::new(), folders: HashMap::new(), threads: Vec::new(), running: Some(running.clone()) };
        let inner = Arc::new(Inner { common, table: Mutex::new(table) });
        let finder = Arc::clone(&inner);
        let life = move || {
            openings.iter().for_each(|torrent| finder.find(torrent));
            drop(running);
        };
        let thread = spawn("disk-finder", life).map_err(no_thread)?;
        inner.lock().threads.push(thread);
        Ok(Self { inner, unknown: Some(unknown), ended })
    }

    /// Opens a torrent on the threads of its device, which becomes its home. Never blocks.
    pub(super) fn open(&self, torrent: Arc<Torrent>) {
        let known = self.inner.lock().folders.get(&torrent.place.dir).cloned();
        if let Some(known) = known {
            return open_on(known, torrent);
        }
        let sent = self.unknown.as_ref().map(|unknown| unknown.send(torrent));
        if sent.is_none_or(|sent| sent.is_err()) {
            log::error!("no disk thread is left");
        }
    }

    /// The threads to give something back to that lies in this folder; any will do if its own are forgotten.
    pub(super) fn near(&self, dir: &Path) -> Option<Arc<Shared>> {
        let table = self.inner.lock();
        table.folders.get(dir).or_else(|| table.devices.first().map(|device| &device.shared)).cloned()
    }

    /// The threads with the least to do: for memory of our own, which needs no disk and must not wait for one that hangs.
    pub(super) fn idlest(&self) -> Option<Arc<Shared>> {
        let table = self.inner.lock();
        let idlest = table.devices.iter().min_by_key(|device| device.shared.queues.urgent());
        idlest.map(|device| Arc::clone(&device.shared))
    }

    /// Ends all threads once what is queued is done. False if some disk holds one up for longer than `patience`; that
    /// thread is left to itself.
    pub(super) fn stop(mut self, patience: Duration) -> bool {
        self.unknown = None;
        let threads = {
            let mut table = self.inner.lock();
            table.running = None;
            table.devices.clear();
            std::mem::take(&mut table.threads)
        };
        if let Err(RecvTimeoutError::Timeout) = self.ended.recv_timeout(patience) {
            return false;
        }
        for thread in threads {
            if thread.join().is_err() {
                log::error!("a disk thread panicked");
            }
        }
        true
    }
}

impl Inner {
    /// Finds out on which device a torrent's folder lies, and lets that one's threads open it.
    fn find(&self, torrent: Arc<Torrent>) {
        let dir = &torrent.place.dir;
        match self.threads_for(device_of(dir)) {
            Ok(shared) => {
                let mut table = self.lock();
                if table.folders.len() >= MAX_FOLDERS {
                    table.folders.clear();
                }
                table.folders.insert(Arc::clone(dir), Arc::clone(&shared));
                drop(table);
                open_on(shared, torrent);
            }
            Err(error) => {
                self.common.answer(Done::Opened { torrent: torrent.key, result: Err(error), hashed: 0 });
                if let Some(ending) = torrent.job_ends() {
                    self.common.answer(Work::Close(ending).refused(torrent.key));
                }
            }
        }
    }

    /// The threads of a device, started if there are none.
    fn threads_for(&self, device: u64) -> Result<Arc<Shared>, StorageError> {
        let mut table = self.lock();
        if let Some(known) = table.devices.iter().find(|known| known.number == device) {
            return Ok(Arc::clone(&known.shared));
        }
        if table.devices.len() < MAX_DEVICES {
            return self.start_threads(device, &mut table);
        }
        let nth = usize::try_from(device).unwrap_or(0) % MAX_DEVICES;
        table.devices.get(nth).map(|device| Arc::clone(&device.shared)).ok_or(StorageError::NotOpen)
    }

    fn start_threads(&self, number: u64, table: &mut Table) -> Result<Arc<Shared>, StorageError> {
        let Some(running) = &table.running else { return Err(StorageError::NotOpen) };
        let (device, workers) = (table.devices.len(), self.common.workers);
        let shared = Arc::new(Shared {
            common: Arc::clone(&self.common),
            device,
            backlog: Backlog::default(),
            writers: Writers::default(),
            queues: Queues::new(workers),
        });
        // If one of them cannot be started, this ends the others.
        let entry = Device { number, shared: Arc::clone(&shared) };
        for nth in 0..workers {
            let (shared, running) = (Arc::clone(&shared), running.clone());
            let life = move || {
                work(&shared, Seat::new(nth, workers));
                drop(running);
            };
            let name = format!("disk-{}", device * workers + nth);
            table.threads.push(spawn(name, life).map_err(no_thread)?);
        }
        table.devices.push(entry);
        Ok(shared)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open_on(shared: Arc<Shared>, torrent: Arc<Torrent>) {
    // Known before the open is through, so that whoever was told of that finds it.
    let shared = Arc::clone(torrent.home.get_or_init(|| shared));
    shared.send(Task::Of(torrent, Work::Open));
}

/// The device of a folder or, before it is made, of the next one above it.
fn device_of(dir: &Path) -> u64 {
    dir.ancestors().find_map(|dir| fs::metadata(dir).ok()).map_or(0, |found| found.dev())
}

fn no_thread(source: io::Error) -> StorageError {
    StorageError::Io { path: PathBuf::from("disk thread"), action: "start a", source }
}
