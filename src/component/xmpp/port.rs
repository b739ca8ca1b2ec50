//! How other threads reach the XMPP thread: the poll it sleeps on, and a handle to wake, stop and feed it.
//!
//! A [`Port`] belongs to the XMPP thread and outlives its connections, so a bus subscription can be given one wake hook
//! for good. Stanzas handed in while no connection is open are refused: they would belong to a stream that is gone.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use mio::{Events, Poll, Token, Waker};
use thiserror::Error;

/// Stanzas that may wait for the XMPP thread. It empties the queue whenever it is awake, so this is plenty.
const QUEUE_LEN: usize = 1024;

const WAKE: Token = Token(0);
pub(super) const SOCKET: Token = Token(1);

/// Why a stanza was not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// No connection is open.
    #[error("not connected to the XMPP server")]
    NotConnected,
    /// The server reads too slowly, and enough is waiting already.
    #[error("too many stanzas wait for the XMPP server")]
    Full,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// [`Handle::wake`] was called.
    Woken,
    /// [`Handle::stop`] was called, now or earlier.
    Stopped,
    /// The time is over.
    Timeout,
}

#[derive(Debug)]
struct Shared {
    waker: Waker,
    woken: AtomicBool,
    stopped: AtomicBool,
    interrupted: AtomicBool,
    open: AtomicBool,
}

/// The XMPP thread's end.
#[derive(Debug)]
pub struct Port {
    poll: Poll,
    events: Events,
    patience: Option<Instant>,
    shared: Arc<Shared>,
    queue: Receiver<Vec<u8>>,
    sender: Sender<Vec<u8>>,
}

/// The other threads' end. Cheap to clone; calls never block.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    sender: Sender<Vec<u8>>,
}

impl Handle {
    /// Makes the XMPP thread return from whatever it waits for, with [`Wake::Woken`] or its like. Calls merge until the
    /// thread has noticed; a call while it is busy is not lost.
    pub fn wake(&self) {
        if !self.shared.woken.swap(true, Ordering::AcqRel) {
            self.rouse();
        }
    }

    /// Like [`Handle::wake`], and an attempt to connect is given up: what is to be done now may not wait for it.
    pub fn interrupt(&self) {
        self.shared.interrupted.store(true, Ordering::Release);
        self.shared.woken.store(true, Ordering::Release);
        self.rouse();
    }

    /// Tells the XMPP thread to end: every wait returns at once from now on.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.rouse();
    }

    /// Hands over one whole, serialised stanza.
    ///
    /// # Errors
    /// [`SendError`]; nothing was taken then. Stanzas taken are lost if the connection breaks before they are sent.
    pub fn send(&self, stanza: Vec<u8>) -> Result<(), SendError> {
        if !self.shared.open.load(Ordering::Acquire) {
            return Err(SendError::NotConnected);
        }
        match self.sender.try_send(stanza) {
            Ok(()) => {
                self.rouse();
                Ok(())
            }
            Err(TrySendError::Full(_)) => Err(SendError::Full),
            Err(TrySendError::Disconnected(_)) => Err(SendError::NotConnected),
        }
    }

    fn rouse(&self) {
        if let Err(error) = self.shared.waker.wake() {
            log::error!(target: "bitween::xmpp", "cannot wake the XMPP thread: {error}");
        }
    }
}

impl Port {
    /// A port without a connection.
    ///
    /// # Errors
    /// If the system has no file descriptors left.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let flag = || AtomicBool::new(false);
        let shared = Arc::new(Shared { waker, woken: flag(), stopped: flag(), interrupted: flag(), open: flag() });
        let (sender, queue) = bounded(QUEUE_LEN);
        Ok(Self { poll, events: Events::with_capacity(8), patience: None, shared, queue, sender })
    }

    /// A handle for another thread.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared), sender: self.sender.clone() }
    }

    /// Sleeps between two connections until woken, stopped, or `pause` is over.
    ///
    /// # Errors
    /// If polling fails, which nothing can mend.
    pub fn wait(&mut self, pause: Duration) -> io::Result<Wake> {
        let until = now() + pause;
        loop {
            if self.is_stopped() {
                return Ok(Wake::Stopped);
            }
            if self.take_woken() {
                return Ok(Wake::Woken);
            }
            if now() >= until {
                return Ok(Wake::Timeout);
            }
            self.poll_until(until)?;
        }
    }

    /// Whether [`Handle::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Acquire)
    }

    /// Forgets interruptions so far; to be called before looking what they were about.
    pub(super) fn go_on(&self) {
        self.shared.interrupted.store(false, Ordering::Release);
    }

    /// From this time on attempts to connect are given up, as if they were interrupted then.
    pub(super) fn set_patience(&mut self, until: Option<Instant>) {
        self.patience = until;
    }

    /// Whether an attempt to connect is to be given up.
    pub(super) fn is_interrupted(&self) -> bool {
        self.is_stopped()
            || self.shared.interrupted.load(Ordering::Acquire)
            || self.patience.is_some_and(|until| until <= now())
    }

    pub(super) fn take_woken(&self) -> bool {
        self.shared.woken.swap(false, Ordering::AcqRel)
    }

    /// Opens or closes the queue for stanzas. What an earlier connection left in it is thrown away.
    pub(super) fn set_open(&self, open: bool) {
        if open {
            while self.queue.try_recv().is_ok() {}
        }
        self.shared.open.store(open, Ordering::Release);
    }

    pub(super) fn queued(&self) -> Option<Vec<u8>> {
        self.queue.try_recv().ok()
    }

    pub(super) fn registry(&self) -> &mio::Registry {
        self.poll.registry()
    }

    /// Sleeps until something happens on the socket or the handle, at most until `until`.
    pub(super) fn poll_until(&mut self, until: Instant) -> io::Result<()> {
        // An end of patience that has passed was told already.
        let until = self.patience.filter(|patience| *patience > now()).map_or(until, |patience| patience.min(until));
        let timeout = until.saturating_duration_since(now());
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }
}

/// The clock of the XMPP thread; everything below it takes the time as an argument.
#[allow(clippy::disallowed_methods, reason = "a component is where real time comes in")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// The time since the machine was started: without its sleep, and with it.
#[cfg(target_os = "linux")]
pub(super) fn clocks() -> (Duration, Duration) {
    use rustix::time::{ClockId, clock_gettime};
    let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
    (read(ClockId::Monotonic), read(ClockId::Boottime))
}

/// No other system tells both: a sleep is noticed by the server's silence.
#[cfg(not(target_os = "linux"))]
pub(super) const fn clocks() -> (Duration, Duration) {
    (Duration::ZERO, Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn waits_end_by_wake_stop_and_time() {
        let mut port = Port::new().unwrap();
        let handle = port.handle();
        assert_eq!(port.wait(Duration::from_millis(1)).unwrap(), Wake::Timeout);
        handle.wake();
        handle.wake();
        assert_eq!(port.wait(Duration::from_secs(60)).unwrap(), Wake::Woken);
        assert_eq!(port.wait(Duration::from_millis(1)).unwrap(), Wake::Timeout, "wakes merge");
        let waker = thread::spawn({
            let handle = handle.clone();
            move || {
                thread::sleep(Duration::from_millis(20));
                handle.stop();
            }
        });
        assert_eq!(port.wait(Duration::from_secs(60)).unwrap(), Wake::Stopped);
        handle.wake();
        assert_eq!(port.wait(Duration::from_secs(60)).unwrap(), Wake::Stopped, "stopped is for good");
        waker.join().unwrap();
    }

    #[test]
    fn interruptions_wake_and_end_attempts_until_they_are_looked_at() {
        let mut port = Port::new().unwrap();
        port.handle().interrupt();
        assert!(port.is_interrupted() && !port.is_stopped());
        assert_eq!(port.wait(Duration::from_secs(60)).unwrap(), Wake::Woken);
        port.go_on();
        assert!(!port.is_interrupted());
        port.handle().stop();
        port.go_on();
        assert!(port.is_interrupted(), "stopped is for good");
    }

    #[test]
    fn the_end_of_patience_is_an_interruption() {
        let mut port = Port::new().unwrap();
        port.set_patience(Some(now() + Duration::from_millis(30)));
        assert!(!port.is_interrupted());
        port.poll_until(now() + Duration::from_secs(60)).unwrap();
        std::thread::sleep(Duration::from_millis(1));
        assert!(port.is_interrupted() && !port.is_stopped());
        port.set_patience(None);
        assert!(!port.is_interrupted());
    }

    #[test]
    fn stanzas_are_taken_only_while_a_connection_is_open() {
        let port = Port::new().unwrap();
        let handle = port.handle();
        assert_eq!(handle.send(b"<a/>".to_vec()), Err(SendError::NotConnected));
        port.set_open(true);
        for _ in 0..QUEUE_LEN {
            handle.send(b"<a/>".to_vec()).unwrap();
        }
        assert_eq!(handle.send(b"<a/>".to_vec()), Err(SendError::Full));
        port.set_open(false);
        port.set_open(true);
        assert_eq!(port.queued(), None, "left from the connection before");
    }
}
