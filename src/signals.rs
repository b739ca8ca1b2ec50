//! SIGINT, SIGTERM and SIGHUP: the first one stops the program in order, a later one ends the process at once.
//!
//! The handler only writes a byte to a socket; the thread `signals` reads it and says so. Signals in one breath count as
//! one: `timeout` sends its signal twice, and some terminals and supervisors signal both process and group. SIGHUP, the
//! closed terminal, counts unless it is ignored: `nohup` means that the program goes on.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::bus::spawn;

use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
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
        let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
        for signal in [SIGINT, SIGTERM].into_iter().chain(hangup) {
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
        signals.thread = Some(spawn("signals", wait)?);
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

/// Was this process started with the signal ignored? As far as the system tells; otherwise it was not.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores(&status, signal)
}

/// Reads the mask of ignored signals, signal 1 being the lowest bit (proc(5), `/proc/pid/status`).
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let bit =
        u32::try_from(signal).ok().and_then(|signal| signal.checked_sub(1)).and_then(|bit| 1_u64.checked_shl(bit));
    bit.is_some_and(|bit| mask & bit != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let status = "Name:\tx\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\n";
        assert!(ignores(status, SIGHUP) && ignores(status, 13));
        assert!(!ignores(status, SIGINT) && !ignores("", SIGHUP) && !ignores("SigIgn:\tzz", SIGHUP));
    }
}
