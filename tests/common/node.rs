//! bitween as a library: an engine with folders of its own, in this process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bitween::component::bt::BtOptions;
use bitween::component::event::{NewTorrent, TorrentSource};
use bitween::component::snapshot::{TorrentState, TorrentStatus};
use bitween::node::Engine;
use bitween::proto::metainfo::Metainfo;
use bitween::types::InfoHash;
use tempfile::TempDir;

use super::{TRANSFER_LIMIT, loopback, wait_for};

/// A running engine.
pub struct Node {
    pub engine: Engine,
    folder: TempDir,
}

impl Node {
    /// An engine as it comes.
    pub fn start() -> Self {
        Self::with(BtOptions::default())
    }

    /// An engine with these options, and resume data in its own folder.
    pub fn with(options: BtOptions) -> Self {
        let folder = tempfile::Builder::new().prefix("bitween-node").tempdir().unwrap();
        let state = Some(folder.path().join("resume.sqlite"));
        let engine = Engine::start(BtOptions { state, ..options }).unwrap();
        Self { engine, folder }
    }

    /// Where it takes connections.
    pub fn address(&self) -> SocketAddr {
        loopback(self.engine.port())
    }

    /// Where it puts what it downloads.
    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("downloads")
    }

    /// Serves the files in `dir`, and waits until it does.
    pub fn seed(&self, metainfo: &Metainfo, dir: &Path) -> InfoHash {
        let torrent = NewTorrent::seed(Arc::new(metainfo.clone()), dir.to_owned());
        let info_hash = self.engine.add(torrent).unwrap();
        self.wait_until("it seeds", info_hash, |status| status.state == TorrentState::Seeding);
        info_hash
    }

    /// Begins to download.
    pub fn download(&self, metainfo: &Metainfo, peers: &[SocketAddr]) -> InfoHash {
        self.fetch(TorrentSource::Metainfo(Arc::new(metainfo.clone())), peers)
    }

    /// Begins to download into a folder of its own below [`Node::dir`].
    pub fn download_into(&self, folder: &str, metainfo: &Metainfo, peers: &[SocketAddr]) -> InfoHash {
        let source = TorrentSource::Metainfo(Arc::new(metainfo.clone()));
        let torrent = NewTorrent::download(source, self.dir().join(folder));
        self.engine.add(NewTorrent { peers: peers.to_vec(), ..torrent }).unwrap()
    }

    /// Begins to download from any source.
    pub fn fetch(&self, source: TorrentSource, peers: &[SocketAddr]) -> InfoHash {
        let torrent = NewTorrent { peers: peers.to_vec(), ..NewTorrent::download(source, self.dir()) };
        self.engine.add(torrent).unwrap()
    }

    /// Waits until every byte is there.
    pub fn wait_complete(&self, info_hash: InfoHash) -> Arc<TorrentStatus> {
        self.wait_until("it is complete", info_hash, TorrentStatus::is_complete)
    }

    /// Waits until the torrent is in the state that `is_so` is true for.
    pub fn wait_until(
        &self,
        what: &str,
        info_hash: InfoHash,
        is_so: impl Fn(&TorrentStatus) -> bool,
    ) -> Arc<TorrentStatus> {
        let mut last = None;
        let ready = || {
            last = self.engine.status(info_hash);
            last.clone().filter(|status| is_so(status))
        };
        let limit = TRANSFER_LIMIT + Duration::from_secs(10);
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| wait_for(what, limit, ready)));
        found.unwrap_or_else(|_| match last {
            Some(s) => {
                panic!("not so: {what}; {:?}, {} of {}, {} peers", s.state, s.done, s.total_size, s.traffic.peers)
            }
            None => panic!("not so: {what}; there is no such torrent"),
        })
    }
}
