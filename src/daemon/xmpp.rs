//! The XMPP thread as the supervisor sees it, in builds with and without XMPP.

use std::sync::Arc;

use crate::component::event::{Account, Bus};
use crate::component::snapshot::{Contacts, Published, Torrents};
use crate::config::{Config, ConfigError, PASSWORD_VARIABLE};

use super::error::DaemonError;
use super::options;

#[cfg(feature = "xmpp")]
pub(super) use crate::component::xmpp::XmppThread as Thread;

/// The account to begin with. Says in the log if there is none.
pub(super) fn account(config: &Config) -> Result<Option<Arc<Account>>, ConfigError> {
    let Some(configured) = config.account()? else {
        log::info!("no XMPP account: running as a plain BitTorrent daemon; set one with `bitween account set JID`");
        return Ok(None);
    };
    let account = options::account(&configured, &config.data_dir, config.xmpp.allow_plain)?;
    match &account {
        Some(account) => log::info!("XMPP account {} (resource {})", account.jid, account.resource),
        None => log::warn!(
            "no password for {}: running without XMPP; give it with `bitween account set {0}`, in `password_file`, or in {PASSWORD_VARIABLE}",
            configured.jid
        ),
    }
    Ok(account)
}

/// Starts the thread.
#[cfg(feature = "xmpp")]
pub(super) fn start(
    config: &Config,
    account: Option<Arc<Account>>,
    bus: &Bus,
    contacts: &Published<Contacts>,
    torrents: &Published<Torrents>,
) -> Result<Thread, DaemonError> {
    let options = options::xmpp(config, account);
    Thread::start(options, bus.clone(), contacts.clone(), torrents.clone())
        .map_err(DaemonError::system("the XMPP thread"))
}

/// A build without XMPP has nothing to start.
#[cfg(not(feature = "xmpp"))]
pub(super) struct Thread;

#[cfg(not(feature = "xmpp"))]
impl Thread {
    pub(super) fn is_running(&self) -> bool {
        true
    }

    pub(super) fn stop(&mut self) {}
}

/// Says that the account is not used.
#[cfg(not(feature = "xmpp"))]
pub(super) fn start(
    _config: &Config,
    account: Option<Arc<Account>>,
    _bus: &Bus,
    _contacts: &Published<Contacts>,
    _torrents: &Published<Torrents>,
) -> Result<Thread, DaemonError> {
    if account.is_some() {
        log::warn!("this build has no XMPP: the account is not used");
    }
    Ok(Thread)
}
