//! The contacts' threads as the supervisor sees them, in builds with and without XMPP: `people`, and one for each account.

use std::sync::Arc;

use crate::component::event::Account;
#[cfg(feature = "xmpp")]
pub(super) use with_xmpp::Contacting;
#[cfg(not(feature = "xmpp"))]
pub(super) use without_xmpp::Contacting;

use super::options;
use crate::config::{Config, ConfigError, PASSWORD_VARIABLE};

/// The accounts to begin with. Says in the log if there is none.
pub(super) fn accounts(config: &Config) -> Result<Vec<Arc<Account>>, ConfigError> {
    let configured = config.accounts()?;
    if configured.is_empty() {
        log::info!("no XMPP account: running without; set one with `bitween account set JID`");
    }
    let mut accounts = Vec::new();
    for configured in configured {
        match options::account(&configured, config)? {
            Some(account) => {
                log::info!("XMPP account {} (resource {})", account.jid, account.resource);
                accounts.push(account);
            }
            None => log::warn!(
                "no password for {}: running without it; give it with `bitween account set {0}`, in `password_file`, or in {PASSWORD_VARIABLE}",
                configured.jid
            ),
        }
    }
    Ok(accounts)
}

/// Forgets what earlier logins of an account taught: the user sets it anew, or takes it away, while no daemon runs.
/// What is wrong with the file where it stands is returned in words.
#[cfg(all(feature = "cli", feature = "xmpp"))]
pub(crate) fn forget_logins(config: &Config, jid: &str) -> Result<(), String> {
    crate::component::xmpp::forget_logins(&options::facts_file(config), jid).map_err(|error| error.to_string())
}

/// Logs in once with an account, as a resource of its own, so that a running daemon keeps its.
#[cfg(all(feature = "cli", feature = "xmpp"))]
pub(crate) fn try_login(
    config: &Config,
    account: &crate::config::Account,
) -> Result<crate::component::xmpp::Trial, (&'static str, String)> {
    let failed = |error: String| ("the settings", error);
    let jid = format!("{}/bitween-doctor-{:08x}", account.jid.bare(), fastrand::u32(..));
    let account = crate::config::Account { jid: jid.parse().map_err(failed)?, ..account.clone() };
    let account = options::account(&account, config).map_err(|error| failed(error.to_string()))?;
    let account = account.ok_or_else(|| failed("there is no password".to_owned()))?;
    crate::component::xmpp::try_login(&account, Some(options::facts_file(config)))
}

#[cfg(feature = "xmpp")]
mod with_xmpp {
    use std::sync::Arc;

    use super::super::error::DaemonError;
    use super::super::options;
    use crate::component::catalogs::{CatalogOptions, CatalogsThread};
    use crate::component::event::{Account, Bus, ControlError};
    use crate::component::people::PeopleThread;
    use crate::component::snapshot::{AccountStatus, Contacts, OwnCatalog, Published, Torrents};
    use crate::component::xmpp::{XmppThread, XmppThreadOptions};
    use crate::config::{Config, ConfigError};
    use crate::proto::account::is_same_account;
    use crate::types::{AccountKey, SortedMap};

    /// Accounts at the same time.
    const MAX_ACCOUNTS: usize = 16;

    /// The thread that knows all contacts, and the threads that speak to them. There is always one of the latter, so that
    /// an account can be set without starting one.
    pub(in crate::daemon) struct Contacting {
        people: PeopleThread,
        #[cfg(feature = "local")]
        local: super::super::local::Neighborhood,
        catalogs: CatalogsThread,
        catalog_options: CatalogOptions,
        own_catalog: Published<OwnCatalog>,
        accounts: SortedMap<AccountKey, XmppThread>,
        /// What every account's thread is told but the account.
        common: XmppThreadOptions,
        bus: Bus,
        contacts: Published<Contacts>,
        torrents: Published<Torrents>,
    }

    impl Contacting {
        /// Starts the threads.
        pub(in crate::daemon) fn start(
            config: &Config,
            accounts: Vec<Arc<Account>>,
            bus: &Bus,
            contacts: &Published<Contacts>,
            torrents: &Published<Torrents>,
        ) -> Result<Self, DaemonError> {
            let failed = DaemonError::system("the contacts' thread");
            let people = PeopleThread::start(&options::people(config), bus.clone(), contacts.clone(), torrents);
            let people = people.map_err(failed)?;
            let (catalog_options, own_catalog) = (options::catalogs(config), Published::default());
            let mut this = Self {
                #[cfg(feature = "local")]
                local: super::super::local::Neighborhood::start(config, bus, contacts, torrents, &own_catalog),
                people,
                catalogs: start_catalogs(&catalog_options, &own_catalog, bus, contacts, torrents)?,
                catalog_options,
                accounts: SortedMap::new(),
                common: XmppThreadOptions { catalog: Some(own_catalog.clone()), ..options::xmpp(config) },
                own_catalog,
                bus: bus.clone(),
                contacts: contacts.clone(),
                torrents: torrents.clone(),
            };
            if accounts.len() > MAX_ACCOUNTS {
                log::warn!("only the first {MAX_ACCOUNTS} of {} accounts are used", accounts.len());
            }
            // Without an account there is a thread all the same.
            let none = accounts.is_empty().then_some(None);
            let accounts = accounts.into_iter().map(Some).chain(none).take(MAX_ACCOUNTS);
            for (key, account) in AccountKey::all().zip(accounts) {
                this.start_account(key, account)?;
            }
            Ok(this)
        }

        fn start_account(&mut self, key: AccountKey, account: Option<Arc<Account>>) -> Result<(), DaemonError> {
            // One that was there before is told to stop, which its successor must not hear.
            drop(self.accounts.remove(&key));
            let options = XmppThreadOptions { key, account, ..self.common.clone() };
            let thread = XmppThread::start(options, self.bus.clone(), &self.contacts, &self.torrents);
            self.accounts.insert(key, thread.map_err(DaemonError::system("an XMPP thread"))?);
            Ok(())
        }

        /// Every thread runs.
        pub(in crate::daemon) fn is_running(&self) -> bool {
            #[cfg(feature = "local")]
            if !self.local.is_running() {
                return false;
            }
            self.people.is_running() && self.catalogs.is_running() && self.accounts.values().all(XmppThread::is_running)
        }

        /// Starts the accounts' threads anew that have ended; false if it takes more than that.
        pub(in crate::daemon) fn mend(
            &mut self,
            accounts: impl FnOnce() -> Result<Vec<Arc<Account>>, ConfigError>,
        ) -> Result<bool, DaemonError> {
            if !self.people.is_running() {
                return Ok(false);
            }
            #[cfg(feature = "local")]
            if !self.local.is_running() {
                return Ok(false);
            }
            if !self.catalogs.is_running() {
                let (bus, contacts, torrents) = (&self.bus, &self.contacts, &self.torrents);
                self.catalogs = start_catalogs(&self.catalog_options, &self.own_catalog, bus, contacts, torrents)?;
            }
            let ended: Vec<AccountKey> =
                self.accounts.iter().filter(|(_, thread)| !thread.is_running()).map(|(key, _)| *key).collect();
            let mut left = accounts()?;
            let known = self.contacts.read();
            for status in known.accounts.iter().filter(|status| !ended.contains(&status.key)) {
                left.retain(|account| !is_same_account(&account.jid, status.bare()));
            }
            for key in ended {
                let before = known.accounts.iter().find(|status| status.key == key);
                let is = |account: &Arc<Account>, status: &AccountStatus| is_same_account(&account.jid, status.bare());
                let same = before.and_then(|before| left.iter().position(|account| is(account, before)));
                let account = same.or_else(|| (!left.is_empty()).then_some(0)).map(|place| left.remove(place));
                self.start_account(key, account)?;
            }
            Ok(true)
        }

        /// A place without an account, made if there is none.
        pub(in crate::daemon) fn place_account(&mut self) -> Result<AccountKey, ControlError> {
            let known = self.contacts.read();
            let is_free = |key: &AccountKey| known.accounts.iter().all(|status| status.key != *key);
            if let Some(free) = self.accounts.keys().copied().find(is_free) {
                return Ok(free);
            }
            if self.accounts.len() >= MAX_ACCOUNTS {
                return Err(ControlError::Refused(format!("there can be no more than {MAX_ACCOUNTS} accounts")));
            }
            let fresh = AccountKey::all().find(|key| !self.accounts.contains_key(key)).unwrap_or_default();
            let failed = |error: DaemonError| ControlError::Refused(error.to_string());
            self.start_account(fresh, None).map(|()| fresh).map_err(failed)
        }

        /// Says goodbye on all accounts at the same time, and ends the threads.
        pub(in crate::daemon) fn stop(&mut self) {
            std::thread::scope(|scope| {
                for thread in self.accounts.values_mut() {
                    let stopper = std::thread::Builder::new().name("stopper".to_owned());
                    // One that cannot be stopped at the same time is stopped below.
                    let _ = stopper.spawn_scoped(scope, || thread.stop());
                }
                #[cfg(feature = "local")]
                self.local.stop();
            });
            self.accounts.clear();
            self.catalogs.stop();
            self.people.stop();
        }

        /// Puts another thread in the place of the first account's.
        #[cfg(test)]
        pub(in crate::daemon) fn replace_first(&mut self, thread: XmppThread) {
            self.accounts.insert(AccountKey::FIRST, thread);
        }
    }

    fn start_catalogs(
        options: &CatalogOptions,
        own: &Published<OwnCatalog>,
        bus: &Bus,
        contacts: &Published<Contacts>,
        torrents: &Published<Torrents>,
    ) -> Result<CatalogsThread, DaemonError> {
        let (contacts, torrents) = (contacts.clone(), torrents.clone());
        let thread = CatalogsThread::start(options.clone(), bus.clone(), contacts, torrents, own.clone());
        thread.map_err(DaemonError::system("the thread of the catalogs"))
    }
}

#[cfg(not(feature = "xmpp"))]
mod without_xmpp {
    use std::sync::Arc;

    use super::super::error::DaemonError;
    use crate::component::event::{Account, Bus, ControlError};
    use crate::component::snapshot::{Contacts, Published, Torrents};
    use crate::config::{Config, ConfigError};
    use crate::types::AccountKey;

    /// A build without XMPP has nothing to start.
    pub(in crate::daemon) struct Contacting;

    impl Contacting {
        /// Says that the accounts are not used.
        pub(in crate::daemon) fn start(
            _config: &Config,
            accounts: Vec<Arc<Account>>,
            _bus: &Bus,
            _contacts: &Published<Contacts>,
            _torrents: &Published<Torrents>,
        ) -> Result<Self, DaemonError> {
            if !accounts.is_empty() {
                log::warn!("this build has no XMPP: accounts are not used");
            }
            Ok(Self)
        }

        pub(in crate::daemon) fn is_running(&self) -> bool {
            true
        }

        pub(in crate::daemon) fn mend(
            &mut self,
            _accounts: impl FnOnce() -> Result<Vec<Arc<Account>>, ConfigError>,
        ) -> Result<bool, DaemonError> {
            Ok(true)
        }

        pub(in crate::daemon) fn place_account(&mut self) -> Result<AccountKey, ControlError> {
            Err(ControlError::Refused("this build has no XMPP".to_owned()))
        }

        pub(in crate::daemon) fn stop(&mut self) {}
    }
}
