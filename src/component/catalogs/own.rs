//! The catalog of the own shares: written when they change, and served to contacts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{add, earlier, remove};
use crate::component::event::{Bus, ControlError, Event, Hidden, NewTorrent, TorrentSource};
use crate::component::snapshot::{OwnCatalog, Published};
use crate::proto::metainfo::Metainfo;
use crate::proto::xmpp::announcer::may_need_catalog;
use crate::share::catalog;
use crate::storage::{CatalogFiles, CheckMode, StorageError};
use crate::types::{Catalog, InfoHash, Share};

/// Changes often come in rows.
const GATHER: Duration = Duration::from_millis(300);
/// From so many shares on a list is very long.
const LONG: usize = 50_000;
/// Others may follow each other so many times as fast.
const FASTER: u32 = 6;
/// One that was replaced is served for so long, to those who have just heard of it.
const SERVED_ON: Duration = Duration::from_secs(600);
/// When one could not be written, it is tried again after this time.
const RETRY: Duration = Duration::from_secs(60);

pub(super) struct Own {
    files: CatalogFiles,
    folder: PathBuf,
    pause: Duration,
    bus: Bus,
    published: Published<OwnCatalog>,
    shares: Arc<[Share]>,
    /// When the next one is to be made.
    due: Option<Instant>,
    not_before: Option<Instant>,
    /// Bytes of the one before, perhaps of an earlier run.
    size: Option<u64>,
    current: Option<(Catalog, Arc<Metainfo>)>,
    /// Those that are still served, each with the time of its end.
    former: Vec<(InfoHash, Instant)>,
}

#[derive(Debug, thiserror::Error)]
enum MakeError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{0}")]
    Description(String),
    #[error(transparent)]
    Network(#[from] ControlError),
}

impl Own {
    pub(super) fn new(files: CatalogFiles, pause: Duration, bus: Bus, published: Published<OwnCatalog>) -> Self {
        let folder = files.own();
        Self {
            size: files.newest_size(&folder),
            folder,
            files,
            pause,
            bus,
            published,
            shares: Arc::default(),
            due: None,
            not_before: None,
            current: None,
            former: Vec::new(),
        }
    }

    /// The own shares are these now.
    pub(super) fn set_shares(&mut self, now: Instant, shares: Arc<[Share]>) {
        self.shares = shares;
        if may_need_catalog(&self.shares) {
            let soon = now + GATHER;
            self.due.get_or_insert_with(|| self.not_before.map_or(soon, |not_before| soon.max(not_before)));
        } else {
            self.due = None;
            if let Some((catalog, _)) = self.current.take() {
                self.former.push((catalog.info_hash, now + SERVED_ON));
                self.publish(OwnCatalog::default());
            }
        }
    }

    /// Makes a catalog if it is time, and serves no longer what nobody needs.
    pub(super) fn tend(&mut self, now: Instant) {
        let (over, former) = self.former.iter().partition(|(_, end)| *end <= now);
        self.former = former;
        let over: Vec<(InfoHash, Instant)> = over;
        for (info_hash, _) in over {
            remove(&self.bus, info_hash);
            self.files.remove(&self.folder, &info_hash);
        }
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        self.due = None;
        let pause = if self.shares.len() > LONG { self.pause } else { self.pause / FASTER };
        self.not_before = Some(now + pause);
        let shares = Arc::clone(&self.shares);
        match self.make(now) {
            Ok(catalog) => self.publish(OwnCatalog { shares, catalog: Some(catalog), failed: false }),
            Err(error) => {
                log::error!(
                    "the list of shares is too long to be announced in one piece, and no catalog of it can be made: {error}"
                );
                self.due = Some(now + RETRY);
                self.publish(OwnCatalog { shares, catalog: None, failed: true });
            }
        }
    }

    /// When [`Self::tend`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        earlier(self.due, self.former.iter().map(|(_, end)| *end).min())
    }

    /// The one that is announced.
    pub(super) fn current(&self) -> Option<InfoHash> {
        self.current.as_ref().map(|(catalog, _)| catalog.info_hash)
    }

    /// Has the present one served by a network thread that does not know it.
    pub(super) fn serve_again(&mut self) {
        self.former.clear();
        if let Some((catalog, metainfo)) = &self.current
            && let Err(error) = self.serve(catalog, metainfo)
        {
            log::error!("the catalog of the own shares cannot be served: {error}");
        }
    }

    fn make(&mut self, now: Instant) -> Result<Catalog, MakeError> {
        let built = catalog::build(&self.shares, self.size);
        if built.left_out > 0 {
            log::warn!("{} shares do not fit into a catalog and are not announced", built.left_out);
        }
        let metainfo = catalog::describe(&built.bytes).map_err(|error| MakeError::Description(error.to_string()))?;
        let info_hash = metainfo.info_hash;
        let made = Catalog { info_hash, size: built.bytes.len() as u64, count: built.count };
        if self.current() == Some(info_hash) {
            return Ok(made);
        }
        self.files.write(&self.folder, &info_hash, &built.bytes)?;
        let metainfo = Arc::new(metainfo);
        self.serve(&made, &metainfo)?;
        self.former.retain(|(former, _)| *former != info_hash);
        match self.current.replace((made, metainfo)) {
            Some((before, _)) => self.former.push((before.info_hash, now + SERVED_ON)),
            // Left by an earlier run.
            None if self.former.is_empty() => self.files.keep_only(&self.folder, Some(&info_hash)),
            None => {}
        }
        self.size = Some(made.size);
        debug!("catalog {info_hash} of {} shares, {} bytes", made.count, made.size);
        Ok(made)
    }

    fn serve(&self, catalog: &Catalog, metainfo: &Arc<Metainfo>) -> Result<(), ControlError> {
        let folder = CatalogFiles::folder(&self.folder, &catalog.info_hash);
        let torrent = NewTorrent {
            seed: true,
            check: CheckMode::Trusted,
            hidden: Some(Hidden { size: catalog.size }),
            ..NewTorrent::download(TorrentSource::Metainfo(Arc::clone(metainfo)), folder)
        };
        match add(&self.bus, torrent) {
            // It was replaced a moment ago, or an earlier thread has begun to serve it.
            Err(ControlError::AlreadyHere(_)) => Ok(()),
            answer => answer,
        }
    }

    fn publish(&self, own: OwnCatalog) {
        self.published.publish(Arc::new(own));
        // Nobody listens while there is no account.
        let _ = self.bus.publish(Event::PublishCatalog);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests run on real time")]
mod tests {
    use super::*;
    use crate::component::event::{Part, Topic};

    /// A network thread that takes everything, and tells at its end what it heard: `+` of a torrent that came, `-` of one
    /// that went.
    fn network(bus: &Bus) -> std::thread::JoinHandle<Vec<String>> {
        let inbox = bus.subscribe("bt", &[Topic::AddTorrent, Topic::DelTorrent, Topic::StopBt], 100);
        std::thread::spawn(move || {
            let mut heard = Vec::new();
            loop {
                match inbox.recv() {
                    Ok(Event::AddTorrent { torrent, reply }) => {
                        assert!(torrent.hidden.is_some() && torrent.seed && !torrent.shared);
                        heard.push(format!("+{}", torrent.source.info_hash()));
                        reply.send(Ok(torrent.source.info_hash()));
                    }
                    Ok(Event::DelTorrent { info_hash, reply, .. }) => {
                        heard.push(format!("-{info_hash}"));
                        reply.send(Ok(()));
                    }
                    _ => return heard,
                }
            }
        })
    }

    fn shares(count: u8) -> Arc<[Share]> {
        let name: Arc<str> = "a name that is long enough ".repeat(9).into();
        let share = |n| Share {
            info_hash: InfoHash::new([n; InfoHash::LEN]),
            name: Arc::clone(&name),
            size: 1,
            files: 1,
            complete: true,
        };
        (0..count).map(share).collect()
    }

    const PAUSE: Duration = Duration::from_secs(60);

    #[test]
    fn changes_are_gathered_and_what_is_replaced_is_served_for_a_while() {
        let (dir, bus, published) = (tempfile::tempdir().unwrap(), Bus::new(), Published::<OwnCatalog>::default());
        let network = network(&bus);
        let files = CatalogFiles::new(dir.path().to_path_buf(), catalog::FILE_NAME);
        let mut own = Own::new(files.clone(), PAUSE, bus.clone(), published.clone());
        let start = Instant::now();
        own.set_shares(start, shares(5));
        assert_eq!(own.poll_timeout(), None, "so few stand in an item");
        own.set_shares(start, shares(100));
        own.set_shares(start + GATHER / 2, shares(101));
        own.tend(start + GATHER);
        let first = published.read();
        assert_eq!((first.catalog.unwrap().count, first.shares.len()), (101, 101));
        let later = start + GATHER * 2;
        own.set_shares(later, shares(102));
        own.tend(later + GATHER);
        assert_eq!(published.read().catalog, first.catalog, "not so soon again");
        let second = start + GATHER + PAUSE / FASTER;
        own.tend(second);
        let of_102 = published.read().catalog.unwrap();
        assert!(of_102.count == 102 && own.current() == Some(of_102.info_hash));
        // The same list again has the same name, and is served already.
        own.set_shares(second + PAUSE, shares(102));
        own.tend(second + PAUSE + GATHER);
        own.set_shares(second + PAUSE * 2, shares(3));
        assert_eq!((published.read().catalog, own.current()), (None, None));
        let first = first.catalog.unwrap().info_hash;
        assert!(files.newest_size(&files.own()).is_some());
        own.tend(second + PAUSE * 2 + SERVED_ON);
        assert!(own.poll_timeout().is_none() && files.newest_size(&files.own()).is_none(), "nothing is left on disk");
        bus.publish(Event::Stop(Part::Bt)).unwrap();
        let heard = network.join().unwrap();
        let [first, second] = [first, of_102.info_hash].map(|hash| hash.to_string());
        assert_eq!(heard, [format!("+{first}"), format!("+{second}"), format!("-{first}"), format!("-{second}")]);
    }

    #[test]
    fn a_catalog_that_cannot_be_written_is_tried_again_and_the_list_is_cut_meanwhile() {
        let (dir, bus, published) = (tempfile::tempdir().unwrap(), Bus::new(), Published::<OwnCatalog>::default());
        let network = network(&bus);
        let place = dir.path().join("catalog");
        std::fs::write(&place, "in the way").unwrap();
        let files = CatalogFiles::new(place.clone(), catalog::FILE_NAME);
        let mut own = Own::new(files, PAUSE, bus.clone(), published.clone());
        let start = Instant::now();
        own.set_shares(start, shares(100));
        own.tend(start + GATHER);
        assert!(published.read().failed && published.read().catalog.is_none());
        std::fs::remove_file(&place).unwrap();
        own.tend(start + GATHER + RETRY);
        assert!(!published.read().failed && published.read().catalog.is_some());
        bus.publish(Event::Stop(Part::Bt)).unwrap();
        assert_eq!(network.join().unwrap().len(), 1);
    }
}
