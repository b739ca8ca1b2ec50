//! Tracker announces: the threads that may block on DNS, HTTP and UDP.
//!
//! A [`TrackerPool`] takes announces from anybody ([`submit`](TrackerPool::submit)) and hands each outcome to one
//! function, on the thread that did the work. It decides nothing: which tracker is asked when is the matter of
//! [`proto::tracker::Tiers`](crate::proto::tracker::Tiers). Only one announce per tracker host is made at a time, so
//! that a tracker that hangs occupies one thread; what waits behind it shares its fate when it fails.
//!
//! Threads: `tracker-N`, and for the moment of stopping some more that say good-bye.

mod deadline;
mod feed;
mod guard;
mod http;
mod look_up;
mod queue;
mod stream;
#[cfg(feature = "https")]
mod tls;
mod udp;

use crate::component::event::{AnnounceError, AnnounceReply, AnnounceRequest};
pub use feed::TrackerThreads;
#[cfg(feature = "https")]
pub use tls::Roots;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, iter};

use crossbeam_channel::{Receiver, Sender};

use crate::bus::{Clock, SystemClock, spawn};
use crate::proto::tracker::{Access, AnnounceEvent, Announced, Scheme};
use deadline::Deadline;
use http::HttpClient;
use look_up::LookUp;
use queue::{Job, Queue};
use udp::UdpClient;

/// How a [`TrackerPool`] works.
#[derive(Clone, Debug)]
pub struct TrackerOptions {
    /// Threads; at least 1. Each hung tracker occupies one.
    pub threads: usize,
    /// Time for one announce, from name look-up to the last byte, redirects included.
    pub timeout: Duration,
    /// HTTP `User-Agent`.
    pub user_agent: String,
    /// Certificates that HTTPS trackers are checked against.
    #[cfg(feature = "https")]
    pub roots: Roots,
    /// Ask trackers on this machine also when it was a torrent that named them.
    pub allow_loopback: bool,
}

impl Default for TrackerOptions {
    fn default() -> Self {
        Self {
            threads: 3,
            timeout: Duration::from_secs(20),
            user_agent: concat!("bitween/", env!("CARGO_PKG_VERSION")).into(),
            #[cfg(feature = "https")]
            roots: Roots::System,
            allow_loopback: false,
        }
    }
}

/// Receives every outcome, on a thread of the pool. Should be short, and must not call [`TrackerPool::stop`].
pub type Deliver = Arc<dyn Fn(AnnounceReply) + Send + Sync>;

/// The threads that announce. Stopped by [`stop`](Self::stop) or by dropping it.
pub struct TrackerPool {
    worker: Arc<Worker>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Threads that are started when there is something to do.
    more: AtomicUsize,
    /// Nothing is ever sent: each thread holds a sender, so this tells when the last one has ended.
    ended: Receiver<()>,
    alive: Mutex<Option<Sender<()>>>,
}

impl TrackerPool {
    /// Starts the first thread. The others come with the first announce: many people have no tracker.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start(options: TrackerOptions, deliver: Deliver) -> io::Result<Self> {
        let (alive, ended) = crossbeam_channel::bounded(0);
        let look_up = LookUp::default();
        let worker = Arc::new(Worker {
            queue: Queue::new(MAX_QUEUED),
            stop_by: Arc::default(),
            timeout: options.timeout,
            allow_loopback: options.allow_loopback,
            http: HttpClient::new(
                options.user_agent,
                look_up.clone(),
                #[cfg(feature = "https")]
                tls::Tls::new(options.roots),
            ),
            udp: UdpClient::new(look_up.clone()),
            look_up,
            deliver,
        });
        let more = AtomicUsize::new(options.threads.max(1) - 1);
        let pool = Self { worker, threads: Mutex::default(), more, ended, alive: Mutex::new(Some(alive)) };
        pool.spawn("tracker-0".to_owned(), Worker::serve)?;
        Ok(pool)
    }

    /// Queues an announce; its outcome goes to the function given at the start.
    ///
    /// # Errors
    /// [`AnnounceError::Url`], [`AnnounceError::Busy`] or [`AnnounceError::Stopped`]; nothing is delivered then.
    pub fn submit(&self, request: AnnounceRequest) -> Result<(), AnnounceError> {
        self.worker.queue.push(Job::new(request)?)?;
        for number in 1..=self.more.swap(0, Ordering::Relaxed) {
            if let Err(error) = self.spawn(format!("tracker-{number}"), Worker::serve) {
                log::warn!("fewer trackers are asked at the same time: {error}");
            }
        }
        Ok(())
    }

    /// Ends all threads, in less than two seconds whatever the trackers do.
    ///
    /// Announces of `stopped` that were submitted before are still made as far as [`FAREWELL_TIME`] allows, all others
    /// are dropped or broken off. Only a name look-up cannot be broken off: its thread is left behind, with a line in the
    /// log, and ends by itself without delivering anything.
    pub fn stop(&self) {
        let stop_by = SystemClock.now() + FAREWELL_TIME;
        if self.worker.stop_by.set(stop_by).is_err() {
            return; // stopped before
        }
        let farewells = self.worker.queue.close();
        for number in 0..farewells.min(MAX_FAREWELL_THREADS) {
            if let Err(error) = self.spawn(format!("tracker-bye-{number}"), Worker::say_goodbye) {
                log::warn!("cannot tell all trackers that we leave: {error}");
                break;
            }
        }
        self.lock_alive().take();
        // An error tells how the waiting ended: all gone, or time up.
        let _ = self.ended.recv_deadline(stop_by + GRACE);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let all_ended = matches!(self.ended.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected));
        for thread in threads {
            if all_ended || thread.is_finished() {
                // Its panic, if any, was reported by the hook already.
                let _ = thread.join();
            } else {
                log::warn!("a tracker thread does not end; it is left behind");
            }
        }
        match self.worker.look_up.under_way() {
            0 => {}
            count => log::info!("{count} name look-ups of trackers hang; their threads are left behind"),
        }
    }

    fn spawn(&self, name: String, run: fn(&Worker)) -> io::Result<()> {
        let worker = self.worker.clone();
        let alive = self.lock_alive().clone();
        let thread = spawn(name, move || {
            run(&worker);
            drop(alive);
        })?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    fn lock_alive(&self) -> std::sync::MutexGuard<'_, Option<Sender<()>>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TrackerPool {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the threads share.
struct Worker {
    queue: Queue,
    /// Set when stopping: when the last good-bye must be over.
    stop_by: Arc<OnceLock<Instant>>,
    timeout: Duration,
    allow_loopback: bool,
    look_up: LookUp,
    http: HttpClient,
    udp: UdpClient,
    deliver: Deliver,
}

impl Worker {
    fn serve(&self) {
        while let Some(job) = self.queue.take() {
            self.handle(&job);
        }
    }

    fn say_goodbye(&self) {
        while let Some(job) = self.queue.take_farewell() {
            if self.deadline(&job).left().is_err() {
                break;
            }
            self.handle(&job);
        }
    }

    fn handle(&self, job: &Job) {
        let result = catch_unwind(AssertUnwindSafe(|| self.announce(job))).unwrap_or(Err(AnnounceError::Panicked));
        let origin = &job.origin;
        // They were not tried; what kept this one from succeeding is the reason.
        let companions = match &result {
            Err(error) if error.concerns_host() => self.queue.release_and_drain(origin),
            _ => {
                self.queue.release(origin);
                VecDeque::new()
            }
        };
        match &result {
            Ok(reply) => debug!("{}: {origin}: {} peers", job.request.announce.info_hash, reply.peers.len()),
            Err(error) => debug!("{}: {origin}: {error}", job.request.announce.info_hash),
        }
        if self.stop_by.get().is_some_and(|stop_by| SystemClock.now() > *stop_by + GRACE) {
            return; // a late one: stop() has returned
        }
        for job in iter::once(job).chain(&companions) {
            let AnnounceRequest { torrent, url, announce, .. } = &job.request;
            let (url, event) = (url.clone(), announce.event);
            (self.deliver)(AnnounceReply { torrent: *torrent, url, event, result: result.clone() });
        }
    }

    fn announce(&self, job: &Job) -> Result<Announced, AnnounceError> {
        let AnnounceRequest { url, announce, named_by, .. } = &job.request;
        let deadline = self.deadline(job);
        let access = Access { named_by: *named_by, allow_loopback: self.allow_loopback };
        match job.url.scheme() {
            Scheme::Https if cfg!(not(feature = "https")) => Err(AnnounceError::NoHttps),
            Scheme::Http | Scheme::Https => self.http.announce(url, announce, access, &deadline),
            Scheme::Udp => self.udp.announce(&job.url, announce, access, &deadline),
        }
    }

    /// The limit of an announce that begins now.
    fn deadline(&self, job: &Job) -> Deadline {
        let farewell = job.request.announce.event == Some(AnnounceEvent::Stopped);
        Deadline::new(SystemClock.now() + self.timeout, farewell, Arc::clone(&self.stop_by))
    }
}

/// Announces that may wait. Enough for everything a large seed box starts with.
pub const MAX_QUEUED: usize = 20_000;
/// Longest reply that is read, in bytes, after decompression. 2,000 peers take 36,000.
pub const MAX_REPLY_LEN: u64 = 1 << 20;
/// Time for saying good-bye to all trackers.
pub const FAREWELL_TIME: Duration = Duration::from_millis(1_500);
/// From the end of [`FAREWELL_TIME`] to the end of [`TrackerPool::stop`]: for threads to notice.
const GRACE: Duration = Duration::from_millis(300);
/// Trackers that are said good-bye to at the same time.
const MAX_FAREWELL_THREADS: usize = 8;

#[cfg(test)]
mod tests;
