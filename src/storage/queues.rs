//! What waits for the disk threads, and in which order it is taken.
//!
//! Four queues keep what waits for a disk from holding up what waits for memory. *Urgent*: windows, served by every
//! thread first. *Verify*: pieces to hash, two at a time where the processor can. *Slow*: opens, commits and closes,
//! which may sync; with two or more threads one of them never takes these. *Check*: slices of running checks, which every
//! thread takes when nothing else is there, and puts back. The queues have no bound of their own: what the reactor may
//! have under way is bounded by its piece buffer, and the handle must never make it wait.

use std::sync::Arc;

use crossbeam_channel::{Receiver, select};

use super::check::Check;
use super::error::StorageError;
use super::job::{Done, Ending};
use super::mapping::{ReadWindow, WriteWindow};
use super::sha1_pair::has_two_lanes;
use super::torrent::Torrent;
use crate::types::{PieceIndex, TorrentKey};

/// A job with what the submitting side knows about it.
pub(super) enum Task {
    Of(Arc<Torrent>, Work),
    Release(Vec<ReadWindow>),
    ReleaseWrite(WriteWindow),
}

/// A received piece whose hash is to be looked at.
pub(super) struct Verify {
    pub(super) torrent: Arc<Torrent>,
    pub(super) piece: PieceIndex,
    pub(super) window: WriteWindow,
    /// Say which blocks it has, too.
    pub(super) digests: bool,
}

pub(super) enum Work {
    Open,
    OpenWindow(PieceIndex),
    Populate(PieceIndex),
    Probe(Vec<ReadWindow>),
    /// The end of an open.
    Conclude(Arc<Check>),
    Commit,
    Close(Ending),
}

impl Work {
    pub(super) const fn is_slow(&self) -> bool {
        matches!(self, Self::Open | Self::Conclude(_) | Self::Probe(_) | Self::Commit | Self::Close(_))
    }

    /// The answer for a torrent that is not open.
    pub(super) fn refused(self, torrent: TorrentKey) -> Done {
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
pub(super) struct Queues {
    pub(super) urgent: Receiver<Task>,
    pub(super) verify: Receiver<Verify>,
    pub(super) slow: Receiver<Task>,
    pub(super) checks: Receiver<Arc<Check>>,
    /// Never gets a message; disconnected when the handle is gone.
    pub(super) stop: Receiver<()>,
}

pub(super) enum Next {
    Task(Task),
    Verify(Verify, Option<Verify>),
    Check(Arc<Check>),
    Stop,
}

impl Queues {
    pub(super) fn next(&self) -> Next {
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
