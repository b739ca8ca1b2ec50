//! The daemon as the JSON-RPC interface sees it: every call becomes a command on the bus or a look at a snapshot.
//!
//! Runs on the interface's worker threads, several at once. What changes the list of torrents is answered after it is
//! written down, so that nothing is lost however the daemon ends afterwards.

mod access;
mod account;
mod contacts;
mod details;
mod metrics;
mod settings;
mod torrents;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::bus::{Clock, Reply, SystemClock};
use crate::component::ask::ask;
use crate::component::event::{self, Bus, Event, TorrentControl};
use crate::component::rpc::types::{
    Account, Accounts, Added, Contacts, DaemonStatus, Memory, Peers, ResourceShares, ShareEntry, ShareJob,
    ShareProgress, Torrent, TorrentStatus,
};
use crate::component::rpc::{
    AddTorrent, CALL_TIMEOUT, ContactChange, Control, ControlError, ErrorCode, HashScope, List, Members, NewAccount,
    NewContact, Paged,
};
use crate::component::snapshot::{self, Published};
use crate::config::Config;
use crate::share::{Page, Reach};
use crate::types::InfoHash;

use super::convert;
use super::faults::{from_component, readable};
use super::jobs::Jobs;

/// Problems remembered for the user.
const MAX_PROBLEMS: usize = 10;

/// What a person should know of the daemon's own troubles, newest last. Shared with the supervisor, which adds to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Problems(Arc<Mutex<Vec<String>>>);

impl Problems {
    pub(super) fn add(&self, problem: String) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|known| *known != problem);
        if list.len() >= MAX_PROBLEMS {
            list.remove(0);
        }
        list.push(problem);
    }

    fn list(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// [`Control`] over the bus and the snapshots.
pub(super) struct DaemonControl {
    config: Arc<Config>,
    bus: Bus,
    contacts: Published<snapshot::Contacts>,
    torrents: Published<snapshot::Torrents>,
    problems: Problems,
    jobs: Jobs,
    started: Instant,
    stopping: AtomicBool,
    /// One change of the account at a time: the file and the connection must not end up with different ones.
    account_change: Mutex<()>,
}

impl DaemonControl {
    pub(super) fn new(
        config: Arc<Config>,
        bus: Bus,
        contacts: Published<snapshot::Contacts>,
        torrents: Published<snapshot::Torrents>,
        problems: Problems,
    ) -> Self {
        Self {
            config,
            bus,
            contacts,
            torrents,
            problems,
            jobs: Jobs::default(),
            started: SystemClock.now(),
            stopping: AtomicBool::new(false),
            account_change: Mutex::new(()),
        }
    }

    /// From now on calls are answered with [`ErrorCode::Stopping`].
    pub(super) fn refuse_calls(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn check_running(&self) -> Result<(), ControlError> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(ControlError::new(ErrorCode::Stopping, "the daemon is stopping"));
        }
        Ok(())
    }

    /// Sends a command and waits for its answer.
    fn ask<T>(
        &self,
        who: &'static str,
        build: impl FnOnce(Reply<Result<T, event::ControlError>>) -> Event,
    ) -> Result<T, ControlError> {
        self.check_running()?;
        ask(&self.bus, who, CALL_TIMEOUT, build).map_err(from_component)
    }

    /// Looks at who can be reached.
    fn with_reach<T>(&self, look: impl FnOnce(&Reach<'_>) -> T) -> T {
        look(&convert::reach(&self.contacts.read(), &self.torrents.read(), SystemClock.now()))
    }

    /// Waits until the list of torrents on disk holds what was done before.
    fn sync(&self) -> Result<(), ControlError> {
        self.ask("the list of torrents", |reply| Event::SyncLibrary { reply })
    }
}

impl Control for DaemonControl {
    fn hashes(&self, scope: HashScope, range: &RangeInclusive<InfoHash>, most: usize) -> Vec<InfoHash> {
        self.hashes_in(scope, range, most)
    }

    fn status(&self) -> Result<DaemonStatus, ControlError> {
        let (torrents, contacts) = (self.torrents.read(), self.contacts.read());
        let sum = |rate: fn(&snapshot::TorrentStatus) -> u64| torrents.list.values().map(|status| rate(status)).sum();
        let mut problems = self.problems.list();
        problems.extend(contacts.warnings.iter().cloned());
        Ok(DaemonStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime: SystemClock.now().saturating_duration_since(self.started).as_secs(),
            data_dir: convert::path(&self.config.data_dir),
            download_dir: convert::path(&self.config.download_dir),
            port: torrents.port,
            addresses: contacts.own_addresses().map(|address| address.to_string()).collect(),
            account: self.account_status(),
            accounts: self.account_statuses().accounts,
            local: convert::local(&self.contacts.read()),
            torrents: convert::count(torrents.list.len()),
            peers: sum(|status| convert::count(status.traffic.peers)),
            download_rate: sum(|status| status.traffic.download_rate.0),
            upload_rate: sum(|status| status.traffic.upload_rate.0),
            problems,
        })
    }

    fn memory(&self) -> Result<Memory, ControlError> {
        Ok(convert::memory(&self.ask("the network thread", |reply| Event::QueryMemory { reply })?))
    }

    fn exit(&self) -> Result<(), ControlError> {
        log::info!("told to stop over the interface");
        self.refuse_calls();
        self.bus.publish(Event::Exit).map_err(|_| {
            ControlError::new(ErrorCode::Internal, "nobody supervises this daemon, so it cannot be stopped")
        })
    }

    fn torrents(&self) -> Result<List<Torrent>, ControlError> {
        Ok(List::new(convert::sorted(&self.torrents.read()), |status| convert::torrent(status)))
    }

    fn torrent_statuses(&self) -> Result<List<TorrentStatus>, ControlError> {
        let (torrents, contacts, now) = (self.torrents.read(), self.contacts.read(), SystemClock.now());
        Ok(List::new(convert::sorted(&torrents), move |status| {
            convert::torrent_status_why(status, &convert::reach(&contacts, &torrents, now))
        }))
    }

    fn torrent_status(&self, hash: InfoHash) -> Result<TorrentStatus, ControlError> {
        let status = self.own(hash)?;
        Ok(self.with_reach(|reach| convert::torrent_status_why(&status, reach)))
    }

    fn peers(&self, hash: InfoHash) -> Result<Peers, ControlError> {
        self.list_peers(hash)
    }

    fn share(&self, path: &Path) -> Result<ShareJob, ControlError> {
        self.check_running()?;
        let path = readable(path)?;
        let job = self.jobs.begin(SystemClock.now(), &path, &self.bus)?;
        Ok(ShareJob { job })
    }

    fn share_progress(&self, job: u64) -> Result<ShareProgress, ControlError> {
        self.jobs.progress(SystemClock.now(), job, &self.bus, &self.contacts.read())
    }

    fn add_torrent(&self, torrent: AddTorrent) -> Result<Added, ControlError> {
        self.add(torrent)
    }

    fn add_peer(&self, hash: InfoHash, address: SocketAddr) -> Result<(), ControlError> {
        self.own(hash)?;
        self.add_peers(hash, &[address])
    }

    fn pause(&self, hash: InfoHash) -> Result<(), ControlError> {
        self.change(hash, TorrentControl::Pause)
    }

    fn resume(&self, hash: InfoHash) -> Result<(), ControlError> {
        self.change(hash, TorrentControl::Resume)
    }

    fn remove(&self, hash: InfoHash, with_data: bool) -> Result<(), ControlError> {
        self.forget(hash, with_data)
    }

    fn contact_hashes(&self) -> Result<Members<Vec<(IpAddr, u16)>>, ControlError> {
        Ok(convert::hashes(&self.contacts.read()))
    }

    fn contact_shares(&self) -> Result<Members<BTreeMap<String, ResourceShares>>, ControlError> {
        Ok(convert::shares(&self.contacts.read()))
    }

    fn list_shares(&self, contact: Option<&str>, page: Page) -> Result<Paged<ShareEntry>, ControlError> {
        self.shares_of(contact, page)
    }

    fn search(&self, term: &str, page: Page) -> Result<Paged<ShareEntry>, ControlError> {
        Ok(self.find_shares(term, page))
    }

    fn contacts(&self) -> Result<Contacts, ControlError> {
        let contacts = self.contacts.read();
        Ok(self.with_reach(|reach| convert::contacts(&contacts, reach)))
    }

    fn add_contact(&self, new: NewContact, account: Option<&str>) -> Result<(), ControlError> {
        self.ask_contact(new, account)
    }

    fn accept_contact(&self, jid: &str, account: Option<&str>) -> Result<(), ControlError> {
        self.accept(jid, account)
    }

    fn change_contact(&self, jid: &str, change: ContactChange, account: Option<&str>) -> Result<(), ControlError> {
        self.change_person(jid, &change, account)
    }

    fn account(&self) -> Result<Account, ControlError> {
        Ok(self.account_status())
    }

    fn accounts(&self) -> Result<Accounts, ControlError> {
        Ok(self.account_statuses())
    }

    fn set_account(&self, account: NewAccount) -> Result<Account, ControlError> {
        self.use_account(account, false)
    }

    fn add_account(&self, account: NewAccount) -> Result<Account, ControlError> {
        self.use_account(account, true)
    }

    fn remove_account(&self, jid: Option<&str>) -> Result<bool, ControlError> {
        self.forget_account(jid)
    }
}
