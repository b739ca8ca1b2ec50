//! Ctrl-C, SIGTERM and a closed terminal, for commands that end what they do in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::error::CliError;
use crate::signals::Signals;

/// Hears of the first signal; the second one ends the process. Until it is dropped.
pub(super) struct Interrupt {
    flag: Arc<AtomicBool>,
    /// Nothing is ever sent: disconnected by the first signal.
    wake: Receiver<()>,
    _signals: Signals,
}

impl Interrupt {
    /// Begins to listen.
    pub(super) fn listen() -> Result<Self, CliError> {
        let flag = Arc::new(AtomicBool::new(false));
        let (awake, wake) = bounded::<()>(0);
        let interrupted = Arc::clone(&flag);
        let stop = move || {
            interrupted.store(true, Ordering::Relaxed);
            drop(awake);
        };
        let signals = Signals::listen(stop)
            .map_err(|error| CliError::failed(format_args!("cannot listen to signals: {error}")))?;
        Ok(Self { flag, wake, _signals: signals })
    }

    /// Was there a signal?
    pub(super) fn is_set(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// The same, for threads that look at it.
    pub(super) fn flag(&self) -> &AtomicBool {
        &self.flag
    }

    /// Waits for this time, or until there is a signal: then it is false.
    #[cfg_attr(not(feature = "web"), expect(dead_code, reason = "only who asks a daemon again and again sleeps"))]
    pub(super) fn sleep(&self, time: Duration) -> bool {
        self.wake.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
    }
}
