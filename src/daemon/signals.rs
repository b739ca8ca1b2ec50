//! SIGINT and SIGTERM: the first one stops the program in order, a later one ends the process at once.
//!
//! The handler only writes a byte to a socket; the thread `signals` reads it and says so. Signals in one breath count as
//! one: `timeout` sends its signal twice, and some terminals and supervisors signal both process and group.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// Exit code after a second signal.
const KILLED: i32 = 1;

/// Signals that follow each other faster than this are one.
const BREATH: Duration = Duration::from_millis(300);

/// The handlers; they are taken away when this is dropped.
pub(crate) struct Signals {
    handlers: Vec<SigId>,
    thread: Option<JoinHandle<()>>,
}

impl Signals {
    /// Calls `stop`, on a thread of its own, when the first signal comes.
    ///
    /// # Errors
    /// The system refuses the handlers, the socket pair or the thread.
    pub(crate) fn listen(stop: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (mut reader, writer) = UnixStream::pair()?;
        let deadly = Arc::new(AtomicBool::new(false));
        let mut signals = Self { handlers: Vec::new(), thread: None };
        for signal in [SIGINT, SIGTERM] {
            signals.handlers.push(flag::register_conditional_shutdown(signal, KILLED, Arc::clone(&deadly))?);
            signals.handlers.push(low_level::pipe::register(signal, writer.try_clone()?)?);
        }
        drop(writer);
        let wait = move || {
            if !matches!(reader.read(&mut [0]), Ok(1..)) {
                return;
            }
            stop();
            // Not to be had: then a second signal in the same breath counts.
            if reader.set_read_timeout(Some(BREATH)).is_ok() {
                while let Ok(count) = reader.read(&mut [0]) {
                    if count == 0 {
                        return;
                    }
                }
            }
            deadly.store(true, Ordering::Relaxed);
        };
        signals.thread = Some(std::thread::Builder::new().name("signals".to_owned()).spawn(wait)?);
        Ok(signals)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for handler in self.handlers.drain(..) {
            low_level::unregister(handler);
        }
        // The handlers held the writing ends, so the thread has read the end of the stream.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
