//! What a disk thread is told to do, and the answer if it cannot.

use std::sync::Arc;

use super::check::Check;
use super::error::StorageError;
use super::job::{Done, Ending};
use super::mapping::{BufferPool, ReadWindow, WriteWindow};
use super::queues::Rank;
use super::reserve::Reservation;
use super::torrent::Torrent;
use crate::types::{PieceIndex, TorrentKey};

/// A job with what the submitting side knows about it.
pub(super) enum Task {
    Of(Arc<Torrent>, Work),
    Release(Vec<ReadWindow>),
    ReleaseWrite(WriteWindow),
    /// There are too many idle buffers.
    Trim(BufferPool),
    /// A slice of it.
    Check(Arc<Check>),
}

impl Task {
    /// When it is taken.
    pub(super) const fn rank(&self) -> Rank {
        match self {
            Self::Of(_, Work::OpenWindow(_) | Work::Populate(_)) => Rank::Urgent,
            Self::Release(_) | Self::ReleaseWrite(_) | Self::Trim(_) => Rank::Urgent,
            Self::Of(..) => Rank::Slow,
            Self::Check(_) => Rank::Check,
        }
    }
}

/// A received piece whose hash is to be looked at.
pub(super) struct Verify {
    pub(super) torrent: Arc<Torrent>,
    pub(super) piece: PieceIndex,
    pub(super) window: WriteWindow,
    /// Say which blocks it has, too.
    pub(super) digests: bool,
}

impl Verify {
    /// The answer if nothing came of it.
    pub(super) fn failed(&self) -> (Arc<Torrent>, Done) {
        let (torrent, result) = (self.torrent.key, Err(StorageError::Panicked));
        (Arc::clone(&self.torrent), Done::Verified { torrent, piece: self.piece, result, digests: Vec::new() })
    }
}

/// What is done with a torrent.
pub(super) enum Work {
    Open,
    OpenWindow(PieceIndex),
    Populate(PieceIndex),
    Probe(Vec<ReadWindow>),
    /// The end of an open.
    Conclude(Arc<Check>),
    /// What an open leaves to be done behind the download.
    Reserve(Reservation),
    Commit,
    /// More was written than a sync should have to wait for.
    Sync,
    Close(Ending),
}

impl Work {
    /// The answer for a torrent that is not open.
    pub(super) fn refused(&self, torrent: TorrentKey) -> Done {
        self.failed(torrent, StorageError::NotOpen)
    }

    /// The answer if it could not be done.
    pub(super) fn failed(&self, torrent: TorrentKey, error: StorageError) -> Done {
        match *self {
            Self::Open | Self::Conclude(_) => Done::Opened { torrent, result: Err(error), hashed: 0 },
            Self::Reserve(_) => Done::NotReserved { torrent, error },
            Self::OpenWindow(piece) => Done::WindowOpened { torrent, piece, result: Err(error) },
            Self::Populate(piece) => Done::Populated { torrent, piece, result: Err(error) },
            Self::Probe(_) => Done::Probed { torrent, result: Err(error) },
            Self::Commit | Self::Sync => Done::Committed { torrent, result: Err(error) },
            Self::Close(_) => Done::Closed { torrent, result: Err(error) },
        }
    }
}
