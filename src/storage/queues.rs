//! What waits for the disk threads, and in which order it is taken.
//!
//! Four queues keep what waits for a disk from holding up what waits for memory. *Urgent*: windows, served by every
//! thread first. *Verify*: pieces to hash, two at a time where the processor can, and to write; they wait while a disk does
//! not keep up. *Slow*: opens, commits, closes, syncs and slices of reservations; with two or more threads one of them
//! never takes these. *Check*: slices of running checks, which every
//! thread takes when nothing else is there, and puts back. The queues have no bound of their own: what the reactor may
//! have under way is bounded by its piece buffer, and the handle must never make it wait.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError, select};

use super::check::Check;
use super::error::StorageError;
use super::job::{Done, Ending};
use super::mapping::{BufferPool, ReadWindow, WriteWindow};
use super::reserve::Reservation;
use super::sha1_pair::has_two_lanes;
use super::torrent::Torrent;
use crate::types::{PieceIndex, TorrentKey};

/// How long a thread that has pieces to hash, and must not write, leaves it at that before it looks again.
const HOLD: Duration = Duration::from_millis(5);

/// A job with what the submitting side knows about it.
pub(super) enum Task {
    Of(Arc<Torrent>, Work),
    Release(Vec<ReadWindow>),
    ReleaseWrite(WriteWindow),
    /// There are too many idle buffers.
    Trim(BufferPool),
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
    pub(super) const fn is_slow(&self) -> bool {
        !matches!(self, Self::OpenWindow(_) | Self::Populate(_))
    }

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

/// Received pieces that wait for their hash. Two at once take little longer than one, so a thread that is at it takes what
/// came meanwhile, and another one is called only if two wait: it would take the one away, and both were half as fast.
pub(super) struct Verifies<T = Verify> {
    /// Pieces that a thread hashes at once.
    lanes: usize,
    workers: usize,
    waiting: Mutex<Waiting<T>>,
}

struct Waiting<T> {
    pieces: VecDeque<T>,
    /// Threads that are at it, or were called.
    threads: usize,
}

/// One thread's ends of the queues.
pub(super) struct Queues {
    pub(super) urgent: Receiver<Task>,
    /// Calls to the pieces that wait in [`Verifies`].
    pub(super) verify: Receiver<()>,
    /// This thread was called and goes on until none waits.
    pub(super) verifying: Cell<bool>,
    pub(super) slow: Receiver<Task>,
    pub(super) checks: Receiver<Arc<Check>>,
    /// Never gets a message; disconnected when the handle is gone.
    pub(super) stop: Receiver<()>,
}

pub(super) enum Next {
    Task(Task),
    Verify(Verify, Option<Verify>),
    /// Nothing after all: look again.
    Nothing,
    Check(Arc<Check>),
    Stop,
}

impl Queues {
    /// What a thread does next. While `is_full` says so, it takes no piece.
    pub(super) fn next(&self, verifies: &Verifies, is_full: impl Fn() -> bool) -> Next {
        if let Ok(task) = self.urgent.try_recv() {
            return Next::Task(task);
        }
        if self.verifying.get() || self.verify.try_recv().is_ok() {
            // It stays called until it gets to it.
            self.verifying.set(true);
            if self.has_ended() || !is_full() {
                match self.take(verifies) {
                    Next::Nothing => {}
                    next => return next,
                }
            }
        }
        if let Ok(task) = self.slow.try_recv() {
            return Next::Task(task);
        }
        if let Ok(check) = self.checks.try_recv() {
            return Next::Check(check);
        }
        if self.verifying.get() {
            return select! {
                recv(self.urgent) -> task => task.map_or(Next::Stop, Next::Task),
                recv(self.slow) -> task => task.map_or(Next::Stop, Next::Task),
                recv(self.checks) -> check => check.map_or(Next::Stop, Next::Check),
                default(HOLD) => Next::Nothing,
            };
        }
        select! {
            recv(self.urgent) -> task => task.map_or(Next::Stop, Next::Task),
            recv(self.verify) -> call => call.map_or(Next::Stop, |()| {
                self.verifying.set(true);
                Next::Nothing
            }),
            recv(self.slow) -> task => task.map_or(Next::Stop, Next::Task),
            recv(self.checks) -> check => check.map_or(Next::Stop, Next::Check),
            recv(self.stop) -> _ => Next::Stop,
        }
    }

    /// True if nothing more will come: then nothing waits any longer, either.
    fn has_ended(&self) -> bool {
        self.stop.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// What a thread that was called does next.
    fn take(&self, verifies: &Verifies) -> Next {
        let (first, second) = verifies.take();
        self.verifying.set(first.is_some());
        first.map_or(Next::Nothing, |first| Next::Verify(first, second))
    }
}

impl Verifies {
    /// None yet, for so many threads.
    pub(super) fn new(workers: usize) -> Self {
        Self::in_lanes(if has_two_lanes() { 2 } else { 1 }, workers)
    }
}

impl<T> Verifies<T> {
    fn in_lanes(lanes: usize, workers: usize) -> Self {
        Self { lanes, workers, waiting: Mutex::new(Waiting { pieces: VecDeque::new(), threads: 0 }) }
    }

    /// Puts a piece at the end. True if a thread has to be called.
    #[must_use]
    pub(super) fn push(&self, verify: T) -> bool {
        let mut waiting = self.waiting();
        waiting.pieces.push_back(verify);
        let call = waiting.threads == 0 || waiting.threads < self.workers && waiting.pieces.len() >= self.lanes;
        waiting.threads += usize::from(call);
        call
    }

    /// One or two pieces for a thread that was called. If there are none, it has to be called again.
    fn take(&self) -> (Option<T>, Option<T>) {
        let mut waiting = self.waiting();
        let first = waiting.pieces.pop_front();
        if first.is_none() {
            waiting.threads = waiting.threads.saturating_sub(1);
        }
        let second = if self.lanes > 1 { waiting.pieces.pop_front() } else { None };
        (first, second)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{bounded, unbounded};

    use super::*;

    #[test]
    fn one_thread_takes_what_comes_and_another_is_called_only_for_two() {
        let verifies = Verifies::in_lanes(2, 2);
        assert!(verifies.push(1));
        assert_eq!(verifies.take(), (Some(1), None));
        assert!(!verifies.push(2), "the thread that is at it comes back for it");
        assert!(verifies.push(3), "it would take too long over the other one");
        assert!(!verifies.push(4) && !verifies.push(5), "there are no more threads");
        assert_eq!(verifies.take(), (Some(2), Some(3)));
        assert_eq!(verifies.take(), (Some(4), Some(5)));
        assert_eq!((verifies.take(), verifies.take()), ((None, None), (None, None)));
        assert!(verifies.push(6), "all have gone to sleep");
    }

    #[test]
    fn a_thread_that_is_to_verify_does_everything_else_while_the_disk_does_not_keep_up() {
        let (urgent_in, urgent) = unbounded();
        let (verify_in, verify) = unbounded();
        let (slow_in, slow) = unbounded();
        let (_checks_in, checks) = unbounded();
        let (alive, stop) = bounded(0);
        let queues = Queues { urgent, verify, verifying: Cell::new(false), slow, checks, stop };
        let verifies = Verifies::new(2);
        let full = Cell::new(true);
        let next = || queues.next(&verifies, || full.get());
        let task = || Task::Release(Vec::new());
        verify_in.send(()).unwrap();
        assert!(matches!(next(), Next::Nothing), "nothing else is there");
        slow_in.send(task()).unwrap();
        urgent_in.send(task()).unwrap();
        assert!(matches!((next(), next()), (Next::Task(_), Next::Task(_))));
        assert!(urgent_in.is_empty() && slow_in.is_empty() && queues.verifying.get(), "it is still called");
        full.set(false);
        slow_in.send(task()).unwrap();
        assert!(matches!(next(), Next::Task(_)) && !queues.verifying.get(), "it has looked, and there was no piece");

        full.set(true);
        verify_in.send(()).unwrap();
        drop(alive);
        slow_in.send(task()).unwrap();
        assert!(matches!(next(), Next::Task(_)) && !queues.verifying.get(), "at the end nothing is left waiting");
    }

    #[test]
    fn with_one_lane_every_piece_gets_a_thread() {
        let verifies = Verifies::in_lanes(1, 2);
        assert!(verifies.push(1) && verifies.push(2) && !verifies.push(3));
        assert_eq!(verifies.take(), (Some(1), None));
    }
}
