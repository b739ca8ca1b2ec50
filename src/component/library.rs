//! The library thread: the list of torrents that outlives the process, and new torrents made from files.
//!
//! It hears of every change on the bus and writes it down; at its start it adds the listed torrents again. Hashing a
//! folder to share it happens on a thread of its own, so that the list never waits for it.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::ask::{SOON, ask};
use super::event::{
    Bus, ControlError, Event, HashProgress, Lifecycle, NewTorrent, Part, Topic, TorrentControl, TorrentSource,
};
use super::running::Running;
use super::snapshot::{Contacts, Published, TorrentState, Torrents};
use crate::bus::{RecvError, Reply, Subscriber, spawn};
use crate::proto::metainfo::{Magnet, Metainfo};
use crate::storage::create::scan;
use crate::storage::{CheckMode, CreateError, CreateOptions, ListedTorrent, StorageError, TorrentList};
use crate::types::InfoHash;

const TOPICS: &[Topic] =
    &[Topic::Lifecycle, Topic::GenerateTorrent, Topic::AddHash, Topic::SyncLibrary, Topic::StopLibrary];

/// Changes that are written down together at most: nobody waits long for the first of them.
const WRITTEN_TOGETHER: usize = 1000;

/// How often a thread that waits for its share to be started looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(200);

/// The running thread, as its owner sees it.
#[derive(Debug)]
pub struct LibraryThread(Running);

impl LibraryThread {
    /// Opens the list and starts the thread, which adds every listed torrent.
    ///
    /// # Errors
    /// If the list cannot be opened (a [`StorageError`] inside) or there are no threads left.
    pub fn start(
        list: &Path,
        download_dir: PathBuf,
        bus: Bus,
        contacts: Published<Contacts>,
        torrents: Published<Torrents>,
    ) -> Result<Self, LibraryError> {
        let list = TorrentList::open(list)?;
        let inbox = bus.subscribe("library", TOPICS, 65_536);
        let library = Library {
            list,
            download_dir,
            bus: bus.clone(),
            contacts,
            torrents,
            cancel: Arc::default(),
            hashing: HashMap::new(),
            failed: None,
        };
        Ok(Self(Running::start("library", Part::Library, bus, move || library.run(&inbox))?))
    }

    /// True while the thread runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.0.is_alive()
    }

    /// Ends the thread. Everything it heard before is written down.
    pub fn stop(&mut self) {
        self.0.stop();
    }
}

/// Why the library thread could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// The list's file.
    #[error(transparent)]
    List(#[from] StorageError),
    /// No thread left.
    #[error("cannot start the library thread: {0}")]
    Thread(#[from] io::Error),
}

/// What was said and is not handled yet, oldest first.
struct Inbox<'a> {
    /// What [`sift`](Self::sift) kept.
    kept: VecDeque<Event>,
    bus: &'a Subscriber<Event>,
}

impl<'a> Inbox<'a> {
    fn new(bus: &'a Subscriber<Event>) -> Self {
        Self { kept: VecDeque::new(), bus }
    }

    fn recv(&mut self) -> Result<Event, RecvError> {
        self.kept.pop_front().map_or_else(|| self.bus.recv(), Ok)
    }

    fn try_recv(&mut self) -> Option<Event> {
        self.kept.pop_front().or_else(|| self.bus.try_recv())
    }

    /// Forgets what nothing has to be done for.
    fn sift(&mut self) {
        self.kept.extend(std::iter::from_fn(|| self.bus.try_recv()).filter(is_news));
    }
}

struct Library {
    list: TorrentList,
    download_dir: PathBuf,
    bus: Bus,
    contacts: Published<Contacts>,
    torrents: Published<Torrents>,
    /// Tells threads that hash files to give up.
    cancel: Arc<AtomicBool>,
    hashing: HashMap<PathBuf, JoinHandle<()>>,
    /// Why something could not be written down, until somebody who waited for it was told.
    failed: Option<Arc<StorageError>>,
}

impl Library {
    fn run(mut self, inbox: &Subscriber<Event>) {
        let mut inbox = Inbox::new(inbox);
        self.restore(&mut inbox);
        loop {
            let goes_on = match inbox.recv() {
                Ok(event) => self.handle_all(event, &mut inbox),
                Err(error) => error != RecvError::Closed,
            };
            if !goes_on {
                break;
            }
        }
        self.cancel.store(true, Ordering::Relaxed);
        for (path, thread) in self.hashing.drain() {
            if thread.join().is_err() {
                log::error!("hashing {} panicked", path.display());
            }
        }
    }

    /// Adds every listed torrent to the BitTorrent thread. What is told of them meanwhile does not wait until all are.
    fn restore(&self, inbox: &mut Inbox<'_>) {
        let mut last: Arc<Path> = Path::new("").into();
        let listed = self.list.for_each(|torrent| {
            let info_hash = torrent.info_hash;
            if *torrent.dir != *last {
                last = torrent.dir.as_path().into();
            }
            match self.restore_one(torrent, &last) {
                // This thread was started anew, the other one was not.
                Ok(()) | Err(ControlError::AlreadyHere(_)) => {}
                Err(error) => log::error!("cannot start {info_hash} again: {error}"),
            }
            inbox.sift();
        });
        if let Err(error) = listed {
            log::error!("{error}");
        }
    }

    fn restore_one(&self, torrent: ListedTorrent, dir: &Arc<Path>) -> Result<(), ControlError> {
        let torrent = Arc::new(revive(torrent, Arc::clone(dir))?);
        ask(&self.bus, "the network thread", SOON, |reply| Event::AddTorrent { torrent, reply }).map(drop)
    }

    /// Handles an event and those that wait behind it. What is written together is one transaction, and whoever waits
    /// for it is answered when that is done. False if the thread is to end.
    fn handle_all(&mut self, first: Event, inbox: &mut Inbox<'_>) -> bool {
        let mut next = Some(first);
        while let Some(event) = next.take() {
            match event {
                Event::Stop(Part::Library) => return false,
                Event::Lifecycle { .. } | Event::SyncLibrary { .. } => next = self.write_together(event, inbox),
                event => self.handle(event),
            }
        }
        true
    }

    /// Writes down this change and those that follow it at once. Answers with the event that ended the row of them.
    fn write_together(&mut self, first: Event, inbox: &mut Inbox<'_>) -> Option<Event> {
        let (mut changes, mut waiting, mut other) = (Vec::new(), Vec::new(), None);
        let mut next = Some(first);
        for _ in 0..WRITTEN_TOGETHER {
            match next.take().or_else(|| inbox.try_recv()) {
                Some(Event::Lifecycle { info_hash, change }) => changes.push((info_hash, change)),
                Some(Event::SyncLibrary { reply }) => waiting.push(reply),
                event => {
                    other = event;
                    break;
                }
            }
        }
        let mut all = changes.iter();
        if let Err(error) = self.list.together(|| all.try_for_each(|(hash, change)| self.remember(*hash, change))) {
            log::warn!("{error}; each change is tried by itself");
            self.write_one_by_one(&changes);
        }
        if !waiting.is_empty() {
            let answer = self.failed.take().map_or(Ok(()), |error| Err(ControlError::Storage(error)));
            for reply in waiting {
                reply.send(answer.clone());
            }
        }
        other
    }

    /// What cannot be written, or was lost with a transaction, takes no other change with it.
    fn write_one_by_one(&mut self, changes: &[(InfoHash, Lifecycle)]) {
        for (info_hash, change) in changes {
            if let Err(error) = self.remember(*info_hash, change) {
                log::error!("{info_hash}: {error}");
                self.failed.get_or_insert_with(|| Arc::new(error));
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::GenerateTorrent { path, progress, reply } => self.generate(path, progress, reply),
            Event::AddHash { info_hash, dir, reply } => {
                let answer = self.add_hash(info_hash, dir);
                reply.send(answer);
            }
            _ => {}
        }
    }

    fn remember(&self, info_hash: InfoHash, change: &Lifecycle) -> Result<(), StorageError> {
        match change {
            change if !is_written(change) => Ok(()),
            Lifecycle::Added(torrent) => self.list.save(&listed(torrent)),
            Lifecycle::MetadataKnown(metainfo) => self.list.set_metainfo(info_hash, &metainfo.to_bytes()),
            Lifecycle::Paused(paused) => self.list.set_paused(info_hash, *paused),
            Lifecycle::Removed => self.list.remove(info_hash),
            Lifecycle::Started(_) | Lifecycle::Completed | Lifecycle::Failed(_) => Ok(()),
        }
    }

    /// Fetches what a contact shares.
    fn add_hash(&self, info_hash: InfoHash, dir: Option<PathBuf>) -> Result<InfoHash, ControlError> {
        if self.torrents.read().list.contains_key(&info_hash) {
            return Ok(info_hash);
        }
        let contacts = self.contacts.read();
        let share = contacts.shares.share(&info_hash).ok_or(ControlError::NoSource(info_hash))?;
        let magnet = Magnet {
            info_hash,
            name: Some(share.name.to_owned()),
            trackers: Vec::new(),
            peers: Vec::new(),
            web_seeds: Vec::new(),
        };
        let dir = dir.unwrap_or_else(|| self.download_dir.clone());
        let source = TorrentSource::Magnet(Arc::new(magnet));
        let torrent = Arc::new(NewTorrent { shared: true, ..NewTorrent::download(source, dir) });
        ask(&self.bus, "the network thread", SOON, |reply| Event::AddTorrent { torrent, reply })
    }

    /// Hashes a file or folder on a thread of its own and shares it.
    fn generate(&mut self, path: PathBuf, progress: Arc<HashProgress>, reply: Reply<Result<InfoHash, ControlError>>) {
        self.hashing.retain(|_, thread| !thread.is_finished());
        if self.hashing.contains_key(&path) {
            reply.send(Err(ControlError::Refused(format!("{} is being hashed already", path.display()))));
            return;
        }
        let job = ShareJob {
            bus: self.bus.clone(),
            torrents: self.torrents.clone(),
            path: path.clone(),
            cancel: Arc::clone(&self.cancel),
        };
        let job = move || {
            reply.send(job.run(&progress));
        };
        match spawn("hasher", job) {
            Ok(thread) => drop(self.hashing.insert(path, thread)),
            // The reply went with the closure: the asker is told that nobody answers.
            Err(error) => log::error!("cannot hash {}: {error}", path.display()),
        }
    }
}

/// Making a share of one file or folder; on a thread of its own.
struct ShareJob {
    bus: Bus,
    torrents: Published<Torrents>,
    path: PathBuf,
    cancel: Arc<AtomicBool>,
}

impl ShareJob {
    /// Makes a torrent of the path, adds it, and waits until it is started.
    fn run(&self, progress: &HashProgress) -> Result<InfoHash, ControlError> {
        let refused = |error: &dyn std::fmt::Display| ControlError::Refused(error.to_string());
        let dir = self.path.parent().ok_or_else(|| refused(&format_args!("cannot share {}", self.path.display())))?;
        let tell = |done, total| {
            progress.done.store(done, Ordering::Relaxed);
            progress.total.store(total, Ordering::Relaxed);
        };
        let failed = |error| match error {
            CreateError::Cancelled => stopping(),
            error => refused(&error),
        };
        let mut scan = scan(&self.path).map_err(failed)?;
        // Whoever asks for the progress tells the user.
        let _ = progress.skipped.set(std::mem::take(&mut scan.skipped));
        let metainfo = scan.hash(&CreateOptions::default(), &tell, &self.cancel).map_err(failed)?;
        let steps = self.bus.subscribe("share", &[Topic::Lifecycle], 65_536);
        let seed = NewTorrent::seed(Arc::new(metainfo), dir.to_path_buf());
        // Every byte was hashed a moment ago.
        let torrent = NewTorrent { shared: true, check: CheckMode::Trusted, ..seed };
        self.add(&Arc::new(torrent), &steps)
    }

    fn add(&self, torrent: &Arc<NewTorrent>, steps: &Subscriber<Event>) -> Result<InfoHash, ControlError> {
        let add = || {
            let torrent = Arc::clone(torrent);
            ask(&self.bus, "the network thread", SOON, |reply| Event::AddTorrent { torrent, reply })
        };
        match add() {
            Ok(info_hash) => self.wait_until_started(info_hash, steps),
            Err(ControlError::AlreadyHere(info_hash)) => {
                let Some(old) = self.torrents.read().list.get(&info_hash).cloned() else { return Ok(info_hash) };
                if old.dir == torrent.dir {
                    // Sharing twice is no mistake; one that was paused or has failed gets another chance.
                    let what = TorrentControl::Resume;
                    ask(&self.bus, "the network thread", SOON, |reply| Event::ControlTorrent {
                        info_hash,
                        what,
                        reply,
                    })?;
                    return Ok(info_hash);
                }
                if old.is_complete() && !matches!(old.state, TorrentState::Error(_)) {
                    return Ok(info_hash);
                }
                // What is here now is better than what was there: it was moved, or fetched by other means.
                self.forget(info_hash)?;
                while steps.try_recv().is_some() {}
                add()?;
                self.wait_until_started(info_hash, steps)
            }
            Err(error) => Err(error),
        }
    }

    fn forget(&self, info_hash: InfoHash) -> Result<(), ControlError> {
        ask(&self.bus, "the network thread", SOON, |reply| Event::DelTorrent { info_hash, with_data: false, reply })
    }

    /// Checking a large share takes its time: only a stop ends the waiting. A share that fails is forgotten again.
    fn wait_until_started(&self, info_hash: InfoHash, steps: &Subscriber<Event>) -> Result<InfoHash, ControlError> {
        loop {
            match steps.recv_timeout(LOOK) {
                Ok(Event::Lifecycle { info_hash: other, change }) if other == info_hash => match change {
                    Lifecycle::Started(_) => return Ok(info_hash),
                    Lifecycle::Failed(reason) => {
                        self.forget(info_hash)?;
                        return Err(ControlError::Refused(reason.to_string()));
                    }
                    Lifecycle::Removed => return Err(ControlError::Refused("it was removed meanwhile".to_owned())),
                    _ => {}
                },
                Err(RecvError::Closed) => return Err(stopping()),
                Ok(_) | Err(_) if self.cancel.load(Ordering::Relaxed) => return Err(stopping()),
                Ok(_) | Err(_) => {}
            }
        }
    }
}

fn stopping() -> ControlError {
    ControlError::Refused("bitween is stopping".to_owned())
}

fn listed(torrent: &NewTorrent) -> ListedTorrent {
    let (metainfo, magnet) = match &torrent.source {
        TorrentSource::Metainfo(metainfo) => (Some(metainfo.to_bytes()), None),
        TorrentSource::Magnet(magnet) => (None, Some(magnet.to_string())),
    };
    ListedTorrent {
        info_hash: torrent.source.info_hash(),
        metainfo,
        magnet,
        dir: torrent.dir.to_path_buf(),
        seed: torrent.seed,
        paused: torrent.paused,
        shared: torrent.shared,
    }
}

/// True if the list says something else after it.
fn is_written(change: &Lifecycle) -> bool {
    match change {
        // It comes from the list.
        Lifecycle::Added(torrent) => !torrent.restored,
        Lifecycle::MetadataKnown(_) | Lifecycle::Paused(_) | Lifecycle::Removed => true,
        Lifecycle::Started(_) | Lifecycle::Completed | Lifecycle::Failed(_) => false,
    }
}

/// True if there is something to be done.
fn is_news(event: &Event) -> bool {
    !matches!(event, Event::Lifecycle { change, .. } if !is_written(change))
}

/// A torrent of the list, which lies in `dir`.
fn revive(torrent: ListedTorrent, dir: Arc<Path>) -> Result<NewTorrent, ControlError> {
    let unreadable = |error: &dyn std::fmt::Display| ControlError::Refused(format!("unreadable entry: {error}"));
    let source = match (&torrent.metainfo, &torrent.magnet) {
        (Some(bytes), _) => TorrentSource::Metainfo(Arc::new(Metainfo::parse(bytes).map_err(|e| unreadable(&e))?)),
        (None, Some(link)) => TorrentSource::Magnet(Arc::new(link.parse::<Magnet>().map_err(|e| unreadable(&e))?)),
        (None, None) => return Err(unreadable(&"neither description nor link")),
    };
    let new = match source {
        TorrentSource::Metainfo(metainfo) if torrent.seed => NewTorrent::seed(metainfo, dir),
        source => NewTorrent::download(source, dir),
    };
    Ok(NewTorrent { paused: torrent.paused, shared: torrent.shared, restored: true, ..new })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(folder: &Path) -> Library {
        Library {
            list: TorrentList::open(&folder.join("torrents.sqlite")).unwrap(),
            download_dir: PathBuf::new(),
            bus: Bus::new(),
            contacts: Published::default(),
            torrents: Published::default(),
            cancel: Arc::default(),
            hashing: HashMap::new(),
            failed: None,
        }
    }

    fn link(byte: u8) -> NewTorrent {
        let link = format!("magnet:?xt=urn:btih:{}", InfoHash::new([byte; 20])).parse::<Magnet>().unwrap();
        NewTorrent::download(TorrentSource::Magnet(Arc::new(link)), PathBuf::from("/d"))
    }

    fn count(library: &Library) -> usize {
        let mut count = 0;
        library.list.for_each(|_| count += 1).unwrap();
        count
    }

    #[test]
    fn changes_that_wait_are_written_together_before_whoever_waits_for_them_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let mut library = library(folder.path());
        let inbox = library.bus.subscribe("library", TOPICS, 16);
        for byte in [1, 2] {
            let (torrent, info_hash) = (Arc::new(link(byte)), InfoHash::new([byte; 20]));
            library.bus.publish(Event::Lifecycle { info_hash, change: Lifecycle::Added(torrent) }).unwrap();
        }
        let (reply, answer) = Reply::channel();
        library.bus.publish(Event::SyncLibrary { reply }).unwrap();
        library.bus.publish(Event::Stop(Part::Library)).unwrap();
        let first = inbox.try_recv().unwrap();
        assert!(!library.handle_all(first, &mut Inbox::new(&inbox)), "told to stop");
        assert!(answer.wait(Duration::ZERO).unwrap().is_ok());
        // Another connection sees only what is committed.
        let other = self::library(folder.path());
        assert_eq!(count(&other), 2);
    }

    #[test]
    fn a_change_that_cannot_be_written_takes_no_other_with_it_and_whoever_waits_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut library = library(folder.path());
        // As SQLite itself does when the disk is full: everything of the transaction is undone.
        library.list.refuse(InfoHash::new([2; 20]));
        let inbox = library.bus.subscribe("library", TOPICS, 16);
        for byte in [1, 2, 3] {
            let (torrent, info_hash) = (Arc::new(link(byte)), InfoHash::new([byte; 20]));
            library.bus.publish(Event::Lifecycle { info_hash, change: Lifecycle::Added(torrent) }).unwrap();
        }
        let first = inbox.try_recv().unwrap();
        assert!(library.handle_all(first, &mut Inbox::new(&inbox)));
        assert_eq!(count(&self::library(folder.path())), 2);
        for told in [true, false] {
            let (reply, answer) = Reply::channel();
            assert!(library.handle_all(Event::SyncLibrary { reply }, &mut Inbox::new(&inbox)));
            assert_eq!(answer.wait(Duration::ZERO).unwrap().is_err(), told);
        }
    }

    #[test]
    fn what_nothing_has_to_be_done_for_is_not_kept_through_a_start() {
        let bus = Bus::new();
        let told = bus.subscribe("library", TOPICS, 16);
        let restored = Arc::new(NewTorrent { restored: true, ..link(1) });
        let info_hash = InfoHash::new([1; 20]);
        let say = |change| bus.publish(Event::Lifecycle { info_hash, change }).unwrap();
        let (reply, _answer) = Reply::channel();
        bus.publish(Event::SyncLibrary { reply }).unwrap();
        say(Lifecycle::Added(Arc::clone(&restored)));
        say(Lifecycle::Started(true));
        say(Lifecycle::Removed);
        let mut inbox = Inbox::new(&told);
        inbox.sift();
        assert_eq!((inbox.kept.len(), Arc::strong_count(&restored)), (2, 1));
        say(Lifecycle::Paused(true));
        assert!(matches!(inbox.recv(), Ok(Event::SyncLibrary { .. })));
        assert!(matches!(inbox.try_recv(), Some(Event::Lifecycle { change: Lifecycle::Removed, .. })));
        assert!(matches!(inbox.try_recv(), Some(Event::Lifecycle { change: Lifecycle::Paused(true), .. })));
    }

    #[test]
    fn what_comes_from_the_list_is_not_written_to_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let library = library(folder.path());
        let (torrent, info_hash) = (link(7), InfoHash::new([7; 20]));
        let restored = NewTorrent { restored: true, ..torrent.clone() };
        library.remember(info_hash, &Lifecycle::Added(Arc::new(restored))).unwrap();
        assert_eq!(count(&library), 0);
        library.remember(info_hash, &Lifecycle::Added(Arc::new(torrent))).unwrap();
        assert_eq!(count(&library), 1);
    }
}
