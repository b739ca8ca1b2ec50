//! Calls about own torrents: add, change, remove, who is connected.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::component::ask::ask;
use crate::component::event::{self, Event, NewTorrent, TorrentControl, TorrentSource};
use crate::component::rpc::types::{Added, Peers, Why};
use crate::component::rpc::{self, AddTorrent, ControlError, ErrorCode};
use crate::component::snapshot;
use crate::engine::Source;
use crate::proto::metainfo::path::{name_key, safe_component};
use crate::proto::metainfo::{Magnet, Metainfo};
use crate::types::InfoHash;

use super::super::convert;
use super::super::faults::{from_component, writable_folder};
use super::DaemonControl;

/// Who answers commands about torrents.
const ENGINE: &str = "the BitTorrent thread";

/// Deleting a torrent's files may take a while on a slow disk.
const REMOVE_PATIENCE: Duration = Duration::from_secs(50);

impl DaemonControl {
    /// An own torrent.
    pub(super) fn own(&self, hash: InfoHash) -> Result<Arc<snapshot::TorrentStatus>, ControlError> {
        let known = self.torrents.read().list.get(&hash).cloned();
        known.ok_or_else(|| from_component(event::ControlError::UnknownTorrent(hash)))
    }

    pub(super) fn list_peers(&self, hash: InfoHash) -> Result<Peers, ControlError> {
        let status = self.own(hash)?;
        let pieces = status.metainfo.as_ref().map_or(0, |metainfo| metainfo.info.geometry.piece_count());
        let peers = self.ask(ENGINE, |reply| Event::QueryPeers { info_hash: hash, reply })?;
        let contacts = self.contacts.read();
        Ok(Peers { peers: peers.iter().map(|stats| convert::peer(stats, pieces, &contacts)).collect() })
    }

    pub(super) fn add(&self, new: AddTorrent) -> Result<Added, ControlError> {
        self.check_running()?;
        let source = source(new.source)?;
        let hash = match &source {
            Wanted::Described(source) => source.info_hash(),
            Wanted::Shared(hash) => *hash,
        };
        if let Ok(known) = self.own(hash) {
            return self.add_to(&known, &new.peers);
        }
        let dir = match &new.save_path {
            Some(dir) => writable_folder(dir)?,
            None => self.download_folder()?,
        };
        self.check_name(&source, &dir)?;
        let added = match source {
            Wanted::Shared(info_hash) if new.peers.is_empty() && !new.paused => {
                self.ask("the list of torrents", |reply| Event::AddHash { info_hash, dir: Some(dir), reply })
            }
            Wanted::Shared(info_hash) => {
                let source = self.link(info_hash, !new.peers.is_empty())?;
                self.start(NewTorrent { paused: new.paused, peers: new.peers.clone(), ..shared(source, dir) })
            }
            Wanted::Described(source) => {
                self.start(NewTorrent { paused: new.paused, peers: new.peers.clone(), ..shared(source, dir) })
            }
        };
        match added {
            Ok(_) => {}
            // Somebody else was faster.
            Err(error) if error.code == ErrorCode::Conflict => {
                if let Ok(known) = self.own(hash) {
                    return self.add_to(&known, &new.peers);
                }
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        self.sync()?;
        let name = self.own(hash).ok().map(|status| status.name.to_string()).filter(|name| *name != hash.to_string());
        Ok(Added { hash: hash.to_string(), name, existing: false, why: self.why_waiting(hash) })
    }

    /// Two torrents must not write the same file or folder: the later one would destroy what the earlier one fetched or
    /// shares. Links and announcements may have another name in the end, so this catches slips, not malice.
    fn check_name(&self, source: &Wanted, dir: &Path) -> Result<(), ControlError> {
        let name = match source {
            Wanted::Described(TorrentSource::Metainfo(metainfo)) => Some(metainfo.info.name.to_string()),
            Wanted::Described(TorrentSource::Magnet(magnet)) => magnet.name.clone(),
            Wanted::Shared(hash) => self.contacts.read().shares.share(hash).map(|share| share.name.to_owned()),
        };
        let Some(name) = name else { return Ok(()) };
        let torrents = self.torrents.read();
        // Making a name safe and its folder canonical is dear: only where the names may be the same.
        let key = name_key(&name);
        let mut alike = torrents.list.values().filter(|other| other.name_key == key);
        let Some(other) = alike.find(|other| same_place(other, dir, &name)) else { return Ok(()) };
        let text = format!(
            "{} in {} belongs to torrent {}: choose another folder (--dir), or remove that one first",
            other.name,
            dir.display(),
            other.info_hash
        );
        Err(ControlError::new(ErrorCode::Conflict, text))
    }

    /// It is there already: only its peers grow.
    fn add_to(&self, known: &snapshot::TorrentStatus, peers: &[SocketAddr]) -> Result<Added, ControlError> {
        if !peers.is_empty() {
            self.add_peers(known.info_hash, peers)?;
        }
        let (hash, name) = (known.info_hash, Some(known.name.to_string()));
        let why = if known.is_complete() { None } else { self.why_waiting(hash) };
        Ok(Added { hash: hash.to_string(), name, existing: true, why })
    }

    /// Why no contact has it for us.
    fn why_waiting(&self, hash: InfoHash) -> Option<Why> {
        self.with_reach(|reach| reach.of_share(&hash)).map(convert::why)
    }

    fn start(&self, torrent: NewTorrent) -> Result<InfoHash, ControlError> {
        let torrent = Arc::new(torrent);
        self.ask(ENGINE, |reply| Event::AddTorrent { torrent, reply })
    }

    /// A link to what a contact shares; with peers given by hand nobody needs to share it.
    fn link(&self, info_hash: InfoHash, anyhow: bool) -> Result<TorrentSource, ControlError> {
        let contacts = self.contacts.read();
        let share = contacts.shares.share(&info_hash);
        if share.is_none() && !anyhow {
            return Err(from_component(event::ControlError::NoSource(info_hash)));
        }
        let name = share.map(|share| share.name.to_owned());
        let magnet = Magnet { info_hash, name, trackers: Vec::new(), peers: Vec::new(), web_seeds: Vec::new() };
        Ok(TorrentSource::Magnet(Arc::new(magnet)))
    }

    /// The download folder, made with all folders above it when it is missing: the user has named it once, with care.
    fn download_folder(&self) -> Result<PathBuf, ControlError> {
        let dir = &self.config.download_dir;
        std::fs::create_dir_all(dir).map_err(|error| {
            let text = format!("cannot make the download folder {}: {error}", dir.display());
            ControlError::new(ErrorCode::BadPath, text)
        })?;
        Ok(dir.clone())
    }

    pub(super) fn add_peers(&self, info_hash: InfoHash, peers: &[SocketAddr]) -> Result<(), ControlError> {
        self.check_running()?;
        let event = Event::AddPeers { info_hash, addrs: peers.into(), source: Source::Manual };
        let busy = |_| ControlError::new(ErrorCode::Busy, format!("{ENGINE} is too busy; try again"));
        self.bus.publish(event).map_err(busy)
    }

    pub(super) fn change(&self, info_hash: InfoHash, what: TorrentControl) -> Result<(), ControlError> {
        self.ask(ENGINE, |reply| Event::ControlTorrent { info_hash, what, reply })?;
        self.sync()
    }

    pub(super) fn forget(&self, info_hash: InfoHash, with_data: bool) -> Result<(), ControlError> {
        self.check_running()?;
        let removed =
            ask(&self.bus, ENGINE, REMOVE_PATIENCE, |reply| Event::DelTorrent { info_hash, with_data, reply });
        // It is gone from the list even if some of its files could not be deleted.
        self.sync()?;
        removed.map_err(from_component)
    }
}

/// What is to be fetched.
enum Wanted {
    /// A torrent file or a link.
    Described(TorrentSource),
    /// What a contact shares.
    Shared(InfoHash),
}

/// True if the torrent's top-level name lies where one called `name` in `dir` would. Case does not count: some file
/// systems do not know it.
fn same_place(torrent: &snapshot::TorrentStatus, dir: &Path, name: &str) -> bool {
    let on_disk = |name: &str| safe_component(name.as_bytes()).to_lowercase();
    let folder = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    on_disk(&torrent.name) == on_disk(name) && (*torrent.dir == *dir || folder(&torrent.dir) == folder(dir))
}

fn shared(source: TorrentSource, dir: PathBuf) -> NewTorrent {
    NewTorrent { shared: true, ..NewTorrent::download(source, dir) }
}

fn source(source: rpc::TorrentSource) -> Result<Wanted, ControlError> {
    let bad = |error: &dyn std::fmt::Display| ControlError::new(ErrorCode::BadTorrent, error.to_string());
    Ok(match source {
        rpc::TorrentSource::File(bytes) => {
            let metainfo = Metainfo::parse(&bytes).map_err(|error| bad(&error))?;
            Wanted::Described(TorrentSource::Metainfo(Arc::new(metainfo)))
        }
        rpc::TorrentSource::Magnet(link) => {
            let magnet = link.parse::<Magnet>().map_err(|error| bad(&error))?;
            Wanted::Described(TorrentSource::Magnet(Arc::new(magnet)))
        }
        rpc::TorrentSource::Hash(hash) => Wanted::Shared(hash),
    })
}
