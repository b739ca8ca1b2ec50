//! What the interface asks about one torrent, about changes, and about the past.

use crate::share::Page;
use crate::types::InfoHash;

use super::super::types::{
    Changes, Details as Detail, Fetched, FileProgress, Limits, Pieces, Rates, Statistics, TorrentEvents, Trackers,
};
use super::{ControlError, Paged, not_offered};

/// The arguments of `Api.statistics`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatisticsQuery {
    /// Unix seconds; from the beginning unless told.
    pub from: Option<u64>,
    /// Unix seconds; until now unless told.
    pub to: Option<u64>,
    /// Only what was exchanged with this bare JID.
    pub contact: Option<String>,
    /// Where the caller's days begin: minutes east of Greenwich.
    pub offset_minutes: i32,
}

/// The part of the daemon that knows more of a torrent than its state. An implementation offers what it defines itself.
///
/// # Errors
/// As [`Control`](super::Control)'s.
pub trait Details: Send + Sync {
    /// `bt.changes`, since what an answer before said in `at`.
    fn changes(&self, since: Option<&str>) -> Result<Changes, ControlError> {
        let _ = since;
        not_offered()
    }
    /// `bt.details`.
    fn details(&self, hash: InfoHash) -> Result<Detail, ControlError> {
        let _ = hash;
        not_offered()
    }
    /// `bt.files`.
    fn files(&self, hash: InfoHash, page: Page) -> Result<Paged<FileProgress>, ControlError> {
        let _ = (hash, page);
        not_offered()
    }
    /// `bt.pieces`.
    fn pieces(&self, hash: InfoHash) -> Result<Pieces, ControlError> {
        let _ = hash;
        not_offered()
    }
    /// `bt.trackers`.
    fn trackers(&self, hash: InfoHash) -> Result<Trackers, ControlError> {
        let _ = hash;
        not_offered()
    }
    /// `bt.events`.
    fn events(&self, hash: InfoHash) -> Result<TorrentEvents, ControlError> {
        let _ = hash;
        not_offered()
    }
    /// `Api.rates`, of one torrent or of all together.
    fn rates(&self, hash: Option<InfoHash>) -> Result<Rates, ControlError> {
        let _ = hash;
        not_offered()
    }
    /// `bt.fetched`, of one torrent or of all.
    fn fetched(&self, hash: Option<InfoHash>) -> Result<Fetched, ControlError> {
        let _ = hash;
        not_offered()
    }
    /// `Api.statistics`.
    fn statistics(&self, query: StatisticsQuery) -> Result<Statistics, ControlError> {
        let _ = query;
        not_offered()
    }
    /// `bt.recheck`: reads all of it again and compares it.
    fn recheck(&self, hash: InfoHash) -> Result<(), ControlError> {
        let _ = hash;
        not_offered()
    }
    /// `bt.set_limits`, over restarts too. What is not given stays as it is.
    fn set_limits(&self, hash: InfoHash, download: Option<u64>, upload: Option<u64>) -> Result<Limits, ControlError> {
        let _ = (hash, download, upload);
        not_offered()
    }
    /// `GET /metrics`: appends lines of Prometheus' text format.
    fn metrics(&self, out: &mut String) -> Result<(), ControlError> {
        let _ = out;
        not_offered()
    }
    /// `GET /api/torrent/HASH`: the content of the torrent file.
    fn torrent_file(&self, hash: InfoHash) -> Result<Vec<u8>, ControlError> {
        let _ = hash;
        not_offered()
    }
}
