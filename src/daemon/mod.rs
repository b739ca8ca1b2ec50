//! The supervisor: start order, signals, restart of what ended unexpectedly, stop order (layer 5).
//!
//! [`Daemon`] is the whole program for somebody who embeds it; [`run`] is what `bitween daemon` does: the same, with
//! signals and a line on standard output. `control` answers the JSON-RPC interface. The supervisor itself has no
//! thread: it runs in [`Daemon::wait`], and hears of signals, `Api.exit` and its own clock over the bus.

mod control;
mod convert;
pub(crate) mod core_dumps;
mod error;
mod faults;
mod jobs;
#[cfg(feature = "local")]
mod local;
mod notify;
mod options;
mod parts;
mod remembered;
mod restarts;
#[cfg(test)]
mod tests;
mod xmpp;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use crate::bus::{RecvError, Subscriber};
use crate::component::event::{Bus, Event, Topic};
use crate::config::{Config, DaemonFile, DataDirLock};
use crate::signals::Signals;

pub use error::DaemonError;
use notify::Notify;
use parts::Parts;
#[cfg(all(feature = "cli", feature = "xmpp"))]
pub(crate) use xmpp::{forget_logins, try_login};
#[cfg(feature = "cli")]
pub(crate) use {options::databases, remembered::last_port};

/// Looks after the components even if the scheduler, which usually tells the time, is gone.
const LOOK_ANYWAY: Duration = Duration::from_secs(10);

/// A running daemon: BitTorrent, the list of torrents, XMPP if there is an account, and the JSON-RPC interface.
///
/// Dropping it stops it in order.
pub struct Daemon {
    // Dropped in this order: the folder is given up last.
    parts: Parts,
    inbox: Subscriber<Event>,
    notify: Notify,
    _note: Note,
    _lock: DataDirLock,
}

impl Daemon {
    /// Takes the data folder and starts everything. Returns when the interface answers; logging in goes on.
    ///
    /// # Errors
    /// [`DaemonError`]; nothing is left running then.
    pub fn start(config: Config) -> Result<Self, DaemonError> {
        let lock = config.lock_data_dir()?;
        let config = Arc::new(config);
        let bus = Bus::new();
        let inbox = bus.subscribe("supervisor", &[Topic::Exit, Topic::Health, Topic::Accounts], 1);
        let parts = Parts::start(Arc::clone(&config), bus)?;
        let note = Note::leave(&config, &parts.api_url())?;
        Ok(Self { parts, inbox, notify: Notify::default(), _note: note, _lock: lock })
    }

    /// Where the JSON-RPC interface is, such as `http://127.0.0.1:5000`; the calls go to `/api` there.
    #[must_use]
    pub fn api_url(&self) -> String {
        self.parts.api_url()
    }

    /// The port on which BitTorrent peers can connect.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.parts.port()
    }

    /// The bus its threads talk over; publishing [`Event::Exit`] there ends [`wait`](Self::wait).
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.parts.bus
    }

    /// Looks after the components until `Api.exit` or [`Event::Exit`], then stops everything in order.
    ///
    /// # Errors
    /// [`DaemonError::Unstable`] if a component ends again and again, or why one could not be started anew.
    pub fn wait(mut self) -> Result<(), DaemonError> {
        let outcome = self.supervise();
        self.stop();
        outcome
    }

    /// Stops everything in order: the interface, XMPP, the list, BitTorrent. Takes under five seconds, ten if a server
    /// hangs.
    pub fn stop(mut self) {
        log::info!("stopping");
        self.notify.stopping();
        self.parts.stop();
        log::info!("stopped");
    }

    fn supervise(&mut self) -> Result<(), DaemonError> {
        let patience = self.notify.patience(LOOK_ANYWAY);
        loop {
            self.notify.alive();
            match self.inbox.recv_timeout(patience) {
                Ok(Event::Exit) | Err(RecvError::Closed) => return Ok(()),
                Ok(Event::PlaceAccount { reply }) => {
                    reply.send(self.parts.place_account());
                }
                _ => self.parts.heal()?,
            }
        }
    }
}

/// Runs the daemon until it is told to stop, by SIGINT, SIGTERM or `Api.exit`.
///
/// # Errors
/// [`DaemonError`].
pub fn run(config: Config) -> Result<(), DaemonError> {
    core_dumps::forbid();
    let mut daemon = Daemon::start(config)?;
    let bus = daemon.bus().clone();
    let exit = move || {
        log::info!("stopping; a second signal ends it at once");
        let _ = bus.publish(Event::Exit);
    };
    let _signals = Signals::listen(exit).map_err(DaemonError::system("listening to signals"))?;
    let serves = format!("API {}, BitTorrent port {}", daemon.api_url(), daemon.port());
    daemon.notify = Notify::from_environment();
    daemon.notify.ready(&serves);
    let hint = daemon.parts.hint();
    // Whoever started it may have closed the other end.
    let _ = writeln!(std::io::stdout(), "bitween is ready: {serves}{hint}");
    daemon.wait()
}

/// The note for clients in the data folder; it is gone when the daemon is.
struct Note {
    config: Arc<Config>,
}

impl Note {
    fn leave(config: &Arc<Config>, api_url: &str) -> Result<Self, DaemonError> {
        let note = DaemonFile {
            pid: std::process::id(),
            api_url: api_url.to_owned(),
            token_file: config.api.token_file.clone(),
        };
        note.write(&config.data_dir)?;
        Ok(Self { config: Arc::clone(config) })
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        DaemonFile::remove(&self.config.data_dir);
    }
}
