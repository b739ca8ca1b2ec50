//! The waiting announces: first come, first served per tracker host, the hosts in turn, and one at a time for each.
//!
//! Shared by the threads of the pool; the lock is held for a push or a pop alone. Neither looks at more than one host,
//! so ten thousand torrents behind one hung tracker are no burden.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{AnnounceError, AnnounceRequest};
use crate::proto::tracker::{AnnounceEvent, TrackerUrl};

/// An announce whose URL was found to be usable.
pub(super) struct Job {
    pub(super) request: AnnounceRequest,
    pub(super) url: TrackerUrl,
    /// [`TrackerUrl::origin`]: what counts as one host.
    pub(super) origin: Arc<str>,
}

impl Job {
    pub(super) fn new(request: AnnounceRequest) -> Result<Self, AnnounceError> {
        let url: TrackerUrl = request.url.parse()?;
        let origin = url.origin().into();
        Ok(Self { request, url, origin })
    }

    fn is_farewell(&self) -> bool {
        self.request.announce.event == Some(AnnounceEvent::Stopped)
    }
}

/// See the module.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    capacity: usize,
}

#[derive(Default)]
struct State {
    /// Hosts that somebody waits for or is busy with.
    hosts: HashMap<Arc<str>, Host>,
    /// Hosts to be served, in turn: those with jobs that nobody is busy with; after closing, all with jobs.
    ready: VecDeque<Arc<str>>,
    /// Jobs of all hosts.
    waiting: usize,
    closed: bool,
}

#[derive(Default)]
struct Host {
    jobs: VecDeque<Job>,
    busy: bool,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), capacity }
    }

    pub(super) fn push(&self, job: Job) -> Result<(), AnnounceError> {
        let mut state = self.lock();
        if state.closed {
            return Err(AnnounceError::Stopped);
        }
        if state.waiting >= self.capacity {
            return Err(AnnounceError::Busy);
        }
        state.waiting += 1;
        let origin = job.origin.clone();
        let host = state.hosts.entry(origin.clone()).or_default();
        host.jobs.push_back(job);
        if !host.busy && host.jobs.len() == 1 {
            state.ready.push_back(origin);
            drop(state);
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits for a job whose host nobody is busy with; the host is then busy until released. `None` when closed.
    pub(super) fn take(&self) -> Option<Job> {
        let state = self.lock();
        let idle = |state: &mut State| !state.closed && state.ready.is_empty();
        let mut state = self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return None;
        }
        let origin = state.ready.pop_front()?;
        let host = state.hosts.get_mut(&origin)?;
        host.busy = true;
        let job = host.jobs.pop_front();
        state.waiting -= usize::from(job.is_some());
        job
    }

    /// The host of a job that is done is free again.
    pub(super) fn release(&self, origin: &Arc<str>) {
        let mut state = self.lock();
        let Some(host) = state.hosts.get_mut(origin) else { return };
        host.busy = false;
        if host.jobs.is_empty() {
            state.hosts.remove(origin);
        } else if !state.closed {
            state.ready.push_back(origin.clone());
            drop(state);
            self.changed.notify_one();
        }
    }

    /// As [`release`](Self::release), and takes out all that wait for this host.
    pub(super) fn release_and_drain(&self, origin: &Arc<str>) -> VecDeque<Job> {
        let mut state = self.lock();
        let jobs = state.hosts.remove(origin).unwrap_or_default().jobs;
        state.waiting -= jobs.len();
        jobs
    }

    /// Accepts nothing more and drops all jobs but farewells. How many of these are left.
    pub(super) fn close(&self) -> usize {
        let mut state = self.lock();
        let State { hosts, ready, waiting, closed } = &mut *state;
        *closed = true;
        hosts.values_mut().for_each(|host| host.jobs.retain(Job::is_farewell));
        *waiting = hosts.values().map(|host| host.jobs.len()).sum();
        *ready = hosts.iter().filter(|(_, host)| !host.jobs.is_empty()).map(|(origin, _)| origin.clone()).collect();
        let farewells = *waiting;
        drop(state);
        self.changed.notify_all();
        farewells
    }

    /// A farewell, if one is left after [`close`](Self::close). Regardless of who is busy with its host: a thread may
    /// hang there, and there is no time to wait for it.
    pub(super) fn take_farewell(&self) -> Option<Job> {
        let mut state = self.lock();
        while let Some(origin) = state.ready.pop_front() {
            // The host is gone when one of its other farewells failed.
            let Some(job) = state.hosts.get_mut(&origin).and_then(|host| host.jobs.pop_front()) else { continue };
            state.waiting -= 1;
            state.ready.push_back(origin);
            return Some(job);
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tracker::{Announce, NamedBy};
    use crate::types::{InfoHash, PeerId, TorrentKey};

    fn job(torrent: u64, url: &str, event: Option<AnnounceEvent>) -> Job {
        let announce = Announce { event, ..Announce::new(InfoHash::new([0; 20]), PeerId::new([0; 20]), 1, 1) };
        let torrent = TorrentKey(torrent);
        Job::new(AnnounceRequest { torrent, url: url.into(), named_by: NamedBy::User, announce }).ok().unwrap()
    }

    fn filled(jobs: &[(u64, &str)]) -> Queue {
        let queue = Queue::new(8);
        jobs.iter().for_each(|(torrent, url)| queue.push(job(*torrent, url, None)).unwrap());
        queue
    }

    fn take(queue: &Queue) -> (u64, Arc<str>) {
        let job = queue.take().unwrap();
        (job.request.torrent.0, job.origin)
    }

    #[test]
    fn hosts_take_turns_and_each_is_served_one_at_a_time() {
        let queue = filled(&[(1, "http://a/1"), (2, "http://a/2"), (3, "http://b/"), (4, "http://a/4")]);
        let (first, a) = take(&queue);
        let (second, b) = take(&queue);
        assert_eq!((first, second), (1, 3), "the second job of host a has to wait");
        assert!(queue.lock().ready.is_empty());
        queue.release(&b);
        queue.release(&a);
        assert_eq!(take(&queue).0, 2);
        queue.release(&a);
        assert_eq!(take(&queue).0, 4);
        queue.release(&a);
        let state = queue.lock();
        assert_eq!((state.waiting, state.hosts.len()), (0, 0), "nothing is kept of hosts that nobody waits for");
    }

    #[test]
    fn a_host_that_failed_gives_up_all_its_jobs() {
        let queue = filled(&[(1, "http://a/"), (2, "http://a/"), (3, "http://b/"), (4, "http://a/")]);
        let (_, a) = take(&queue);
        let drained: Vec<u64> = queue.release_and_drain(&a).iter().map(|job| job.request.torrent.0).collect();
        assert_eq!(drained, [2, 4]);
        assert_eq!(take(&queue).0, 3);
        queue.push(job(5, "http://a/", None)).unwrap();
        assert_eq!(take(&queue).0, 5, "later ones are tried again");
    }

    #[test]
    fn the_queue_is_bounded() {
        let queue = filled(&[(1, "http://a/"); 8]);
        assert_eq!(queue.push(job(9, "http://b/", None)), Err(AnnounceError::Busy));
        take(&queue);
        assert_eq!(queue.push(job(9, "http://b/", None)), Ok(()));
    }

    #[test]
    fn closing_leaves_the_farewells_hosts_in_turn() {
        let queue = filled(&[(1, "http://a/"), (2, "http://b/")]);
        let (_, a) = take(&queue);
        for (torrent, url) in [(3, "http://a/"), (4, "http://a/"), (5, "http://b/")] {
            queue.push(job(torrent, url, Some(AnnounceEvent::Stopped))).unwrap();
        }
        assert_eq!(queue.close(), 3);
        assert!(queue.take().is_none());
        assert_eq!(queue.push(job(6, "http://a/", None)), Err(AnnounceError::Stopped));
        queue.release(&a);
        let mut order: Vec<u64> =
            std::iter::from_fn(|| queue.take_farewell()).map(|job| job.request.torrent.0).collect();
        assert!(order[..2].contains(&5) && order[..2].contains(&3), "{order:?}");
        order.sort_unstable();
        assert_eq!(order, [3, 4, 5]);
    }
}
