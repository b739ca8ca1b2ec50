//! The components of a running daemon: started in order, looked after, stopped in order.
//!
//! They know each other only through the bus and the snapshots, which are made here and outlive every one of them; so
//! one that has ended can be started anew without the others' noticing more than a pause.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use crate::bus::{Clock, Scheduler, SystemClock, spawn};
use crate::component::ask::ask;
use crate::component::event::{Account, Bus, ControlError, Event};
use crate::component::library::LibraryThread;
use crate::component::rpc::{RpcServer, ServerOptions};
use crate::component::snapshot::{Contacts, Published, Torrents};
use crate::config::Config;
use crate::node::Engine;
use crate::types::AccountKey;

use super::control::{DaemonControl, Problems};
use super::error::DaemonError;
use super::restarts::Restarts;
use super::{options, remembered, xmpp};

/// How often the supervisor looks whether everything still runs.
const HEALTH_EVERY: Duration = Duration::from_secs(1);
/// How long the start waits for the listed torrents to be there again. What is slower comes while the daemon runs.
const RESTORE_PATIENCE: Duration = Duration::from_secs(20);

/// How long each part may take to stop. The sum is what a daemon whose every thread hangs needs.
const RPC_LIMIT: Duration = Duration::from_millis(1500);
const XMPP_LIMIT: Duration = Duration::from_secs(5);
const LIBRARY_LIMIT: Duration = Duration::from_secs(2);
const ENGINE_LIMIT: Duration = Duration::from_secs(7);
/// All together; who comes later gets what is left, but never nothing.
const TOTAL_LIMIT: Duration = Duration::from_millis(9500);
const LEAST_LIMIT: Duration = Duration::from_millis(200);

const ENGINE: &str = "the BitTorrent engine";
const LIBRARY: &str = "the list of torrents";
const XMPP: &str = "XMPP";
const RPC: &str = "the interface";

pub(super) struct Parts {
    config: Arc<Config>,
    pub(super) bus: Bus,
    pub(super) contacts: Published<Contacts>,
    torrents: Published<Torrents>,
    problems: Problems,
    restarts: Restarts,
    scheduler: Scheduler<Event>,
    control: Arc<DaemonControl>,
    rpc_options: ServerOptions,
    engine: Option<Engine>,
    library: Option<LibraryThread>,
    rpc: Option<RpcServer>,
    xmpp: Option<xmpp::Contacting>,
}

impl Parts {
    /// Starts everything. On an error what runs already is stopped again.
    pub(super) fn start(config: Arc<Config>, bus: Bus) -> Result<Self, DaemonError> {
        let accounts = xmpp::accounts(&config)?;
        let rpc_options = options::rpc(&config)?;
        let scheduler =
            Scheduler::start(bus.clone(), Arc::new(SystemClock)).map_err(DaemonError::system("the scheduler"))?;
        let (contacts, torrents) = (Published::default(), Published::default());
        let problems = Problems::default();
        let control = Arc::new(DaemonControl::new(
            Arc::clone(&config),
            bus.clone(),
            contacts.clone(),
            torrents.clone(),
            problems.clone(),
        ));
        let restarts = Restarts::default();
        let (engine, library, rpc, xmpp) = (None, None, None, None);
        let mut parts = Self {
            config,
            bus,
            contacts,
            torrents,
            problems,
            restarts,
            scheduler,
            control,
            rpc_options,
            engine,
            library,
            rpc,
            xmpp,
        };
        parts.start_engine()?;
        parts.start_library()?;
        parts.start_rpc()?;
        parts.start_xmpp(accounts)?;
        parts.scheduler.every(HEALTH_EVERY, Event::Health);
        Ok(parts)
    }

    /// The interface's address, as clients are told.
    pub(super) fn api_url(&self) -> String {
        let mut address = self.rpc.as_ref().map_or(self.rpc_options.bind, RpcServer::address);
        if address.ip().is_unspecified() {
            // Listening on all addresses includes this one.
            address.set_ip(match address.ip() {
                std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("http://{address}")
    }

    /// The BitTorrent port.
    pub(super) fn port(&self) -> u16 {
        self.engine.as_ref().map_or(0, Engine::port)
    }

    /// What whoever has no account may want to know: a line, beginning with a line break, or nothing.
    pub(super) fn hint(&self) -> String {
        let contacts = self.contacts.read();
        match &contacts.local {
            Some(local) if contacts.accounts.is_empty() => format!(
                "\nneighbours in this network see it as {}, on port {}: `bitween contacts` lists them; \
                 `bitween account set you@example.org` adds an XMPP account",
                local.name, local.port
            ),
            _ => String::new(),
        }
    }

    fn start_engine(&mut self) -> Result<(), DaemonError> {
        let (bus, contacts, torrents) = (self.bus.clone(), self.contacts.clone(), self.torrents.clone());
        let engine = Engine::start_on(options::bittorrent(&self.config), bus, contacts, torrents)?;
        remembered::keep_port(&self.config.data_dir, engine.port());
        self.engine = Some(engine);
        Ok(())
    }

    fn start_library(&mut self) -> Result<(), DaemonError> {
        let list = self.config.data_dir.join(options::LIST_FILE);
        let download_dir = self.config.download_dir.clone();
        let (contacts, torrents) = (self.contacts.clone(), self.torrents.clone());
        self.library = Some(LibraryThread::start(&list, download_dir, self.bus.clone(), contacts, torrents)?);
        // It answers after it has added all that is listed: clients never see half a list.
        if ask(&self.bus, LIBRARY, RESTORE_PATIENCE, |reply| Event::SyncLibrary { reply }).is_err() {
            log::warn!("the listed torrents are still being added");
        }
        Ok(())
    }

    fn start_rpc(&mut self) -> Result<(), DaemonError> {
        let server = RpcServer::start(self.rpc_options.clone(), self.control.clone())?;
        // Started anew, it must be where clients look for it.
        self.rpc_options.bind = server.address();
        self.rpc = Some(server);
        Ok(())
    }

    fn start_xmpp(&mut self, accounts: Vec<Arc<Account>>) -> Result<(), DaemonError> {
        let (bus, contacts, torrents) = (&self.bus, &self.contacts, &self.torrents);
        self.xmpp = Some(xmpp::Contacting::start(&self.config, accounts, bus, contacts, torrents)?);
        Ok(())
    }

    /// A place for one more account.
    pub(super) fn place_account(&mut self) -> Result<AccountKey, ControlError> {
        let stopping = || ControlError::Refused("bitween is stopping".to_owned());
        self.xmpp.as_mut().ok_or_else(stopping)?.place_account()
    }

    /// Looks whether every component runs, and starts anew what does not.
    pub(super) fn heal(&mut self) -> Result<(), DaemonError> {
        if self.engine.as_ref().is_some_and(|engine| !engine.is_running()) {
            self.note_restart(ENGINE)?;
            // The list is what fills a fresh engine.
            stop_within(LIBRARY, LIBRARY_LIMIT, self.library.take(), LibraryThread::stop);
            stop_within(ENGINE, ENGINE_LIMIT, self.engine.take(), Engine::stop);
            self.start_engine()?;
            self.start_library()?;
        }
        if self.library.as_ref().is_some_and(|library| !library.is_running()) {
            self.note_restart(LIBRARY)?;
            stop_within(LIBRARY, LIBRARY_LIMIT, self.library.take(), LibraryThread::stop);
            self.start_library()?;
        }
        if self.rpc.as_ref().is_some_and(|rpc| !rpc.is_running()) {
            self.note_restart(RPC)?;
            stop_within(RPC, RPC_LIMIT, self.rpc.take(), RpcServer::stop);
            self.start_rpc()?;
        }
        if self.xmpp.as_ref().is_some_and(|xmpp| !xmpp.is_running()) {
            self.note_restart(XMPP)?;
            let accounts = || xmpp::accounts(&self.config);
            if !self.xmpp.as_mut().map_or(Ok(true), |xmpp| xmpp.mend(accounts))? {
                // What was known of all contacts is lost; every account asks anew.
                stop_within(XMPP, XMPP_LIMIT, self.xmpp.take(), xmpp::Contacting::stop);
                self.start_xmpp(xmpp::accounts(&self.config)?)?;
            }
        }
        Ok(())
    }

    /// Puts another XMPP thread in the place of the first one that runs.
    #[cfg(all(test, feature = "xmpp"))]
    pub(super) fn replace_xmpp(&mut self, thread: crate::component::xmpp::XmppThread) {
        if let Some(xmpp) = &mut self.xmpp {
            xmpp.replace_first(thread);
        }
    }

    /// How many restarts the last ten minutes saw.
    #[cfg(test)]
    pub(super) fn restarted(&self) -> usize {
        self.restarts.count()
    }

    fn note_restart(&mut self, what: &'static str) -> Result<(), DaemonError> {
        log::error!("{what} ended unexpectedly");
        self.restarts.may_restart(what, SystemClock.now()).map_err(|times| DaemonError::Unstable { what, times })?;
        log::warn!("starting {what} anew");
        self.problems.add(format!("{what} ended unexpectedly and was started anew; the log says more"));
        Ok(())
    }

    /// Stops everything: no new calls, goodbye to contacts, the list written, trackers told and resume data written.
    pub(super) fn stop(&mut self) {
        let end = SystemClock.now() + TOTAL_LIMIT;
        let limit = |most: Duration| most.min(left_until(end)).max(LEAST_LIMIT);
        self.control.refuse_calls();
        stop_within(RPC, limit(RPC_LIMIT), self.rpc.take(), RpcServer::stop);
        stop_within(XMPP, limit(XMPP_LIMIT), self.xmpp.take(), xmpp::Contacting::stop);
        stop_within(LIBRARY, limit(LIBRARY_LIMIT), self.library.take(), LibraryThread::stop);
        stop_within(ENGINE, limit(ENGINE_LIMIT), self.engine.take(), Engine::stop);
        self.scheduler.stop();
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.stop();
    }
}

fn left_until(end: Instant) -> Duration {
    end.saturating_duration_since(SystemClock.now())
}

/// Stops a component on a thread of its own. One that takes longer than `limit` is left behind: the process ends
/// anyway, and the others still have something to write.
fn stop_within<T: Send + 'static>(what: &'static str, limit: Duration, part: Option<T>, stop: fn(&mut T)) {
    if let Some(mut part) = part {
        wait_for(what, limit, Box::new(move || stop(&mut part)));
    }
}

fn wait_for(what: &'static str, limit: Duration, stop: Box<dyn FnOnce() + Send>) {
    let (done, stopped) = bounded::<()>(0);
    let work = move || {
        stop();
        drop(done);
    };
    let Ok(thread) = spawn("stopper", work) else {
        // The closure went with the attempt, and with it the component: dropping stops it too.
        return;
    };
    // Nothing is ever sent: this waits for the other end to go, at most the time given.
    match stopped.recv_timeout(limit) {
        Err(crossbeam_channel::RecvTimeoutError::Timeout) => {
            log::error!("{what} does not stop within {} s and is left behind", limit.as_secs_f32());
        }
        _ => drop(thread.join()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_part_that_hangs_is_left_behind_in_time() {
        let start = Instant::now();
        stop_within("a test", Duration::from_millis(50), Some(()), |()| std::thread::sleep(Duration::from_secs(5)));
        assert!(start.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn a_part_is_stopped_once_before_the_next_step() {
        let (sender, receiver) = bounded(1);
        stop_within("a test", Duration::from_secs(10), Some(sender), |sender| sender.send(7).unwrap());
        assert_eq!(receiver.try_recv(), Ok(7));
    }
}
